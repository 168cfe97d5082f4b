//! Process 1 inside a sandbox: the guest protocol of docs/protocol.md.

use std::ffi::OsString;

pub fn main(_args: Vec<OsString>) -> i32 {
    1
}
