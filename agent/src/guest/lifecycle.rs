//! From a process specification to its exit: start, reports of the keeper,
//! end, and what is remembered afterwards.

use super::channel::Call;
use super::fault::Fault;
use super::keeper::{self, decode_report, Report, REPORT};
use super::killer::no_such;
use super::process_spec::ProcessSpec;
use super::server::{Server, Token};
use super::session::{now_ms, Exit, Input, Reader, Session, Source, Starter, Stream};
use super::timers::Timer;
use crate::sys::process::{self, Ending};
use crate::sys::{abi, fd, pty};
use std::collections::VecDeque;
use std::io;
use std::os::unix::io::OwnedFd;
use std::time::{Duration, Instant};

/// Ended sessions remembered.
const REMEMBERED: usize = 256;
/// Bytes of output kept of all ended sessions together, and how much of that in memory.
const ENDED_KEPT: u64 = 256 << 20;
const ENDED_MEMORY: u64 = 1 << 20;
/// Most sessions running at once.
const MAX_RUNNING: usize = 4096;

/// Our and the process's ends of its pipes or terminal.
struct Plumbing {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    input: Option<OwnedFd>,
    outputs: [Option<OwnedFd>; 2],
}

impl Server {
    /// Starts a process; the answer to `source` follows when its keeper reports.
    pub fn start_process(
        &mut self,
        source: Source,
        spec: ProcessSpec,
        attach: bool,
        kill_on_disconnect: bool,
    ) -> Result<(), Fault> {
        if self.shutdown.is_some() {
            return Err(Fault::new("cancelled", "the sandbox is shutting down"));
        }
        if self.sessions.len() - self.ended.len().min(self.sessions.len()) >= MAX_RUNNING {
            return Err(Fault::new(
                "resource_exhausted",
                "too many running processes",
            ));
        }
        let (launch, user) = spec.launch(&self.setup)?;
        let cwd = launch
            .cwds
            .first()
            .map_or("/".into(), |cwd| cwd.to_string_lossy().into_owned());
        let plumbing = self
            .plumb(&spec, user.uid)
            .map_err(|error| Fault::from_io(&error, "cannot connect the process"))?;
        let id = self.next_session;
        let (started, started_at_ms) = (Instant::now(), now_ms());
        let (keeper, status) =
            keeper::start(&launch, &plumbing.stdin, &plumbing.stdout, &plumbing.stderr)
                .map_err(|error| Fault::from_io(&error, "cannot start a process"))?;
        self.next_session += 1;
        let Plumbing { input, outputs, .. } = plumbing;
        let [stdout, stderr] = outputs;
        let mut session = Session {
            id,
            user_name: user.name,
            cwd,
            pid: 0,
            keeper: Some(keeper),
            status: None,
            streams: [Stream::new(stdout, &spec), Stream::new(stderr, &spec)],
            input: Input {
                fd: input,
                queue: VecDeque::new(),
                watched: false,
            },
            readers: Vec::new(),
            waiters: Vec::new(),
            mark: [0, 0],
            starter: Some(Starter { source, attach }),
            kill_on_disconnect: kill_on_disconnect.then_some(source),
            started,
            started_at_ms,
            exit: None,
            timed_out: false,
            deadline: None,
            finished: false,
            spec,
        };
        self.keepers.insert(keeper, id);
        let watched = self
            .epoll
            .add(&status, abi::EPOLLIN, Token::Status(id).encode());
        session.status = Some(status);
        self.sessions.insert(id, Box::new(session));
        if let Err(error) = watched {
            self.abandon(id);
            return Err(Fault::from_io(&error, "cannot watch the process"));
        }
        if let Some(channel) = self.channel(source) {
            channel.call = if attach {
                Call::Starting { session: id }
            } else {
                Call::Waiting
            };
        }
        Ok(())
    }

