//! Search and Replace over files.

mod common;
use caisson_agent::guest::msgpack::Value;
use caisson_agent::guest::pack::Pack;
use common::*;
use std::fs;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::Path;

/// Parameters by name; values that are numbers, flags or texts.
enum Is<'a> {
    Text(&'a str),
    Flag(bool),
    Number(u64),
    List(&'a [&'a str]),
}
use Is::{Flag, List, Number, Text};

fn params(fields: &[(&str, Is)]) -> Vec<u8> {
    let mut pack = Pack::map(fields.len());
    for (key, value) in fields {
        pack = match value {
            Text(text) => pack.text(key, text),
            Flag(flag) => pack.flag(key, *flag),
            Number(number) => pack.uint(key, *number),
            List(items) => {
                let mut pack = pack.key(key).array(items.len());
                for item in *items {
                    pack = pack.item_text(item);
                }
                pack
            }
        };
    }
    pack.done()
}

fn events(answer: &Answer, kind: &str) -> Vec<Map> {
    let events = answer.events.iter();
    events
        .filter(|event| event.text("type") == kind)
        .cloned()
        .collect()
}

/// Every match as `path:line:offset:text[start..end]`, the path below the folder.
fn found(answer: &Answer, root: &str) -> Vec<String> {
    let matches = events(answer, "matches");
    let matches = matches.iter().flat_map(|event| event.list("matches"));
    matches
        .map(|found| {
            let text = found.text("text");
            let part = &text[found.int("start") as usize..found.int("end") as usize];
            let path = found.text("path");
            let short = path
                .strip_prefix(root)
                .expect("below")
                .trim_start_matches('/');
            format!(
                "{}:{}:{}:{}",
                short,
                found.int("line"),
                found.int("offset"),
                part
            )
        })
        .collect()
}

fn summary(answer: &Answer) -> (i64, i64) {
    let summaries = events(answer, "summary");
    assert_eq!(summaries.len(), 1);
    (summaries[0].int("files"), summaries[0].int("skipped"))
}

fn replaced(answer: &Answer, root: &str) -> Vec<String> {
    let files = events(answer, "replaced");
    let files = files.iter().flat_map(|event| event.list("files"));
    files
        .map(|file| {
            let path = file.text("path");
            let short = path
                .strip_prefix(root)
                .expect("below")
                .trim_start_matches('/');
            format!("{}:{}", short, file.int("count"))
        })
        .collect()
}

fn tree(agent: &Agent, files: &[(&str, &[u8])]) -> String {
    let root = agent.path("tree");
    for (name, content) in files {
        let path = Path::new(&root).join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        fs::write(path, content).expect("file");
    }
    root
}

#[test]
fn matches_come_in_order_with_their_places() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = tree(
        &agent,
        &[
            ("b.txt", b"one two\ntwo\n"),
            ("a/z.txt", "ünï two\r\nx\n".as_bytes()),
            ("a/a.txt", b"nothing"),
            (".hidden", b"two"),
            ("binary", b"two\0two"),
            ("c/d/e", b"\n\ntwo"),
        ],
    );
    symlink("/etc/passwd", format!("{}/link", root)).expect("link");
    let answer = client.call(
        "Search",
        params(&[("path", Text(&root)), ("pattern", Text("t.o"))]),
    );
    let answer = answer.ok();
    assert_eq!(
        found(&answer, &root),
        [
            ".hidden:1:0:two",
            "a/z.txt:1:6:two",
            "b.txt:1:4:two",
            "b.txt:2:8:two",
            "c/d/e:3:2:two"
        ]
    );
    assert_eq!(summary(&answer), (5, 1));
    for (fields, expected) in [
        (
            vec![("include", List(&["**/*.txt"]))],
            vec!["a/z.txt:1:6:two", "b.txt:1:4:two", "b.txt:2:8:two"],
        ),
        (
            vec![("include", List(&["*.txt", "c/**"]))],
            vec!["b.txt:1:4:two", "b.txt:2:8:two", "c/d/e:3:2:two"],
        ),
        (
            vec![("exclude", List(&["a", "c/d/", ".*"]))],
            vec!["b.txt:1:4:two", "b.txt:2:8:two"],
        ),
        (
            vec![("max_file_bytes", Number(5))],
            vec![".hidden:1:0:two", "c/d/e:3:2:two"],
        ),
    ] {
        let mut all = vec![("path", Text(&root)), ("pattern", Text("two"))];
        all.extend(fields);
        let answer = client.call("Search", params(&all)).ok();
        assert_eq!(found(&answer, &root), expected);
    }
    let cut = client
        .call(
            "Search",
            params(&[
                ("path", Text(&root)),
                ("pattern", Text("two")),
                ("limit", Number(2)),
            ]),
        )
        .ok();
    assert_eq!(
        (found(&cut, &root).len(), events(&cut, "truncated").len()),
        (2, 1)
    );
    let exact = client
        .call(
            "Search",
            params(&[
                ("path", Text(&root)),
                ("pattern", Text("two")),
                ("limit", Number(5)),
            ]),
        )
        .ok();
    assert_eq!(
        (
            found(&exact, &root).len(),
            events(&exact, "truncated").len()
        ),
        (5, 0)
    );
    let file = format!("{}/b.txt", root);
    let one = client
        .call(
            "Search",
            params(&[("path", Text(&file)), ("pattern", Text("^two$"))]),
        )
        .ok();
    assert_eq!(found(&one, &root), ["b.txt:2:8:two"]);
}

