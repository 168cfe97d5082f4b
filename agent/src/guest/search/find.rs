//! Search: every match with its line, in batches.

use super::super::fault::Fault;
use super::super::pack::Pack;
use super::super::pool::{Job, Message, Next, StepIo};
use super::super::regex::{letter_at, Machine, Slots};
use super::lines::{Lines, Piece};
use super::select::{Chosen, Select};
use super::{cost, Request, FUEL, TURN};
use std::path::PathBuf;

/// Most bytes of a line that are shown with a match.
const SHOWN: usize = 1024;
/// An event holds about this many bytes of matches.
const BATCH: usize = 32_768;

/// What a search or replacement went through.
#[derive(Default)]
pub struct Summary {
    pub files: u64,
    pub skipped: u64,
}

impl Summary {
    /// Opens a file to look through it. None, and counted, when it is to be skipped.
    pub fn open(&mut self, request: &Request, chosen: &Chosen, flags: i32) -> Option<Lines> {
        let opened = chosen.open(flags).and_then(|file| {
            let meta = file.metadata()?;
            if !meta.is_file() || meta.len() > request.max_file_bytes {
                return Ok(None);
            }
            let mut lines = Lines::new(file, request.max_file_bytes);
            let binary = lines.is_binary()?;
            Ok((!binary).then_some(lines))
        });
        match opened {
            Ok(Some(lines)) => {
                self.files += 1;
                Some(lines)
            }
            Ok(None) | Err(_) => {
                self.skipped += 1;
                None
            }
        }
    }

    /// The file turned out not to be one to look through.
    pub fn give_up(&mut self) {
        self.files -= 1;
        self.skipped += 1;
    }

    pub fn send(&self, unreadable: u64, out: &mut Vec<Message>) {
        let event = Pack::map(3)
            .text("type", "summary")
            .uint("files", self.files)
            .uint("skipped", self.skipped + unreadable);
        out.push(Message::Event(event.done()));
        out.push(Message::End);
    }
}

/// A list of results under construction.
pub struct Batch {
    kind: &'static str,
    list: &'static str,
    items: Vec<u8>,
    count: usize,
}

impl Batch {
    pub fn new(kind: &'static str, list: &'static str) -> Batch {
        Batch {
            kind,
            list,
            items: Vec::new(),
            count: 0,
        }
    }

    pub fn add(&mut self, item: &[u8]) {
        self.items.extend_from_slice(item);
        self.count += 1;
    }

    pub fn is_full(&self) -> bool {
        self.items.len() >= BATCH
    }

    /// Moves what is collected into an event. Its size.
    pub fn send(&mut self, out: &mut Vec<Message>) -> usize {
        if self.count == 0 {
            return 0;
        }
        let event = Pack::map(2)
            .text("type", self.kind)
            .key(self.list)
            .array(self.count)
            .raw(&self.items)
            .done();
        self.items.clear();
        self.count = 0;
        let size = event.len();
        out.push(Message::Event(event));
        size
    }
}

/// Where to look for the next match in a text, after one that was found. Past
/// the end when there can be none.
pub fn after(text: &[u8], slots: &Slots) -> usize {
    match slots[0] == slots[1] {
        // An empty match is there once.
        true => slots[1] + letter_at(text, slots[1]).1.max(1),
        false => slots[1],
    }
}

/// A file that is being looked through.
struct Open {
    lines: Lines,
    path: PathBuf,
    /// A piece with more to find in it, from here on.
    within: Option<(Piece, usize)>,
}

pub struct SearchJob {
    request: Request,
    limit: u64,
    found: u64,
    summary: Summary,
    batch: Batch,
    select: Option<Select>,
    open: Option<Open>,
}

/// How looking through a file went on.
enum Went {
    /// A result may be sent before it goes on.
    On,
    Done,
    /// The limit cut it.
    Cut,
    Failed,
}

impl SearchJob {
    pub fn new(request: Request, limit: u64) -> SearchJob {
        SearchJob {
            request,
            limit,
            found: 0,
            summary: Summary::default(),
            batch: Batch::new("matches", "matches"),
            select: None,
            open: None,
        }
    }

    fn finish(&mut self, io: &mut StepIo, cut: bool, unreadable: u64) -> Next {
        self.batch.send(&mut io.out);
        if cut {
            let event = Pack::map(1).text("type", "truncated").done();
            io.out.push(Message::Event(event));
        }
        self.summary.send(unreadable, &mut io.out);
        Next::Done
    }

