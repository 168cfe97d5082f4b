//! Moving a file to another file system, where a rename cannot.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{symlink, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Copies a file or symlink next to its destination, puts it in place, and
/// removes the original. Directories are left to the caller (`Unsupported`).
pub fn move_across(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if !meta.is_file() && !meta.file_type().is_symlink() {
        return Err(io::Error::from_raw_os_error(crate::sys::abi::EXDEV));
    }
    let name = format!(".caisson-{}-{}.tmp", std::process::id(), meta.ino());
    let temporary = to.with_file_name(name);
    let made = if meta.is_file() {
        copy_file(from, &temporary, meta.mode())
    } else {
        fs::read_link(from).and_then(|target| symlink(target, &temporary))
    };
    let moved = made.and_then(|_| fs::rename(&temporary, to));
    if moved.is_err() {
        // The first error tells more than one about the remains.
        let _remains = fs::remove_file(&temporary);
    }
    moved?;
    fs::remove_file(from)
}

fn copy_file(from: &Path, to: &Path, mode: u32) -> io::Result<()> {
    let mut source = fs::File::open(from)?;
    let mut copy = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    io::copy(&mut source, &mut copy)?;
    copy.set_permissions(Permissions::from_mode(mode & 0o7777))
}
