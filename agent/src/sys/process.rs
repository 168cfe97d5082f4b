//! Processes: signals, waiting, limits, identity of a thread.

use super::abi;
use super::fd::{check, owned};
use std::io;
use std::os::raw::c_int;
use std::os::unix::io::OwnedFd;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Code(i32),
    Signal(i32),
}

impl Ending {
    pub fn from_wait_status(status: i32) -> Ending {
        let signal = status & 0x7f;
        if signal == 0 {
            Ending::Code((status >> 8) & 0xff)
        } else {
            Ending::Signal(signal)
        }
    }
}

/// Reaps one ended child without waiting: its pid and wait status.
pub fn reap() -> Option<(i32, i32)> {
    let mut status: c_int = 0;
    // SAFETY: `status` is a valid place to store to.
    let pid = unsafe {
        abi::wait4(
            -1,
            &mut status,
            abi::WNOHANG | abi::WALL,
            std::ptr::null_mut(),
        )
    };
    (pid > 0).then_some((pid, status))
}

/// Whether the signal could be sent (0 only asks).
pub fn signal(pid: i32, number: i32) -> bool {
    // Never a group or everybody by accident.
    // SAFETY: a plain call.
    pid > 0 && unsafe { abi::kill(pid, number) } == 0
}

/// Signals everything the agent may signal except itself (process 1 only).
pub fn signal_everybody(number: i32) {
    // SAFETY: a plain call.
    unsafe { abi::kill(-1, number) };
}

pub fn pid() -> i32 {
    // SAFETY: cannot fail.
    unsafe { abi::getpid() }
}

pub fn effective_ids() -> (u32, u32) {
    // SAFETY: cannot fail.
    unsafe { (abi::geteuid(), abi::getegid()) }
}

fn signal_set(signals: &[i32]) -> abi::SigSet {
    let mut set = abi::SigSet([0; 16]);
    for &signal in signals {
        if (1..=64).contains(&signal) {
            set.0[0] |= 1 << (signal - 1);
        }
    }
    set
}

/// Blocks `signals` and returns a descriptor on which they arrive.
pub fn signal_descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    let set = signal_set(signals);
    // SAFETY: the set lives during the calls.
    unsafe {
        check(abi::sigprocmask(
            abi::SIG_SETMASK,
            &set,
            std::ptr::null_mut(),
        ))?;
        owned(abi::signalfd(-1, &set, abi::O_CLOEXEC | abi::O_NONBLOCK))
    }
}

/// Blocks all signals or none. Safe between fork and exec.
pub fn set_signal_mask(mask: u64) {
    let mut set = abi::SigSet([0; 16]);
    set.0[0] = mask;
    // SAFETY: the set lives during the call.
    unsafe { abi::sigprocmask(abi::SIG_SETMASK, &set, std::ptr::null_mut()) };
}

/// Gives a signal its default action (false) or ignores it (true).
/// Safe between fork and exec.
pub fn ignore_signal(signal: i32, ignored: bool) {
    let action = abi::SigAction {
        handler: usize::from(ignored),
        mask: abi::SigSet([0; 16]),
        flags: 0,
        restorer: 0,
    };
    // SAFETY: SIG_DFL and SIG_IGN need no handler code.
    unsafe { abi::sigaction(signal, &action, std::ptr::null_mut()) };
}

/// One-argument prctl.
pub fn control(option: i32, value: u64) -> io::Result<()> {
    // SAFETY: only options that take plain numbers are used with this.
    check(unsafe { abi::prctl(option, value, 0u64, 0u64, 0u64) }).map(|_| ())
}

/// Raises the soft descriptor limit to the hard one; returns what it was.
pub fn raise_descriptor_limit() -> abi::RLimit {
    let mut before = abi::RLimit {
        current: 0,
        maximum: 0,
    };
    // SAFETY: the structures live during the calls.
    unsafe {
        if abi::getrlimit(abi::RLIMIT_NOFILE, &mut before) == 0 {
            let raised = abi::RLimit {
                current: before.maximum,
                maximum: before.maximum,
            };
            abi::setrlimit(abi::RLIMIT_NOFILE, &raised);
        }
    }
    before
}

/// The most a resource may be raised to.
pub fn hard_limit(resource: i32) -> u64 {
    let mut limit = abi::RLimit {
        current: 0,
        maximum: 0,
    };
    // SAFETY: the structure lives during the call.
    match unsafe { abi::getrlimit(resource, &mut limit) } {
        0 => limit.maximum,
        _ => u64::MAX, // setting it will say what is wrong
    }
}

/// Keeps the allocator small: one arena, early return of memory to the kernel.
pub fn tune_allocator() {
    // SAFETY: plain calls.
    unsafe {
        abi::mallopt(abi::M_ARENA_MAX, 1);
        abi::mallopt(abi::M_TRIM_THRESHOLD, 1 << 20);
        abi::mallopt(abi::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// Returns free memory to the kernel.
pub fn trim_allocator() {
    // SAFETY: a plain call.
    unsafe { abi::malloc_trim(0) };
}

/// Switches the file-system identity of the calling thread only. The wrappers
/// of the C library would change every thread, hence the raw calls.
pub fn set_thread_file_identity(uid: u32, gid: u32, groups: Option<&[u32]>) -> io::Result<()> {
    // SAFETY: raw calls with plain numbers and one live slice.
    unsafe {
        // After the way round below the thread first needs its rights back.
        let real = abi::getuid();
        if abi::geteuid() != real {
            let keep = u32::MAX as u64;
            check(abi::syscall(abi::SYS_SETRESUID, keep, u64::from(real), keep) as c_int)?;
        }
        if let Some(groups) = groups {
            let done = abi::syscall(abi::SYS_SETGROUPS, groups.len(), groups.as_ptr());
            check(done as c_int)?;
        }
        abi::syscall(abi::SYS_SETFSGID, gid as u64);
        abi::syscall(abi::SYS_SETFSUID, uid as u64);
        // The calls above report the previous id; asking with -1 tells the current one.
        let now_gid = abi::syscall(abi::SYS_SETFSGID, u32::MAX as u64);
        let now_uid = abi::syscall(abi::SYS_SETFSUID, u32::MAX as u64);
        if now_gid != i64::from(gid) || now_uid != i64::from(uid) {
            // Kernels without these calls (gVisor): the effective ids, which
            // decide the same. Real and saved ids stay and lead back.
            let keep = u32::MAX as u64;
            check(abi::syscall(abi::SYS_SETRESGID, keep, gid as u64, keep) as c_int)?;
            check(abi::syscall(abi::SYS_SETRESUID, keep, uid as u64, keep) as c_int)?;
        }
    }
    Ok(())
}
