//! One process of the sandbox: its pipes, its logs, its input, its end.

use super::output_log::{OutputLog, CHUNK};
use super::pack::Pack;
use super::process_spec::{OnFull, ProcessSpec};
use super::signals;
use crate::sys::abi;
use crate::sys::fd::{self, Epoll};
use crate::sys::process::Ending;
use std::collections::VecDeque;
use std::os::unix::io::OwnedFd;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Most bytes read of one pipe before others get their turn.
const TURN: usize = 4 * CHUNK;
/// Most bytes of the first read of a pipe that was not full before.
const FIRST: usize = 4096;

pub struct Stream {
    pub fd: Option<OwnedFd>,
    pub log: OutputLog,
    /// epoll watches it.
    watched: bool,
    /// Set when the leader ended: bytes still to be taken from the pipe.
    drain: Option<u64>,
    /// No more bytes go into the log.
    pub complete: bool,
    /// The last read was full, or large: large reads are worth it.
    busy: bool,
    grown: bool,
}

impl Stream {
    pub fn new(fd: Option<OwnedFd>, spec: &ProcessSpec) -> Stream {
        let log = match spec.on_full {
            OnFull::Block => OutputLog::with_bytes_behind(spec.output_limit),
            OnFull::Drop => OutputLog::new(spec.output_limit),
        };
        Stream {
            complete: fd.is_none(),
            fd,
            log,
            watched: false,
            drain: None,
            busy: false,
            grown: false,
        }
    }

    fn watch(&mut self, epoll: &Epoll, token: u64) {
        if let (false, Some(fd)) = (self.watched, &self.fd) {
            self.watched = epoll.add(fd, abi::EPOLLIN, token).is_ok();
        }
    }

    fn unwatch(&mut self, epoll: &Epoll) {
        if let (true, Some(fd)) = (self.watched, &self.fd) {
            epoll.remove(fd);
        }
        self.watched = false;
    }

    fn close(&mut self, epoll: &Epoll) {
        self.unwatch(epoll);
        self.fd = None;
        self.complete = true;
    }
}

/// Where the bytes of an input come from: link and channel.
pub type Source = (u64, u32);

pub enum InputItem {
    Bytes {
        source: Source,
        bytes: Vec<u8>,
        at: usize,
    },
    /// A WriteInput call has sent everything.
    Finished {
        source: Source,
    },
    Close,
}

pub struct Input {
    pub fd: Option<OwnedFd>,
    pub queue: VecDeque<InputItem>,
    pub watched: bool,
}

/// Someone who reads the output.
pub struct Reader {
    pub source: Source,
    /// Next offset per stream.
    pub at: [u64; 2],
    /// Where a reader that does not follow stops.
    pub until: Option<[u64; 2]>,
    /// Stream to serve first next time.
    pub turn: usize,
}

pub struct Exit {
    pub ending: Ending,
    pub ended_at_ms: u64,
    pub duration_ms: u64,
}

/// Who waits for the process to start.
pub struct Starter {
    pub source: Source,
    /// ExecCommand: the channel becomes a reader. Otherwise the reply ends it.
    pub attach: bool,
}

pub struct Session {
    pub id: u64,
    pub spec: ProcessSpec,
    pub user_name: String,
    pub cwd: String,
    /// 0 until the keeper has reported it.
    pub pid: i32,
    /// None once it is reaped.
    pub keeper: Option<i32>,
    pub status: Option<OwnedFd>,
    pub streams: [Stream; 2],
    pub input: Input,
    pub readers: Vec<Reader>,
    /// Who is told of the end.
    pub waiters: Vec<Source>,
    /// What the last reader that went away had certainly taken.
    pub mark: [u64; 2],
    pub starter: Option<Starter>,
    pub kill_on_disconnect: Option<Source>,
    pub started: Instant,
    pub started_at_ms: u64,
    pub exit: Option<Exit>,
    pub timed_out: bool,
    pub deadline: Option<Instant>,
    /// Exit known and both logs complete.
    pub finished: bool,
}

pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

