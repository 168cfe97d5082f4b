//! What a link brings: frames checked against the state of their channel.

use super::channel::{Call, Channel};
use super::fault::Fault;
use super::frame::{FrameReader, Header, Kind, Violation, ERROR, PONG};
use super::link::{Link, MAX_CHANNELS, OUT_HIGH};
use super::msgpack::{decode, Value};
use super::pack::Pack;
use super::params::{as_uint, Params};
use super::server::Server;
use super::session::{InputItem, Source};
use super::timers::Timer;
use crate::sys::{abi, fd};
use std::time::{Duration, Instant};

/// The one version of the protocol spoken here.
const PROTOCOL: u64 = 1;
/// How much one read of a link asks for, in bytes.
const READ: usize = 65_536;
/// How long a refused peer may take to hear why.
const CLOSE_TIME: Duration = Duration::from_secs(1);

impl Server {
    pub fn on_link(&mut self, id: u64, happened: u32) {
        if happened & (abi::EPOLLIN | abi::EPOLLHUP | abi::EPOLLERR) != 0 {
            self.read_link(id);
        }
        self.dirty.insert(id);
    }

    fn read_link(&mut self, id: u64) {
        for _ in 0..4 {
            let link = match self.links.get_mut(&id) {
                Some(link) if !link.closing && link.waiting() < OUT_HIGH => link,
                Some(link) if link.closing && link.waiting() == 0 => return self.drop_link(id),
                _ => return,
            };
            let buffer = link.reader.spare(READ);
            let asked = buffer.capacity() - buffer.len();
            let got = match fd::read_spare(&link.fd, buffer, asked) {
                Ok(0) => return self.drop_link(id),
                Ok(got) => got,
                Err(error) if fd::would_block(&error) || fd::interrupted(&error) => return,
                Err(_) => return self.drop_link(id),
            };
            let mut reader = std::mem::take(&mut link.reader);
            let result = self.frames(id, &mut reader);
            match (self.links.get_mut(&id), result) {
                (None, _) => return,
                (Some(link), Ok(())) => link.reader = reader,
                (Some(link), Err(violation)) => {
                    refuse(link, violation);
                    let timer = Timer::Close(id);
                    return self.timers.set(Instant::now() + CLOSE_TIME, timer);
                }
            }
            if got < asked {
                return;
            }
        }
    }

    fn frames(&mut self, id: u64, reader: &mut FrameReader) -> Result<(), Violation> {
        while let Some((header, payload)) = reader.next_frame()? {
            self.frame(id, header, payload)?;
            if self.links.get(&id).map_or(true, |link| link.closing) {
                break;
            }
        }
        Ok(())
    }

    fn frame(&mut self, id: u64, header: Header, payload: &[u8]) -> Result<(), Violation> {
        let number = header.channel;
        let link = match self.links.get_mut(&id) {
            Some(link) => link,
            None => return Ok(()),
        };
        if link.greeted == (header.kind == Kind::Hello) {
            return Err(Violation("hello comes first, and once"));
        }
        match header.kind {
            Kind::Hello => return hello(link, payload),
            Kind::Ping => {
                if header.flags & PONG == 0 {
                    link.push(Kind::Ping, PONG, 0, payload.to_vec());
                }
                return Ok(());
            }
            Kind::Open => return self.open(id, header, payload),
            Kind::Reply | Kind::Event => {
                return Err(Violation("only the callee sends replies and events"));
            }
            Kind::End if number == 0 => {
                link.closing = true; // the peer says why it leaves
                return Ok(());
            }
            Kind::Data | Kind::Credit | Kind::End => {}
        }
        if number > link.last_channel || number % 2 == 0 {
            return Err(Violation("the channel was never opened"));
        }
        let channel = match link.channels.get_mut(&number) {
            Some(channel) => channel,
            None => return Ok(()), // under way when the channel closed
        };
        match header.kind {
            Kind::Credit => {
                let amount = payload
                    .iter()
                    .fold(0, |sum, &byte| (sum << 8) | u32::from(byte));
                channel.granted(amount)?;
                link.wake(number);
            }
            Kind::Data => {
                if header.stream() != 0 {
                    return Err(Violation("the caller sends stream 0 only"));
                }
                channel.received(payload.len())?;
                if !payload.is_empty() {
                    self.take_input((id, number), payload);
                }
                if header.fin() {
                    self.remote_end((id, number));
                }
            }
            _ if header.error() => {
                let unconfirmed = channel.unconfirmed();
                link.channels.remove(&number);
                self.caller_left((id, number), unconfirmed);
            }
            _ if channel.remote_ended => return Err(Violation("a second end")),
            _ => self.remote_end((id, number)),
        }
        Ok(())
    }

