//! What a receiver has of a room's messages: the last of them, so that the rest can be asked for, and what
//! came before under another number.
//!
//! Bound: [`limits::SOURCES`] sources are remembered; the one that was silent the longest is forgotten first.

use std::collections::HashMap;

use super::Content;
use crate::id::{LogId, MemberId, PublicKey, SourceId};
use crate::limits;
use crate::wire::control::{Gap, GapReason, Log};
use crate::wire::{Letter, Receipt, Slot};

/// A message as a program gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// Its number in the room.
    pub seq: u64,
    /// Who sent it; the number means somebody else in another life of the server.
    pub from: MemberId,
    /// The sender's name then.
    pub name: String,
    /// The sender's key.
    pub key: Option<PublicKey>,
    /// Whose it is, where it is not everybody's.
    pub to: Option<MemberId>,
    /// The sender's series ...
    pub source: SourceId,
    /// ... and the number there.
    pub n: u64,
    /// Whether it came from this program.
    pub own: bool,
    /// When it was written, in seconds since 1970 by the sender's clock.
    pub sent: f64,
    /// When the server took it, by the server's clock.
    pub received: f64,
    /// Its slot.
    pub slot: Option<Slot>,
    /// What it says.
    pub content: Content,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is new. Before it these are missing, if any.
    Show(Option<Gap>),
    /// It was there before.
    Drop,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Inbox {
    log: Option<LogId>,
    last: u64,
    /// The last message to everybody; unknown before the first.
    public: Option<u64>,
    /// The last number of each source, and when it was used.
    seen: HashMap<SourceId, (u64, u64)>,
    clock: u64,
    /// Begins with nothing, and what it was to be given first has not all come: kept messages of slots come
    /// out of the chain.
    beginning: bool,
}

impl Inbox {
    /// One that has everything of `log` through `last`.
    pub fn after(log: LogId, last: u64) -> Self {
        Self { log: Some(log), last, ..Self::default() }
    }

    /// What to ask the server for: the log and the last number.
    pub fn position(&self) -> Option<(LogId, u64)> {
        Some((self.log?, self.last))
    }

    /// A connection is up and this is the room's log.
    pub fn handle_up(&mut self, log: &Log) {
        if self.log != Some(log.id) {
            self.log = Some(log.id);
            self.last = 0;
            self.public = None;
            self.beginning = true;
        }
    }

    /// A message has come.
    pub fn handle_message(&mut self, letter: &Letter, receipt: &Receipt) -> Verdict {
        if receipt.seq <= self.last {
            return Verdict::Drop;
        }
        let after = std::mem::replace(&mut self.last, receipt.seq);
        let mut gap = None;
        if letter.to.is_none() {
            let known = self.public.replace(receipt.seq);
            // What was relayed and lost by the server before it was stored lies behind its chain.
            if let Some(known) = known
                && receipt.prev > known.max(after)
                && !self.beginning
            {
                gap = Some(Gap { from: after + 1, to: receipt.prev, reason: GapReason::Unknown });
            }
        }
        if self.beginning && letter.slot.is_some() {
            // Older ones of the same source may follow.
            return Verdict::Show(gap);
        }
        self.clock += 1;
        let clock = self.clock;
        match self.seen.get_mut(&letter.source) {
            Some((n, used)) => {
                *used = clock;
                if letter.n <= *n {
                    return Verdict::Drop;
                }
                *n = letter.n;
            }
            None => {
                if self.seen.len() >= limits::SOURCES {
                    let oldest = self.seen.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id);
                    oldest.and_then(|id| self.seen.remove(&id));
                }
                self.seen.insert(letter.source, (letter.n, clock));
            }
        }
        Verdict::Show(gap)
    }

    /// The server says what cannot be had back; whether that is news.
    pub fn handle_gap(&mut self, gap: &Gap) -> bool {
        let news = gap.to > self.last || gap.to == 0;
        self.last = self.last.max(gap.to);
        self.public = self.public.map(|known| known.max(gap.to));
        news
    }

    /// What was missed has come.
    pub fn handle_caught_up(&mut self, seq: u64) {
        self.beginning = false;
        self.last = self.last.max(seq);
    }
}
