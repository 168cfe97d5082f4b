//! WriteTree: unpacks a tar stream into a directory as it arrives.

use super::super::fault::Fault;
use super::super::pack::Pack;
use super::super::pool::{Job, Message, Next, StepIo};
use super::super::tar::reader::{Event, TarReader};
use super::remove::RemoveJob;
use super::settle::{settle, After};
use super::unpack::{Target, Unpack};
use super::write::temporary_name;
use crate::sys::abi;
use crate::sys::dir::{self, c_path, open_at, open_dir_at};
use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::io::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Mode of a new directory when neither the caller nor the archive names one.
const DEFAULT_MODE: u32 = 0o755;

pub struct WriteTreeJob {
    pub path: String,
    pub keep_owners: bool,
    pub mode: Option<u32>,
    writing: Option<Writing>,
}

struct Writing {
    reader: TarReader,
    unpack: Unpack,
    fresh: Option<Fresh>,
}

/// A tree that has no name yet; removed when it is given up.
struct Fresh {
    parent: OwnedFd,
    temporary: CString,
    name: CString,
    placed: bool,
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if self.placed {
            return;
        }
        // In the pool, as all jobs are dropped: it may be large.
        if let Ok(parent) = self.parent.try_clone() {
            RemoveJob::run_below(parent, &self.temporary);
        }
    }
}

impl WriteTreeJob {
    pub fn new(path: String, keep_owners: bool, mode: Option<u32>) -> WriteTreeJob {
        WriteTreeJob {
            path,
            keep_owners,
            mode,
            writing: None,
        }
    }

    fn begin(&self) -> Result<Writing, Fault> {
        let fault = |error: io::Error| Fault::from_io(&error, &self.path);
        let trimmed = self.path.trim_end_matches('/');
        let path = Path::new(if trimmed.is_empty() { "/" } else { trimmed });
        let (root, fresh) = match fs::metadata(path) {
            Ok(_) => {
                let name = c_path(path.as_os_str().as_bytes()).map_err(fault)?;
                let flags = abi::O_DIRECTORY;
                (
                    open_at(abi::AT_FDCWD, &name, flags, 0).map_err(fault)?,
                    None,
                )
            }
            Err(error)
                if error.raw_os_error() == Some(abi::ENOENT)
                    && fs::symlink_metadata(path).is_err() =>
            {
                let fresh = Fresh::begin(path).map_err(fault)?;
                let parent = fresh.parent.as_raw_fd();
                let root = open_dir_at(parent, &fresh.temporary).map_err(fault)?;
                (root, Some(fresh))
            }
            Err(error) => return Err(fault(error)),
        };
        let target = match fresh {
            Some(_) => Target::Fresh,
            None => Target::InUse,
        };
        Ok(Writing {
            reader: TarReader::default(),
            unpack: Unpack::new(root, target, self.keep_owners),
            fresh,
        })
    }

    fn finish(&self, writing: &mut Writing) -> Result<Vec<u8>, Fault> {
        writing.reader.finish().map_err(Fault::invalid)?;
        let unpack = &mut writing.unpack;
        unpack.finish()?;
        let fault = |error: io::Error| Fault::from_io(&error, &self.path);
        if writing.fresh.is_some() {
            let told = unpack.root_after.unwrap_or_else(|| After {
                mode: DEFAULT_MODE,
                mtime: now(),
            });
            let mode = self.mode.unwrap_or(told.mode);
            settle(unpack.root(), After { mode, ..told }).map_err(fault)?;
        }
        // Once for everything: what is answered is on disk.
        match dir::sync_file_system(unpack.root()) {
            Err(error) if error.raw_os_error() != Some(abi::ENOSYS) => return Err(fault(error)),
            _ => {}
        }
        if let Some(fresh) = &mut writing.fresh {
            fresh.place().map_err(fault)?;
        }
        Ok(Pack::map(2)
            .uint("entries", unpack.entries)
            .uint("bytes", unpack.bytes)
            .done())
    }
}

impl Fresh {
    fn begin(path: &Path) -> io::Result<Fresh> {
        let parent = path.parent().unwrap_or_else(|| Path::new("/"));
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)?;
        let name = c_path(path.file_name().unwrap_or_default().as_bytes())?;
        let parent = c_path(parent.as_os_str().as_bytes())?;
        let flags = abi::O_PATH | abi::O_DIRECTORY;
        let parent = open_at(abi::AT_FDCWD, &parent, flags, 0)?;
        let temporary = c_path(temporary_name().as_bytes())?;
        dir::make_dir_at(parent.as_raw_fd(), &temporary, 0o700)?;
        Ok(Fresh {
            parent,
            temporary,
            name,
            placed: false,
        })
    }

    /// Gives the tree its name, which must still be free.
    fn place(&mut self) -> io::Result<()> {
        let (dir, from, to) = (self.parent.as_raw_fd(), &self.temporary, &self.name);
        match dir::rename_no_replace(dir, from, dir, to) {
            // A file system that cannot do it in one step.
            Err(error)
                if [abi::EINVAL, abi::ENOSYS]
                    .map(Some)
                    .contains(&error.raw_os_error()) =>
            {
                if open_at(dir, to, abi::O_PATH | abi::O_NOFOLLOW, 0).is_ok() {
                    return Err(io::Error::from_raw_os_error(abi::EEXIST));
                }
                dir::rename_at(dir, from, dir, to)?;
            }
            other => other?,
        }
        self.placed = true;
        Ok(())
    }
}

impl Writing {
    fn take(&mut self, mut input: &[u8]) -> Result<(), Fault> {
        while let Some(event) = self.reader.next_event(&mut input).map_err(Fault::invalid)? {
            match event {
                Event::Entry(entry) => self.unpack.begin(*entry)?,
                Event::Data(bytes) => self.unpack.data(bytes)?,
                Event::EntryEnd => self.unpack.end()?,
            }
        }
        Ok(())
    }
}

fn now() -> (i64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or((0, 0), |since| {
        (since.as_secs() as i64, since.subsec_nanos())
    })
}

impl Job for WriteTreeJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let mut writing = match self.writing.take() {
            Some(writing) => writing,
            None => self.begin()?,
        };
        writing.take(&std::mem::take(&mut io.input))?;
        if io.input_ended {
            let reply = self.finish(&mut writing)?;
            io.out.push(Message::LastReply(reply));
            return Ok(Next::Done);
        }
        self.writing = Some(writing);
        Ok(Next::Input)
    }
}
