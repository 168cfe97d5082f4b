//! File methods.

mod common;
use caisson_agent::guest::frame::{Kind, ERROR};
use caisson_agent::guest::msgpack::Value;
use caisson_agent::guest::pack::Pack;
use common::*;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

fn path(path: &str) -> Pack {
    Pack::map(1).text("path", path)
}

#[test]
fn files_are_written_and_read_back() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let file = agent.path("deep/er/file");
    for size in [0, 1, 65_536, 5_000_000] {
        let content = pattern(size);
        let answer = client.write_file(path(&file).done(), &content).ok();
        let entry = answer.reply.expect("reply").map("entry");
        assert_eq!(
            (entry.int("size"), entry.text("type")),
            (size as i64, "file".into())
        );
        let answer = client.read_file(&file).ok();
        assert!(answer.data[0] == content);
        assert_eq!(
            answer.reply.expect("reply").map("entry").text("name"),
            "file"
        );
    }
    let params = Pack::map(3)
        .text("path", &file)
        .uint("offset", 100)
        .uint("length", 50)
        .done();
    assert!(client.call("ReadFile", params).ok().data[0] == pattern(5_000_000)[100..150]);
    let left: Vec<_> = std::fs::read_dir(agent.path("deep/er"))
        .expect("dir")
        .collect();
    assert_eq!(left.len(), 1, "no temporary file stays");
}

#[test]
fn a_folder_that_is_swapped_meanwhile_keeps_what_is_written() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let names = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(agent.path(folder)).expect("dir");
        let names = entries.map(|entry| entry.expect("entry").file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    };
    for (end, expected) in [(false, vec![]), (true, vec!["file".to_owned()])] {
        let folders = ["in", "out", "else"].map(|name| format!("{}-{}", name, end));
        let [inside, moved, other] = &folders;
        std::fs::create_dir(agent.path(inside)).expect("dir");
        std::fs::create_dir(agent.path(other)).expect("dir");
        let file = format!("{}/file", agent.path(inside));
        let channel = client.open("WriteFile", path(&file).done(), false);
        // More than a window: steps were done, so the file was begun.
        client.write(channel, &pattern(600_000), false);
        std::fs::rename(agent.path(inside), agent.path(moved)).expect("rename");
        symlink(agent.path(other), agent.path(inside)).expect("symlink");
        if end {
            client.write(channel, b"", true);
            client.finish(channel).ok();
        } else {
            let fault = Pack::map(2).text("code", "cancelled").text("message", "x");
            client.send(Kind::End, ERROR, channel, &fault.done());
            until("the file to be dropped", || names(moved).is_empty());
        }
        assert_eq!(names(moved), expected);
        assert_eq!(names(other), Vec::<String>::new());
    }
}

#[test]
fn modes_are_not_changed_through_links_that_appear_meanwhile() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let (tree, outside) = (agent.path("tree"), agent.path("outside"));
    std::fs::create_dir(&tree).expect("dir");
    for number in 0..300 {
        std::fs::write(format!("{}/{}", tree, number), "").expect("file");
    }
    std::fs::write(&outside, "").expect("file");
    std::fs::set_permissions(&outside, PermissionsExt::from_mode(0o600)).expect("mode");
    let over = Arc::new(AtomicBool::new(false));
    let swap = {
        let (over, tree, outside) = (over.clone(), tree.clone(), outside.clone());
        let (file, link) = (agent.path("a-file"), agent.path("a-link"));
        std::thread::spawn(move || {
            for number in (0..300).cycle() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let name = format!("{}/{}", tree, number);
                symlink(&outside, &link).expect("symlink");
                std::fs::rename(&link, &name).expect("rename");
                std::fs::write(&file, "").expect("file");
                std::fs::rename(&file, &name).expect("rename");
            }
        })
    };
    for _ in 0..200 {
        let params = Pack::map(3).text("path", &tree).uint("mode", 0o777);
        // A name may be gone in the middle of a swap.
        let _ends = client.call("Chmod", params.flag("recursive", true).done());
    }
    over.store(true, Ordering::Relaxed);
    swap.join().expect("swap");
    let mode = std::fs::metadata(&outside).expect("outside").mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn writing_in_place_and_atomically() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let file = agent.path("file");
    client
        .write_file(
            Pack::map(2).text("path", &file).uint("mode", 0o640).done(),
            b"0123456789",
        )
        .ok();
    assert_eq!(
        std::fs::metadata(&file).expect("meta").mode() & 0o7777,
        0o640
    );
    let inode = std::fs::metadata(&file).expect("meta").ino();
    client
        .write_file(
            Pack::map(2).text("path", &file).uint("offset", 3).done(),
            b"abc",
        )
        .ok();
    client
        .write_file(
            Pack::map(2).text("path", &file).flag("append", true).done(),
            b"!",
        )
        .ok();
    assert_eq!(std::fs::read(&file).expect("read"), b"012abc6789!");
    assert_eq!(std::fs::metadata(&file).expect("meta").ino(), inode);
    let link = agent.path("link");
    symlink(&file, &link).expect("symlink");
    client.write_file(path(&link).done(), b"through").ok();
    assert_eq!(std::fs::read(&file).expect("read"), b"through");
    assert!(std::fs::symlink_metadata(&link)
        .expect("meta")
        .file_type()
        .is_symlink());
    assert_eq!(
        std::fs::metadata(&file).expect("meta").mode() & 0o7777,
        0o640
    );
    // A caller who leaves half-way changes nothing.
    let channel = client.open("WriteFile", path(&file).done(), false);
    client.write(channel, b"half", false);
    let fault = Pack::map(2)
        .text("code", "cancelled")
        .text("message", "x")
        .done();
    client.send(
        caisson_agent::guest::frame::Kind::End,
        0x40,
        channel,
        &fault,
    );
    until("the temporary file to go", || {
        client.exec("true");
        let names = std::fs::read_dir(&agent.dir).expect("dir").flatten();
        names
            .filter(|name| name.file_name().to_string_lossy().contains(".tmp"))
            .count()
            == 0
    });
    assert_eq!(std::fs::read(&file).expect("read"), b"through");
    let both = Pack::map(3)
        .text("path", &file)
        .flag("atomic", true)
        .flag("append", true)
        .done();
    assert_eq!(client.write_file(both, b"").code(), "invalid_argument");
}

