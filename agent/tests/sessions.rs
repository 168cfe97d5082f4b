//! Sessions: reading again, back-pressure, gaps, killing trees, timeouts.

mod common;
use caisson_agent::guest::frame::Kind;
use caisson_agent::guest::msgpack::Value;
use caisson_agent::guest::pack::Pack;
use common::*;
use std::time::{Duration, Instant};

fn stream(id: i64, at: u64, follow: bool) -> Vec<u8> {
    Pack::map(3)
        .int("id", id)
        .uint("stdout_offset", at)
        .flag("follow", follow)
        .done()
}

fn kill(client: &mut Client, id: i64, signal: &str, scope: &str) -> Answer {
    let params = Pack::map(3)
        .int("id", id)
        .text("signal", signal)
        .text("scope", scope)
        .done();
    client.call("KillSession", params)
}

fn session(client: &mut Client, id: i64) -> Map {
    let answer = client
        .call("ListSessions", Pack::map(1).int("id", id).done())
        .ok();
    answer
        .reply
        .expect("reply")
        .list("sessions")
        .into_iter()
        .next()
        .expect("session")
}

/// Numbers of files in which shells have left their pids.
fn pids(dir: &std::path::Path) -> Vec<i64> {
    let names = std::fs::read_dir(dir).expect("dir").flatten();
    let texts = names.filter(|entry| entry.file_name().to_string_lossy().starts_with("pid"));
    texts
        .filter_map(|entry| {
            std::fs::read_to_string(entry.path())
                .ok()?
                .trim()
                .parse()
                .ok()
        })
        .collect()
}

#[test]
fn output_is_read_again_from_any_offset_after_a_reconnect() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let id = client.spawn("for i in $(seq 200000); do echo line $i; done");
    let whole = client.call("StreamOutput", stream(id, 0, true)).ok();
    assert_eq!(whole.exit().int("code"), 0);
    let expected: String = (1..=200_000).map(|n| format!("line {}\n", n)).collect();
    assert!(whole.data[1] == expected.as_bytes());
    drop(client);
    for at in [
        0usize,
        1,
        65_536,
        300_000,
        expected.len() - 1,
        expected.len(),
    ] {
        let mut client = agent.connect();
        let answer = client
            .call("StreamOutput", stream(id, at as u64, true))
            .ok();
        assert!(answer.data[1] == expected.as_bytes()[at..], "from {}", at);
        assert_eq!(answer.exit().int("stdout_bytes"), expected.len() as i64);
        let range = answer.reply.expect("reply").map("stdout");
        assert_eq!(
            (range.int("start"), range.int("end")),
            (0, expected.len() as i64)
        );
    }
    let mut client = agent.connect();
    let beyond = client.call("StreamOutput", stream(id, expected.len() as u64 + 1, true));
    assert_eq!(beyond.code(), "invalid_argument");
}

#[test]
fn a_cut_off_exec_continues_where_its_reader_was() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let command = "head -c 30000000 /dev/urandom | tee /proc/self/fd/2 | sha256sum >&2";
    // Only the copy on stdout is compared; its digest comes on stderr at the end.
    let command = command.replace(
        "tee /proc/self/fd/2",
        &format!("tee {}", agent.path("copy")),
    );
    let command = format!("{}; cat {}", command, agent.path("copy"));
    let channel = client.open(
        "ExecCommand",
        Pack::map(1).text("command", &command).done(),
        true,
    );
    let mut id = 0;
    let mut seen = Vec::new();
    while seen.len() < 5_000_000 {
        let frame = client.next(channel).expect("output");
        match frame.header.kind {
            Kind::Reply => id = frame.map().int("id"),
            Kind::Data if frame.header.stream() == 1 => seen.extend(frame.payload),
            _ => {}
        }
    }
    drop(client);
    let mut client = agent.connect();
    let rest = client
        .call("StreamOutput", stream(id, seen.len() as u64, true))
        .ok();
    assert!(rest.events.iter().all(|event| event.text("type") != "gap"));
    seen.extend(&rest.data[1]);
    assert!(seen == std::fs::read(agent.path("copy")).expect("copy"));
}

#[test]
fn a_reader_that_stops_stops_the_writer_and_the_agent_stays_small() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let params = Pack::map(2)
        .text("command", "head -c 200000000 /dev/zero; echo x >&2")
        .uint("output_limit", 1_000_000)
        .done();
    let channel = client.open("ExecCommand", params, true);
    let id = client.next(channel).expect("reply").map().int("id");
    let mut other = agent.connect();
    let mut last = -1;
    until("the writer to stop", || {
        let end = session(&mut other, id).map("stdout").int("end");
        let same = end == last && end > 1_000_000;
        last = end;
        std::thread::sleep(Duration::from_millis(30));
        same
    });
    assert!(last <= 1_000_000 + 262_144 + 65_536, "{}", last);
    assert!(agent.memory("Rss") < 8_000, "{}", agent.memory("Rss"));
    let mut total = 0;
    loop {
        let frame = client.next(channel).expect("output");
        match frame.header.kind {
            Kind::Data if frame.header.stream() == 1 => total += frame.payload.len(),
            Kind::Event => break assert_eq!(frame.map().int("stdout_bytes"), 200_000_000),
            _ => {}
        }
    }
    assert_eq!(total, 200_000_000);
}

