//! Uploads, digests and extended attributes.

mod common;
use caisson_agent::guest::msgpack::Value;
use caisson_agent::guest::pack::Pack;
use caisson_agent::guest::sha256::Sha256;
use common::*;
use std::os::unix::fs::{symlink, MetadataExt};

fn sha256(bytes: &[u8]) -> String {
    let mut hash = Sha256::default();
    hash.update(bytes);
    hash.hex()
}

fn id(id: i64) -> Pack {
    Pack::map(1).uint("id", id as u64)
}

fn open(client: &mut Client, params: Vec<u8>) -> i64 {
    let reply = client.call("OpenUpload", params).ok().reply.expect("reply");
    reply.map("upload").int("id")
}

fn begin(client: &mut Client, id: i64, offset: usize) -> u32 {
    let params = Pack::map(2)
        .uint("id", id as u64)
        .uint("offset", offset as u64)
        .done();
    client.open("WriteUpload", params, false)
}

fn write(client: &mut Client, id: i64, offset: usize, bytes: &[u8]) -> Answer {
    let channel = begin(client, id, offset);
    client.write(channel, bytes, true);
    client.finish(channel)
}

fn offset(client: &mut Client, upload: i64) -> usize {
    let reply = client.call("GetUpload", id(upload).done()).ok().reply;
    reply.expect("reply").map("upload").int("offset") as usize
}

fn names(agent: &Agent) -> Vec<String> {
    let entries = std::fs::read_dir(&agent.dir).expect("dir").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name != "agent.sock").collect();
    names.sort();
    names
}

#[test]
fn an_upload_shows_when_it_is_committed() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let file = agent.path("new/file");
    let content = pattern(3_000_000);
    let params = Pack::map(3)
        .text("path", &file)
        .uint("size", content.len() as u64)
        .uint("mode", 0o640);
    let upload = open(&mut client, params.done());
    let answer = write(&mut client, upload, 0, &content[..1_000_000]).ok();
    assert_eq!(answer.reply.expect("reply").int("offset"), 1_000_000);
    let early = client.call("CommitUpload", id(upload).done());
    assert_eq!(early.code(), "conflict");
    let detail = early.error.expect("error").map("detail");
    assert_eq!(detail.int("offset"), 1_000_000);
    let answer = write(&mut client, upload, 999_999, b"wrong place");
    assert_eq!(answer.code(), "conflict");
    let detail = answer.error.expect("error").map("detail");
    assert_eq!(detail.int("offset"), 1_000_000);
    // The file system has O_TMPFILE here: not even a hidden name shows.
    let inside = std::fs::read_dir(agent.path("new")).expect("dir");
    assert_eq!(inside.count(), 0);
    write(&mut client, upload, 1_000_000, &content[1_000_000..]).ok();
    let params = Pack::map(2).uint("id", upload as u64);
    let wrong = params.text("sha256", &"0".repeat(64)).done();
    assert_eq!(client.call("CommitUpload", wrong).code(), "digest_mismatch");
    assert!(!exists(&file));
    let params = Pack::map(2).uint("id", upload as u64);
    let right = params.text("sha256", &sha256(&content)).done();
    let reply = client.call("CommitUpload", right).ok().reply;
    let reply = reply.expect("reply");
    assert_eq!(reply.text("sha256"), sha256(&content));
    assert_eq!(reply.map("entry").int("mode"), 0o640);
    assert!(std::fs::read(&file).expect("read") == content);
    assert_eq!(
        client.call("CommitUpload", id(upload).done()).code(),
        "not_found"
    );
}

#[test]
fn a_commit_replaces_and_keeps_what_is_not_given() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let (file, link) = (agent.path("file"), agent.path("link"));
    std::fs::write(&file, "old").expect("write");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o4751))
        .expect("mode");
    symlink(&file, &link).expect("symlink");
    let upload = open(&mut client, Pack::map(1).text("path", &link).done());
    write(&mut client, upload, 0, b"new").ok();
    assert_eq!(std::fs::read(&file).expect("read"), b"old");
    client.call("CommitUpload", id(upload).done()).ok();
    assert_eq!(std::fs::read(&file).expect("read"), b"new");
    assert_eq!(
        std::fs::metadata(&file).expect("meta").mode() & 0o7777,
        0o4751
    );
    assert_eq!(names(&agent), ["file", "link"]);
    // An empty upload is an empty file.
    let upload = open(&mut client, Pack::map(1).text("path", &file).done());
    client.call("CommitUpload", id(upload).done()).ok();
    assert_eq!(std::fs::read(&file).expect("read"), b"");
}

