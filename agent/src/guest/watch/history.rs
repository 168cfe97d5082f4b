//! The last changes of a watch, by number, for readers who come and go.

use super::super::pack::Pack;
use std::collections::VecDeque;
use std::path::PathBuf;

/// Most changes kept, and most bytes of them.
const MAX_CHANGES: usize = 16_384;
const MAX_BYTES: usize = 4 << 20;
/// An event holds about this many bytes of changes.
const BATCH: usize = 32_768;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Created,
    Modified,
    Deleted,
    Moved,
    Attributes,
    Overflow,
}

impl ChangeKind {
    fn name(self) -> &'static str {
        match self {
            ChangeKind::Created => "created",
            ChangeKind::Modified => "modified",
            ChangeKind::Deleted => "deleted",
            ChangeKind::Moved => "moved",
            ChangeKind::Attributes => "attributes",
            ChangeKind::Overflow => "overflow",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub kind: ChangeKind,
    pub path: PathBuf,
    pub directory: bool,
    /// Where something moved was before.
    pub from: Option<PathBuf>,
}

impl Change {
    fn encode(&self, seq: u64) -> Vec<u8> {
        let pack = Pack::map(if self.from.is_some() { 5 } else { 4 })
            .uint("seq", seq)
            .text("kind", self.kind.name())
            .text("path", &self.path.to_string_lossy())
            .flag("directory", self.directory);
        match &self.from {
            Some(from) => pack.text("from", &from.to_string_lossy()).done(),
            None => pack.done(),
        }
    }

    /// Told twice in a row it says no more than once.
    fn repeats(&self, last: &Change) -> bool {
        let vague = [
            ChangeKind::Modified,
            ChangeKind::Attributes,
            ChangeKind::Overflow,
        ];
        self == last && vague.contains(&self.kind)
    }
}

#[derive(Default)]
pub struct History {
    /// Encoded, oldest first; the last one is `newest`.
    kept: VecDeque<Vec<u8>>,
    bytes: usize,
    newest: u64,
    last: Option<Change>,
    /// The highest number a reader was sent.
    delivered: u64,
}

/// What a reader gets next.
pub struct Batch {
    pub event: Vec<u8>,
    /// The last change it then has.
    pub read: u64,
}

impl History {
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The first change that is kept; one more than `newest` when none is.
    pub fn oldest(&self) -> u64 {
        self.newest + 1 - self.kept.len() as u64
    }

    pub fn push(&mut self, change: Change) {
        let repeated = self
            .last
            .as_ref()
            .map_or(false, |last| change.repeats(last));
        if repeated && self.newest > self.delivered {
            return;
        }
        self.newest += 1;
        let encoded = change.encode(self.newest);
        self.bytes += encoded.len();
        self.kept.push_back(encoded);
        self.last = Some(change);
        while self.kept.len() > MAX_CHANGES || (self.bytes > MAX_BYTES && self.kept.len() > 1) {
            self.bytes -= self.kept.pop_front().map_or(0, |first| first.len());
        }
    }

    /// What comes after change `read`. None when that was the last.
    pub fn next(&self, read: u64) -> Option<Batch> {
        let oldest = self.oldest();
        if read + 1 < oldest {
            let gap = Pack::map(3)
                .text("type", "gap")
                .uint("from", read + 1)
                .uint("to", oldest);
            return Some(Batch {
                event: gap.done(),
                read: oldest - 1,
            });
        }
        let first = (read + 1 - oldest) as usize;
        let mut changes = Vec::new();
        let mut count = 0;
        for change in self.kept.iter().skip(first) {
            changes.extend_from_slice(change);
            count += 1;
            if changes.len() >= BATCH {
                break;
            }
        }
        (count > 0).then(|| Batch {
            event: Pack::map(2)
                .text("type", "changes")
                .key("changes")
                .array(count)
                .raw(&changes)
                .done(),
            read: read + count as u64,
        })
    }

    /// A reader was sent everything up to this change.
    pub fn sent(&mut self, read: u64) {
        self.delivered = self.delivered.max(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: ChangeKind, path: &str) -> Change {
        Change {
            kind,
            path: path.into(),
            directory: false,
            from: None,
        }
    }

    #[test]
    fn the_same_again_is_one_change_until_it_is_read() {
        let mut history = History::default();
        assert_eq!((history.oldest(), history.newest()), (1, 0));
        for _ in 0..5 {
            history.push(change(ChangeKind::Modified, "/a"));
        }
        assert_eq!(history.newest(), 1);
        history.sent(1);
        history.push(change(ChangeKind::Modified, "/a"));
        assert_eq!(history.newest(), 2);
        history.push(change(ChangeKind::Modified, "/b"));
        history.push(change(ChangeKind::Modified, "/a"));
        for _ in 0..2 {
            history.push(change(ChangeKind::Created, "/a"));
        }
        assert_eq!(history.newest(), 6);
        assert!(history.next(6).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_is_a_gap() {
        let mut history = History::default();
        for number in 0..20_000 {
            history.push(change(ChangeKind::Created, &format!("/{}", number)));
        }
        let gap = history.next(0).expect("a gap");
        assert_eq!(gap.read, 20_000 - MAX_CHANGES as u64);
        let mut read = gap.read;
        while let Some(batch) = history.next(read) {
            assert!(batch.event.len() < 2 * BATCH && batch.read > read);
            read = batch.read;
        }
        assert_eq!(read, 20_000);
        for _ in 0..2000 {
            history.push(change(ChangeKind::Created, &"x".repeat(4000)));
        }
        assert!(history.bytes <= MAX_BYTES);
        assert!(history.oldest() > 20_000);
    }
}
