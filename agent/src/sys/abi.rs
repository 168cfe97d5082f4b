//! The part of the C library and kernel ABI that is used here. Constants that
//! differ between architectures live in `arch`.

use std::os::raw::{c_char, c_int, c_long, c_uint, c_ulong, c_void};

#[cfg(target_arch = "x86_64")]
pub mod arch {
    pub const O_DIRECTORY: i32 = 0x1_0000;
    pub const O_NOFOLLOW: i32 = 0x2_0000;
    pub const SYS_SETFSUID: i64 = 122;
    pub const SYS_SETFSGID: i64 = 123;
    pub const SYS_SETGROUPS: i64 = 116;
    pub const SYS_SETRESUID: i64 = 117;
    pub const SYS_SETRESGID: i64 = 119;
    pub const SYS_GETDENTS64: i64 = 217;
    pub const SYS_CLOSE_RANGE: i64 = 436;
    pub const SYS_RENAMEAT2: i64 = 316;
    pub const SYS_SECCOMP: i64 = 317;
    pub const SYS_UTIMENSAT: i64 = 280;
    pub const SYS_SYNC_FILE_RANGE: i64 = 277;
}

#[cfg(target_arch = "aarch64")]
pub mod arch {
    pub const O_DIRECTORY: i32 = 0x4000;
    pub const O_NOFOLLOW: i32 = 0x8000;
    pub const SYS_SETFSUID: i64 = 151;
    pub const SYS_SETFSGID: i64 = 152;
    pub const SYS_SETGROUPS: i64 = 159;
    pub const SYS_SETRESUID: i64 = 147;
    pub const SYS_SETRESGID: i64 = 149;
    pub const SYS_GETDENTS64: i64 = 61;
    pub const SYS_CLOSE_RANGE: i64 = 436;
    pub const SYS_RENAMEAT2: i64 = 276;
    pub const SYS_SECCOMP: i64 = 277;
    pub const SYS_UTIMENSAT: i64 = 88;
    pub const SYS_SYNC_FILE_RANGE: i64 = 84;
}

pub use arch::*;

pub const O_WRONLY: i32 = 1;
pub const O_RDWR: i32 = 2;
pub const O_CREAT: i32 = 0o100;
pub const O_EXCL: i32 = 0o200;
pub const O_NOCTTY: i32 = 0o400;
pub const O_NONBLOCK: i32 = 0o4000;
pub const O_CLOEXEC: i32 = 0x8_0000;
pub const O_PATH: i32 = 0x20_0000;
pub const O_TMPFILE: i32 = 0x40_0000 | O_DIRECTORY;

pub const AT_FDCWD: i32 = -100;
pub const AT_SYMLINK_NOFOLLOW: i32 = 0x100;
pub const AT_REMOVEDIR: i32 = 0x200;
pub const AT_SYMLINK_FOLLOW: i32 = 0x400;
pub const AT_EMPTY_PATH: i32 = 0x1000;
/// Leaves a time of `utimensat` as it is.
pub const UTIME_OMIT: i64 = (1 << 30) - 2;
pub const S_IFIFO: u32 = 0o1_0000;
pub const RENAME_NOREPLACE: u32 = 1;

pub const EPERM: i32 = 1;
pub const ENOENT: i32 = 2;
pub const ESRCH: i32 = 3;
pub const EINTR: i32 = 4;
pub const E2BIG: i32 = 7;
pub const ENOEXEC: i32 = 8;
pub const EAGAIN: i32 = 11;
pub const ENOMEM: i32 = 12;
pub const EACCES: i32 = 13;
pub const EEXIST: i32 = 17;
pub const EXDEV: i32 = 18;
pub const ENOTDIR: i32 = 20;
pub const EISDIR: i32 = 21;
pub const EINVAL: i32 = 22;
pub const ENFILE: i32 = 23;
pub const EMFILE: i32 = 24;
pub const EFBIG: i32 = 27;
pub const ENOSPC: i32 = 28;
pub const EROFS: i32 = 30;
pub const ERANGE: i32 = 34;
pub const ENAMETOOLONG: i32 = 36;
pub const ENOSYS: i32 = 38;
pub const ENOTEMPTY: i32 = 39;
pub const ELOOP: i32 = 40;
pub const ENODATA: i32 = 61;
pub const EOPNOTSUPP: i32 = 95;
pub const EAFNOSUPPORT: i32 = 97;
pub const ENETUNREACH: i32 = 101;
pub const ENOBUFS: i32 = 105;
pub const ETIMEDOUT: i32 = 110;
pub const ECONNREFUSED: i32 = 111;
pub const EHOSTUNREACH: i32 = 113;
pub const EINPROGRESS: i32 = 115;
pub const EDQUOT: i32 = 122;

