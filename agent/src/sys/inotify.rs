//! Changes of folders, as the kernel reports them.

use super::abi;
use super::fd::{self, check, owned};
use std::ffi::CString;
use std::io;
use std::os::raw::c_int;
use std::os::unix::io::{AsRawFd, OwnedFd, RawFd};

pub const MODIFY: u32 = 0x2;
pub const ATTRIB: u32 = 0x4;
pub const MOVED_FROM: u32 = 0x40;
pub const MOVED_TO: u32 = 0x80;
pub const CREATE: u32 = 0x100;
pub const DELETE: u32 = 0x200;
pub const DELETE_SELF: u32 = 0x400;
pub const MOVE_SELF: u32 = 0x800;
pub const UNMOUNT: u32 = 0x2000;
pub const OVERFLOW: u32 = 0x4000;
pub const IGNORED: u32 = 0x8000;
pub const ISDIR: u32 = 0x4000_0000;
const ONLYDIR: u32 = 0x0100_0000;
/// Files that were unlinked and are still open tell nothing under their old name.
const EXCL_UNLINK: u32 = 0x0400_0000;

const FOLDER: u32 = MODIFY
    | ATTRIB
    | MOVED_FROM
    | MOVED_TO
    | CREATE
    | DELETE
    | DELETE_SELF
    | MOVE_SELF
    | ONLYDIR
    | EXCL_UNLINK;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The watch it belongs to; -1 for an overflow.
    pub watch: i32,
    pub mask: u32,
    /// Ties both halves of a move together.
    pub cookie: u32,
    /// Of the entry; empty when it is about the folder itself.
    pub name: Vec<u8>,
}

/// One queue of changes.
pub struct Inotify(OwnedFd);

impl Inotify {
    pub fn new() -> io::Result<Inotify> {
        // SAFETY: a plain call.
        owned(unsafe { abi::inotify_init1(abi::O_CLOEXEC | abi::O_NONBLOCK) }).map(Inotify)
    }

    /// Watches an open folder, by the rights of the calling thread.
    pub fn add(&self, folder: RawFd) -> io::Result<i32> {
        let path = CString::new(format!("/proc/self/fd/{}", folder))?;
        // SAFETY: the string lives during the call.
        check(unsafe { abi::inotify_add_watch(self.0.as_raw_fd(), path.as_ptr(), FOLDER) })
    }

    /// Ends a watch; one that ended by itself is no error.
    pub fn remove(&self, watch: i32) {
        // SAFETY: a plain call.
        unsafe { abi::inotify_rm_watch(self.0.as_raw_fd(), watch as c_int) };
    }

    /// The next events, in order; none when nothing happened since.
    pub fn read(&self) -> io::Result<Vec<Event>> {
        let mut buffer = vec![0; 16_384];
        match fd::read(&self.0, &mut buffer) {
            Ok(got) => Ok(parse(buffer.get(..got).unwrap_or(&[]))),
            Err(error) if fd::would_block(&error) || fd::interrupted(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

impl AsRawFd for Inotify {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// struct inotify_event: wd i32, mask u32, cookie u32, len u32, name padded with NUL.
fn parse(mut bytes: &[u8]) -> Vec<Event> {
    const HEADER: usize = 16;
    let mut events = Vec::new();
    while let Some(header) = bytes.get(..HEADER) {
        let word = |at: usize| {
            u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let length = word(12) as usize;
        let field = match bytes.get(HEADER..HEADER + length) {
            Some(field) => field,
            None => break, // the kernel writes whole events only
        };
        let name = field.split(|&byte| byte == 0).next().unwrap_or(&[]);
        events.push(Event {
            watch: word(0) as i32,
            mask: word(4),
            cookie: word(8),
            name: name.to_vec(),
        });
        bytes = bytes.get(HEADER + length..).unwrap_or(&[]);
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_apart() {
        let mut bytes = Vec::new();
        for (watch, name) in [(3i32, "ab\0\0"), (4, ""), (-1, "x\0\0\0\0\0\0\0")] {
            bytes.extend(watch.to_ne_bytes());
            bytes.extend(
                [CREATE, 7, name.len() as u32]
                    .iter()
                    .flat_map(|w| w.to_ne_bytes()),
            );
            bytes.extend(name.as_bytes());
        }
        let events = parse(&bytes);
        let seen: Vec<(i32, &[u8])> = events.iter().map(|e| (e.watch, &e.name[..])).collect();
        assert_eq!(seen, [(3, &b"ab"[..]), (4, b""), (-1, b"x")]);
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut]).len() < 3);
        }
    }
}
