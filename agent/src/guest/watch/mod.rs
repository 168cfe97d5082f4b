//! OpenWatch, ReadWatch, CloseWatch. A watch lives in the agent: its readers
//! come and go with their links, its last changes wait for them.

mod events;
mod folders;
mod follow;
mod history;

use super::channel::Call;
use super::fault::Fault;
use super::frame::Kind;
use super::identity::Identity;
use super::pack::Pack;
use super::params::Params;
use super::pool::{Job, Message, Next, StepIo, Task};
use super::server::{Server, Token};
use super::session::Source;
use super::timers::Timer;
use crate::sys::{abi, fd};
use follow::{Following, State, PAIRING};
use history::History;
use std::os::unix::io::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const MAX_WATCHES: usize = 64;
/// Time without a reader after which a watch is closed, in milliseconds.
const DEFAULT_EXPIRY_MS: u64 = 300_000;
const MAX_EXPIRY_MS: u64 = 7 * 86_400_000;
/// Before work is tried again for which there was no thread.
const RETRY: Duration = Duration::from_millis(100);
/// A reader is sent more once it can take this many bytes: more than one event has.
const ROOM: u64 = 65_536;
/// Where tasks of watches come from: no link has this number.
pub const OWN: Source = (0, 0);

/// A watch between its job and the server; never locked by both at once.
type Shared = Arc<Mutex<Following>>;

fn lock(following: &Shared) -> MutexGuard<'_, Following> {
    following.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Watch {
    following: Shared,
    identity: Arc<Identity>,
    /// A second descriptor of its queue, for epoll.
    queue: OwnedFd,
    history: History,
    readers: Vec<Source>,
    expiry: Duration,
    /// When it is closed, while nobody reads.
    expires: Option<Instant>,
    /// A step is under way.
    stepping: bool,
}

/// Watches everything there is, then hands the watch over.
pub struct OpenJob {
    path: String,
    recursive: bool,
    expiry: Duration,
    following: Option<Following>,
}

/// What OpenJob hands over.
pub struct Opened {
    following: Following,
    expiry: Duration,
}

impl Job for OpenJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let mut following = match self.following.take() {
            Some(following) => following,
            None => Following::begin(&self.path, self.recursive)?,
        };
        if following.advance(true)? == State::More {
            self.following = Some(following);
            return Ok(Next::Output);
        }
        let expiry = self.expiry;
        let opened = Opened { following, expiry };
        io.out.push(Message::Watching(Box::new(opened)));
        Ok(Next::Done)
    }
}

struct FollowJob(Shared);

impl Job for FollowJob {
    fn step(&mut self, _io: &mut StepIo) -> Result<Next, Fault> {
        match lock(&self.0).advance(false)? {
            State::More => Ok(Next::Output),
            State::Quiet => Ok(Next::Done),
        }
    }
}

fn no_such(id: u64) -> Fault {
    Fault::new("not_found", format!("no watch {}", id))
}

impl Server {
    /// OpenWatch, ReadWatch, CloseWatch.
    pub fn watch_call(
        &mut self,
        source: Source,
        method: &str,
        mut params: Params,
    ) -> Result<(), Fault> {
        let id = match method {
            "OpenWatch" => return self.open_watch(source, params),
            _ => Params::required("id", params.uint("id")?)?,
        };
        if method == "ReadWatch" {
            return self.read_watch(source, id, params);
        }
        params.finish()?;
        if !self.watches.contains_key(&id) {
            return Err(no_such(id));
        }
        self.close_watch(id, "the watch was closed");
        self.reply(source, Pack::map(0).done(), true);
        Ok(())
    }

    fn open_watch(&mut self, source: Source, mut params: Params) -> Result<(), Fault> {
        let job = OpenJob {
            path: params.required_path("path")?,
            recursive: params.flag("recursive", false)?,
            expiry: Duration::from_millis(
                params
                    .uint_in("expires_ms", 1, MAX_EXPIRY_MS)?
                    .unwrap_or(DEFAULT_EXPIRY_MS),
            ),
            following: None,
        };
        let identity = self.identity(&mut params)?;
        params.finish()?;
        self.check_watches()?;
        self.start_job(source, identity, Box::new(job));
        Ok(())
    }

    fn check_watches(&self) -> Result<(), Fault> {
        if self.watches.len() < MAX_WATCHES {
            return Ok(());
        }
        let message = format!("{} watches are open; close some", MAX_WATCHES);
        Err(Fault::new("resource_exhausted", message))
    }

    /// Everything is watched: the watch begins.
    pub fn watch_opened(&mut self, source: Source, opened: Opened, identity: Arc<Identity>) {
        if let Err(fault) = self.check_watches() {
            return self.fail(source, &fault);
        }
        let id = self.next_watch;
        let watched = fd::duplicate(opened.following.descriptor()).and_then(|queue| {
            self.epoll
                .add(&queue, abi::EPOLLIN, Token::Watch(id).encode())
                .map(|_| queue)
        });
        let queue = match watched {
            Ok(queue) => queue,
            Err(error) => return self.fail(source, &Fault::from_io(&error, "watch")),
        };
        self.next_watch += 1;
        let watch = Watch {
            following: Arc::new(Mutex::new(opened.following)),
            identity,
            queue,
            history: History::default(),
            readers: Vec::new(),
            expiry: opened.expiry,
            expires: None,
            stepping: false,
        };
        self.watches.insert(id, watch);
        self.watch_unread(id);
        self.reply(
            source,
            Pack::map(2).uint("id", id).uint("seq", 0).done(),
            true,
        );
    }