impl Session {
    /// Where back-pressure counts from: what the slowest following reader took.
    pub fn low_mark(&self, stream: usize) -> Option<u64> {
        if self.spec.on_full == OnFull::Drop {
            return None;
        }
        let followers = self.readers.iter().filter(|reader| reader.until.is_none());
        Some(
            followers
                .map(|reader| reader.at[stream])
                .min()
                .unwrap_or(self.mark[stream]),
        )
    }

    /// Reads what a stream holds. True when there is news for readers.
    pub fn pump_output(&mut self, which: usize, epoll: &Epoll, scratch: &mut Vec<u8>) -> bool {
        let mark = self.low_mark(which);
        let stream = &mut self.streams[which];
        let before = (stream.log.end(), stream.complete);
        let mut turn = TURN;
        while turn > 0 {
            let fd = match &stream.fd {
                Some(fd) => fd,
                None => break,
            };
            // Most processes say little: a short read finds that out without a large buffer.
            let mut most = if stream.busy { CHUNK } else { FIRST };
            if !stream.complete {
                let room = stream.log.room(mark);
                if room == 0 {
                    stream.unwatch(epoll);
                    break;
                }
                most = room.min(stream.drain.unwrap_or(u64::MAX)).min(most as u64) as usize;
            }
            let direct = stream.busy && most == CHUNK && !stream.complete;
            let mut chunk = Vec::new();
            let result = if direct {
                chunk.reserve_exact(CHUNK);
                fd::read_spare(fd, &mut chunk, most)
            } else {
                if scratch.len() < most {
                    scratch.resize(most, 0);
                }
                fd::read(fd, &mut scratch[..most])
            };
            match result {
                Ok(0) => stream.close(epoll),
                Ok(got) => {
                    turn = turn.saturating_sub(got);
                    if !stream.complete {
                        if direct && got > CHUNK / 2 {
                            stream.log.append_chunk(chunk, mark);
                        } else if direct {
                            stream.log.append(&chunk, mark);
                        } else {
                            stream.log.append(&scratch[..got], mark);
                        }
                        if let Some(left) = &mut stream.drain {
                            *left = left.saturating_sub(got as u64);
                            stream.complete = *left == 0;
                        }
                    }
                    stream.busy = got == most || got > CHUNK / 2;
                    if got == CHUNK && !stream.grown {
                        stream.grown = true;
                        fd::grow_pipe(fd, 1 << 20);
                    }
                    if got < most && stream.drain.is_none() {
                        break; // the pipe is empty; epoll tells when it is not
                    }
                }
                Err(error) if fd::interrupted(&error) => {}
                Err(error) if fd::would_block(&error) => {
                    stream.complete |= stream.drain.is_some();
                    break;
                }
                Err(_) => stream.close(epoll), // a terminal whose other side is gone says EIO
            }
        }
        before != (stream.log.end(), stream.complete)
    }

    /// The leader ended: what is in the pipes now is the last that counts.
    pub fn drain_outputs(&mut self) {
        for stream in &mut self.streams {
            if let (false, Some(fd)) = (stream.complete, &stream.fd) {
                if self.spec.terminal.is_some() {
                    // A terminal tells no size; it is read until it is empty.
                    stream.drain = Some(u64::MAX);
                } else {
                    let left = fd::readable_bytes(fd).unwrap_or(0);
                    stream.drain = Some(left);
                    stream.complete = left == 0;
                }
            }
        }
    }

    /// Watches streams that have room (again).
    pub fn watch_outputs(&mut self, epoll: &Epoll, tokens: [u64; 2]) {
        for (which, &token) in tokens.iter().enumerate() {
            let room = self.streams[which].log.room(self.low_mark(which)) > 0;
            let stream = &mut self.streams[which];
            if room || stream.complete {
                stream.watch(epoll, token);
            }
        }
    }

    /// Stops watching everything, before the session is forgotten.
    pub fn release(&mut self, epoll: &Epoll) {
        for stream in &mut self.streams {
            stream.close(epoll);
        }
        self.close_input(epoll);
        if let Some(status) = self.status.take() {
            epoll.remove(&status);
        }
    }

