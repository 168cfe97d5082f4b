//! The files to look through, in order: folder by folder, names sorted, no
//! symlinks followed, chosen by the patterns.

use super::super::fault::Fault;
use super::super::glob::Glob;
use super::{Request, MAX_DEPTH};
use crate::sys::abi::{self, O_NONBLOCK};
use crate::sys::dir::{c_path, open_at, open_dir_at, DirReader, Kind};
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::io::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};

/// Names sorted at once; a folder with more is sorted in parts.
const SORTED: usize = 100_000;

/// How far a path is in a pattern after each of its folders.
type States = Vec<u64>;

struct Level {
    reader: DirReader,
    path: PathBuf,
    /// The last first.
    names: Vec<(CString, Kind)>,
    include: States,
    exclude: States,
}

/// A file to look through. Its folder stays open until the next is asked for.
pub struct Chosen {
    pub folder: RawFd,
    pub name: CString,
    pub path: PathBuf,
}

impl Chosen {
    pub fn open(&self, flags: i32) -> io::Result<File> {
        let flags = flags | abi::O_NOFOLLOW | O_NONBLOCK | abi::O_NOCTTY;
        open_at(self.folder, &self.name, flags, 0).map(File::from)
    }
}

pub struct Select {
    levels: Vec<Level>,
    /// The one file, when the path names a file; with the folder it is in.
    single: Option<(OwnedFd, CString)>,
    single_path: PathBuf,
    /// Folders that could not be read.
    pub unreadable: u64,
}

impl Select {
    pub fn begin(request: &Request) -> Result<Select, Fault> {
        let fault = |error: io::Error| Fault::from_io(&error, &request.path);
        let path = Path::new(&request.path);
        let mut select = Select {
            levels: Vec::new(),
            single: None,
            single_path: path.to_owned(),
            unreadable: 0,
        };
        let meta = fs::metadata(path).map_err(fault)?;
        if meta.is_dir() {
            let name = c_path(path.as_os_str().as_bytes()).map_err(fault)?;
            let fd = open_at(abi::AT_FDCWD, &name, abi::O_DIRECTORY, 0).map_err(fault)?;
            let start = |globs: &[Glob]| globs.iter().map(Glob::start).collect();
            let (include, exclude) = (start(&request.include), start(&request.exclude));
            select.enter(fd, path.to_owned(), include, exclude);
            return Ok(select);
        }
        if !meta.is_file() {
            let message = format!("{}: is neither a folder nor a file", request.path);
            return Err(Fault::invalid(message));
        }
        // The file itself when a link leads to it, so that it is what is replaced.
        let real = fs::canonicalize(path).map_err(fault)?;
        if let (Some(folder), Some(name)) = (real.parent(), real.file_name()) {
            let folder = c_path(folder.as_os_str().as_bytes()).map_err(fault)?;
            // To hold it, not to list it.
            let fd = open_at(abi::AT_FDCWD, &folder, abi::O_DIRECTORY | abi::O_PATH, 0);
            let name = c_path(name.as_bytes()).map_err(fault)?;
            select.single = Some((fd.map_err(fault)?, name));
        }
        Ok(select)
    }

    fn enter(&mut self, fd: OwnedFd, path: PathBuf, include: States, exclude: States) {
        self.levels.push(Level {
            reader: DirReader::new(fd),
            path,
            names: Vec::new(),
            include,
            exclude,
        });
    }

    /// The one file that the path names.
    pub fn single(&self) -> Option<Chosen> {
        let (folder, name) = self.single.as_ref()?;
        Some(Chosen {
            folder: std::os::unix::io::AsRawFd::as_raw_fd(folder),
            name: name.clone(),
            path: self.single_path.clone(),
        })
    }

    /// Looks at the next entry. None at the end; an empty one when the entry
    /// is no file to look through.
    pub fn next(&mut self, request: &Request) -> Option<Option<Chosen>> {
        let level = self.levels.last_mut()?;
        let (name, kind) = match level.next_name() {
            Some(entry) => entry,
            None => {
                self.levels.pop();
                return Some(None);
            }
        };
        let path = level.path.join(OsStr::from_bytes(name.to_bytes()));
        let is_dir = match kind {
            Kind::Symlink => return Some(None),
            Kind::Directory => true,
            Kind::Other | Kind::Unknown => match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => true,
                Ok(meta) if meta.is_file() => false,
                _ => return Some(None), // gone, or a device that must not be opened
            },
        };
        let text = String::from_utf8_lossy(name.to_bytes()).into_owned();
        let (include, included) = advance(&request.include, &level.include, &text, is_dir);
        let (exclude, excluded) = advance(&request.exclude, &level.exclude, &text, is_dir);
        if excluded {
            return Some(None);
        }
        let folder = level.reader.raw();
        if !is_dir {
            let wanted = request.include.is_empty() || included;
            return Some(wanted.then_some(Chosen { folder, name, path }));
        }
        let deep = self.levels.len() >= MAX_DEPTH;
        match open_dir_at(folder, &name) {
            Ok(fd) if !deep => self.enter(fd, path, include, exclude),
            _ => self.unreadable += 1,
        }
        Some(None)
    }
}

impl Level {
    fn next_name(&mut self) -> Option<(CString, Kind)> {
        if self.names.is_empty() {
            // What cannot be read further ends like any folder.
            while let Ok(Some(entry)) = self.reader.next_entry() {
                self.names.push(entry);
                if self.names.len() >= SORTED {
                    break;
                }
            }
            self.names.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        }
        self.names.pop()
    }
}

/// One name further in every pattern, and whether one of them matches now.
fn advance(globs: &[Glob], states: &[u64], name: &str, is_dir: bool) -> (States, bool) {
    let mut matched = false;
    let next = globs.iter().zip(states).map(|(glob, &states)| {
        let all = glob.advance(states, name).all();
        matched |= glob.accepts(all) && (is_dir || !glob.is_for_directories());
        glob.needs_more(all)
    });
    (next.collect(), matched)
}