    /// Looks through lines until a batch is full or the turn is over.
    fn look(&mut self, open: &mut Open, turn: &mut usize) -> Went {
        let program = &self.request.program;
        let mut machine = Machine::new(program, FUEL);
        while *turn < TURN {
            let (piece, mut at) = match open.within.take() {
                Some(within) => within,
                None => {
                    let before = open.lines.read();
                    let piece = open.lines.next(&program.needle);
                    *turn += (open.lines.read() - before) as usize;
                    match piece {
                        Ok(Some(piece)) => (piece, 0),
                        Ok(None) => return Went::Done,
                        Err(_) => return Went::Failed,
                    }
                }
            };
            let text = open.lines.text(piece);
            *turn += 64 + text.bytes.len() / 8;
            machine.fuel = FUEL;
            while at <= text.bytes.len() {
                let slots = match machine.find(text, at) {
                    Ok(Some(slots)) => slots,
                    Ok(None) => break,
                    Err(_) => {
                        *turn += TURN;
                        return Went::Failed;
                    }
                };
                if self.found >= self.limit {
                    return Went::Cut;
                }
                self.found += 1;
                let offset = open.lines.offset(piece);
                let item = describe(open, text.bytes, &slots, offset);
                self.batch.add(&item);
                at = after(text.bytes, &slots);
                if self.batch.is_full() {
                    *turn += cost(&machine);
                    open.within = Some((piece, at));
                    return Went::On;
                }
            }
            *turn += cost(&machine);
            open.lines.done(piece);
        }
        Went::On
    }
}

fn describe(open: &Open, line: &[u8], slots: &Slots, offset: u64) -> Vec<u8> {
    let (from, to) = (slots[0], slots[1]);
    // The match in the middle, cut where it alone is too long.
    let around = SHOWN.saturating_sub(to - from) / 2;
    let mut first = from.saturating_sub(around);
    let mut last = line.len().min(first + SHOWN);
    first = first.min(last.saturating_sub(SHOWN));
    let inside = |at: usize| line.get(at).map_or(false, |byte| byte & 0xc0 == 0x80);
    while first < from && inside(first) {
        first += 1;
    }
    while last > first && last < line.len() && inside(last) {
        last -= 1;
    }
    let shown = |from: usize, to: usize| {
        let bytes = line.get(from..to.min(last).max(from)).unwrap_or(&[]);
        String::from_utf8_lossy(bytes).into_owned()
    };
    let mut text = shown(first, from);
    let start = text.len();
    text.push_str(&shown(from, to));
    let end = text.len();
    text.push_str(&shown(to, last));
    Pack::map(6)
        .text("path", &open.path.to_string_lossy())
        .uint("line", open.lines.line)
        .uint("offset", offset + from as u64)
        .text("text", &text)
        .uint("start", start as u64)
        .uint("end", end as u64)
        .done()
}

impl Job for SearchJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let mut select = match self.select.take() {
            Some(select) => select,
            None => {
                let select = Select::begin(&self.request)?;
                io.out.push(Message::Reply(Pack::map(0).done()));
                if let Some(chosen) = select.single() {
                    self.begin(&chosen);
                }
                select
            }
        };
        let (mut produced, mut turn) = (0, 0);
        while produced < io.budget && turn < TURN {
            if let Some(mut open) = self.open.take() {
                match self.look(&mut open, &mut turn) {
                    Went::On => self.open = Some(open),
                    Went::Done => {}
                    Went::Cut => return Ok(self.finish(io, true, select.unreadable)),
                    Went::Failed => self.summary.give_up(),
                }
            } else {
                turn += 4096;
                match select.next(&self.request) {
                    Some(Some(chosen)) => self.begin(&chosen),
                    Some(None) => {}
                    None => return Ok(self.finish(io, false, select.unreadable)),
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

impl SearchJob {
    fn begin(&mut self, chosen: &Chosen) {
        let lines = self.summary.open(&self.request, chosen, 0);
        self.open = lines.map(|lines| Open {
            lines,
            path: chosen.path.clone(),
            within: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::regex::compile;
    use super::super::DEFAULT_FILE_BYTES;
    use super::*;

    #[test]
    fn lines_that_are_slow_to_match_end_a_step() {
        let line = [&[b'b'; 4000][..], b"\n"].concat();
        let name = format!("caisson-search-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, line.repeat(40)).expect("write");
        let request = Request {
            path: path.to_string_lossy().into_owned(),
            program: compile("(?:a|b)*[^a]{200}[xy]", false).expect("pattern"),
            include: Vec::new(),
            exclude: Vec::new(),
            max_file_bytes: DEFAULT_FILE_BYTES,
            plain: false,
        };
        let mut job = SearchJob::new(request, 10);
        let mut io = StepIo {
            budget: 1 << 20,
            ..StepIo::default()
        };
        assert!(matches!(job.step(&mut io), Ok(Next::Output)));
        std::fs::remove_file(&path).expect("remove");
    }
}