#[test]
fn an_upload_outlives_its_links() {
    let agent = Agent::start();
    let file = agent.path("file");
    let content = pattern(600_000);
    let mut first = agent.connect();
    let upload = open(&mut first, Pack::map(1).text("path", &file).done());
    let channel = begin(&mut first, upload, 0);
    first.write(channel, &content[..200_000], false);
    let mut second = agent.connect();
    until("the bytes to arrive", || {
        offset(&mut second, upload) == 200_000
    });
    drop(first);
    let at = offset(&mut second, upload);
    write(&mut second, upload, at, &content[at..]).ok();
    let list = second.call("GetUpload", Pack::map(0).done()).ok().reply;
    let list = list.expect("reply").list("uploads");
    assert_eq!((list.len(), list[0].int("id")), (1, upload));
    assert!(list[0].get("size").is_none());
    second.call("CommitUpload", id(upload).done()).ok();
    assert!(std::fs::read(&file).expect("read") == content);
}

#[test]
fn a_new_writer_ends_the_old_one() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let file = agent.path("file");
    let upload = open(&mut client, Pack::map(1).text("path", &file).done());
    let old = begin(&mut client, upload, 0);
    client.write(old, b"old ", false);
    until("the bytes to arrive", || offset(&mut client, upload) == 4);
    write(&mut client, upload, 4, b"new").ok();
    assert_eq!(client.finish(old).code(), "cancelled");
    let late = begin(&mut client, upload, 7);
    client.write(late, b"!", false);
    until("the byte to arrive", || offset(&mut client, upload) == 8);
    client.call("CommitUpload", id(upload).done()).ok();
    assert_eq!(client.finish(late).code(), "cancelled");
    assert_eq!(std::fs::read(&file).expect("read"), b"old new!");
}

#[test]
fn nothing_is_left_of_an_upload_that_ends() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let file = agent.path("file");
    let upload = open(&mut client, Pack::map(1).text("path", &file).done());
    let writer = begin(&mut client, upload, 0);
    client.write(writer, b"some", false);
    client.call("CancelUpload", id(upload).done()).ok();
    assert_eq!(client.finish(writer).code(), "cancelled");
    for method in ["GetUpload", "CommitUpload", "CancelUpload"] {
        assert_eq!(client.call(method, id(upload).done()).code(), "not_found");
    }
    let params = Pack::map(2).text("path", &file).uint("expires_ms", 1);
    let upload = open(&mut client, params.done());
    until("the upload to expire", || {
        client.call("GetUpload", id(upload).done()).code() == "not_found"
    });
    assert!(names(&agent).is_empty());
}

#[test]
fn uploads_have_bounds() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let file = agent.path("file");
    let params = Pack::map(2).text("path", &file).uint("size", 3);
    let upload = open(&mut client, params.done());
    assert_eq!(
        write(&mut client, upload, 0, b"four").code(),
        "invalid_argument"
    );
    let deep = format!(
        "{}/{}",
        agent.path("deep"),
        vec!["d".repeat(250); 15].join("/")
    );
    for _ in 1..256 {
        open(&mut client, Pack::map(1).text("path", &deep).done());
    }
    // A list of them is one frame, in which paths are cut.
    let reply = client.call("GetUpload", Pack::map(0).done()).ok().reply;
    let listed = reply.expect("reply").list("uploads");
    assert_eq!(listed.len(), 256);
    assert!(deep.starts_with(&listed[255].text("path")));
    let reply = client.call(
        "GetUpload",
        Pack::map(1).int("id", listed[255].int("id")).done(),
    );
    let whole = reply.ok().reply.expect("reply").map("upload");
    assert_eq!(whole.text("path"), deep);
    let one_more = client.call("OpenUpload", Pack::map(1).text("path", &file).done());
    assert_eq!(one_more.code(), "resource_exhausted");
    client.call("CancelUpload", id(upload).done()).ok();
    open(&mut client, Pack::map(1).text("path", &file).done());
    let dir = agent.dir.to_string_lossy().into_owned();
    for (path, code) in [
        (dir.as_str(), "is_a_directory"),
        ("/dev/null", "invalid_argument"),
        ("relative", "invalid_argument"),
        (&agent.path("agent.sock"), "invalid_argument"),
        (
            &format!("{}/x", agent.path("agent.sock")),
            "not_a_directory",
        ),
    ] {
        let answer = client.call("OpenUpload", Pack::map(1).text("path", path).done());
        assert_eq!(answer.code(), code, "{}", path);
    }
}