    fn open(&mut self, id: u64, header: Header, payload: &[u8]) -> Result<(), Violation> {
        let number = header.channel;
        let link = match self.links.get_mut(&id) {
            Some(link) => link,
            None => return Ok(()),
        };
        if number % 2 == 0 || number <= link.last_channel {
            return Err(Violation("channel number not free"));
        }
        let request = decode(payload).map_err(|error| Violation(error.0))?;
        let mut request = Params::new(request).map_err(|_| Violation("an open carries a map"))?;
        link.last_channel = number;
        let full = link.channels.len() >= MAX_CHANNELS;
        let mut channel = Channel::default();
        channel.remote_ended = header.fin();
        link.channels.insert(number, channel);
        let source = (id, number);
        let result = if full {
            Err(Fault::new("resource_exhausted", "too many open channels"))
        } else {
            open_fields(&mut request).and_then(|(method, params)| {
                request.finish()?;
                self.call(source, &method, params)
            })
        };
        match (result, self.links.get_mut(&id)) {
            (Err(fault), Some(link)) => link.fail(number, &fault),
            // What the call itself could not see: the caller's end came with the open.
            (Ok(()), Some(_)) if header.fin() => self.input_ended(source),
            _ => {}
        }
        Ok(())
    }

    /// Bytes of the caller, to whoever uses them.
    fn take_input(&mut self, source: Source, bytes: &[u8]) {
        let channel = match self.channel(source) {
            Some(channel) => channel,
            None => return,
        };
        match &mut channel.call {
            Call::Starting { session }
            | Call::Reading {
                session,
                input: true,
            }
            | Call::Input { session, .. } => {
                let session = *session;
                let item = InputItem::Bytes {
                    source,
                    bytes: bytes.to_vec(),
                    at: 0,
                };
                self.queue_input(session, item);
            }
            Call::File(file) => {
                file.push(bytes);
                self.advance_file(source);
            }
            Call::Dial(dial) => {
                dial.push(bytes);
                self.pump_dial(source);
            }
            Call::Done | Call::Waiting | Call::Reading { .. } | Call::Watching { .. } => {
                self.consume(source, bytes.len());
            }
        }
    }

    /// The caller sends no more on this channel.
    fn remote_end(&mut self, source: Source) {
        if let Some(channel) = self.channel(source) {
            channel.remote_ended = true;
            self.input_ended(source);
        }
    }

    fn input_ended(&mut self, source: Source) {
        let channel = match self.channel(source) {
            Some(channel) => channel,
            None => return,
        };
        match &mut channel.call {
            Call::Starting { session }
            | Call::Reading {
                session,
                input: true,
            } => {
                let session = *session;
                self.queue_input(session, InputItem::Close);
            }
            Call::Input { session, .. } => {
                let session = *session;
                self.queue_input(session, InputItem::Finished { source });
            }
            Call::File(file) => {
                file.end_input();
                self.advance_file(source);
            }
            Call::Dial(dial) => {
                dial.end_input();
                self.pump_dial(source);
            }
            Call::Done | Call::Waiting | Call::Reading { .. } | Call::Watching { .. } => {}
        }
        if let Some(link) = self.links.get_mut(&source.0) {
            link.settle(source.1);
        }
    }

    pub fn channel(&mut self, source: Source) -> Option<&mut Channel> {
        self.links.get_mut(&source.0)?.channels.get_mut(&source.1)
    }

