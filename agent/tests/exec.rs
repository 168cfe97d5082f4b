//! Processes: start, output, input, exit, users, environment.

mod common;
use caisson_agent::guest::frame::{Kind, ERROR};
use caisson_agent::guest::msgpack::Value;
use caisson_agent::guest::pack::Pack;
use common::*;

#[test]
fn a_command_runs_and_reports_its_exit() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let answer = client.exec("echo out; echo err >&2; exit 3").ok();
    assert_eq!(
        (answer.stdout(), answer.stderr()),
        ("out\n".into(), "err\n".into())
    );
    let exit = answer.exit();
    assert_eq!(
        (
            exit.int("code"),
            exit.int("stdout_bytes"),
            exit.int("stderr_bytes")
        ),
        (3, 4, 4)
    );
    assert_eq!(exit.get("signal"), Some(&Value::Nil));
    assert!(!exit.flag("timed_out"));
    assert!(exit.int("ended_at_ms") >= exit.int("started_at_ms"));
    let answer = client.exec("kill -KILL $$").ok();
    assert_eq!(answer.exit().text("signal"), "KILL");
    assert_eq!(answer.exit().get("code"), Some(&Value::Nil));
}

#[test]
fn large_output_arrives_whole() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let command = "head -c 100000000 /dev/zero | tr '\\0' x; echo end >&2";
    let answer = client.exec(command).ok();
    assert_eq!(answer.data[1].len(), 100_000_000);
    assert!(answer.data[1].iter().all(|&byte| byte == b'x'));
    assert_eq!(answer.exit().int("stdout_bytes"), 100_000_000);
    assert_eq!(answer.stderr(), "end\n");
}

#[test]
fn stdin_is_streamed_and_closed() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let content = pattern(3_000_000);
    let params = Pack::map(2)
        .text("command", "sha256sum; echo done")
        .flag("stdin", true)
        .done();
    let channel = client.open("ExecCommand", params, false);
    client.write(channel, &content, true);
    let answer = client.finish(channel).ok();
    let file = agent.path("content");
    std::fs::write(&file, &content).expect("write");
    let expected = client
        .exec(&format!("sha256sum < {}; echo done", file))
        .ok();
    assert_eq!(answer.stdout(), expected.stdout());
    assert_eq!(answer.exit().int("code"), 0);
}

#[test]
fn without_stdin_there_is_nothing_to_read() {
    let agent = Agent::start();
    let answer = agent.connect().exec("cat; echo over").ok();
    assert_eq!(answer.stdout(), "over\n");
}

#[test]
fn programs_that_cannot_run_end_with_127_or_126() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let exec = |client: &mut Client, program: &str| {
        let params = Pack::map(1).key("argv").array(1).item_text(program).done();
        client.call("ExecCommand", params).ok()
    };
    let answer = exec(&mut client, "no-such-program-here");
    assert_eq!(answer.exit().int("code"), 127);
    assert!(
        answer.stderr().contains("no-such-program-here: not found"),
        "{}",
        answer.stderr()
    );
    let answer = exec(&mut client, "/etc/passwd");
    assert_eq!(answer.exit().int("code"), 126);
    let script = agent.path("script");
    client.write_program(&script, "echo by the shell $0");
    assert_eq!(
        exec(&mut client, &script).stdout(),
        format!("by the shell {}\n", script)
    );
}

#[test]
fn directory_user_and_environment_are_set() {
    let agent = Agent::with(&["--env", "BASE=1", "--env", "OVER=base"]);
    let mut client = agent.connect();
    let params = Pack::map(4)
        .text(
            "command",
            "id -u; id -g; pwd; echo $BASE $OVER $HOME $USER; ulimit -n",
        )
        .text("cwd", "/usr")
        .text("user", "12345:54321")
        .key("env")
        .nested(1)
        .text("OVER", "request")
        .done();
    let answer = client.call("ExecCommand", params).ok();
    let text = answer.stdout();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..4], ["12345", "54321", "/usr", "1 request / 12345"]);
    let answer =
        client.exec("id -u; cat /proc/self/status | grep SigBlk; ls /proc/self/fd | wc -l");
    assert_eq!(answer.stdout(), "0\nSigBlk:\t0000000000000000\n4\n");
}