#[test]
fn plain_text_and_case_are_as_asked() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = tree(&agent, &[("f", "a.b aXb A.B\nÉté été\n".as_bytes())]);
    for (pattern, fixed, ignore, expected) in [
        ("a.b", true, false, vec!["f:1:0:a.b"]),
        ("a.b", true, true, vec!["f:1:0:a.b", "f:1:8:A.B"]),
        ("a.b", false, false, vec!["f:1:0:a.b", "f:1:4:aXb"]),
        ("ÉTÉ", false, true, vec!["f:2:12:Été", "f:2:18:été"]),
        ("$", true, false, vec![]),
        ("$", false, false, vec!["f:1:11:", "f:2:23:"]),
    ] {
        let fields = [
            ("path", Text(&root)),
            ("pattern", Text(pattern)),
            ("fixed", Flag(fixed)),
            ("ignore_case", Flag(ignore)),
        ];
        let answer = client.call("Search", params(&fields)).ok();
        assert_eq!(found(&answer, &root), expected, "{}", pattern);
    }
}

#[test]
fn bad_questions_are_refused() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = tree(&agent, &[("f", b"x")]);
    for (fields, code) in [
        (vec![("path", Text(&root))], "invalid_argument"),
        (
            vec![("path", Text(&root)), ("pattern", Text("("))],
            "invalid_argument",
        ),
        (
            vec![("path", Text(&root)), ("pattern", Text(""))],
            "invalid_argument",
        ),
        (
            vec![
                ("path", Text(&root)),
                ("pattern", Text("x")),
                ("include", List(&["../x"])),
            ],
            "invalid_argument",
        ),
        (
            vec![
                ("path", Text(&root)),
                ("pattern", Text("a\nb")),
                ("fixed", Flag(true)),
            ],
            "invalid_argument",
        ),
        (
            vec![("path", Text("/no/such")), ("pattern", Text("x"))],
            "not_found",
        ),
        (
            vec![("path", Text("/dev/null")), ("pattern", Text("x"))],
            "invalid_argument",
        ),
        (
            vec![
                ("path", Text(&root)),
                ("pattern", Text("x")),
                ("user", Text("nobody-here")),
            ],
            "no_such_user",
        ),
    ] {
        assert_eq!(client.call("Search", params(&fields)).code(), code);
    }
    let refused = client.call(
        "Replace",
        params(&[("path", Text(&root)), ("pattern", Text("x"))]),
    );
    assert_eq!(refused.code(), "invalid_argument");
}

#[test]
fn long_lines_cost_little_and_are_found_in_pieces() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = tree(&agent, &[]);
    fs::create_dir_all(&root).expect("root");
    let mut long = vec![b'a'; 12 << 20];
    long[8 << 20] = b'z';
    let end = long.len();
    long[end - 3..].copy_from_slice(b"end");
    fs::write(format!("{}/long", root), &long).expect("long");
    let find = |client: &mut Client, pattern: &str| {
        let fields = [("path", Text(&root)), ("pattern", Text(pattern))];
        let answer = client.call("Search", params(&fields)).ok();
        (found(&answer, &root), summary(&answer))
    };
    let (places, _) = find(&mut client, "z");
    assert_eq!(places, [format!("long:1:{}:z", 8 << 20)]);
    let (places, _) = find(&mut client, "end$");
    assert_eq!(places, [format!("long:1:{}:end", end - 3)]);
    assert_eq!(find(&mut client, "^z").0.len(), 0);
    assert_eq!(find(&mut client, "(a*)*b"), (vec![], (1, 0)));
    fs::write(format!("{}/long", root), &long[..1 << 17]).expect("long");
    assert_eq!(find(&mut client, "(a*)*[bc]"), (vec![], (1, 0)));
    fs::write(format!("{}/long", root), &long).expect("long");
    assert!(agent.memory("Rss") < 16_000, "{}", agent.memory("Rss"));
    // What a line shows is bounded, with the match in it.
    let answer = client
        .call(
            "Search",
            params(&[("path", Text(&root)), ("pattern", Text("z"))]),
        )
        .ok();
    let shown = &events(&answer, "matches")[0].list("matches")[0];
    assert!(shown.text("text").len() <= 1024);
}