pub const SIGHUP: i32 = 1;
pub const SIGINT: i32 = 2;
pub const SIGKILL: i32 = 9;
pub const SIGPIPE: i32 = 13;
pub const SIGTERM: i32 = 15;
pub const SIGCHLD: i32 = 17;
pub const SIGSTOP: i32 = 19;
pub const SIG_SETMASK: i32 = 2;
pub const WNOHANG: i32 = 1;
/// Wait for children of every kind, however they were cloned.
pub const WALL: i32 = 0x4000_0000;

pub const CLONE_VM: i32 = 0x100;
pub const CLONE_VFORK: i32 = 0x4000;

pub const PR_SET_DUMPABLE: i32 = 4;
pub const PR_SET_NAME: i32 = 15;
pub const PR_SET_CHILD_SUBREAPER: i32 = 36;
pub const PR_SET_NO_NEW_PRIVS: i32 = 38;

pub const RLIMIT_CPU: i32 = 0;
pub const RLIMIT_FSIZE: i32 = 1;
pub const RLIMIT_NOFILE: i32 = 7;
pub const RLIMIT_AS: i32 = 9;

pub const F_GETFD: i32 = 1;
pub const F_SETFD: i32 = 2;
pub const F_GETFL: i32 = 3;
pub const F_SETFL: i32 = 4;
pub const F_DUPFD_CLOEXEC: i32 = 1030;
pub const F_SETPIPE_SZ: i32 = 1031;

pub const TIOCSCTTY: u64 = 0x540E;
pub const TIOCSWINSZ: u64 = 0x5414;
pub const FIONREAD: u64 = 0x541B;
pub const TIOCSPTLCK: u64 = 0x4004_5431;
pub const TIOCGPTN: u64 = 0x8004_5430;
pub const TIOCGPTPEER: u64 = 0x5441;
pub const SIOCGIFFLAGS: u64 = 0x8913;
pub const SIOCSIFFLAGS: u64 = 0x8914;

pub const AF_UNIX: i32 = 1;
pub const AF_INET: i32 = 2;
pub const AF_INET6: i32 = 10;
pub const SOCK_STREAM: i32 = 1;
pub const SOCK_DGRAM: i32 = 2;
pub const SOCK_CLOEXEC: i32 = 0x8_0000;
pub const SOCK_NONBLOCK: i32 = 0x800;
pub const SOL_SOCKET: i32 = 1;
pub const SO_ERROR: i32 = 4;
pub const SO_PEERCRED: i32 = 17;
pub const SO_ACCEPTCONN: i32 = 30;
pub const SO_DOMAIN: i32 = 39;
pub const IPPROTO_TCP: i32 = 6;
pub const TCP_NODELAY: i32 = 1;
pub const SHUT_WR: i32 = 1;

pub const EPOLLIN: u32 = 1;
pub const EPOLLOUT: u32 = 4;
pub const EPOLLERR: u32 = 8;
pub const EPOLLHUP: u32 = 16;
pub const EPOLL_CTL_ADD: i32 = 1;
pub const EPOLL_CTL_DEL: i32 = 2;
pub const EPOLL_CTL_MOD: i32 = 3;
pub const EPOLL_CLOEXEC: i32 = 0x8_0000;
pub const EFD_CLOEXEC: i32 = 0x8_0000;
pub const EFD_NONBLOCK: i32 = 0x800;

