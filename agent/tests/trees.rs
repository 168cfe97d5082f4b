//! Directory trees as tar streams, both ways.

mod common;
use caisson_agent::guest::frame::{Kind as Frame, ERROR};
use caisson_agent::guest::pack::Pack;
use caisson_agent::guest::sha256::Sha256;
use caisson_agent::guest::tar::writer::{encode, END};
use caisson_agent::guest::tar::{padding, Entry, Kind};
use common::*;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn path(path: &str) -> Pack {
    Pack::map(1).text("path", path)
}

fn read_tree(client: &mut Client, path: &str) -> Vec<u8> {
    let params = Pack::map(1).text("path", path).done();
    let mut answer = client.call("ReadTree", params).ok();
    std::mem::take(&mut answer.data[0])
}

fn write_tree(client: &mut Client, params: Pack, archive: &[u8]) -> Answer {
    let channel = client.open("WriteTree", params.done(), false);
    client.write(channel, archive, true);
    client.finish(channel)
}

fn run(command: &str, input: &[u8], dir: &Path) -> Vec<u8> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh");
    let mut stdin = child.stdin.take().expect("stdin");
    let bytes = input.to_vec();
    let feeding = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &bytes));
    let output = child.wait_with_output().expect("output");
    let _reads_no_more = feeding.join();
    assert!(output.status.success(), "{}: {}", command, output.status);
    output.stdout
}

/// What a tree consists of, by relative path; the root's own line is left out.
fn contents(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut inodes: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        let entries = fs::read_dir(&dir).expect("dir");
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let meta = fs::symlink_metadata(&path).expect("meta");
            let kind = meta.file_type();
            let relative = path.strip_prefix(root).expect("below").to_owned();
            let content = if kind.is_file() {
                let first = inodes.entry(meta.ino()).or_insert_with(|| relative.clone());
                let mut hash = Sha256::default();
                hash.update(&fs::read(&path).expect("read"));
                format!("{} same as {:?}", hash.hex(), first)
            } else if kind.is_symlink() {
                format!("{:?}", fs::read_link(&path).expect("link"))
            } else if kind.is_dir() {
                "directory".to_owned()
            } else {
                format!("{:?}", kind)
            };
            let times = (meta.mtime(), meta.mtime_nsec());
            found.insert(
                relative,
                format!("{:o} {:?} {}", meta.mode(), times, content),
            );
            if kind.is_dir() {
                todo.push(path);
            }
        }
    }
    found
}

/// A tree with everything that a tar stream can carry.
fn odd_tree(root: &Path) {
    let long = "d".repeat(200);
    fs::create_dir_all(root.join(&long).join(&long)).expect("dirs");
    fs::create_dir_all(root.join("empty")).expect("dir");
    fs::create_dir_all(root.join("locked/inner")).expect("dir");
    let names = [
        OsStr::new("plain"),
        OsStr::new(" with space "),
        OsStr::new("new\nline"),
        OsStr::new("\u{fc}n\u{ef} \u{6f22}\u{5b57} \u{1f642}"),
        OsStr::from_bytes(b"not \xff utf-8"),
        OsStr::new("-rf"),
    ];
    for name in names {
        fs::write(root.join(name), name.as_bytes()).expect("write");
    }
    let raw = [&b"\xfe"[..], &[b'n'; 150]].concat();
    fs::write(root.join(OsStr::from_bytes(&raw)), "raw and long").expect("write");
    fs::write(root.join(&long).join(&long).join("n".repeat(255)), "deep").expect("write");
    fs::write(root.join("nothing"), "").expect("write");
    for size in [511, 512, 513, 1_000_000] {
        fs::write(root.join(format!("size-{}", size)), pattern(size)).expect("write");
    }
    fs::write(root.join("locked/inner/file"), "x").expect("write");
    symlink("plain", root.join("link")).expect("link");
    symlink("/nowhere/at all", root.join("dangling")).expect("link");
    symlink("x".repeat(300), root.join("long link")).expect("link");
    fs::hard_link(root.join("plain"), root.join("zz again")).expect("link");
    fs::hard_link(root.join("plain"), root.join("empty/other name")).expect("link");
    run("mkfifo -m 640 pipe", b"", root);
    run("touch -d '1960-01-01 00:00:00.25 UTC' nothing", b"", root);
    run("touch -d '2300-01-01 00:00:00 UTC' plain", b"", root);
    for (name, mode) in [
        ("plain", 0o400),
        ("size-511", 0o4755),
        ("size-512", 0o2750),
        ("empty", 0o2775),
        ("locked/inner", 0o500),
        ("locked", 0o555),
    ] {
        fs::set_permissions(root.join(name), Permissions::from_mode(mode)).expect("mode");
    }
}

