//! The event loop of the agent: one thread, level-triggered epoll. Handlers
//! only change state and queue frames; what waits is written at the end of a
//! turn. Nothing here blocks: file work runs in the pool.

use super::killer::Killer;
use super::link::{Link, OUT_HIGH, OUT_LOW};
use super::pool::Pool;
use super::session::{Session, Source};
use super::shutdown::Shutdown;
use super::startup::Setup;
use super::timers::{Timer, Timers};
use super::uploads::Uploads;
use super::watch::Watch;
use crate::sys::abi;
use crate::sys::fd::{self, Epoll};
use crate::sys::{net, process};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::unix::io::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most links at once; further connections are closed.
const MAX_LINKS: usize = 64;
/// How long a connection may take for its hello.
const HELLO_TIME: Duration = Duration::from_secs(10);
/// Quiet time after which buffers are given back.
const QUIET: Duration = Duration::from_millis(250);

/// Output of ended sessions that stays in memory while nothing happens, in bytes.
const ENDED_MEMORY_IDLE: u64 = 32_768;

/// What an epoll event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Listener,
    Signals,
    Pool,
    Link(u64),
    Output(u64, usize),
    Input(u64),
    Status(u64),
    Dial(u64),
    Watch(u64),
}

impl Token {
    pub fn encode(self) -> u64 {
        let (kind, id) = match self {
            Token::Listener => (0, 0),
            Token::Signals => (1, 0),
            Token::Pool => (2, 0),
            Token::Link(id) => (3, id),
            Token::Output(id, which) => (4 + which as u64, id),
            Token::Input(id) => (6, id),
            Token::Status(id) => (7, id),
            Token::Dial(id) => (8, id),
            Token::Watch(id) => (9, id),
        };
        kind << 56 | id
    }

    fn decode(raw: u64) -> Token {
        let id = raw & ((1 << 56) - 1);
        match raw >> 56 {
            0 => Token::Listener,
            1 => Token::Signals,
            2 => Token::Pool,
            3 => Token::Link(id),
            4 => Token::Output(id, 0),
            5 => Token::Output(id, 1),
            6 => Token::Input(id),
            7 => Token::Status(id),
            8 => Token::Dial(id),
            _ => Token::Watch(id),
        }
    }
}

pub struct Server {
    pub setup: Setup,
    pub epoll: Epoll,
    pub links: BTreeMap<u64, Link>,
    pub sessions: BTreeMap<u64, Box<Session>>,
    /// Ended sessions, oldest first.
    pub ended: VecDeque<u64>,
    /// Output kept of sessions that ended since the limits were last checked.
    pub ended_growth: u64,
    pub next_session: u64,
    pub timers: Timers,
    pub pool: Pool,
    pub uploads: Arc<Uploads>,
    pub next_upload: u64,
    /// The call that writes to an upload.
    pub upload_writers: BTreeMap<u64, Source>,
    /// Dialled connections by number: the channel they belong to.
    pub dials: BTreeMap<u64, (u64, u32)>,
    pub next_dial: u64,
    /// Sessions by the pid of their keeper.
    pub keepers: BTreeMap<i32, u64>,
    pub killers: BTreeMap<u64, Killer>,
    pub watches: BTreeMap<u64, Watch>,
    pub next_watch: u64,
    pub shutdown: Option<Shutdown>,
    pub started: Instant,
    pub null: OwnedFd,
    /// A buffer for reads, lent to whoever needs one.
    pub scratch: Vec<u8>,
    /// Links that may have something to write.
    pub dirty: BTreeSet<u64>,
    listener: OwnedFd,
    /// Given up for a moment to turn connections away when no descriptor is left.
    reserve: Option<OwnedFd>,
    signals: OwnedFd,
    next_link: u64,
    /// Buffers have grown since they were last given back.
    used: bool,
}

