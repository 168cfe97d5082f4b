//! The log of one output stream: a window `[start, end)` of its bytes. The
//! newest part is in memory, what is older in a spool file.

use super::frame::HEADER;
use super::spool::Spool;
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes of one stream kept in memory before the spool is used.
pub const MEMORY: u64 = 262_144;
/// Size of one piece of memory, and the most one read of a pipe brings. With
/// its frame's header it is 64 KiB, the most that common readers take at once:
/// so a stream of full pieces reaches them as whole frames.
pub const CHUNK: usize = 65_536 - HEADER;

/// Most bytes kept behind what a reader took: so many may be on their way to
/// it, in sockets we do not see, when its connection breaks.
const BEHIND: u64 = 16 << 20;

enum SpoolState {
    Unused,
    Ring(Spool),
    /// No place to spool to: the log keeps what fits in memory.
    Failed,
}

pub struct OutputLog {
    chunks: VecDeque<Rc<Vec<u8>>>,
    /// Offset of the first byte in `chunks`.
    memory_start: u64,
    start: u64,
    end: u64,
    /// Most bytes kept.
    limit: u64,
    /// How many of them are kept behind the mark, whatever waits after it.
    behind: u64,
    spool: SpoolState,
}

/// Bytes taken out for a reader; memory is shared, not copied.
pub enum Piece {
    Shared(Rc<Vec<u8>>, usize, usize),
    Owned(Vec<u8>),
}

impl Piece {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Piece::Shared(chunk, from, to) => chunk.get(*from..*to).unwrap_or(&[]),
            Piece::Owned(bytes) => bytes,
        }
    }
}

impl OutputLog {
    pub fn new(limit: u64) -> OutputLog {
        OutputLog {
            chunks: VecDeque::new(),
            memory_start: 0,
            start: 0,
            end: 0,
            limit: limit.max(1),
            behind: 0,
            spool: SpoolState::Unused,
        }
    }

    /// The same, and as many bytes again, though not more than `BEHIND`, are
    /// kept behind the mark.
    pub fn with_bytes_behind(limit: u64) -> OutputLog {
        let mut log = OutputLog::new(limit);
        log.behind = log.limit.min(BEHIND);
        log.limit += log.behind;
        log
    }

    pub fn start(&self) -> u64 {
        self.start
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn kept(&self) -> u64 {
        self.end - self.start
    }

    pub fn in_memory(&self) -> u64 {
        self.end - self.memory_start
    }

    /// Bytes that may be appended without losing any from a little before
    /// `mark` on; without a mark the oldest bytes may always go.
    pub fn room(&self, mark: Option<u64>) -> u64 {
        let mark = match mark {
            None => return u64::MAX,
            Some(mark) => mark,
        };
        let capacity = match self.spool {
            SpoolState::Failed => self.limit.min(MEMORY),
            _ => self.limit - self.behind,
        };
        let held = self.end - mark.clamp(self.start, self.end);
        capacity.saturating_sub(held)
    }

    /// Adds bytes by copying them: right for small pieces.
    pub fn append(&mut self, bytes: &[u8], mark: Option<u64>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let fits = match self.chunks.back_mut().and_then(Rc::get_mut) {
                Some(tail) if tail.len() < CHUNK => {
                    let fits = rest.len().min(CHUNK - tail.len());
                    tail.extend_from_slice(&rest[..fits]);
                    fits
                }
                _ => {
                    let fits = rest.len().min(CHUNK);
                    self.chunks.push_back(Rc::new(rest[..fits].to_vec()));
                    fits
                }
            };
            self.end += fits as u64;
            rest = &rest[fits..];
        }
        self.settle(mark);
    }

    /// Adds a large piece without copying it.
    pub fn append_chunk(&mut self, chunk: Vec<u8>, mark: Option<u64>) {
        if !chunk.is_empty() {
            self.end += chunk.len() as u64;
            self.chunks.push_back(Rc::new(chunk));
            self.settle(mark);
        }
    }

    /// Brings the log back below its limits.
    fn settle(&mut self, mark: Option<u64>) {
        self.start = self.start.max(self.end.saturating_sub(self.limit));
        while let Some(first) = self.chunks.front() {
            let first_end = self.memory_start + first.len() as u64;
            let full = self.in_memory() > MEMORY;
            if first_end > self.start {
                if !full {
                    break;
                }
                if !self.spill_first() {
                    if mark.map_or(false, |mark| mark < first_end) {
                        break; // a reader still needs it, and there is no other place
                    }
                    self.start = first_end;
                }
            }
            self.memory_start = first_end;
            self.chunks.pop_front();
        }
        self.start = self.start.max(self.lowest_kept());
    }

    fn lowest_kept(&self) -> u64 {
        match self.spool {
            SpoolState::Ring(_) => self.start,
            _ => self.start.max(self.memory_start),
        }
    }

    /// Copies the oldest chunk to the spool; false when that cannot be done.
    fn spill_first(&mut self) -> bool {
        if let SpoolState::Unused = self.spool {
            self.spool = match Spool::create(self.limit) {
                Ok(spool) => SpoolState::Ring(spool),
                Err(_) => SpoolState::Failed,
            };
        }
        let (spool, first) = match (&self.spool, self.chunks.front()) {
            (SpoolState::Ring(spool), Some(first)) => (spool, first),
            _ => return false,
        };
        let skip = self
            .start
            .saturating_sub(self.memory_start)
            .min(first.len() as u64);
        let written = spool.write(self.memory_start + skip, &first[skip as usize..]);
        if written.is_err() {
            // A full disk: what was spooled goes, memory carries on.
            self.spool = SpoolState::Failed;
            self.start = self.start.max(self.memory_start);
        }
        written.is_ok()
    }