fn entry(kind: Kind, path: &[u8]) -> Entry {
    Entry {
        kind,
        path: path.to_vec(),
        link: Vec::new(),
        size: 0,
        mode: if kind == Kind::Directory {
            0o755
        } else {
            0o644
        },
        uid: 0,
        gid: 0,
        user: String::new(),
        group: String::new(),
        mtime: (1_700_000_000, 0),
        xattrs: Vec::new(),
    }
}

fn file(path: &[u8], content: &[u8]) -> Vec<u8> {
    let mut entry = entry(Kind::File, path);
    entry.size = content.len() as u64;
    let rest = vec![0; padding(entry.size)];
    [&encode(&entry), content, &rest].concat()
}

fn link(kind: Kind, path: &[u8], target: &[u8]) -> Vec<u8> {
    let mut entry = entry(kind, path);
    entry.link = target.to_vec();
    encode(&entry)
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    [&members.concat()[..], &END].concat()
}

#[test]
fn a_tree_goes_out_and_in_unchanged() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let (from, to) = (agent.dir.join("from"), agent.dir.join("new/to"));
    odd_tree(&from);
    let bytes = read_tree(&mut client, &agent.path("from"));
    let params = path(&agent.path("new/to"));
    let reply = write_tree(&mut client, params, &bytes).ok().reply;
    let reply = reply.expect("reply");
    let expected = contents(&from);
    assert_eq!(contents(&to), expected);
    assert_eq!(reply.int("entries"), expected.len() as i64);
    assert_eq!(fs::metadata(&to).expect("meta").mode() & 0o7777, 0o755);
    // Over itself, file by file: the same again, but folders that are there keep their times.
    let files = |tree: &BTreeMap<PathBuf, String>| -> Vec<String> {
        let lines = tree.iter().map(|line| format!("{:?}", line));
        lines
            .filter(|line| !line.ends_with(" directory\")"))
            .collect()
    };
    write_tree(&mut client, path(&agent.path("new/to")), &bytes).ok();
    let again = contents(&to);
    assert_eq!(files(&again), files(&expected));
    assert!(again.keys().eq(expected.keys()));
    // And GNU tar makes the same of it.
    fs::create_dir(agent.dir.join("gnu")).expect("dir");
    run("tar -xpf - -C gnu", &bytes, &agent.dir);
    assert_eq!(contents(&agent.dir.join("gnu")), expected);
}

