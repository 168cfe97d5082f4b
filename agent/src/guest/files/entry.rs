//! Directory entries as the protocol shows them.

use super::super::fault::Fault;
use super::super::pack::Pack;
use super::super::pool::{Job, Message, Next, StepIo};
use super::super::user::{Names, UserDatabase};
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_file() {
        "file"
    } else if kind.is_dir() {
        "directory"
    } else if kind.is_symlink() {
        "symlink"
    } else if kind.is_fifo() {
        "fifo"
    } else if kind.is_socket() {
        "socket"
    } else if kind.is_block_device() {
        "block"
    } else {
        "char"
    }
}

/// Differs after every change of content or attributes: every one of them sets the change time. Before Linux 6.13 that
/// goes by a clock of some ms, so rights count by themselves: they are often set right after a file was written.
fn version(meta: &Metadata) -> String {
    let rights = meta.mode() ^ meta.uid().rotate_left(12) ^ meta.gid().rotate_left(24);
    format!(
        "{:x}-{:x}-{:x}{:08x}-{:x}",
        meta.ino(),
        meta.size(),
        meta.ctime(),
        meta.ctime_nsec(),
        rights
    )
}

/// The entry map. Names that are not UTF-8 are shown with replacement characters.
pub fn encode(path: &Path, meta: &Metadata, names: &Names) -> Vec<u8> {
    let target = if meta.file_type().is_symlink() {
        fs::read_link(path)
            .ok()
            .map(|target| target.to_string_lossy().into_owned())
    } else {
        None
    };
    let name = path
        .file_name()
        .map_or("/".into(), |name| name.to_string_lossy());
    let mtime_ms = meta
        .mtime()
        .saturating_mul(1000)
        .saturating_add(meta.mtime_nsec() / 1_000_000);
    let pack = Pack::map(if target.is_some() { 12 } else { 11 })
        .text("path", &path.to_string_lossy())
        .text("name", &name)
        .text("type", kind(meta))
        .uint("size", meta.size())
        .uint("mode", u64::from(meta.mode() & 0o7777))
        .uint("uid", u64::from(meta.uid()))
        .uint("gid", u64::from(meta.gid()))
        .text("user", &names.user(meta.uid()))
        .text("group", &names.group(meta.gid()))
        .int("mtime_ms", mtime_ms)
        .text("version", &version(meta));
    match target {
        Some(target) => pack.text("target", &target).done(),
        None => pack.done(),
    }
}

/// `{entry}` of a path that was opened or looked at already.
pub fn reply(path: &Path, meta: &Metadata) -> Vec<u8> {
    let names = UserDatabase::load().names();
    Pack::map(1)
        .key("entry")
        .raw(&encode(path, meta, &names))
        .done()
}

/// Collects entries into events that fit the budget of a step.
#[derive(Default)]
pub struct Batch {
    entries: Vec<u8>,
    count: usize,
}

/// An event holds about this many bytes of entries: far below half a window,
/// so that credit for it always comes.
const BATCH: usize = 32_768;

impl Batch {
    pub fn add(&mut self, entry: &[u8]) {
        self.entries.extend_from_slice(entry);
        self.count += 1;
    }

    pub fn full(&self) -> bool {
        self.entries.len() >= BATCH
    }

    /// Moves what is collected into an event. Its size.
    pub fn send(&mut self, out: &mut Vec<Message>) -> usize {
        if self.count == 0 {
            return 0;
        }
        let event = Pack::map(2)
            .text("type", "entries")
            .key("entries")
            .array(self.count)
            .raw(&self.entries)
            .done();
        self.entries.clear();
        self.count = 0;
        let size = event.len();
        out.push(Message::Event(event));
        size
    }
}

/// Stat.
pub struct StatJob {
    pub path: String,
    pub follow: bool,
}

impl Job for StatJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let path = Path::new(&self.path);
        let meta = if self.follow {
            fs::metadata(path)
        } else {
            fs::symlink_metadata(path)
        };
        let meta = meta.map_err(|error| Fault::from_io(&error, &self.path))?;
        io.out.push(Message::LastReply(reply(path, &meta)));
        Ok(Next::Done)
    }
}
