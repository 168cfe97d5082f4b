//! One channel of a link: its credits, its two ends, and the call it carries.

use super::dial::DialCall;
use super::files::FileCall;
use super::frame::{Violation, MAX_CREDIT, WINDOW};

/// What a channel is doing.
pub enum Call {
    /// Nothing more to do here; waits for the other side's end.
    Done,
    /// A process is being started, or a kill awaited; the answer comes later.
    Waiting,
    /// The same, and what the caller sends is stdin of the session.
    Starting {
        session: u64,
    },
    /// Output flows to the caller; with `input`, what he sends is stdin.
    Reading {
        session: u64,
        input: bool,
    },
    /// WriteInput.
    Input {
        session: u64,
        written: u64,
    },
    /// ReadWatch; `read` is the last change that was sent.
    Watching {
        watch: u64,
        read: u64,
    },
    File(FileCall),
    Dial(DialCall),
}

pub struct Channel {
    pub call: Call,
    /// In the link's queue of channels that may have something to send.
    pub queued: bool,
    pub local_ended: bool,
    pub remote_ended: bool,
    replied: bool,
    send_credit: u64,
    sent: u64,
    confirmed: u64,
    receive_credit: u64,
    consumed: u64,
}

impl Default for Channel {
    fn default() -> Channel {
        Channel {
            call: Call::Waiting,
            queued: false,
            local_ended: false,
            remote_ended: false,
            replied: false,
            send_credit: WINDOW,
            sent: 0,
            confirmed: 0,
            receive_credit: WINDOW,
            consumed: 0,
        }
    }
}

impl Channel {
    pub fn credit(&self) -> u64 {
        self.send_credit
    }

    pub fn spend(&mut self, bytes: usize) {
        self.send_credit = self.send_credit.saturating_sub(bytes as u64);
        self.sent += bytes as u64;
    }

    /// Bytes sent that the other side has not granted again: it may not have them.
    pub fn unconfirmed(&self) -> u64 {
        self.sent.saturating_sub(self.confirmed)
    }

    /// The peer grants us more.
    pub fn granted(&mut self, bytes: u32) -> Result<(), Violation> {
        let credit = self.send_credit + u64::from(bytes);
        if bytes == 0 {
            return Err(Violation("credit of nothing"));
        }
        if credit > MAX_CREDIT {
            return Err(Violation("credit beyond the limit"));
        }
        self.send_credit = credit;
        self.confirmed += u64::from(bytes);
        Ok(())
    }

    /// The peer sent data.
    pub fn received(&mut self, bytes: usize) -> Result<(), Violation> {
        if self.remote_ended {
            return Err(Violation("data after the end"));
        }
        match self.receive_credit.checked_sub(bytes as u64) {
            None => Err(Violation("data without credit")),
            Some(left) => {
                self.receive_credit = left;
                Ok(())
            }
        }
    }

    /// Our consumer took bytes; says how many to grant now, if any.
    pub fn consume(&mut self, bytes: usize) -> Option<u32> {
        self.consumed += bytes as u64;
        if self.remote_ended || self.consumed < WINDOW / 2 {
            return None;
        }
        let grant = self.consumed;
        self.consumed = 0;
        self.receive_credit += grant;
        Some(grant as u32)
    }

    /// Whether a reply was sent before this one (which then must not go).
    pub fn reply_once(&mut self) -> bool {
        std::mem::replace(&mut self.replied, true)
    }

    pub fn replied(&self) -> bool {
        self.replied
    }
}
