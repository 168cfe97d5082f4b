//! Parameters of file methods, beside those in `methods`.

use super::super::fault::Fault;
use super::super::params::Params;
use super::xattrs::{XattrJob, XattrWork, MAX_XATTRS};
use crate::sys::dir::c_path;
use std::ffi::CString;

/// Longest name of an attribute, in bytes (XATTR_NAME_MAX).
const MAX_NAME: usize = 255;

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

fn xattr_name(p: &mut Params) -> Result<CString, Fault> {
    let name = Params::required("name", p.text("name")?)?;
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Fault::invalid("name: expected 1 to 255 bytes"));
    }
    c_path(name.as_bytes()).map_err(|error| Fault::from_io(&error, "name"))
}