#[test]
fn errors_have_their_codes() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let file = agent.path("file");
    std::fs::write(&file, "x").expect("write");
    let dir = agent.dir.to_string_lossy().into_owned();
    let below = format!("{}/below", file);
    for (method, params, code) in [
        ("ReadFile", path("/no/such"), "not_found"),
        ("ReadFile", path(&dir), "is_a_directory"),
        ("ReadFile", path("/dev/zero"), "invalid_argument"),
        ("ReadFile", path("relative"), "invalid_argument"),
        ("ReadFile", path("/a\0b"), "invalid_argument"),
        (
            "ReadFile",
            Pack::map(2).text("path", &file).text("more", "x"),
            "invalid_argument",
        ),
        (
            "ReadFile",
            Pack::map(2).text("path", &file).text("user", "no-one"),
            "no_such_user",
        ),
        ("Stat", path(&below), "not_a_directory"),
        ("ListDir", path(&file), "not_a_directory"),
        (
            "MakeDir",
            Pack::map(2).text("path", &file).flag("parents", false),
            "already_exists",
        ),
        ("Remove", path(&dir), "not_empty"),
        ("Remove", path("/no/such"), "not_found"),
        (
            "Move",
            Pack::map(2).text("from", "/no/such").text("to", "/tmp/x"),
            "not_found",
        ),
        (
            "Chmod",
            Pack::map(2).text("path", &file).uint("mode", 0o10000),
            "invalid_argument",
        ),
        (
            "Chown",
            Pack::map(2).text("path", &file).text("owner", "no-one"),
            "no_such_user",
        ),
        (
            "Glob",
            Pack::map(1).text("pattern", "../*"),
            "invalid_argument",
        ),
    ] {
        assert_eq!(
            client.call(method, params.done()).code(),
            code,
            "{}",
            method
        );
    }
    assert_eq!(
        client.write_file(path(&dir).done(), b"x").code(),
        "is_a_directory"
    );
}

#[test]
fn file_methods_act_with_the_rights_of_their_user() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let secret = agent.path("secret");
    client
        .write_file(
            Pack::map(2)
                .text("path", &secret)
                .uint("mode", 0o600)
                .done(),
            b"s",
        )
        .ok();
    let as_user = |path: &str| {
        Pack::map(2)
            .text("path", path)
            .text("user", "12345:12345")
            .done()
    };
    assert_eq!(
        client.call("ReadFile", as_user(&secret)).code(),
        "permission_denied"
    );
    assert_eq!(
        client.call("Remove", as_user(&secret)).code(),
        "permission_denied"
    );
    assert_eq!(
        client.write_file(as_user(&agent.path("new")), b"x").code(),
        "permission_denied"
    );
    std::fs::set_permissions(&agent.dir, std::fs::Permissions::from_mode(0o777)).expect("chmod");
    let entry = client
        .write_file(as_user(&agent.path("new")), b"x")
        .ok()
        .reply
        .expect("reply");
    assert_eq!(entry.map("entry").int("uid"), 12345);
    assert_eq!(entry.map("entry").text("user"), "12345");
    // The thread that did it is the agent's again.
    for _ in 0..20 {
        assert!(client.read_file(&secret).ok().data[0] == b"s");
    }
    let socket = Pack::map(3)
        .text("network", "unix")
        .text("path", &agent.path("agent.sock"));
    let refused = client.call("Dial", socket.text("user", "12345:1").done());
    assert_eq!(refused.code(), "permission_denied");
}

