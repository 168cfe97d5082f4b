//! Names in an archive: what they may be, and how errors show them.

use super::super::fault::Fault;
use super::walk::MAX_DEPTH;
use crate::sys::abi;
use std::io;

/// The names of a path in an archive; none for the root itself.
pub fn components(path: &[u8]) -> Result<Vec<&[u8]>, Fault> {
    let refused = |why: &str| {
        let shown: String = String::from_utf8_lossy(path).chars().take(200).collect();
        Fault::invalid(format!("{:?}: {}", shown, why))
    };
    if path.starts_with(b"/") {
        return Err(refused("an absolute name leads out of the tree"));
    }
    let names = path.split(|&byte| byte == b'/');
    let names: Vec<&[u8]> = names
        .filter(|name| !name.is_empty() && *name != b".")
        .collect();
    if names.iter().any(|name| *name == b"..") {
        return Err(refused("'..' leads out of the tree"));
    }
    if names.len() > MAX_DEPTH {
        return Err(refused("nested too deep"));
    }
    Ok(names)
}

pub fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(200).collect()
}

/// The fault of one entry. A symlink on the way is no directory, whatever it leads to.
pub fn named(error: &io::Error, path: &[u8]) -> Fault {
    let path = shown(path);
    match error.raw_os_error() {
        Some(abi::ENOTDIR | abi::ELOOP) => {
            let message = format!(
                "{}: a part of it is not a directory; links are not followed",
                path
            );
            Fault::new("not_a_directory", message)
        }
        _ => Fault::from_io(error, &path),
    }
}
