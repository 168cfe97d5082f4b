//! Parameters of file methods, beside those in `methods`.

use super::super::fault::Fault;
use super::super::glob::Glob;
use super::super::params::Params;
use super::super::server::Server;
use super::super::session::Source;
use super::read_tree::ReadTreeJob;
use super::write_tree::WriteTreeJob;
use super::xattrs::{XattrJob, XattrWork, MAX_XATTRS};
use crate::sys::dir::c_path;
use std::ffi::CString;

/// Longest name of an attribute, in bytes (XATTR_NAME_MAX).
const MAX_NAME: usize = 255;
/// Most patterns of one call.
const MAX_PATTERNS: usize = 64;

/// GetXattrs, SetXattr and RemoveXattr.
pub fn xattr_job(method: &str, p: &mut Params) -> Result<XattrJob, Fault> {
    Ok(XattrJob {
        path: p.required_path("path")?,
        follow: p.flag("follow", true)?,
        work: match method {
            "GetXattrs" => XattrWork::Get,
            "SetXattr" => {
                let name = xattr_name(p)?;
                let value = Params::required("value", p.bin("value")?)?;
                if value.len() > MAX_XATTRS {
                    let message = format!("value: longer than {} bytes", MAX_XATTRS);
                    return Err(Fault::invalid(message));
                }
                XattrWork::Set(name, value)
            }
            _ => XattrWork::Remove(xattr_name(p)?),
        },
    })
}

/// ReadTree.
pub fn read_tree_job(p: &mut Params) -> Result<ReadTreeJob, Fault> {
    let path = p.required_path("path")?;
    let patterns = p.texts("exclude")?.unwrap_or_default();
    if patterns.len() > MAX_PATTERNS {
        let message = format!("exclude: more than {} patterns", MAX_PATTERNS);
        return Err(Fault::invalid(message));
    }
    let globs = patterns.iter().map(|pattern| Glob::parse(pattern));
    let globs: Result<Vec<Glob>, String> = globs.collect();
    Ok(ReadTreeJob::new(path, globs.map_err(Fault::invalid)?))
}

impl Server {
    pub fn write_tree(&mut self, source: Source, mut params: Params) -> Result<(), Fault> {
        let path = params.required_path("path")?;
        let keep_owners = params.flag("keep_owners", false)?;
        let mode = params.mode("mode")?;
        let identity = self.identity(&mut params)?;
        params.finish()?;
        if keep_owners && identity.uid != 0 {
            let message = "keep_owners: only root can give files away; name it as user";
            return Err(Fault::new("permission_denied", message));
        }
        let job = WriteTreeJob::new(path, keep_owners, mode);
        self.start_job(source, identity, Box::new(job));
        Ok(())
    }
}

fn xattr_name(p: &mut Params) -> Result<CString, Fault> {
    let name = Params::required("name", p.text("name")?)?;
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Fault::invalid("name: expected 1 to 255 bytes"));
    }
    c_path(name.as_bytes()).map_err(|error| Fault::from_io(&error, "name"))
}
