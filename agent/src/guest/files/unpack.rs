//! Putting the entries of an archive into a directory, and nowhere else: every
//! directory on the way is opened by its name in the one above and never
//! through a symlink, whoever made it and whenever.

use super::super::fault::Fault;
use super::super::tar::{Entry, Kind};
use super::archive_name::{components, named, shown};
use super::settle::{after, give, reopened, settle, After};
use super::write::temporary_name;
use crate::sys::abi;
use crate::sys::dir::{self, c_path, open_at, open_dir_at};
use crate::sys::xattr::{self, Holder};
use std::ffi::{CStr, CString};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::io::{AsRawFd, OwnedFd, RawFd};

/// What an entry that has no directory before it gets for one.
const IMPLIED_MODE: u32 = 0o755;

/// Where the entries go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A tree that nobody sees yet: files are made in place.
    Fresh,
    /// One in use: each file is made beside its place and renamed.
    InUse,
}

pub struct Unpack {
    root: OwnedFd,
    target: Target,
    keep_owners: bool,
    /// The directories that are open now, each within the one before.
    open: Vec<Directory>,
    file: Option<OpenFile>,
    /// Mode and time of the root, when the archive has them.
    pub root_after: Option<After>,
    pub entries: u64,
    /// Bytes of file content.
    pub bytes: u64,
}

struct Directory {
    fd: OwnedFd,
    name: Vec<u8>,
    after: Option<After>,
}

struct OpenFile {
    file: File,
    entry: Entry,
    /// Where it lies, and what it is called there until it is whole.
    dir: RawFd,
    name: CString,
    temporary: Option<CString>,
}

impl Drop for Unpack {
    fn drop(&mut self) {
        if let Some(OpenFile {
            dir,
            temporary: Some(temporary),
            ..
        }) = &self.file
        {
            // Nothing better can be done about a file that cannot be removed.
            let _left_behind = dir::unlink_at(*dir, temporary, 0);
        }
    }
}

impl Unpack {
    pub fn new(root: OwnedFd, target: Target, keep_owners: bool) -> Unpack {
        Unpack {
            root,
            target,
            keep_owners,
            open: Vec::new(),
            file: None,
            root_after: None,
            entries: 0,
            bytes: 0,
        }
    }

    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// The next entry begins.
    pub fn begin(&mut self, entry: Entry) -> Result<(), Fault> {
        let names = components(&entry.path)?;
        let fault = |error: io::Error| named(&error, &entry.path);
        let (name, parents) = match names.split_last() {
            Some((name, parents)) => (*name, parents),
            None if entry.kind == Kind::Directory => {
                self.root_after = Some(after(&entry));
                return Ok(());
            }
            None => return Err(Fault::invalid("an entry without a name")),
        };
        self.entries += 1;
        self.enter(parents).map_err(fault)?;
        let name_c = c_path(name).map_err(fault)?;
        match entry.kind {
            Kind::Directory => self.directory(name, &name_c, &entry).map_err(fault),
            Kind::File => {
                let (file, temporary) = self.create(&name_c).map_err(fault)?;
                self.file = Some(OpenFile {
                    file,
                    dir: self.here(),
                    name: name_c,
                    temporary,
                    entry,
                });
                Ok(())
            }
            Kind::HardLink => self.hard_link(&name_c, &entry),
            Kind::Symlink => {
                let target = c_path(&entry.link).map_err(fault)?;
                let dir = self.here();
                let make = |name: &CStr| dir::symlink_at(&target, dir, name);
                self.special(&name_c, &entry, make).map_err(fault)
            }
            Kind::Fifo => {
                let dir = self.here();
                let make = |name: &CStr| dir::make_fifo_at(dir, name, 0o600);
                self.special(&name_c, &entry, make).map_err(fault)
            }
        }
    }

