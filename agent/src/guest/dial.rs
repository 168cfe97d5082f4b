//! Dial: a connection inside the sandbox, relayed both ways.

use super::channel::Call;
use super::fault::Fault;
use super::frame::Kind;
use super::identity::Identity;
use super::link::OUT_LOW;
use super::output_log::{Piece, CHUNK};
use super::pack::Pack;
use super::params::clip;
use super::pool::{Job, Message, Next, StepIo};
use super::server::{Server, Token};
use super::session::Source;
use crate::sys::{abi, fd, net};
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::io::OwnedFd;
use std::path::PathBuf;

pub struct DialCall {
    number: u64,
    fd: Option<OwnedFd>,
    connected: bool,
    /// Addresses not tried yet.
    others: Vec<SocketAddr>,
    interest: u32,
    input: Vec<u8>,
    /// Bytes of `input` already written.
    written: usize,
    input_ended: bool,
    shut: bool,
    /// The connection has ended its side.
    ended: bool,
}

impl DialCall {
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    pub fn end_input(&mut self) {
        self.input_ended = true;
    }
}

/// Host names without a resolver: literals, localhost, /etc/hosts.
pub fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let mut found = Vec::new();
    if host.eq_ignore_ascii_case("localhost") {
        found.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        found.push(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port));
        return Ok(found);
    }
    let regular = fs::metadata("/etc/hosts").map_or(false, |meta| meta.is_file());
    if let (true, Ok(file)) = (regular, fs::File::open("/etc/hosts")) {
        let mut text = Vec::new();
        // What could be read counts.
        let _partial = file.take(1 << 20).read_to_end(&mut text);
        found.extend(from_hosts(&String::from_utf8_lossy(&text), host, port));
    }
    if found.is_empty() {
        let message = format!(
            "host: {:?} is neither an address nor in /etc/hosts",
            clip(host)
        );
        return Err(Fault::new("not_found", message));
    }
    Ok(found)
}

fn from_hosts(text: &str, host: &str, port: u16) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let ip: IpAddr = words.next()?.parse().ok()?;
        words
            .any(|name| name.eq_ignore_ascii_case(host))
            .then(|| SocketAddr::new(ip, port))
    });
    lines.take(8).collect()
}

/// Connecting by path may block on a strange file system: a job of the pool.
pub struct ConnectJob(pub PathBuf);

impl Job for ConnectJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let connected = net::connect_unix(&self.0);
        let fault = |error| Fault::from_io(&error, &self.0.to_string_lossy());
        io.out.push(Message::Connected(connected.map_err(fault)?));
        Ok(Next::Done)
    }
}

impl Server {
    fn new_dial(&mut self, source: Source, others: Vec<SocketAddr>) -> DialCall {
        // Channels that are gone took their descriptors with them.
        let links = &self.links;
        self.dials.retain(|_, (link, number)| {
            links
                .get(link)
                .map_or(false, |link| link.channels.contains_key(number))
        });
        let number = self.next_dial;
        self.next_dial += 1;
        let input_ended = self
            .channel(source)
            .map_or(true, |channel| channel.remote_ended);
        self.dials.insert(number, source);
        DialCall {
            number,
            fd: None,
            connected: false,
            others,
            interest: 0,
            input: Vec::new(),
            written: 0,
            input_ended,
            shut: false,
            ended: false,
        }
    }

    pub fn dial_tcp(&mut self, source: Source, mut targets: Vec<SocketAddr>) {
        targets.reverse();
        let call = self.new_dial(source, targets);
        if let Some(channel) = self.channel(source) {
            channel.call = Call::Dial(call);
        }
        self.try_next_address(source, None);
    }

    pub fn dial_unix(&mut self, source: Source, identity: Identity, path: PathBuf) {
        self.start_job(source, identity, Box::new(ConnectJob(path)));
    }

    /// A job has connected: the channel becomes a relay.
    pub fn dial_connected(&mut self, source: Source, fd: OwnedFd) {
        let mut call = self.new_dial(source, Vec::new());
        call.fd = Some(fd);
        let early = match self.channel(source) {
            Some(channel) => std::mem::replace(&mut channel.call, Call::Dial(call)),
            None => return,
        };
        if let (Call::File(early), Some(channel)) = (early, self.channel(source)) {
            if let Call::Dial(dial) = &mut channel.call {
                dial.input = early.into_input();
            }
        }
        self.dial_ready(source);
    }

    fn try_next_address(&mut self, source: Source, last: Option<std::io::Error>) {
        let mut last = last.unwrap_or_else(|| std::io::Error::from_raw_os_error(abi::ECONNREFUSED));
        loop {
            let call = match self.channel(source).map(|channel| &mut channel.call) {
                Some(Call::Dial(call)) => call,
                _ => return,
            };
            let address = match call.others.pop() {
                Some(address) => address,
                None => break,
            };
            match net::connect_tcp(&address) {
                Ok((fd, true)) => {
                    call.fd = Some(fd);
                    return self.dial_ready(source);
                }
                Ok((fd, false)) => {
                    call.interest = abi::EPOLLOUT;
                    let token = Token::Dial(call.number).encode();
                    let added = self.epoll.add(&fd, abi::EPOLLOUT, token);
                    if let (Ok(()), Some(channel)) = (added, self.channel(source)) {
                        if let Call::Dial(call) = &mut channel.call {
                            call.fd = Some(fd);
                        }
                        return;
                    }
                }
                Err(error) => last = error,
            }
        }
        self.close_dial(source);
        self.fail(source, &Fault::from_io(&last, "dial"));
    }