pub const M_TRIM_THRESHOLD: i32 = -1;
pub const M_MMAP_THRESHOLD: i32 = -3;
pub const M_ARENA_MAX: i32 = -8;

#[repr(C)]
#[cfg_attr(target_arch = "x86_64", repr(packed))]
#[derive(Clone, Copy)]
pub struct EpollEvent {
    pub events: u32,
    pub data: u64,
}

/// `struct timespec`: seconds and nanoseconds.
#[repr(C)]
pub struct TimeSpec {
    pub seconds: i64,
    pub nanos: i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct IoVec {
    pub base: *const c_void,
    pub len: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct SigSet(pub [u64; 16]);

#[repr(C)]
pub struct SigAction {
    pub handler: usize,
    pub mask: SigSet,
    pub flags: c_int,
    pub restorer: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RLimit {
    pub current: u64,
    pub maximum: u64,
}

#[repr(C)]
#[derive(Default)]
pub struct PeerCred {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

#[repr(C)]
pub struct WinSize {
    pub rows: u16,
    pub cols: u16,
    pub x: u16,
    pub y: u16,
}

/// `struct statvfs` of 64-bit glibc.
#[repr(C)]
#[derive(Default)]
pub struct StatVfs {
    pub bsize: c_ulong,
    pub frsize: c_ulong,
    pub blocks: u64,
    pub bfree: u64,
    pub bavail: u64,
    pub files: u64,
    pub ffree: u64,
    pub favail: u64,
    pub fsid: c_ulong,
    pub flag: c_ulong,
    pub namemax: c_ulong,
    pub spare: [c_int; 6],
}

extern "C" {
    pub fn syscall(number: c_long, ...) -> c_long;
    pub fn fork() -> c_int;
    pub fn clone(
        entry: extern "C" fn(*mut c_void) -> c_int,
        stack_top: *mut c_void,
        flags: c_int,
        argument: *mut c_void,
        ...
    ) -> c_int;
    pub fn execve(
        path: *const c_char,
        argv: *const *const c_char,
        envp: *const *const c_char,
    ) -> c_int;
    pub fn _exit(code: c_int) -> !;
    pub fn wait4(pid: c_int, status: *mut c_int, options: c_int, usage: *mut c_void) -> c_int;
    pub fn kill(pid: c_int, signal: c_int) -> c_int;
    pub fn getpid() -> c_int;
    pub fn getuid() -> c_uint;
    pub fn geteuid() -> c_uint;
    pub fn getegid() -> c_uint;
    pub fn setsid() -> c_int;
    pub fn umask(mask: c_uint) -> c_uint;
    pub fn chdir(path: *const c_char) -> c_int;
    pub fn prctl(option: c_int, ...) -> c_int;
    pub fn sigprocmask(how: c_int, set: *const SigSet, old: *mut SigSet) -> c_int;
    pub fn sigaction(signal: c_int, new: *const SigAction, old: *mut SigAction) -> c_int;
    pub fn signalfd(fd: c_int, mask: *const SigSet, flags: c_int) -> c_int;
    pub fn eventfd(initial: c_uint, flags: c_int) -> c_int;
    pub fn getrlimit(resource: c_int, limit: *mut RLimit) -> c_int;
    pub fn setrlimit(resource: c_int, limit: *const RLimit) -> c_int;

    pub fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    pub fn openat(dir: c_int, path: *const c_char, flags: c_int, ...) -> c_int;
    pub fn close(fd: c_int) -> c_int;
    pub fn read(fd: c_int, buffer: *mut c_void, length: usize) -> isize;
    pub fn write(fd: c_int, buffer: *const c_void, length: usize) -> isize;
    pub fn writev(fd: c_int, vectors: *const IoVec, count: c_int) -> isize;
    pub fn dup2(from: c_int, to: c_int) -> c_int;
    pub fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int;
    pub fn pipe2(fds: *mut c_int, flags: c_int) -> c_int;
    pub fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    pub fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    pub fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int;
    pub fn readlinkat(dir: c_int, path: *const c_char, buffer: *mut c_char, length: usize)
        -> isize;
    pub fn renameat(from: c_int, a: *const c_char, to: c_int, b: *const c_char) -> c_int;
    pub fn fchmodat(dir: c_int, path: *const c_char, mode: c_uint, flags: c_int) -> c_int;
    pub fn fchownat(
        dir: c_int,
        path: *const c_char,
        uid: c_uint,
        gid: c_uint,
        flags: c_int,
    ) -> c_int;
    pub fn mkdirat(dir: c_int, path: *const c_char, mode: c_uint) -> c_int;
    pub fn mknodat(dir: c_int, path: *const c_char, mode: c_uint, device: u64) -> c_int;
    pub fn symlinkat(target: *const c_char, dir: c_int, path: *const c_char) -> c_int;
    pub fn syncfs(fd: c_int) -> c_int;
    pub fn linkat(
        from: c_int,
        a: *const c_char,
        to: c_int,
        b: *const c_char,
        flags: c_int,
    ) -> c_int;
    pub fn listxattr(path: *const c_char, names: *mut c_char, size: usize) -> isize;
    pub fn llistxattr(path: *const c_char, names: *mut c_char, size: usize) -> isize;
    pub fn flistxattr(fd: c_int, names: *mut c_char, size: usize) -> isize;
    pub fn getxattr(
        path: *const c_char,
        name: *const c_char,
        value: *mut c_void,
        size: usize,
    ) -> isize;
    pub fn lgetxattr(
        path: *const c_char,
        name: *const c_char,
        value: *mut c_void,
        size: usize,
    ) -> isize;
    pub fn fgetxattr(fd: c_int, name: *const c_char, value: *mut c_void, size: usize) -> isize;
    pub fn setxattr(
        path: *const c_char,
        name: *const c_char,
        value: *const c_void,
        size: usize,
        flags: c_int,
    ) -> c_int;
    pub fn lsetxattr(
        path: *const c_char,
        name: *const c_char,
        value: *const c_void,
        size: usize,
        flags: c_int,
    ) -> c_int;
    pub fn fsetxattr(
        fd: c_int,
        name: *const c_char,
        value: *const c_void,
        size: usize,
        flags: c_int,
    ) -> c_int;
    pub fn removexattr(path: *const c_char, name: *const c_char) -> c_int;
    pub fn lremovexattr(path: *const c_char, name: *const c_char) -> c_int;
    pub fn fremovexattr(fd: c_int, name: *const c_char) -> c_int;
    pub fn statvfs(path: *const c_char, out: *mut StatVfs) -> c_int;

    pub fn inotify_init1(flags: c_int) -> c_int;
    pub fn inotify_add_watch(fd: c_int, path: *const c_char, mask: c_uint) -> c_int;
    pub fn inotify_rm_watch(fd: c_int, watch: c_int) -> c_int;

    pub fn epoll_create1(flags: c_int) -> c_int;
    pub fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut EpollEvent) -> c_int;
    pub fn epoll_wait(epoll: c_int, events: *mut EpollEvent, count: c_int, timeout: c_int)
        -> c_int;

    pub fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    pub fn connect(fd: c_int, address: *const c_void, length: c_uint) -> c_int;
    pub fn accept4(fd: c_int, address: *mut c_void, length: *mut c_uint, flags: c_int) -> c_int;
    pub fn shutdown(fd: c_int, how: c_int) -> c_int;
    pub fn getsockopt(
        fd: c_int,
        level: c_int,
        name: c_int,
        value: *mut c_void,
        length: *mut c_uint,
    ) -> c_int;
    pub fn setsockopt(
        fd: c_int,
        level: c_int,
        name: c_int,
        value: *const c_void,
        length: c_uint,
    ) -> c_int;
    pub fn memmem(
        bytes: *const c_void,
        length: usize,
        needle: *const c_void,
        needle_length: usize,
    ) -> *const c_void;
    pub fn memchr(bytes: *const c_void, byte: c_int, length: usize) -> *const c_void;
    pub fn sethostname(name: *const c_char, length: usize) -> c_int;

    pub fn mallopt(parameter: c_int, value: c_int) -> c_int;
    pub fn malloc_trim(pad: usize) -> c_int;
}
