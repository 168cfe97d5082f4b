//! Following a folder: what the kernel reports becomes changes, folders that
//! appear are watched and what is in them already is told.
//!
//! A folder is watched before it is read, so nothing made in it is missed; some
//! things are told twice. When the kernel drops events everything is watched
//! anew, then one overflow is told.

use super::super::fault::Fault;
use super::super::files::walk::{Found, Walk};
use super::folders::{Folders, Placed};
use super::history::{Change, ChangeKind};
use crate::sys::abi::{self, O_NONBLOCK};
use crate::sys::dir::{c_path, open_at, open_dir_at};
use crate::sys::inotify::{Event, Inotify};
use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::io::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Things done in one step before others get the thread.
const TURN: usize = 2048;
/// Most folders of one watch.
const MAX_FOLDERS: usize = 262_144;
/// Longest path that is told, in bytes: no call could name a longer one.
const MAX_PATH: usize = 4096;
/// How long the second half of a move may take to come.
pub const PAIRING: Duration = Duration::from_millis(20);

/// Half a move: it left its folder and was not seen anywhere else yet.
pub(super) struct Leaving {
    pub(super) cookie: u32,
    pub(super) watch: i32,
    pub(super) name: OsString,
    pub(super) path: PathBuf,
    pub(super) directory: bool,
    pub(super) since: Instant,
}

/// A folder that is being read.
pub(super) struct Scan {
    pub(super) walk: Walk<i32>,
    /// What is found is told as created.
    pub(super) tell: bool,
}

pub struct Following {
    pub(super) inotify: Inotify,
    pub(super) path: PathBuf,
    pub(super) recursive: bool,
    /// The one entry of the folder that counts, when a file is watched.
    pub(super) only: Option<OsString>,
    pub(super) folders: Folders,
    pub(super) scan: Option<Scan>,
    pub(super) events: VecDeque<Event>,
    pub(super) leaving: Vec<Leaving>,
    /// Folders that could not be found where they appeared: one above has moved since.
    pub(super) missed: Vec<(i32, OsString)>,
    /// After an overflow: watches that were not met again so far.
    pub(super) stale: Option<HashSet<i32>>,
    /// What was watched is gone.
    pub(super) gone: bool,
    pub changes: Vec<Change>,
}

/// Whether there is more to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    More,
    /// Nothing until the kernel reports something.
    Quiet,
}

impl Following {
    /// Begins to watch; `advance` until it is quiet completes it.
    pub fn begin(path: &str, recursive: bool) -> Result<Following, Fault> {
        let fault = |error: &io::Error| fault(error, path);
        let mut following = Following {
            inotify: Inotify::new().map_err(|error| fault(&error))?,
            path: PathBuf::from(path),
            recursive,
            only: None,
            folders: Folders::default(),
            scan: None,
            events: VecDeque::new(),
            leaving: Vec::new(),
            missed: Vec::new(),
            stale: None,
            gone: false,
            changes: Vec::new(),
        };
        let meta = fs::metadata(path).map_err(|error| fault(&error))?;
        if !meta.is_dir() && !meta.is_file() {
            let message = format!("{}: only folders and files can be watched", path);
            return Err(Fault::invalid(message));
        } else if meta.is_file() {
            following.watch_file().map_err(|error| fault(&error))?;
        } else {
            following.watch_root().map_err(|error| fault(&error))?;
        }
        Ok(following)
    }

    /// A file is watched by way of its folder, so that replacing it is seen.
    fn watch_file(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .custom_flags(O_NONBLOCK)
            .open(&self.path)?;
        let real = fs::canonicalize(&self.path)?;
        let (folder, name) = match (real.parent(), real.file_name()) {
            (Some(folder), Some(name)) => (folder, name),
            _ => return Err(io::Error::from_raw_os_error(abi::EINVAL)),
        };
        self.only = Some(name.to_owned());
        self.recursive = false;
        let folder = c_path(folder.as_os_str().as_bytes())?;
        let fd = open_at(abi::AT_FDCWD, &folder, abi::O_DIRECTORY, 0)?;
        self.folders.place_root(self.inotify.add(fd.as_raw_fd())?);
        Ok(())
    }

    fn watch_root(&mut self) -> io::Result<()> {
        let fd = self.open_root()?;
        let watch = self.inotify.add(fd.as_raw_fd())?;
        self.folders.place_root(watch);
        if let Some(stale) = &mut self.stale {
            stale.remove(&watch);
        }
        if self.recursive {
            let walk = Walk::at(fd, &self.path, watch);
            self.scan = Some(Scan { walk, tell: false });
        }
        Ok(())
    }

    pub(super) fn open_root(&self) -> io::Result<OwnedFd> {
        let path = c_path(self.path.as_os_str().as_bytes())?;
        open_at(abi::AT_FDCWD, &path, abi::O_DIRECTORY, 0)
    }

    pub fn descriptor(&self) -> &Inotify {
        &self.inotify
    }

