//! Starting a process below a keeper of its own.
//!
//! The agent forks the keeper, a child subreaper in its own session; the keeper
//! starts the leader and reaps whatever ends below it. Everything is prepared
//! before the fork: between fork and exec only plain system calls are made,
//! since other threads of the agent may have held any lock.

use super::fault::Fault;
use crate::sys::abi;
use crate::sys::fd;
use crate::sys::process::{control, ignore_signal, set_signal_mask};
use std::ffi::CString;
use std::io;
use std::os::raw::{c_char, c_int, c_void};
use std::os::unix::io::{AsRawFd, OwnedFd};

/// Everything a leader needs, resolved.
pub struct Launch {
    pub argv: Vec<CString>,
    pub env: Vec<CString>,
    /// Files to try, in order (the PATH search is done).
    pub files: Vec<CString>,
    /// Working directories to try, in order.
    pub cwds: Vec<CString>,
    pub uid: u32,
    pub gid: u32,
    /// None: leave the supplementary groups as they are.
    pub groups: Option<Vec<u32>>,
    /// False: the agent cannot change its user, or need not.
    pub switch_user: bool,
    pub terminal: bool,
    /// Descriptor limit the agent was started with.
    pub descriptors: (u64, u64),
    /// Limits by resource, lower than those of the sandbox.
    pub limits: Vec<(c_int, abi::RLimit)>,
    /// The agent is protected from the out-of-memory killer; the leader must not be.
    pub reset_oom: bool,
}

/// What the keeper reports, as fixed records on the status pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    Started(i32),
    /// Stage and errno.
    Failed(Stage, i32),
    /// Wait status of the leader.
    Exited(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Fork,
    Cwd,
    User,
    Terminal,
    Limit,
}

pub const REPORT: usize = 12;

fn encode_report(report: Report) -> [u8; REPORT] {
    let (kind, a, b) = match report {
        Report::Started(pid) => (1, pid, 0),
        Report::Failed(stage, errno) => (2, stage as i32, errno),
        Report::Exited(status) => (3, status, 0),
    };
    let mut bytes = [0; REPORT];
    bytes[..4].copy_from_slice(&i32::to_ne_bytes(kind));
    bytes[4..8].copy_from_slice(&a.to_ne_bytes());
    bytes[8..].copy_from_slice(&b.to_ne_bytes());
    bytes
}

/// None for anything a keeper never writes.
pub fn decode_report(bytes: &[u8]) -> Option<Report> {
    let word = |at: usize| {
        let part = bytes.get(at..at + 4)?;
        <[u8; 4]>::try_from(part).ok().map(i32::from_ne_bytes)
    };
    let (kind, a, b) = (word(0)?, word(4)?, word(8)?);
    match (kind, a) {
        (1, pid) => Some(Report::Started(pid)),
        (2, 0) => Some(Report::Failed(Stage::Fork, b)),
        (2, 1) => Some(Report::Failed(Stage::Cwd, b)),
        (2, 2) => Some(Report::Failed(Stage::User, b)),
        (2, 3) => Some(Report::Failed(Stage::Terminal, b)),
        (2, 4) => Some(Report::Failed(Stage::Limit, b)),
        (3, status) => Some(Report::Exited(status)),
        _ => None,
    }
}

/// Why a leader could not be started, as the answer to the call.
pub fn start_fault(stage: Stage, errno: i32, cwd: &str, user: &str) -> Fault {
    let error = io::Error::from_raw_os_error(errno);
    match stage {
        Stage::Fork => Fault::from_io(&error, "cannot start a process"),
        Stage::Cwd => Fault::from_io(&error, &format!("cwd {}", cwd)),
        Stage::User => Fault::new(
            "permission_denied",
            format!("cannot become user {}: {}", user, error),
        ),
        Stage::Terminal => Fault::from_io(&error, "terminal"),
        Stage::Limit => Fault::from_io(&error, "limits"),
    }
}

const STACK: usize = 32 * 1024;
const STATUS_FD: c_int = 3;

/// The prepared launch as the children see it: only pointers and numbers.
struct Plan {
    argv: Vec<*const c_char>,
    /// `sh FILE ARGS…`, for files without an interpreter line; slot 1 is set late.
    script_argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    files: Vec<*const c_char>,
    cwds: Vec<*const c_char>,
    groups: Option<Vec<u32>>,
    uid: u32,
    gid: u32,
    switch_user: bool,
    terminal: bool,
    reset_oom: bool,
    descriptors: abi::RLimit,
    limits: Vec<(c_int, abi::RLimit)>,
    not_found: Vec<u8>,
    not_executable: Vec<u8>,
    failed: Option<(Stage, i32)>,
    stack: Vec<u8>,
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|text| text.as_ptr())
        .chain(std::iter::once(std::ptr::null()))
        .collect()
}

