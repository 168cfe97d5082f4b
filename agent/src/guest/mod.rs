//! Process 1 inside a sandbox: the guest protocol of docs/protocol.md.

pub mod channel;
pub mod dial;
pub mod fault;
pub mod files;
pub mod frame;
pub mod glob;
pub mod identity;
pub mod keeper;
pub mod killer;
pub mod lifecycle;
pub mod link;
pub mod methods;
pub mod msgpack;
pub mod options;
pub mod output_log;
pub mod pack;
pub mod params;
pub mod pool;
pub mod ports;
pub mod process_limits;
pub mod process_spec;
pub mod receive;
pub mod regex;
pub mod search;
pub mod seccomp;
pub mod seccomp_table;
pub mod server;
pub mod session;
pub mod session_io;
pub mod sha256;
pub mod sha256_blocks;
pub mod shutdown;
pub mod signals;
pub mod spool;
pub mod startup;
pub mod stats;
pub mod tar;
pub mod timers;
pub mod tree;
pub mod uploads;
pub mod user;
pub mod wait;
pub mod watch;

use std::ffi::OsString;

/// Serves until shut down. Exit codes: 0 after a shutdown, 2 for a bad command
/// line, 3 when there is nothing to listen on, 4 when the filter cannot be had.
pub fn main(args: Vec<OsString>) -> i32 {
    let options = match options::Options::parse(args) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("caisson-agent: {}", message);
            return 2;
        }
    };
    let (setup, listener) = match startup::start(options) {
        Ok(started) => started,
        Err(startup::StartError(code, message)) => {
            eprintln!("caisson-agent: {}", message);
            return code;
        }
    };
    match server::Server::new(setup, listener) {
        Ok(mut server) => server.run(),
        Err(error) => {
            eprintln!("caisson-agent: cannot start: {}", error);
            3
        }
    }
}