#[test]
fn uploads_have_the_rights_of_their_user() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let file = agent.path("file");
    let params = Pack::map(2).text("path", &file).text("user", "54321:54321");
    let answer = client.call("OpenUpload", params.done());
    assert_eq!(answer.code(), "permission_denied");
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&agent.dir, open_to_all).expect("mode");
    let params = Pack::map(2).text("path", &file).text("user", "54321:54321");
    let upload = open(&mut client, params.done());
    write(&mut client, upload, 0, b"theirs").ok();
    let reply = client.call("CommitUpload", id(upload).done()).ok().reply;
    assert_eq!(reply.expect("reply").map("entry").int("uid"), 54321);
    assert_eq!(names(&agent), ["file"]);
}

#[test]
fn digests_are_of_the_whole_file() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let file = agent.path("file");
    for size in [0, 1, 20_000_000] {
        let content = pattern(size);
        std::fs::write(&file, &content).expect("write");
        let reply = client.call("Digest", Pack::map(1).text("path", &file).done());
        let reply = reply.ok().reply.expect("reply");
        assert_eq!(reply.text("sha256"), sha256(&content));
        assert_eq!(reply.map("entry").int("size"), size as i64);
    }
    for (path, code) in [
        ("/no/such", "not_found"),
        ("/", "is_a_directory"),
        ("/dev/zero", "invalid_argument"),
    ] {
        let answer = client.call("Digest", Pack::map(1).text("path", path).done());
        assert_eq!(answer.code(), code, "{}", path);
    }
}

#[test]
fn attributes_are_set_shown_and_removed() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let file = agent.path("file");
    std::fs::write(&file, "x").expect("write");
    symlink(&file, agent.path("link")).expect("symlink");
    let link = agent.path("link");
    let get = |client: &mut Client, path: &str| {
        let reply = client.call("GetXattrs", Pack::map(1).text("path", path).done());
        reply.ok().reply.expect("reply").map("attributes").0
    };
    let set = |client: &mut Client, name: &str, value: &[u8]| {
        let params = Pack::map(3).text("path", &link).text("name", name);
        client.call("SetXattr", params.bin("value", value).done())
    };
    assert_eq!(get(&mut client, &file), Value::Map(Vec::new()));
    set(&mut client, "user.one", b"\0binary\xff").ok();
    set(&mut client, "user.two", b"").ok();
    let mut all = match get(&mut client, &file) {
        Value::Map(all) => all,
        other => panic!("{:?}", other),
    };
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let value = |bytes: &[u8]| Value::Bin(bytes.to_vec());
    assert_eq!(
        all,
        [
            ("user.one".to_string(), value(b"\0binary\xff")),
            ("user.two".to_string(), value(b""))
        ]
    );
    let of_link = Pack::map(2)
        .text("path", &link)
        .flag("follow", false)
        .done();
    let reply = client.call("GetXattrs", of_link).ok().reply.expect("reply");
    assert_eq!(reply.map("attributes").0, Value::Map(Vec::new()));
    let remove = |client: &mut Client| {
        let params = Pack::map(2).text("path", &link).text("name", "user.one");
        client.call("RemoveXattr", params.done())
    };
    remove(&mut client).ok();
    assert_eq!(remove(&mut client).code(), "not_found");
    for (name, value, code) in [
        ("", &b""[..], "invalid_argument"),
        (&"user.".repeat(60), b"", "invalid_argument"),
        ("nonsense", b"", "unsupported"),
        ("user.big", &[0; 65_537], "invalid_argument"),
    ] {
        assert_eq!(set(&mut client, name, value).code(), code, "{}", name);
    }
    let params = Pack::map(4)
        .text("path", &file)
        .text("name", "user.x")
        .bin("value", b"x")
        .text("user", "54321:54321");
    let answer = client.call("SetXattr", params.done());
    assert_eq!(answer.code(), "permission_denied");
}
