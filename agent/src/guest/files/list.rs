//! ListDir.

use super::super::fault::Fault;
use super::super::pack::Pack;
use super::super::pool::{Job, Message, Next, StepIo};
use super::super::user::{Names, UserDatabase};
use super::entry::{encode, Batch};
use super::walk::Walk;
use std::fs;
use std::path::Path;

pub struct ListJob {
    path: String,
    depth: usize,
    walk: Option<(Walk<()>, Names)>,
    batch: Batch,
}

impl ListJob {
    pub fn new(path: String, depth: usize) -> ListJob {
        ListJob {
            path,
            depth,
            walk: None,
            batch: Batch::default(),
        }
    }
}

impl Job for ListJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let (mut walk, names) = match self.walk.take() {
            Some(state) => state,
            None => {
                let walk = Walk::begin(Path::new(&self.path), ())
                    .map_err(|error| Fault::from_io(&error, &self.path))?;
                io.out.push(Message::Reply(Pack::map(0).done()));
                (walk, UserDatabase::load().names())
            }
        };
        let mut produced = 0;
        while produced < io.budget {
            let found = match walk.next_found() {
                Some(found) => found,
                None => {
                    self.batch.send(&mut io.out);
                    io.out.push(Message::End);
                    return Ok(Next::Done);
                }
            };
            // What vanished meanwhile is not there; what may not be entered is listed only.
            if let Ok(meta) = fs::symlink_metadata(&found.path) {
                self.batch.add(&encode(&found.path, &meta, &names));
                if meta.is_dir() && walk.depth() < self.depth {
                    let _not_allowed = walk.enter(&found, false, ());
                }
            }
            if self.batch.full() {
                produced += self.batch.send(&mut io.out);
            }
        }
        self.walk = Some((walk, names));
        Ok(Next::Output)
    }
}
