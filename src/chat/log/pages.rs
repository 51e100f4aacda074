//! What a reader is given of the log: where it begins, and what it has missed.

use bytes::Bytes;

use super::Log;
use crate::chat::{Entry, Reader};
use crate::limits;
use crate::wire::control::{Gap, GapReason};

/// Where a newcomer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Behind this number.
    After(u64),
    /// The store has to say where the newest `count` messages begin that are not behind `through`.
    Newest {
        /// How many.
        count: u32,
        /// The last that is not in memory.
        through: u64,
    },
}

/// A part of what somebody has missed.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// What to send, in order.
    pub items: Vec<Item>,
    /// What has been missed through this number is sent then.
    pub through: u64,
    /// Whether that is all.
    pub complete: bool,
}

/// See [`Page`].
#[derive(Debug, Clone)]
pub enum Item {
    /// A message.
    Message(Bytes),
    /// Messages that cannot be had back.
    Gap(Gap),
}

/// What the store has of that.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// All that this reader may have of what is missing, oldest first, or the first of it.
    pub entries: Vec<Entry>,
    /// Whether there may be more of it: as many as a page holds were found.
    pub full: bool,
    /// The first number that is kept at all.
    pub oldest: u64,
}

/// The store has to be asked: for the messages behind `after`, up to and with `through`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// What the reader has.
    pub after: u64,
    /// The last that is not in memory.
    pub through: u64,
}

impl Log {
    /// Where a reader who wants the newest `count` messages begins.
    pub fn start(&self, reader: &Reader, count: u32) -> Start {
        let count = count.min(limits::HISTORY);
        if count == 0 {
            return Start::After(self.last());
        }
        let mine = self.ring.iter().rev().filter(|entry| entry.is_for(reader)).map(|entry| entry.seq);
        let mine: Vec<u64> = mine.take(count as usize).collect();
        match mine.last() {
            Some(first) if mine.len() == count as usize => Start::After(first - 1),
            _ if self.stored && self.before_ring >= self.oldest => {
                Start::Newest { count: count - mine.len() as u32, through: self.before_ring }
            }
            _ => Start::After(self.before_ring),
        }
    }

    /// The newest `count` messages before `before` for a reader, oldest first, where they are all in memory or
    /// nowhere; `None`: the store has to be asked. As many as fit into a page.
    pub fn older(&self, reader: &Reader, before: u64, count: u32) -> Option<Vec<Bytes>> {
        let all = self.ring.iter().rev().filter(|entry| entry.seq < before && entry.is_for(reader));
        let mut bytes = 0;
        let mut found = Vec::new();
        for entry in all.take(count as usize) {
            bytes += entry.frame.len();
            if bytes > limits::PAGE_BYTES && !found.is_empty() {
                found.reverse();
                return Some(found);
            }
            found.push(entry.frame.clone());
        }
        found.reverse();
        let is_all = found.len() == count as usize || !self.stored || self.before_ring < self.oldest;
        is_all.then_some(found)
    }

    /// The kept messages of slots that a reader who begins behind `after` would not see otherwise.
    pub fn slots(&self, after: u64) -> Vec<Bytes> {
        let mut kept: Vec<&Entry> = self.slots.values().filter(|entry| entry.seq <= after).collect();
        kept.sort_by_key(|entry| entry.seq);
        kept.iter().map(|entry| entry.frame.clone()).collect()
    }

    /// The next part of what a reader has missed, or what the store has to be asked for.
    pub fn page(&self, reader: &Reader, after: u64) -> Result<Page, Missing> {
        if after < self.before_ring && self.stored && self.before_ring >= self.oldest {
            return Err(Missing { after, through: self.before_ring });
        }
        let mine = self.ring.iter().filter(|entry| entry.seq > after && entry.is_for(reader));
        Ok(self.assemble(after, self.last(), mine))
    }

    /// The part that the store has found of what is missing.
    pub fn page_of(&mut self, missing: Missing, found: &Found) -> Page {
        // The store gives up what is old while the log lives.
        self.oldest = self.oldest.max(found.oldest);
        let through = match found.entries.last() {
            Some(last) if found.full => last.seq,
            _ => missing.through,
        };
        let mut page = self.assemble(missing.after, through, found.entries.iter());
        page.complete &= through == self.last();
        page
    }

    /// A page out of `entries` behind `after`, with what is known to be missing between them.
    fn assemble<'a>(&self, after: u64, through: u64, entries: impl Iterator<Item = &'a Entry>) -> Page {
        let mut page = Page { items: Vec::new(), through, complete: true };
        let mut bytes = 0;
        let mut reached = after;
        for entry in entries {
            if page.items.len() >= limits::PAGE
                || (bytes > 0 && bytes + entry.frame.len() > limits::PAGE_BYTES)
            {
                page.through = reached;
                page.complete = false;
                break;
            }
            self.gaps_between(reached, entry.seq, &mut page.items);
            bytes += entry.frame.len();
            reached = entry.seq;
            page.items.push(Item::Message(entry.frame.clone()));
        }
        if page.complete {
            self.gaps_between(reached, through + 1, &mut page.items);
        }
        page
    }

    /// What is known to be missing behind `after` and before `before`.
    fn gaps_between(&self, after: u64, before: u64, items: &mut Vec<Item>) {
        let mut tell = |from: u64, to: u64, reason| {
            let (from, to) = (from.max(after + 1), to.min(before.saturating_sub(1)));
            if from <= to {
                items.push(Item::Gap(Gap { from, to, reason }));
            }
        };
        let first = if self.stored { self.oldest } else { self.before_ring + 1 };
        // What a crash has lost was never kept, and so cannot have expired.
        let lost = self.gaps.iter().find(|(from, to)| (*from..=*to).contains(&first.saturating_sub(1)));
        let first = lost.map_or(first, |(from, _)| first.min(*from));
        tell(1, first.saturating_sub(1), GapReason::Expired);
        for &(from, to) in &self.gaps {
            tell(from.max(first), to, GapReason::Crash);
        }
    }
}
