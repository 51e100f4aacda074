//! What callers and the store's thread share: what waits to be done, and what is to be reported.
//!
//! Bounds: [`WAITING_BYTES`] of writes (a further one is refused and its number noted as a hole),
//! [`REQUESTS`] requests (a further one is refused), reports of a room merged into one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::types::{Archive, Commit, Founding, Health, Keep, Known, Listed, Record, RoomKey, StoreError};
use crate::id::{PublicKey, RoomName};
use crate::time::{self, Moment};

/// What may wait to be written, in bytes.
pub(super) const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// What a write counts for besides its frame.
const WRITE_COST: usize = 256;
/// Requests that may wait for an answer.
const REQUESTS: usize = 4_096;
/// Requests that are taken at once, so that writes between them need not wait for long.
const REQUESTS_AT_ONCE: usize = 8;
/// Separate ranges of refused numbers that are remembered; a run of refusals is one.
const HOLES: usize = 1_024;

/// Something that is to be on disk.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// A message.
    Record(Record),
    /// Who the hosts of a room are.
    Hosts(RoomKey, Vec<PublicKey>),
    /// Whether a room is locked.
    Locked(RoomKey, bool),
    /// Whose a room is.
    Owner(RoomKey, Option<PublicKey>),
    /// Numbers that were given and are not kept.
    Hole(RoomKey, RangeInclusive<u64>),
}

impl Write {
    pub(super) fn cost(&self) -> usize {
        WRITE_COST
            + match self {
                Self::Record(record) => record.frame.len(),
                Self::Hosts(_, hosts) => hosts.len() * 32,
                Self::Locked(..) | Self::Owner(..) | Self::Hole(..) => 0,
            }
    }
}

/// Where an answer goes.
pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// A question to the store's thread.
pub(super) enum Request {
    Load(RoomName, Answer<Option<Archive>>),
    Knows(RoomName, Answer<Option<Known>>),
    Found(RoomName, Box<Founding>, Answer<Archive>),
    Page(Range, Answer<(Vec<Record>, u64)>),
    Rooms(Answer<Vec<Listed>>),
    Remove(RoomName, Answer<bool>),
    Release(RoomKey, bool),
    Keep(Keep),
    Close(oneshot::Sender<()>),
    #[cfg(test)]
    Limit(u64, Answer<()>),
}

/// Which messages are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) room: RoomKey,
    pub(super) after: u64,
    pub(super) before: u64,
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) reader: Option<PublicKey>,
    /// The newest of them instead of the oldest.
    pub(super) newest: bool,
}

/// The numbers of an open room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    /// The last that may be given.
    pub(super) through: u64,
    /// The last that was given.
    pub(super) given: u64,
}

/// What the thread takes at once.
pub(super) struct Work {
    pub(super) writes: Vec<Write>,
    pub(super) requests: Vec<Request>,
    /// Nobody has the store any more.
    pub(super) abandoned: bool,
}

#[derive(Default)]
struct State {
    writes: Vec<Write>,
    requests: VecDeque<Request>,
    numbers: HashMap<RoomKey, Numbers>,
    holes: Vec<(RoomKey, RangeInclusive<u64>)>,
    health: Health,
    reports: Reports,
    abandoned: bool,
    ended: bool,
}

/// What has not been reported yet. A failure goes before what follows from its end.
#[derive(Default)]
struct Reports {
    health: Option<Commit>,
    reserved: BTreeMap<RoomKey, u64>,
    stored: BTreeMap<RoomKey, u64>,
}

impl Reports {
    fn pop(&mut self) -> Option<Commit> {
        let reserved = |(room, through)| Commit::Reserved { room, through };
        let stored = |(room, through)| Commit::Stored { room, through };
        self.health
            .take()
            .or_else(|| self.reserved.pop_first().map(reserved))
            .or_else(|| self.stored.pop_first().map(stored))
    }
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    news: Notify,
}

impl Queue {
    /// Takes a message; false where too much waits, or where its number was not reserved.
    pub(super) fn append(&self, record: Record) -> bool {
        let mut state = self.state();
        let (room, seq) = (record.room, record.seq);
        let Some(numbers) = state.numbers.get_mut(&room) else { return false };
        if seq > numbers.through || seq <= numbers.given {
            return false;
        }
        numbers.given = seq;
        let first = state.writes.is_empty();
        if !state.push(Write::Record(record)) {
            state.health.refused += 1;
            state.note_hole(room, seq);
            return false;
        }
        drop(state);
        // The thread knows of the others, and waits for more of them.
        if first {
            self.work.notify_one();
        }
        true
    }

    /// Takes a change of a room; false where too much waits or the room is not there.
    pub(super) fn change(&self, room: RoomKey, write: Write) -> bool {
        let mut state = self.state();
        let taken = state.numbers.contains_key(&room) && state.push(write);
        drop(state);
        self.work.notify_one();
        taken
    }

