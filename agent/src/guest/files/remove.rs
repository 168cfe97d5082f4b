//! Remove: one entry, or a whole tree of any depth with a bounded number of
//! descriptors. Directories that lie too deep are moved up before they are
//! emptied, so neither path lengths nor recursion limit the tree.

use super::super::fault::Fault;
use super::super::pack::Pack;
use super::super::pool::{Job, Message, Next, StepIo};
use crate::sys::abi;
use crate::sys::dir::{
    c_path, chmod_at, chmod_entry, open_dir_at, rename_at, unlink_at, DirReader,
};
use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::io::{AsRawFd, OwnedFd, RawFd};

const DEPTH: usize = 32;
/// Entries removed in one step before others get the thread.
const TURN: usize = 4096;

struct Level {
    reader: DirReader,
    name: CString,
}

pub struct RemoveJob {
    path: String,
    recursive: bool,
    levels: Vec<Level>,
    moved: u64,
    /// What `path` is relative to; none: the working directory.
    base: Option<OwnedFd>,
}

impl RemoveJob {
    pub fn new(path: String, recursive: bool) -> RemoveJob {
        RemoveJob {
            path,
            recursive,
            levels: Vec::new(),
            moved: 0,
            base: None,
        }
    }

    /// Removes a tree by its name in an open directory, whatever modes its
    /// directories have. Errors end it: nobody is there to hear them.
    pub fn run_below(base: OwnedFd, name: &CStr) {
        let mut job = RemoveJob::new(name.to_string_lossy().into_owned(), true);
        job.base = Some(base);
        let mut more = job.begin();
        while let Ok(true) = more {
            more = job.advance();
        }
    }

    /// The descriptor that `path` is relative to.
    fn base(&self) -> RawFd {
        self.base
            .as_ref()
            .map_or(abi::AT_FDCWD, |base| base.as_raw_fd())
    }

    /// Opens a directory to empty it. One of our own is made accessible first.
    fn open(&self, dir: RawFd, name: &CStr) -> io::Result<OwnedFd> {
        match open_dir_at(dir, name) {
            Err(error) if self.base.is_some() && error.raw_os_error() == Some(abi::EACCES) => {
                chmod_entry(dir, name, 0o700)?;
                open_dir_at(dir, name)
            }
            Ok(fd) if self.base.is_some() => {
                // Entries of a directory that is not writable cannot be removed.
                let here = c_path(b".")?;
                let _not_ours = chmod_at(fd.as_raw_fd(), &here, 0o700);
                Ok(fd)
            }
            other => other,
        }
    }

    fn fault(&self, error: &io::Error) -> Fault {
        Fault::from_io(error, &self.path)
    }

    /// Removes the entry itself; true when it was a directory that is now open.
    fn begin(&mut self) -> io::Result<bool> {
        let trimmed = self.path.trim_end_matches('/');
        let name = c_path(trimmed.as_bytes())?;
        let base = self.base();
        match unlink_at(base, &name, 0) {
            Err(error) if error.raw_os_error() == Some(abi::EISDIR) => {}
            other => return other.map(|_| false),
        }
        let removed = unlink_at(base, &name, abi::AT_REMOVEDIR);
        match removed {
            Err(error) if self.recursive && error.raw_os_error() == Some(abi::ENOTEMPTY) => {
                let reader = DirReader::new(self.open(base, &name)?);
                self.levels.push(Level { reader, name });
                Ok(true)
            }
            other => other.map(|_| false),
        }
    }

    /// The directory that holds the deepest level.
    fn above(&self) -> RawFd {
        let at = self.levels.len().checked_sub(2);
        let level = at.and_then(|at| self.levels.get(at));
        level.map_or_else(|| self.base(), |level| level.reader.raw())
    }

    /// One entry less. False when everything is gone.
    fn advance(&mut self) -> io::Result<bool> {
        let above = self.above();
        let root = self.levels.first().map(|level| level.reader.raw());
        let depth = self.levels.len();
        let level = match self.levels.last_mut() {
            Some(level) => level,
            None => return Ok(false),
        };
        let name = match level.reader.next_entry()? {
            Some((name, _)) => name,
            None => {
                let left = match unlink_at(above, &level.name, abi::AT_REMOVEDIR) {
                    // Entries were added or moved up meanwhile: once more.
                    Err(error) if error.raw_os_error() == Some(abi::ENOTEMPTY) => {
                        level.reader = DirReader::new(open_dir_at(above, &level.name)?);
                        return Ok(true);
                    }
                    Err(error) if error.raw_os_error() == Some(abi::ENOENT) => Ok(()),
                    other => other,
                };
                left?;
                self.levels.pop();
                return Ok(!self.levels.is_empty());
            }
        };
        let here = level.reader.raw();
        match unlink_at(here, &name, 0) {
            Ok(()) => return Ok(true),
            Err(error) if error.raw_os_error() == Some(abi::ENOENT) => return Ok(true),
            Err(error) if error.raw_os_error() == Some(abi::EISDIR) => {}
            Err(error) => return Err(error),
        }
        if unlink_at(here, &name, abi::AT_REMOVEDIR).is_ok() {
            return Ok(true);
        }
        if let (true, Some(root)) = (depth >= DEPTH, root) {
            self.moved += 1;
            let up = format!(".caisson-remove-{}-{}", std::process::id(), self.moved);
            rename_at(here, &name, root, &c_path(up.as_bytes())?)?;
            return Ok(true);
        }
        let reader = DirReader::new(self.open(here, &name)?);
        self.levels.push(Level { reader, name });
        Ok(true)
    }
}

impl Job for RemoveJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let mut more = match self.levels.is_empty() {
            true => self.begin().map_err(|error| self.fault(&error))?,
            false => true,
        };
        let mut turn = 0;
        while more && turn < TURN {
            turn += 1;
            more = self.advance().map_err(|error| self.fault(&error))?;
        }
        if more {
            return Ok(Next::Output);
        }
        io.out.push(Message::LastReply(Pack::map(0).done()));
        Ok(Next::Done)
    }
}
