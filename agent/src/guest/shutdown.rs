//! The orderly end: TERM to all, KILL after the grace, then the agent exits.

use super::server::Server;
use super::timers::Timer;
use super::tree::scan;
use crate::sys::abi::{SIGKILL, SIGTERM};
use crate::sys::process;
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(5);
/// How long killed processes and unread answers may hold up the end.
const PATIENCE: Duration = Duration::from_secs(3);

pub struct Shutdown {
    kill_at: Instant,
    killed: bool,
    /// Nothing is left to wait for but the links.
    done_at: Option<Instant>,
}

impl Server {
    pub fn begin_shutdown(&mut self, grace: Duration) {
        if self.shutdown.is_some() {
            return;
        }
        let now = Instant::now();
        self.shutdown = Some(Shutdown {
            kill_at: now + grace,
            killed: false,
            done_at: None,
        });
        self.signal_all(SIGTERM);
        self.timers.set(now + STEP, Timer::Shutdown);
    }

    fn signal_all(&mut self, signal: i32) {
        let ids: Vec<u64> = self.sessions.keys().copied().collect();
        if self.setup.init {
            process::signal_everybody(signal);
        } else if signal == SIGKILL {
            for id in ids {
                self.kill_tree(id, None);
            }
        } else {
            for id in ids {
                self.signal_tree(id, signal);
            }
        }
    }

    /// Whether any process of the sandbox is left, keepers not counted.
    fn anything_left(&self) -> bool {
        if self.sessions.values().any(|session| session.running()) || !self.killers.is_empty() {
            return true;
        }
        if !self.setup.init {
            return !self.keepers.is_empty();
        }
        let own = process::pid();
        scan().iter().any(|process| {
            process.alive() && process.pid != own && !self.keepers.contains_key(&process.pid)
        })
    }

    pub fn shutdown_step(&mut self, now: Instant) {
        let left = self.anything_left();
        let mut kill = false;
        if let Some(shutdown) = &mut self.shutdown {
            if !left || now >= shutdown.kill_at + PATIENCE {
                shutdown.done_at.get_or_insert(now);
            } else if now >= shutdown.kill_at && !shutdown.killed {
                shutdown.killed = true;
                kill = true;
            }
        }
        if kill {
            self.signal_all(SIGKILL);
        }
        self.timers.set(now + STEP, Timer::Shutdown);
    }

    /// True once everything is over and the answers are written (or unwanted).
    pub fn shutdown_complete(&self) -> bool {
        let done_at = match self.shutdown.as_ref().and_then(|shutdown| shutdown.done_at) {
            Some(done_at) => done_at,
            None => return false,
        };
        let quiet = self
            .links
            .values()
            .all(|link| link.waiting() == 0 && link.ready.is_empty());
        quiet || done_at.elapsed() >= PATIENCE
    }
}