const SHELL: &[u8] = b"/bin/sh\0";

impl Plan {
    fn new(launch: &Launch) -> Plan {
        let name = launch
            .argv
            .first()
            .map(|name| name.to_bytes())
            .unwrap_or(b"");
        let shown = &name[..name.len().min(512)];
        let argv = pointers(&launch.argv);
        let mut script_argv = vec![SHELL.as_ptr().cast(), std::ptr::null()];
        script_argv.extend_from_slice(argv.get(1..).unwrap_or(&[]));
        if argv.len() < 2 {
            script_argv.push(std::ptr::null());
        }
        Plan {
            argv,
            script_argv,
            env: pointers(&launch.env),
            files: pointers(&launch.files),
            cwds: pointers(&launch.cwds),
            groups: launch.groups.clone(),
            uid: launch.uid,
            gid: launch.gid,
            switch_user: launch.switch_user,
            terminal: launch.terminal,
            reset_oom: launch.reset_oom,
            descriptors: abi::RLimit {
                current: launch.descriptors.0,
                maximum: launch.descriptors.1,
            },
            limits: launch.limits.clone(),
            not_found: [b"caisson: ", shown, b": not found\n"].concat(),
            not_executable: [b"caisson: ", shown, b": cannot be executed\n"].concat(),
            failed: None,
            stack: vec![0; STACK],
        }
    }
}

/// Forks a keeper that starts the leader with these descriptors as 0, 1 and 2.
/// Returns the keeper's pid and the pipe on which it reports.
pub fn start(
    launch: &Launch,
    stdin: &OwnedFd,
    stdout: &OwnedFd,
    stderr: &OwnedFd,
) -> io::Result<(i32, OwnedFd)> {
    let mut plan = Plan::new(launch);
    let (reports, status) = fd::pipe()?;
    let fds = [
        stdin.as_raw_fd(),
        stdout.as_raw_fd(),
        stderr.as_raw_fd(),
        status.as_raw_fd(),
    ];
    // SAFETY: the child runs only `keep`, which keeps to system calls.
    let pid = fd::check(unsafe { abi::fork() })?;
    if pid == 0 {
        // SAFETY: we are the single thread of the new process.
        unsafe { keep(&mut plan, fds) }
    }
    fd::set_nonblocking(&reports)?;
    Ok((pid, reports))
}

/// The keeper's life. Never returns.
unsafe fn keep(plan: &mut Plan, fds: [c_int; 4]) -> ! {
    // Nothing but SIGKILL ends a keeper, so that its tree stays below it.
    set_signal_mask(u64::MAX);
    abi::prctl(abi::PR_SET_NAME, b"caisson-keeper\0".as_ptr());
    let _older_kernels_lack_it = control(abi::PR_SET_CHILD_SUBREAPER, 1);
    abi::setsid();
    // The agent's own 0, 1 and 2 are never among the sources, all others are above.
    for target in 0..3 {
        abi::dup2(fds[target as usize], target);
    }
    if fds[3] != STATUS_FD {
        abi::dup3(fds[3], STATUS_FD, abi::O_CLOEXEC);
    }
    fd::close_range(STATUS_FD as u32 + 1, u32::MAX);

    let top = (plan.stack.as_mut_ptr() as usize + STACK) & !15;
    // The leader borrows our memory until it executes, as with vfork, on a stack of its own.
    let leader = abi::clone(
        lead,
        top as *mut c_void,
        abi::CLONE_VM | abi::CLONE_VFORK | abi::SIGCHLD,
        (plan as *mut Plan).cast(),
    );
    if leader < 0 {
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        tell(Report::Failed(Stage::Fork, errno));
        abi::_exit(1);
    }
    // Read afresh: the leader may have written it.
    if let Some((stage, errno)) = std::ptr::read_volatile(&plan.failed) {
        tell(Report::Failed(stage, errno));
        abi::_exit(1);
    }
    fd::close_range(0, 2);
    loop {
        let mut status: c_int = 0;
        let pid = abi::wait4(-1, &mut status, abi::WALL, std::ptr::null_mut());
        if pid == leader {
            tell(Report::Exited(status));
        } else if pid < 0 {
            let errno = io::Error::last_os_error().raw_os_error();
            if errno != Some(abi::EINTR) {
                abi::_exit(0); // nothing is left below us
            }
        }
    }
}