    pub fn close_input(&mut self, epoll: &Epoll) {
        if let Some(fd) = self.input.fd.take() {
            if self.input.watched {
                epoll.remove(&fd);
            }
        }
        self.input.watched = false;
    }

    /// Gives back what an ended session has no use for.
    pub fn compact(&mut self) {
        self.spec.env = Vec::new();
        self.kill_on_disconnect = None;
        self.spec.argv.shrink_to_fit();
        self.input.queue = VecDeque::new();
        for stream in &mut self.streams {
            stream.log.compact();
        }
    }

    pub fn running(&self) -> bool {
        self.exit.is_none()
    }

    fn range(&self, pack: Pack, which: usize) -> Pack {
        let log = &self.streams[which].log;
        pack.nested(2)
            .uint("start", log.start())
            .uint("end", log.end())
    }

    /// `{id, pid}` and, for StreamOutput, the ranges.
    pub fn reply(&self, with_ranges: bool) -> Vec<u8> {
        let pack = Pack::map(if with_ranges { 4 } else { 2 })
            .uint("id", self.id)
            .int("pid", i64::from(self.pid));
        if !with_ranges {
            return pack.done();
        }
        let pack = self.range(pack.key("stdout"), 0).key("stderr");
        self.range(pack, 1).done()
    }

    fn exit_fields(&self, pack: Pack, exit: &Exit) -> Pack {
        let pack = match exit.ending {
            Ending::Code(code) => pack.int("code", i64::from(code)).nil("signal"),
            Ending::Signal(signal) => pack.nil("code").text("signal", &signals::name(signal)),
        };
        pack.flag("timed_out", self.timed_out)
            .uint("duration_ms", exit.duration_ms)
            .uint("started_at_ms", self.started_at_ms)
            .uint("ended_at_ms", exit.ended_at_ms)
            .uint("stdout_bytes", self.streams[0].log.end())
            .uint("stderr_bytes", self.streams[1].log.end())
    }

    /// The `exit` event, once the session is finished.
    pub fn exit_event(&self) -> Option<Vec<u8>> {
        let exit = self.exit.as_ref().filter(|_| self.finished)?;
        Some(
            self.exit_fields(Pack::map(9).text("type", "exit"), exit)
                .done(),
        )
    }

    /// The answer of WaitSession, once the session is finished.
    pub fn exit_reply(&self) -> Option<Vec<u8>> {
        let exit = self.exit_event()?;
        Some(Pack::map(1).key("exit").raw(&exit).done())
    }

    /// The session as ListSessions shows it; `text` bounds the bytes of its words.
    pub fn describe(&self, text: usize) -> Vec<u8> {
        let cut = |word: &str| -> String { word.chars().take(text).collect() };
        let exit = self.exit.as_ref().filter(|_| self.finished);
        let mut words: Vec<String> = Vec::new();
        let mut left = text;
        for word in &self.spec.argv {
            let word = cut(word);
            if word.len() > left {
                break;
            }
            left -= word.len();
            words.push(word);
        }
        let optional = [
            self.spec.command.is_some(),
            self.spec.tag.is_some(),
            exit.is_some(),
        ];
        let fields = 9 + optional.iter().filter(|&&there| there).count();
        let mut pack = Pack::map(fields)
            .uint("id", self.id)
            .int("pid", i64::from(self.pid))
            .key("argv")
            .array(words.len());
        for word in &words {
            pack = pack.item_text(word);
        }
        if let Some(command) = &self.spec.command {
            pack = pack.text("command", &cut(command));
        }
        if let Some(tag) = &self.spec.tag {
            pack = pack.text("tag", &cut(tag));
        }
        pack = pack
            .text("cwd", &cut(&self.cwd))
            .text("user", &cut(&self.user_name))
            .flag("pty", self.spec.terminal.is_some())
            .uint("started_at_ms", self.started_at_ms)
            .key("stdout");
        pack = self.range(pack, 0).key("stderr");
        pack = self.range(pack, 1);
        if let Some(exit) = exit {
            pack = self.exit_fields(pack.key("exit").nested(9).text("type", "exit"), exit);
        }
        pack.done()
    }
}
