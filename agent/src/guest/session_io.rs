//! Bytes between sessions and channels: output to readers, input to processes.

use super::channel::Call;
use super::fault::Fault;
use super::frame::{Kind, FIN};
use super::output_log::CHUNK;
use super::pack::Pack;
use super::server::{Server, Token};
use super::session::{InputItem, Session, Source};
use crate::sys::{abi, fd};

/// End of transmission: what a terminal takes for the end of input.
const EOT: u8 = 4;

/// What a reader can be sent next.
enum Next {
    Nothing,
    Send {
        kind: Kind,
        flags: u8,
        payload: super::output_log::Piece,
        last: bool,
    },
    End,
}

impl Server {
    /// A pipe or terminal has bytes.
    pub fn on_output(&mut self, id: u64, which: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let news = match self.sessions.get_mut(&id) {
            Some(session) => session.pump_output(which, &self.epoll, &mut scratch),
            None => false,
        };
        self.scratch = scratch;
        if news {
            if let Some(session) = self.sessions.get(&id) {
                for reader in &session.readers {
                    let (link, number) = reader.source;
                    if let Some(found) = self.links.get_mut(&link) {
                        found.wake(number);
                        self.dirty.insert(link);
                    }
                }
            }
            self.check_finished(id);
        }
    }

    /// Lets one channel send one frame more.
    pub fn produce(&mut self, link_id: u64, number: u32) {
        let source = (link_id, number);
        let channel = match self.channel(source) {
            Some(channel) => channel,
            None => return,
        };
        channel.queued = false;
        match &channel.call {
            Call::Reading { session, .. } => {
                let session = *session;
                self.produce_output(source, session);
            }
            Call::Watching { .. } => self.produce_changes(source),
            Call::File(_) => self.produce_file(source),
            Call::Dial(_) => self.pump_dial(source),
            _ => {}
        }
    }

    fn produce_output(&mut self, source: Source, id: u64) {
        let (link, session) = match (self.links.get_mut(&source.0), self.sessions.get_mut(&id)) {
            (Some(link), Some(session)) => (link, session),
            _ => return,
        };
        let credit = link
            .channels
            .get(&source.1)
            .map_or(0, |channel| channel.credit());
        match next_output(session, source, credit) {
            Next::Nothing => {}
            Next::End => {
                self.detach_from(id, source, 0);
                if let Some(link) = self.links.get_mut(&source.0) {
                    link.end(source.1);
                }
            }
            Next::Send {
                kind,
                flags,
                payload,
                last,
            } => {
                let length = payload.bytes().len();
                link.push_piece(kind, flags, source.1, payload);
                if let Some(channel) = link.channels.get_mut(&source.1) {
                    channel.spend(length);
                    if last {
                        channel.local_ended = true;
                        channel.call = Call::Done;
                    }
                }
                if last {
                    link.settle(source.1);
                    self.detach_from(id, source, 0);
                } else {
                    link.wake(source.1);
                    let tokens = [Token::Output(id, 0).encode(), Token::Output(id, 1).encode()];
                    session.watch_outputs(&self.epoll, tokens);
                }
            }
        }
    }

    /// A channel goes away: whatever it had to do with sessions and watches ends.
    pub fn detach(&mut self, source: Source, unconfirmed: u64) {
        self.leave_watches(source);
        let involved = |session: &Session| {
            let mut sources = session.readers.iter().map(|reader| reader.source);
            let starter = session.starter.as_ref().map(|starter| starter.source);
            starter == Some(source)
                || session.waiters.contains(&source)
                || sources.any(|reader| reader == source)
        };
        let ids: Vec<u64> = self
            .sessions
            .values()
            .filter(|session| involved(session))
            .map(|session| session.id)
            .collect();
        for id in ids {
            self.detach_from(id, source, unconfirmed);
        }
    }

    /// A reader leaves: what it certainly took stays behind as the mark.
    fn detach_from(&mut self, id: u64, source: Source, unconfirmed: u64) {
        let session = match self.sessions.get_mut(&id) {
            Some(session) => session,
            None => return,
        };
        if session.starter.as_ref().map(|starter| starter.source) == Some(source) {
            session.starter = None;
        }
        session.waiters.retain(|waiter| *waiter != source);
        let found = session
            .readers
            .iter()
            .position(|reader| reader.source == source);
        if let Some(at) = found {
            let reader = session.readers.swap_remove(at);
            session.readers.shrink_to_fit();
            if session.readers.is_empty() && reader.until.is_none() {
                for which in 0..2 {
                    session.mark[which] = reader.at[which].saturating_sub(unconfirmed);
                }
            }
            let tokens = [Token::Output(id, 0).encode(), Token::Output(id, 1).encode()];
            session.watch_outputs(&self.epoll, tokens);
        }
    }

    pub fn queue_input(&mut self, id: u64, item: InputItem) {
        match self.sessions.get_mut(&id) {
            Some(session) if session.input.fd.is_some() => session.input.queue.push_back(item),
            _ => return self.input_refused(item),
        }
        self.write_input(id);
    }