#[test]
fn directories_are_listed_found_moved_and_removed() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = agent.path("tree");
    client.exec(&format!(
        "mkdir -p {0}/a/b/c; touch {0}/one.rs {0}/a/two.rs {0}/a/b/three.rs {0}/a/b/c/.hidden.rs; \
         ln -s a {0}/link; ln -s /etc {0}/etc; mkfifo {0}/pipe",
        root
    ));
    let names = |answer: Answer| {
        let prefix = format!("{}/", root);
        let mut names: Vec<String> = answer
            .ok()
            .entries()
            .iter()
            .map(|entry| entry.text("path").replace(&prefix, ""))
            .collect();
        names.sort();
        names.join(" ")
    };
    let list = |client: &mut Client, depth| {
        client.call(
            "ListDir",
            Pack::map(2).text("path", &root).uint("depth", depth).done(),
        )
    };
    assert_eq!(names(list(&mut client, 1)), "a etc link one.rs pipe");
    assert_eq!(
        names(list(&mut client, 2)),
        "a a/b a/two.rs etc link one.rs pipe"
    );
    let kinds: Vec<(String, String)> = list(&mut client, 1)
        .entries()
        .iter()
        .map(|entry| (entry.text("name"), entry.text("type")))
        .collect();
    assert!(kinds.contains(&("link".into(), "symlink".into())));
    assert!(kinds.contains(&("pipe".into(), "fifo".into())));
    let glob = |client: &mut Client, pattern: &str| {
        client.call(
            "Glob",
            Pack::map(2)
                .text("pattern", pattern)
                .text("cwd", &root)
                .done(),
        )
    };
    assert_eq!(
        names(glob(&mut client, "**/*.rs")),
        "a/b/three.rs a/two.rs one.rs"
    );
    assert_eq!(names(glob(&mut client, "*/*.rs")), "a/two.rs link/two.rs");
    assert_eq!(names(glob(&mut client, "a/b/c/.*")), "a/b/c/.hidden.rs");
    assert_eq!(names(glob(&mut client, "one.rs")), "one.rs");
    assert_eq!(names(glob(&mut client, "no/such/*")), "");
    let limited = Pack::map(2)
        .text("pattern", &format!("{}/**", root))
        .uint("limit", 2)
        .done();
    let limited = client.call("Glob", limited).ok();
    assert_eq!(limited.entries().len(), 2);
    assert_eq!(
        limited.events.last().expect("event").text("type"),
        "truncated"
    );

    let moved = agent.path("moved");
    let params = |overwrite| {
        Pack::map(3)
            .text("from", &format!("{}/one.rs", root))
            .text("to", &moved)
            .flag("overwrite", overwrite)
            .done()
    };
    std::fs::write(&moved, "old").expect("write");
    assert_eq!(client.call("Move", params(false)).code(), "already_exists");
    client.call("Move", params(true)).ok();
    assert_eq!(std::fs::read(&moved).expect("read"), b"");

    let owner = Pack::map(3)
        .text("path", &root)
        .text("owner", "777:888")
        .flag("recursive", true);
    client.call("Chown", owner.done()).ok();
    let meta = std::fs::metadata(format!("{}/a/b/three.rs", root)).expect("meta");
    assert_eq!((meta.uid(), meta.gid()), (777, 888));
    assert_eq!(std::fs::metadata("/etc").expect("meta").uid(), 0);
    let mode = Pack::map(3)
        .text("path", &root)
        .uint("mode", 0o700)
        .flag("recursive", true);
    client.call("Chmod", mode.done()).ok();
    let meta = std::fs::metadata(format!("{}/a/b/three.rs", root)).expect("meta");
    assert_eq!(meta.mode() & 0o7777, 0o700);
    assert_ne!(
        std::fs::metadata("/etc").expect("meta").mode() & 0o7777,
        0o700
    );

    let made = Pack::map(2)
        .text("path", &format!("{}/x/y", root))
        .uint("mode", 0o2777)
        .done();
    assert!(client
        .call("MakeDir", made.clone())
        .ok()
        .reply
        .expect("reply")
        .flag("created"));
    assert!(!client
        .call("MakeDir", made)
        .ok()
        .reply
        .expect("reply")
        .flag("created"));
    let stat = client
        .call("Stat", path(&format!("{}/x/y", root)).done())
        .ok();
    assert_eq!(stat.reply.expect("reply").map("entry").int("mode"), 0o2777);
    let stat = |client: &mut Client, follow| {
        let params = Pack::map(2)
            .text("path", &format!("{}/etc", root))
            .flag("follow", follow);
        client
            .call("Stat", params.done())
            .ok()
            .reply
            .expect("reply")
            .map("entry")
    };
    assert_eq!(
        stat(&mut client, false).get("target"),
        Some(&Value::Str("/etc".into()))
    );
    assert_eq!(stat(&mut client, true).text("type"), "directory");
    let all = Pack::map(2)
        .text("path", &root)
        .flag("recursive", true)
        .done();
    client.call("Remove", all).ok();
    assert!(!exists(&root) && exists("/etc/passwd"));
}

