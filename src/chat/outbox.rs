//! What a person has said and the server has not acknowledged.
//!
//! Bounds: [`limits::OUTBOX`] messages and [`limits::OUTBOX_BYTES`]; what is more is refused where it is
//! written. [`limits::WINDOW`] of them are on their way at a time.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::id::{MemberId, SourceId};
use crate::limits;
use crate::wire::control::Ack;
use crate::wire::{Frame, Letter, Slot};

/// Whom a message is for that must not reach anybody: numbers of members begin with 1.
pub const NOBODY: MemberId = MemberId(0);

/// There is no room for another message: the server has acknowledged too few of the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much waits to be sent")]
pub struct Full;

/// A message that waits for its acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its number.
    pub n: u64,
    /// Whose it is, where it is not everybody's.
    pub to: Option<MemberId>,
    /// Its slot.
    pub slot: Option<Slot>,
    /// What it says.
    pub payload: Bytes,
    /// When it was written, in microseconds since 1970.
    pub wall: u64,
}

/// How far one's messages have come: all through these numbers, other than those that were refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The room has been told.
    pub relayed: u64,
    /// They are on the server's disk.
    pub stored: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Outbox {
    source: SourceId,
    next: u64,
    pending: VecDeque<Pending>,
    bytes: usize,
    progress: Progress,
    /// What the server has said to be relayed since the connection began: what an earlier life of it has
    /// relayed may be lost with that.
    confirmed: u64,
    /// The last number that was sent over the connection that is there.
    sent: u64,
    /// Whether the server stores messages, so that being relayed is not enough.
    storing: bool,
}

impl Outbox {
    /// An empty one; `source` is random.
    pub fn new(source: SourceId) -> Self {
        Self::restore(source, 1, Vec::new())
    }

    /// One that was kept in a file: messages that may or may not have arrived, and the next number.
    pub fn restore(source: SourceId, next: u64, pending: Vec<Pending>) -> Self {
        let bytes = pending.iter().map(|p| p.payload.len()).sum();
        let first = pending.first().map_or(next, |p| p.n);
        let progress = Progress { relayed: first - 1, stored: first - 1 };
        Self { source, next, pending: pending.into(), bytes, progress, confirmed: 0, sent: 0, storing: true }
    }

    /// Which series these messages belong to.
    pub fn source(&self) -> SourceId {
        self.source
    }

    /// Keeps a message until it is acknowledged; its number.
    pub fn push(
        &mut self,
        payload: Bytes,
        to: Option<MemberId>,
        slot: Option<Slot>,
        wall: u64,
    ) -> Result<u64, Full> {
        if self.pending.len() >= limits::OUTBOX || self.bytes + payload.len() > limits::OUTBOX_BYTES {
            return Err(Full);
        }
        let n = self.next;
        self.next += 1;
        self.bytes += payload.len();
        self.pending.push_back(Pending { n, to, slot, payload, wall });
        Ok(n)
    }

    /// There is a connection: everything that waits is sent again. `storing`: the server keeps messages.
    pub fn handle_up(&mut self, storing: bool) {
        self.sent = 0;
        self.confirmed = 0;
        self.storing = storing;
    }

    /// The members have other numbers now: what was meant for one of them must not go to somebody else. It
    /// is sent as nobody's, so that the server says whether it took it before, or refuses it.
    pub fn handle_new_members(&mut self) {
        for direct in self.pending.iter_mut().filter(|p| p.to.is_some()) {
            direct.to = Some(NOBODY);
        }
    }

    /// The next message to send, if one may be sent now.
    pub fn poll(&mut self) -> Option<Frame> {
        let first = self.pending.partition_point(|p| p.n <= self.confirmed.min(self.sent));
        let at = self.pending.partition_point(|p| p.n <= self.sent);
        let flying = self.pending.range(first..at);
        let bytes: usize = flying.map(|p| p.payload.len()).sum();
        if at - first >= limits::WINDOW || bytes >= limits::WINDOW_BYTES {
            return None;
        }
        let next = self.pending.get(at)?;
        self.sent = next.n;
        let letter =
            Letter { source: self.source, n: next.n, to: next.to, slot: next.slot.clone(), receipt: None };
        Some(Frame::message(letter, &next.payload, next.wall))
    }

    /// The server says how far it is. What is new of that.
    pub fn handle_ack(&mut self, ack: &Ack) -> Option<Progress> {
        if ack.source != self.source {
            return None;
        }
        let before = self.progress;
        // An acknowledgement of what was never sent is nonsense.
        let most = self.next - 1;
        self.confirmed = self.confirmed.max(ack.relayed.min(most));
        self.progress.relayed = before.relayed.max(ack.relayed.min(most));
        self.progress.stored = before.stored.max(ack.stored.min(most));
        self.release();
        (self.progress != before).then_some(self.progress)
    }

    /// Whether messages are stored has changed.
    pub fn handle_storage(&mut self, storing: bool) {
        self.storing = storing;
        self.release();
    }

    /// The server does not take this message.
    pub fn handle_refused(&mut self, n: u64) {
        if let Some(at) = self.pending.iter().position(|p| p.n == n)
            && let Some(gone) = self.pending.remove(at)
        {
            self.bytes -= gone.payload.len();
        }
    }

    /// Messages that wait, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter()
    }

    /// Whether everything is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        self.next
    }

    fn release(&mut self) {
        let done = if self.storing { self.progress.stored } else { self.confirmed };
        while let Some(first) = self.pending.front()
            && first.n <= done
        {
            self.bytes -= first.payload.len();
            self.pending.pop_front();
        }
    }
}
