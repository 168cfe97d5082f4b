//! User namespaces with the sandbox's id ranges.

use super::options::IdRange;
use super::os;
use crate::sys::mount;
use std::fs;
use std::io;
use std::os::unix::io::{AsRawFd, OwnedFd};
use std::process::Command;

fn map_text(ranges: &[IdRange]) -> String {
    ranges
        .iter()
        .map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count))
        .collect()
}

/// A namespace that nobody lives in: for id-mapped mounts, and for the runtime
/// to enter. Needs the right to map any id.
pub fn make(uids: &[IdRange], gids: &[IdRange]) -> io::Result<OwnedFd> {
    let (made, made_writer) = os::pipe()?;
    let (hold, hold_writer) = os::pipe()?;
    let (hold_fd, made_fd) = (hold.as_raw_fd(), made_writer.as_raw_fd());
    let keeper = os::fork_child(|| {
        mount::leave(mount::CLONE_NEWUSER)?;
        os::write_once(made_fd, b"x")?;
        os::wait_readable(&[hold_fd], None);
        Ok(())
    })?;
    drop(made_writer);
    let namespace = open_mapped(keeper, &made, uids, gids);
    drop(hold_writer);
    os::send_signal(keeper, os::SIGKILL);
    os::wait_for(keeper)?;
    namespace
}

fn open_mapped(
    keeper: i32,
    made: &OwnedFd,
    uids: &[IdRange],
    gids: &[IdRange],
) -> io::Result<OwnedFd> {
    os::wait_readable(&[made.as_raw_fd()], None);
    let mut answer = [0u8];
    if os::read_some(made.as_raw_fd(), &mut answer) != Some(1) {
        return Err(io::Error::new(io::ErrorKind::Other, "the kernel made none"));
    }
    fs::write(format!("/proc/{}/uid_map", keeper), map_text(uids))?;
    fs::write(format!("/proc/{}/gid_map", keeper), map_text(gids))?;
    Ok(fs::File::open(format!("/proc/{}/ns/user", keeper))?.into())
}

/// Moves this process into a new mapped namespace, as a plain user may: one id
/// directly, more through newuidmap and newgidmap.
pub fn enter_own(uids: &[IdRange], gids: &[IdRange]) -> io::Result<()> {
    let single = |ranges: &[IdRange]| matches!(ranges, [range] if range.count == 1);
    if single(uids) && single(gids) {
        mount::leave(mount::CLONE_NEWUSER)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", map_text(uids))?;
        return fs::write("/proc/self/gid_map", map_text(gids));
    }
    let (go, go_writer) = os::pipe()?;
    let (go_fd, target) = (go.as_raw_fd(), std::process::id());
    // The helper stays outside: only there do the map tools have their rights.
    let helper = os::fork_child(|| {
        os::wait_readable(&[go_fd], None);
        run_map_tool("newuidmap", target, uids)?;
        run_map_tool("newgidmap", target, gids)
    })?;
    let left = mount::leave(mount::CLONE_NEWUSER);
    os::write_once(go_writer.as_raw_fd(), b"x")?;
    let mapped = os::wait_for(helper)?;
    left?;
    if mapped != os::Ending::Code(0) {
        let reason = "newuidmap or newgidmap refused the ranges (see /etc/subuid, /etc/subgid)";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(())
}

fn run_map_tool(tool: &str, target: u32, ranges: &[IdRange]) -> io::Result<()> {
    let mut command = Command::new(tool);
    command.arg(target.to_string());
    for range in ranges {
        for part in [range.inside, range.outside, range.count] {
            command.arg(part.to_string());
        }
    }
    match command.status()?.success() {
        true => Ok(()),
        false => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
    }
}
