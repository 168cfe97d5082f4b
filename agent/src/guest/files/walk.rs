//! Walking directory trees by descriptors, so that a tree that changes under
//! the walk cannot lead it out through a symlink.

use crate::sys::abi;
use crate::sys::dir::{c_path, open_at, open_dir_at, DirReader, Kind};
use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::io::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};

/// Deepest nesting a walk goes into: each level holds a descriptor.
pub const MAX_DEPTH: usize = 128;

struct Level<T> {
    reader: DirReader,
    path: PathBuf,
    note: T,
}

/// A depth-first walk; `T` is what the user notes about each directory.
pub struct Walk<T> {
    levels: Vec<Level<T>>,
}

/// One entry, as it lies in its directory.
pub struct Found {
    pub dir: RawFd,
    pub name: CString,
    pub path: PathBuf,
    pub kind: Kind,
}

impl Found {
    /// Resolves `Unknown` kinds, which some file systems report.
    pub fn is_dir(&self) -> bool {
        match self.kind {
            Kind::Directory => true,
            Kind::Unknown => fs::symlink_metadata(&self.path).map_or(false, |meta| meta.is_dir()),
            _ => false,
        }
    }
}

impl<T> Walk<T> {
    /// Begins at a directory; a symlink to one is followed here and only here.
    pub fn begin(path: &Path, note: T) -> io::Result<Walk<T>> {
        let name = c_path(path.as_os_str().as_bytes())?;
        let fd = open_at(abi::AT_FDCWD, &name, abi::O_DIRECTORY, 0)?;
        Ok(Walk::at(fd, path, note))
    }

    /// Begins at a directory that is open.
    pub fn at(fd: OwnedFd, path: &Path, note: T) -> Walk<T> {
        let mut walk = Walk { levels: Vec::new() };
        walk.push(fd, path, note);
        walk
    }

    fn push(&mut self, fd: OwnedFd, path: &Path, note: T) {
        let reader = DirReader::new(fd);
        let path = path.to_owned();
        self.levels.push(Level { reader, path, note });
    }

    pub fn depth(&self) -> usize {
        self.levels.len()
    }

    pub fn note(&self) -> Option<&T> {
        self.levels.last().map(|level| &level.note)
    }

    /// The next entry of the deepest directory; a directory that is done or
    /// cannot be read further is left. None at the end of everything.
    pub fn next_found(&mut self) -> Option<Found> {
        loop {
            if let Ok(found) = self.try_next_found() {
                return found;
            }
        }
    }

    /// The same, but a directory that cannot be read further is an error.
    pub fn try_next_found(&mut self) -> io::Result<Option<Found>> {
        while let Some(level) = self.levels.last_mut() {
            match level.reader.next_entry() {
                Ok(Some((name, kind))) => {
                    let path = level.path.join(OsStr::from_bytes(name.to_bytes()));
                    return Ok(Some(Found {
                        dir: level.reader.raw(),
                        name,
                        path,
                        kind,
                    }));
                }
                Ok(None) => {
                    self.levels.pop();
                }
                Err(error) => {
                    self.levels.pop();
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Goes into a directory just found. With `follow`, also through a symlink.
    pub fn enter(&mut self, found: &Found, follow: bool, note: T) -> io::Result<()> {
        let fd = if follow {
            open_at(found.dir, &found.name, abi::O_DIRECTORY, 0)?
        } else {
            open_dir_at(found.dir, &found.name)?
        };
        self.enter_open(found, fd, note)
    }

    /// Goes into a directory just found that is open already.
    pub fn enter_open(&mut self, found: &Found, fd: OwnedFd, note: T) -> io::Result<()> {
        if self.levels.len() >= MAX_DEPTH {
            return Err(io::Error::from_raw_os_error(abi::ELOOP));
        }
        self.push(fd, &found.path, note);
        Ok(())
    }
}