#[test]
fn archives_of_other_programs_are_understood() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let from = agent.dir.join("from");
    odd_tree(&from);
    let without_times = |tree: BTreeMap<PathBuf, String>| -> Vec<String> {
        let line = |(path, line): (PathBuf, String)| {
            let (mode, rest) = line.split_once(" (").expect("times");
            let content = rest.split_once(") ").expect("times").1;
            format!("{:?} {} {}", path, mode, content)
        };
        tree.into_iter().map(line).collect()
    };
    let expected = contents(&from);
    for (format, exact) in [("pax", true), ("gnu", false)] {
        let command = format!("tar --format={} -cf - -C from .", format);
        let bytes = run(&command, b"", &agent.dir);
        let to = agent.dir.join(format);
        write_tree(&mut client, path(&agent.path(format)), &bytes).ok();
        let mode = |path: &Path| fs::metadata(path).expect("meta").mode();
        assert_eq!(mode(&to), mode(&from), "{}", format);
        match exact {
            true => assert_eq!(contents(&to), expected, "{}", format),
            false => assert_eq!(
                without_times(contents(&to)),
                without_times(expected.clone())
            ),
        }
    }
    fs::create_dir(agent.dir.join("small")).expect("dir");
    let deep = format!("small/{}/{}", "p".repeat(90), "q".repeat(90));
    fs::create_dir_all(agent.dir.join(&deep)).expect("dir");
    fs::write(agent.dir.join(&deep).join("file"), "x").expect("write");
    let bytes = run("tar --format=ustar -cf - -C small .", b"", &agent.dir);
    write_tree(&mut client, path(&agent.path("ustar")), &bytes).ok();
    let small = contents(&agent.dir.join("small"));
    assert_eq!(
        without_times(contents(&agent.dir.join("ustar"))),
        without_times(small)
    );
    // The whole archive in pieces of a few bytes.
    let channel = client.open("WriteTree", path(&agent.path("slow")).done(), false);
    for piece in bytes.chunks(97) {
        client.write(channel, piece, false);
    }
    client.write(channel, &[], true);
    client.finish(channel).ok();
    assert!(exists(&agent.path("slow")));
    let sparse = "truncate -s 1M small/holes && tar --sparse -cf - -C small .";
    let bytes = run(sparse, b"", &agent.dir);
    let answer = write_tree(&mut client, path(&agent.path("sparse")), &bytes);
    assert_eq!(answer.code(), "invalid_argument");
}

#[test]
fn one_file_is_a_tree_too_and_patterns_leave_out() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let from = agent.dir.join("from");
    fs::create_dir_all(from.join("node_modules/x")).expect("dir");
    fs::create_dir_all(from.join("a/node_modules")).expect("dir");
    fs::create_dir_all(from.join("a/b")).expect("dir");
    for name in [
        "keep",
        "a/drop.tmp",
        "a/b/keep",
        "node_modules/x/y",
        ".hidden",
    ] {
        fs::write(from.join(name), name).expect("write");
    }
    let params = Pack::map(2)
        .text("path", &agent.path("from"))
        .key("exclude")
        .array(2)
        .item_text("**/node_modules")
        .item_text("**/*.tmp");
    let answer = client.call("ReadTree", params.done()).ok();
    let listed = run("tar -tf - | sort", &answer.data[0], &agent.dir);
    let listed = String::from_utf8_lossy(&listed).into_owned();
    assert_eq!(listed, ".hidden\na/\na/b/\na/b/keep\nkeep\n");
    let bytes = read_tree(&mut client, &agent.path("from/keep"));
    assert_eq!(run("tar -xOf - keep", &bytes, &agent.dir), b"keep");
    for (place, code) in [("/no/such", "not_found"), ("/dev/null", "invalid_argument")] {
        assert_eq!(client.call("ReadTree", path(place).done()).code(), code);
    }
    let params = Pack::map(2).text("path", "/tmp").key("exclude").array(1);
    let answer = client.call("ReadTree", params.item_text("../x").done());
    assert_eq!(answer.code(), "invalid_argument");
}

#[test]
fn a_file_that_changes_meanwhile_is_told_truly() {
    let agent = Agent::start();
    for (size, code) in [(100_000, "io_error"), (4_000_000, "none")] {
        let mut client = agent.connect();
        let dir = agent.dir.join("from");
        fs::create_dir_all(&dir).expect("dir");
        fs::write(dir.join("file"), pattern(2_000_000)).expect("write");
        client.grants = false;
        let channel = client.open("ReadTree", path(&agent.path("from")).done(), true);
        let mut got = Vec::new();
        while got.len() < 262_144 {
            let frame = client.next(channel).expect("frame");
            if frame.header.kind == Frame::Data {
                got.extend(frame.payload);
            }
        }
        let handle = fs::OpenOptions::new().write(true).open(dir.join("file"));
        handle.expect("open").set_len(size).expect("size");
        client.grants = true;
        let more = 8_000_000u32.to_be_bytes();
        client.send(Frame::Credit, 0, channel, &more);
        let answer = client.finish(channel);
        assert_eq!(answer.code(), code);
        if code == "none" {
            got.extend(&answer.data[0]);
            let command = "tar -xOf - file | wc -c";
            assert_eq!(run(command, &got, &agent.dir), b"2000000\n");
        }
    }
}

