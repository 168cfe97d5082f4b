//! Ending whole process trees. Everything below a keeper is stopped first, so
//! that nothing can fork away, then killed, and again until nothing is left.
//! Works in steps of the event loop and needs no thread, so it works when the
//! sandbox has no process to spare.

use super::fault::Fault;
use super::pack::Pack;
use super::server::Server;
use super::session::Source;
use super::timers::Timer;
use super::tree::{descendants, scan, Process};
use crate::sys::abi::{SIGKILL, SIGSTOP};
use crate::sys::process;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Rounds of stopping before killing starts in any case.
const STOP_ROUNDS: u32 = 100;
/// After this time a caller gets his answer even if something survives in the kernel.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

pub struct Killer {
    waiting: Vec<Source>,
    stopped: BTreeSet<i32>,
    killed: BTreeSet<i32>,
    rounds: u32,
    killing: bool,
    give_up: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Leader,
    Group,
    Tree,
}

impl Server {
    /// Ends everything below a session's keeper; `source` is told when it is done.
    pub fn kill_tree(&mut self, id: u64, source: Option<Source>) {
        let killer = self.killers.entry(id).or_insert_with(|| Killer {
            waiting: Vec::new(),
            stopped: BTreeSet::new(),
            killed: BTreeSet::new(),
            rounds: 0,
            killing: false,
            give_up: Instant::now() + PATIENCE,
        });
        killer.waiting.extend(source);
        if killer.rounds == 0 {
            self.kill_step(id, Instant::now());
        }
    }

    pub fn kill_step(&mut self, id: u64, now: Instant) {
        let below = self.below(id);
        let killer = match self.killers.get_mut(&id) {
            Some(killer) => killer,
            None => return,
        };
        killer.rounds = killer.rounds.saturating_add(1);
        // Whoever is told that all are dead may ask for the exit, or for a new process, next: the exit is known then and
        // the keeper, which goes last, has given every process number back.
        let busy = self.sessions.get(&id).map_or(false, |session| {
            session.running() || session.keeper.is_some()
        });
        if (below.is_empty() && !busy) || now >= killer.give_up {
            return self.finish_kill(id);
        }
        if !killer.killing {
            let mut news = false;
            for process in &below {
                if killer.stopped.insert(process.pid) {
                    news = true;
                    process::signal(process.pid, SIGSTOP);
                }
            }
            killer.killing = !news || killer.rounds >= STOP_ROUNDS;
        }
        let mut next = now;
        if killer.killing {
            for process in &below {
                process::signal(process.pid, SIGKILL);
                killer.killed.insert(process.pid);
            }
            next = now + PAUSE;
        }
        self.timers.set(next, Timer::Kill(id));
    }

    pub fn finish_kill(&mut self, id: u64) {
        if let Some(killer) = self.killers.remove(&id) {
            let reply = Pack::map(1)
                .uint("signalled", killer.killed.len() as u64)
                .done();
            for source in killer.waiting {
                self.reply(source, reply.clone(), true);
            }
            self.check_finished(id);
        }
    }

    /// The living processes of a session.
    fn below(&self, id: u64) -> Vec<Process> {
        let session = match self.sessions.get(&id) {
            Some(session) => session,
            None => return Vec::new(),
        };
        let table = scan();
        if table.is_empty() {
            // Without /proc only the leader is known.
            let leader = session.running() && session.pid > 0;
            let alone = Process {
                pid: session.pid,
                parent: 0,
                group: session.pid,
                state: b'R',
                ticks: 0,
            };
            return if leader { vec![alone] } else { Vec::new() };
        }
        if let Some(keeper) = session.keeper {
            return descendants(&table, &[keeper], &[]);
        }
        // Its keeper was killed: what it kept is below the agent itself now.
        let agent = process::pid();
        let roots: Vec<i32> = table
            .iter()
            .filter(|process| process.parent == agent && !self.keepers.contains_key(&process.pid))
            .filter(|process| {
                !self
                    .sessions
                    .values()
                    .any(|other| other.id != id && other.running() && other.pid == process.pid)
            })
            .map(|process| process.pid)
            .collect();
        descendants(&table, &roots, &roots)
    }

    /// Sends one signal; answers `source` with how many got it.
    pub fn signal_session(
        &mut self,
        source: Source,
        id: u64,
        signal: i32,
        scope: Scope,
    ) -> Result<(), Fault> {
        let session = self.sessions.get(&id).ok_or_else(|| no_such(id))?;
        if scope == Scope::Tree && signal == SIGKILL {
            self.kill_tree(id, Some(source));
            return Ok(());
        }
        let leader = session.pid;
        let sent = match scope {
            Scope::Leader if session.running() => usize::from(process::signal(leader, signal)),
            Scope::Leader => 0,
            Scope::Group | Scope::Tree => self
                .below(id)
                .iter()
                .filter(|process| scope == Scope::Tree || process.group == leader)
                .filter(|process| process::signal(process.pid, signal))
                .count(),
        };
        self.reply(
            source,
            Pack::map(1).uint("signalled", sent as u64).done(),
            true,
        );
        Ok(())
    }

    /// Signals what lives below a session, without an answer.
    pub fn signal_tree(&self, id: u64, signal: i32) {
        for process in self.below(id) {
            process::signal(process.pid, signal);
        }
    }

    /// The timeout of a session has passed.
    pub fn on_deadline(&mut self, id: u64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            if session.running() {
                session.timed_out = true;
                session.deadline = None;
                self.kill_tree(id, None);
            }
        }
    }
}

pub fn no_such(id: u64) -> Fault {
    Fault::new(
        "no_such_process",
        format!("There is no process {} in this sandbox.", id),
    )
}