#[test]
fn dropped_bytes_are_reported_as_a_gap() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let params = Pack::map(2)
        .text("command", "head -c 5000000 /dev/zero; printf end")
        .uint("output_limit", 300_000)
        .done();
    let id = client
        .call("SpawnSession", params)
        .ok()
        .reply
        .expect("reply")
        .int("id");
    until("the end", || session(&mut client, id).get("exit").is_some());
    let answer = client.call("StreamOutput", stream(id, 1000, true)).ok();
    let gap = &answer.events[0];
    assert_eq!(
        (gap.text("type"), gap.text("stream")),
        ("gap".into(), "stdout".into())
    );
    assert_eq!((gap.int("from"), gap.int("to")), (1000, 4_700_003));
    assert_eq!(answer.data[1].len(), 300_000);
    assert!(answer.data[1].ends_with(b"\0end"));
    assert_eq!(answer.exit().int("stdout_bytes"), 5_000_003);
}

#[test]
fn without_following_a_stream_ends_where_it_is() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let id = client.spawn("sleep 60 & echo first; wait");
    until("output", || {
        session(&mut client, id).map("stdout").int("end") == 6
    });
    let answer = client.call("StreamOutput", stream(id, 0, false)).ok();
    assert_eq!(answer.stdout(), "first\n");
    assert!(answer.events.is_empty());
    let killed = kill(&mut client, id, "KILL", "tree").ok();
    assert_eq!(killed.reply.expect("reply").int("signalled"), 2);
    let answer = client.call("StreamOutput", stream(id, 0, false)).ok();
    assert_eq!(answer.exit().text("signal"), "KILL");
}

#[test]
fn a_timeout_kills_daemons_that_left_the_session() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let dir = agent.dir.display();
    let command = format!(
        "trap '' TERM; for i in 1 2 3; do (setsid sh -c 'echo $$ > {0}/pid'$i'; \
         trap \"\" TERM HUP; while :; do sleep 0.05; done' &) ; done; echo $$ > {0}/pid0; \
         while :; do sleep 1; done",
        dir
    );
    let params = Pack::map(2)
        .text("command", &command)
        .uint("timeout_ms", 4000)
        .done();
    let started = Instant::now();
    let answer = client.call("ExecCommand", params).ok();
    assert!(answer.exit().flag("timed_out"));
    assert_eq!(answer.exit().text("signal"), "KILL");
    assert!(started.elapsed() >= Duration::from_millis(4000));
    let pids = pids(&agent.dir);
    assert_eq!(pids.len(), 4);
    until("the daemons to die", || {
        pids.iter().all(|&pid| !process_exists(pid))
    });
}

#[test]
fn a_fork_storm_is_ended() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let file = agent.path("storm");
    // Every process leaves a mark and forks on; bounded by its depth, not by us.
    let script = format!(
        "#!/bin/sh\necho $$ >> {0}.log\n[ $1 -gt 5 ] && exec sleep 60\nn=$(($1+1))\n\
         for i in 1 2 3; do setsid {0} $n & done\nwait\n",
        file
    );
    client.write_program(&file, &script);
    let params = Pack::map(2)
        .text("command", &format!("{} 0", file))
        .uint("timeout_ms", 150)
        .done();
    let answer = client.call("ExecCommand", params).ok();
    assert!(answer.exit().flag("timed_out"));
    let log = format!("{}.log", file);
    let marks = move || std::fs::read_to_string(&log).unwrap_or_default();
    until("the storm to end", || {
        marks()
            .lines()
            .all(|pid| !process_exists(pid.parse().unwrap_or(0)))
    });
}

#[test]
fn signals_reach_their_scope() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let command = format!(
        "trap 'echo leader; exit 4' TERM; \
         setsid sh -c 'trap \"echo other; exit\" TERM; echo $$ > {}; while :; do sleep 0.02; done' & \
         while :; do sleep 0.02; done",
        agent.path("pid1")
    );
    let id = client.spawn(&command);
    until("the other", || !pids(&agent.dir).is_empty());
    let other = pids(&agent.dir)[0];
    let one = kill(&mut client, id, "TERM", "leader").ok();
    assert_eq!(one.reply.expect("reply").int("signalled"), 1);
    let answer = client.call("StreamOutput", stream(id, 0, true)).ok();
    assert_eq!(answer.exit().int("code"), 4);
    assert!(process_exists(other));
    // The leader is gone; its tree is not.
    kill(&mut client, id, "SIGTERM", "tree").ok();
    until("the other to end", || !process_exists(other));
    assert_eq!(
        kill(&mut client, 999, "TERM", "tree").code(),
        "no_such_process"
    );
    assert_eq!(
        kill(&mut client, id, "NOPE", "tree").code(),
        "invalid_argument"
    );
    assert_eq!(
        kill(&mut client, id, "TERM", "world").code(),
        "invalid_argument"
    );
}

