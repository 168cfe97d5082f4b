//! Watches: nothing that happens in a folder is missed, or it is said.

mod common;
use caisson_agent::guest::frame::Kind;
use caisson_agent::guest::pack::Pack;
use common::*;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;

fn open(client: &mut Client, path: &str, recursive: bool) -> i64 {
    let params = Pack::map(2)
        .text("path", path)
        .flag("recursive", recursive)
        .done();
    let reply = client.call("OpenWatch", params).ok().reply.expect("reply");
    assert_eq!(reply.int("seq"), 0);
    reply.int("id")
}

fn after(id: i64, seq: i64) -> Vec<u8> {
    Pack::map(2).int("id", id).int("after", seq).done()
}

/// A reader of a watch, and all it was told.
struct Reader {
    channel: u32,
    /// `kind path` or `moved from -> path`, relative to the folder.
    told: Vec<String>,
    last: i64,
    gaps: Vec<(i64, i64)>,
    root: String,
}

impl Reader {
    fn new(client: &mut Client, id: i64, seq: i64, root: &str) -> Reader {
        let channel = client.open("ReadWatch", after(id, seq), true);
        let reply = client.next(channel).expect("reply");
        assert_eq!(reply.header.kind, Kind::Reply, "{:?}", reply.map());
        Reader {
            channel,
            told: Vec::new(),
            last: seq,
            gaps: Vec::new(),
            root: root.to_owned(),
        }
    }

    fn take(&mut self, client: &mut Client) {
        let frame = client.next(self.channel).expect("an event");
        assert_eq!(frame.header.kind, Kind::Event, "{:?}", frame.map());
        let event = frame.map();
        if event.text("type") == "gap" {
            assert_eq!(event.int("from"), self.last + 1);
            self.gaps.push((event.int("from"), event.int("to")));
            self.last = event.int("to") - 1;
            return;
        }
        for change in event.list("changes") {
            assert_eq!(change.int("seq"), self.last + 1);
            self.last += 1;
            let short = |path: String| match path.strip_prefix(&self.root) {
                Some("") => ".".to_owned(),
                Some(rest) => rest.trim_start_matches('/').to_owned(),
                None => panic!("{} is not below {}", path, self.root),
            };
            let (kind, path) = (change.text("kind"), short(change.text("path")));
            let slash = if change.flag("directory") { "/" } else { "" };
            self.told.push(match kind.as_str() {
                "moved" => format!("moved {} -> {}{}", short(change.text("from")), path, slash),
                kind => format!("{} {}{}", kind, path, slash),
            });
        }
    }

    /// Reads until this was told.
    fn until(&mut self, client: &mut Client, what: &str) {
        while !self.told.iter().any(|told| told == what) {
            self.take(client);
        }
    }

    /// Reads until a marker file is told of, and gives what came before it.
    fn marked(&mut self, client: &mut Client, marker: &Path) -> Vec<String> {
        fs::write(marker, "").expect("marker");
        let name = marker
            .file_name()
            .expect("name")
            .to_string_lossy()
            .into_owned();
        self.until(client, &format!("created {}", name));
        let mut told = std::mem::take(&mut self.told);
        told.retain(|told| !told.contains(&name));
        told
    }
}

fn folder(agent: &Agent, name: &str) -> String {
    let path = agent.path(name);
    fs::create_dir_all(&path).expect("folder");
    path
}

#[test]
fn every_kind_of_change_is_told() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = folder(&agent, "root");
    let at = |name: &str| Path::new(&root).join(name);
    fs::create_dir(at("sub")).expect("sub");
    let id = open(&mut client, &root, false);
    let mut reader = Reader::new(&mut client, id, 0, &root);
    fs::write(at("a"), "x").expect("write");
    fs::rename(at("a"), at("b")).expect("rename");
    fs::set_permissions(at("b"), fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::remove_file(at("b")).expect("remove");
    fs::create_dir(at("d")).expect("mkdir");
    fs::write(at("sub/below"), "not told").expect("write");
    fs::write(agent.path("outside"), "x").expect("write");
    fs::rename(agent.path("outside"), at("in")).expect("in");
    fs::rename(at("in"), agent.path("outside")).expect("out");
    let mut told = reader.marked(&mut client, &at("end"));
    // What left for good is told once its second half did not come: after the marker, unless that took long.
    match told.iter().position(|told| told == "deleted in") {
        Some(at) => drop(told.remove(at)),
        None => reader.until(&mut client, "deleted in"),
    }
    assert_eq!(
        told,
        [
            "created a",
            "modified a",
            "moved a -> b",
            "attributes b",
            "deleted b",
            "created d/",
            "created in",
        ]
    );
}

