//! ReadTree: a directory's content, or one file, as a tar stream.

use super::super::fault::Fault;
use super::super::glob::Glob;
use super::super::pool::{Job, Message, Next, StepIo};
use super::super::tar::{padding, writer, Entry, Kind};
use super::super::user::{Names, UserDatabase};
use super::entry;
use super::read::open_regular;
use super::walk::{Found, Walk};
use super::xattrs::user_attributes;
use crate::sys::dir::{open_at, open_dir_at, read_link_at, Kind as Listed};
use crate::sys::{abi, fd};
use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::io::OwnedFd;
use std::path::{Path, PathBuf};

/// Entries looked at in one step before others get the thread.
const TURN: usize = 2048;
/// Files with several names that are remembered, to tell the others as links;
/// further ones are packed once per name.
const MAX_LINKED: usize = 65_536;

pub struct ReadTreeJob {
    path: String,
    exclude: Vec<Glob>,
    open: Option<Reading>,
}

struct Reading {
    /// Where each exclude pattern is, per directory. None: one file.
    walk: Option<Walk<Vec<u64>>>,
    names: Names,
    linked: HashMap<(u64, u64), Vec<u8>>,
    content: Option<Content>,
}

/// A file whose header is written.
struct Content {
    file: File,
    path: PathBuf,
    size: u64,
    left: u64,
}

impl ReadTreeJob {
    pub fn new(path: String, exclude: Vec<Glob>) -> ReadTreeJob {
        ReadTreeJob {
            path,
            exclude,
            open: None,
        }
    }

    /// Opens the tree and answers.
    fn begin(&self, io: &mut StepIo, out: &mut Vec<u8>) -> Result<Reading, Fault> {
        let path = Path::new(&self.path);
        let fault = |error| Fault::from_io(&error, &self.path);
        let meta = fs::metadata(path).map_err(fault)?;
        let mut reading = Reading {
            walk: None,
            names: UserDatabase::load().names(),
            linked: HashMap::new(),
            content: None,
        };
        if meta.is_dir() {
            let start = self.exclude.iter().map(Glob::start).collect();
            reading.walk = Some(Walk::begin(path, start).map_err(fault)?);
        } else {
            let (file, meta) = open_regular(&self.path)?;
            let name = path.file_name().unwrap_or_default().as_bytes();
            reading.file(file, path, name, &meta, out).map_err(fault)?;
        }
        io.out.push(Message::Reply(entry::reply(path, &meta)));
        Ok(reading)
    }

    /// Whether a pattern leaves an entry out, else the states inside it.
    fn inside(&self, states: &[u64], found: &Found) -> Option<Vec<u64>> {
        let name = found.name.to_string_lossy();
        let steps = self.exclude.iter().zip(states).map(|(glob, &states)| {
            let all = glob.advance(states, &name).all();
            let excluded = glob.accepts(all) && !glob.only_directories(found);
            (!excluded).then(|| glob.needs_more(all))
        });
        steps.collect()
    }

    /// Writes what comes next. False at the end of the tree.
    fn advance(&self, reading: &mut Reading, out: &mut Vec<u8>) -> Result<bool, Fault> {
        let walk = match &mut reading.walk {
            Some(walk) => walk,
            None => return Ok(false),
        };
        let fault = |error: io::Error, path: &Path| Fault::from_io(&error, &path.to_string_lossy());
        let found = walk.try_next_found();
        let found = match found.map_err(|error| fault(error, Path::new(&self.path)))? {
            Some(found) => found,
            None => return Ok(false),
        };
        let states = walk.note().cloned().unwrap_or_default();
        let inside = match self.inside(&states, &found) {
            Some(inside) => inside,
            None => return Ok(true),
        };
        let relative = found.path.strip_prefix(&self.path).unwrap_or(&found.path);
        let relative = relative.as_os_str().as_bytes().to_vec();
        match reading.entry(&found, relative, inside, out) {
            // It was never there, as far as this archive is concerned.
            Err(error) if error.raw_os_error() == Some(abi::ENOENT) => Ok(true),
            Err(error) => Err(fault(error, &found.path)),
            Ok(()) => Ok(true),
        }
    }
}

