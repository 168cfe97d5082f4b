//! Extended attributes, of a path or of an open file.

use super::abi;
use super::fd::check;
use std::ffi::CStr;
use std::io;
use std::os::raw::c_int;
use std::os::unix::io::RawFd;

/// Whose attributes.
#[derive(Clone, Copy)]
pub enum Holder<'a> {
    Path(&'a CStr),
    /// The same, but a symlink is meant itself.
    Link(&'a CStr),
    /// Opened for reading or writing.
    File(RawFd),
}

fn count(result: isize) -> io::Result<usize> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as usize)
}

/// The names, each ended by a NUL, in the front of `buffer`; ERANGE when it is too small.
pub fn list(holder: Holder, buffer: &mut [u8]) -> io::Result<usize> {
    let (to, size) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the buffer is valid for its length; strings live during the call.
    count(unsafe {
        match holder {
            Holder::Path(path) => abi::listxattr(path.as_ptr(), to, size),
            Holder::Link(path) => abi::llistxattr(path.as_ptr(), to, size),
            Holder::File(fd) => abi::flistxattr(fd, to, size),
        }
    })
}

/// One value in the front of `buffer`; ERANGE when it is too small.
pub fn get(holder: Holder, name: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    let (to, size) = (buffer.as_mut_ptr().cast(), buffer.len());
    let name = name.as_ptr();
    // SAFETY: as above.
    count(unsafe {
        match holder {
            Holder::Path(path) => abi::getxattr(path.as_ptr(), name, to, size),
            Holder::Link(path) => abi::lgetxattr(path.as_ptr(), name, to, size),
            Holder::File(fd) => abi::fgetxattr(fd, name, to, size),
        }
    })
}

pub fn set(holder: Holder, name: &CStr, value: &[u8]) -> io::Result<()> {
    const CREATE_OR_REPLACE: c_int = 0;
    let (from, size) = (value.as_ptr().cast(), value.len());
    let name = name.as_ptr();
    // SAFETY: as above.
    check(unsafe {
        match holder {
            Holder::Path(path) => abi::setxattr(path.as_ptr(), name, from, size, CREATE_OR_REPLACE),
            Holder::Link(path) => {
                abi::lsetxattr(path.as_ptr(), name, from, size, CREATE_OR_REPLACE)
            }
            Holder::File(fd) => abi::fsetxattr(fd, name, from, size, CREATE_OR_REPLACE),
        }
    })
    .map(|_| ())
}

pub fn remove(holder: Holder, name: &CStr) -> io::Result<()> {
    let name = name.as_ptr();
    // SAFETY: as above.
    check(unsafe {
        match holder {
            Holder::Path(path) => abi::removexattr(path.as_ptr(), name),
            Holder::Link(path) => abi::lremovexattr(path.as_ptr(), name),
            Holder::File(fd) => abi::fremovexattr(fd, name),
        }
    })
    .map(|_| ())
}