    /// Takes a request; it is answered with an error where it cannot wait.
    pub(super) fn ask(&self, request: Request) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.ended {
            return Err(StoreError::Closed);
        }
        if state.requests.len() >= REQUESTS && !matches!(request, Request::Close(_) | Request::Release(..)) {
            return Err(StoreError::Busy);
        }
        state.requests.push_back(request);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// Waits for something to do, at most `limit`; for writes alone also until `due`, so that more of them
    /// come together. What was written before a request was made is taken with it or before it.
    pub(super) fn take(&self, limit: Duration, due: Moment) -> Work {
        let calm = |state: &mut State| state.requests.is_empty() && !state.abandoned;
        let idle = |state: &mut State| state.writes.is_empty() && calm(state);
        let waited = self.work.wait_timeout_while(self.state(), limit, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let gather = due.since(time::now());
        if !state.writes.is_empty() && !gather.is_zero() {
            let waited = self.work.wait_timeout_while(state, gather, calm);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let count = state.requests.len().min(REQUESTS_AT_ONCE);
        let mut writes = std::mem::take(&mut state.writes);
        for (room, range) in std::mem::take(&mut state.holes) {
            let hole = Write::Hole(room, range);
            state.health.waiting += 1;
            state.health.waiting_bytes += hole.cost();
            writes.push(hole);
        }
        let requests: Vec<_> = state.requests.drain(..count).collect();
        Work { writes, requests, abandoned: state.abandoned && state.requests.is_empty() }
    }

    /// The next report; `None` when the store has ended.
    pub(super) async fn report(&self) -> Option<Commit> {
        loop {
            {
                let mut state = self.state();
                if let Some(report) = state.reports.pop() {
                    return Some(report);
                }
                if state.ended {
                    return None;
                }
            }
            self.news.notified().await;
        }
    }

    /// Nobody has the store any more.
    pub(super) fn abandon(&self) {
        self.state().abandoned = true;
        self.work.notify_one();
    }

    /// The thread has ended; what still waits is not done.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        // Dropped, they tell those who ask.
        let unanswered = std::mem::take(&mut state.requests);
        state.numbers.clear();
        drop(state);
        drop(unanswered);
        self.news.notify_one();
    }

    /// These writes are on disk.
    pub(super) fn done(&self, writes: &[Write], took: Duration, bytes: u64) {
        let mut state = self.state();
        state.health.waiting -= writes.len();
        state.health.waiting_bytes -= writes.iter().map(Write::cost).sum::<usize>();
        state.health.last_commit = took;
        state.health.bytes = bytes;
        for write in writes {
            if let Write::Record(record) = write {
                state.health.stored += 1;
                let through = state.reports.stored.entry(record.room).or_default();
                *through = record.seq.max(*through);
            }
        }
        drop(state);
        self.news.notify_one();
    }

    /// Numbers through this one are reserved on disk.
    pub(super) fn reserved(&self, room: RoomKey, through: u64) {
        let mut state = self.state();
        if let Some(numbers) = state.numbers.get_mut(&room) {
            numbers.through = numbers.through.max(through);
            state.reports.reserved.insert(room, through);
        }
        drop(state);
        self.news.notify_one();
    }

    pub(super) fn failing(&self, why: Option<String>) {
        let mut state = self.state();
        state.health.failing.clone_from(&why);
        state.reports.health = Some(why.map_or(Commit::Working, Commit::Failing));
        drop(state);
        self.news.notify_one();
    }

    pub(super) fn numbers(&self, room: RoomKey) -> Option<Numbers> {
        self.state().numbers.get(&room).copied()
    }

    /// All open rooms.
    pub(super) fn open_rooms(&self) -> Vec<(RoomKey, Numbers)> {
        self.state().numbers.iter().map(|(room, numbers)| (*room, *numbers)).collect()
    }

    pub(super) fn open_room(&self, room: RoomKey, numbers: Numbers) {
        self.state().numbers.insert(room, numbers);
    }

    pub(super) fn close_room(&self, room: RoomKey) {
        self.state().numbers.remove(&room);
    }

    /// Whether nothing waits that was not taken.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state();
        state.writes.is_empty() && state.requests.is_empty()
    }

    pub(super) fn health(&self) -> Health {
        self.state().health.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete before anything in it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, write: Write) -> bool {
        let cost = write.cost();
        if self.ended || self.health.waiting_bytes + cost > WAITING_BYTES {
            return false;
        }
        self.health.waiting += 1;
        self.health.waiting_bytes += cost;
        self.writes.push(write);
        true
    }

    fn note_hole(&mut self, room: RoomKey, seq: u64) {
        let adjoining = self.holes.iter_mut().rev().find(|(r, range)| *r == room && range.end() + 1 == seq);
        if let Some((_, range)) = adjoining {
            *range = *range.start()..=seq;
        } else if self.holes.len() < HOLES {
            self.holes.push((room, seq..=seq));
        }
    }
}