    /// Bytes of the file that began last.
    pub fn data(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if let Some(open) = &mut self.file {
            let written = open.file.write_all(bytes);
            written.map_err(|error| named(&error, &open.entry.path))?;
            self.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    /// The entry is complete.
    pub fn end(&mut self) -> Result<(), Fault> {
        match self.finish_file() {
            Ok(()) => {
                self.file = None;
                Ok(())
            }
            Err(error) => {
                let path = self.file.as_ref().map(|open| open.entry.path.clone());
                Err(named(&error, &path.unwrap_or_default()))
            }
        }
    }

    fn finish_file(&mut self) -> io::Result<()> {
        let keep_owners = self.keep_owners;
        let open = match &mut self.file {
            Some(open) => open,
            None => return Ok(()),
        };
        let (raw, entry) = (open.file.as_raw_fd(), &open.entry);
        for (name, value) in &entry.xattrs {
            if name.starts_with(b"user.") {
                xattr::set(Holder::File(raw), &c_path(name)?, value)?;
            }
        }
        if keep_owners {
            let this = c_path(b"")?;
            give(raw, &this, entry, abi::AT_EMPTY_PATH)?;
        }
        // After the owner, who takes setuid away.
        open.file
            .set_permissions(Permissions::from_mode(entry.mode))?;
        dir::set_mtime_at(raw, None, entry.mtime)?;
        if let Some(temporary) = &open.temporary {
            dir::rename_at(open.dir, temporary, open.dir, &open.name)?;
        }
        open.temporary = None;
        Ok(())
    }

    /// Everything is unpacked; directories get their modes and times.
    pub fn finish(&mut self) -> Result<(), Fault> {
        self.leave(0)
            .map_err(|error| Fault::from_io(&error, "a directory of the archive"))
    }

    /// The deepest directory that is open.
    fn here(&self) -> RawFd {
        let deepest = self.open.last().map(|dir| &dir.fd);
        deepest.unwrap_or(&self.root).as_raw_fd()
    }

    /// Closes directories until `depth` are open.
    fn leave(&mut self, depth: usize) -> io::Result<()> {
        while self.open.len() > depth {
            if let Some(left) = self.open.pop() {
                if let Some(after) = left.after {
                    settle(&left.fd, after)?;
                }
            }
        }
        Ok(())
    }

    /// Opens exactly these directories; the missing ones are made.
    fn enter(&mut self, names: &[&[u8]]) -> io::Result<()> {
        let open = self.open.iter().map(|dir| dir.name.as_slice());
        let common = open.zip(names).take_while(|(a, b)| a == *b).count();
        self.leave(common)?;
        for name in &names[common..] {
            let (fd, made) = self.open_or_make(&c_path(name)?, IMPLIED_MODE)?;
            let after = match (made, self.target) {
                (false, Target::Fresh) => Some(reopened(&fd)?),
                _ => None,
            };
            self.open.push(Directory {
                fd,
                name: name.to_vec(),
                after,
            });
        }
        Ok(())
    }

    /// A directory here, and whether it was made now.
    fn open_or_make(&self, name: &CStr, mode: u32) -> io::Result<(OwnedFd, bool)> {
        let dir = self.here();
        let made = match dir::make_dir_at(dir, name, mode) {
            Ok(()) => true,
            Err(error) if error.raw_os_error() == Some(abi::EEXIST) => false,
            Err(error) => return Err(error),
        };
        Ok((open_dir_at(dir, name)?, made))
    }

    fn directory(&mut self, name: &[u8], name_c: &CStr, entry: &Entry) -> io::Result<()> {
        // It must take entries until it is left.
        let (fd, made) = self.open_or_make(name_c, entry.mode & 0o777 | 0o700)?;
        // One that is in use keeps what it has.
        let ours = made || self.target == Target::Fresh;
        if ours {
            for (name, value) in &entry.xattrs {
                if name.starts_with(b"user.") {
                    xattr::set(Holder::File(fd.as_raw_fd()), &c_path(name)?, value)?;
                }
            }
            if self.keep_owners {
                give(fd.as_raw_fd(), &c_path(b"")?, entry, abi::AT_EMPTY_PATH)?;
            }
            let accessible = entry.mode & 0o7777 | 0o700;
            File::from(fd.try_clone()?).set_permissions(Permissions::from_mode(accessible))?;
        }
        self.open.push(Directory {
            fd,
            name: name.to_vec(),
            after: ours.then(|| after(entry)),
        });
        Ok(())
    }

    /// A new file for the name, and what it is called until it is whole.
    fn create(&self, name: &CStr) -> io::Result<(File, Option<CString>)> {
        let flags = abi::O_WRONLY | abi::O_CREAT | abi::O_EXCL | abi::O_NOFOLLOW;
        let dir = self.here();
        if self.target == Target::Fresh {
            match open_at(dir, name, flags, 0o600) {
                // The archive has the name twice: the later one counts.
                Err(error) if error.raw_os_error() == Some(abi::EEXIST) => {}
                other => return other.map(|fd| (File::from(fd), None)),
            }
        }
        let temporary = c_path(temporary_name().as_bytes())?;
        let fd = open_at(dir, &temporary, flags, 0o600)?;
        Ok((File::from(fd), Some(temporary)))
    }

    /// Makes what is there at once: a link or a pipe.
    fn special(
        &self,
        name: &CStr,
        entry: &Entry,
        make: impl Fn(&CStr) -> io::Result<()>,
    ) -> io::Result<()> {
        let dir = self.here();
        if self.target == Target::Fresh {
            match make(name) {
                Err(error) if error.raw_os_error() == Some(abi::EEXIST) => {}
                Err(error) => return Err(error),
                Ok(()) => return self.adorn(dir, name, entry),
            }
        }
        let temporary = c_path(temporary_name().as_bytes())?;
        make(&temporary)?;
        let renamed = self
            .adorn(dir, &temporary, entry)
            .and_then(|_| dir::rename_at(dir, &temporary, dir, name));
        // Renaming one name of a file to another of the same leaves both.
        let removed = dir::unlink_at(dir, &temporary, 0);
        renamed?;
        match removed {
            Err(error) if error.raw_os_error() != Some(abi::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }

    fn adorn(&self, dir: RawFd, name: &CStr, entry: &Entry) -> io::Result<()> {
        if entry.kind == Kind::HardLink {
            return Ok(()); // the file has its attributes
        }
        if self.keep_owners {
            give(dir, name, entry, abi::AT_SYMLINK_NOFOLLOW)?;
        }
        if entry.kind == Kind::Fifo {
            dir::chmod_entry(dir, name, entry.mode)?;
        }
        dir::set_mtime_at(dir, Some(name), entry.mtime)
    }

    fn hard_link(&self, name: &CStr, entry: &Entry) -> Result<(), Fault> {
        let names = components(&entry.link)?;
        let missing = || {
            let (path, link) = (shown(&entry.path), shown(&entry.link));
            Fault::invalid(format!("{}: a link to {}, which is not there", path, link))
        };
        let (last, parents) = names.split_last().ok_or_else(missing)?;
        let linked = || -> io::Result<()> {
            let mut at: Option<OwnedFd> = None;
            for parent in parents {
                let above = at.as_ref().unwrap_or(&self.root).as_raw_fd();
                at = Some(open_dir_at(above, &c_path(parent)?)?);
            }
            let from = at.as_ref().unwrap_or(&self.root).as_raw_fd();
            let (last, dir) = (c_path(last)?, self.here());
            self.special(name, entry, |name| dir::link_at(from, &last, dir, name, 0))
        };
        linked().map_err(|error| match error.raw_os_error() {
            Some(abi::ENOENT | abi::ENOTDIR) => missing(),
            _ => named(&error, &entry.path),
        })
    }
}