#[test]
fn nothing_leads_out_of_the_tree() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let outside = agent.dir.join("outside");
    fs::create_dir(&outside).expect("dir");
    fs::write(outside.join("file"), "untouched").expect("write");
    let before = contents(&outside);
    let absolute = outside.join("file").into_os_string().into_encoded();
    let folder = outside.clone().into_os_string().into_encoded();
    let up = b"../outside";
    let hostile: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("dots", vec![file(b"../outside/file", b"evil")]),
        ("dots inside", vec![file(b"a/../../outside/file", b"evil")]),
        ("absolute", vec![file(&absolute, b"evil")]),
        (
            "a directory above",
            vec![encode(&entry(Kind::Directory, up))],
        ),
        (
            "through a link",
            vec![link(Kind::Symlink, b"l", up), file(b"l/file", b"evil")],
        ),
        (
            "through an absolute link",
            vec![link(Kind::Symlink, b"l", &folder), file(b"l/file", b"evil")],
        ),
        (
            "a directory over a link",
            vec![
                link(Kind::Symlink, b"l", up),
                encode(&entry(Kind::Directory, b"l")),
                file(b"l/file", b"evil"),
            ],
        ),
        (
            "a new directory through a link",
            vec![
                link(Kind::Symlink, b"l", up),
                encode(&entry(Kind::Directory, b"l/new")),
            ],
        ),
        (
            "a hard link to something absolute",
            vec![link(Kind::HardLink, b"h", &absolute), file(b"h", b"evil")],
        ),
        (
            "a hard link up",
            vec![link(Kind::HardLink, b"h", b"../outside/file")],
        ),
        (
            "a hard link through a link",
            vec![
                link(Kind::Symlink, b"l", up),
                link(Kind::HardLink, b"h", b"l/file"),
            ],
        ),
        (
            "a link through a link",
            vec![
                link(Kind::Symlink, b"l", up),
                link(Kind::Symlink, b"l/new", b"x"),
            ],
        ),
        (
            "a pipe through a link",
            vec![
                link(Kind::Symlink, b"l", up),
                encode(&entry(Kind::Fifo, b"l/new")),
            ],
        ),
        ("no name", vec![file(b".", b"evil")]),
    ];
    fs::create_dir(agent.dir.join("used")).expect("dir");
    for (name, members) in &hostile {
        for target in ["new", "used"] {
            let params = path(&agent.path(target));
            let answer = write_tree(&mut client, params, &archive(members));
            let refused = ["invalid_argument", "not_a_directory"];
            assert!(
                refused.contains(&answer.code().as_str()),
                "{}: {:?}",
                name,
                answer
            );
            assert_eq!(contents(&outside), before, "{} into {}", name, target);
            assert!(!exists(&agent.path("new")), "{}", name);
        }
        run("rm -rf used/*", b"", &agent.dir);
    }
    // A link may stand where it leads out, and be replaced; it is never written through.
    let members = [
        link(Kind::Symlink, b"l", b"../outside/file"),
        file(b"l", b"mine"),
    ];
    for target in ["new", "used"] {
        let params = path(&agent.path(target));
        write_tree(&mut client, params, &archive(&members)).ok();
        let inside = agent.dir.join(target).join("l");
        assert_eq!(fs::read(&inside).expect("read"), b"mine");
        assert!(fs::symlink_metadata(&inside).expect("meta").is_file());
    }
    assert_eq!(contents(&outside), before);
}

trait Encoded {
    fn into_encoded(self) -> Vec<u8>;
}

