//! Reading a tar stream that may be cut anywhere and may be hostile, with
//! bounded memory: contents pass through, only headers are kept.

use super::header::{self, number};
use super::pax::Pax;
use super::{padding, Entry, Kind, BLOCK};

/// Largest extended header, and longest GNU long name, in bytes.
const MAX_EXTENDED: u64 = 1_048_576;
const MAX_LONG_NAME: u64 = 65_536;

/// What comes next in the stream. An entry is followed by its data and its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Entry(Box<Entry>),
    Data(&'a [u8]),
    EntryEnd,
}

#[derive(Clone, Copy)]
enum State {
    Header,
    /// An extended header or a long name, of this type.
    Extended(u8, u64),
    Content(u64),
    Padding(usize),
    /// Behind the last entry.
    End,
}

pub struct TarReader {
    state: State,
    /// A header or an extended header that is not complete.
    held: Vec<u8>,
    /// Padding behind what is being read.
    padding: usize,
    global: Pax,
    local: Pax,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    begun: bool,
}

impl Default for TarReader {
    fn default() -> TarReader {
        TarReader {
            state: State::Header,
            held: Vec::new(),
            padding: 0,
            global: Pax::default(),
            local: Pax::default(),
            long_name: None,
            long_link: None,
            begun: false,
        }
    }
}