    /// Whether something waits for its second half.
    pub fn is_pairing(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Goes on for one turn. `opening`: what cannot be watched is an error.
    pub fn advance(&mut self, opening: bool) -> Result<State, Fault> {
        for _ in 0..TURN {
            if self.scan.is_some() {
                self.scan_one(opening)?;
            } else if let Some(event) = self.events.pop_front() {
                self.take(event);
            } else if opening {
                return Ok(State::Quiet);
            } else {
                let events = self.inotify.read();
                // A queue that cannot be read any more has lost what was in it.
                match events {
                    Ok(events) => self.events.extend(events),
                    Err(_) => self.lost(),
                }
                if self.events.is_empty() {
                    // While a folder is on its way, what was made in it cannot be found.
                    self.try_missed(self.leaving.is_empty());
                    self.settle(Instant::now().checked_sub(PAIRING));
                    return Ok(match self.scan {
                        Some(_) => State::More,
                        None => State::Quiet,
                    });
                }
            }
        }
        Ok(State::More)
    }

    /// Takes one entry of a folder that is being read.
    fn scan_one(&mut self, opening: bool) -> Result<(), Fault> {
        let mut scan = match self.scan.take() {
            Some(scan) => scan,
            None => return Ok(()),
        };
        let found = match scan.walk.next_found() {
            Some(found) => found,
            None => {
                self.scanned();
                return Ok(());
            }
        };
        let directory = found.is_dir();
        if scan.tell {
            self.change(ChangeKind::Created, found.path.clone(), directory, None);
        }
        if directory && self.recursive {
            match self.watch_found(&mut scan.walk, &found) {
                Err(error) if is_limit(&error) && opening => {
                    return Err(fault(&error, &found.path.to_string_lossy()));
                }
                Err(error) if is_limit(&error) || is_too_long(&error) => self.lost(),
                // Gone again, or not for this user to read.
                Ok(()) | Err(_) => {}
            }
        }
        self.scan = Some(scan);
        Ok(())
    }

    fn watch_found(&mut self, walk: &mut Walk<i32>, found: &Found) -> io::Result<()> {
        let parent = match walk.note() {
            Some(parent) => *parent,
            None => return Ok(()),
        };
        check_length(&found.path)?;
        let fd = open_dir_at(found.dir, &found.name)?;
        let name = OsStr::from_bytes(found.name.to_bytes()).to_owned();
        let (watch, placed) = self.watch_folder(&fd, parent, name)?;
        if placed == Placed::New {
            walk.enter_open(found, fd, watch)?;
        }
        Ok(())
    }

    pub(super) fn watch_folder(
        &mut self,
        fd: &OwnedFd,
        parent: i32,
        name: OsString,
    ) -> io::Result<(i32, Placed)> {
        if self.folders.len() >= MAX_FOLDERS {
            return Err(io::Error::from_raw_os_error(abi::ENOSPC));
        }
        let watch = self.inotify.add(fd.as_raw_fd())?;
        if let Some(stale) = &mut self.stale {
            stale.remove(&watch);
        }
        Ok((watch, self.folders.place(watch, parent, name)))
    }

    /// Everything below a folder was read.
    fn scanned(&mut self) {
        if let Some(stale) = self.stale.take() {
            for watch in stale {
                self.inotify.remove(watch);
            }
            self.lost();
        }
    }

    pub(super) fn change(
        &mut self,
        kind: ChangeKind,
        path: PathBuf,
        directory: bool,
        from: Option<PathBuf>,
    ) {
        let mut paths = from.iter().chain(std::iter::once(&path));
        if paths.any(|path| check_length(path).is_err()) {
            return self.lost();
        }
        self.changes.push(Change {
            kind,
            path,
            directory,
            from,
        });
    }

    /// Something was missed: whoever reads this must look for himself.
    pub(super) fn lost(&mut self) {
        let directory = self.only.is_none();
        self.change(ChangeKind::Overflow, self.path.clone(), directory, None);
    }

    /// The kernel has dropped events: everything is watched anew.
    pub(super) fn begin_again(&mut self) {
        self.settle(Some(Instant::now()));
        self.missed.clear();
        if !self.recursive {
            return self.lost();
        }
        let mut stale = self.stale.take().unwrap_or_default();
        stale.extend(self.folders.clear());
        self.stale = Some(stale);
        if self.watch_root().is_err() {
            self.scanned();
            self.end();
        }
    }

    /// What was watched is gone, and its watches with it.
    pub(super) fn end(&mut self) {
        self.gone = true;
        for watch in self.folders.clear() {
            self.inotify.remove(watch);
        }
        self.leaving.clear();
        self.missed.clear();
    }
}

pub(super) fn is_limit(error: &io::Error) -> bool {
    [abi::ENOSPC, abi::ENOMEM]
        .map(Some)
        .contains(&error.raw_os_error())
}

pub(super) fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(abi::ENAMETOOLONG)
}

pub(super) fn check_length(path: &Path) -> io::Result<()> {
    match path.as_os_str().len() < MAX_PATH {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(abi::ENAMETOOLONG)),
    }
}

fn fault(error: &io::Error, path: &str) -> Fault {
    match error.raw_os_error() {
        Some(abi::ENOSPC) => Fault::new(
            "resource_exhausted",
            format!("{}: no more folders can be watched here", path),
        ),
        Some(abi::EMFILE) => Fault::new(
            "resource_exhausted",
            "no more watches can be opened here: close some",
        ),
        _ => Fault::from_io(error, path),
    }
}