    fn plumb(&self, spec: &ProcessSpec, uid: u32) -> io::Result<Plumbing> {
        if let Some((cols, rows)) = spec.terminal {
            let (master, slave) = pty::open(cols, rows, uid)?;
            let input = fd::duplicate(&master)?;
            return Ok(Plumbing {
                stdin: fd::duplicate(&slave)?,
                stdout: fd::duplicate(&slave)?,
                stderr: slave,
                input: Some(input),
                outputs: [Some(master), None],
            });
        }
        let (stdout_read, stdout) = fd::pipe()?;
        let (stderr_read, stderr) = fd::pipe()?;
        fd::set_nonblocking(&stdout_read)?;
        fd::set_nonblocking(&stderr_read)?;
        let (stdin, input) = if spec.stdin {
            let (read, write) = fd::pipe()?;
            fd::set_nonblocking(&write)?;
            (read, Some(write))
        } else {
            (fd::duplicate(&self.null)?, None)
        };
        let outputs = [Some(stdout_read), Some(stderr_read)];
        Ok(Plumbing {
            stdin,
            stdout,
            stderr,
            input,
            outputs,
        })
    }

    /// Reads what a keeper reports.
    pub fn on_status(&mut self, id: u64) {
        loop {
            let status = match self
                .sessions
                .get(&id)
                .and_then(|session| session.status.as_ref())
            {
                Some(status) => status,
                None => return,
            };
            let mut bytes = [0; REPORT];
            match fd::read(status, &mut bytes) {
                Ok(0) => break,
                Ok(got) => match decode_report(&bytes[..got]) {
                    Some(Report::Started(pid)) => self.process_started(id, pid),
                    Some(Report::Failed(stage, errno)) => {
                        let fault = self.sessions.get(&id).map(|session| {
                            keeper::start_fault(stage, errno, &session.cwd, &session.user_name)
                        });
                        self.start_failed(id, fault);
                        return;
                    }
                    Some(Report::Exited(status)) => self.process_exited(id, status),
                    None => {}
                },
                Err(error) if fd::interrupted(&error) => {}
                Err(_) => return, // nothing more for now
            }
        }
        // The keeper is gone, or about to be.
        if let Some(session) = self.sessions.get_mut(&id) {
            if let Some(status) = session.status.take() {
                self.epoll.remove(&status);
            }
            if session.pid == 0 {
                let fault = Fault::new("internal", "the process was killed before it started");
                self.start_failed(id, Some(fault));
            } else {
                self.look_for_orphan(id);
            }
        }
    }

    fn process_started(&mut self, id: u64, pid: i32) {
        let tokens = [Token::Output(id, 0).encode(), Token::Output(id, 1).encode()];
        let (starter, reply) = match self.sessions.get_mut(&id) {
            None => return,
            Some(session) => {
                session.pid = pid;
                session.watch_outputs(&self.epoll, tokens);
                // The time of a process begins with it, not with the wish for it.
                if let Some(limit) = session.spec.timeout_ms {
                    let deadline = Instant::now() + Duration::from_millis(limit);
                    session.deadline = Some(deadline);
                    self.timers.set(deadline, Timer::Deadline(id));
                }
                (session.starter.take(), session.reply(false))
            }
        };
        let starter = match starter {
            Some(starter) if self.channel(starter.source).is_some() => starter,
            _ => return, // the caller has left
        };
        self.reply(starter.source, reply, !starter.attach);
        if starter.attach {
            self.attach(starter.source, id, [0, 0], None, true);
        }
    }

    /// Makes a channel a reader of a session.
    pub fn attach(
        &mut self,
        source: Source,
        id: u64,
        at: [u64; 2],
        until: Option<[u64; 2]>,
        input: bool,
    ) {
        if let Some(channel) = self.channel(source) {
            channel.call = Call::Reading { session: id, input };
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.readers.push(Reader {
                source,
                at,
                until,
                turn: 0,
            });
        }
        self.wake(source);
    }

    fn start_failed(&mut self, id: u64, fault: Option<Fault>) {
        let starter = self
            .sessions
            .get_mut(&id)
            .and_then(|session| session.starter.take());
        self.abandon(id);
        if let (Some(starter), Some(fault)) = (starter, fault) {
            self.fail(starter.source, &fault);
        }
    }

    /// Forgets a session that never ran.
    fn abandon(&mut self, id: u64) {
        if let Some(mut session) = self.sessions.remove(&id) {
            session.release(&self.epoll);
            for waiter in std::mem::take(&mut session.waiters) {
                self.fail(waiter, &no_such(id));
            }
            if let Some(deadline) = session.deadline {
                self.timers.cancel(deadline, Timer::Deadline(id));
            }
            self.finish_kill(id);
        }
    }