impl Server {
    pub fn new(setup: Setup, listener: OwnedFd) -> io::Result<Server> {
        let epoll = Epoll::new()?;
        let mut handled = vec![abi::SIGCHLD, abi::SIGTERM, abi::SIGINT, abi::SIGHUP];
        handled.extend_from_slice(&[10, 12, 14, 20, 21, 22]);
        let signals = process::signal_descriptor(&handled)?;
        let pool = Pool::new()?;
        epoll.add(&listener, abi::EPOLLIN, Token::Listener.encode())?;
        epoll.add(&signals, abi::EPOLLIN, Token::Signals.encode())?;
        epoll.add(pool.descriptor(), abi::EPOLLIN, Token::Pool.encode())?;
        Ok(Server {
            setup,
            epoll,
            links: BTreeMap::new(),
            sessions: BTreeMap::new(),
            ended: VecDeque::new(),
            ended_growth: 0,
            next_session: 1,
            timers: Timers::default(),
            pool,
            uploads: Arc::default(),
            next_upload: 1,
            upload_writers: BTreeMap::new(),
            dials: BTreeMap::new(),
            next_dial: 1,
            keepers: BTreeMap::new(),
            killers: BTreeMap::new(),
            watches: BTreeMap::new(),
            next_watch: 1,
            shutdown: None,
            started: Instant::now(),
            null: super::startup::null_device()?,
            scratch: Vec::new(),
            dirty: BTreeSet::new(),
            listener,
            reserve: super::startup::null_device().ok(),
            signals,
            next_link: 1,
            used: false,
        })
    }