impl Reading {
    fn entry(
        &mut self,
        found: &Found,
        relative: Vec<u8>,
        inside: Vec<u64>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        if found.kind == Listed::Directory {
            let file = File::from(open_dir_at(found.dir, &found.name)?);
            let meta = file.metadata()?;
            let mut entry = self.describe(Kind::Directory, relative, &meta);
            entry.xattrs = attributes(&file)?;
            out.extend(writer::encode(&entry));
            if let Some(walk) = &mut self.walk {
                walk.enter_open(found, OwnedFd::from(file), inside)?;
            }
            return Ok(());
        }
        let looked = open_at(found.dir, &found.name, abi::O_PATH | abi::O_NOFOLLOW, 0)?;
        let meta = File::from(looked).metadata()?;
        let kind = meta.file_type();
        if kind.is_dir() {
            // The file system did not say so, or it is a directory by now.
            let found = Found {
                kind: Listed::Directory,
                name: found.name.clone(),
                path: found.path.clone(),
                dir: found.dir,
            };
            return self.entry(&found, relative, inside, out);
        }
        if kind.is_symlink() {
            let mut entry = self.describe(Kind::Symlink, relative, &meta);
            entry.link = read_link_at(found.dir, &found.name)?;
            out.extend(writer::encode(&entry));
        } else if kind.is_fifo() {
            out.extend(writer::encode(&self.describe(Kind::Fifo, relative, &meta)));
        } else if kind.is_file() {
            // O_NONBLOCK: should it be a pipe by now, opening it must not wait.
            let flags = abi::O_NOFOLLOW | abi::O_NONBLOCK;
            let file = File::from(open_at(found.dir, &found.name, flags, 0)?);
            let meta = file.metadata()?;
            if meta.is_file() {
                self.file(file, &found.path, &relative, &meta, out)?;
            }
        }
        // Sockets and devices mean nothing elsewhere.
        Ok(())
    }

    fn file(
        &mut self,
        file: File,
        path: &Path,
        relative: &[u8],
        meta: &Metadata,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        if meta.nlink() > 1 {
            let inode = (meta.dev(), meta.ino());
            if let Some(first) = self.linked.get(&inode) {
                let mut entry = self.describe(Kind::HardLink, relative.to_vec(), meta);
                entry.link = first.clone();
                out.extend(writer::encode(&entry));
                return Ok(());
            }
            if self.linked.len() < MAX_LINKED {
                self.linked.insert(inode, relative.to_vec());
            }
        }
        let mut entry = self.describe(Kind::File, relative.to_vec(), meta);
        entry.size = meta.size();
        entry.xattrs = attributes(&file)?;
        out.extend(writer::encode(&entry));
        self.content = Some(Content {
            file,
            path: path.to_owned(),
            size: entry.size,
            left: entry.size,
        });
        Ok(())
    }

    fn describe(&self, kind: Kind, path: Vec<u8>, meta: &Metadata) -> Entry {
        Entry {
            kind,
            path,
            link: Vec::new(),
            size: 0,
            mode: meta.mode() & 0o7777,
            uid: u64::from(meta.uid()),
            gid: u64::from(meta.gid()),
            user: self.names.user(meta.uid()),
            group: self.names.group(meta.gid()),
            mtime: (meta.mtime(), meta.mtime_nsec() as u32),
            xattrs: Vec::new(),
        }
    }
}

impl Content {
    /// Reads at most `most` bytes more. False when the file is through.
    fn read(&mut self, most: usize, out: &mut Vec<u8>) -> Result<bool, Fault> {
        let what = || self.path.to_string_lossy().into_owned();
        let want = self.left.min(most as u64) as usize;
        if want > 0 {
            out.reserve(want);
            match fd::read_spare(&self.file, out, want) {
                Ok(0) => {
                    let message = format!("{}: became shorter while it was read", what());
                    return Err(Fault::new("io_error", message));
                }
                Ok(got) => self.left -= got as u64,
                Err(error) if fd::interrupted(&error) => {}
                Err(error) => return Err(Fault::from_io(&error, &what())),
            }
        }
        if self.left == 0 {
            out.resize(out.len() + padding(self.size), 0);
        }
        Ok(self.left > 0)
    }
}

/// The attributes of a user; others need rights where they are unpacked.
fn attributes(file: &File) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let found = user_attributes(file)?;
    if found
        .iter()
        .any(|(name, _)| name.as_bytes().contains(&b'='))
    {
        // The format has no way to write it.
        return Err(io::Error::from_raw_os_error(abi::EOPNOTSUPP));
    }
    let bytes = found
        .into_iter()
        .map(|(name, value)| (name.into_bytes(), value));
    Ok(bytes.collect())
}

impl Job for ReadTreeJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let mut out = Vec::new();
        let mut reading = match self.open.take() {
            Some(reading) => reading,
            None => self.begin(io, &mut out)?,
        };
        let mut more = true;
        let mut turn = 0;
        while more && out.len() < io.budget && turn < TURN {
            if let Some(content) = &mut reading.content {
                if !content.read(io.budget - out.len(), &mut out)? {
                    reading.content = None;
                }
            } else {
                turn += 1;
                more = self.advance(&mut reading, &mut out)?;
            }
        }
        if !more {
            out.extend_from_slice(&writer::END);
        }
        if !out.is_empty() {
            io.out.push(Message::Data(out));
        }
        if more {
            self.open = Some(reading);
            return Ok(Next::Output);
        }
        io.out.push(Message::End);
        Ok(Next::Done)
    }
}
