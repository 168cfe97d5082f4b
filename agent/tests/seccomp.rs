//! The system-call filter on a running agent.

mod common;
use common::*;

#[test]
fn the_filter_denies_and_lets_work() {
    let agent = Agent::with(&["--seccomp"]);
    let mut client = agent.connect();
    let status = client
        .exec("grep -E 'Seccomp:|NoNewPrivs' /proc/self/status")
        .ok()
        .stdout();
    assert_eq!(status, "NoNewPrivs:\t1\nSeccomp:\t2\n");
    for (command, denied) in [
        ("mount -t tmpfs none /mnt", true),
        ("unshare -U true", true),
        ("unshare -n true", true),
        ("dmesg -S", true),
        ("date -s 2020-01-01", true),
        ("ls / | cat", false),
        ("(sleep 0.01 & wait)", false),
        ("find /usr/bin -maxdepth 1 | xargs -P 4 -n 50 echo", false),
    ] {
        let answer = client.exec(command).ok();
        assert_eq!(
            answer.exit().int("code") != 0,
            denied,
            "{}: {}",
            command,
            answer.stderr()
        );
    }
    // File work runs in threads, which libraries make with clone3.
    assert!(!client.read_file("/etc/passwd").ok().data[0].is_empty());
}
