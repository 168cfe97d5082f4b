//! The little that the supervisor does with control groups: they are made and
//! limited by the provider, for every layout (v1, v2, hybrid), and only named here.

use super::os;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::io::AsRawFd;
use std::path::Path;
use std::time::Duration;

/// The membership lists of the groups, opened so that the child can join itself.
/// A thread that joins itself to `tasks` (v1) passes the lock that makes
/// `cgroup.procs` wait for several milliseconds; the child has one thread only.
pub fn open_members(groups: &[OsString]) -> Result<Vec<File>, String> {
    let open = |group: &OsString| {
        let list = |name| {
            OpenOptions::new()
                .write(true)
                .open(Path::new(group).join(name))
        };
        let opened = list("tasks").or_else(|_| list("cgroup.procs"));
        opened.map_err(|error| format!("group {:?}: {}", group, error))
    };
    groups.iter().map(open).collect()
}

/// Joins the caller. Safe between fork and exec.
pub fn join(members: &[File]) -> io::Result<()> {
    members
        .iter()
        .try_for_each(|file| os::write_once(file.as_raw_fd(), b"0"))
}

/// Kills what is in the groups where the kernel has a switch for that, and lets
/// frozen processes die. A group without the switch is not a failure.
pub fn kill(groups: &[OsString]) {
    for group in groups {
        for (switch, value) in [
            ("cgroup.kill", "1"),
            ("cgroup.freeze", "0"),
            ("freezer.state", "THAWED"),
        ] {
            let opened = OpenOptions::new()
                .write(true)
                .open(Path::new(group).join(switch));
            if let Ok(file) = opened {
                os::write_once(file.as_raw_fd(), value.as_bytes()).ok();
            }
        }
    }
}

/// How often the kernel killed for memory in the groups.
pub fn oom_kills(groups: &[OsString]) -> u64 {
    let mut kills = 0;
    for group in groups {
        for list in ["memory.events", "memory.oom_control"] {
            let text = fs::read_to_string(Path::new(group).join(list)).unwrap_or_default();
            let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            kills += count
                .and_then(|count| count.trim().parse().ok())
                .unwrap_or(0);
        }
    }
    kills
}

/// Removes the groups with all below them. The last process may leave a moment
/// after it was reaped, so a busy group is tried again within `limit`.
pub fn remove(groups: &[OsString], limit: Duration) -> Result<(), String> {
    let step = Duration::from_millis(2);
    for group in groups {
        let mut waited = Duration::from_millis(0);
        loop {
            match remove_tree(Path::new(group)) {
                Err(error) if waited >= limit => {
                    return Err(format!("{:?}: {}", group, error));
                }
                Err(_) => {
                    std::thread::sleep(step);
                    waited += step;
                }
                Ok(()) => break,
            }
        }
    }
    Ok(())
}

fn remove_tree(group: &Path) -> io::Result<()> {
    match fs::remove_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
        Ok(()) => return Ok(()),
    }
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