#[test]
fn a_tree_deeper_than_any_path_is_removed() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = agent.path("deep");
    // 3000 levels of 8 letters: three times longer than a path may be.
    let script = format!(
        "import os\nos.mkdir('{0}'); os.chdir('{0}')\nfor i in range(3000):\n os.mkdir('d'*8); os.chdir('d'*8)\n open('f','w')\n",
        root
    );
    std::fs::write(agent.path("deep.py"), script).expect("write");
    let made = client
        .exec(&format!("python3 {}", agent.path("deep.py")))
        .ok();
    assert_eq!(made.exit().int("code"), 0, "{}", made.stderr());
    let walk = Pack::map(2)
        .text("pattern", &format!("{}/**/f", root))
        .uint("limit", 10)
        .done();
    client.call("Glob", walk).ok();
    let mode = Pack::map(3)
        .text("path", &root)
        .uint("mode", 0o700)
        .flag("recursive", true);
    assert_eq!(client.call("Chmod", mode.done()).code(), "invalid_argument");
    let all = Pack::map(2)
        .text("path", &root)
        .flag("recursive", true)
        .done();
    client.call("Remove", all).ok();
    assert!(!exists(&root));
}

#[test]
fn a_large_directory_is_listed_with_little_memory() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let root = agent.path("many");
    client
        .exec(&format!("mkdir {0}; cd {0}; seq 20000 | xargs touch", root))
        .ok();
    let answer = client.call("ListDir", path(&root).done()).ok();
    assert_eq!(answer.entries().len(), 20_000);
    assert!(agent.memory("Rss") < 8_000, "{}", agent.memory("Rss"));
}

#[test]
fn a_full_disk_is_said_so_and_survived() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let full = client.write_file(
        Pack::map(2)
            .text("path", "/dev/full")
            .flag("atomic", false)
            .done(),
        b"x",
    );
    assert_eq!(full.code(), "no_space");
    assert_eq!(client.exec("echo on").stdout(), "on\n");
}

#[test]
fn moving_to_another_file_system_keeps_what_a_file_has() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let device = |path: &str| std::fs::metadata(path).expect("meta").dev();
    if !exists("/dev/shm") || device("/dev/shm") == device(&agent.path("")) {
        eprintln!("skipped, no second file system");
        return;
    }
    let from = format!("/dev/shm/caisson-move-{}", std::process::id());
    std::fs::write(&from, pattern(300_000)).expect("write");
    let owned = std::process::Command::new("chown")
        .args(["54321:54321", &from])
        .status();
    assert!(owned.expect("chown").success());
    // Moved by root it must not become a program that runs as root.
    std::fs::set_permissions(&from, PermissionsExt::from_mode(0o4755)).expect("mode");
    let before = std::fs::metadata(&from).expect("meta");
    let to = agent.path("moved");
    let params = Pack::map(2).text("from", &from).text("to", &to).done();
    client.call("Move", params).ok();
    let meta = std::fs::metadata(&to).expect("meta");
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o7777),
        (54321, 54321, 0o4755)
    );
    assert_eq!(
        (meta.mtime(), meta.mtime_nsec()),
        (before.mtime(), before.mtime_nsec())
    );
    assert!(std::fs::read(&to).expect("read") == pattern(300_000));
    assert!(!exists(&from));
}
