//! The agent as process 1 of a pid namespace.

mod common;
use caisson_agent::guest::pack::Pack;
use common::*;
use std::time::{Duration, Instant};

#[test]
fn only_the_outside_speaks_to_process_1() {
    let agent = match Agent::as_init(&[]) {
        Some(agent) => agent,
        None => return,
    };
    let mut client = agent.connect();
    assert_eq!(
        client.exec("cat /proc/1/comm").ok().stdout(),
        "caisson-agent\n"
    );
    // The same socket by its path, from inside: closed without a word.
    let script = format!(
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('{}')\n\
         try:\n print(len(s.recv(100)))\nexcept ConnectionResetError:\n print('reset')\n",
        agent.path("agent.sock")
    );
    std::fs::write(agent.path("inside.py"), script).expect("script");
    let answer = client
        .exec(&format!("python3 {}", agent.path("inside.py")))
        .ok();
    assert!(
        ["0\n", "reset\n"].contains(&answer.stdout().as_str()),
        "{}",
        answer.stderr()
    );
    assert_eq!(client.exec("echo on").ok().stdout(), "on\n");
}

#[test]
fn process_1_reaps_and_is_not_ended_from_inside() {
    let agent = match Agent::as_init(&[]) {
        Some(agent) => agent,
        None => return,
    };
    let mut client = agent.connect();
    client
        .exec("kill -TERM 1; kill -INT 1; kill -HUP 1; kill -KILL 1; kill -USR1 1")
        .ok();
    client
        .exec("for i in $(seq 50); do (setsid true &); done")
        .ok();
    until("zombies to be reaped", || {
        let zombies = client.exec("cat /proc/[0-9]*/stat | grep -c ') Z '").ok();
        zombies.stdout() == "0\n"
    });
    // What a killed keeper kept comes to process 1 and is still killed with its session.
    let params = Pack::map(2)
        .text("command", "setsid sleep 77 & kill -9 $PPID; sleep 78")
        .uint("timeout_ms", 300)
        .done();
    assert!(client
        .call("ExecCommand", params)
        .ok()
        .exit()
        .flag("timed_out"));
    until("the sleepers to go", || {
        client
            .exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 7'")
            .ok()
            .stdout()
            <= "2\n".into()
            && client.exec("pgrep -x sleep | wc -l").ok().stdout() == "0\n"
    });
}

#[test]
fn a_fork_bomb_with_a_limit_is_ended() {
    let agent = match Agent::as_init(&[]) {
        Some(agent) => agent,
        None => return,
    };
    // Every process of it forks until the limit refuses. It checks that the limit
    // holds before it begins and ends by itself after a minute, so that a
    // failing test cannot take the machine along.
    let bomb = "import os, resource, sys, time\n\
        limit = (150, 150)\n\
        resource.setrlimit(resource.RLIMIT_NPROC, limit)\n\
        if os.getuid() != 54331 or resource.getrlimit(resource.RLIMIT_NPROC) != limit: sys.exit(9)\n\
        end = time.monotonic() + 60\n\
        while time.monotonic() < end:\n \
        try: os.fork()\n \
        except OSError: time.sleep(0.001)\n";
    let script = agent.path("bomb.py");
    std::fs::write(&script, bomb).expect("script");
    let mut client = agent.connect();
    let params = Pack::map(3)
        .text("user", "54331:54331")
        .text("command", &format!("python3 {}", script))
        .uint("timeout_ms", 700)
        .done();
    let mut other = agent.connect();
    let started = Instant::now();
    let answer = client.call("ExecCommand", params).ok();
    assert!(answer.exit().flag("timed_out"), "{:?}", answer.events);
    assert!(started.elapsed() < Duration::from_secs(50));
    until("silence", || {
        other.exec("ps -e -o uid= | grep -c 54331").ok().stdout() == "0\n"
    });
}

#[test]
fn shutdown_ends_the_namespace() {
    let mut agent = match Agent::as_init(&[]) {
        Some(agent) => agent,
        None => return,
    };
    let mut client = agent.connect();
    client.spawn("trap '' TERM; while :; do sleep 1; done");
    client
        .exec("(setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' &)")
        .ok();
    client
        .call("Shutdown", Pack::map(1).uint("grace_ms", 100).done())
        .ok();
    until("the end", || !agent.alive());
    assert_eq!(agent.child.wait().expect("status").code(), Some(0));
}
