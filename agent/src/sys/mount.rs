//! Mounts, namespaces and descriptors for the supervisor. Every function is one
//! system call, or a few that make no sense apart; none keeps state.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::raw::{c_char, c_int, c_long, c_ulong, c_void};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::io::{AsRawFd, FromRawFd, OwnedFd, RawFd};

pub const CLONE_NEWNS: c_int = 0x0002_0000;
pub const CLONE_NEWUSER: c_int = 0x1000_0000;

pub const MS_NOSUID: c_ulong = 2;
pub const MS_NODEV: c_ulong = 4;
const MS_REC: c_ulong = 0x4000;
const MS_SLAVE: c_ulong = 1 << 19;
const MNT_DETACH: c_int = 2;

const AT_FDCWD: c_int = -100;
const AT_EMPTY_PATH: c_int = 0x1000;
const AT_RECURSIVE: c_int = 0x8000;
const OPEN_TREE_CLONE: c_int = 1;
const OPEN_TREE_CLOEXEC: c_int = 0o2_000_000;
const MOVE_MOUNT_F_EMPTY_PATH: c_int = 4;
const MOVE_MOUNT_T_EMPTY_PATH: c_int = 0x40;
const MOUNT_ATTR_RDONLY: u64 = 1;
const MOUNT_ATTR_NOSUID: u64 = 2;
const MOUNT_ATTR_NODEV: u64 = 4;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

const O_PATH: c_int = 0o10_000_000;
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "riscv64"))]
const O_DIRECTORY: c_int = 0o200_000;
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "riscv64")))]
const O_DIRECTORY: c_int = 0o40_000;
const O_CLOEXEC: c_int = 0o2_000_000;
const RESOLVE_NO_MAGICLINKS: u64 = 2;
const RESOLVE_NO_SYMLINKS: u64 = 4;
const RESOLVE_BENEATH: u64 = 8;

// The same numbers on every architecture.
const SYS_OPEN_TREE: c_long = 428;
const SYS_MOVE_MOUNT: c_long = 429;
const SYS_OPENAT2: c_long = 437;
const SYS_MOUNT_SETATTR: c_long = 442;

extern "C" {
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn umount2(target: *const c_char, flags: c_int) -> c_int;
    fn unshare(flags: c_int) -> c_int;
    fn setns(fd: c_int, kind: c_int) -> c_int;
    fn openat(dir: c_int, path: *const c_char, flags: c_int, ...) -> c_int;
    fn mkdirat(dir: c_int, path: *const c_char, mode: u32) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// What a cloned tree is changed to before it becomes visible.
#[derive(Clone, Copy, Default)]
pub struct TreeAttributes<'a> {
    pub read_only: bool,
    pub no_suid: bool,
    pub no_dev: bool,
    /// Show the owners of the tree shifted into this user namespace.
    pub id_map: Option<&'a OwnedFd>,
}

fn path_text(path: &OsStr) -> io::Result<CString> {
    CString::new(path.as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Leaves namespaces behind: CLONE_* flags.
pub fn leave(kinds: c_int) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { unshare(kinds) } as c_long).map(drop)
}

/// Enters the namespace that `fd` names. Safe to call between fork and exec.
pub fn enter(fd: RawFd, kind: c_int) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { setns(fd, kind) } as c_long).map(drop)
}

/// Cuts the way of our mounts to the machine, but not of its unmounts to us:
/// a box must never keep a file system of the machine busy.
pub fn make_slave() -> io::Result<()> {
    let root = path_text(OsStr::new("/"))?;
    // SAFETY: the strings live through the call, the null pointers are allowed.
    let result = unsafe {
        mount(
            std::ptr::null(),
            root.as_ptr(),
            std::ptr::null(),
            MS_REC | MS_SLAVE,
            std::ptr::null(),
        )
    };
    check(result as c_long).map(drop)
}

/// Mounts a file system of `kind` on `target`.
pub fn mount_new(kind: &str, target: &OsStr, flags: c_ulong, data: &str) -> io::Result<()> {
    let kind = path_text(OsStr::new(kind))?;
    let target = path_text(target)?;
    let data = path_text(OsStr::new(data))?;
    // SAFETY: all strings live through the call.
    let result = unsafe {
        mount(
            kind.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr() as *const c_void,
        )
    };
    check(result as c_long).map(drop)
}

