//! What a receiver has of a room's messages: the last of them, so that the rest can be asked for, and what
//! came before under another number.
//!
//! Bounds: [`limits::SOURCES`] sources are remembered; the one that was silent the longest is forgotten first.
//! [`limits::SLOTS`] slots.

use std::collections::{BTreeMap, HashMap};

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
    /// It was there before, perhaps under another number. These are missing before it, if any.
    Drop(Option<Gap>),
}

/// How far a receiver that has nothing is with what it is given first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Beginning {
    /// It has nothing but kept messages of slots: a position would ask for all that ever was.
    Nothing,
    /// It has the first messages, before which others may be.
    Some,
    /// It has what it was to be given.
    #[default]
    Over,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Inbox {
    log: Option<LogId>,
    last: u64,
    /// Its position in a log that is gone, until it was told that it is.
    former: Option<(LogId, u64)>,
    /// The last number of each source, and when it was used.
    seen: HashMap<SourceId, (u64, u64)>,
    clock: u64,
    beginning: Beginning,
    /// Kept messages that came out of the chain, before its beginning: number, and number of the source.
    kept: BTreeMap<Slot, (u64, SourceId, u64)>,
}

impl Inbox {
    /// One that has everything of `log` through `last`.
    pub fn after(log: LogId, last: u64) -> Self {
        Self { log: Some(log), last, ..Self::default() }
    }

    /// What to ask the server for: the log and the last number.
    pub fn position(&self) -> Option<(LogId, u64)> {
        match self.beginning {
            // A connection may break between the welcome and the gap: it is asked for again.
            Beginning::Nothing => self.former,
            _ => Some((self.log?, self.last)),
        }
    }

    /// A connection is up and this is the room's log.
    pub fn handle_up(&mut self, log: &Log) {
        if self.log != Some(log.id) {
            self.former = self.position();
            self.log = Some(log.id);
            self.last = 0;
            self.kept.clear();
            self.beginning = Beginning::Nothing;
        }
    }

    /// A message has come.
    pub fn handle_message(&mut self, letter: &Letter, receipt: &Receipt) -> Verdict {
        if receipt.seq <= self.last {
            return Verdict::Drop(None);
        }
        if let (Beginning::Nothing, Some(slot)) = (self.beginning, &letter.slot) {
            return self.keep(slot, letter, receipt.seq);
        }
        let after = std::mem::replace(&mut self.last, receipt.seq);
        // What was relayed and lost by the server before it was stored lies behind its chain.
        let missing = letter.to.is_none() && self.beginning == Beginning::Over && receipt.prev > after;
        let gap = missing.then_some(Gap { from: after + 1, to: receipt.prev, reason: GapReason::Unknown });
        if self.beginning == Beginning::Nothing {
            self.beginning = Beginning::Some;
        }
        self.clock += 1;
        let clock = self.clock;
        match self.seen.get_mut(&letter.source) {
            Some((n, used)) => {
                *used = clock;
                if letter.n <= *n {
                    return Verdict::Drop(gap);
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
        match self.kept.values().any(|(_, source, n)| (*source, *n) == (letter.source, letter.n)) {
            true => Verdict::Drop(gap),
            false => Verdict::Show(gap),
        }
    }

    /// A message of a slot has come before any other: it may stand before the history or in it, and older
    /// ones of its source may follow.
    fn keep(&mut self, slot: &Slot, letter: &Letter, seq: u64) -> Verdict {
        let seen = self.seen.get(&letter.source).is_some_and(|(n, _)| letter.n <= *n);
        if seen || self.kept.get(slot).is_some_and(|(known, ..)| seq <= *known) {
            return Verdict::Drop(None);
        }
        if self.kept.len() < limits::SLOTS || self.kept.contains_key(slot) {
            self.kept.insert(slot.clone(), (seq, letter.source, letter.n));
        }
        Verdict::Show(None)
    }

    /// The server says what cannot be had back; whether that is news.
    pub fn handle_gap(&mut self, gap: &Gap) -> bool {
        let news = gap.to > self.last || gap.to == 0;
        self.last = self.last.max(gap.to);
        self.former = None;
        if gap.to > 0 && self.beginning == Beginning::Nothing {
            self.beginning = Beginning::Some;
        }
        news
    }

    /// What was missed has come.
    pub fn handle_caught_up(&mut self, seq: u64) {
        self.beginning = Beginning::Over;
        self.former = None;
        self.last = self.last.max(seq);
    }
}
