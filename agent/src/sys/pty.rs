//! Pseudo terminals.

use super::abi;
use super::fd::{check, owned};
use std::io;
use std::os::raw::c_int;
use std::os::unix::io::{AsRawFd, OwnedFd};

/// A new terminal: its master (non-blocking) and slave side. The slave comes
/// from the master itself, so no path below /dev/pts has to exist.
pub fn open(cols: u16, rows: u16, uid: u32) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = abi::O_RDWR | abi::O_NOCTTY | abi::O_CLOEXEC;
    // SAFETY: static C strings, and ioctls with the argument types they define.
    unsafe {
        let mut opened = owned(abi::open(
            b"/dev/ptmx\0".as_ptr().cast(),
            flags | abi::O_NONBLOCK,
        ));
        if opened.is_err() {
            opened = owned(abi::open(
                b"/dev/pts/ptmx\0".as_ptr().cast(),
                flags | abi::O_NONBLOCK,
            ));
        }
        let master = opened?;
        let unlocked: c_int = 0;
        check(abi::ioctl(
            master.as_raw_fd(),
            abi::TIOCSPTLCK,
            &unlocked as *const c_int,
        ))?;
        let slave = match owned(abi::ioctl(master.as_raw_fd(), abi::TIOCGPTPEER, flags)) {
            Ok(slave) => slave,
            Err(_) => open_by_number(&master, flags)?,
        };
        // The user must be able to open his own terminal again; failing to give it is not fatal.
        abi::fchownat(
            slave.as_raw_fd(),
            b"\0".as_ptr().cast(),
            uid,
            u32::MAX,
            abi::AT_EMPTY_PATH,
        );
        resize(&master, cols, rows)?;
        Ok((master, slave))
    }
}

/// For kernels that cannot give out the slave directly (gVisor).
fn open_by_number(master: &OwnedFd, flags: c_int) -> io::Result<OwnedFd> {
    let mut number: c_int = 0;
    // SAFETY: TIOCGPTN stores one int; the path is NUL-terminated.
    unsafe {
        check(abi::ioctl(
            master.as_raw_fd(),
            abi::TIOCGPTN,
            &mut number as *mut c_int,
        ))?;
        let path = format!("/dev/pts/{}\0", number);
        owned(abi::open(path.as_ptr().cast(), flags))
    }
}

pub fn resize(master: &impl AsRawFd, cols: u16, rows: u16) -> io::Result<()> {
    let size = abi::WinSize {
        rows,
        cols,
        x: 0,
        y: 0,
    };
    // SAFETY: TIOCSWINSZ reads one winsize.
    check(unsafe {
        abi::ioctl(
            master.as_raw_fd(),
            abi::TIOCSWINSZ,
            &size as *const abi::WinSize,
        )
    })
    .map(|_| ())
}
