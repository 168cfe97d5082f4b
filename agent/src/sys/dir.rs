//! Directory-relative file work: nothing here follows a path twice, so a tree
//! that changes meanwhile cannot lead it elsewhere.

use super::abi;
use super::fd::{check, owned};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::raw::c_int;
use std::os::unix::io::{AsRawFd, OwnedFd, RawFd};

/// A path or name as the kernel wants it; a NUL inside is EINVAL.
pub fn c_path(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(abi::EINVAL))
}

pub fn open_at(dir: RawFd, name: &CStr, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    // SAFETY: the string is NUL-terminated and lives during the call.
    owned(unsafe { abi::openat(dir, name.as_ptr(), flags | abi::O_CLOEXEC, mode) })
}

/// Opens a directory for reading; a symlink as the last component is refused.
pub fn open_dir_at(dir: RawFd, name: &CStr) -> io::Result<OwnedFd> {
    // Asked for a directory, gVisor follows a symlink even with O_NOFOLLOW. So
    // what has the name is pinned first, and only a directory has a ".".
    let pinned = open_at(dir, name, abi::O_PATH | abi::O_NOFOLLOW, 0)?;
    let here = c_path(b".")?;
    open_at(pinned.as_raw_fd(), &here, abi::O_DIRECTORY, 0)
}

pub fn unlink_at(dir: RawFd, name: &CStr, flags: i32) -> io::Result<()> {
    // SAFETY: as above.
    check(unsafe { abi::unlinkat(dir, name.as_ptr(), flags) }).map(|_| ())
}

/// Where a symlink leads, cut at PATH_MAX.
pub fn read_link_at(dir: RawFd, name: &CStr) -> io::Result<Vec<u8>> {
    let mut target: Vec<u8> = Vec::with_capacity(4096);
    // SAFETY: the buffer has room for its capacity; the kernel initialises what it counts.
    unsafe {
        let room = target.capacity();
        let got = abi::readlinkat(dir, name.as_ptr(), target.as_mut_ptr().cast(), room);
        target.set_len(check(got as c_int)? as usize);
    }
    Ok(target)
}

pub fn rename_at(from: RawFd, a: &CStr, to: RawFd, b: &CStr) -> io::Result<()> {
    // SAFETY: as above.
    check(unsafe { abi::renameat(from, a.as_ptr(), to, b.as_ptr()) }).map(|_| ())
}

/// Gives an open file, which may have no name yet, a name.
pub fn link_descriptor(fd: &impl AsRawFd, to: RawFd, name: &CStr) -> io::Result<()> {
    // Naming it by the descriptor alone would take a capability.
    let from = c_path(format!("/proc/self/fd/{}", fd.as_raw_fd()).as_bytes())?;
    link_at(abi::AT_FDCWD, &from, to, name, abi::AT_SYMLINK_FOLLOW)
}

/// A second name for a file; the first is followed only with `AT_SYMLINK_FOLLOW`.
pub fn link_at(from: RawFd, a: &CStr, to: RawFd, b: &CStr, flags: i32) -> io::Result<()> {
    // SAFETY: as above.
    check(unsafe { abi::linkat(from, a.as_ptr(), to, b.as_ptr(), flags) }).map(|_| ())
}

/// Renames; an existing destination is an error.
pub fn rename_no_replace(from: RawFd, a: &CStr, to: RawFd, b: &CStr) -> io::Result<()> {
    // SAFETY: as above.
    let done = unsafe {
        abi::syscall(
            abi::SYS_RENAMEAT2,
            from,
            a.as_ptr(),
            to,
            b.as_ptr(),
            abi::RENAME_NOREPLACE,
        )
    };
    check(done as c_int).map(|_| ())
}

pub fn make_dir_at(dir: RawFd, name: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: as above.
    check(unsafe { abi::mkdirat(dir, name.as_ptr(), mode) }).map(|_| ())
}

pub fn make_fifo_at(dir: RawFd, name: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: as above.
    check(unsafe { abi::mknodat(dir, name.as_ptr(), abi::S_IFIFO | mode, 0) }).map(|_| ())
}

pub fn symlink_at(target: &CStr, dir: RawFd, name: &CStr) -> io::Result<()> {
    // SAFETY: as above.
    check(unsafe { abi::symlinkat(target.as_ptr(), dir, name.as_ptr()) }).map(|_| ())
}

/// Sets when the content of an entry, or of the descriptor itself without a
/// name, was changed; a symlink is not followed.
pub fn set_mtime_at(dir: RawFd, name: Option<&CStr>, mtime: (i64, u32)) -> io::Result<()> {
    let times = [
        abi::TimeSpec {
            seconds: 0,
            nanos: abi::UTIME_OMIT,
        },
        abi::TimeSpec {
            seconds: mtime.0,
            nanos: i64::from(mtime.1),
        },
    ];
    // Without a name, `utimensat` means the descriptor itself.
    let (path, flags) = match name {
        Some(name) => (name.as_ptr(), abi::AT_SYMLINK_NOFOLLOW),
        None => (std::ptr::null(), 0),
    };
    // SAFETY: the raw call takes a null path, and the times live during it.
    let done = unsafe { abi::syscall(abi::SYS_UTIMENSAT, dir, path, times.as_ptr(), flags) };
    check(done as c_int).map(|_| ())
}

