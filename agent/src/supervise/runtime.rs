//! Runs the runtime, knows when the box is up, and waits for its end.

use super::cgroups;
use super::console::Console;
use super::options::{Namespace, Options};
use super::os::{self, Ending, Reaped};
use super::record::ExitRecord;
use crate::sys::mount;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::io::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SOCKET_NUMBER: RawFd = 3;
const STARTED_NUMBER: RawFd = 4;

/// The running box. Dropping it does not end it; `end` does.
pub struct Sandbox<'a> {
    options: &'a Options,
    signals: OwnedFd,
    console: Console,
    /// Ends when the agent has closed the descriptors that it does not know.
    started: Option<OwnedFd>,
    runtime: i32,
    /// Process 1 of the box, seen from here.
    leader: i32,
    leader_ending: Option<Ending>,
    /// What ended before the pid of the leader was known.
    early: Vec<(i32, Ending)>,
    stopping: bool,
    childless: bool,
}

impl<'a> Sandbox<'a> {
    pub fn start(
        options: &'a Options,
        signals: OwnedFd,
        socket: Option<UnixListener>,
        namespace: Option<OwnedFd>,
    ) -> Result<Sandbox<'a>, String> {
        let failed = |error: std::io::Error| format!("run {:?}: {}", options.runtime[0], error);
        let file = File::create(&options.console).map_err(failed)?;
        let (console, console_writer) = os::pipe().map_err(failed)?;
        let (started, started_writer) = os::pipe().map_err(failed)?;
        let second_writer = console_writer.try_clone().map_err(failed)?;
        let members = cgroups::open_members(&options.cgroups)?;
        let socket_fd = socket.as_ref().map(|socket| socket.as_raw_fd());
        let started_fd = options
            .pid_file
            .is_none()
            .then(|| started_writer.as_raw_fd());
        let enter = namespace
            .filter(|_| options.namespace == Namespace::Runtime)
            .map(|namespace| (namespace.as_raw_fd(), namespace));
        let processes = options.processes;
        let mut command = Command::new(&options.runtime[0]);
        command.args(&options.runtime[1..]);
        command.stdin(Stdio::null());
        command
            .stdout(Stdio::from(console_writer))
            .stderr(Stdio::from(second_writer));
        // SAFETY: only system calls on values made before the fork.
        unsafe {
            command.pre_exec(move || {
                cgroups::join(&members)?;
                if let Some((namespace, _)) = &enter {
                    mount::enter(*namespace, mount::CLONE_NEWUSER)?;
                    os::become_root()?;
                }
                if let Some(count) = processes {
                    os::limit_processes(count)?;
                }
                if let Some(socket) = socket_fd {
                    os::place_descriptor(socket, SOCKET_NUMBER)?;
                }
                if let Some(started) = started_fd {
                    os::place_descriptor(started, STARTED_NUMBER)?;
                }
                Ok(())
            });
        }
        let child = command.spawn().map_err(failed)?;
        Ok(Sandbox {
            options,
            signals,
            console: Console::new(console, file),
            started: options.pid_file.is_none().then_some(started),
            runtime: child.id() as i32,
            leader: child.id() as i32,
            leader_ending: None,
            early: Vec::new(),
            stopping: false,
            childless: false,
        })
    }

    /// Waits until the agent runs: a runtime that goes to the background has
    /// ended well and left its pid file; one that stays has an agent that closed
    /// the descriptors it was not told about.
    pub fn await_start(&mut self) -> Result<i32, String> {
        let deadline = Instant::now() + self.options.start_limit;
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Err(format!("not up within {:?}", self.options.start_limit));
            }
            // Between the end of the pipe and the sight of the agent, look often.
            let closed = self.started.is_none() && self.options.pid_file.is_none();
            let pause = if closed {
                Duration::from_millis(1)
            } else {
                deadline - now
            };
            let mut waits = vec![self.signals.as_raw_fd()];
            waits.extend(self.console.descriptor());
            waits.extend(self.started.as_ref().map(|pipe| pipe.as_raw_fd()));
            os::wait_readable(&waits, Some(pause));
            let runtime_ending = self.attend();
            if self.stopping {
                return Err("stopped before it was up".into());
            }
            match (&self.options.pid_file, runtime_ending) {
                (Some(path), Some(Ending::Code(0))) => {
                    let text = fs::read_to_string(path).unwrap_or_default();
                    let pid = text.trim().parse().ok();
                    self.leader = pid.ok_or("the runtime left no pid")?;
                    let ended = self.early.iter().find(|(pid, _)| *pid == self.leader);
                    self.leader_ending = ended.map(|(_, ending)| *ending);
                    return match self.leader_ending {
                        Some(ending) => Err(self.describe(ending)),
                        None => Ok(self.leader),
                    };
                }
                (_, Some(ending)) => return Err(self.describe(ending)),
                (None, None) => {
                    let mut byte = [0u8];
                    let pipe = self.started.as_ref().map(|pipe| pipe.as_raw_fd());
                    if pipe.map_or(false, |pipe| os::read_some(pipe, &mut byte) == Some(0)) {
                        self.started = None;
                    }
                    if let (None, Some(agent)) = (&self.started, self.agent()) {
                        return Ok(agent);
                    }
                }
                (Some(_), None) => {}
            }
        }
    }

    /// The process below the runtime, or the runtime itself, that has become
    /// another program. The end of the pipe alone may be that of a failure.
    fn agent(&self) -> Option<i32> {
        let path = Path::new(&self.options.runtime[0]);
        let runtime_name = path.file_name().unwrap_or_default().as_bytes();
        let is_other = |pid: &i32| {
            let status = fs::read_to_string(format!("/proc/{}/stat", pid)).unwrap_or_default();
            let parts = status
                .split_once('(')
                .and_then(|(_, rest)| rest.rsplit_once(") "));
            parts.map_or(false, |(name, rest)| {
                !runtime_name.starts_with(name.as_bytes()) && !rest.starts_with(['Z', 'X'])
            })
        };
        let mut candidates = children(self.runtime);
        candidates.push(self.runtime);
        candidates.into_iter().find(is_other)
    }

    fn describe(&mut self, ending: Ending) -> String {
        self.console.drain();
        let how = match ending {
            Ending::Code(code) => format!("code {}", code),
            Ending::Signal(signal) => format!("signal {}", signal),
        };
        format!(
            "the runtime ended with {}: {}",
            how,
            self.console.last_words()
        )
    }

    /// Waits for the end of the last process, however long that takes.
    pub fn await_end(&mut self) -> ExitRecord {
        while !self.childless && !self.stopping {
            let mut waits = vec![self.signals.as_raw_fd()];
            waits.extend(self.console.descriptor());
            os::wait_readable(&waits, None);
            self.attend();
            // Without its process 1 nothing of the box is worth keeping.
            self.stopping |= self.leader_ending.is_some() && !self.childless;
        }
        let asked = self.leader_ending.is_none();
        self.end();
        ExitRecord {
            reason: if asked { "stopped" } else { "exited" },
            message: self.console.last_words(),
            ending: self.leader_ending,
            oom_kills: cgroups::oom_kills(&self.options.owned_cgroups),
        }
    }

    /// Kills all below us, again and again until none is left or the time is over.
    pub fn end(&mut self) {
        let deadline = Instant::now() + self.options.stop_limit;
        while !self.childless && Instant::now() < deadline {
            cgroups::kill(&self.options.cgroups);
            cgroups::kill(&self.options.owned_cgroups);
            for pid in children(std::process::id() as i32) {
                os::send_signal(pid, os::SIGKILL);
            }
            os::wait_readable(&[self.signals.as_raw_fd()], Some(Duration::from_millis(20)));
            self.attend();
        }
        self.console.drain();
    }

    /// Serves whatever woke us. Returns how the runtime ended, when it just did.
    fn attend(&mut self) -> Option<Ending> {
        self.console.drain();
        self.stopping |= os::take_signals(&self.signals).contains(&os::SIGTERM);
        let mut runtime_ending = None;
        loop {
            match os::reap_one() {
                Reaped::Child(pid, ending) => {
                    if self.leader == self.runtime {
                        self.early.push((pid, ending));
                    }
                    if pid == self.runtime {
                        runtime_ending = Some(ending);
                    }
                    if pid == self.leader {
                        self.leader_ending = Some(ending);
                    }
                }
                Reaped::NoneEnded => break,
                Reaped::NoneLeft => {
                    self.childless = true;
                    break;
                }
            }
        }
        runtime_ending
    }
}

/// The children of a process now. Orphans below us become our children, so
/// ours are all in turn.
fn children(of: i32) -> Vec<i32> {
    if let Ok(text) = fs::read_to_string(format!("/proc/{}/task/{}/children", of, of)) {
        return text
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
    }
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok());
        let stat = pid.and_then(|_| fs::read_to_string(entry.path().join("stat")).ok());
        if let (Some(pid), Some(stat)) = (pid, stat) {
            let parent = stat
                .rsplit(')')
                .next()
                .and_then(|rest| rest.split_whitespace().nth(1));
            if parent == Some(of.to_string().as_str()) {
                found.push(pid);
            }
        }
    }
    found
}