    /// Up to `most` bytes from `offset`, which must be in `[start, end)`.
    /// None means they cannot be had any more; the log then starts later.
    pub fn read(&mut self, offset: u64, most: usize) -> Option<Piece> {
        if offset < self.start || offset >= self.end {
            return None;
        }
        if offset >= self.memory_start {
            let mut chunk_start = self.memory_start;
            for chunk in &self.chunks {
                let chunk_end = chunk_start + chunk.len() as u64;
                if offset < chunk_end {
                    let from = (offset - chunk_start) as usize;
                    let to = chunk.len().min(from.saturating_add(most));
                    return Some(Piece::Shared(chunk.clone(), from, to));
                }
                chunk_start = chunk_end;
            }
            return None;
        }
        let length = (self.memory_start - offset).min(most.min(CHUNK) as u64) as usize;
        let mut bytes = vec![0; length];
        if let SpoolState::Ring(spool) = &self.spool {
            if spool.read(offset, &mut bytes).is_ok() {
                return Some(Piece::Owned(bytes));
            }
        }
        self.start = self.memory_start;
        None
    }

    /// Moves what is in memory to the spool, where there is one.
    pub fn move_to_spool(&mut self) {
        while !self.chunks.is_empty() && self.spill_first() {
            if let Some(first) = self.chunks.pop_front() {
                self.memory_start += first.len() as u64;
            }
        }
    }

    /// Gives back memory that holds no bytes.
    pub fn compact(&mut self) {
        self.chunks.shrink_to_fit();
        if let Some(tail) = self.chunks.back_mut().and_then(Rc::get_mut) {
            tail.shrink_to_fit();
        }
    }

    /// Forgets all bytes; offsets stay.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.memory_start = self.end;
        self.start = self.end;
        self.spool = SpoolState::Unused;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(from: u64, to: u64) -> Vec<u8> {
        (from..to).map(|at| (at * 31 % 251) as u8).collect()
    }

    fn content(log: &mut OutputLog) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut at = log.start();
        while at < log.end() {
            let piece = log.read(at, 10_000).expect("kept");
            at += piece.bytes().len() as u64;
            bytes.extend_from_slice(piece.bytes());
        }
        bytes
    }

    #[test]
    fn keeps_exactly_the_newest_bytes() {
        for limit in [1, 10, 70_000, MEMORY, MEMORY + 5, 1_000_000] {
            let mut log = OutputLog::new(limit);
            let mut at = 0;
            for step in [1u64, 7, 65_536, 100_000, 3, 400_000, 65_535, 900_000] {
                for piece in pattern(at, at + step).chunks(CHUNK) {
                    if piece.len() > CHUNK / 2 {
                        log.append_chunk(piece.to_vec(), None);
                    } else {
                        log.append(piece, None);
                    }
                }
                at += step;
                assert_eq!(log.end(), at);
                assert_eq!(log.start(), at.saturating_sub(limit));
                assert!(log.in_memory() <= MEMORY + CHUNK as u64);
                assert!(
                    content(&mut log) == pattern(log.start(), at),
                    "limit {}",
                    limit
                );
            }
            log.move_to_spool();
            assert!(
                content(&mut log) == pattern(log.start(), at),
                "spooled, limit {}",
                limit
            );
        }
    }

    #[test]
    fn room_ends_at_the_mark() {
        let mut log = OutputLog::new(100);
        assert_eq!(log.room(Some(0)), 100);
        log.append(&pattern(0, 60), Some(0));
        assert_eq!(log.room(Some(0)), 40);
        assert_eq!(log.room(Some(50)), 90);
        assert_eq!(log.room(None), u64::MAX);
        log.append(&pattern(60, 150), Some(50));
        assert_eq!((log.start(), log.end(), log.room(Some(50))), (50, 150, 0));
    }

    #[test]
    fn bytes_behind_the_mark_stay_for_who_takes_them_again() {
        let mut log = OutputLog::with_bytes_behind(100);
        assert_eq!(log.room(Some(0)), 100);
        log.append(&pattern(0, 400), Some(300));
        assert_eq!((log.start(), log.end(), log.room(Some(300))), (200, 400, 0));
        let mut large = OutputLog::with_bytes_behind(4 * BEHIND);
        assert_eq!(large.room(Some(0)), 4 * BEHIND);
        large.append(&pattern(0, 300), Some(0));
        assert_eq!(large.room(Some(200)), 4 * BEHIND - 100);
    }

    #[test]
    fn without_a_spool_unread_bytes_stay_and_stop_the_writer() {
        let mut log = OutputLog::new(10 * MEMORY);
        log.spool = SpoolState::Failed;
        while log.room(Some(0)) > 0 {
            let room = log.room(Some(0)).min(50_000);
            log.append(&pattern(log.end(), log.end() + room), Some(0));
        }
        assert_eq!((log.start(), log.end()), (0, MEMORY));
        let end = log.end();
        log.append(&pattern(end, end + 1000), Some(end));
        assert!(log.start() > 0 && log.end() == end + 1000);
    }
}