impl Encoded for std::ffi::OsString {
    fn into_encoded(self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

#[test]
fn a_broken_archive_leaves_nothing() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let good = archive(&[file(b"dir/file", &pattern(5000)), file(b"z", b"z")]);
    let mut device = encode(&entry(Kind::File, b"device"));
    let mut huge = entry(Kind::File, b"huge");
    huge.size = u64::MAX >> 1;
    let sum = |block: &mut Vec<u8>, kind: u8| {
        let before = u32::from(block[156]);
        block[156] = kind;
        let text = std::str::from_utf8(&block[148..154]).expect("octal");
        let sum = u32::from_str_radix(text, 8).expect("octal") - before + u32::from(kind);
        block[148..154].copy_from_slice(format!("{:06o}", sum).as_bytes());
    };
    sum(&mut device, b'3');
    let mut damaged = good.clone();
    damaged[3] ^= 1;
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("cut in a header", good[..100].to_vec()),
        ("cut in a file", good[..2000].to_vec()),
        (
            "cut before the end",
            good[..good.len() - END.len()].to_vec(),
        ),
        ("followed by more", [&good[..], b"more"].concat()),
        ("noise", pattern(100_000)),
        ("compressed", run("gzip -c", &good, &agent.dir)),
        ("damaged", damaged),
        ("a device", archive(&[device])),
        ("huge", [encode(&huge), pattern(70_000)].concat()),
    ];
    for (name, body) in &bodies {
        for target in ["new", "used"] {
            let answer = write_tree(&mut client, path(&agent.path(target)), body);
            assert_eq!(answer.code(), "invalid_argument", "{}", name);
            if target == "new" {
                fs::create_dir_all(agent.dir.join("used")).expect("dir");
            }
        }
    }
    // A caller who leaves half-way.
    for target in ["new", "used"] {
        let channel = client.open("WriteTree", path(&agent.path(target)).done(), false);
        client.write(channel, &good[..3000], false);
        client.exec("true");
        let fault = Pack::map(2).text("code", "cancelled").text("message", "x");
        client.send(Frame::End, ERROR, channel, &fault.done());
    }
    fn hidden(dir: &Path) -> bool {
        let entries = fs::read_dir(dir).expect("dir").flatten();
        let mut entries = entries.map(|entry| entry.path());
        entries.any(|path| {
            path.to_string_lossy().contains(".caisson") || (path.is_dir() && hidden(&path))
        })
    }
    until("what was begun to go", || !hidden(&agent.dir));
    assert!(!exists(&agent.path("new")));
    // What was whole before the break is kept in a folder that was there, and only that.
    assert_eq!(
        fs::read(agent.dir.join("used/dir/file")).ok(),
        Some(pattern(5000))
    );
    assert!(exists(&agent.path("used/z")));
}

#[test]
fn a_tree_has_the_rights_of_its_user() {
    let agent = Agent::start();
    let mut client = agent.connect();
    fs::set_permissions(&agent.dir, Permissions::from_mode(0o777)).expect("mode");
    let mut owned = entry(Kind::File, b"dir/file");
    (owned.uid, owned.gid) = (1234, 1235);
    let mut read_only = entry(Kind::Directory, b"dir");
    (read_only.uid, read_only.gid, read_only.mode) = (1234, 1236, 0o555);
    let again = file(b"dir/again", b"x");
    let other = file(b"other", b"x");
    let bytes = archive(&[encode(&read_only), encode(&owned), other, again]);
    let ids = |name: &str| {
        let meta = fs::symlink_metadata(agent.dir.join(name)).expect("meta");
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    };
    let user = "54321:54321";
    let params = Pack::map(2)
        .text("path", &agent.path("theirs"))
        .text("user", user);
    write_tree(&mut client, params, &bytes).ok();
    assert_eq!(ids("theirs/dir/file"), (54321, 54321, 0o644));
    assert_eq!(ids("theirs/dir"), (54321, 54321, 0o555));
    let keep = |name: &str| {
        Pack::map(3)
            .text("path", &agent.path(name))
            .flag("keep_owners", true)
    };
    let answer = write_tree(&mut client, keep("x").text("user", user), &bytes);
    assert_eq!(answer.code(), "permission_denied");
    write_tree(&mut client, keep("kept").uint("mode", 0o700), &bytes).ok();
    assert_eq!(ids("kept/dir/file"), (1234, 1235, 0o644));
    assert_eq!(ids("kept/dir"), (1234, 1236, 0o555));
    assert_eq!(ids("kept").2, 0o700);
    // Without the right to write, nothing is begun; a failure removes locked directories too.
    fs::create_dir(agent.dir.join("closed")).expect("dir");
    let params = Pack::map(2)
        .text("path", &agent.path("closed/new"))
        .text("user", user);
    assert_eq!(
        write_tree(&mut client, params, &bytes).code(),
        "permission_denied"
    );
    let params = Pack::map(2)
        .text("path", &agent.path("failed"))
        .text("user", user);
    let cut = &bytes[..bytes.len() - END.len()];
    assert_eq!(
        write_tree(&mut client, params, cut).code(),
        "invalid_argument"
    );
    until("what was begun to go", || {
        let mut names = fs::read_dir(&agent.dir).expect("dir").flatten();
        !names.any(|name| name.file_name().to_string_lossy().contains(".caisson"))
    });
}

