//! WaitSession, limits of processes, and ports that listen.

mod common;
use caisson_agent::guest::pack::Pack;
use common::*;
use std::net::{Ipv6Addr, TcpListener};

fn id(id: i64) -> Vec<u8> {
    Pack::map(1).int("id", id).done()
}

/// Runs a command with one limit.
fn limited(client: &mut Client, command: &str, name: &str, limit: u64) -> Answer {
    let params = Pack::map(2)
        .text("command", command)
        .key("limits")
        .nested(1)
        .uint(name, limit)
        .done();
    client.call("ExecCommand", params)
}

#[test]
fn waiters_are_told_at_the_end_and_at_once_afterwards() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let params = Pack::map(2)
        .text("command", "cat; exit 3")
        .flag("stdin", true)
        .done();
    let started = client.call("SpawnSession", params).ok();
    let process = started.reply.expect("reply").int("id");
    let waiting: Vec<u32> = (0..20)
        .map(|_| client.open("WaitSession", id(process), true))
        .collect();
    // One that leaves takes nothing with it.
    let mut other = agent.connect();
    other.open("WaitSession", id(process), true);
    other.call("Stats", Pack::map(0).done()).ok();
    drop(other);
    client.call("CloseInput", id(process)).ok();
    for channel in waiting {
        let exit = client
            .finish(channel)
            .ok()
            .reply
            .expect("reply")
            .map("exit");
        assert_eq!((exit.int("code"), exit.text("type")), (3, "exit".into()));
    }
    let again = client.call("WaitSession", id(process)).ok();
    assert_eq!(again.reply.expect("reply").map("exit").int("code"), 3);
    let unknown = client.call("WaitSession", id(9_999));
    assert_eq!(unknown.code(), "no_such_process");
}

#[test]
fn a_forgotten_process_is_unknown_to_waiters() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let first = client.spawn("true");
    client.call("WaitSession", id(first)).ok();
    let mut last = first;
    for _ in 0..260 {
        last = client.spawn("true");
        client.call("WaitSession", id(last)).ok();
    }
    until("the first to be forgotten", || {
        client.call("WaitSession", id(first)).code() == "no_such_process"
    });
    client.call("WaitSession", id(last)).ok();
}

#[test]
fn a_waiter_neither_frees_nor_holds_output() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let params = Pack::map(3)
        .text("command", "head -c 3000000 /dev/zero")
        .text("on_full", "block")
        .uint("output_limit", 100_000)
        .done();
    let started = client.call("SpawnSession", params).ok();
    let process = started.reply.expect("reply").int("id");
    let waiting = client.open("WaitSession", id(process), true);
    // Whoever waits does not make the writer go on; a reader does.
    let end = |client: &mut Client| {
        let listed = client.call("ListSessions", id(process)).ok();
        let sessions = listed.reply.expect("reply").list("sessions");
        sessions[0].map("stdout").int("end")
    };
    until("the log to be full", || end(&mut client) >= 100_000);
    for _ in 0..20 {
        assert_eq!(end(&mut client), 100_000);
    }
    let read = client.call("StreamOutput", id(process)).ok();
    assert_eq!(read.data[1].len(), 3_000_000);
    let exit = client
        .finish(waiting)
        .ok()
        .reply
        .expect("reply")
        .map("exit");
    assert_eq!(exit.int("stdout_bytes"), 3_000_000);
}

