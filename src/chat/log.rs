//! The messages of one room, at the server: their numbers, what came twice, what is still to be stored, and
//! what somebody who comes back has missed.
//!
//! Bounds: the ring holds [`limits::LOG_RING`] messages and [`limits::LOG_BYTES`]; older ones come from the
//! store, where there is one. [`limits::SOURCES`] sources are remembered, the longest silent one is forgotten
//! first. [`limits::SLOTS`] slots.

mod pages;
mod past;
mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};

pub use pages::{Found, Item, Missing, Page, Start};
pub use past::{Past, Standing};
use source::Source;

use super::{Addressee, Author, Entry, Origin};
use crate::id::{ConnectionId, LogId, MemberId, SourceId};
use crate::limits;
use crate::wire::control::{Ack, Refusal};
use crate::wire::{Code, Frame, Letter, Receipt, Slot};

/// What became of a message that came in.
#[derive(Debug)]
pub enum Accepted {
    /// It is new, and has its number.
    New(Entry),
    /// It was there before; `conflict` when it then said something else.
    Again {
        /// See above.
        conflict: bool,
    },
    /// It is not taken, and its number counts as used; the sender is told, and the connection goes on.
    Refused(Refusal),
    /// It cannot be taken now, or makes no sense: the connection ends with this.
    Fault(Refusal),
}

/// See the module.
#[derive(Debug)]
pub struct Log {
    id: LogId,
    /// There is a store behind it ...
    stored: bool,
    /// ... which works.
    storing: bool,
    next: u64,
    limit: u64,
    last_public: u64,
    oldest: u64,
    gaps: Vec<(u64, u64)>,
    ring: VecDeque<Entry>,
    ring_bytes: usize,
    /// Messages through this number are not in the ring.
    before_ring: u64,
    slots: BTreeMap<Slot, Entry>,
    sources: HashMap<SourceId, Source>,
    /// Counts what came, to know which source was silent the longest.
    clock: u64,
    /// Relayed and not stored yet: number in the room, source, number there.
    unstored: VecDeque<(u64, SourceId, u64)>,
}

impl Log {
    /// A log that begins now and lives in memory only.
    pub fn new(id: LogId) -> Self {
        Self {
            id,
            stored: false,
            storing: true,
            next: 1,
            limit: u64::MAX,
            last_public: 0,
            oldest: 1,
            gaps: Vec::new(),
            ring: VecDeque::new(),
            ring_bytes: 0,
            before_ring: 0,
            slots: BTreeMap::new(),
            sources: HashMap::new(),
            clock: 0,
            unstored: VecDeque::new(),
        }
    }

    /// Its identity.
    pub fn id(&self) -> LogId {
        self.id
    }

    /// The last number that was given.
    pub fn last(&self) -> u64 {
        self.next - 1
    }

    /// Whether there is a store behind it.
    pub fn is_stored(&self) -> bool {
        self.stored
    }

    /// Whether messages are stored at present.
    pub fn is_storing(&self) -> bool {
        self.stored && self.storing
    }

    /// Bytes of messages in memory.
    pub fn bytes(&self) -> usize {
        self.ring_bytes
    }

    /// Messages that are relayed and not stored yet.
    pub fn unstored(&self) -> usize {
        self.unstored.len()
    }

    /// Takes a message in. `to` is whose it is, or why it must not be taken if it is new. `connection` is
    /// where the acknowledgements for its source go from now on.
    pub fn accept(
        &mut self,
        frame: &Frame,
        letter: &Letter,
        author: &Author,
        to: Result<Option<Addressee>, Refusal>,
        connection: ConnectionId,
        wall: u64,
    ) -> Accepted {
        let owner = Origin { member: Some(author.member), key: author.key };
        let checksum = frame.header.checksum;
        if let Some(known) = self.recall(letter, &owner, checksum, connection) {
            return known;
        }
        let to = match to {
            Ok(to) => to,
            Err(refusal) => return self.refuse(letter, owner, refusal, connection),
        };
        if self.next > self.limit && self.storing {
            // The store has not granted more numbers yet.
            let mut refusal = Refusal::new(Code::Internal, "the store does not keep up");
            refusal.retry_after_ms = Some(500);
            return Accepted::Fault(refusal);
        }
        if self.next > self.limit {
            let message = "the server cannot write to its disk, and has no numbers left";
            return self.refuse(letter, owner, Refusal::new(Code::Internal, message), connection);
        }
        if let Some(slot) = &letter.slot
            && !self.slots.contains_key(slot)
            && self.slots.len() >= limits::SLOTS
        {
            let refusal = Refusal::new(Code::Full, "the room has as many slots as it may");
            return self.refuse(letter, owner, refusal, connection);
        }
        let mut entry = self.enter(frame, letter, author, to, wall);
        let stored = self.stored;
        let source = self.source(letter, owner, connection);
        source.take(letter, checksum, entry.seq, stored);
        if stored {
            entry.refused = source.refused();
            self.unstored.push_back((entry.seq, letter.source, letter.n));
        }
        self.remember(entry.clone());
        Accepted::New(entry)
    }

    /// What is known of a message under this number, if it is not new.
    fn recall(
        &mut self,
        letter: &Letter,
        owner: &Origin,
        checksum: [u8; 16],
        connection: ConnectionId,
    ) -> Option<Accepted> {
        let source = self.sources.get_mut(&letter.source)?;
        if !source.belongs_to(owner) {
            let refusal = Refusal::new(Code::Identity, "that source is somebody else's");
            return Some(Accepted::Refused(refusal));
        }
        source.owner.member = owner.member;
        source.handle_arrival(letter.n, connection);
        if !source.has(letter.n) {
            return source.check_next(letter.n).err().map(Accepted::Fault);
        }
        Some(match source.refusal(letter.n) {
            Some(refusal) => Accepted::Refused(refusal),
            None => Accepted::Again { conflict: source.contradicts(letter.n, checksum) },
        })
    }

