//! Points in time at which the loop has something to do.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A link must have said hello.
    Hello(u64),
    /// A refused link ends, heard or not.
    Close(u64),
    /// A session's timeout.
    Deadline(u64),
    /// The next step in killing a session's tree.
    Kill(u64),
    /// An upload may have expired.
    Upload(u64),
    /// A watch that nobody reads is closed.
    WatchExpiry(u64),
    /// A watch has something left to do.
    WatchStep(u64),
    Shutdown,
}

#[derive(Default)]
pub struct Timers(BTreeSet<(Instant, Timer)>);

impl Timers {
    pub fn set(&mut self, at: Instant, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub fn cancel(&mut self, at: Instant, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    /// Takes the next timer that is due.
    pub fn due(&mut self, now: Instant) -> Option<Timer> {
        let first = *self.0.iter().next()?;
        (first.0 <= now).then(|| {
            self.0.remove(&first);
            first.1
        })
    }

    pub fn due_before(&self, at: Instant) -> bool {
        self.0.iter().next().map_or(false, |first| first.0 <= at)
    }

    /// How long to wait, in whole milliseconds rounded up; -1 without end.
    pub fn wait_ms(&self, now: Instant, most: Option<Duration>) -> i32 {
        let next = self
            .0
            .iter()
            .next()
            .map(|first| first.0.saturating_duration_since(now));
        let wait = match (next, most) {
            (Some(next), Some(most)) => next.min(most),
            (Some(wait), None) | (None, Some(wait)) => wait,
            (None, None) => return -1,
        };
        let up = wait.as_millis() + u128::from(wait.subsec_nanos() % 1_000_000 != 0);
        i32::try_from(up).unwrap_or(i32::MAX)
    }
}
