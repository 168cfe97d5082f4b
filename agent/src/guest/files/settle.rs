//! Modes, times and owners of what is unpacked.

use super::super::tar::Entry;
use crate::sys::abi;
use crate::sys::dir;
use std::ffi::CStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::io::{AsRawFd, OwnedFd, RawFd};

/// What a directory gets when nothing more is put into it.
#[derive(Clone, Copy)]
pub struct After {
    pub mode: u32,
    pub mtime: (i64, u32),
}

pub fn after(entry: &Entry) -> After {
    After {
        mode: entry.mode,
        mtime: entry.mtime,
    }
}

/// A directory of a fresh tree is entered again: it gets back what it had.
pub fn reopened(fd: &OwnedFd) -> io::Result<After> {
    let file = File::from(fd.try_clone()?);
    let meta = file.metadata()?;
    let mode = meta.mode() & 0o7777;
    if mode & 0o700 != 0o700 {
        file.set_permissions(Permissions::from_mode(mode | 0o700))?;
    }
    Ok(After {
        mode,
        mtime: (meta.mtime(), meta.mtime_nsec() as u32),
    })
}

/// Gives a directory its mode and time for good.
pub fn settle(fd: &OwnedFd, after: After) -> io::Result<()> {
    let file = File::from(fd.try_clone()?);
    file.set_permissions(Permissions::from_mode(after.mode))?;
    dir::set_mtime_at(fd.as_raw_fd(), None, after.mtime)
}

pub fn give(dir: RawFd, name: &CStr, entry: &Entry, flags: i32) -> io::Result<()> {
    // The largest number means "leave it" to the kernel, and is nobody's.
    let id = |id: u64| match u32::try_from(id) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(io::Error::from_raw_os_error(abi::EINVAL)),
    };
    dir::chown_at(dir, name, id(entry.uid)?, id(entry.gid)?, flags)
}
