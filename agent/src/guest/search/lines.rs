//! A file line by line, with a bounded part of it in memory. A line that is too
//! long is cut into pieces.

use super::super::regex::Text;
use crate::sys::memory::{find, find_byte};
use std::fs::File;
use std::io::{self, Read};

/// Longest piece of a line, in bytes.
pub const PIECE: usize = 1 << 20;
/// Bytes asked for at once.
const CHUNK: usize = 262_144;
/// A NUL among the first bytes of a file makes it binary.
const HEAD: usize = 8192;

/// A line, or a piece of one, as places in the buffer.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    from: usize,
    to: usize,
    /// Where the next one begins: behind the line break.
    next: usize,
    starts: bool,
    ends: bool,
}

pub struct Lines {
    file: io::Take<File>,
    buffer: Vec<u8>,
    /// Where the next piece begins in the buffer, and its line, from 1.
    at: usize,
    pub line: u64,
    /// Place of the buffer in the file.
    base: u64,
    /// The next piece goes on with a line that was cut.
    within: bool,
    ended: bool,
}

impl Lines {
    /// At most `limit` bytes of a file are read.
    pub fn new(file: File, limit: u64) -> Lines {
        Lines {
            file: file.take(limit),
            buffer: Vec::new(),
            at: 0,
            line: 1,
            base: 0,
            within: false,
            ended: false,
        }
    }

    /// Reads the first bytes; whether they are those of a binary file.
    pub fn is_binary(&mut self) -> io::Result<bool> {
        self.fill()?;
        let head = self.buffer.get(..HEAD).unwrap_or(&self.buffer);
        Ok(find_byte(head, 0, 0).is_some())
    }

    /// Bytes that were read so far.
    pub fn read(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    pub fn text(&self, piece: Piece) -> Text<'_> {
        Text {
            bytes: self.buffer.get(piece.from..piece.to).unwrap_or(&[]),
            starts: piece.starts,
            ends: piece.ends,
        }
    }

    /// The line break behind a piece; empty for one that was cut.
    pub fn rest(&self, piece: Piece) -> &[u8] {
        self.buffer.get(piece.to..piece.next).unwrap_or(&[])
    }

    /// Place of a piece in the file.
    pub fn offset(&self, piece: Piece) -> u64 {
        self.base + piece.from as u64
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.at);
        self.base += self.at as u64;
        self.at = 0;
        let got = (&mut self.file)
            .take(CHUNK as u64)
            .read_to_end(&mut self.buffer)?;
        self.ended = got == 0;
        Ok(())
    }

    /// The next piece; with a `needle`, the next that may contain it. None at
    /// the end, or, with a needle, when more must be read first.
    pub fn next(&mut self, needle: &[u8]) -> io::Result<Option<Piece>> {
        loop {
            if !needle.is_empty() {
                self.skip_to(needle);
            }
            if self.at < self.buffer.len() {
                let most = self.buffer.len().min(self.at + PIECE);
                let line = self.buffer.get(..most).unwrap_or(&[]);
                let end = find_byte(line, b'\n', self.at);
                let cut = self.buffer.len() > self.at + PIECE;
                if end.is_some() || cut || self.ended {
                    return Ok(Some(self.piece(end, most, cut)));
                }
            } else if self.ended {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    fn piece(&self, end: Option<usize>, most: usize, cut: bool) -> Piece {
        let from = self.at;
        let (mut to, next) = match end {
            Some(end) => (end, end + 1),
            None => (most, most),
        };
        let mut next = next;
        if end.is_none() && cut {
            // Between letters.
            while to > from + PIECE - 4 && self.buffer.get(to).map_or(false, |b| b & 0xc0 == 0x80) {
                to -= 1;
            }
            next = to;
        } else if end.is_some() && to > from && self.buffer.get(to - 1) == Some(&b'\r') {
            to -= 1;
        }
        Piece {
            from,
            to,
            next,
            starts: !self.within,
            ends: end.is_some() || !cut,
        }
    }

    /// Goes on behind a piece.
    pub fn done(&mut self, piece: Piece) {
        self.at = piece.next;
        self.within = !piece.ends;
        self.line += u64::from(piece.ends);
    }

    /// Skips the whole lines before the next needle.
    fn skip_to(&mut self, needle: &[u8]) {
        let found = find(&self.buffer, needle, self.at).unwrap_or(self.buffer.len());
        let before = self.buffer.get(self.at..found).unwrap_or(&[]);
        if let Some(last) = before.iter().rposition(|&byte| byte == b'\n') {
            let skipped = before.get(..=last).unwrap_or(&[]);
            let mut at = 0;
            while let Some(end) = find_byte(skipped, b'\n', at) {
                self.line += 1;
                at = end + 1;
            }
            self.at += last + 1;
            self.within = false;
        }
    }
}
