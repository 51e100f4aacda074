//! One series of messages, as the log knows it: how far it has come, and what was refused of it.

use std::collections::VecDeque;

use super::Standing;
use crate::chat::Origin;
use crate::id::{ConnectionId, SourceId};
use crate::limits;
use crate::wire::control::{Ack, Refusal};
use crate::wire::{Code, Letter};

/// Checksums of the last messages that are kept to notice that a number was used twice.
const RECENT: usize = 32;
/// Refusals that are kept, because the sender may not have heard of them: as many as it has messages on their
/// way.
const REFUSED: usize = limits::WINDOW;

/// See the module.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) owner: Origin,
    last: u64,
    /// The number in the room of its last message.
    seq: u64,
    stored: u64,
    /// How many of its messages are relayed and not stored.
    waiting: usize,
    recent: VecDeque<(u64, [u8; 16])>,
    /// Numbers that were refused, and why.
    refused: VecDeque<(u64, Refusal)>,
    /// Known from the disk, and not heard of since: what was relayed and not stored may lie behind `last`.
    restored: bool,
    /// Where its acknowledgements go.
    connection: Option<ConnectionId>,
    /// The last number that came over that connection. What is acknowledged ends there: of a number behind
    /// it the sender may not have heard yet that it was refused.
    reached: u64,
    /// When it was last heard of, by the count of the log.
    pub(super) used: u64,
}

impl Source {
    /// One whose messages through `last` are none of this log's business.
    pub(super) fn new(owner: Origin, last: u64) -> Self {
        Self {
            owner,
            last,
            seq: 0,
            stored: 0,
            waiting: 0,
            recent: VecDeque::new(),
            refused: VecDeque::new(),
            restored: false,
            connection: None,
            reached: 0,
            used: 0,
        }
    }

    /// One that a store knows.
    pub(super) fn restore(standing: Standing, used: u64) -> Self {
        let Standing { n, owner, checksum, refused, .. } = standing;
        let again = "it was refused before the server was restarted";
        Self {
            last: n,
            stored: n,
            recent: VecDeque::from([(n, checksum)]),
            refused: refused.into_iter().map(|(n, code)| (n, Refusal::new(code, again))).collect(),
            restored: true,
            used,
            ..Self::new(Origin { member: None, key: owner }, n)
        }
    }

    /// Whether its messages may come from `other`.
    pub(super) fn belongs_to(&self, other: &Origin) -> bool {
        match self.owner.key {
            Some(key) => other.key == Some(key),
            // A guest of an earlier life cannot be told from another.
            None => other.key.is_none() && self.owner.member.is_none_or(|m| Some(m) == other.member),
        }
    }

    /// Message `n` has come over this connection.
    pub(super) fn handle_arrival(&mut self, n: u64, connection: ConnectionId) {
        if self.connection != Some(connection) {
            self.reached = 0;
        }
        self.connection = Some(connection);
        self.reached = self.reached.max(n);
    }

    /// Whether the number was used before.
    pub(super) fn has(&self, n: u64) -> bool {
        n <= self.last
    }

    /// Why a number was refused, if it was.
    pub(super) fn refusal(&self, n: u64) -> Option<Refusal> {
        self.refused.iter().find(|(known, _)| *known == n).map(|(_, refusal)| refusal.clone())
    }

    /// Whether a number was used for something else, as far as that is remembered.
    pub(super) fn contradicts(&self, n: u64, checksum: [u8; 16]) -> bool {
        self.recent.iter().any(|(known, sum)| *known == n && *sum != checksum)
    }

    /// Refuses a number that leaves out more than a sender has on its way.
    pub(super) fn check_next(&mut self, n: u64) -> Result<(), Refusal> {
        let restored = std::mem::take(&mut self.restored);
        if n > self.last + limits::AHEAD && !restored {
            return Err(Refusal::new(Code::Protocol, format!("message {n} after {}", self.last)));
        }
        Ok(())
    }

    /// A new message is in the log under `seq`, and will be stored or not.
    pub(super) fn take(&mut self, letter: &Letter, checksum: [u8; 16], seq: u64, stored: bool) {
        self.last = letter.n;
        self.seq = seq;
        self.recent.push_back((letter.n, checksum));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        self.waiting += usize::from(stored);
    }

    /// A new message is not taken: its number counts as used.
    pub(super) fn refuse(&mut self, n: u64, refusal: Refusal, stored: bool) {
        self.last = n;
        self.note_refused(n, refusal);
        if stored {
            self.settle();
        }
    }

    /// A message is on disk.
    pub(super) fn handle_stored(&mut self, n: u64) {
        self.waiting = self.waiting.saturating_sub(1);
        self.stored = n;
        self.settle();
    }

    /// A message that was relayed is not stored; where its sender is told so.
    pub(super) fn handle_unstorable(&mut self, n: u64, refusal: Refusal) -> Option<ConnectionId> {
        self.waiting = self.waiting.saturating_sub(1);
        self.note_refused(n, refusal);
        self.settle();
        self.connection
    }

    /// A connection is gone.
    pub(super) fn handle_gone(&mut self, connection: ConnectionId) {
        self.connection = self.connection.filter(|known| *known != connection);
    }

    /// Whether nothing of it waits to be stored.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting == 0
    }

    /// What of it was refused, for the store.
    pub(super) fn refused(&self) -> Vec<(u64, Code)> {
        self.refused.iter().map(|(n, refusal)| (*n, refusal.code)).collect()
    }

    /// How far it has come, and where that is to be said.
    pub(super) fn ack(&self, id: SourceId) -> Option<(ConnectionId, Ack)> {
        let (relayed, stored) = (self.last.min(self.reached), self.stored.min(self.reached));
        Some((self.connection?, Ack { source: id, relayed, stored, seq: self.seq, conflict: false }))
    }

    /// Where nothing waits, what was refused needs no storing.
    fn settle(&mut self) {
        if self.waiting == 0 {
            self.stored = self.last;
        }
    }

    fn note_refused(&mut self, n: u64, refusal: Refusal) {
        self.refused.push_back((n, refusal));
        if self.refused.len() > REFUSED {
            self.refused.pop_front();
        }
    }
}
