//! Glob: one walk that follows all readings of the pattern at once, so every
//! path is seen once.

use super::super::fault::Fault;
use super::super::glob::Glob;
use super::super::pack::Pack;
use super::super::pool::{Job, Message, Next, StepIo};
use super::super::user::{Names, UserDatabase};
use super::entry::{encode, Batch};
use super::walk::Walk;
use crate::sys::dir::Kind;
use std::fs;
use std::path::PathBuf;

/// Entries looked at in one step before others get the thread.
const TURN: usize = 4096;

pub struct GlobJob {
    glob: Glob,
    base: PathBuf,
    limit: u64,
    found: u64,
    walk: Option<(Walk<u64>, Names)>,
    batch: Batch,
}

impl GlobJob {
    /// `base` is where a relative pattern begins.
    pub fn new(pattern: &str, cwd: &str, limit: u64) -> Result<GlobJob, Fault> {
        let mut glob = Glob::parse(pattern).map_err(Fault::invalid)?;
        let mut base = PathBuf::from(if pattern.starts_with('/') { "/" } else { cwd });
        base.extend(glob.take_literal_prefix());
        Ok(GlobJob {
            glob,
            base,
            limit,
            found: 0,
            walk: None,
            batch: Batch::default(),
        })
    }

    fn finish(&mut self, io: &mut StepIo, truncated: bool) -> Next {
        self.batch.send(&mut io.out);
        if truncated {
            io.out.push(Message::Event(
                Pack::map(1).text("type", "truncated").done(),
            ));
        }
        io.out.push(Message::End);
        Next::Done
    }

    fn begin(&mut self, io: &mut StepIo) -> Option<(Walk<u64>, Names)> {
        io.out.push(Message::Reply(Pack::map(0).done()));
        let names = UserDatabase::load().names();
        if self.glob.is_complete() {
            // A pattern without wildcards names one path.
            if let Ok(meta) = fs::symlink_metadata(&self.base) {
                self.batch.add(&encode(&self.base, &meta, &names));
            }
            return None;
        }
        // A base that is not there matches nothing, as in a shell.
        Walk::begin(&self.base, self.glob.start())
            .ok()
            .map(|walk| (walk, names))
    }
}

impl Job for GlobJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let state = match self.walk.take() {
            Some(state) => Some(state),
            None => self.begin(io),
        };
        let (mut walk, names) = match state {
            Some(state) => state,
            None => return Ok(self.finish(io, false)),
        };
        let (mut produced, mut turn) = (0, 0);
        while produced < io.budget && turn < TURN {
            turn += 1;
            let found = match walk.next_found() {
                Some(found) => found,
                None => return Ok(self.finish(io, false)),
            };
            let states = walk.note().copied().unwrap_or(0);
            let name = String::from_utf8_lossy(found.name.to_bytes()).into_owned();
            let step = self.glob.advance(states, &name);
            if self.glob.accepts(step.all()) && !self.glob.only_directories(&found) {
                if self.found >= self.limit {
                    return Ok(self.finish(io, true));
                }
                if let Ok(meta) = fs::symlink_metadata(&found.path) {
                    self.found += 1;
                    self.batch.add(&encode(&found.path, &meta, &names));
                }
            }
            // `**` does not go through symlinks; a part of the pattern that names one does.
            let inside = match found.kind {
                Kind::Symlink => self.glob.needs_more(step.matched),
                _ => self.glob.needs_more(step.all()),
            };
            if inside != 0 {
                let follow = found.kind == Kind::Symlink;
                if follow || found.is_dir() {
                    let _not_a_directory_or_not_allowed = walk.enter(&found, follow, inside);
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
