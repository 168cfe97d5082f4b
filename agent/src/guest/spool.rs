//! Where the older part of an output log lives: an unlinked file used as a ring.

use crate::sys::abi;
use crate::sys::dir::{c_path, open_at, unlink_at};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};

/// Tried in this order; the sandbox's own disk, so its limits apply.
const PLACES: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

pub struct Spool {
    file: File,
    size: u64,
}

impl Spool {
    /// A ring that holds the last `size` bytes of a stream.
    pub fn create(size: u64) -> io::Result<Spool> {
        let mut last = io::Error::from_raw_os_error(abi::ENOENT);
        for place in PLACES {
            match unlinked_file(place) {
                Ok(file) => {
                    return Ok(Spool {
                        file,
                        size: size.max(1),
                    })
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Stores bytes that begin at `offset` of the stream.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        for (position, part) in self.parts(offset, bytes.len()) {
            self.file.write_all_at(&bytes[part], position)?;
        }
        Ok(())
    }

    /// Reads bytes that begin at `offset` of the stream.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        for (position, part) in self.parts(offset, bytes.len()) {
            self.file.read_exact_at(&mut bytes[part], position)?;
        }
        Ok(())
    }

    /// Places in the file for a piece of the stream: two when it wraps.
    fn parts(&self, offset: u64, length: usize) -> Vec<(u64, std::ops::Range<usize>)> {
        let mut parts = Vec::with_capacity(2);
        let mut done = 0;
        while done < length {
            let position = (offset + done as u64) % self.size;
            let room = (self.size - position).min((length - done) as u64) as usize;
            parts.push((position, done..done + room));
            done += room;
        }
        parts
    }
}

fn unlinked_file(place: &str) -> io::Result<File> {
    let dir = c_path(place.as_bytes())?;
    match open_at(abi::AT_FDCWD, &dir, abi::O_TMPFILE | abi::O_RDWR, 0o600) {
        Ok(fd) => return Ok(File::from(fd)),
        Err(error) if error.raw_os_error() == Some(abi::ENOENT) => return Err(error),
        Err(_) => {} // a file system without O_TMPFILE: make a name and drop it
    }
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}/.caisson-{}-{}", place, std::process::id(), number);
    let name = c_path(name.as_bytes())?;
    let flags = abi::O_RDWR | abi::O_CREAT | abi::O_EXCL | abi::O_NOFOLLOW;
    let fd = open_at(abi::AT_FDCWD, &name, flags, 0o600)?;
    unlink_at(abi::AT_FDCWD, &name, 0)?;
    Ok(File::from(fd))
}