#[test]
#[cfg_attr(debug_assertions, ignore)] // too slow without optimisation
fn a_line_that_takes_too_long_gives_its_file_up() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = tree(&agent, &[("a", &vec![b'b'; 1 << 20]), ("c", b"bbc")]);
    let pattern = "(?:a|b|c|d)*[^a]{200}[xy]|c$";
    let fields = [("path", Text(&root)), ("pattern", Text(pattern))];
    let answer = client.call("Search", params(&fields)).ok();
    assert_eq!(
        (found(&answer, &root), summary(&answer)),
        (vec!["c:1:2:c".to_owned()], (1, 1))
    );
}

#[test]
fn many_matches_come_in_batches_and_can_be_left() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = tree(&agent, &[("f", "a b\n".repeat(60_000).as_bytes())]);
    let fields = |limit: u64| {
        params(&[
            ("path", Text(&root)),
            ("pattern", Text("[ab]")),
            ("limit", Number(limit)),
        ])
    };
    let answer = client.call("Search", fields(1_000_000)).ok();
    let places = found(&answer, &root);
    assert_eq!(places.len(), 120_000);
    assert_eq!(places[119_999], "f:60000:239998:b");
    assert!(events(&answer, "matches").len() > 50);
    let mut other = agent.connect();
    other.open("Search", fields(1_000_000), true);
    drop(other);
    client.call("Stats", Pack::map(0).done()).ok();
}

#[test]
fn replacements_keep_everything_else() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = tree(
        &agent,
        &[
            ("crlf", b"one\r\ntwo one\r\n\r\nlast one"),
            ("lf", b"one\n\none\n"),
            ("none", b"two\r\n"),
            ("bytes", b"\xff one \xfe\n"),
            ("sub/x", b"name=value; other=thing"),
        ],
    );
    fs::set_permissions(format!("{}/lf", root), fs::Permissions::from_mode(0o751)).expect("chmod");
    std::os::unix::fs::symlink("lf", format!("{}/link", root)).expect("link");
    let before = fs::metadata(format!("{}/none", root)).expect("none").ino();
    let attributes = |client: &mut Client| {
        let file = Pack::map(1).text("path", &format!("{}/lf", root));
        let reply = client.call("GetXattrs", file.done()).ok().reply;
        reply.expect("reply").map("attributes").0
    };
    let kept = Pack::map(3)
        .text("path", &format!("{}/lf", root))
        .text("name", "user.kept")
        .bin("value", b"\0x");
    client.call("SetXattr", kept.done()).ok();
    let change = |client: &mut Client, pattern: &str, by: &str, dry: bool| {
        let fields = [
            ("path", Text(&root)),
            ("pattern", Text(pattern)),
            ("replacement", Text(by)),
            ("dry_run", Flag(dry)),
        ];
        let answer = client.call("Replace", params(&fields)).ok();
        (replaced(&answer, &root), summary(&answer))
    };
    let read = |name: &str| fs::read(Path::new(&root).join(name)).expect("file");
    let expected = ["bytes:1", "crlf:3", "lf:2"].map(str::to_owned).to_vec();
    assert_eq!(
        change(&mut client, "one$|one ", "1", true),
        (expected.clone(), (5, 0))
    );
    assert_eq!(read("lf"), b"one\n\none\n");
    assert_eq!(change(&mut client, "one", "1", false), (expected, (5, 0)));
    assert_eq!(read("crlf"), b"1\r\ntwo 1\r\n\r\nlast 1");
    assert_eq!(read("lf"), b"1\n\n1\n");
    assert_eq!(read("bytes"), b"\xff 1 \xfe\n");
    assert_eq!(
        fs::metadata(format!("{}/none", root)).expect("none").ino(),
        before
    );
    let mode = fs::metadata(format!("{}/lf", root)).expect("lf").mode();
    assert_eq!(mode & 0o7777, 0o751);
    let kept = vec![("user.kept".to_owned(), Value::Bin(b"\0x".to_vec()))];
    assert_eq!(attributes(&mut client), Value::Map(kept));
    assert!(fs::symlink_metadata(format!("{}/link", root))
        .expect("link")
        .file_type()
        .is_symlink());
    let (files, _) = change(&mut client, "(\\w+)=(\\w+)", "$2=$1$$", false);
    assert_eq!(files, ["sub/x:2"]);
    assert_eq!(read("sub/x"), b"value=name$; thing=other$");
    // Empty matches: at the start of every line, and around every letter.
    change(&mut client, "^", "> ", false);
    assert_eq!(read("crlf"), b"> 1\r\n> two 1\r\n> \r\n> last 1");
    assert_eq!(read("lf"), b"> 1\n> \n> 1\n");
    let file = format!("{}/empty", root);
    fs::write(&file, "abxd\n").expect("write");
    let fields = [
        ("path", Text(&file)),
        ("pattern", Text("x*")),
        ("replacement", Text("-")),
    ];
    client.call("Replace", params(&fields)).ok();
    assert_eq!(read("empty"), b"-a-b--d-\n");
    let leftovers = fs::read_dir(&root).expect("dir").flatten();
    let names = leftovers.map(|entry| entry.file_name().to_string_lossy().into_owned());
    assert!(!names
        .collect::<Vec<_>>()
        .iter()
        .any(|name| name.contains(".caisson")));
}