#[test]
fn a_new_tree_is_told_to_its_last_file_however_fast_it_grows() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = folder(&agent, "root");
    let id = open(&mut client, &root, true);
    let mut reader = Reader::new(&mut client, id, 0, &root);
    let mut wanted = BTreeSet::new();
    for tree in 0..30 {
        let mut path = format!("t{}", tree);
        for depth in 0..6 {
            fs::create_dir(Path::new(&root).join(&path)).expect("mkdir");
            fs::write(Path::new(&root).join(&path).join("f"), "x").expect("write");
            wanted.insert(format!("created {}/", path));
            wanted.insert(format!("created {}/f", path));
            path = format!("{}/{}", path, depth);
        }
    }
    // A tree that moves in is told like one that grows.
    let outside = folder(&agent, "outside/x/y");
    fs::write(Path::new(&outside).join("z"), "").expect("write");
    fs::rename(agent.path("outside"), Path::new(&root).join("in")).expect("rename");
    for path in ["in/", "in/x/", "in/x/y/", "in/x/y/z"] {
        wanted.insert(format!("created {}", path));
    }
    for told in &wanted {
        reader.until(&mut client, told);
    }
    assert!(!reader.told.iter().any(|told| told.starts_with("overflow")));
}

#[test]
fn a_moved_folder_keeps_the_paths_below_right() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = folder(&agent, "root");
    fs::create_dir_all(Path::new(&root).join("a/b/c")).expect("tree");
    fs::create_dir(Path::new(&root).join("d")).expect("d");
    let at = |name: &str| Path::new(&root).join(name);
    let id = open(&mut client, &root, true);
    let mut reader = Reader::new(&mut client, id, 0, &root);
    fs::rename(at("a"), at("d/e")).expect("rename");
    fs::write(at("d/e/b/c/new"), "").expect("write");
    reader.until(&mut client, "moved a -> d/e/");
    reader.until(&mut client, "created d/e/b/c/new");
    // Its name may be taken by another folder at once.
    fs::create_dir(at("a")).expect("a");
    fs::write(at("a/other"), "").expect("write");
    reader.until(&mut client, "created a/other");
    // What left is not told any more, and may come back.
    fs::rename(at("d"), agent.path("gone")).expect("out");
    reader.until(&mut client, "deleted d/");
    fs::write(agent.path("gone/e/b/c/secret"), "").expect("write");
    let told = reader.marked(&mut client, &at("end"));
    assert!(
        !told.iter().any(|told| told.contains("secret")),
        "{:?}",
        told
    );
    fs::rename(agent.path("gone"), at("back")).expect("in");
    reader.until(&mut client, "created back/e/b/c/secret");
    fs::write(at("back/e/b/c/again"), "").expect("write");
    reader.until(&mut client, "created back/e/b/c/again");
}

#[test]
fn one_file_is_watched_through_its_replacements() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = folder(&agent, "root");
    let file = format!("{}/file", root);
    fs::write(&file, "1").expect("write");
    let link = agent.path("link");
    symlink(&file, &link).expect("link");
    let id = open(&mut client, &file, true);
    let through = open(&mut client, &link, false);
    let mut reader = Reader::new(&mut client, id, 0, &file);
    let mut linked = Reader::new(&mut client, through, 0, &link);
    fs::write(format!("{}/other", root), "").expect("write");
    fs::write(&file, "2").expect("write");
    reader.until(&mut client, "modified .");
    linked.until(&mut client, "modified .");
    fs::rename(format!("{}/other", root), &file).expect("replace");
    reader.until(&mut client, "created .");
    fs::remove_file(&file).expect("remove");
    reader.until(&mut client, "deleted .");
    assert!(
        reader.told.iter().all(|told| told.ends_with(" .")),
        "{:?}",
        reader.told
    );
}

