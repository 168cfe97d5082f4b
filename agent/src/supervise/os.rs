//! The few process calls that the supervisor needs beyond the standard library.

use std::io;
use std::os::raw::{c_int, c_long, c_short, c_uint, c_ulong, c_void};
use std::os::unix::io::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

pub const SIGHUP: c_int = 1;
pub const SIGINT: c_int = 2;
pub const SIGKILL: c_int = 9;
pub const SIGTERM: c_int = 15;
pub const SIGCHLD: c_int = 17;

const LOCK_EX: c_int = 2;
const LOCK_NB: c_int = 4;
const PR_SET_CHILD_SUBREAPER: c_int = 36;
const F_GETFD: c_int = 1;
const F_SETFD: c_int = 2;
const F_SETFL: c_int = 4;
const FD_CLOEXEC: c_int = 1;
const O_NONBLOCK: c_int = 0o4000;
const O_CLOEXEC: c_int = 0o2_000_000;
const SIG_BLOCK: c_int = 0;
const WNOHANG: c_int = 1;
const POLLIN: c_short = 1;
const CLOSE_RANGE_CLOEXEC: c_uint = 4;
const RLIMIT_NPROC: c_int = 6;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const SYS_CLOSE_RANGE: c_long = 436;

#[repr(C)]
struct SignalSet([u64; 16]);

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: c_short,
    revents: c_short,
}

extern "C" {
    fn fork() -> c_int;
    fn _exit(code: c_int) -> !;
    fn setsid() -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
    fn flock(fd: c_int, operation: c_int) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn pipe2(fds: *mut c_int, flags: c_int) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn umask(mask: u32) -> u32;
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
    fn signalfd(fd: c_int, mask: *const SignalSet, flags: c_int) -> c_int;
    fn sigprocmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn setgroups(count: usize, groups: *const c_uint) -> c_int;
    fn setresuid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int;
    fn setresgid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int;
    fn setrlimit64(resource: c_int, limit: *const u64) -> c_int;
    fn setfsuid(uid: c_uint) -> c_int;
    fn setfsgid(gid: c_uint) -> c_int;
    fn capget(header: *mut u32, sets: *mut u32) -> c_int;
    fn capset(header: *mut u32, sets: *const u32) -> c_int;
    fn read(fd: c_int, buffer: *mut c_void, count: usize) -> isize;
    fn write(fd: c_int, buffer: *const c_void, count: usize) -> isize;
    fn syscall(number: c_long, ...) -> c_long;
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    Code(i32),
    Signal(i32),
}

/// One look at the children.
pub enum Reaped {
    Child(i32, Ending),
    NoneEnded,
    NoneLeft,
}

/// Starts a session of our own, unless we lead one already; orphans below us
/// become our children.
pub fn detach_from_starter() -> io::Result<()> {
    // SAFETY: no pointers.
    unsafe {
        setsid();
        check(prctl(PR_SET_CHILD_SUBREAPER, 1 as c_ulong)).map(drop)
    }
}

/// Which permissions new files do not get.
pub fn set_umask(mask: u32) {
    // SAFETY: no pointers.
    unsafe { umask(mask) };
}

/// Runs `work` so that new files belong to the given ids, with all our
/// capabilities. A refused id leaves our own, which `work` then shows.
pub fn as_file_owner<T>(uid: u32, gid: u32, work: impl FnOnce() -> T) -> T {
    // SAFETY: no pointers.
    let (own_gid, own_uid) = unsafe { (setfsgid(gid), setfsuid(uid)) };
    raise_capabilities();
    let result = work();
    // SAFETY: no pointers.
    unsafe {
        setfsuid(own_uid as c_uint);
        setfsgid(own_gid as c_uint);
    }
    result
}

/// Makes every permitted capability effective: a changed file owner takes those
/// for files away.
fn raise_capabilities() {
    let mut header = [CAPABILITY_VERSION_3, 0];
    // Twice: effective, permitted, inheritable.
    let mut sets = [0u32; 6];
    // SAFETY: both have the layout and size that version 3 asks for.
    unsafe {
        if capget(header.as_mut_ptr(), sets.as_mut_ptr()) == 0 {
            sets[0] = sets[1];
            sets[3] = sets[4];
            capset(header.as_mut_ptr(), sets.as_ptr());
        }
    }
}

/// Marks every descriptor from 3 on as not inheritable.
pub fn close_all_on_exec() {
    // SAFETY: no pointers.
    if unsafe {
        syscall(
            SYS_CLOSE_RANGE,
            3 as c_uint,
            !0 as c_uint,
            CLOSE_RANGE_CLOEXEC,
        )
    } == 0
    {
        return;
    }
    for entry in std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
    {
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<c_int>().ok());
        if let Some(fd) = number.filter(|fd| *fd > 2) {
            // SAFETY: no pointers; a stale number only fails.
            unsafe { fcntl(fd, F_SETFD, FD_CLOEXEC) };
        }
    }
}

/// Opens descriptor numbers 3 and 4 where they are free, so that no descriptor
/// we open later has a number that the child replaces.
pub fn reserve_low_descriptors() -> io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    for wanted in 3..=4 {
        // SAFETY: no pointers; the number is free, or it is `null` itself.
        unsafe {
            if fcntl(wanted, F_GETFD) < 0 {
                check(dup2(null.as_raw_fd(), wanted))?;
                check(fcntl(wanted, F_SETFD, FD_CLOEXEC))?;
            }
        }
    }
    if null.as_raw_fd() <= 4 {
        std::mem::forget(null);
    }
    Ok(())
}

