//! The messages of one room, at the server: their numbers, what came twice, what is still to be stored, and
//! what somebody who comes back has missed.
//!
//! Bounds: the ring holds [`limits::LOG_RING`] messages and [`limits::LOG_BYTES`]; older ones come from the
//! store, where there is one. [`limits::SOURCES`] sources are remembered, the longest silent one is forgotten
//! first. [`limits::SLOTS`] slots.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;

use crate::id::{ConnectionId, LogId, MemberId, PublicKey, SourceId};
use crate::limits;
use crate::wire::control::{Ack, Gap, GapReason, Refusal};
use crate::wire::{Code, Frame, Letter, Receipt, Slot};

/// Checksums of the last messages of a source that are kept to notice that a number was used twice.
const RECENT: usize = 32;
/// Refusals of a source that are kept, because the sender may not have heard of them: as many as it has
/// messages on their way.
const REFUSED: usize = limits::WINDOW;

/// Who sends a message.
#[derive(Debug, Clone)]
pub struct Author {
    /// The member.
    pub member: MemberId,
    /// Its name now.
    pub name: String,
    /// Its key.
    pub key: Option<PublicKey>,
}

/// Whose a direct message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addressee {
    /// The member, in this life of the room.
    pub member: MemberId,
    /// Its key, which outlives that.
    pub key: Option<PublicKey>,
}

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The sender, where that was in this life of the room.
    pub member: Option<MemberId>,
    /// The sender's key.
    pub key: Option<PublicKey>,
}

/// One message of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the room.
    pub seq: u64,
    /// The number of the message to everybody before it.
    pub prev: u64,
    /// The sender's series.
    pub source: SourceId,
    /// Its number there.
    pub n: u64,
    /// MD5 of the payload.
    pub checksum: [u8; 16],
    /// Who sent it.
    pub from: Origin,
    /// Whose it is, where it is not everybody's.
    pub to: Option<Origin>,
    /// Its slot.
    pub slot: Option<Slot>,
    /// When the server took it, in microseconds since 1970.
    pub received: u64,
    /// The frame as receivers get it.
    pub frame: Bytes,
}

/// Who reads.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// The member.
    pub member: MemberId,
    /// Its key.
    pub key: Option<PublicKey>,
}

impl Origin {
    fn is(&self, reader: &Reader) -> bool {
        self.member == Some(reader.member) || (self.key.is_some() && self.key == reader.key)
    }
}

impl Entry {
    /// Whether `reader` may have it.
    pub fn is_for(&self, reader: &Reader) -> bool {
        self.to.is_none_or(|to| to.is(reader) || self.from.is(reader))
    }
}

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
    /// Sources: the last number, its owner and the checksum of the last message.
    pub sources: Vec<(SourceId, u64, Option<PublicKey>, [u8; 16])>,
}

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

/// The store has to be asked: for the messages behind `after`, up to and with `through`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// What the reader has.
    pub after: u64,
    /// The last that is not in memory.
    pub through: u64,
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

