//! Sockets: the listener of the agent, peers, outgoing connections.

use super::abi;
use super::fd::{check, owned};
use std::io;
use std::net::SocketAddr;
use std::os::raw::{c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::io::{AsRawFd, OwnedFd};
use std::path::Path;

fn option(fd: &impl AsRawFd, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut length = std::mem::size_of::<c_int>() as u32;
    // SAFETY: value and length describe one int.
    check(unsafe {
        abi::getsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&mut value as *mut c_int).cast::<c_void>(),
            &mut length,
        )
    })?;
    Ok(value)
}

/// Whether this is a Unix stream socket in listening state.
pub fn is_unix_listener(fd: &impl AsRawFd) -> bool {
    option(fd, abi::SOL_SOCKET, abi::SO_DOMAIN).ok() == Some(abi::AF_UNIX)
        && option(fd, abi::SOL_SOCKET, abi::SO_ACCEPTCONN).ok() == Some(1)
}

pub fn accept(listener: &impl AsRawFd) -> io::Result<OwnedFd> {
    // SAFETY: no address is asked for.
    owned(unsafe {
        abi::accept4(
            listener.as_raw_fd(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            abi::SOCK_CLOEXEC | abi::SOCK_NONBLOCK,
        )
    })
}

/// The pid of the peer as seen from here; 0 when it is outside our pid namespace.
pub fn peer_pid(fd: &impl AsRawFd) -> io::Result<i32> {
    let mut cred = abi::PeerCred::default();
    let mut length = std::mem::size_of::<abi::PeerCred>() as u32;
    // SAFETY: cred and length describe one structure.
    check(unsafe {
        abi::getsockopt(
            fd.as_raw_fd(),
            abi::SOL_SOCKET,
            abi::SO_PEERCRED,
            (&mut cred as *mut abi::PeerCred).cast::<c_void>(),
            &mut length,
        )
    })?;
    Ok(cred.pid)
}

/// The pending error of a socket after a connect in the background.
pub fn pending_error(fd: &impl AsRawFd) -> Option<io::Error> {
    match option(fd, abi::SOL_SOCKET, abi::SO_ERROR) {
        Ok(0) => None,
        Ok(code) => Some(io::Error::from_raw_os_error(code)),
        Err(error) => Some(error),
    }
}

/// A raw address: bytes and how many count.
fn connect_raw(domain: c_int, address: &[u8]) -> io::Result<(OwnedFd, bool)> {
    // SAFETY: the address slice lives during the call.
    unsafe {
        let fd = owned(abi::socket(
            domain,
            abi::SOCK_STREAM | abi::SOCK_CLOEXEC | abi::SOCK_NONBLOCK,
            0,
        ))?;
        let result = check(abi::connect(
            fd.as_raw_fd(),
            address.as_ptr().cast(),
            address.len() as u32,
        ));
        match result {
            Ok(_) => Ok((fd, true)),
            Err(error) if error.raw_os_error() == Some(abi::EINPROGRESS) => Ok((fd, false)),
            Err(error) => Err(error),
        }
    }
}

/// Starts a TCP connection; the flag says whether it is made already.
pub fn connect_tcp(address: &SocketAddr) -> io::Result<(OwnedFd, bool)> {
    let mut raw = Vec::with_capacity(28);
    let domain = match address {
        SocketAddr::V4(v4) => {
            raw.extend_from_slice(&(abi::AF_INET as u16).to_ne_bytes());
            raw.extend_from_slice(&v4.port().to_be_bytes());
            raw.extend_from_slice(&v4.ip().octets());
            raw.extend_from_slice(&[0; 8]);
            abi::AF_INET
        }
        SocketAddr::V6(v6) => {
            raw.extend_from_slice(&(abi::AF_INET6 as u16).to_ne_bytes());
            raw.extend_from_slice(&v6.port().to_be_bytes());
            raw.extend_from_slice(&0u32.to_ne_bytes());
            raw.extend_from_slice(&v6.ip().octets());
            raw.extend_from_slice(&v6.scope_id().to_ne_bytes());
            abi::AF_INET6
        }
    };
    let (fd, connected) = connect_raw(domain, &raw)?;
    let on: c_int = 1;
    // SAFETY: the value lives during the call. Refusal only costs latency.
    unsafe {
        abi::setsockopt(
            fd.as_raw_fd(),
            abi::IPPROTO_TCP,
            abi::TCP_NODELAY,
            (&on as *const c_int).cast(),
            4,
        );
    }
    Ok((fd, connected))
}

/// Connects to a Unix socket by path.
pub fn connect_unix(path: &Path) -> io::Result<OwnedFd> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > 107 {
        return Err(io::Error::from_raw_os_error(abi::ENAMETOOLONG));
    }
    let mut raw = Vec::with_capacity(110);
    raw.extend_from_slice(&(abi::AF_UNIX as u16).to_ne_bytes());
    raw.extend_from_slice(bytes);
    raw.push(0);
    connect_raw(abi::AF_UNIX, &raw).map(|(fd, _)| fd)
}

/// Tells the other side that no more bytes come.
pub fn shut_writing(fd: &impl AsRawFd) {
    // SAFETY: a plain call; a socket that is gone needs no telling.
    unsafe { abi::shutdown(fd.as_raw_fd(), abi::SHUT_WR) };
}

/// Brings the loopback interface up.
pub fn raise_loopback() -> io::Result<()> {
    #[repr(C)]
    struct InterfaceRequest {
        name: [u8; 16],
        flags: i16,
        rest: [u8; 22],
    }
    const UP: i16 = 1;
    let mut request = InterfaceRequest {
        name: [0; 16],
        flags: 0,
        rest: [0; 22],
    };
    request.name[..2].copy_from_slice(b"lo");
    // SAFETY: the request is a full `struct ifreq` (40 bytes) and lives during the calls.
    unsafe {
        let fd = owned(abi::socket(
            abi::AF_INET,
            abi::SOCK_DGRAM | abi::SOCK_CLOEXEC,
            0,
        ))?;
        check(abi::ioctl(fd.as_raw_fd(), abi::SIOCGIFFLAGS, &mut request))?;
        if request.flags & UP == 0 {
            request.flags |= UP;
            check(abi::ioctl(fd.as_raw_fd(), abi::SIOCSIFFLAGS, &mut request))?;
        }
    }
    Ok(())
}

pub fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: the string lives during the call.
    check(unsafe { abi::sethostname(name.as_ptr().cast(), name.len()) }).map(|_| ())
}
