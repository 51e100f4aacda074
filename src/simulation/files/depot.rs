//! The server's disk and index, as `server::depot` behaves: chunks count when they have been synchronised, in batches;
//! what was not is lost in a crash, or found again.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::time::Duration;

use bytes::Bytes;

use super::sender::{Sender, control};
use super::{OFFER, content, piece};
use crate::session::random::Random;
use crate::time::Moment;
use crate::transfer::Ranges;
use crate::wire::control::{Control, Refusal};
use crate::wire::offer::{Fetch, Going, Offered, Seal};
use crate::wire::{Code, Frame, Incoming, Part, Piece};

/// See the module.
pub(super) struct Depot {
    seed: u64,
    random: Random,
    /// In files, with what is not safe yet.
    written: BTreeMap<u32, Vec<u8>>,
    unsynced: Vec<u32>,
    syncing: Option<(Moment, Vec<u32>)>,
    /// Safe and in the index.
    kept: Ranges,
    sealed: Option<u32>,
    gone: bool,
    /// Requests, and where the first of them is.
    fetches: VecDeque<Fetch>,
    range: usize,
    next: Option<u32>,
}

impl Depot {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            random: Random::new(!seed),
            written: BTreeMap::new(),
            unsynced: Vec::new(),
            syncing: None,
            kept: Ranges::new(),
            sealed: None,
            gone: false,
            fetches: VecDeque::new(),
            range: 0,
            next: None,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(super) fn withdraw(&mut self) {
        self.gone = true;
    }

    /// What was acknowledged is there, and it is what was sent.
    pub(super) fn check(&self, sender: &Sender) {
        if self.gone {
            return;
        }
        for range in sender.told.iter() {
            assert!(self.kept.covers(range.clone()), "{range:?} was acknowledged and is lost");
        }
        if sender.is_sealed() {
            let chunks = self.sealed.expect("the sender was told so");
            let all = (0..chunks).all(|n| self.written.get(&n).is_some_and(|c| *c == content(self.seed, n)));
            assert!(all, "what is sealed is not what was sent");
        }
    }

    /// The chunks that are not safe yet.
    fn take_open(&mut self) -> Vec<u32> {
        let syncing = self.syncing.take().into_iter().flat_map(|(_, chunks)| chunks);
        syncing.chain(self.unsynced.drain(..)).collect()
    }

    /// The server is killed, or the machine loses power; how many chunks that has cost.
    pub(super) fn crash(&mut self, power: bool) -> u64 {
        let mut lost = 0;
        for chunk in self.take_open() {
            // What is whole in its slot is found at the next start.
            if power && self.random.between(0, 1) == 0 {
                self.written.remove(&chunk);
                lost += 1;
            } else {
                self.kept.add(chunk);
            }
        }
        self.handle_reader_gone();
        lost
    }

    /// A sync fails: the chunks that must come again.
    pub(super) fn fail_to_sync(&mut self) -> Vec<u32> {
        let lost = self.take_open();
        for chunk in &lost {
            self.written.remove(chunk);
        }
        lost
    }

    pub(super) fn handle_reader_gone(&mut self) {
        self.fetches.clear();
        (self.range, self.next) = (0, None);
    }

    /// Synchronises; what the sender is told.
    pub(super) fn work(&mut self, now: Moment) -> Option<Bytes> {
        let mut kept = None;
        if let Some((_, chunks)) = self.syncing.take_if(|(at, _)| *at <= now) {
            let done: Ranges = chunks.into_iter().map(|chunk| chunk..chunk + 1).collect();
            self.kept.join(&done);
            kept = Some(control(&Control::Kept { offer: OFFER, chunks: done.pairs() }));
        }
        if self.syncing.is_none() && !self.unsynced.is_empty() {
            let took = Duration::from_millis(self.random.between(1, 120));
            self.syncing = Some((now + took, std::mem::take(&mut self.unsynced)));
        }
        kept
    }

    pub(super) fn handle(&mut self, incoming: Incoming) -> Option<Bytes> {
        let Incoming::Frame(frame) = incoming else { panic!("damage is found by the depot itself") };
        if let Some(piece) = frame.header.piece {
            return self.handle_chunk(&frame, piece);
        }
        match frame.operation().unwrap() {
            Control::Offer(offer) if !self.gone => {
                let offered = Offered {
                    id: offer.id,
                    offer: OFFER,
                    stored: self.kept.pairs(),
                    about: true,
                    manifest: 1,
                    sums: 1,
                    sealed: self.sealed.is_some(),
                    more: false,
                };
                Some(control(&Control::Offered(offered)))
            }
            Control::Seal(seal) if !self.gone => Some(self.handle_seal(seal)),
            Control::Fetch(fetch) if !self.gone => {
                self.fetches.push_back(fetch);
                None
            }
            Control::Offer(_) | Control::Seal(_) | Control::Fetch(_) => Some(gone()),
            other => panic!("{other:?}"),
        }
    }

    fn handle_chunk(&mut self, frame: &Frame, piece: Piece) -> Option<Bytes> {
        if !frame.is_intact() {
            return Some(refused(Code::Checksum, piece));
        }
        if self.gone {
            return Some(refused(Code::Offer, piece));
        }
        if self.kept.contains(piece.index) {
            return Some(control(&Control::Kept {
                offer: OFFER,
                chunks: vec![[piece.index, piece.index + 1]],
            }));
        }
        if let Entry::Vacant(slot) = self.written.entry(piece.index) {
            slot.insert(frame.payload().to_vec());
            self.unsynced.push(piece.index);
        }
        None
    }

    fn handle_seal(&mut self, seal: Seal) -> Bytes {
        if self.kept.covers(0..seal.chunks) {
            self.sealed = Some(seal.chunks);
            return control(&Control::Done { id: seal.id });
        }
        let mut refusal = Refusal::new(Code::Incomplete, "something is missing");
        refusal.id = Some(seal.id);
        control(&Control::Error(refusal))
    }

    /// What the reader is sent next.
    pub(super) fn serve(&mut self) -> Option<Frame> {
        loop {
            let fetch = self.fetches.front()?;
            let Some((from, to)) = fetch.ranges.get(self.range).copied() else {
                let id = fetch.id;
                self.fetches.pop_front();
                (self.range, self.next) = (0, None);
                return Some(Frame::control(&Control::Done { id }, 0));
            };
            let next = self.next.unwrap_or(from);
            if to.is_some_and(|to| next >= to) || self.sealed.is_some_and(|end| next >= end) {
                (self.range, self.next) = (self.range + 1, None);
                continue;
            }
            if !self.kept.contains(next) {
                return None;
            }
            self.next = Some(next + 1);
            return Some(piece(Part::Chunk, next, &self.written[&next]));
        }
    }
}

/// What a sender is told of chunks that a failed sync was about.
pub(super) fn losses(chunks: &[u32]) -> Vec<Bytes> {
    let piece = |index: &u32| Piece { offer: OFFER, part: Part::Chunk, index: *index };
    chunks.iter().map(|index| refused(Code::Internal, piece(index))).collect()
}

pub(super) fn gone() -> Bytes {
    control(&Control::OfferGone { offer: OFFER, reason: Going::Withdrawn, by: None })
}

fn refused(code: Code, piece: Piece) -> Bytes {
    let mut refusal = Refusal::new(code, "send it again");
    refusal.piece = Some(Box::new(piece));
    control(&Control::Error(refusal))
}
