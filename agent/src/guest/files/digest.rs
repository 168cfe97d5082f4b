//! Digest: the SHA-256 of a whole file, read in pieces so that others get the
//! thread between them.

use super::super::fault::Fault;
use super::super::pack::Pack;
use super::super::pool::{Job, Message, Next, StepIo};
use super::super::sha256::Sha256;
use super::super::user::UserDatabase;
use super::{entry, read};
use crate::sys::fd;
use std::fs::File;
use std::path::Path;

/// Bytes read at once, and in one step.
const PIECE: usize = 262_144;
const STEP: usize = 8 * 1_048_576;

pub struct DigestJob {
    path: String,
    hash: Sha256,
    /// The open file and its entry from before the reading.
    open: Option<(File, Vec<u8>)>,
}

impl DigestJob {
    pub fn new(path: String) -> DigestJob {
        DigestJob {
            path,
            hash: Sha256::default(),
            open: None,
        }
    }

    fn open(&self) -> Result<(File, Vec<u8>), Fault> {
        let (file, meta) = read::open_regular(&self.path)?;
        let names = UserDatabase::load().names();
        let entry = entry::encode(Path::new(&self.path), &meta, &names);
        Ok((file, entry))
    }
}

impl Job for DigestJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let (file, entry) = match self.open.take() {
            Some(open) => open,
            None => self.open()?,
        };
        let mut buffer = vec![0; PIECE];
        let mut done = 0;
        while done < STEP {
            let got = match fd::read(&file, &mut buffer) {
                Ok(got) => got,
                Err(error) if fd::interrupted(&error) => continue,
                Err(error) => return Err(Fault::from_io(&error, &self.path)),
            };
            if got == 0 {
                let hash = std::mem::take(&mut self.hash);
                let reply = Pack::map(2).key("entry").raw(&entry);
                let reply = reply.text("sha256", &hash.hex()).done();
                io.out.push(Message::LastReply(reply));
                return Ok(Next::Done);
            }
            self.hash.update(&buffer[..got]);
            done += got;
        }
        self.open = Some((file, entry));
        Ok(Next::Output)
    }
}