#[test]
fn the_end_of_what_is_watched_is_told() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = folder(&agent, "root/deep");
    let id = open(&mut client, &root, true);
    let mut reader = Reader::new(&mut client, id, 0, &root);
    fs::remove_dir(&root).expect("remove");
    reader.until(&mut client, "deleted ./");
    let other = folder(&agent, "other");
    let id = open(&mut client, &other, true);
    let mut reader = Reader::new(&mut client, id, 0, &other);
    fs::rename(&other, agent.path("elsewhere")).expect("rename");
    reader.until(&mut client, "deleted ./");
    fs::write(agent.path("elsewhere/x"), "").expect("write");
    assert_eq!(reader.told, ["deleted ./"]);
}

#[test]
fn readers_come_go_and_continue() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = folder(&agent, "root");
    let at = |name: &str| Path::new(&root).join(name);
    let id = open(&mut client, &root, true);
    fs::write(at("one"), "").expect("write");
    drop(client);
    let mut client = agent.connect();
    let mut first = Reader::new(&mut client, id, 0, &root);
    let mut second = Reader::new(&mut client, id, 0, &root);
    first.until(&mut client, "created one");
    second.until(&mut client, "created one");
    fs::write(at("two"), "").expect("write");
    first.until(&mut client, "created two");
    second.until(&mut client, "created two");
    let mut other = agent.connect();
    let mut late = Reader::new(&mut other, id, 1, &root);
    late.until(&mut other, "created two");
    assert!(!late.told.contains(&"created one".to_owned()));
    let beyond = other.call("ReadWatch", after(id, 999));
    assert_eq!(beyond.code(), "invalid_argument");
    other
        .call("CloseWatch", Pack::map(1).int("id", id).done())
        .ok();
    assert_eq!(client.finish(first.channel).code(), "cancelled");
    let gone = other.call("CloseWatch", Pack::map(1).int("id", id).done());
    assert_eq!(gone.code(), "not_found");
    assert_eq!(other.call("ReadWatch", after(id, 0)).code(), "not_found");
}

#[test]
fn a_late_reader_is_told_of_the_gap_and_a_slow_one_costs_little() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = folder(&agent, "root");
    let id = open(&mut client, &root, false);
    let mut slow_client = agent.connect();
    slow_client.grants = false;
    let mut slow = Reader::new(&mut slow_client, id, 0, &root);
    let mut reader = Reader::new(&mut client, id, 0, &root);
    let name = "n".repeat(200);
    for round in 0..20 {
        for file in 0..500 {
            let path = Path::new(&root).join(format!("{}-{}-{}", name, round, file));
            fs::write(&path, "").expect("write");
            fs::remove_file(&path).expect("remove");
        }
        reader.until(&mut client, &format!("deleted {}-{}-499", name, round));
    }
    assert!(reader.last >= 20_000 && reader.gaps.is_empty());
    let mut late = Reader::new(&mut client, id, 0, &root);
    late.take(&mut client);
    let (from, to) = late.gaps[0];
    assert!(from == 1 && to <= reader.last, "{:?}", late.gaps);
    while late.last < reader.last {
        late.take(&mut client);
    }
    // The slow one has had its window and takes up where the kept changes begin.
    slow_client.grants = true;
    while slow.last < reader.last {
        slow.take(&mut slow_client);
        if slow_client.grants {
            let credit = 65_536u32.to_be_bytes();
            slow_client.send(Kind::Credit, 0, slow.channel, &credit);
        }
    }
    assert_eq!(slow.gaps.len(), 1);
    assert!(agent.memory("Rss") < 24_000, "{}", agent.memory("Rss"));
}

#[test]
fn the_same_modification_is_told_once_until_it_is_read() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = folder(&agent, "root");
    let file = Path::new(&root).join("log");
    fs::write(&file, "").expect("write");
    let id = open(&mut client, &root, false);
    for round in 0..500 {
        fs::write(&file, round.to_string()).expect("write");
    }
    let mut reader = Reader::new(&mut client, id, 0, &root);
    let told = reader.marked(&mut client, &Path::new(&root).join("end"));
    assert!(!told.is_empty() && told.len() < 500, "{}", told.len());
    assert!(told.iter().all(|told| told == "modified log"));
}