#[test]
fn rights_are_those_of_the_user() {
    let agent = Agent::start();
    let mut client = agent.connect();
    fs::set_permissions(&agent.dir, fs::Permissions::from_mode(0o755)).expect("chmod");
    let root = tree(
        &agent,
        &[
            ("open", b"secret"),
            ("closed", b"secret"),
            ("dir/x", b"secret"),
        ],
    );
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(
            format!("{}/{}", root, name),
            fs::Permissions::from_mode(mode),
        )
        .expect("chmod");
    };
    mode("", 0o777);
    mode("open", 0o644);
    mode("closed", 0o600);
    mode("dir", 0o700);
    let who = ("user", Text("1234:1234"));
    let answer = client
        .call(
            "Search",
            params(&[("path", Text(&root)), ("pattern", Text("secret")), who]),
        )
        .ok();
    assert_eq!(
        (found(&answer, &root), summary(&answer)),
        (vec!["open:1:0:secret".to_owned()], (1, 2))
    );
    // May be read, not written.
    let fields = [
        ("path", Text(&root)),
        ("pattern", Text("secret")),
        ("replacement", Text("x")),
        ("user", Text("1234:1234")),
    ];
    let answer = client.call("Replace", params(&fields)).ok();
    assert_eq!(
        (replaced(&answer, &root).len(), summary(&answer)),
        (0, (0, 3))
    );
    assert_eq!(fs::read(format!("{}/open", root)).expect("open"), b"secret");
    // The agent keeps the owner of what it rewrites.
    let own = format!("{}/own", root);
    fs::write(&own, "secret").expect("write");
    std::process::Command::new("chown")
        .args(["1234:5678", &own])
        .status()
        .expect("chown");
    let fields = [
        ("path", Text(&own)),
        ("pattern", Text("secret")),
        ("replacement", Text("public")),
    ];
    let answer = client.call("Replace", params(&fields)).ok();
    assert_eq!(replaced(&answer, &own), [":1"]);
    let meta = fs::metadata(&own).expect("own");
    assert_eq!((meta.uid(), meta.gid(), meta.len()), (1234, 5678, 6));
}

#[test]
fn large_files_are_rewritten_whole() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let line = b"the quick brown fox jumps over the lazy dog\r\n";
    let content = line.repeat(200_000);
    let root = tree(&agent, &[("big", &content)]);
    let fields = [
        ("path", Text(&root)),
        ("pattern", Text("(quick) (brown)")),
        ("replacement", Text("$2 $1")),
    ];
    let answer = client.call("Replace", params(&fields)).ok();
    assert_eq!(replaced(&answer, &root), ["big:200000"]);
    let expected = b"the brown quick fox jumps over the lazy dog\r\n".repeat(200_000);
    assert!(fs::read(format!("{}/big", root)).expect("big") == expected);
}
