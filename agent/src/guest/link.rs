//! One connection: frames in, frames out, its channels.

use super::channel::Channel;
use super::fault::Fault;
use super::frame::{encode_header, FrameReader, Kind, ERROR, FIN, HEADER};
use super::output_log::Piece;
use crate::sys::fd;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::unix::io::OwnedFd;

/// Channels produce data only while fewer bytes than this wait to be written.
pub const OUT_LOW: usize = 262_144;
/// Beyond this many waiting bytes the link is not read: a peer that asks
/// without taking answers stops itself.
pub const OUT_HIGH: usize = 2 * 1_048_576;
/// Most channels open at once.
pub const MAX_CHANNELS: usize = 1024;

struct OutFrame {
    header: [u8; HEADER],
    payload: Piece,
}

pub struct Link {
    pub fd: OwnedFd,
    pub reader: FrameReader,
    pub channels: BTreeMap<u32, Channel>,
    /// Channels that may have something to send, in turn.
    pub ready: VecDeque<u32>,
    /// Highest channel number the peer has used.
    pub last_channel: u32,
    pub greeted: bool,
    /// No more input; closes when what waits is written.
    pub closing: bool,
    /// Events asked of epoll now.
    pub interest: u32,
    out: VecDeque<OutFrame>,
    out_bytes: usize,
    /// Bytes of the first waiting frame that are written already.
    out_done: usize,
}

impl Link {
    pub fn new(fd: OwnedFd, interest: u32) -> Link {
        Link {
            fd,
            reader: FrameReader::default(),
            channels: BTreeMap::new(),
            ready: VecDeque::new(),
            last_channel: 0,
            greeted: false,
            closing: false,
            interest,
            out: VecDeque::new(),
            out_bytes: 0,
            out_done: 0,
        }
    }

    pub fn waiting(&self) -> usize {
        self.out_bytes
    }

    pub fn push(&mut self, kind: Kind, flags: u8, channel: u32, payload: Vec<u8>) {
        self.push_piece(kind, flags, channel, Piece::Owned(payload));
    }

    pub fn push_piece(&mut self, kind: Kind, flags: u8, channel: u32, payload: Piece) {
        if self.closing {
            return; // nothing follows the end of the link
        }
        let length = payload.bytes().len();
        self.out_bytes += HEADER + length;
        let header = encode_header(kind, flags, channel, length);
        self.out.push_back(OutFrame { header, payload });
    }

    /// A channel may have something to send.
    pub fn wake(&mut self, number: u32) {
        if let Some(channel) = self.channels.get_mut(&number) {
            if !channel.queued && !channel.local_ended {
                channel.queued = true;
                self.ready.push_back(number);
            }
        }
    }

    /// The successful reply of a channel; with `fin` it is also our end.
    pub fn reply(&mut self, number: u32, payload: Vec<u8>, fin: bool) {
        if let Some(channel) = self.channels.get_mut(&number) {
            if channel.local_ended || channel.reply_once() {
                return;
            }
            channel.local_ended = fin;
            self.push(Kind::Reply, if fin { FIN } else { 0 }, number, payload);
            self.settle(number);
        }
    }

    /// Fails a call: an error reply, or an abort once there was a reply.
    pub fn fail(&mut self, number: u32, fault: &Fault) {
        if let Some(channel) = self.channels.remove(&number) {
            if channel.replied() {
                self.push(Kind::End, ERROR, number, fault.encode());
            } else {
                self.push(Kind::Reply, ERROR | FIN, number, fault.encode());
            }
        }
    }

    /// Our plain end of a channel.
    pub fn end(&mut self, number: u32) {
        if let Some(channel) = self.channels.get_mut(&number) {
            if !channel.local_ended {
                channel.local_ended = true;
                self.push(Kind::End, 0, number, Vec::new());
                self.settle(number);
            }
        }
    }

    /// Forgets a channel that both sides have ended.
    pub fn settle(&mut self, number: u32) {
        if let Some(channel) = self.channels.get(&number) {
            if channel.local_ended && channel.remote_ended {
                self.channels.remove(&number);
            }
        }
    }

    /// The consumer took bytes of a channel: grants more when it is time.
    pub fn consume(&mut self, number: u32, bytes: usize) {
        let grant = self
            .channels
            .get_mut(&number)
            .and_then(|channel| channel.consume(bytes));
        if let Some(grant) = grant {
            self.push(Kind::Credit, 0, number, grant.to_be_bytes().to_vec());
        }
    }

    /// Writes what waits, as far as the peer takes it now.
    pub fn flush(&mut self) -> io::Result<()> {
        const FRAMES: usize = 16;
        while !self.out.is_empty() {
            let mut slices: [&[u8]; FRAMES * 2] = [&[]; FRAMES * 2];
            let mut used = 0;
            let mut skip = self.out_done;
            for frame in self.out.iter().take(FRAMES) {
                for part in [&frame.header[..], frame.payload.bytes()] {
                    let cut = skip.min(part.len());
                    skip -= cut;
                    if cut < part.len() {
                        slices[used] = &part[cut..];
                        used += 1;
                    }
                }
            }
            match fd::write_vectors(&self.fd, &slices[..used]) {
                Ok(written) => self.written(written),
                Err(error) if fd::would_block(&error) => break,
                Err(error) if fd::interrupted(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn written(&mut self, bytes: usize) {
        self.out_bytes = self.out_bytes.saturating_sub(bytes);
        self.out_done += bytes;
        while let Some(first) = self.out.front() {
            let length = HEADER + first.payload.bytes().len();
            if self.out_done < length {
                break;
            }
            self.out_done -= length;
            self.out.pop_front();
        }
        if self.out.is_empty() {
            self.out_done = 0;
        }
    }

    /// Gives memory back while the link is quiet.
    pub fn shrink(&mut self) {
        self.reader.shrink();
        if self.out.is_empty() {
            self.out = VecDeque::new();
        }
        if self.ready.is_empty() {
            self.ready = VecDeque::new();
        }
    }
}