#[test]
fn ten_thousand_quick_changes_lose_nothing_unsaid() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = folder(&agent, "root");
    let id = open(&mut client, &root, true);
    let script = "import os\n\
        for d in range(50):\n\
        \x20os.mkdir(f'd{d}')\n\
        for i in range(2500):\n\
        \x20d, e = i % 50, (i * 7) % 50\n\
        \x20open(f'd{d}/f{i}', 'w').write('x')\n\
        \x20os.rename(f'd{d}/f{i}', f'd{e}/g{i}')\n\
        \x20if i % 3: os.remove(f'd{e}/g{i}')\n";
    let params = Pack::map(2)
        .key("argv")
        .array(3)
        .item_text("python3")
        .item_text("-c")
        .item_text(script)
        .text("cwd", &root)
        .done();
    let channel = client.open("ExecCommand", params, true);
    let mut other = agent.connect();
    let mut reader = Reader::new(&mut other, id, 0, &root);
    let answer = client.finish(channel).ok();
    assert_eq!(answer.exit().int("code"), 0, "{}", answer.stderr());
    let told = reader.marked(&mut other, &Path::new(&root).join("end"));
    let lost = told.iter().any(|told| told.starts_with("overflow"));
    println!(
        "{} changes, overflow {}, gaps {:?}",
        told.len(),
        lost,
        reader.gaps
    );
    if lost || !reader.gaps.is_empty() {
        return; // said, as promised
    }
    // Whoever applies the changes in order has what is there.
    let mut here = BTreeSet::new();
    for told in &told {
        let words: Vec<&str> = told.split(' ').collect();
        match words[..] {
            ["created", path] | ["modified", path] | ["attributes", path] => {
                here.insert(path.to_owned());
            }
            ["deleted", path] => {
                here.remove(path);
            }
            ["moved", from, "->", to] => {
                here.remove(from);
                here.insert(to.to_owned());
            }
            _ => panic!("{}", told),
        }
    }
    let mut there = BTreeSet::new();
    for d in 0..50 {
        there.insert(format!("d{}/", d));
        let names = fs::read_dir(Path::new(&root).join(format!("d{}", d))).expect("dir");
        there.extend(names.map(|name| {
            format!(
                "d{}/{}",
                d,
                name.expect("entry").file_name().to_string_lossy()
            )
        }));
    }
    assert_eq!(here, there);
}

#[test]
fn an_overflow_is_said_and_watching_goes_on() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = folder(&agent, "root");
    let at = |name: &str| Path::new(&root).join(name);
    fs::create_dir(at("old")).expect("old");
    let id = open(&mut client, &root, true);
    let mut reader = Reader::new(&mut client, id, 0, &root);
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("limit");
    let limit: usize = limit.trim().parse().expect("a number");
    let stop = |signal: &str| {
        let pid = agent.pid().to_string();
        let done = std::process::Command::new("kill")
            .args([signal, &pid])
            .status();
        assert!(done.expect("kill").success());
    };
    stop("-STOP");
    for round in 0..limit + 100 {
        fs::write(at(if round % 2 == 0 { "x" } else { "y" }), "z").expect("write");
    }
    // This is not heard of any more, and is watched all the same.
    fs::create_dir_all(at("new/deep")).expect("new");
    fs::rename(at("old"), agent.path("left")).expect("out");
    stop("-CONT");
    reader.until(&mut client, "overflow ./");
    fs::write(at("new/deep/file"), "").expect("write");
    reader.until(&mut client, "created new/deep/file");
    fs::write(agent.path("left/file"), "").expect("write");
    let told = reader.marked(&mut client, &at("end"));
    assert!(!told.iter().any(|told| told.contains("left")), "{:?}", told);
}

