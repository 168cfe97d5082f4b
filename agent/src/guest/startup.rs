//! From the command line to a listening agent: descriptors, host name, filter.

use super::fault::Fault;
use super::options::{Listen, Options};
use super::seccomp;
use super::user::{User, UserDatabase};
use crate::sys::abi;
use crate::sys::{fd, net, process};
use std::io;
use std::os::unix::io::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

/// What stays fixed while the agent runs.
pub struct Setup {
    pub default_user: Option<String>,
    pub cwd: Option<String>,
    pub env: Vec<(String, String)>,
    /// Descriptor limit (soft, hard) for the processes of the sandbox.
    pub descriptors: (u64, u64),
    pub reset_oom: bool,
    /// Process 1 of a pid namespace.
    pub init: bool,
    uid: u32,
    gid: u32,
    may_set_groups: bool,
}

impl Setup {
    pub fn user(&self, users: &UserDatabase, asked: Option<&str>) -> Result<User, Fault> {
        match asked.or(self.default_user.as_deref()) {
            Some(name) => users.resolve(name),
            // An agent without root is the user; with root, `user` if there is one.
            None if self.uid == 0 && users.has_user("user") => users.resolve("user"),
            None => Ok(User {
                gid: self.gid,
                ..users.by_uid(self.uid)
            }),
        }
    }

    /// Whether becoming this user needs a change of ids; refused when it is
    /// needed and cannot be.
    pub fn must_switch(&self, user: &User) -> Result<bool, Fault> {
        if self.uid == 0 {
            return Ok(user.uid != 0 || user.gid != self.gid);
        }
        if user.uid == self.uid {
            return Ok(false);
        }
        let message = format!(
            "the agent runs as uid {} and cannot become {}",
            self.uid, user.name
        );
        Err(Fault::new("permission_denied", message))
    }

    /// Supplementary groups to set; None where they cannot be changed.
    pub fn groups_for(&self, user: &User) -> Option<Vec<u32>> {
        self.may_set_groups.then(|| user.groups.clone())
    }

    pub fn agent_ids(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }
}

/// A failed start: exit code and what to say.
pub struct StartError(pub i32, pub String);

/// Sets the process up; the listener is bound and nothing else is open.
pub fn start(options: Options) -> Result<(Setup, OwnedFd), StartError> {
    process::tune_allocator();
    // SAFETY: plain call; files made here are group and world readable unless a mode is named.
    unsafe { abi::umask(0o022) };
    fill_standard_descriptors();
    let listener = listen(&options.listen)?;
    let before = process::raise_descriptor_limit();
    if let Some(name) = &options.hostname {
        // Not allowed in every sandbox; the name is decoration.
        let _refused = net::set_host_name(name);
    }
    if options.loopback {
        if let Err(error) = net::raise_loopback() {
            eprintln!("caisson-agent: loopback stays down: {}", error);
        }
    }
    // Least likely to be killed for memory, where that may be asked; the sandbox's
    // processes start from the neutral value again when they may.
    let reset_oom = std::fs::write("/proc/self/oom_score_adj", "-900").is_ok();
    // Same-uid processes must not trace the agent or reach its descriptors.
    let _refused = process::control(abi::PR_SET_DUMPABLE, 0);
    let _older_kernels_lack_it = process::control(abi::PR_SET_CHILD_SUBREAPER, 1);
    for signal in 1..=31 {
        if ![abi::SIGKILL, abi::SIGSTOP, abi::SIGPIPE, 4, 7, 8, 11].contains(&signal) {
            process::ignore_signal(signal, false);
        }
    }
    if options.seccomp {
        seccomp::install().map_err(|error| StartError(4, format!("--seccomp: {}", error)))?;
    }
    let (uid, gid) = process::effective_ids();
    let may_set_groups = uid == 0
        && std::fs::read_to_string("/proc/self/setgroups")
            .map_or(true, |text| text.trim() == "allow");
    let setup = Setup {
        default_user: options.user,
        cwd: options.cwd,
        env: options.env,
        descriptors: (before.current, before.maximum),
        reset_oom,
        init: process::pid() == 1,
        uid,
        gid,
        may_set_groups,
    };
    Ok((setup, listener))
}

/// Descriptors 0 to 2 must be taken, else a pipe of ours would land there.
fn fill_standard_descriptors() {
    for _ in 0..3 {
        match null_device() {
            Ok(fd) if fd.as_raw_fd() < 3 => {
                // Deliberately kept open for good.
                let _kept = fd.into_raw_fd();
            }
            _ => return,
        }
    }
}

/// /dev/null, or where there is none a pipe nobody writes to.
pub fn null_device() -> io::Result<OwnedFd> {
    // SAFETY: a static C string.
    let opened = fd::owned(unsafe {
        abi::open(b"/dev/null\0".as_ptr().cast(), abi::O_RDWR | abi::O_CLOEXEC)
    });
    match opened {
        Ok(fd) => Ok(fd),
        Err(_) => fd::pipe().map(|(read, _)| read),
    }
}

fn listen(listen: &Listen) -> Result<OwnedFd, StartError> {
    let bad = |message: String| StartError(3, message);
    match listen {
        Listen::Descriptor(number) => {
            let number = *number;
            // SAFETY: a flag query fails cleanly on a descriptor that is not open.
            if unsafe { abi::fcntl(number, abi::F_GETFD) } < 0 {
                return Err(bad(format!(
                    "--listen-fd {}: not an open descriptor",
                    number
                )));
            }
            fd::close_range(3, number as u32 - 1);
            fd::close_range(number as u32 + 1, u32::MAX);
            // SAFETY: it is open, and from here on ours.
            let listener = unsafe { OwnedFd::from_raw_fd(number) };
            if !net::is_unix_listener(&listener) {
                return Err(bad(format!(
                    "--listen-fd {}: not a listening Unix socket",
                    number
                )));
            }
            fd::set_close_on_exec(&listener)
                .and_then(|_| fd::set_nonblocking(&listener))
                .map_err(|error| bad(format!("--listen-fd {}: {}", number, error)))?;
            Ok(listener)
        }
        Listen::Path(path) => {
            fd::close_range(3, u32::MAX);
            bind(path).map_err(|error| bad(format!("--listen {}: {}", path, error)))
        }
    }
}

fn bind(path: &str) -> io::Result<OwnedFd> {
    if let Err(error) = std::fs::remove_file(path) {
        if error.kind() != io::ErrorKind::NotFound {
            return Err(error);
        }
    }
    // SAFETY: plain calls. The mode must hold from the first moment on.
    unsafe { abi::umask(0o177) };
    let bound = UnixListener::bind(path);
    // SAFETY: as above.
    unsafe { abi::umask(0o022) };
    let listener = bound?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}
