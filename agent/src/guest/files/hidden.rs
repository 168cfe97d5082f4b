//! A file that shows nowhere until it is whole: without a name where the file
//! system can, else under a hidden temporary one beside its target. Its folder
//! is held open: what is made in it is put in place or removed in it, wherever
//! its path leads by then.

use super::super::fault::Fault;
use super::write::{place, temporary_name};
use super::xattrs::user_attributes;
use crate::sys::abi;
use crate::sys::dir::{
    c_path, chown_at, link_descriptor, open_at, rename_at, set_mtime_at, unlink_at,
};
use crate::sys::xattr::{self, Holder};
use std::ffi::CString;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::io::{AsRawFd, OwnedFd};
use std::path::Path;

pub struct HiddenFile {
    pub file: File,
    /// The target's directory, and its name there.
    dir: OwnedFd,
    name: CString,
    /// What it is called meanwhile; removed when it is given up.
    temporary: Option<CString>,
}

impl Drop for HiddenFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Nothing better can be done about a file that cannot be removed.
            let _left_behind = unlink_at(self.dir.as_raw_fd(), temporary, 0);
        }
    }
}

impl HiddenFile {
    /// Begins a file for `path`; a symlink there is written through.
    pub fn create(path: &str, create_parents: bool) -> Result<HiddenFile, Fault> {
        let place = place(path, create_parents)?;
        if place.dangling {
            let message = format!("{}: a symlink whose target does not exist", path);
            return Err(Fault::new("not_found", message));
        }
        if place.existing.map_or(false, |meta| !meta.is_file()) {
            return Err(Fault::invalid(format!("{}: not a regular file", path)));
        }
        HiddenFile::at(&place.path).map_err(|error| Fault::from_io(&error, path))
    }

    /// Begins a file for a path whose last component is no symlink.
    pub fn at(path: &Path) -> io::Result<HiddenFile> {
        let parent = path.parent().unwrap_or_else(|| Path::new("/"));
        let name = c_path(path.file_name().unwrap_or_default().as_bytes())?;
        let parent = c_path(parent.as_os_str().as_bytes())?;
        let flags = abi::O_PATH | abi::O_DIRECTORY;
        HiddenFile::within(open_at(abi::AT_FDCWD, &parent, flags, 0)?, name)
    }

    /// Begins a file for a name in an open directory.
    pub fn within(dir: OwnedFd, name: CString) -> io::Result<HiddenFile> {
        let (file, temporary) = hidden_in(&dir)?;
        Ok(HiddenFile {
            file,
            dir,
            name,
            temporary,
        })
    }

    /// Gives the file its mode, its bytes to the disk, and its name. What was
    /// there is replaced and lends its owner, and its mode when none is given.
    pub fn put_in_place(&mut self, mode: Option<u32>) -> io::Result<Metadata> {
        let dir = self.dir.as_raw_fd();
        let looked = open_at(dir, &self.name, abi::O_PATH | abi::O_NOFOLLOW, 0);
        let existing = looked.and_then(|fd| File::from(fd).metadata()).ok();
        let lent = existing.filter(Metadata::is_file);
        let lent = lent.map(|meta| self.give_to(&meta));
        let mode = mode.or(lent).unwrap_or(0o644);
        self.file.set_permissions(Permissions::from_mode(mode))?;
        self.place()?;
        self.file.metadata()
    }

    /// Gives its bytes to the disk, and the file its name.
    fn place(&mut self) -> io::Result<()> {
        let dir = self.dir.as_raw_fd();
        self.file.sync_data()?;
        let temporary = match self.temporary.take() {
            Some(name) => name,
            None => {
                let name = c_path(temporary_name().as_bytes())?;
                link_descriptor(&self.file, dir, &name)?;
                name
            }
        };
        let renamed = rename_at(dir, &temporary, dir, &self.name);
        if renamed.is_err() {
            self.temporary = Some(temporary);
        }
        renamed
    }

    /// The same for a copy of a file, which keeps all that the file has.
    pub fn place_copy(&mut self, original: &File) -> io::Result<()> {
        self.take_attributes(original)?;
        let meta = original.metadata()?;
        let mode = self.give_to(&meta);
        self.file.set_permissions(Permissions::from_mode(mode))?;
        let mtime = (meta.mtime(), meta.mtime_nsec() as u32);
        set_mtime_at(self.file.as_raw_fd(), None, mtime)?;
        self.place()
    }

    /// Takes over the attributes of a user, where they can be kept.
    pub fn take_attributes(&self, from: &File) -> io::Result<()> {
        let holder = Holder::File(self.file.as_raw_fd());
        for (name, value) in user_attributes(from)? {
            match xattr::set(holder, &name, &value) {
                Err(error) if error.raw_os_error() != Some(abi::EOPNOTSUPP) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives it to the owner of another file where the agent may see to that:
    /// users cannot give files away. The mode that it can then have.
    fn give_to(&self, meta: &Metadata) -> u32 {
        let raw = self.file.as_raw_fd();
        let given = c_path(b"")
            .and_then(|itself| chown_at(raw, &itself, meta.uid(), meta.gid(), abi::AT_EMPTY_PATH));
        match given {
            Ok(()) => meta.mode() & 0o7777,
            // Whose file it is now must not run it with rights of the one it was.
            Err(_) => meta.mode() & 0o777,
        }
    }
}

impl Write for HiddenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn hidden_in(dir: &OwnedFd) -> io::Result<(File, Option<CString>)> {
    let dir = dir.as_raw_fd();
    let here = c_path(b".")?;
    match open_at(dir, &here, abi::O_TMPFILE | abi::O_RDWR, 0o600) {
        Ok(fd) => return Ok((File::from(fd), None)),
        // Older overlays and gVisor cannot; each says so in its own way.
        Err(error) if is_unknown(&error) => {}
        Err(error) => return Err(error),
    }
    let name = c_path(temporary_name().as_bytes())?;
    let flags = abi::O_RDWR | abi::O_CREAT | abi::O_EXCL | abi::O_NOFOLLOW;
    let fd = open_at(dir, &name, flags, 0o600)?;
    Ok((File::from(fd), Some(name)))
}

fn is_unknown(error: &io::Error) -> bool {
    let known = [abi::EOPNOTSUPP, abi::EISDIR, abi::EINVAL, abi::ENOENT];
    error
        .raw_os_error()
        .map_or(false, |code| known.contains(&code))
}
