//! ReadFile.

use super::super::fault::Fault;
use super::super::output_log::CHUNK;
use super::super::pool::{Job, Message, Next, StepIo};
use super::entry;
use crate::sys::abi::O_NONBLOCK;
use crate::sys::fd;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub struct ReadJob {
    path: String,
    offset: u64,
    /// Bytes still wanted.
    left: u64,
    file: Option<File>,
}

/// Opens a regular file for reading; anything else is refused.
pub fn open_regular(path: &str) -> Result<(File, Metadata), Fault> {
    let fault = |error| Fault::from_io(&error, path);
    // O_NONBLOCK: opening a pipe must not wait for its writer.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path);
    let file = opened.map_err(fault)?;
    let meta = file.metadata().map_err(fault)?;
    if meta.is_dir() {
        let message = format!("{}: is a directory", path);
        return Err(Fault::new("is_a_directory", message));
    }
    if !meta.is_file() {
        return Err(Fault::invalid(format!("{}: not a regular file", path)));
    }
    Ok((file, meta))
}

impl ReadJob {
    pub fn new(path: String, offset: u64, length: Option<u64>) -> ReadJob {
        ReadJob {
            path,
            offset,
            left: length.unwrap_or(u64::MAX),
            file: None,
        }
    }

    fn open(&self, io: &mut StepIo) -> Result<File, Fault> {
        let (mut file, meta) = open_regular(&self.path)?;
        if self.offset > 0 {
            file.seek(SeekFrom::Start(self.offset))
                .map_err(|error| Fault::from_io(&error, &self.path))?;
        }
        io.out
            .push(Message::Reply(entry::reply(Path::new(&self.path), &meta)));
        Ok(file)
    }
}

impl Job for ReadJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open(io)?,
        };
        let mut want = (io.budget as u64).min(self.left) as usize;
        let mut ended = want == 0;
        // In pieces of one frame each, so that none is cut up again.
        while want > 0 && !ended {
            let full = want.min(CHUNK);
            let mut bytes = Vec::with_capacity(full);
            while bytes.len() < full && !ended {
                let most = full - bytes.len();
                match fd::read_spare(&file, &mut bytes, most) {
                    Ok(0) => ended = true,
                    Ok(_) => {}
                    Err(error) if fd::interrupted(&error) => {}
                    Err(error) => return Err(Fault::from_io(&error, &self.path)),
                }
            }
            want -= bytes.len();
            self.left -= bytes.len() as u64;
            if !bytes.is_empty() {
                io.out.push(Message::Data(bytes));
            }
        }
        ended |= self.left == 0;
        if ended {
            io.out.push(Message::End);
            return Ok(Next::Done);
        }
        self.file = Some(file);
        Ok(Next::Output)
    }
}
