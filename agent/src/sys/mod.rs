//! System calls the standard library does not offer. `process` and `net` serve
//! the guest agent, `mount` the supervisor.

pub mod abi;
pub mod dir;
pub mod fd;
pub mod inotify;
pub mod memory;
pub mod mount;
pub mod net;
pub mod process;
pub mod pty;
pub mod xattr;