/// Takes the mount at `path` away from this mount namespace.
pub fn detach(path: &OsStr) -> io::Result<()> {
    let path = path_text(path)?;
    // SAFETY: the string lives through the call.
    check(unsafe { umount2(path.as_ptr(), MNT_DETACH) } as c_long).map(drop)
}

/// A detached copy of the mount that `path` lies on, seen from `path`.
pub fn clone_tree(path: &OsStr, recursive: bool) -> io::Result<OwnedFd> {
    let path = path_text(path)?;
    let deep = if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the string lives through the call; a new descriptor is ours.
    unsafe {
        let fd = check(syscall(
            SYS_OPEN_TREE,
            AT_FDCWD as c_long,
            path.as_ptr(),
            (OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | deep) as c_long,
        ))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Changes a detached tree.
pub fn set_attributes(
    tree: &OwnedFd,
    attributes: TreeAttributes<'_>,
    recursive: bool,
) -> io::Result<()> {
    let mut change = MountAttr {
        attr_set: 0,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    for (wanted, bit) in [
        (attributes.read_only, MOUNT_ATTR_RDONLY),
        (attributes.no_suid, MOUNT_ATTR_NOSUID),
        (attributes.no_dev, MOUNT_ATTR_NODEV),
    ] {
        if wanted {
            change.attr_set |= bit;
        }
    }
    if let Some(namespace) = attributes.id_map {
        change.attr_set |= MOUNT_ATTR_IDMAP;
        change.userns_fd = namespace.as_raw_fd() as u64;
    }
    let deep = if recursive { AT_RECURSIVE } else { 0 };
    let empty = path_text(OsStr::new(""))?;
    // SAFETY: the string and the structure live through the call, its size is given.
    check(unsafe {
        syscall(
            SYS_MOUNT_SETATTR,
            tree.as_raw_fd() as c_long,
            empty.as_ptr(),
            (AT_EMPTY_PATH | deep) as c_long,
            &change as *const MountAttr,
            std::mem::size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// Makes a detached tree visible at the opened `target`.
pub fn attach(tree: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    let empty = path_text(OsStr::new(""))?;
    // SAFETY: the string lives through the call.
    check(unsafe {
        syscall(
            SYS_MOVE_MOUNT,
            tree.as_raw_fd() as c_long,
            empty.as_ptr(),
            target.as_raw_fd() as c_long,
            empty.as_ptr(),
            (MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) as c_long,
        )
    })
    .map(drop)
}

/// Opens `path` below the opened `parent`, without following one link: what lies
/// there may have been written by a sandbox.
pub fn open_beneath(parent: &OwnedFd, path: &OsStr, directory: bool) -> io::Result<OwnedFd> {
    let path = path_text(path)?;
    let kind = if directory { O_DIRECTORY } else { 0 };
    let how = OpenHow {
        flags: (O_PATH | O_CLOEXEC | kind) as u64,
        mode: 0,
        resolve: RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    // SAFETY: the string and the structure live through the call, its size is
    // given; a new descriptor is ours.
    unsafe {
        let fd = check(syscall(
            SYS_OPENAT2,
            parent.as_raw_fd() as c_long,
            path.as_ptr(),
            &how as *const OpenHow,
            std::mem::size_of::<OpenHow>(),
        ))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Opens a directory by its path, for use as a parent.
pub fn open_directory(path: &OsStr) -> io::Result<OwnedFd> {
    let path = path_text(path)?;
    // SAFETY: the string lives through the call; a new descriptor is ours.
    unsafe {
        let flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
        let fd = check(openat(AT_FDCWD, path.as_ptr(), flags) as c_long)?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Makes the directory `name` (one path component) in an opened directory.
pub fn make_directory(parent: &OwnedFd, name: &OsStr, mode: u32) -> io::Result<()> {
    let name = path_text(name)?;
    // SAFETY: the string lives through the call.
    check(unsafe { mkdirat(parent.as_raw_fd(), name.as_ptr(), mode) } as c_long).map(drop)
}
