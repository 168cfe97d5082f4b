//! What each event of the kernel means for a watch.

use super::super::files::walk::Walk;
use super::folders::Placed;
use super::follow::{check_length, is_limit, is_too_long, Following, Leaving, Scan};
use super::history::ChangeKind;
use crate::sys::abi;
use crate::sys::dir::{c_path, open_dir_at};
use crate::sys::inotify::{self, Event};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::io::AsRawFd;
use std::path::PathBuf;
use std::time::Instant;

/// Most folders whose path was not right when they appeared, to be tried again.
const MAX_MISSED: usize = 1024;
/// Most moves that wait for their second half.
const MAX_LEAVING: usize = 1024;

impl Following {
    pub(super) fn take(&mut self, event: Event) {
        let Event {
            watch,
            mask,
            cookie,
            name,
        } = event;
        if mask & inotify::OVERFLOW != 0 {
            return self.begin_again();
        }
        if mask & inotify::IGNORED != 0 {
            self.folders.forget(watch);
            return;
        }
        if name.is_empty() {
            return self.take_own(watch, mask);
        }
        let folder = match self.folders.path(&self.path, watch) {
            Some(folder) => folder,
            None => return, // of a folder that left
        };
        let name = OsString::from_vec(name);
        let path = match &self.only {
            None => folder.join(&name),
            Some(only) if *only == name => self.path.clone(),
            Some(_) => return,
        };
        let directory = mask & inotify::ISDIR != 0;
        let before = match mask & inotify::MOVED_TO != 0 {
            true => self.leaving.iter().position(|half| half.cookie == cookie),
            false => None,
        };
        let before = before.map(|at| self.leaving.swap_remove(at));
        self.settle_name(watch, &name);
        if mask & inotify::CREATE != 0 {
            self.change(ChangeKind::Created, path, directory, None);
            self.appeared(directory, watch, name);
        } else if mask & inotify::MOVED_FROM != 0 {
            if self.leaving.len() >= MAX_LEAVING {
                self.settle(Some(Instant::now()));
            }
            self.leaving.push(Leaving {
                cookie,
                watch,
                name,
                path,
                directory,
                since: Instant::now(),
            });
        } else if mask & inotify::MOVED_TO != 0 {
            self.arrived(before, watch, name, path, directory);
        } else if mask & inotify::DELETE != 0 {
            if let Some(child) = self.folders.child(watch, &name) {
                self.folders.forget(child);
            }
            self.change(ChangeKind::Deleted, path, directory, None);
        } else if mask & inotify::MODIFY != 0 {
            self.change(ChangeKind::Modified, path, directory, None);
        } else if mask & inotify::ATTRIB != 0 {
            self.change(ChangeKind::Attributes, path, directory, None);
        }
    }

    /// An event about a watched folder itself. All but the root are told of by
    /// the folder that holds them.
    fn take_own(&mut self, watch: i32, mask: u32) {
        if !self.folders.is_root(watch) || self.gone {
            return;
        }
        let ends = inotify::DELETE_SELF | inotify::MOVE_SELF | inotify::UNMOUNT;
        let path = self.path.clone();
        match (mask & ends != 0, mask & inotify::ATTRIB != 0) {
            (true, _) => {
                // Of a file its folder has told already, unless it went along.
                if self.only.is_none() || mask & inotify::DELETE_SELF == 0 {
                    self.settle(Some(Instant::now()));
                    self.change(ChangeKind::Deleted, path, self.only.is_none(), None);
                }
                self.end();
            }
            (false, true) if self.only.is_none() => {
                self.change(ChangeKind::Attributes, path, true, None);
            }
            _ => {}
        }
    }

    /// Something came to a name by a move.
    fn arrived(
        &mut self,
        before: Option<Leaving>,
        watch: i32,
        name: OsString,
        path: PathBuf,
        directory: bool,
    ) {
        let before = match before {
            Some(before) => before,
            None => {
                self.change(ChangeKind::Created, path, directory, None);
                return self.appeared(directory, watch, name);
            }
        };
        self.change(ChangeKind::Moved, path, directory, Some(before.path));
        if !directory || !self.recursive {
            return;
        }
        match self.folders.child(before.watch, &before.name) {
            Some(child) => {
                self.folders.place(child, watch, name);
                self.try_missed(false);
            }
            // It was not watched yet, or is in its new place already.
            None => self.appeared(true, watch, name),
        }
    }

    /// An entry is new here: a folder is watched, and read.
    fn appeared(&mut self, directory: bool, parent: i32, name: OsString) {
        if !directory || !self.recursive {
            return;
        }
        match self.watch_new(parent, &name) {
            Ok(()) => {}
            Err(error) if is_limit(&error) || is_too_long(&error) => self.lost(),
            Err(_) if self.missed.len() >= MAX_MISSED => self.lost(),
            Err(_) => self.missed.push((parent, name)),
        }
    }

    fn watch_new(&mut self, parent: i32, name: &OsString) -> io::Result<()> {
        let absent = || io::Error::from_raw_os_error(abi::ENOENT);
        let names = self.folders.names(parent).ok_or_else(absent)?;
        let mut path = self.path.clone();
        path.extend(names.iter().chain(std::iter::once(name)));
        check_length(&path)?;
        let mut fd = self.open_root()?;
        for part in names.iter().chain(std::iter::once(name)) {
            fd = open_dir_at(fd.as_raw_fd(), &c_path(part.as_bytes())?)?;
        }
        let (watch, placed) = self.watch_folder(&fd, parent, name.clone())?;
        if placed == Placed::New {
            let walk = Walk::at(fd, &path, watch);
            self.scan = Some(Scan { walk, tell: true });
        }
        Ok(())
    }

    /// Looks again for folders that were not where they appeared. `last`: those
    /// that are still not there are gone, or not for this user to read.
    pub(super) fn try_missed(&mut self, last: bool) {
        let mut missed = std::mem::take(&mut self.missed);
        while let (None, Some((parent, name))) = (&self.scan, missed.pop()) {
            match self.watch_new(parent, &name) {
                Ok(()) => {}
                Err(error) if is_limit(&error) => self.lost(),
                Err(_) if last => {}
                Err(_) => self.missed.push((parent, name)),
            }
        }
        self.missed.extend(missed);
    }

    /// What left a name that is used again did not come back there.
    fn settle_name(&mut self, watch: i32, name: &OsStr) {
        while let Some(at) = self
            .leaving
            .iter()
            .position(|half| half.watch == watch && half.name == name)
        {
            let half = self.leaving.swap_remove(at);
            self.left(half);
        }
    }

    /// What left before a moment has left for good.
    pub(super) fn settle(&mut self, before: Option<Instant>) {
        let before = match before {
            Some(before) => before,
            None => return,
        };
        let (old, new) = std::mem::take(&mut self.leaving)
            .into_iter()
            .partition(|half| half.since <= before);
        self.leaving = new;
        let old: Vec<Leaving> = old;
        for half in old {
            self.left(half);
        }
    }

    fn left(&mut self, half: Leaving) {
        self.change(ChangeKind::Deleted, half.path, half.directory, None);
        if let Some(child) = self.folders.child(half.watch, &half.name) {
            for watch in self.folders.forget(child) {
                self.inotify.remove(watch);
            }
        }
    }
}