    /// Writes queued input as far as the process takes it.
    pub fn write_input(&mut self, id: u64) {
        loop {
            let session = match self.sessions.get_mut(&id) {
                Some(session) => session,
                None => return,
            };
            let terminal = session.spec.terminal.is_some();
            let eof_wanted = session.spec.stdin;
            let input = &mut session.input;
            let (fd, item) = match (&input.fd, input.queue.front_mut()) {
                (Some(fd), Some(item)) => (fd, item),
                (Some(fd), None) => {
                    if input.watched {
                        self.epoll.remove(fd);
                        input.watched = false;
                    }
                    return;
                }
                (None, _) => return,
            };
            let eot = [EOT];
            let bytes: &[u8] = match item {
                InputItem::Bytes { bytes, at, .. } => bytes.get(*at..).unwrap_or(&[]),
                InputItem::Close if terminal && eof_wanted => &eot,
                InputItem::Close | InputItem::Finished { .. } => &[],
            };
            let result = if bytes.is_empty() {
                Ok(0)
            } else {
                fd::write(fd, bytes)
            };
            match result {
                Ok(written) => {
                    let done = written == bytes.len();
                    let consumed = match item {
                        InputItem::Bytes { source, at, .. } => {
                            *at += written;
                            Some(*source)
                        }
                        _ => None,
                    };
                    let finished = if done { input.queue.pop_front() } else { None };
                    if let Some(source) = consumed {
                        self.input_taken(source, written);
                    }
                    match finished {
                        Some(InputItem::Finished { source }) => self.input_complete(source),
                        Some(InputItem::Close) if !terminal => self.stop_input(id),
                        _ => {}
                    }
                }
                Err(error) if fd::interrupted(&error) => {}
                Err(error) if fd::would_block(&error) => {
                    if !input.watched {
                        let token = Token::Input(id).encode();
                        input.watched = self.epoll.add(fd, abi::EPOLLOUT, token).is_ok();
                    }
                    return;
                }
                Err(_) => return self.stop_input(id), // nobody reads it any more
            }
        }
    }

    /// Closes the input; what is still queued has no taker.
    fn stop_input(&mut self, id: u64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.close_input(&self.epoll);
            let rest: Vec<_> = session.input.queue.drain(..).collect();
            for item in rest {
                self.input_refused(item);
            }
        }
    }

    fn input_taken(&mut self, source: Source, bytes: usize) {
        if let Some(channel) = self.channel(source) {
            if let Call::Input { written, .. } = &mut channel.call {
                *written += bytes as u64;
            }
        }
        self.consume(source, bytes);
    }

    fn input_complete(&mut self, source: Source) {
        let written = match self.channel(source).map(|channel| &channel.call) {
            Some(Call::Input { written, .. }) => *written,
            _ => return,
        };
        self.reply(source, Pack::map(1).uint("written", written).done(), true);
    }

    /// Input that cannot reach its process any more.
    pub fn input_refused(&mut self, item: InputItem) {
        match item {
            InputItem::Close => {}
            InputItem::Bytes { source, bytes, at } => {
                // ExecCommand: dropped, as by a pipe nobody reads. WriteInput: says so.
                self.consume(source, bytes.len().saturating_sub(at));
                self.refuse_writer(source);
            }
            InputItem::Finished { source } => self.refuse_writer(source),
        }
    }

    fn refuse_writer(&mut self, source: Source) {
        if let Some(Call::Input { .. }) = self.channel(source).map(|channel| &channel.call) {
            self.fail(
                source,
                &Fault::new("conflict", "the process takes no more input"),
            );
        }
    }
}

fn next_output(session: &mut Session, source: Source, credit: u64) -> Next {
    let finished = session.finished;
    let reader = match session
        .readers
        .iter_mut()
        .find(|reader| reader.source == source)
    {
        Some(reader) => reader,
        None => return Next::Nothing,
    };
    for step in 0..2 {
        let which = (reader.turn + step) % 2;
        let log = &mut session.streams[which].log;
        let end = match reader.until {
            Some(until) => until[which].min(log.end()),
            None => log.end(),
        };
        let at = reader.at[which];
        let mut from = log.start();
        if at >= from && at < end {
            if credit == 0 {
                return Next::Nothing;
            }
            let most = credit.min(end - at).min(CHUNK as u64) as usize;
            if let Some(payload) = log.read(at, most) {
                reader.at[which] += payload.bytes().len() as u64;
                reader.turn = (which + 1) % 2;
                return Next::Send {
                    kind: Kind::Data,
                    flags: which as u8 + 1,
                    payload,
                    last: false,
                };
            }
            from = log.start(); // the spool failed: the log starts later now
        }
        if at < from {
            let stream = if which == 0 { "stdout" } else { "stderr" };
            let gap = Pack::map(4)
                .text("type", "gap")
                .text("stream", stream)
                .uint("from", at)
                .uint("to", from)
                .done();
            if credit < gap.len() as u64 {
                return Next::Nothing;
            }
            reader.at[which] = from;
            let payload = super::output_log::Piece::Owned(gap);
            return Next::Send {
                kind: Kind::Event,
                flags: 0,
                payload,
                last: false,
            };
        }
    }
    let behind = (0..2).any(|which| reader.at[which] < session.streams[which].log.end());
    if behind {
        return Next::End; // it does not follow, and there was more since
    }
    let stops = reader.until.is_some();
    match session.exit_event() {
        Some(exit) if credit >= exit.len() as u64 => {
            let payload = super::output_log::Piece::Owned(exit);
            Next::Send {
                kind: Kind::Event,
                flags: FIN,
                payload,
                last: true,
            }
        }
        Some(_) => Next::Nothing,
        None if stops && !finished => Next::End,
        None => Next::Nothing,
    }
}
