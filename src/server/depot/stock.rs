//! What is there of one offer: shared by the room that shows it, the threads that store it and the
//! connections that fetch it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::id::{OfferNumber, RoomName};
use crate::limits;
use crate::transfer::Ranges;
use crate::wire::offer::Going;
use crate::wire::{Code, Part};

/// The place of an offer in the index; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::server) struct Row(pub(in crate::server) i64);

/// See the module.
#[derive(Debug)]
pub(in crate::server) struct Stock {
    pub(in crate::server) row: Row,
    pub(in crate::server) room: RoomName,
    pub(in crate::server) number: OfferNumber,
    pub(in crate::server) chunk_size: u32,
    /// Bytes of all chunks, where the sender knows.
    pub(in crate::server) size: Option<u64>,
    holding: Mutex<Holding>,
    /// The holding has changed in a way for which somebody may wait.
    changed: Notify,
    /// Bytes in its file.
    bytes: AtomicU64,
}

/// What is there.
#[derive(Debug, Clone, Default)]
pub(in crate::server) struct Holding {
    /// Chunks that are on disk.
    pub(in crate::server) kept: Ranges,
    /// Chunks that are written and not known to be on disk.
    pub(in crate::server) written: Ranges,
    /// Counts how often what was written had to be given up: what was written before such a time counts no
    /// more.
    pub(in crate::server) life: u64,
    /// The last chunk, where it has been seen because it is short.
    pub(in crate::server) short: Option<u32>,
    /// How many chunks there are, once it is sealed.
    pub(in crate::server) chunks: Option<u32>,
    /// Bytes in all of what has no size beforehand, once it is sealed.
    pub(in crate::server) total: Option<u64>,
    pub(in crate::server) about: bool,
    /// Pieces of the manifest, and of the sums, from the first.
    pub(in crate::server) manifest: u32,
    pub(in crate::server) sums: u32,
    /// The manifest is complete: what came before the first chunk is in the index.
    pub(in crate::server) listed: bool,
    /// A piece of the manifest has come and was not taken: a chunk says nothing of its end any more, only the seal.
    pub(in crate::server) torn: bool,
    pub(in crate::server) sealed: bool,
    pub(in crate::server) gone: Option<Going>,
}

/// What to do with a chunk that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Verdict {
    /// Write it.
    Take,
    /// It is on disk; tell so again.
    Kept,
    /// It is being stored.
    Pending,
    /// It does not fit.
    Refuse(Code, &'static str),
}

impl Stock {
    pub(in crate::server) fn new(
        row: Row,
        room: RoomName,
        number: OfferNumber,
        chunk_size: u32,
        size: Option<u64>,
        holding: Holding,
    ) -> Self {
        let (holding, changed) = (Mutex::new(holding), Notify::new());
        Self { row, room, number, chunk_size, size, holding, changed, bytes: AtomicU64::new(0) }
    }

    pub(in crate::server) fn holding(&self) -> MutexGuard<'_, Holding> {
        // A panic while it was held ended one thread; sets of numbers stay usable.
        self.holding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is there and wakes who waits for it.
    pub(in crate::server) fn change<T>(&self, change: impl FnOnce(&mut Holding) -> T) -> T {
        let result = change(&mut self.holding());
        self.changed.notify_waiters();
        result
    }

    /// A piece that is no chunk has come and was not taken.
    pub(in crate::server) fn miss(&self, part: Part) {
        if part == Part::Manifest {
            self.change(|holding| holding.torn = true);
        }
    }

    /// Waits until `ready` finds what it wants.
    pub(in crate::server) async fn wait<T>(&self, mut ready: impl FnMut(&Holding) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = ready(&self.holding()) {
                return found;
            }
            changed.await;
        }
    }

    /// How many chunks there will be, where that is known.
    pub(in crate::server) fn chunks(&self) -> Option<u32> {
        let by_size = self.size.and_then(|size| u32::try_from(size.div_ceil(self.chunk_size.into())).ok());
        by_size.or_else(|| self.holding().chunks)
    }

    /// Judges a chunk of `length` bytes.
    pub(in crate::server) fn judge(&self, index: u32, length: usize) -> Verdict {
        let holding = self.holding();
        let whole = self.chunk_size as usize;
        if holding.gone.is_some() {
            return Verdict::Refuse(Code::Offer, "the offer is gone");
        }
        let fits = match self.size {
            Some(size) => {
                let from = u64::from(index) * u64::from(self.chunk_size);
                from < size && length as u64 == (size - from).min(whole as u64)
            }
            None => {
                let highest = holding.kept.end().max(holding.written.end());
                let known = holding.short == Some(index);
                let last = holding.short.is_none() && index + 1 >= highest;
                length > 0
                    && length <= whole
                    && match length < whole {
                        true => known || last,
                        false => holding.short.is_none_or(|short| index < short),
                    }
            }
        };
        match () {
            () if index >= limits::CHUNKS => {
                Verdict::Refuse(Code::Conflict, "an offer has no chunk of that number")
            }
            () if !fits => Verdict::Refuse(Code::Conflict, "the chunk does not fit the offer's size"),
            () if holding.kept.contains(index) => Verdict::Kept,
            () if holding.written.contains(index) => Verdict::Pending,
            () if holding.sealed => Verdict::Refuse(Code::Conflict, "the offer is sealed"),
            () => Verdict::Take,
        }
    }

    /// Bytes in its file.
    pub(in crate::server) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(in crate::server) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Holding {
    /// Whether all pieces of `part` that there will be are known: its end.
    pub(in crate::server) fn end(&self, part: Part) -> Option<u32> {
        match part {
            Part::About => Some(1),
            // A chunk that is written says nothing yet: pieces that came before it may wait for the index.
            Part::Manifest if self.listed || self.sealed => Some(self.manifest),
            Part::Chunk if self.sealed => self.chunks,
            Part::Sums if self.sealed => Some(self.sums),
            _ => None,
        }
    }

    /// Whether piece `index` of `part` can be handed out.
    pub(in crate::server) fn has(&self, part: Part, index: u32) -> bool {
        match part {
            Part::About => self.about && index == 0,
            Part::Manifest => index < self.manifest,
            Part::Chunk => self.kept.contains(index),
            Part::Sums => index < self.sums && self.sealed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f09_a_list_ends_when_all_of_it_is_in_the_index_and_not_when_a_chunk_is_faster() {
        let mut holding = Holding::default();
        holding.written.add(0);
        assert_eq!(holding.end(Part::Manifest), None);
        holding.kept.add(0);
        assert_eq!(holding.end(Part::Manifest), None);
        (holding.manifest, holding.listed) = (2, true);
        assert_eq!(holding.end(Part::Manifest), Some(2));
        let empty = Holding { manifest: 1, sealed: true, ..Holding::default() };
        assert_eq!(empty.end(Part::Manifest), Some(1));
    }
}