#[test]
fn limits_of_a_process_hold() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let spun = limited(&mut client, "while :; do :; done", "cpu_seconds", 1).ok();
    assert_eq!(spun.exit().text("signal"), "XCPU");
    let stubborn = "trap '' XCPU; while :; do :; done";
    let spun = limited(&mut client, stubborn, "cpu_seconds", 1).ok();
    assert_eq!(spun.exit().text("signal"), "KILL");
    let files = limited(&mut client, "ulimit -n; ulimit -Hn", "open_files", 10).ok();
    assert_eq!(files.stdout(), "10\n10\n");
    let open = "exec 3</dev/null; exec 4</dev/null; echo two; exec 5</dev/null; echo three";
    let opened = limited(&mut client, open, "open_files", 5);
    assert_eq!(opened.stdout(), "two\n", "{}", opened.stderr());
    let large = agent.path("large");
    let write = format!("head -c 2000000 /dev/zero > {}", large);
    let argv = Pack::map(2)
        .key("argv")
        .array(3)
        .item_text("/bin/sh")
        .item_text("-c")
        .item_text(&format!("exec {}", write))
        .key("limits")
        .nested(1)
        .uint("file_bytes", 1_000_000)
        .done();
    let written = client.call("ExecCommand", argv).ok();
    assert_eq!(written.exit().text("signal"), "XFSZ");
    assert_eq!(std::fs::metadata(&large).expect("file").len(), 1_000_000);
    let hog = "head -c 300000000 /dev/zero | tail -c 299999999 | wc -c";
    let hogged = limited(&mut client, hog, "memory_bytes", 100_000_000).ok();
    assert_ne!(hogged.stdout().trim(), "299999999");
    // The next process has the sandbox's limits again.
    let free = client.exec("ulimit -f; ulimit -v; ulimit -t").ok();
    assert_eq!(free.stdout(), "unlimited\nunlimited\nunlimited\n");
}

#[test]
fn limits_are_never_raised_and_say_what_there_is() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let hard = client.exec("ulimit -Hn").ok().stdout();
    let hard: u64 = hard.trim().parse().expect("a number");
    let refused = limited(&mut client, "true", "open_files", hard + 1);
    assert_eq!(refused.code(), "invalid_argument");
    let message = refused.error.expect("error").text("message");
    assert!(message.contains("open_files"), "{}", message);
    assert!(message.contains(&hard.to_string()), "{}", message);
    limited(&mut client, "true", "open_files", hard).ok();
    for (name, limit) in [("cpu_seconds", 0), ("memory_bytes", 5), ("threads", 7)] {
        let refused = limited(&mut client, "true", name, limit);
        assert_eq!(refused.code(), "invalid_argument", "{}", name);
    }
}

#[test]
fn ports_are_listed_with_their_owner() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let four = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let six = TcpListener::bind((Ipv6Addr::LOCALHOST, 0));
    let name = std::fs::read_to_string("/proc/self/comm").expect("comm");
    let reply = client.call("ListPorts", Pack::map(0).done()).ok().reply;
    let ports = reply.expect("reply").list("ports");
    let sorted: Vec<i64> = ports.iter().map(|port| port.int("port")).collect();
    assert!(
        sorted.windows(2).all(|pair| pair[0] <= pair[1]),
        "{:?}",
        sorted
    );
    let mut wanted = vec![(four.local_addr().expect("address"), "127.0.0.1")];
    if let Ok(six) = &six {
        wanted.push((six.local_addr().expect("address"), "::1"));
    }
    for (address, shown) in wanted {
        let mut same = ports
            .iter()
            .filter(|port| port.int("port") == i64::from(address.port()));
        let port = same
            .find(|port| port.text("address") == shown)
            .expect("listed");
        assert_eq!(port.int("pid"), i64::from(std::process::id()));
        assert_eq!(port.text("command"), name.trim_end());
        assert_eq!(port.text("user"), "root");
    }
    // One that is connected does not listen.
    let address = four.local_addr().expect("address");
    let stream = std::net::TcpStream::connect(address).expect("connect");
    let near = i64::from(stream.local_addr().expect("address").port());
    drop(four);
    let reply = client.call("ListPorts", Pack::map(0).done()).ok().reply;
    let ports = reply.expect("reply").list("ports");
    for gone in [near, i64::from(address.port())] {
        assert!(ports.iter().all(|port| port.int("port") != gone));
    }
    let more = client.call("ListPorts", Pack::map(1).uint("port", 1).done());
    assert_eq!(more.code(), "invalid_argument");
}
