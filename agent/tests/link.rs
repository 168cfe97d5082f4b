//! The link itself: hello, credits, limits, hostile bytes; Dial over it.

mod common;
use caisson_agent::guest::frame::{encode_header, Kind, ERROR, FIN, PONG};
use caisson_agent::guest::pack::Pack;
use common::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixListener;

/// Sends raw bytes behind a hello and returns the error the link ended with.
fn ends_with(agent: &Agent, bytes: &[u8]) -> String {
    let mut client = agent.connect();
    client.stream.write_all(bytes).expect("write");
    while let Some(frame) = client.read_frame() {
        if frame.header.kind == Kind::End && frame.header.channel == 0 {
            assert!(client.read_frame().is_none());
            return frame.map().text("code");
        }
    }
    "closed".into()
}

fn frame(kind: Kind, flags: u8, channel: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = encode_header(kind, flags, channel, payload.len()).to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

fn open(channel: u32, method: &str, params: Pack) -> Vec<u8> {
    let open = Pack::map(2)
        .text("method", method)
        .key("params")
        .raw(&params.done())
        .done();
    frame(Kind::Open, 0, channel, &open)
}

#[test]
fn hello_comes_first_and_fits() {
    let agent = Agent::start();
    let mut client = Client::new(agent.stream());
    let hello = client.hello();
    assert!(hello.text("build").starts_with("caisson-agent "));
    let mut late = Client::new(agent.stream());
    late.send(Kind::Ping, 0, 0, &[0; 8]);
    assert_eq!(
        late.read_frame().expect("end").map().text("code"),
        "protocol_error"
    );
    let mut future = Client::new(agent.stream());
    let params = Pack::map(3)
        .key("protocol")
        .array(2)
        .item_uint(2)
        .item_uint(9);
    future.send(
        Kind::Hello,
        0,
        0,
        &params.text("build", "x").key("features").array(0).done(),
    );
    assert_eq!(future.read_frame().expect("hello").header.kind, Kind::Hello);
    assert_eq!(
        future.read_frame().expect("end").map().text("code"),
        "protocol_error"
    );
    client.send(Kind::Ping, 0, 0, b"12345678");
    let pong = client.read_frame().expect("pong");
    assert_eq!(
        (pong.header.flags, &pong.payload[..]),
        (PONG, &b"12345678"[..])
    );
}

#[test]
fn broken_rules_end_the_link_and_nothing_else() {
    let agent = Agent::start();
    let sleep = || open(1, "ExecCommand", Pack::map(1).text("command", "sleep 5"));
    let with = |more: Vec<u8>| [sleep(), more].concat();
    for (what, bytes) in [
        ("unknown kind", vec![0, 0, 0, 0, 0, 0, 0, 1, 99, 0]),
        ("even channel", open(2, "Stats", Pack::map(0))),
        (
            "number used twice",
            [
                open(3, "Stats", Pack::map(0)),
                open(3, "Stats", Pack::map(0)),
            ]
            .concat(),
        ),
        ("not a map", frame(Kind::Open, 0, 1, &[0x01])),
        ("garbage", frame(Kind::Open, 0, 1, &[0xc1])),
        ("trailing bytes", frame(Kind::Open, 0, 1, &[0x80, 0x80])),
        ("never opened", frame(Kind::Data, 0, 7, b"x")),
        (
            "a reply of the caller",
            with(frame(Kind::Reply, FIN, 1, &[0x80])),
        ),
        (
            "an event of the caller",
            with(frame(Kind::Event, 0, 1, &[0x80])),
        ),
        (
            "credit of nothing",
            with(frame(Kind::Credit, 0, 1, &[0; 4])),
        ),
        (
            "too much credit",
            with(frame(Kind::Credit, 0, 1, &[0x80, 0, 0, 0])),
        ),
        (
            "data without credit",
            with(frame(Kind::Data, 0, 1, &vec![0; 262_145])),
        ),
        (
            "data after the end",
            with([frame(Kind::End, 0, 1, b""), frame(Kind::Data, 0, 1, b"x")].concat()),
        ),
        ("two hellos", frame(Kind::Hello, 0, 0, &[0x80])),
        ("too long", vec![0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1, 5, 0]),
    ] {
        assert_eq!(ends_with(&agent, &bytes), "protocol_error", "{}", what);
    }
    assert_eq!(agent.connect().exec("echo fine").stdout(), "fine\n");
}

#[test]
fn a_thousand_channels_are_enough() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let file = agent.path("file");
    let channels: Vec<u32> = (0..1024)
        .map(|_| client.open("WriteFile", Pack::map(1).text("path", &file).done(), false))
        .collect();
    let more = client.open("Stats", Pack::map(0).done(), false);
    assert_eq!(client.finish(more).code(), "resource_exhausted");
    for channel in channels {
        let fault = Pack::map(2)
            .text("code", "cancelled")
            .text("message", "x")
            .done();
        client.send(Kind::End, ERROR, channel, &fault);
    }
    client.exec("true").ok();
}