#[test]
fn what_cannot_start_is_an_error() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let mut code = |pack: Pack| client.call("ExecCommand", pack.done()).code();
    let base = |n| Pack::map(n).text("command", "true");
    assert_eq!(code(base(2).text("cwd", "/no/such/place")), "not_found");
    assert_eq!(code(base(2).text("cwd", "/etc/passwd")), "not_a_directory");
    assert_eq!(code(base(2).text("cwd", "relative")), "invalid_argument");
    assert_eq!(
        code(base(2).text("user", "nobody-like-this")),
        "no_such_user"
    );
    assert_eq!(code(base(2).text("surprise", "x")), "invalid_argument");
    assert_eq!(code(Pack::map(0)), "invalid_argument");
    assert_eq!(
        code(base(2).key("argv").array(1).item_text("x")),
        "invalid_argument"
    );
    assert_eq!(code(base(2).uint("timeout_ms", 0)), "invalid_argument");
    assert_eq!(
        client.call("NoSuchMethod", Pack::map(0).done()).code(),
        "unsupported"
    );
    assert_eq!(client.exec("echo fine").stdout(), "fine\n");
}

#[test]
fn a_deleted_directory_is_survived() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let dir = agent.path("gone");
    let command = format!("mkdir {0}; cd {0}; rmdir {0}; pwd; echo on", dir);
    assert!(client.exec(&command).ok().stdout().ends_with("on\n"));
}

#[test]
fn a_daemon_that_holds_the_pipe_does_not_hold_the_exit() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let (go, file) = (agent.path("go"), agent.path("daemon"));
    let command = format!(
        "(until [ -e {} ]; do sleep 0.02; done; echo late; echo lived > {}) & echo early",
        go, file
    );
    let answer = client.exec(&command).ok();
    assert_eq!(
        (answer.stdout(), answer.exit().int("code")),
        ("early\n".into(), 0)
    );
    std::fs::write(&go, "").expect("write");
    until("the daemon", || exists(&file));
}

#[test]
fn a_terminal_is_a_terminal() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let params = Pack::map(2)
        .text(
            "command",
            "tty; stty size; echo ready; read line; stty size; echo got $line",
        )
        .key("pty")
        .nested(2)
        .uint("cols", 91)
        .uint("rows", 17)
        .done();
    let channel = client.open("ExecCommand", params, false);
    let id = client.next(channel).expect("reply").map().int("id") as u64;
    let mut seen = String::new();
    while !seen.contains("ready") {
        let frame = client.next(channel).expect("output");
        seen += &String::from_utf8_lossy(&frame.payload);
    }
    assert!(
        seen.starts_with("/dev/pts/") && seen.contains("17 91"),
        "{}",
        seen
    );
    let size = Pack::map(3)
        .uint("id", id)
        .uint("cols", 50)
        .uint("rows", 60)
        .done();
    client.call("ResizeTerminal", size).ok();
    client.write(channel, b"hello\n", true);
    let answer = client.finish(channel).ok();
    assert!(answer.stdout().contains("60 50") && answer.stdout().contains("got hello"));
    assert_eq!(answer.exit().int("code"), 0);
}

#[test]
fn concurrent_commands_keep_apart() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let channels: Vec<u32> = (0..100)
        .map(|n| {
            let params = Pack::map(1)
                .text("command", &format!("echo {}; exit {}", n, n))
                .done();
            client.open("ExecCommand", params, true)
        })
        .collect();
    for (n, channel) in channels.into_iter().enumerate() {
        let answer = client.finish(channel).ok();
        assert_eq!(answer.stdout(), format!("{}\n", n));
        assert_eq!(answer.exit().int("code"), n as i64);
    }
}

#[test]
fn a_caller_who_leaves_ends_nothing_unless_he_asked() {
    let agent = Agent::start();
    let mut client = agent.connect();
    for kill in [false, true] {
        let params = Pack::map(2)
            .text("command", "sleep 60")
            .flag("kill_on_disconnect", kill)
            .done();
        let channel = client.open("ExecCommand", params, true);
        let pid = client.next(channel).expect("reply").map().int("pid");
        let fault = Pack::map(2)
            .text("code", "cancelled")
            .text("message", "enough")
            .done();
        client.send(Kind::End, ERROR, channel, &fault);
        client.exec("true").ok();
        if kill {
            until("the kill", || !process_exists(pid));
        } else {
            assert!(process_exists(pid));
        }
    }
}