/// Puts `from` at the number `to`, inheritable. For use between fork and exec.
pub fn place_descriptor(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { dup2(from, to) }).map(drop)
}

/// True when we are the only holder of the lock on `fd` now.
pub fn try_lock(fd: RawFd) -> bool {
    // SAFETY: no pointers.
    unsafe { flock(fd, LOCK_EX | LOCK_NB) == 0 }
}

/// A pipe: read end, write end; neither is inheritable, the read end never blocks.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: room for two numbers; both descriptors are new and ours.
    unsafe {
        check(pipe2(fds.as_mut_ptr(), O_CLOEXEC))?;
        let pair = (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]));
        check(fcntl(fds[0], F_SETFL, O_NONBLOCK))?;
        Ok(pair)
    }
}

/// Reads what is there: `None` when nothing is, `Some(0)` at the end.
pub fn read_some(fd: RawFd, buffer: &mut [u8]) -> Option<usize> {
    // SAFETY: the buffer has the given length.
    let count = unsafe { read(fd, buffer.as_mut_ptr() as *mut c_void, buffer.len()) };
    if count >= 0 {
        return Some(count as usize);
    }
    match io::Error::last_os_error().kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => None,
        _ => Some(0),
    }
}

/// Writes once, between fork and exec too.
pub fn write_once(fd: RawFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the buffer has the given length.
    let count = unsafe { write(fd, bytes.as_ptr() as *const c_void, bytes.len()) };
    if count < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// A descriptor that becomes readable at SIGTERM and SIGCHLD; SIGINT and SIGHUP
/// are taken and dropped. Signals no longer interrupt anything.
pub fn signals() -> io::Result<OwnedFd> {
    let mut set = SignalSet([0; 16]);
    for signal in [SIGHUP, SIGINT, SIGTERM, SIGCHLD] {
        set.0[0] |= 1 << (signal - 1);
    }
    // SAFETY: the set lives through the calls and is as large as the C library's.
    unsafe {
        check(sigprocmask(SIG_BLOCK, &set, std::ptr::null_mut()))?;
        let fd = check(signalfd(-1, &set, O_CLOEXEC | O_NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// The signals that came since the last look.
pub fn take_signals(fd: &OwnedFd) -> Vec<i32> {
    let mut taken = Vec::new();
    let mut record = [0u8; 128];
    while read_some(fd.as_raw_fd(), &mut record) == Some(record.len()) {
        taken.push(i32::from_ne_bytes([
            record[0], record[1], record[2], record[3],
        ]));
    }
    taken
}

/// Waits until one of `fds` is readable or closed, or the time is over.
pub fn wait_readable(fds: &[RawFd], limit: Option<Duration>) {
    let mut entries: Vec<PollFd> = fds
        .iter()
        .map(|fd| PollFd {
            fd: *fd,
            events: POLLIN,
            revents: 0,
        })
        .collect();
    let timeout = limit.map_or(-1, |limit| limit.as_millis().min(60_000) as c_int + 1);
    // SAFETY: the entries live through the call. A failure is a wake-up.
    unsafe { poll(entries.as_mut_ptr(), entries.len() as c_ulong, timeout) };
}

/// Takes one ended child, without waiting.
pub fn reap_one() -> Reaped {
    let mut status = 0;
    // SAFETY: room for one status.
    match unsafe { waitpid(-1, &mut status, WNOHANG) } {
        0 => Reaped::NoneEnded,
        pid if pid > 0 => Reaped::Child(pid, ending(status)),
        _ => Reaped::NoneLeft,
    }
}

/// Waits for one child.
pub fn wait_for(pid: i32) -> io::Result<Ending> {
    let mut status = 0;
    // SAFETY: room for one status.
    check(unsafe { waitpid(pid, &mut status, 0) })?;
    Ok(ending(status))
}

fn ending(status: c_int) -> Ending {
    match status & 0x7f {
        0 => Ending::Code((status >> 8) & 0xff),
        signal => Ending::Signal(signal),
    }
}

/// Sends a signal; a process that is gone already is no failure.
pub fn send_signal(pid: i32, signal: i32) {
    // SAFETY: no pointers.
    unsafe { kill(pid, signal) };
}

/// Runs `work` in a forked child and returns its pid. The child ends with 0, or
/// 1 when `work` fails. Only for a process with one thread.
pub fn fork_child(work: impl FnOnce() -> io::Result<()>) -> io::Result<i32> {
    // SAFETY: one thread, so the child's memory is whole; it leaves by _exit.
    unsafe {
        let pid = check(fork())?;
        if pid == 0 {
            let code = c_int::from(work().is_err());
            _exit(code);
        }
        Ok(pid)
    }
}

/// Limits how many processes our user may have from here on, for good. A user
/// namespace made below counts its own and is held to this number. Safe between
/// fork and exec.
pub fn limit_processes(count: u32) -> io::Result<()> {
    let limit = [u64::from(count); 2];
    // SAFETY: soft and hard limit live through the call.
    check(unsafe { setrlimit64(RLIMIT_NPROC, limit.as_ptr()) }).map(drop)
}

/// Becomes the root user of the user namespace we are in. Safe between fork and exec.
pub fn become_root() -> io::Result<()> {
    // SAFETY: an empty list needs no pointer. Where setgroups is denied (a map
    // written without privilege) the groups cannot name anything foreign.
    unsafe {
        setgroups(0, std::ptr::null());
        check(setresgid(0, 0, 0))?;
        check(setresuid(0, 0, 0)).map(drop)
    }
}