    /// The leader ended with this wait status.
    pub fn process_exited(&mut self, id: u64, status: i32) {
        let session = match self.sessions.get_mut(&id) {
            Some(session) if session.exit.is_none() => session,
            _ => return,
        };
        session.exit = Some(Exit {
            ending: Ending::from_wait_status(status),
            ended_at_ms: now_ms().max(session.started_at_ms),
            duration_ms: session.started.elapsed().as_millis() as u64,
        });
        if let Some(deadline) = session.deadline.take() {
            self.timers.cancel(deadline, Timer::Deadline(id));
        }
        session.drain_outputs();
        session.close_input(&self.epoll);
        let rest: Vec<_> = session.input.queue.drain(..).collect();
        for item in rest {
            self.input_refused(item);
        }
        self.on_output(id, 0);
        self.on_output(id, 1);
        self.check_finished(id);
    }

    /// A child of the agent itself was reaped.
    pub fn on_child(&mut self, pid: i32, status: i32) {
        if let Some(id) = self.keepers.remove(&pid) {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.keeper = None;
            }
            self.on_status(id);
            return;
        }
        // A leader whose keeper was killed comes to us.
        let orphan = self
            .sessions
            .values()
            .find(|session| session.pid == pid && session.running());
        if let Some(id) = orphan.map(|session| session.id) {
            self.on_status(id);
            self.process_exited(id, status);
        }
    }

    /// After a keeper is gone: its leader is our child now, or was reaped unseen.
    fn look_for_orphan(&mut self, id: u64) {
        let lost = self.sessions.get(&id).map_or(false, |session| {
            session.running() && !process::signal(session.pid, 0)
        });
        if lost {
            self.process_exited(id, abi::SIGKILL);
        }
    }

    /// Completes a session once its exit is known and its last byte is here.
    pub fn check_finished(&mut self, id: u64) {
        let session = match self.sessions.get_mut(&id) {
            Some(session) if session.exit.is_some() && !session.finished => session,
            _ => return,
        };
        if !session.streams.iter().all(|stream| stream.complete) {
            return;
        }
        // A timeout promises that the whole tree is dead by the time the exit is told.
        if session.timed_out && self.killers.contains_key(&id) {
            return;
        }
        session.finished = true;
        session.compact();
        let sources: Vec<Source> = session.readers.iter().map(|reader| reader.source).collect();
        let tokens = [Token::Output(id, 0).encode(), Token::Output(id, 1).encode()];
        session.watch_outputs(&self.epoll, tokens);
        let kept = session.streams.iter().map(|stream| stream.log.kept()).sum();
        for source in sources {
            self.wake(source);
        }
        self.tell_waiters(id);
        self.ended.push_back(id);
        self.limit_ended(kept);
    }

    /// Keeps what is remembered of ended sessions within its limits, oldest first.
    fn limit_ended(&mut self, grown: u64) {
        if self.ended.len() > REMEMBERED {
            // Usually the oldest; one that is still read or has daemons stays.
            let oldest = self.ended.iter().position(|id| {
                self.sessions.get(id).map_or(true, |session| {
                    session.readers.is_empty() && session.keeper.is_none()
                })
            });
            let id = oldest.and_then(|at| self.ended.remove(at));
            if let Some(mut session) = id.and_then(|id| self.sessions.remove(&id)) {
                session.release(&self.epoll);
            }
        }
        self.ended_growth += grown;
        if self.ended_growth < ENDED_MEMORY / 2 {
            return;
        }
        self.ended_growth = 0;
        let mut kept = 0;
        for id in self.ended.iter().rev() {
            if let Some(session) = self.sessions.get_mut(id) {
                for stream in &mut session.streams {
                    kept += stream.log.kept();
                    if kept > ENDED_KEPT {
                        kept -= stream.log.kept();
                        stream.log.clear();
                    }
                }
            }
        }
        self.spill_ended(ENDED_MEMORY);
    }

    /// Moves output of ended sessions to their spools, the oldest first, until
    /// no more than `most` bytes of it are in memory. Tiny logs stay: a file
    /// costs more than they do.
    pub fn spill_ended(&mut self, most: u64) {
        const TINY: u64 = 2048;
        let mut memory = 0;
        for id in self.ended.iter().rev() {
            if let Some(session) = self.sessions.get_mut(id) {
                for stream in &mut session.streams {
                    let size = stream.log.in_memory();
                    if size > TINY && memory + size > most {
                        stream.log.move_to_spool();
                    }
                    memory += stream.log.in_memory();
                }
            }
        }
    }
}