#[test]
fn attributes_travel_with_their_files() {
    let agent = Agent::start();
    let mut client = agent.connect();
    fs::create_dir_all(agent.dir.join("from/dir")).expect("dir");
    fs::write(agent.dir.join("from/file"), "x").expect("write");
    for (place, mode) in [("from/dir", 0o555), ("from/file", 0o400)] {
        let place = agent.path(place);
        let params = Pack::map(3).text("path", &place).text("name", "user.note");
        client
            .call("SetXattr", params.bin("value", b"\0=\n").done())
            .ok();
        fs::set_permissions(&place, Permissions::from_mode(mode)).expect("mode");
    }
    let bytes = read_tree(&mut client, &agent.path("from"));
    write_tree(&mut client, path(&agent.path("to")), &bytes).ok();
    for place in ["to/dir", "to/file"] {
        let reply = client
            .call("GetXattrs", path(&agent.path(place)).done())
            .ok()
            .reply;
        let shown = format!("{:?}", reply.expect("reply").map("attributes").0);
        assert_eq!(
            shown, "Map([(\"user.note\", Bin([0, 61, 10]))])",
            "{}",
            place
        );
    }
}

#[test]
fn many_small_files_pass_with_little_memory() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let content = pattern(4096);
    let members: Vec<Vec<u8>> = (0..3000)
        .map(|n| file(format!("d{}/f{}", n / 100, n).as_bytes(), &content))
        .collect();
    let bytes = archive(&members);
    let before = agent.memory("Private_Dirty");
    let reply = write_tree(&mut client, path(&agent.path("many")), &bytes)
        .ok()
        .reply;
    let reply = reply.expect("reply");
    assert_eq!(
        (reply.int("entries"), reply.int("bytes")),
        (3000, 12_288_000)
    );
    let back = read_tree(&mut client, &agent.path("many"));
    assert!(back.len() > 12_288_000);
    let grown = agent.memory("Private_Dirty").saturating_sub(before);
    assert!(grown < 8192, "{} KiB more than before", grown);
}

#[test]
fn an_agent_that_ends_leaves_no_half_made_tree() {
    let mut agent = Agent::start();
    let mut client = agent.connect();
    let body: Vec<u8> = (0..300)
        .flat_map(|number| encode(&entry(Kind::File, format!("file-{}", number).as_bytes())))
        .collect();
    let channel = client.open("WriteTree", path(&agent.path("new")).done(), false);
    client.write(channel, &body, false);
    let begun = |dir: &Path| {
        let mut entries = fs::read_dir(dir).expect("dir").flatten();
        let tree = entries.find(|entry| entry.file_name().to_string_lossy().contains(".caisson"));
        tree.map(|tree| tree.path())
    };
    until("the tree to be nearly whole", || {
        begun(&agent.dir).map_or(false, |tree| tree.join("file-299").exists())
    });
    client.call("Shutdown", Pack::map(1).uint("grace_ms", 0).done());
    until("the agent to end", || !agent.alive());
    assert_eq!(begun(&agent.dir), None);
}