    /// Serves until shut down; the exit code.
    pub fn run(&mut self) -> i32 {
        let mut events = [abi::EpollEvent { events: 0, data: 0 }; 64];
        loop {
            let quiet = self.used.then_some(QUIET);
            let timeout = self.timers.wait_ms(Instant::now(), quiet);
            let ready = match self.epoll.wait(&mut events, timeout) {
                Ok(ready) => ready.to_vec(),
                Err(error) => {
                    // Cannot happen with a valid epoll; never spin on it.
                    eprintln!("caisson-agent: epoll: {}", error);
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            let idle = ready.is_empty();
            for event in ready {
                let (token, happened) = (event.data, event.events);
                self.dispatch(Token::decode(token), happened);
            }
            let now = Instant::now();
            while let Some(timer) = self.timers.due(now) {
                self.on_timer(timer, now);
            }
            self.write_all();
            if self.shutdown_complete() {
                self.pool.close();
                return 0;
            }
            if !idle {
                self.used = true;
            } else if self.used && !self.timers.due_before(now + QUIET) {
                self.give_back();
            }
        }
    }

    fn dispatch(&mut self, token: Token, happened: u32) {
        match token {
            Token::Listener => self.accept(),
            Token::Signals => self.on_signals(),
            Token::Pool => self.on_pool(),
            Token::Link(id) => self.on_link(id, happened),
            Token::Output(id, which) => self.on_output(id, which),
            Token::Input(id) => self.write_input(id),
            Token::Status(id) => self.on_status(id),
            Token::Dial(number) => self.on_dial(number, happened),
            Token::Watch(id) => self.on_watch(id),
        }
    }

    fn on_timer(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Hello(link) => {
                if self.links.get(&link).map_or(false, |link| !link.greeted) {
                    self.drop_link(link);
                }
            }
            Timer::Close(link) => self.drop_link(link),
            Timer::Deadline(session) => self.on_deadline(session),
            Timer::Kill(session) => self.kill_step(session, now),
            Timer::Upload(id) => self.on_upload_timer(id, now),
            Timer::WatchExpiry(watch) => self.close_watch(watch, "nobody read the watch"),
            Timer::WatchStep(watch) => self.on_watch(watch),
            Timer::Shutdown => self.shutdown_step(now),
        }
    }

    fn accept(&mut self) {
        // A bounded number per turn, so that connecting cannot starve the rest.
        for _ in 0..16 {
            let connection = match net::accept(&self.listener) {
                Ok(connection) => connection,
                Err(error) => {
                    let full = [abi::EMFILE, abi::ENFILE].map(Some);
                    if full.contains(&error.raw_os_error()) {
                        // Left in the queue it would be reported for ever.
                        self.reserve = None;
                        drop(net::accept(&self.listener));
                        self.reserve = super::startup::null_device().ok();
                    }
                    return; // nobody left, or gone again; epoll reports the next
                }
            };
            // gVisor names ourselves as every peer; on Linux no one else can show our pid.
            let ours = std::process::id() as i32;
            let inside = self.setup.init
                && net::peer_pid(&connection).map_or(true, |pid| pid != 0 && pid != ours);
            if inside || self.links.len() >= MAX_LINKS {
                continue;
            }
            let id = self.next_link;
            if self
                .epoll
                .add(&connection, abi::EPOLLIN, Token::Link(id).encode())
                .is_ok()
            {
                self.next_link += 1;
                self.timers
                    .set(Instant::now() + HELLO_TIME, Timer::Hello(id));
                self.links.insert(id, Link::new(connection, abi::EPOLLIN));
            }
        }
    }

    fn on_signals(&mut self) {
        // struct signalfd_siginfo: 128 bytes; signo first, pid at 12.
        let mut info = [0u8; 128];
        let mut stop = false;
        while fd::read(&self.signals, &mut info).map_or(false, |got| got == info.len()) {
            let word = |at: usize| {
                u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]])
            };
            let asked = [abi::SIGTERM as u32, abi::SIGINT as u32].contains(&word(0));
            // As process 1, only who stands outside (pid 0 from here) may stop us.
            stop |= asked && (!self.setup.init || word(12) == 0);
        }
        while let Some((pid, status)) = process::reap() {
            self.on_child(pid, status);
        }
        if stop {
            self.begin_shutdown(Duration::from_millis(2000));
        }
    }

    /// Writes what waits on every link that was touched, and lets channels
    /// produce more while there is room.
    fn write_all(&mut self) {
        while let Some(&id) = self.dirty.iter().next() {
            self.dirty.remove(&id);
            self.write_link(id);
        }
    }

    fn write_link(&mut self, id: u64) {
        for _ in 0..8 {
            loop {
                let next = match self.links.get_mut(&id) {
                    None => return,
                    Some(link) if link.waiting() >= OUT_LOW => break,
                    Some(link) => link.ready.pop_front(),
                };
                match next {
                    Some(number) => self.produce(id, number),
                    None => break,
                }
            }
            let link = match self.links.get_mut(&id) {
                None => return,
                Some(link) => link,
            };
            if link.flush().is_err() {
                self.drop_link(id);
                return;
            }
            if link.waiting() > 0 || link.ready.is_empty() {
                break;
            }
        }
        let (done, more) = match self.links.get(&id) {
            None => return,
            Some(link) => (link.closing && link.waiting() == 0, !link.ready.is_empty()),
        };
        if done {
            self.drop_link(id);
        } else {
            self.update_interest(id, more);
        }
    }

    /// Asks epoll for what the link can use now. With `more` to produce it is
    /// asked for writability even when nothing waits, so that others get a turn.
    fn update_interest(&mut self, id: u64, more: bool) {
        if let Some(link) = self.links.get_mut(&id) {
            let mut wanted = 0;
            if !link.closing && link.waiting() < OUT_HIGH {
                wanted |= abi::EPOLLIN;
            }
            if link.waiting() > 0 || more {
                wanted |= abi::EPOLLOUT;
            }
            if wanted != link.interest {
                link.interest = wanted;
                if self
                    .epoll
                    .modify(&link.fd, wanted, Token::Link(id).encode())
                    .is_err()
                {
                    self.drop_link(id);
                }
            }
        }
    }

    /// Returns memory while nothing happens.
    fn give_back(&mut self) {
        self.used = false;
        self.scratch = Vec::new();
        self.spill_ended(ENDED_MEMORY_IDLE);
        for link in self.links.values_mut() {
            link.shrink();
        }
        process::trim_allocator();
    }
}