#[test]
fn a_killed_keeper_loses_neither_exit_nor_tree() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let id = client.spawn("kill -9 $PPID; sleep 0.2; echo still; exit 7");
    let answer = client.call("StreamOutput", stream(id, 0, true)).ok();
    assert_eq!(
        (answer.stdout(), answer.exit().int("code")),
        ("still\n".into(), 7)
    );
    let params = Pack::map(2)
        .text(
            "command",
            &format!(
                "kill -9 $PPID; echo $$ > {}; while :; do sleep 1; done",
                agent.path("pid")
            ),
        )
        .uint("timeout_ms", 4000)
        .done();
    let answer = client.call("ExecCommand", params).ok();
    assert!(answer.exit().flag("timed_out"));
    assert!(!process_exists(pids(&agent.dir)[0]));
}

#[test]
fn input_is_written_and_closed_by_calls() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let params = Pack::map(2)
        .text("command", "cat")
        .flag("stdin", true)
        .done();
    let id = client
        .call("SpawnSession", params)
        .ok()
        .reply
        .expect("reply")
        .int("id");
    let content = pattern(1_000_000);
    for part in content.chunks(400_000) {
        let channel = client.open("WriteInput", Pack::map(1).int("id", id).done(), false);
        client.write(channel, part, true);
        let reply = client.finish(channel).ok().reply.expect("reply");
        assert_eq!(reply.int("written"), part.len() as i64);
    }
    client
        .call("CloseInput", Pack::map(1).int("id", id).done())
        .ok();
    let answer = client.call("StreamOutput", stream(id, 0, true)).ok();
    assert!(answer.data[1] == content);
    assert_eq!(answer.exit().int("code"), 0);
    let late = client.call("WriteInput", Pack::map(1).int("id", id).done());
    assert_eq!(late.code(), "conflict");
}

#[test]
fn sessions_are_listed_and_the_oldest_forgotten() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let params = Pack::map(2)
        .text("command", "exit 2")
        .text("tag", "mine")
        .done();
    let first = client
        .call("SpawnSession", params)
        .ok()
        .reply
        .expect("reply")
        .int("id");
    until("its end", || {
        session(&mut client, first).get("exit").is_some()
    });
    let shown = session(&mut client, first);
    assert_eq!(
        (shown.text("tag"), shown.text("command"), shown.text("user")),
        ("mine".into(), "exit 2".into(), "root".into())
    );
    assert_eq!(shown.map("exit").int("code"), 2);
    assert_eq!(shown.get("pty"), Some(&Value::Bool(false)));
    for _ in 0..270 {
        client.exec(":").ok();
    }
    let list = client.call("ListSessions", Pack::map(0).done()).ok();
    let list = list.reply.expect("reply").list("sessions");
    assert_eq!(list.len(), 256);
    assert!(list.iter().all(|session| session.int("id") > first));
    let gone = client.call("StreamOutput", stream(first, 0, true));
    assert_eq!(gone.code(), "no_such_process");
}

#[test]
fn shutdown_asks_then_kills() {
    let mut agent = Agent::start();
    let mut client = agent.connect();
    let path = agent.path("asked");
    let polite = client.spawn(&format!(
        "trap 'touch {}; exit' TERM; echo ready; while :; do sleep 0.02; done",
        path
    ));
    let stubborn = client.spawn("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    let pid = session(&mut client, stubborn).int("pid");
    for id in [polite, stubborn] {
        until("the trap", || {
            session(&mut client, id).map("stdout").int("end") == 6
        });
    }
    client
        .call("Shutdown", Pack::map(1).uint("grace_ms", 3000).done())
        .ok();
    until("the agent to end", || !agent.alive());
    assert_eq!(agent.child.wait().expect("status").code(), Some(0));
    assert!(std::path::Path::new("/proc").exists() && exists(&path));
    assert!(!process_exists(pid));
}

#[test]
fn a_full_process_table_is_an_error_and_passes() {
    let agent = Agent::start();
    let mut client = agent.connect();
    // As an ordinary user the limit on processes holds; nobody else has this uid.
    let script = "ulimit -u 8 && [ $(ulimit -u) = 8 ] || exit 9; \
                  for i in $(seq 30); do sleep 30 & done; wait";
    let params = Pack::map(2)
        .text("user", "54329")
        .key("argv")
        .array(3)
        .item_text("/bin/bash")
        .item_text("-c")
        .item_text(script)
        .done();
    let id = client
        .call("SpawnSession", params)
        .ok()
        .reply
        .expect("reply")
        .int("id");
    until("failing forks", || {
        session(&mut client, id).map("stderr").int("end") > 0
    });
    assert!(session(&mut client, id).get("exit").is_none());
    assert_eq!(client.exec("echo here").stdout(), "here\n");
    kill(&mut client, id, "KILL", "tree").ok();
}
