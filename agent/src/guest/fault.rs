//! What a failed call answers: a code of the protocol's table and a sentence.

use super::pack::Pack;
use crate::sys::abi;
use std::io;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: &'static str,
    pub message: String,
    /// Numbers by name that the caller may act on.
    pub detail: Vec<(&'static str, u64)>,
}

impl Fault {
    pub fn new(code: &'static str, message: impl Into<String>) -> Fault {
        Fault {
            code,
            message: message.into(),
            detail: Vec::new(),
        }
    }

    /// The same with a number that the caller may act on.
    pub fn with(mut self, name: &'static str, number: u64) -> Fault {
        self.detail.push((name, number));
        self
    }

    pub fn invalid(message: impl Into<String>) -> Fault {
        Fault::new("invalid_argument", message)
    }

    /// The code for a failed system call; `what` names the thing it was about.
    pub fn from_io(error: &io::Error, what: &str) -> Fault {
        let code = match error.raw_os_error().unwrap_or(0) {
            abi::ENOENT | abi::ENODATA => "not_found",
            abi::EEXIST => "already_exists",
            abi::EACCES | abi::EPERM | abi::EROFS => "permission_denied",
            abi::ENOTDIR => "not_a_directory",
            abi::EISDIR => "is_a_directory",
            abi::ENOTEMPTY => "not_empty",
            abi::ESRCH => "no_such_process",
            abi::ENOSPC | abi::EDQUOT | abi::EFBIG => "no_space",
            abi::EAGAIN | abi::ENOMEM | abi::EMFILE | abi::ENFILE | abi::ENOBUFS => {
                "resource_exhausted"
            }
            abi::ECONNREFUSED | abi::ENETUNREACH | abi::EHOSTUNREACH | abi::ETIMEDOUT => {
                "connection_refused"
            }
            abi::EINVAL | abi::ENAMETOOLONG | abi::ELOOP | abi::ERANGE | abi::E2BIG => {
                "invalid_argument"
            }
            abi::EOPNOTSUPP | abi::ENOSYS | abi::EXDEV | abi::EAFNOSUPPORT => "unsupported",
            _ => "io_error",
        };
        Fault::new(code, format!("{}: {}", what, error))
    }

    pub fn encode(&self) -> Vec<u8> {
        let fields = if self.detail.is_empty() { 2 } else { 3 };
        let mut pack = Pack::map(fields)
            .text("code", self.code)
            .text("message", &self.message);
        if fields == 3 {
            pack = pack.key("detail").nested(self.detail.len());
            for (name, number) in &self.detail {
                pack = pack.uint(name, *number);
            }
        }
        pack.done()
    }
}