#[test]
fn frames_of_a_cancelled_channel_are_dropped() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let channel = client.open(
        "ExecCommand",
        Pack::map(1).text("command", "yes").done(),
        false,
    );
    client.next(channel).expect("reply");
    let fault = Pack::map(2)
        .text("code", "cancelled")
        .text("message", "x")
        .done();
    client.send(Kind::End, ERROR, channel, &fault);
    client.send(Kind::Data, 0, channel, b"late");
    client.send(Kind::Credit, 0, channel, &[0, 1, 0, 0]);
    client.send(Kind::End, 0, channel, b"");
    assert_eq!(client.exec("echo next").stdout(), "next\n");
}

#[test]
fn a_client_that_asks_without_reading_stops_itself() {
    let agent = Agent::start();
    let mut client = agent.connect();
    client
        .stream
        .set_write_timeout(Some(std::time::Duration::from_millis(300)))
        .expect("timeout");
    let pings = frame(Kind::Ping, 0, 0, &[7; 8]).repeat(10_000);
    let mut sent = 0usize;
    while client.stream.write_all(&pings).is_ok() {
        sent += pings.len();
        assert!(sent < 1 << 30);
    }
    assert!(agent.memory("Rss") < 16_000, "{}", agent.memory("Rss"));
    assert_eq!(agent.connect().exec("echo other").stdout(), "other\n");
}

#[test]
fn connections_are_dialled_both_ways() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("read");
        stream.write_all(&bytes).expect("write");
    });
    let params = Pack::map(3)
        .text("network", "tcp")
        .text("host", "localhost")
        .uint("port", u64::from(port));
    let content = pattern(2_000_000);
    let channel = client.open("Dial", params.done(), false);
    client.write(channel, &content, true);
    let answer = client.finish(channel).ok();
    assert!(answer.data[0] == content);
    echo.join().expect("echo");

    let path = agent.path("unix.sock");
    let listener = UnixListener::bind(&path).expect("bind");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        stream.write_all(&pattern(1_000_000)).expect("write");
        stream.shutdown(Shutdown::Write).expect("shutdown");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("read");
        bytes
    });
    let params = Pack::map(2)
        .text("network", "unix")
        .text("path", &path)
        .done();
    let channel = client.open("Dial", params, false);
    let answer = client.finish(channel).ok();
    assert!(answer.data[0] == pattern(1_000_000));
    client.write(channel, b"answer", true);
    assert_eq!(server.join().expect("server"), b"answer");

    let nobody = Pack::map(2)
        .text("network", "tcp")
        .uint("port", u64::from(port))
        .done();
    assert_eq!(client.call("Dial", nobody).code(), "connection_refused");
    let unknown = Pack::map(3)
        .text("network", "tcp")
        .text("host", "no.such.host")
        .uint("port", 1);
    assert_eq!(client.call("Dial", unknown.done()).code(), "not_found");
    let missing = Pack::map(2)
        .text("network", "unix")
        .text("path", "/no/such")
        .done();
    assert_eq!(client.call("Dial", missing).code(), "not_found");
}

#[test]
fn statistics_are_there() {
    let agent = Agent::start();
    let mut client = agent.connect();
    client.spawn("sleep 5 & sleep 5");
    let stats = client
        .call("Stats", Pack::map(0).done())
        .ok()
        .reply
        .expect("reply");
    assert_eq!(stats.int("sessions"), 1);
    assert!(stats.int("processes") >= 1 && stats.int("processes") <= 3);
    assert!(stats.int("memory_bytes") > 0 && stats.int("disk_total") > stats.int("disk_free"));
}

#[test]
fn a_wrong_descriptor_is_refused_with_its_reason() {
    let run = |options: &[&str]| {
        let mut command = std::process::Command::new(binary());
        let output = command.arg("guest").args(options).output().expect("run");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, message) = run(&["--listen-fd", "77"]);
    assert_eq!(code, Some(3));
    assert!(
        message.contains("--listen-fd 77: not an open descriptor"),
        "{}",
        message
    );
    assert_eq!(run(&["--frobnicate"]).0, Some(2));
    assert_eq!(run(&["--listen", "/no/such/dir/socket"]).0, Some(3));
}
