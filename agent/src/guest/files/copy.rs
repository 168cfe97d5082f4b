//! Moving a file to another file system, where a rename cannot.

use super::hidden::HiddenFile;
use super::write::temporary_name;
use crate::sys::abi;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{symlink, OpenOptionsExt};
use std::path::Path;

/// Copies a file or symlink next to its destination, puts it in place, and
/// removes the original. A file keeps its owner, mode, time and attributes.
/// Directories are left to the caller (`EXDEV`).
pub fn move_across(from: &Path, to: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_symlink() {
        move_link(from, to)?;
    } else if !kind.is_file() {
        return Err(io::Error::from_raw_os_error(abi::EXDEV));
    } else {
        let mut source = open(from)?;
        let mut copy = HiddenFile::at(to)?;
        io::copy(&mut source, &mut copy)?;
        copy.place_copy(&source)?;
    }
    fs::remove_file(from)
}

/// Opens a regular file; it may be another one by now, but no link and no pipe.
fn open(from: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(abi::O_NOFOLLOW | abi::O_NONBLOCK);
    let file = options.open(from)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::from_raw_os_error(abi::EXDEV)),
    }
}

fn move_link(from: &Path, to: &Path) -> io::Result<()> {
    let temporary = to.with_file_name(temporary_name());
    symlink(fs::read_link(from)?, &temporary)?;
    let moved = fs::rename(&temporary, to);
    if moved.is_err() {
        // The first error tells more than one about the remains.
        let _remains = fs::remove_file(&temporary);
    }
    moved
}