    fn dial_ready(&mut self, source: Source) {
        if let Some(Call::Dial(call)) = self.channel(source).map(|channel| &mut channel.call) {
            call.connected = true;
        }
        if let Some(link) = self.links.get_mut(&source.0) {
            link.reply(source.1, Pack::map(0).done(), false);
        }
        self.wake(source);
        self.pump_dial(source);
    }

    /// epoll reports something about a dialled connection.
    pub fn on_dial(&mut self, number: u64, _happened: u32) {
        let source = match self.dials.get(&number) {
            Some(source) => *source,
            None => return,
        };
        let call = match self.channel(source).map(|channel| &mut channel.call) {
            Some(Call::Dial(call)) if call.number == number => call,
            _ => {
                // Its channel is gone, and the descriptor closed with it.
                self.dials.remove(&number);
                return;
            }
        };
        if call.connected {
            return self.pump_dial(source);
        }
        let failed = call.fd.as_ref().and_then(net::pending_error);
        match failed {
            None => self.dial_ready(source),
            Some(error) => {
                call.fd = None;
                self.try_next_address(source, Some(error));
            }
        }
    }

    /// Moves bytes both ways as far as both sides take them.
    pub fn pump_dial(&mut self, source: Source) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let outcome = self.relay(source, &mut scratch);
        self.scratch = scratch;
        self.dirty.insert(source.0);
        if let Err(error) = outcome {
            self.close_dial(source);
            self.fail(source, &Fault::from_io(&error, "connection"));
        }
    }

    fn relay(&mut self, source: Source, scratch: &mut Vec<u8>) -> std::io::Result<()> {
        let link = match self.links.get_mut(&source.0) {
            Some(link) => link,
            None => return Ok(()),
        };
        let mut taken = 0;
        let mut waiting = link.waiting();
        let channel = match link.channels.get_mut(&source.1) {
            Some(channel) => channel,
            None => return Ok(()),
        };
        let mut credit = channel.credit();
        let call = match &mut channel.call {
            Call::Dial(call) if call.connected => call,
            _ => return Ok(()),
        };
        let socket = match &call.fd {
            Some(fd) => fd,
            None => return Ok(()),
        };
        let mut blocked = false;
        while call.written < call.input.len() && !blocked {
            match fd::write(socket, call.input.get(call.written..).unwrap_or(&[])) {
                Ok(written) => {
                    call.written += written;
                    taken += written;
                }
                Err(error) if fd::would_block(&error) => blocked = true,
                Err(error) if fd::interrupted(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if !blocked {
            call.input = Vec::new();
            call.written = 0;
            if call.input_ended && !call.shut {
                call.shut = true;
                net::shut_writing(socket);
            }
        }
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        let mut empty = false;
        scratch.resize(CHUNK, 0);
        while !call.ended && !empty && credit > 0 && waiting < OUT_LOW {
            let most = credit.min(CHUNK as u64) as usize;
            match fd::read(socket, &mut scratch[..most]) {
                Ok(0) => call.ended = true,
                Ok(got) => {
                    credit -= got as u64;
                    waiting += got;
                    pieces.push(scratch[..got].to_vec());
                }
                Err(error) if fd::would_block(&error) => empty = true,
                Err(error) if fd::interrupted(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let mut interest = 0;
        if blocked {
            interest |= abi::EPOLLOUT;
        }
        if !call.ended && empty {
            interest |= abi::EPOLLIN;
        }
        // Stopped by the link, not by credit: try again when it has been written.
        let again = !call.ended && !empty && credit > 0;
        let (ended, shut, number) = (call.ended, call.shut, call.number);
        if interest != call.interest {
            // Without interest it must leave the set: a hang-up is reported even so.
            let token = Token::Dial(number).encode();
            match (call.interest, interest) {
                (_, 0) => self.epoll.remove(socket),
                (0, _) => self.epoll.add(socket, interest, token)?,
                _ => self.epoll.modify(socket, interest, token)?,
            }
            call.interest = interest;
        }
        channel.spend(pieces.iter().map(Vec::len).sum());
        for piece in pieces {
            link.push_piece(Kind::Data, 0, source.1, Piece::Owned(piece));
        }
        link.consume(source.1, taken);
        if ended {
            link.end(source.1);
        }
        if again {
            link.wake(source.1);
        }
        if ended && shut {
            self.close_dial(source);
        }
        Ok(())
    }

    fn close_dial(&mut self, source: Source) {
        if let Some(Call::Dial(call)) = self.channel(source).map(|channel| &mut channel.call) {
            let (fd, number) = (call.fd.take(), call.number);
            if let Some(fd) = fd {
                self.epoll.remove(&fd);
            }
            self.dials.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_looked_up() {
        let text = "10.0.0.1 a b # c\nbroken\n::1 B\n";
        let found: Vec<String> = from_hosts(text, "b", 80)
            .iter()
            .map(|address| address.to_string())
            .collect();
        assert_eq!(found, vec!["10.0.0.1:80", "[::1]:80"]);
        assert!(from_hosts(text, "c", 80).is_empty());
        assert!(addresses("127.0.0.1", 1).is_ok());
    }
}