unsafe fn tell(report: Report) {
    let bytes = encode_report(report);
    // Shorter than PIPE_BUF: written whole. An agent that is gone needs no report.
    abi::write(STATUS_FD, bytes.as_ptr().cast(), bytes.len());
}

/// Between clone and exec of the leader.
extern "C" fn lead(plan: *mut c_void) -> c_int {
    // SAFETY: the keeper passes its plan and sleeps until we are done with it.
    unsafe {
        let plan = &mut *plan.cast::<Plan>();
        if let Err(failure) = prepare(plan) {
            std::ptr::write_volatile(&mut plan.failed, Some(failure));
            abi::_exit(127)
        }
        // By the leader itself: what it executes may kill the keeper at once.
        tell(Report::Started(abi::getpid()));
        execute(plan)
    }
}

unsafe fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

unsafe fn prepare(plan: &Plan) -> Result<(), (Stage, i32)> {
    abi::setsid();
    if plan.terminal && abi::ioctl(0, abi::TIOCSCTTY, 0u64) < 0 {
        return Err((Stage::Terminal, last_errno()));
    }
    if plan.descriptors.maximum > 0 {
        abi::setrlimit(abi::RLIMIT_NOFILE, &plan.descriptors);
    }
    if plan.reset_oom {
        let path = b"/proc/self/oom_score_adj\0";
        let file = abi::open(path.as_ptr().cast(), abi::O_WRONLY | abi::O_CLOEXEC);
        if file >= 0 {
            abi::write(file, b"0".as_ptr().cast(), 1);
            abi::close(file);
        }
    }
    if let Some(groups) = &plan.groups {
        if abi::syscall(abi::SYS_SETGROUPS, groups.len(), groups.as_ptr()) < 0 {
            return Err((Stage::User, last_errno()));
        }
    }
    if plan.switch_user {
        let (uid, gid) = (u64::from(plan.uid), u64::from(plan.gid));
        if abi::syscall(abi::SYS_SETRESGID, gid, gid, gid) < 0
            || abi::syscall(abi::SYS_SETRESUID, uid, uid, uid) < 0
        {
            return Err((Stage::User, last_errno()));
        }
    }
    let mut errno = abi::ENOENT;
    for &cwd in plan.cwds.iter().take_while(|cwd| !cwd.is_null()) {
        if abi::chdir(cwd) == 0 {
            errno = 0;
            break;
        }
        errno = last_errno();
    }
    if errno != 0 {
        return Err((Stage::Cwd, errno));
    }
    for (resource, limit) in &plan.limits {
        if abi::setrlimit(*resource, limit) < 0 {
            return Err((Stage::Limit, last_errno()));
        }
    }
    ignore_signal(abi::SIGPIPE, false);
    set_signal_mask(0);
    Ok(())
}

unsafe fn execute(plan: &mut Plan) -> ! {
    let mut found = false;
    for at in 0..plan.files.len() {
        let file = match plan.files.get(at) {
            Some(file) if !file.is_null() => *file,
            _ => break,
        };
        abi::execve(file, plan.argv.as_ptr(), plan.env.as_ptr());
        match last_errno() {
            abi::ENOENT | abi::ENOTDIR => {}
            abi::EACCES => found = true,
            abi::ENOEXEC => {
                if let Some(slot) = plan.script_argv.get_mut(1) {
                    *slot = file;
                }
                abi::execve(
                    SHELL.as_ptr().cast(),
                    plan.script_argv.as_ptr(),
                    plan.env.as_ptr(),
                );
                found = true;
                break;
            }
            _ => {
                found = true;
                break;
            }
        }
    }
    let (message, code) = if found {
        (&plan.not_executable, 126)
    } else {
        (&plan.not_found, 127)
    };
    abi::write(2, message.as_ptr().cast(), message.len());
    abi::_exit(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_pipe() {
        for report in [
            Report::Started(77),
            Report::Failed(Stage::Fork, abi::EAGAIN),
            Report::Failed(Stage::Cwd, abi::ENOENT),
            Report::Failed(Stage::User, abi::EPERM),
            Report::Failed(Stage::Terminal, 5),
            Report::Failed(Stage::Limit, abi::EPERM),
            Report::Exited(0x900),
        ] {
            assert_eq!(decode_report(&encode_report(report)), Some(report));
        }
        assert_eq!(decode_report(&[0; REPORT]), None);
        assert_eq!(decode_report(&[1, 2]), None);
    }
}
