//! GetXattrs, SetXattr and RemoveXattr.

use super::super::fault::Fault;
use super::super::pack::Pack;
use super::super::pool::{Job, Message, Next, StepIo};
use crate::sys::abi;
use crate::sys::dir::c_path;
use crate::sys::xattr::{self, Holder};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::unix::io::AsRawFd;

/// Most bytes of attributes that one answer or one entry of a tree carries, and
/// the kernel's own limit for a list of names and for a value.
pub const MAX_XATTRS: usize = 65_536;

/// All attributes whose names `wanted` takes: names and values. E2BIG beyond `MAX_XATTRS`.
pub fn read_all(
    holder: Holder,
    wanted: impl Fn(&CStr) -> bool,
) -> io::Result<Vec<(CString, Vec<u8>)>> {
    // Most files have none: then nothing is set aside for them.
    if xattr::list(holder, &mut [])? == 0 {
        return Ok(Vec::new());
    }
    let mut buffer = vec![0; MAX_XATTRS];
    let length = xattr::list(holder, &mut buffer)?;
    let names = buffer[..length].split(|&byte| byte == 0);
    let names: Vec<CString> = names
        .filter(|name| !name.is_empty())
        .map(c_path)
        .collect::<io::Result<_>>()?;
    let mut found = Vec::new();
    let mut total = 0;
    for name in names {
        if !wanted(&name) {
            continue;
        }
        match xattr::get(holder, &name, &mut buffer) {
            Ok(length) => {
                total += name.as_bytes().len() + length;
                if total > MAX_XATTRS {
                    return Err(io::Error::from_raw_os_error(abi::E2BIG));
                }
                found.push((name, buffer[..length].to_vec()));
            }
            Err(error) if error.raw_os_error() == Some(abi::ENODATA) => {} // removed meanwhile
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The attributes of a user on an open file; none where there cannot be any.
pub fn user_attributes(file: &File) -> io::Result<Vec<(CString, Vec<u8>)>> {
    let wanted = |name: &CStr| name.to_bytes().starts_with(b"user.");
    match read_all(Holder::File(file.as_raw_fd()), wanted) {
        Err(error) if error.raw_os_error() == Some(abi::EOPNOTSUPP) => Ok(Vec::new()),
        other => other,
    }
}

/// What is done with the attributes of a path.
pub enum XattrWork {
    Get,
    Set(CString, Vec<u8>),
    Remove(CString),
}

pub struct XattrJob {
    pub path: String,
    pub follow: bool,
    pub work: XattrWork,
}

impl XattrJob {
    fn run(&self) -> io::Result<Pack> {
        let path = c_path(self.path.as_bytes())?;
        let holder = match self.follow {
            true => Holder::Path(&path),
            false => Holder::Link(&path),
        };
        match &self.work {
            XattrWork::Get => {
                let found = read_all(holder, |_| true)?;
                let mut pack = Pack::map(1).key("attributes").nested(found.len());
                for (name, value) in &found {
                    pack = pack.bin(&name.to_string_lossy(), value);
                }
                Ok(pack)
            }
            XattrWork::Set(name, value) => xattr::set(holder, name, value).map(|_| Pack::map(0)),
            XattrWork::Remove(name) => xattr::remove(holder, name).map(|_| Pack::map(0)),
        }
    }
}

impl Job for XattrJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let what = match &self.work {
            XattrWork::Get => self.path.clone(),
            XattrWork::Set(name, _) | XattrWork::Remove(name) => {
                format!("{}: {}", self.path, name.to_string_lossy())
            }
        };
        let answer = self.run().map_err(|error| Fault::from_io(&error, &what))?;
        io.out.push(Message::LastReply(answer.done()));
        Ok(Next::Done)
    }
}
