//! A log that goes on where an earlier life of the server ended.

use super::{Log, Source};
use crate::chat::Entry;
use crate::id::{LogId, PublicKey, SourceId};
use crate::wire::Code;

/// What a store knows of a room.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// The next number to give.
    pub next: u64,
    /// Numbers through this may be given.
    pub limit: u64,
    /// The last number of a message to everybody.
    pub last_public: u64,
    /// The first number that is kept; those before are expired.
    pub oldest: u64,
    /// Numbers, first and last, that were lost in a crash.
    pub gaps: Vec<(u64, u64)>,
    /// The newest messages, oldest first.
    pub newest: Vec<Entry>,
    /// The newest message of each slot.
    pub slots: Vec<Entry>,
    /// How far the sources have come.
    pub sources: Vec<Standing>,
}

/// How far a source has come, as a store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The source.
    pub source: SourceId,
    /// Its last number.
    pub n: u64,
    /// Whose it is, unless a guest's.
    pub owner: Option<PublicKey>,
    /// MD5 of the payload of that message.
    pub checksum: [u8; 16],
    /// Numbers that were refused, and why.
    pub refused: Vec<(u64, Code)>,
}

impl Log {
    /// A log that goes on from what a store knows.
    pub fn restore(id: LogId, past: Past) -> Self {
        let mut log = Self::new(id);
        log.stored = true;
        log.next = past.next.max(1);
        log.limit = past.limit;
        log.last_public = past.last_public;
        log.oldest = past.oldest;
        log.gaps = past.gaps;
        log.before_ring = past.newest.first().map_or(log.next - 1, |first| first.seq - 1);
        log.slots = past.slots.into_iter().filter_map(|e| Some((e.slot.clone()?, e))).collect();
        for standing in past.sources {
            log.clock += 1;
            log.sources.insert(standing.source, Source::restore(standing, log.clock));
        }
        for entry in past.newest {
            log.remember(entry);
        }
        log
    }
}
