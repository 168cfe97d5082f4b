//! The host-side parent of one sandbox (docs/architecture.md, "Supervisor").

use std::ffi::OsString;

pub fn main(_args: Vec<OsString>) -> i32 {
    1
}
