//! Replace: files with matches are rewritten beside themselves and put in
//! place by rename, so that each is the old or the new one, whole.

use super::super::fault::Fault;
use super::super::files::hidden::HiddenFile;
use super::super::pack::Pack;
use super::super::pool::{Job, Message, Next, StepIo};
use super::super::regex::Machine;
use super::find::{after, Batch, Summary};
use super::lines::Lines;
use super::select::{Chosen, Select};
use super::template::Template;
use super::{cost, Request, FUEL, TURN};
use crate::sys::abi;
use crate::sys::dir::{c_path, open_at};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

/// The new form of a file, until it is in place.
struct Draft(io::BufWriter<HiddenFile>);

impl Draft {
    fn new(chosen: &Chosen) -> io::Result<Draft> {
        let flags = abi::O_PATH | abi::O_DIRECTORY;
        let folder = open_at(chosen.folder, &c_path(b".")?, flags, 0)?;
        let hidden = HiddenFile::within(folder, chosen.name.clone())?;
        Ok(Draft(io::BufWriter::with_capacity(65_536, hidden)))
    }

    /// Gives it the attributes of the file it replaces, and its name.
    fn put(mut self, old: &File) -> io::Result<()> {
        self.0.flush()?;
        let hidden = self.0.get_mut();
        hidden.take_attributes(old)?;
        hidden.put_in_place(None).map(|_| ())
    }
}

/// A file that is being looked through, then rewritten.
struct Open {
    chosen: Chosen,
    lines: Lines,
    /// The second time; the file as it was opened for that.
    draft: Option<(Draft, File)>,
    count: u64,
}

pub struct ReplaceJob {
    request: Request,
    template: Template,
    dry_run: bool,
    summary: Summary,
    batch: Batch,
    select: Option<Select>,
    open: Option<Open>,
}

enum Went {
    On,
    /// There is nothing more in it.
    Done,
    /// There is something to replace.
    Found,
    /// It cannot be read or takes too long.
    Failed,
}

impl ReplaceJob {
    pub fn new(request: Request, template: Template, dry_run: bool) -> ReplaceJob {
        ReplaceJob {
            request,
            template,
            dry_run,
            summary: Summary::default(),
            batch: Batch::new("replaced", "files"),
            select: None,
            open: None,
        }
    }

    fn begin(&mut self, chosen: Chosen) {
        // What may not be written is not replaced either.
        let flags = if self.dry_run { 0 } else { abi::O_RDWR };
        if let Some(lines) = self.summary.open(&self.request, &chosen, flags) {
            self.open = Some(Open {
                chosen,
                lines,
                draft: None,
                count: 0,
            });
        }
    }

    /// Goes through lines until the turn is over.
    fn look(&self, open: &mut Open, turn: &mut usize) -> io::Result<Went> {
        let program = &self.request.program;
        let mut machine = Machine::new(program, FUEL);
        let mut new = Vec::new();
        while *turn < TURN {
            // Every line is written, but only some must be looked at.
            let needle = match open.draft {
                Some(_) => &[],
                None => &program.needle[..],
            };
            let before = open.lines.read();
            let piece = match open.lines.next(needle)? {
                Some(piece) => piece,
                None => return Ok(Went::Done),
            };
            let text = open.lines.text(piece);
            *turn += (open.lines.read() - before) as usize + 64 + text.bytes.len() / 8;
            machine.fuel = FUEL;
            let (mut at, mut written) = (0, 0);
            while at <= text.bytes.len() {
                let slots = match machine.find(text, at) {
                    Ok(Some(slots)) => slots,
                    Ok(None) => break,
                    Err(_) => {
                        *turn += TURN;
                        return Ok(Went::Failed);
                    }
                };
                open.count += 1;
                if let Some((draft, _)) = &mut open.draft {
                    new.clear();
                    new.extend_from_slice(text.bytes.get(written..slots[0]).unwrap_or(&[]));
                    self.template.expand(text.bytes, &slots, &mut new);
                    draft.0.write_all(&new)?;
                    written = slots[1];
                } else if !self.dry_run {
                    return Ok(Went::Found);
                }
                at = after(text.bytes, &slots);
            }
            if let Some((draft, _)) = &mut open.draft {
                draft
                    .0
                    .write_all(text.bytes.get(written..).unwrap_or(&[]))?;
                draft.0.write_all(open.lines.rest(piece))?;
            }
            *turn += cost(&machine);
            open.lines.done(piece);
        }
        Ok(Went::On)
    }

    /// From the first match on: the whole file once more, into a draft.
    fn rewrite(&mut self, open: Open) -> io::Result<()> {
        let file = open.chosen.open(abi::O_RDWR)?;
        if !file.metadata()?.is_file() {
            self.summary.give_up();
            return Ok(());
        }
        let lines = Lines::new(file.try_clone()?, self.request.max_file_bytes);
        let draft = Draft::new(&open.chosen)?;
        self.open = Some(Open {
            chosen: open.chosen,
            lines,
            draft: Some((draft, file)),
            count: 0,
        });
        Ok(())
    }

    fn finish_file(&mut self, open: Open) -> io::Result<()> {
        let Open {
            chosen,
            draft,
            count,
            lines,
        } = open;
        if count == 0 {
            return Ok(()); // or it has changed meanwhile
        }
        if let Some((draft, old)) = draft {
            if lines.read() != old.metadata()?.len() {
                // Someone writes to it: what it has now must not be lost.
                self.summary.give_up();
                return Ok(());
            }
            draft.put(&old)?;
        }
        let item = Pack::map(2)
            .text("path", &chosen.path.to_string_lossy())
            .uint("count", count);
        self.batch.add(&item.done());
        Ok(())
    }

    /// Goes on with the file that is open.
    fn advance(&mut self, mut open: Open, turn: &mut usize) -> Result<(), Fault> {
        let path: PathBuf = open.chosen.path.clone();
        let fault = |error: io::Error| Fault::from_io(&error, &path.to_string_lossy());
        let writing = open.draft.is_some();
        match self.look(&mut open, turn) {
            Ok(Went::On) => self.open = Some(open),
            Ok(Went::Done) => self.finish_file(open).map_err(fault)?,
            Ok(Went::Found) => self.rewrite(open).map_err(fault)?,
            Ok(Went::Failed) => self.summary.give_up(),
            Err(error) if writing => return Err(fault(error)),
            Err(_) => self.summary.give_up(),
        }
        Ok(())
    }
}

impl Job for ReplaceJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let mut select = match self.select.take() {
            Some(select) => select,
            None => {
                let select = Select::begin(&self.request)?;
                io.out.push(Message::Reply(Pack::map(0).done()));
                if let Some(chosen) = select.single() {
                    self.begin(chosen);
                }
                select
            }
        };
        let (mut produced, mut turn) = (0, 0);
        while produced < io.budget && turn < TURN {
            if let Some(open) = self.open.take() {
                if let Err(fault) = self.advance(open, &mut turn) {
                    // What was done is told before why it does not go on.
                    self.batch.send(&mut io.out);
                    return Err(fault);
                }
            } else {
                turn += 4096;
                match select.next(&self.request) {
                    Some(Some(chosen)) => self.begin(chosen),
                    Some(None) => {}
                    None => {
                        self.batch.send(&mut io.out);
                        self.summary.send(select.unreadable, &mut io.out);
                        return Ok(Next::Done);
                    }
                }
            }
            if self.batch.is_full() {
                produced += self.batch.send(&mut io.out);
            }
        }
        self.batch.send(&mut io.out);
        self.select = Some(select);
        Ok(Next::Output)
    }
}