impl TarReader {
    /// The next event in `input`, which is moved on; None when more is needed.
    pub fn next_event<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, String> {
        loop {
            match self.state {
                State::Header => {
                    if !self.collect(input, BLOCK) {
                        return Ok(None);
                    }
                    let held = std::mem::take(&mut self.held);
                    if let Some(entry) = self.header(&held)? {
                        return Ok(Some(Event::Entry(Box::new(entry))));
                    }
                }
                State::Extended(kind, size) => {
                    if !self.collect(input, size as usize) {
                        return Ok(None);
                    }
                    let held = std::mem::take(&mut self.held);
                    self.extended(kind, &held)?;
                    self.state = State::Padding(self.padding);
                }
                State::Content(0) => {
                    self.state = State::Padding(self.padding);
                    return Ok(Some(Event::EntryEnd));
                }
                State::Content(left) => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let most = left.min(input.len() as u64);
                    self.state = State::Content(left - most);
                    return Ok(Some(Event::Data(split(input, most as usize))));
                }
                State::Padding(0) => self.state = State::Header,
                State::Padding(left) => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let skipped = split(input, left.min(input.len())).len();
                    self.state = State::Padding(left - skipped);
                }
                State::End => {
                    let rest = split(input, input.len());
                    if rest.iter().any(|&byte| byte != 0) {
                        return Err("something follows the end of the archive".into());
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Whether the stream may end here.
    pub fn finish(&self) -> Result<(), String> {
        match self.state {
            State::End => Ok(()),
            _ => Err("the stream ends before the archive does".into()),
        }
    }

    /// Moves bytes to `held` until it has `size` of them.
    fn collect(&mut self, input: &mut &[u8], size: usize) -> bool {
        let wanted = size.saturating_sub(self.held.len());
        let taken = split(input, wanted.min(input.len()));
        self.held.extend_from_slice(taken);
        self.held.len() >= size
    }

    fn header(&mut self, bytes: &[u8]) -> Result<Option<Entry>, String> {
        let block: &[u8; BLOCK] = bytes.try_into().map_err(|_| "a header of another size")?;
        if block.iter().all(|&byte| byte == 0) {
            self.state = State::End;
            return Ok(None);
        }
        self.check(block)?;
        self.begun = true;
        let size = |most: u64, what: &str| {
            let size = number(&block[header::SIZE]).and_then(|size| u64::try_from(size).ok());
            match size {
                Some(size) if size <= most => Ok(size),
                _ => Err(format!("a bad size of {}", what)),
            }
        };
        let kind = block[header::TYPE];
        if let b'x' | b'g' | b'L' | b'K' = kind {
            let size = match kind {
                b'x' | b'g' => size(MAX_EXTENDED, "an extended header"),
                _ => size(MAX_LONG_NAME, "a long name"),
            }?;
            self.padding = padding(size);
            self.state = State::Extended(kind, size);
            return Ok(None);
        }
        let mut entry = self.entry(block)?;
        if entry.kind == Kind::File {
            entry.size = match self.local.size {
                Some(size) => size,
                None => size(i64::MAX as u64, "a file")?,
            };
        }
        self.local = Pax::default();
        self.padding = padding(entry.size);
        self.state = State::Content(entry.size);
        Ok(Some(entry))
    }

    fn check(&self, block: &[u8; BLOCK]) -> Result<(), String> {
        let told = number(&block[header::CHECKSUM]);
        // Some old programs summed signed bytes.
        let high = block.iter().filter(|&&byte| byte >= 0x80).count() as i64;
        let sum = i64::from(header::checksum(block));
        if told == Some(sum) || told == Some(sum - 256 * high) {
            return Ok(());
        }
        let compressed = [&b"\x1f\x8b"[..], b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"];
        if !self.begun && compressed.iter().any(|magic| block.starts_with(magic)) {
            return Err("the stream is compressed; send a plain tar archive".into());
        }
        Err("not a tar archive, or a damaged one".into())
    }

    fn extended(&mut self, kind: u8, bytes: &[u8]) -> Result<(), String> {
        match kind {
            b'x' => self.local.read(bytes)?,
            b'g' => {
                // What can be meant for all that follows: who, and when.
                let mut said = Pax::default();
                said.read(bytes)?;
                self.global.uid = said.uid.or(self.global.uid);
                self.global.gid = said.gid.or(self.global.gid);
                self.global.mtime = said.mtime.or(self.global.mtime);
            }
            b'L' => self.long_name = Some(header::text(bytes).to_vec()),
            _ => self.long_link = Some(header::text(bytes).to_vec()),
        }
        Ok(())
    }

    /// The entry of a plain header and what was said before it; its size is left open.
    fn entry(&mut self, block: &[u8; BLOCK]) -> Result<Entry, String> {
        let (local, global) = (&self.local, &self.global);
        let mut path = header::text(&block[header::NAME]).to_vec();
        let prefix = header::text(&block[header::PREFIX]);
        if &block[header::MAGIC] == header::USTAR && !prefix.is_empty() {
            path = [prefix, b"/", &path].concat();
        }
        let said = local.path.clone().or_else(|| self.long_name.take());
        let path = said.unwrap_or(path);
        let link = local.link.clone().or_else(|| self.long_link.take());
        let link = link.unwrap_or_else(|| header::text(&block[header::LINK]).to_vec());
        self.long_name = None;
        self.long_link = None;
        let shown = || String::from_utf8_lossy(&path).into_owned();
        if path.contains(&0) || link.contains(&0) {
            return Err(format!("{:?}: a name with a NUL", shown()));
        }
        let kind = match block[header::TYPE] {
            b'0' | 0 | b'7' if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'3' | b'4' => return Err(format!("{}: device nodes are refused", shown())),
            b'S' => {
                return Err(format!(
                    "{}: a sparse file; pack it without --sparse",
                    shown()
                ));
            }
            other => {
                let letter = char::from(other).escape_default();
                return Err(format!(
                    "{}: entries of type '{}' are refused",
                    shown(),
                    letter
                ));
            }
        };
        let wrong = |what: &str| format!("{}: a bad {}", shown(), what);
        let id = |said: Option<u64>, field: &[u8], what: &str| match said {
            Some(id) => Ok(id),
            None => number(field)
                .and_then(|id| u64::try_from(id).ok())
                .ok_or_else(|| wrong(what)),
        };
        let mode = number(&block[header::MODE]).ok_or_else(|| wrong("mode"))?;
        let mtime = match local.mtime.or(global.mtime) {
            Some(mtime) => mtime,
            None => (
                number(&block[header::MTIME]).ok_or_else(|| wrong("time"))?,
                0,
            ),
        };
        let xattrs = local.xattrs.clone();
        Ok(Entry {
            kind,
            uid: id(local.uid.or(global.uid), &block[header::UID], "uid")?,
            gid: id(local.gid.or(global.gid), &block[header::GID], "gid")?,
            link: match kind {
                Kind::HardLink | Kind::Symlink => link,
                _ => Vec::new(),
            },
            path,
            size: 0,
            mode: (mode & 0o7777) as u32,
            user: String::new(),
            group: String::new(),
            mtime,
            xattrs,
        })
    }
}

fn split<'a>(input: &mut &'a [u8], at: usize) -> &'a [u8] {
    let (head, tail) = input.split_at(at);
    *input = tail;
    head
}