/// Writes the file system of a descriptor to its disk.
pub fn sync_file_system(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: a plain call.
    check(unsafe { abi::syncfs(fd.as_raw_fd()) }).map(|_| ())
}

pub fn chmod_at(dir: RawFd, name: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: as above.
    check(unsafe { abi::fchmodat(dir, name.as_ptr(), mode, 0) }).map(|_| ())
}

/// The same for what has the name itself: a symlink there is ELOOP.
pub fn chmod_entry(dir: RawFd, name: &CStr, mode: u32) -> io::Result<()> {
    let pinned = File::from(open_at(dir, name, abi::O_PATH | abi::O_NOFOLLOW, 0)?);
    if pinned.metadata()?.file_type().is_symlink() {
        return Err(io::Error::from_raw_os_error(abi::ELOOP));
    }
    chmod_pinned(&pinned, mode)
}

/// The same for what a descriptor pins, be it by O_PATH.
pub fn chmod_pinned(pinned: &impl AsRawFd, mode: u32) -> io::Result<()> {
    let itself = c_path(format!("/proc/self/fd/{}", pinned.as_raw_fd()).as_bytes())?;
    chmod_at(abi::AT_FDCWD, &itself, mode)
}

pub fn chown_at(dir: RawFd, name: &CStr, uid: u32, gid: u32, flags: i32) -> io::Result<()> {
    // SAFETY: as above.
    check(unsafe { abi::fchownat(dir, name.as_ptr(), uid, gid, flags) }).map(|_| ())
}

/// Total and available bytes of the file system at `path`.
pub fn disk_space(path: &CStr) -> io::Result<(u64, u64)> {
    let mut stat = abi::StatVfs::default();
    // SAFETY: the structure lives during the call.
    check(unsafe { abi::statvfs(path.as_ptr(), &mut stat) })?;
    let unit = stat.frsize;
    Ok((
        stat.blocks.saturating_mul(unit),
        stat.bavail.saturating_mul(unit),
    ))
}

/// What a directory entry says it is; `Unknown` needs a stat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Directory,
    Symlink,
    Other,
    Unknown,
}

/// One open directory, read in small pieces.
pub struct DirReader {
    fd: OwnedFd,
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
}

impl DirReader {
    pub fn new(fd: OwnedFd) -> DirReader {
        DirReader {
            fd,
            buffer: Vec::new(),
            at: 0,
            ended: false,
        }
    }

    pub fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    fn fill(&mut self) -> io::Result<bool> {
        const PIECE: usize = 8192;
        self.buffer.clear();
        self.at = 0;
        self.buffer.reserve_exact(PIECE);
        // SAFETY: the buffer has room for PIECE bytes; the kernel initialises what it counts.
        let got = unsafe {
            let got = abi::syscall(
                abi::SYS_GETDENTS64,
                self.fd.as_raw_fd(),
                self.buffer.as_mut_ptr(),
                PIECE,
            );
            let got = check(got as c_int)? as usize;
            self.buffer.set_len(got.min(PIECE));
            got
        };
        if got == 0 {
            self.ended = true;
            self.buffer = Vec::new();
        }
        Ok(got != 0)
    }

    /// The next entry, without `.` and `..`.
    pub fn next_entry(&mut self) -> io::Result<Option<(CString, Kind)>> {
        loop {
            if self.ended {
                return Ok(None);
            }
            if self.at >= self.buffer.len() && !self.fill()? {
                return Ok(None);
            }
            // struct linux_dirent64: ino u64, off u64, reclen u16, type u8, name.
            let rest = self.buffer.get(self.at..).unwrap_or(&[]);
            let length = match rest.get(16..18) {
                Some(&[a, b]) => usize::from(u16::from_ne_bytes([a, b])),
                _ => return Ok(None),
            };
            let kind = match rest.get(18) {
                Some(4) => Kind::Directory,
                Some(10) => Kind::Symlink,
                Some(0) | None => Kind::Unknown,
                Some(_) => Kind::Other,
            };
            let field = rest.get(19..length).unwrap_or(&[]);
            self.at += length.max(19);
            let end = field
                .iter()
                .position(|&byte| byte == 0)
                .unwrap_or(field.len());
            let name = &field[..end];
            if name.is_empty() || name == b"." || name == b".." {
                continue;
            }
            return c_path(name).map(|name| Some((name, kind)));
        }
    }
}
