//! What the agent costs. Prints figures; not part of the ordinary run:
//! `CAISSON_AGENT=$(../scripts/build-agent.sh) cargo test --release --test figures -- --ignored --nocapture`

mod common;
use caisson_agent::guest::frame::{Kind, FIN};
use caisson_agent::guest::pack::Pack;
use common::*;
use std::time::{Duration, Instant};

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Reads a call to its end without keeping the bytes; how many there were.
fn drain(client: &mut Client, channel: u32) -> usize {
    let mut total = 0;
    loop {
        let frame = client.next(channel).expect("frame");
        if frame.header.kind == Kind::Data {
            total += frame.payload.len();
        }
        if frame.header.flags & FIN != 0 || frame.header.kind == Kind::End {
            return total;
        }
    }
}

#[test]
#[ignore]
fn figures() {
    let agent = Agent::start();
    let mut client = agent.connect();
    let run = || {
        Pack::map(1)
            .key("argv")
            .array(1)
            .item_text("/bin/true")
            .done()
    };
    let exec = |client: &mut Client| {
        let started = Instant::now();
        client.call("ExecCommand", run()).ok();
        started.elapsed()
    };
    for _ in 0..50 {
        exec(&mut client);
    }
    let through = median((0..500).map(|_| exec(&mut client)).collect());
    let bare = median(
        (0..500)
            .map(|_| {
                let started = Instant::now();
                let status = std::process::Command::new("/bin/true").status();
                assert!(status.expect("true").success());
                started.elapsed()
            })
            .collect(),
    );
    println!(
        "exec /bin/true: {:?} through the link, {:?} by std::process",
        through, bare
    );

    std::thread::sleep(Duration::from_millis(600));
    for field in ["Private_Dirty", "Private_Clean", "Rss", "Pss"] {
        println!(
            "idle after 550 execs: {} {} KiB",
            field,
            agent.memory(field)
        );
    }

    for (what, command) in [
        ("2 GB of stdout", "head -c 2000000000 /dev/zero"),
        ("stdout in lines", "yes | head -c 300000000"),
    ] {
        let started = Instant::now();
        let params = Pack::map(1).text("command", command).done();
        let channel = client.open("ExecCommand", params, true);
        let total = drain(&mut client, channel) as f64;
        println!(
            "{}: {:.2} GB/s",
            what,
            total / started.elapsed().as_secs_f64() / 1e9
        );
    }

    let file = agent.path("file");
    let content = vec![7u8; 500_000_000];
    let started = Instant::now();
    client
        .write_file(Pack::map(1).text("path", &file).done(), &content)
        .ok();
    println!(
        "write 500 MB: {:.2} GB/s",
        0.5 / started.elapsed().as_secs_f64()
    );
    let started = Instant::now();
    let channel = client.open("ReadFile", Pack::map(1).text("path", &file).done(), true);
    let total = drain(&mut client, channel) as f64;
    println!(
        "read 500 MB: {:.2} GB/s",
        total / started.elapsed().as_secs_f64() / 1e9
    );
    let small = |client: &mut Client| {
        let started = Instant::now();
        client.read_file("/etc/hostname").ok();
        started.elapsed()
    };
    println!(
        "read a small file: {:?}",
        median((0..300).map(|_| small(&mut client)).collect())
    );
    let name = agent.path("small");
    let small = |client: &mut Client| {
        let started = Instant::now();
        client
            .write_file(Pack::map(1).text("path", &name).done(), b"x")
            .ok();
        started.elapsed()
    };
    println!(
        "write a small file: {:?}",
        median((0..100).map(|_| small(&mut client)).collect())
    );

    std::thread::sleep(Duration::from_millis(800));
    for field in ["Private_Dirty", "Rss"] {
        println!("idle after all that: {} {} KiB", field, agent.memory(field));
    }
    drop(client);
    std::thread::sleep(Duration::from_millis(500));
    println!(
        "idle without a link: Private_Dirty {} KiB",
        agent.memory("Private_Dirty")
    );
    let size = std::fs::metadata(binary()).expect("binary").len();
    println!("binary: {} KiB", size / 1024);
}