#[test]
fn a_user_watches_only_what_he_may_read() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let open_to_all = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&agent.dir, open_to_all).expect("chmod");
    let root = folder(&agent, "root");
    let secret = folder(&agent, "root/secret/below");
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(agent.path("root/secret"), closed).expect("chmod");
    fs::write(format!("{}/key", root), "x").expect("write");
    fs::set_permissions(format!("{}/key", root), fs::Permissions::from_mode(0o600)).expect("chmod");
    let as_user = |path: &str| {
        Pack::map(3)
            .text("path", path)
            .flag("recursive", true)
            .text("user", "1234:1234")
            .done()
    };
    for path in [
        agent.path("root/secret"),
        secret.clone(),
        format!("{}/key", root),
    ] {
        let refused = client.call("OpenWatch", as_user(&path));
        assert_eq!(refused.code(), "permission_denied", "{}", path);
    }
    let opened = client.call("OpenWatch", as_user(&root)).ok();
    let id = opened.reply.expect("reply").int("id");
    let mut reader = Reader::new(&mut client, id, 0, &root);
    fs::write(format!("{}/hidden", secret), "").expect("write");
    let later = format!("{}/later", root);
    fs::create_dir(&later).expect("later");
    fs::set_permissions(&later, fs::Permissions::from_mode(0o700)).expect("chmod");
    let told = reader.marked(&mut client, &Path::new(&root).join("end"));
    assert!(
        !told.iter().any(|told| told.contains("hidden")),
        "{:?}",
        told
    );
    let missing = client.call("OpenWatch", as_user(&agent.path("missing")));
    assert_eq!(missing.code(), "not_found");
}

#[test]
fn watches_are_bounded_and_expire_unread() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = folder(&agent, "root");
    let soon = Pack::map(2)
        .text("path", &root)
        .uint("expires_ms", 30)
        .done();
    let reply = client.call("OpenWatch", soon.clone()).ok().reply;
    let id = reply.expect("reply").int("id");
    until("the watch to be closed", || {
        client.call("CloseWatch", after(id, 0)).code() == "invalid_argument" // an unknown field
            && client.call("CloseWatch", Pack::map(1).int("id", id).done()).code() == "not_found"
    });
    // One that is read stays.
    let long = Pack::map(2)
        .text("path", &root)
        .uint("expires_ms", 3000)
        .done();
    let reply = client.call("OpenWatch", long).ok().reply;
    let id = reply.expect("reply").int("id");
    let mut reader = Reader::new(&mut client, id, 0, &root);
    std::thread::sleep(std::time::Duration::from_millis(3500));
    reader.marked(&mut client, &Path::new(&root).join("end"));
    let open: Vec<i64> = (0..63).map(|_| open(&mut client, &root, false)).collect();
    assert_eq!(open.len(), 63);
    let params = Pack::map(1).text("path", &root).done();
    let full = client.call("OpenWatch", params.clone());
    assert_eq!(full.code(), "resource_exhausted");
    client
        .call("CloseWatch", Pack::map(1).int("id", open[0]).done())
        .ok();
    client.call("OpenWatch", params).ok();
}

#[test]
fn a_path_that_no_call_could_name_is_told_as_an_overflow() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = folder(&agent, "root");
    let id = open(&mut client, &root, true);
    let mut reader = Reader::new(&mut client, id, 0, &root);
    let at = |name: &str| Path::new(&root).join(name);
    // Folders within folders, put into each other: longer than a frame in the end.
    let nested = vec!["d".repeat(250); 15].join("/");
    let mut last = at("0");
    fs::create_dir_all(last.join(&nested)).expect("folders");
    let mut file = fs::File::create(last.join(&nested).join("file")).expect("file");
    for number in 1..72 {
        let next = at(&number.to_string());
        fs::create_dir_all(next.join(&nested)).expect("folders");
        reader.marked(&mut client, &at(&format!("made-{}", number)));
        fs::rename(&last, next.join(&nested).join("in")).expect("rename");
        reader.marked(&mut client, &at(&format!("moved-{}", number)));
        last = next;
    }
    file.write_all(b"x").expect("write");
    let told = reader.marked(&mut client, &at("end"));
    assert_eq!(told, ["overflow ./"]);
}

#[test]
fn many_halves_of_moves_cost_little() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let (root, other) = (folder(&agent, "root"), folder(&agent, "other"));
    for number in 0..5000 {
        fs::write(format!("{}/{}", root, number), "").expect("write");
    }
    let id = open(&mut client, &root, false);
    let mut reader = Reader::new(&mut client, id, 0, &root);
    for number in 0..5000 {
        let name = number.to_string();
        let from = Path::new(&root).join(&name);
        fs::rename(from, Path::new(&other).join(&name)).expect("rename");
    }
    let mut told = Vec::new();
    while told.len() < 5000 {
        reader.take(&mut client);
        told.append(&mut reader.told);
    }
    let all: BTreeSet<String> = told.into_iter().collect();
    assert_eq!(all.len(), 5000);
    assert!(all.iter().all(|told| told.starts_with("deleted ")));
}