    pub fn consume(&mut self, source: Source, bytes: usize) {
        if let Some(link) = self.links.get_mut(&source.0) {
            link.consume(source.1, bytes);
            self.dirty.insert(source.0);
        }
    }

    /// The channel may have something to send.
    pub fn wake(&mut self, source: Source) {
        if let Some(link) = self.links.get_mut(&source.0) {
            link.wake(source.1);
            self.dirty.insert(source.0);
        }
    }

    pub fn reply(&mut self, source: Source, payload: Vec<u8>, fin: bool) {
        if let Some(channel) = self.channel(source) {
            if fin {
                channel.call = Call::Done;
            }
        }
        if let Some(link) = self.links.get_mut(&source.0) {
            link.reply(source.1, payload, fin);
            self.dirty.insert(source.0);
        }
    }

    pub fn fail(&mut self, source: Source, fault: &Fault) {
        if let Some(link) = self.links.get_mut(&source.0) {
            link.fail(source.1, fault);
            self.dirty.insert(source.0);
        }
    }

    /// Ends a connection; its calls are left by their caller.
    pub fn drop_link(&mut self, id: u64) {
        if let Some(mut link) = self.links.remove(&id) {
            self.epoll.remove(&link.fd);
            let numbers: Vec<u32> = link.channels.keys().copied().collect();
            // Readers must still see what was confirmed, so they detach first.
            for number in numbers {
                let unconfirmed = link.channels.get(&number).map_or(0, Channel::unconfirmed);
                self.detach((id, number), unconfirmed);
            }
            link.channels.clear();
        }
        self.dirty.remove(&id);
        let lost: Vec<u64> = self
            .sessions
            .values()
            .filter(|session| {
                session
                    .kill_on_disconnect
                    .map_or(false, |source| source.0 == id)
            })
            .map(|session| session.id)
            .collect();
        for session in lost {
            self.kill_tree(session, None);
        }
    }

    /// One channel was given up by its caller.
    fn caller_left(&mut self, source: Source, unconfirmed: u64) {
        self.detach(source, unconfirmed);
        let lost: Vec<u64> = self
            .sessions
            .values()
            .filter(|session| session.kill_on_disconnect == Some(source))
            .map(|session| session.id)
            .collect();
        for session in lost {
            self.kill_tree(session, None);
        }
    }
}

fn open_fields(request: &mut Params) -> Result<(String, Params), Fault> {
    let method = Params::required("method", request.text("method")?)?;
    let params = Params::new(request.take("params").unwrap_or(Value::Nil))?;
    // The caller enforces his deadline himself.
    let _deadline_ms = request.uint("deadline_ms")?;
    Ok((method, params))
}

fn hello(link: &mut Link, payload: &[u8]) -> Result<(), Violation> {
    const BAD: Violation = Violation("a malformed hello");
    let value = decode(payload).map_err(|error| Violation(error.0))?;
    let mut hello = Params::new(value).map_err(|_| BAD)?;
    let (low, high) = match hello.take("protocol") {
        Some(Value::Array(range)) => match range.as_slice() {
            [low, high] => (as_uint(low).ok_or(BAD)?, as_uint(high).ok_or(BAD)?),
            _ => return Err(BAD),
        },
        _ => return Err(BAD),
    };
    let answer = Pack::map(3)
        .key("protocol")
        .array(2)
        .item_uint(PROTOCOL)
        .item_uint(PROTOCOL)
        .text(
            "build",
            concat!("caisson-agent ", env!("CARGO_PKG_VERSION")),
        )
        .key("features")
        .array(1)
        .item_text("guest")
        .done();
    link.push(Kind::Hello, 0, 0, answer);
    if low > PROTOCOL || high < PROTOCOL || low > high {
        return Err(Violation("no common protocol version"));
    }
    link.greeted = true;
    Ok(())
}

/// Says which rule was broken and closes once that is written.
fn refuse(link: &mut Link, violation: Violation) {
    let fault = Fault::new("protocol_error", violation.0);
    link.push(Kind::End, ERROR, 0, fault.encode());
    link.closing = true;
}
