//! What a receiver has of a room's messages: the last of them, so that the rest can be asked for, and what
//! came before under another number.
//!
//! Bounds: [`limits::SOURCES`] sources are remembered; the one that was silent the longest is forgotten first.

use std::collections::HashMap;

use super::Content;
use super::numbers::Numbers;
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
    /// Which numbers of each source it has had, and when the last of them came.
    seen: HashMap<SourceId, (Numbers, u64)>,
    clock: u64,
    beginning: Beginning,
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
            self.beginning = Beginning::Nothing;
        }
    }

    /// A message has come.
    pub fn handle_message(&mut self, letter: &Letter, receipt: &Receipt) -> Verdict {
        if receipt.seq <= self.last {
            return Verdict::Drop(None);
        }
        let new = self.is_new(letter);
        if self.beginning == Beginning::Nothing && letter.slot.is_some() {
            // A kept message stands before the history, or in it: the history does not begin with it.
            return if new { Verdict::Show(None) } else { Verdict::Drop(None) };
        }
        let after = std::mem::replace(&mut self.last, receipt.seq);
        // What was relayed and lost by the server before it was stored lies behind its chain.
        let missing = letter.to.is_none() && self.beginning == Beginning::Over && receipt.prev > after;
        let gap = missing.then_some(Gap { from: after + 1, to: receipt.prev, reason: GapReason::Unknown });
        if self.beginning == Beginning::Nothing {
            self.beginning = Beginning::Some;
        }
        if new { Verdict::Show(gap) } else { Verdict::Drop(gap) }
    }

    /// Whether a message is here for the first time.
    fn is_new(&mut self, letter: &Letter) -> bool {
        if !self.seen.contains_key(&letter.source) && self.seen.len() >= limits::SOURCES {
            let oldest = self.seen.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id);
            oldest.and_then(|id| self.seen.remove(&id));
        }
        self.clock += 1;
        let (numbers, used) = self.seen.entry(letter.source).or_default();
        *used = self.clock;
        numbers.insert(letter.n)
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
