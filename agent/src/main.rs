//! One static binary, two roles: process 1 inside a sandbox (`guest`) and the
//! host-side parent of one sandbox (`supervise`).

mod guest;
mod supervise;
mod sys;

fn main() {
    let mut args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let role = if args.is_empty() {
        None
    } else {
        Some(args.remove(0))
    };
    let code = match role.as_deref().and_then(|role| role.to_str()) {
        Some("guest") => guest::main(args),
        Some("supervise") => supervise::main(args),
        Some("--version") => {
            println!("caisson-agent {}", env!("CARGO_PKG_VERSION"));
            0
        }
        _ => {
            eprintln!("usage: caisson-agent guest|supervise [options] (docs/protocol.md)");
            2
        }
    };
    std::process::exit(code);
}
