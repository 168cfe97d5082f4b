//! What the runtime and the agent write to their standard output and error. It
//! goes through a pipe, so the box holds no file of the machine, and the file
//! is bounded, so the box cannot fill the disk with it.

use super::os;
use std::fs::File;
use std::io::Write;
use std::os::unix::io::{AsRawFd, OwnedFd, RawFd};

const FILE_LIMIT: usize = 64 * 1024;
const TAIL_LIMIT: usize = 512;

pub struct Console {
    pipe: Option<OwnedFd>,
    file: File,
    written: usize,
    tail: Vec<u8>,
}

impl Console {
    pub fn new(pipe: OwnedFd, file: File) -> Console {
        Console {
            pipe: Some(pipe),
            file,
            written: 0,
            tail: Vec::new(),
        }
    }

    /// The descriptor to wait for, while anybody can still write.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.pipe.as_ref().map(|pipe| pipe.as_raw_fd())
    }

    /// Takes what is there.
    pub fn drain(&mut self) {
        let mut buffer = [0u8; 4096];
        while let Some(pipe) = &self.pipe {
            match os::read_some(pipe.as_raw_fd(), &mut buffer) {
                None => return,
                Some(0) => self.pipe = None,
                Some(count) => self.keep(&buffer[..count]),
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = bytes.len().min(FILE_LIMIT - self.written);
        // A full disk must not end the box; the tail still has the last words.
        if room > 0 && self.file.write_all(&bytes[..room]).is_ok() {
            self.written += room;
        }
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(TAIL_LIMIT);
        self.tail.drain(..surplus);
    }

    /// The last words, on one line.
    pub fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
