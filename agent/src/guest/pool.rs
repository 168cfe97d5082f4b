//! Threads for what may block: file work, and connecting to sockets by path.
//!
//! A job runs in steps and never waits for a peer: each step gets input and a
//! budget of output and returns. Threads exist only while there is work.

use super::fault::Fault;
use super::identity::{self, Identity};
use super::session::Source;
use super::watch::Opened;
use crate::sys::fd;
use std::collections::VecDeque;
use std::io;
use std::os::unix::io::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most threads at once; further steps wait in line.
const THREADS: usize = 32;
const STACK: usize = 128 * 1024;
/// How long a thread without work stays for more.
const LINGER: Duration = Duration::from_millis(200);

/// What a job has to say to its caller.
pub enum Message {
    Reply(Vec<u8>),
    /// The reply, and nothing follows.
    LastReply(Vec<u8>),
    Data(Vec<u8>),
    Event(Vec<u8>),
    End,
    Fail(Fault),
    Connected(OwnedFd),
    Watching(Box<Opened>),
}

/// What a job needs to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Credit to send more.
    Output,
    /// More bytes, or their end.
    Input,
    Done,
}

#[derive(Default)]
pub struct StepIo {
    pub input: Vec<u8>,
    pub input_ended: bool,
    /// Bytes of data and events this step may produce (an event may exceed it once).
    pub budget: usize,
    pub out: Vec<Message>,
}

pub trait Job: Send {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault>;
}

/// A job that is given up. What it then removes may take long, so it is dropped
/// where it ran.
struct GivenUp(Option<Box<dyn Job>>);

impl Job for GivenUp {
    fn step(&mut self, _io: &mut StepIo) -> Result<Next, Fault> {
        self.0 = None;
        Ok(Next::Done)
    }
}

/// Where tasks come from whose end nobody waits for: no link has this number.
pub const NOBODY: Source = (0, 1);

pub struct Task {
    pub source: Source,
    /// Tells apart tasks of a channel number that was given up meanwhile.
    pub ticket: u64,
    pub identity: Arc<Identity>,
    pub job: Box<dyn Job>,
    pub io: StepIo,
    pub result: Result<Next, Fault>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Task>,
    done: Vec<Task>,
    threads: usize,
    idle: usize,
    /// Nobody waits for threads any more.
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    wake: OwnedFd,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held; a poisoned queue is still a queue.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(self: &Arc<Shared>, task: Task) -> Result<(), Box<Task>> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(Box::new(task));
        }
        queue.waiting.push_back(task);
        if queue.idle >= queue.waiting.len() {
            self.work.notify_one();
            return Ok(());
        }
        if queue.threads < THREADS {
            let shared = self.clone();
            let spawned = std::thread::Builder::new()
                .stack_size(STACK)
                .spawn(move || serve(&shared));
            if spawned.is_ok() {
                queue.threads += 1;
            } else if queue.threads == 0 {
                // The limit on processes is reached and nobody will ever serve it.
                if let Some(task) = queue.waiting.pop_back() {
                    return Err(Box::new(task));
                }
            }
        }
        self.work.notify_one();
        Ok(())
    }
}

pub struct Pool {
    shared: Arc<Shared>,
    next_ticket: u64,
}

/// Takes jobs that are given up.
#[derive(Clone)]
pub struct Remover(Arc<Shared>);

impl Remover {
    pub fn give_up(&self, identity: Arc<Identity>, job: Box<dyn Job>) {
        self.run_unheard(identity, Box::new(GivenUp(Some(job))));
    }

    /// Runs a job of one step that nobody waits for.
    pub fn run_unheard(&self, identity: Arc<Identity>, job: Box<dyn Job>) {
        let task = Task {
            source: NOBODY,
            ticket: 0,
            identity,
            job,
            io: StepIo::default(),
            result: Ok(Next::Done),
        };
        // When no thread can be had, or waited for, dropping it here must do.
        let _dropped = self.0.submit(task);
    }
}

impl Pool {
    pub fn new() -> io::Result<Pool> {
        let shared = Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            wake: fd::eventfd()?,
        };
        Ok(Pool {
            shared: Arc::new(shared),
            next_ticket: 1,
        })
    }

    pub fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Becomes readable when tasks are done.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.shared.wake
    }

    /// Runs one step of a job. The task comes back through `collect`, or at
    /// once when no thread can be had.
    pub fn submit(&self, task: Task) -> Result<(), Box<Task>> {
        self.shared.submit(task)
    }

    /// The agent is about to exit: what is given up from now on is dropped at once.
    pub fn close(&self) {
        self.shared.lock().closed = true;
    }

    pub fn remover(&self) -> Remover {
        Remover(self.shared.clone())
    }

    pub fn collect(&self) -> Vec<Task> {
        let mut count = [0; 8];
        // An empty counter only means that somebody was faster.
        let _reset = fd::read(&self.shared.wake, &mut count);
        std::mem::take(&mut self.shared.lock().done)
    }
}

fn serve(shared: &Shared) {
    let mut queue = shared.lock();
    loop {
        if let Some(mut task) = queue.waiting.pop_front() {
            drop(queue);
            task.result = identity::act_as(&task.identity, || task.job.step(&mut task.io))
                .unwrap_or_else(Err);
            queue = shared.lock();
            queue.done.push(task);
            let _full_counter_wakes_too = fd::write(&shared.wake, &1u64.to_ne_bytes());
            continue;
        }
        queue.idle += 1;
        let (guard, timeout) = shared
            .work
            .wait_timeout(queue, LINGER)
            .unwrap_or_else(PoisonError::into_inner);
        queue = guard;
        queue.idle -= 1;
        if timeout.timed_out() && queue.waiting.is_empty() {
            queue.threads -= 1;
            return;
        }
    }
}
