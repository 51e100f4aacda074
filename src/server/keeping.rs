//! How a room's messages get to the store and back: what [`crate::chat`] calls things, and what the
//! [`store`](super::store) calls them.

use tracing::warn;

use super::store::{Archive, Record, RoomKey, Store};
use crate::chat::{Entry, Found, Log, Missing, Origin, Past};
use crate::id::PublicKey;
use crate::limits;
use crate::room::Settings;
use crate::wire::Slot;

/// A message with its header.
const LARGEST: usize = 4 + limits::HEADER + limits::MESSAGE;

/// One room's place in the store.
#[derive(Debug)]
pub(super) struct Keeping {
    store: Store,
    room: RoomKey,
}

impl Keeping {
    pub(super) fn new(store: Store, room: RoomKey) -> Self {
        Self { store, room }
    }

    /// Which room it is in the store.
    pub(super) fn room(&self) -> RoomKey {
        self.room
    }

    /// Hands a message over; whether it was taken.
    pub(super) fn store(&self, entry: Entry) -> bool {
        self.store.append(Record {
            room: self.room,
            seq: entry.seq,
            prev: entry.prev,
            source: entry.source,
            n: entry.n,
            checksum: entry.checksum,
            from_key: entry.from.key,
            to_key: entry.to.and_then(|to| to.key),
            direct: entry.to.is_some(),
            slot: entry.slot.map(String::from),
            received: entry.received,
            frame: entry.frame,
            refused: entry.refused,
        })
    }

    /// Keeps what hosts have changed.
    pub(super) fn keep(&self, settings: Settings) {
        let Settings { owner, hosts, locked } = settings;
        let kept = self.store.set_owner(self.room, owner)
            && self.store.set_hosts(self.room, hosts)
            && self.store.set_locked(self.room, locked);
        if !kept {
            warn!("the store is full: who the hosts are and whether the room is locked is not kept");
        }
    }

    /// Behind which number the newest `count` messages begin, of those through `through`.
    pub(super) async fn start(&self, count: u32, through: u64, reader: Option<PublicKey>) -> u64 {
        let most = limits::PAGE_BYTES * 4;
        match self.store.last(self.room, through + 1, count as usize, most, reader).await {
            Ok(records) => records.first().map_or(through, |first| first.seq - 1),
            Err(error) => {
                warn!(%error, "cannot read the history");
                through
            }
        }
    }

    /// The newest `count` messages before `before`, or as many of them as make a page. Nothing where they
    /// cannot be read.
    pub(super) async fn older(
        &self,
        before: u64,
        count: u32,
        reader: Option<PublicKey>,
    ) -> Option<Vec<Entry>> {
        match self.store.last(self.room, before, count as usize, limits::PAGE_BYTES, reader).await {
            Ok(records) => Some(records.into_iter().map(entry).collect()),
            Err(error) => {
                warn!(%error, "cannot read the history");
                None
            }
        }
    }

    /// Messages that a reader is missing.
    pub(super) async fn page(&self, missing: Missing, reader: Option<PublicKey>) -> Option<Found> {
        let Missing { after, through } = missing;
        let page = self.store.page(self.room, after, through + 1, limits::PAGE, limits::PAGE_BYTES, reader);
        match page.await {
            Ok((records, oldest)) => {
                // Where one more would have fitted, there are no more; otherwise they may have been cut off.
                let bytes: usize = records.iter().map(|record| record.frame.len()).sum();
                let full = records.len() == limits::PAGE || bytes + LARGEST > limits::PAGE_BYTES;
                Some(Found { entries: records.into_iter().map(entry).collect(), full, oldest })
            }
            Err(error) => {
                warn!(%error, "cannot read the history");
                None
            }
        }
    }

    /// The room is over.
    pub(super) fn release(&self, used: bool) {
        self.store.release(self.room, used);
    }
}

/// The log and the settings of a room as they were kept.
pub(super) fn restore(archive: Archive) -> (Log, Settings) {
    let settings = Settings { owner: archive.owner, hosts: archive.hosts, locked: archive.locked };
    let past = Past {
        next: archive.next,
        limit: archive.through,
        last_public: archive.last_public,
        oldest: archive.oldest.unwrap_or(archive.next),
        gaps: archive.gaps.iter().map(|gap| (gap.start, gap.end - 1)).collect(),
        newest: archive.newest.into_iter().map(entry).collect(),
        slots: archive.slots.into_iter().map(entry).collect(),
        sources: archive.sources,
    };
    (Log::restore(archive.log, past), settings)
}

fn entry(record: Record) -> Entry {
    let person = |key| Origin { member: None, key };
    Entry {
        seq: record.seq,
        prev: record.prev,
        source: record.source,
        n: record.n,
        checksum: record.checksum,
        from: person(record.from_key),
        to: record.direct.then(|| person(record.to_key)),
        slot: record.slot.and_then(|slot| slot.parse::<Slot>().ok()),
        received: record.received,
        frame: record.frame,
        refused: record.refused,
    }
}