    /// A new message is not taken: its number counts as used, and it is refused again when it comes again.
    fn refuse(
        &mut self,
        letter: &Letter,
        owner: Origin,
        refusal: Refusal,
        connection: ConnectionId,
    ) -> Accepted {
        let stored = self.stored;
        let source = self.source(letter, owner, connection);
        source.refuse(letter.n, refusal.clone(), stored);
        Accepted::Refused(refusal)
    }

    /// The source of a new message, which may be new itself.
    fn source(&mut self, letter: &Letter, owner: Origin, connection: ConnectionId) -> &mut Source {
        if !self.sources.contains_key(&letter.source) {
            self.make_room_for_a_source();
        }
        self.clock += 1;
        let source = self.sources.entry(letter.source).or_insert_with(|| Source::new(owner, letter.n - 1));
        source.handle_arrival(letter.n, connection);
        source.used = self.clock;
        source
    }

    /// Everything through `through` is on disk. The sources for which that is news.
    pub fn handle_stored(&mut self, through: u64) -> Vec<SourceId> {
        let mut news = Vec::new();
        while let Some(&(seq, id, n)) = self.unstored.front()
            && seq <= through
        {
            self.unstored.pop_front();
            if let Some(source) = self.sources.get_mut(&id) {
                source.handle_stored(n);
                if !news.contains(&id) {
                    news.push(id);
                }
            }
        }
        news
    }

    /// The newest message could not even be given to the store: whoever is here has it, and nobody else will.
    /// Its sender is to be told so, who else would take it for stored with those behind it.
    pub fn handle_unstorable(&mut self, seq: u64) -> Option<(ConnectionId, Refusal)> {
        // Nobody who comes later can have it back from the disk.
        match self.gaps.last_mut() {
            Some((_, last)) if *last + 1 == seq => *last = seq,
            _ => self.gaps.push((seq, seq)),
        }
        let place = self.unstored.iter().rposition(|(s, ..)| *s == seq)?;
        let (_, id, n) = self.unstored.remove(place)?;
        let source = self.sources.get_mut(&id)?;
        let message = "it went to those who are here, but the server cannot keep it";
        let mut refusal = Refusal::new(Code::Internal, message);
        (refusal.source, refusal.n) = (Some(id), Some(n));
        Some((source.handle_unstorable(n, refusal.clone())?, refusal))
    }

    /// A guest has left for good. Who comes back with its messages is another member, whom nothing but these
    /// sources ties to it.
    pub fn handle_guest_gone(&mut self, member: MemberId) {
        let own = |source: &&mut Source| source.owner.key.is_none() && source.owner.member == Some(member);
        self.sources.values_mut().filter(own).for_each(|source| source.owner.member = None);
    }

    /// The store grants numbers through `limit`.
    pub fn handle_reserved(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// Whether the store works at present.
    pub fn handle_storage(&mut self, storing: bool) {
        self.storing = storing;
    }

    /// How far a source has come, and where that is to be said.
    pub fn ack(&self, id: SourceId) -> Option<(ConnectionId, Ack)> {
        self.sources.get(&id)?.ack(id)
    }

    /// A connection is gone: nothing is acknowledged there any more.
    pub fn handle_gone(&mut self, connection: ConnectionId) {
        self.sources.values_mut().for_each(|source| source.handle_gone(connection));
    }

    /// Numbers a message and writes its new header.
    fn enter(
        &mut self,
        frame: &Frame,
        letter: &Letter,
        author: &Author,
        to: Option<Addressee>,
        wall: u64,
    ) -> Entry {
        let seq = self.next;
        self.next += 1;
        let prev = self.last_public;
        let receipt = Receipt {
            seq,
            prev,
            from: author.member,
            name: author.name.clone(),
            key: author.key,
            received: wall as f64 / 1e6,
        };
        if to.is_none() {
            self.last_public = seq;
        }
        let out = frame.with_letter(Letter { receipt: Some(receipt), ..letter.clone() });
        Entry {
            seq,
            prev,
            source: letter.source,
            n: letter.n,
            checksum: frame.header.checksum,
            from: Origin { member: Some(author.member), key: author.key },
            to: to.map(|to| Origin { member: Some(to.member), key: to.key }),
            slot: letter.slot.clone().filter(|_| to.is_none()),
            received: wall,
            frame: out.bytes().clone(),
            refused: Vec::new(),
        }
    }

    fn remember(&mut self, entry: Entry) {
        if let Some(slot) = &entry.slot {
            self.slots.insert(slot.clone(), entry.clone());
        }
        self.ring_bytes += entry.frame.len();
        self.ring.push_back(entry);
        while self.ring.len() > limits::LOG_RING || self.ring_bytes > limits::LOG_BYTES {
            self.forget_oldest();
        }
    }

    /// Gives up the older half of what is in memory.
    pub fn shrink(&mut self) {
        for _ in 0..self.ring.len().div_ceil(2) {
            self.forget_oldest();
        }
    }

    /// Gives up the oldest message in memory.
    fn forget_oldest(&mut self) {
        if let Some(entry) = self.ring.pop_front() {
            self.ring_bytes -= entry.frame.len();
            self.before_ring = entry.seq;
        }
    }

    fn make_room_for_a_source(&mut self) {
        if self.sources.len() >= limits::SOURCES {
            let idle = self.sources.iter().filter(|(_, source)| source.is_settled());
            let oldest = idle.min_by_key(|(_, source)| source.used).map(|(id, _)| *id);
            oldest.and_then(|id| self.sources.remove(&id));
        }
    }
}
