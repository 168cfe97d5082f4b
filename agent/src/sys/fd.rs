//! Descriptors: reading, writing, pipes, epoll, flags.

use super::abi;
use std::io;
use std::os::raw::{c_int, c_void};
use std::os::unix::io::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Turns the -1 of a C call into the error in errno.
pub fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Takes ownership of a descriptor a C call returned.
pub fn owned(result: c_int) -> io::Result<OwnedFd> {
    // SAFETY: `check` passed, so the descriptor is open and nobody else owns it.
    check(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn count(result: isize) -> io::Result<usize> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as usize)
    }
}

pub fn read(fd: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is valid for its length.
    count(unsafe { abi::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
}

/// Reads at most `most` bytes behind those `buffer` already holds, into its spare capacity.
pub fn read_spare(fd: &impl AsRawFd, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    let spare = buffer.spare_capacity_mut();
    let most = most.min(spare.len());
    // SAFETY: the spare capacity is writable, and the kernel initialises what it counts.
    let got =
        count(unsafe { abi::read(fd.as_raw_fd(), spare.as_mut_ptr().cast::<c_void>(), most) })?;
    // SAFETY: `got` bytes behind the length were just initialised.
    unsafe { buffer.set_len(buffer.len() + got) };
    Ok(got)
}

pub fn write(fd: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the slice is valid for its length.
    count(unsafe { abi::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
}

/// Writes several slices in one call.
pub fn write_vectors(fd: &impl AsRawFd, slices: &[&[u8]]) -> io::Result<usize> {
    const LIMIT: usize = 64;
    let mut vectors = [abi::IoVec {
        base: std::ptr::null(),
        len: 0,
    }; LIMIT];
    let used = slices.len().min(LIMIT);
    for (vector, slice) in vectors.iter_mut().zip(slices) {
        *vector = abi::IoVec {
            base: slice.as_ptr().cast(),
            len: slice.len(),
        };
    }
    // SAFETY: the first `used` vectors describe live slices.
    count(unsafe { abi::writev(fd.as_raw_fd(), vectors.as_ptr(), used as c_int) })
}

pub fn would_block(error: &io::Error) -> bool {
    error.raw_os_error() == Some(abi::EAGAIN)
}

pub fn interrupted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(abi::EINTR)
}

/// A pipe, close-on-exec: read end, write end.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for the two descriptors, owned from here on.
    unsafe {
        check(abi::pipe2(fds.as_mut_ptr(), abi::O_CLOEXEC))?;
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

pub fn set_nonblocking(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: plain flag calls on a live descriptor.
    unsafe {
        let flags = check(abi::fcntl(fd.as_raw_fd(), abi::F_GETFL))?;
        check(abi::fcntl(
            fd.as_raw_fd(),
            abi::F_SETFL,
            flags | abi::O_NONBLOCK,
        ))?;
    }
    Ok(())
}

pub fn set_close_on_exec(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: a plain flag call.
    check(unsafe { abi::fcntl(fd.as_raw_fd(), abi::F_SETFD, 1) }).map(|_| ())
}

/// A second descriptor for the same open file, never below 3.
pub fn duplicate(fd: &impl AsRawFd) -> io::Result<OwnedFd> {
    // SAFETY: a plain duplication.
    owned(unsafe { abi::fcntl(fd.as_raw_fd(), abi::F_DUPFD_CLOEXEC, 3) })
}

/// Bytes that can be read right now.
pub fn readable_bytes(fd: &impl AsRawFd) -> io::Result<u64> {
    let mut bytes: c_int = 0;
    // SAFETY: FIONREAD stores one int.
    check(unsafe { abi::ioctl(fd.as_raw_fd(), abi::FIONREAD, &mut bytes as *mut c_int) })?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// Asks for a larger pipe; kernels and limits may refuse, which changes nothing.
pub fn grow_pipe(fd: &impl AsRawFd, bytes: c_int) {
    // SAFETY: a plain call.
    unsafe { abi::fcntl(fd.as_raw_fd(), abi::F_SETPIPE_SZ, bytes) };
}

/// Lets the kernel begin to write what is dirty of a file to disk, without
/// waiting for it; where it cannot, the sync at the end does all.
pub fn begin_write_back(fd: &impl AsRawFd) {
    const WRITE: u64 = 2;
    // SAFETY: a raw call with plain numbers; offset 0 and length 0 mean all.
    unsafe { abi::syscall(abi::SYS_SYNC_FILE_RANGE, fd.as_raw_fd(), 0u64, 0u64, WRITE) };
}

pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: a plain call.
    owned(unsafe { abi::eventfd(0, abi::EFD_CLOEXEC | abi::EFD_NONBLOCK) })
}

/// Closes every descriptor from `first` to `last`. Safe between fork and exec.
pub fn close_range(first: u32, last: u32) {
    if first > last {
        return;
    }
    // SAFETY: raw system calls; callers give up the descriptors in the range.
    unsafe {
        if abi::syscall(abi::SYS_CLOSE_RANGE, first as u64, last as u64, 0u64) == 0 {
            return;
        }
        // Kernels before 5.9: descriptors are dense, so the limit bounds them.
        let mut limit = abi::RLimit {
            current: 0,
            maximum: 0,
        };
        abi::getrlimit(abi::RLIMIT_NOFILE, &mut limit);
        let top = limit.current.clamp(1024, 65_536) as u32;
        for fd in first..=last.min(top) {
            abi::close(fd as c_int);
        }
    }
}

/// A level-triggered epoll set; each descriptor carries a token of ours.
pub struct Epoll(OwnedFd);

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: a plain call.
        owned(unsafe { abi::epoll_create1(abi::EPOLL_CLOEXEC) }).map(Epoll)
    }

    fn control(&self, operation: c_int, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
        let mut event = abi::EpollEvent {
            events,
            data: token,
        };
        // SAFETY: the event lives during the call.
        check(unsafe { abi::epoll_ctl(self.0.as_raw_fd(), operation, fd, &mut event) }).map(|_| ())
    }

    pub fn add(&self, fd: &impl AsRawFd, events: u32, token: u64) -> io::Result<()> {
        self.control(abi::EPOLL_CTL_ADD, fd.as_raw_fd(), events, token)
    }

    pub fn modify(&self, fd: &impl AsRawFd, events: u32, token: u64) -> io::Result<()> {
        self.control(abi::EPOLL_CTL_MOD, fd.as_raw_fd(), events, token)
    }

    /// Removing what is not there is no error.
    pub fn remove(&self, fd: &impl AsRawFd) {
        let _absent_is_fine = self.control(abi::EPOLL_CTL_DEL, fd.as_raw_fd(), 0, 0);
    }

    /// Waits at most `timeout_ms` (-1: without end); an interrupted wait is an empty one.
    pub fn wait<'a>(
        &self,
        events: &'a mut [abi::EpollEvent],
        timeout_ms: i32,
    ) -> io::Result<&'a [abi::EpollEvent]> {
        // SAFETY: the kernel writes at most `events.len()` entries.
        let result = check(unsafe {
            abi::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                events.len() as c_int,
                timeout_ms,
            )
        });
        match result {
            Ok(ready) => Ok(&events[..(ready as usize).min(events.len())]),
            Err(error) if interrupted(&error) => Ok(&[]),
            Err(error) => Err(error),
        }
    }
}
