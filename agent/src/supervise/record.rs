//! What the supervisor leaves in the sandbox's folder and tells its starter.

use super::os::{self, Ending};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::io::{FromRawFd, OwnedFd};

/// Holds the lock of the sandbox for as long as it lives.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock and writes `PID START-TIME` into its file; the start time
    /// is field 22 of /proc/PID/stat.
    pub fn take(path: &OsStr) -> Result<Lock, String> {
        let failed = |error: io::Error| format!("lock {:?}: {}", path, error);
        let opened = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path);
        let mut file = opened.map_err(failed)?;
        if !os::try_lock(std::os::unix::io::AsRawFd::as_raw_fd(&file)) {
            return Err("already running".into());
        }
        let line = format!("{} {}\n", std::process::id(), start_time().map_err(failed)?);
        file.set_len(0)
            .and_then(|_| file.write_all(line.as_bytes()))
            .map_err(failed)?;
        Ok(Lock { _file: file })
    }
}

fn start_time() -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may hold blanks; field 3 follows the last one.
    let fields = stat.rsplit(')').next().unwrap_or("");
    let field = fields.split_whitespace().nth(22 - 3);
    field
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The pipe to the starter: `listening`, `started PID`, `failed: REASON`.
pub struct Status {
    pipe: Option<File>,
}

impl Status {
    /// Takes over an inherited descriptor.
    pub fn new(fd: Option<i32>) -> Status {
        // SAFETY: the starter gave us this descriptor for this use only.
        let pipe = fd
            .filter(|fd| *fd > 2)
            .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }.into());
        Status { pipe }
    }

    /// A starter that is gone is no failure: the box lives on without it.
    pub fn say(&mut self, line: &str) {
        if let Some(pipe) = &mut self.pipe {
            pipe.write_all(format!("{}\n", line.replace('\n', " ")).as_bytes())
                .ok();
        }
    }

    pub fn close(&mut self) {
        self.pipe = None;
    }
}

/// How the box ended.
pub struct ExitRecord {
    /// `exited`, `stopped` (we were asked to) or `failed` (it never ran).
    pub reason: &'static str,
    pub message: String,
    pub ending: Option<Ending>,
    pub oom_kills: u64,
}

impl ExitRecord {
    /// Writes the record under its name in one step.
    pub fn write(&self, path: &OsStr) -> io::Result<()> {
        let (code, signal) = match self.ending {
            Some(Ending::Code(code)) => (code.to_string(), "null".into()),
            Some(Ending::Signal(signal)) => ("null".into(), signal.to_string()),
            None => ("null".to_string(), "null".to_string()),
        };
        let text = format!(
            "{{\"reason\":\"{}\",\"message\":{},\"code\":{},\"signal\":{},\"oomKills\":{}}}\n",
            self.reason,
            quoted(&self.message),
            code,
            signal,
            self.oom_kills
        );
        let mut draft = OsString::from(path);
        draft.push(".new");
        fs::write(&draft, text)?;
        fs::rename(&draft, path)
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            control if control < ' ' => out.push(' '),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