#[derive(Debug)]
struct Source {
    owner: Origin,
    last: u64,
    seq: u64,
    stored: u64,
    /// How many of [`Log::unstored`] are its.
    waiting: usize,
    recent: VecDeque<(u64, [u8; 16])>,
    /// Numbers that were refused, and why.
    refused: VecDeque<(u64, Refusal)>,
    /// Known from the disk, and not heard of since: what was relayed and not stored may lie behind `last`.
    restored: bool,
    /// Where its acknowledgements go.
    connection: Option<ConnectionId>,
    used: u64,
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
        for (id, n, owner, checksum) in past.sources {
            log.clock += 1;
            let source = Source {
                owner: Origin { member: None, key: owner },
                last: n,
                seq: 0,
                stored: n,
                waiting: 0,
                recent: VecDeque::from([(n, checksum)]),
                refused: VecDeque::new(),
                restored: true,
                connection: None,
                used: log.clock,
            };
            log.sources.insert(id, source);
        }
        for entry in past.newest {
            log.remember(entry);
        }
        log
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
        let entry = self.enter(frame, letter, author, to, wall);
        let stored = self.stored;
        let source = self.source(letter, owner, connection);
        source.last = letter.n;
        source.seq = entry.seq;
        source.recent.push_back((letter.n, checksum));
        if source.recent.len() > RECENT {
            source.recent.pop_front();
        }
        if stored {
            source.waiting += 1;
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
        source.connection = Some(connection);
        if letter.n <= source.last {
            if let Some((_, refusal)) = source.refused.iter().find(|(n, _)| *n == letter.n) {
                return Some(Accepted::Refused(refusal.clone()));
            }
            let other = |(n, known): &(u64, [u8; 16])| *n == letter.n && *known != checksum;
            return Some(Accepted::Again { conflict: source.recent.iter().any(other) });
        }
        let restored = std::mem::take(&mut source.restored);
        if letter.n > source.last + limits::AHEAD && !restored {
            let message = format!("message {} after {}", letter.n, source.last);
            return Some(Accepted::Fault(Refusal::new(Code::Protocol, message)));
        }
        None
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
        source.last = letter.n;
        source.note_refused(letter.n, refusal.clone());
        if stored {
            source.settle();
        }
        Accepted::Refused(refusal)
    }

    /// The source of a new message, which may be new itself.
    fn source(&mut self, letter: &Letter, owner: Origin, connection: ConnectionId) -> &mut Source {
        if !self.sources.contains_key(&letter.source) {
            self.make_room_for_a_source();
        }
        self.clock += 1;
        let source = self.sources.entry(letter.source).or_insert_with(|| Source::new(owner, letter.n - 1));
        source.connection = Some(connection);
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
                source.waiting = source.waiting.saturating_sub(1);
                source.stored = n;
                source.settle();
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
        source.waiting = source.waiting.saturating_sub(1);
        let message = "it went to those who are here, but the server cannot keep it";
        let mut refusal = Refusal::new(Code::Internal, message);
        (refusal.source, refusal.n) = (Some(id), Some(n));
        source.note_refused(n, refusal.clone());
        source.settle();
        Some((source.connection?, refusal))
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
        let source = self.sources.get(&id)?;
        let (relayed, stored, seq) = (source.last, source.stored, source.seq);
        Some((source.connection?, Ack { source: id, relayed, stored, seq, conflict: false }))
    }

    /// A connection is gone: nothing is acknowledged there any more.
    pub fn handle_gone(&mut self, connection: ConnectionId) {
        for source in self.sources.values_mut() {
            source.connection = source.connection.filter(|known| *known != connection);
        }
    }

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

    /// The part that the store has found: `entries`, oldest first, are all that this reader may have behind
    /// `missing.after` up to `missing.through`, or the first of them when they are as many as a page holds.
    pub fn page_of(&self, missing: Missing, entries: &[Entry], full: bool) -> Page {
        let through = match entries.last() {
            Some(last) if full => last.seq,
            _ => missing.through,
        };
        let mut page = self.assemble(missing.after, through, entries.iter());
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
        tell(1, first.saturating_sub(1), GapReason::Expired);
        for &(from, to) in &self.gaps {
            tell(from.max(first), to, GapReason::Crash);
        }
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
            let idle = self.sources.iter().filter(|(_, source)| source.waiting == 0);
            let oldest = idle.min_by_key(|(_, source)| source.used).map(|(id, _)| *id);
            oldest.and_then(|id| self.sources.remove(&id));
        }
    }
}

impl Source {
    fn new(owner: Origin, last: u64) -> Self {
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
            used: 0,
        }
    }

    fn belongs_to(&self, other: &Origin) -> bool {
        match self.owner.key {
            Some(key) => other.key == Some(key),
            // A guest of an earlier life cannot be told from another.
            None => other.key.is_none() && self.owner.member.is_none_or(|m| Some(m) == other.member),
        }
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
