//! MakeDir, Move, Chmod and Chown.

use super::super::fault::Fault;
use super::super::pack::Pack;
use super::super::pool::{Job, Message, Next, StepIo};
use super::copy::move_across;
use super::walk::Walk;
use crate::sys::abi;
use crate::sys::dir::{self, c_path, open_at, Kind};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::io::AsRawFd;
use std::path::Path;

/// Entries changed in one step before others get the thread.
const TURN: usize = 4096;

fn answer(io: &mut StepIo) -> Next {
    io.out.push(Message::LastReply(Pack::map(0).done()));
    Next::Done
}

pub struct MakeDirJob {
    pub path: String,
    pub mode: Option<u32>,
    pub parents: bool,
}

impl Job for MakeDirJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let fault = |error: &io::Error| Fault::from_io(error, &self.path);
        let path = Path::new(&self.path);
        if let (true, Some(parent)) = (self.parents, path.parent()) {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(parent);
            made.map_err(|error| fault(&error))?;
        }
        let created = match DirBuilder::new()
            .mode(self.mode.unwrap_or(0o755))
            .create(path)
        {
            Ok(()) => true,
            Err(_) if self.parents && path.is_dir() => false,
            Err(error) => return Err(fault(&error)),
        };
        if let (true, Some(mode)) = (created, self.mode) {
            // The mode asked for, whatever the umask took away.
            let name = c_path(self.path.trim_end_matches('/').as_bytes());
            let changed = name.and_then(|name| dir::chmod_entry(abi::AT_FDCWD, &name, mode));
            changed.map_err(|error| fault(&error))?;
        }
        io.out.push(Message::LastReply(
            Pack::map(1).flag("created", created).done(),
        ));
        Ok(Next::Done)
    }
}

pub struct MoveJob {
    pub from: String,
    pub to: String,
    pub overwrite: bool,
}

impl MoveJob {
    fn rename(&self) -> io::Result<()> {
        let (from, to) = (Path::new(&self.from), Path::new(&self.to));
        let renamed = if self.overwrite {
            fs::rename(from, to)
        } else {
            let a = c_path(self.from.as_bytes())?;
            let b = c_path(self.to.as_bytes())?;
            match dir::rename_no_replace(abi::AT_FDCWD, &a, abi::AT_FDCWD, &b) {
                // A file system that cannot do it in one step.
                Err(error) if error.raw_os_error() == Some(abi::EINVAL) => {
                    if fs::symlink_metadata(to).is_ok() {
                        return Err(io::Error::from_raw_os_error(abi::EEXIST));
                    }
                    fs::rename(from, to)
                }
                other => other,
            }
        };
        match renamed {
            Err(error) if error.raw_os_error() == Some(abi::EXDEV) => {
                if !self.overwrite && fs::symlink_metadata(to).is_ok() {
                    return Err(io::Error::from_raw_os_error(abi::EEXIST));
                }
                move_across(from, to)
            }
            other => other,
        }
    }
}

impl Job for MoveJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let what = || format!("{} to {}", self.from, self.to);
        self.rename()
            .map_err(|error| Fault::from_io(&error, &what()))?;
        Ok(answer(io))
    }
}

/// What Chmod or Chown does to each entry.
#[derive(Clone, Copy)]
pub enum Change {
    Mode(u32),
    /// -1 as an id leaves it as it is.
    Owner(u32, u32),
}

pub struct ChangeJob {
    pub path: String,
    pub change: Change,
    pub recursive: bool,
    walk: Option<Walk<()>>,
}

impl ChangeJob {
    pub fn new(path: String, change: Change, recursive: bool) -> ChangeJob {
        ChangeJob {
            path,
            change,
            recursive,
            walk: None,
        }
    }

    fn begin(&self) -> io::Result<Option<Walk<()>>> {
        let name = c_path(self.path.as_bytes())?;
        let pinned = open_at(abi::AT_FDCWD, &name, abi::O_PATH | abi::O_NOFOLLOW, 0)?;
        let is_dir = File::from(pinned.try_clone()?).metadata()?.is_dir();
        if self.recursive && is_dir {
            // The directory that is changed is the one that is gone through.
            let itself = c_path(b"")?;
            match self.change {
                Change::Mode(mode) => dir::chmod_pinned(&pinned, mode)?,
                Change::Owner(uid, gid) => {
                    let raw = pinned.as_raw_fd();
                    dir::chown_at(raw, &itself, uid, gid, abi::AT_EMPTY_PATH)?;
                }
            }
            let fd = open_at(pinned.as_raw_fd(), &c_path(b".")?, abi::O_DIRECTORY, 0)?;
            return Ok(Some(Walk::at(fd, Path::new(&self.path), ())));
        }
        match self.change {
            Change::Mode(mode) => dir::chmod_at(abi::AT_FDCWD, &name, mode)?,
            Change::Owner(uid, gid) => {
                let flags = if self.recursive {
                    abi::AT_SYMLINK_NOFOLLOW
                } else {
                    0
                };
                dir::chown_at(abi::AT_FDCWD, &name, uid, gid, flags)?;
            }
        }
        Ok(None)
    }

    fn apply(&self, found: &super::walk::Found, symlink: bool) -> io::Result<()> {
        match self.change {
            Change::Mode(_) if symlink => Ok(()),
            Change::Mode(mode) => match dir::chmod_entry(found.dir, &found.name, mode) {
                // It has become a symlink by now.
                Err(error) if error.raw_os_error() == Some(abi::ELOOP) => Ok(()),
                other => other,
            },
            Change::Owner(uid, gid) => {
                dir::chown_at(found.dir, &found.name, uid, gid, abi::AT_SYMLINK_NOFOLLOW)
            }
        }
    }
}

impl Job for ChangeJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let fault = |error: &io::Error, path: &Path| Fault::from_io(error, &path.to_string_lossy());
        let walk = match self.walk.take() {
            Some(walk) => Some(walk),
            None => self
                .begin()
                .map_err(|error| fault(&error, Path::new(&self.path)))?,
        };
        let mut walk = match walk {
            Some(walk) => walk,
            None => return Ok(answer(io)),
        };
        for _ in 0..TURN {
            let found = match walk.next_found() {
                Some(found) => found,
                None => return Ok(answer(io)),
            };
            let symlink = match found.kind {
                Kind::Unknown => fs::symlink_metadata(&found.path)
                    .map_or(false, |meta| meta.file_type().is_symlink()),
                kind => kind == Kind::Symlink,
            };
            let directory = !symlink && found.is_dir();
            // A mode that takes away entering must not come before the entering.
            let entered = if directory {
                walk.enter(&found, false, ())
            } else {
                Ok(())
            };
            let changed = self.apply(&found, symlink);
            changed.map_err(|error| fault(&error, &found.path))?;
            entered.map_err(|error| fault(&error, &found.path))?;
        }
        self.walk = Some(walk);
        Ok(Next::Output)
    }
}
