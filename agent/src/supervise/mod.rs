//! The host-side parent of one sandbox (docs/architecture.md, "Supervisor").
//!
//! It outlives the worker that started it, holds the mounts of the box in a
//! mount namespace of its own, hands the listening socket down to the agent,
//! reaps everything, and leaves an exit record. A lock held for its whole life
//! says that the box is alive.

mod cgroups;
mod console;
mod mounts;
mod options;
mod os;
mod record;
mod runtime;
mod userns;

use options::Options;
use record::{ExitRecord, Lock, Status};
use runtime::Sandbox;
use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixListener;

pub fn main(arguments: Vec<OsString>) -> i32 {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("caisson-agent supervise: {}", message);
            return 2;
        }
    };
    let mut status = Status::new(options.status_fd);
    match supervise(&options, &mut status) {
        Ok(()) => 0,
        Err(message) => {
            status.say(&format!("failed: {}", message));
            1
        }
    }
}

fn supervise(options: &Options, status: &mut Status) -> Result<(), String> {
    os::close_all_on_exec();
    os::reserve_low_descriptors().map_err(|error| format!("descriptors: {}", error))?;
    os::detach_from_starter().map_err(|error| format!("session: {}", error))?;
    os::set_umask(0o077);
    std::env::set_current_dir(&options.dir)
        .map_err(|error| format!("{}: {}", options.dir.display(), error))?;
    let _lock = Lock::take(&options.lock)?;
    fs::remove_file(&options.exit_record).ok();

    let (record, failure) = match live(options, status) {
        Ok(record) => (record, None),
        Err(message) => (
            ExitRecord {
                reason: "failed",
                message: message.clone(),
                ending: None,
                oom_kills: cgroups::oom_kills(&options.owned_cgroups),
            },
            Some(message),
        ),
    };
    let removed = cgroups::remove(&options.owned_cgroups, options.stop_limit);
    if let Some(socket) = &options.socket {
        fs::remove_file(socket).ok();
    }
    let written = record.write(&options.exit_record);
    match failure {
        Some(message) => Err(message),
        None => removed.and(written.map_err(|error| format!("exit record: {}", error))),
    }
}

/// The whole life of the box.
fn live(options: &Options, status: &mut Status) -> Result<ExitRecord, String> {
    let signals = os::signals().map_err(|error| format!("signals: {}", error))?;
    let socket = match &options.socket {
        Some(name) => {
            fs::remove_file(name).ok();
            let bound = UnixListener::bind(name);
            Some(bound.map_err(|error| format!("socket {:?}: {}", name, error))?)
        }
        None => None,
    };
    status.say("listening");
    os::set_umask(0o022);
    let namespace = mounts::prepare(options)?;
    let mut sandbox = Sandbox::start(options, signals, socket, namespace)?;
    match sandbox.await_start() {
        Ok(pid) => status.say(&format!("started {}", pid)),
        Err(message) => {
            sandbox.end();
            return Err(message);
        }
    }
    status.close();
    Ok(sandbox.await_end())
}
