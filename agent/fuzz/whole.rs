//! A running agent fed with random bytes and mutated calls: it must answer a
//! well-behaved client afterwards, every time.

#[path = "../tests/common/mod.rs"]
mod common;

use crate::fuzz;
use crate::random::Random;
use caisson_agent::guest::frame::{encode_header, Kind, ERROR, FIN};
use caisson_agent::guest::pack::Pack;
use common::{Agent, PATIENCE};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;

const METHODS: [&str; 39] = [
    "WaitSession",
    "OpenWatch",
    "ReadWatch",
    "CloseWatch",
    "Search",
    "Replace",
    "ListPorts",
    "SpawnSession",
    "ExecCommand",
    "StreamOutput",
    "KillSession",
    "WriteInput",
    "CloseInput",
    "ResizeTerminal",
    "ListSessions",
    "ReadFile",
    "WriteFile",
    "Stat",
    "ListDir",
    "Glob",
    "MakeDir",
    "Move",
    "Chmod",
    "Dial",
    "Stats",
    "Nothing",
    "",
    "Remove",
    "GetXattrs",
    "SetXattr",
    "RemoveXattr",
    "Digest",
    "OpenUpload",
    "WriteUpload",
    "GetUpload",
    "CommitUpload",
    "CancelUpload",
    "ReadTree",
    "WriteTree",
];

/// A call that is nearly right, with harmless contents.
fn call(random: &mut Random, dir: &str) -> Vec<u8> {
    let fields = [
        "path", "command", "id", "pattern", "network", "port", "mode", "offset", "stdin",
    ];
    let count = random.below(4);
    let mut pack = Pack::map(2)
        .text("method", random.pick(&METHODS))
        .key("params")
        .nested(count);
    for _ in 0..count {
        let key = random.pick(&fields);
        pack = match (key, random.below(4)) {
            ("path", 0..=2) => pack.text(key, &format!("{}/{}", dir, random.below(4))),
            ("command", 0..=2) => pack.text(key, random.pick(&["true", "echo x", "exit 1", "cat"])),
            ("pattern", 0..=2) => pack.text(key, &format!("{}/**", dir)),
            ("network", 0..=2) => pack.text(key, random.pick(&["tcp", "unix"])),
            (_, 0) => pack.text(key, "text"),
            (_, 1) => pack.flag(key, true),
            _ => pack.uint(key, random.below(9) as u64),
        };
    }
    pack.done()
}

fn conversation(random: &mut Random, dir: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !random.chance(8) {
        let hello = Pack::map(1)
            .key("protocol")
            .array(2)
            .item_uint(1)
            .item_uint(1)
            .done();
        bytes.extend(encode_header(Kind::Hello, 0, 0, hello.len()));
        bytes.extend(hello);
    }
    let mut opened = 1;
    for _ in 0..random.below(12) {
        let any = 1 + 2 * random.below(opened as usize) as u32;
        let (kind, flags, channel, payload) = match random.below(8) {
            0..=3 => {
                let channel = opened;
                opened += 2;
                (
                    Kind::Open,
                    if random.chance(2) { FIN } else { 0 },
                    channel,
                    call(random, dir),
                )
            }
            4 => (Kind::Data, 0, any, random.bytes(3000)),
            5 => (
                Kind::Credit,
                0,
                any,
                (random.below(1 << 20) as u32).to_be_bytes().to_vec(),
            ),
            6 => (Kind::End, 0, any, Vec::new()),
            _ => (Kind::End, ERROR, any, Pack::map(0).done()),
        };
        bytes.extend(encode_header(kind, flags, channel, payload.len()));
        bytes.extend(payload);
    }
    bytes
}

#[test]
fn a_running_agent_survives() {
    // Without rights: a mutated path must not do harm to the machine it runs on.
    let mut agent = Agent::with(&["--user", "54328:54328"]);
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&agent.dir, open).expect("permissions");
    let dir = agent.path("data");
    fuzz("whole", 20, |random| {
        let mut bytes = conversation(random, &dir);
        match random.below(3) {
            0 => random.mutate(&mut bytes),
            1 if random.chance(4) => bytes.extend(random.bytes(20_000)),
            _ => {}
        }
        let mut stream = agent.stream();
        stream.set_write_timeout(Some(PATIENCE)).expect("timeout");
        let size = 1 + random.below(5000);
        for piece in bytes.chunks(size) {
            if stream.write_all(piece).is_err() {
                break; // refused by now
            }
        }
        if random.chance(2) {
            let _gone = stream.shutdown(Shutdown::Write);
            let mut answer = Vec::new();
            let _reset = stream.read_to_end(&mut answer);
        }
        drop(stream);
        if random.chance(10) {
            assert_eq!(agent.connect().exec("echo alive").ok().stdout(), "alive\n");
        }
    });
    assert!(agent.alive());
    assert_eq!(agent.connect().exec("echo alive").ok().stdout(), "alive\n");
    // One megabyte of noise in one piece.
    let mut noise = agent.stream();
    let bytes: Vec<u8> = (0..1 << 20)
        .map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let _refused = noise.write_all(&bytes);
    assert_eq!(agent.connect().exec("echo alive").ok().stdout(), "alive\n");
}