    fn read_watch(&mut self, source: Source, id: u64, mut params: Params) -> Result<(), Fault> {
        let after = params.uint("after")?.unwrap_or(0);
        params.finish()?;
        let watch = self.watches.get_mut(&id).ok_or_else(|| no_such(id))?;
        let (oldest, newest) = (watch.history.oldest(), watch.history.newest());
        if after > newest {
            let message = format!("after: the newest change is {}", newest);
            return Err(Fault::invalid(message));
        }
        watch.readers.push(source);
        if let Some(expires) = watch.expires.take() {
            self.timers.cancel(expires, Timer::WatchExpiry(id));
        }
        let reply = Pack::map(3)
            .uint("id", id)
            .uint("oldest", oldest)
            .uint("newest", newest);
        self.reply(source, reply.done(), false);
        if let Some(channel) = self.channel(source) {
            channel.call = Call::Watching {
                watch: id,
                read: after,
            };
        }
        self.wake(source);
        Ok(())
    }

    /// Sends a reader what it has not had, as much as it takes now.
    pub fn produce_changes(&mut self, source: Source) {
        let link = match self.links.get_mut(&source.0) {
            Some(link) => link,
            None => return,
        };
        let channel = match link.channels.get_mut(&source.1) {
            Some(channel) => channel,
            None => return,
        };
        let credit = channel.credit();
        let (watch, read) = match &mut channel.call {
            Call::Watching { watch, read } => (self.watches.get_mut(watch), read),
            _ => return,
        };
        let history = match watch {
            Some(watch) => &mut watch.history,
            None => return,
        };
        // A gap alone would only tell a slow reader of the next one.
        if credit < ROOM {
            return;
        }
        if let Some(batch) = history.next(*read) {
            *read = batch.read;
            history.sent(batch.read);
            channel.spend(batch.event.len());
            link.push(Kind::Event, 0, source.1, batch.event);
            link.wake(source.1);
        }
    }

    /// The kernel reports changes.
    pub fn on_watch(&mut self, id: u64) {
        let watch = match self.watches.get_mut(&id) {
            Some(watch) if !watch.stepping => watch,
            _ => return,
        };
        // Reported again once the step is done.
        let token = Token::Watch(id).encode();
        let _kept_interest_only_costs_time = self.epoll.modify(&watch.queue, 0, token);
        watch.stepping = true;
        let task = Task {
            source: OWN,
            ticket: id,
            identity: watch.identity.clone(),
            job: Box::new(FollowJob(watch.following.clone())),
            io: StepIo::default(),
            result: Ok(Next::Done),
        };
        if self.pool.submit(task).is_err() {
            watch.stepping = false;
            self.timers
                .set(Instant::now() + RETRY, Timer::WatchStep(id));
        }
    }

    /// A step of a watch is done.
    pub fn watch_stepped(&mut self, task: Task) {
        let id = task.ticket;
        let watch = match self.watches.get_mut(&id) {
            Some(watch) => watch,
            // Closed meanwhile.
            None => return self.pool.remover().give_up(task.identity, task.job),
        };
        watch.stepping = false;
        let next = match task.result {
            Ok(next) => next,
            Err(fault) => return self.close_watch(id, &fault.message),
        };
        let mut following = lock(&watch.following);
        let changes = std::mem::take(&mut following.changes);
        let pairing = following.is_pairing();
        drop(following);
        for change in changes {
            watch.history.push(change);
        }
        for source in watch.readers.clone() {
            self.wake(source);
        }
        if next == Next::Output {
            return self.on_watch(id);
        }
        if pairing {
            self.timers
                .set(Instant::now() + PAIRING, Timer::WatchStep(id));
        }
        if let Some(watch) = self.watches.get(&id) {
            let token = Token::Watch(id).encode();
            if let Err(error) = self.epoll.modify(&watch.queue, abi::EPOLLIN, token) {
                self.close_watch(id, &format!("the watch cannot go on: {}", error));
            }
        }
    }

    /// Starts the time after which an unread watch is closed.
    fn watch_unread(&mut self, id: u64) {
        if let Some(watch) = self.watches.get_mut(&id) {
            if watch.readers.is_empty() && watch.expires.is_none() {
                let expires = Instant::now() + watch.expiry;
                watch.expires = Some(expires);
                self.timers.set(expires, Timer::WatchExpiry(id));
            }
        }
    }

    /// A channel goes away: it reads no watch any more.
    pub fn leave_watches(&mut self, source: Source) {
        let mut left = Vec::new();
        for (id, watch) in &mut self.watches {
            if watch.readers.contains(&source) {
                watch.readers.retain(|reader| *reader != source);
                left.push(*id);
            }
        }
        for id in left {
            self.watch_unread(id);
        }
    }

    /// Ends a watch; its readers are told why.
    pub fn close_watch(&mut self, id: u64, why: &str) {
        if let Some(watch) = self.watches.remove(&id) {
            self.epoll.remove(&watch.queue);
            // There may be much to forget.
            let following = Box::new(FollowJob(watch.following));
            self.pool.remover().give_up(watch.identity, following);
            if let Some(expires) = watch.expires {
                self.timers.cancel(expires, Timer::WatchExpiry(id));
            }
            for source in watch.readers {
                self.fail(source, &Fault::new("cancelled", why));
            }
        }
    }
}
