//! The side that receives, as `pipeline::download` wires it, with a disk that forgets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::depot::Depot;
use super::sender::control;
use super::{CHUNK, OFFER, Tally, content};
use crate::id::OfferId;
use crate::session::random::Random;
use crate::time::Moment;
use crate::transfer::download::Damaged;
use crate::transfer::journal::Head;
use crate::transfer::{Download, Journal, Ranges};
use crate::wire::control::Control;
use crate::wire::offer::Fetch;
use crate::wire::{Incoming, Part, checksum};

type Sum = [u8; 16];

/// A part and its journal, in files.
#[derive(Default)]
struct Disk {
    part: BTreeMap<u32, Vec<u8>>,
    safe: BTreeSet<u32>,
    journal: Vec<u8>,
    journal_safe: usize,
}

/// See the module.
pub(super) struct Receiver {
    seed: u64,
    chunks: u32,
    stream: bool,
    random: Random,
    disk: Disk,
    journal: Journal,
    flow: Download,
    requests: u64,
    written: Vec<(u32, Sum)>,
    syncing: Option<(Moment, Vec<(u32, Sum)>)>,
    up: bool,
    gone: bool,
    whole: bool,
    /// It has to end: a chunk came damaged twice.
    ends: bool,
    /// Chunks of its part that somebody has changed.
    spoilt: BTreeSet<u32>,
    pub(super) tally: Tally,
}

fn head() -> Head {
    Head { offer: OfferId([1; 16]), room: "test".into(), chunk_size: CHUNK as u32, manifest: [4; 16] }
}

impl Receiver {
    pub(super) fn new(seed: u64, chunks: u32, stream: bool) -> Self {
        let journal = Journal::new(head());
        let bytes = journal.to_bytes();
        let disk = Disk { journal_safe: bytes.len(), journal: bytes, ..Disk::default() };
        Self {
            seed,
            chunks,
            stream,
            random: Random::new(seed ^ 0xd15c),
            disk,
            journal,
            flow: Download::new((!stream).then_some(chunks), CHUNK as u32, Ranges::new()),
            requests: 0,
            written: Vec::new(),
            syncing: None,
            up: false,
            gone: false,
            whole: false,
            ends: false,
            spoilt: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.whole || self.gone
    }

    pub(super) fn state(&self) -> String {
        format!("receiver: {:?} of {} safe, up {}", self.flow.kept().pairs(), self.chunks, self.up)
    }

    pub(super) fn check(&self, gone: bool) {
        assert!(self.whole || gone && self.gone);
        let right = |n| self.disk.part.get(&n).is_some_and(|chunk| *chunk == content(self.seed, n));
        assert!(self.gone || (0..self.chunks).all(right), "what arrived is not what was sent");
        assert!(self.gone || self.disk.part.len() == self.chunks as usize);
    }

    pub(super) fn handle_up(&mut self, depot: &Depot) -> Option<Bytes> {
        self.up = true;
        self.gone |= depot.is_gone();
        self.flow.handle_down();
        None
    }

    pub(super) fn handle_down(&mut self) {
        self.up = false;
        self.flow.handle_down();
    }

    /// It is killed, or the machine loses power, and it starts again.
    pub(super) fn crash(&mut self, power: bool) {
        if self.is_over() {
            return;
        }
        // What the journal said last may be lost with the power as well.
        self.tally.breaks += 1 + u64::from(power);
        (self.written, self.syncing, self.up, self.ends) = (Vec::new(), None, false, false);
        if power {
            self.lose_power();
        }
        let opened = Journal::open(&self.disk.journal).expect("its head is safe before anything else");
        self.disk.journal.truncate(opened.good);
        self.disk.journal_safe = self.disk.journal_safe.min(opened.good);
        self.journal = opened.journal;
        let kept = self.journal.chunks().clone();
        let wrong: Vec<u32> = kept.numbers().filter(|n| !self.is_noted(*n)).collect();
        if !wrong.is_empty() {
            // Somebody has changed the part: what was not is still good.
            let changed = wrong.iter().all(|n| self.spoilt.contains(n));
            assert!(changed, "the journal says that {wrong:?} are safe, and they are not");
            let lost: Ranges = wrong.into_iter().map(|n| n..n + 1).collect();
            self.tally.spoilt += u64::from(lost.count());
            self.lose(&lost);
        }
        let kept = self.journal.chunks().clone();
        self.flow = Download::new((!self.stream).then_some(self.chunks), CHUNK as u32, kept);
    }

    fn lose_power(&mut self) {
        let open: Vec<u32> = self.disk.part.keys().copied().filter(|n| !self.disk.safe.contains(n)).collect();
        for n in open {
            match self.random.between(0, 2) {
                0 => drop(self.disk.part.remove(&n)),
                1 => drop(self.disk.part.insert(n, vec![0; 9])),
                _ => {}
            }
        }
        let (safe, all) = (self.disk.journal_safe, self.disk.journal.len());
        let cut = self.random.between(safe as u64, all as u64) as usize;
        self.disk.journal.truncate(cut);
        if cut > safe && self.random.between(0, 2) == 0 {
            let at = self.random.between(safe as u64, cut as u64 - 1) as usize;
            self.disk.journal[at] ^= 1 << self.random.between(0, 7);
        }
    }

    /// Whether a chunk is on the disk as the journal says.
    fn is_noted(&self, n: u32) -> bool {
        let there = self.disk.part.get(&n).map(|chunk| checksum(chunk));
        there.is_some() && there == self.journal.sum(n)
    }

    fn lose(&mut self, lost: &Ranges) {
        for range in lost.iter() {
            let bytes = self.journal.remove_chunks(range);
            self.disk.journal.extend(bytes);
        }
    }

    /// Somebody writes into the part.
    pub(super) fn spoil(&mut self) {
        let safe: Vec<u32> = self.flow.kept().numbers().collect();
        if safe.is_empty() || self.is_over() {
            return;
        }
        let n = safe[self.random.between(0, safe.len() as u64 - 1) as usize];
        self.disk.part.insert(n, b"something else".to_vec());
        self.spoilt.insert(n);
    }

    pub(super) fn handle(&mut self, incoming: Incoming) -> Option<Bytes> {
        let Incoming::Frame(frame) = incoming else { return None };
        let Some(piece) = frame.header.piece else {
            match frame.operation().unwrap() {
                Control::Done { id } => match self.flow.handle_done(id) {
                    Ok(left) => self.tally.spoilt += u64::from(left.count()),
                    Err(Damaged(_)) => self.ends = true,
                },
                Control::OfferGone { .. } => self.gone = true,
                other => panic!("{other:?}"),
            }
            return None;
        };
        assert_eq!(piece.part, Part::Chunk);
        self.tally.count(piece.index);
        if self.flow.handle_chunk(piece.index) {
            if frame.is_intact() {
                self.disk.safe.remove(&piece.index);
                self.disk.part.insert(piece.index, frame.payload().to_vec());
                self.written.push((piece.index, frame.header.checksum));
            } else {
                self.ends |= self.flow.handle_damaged(piece.index).is_err();
            }
        }
        None
    }

    /// Makes things safe and notes them; whether it ends because something is wrong.
    pub(super) fn work(&mut self, now: Moment, random: &mut Random) -> bool {
        if let Some((_, done)) = self.syncing.take_if(|(at, _)| *at <= now) {
            // The data is safe first; the journal is so when the next sync is over.
            self.disk.safe.extend(done.iter().map(|(n, _)| *n));
            self.disk.journal_safe = self.disk.journal.len();
            let bytes = self.journal.add_chunks(&done);
            self.disk.journal.extend(bytes);
            done.iter().for_each(|(n, _)| self.flow.handle_kept(*n));
        }
        if self.syncing.is_none() && !self.written.is_empty() {
            let took = Duration::from_millis(random.between(1, 120));
            self.syncing = Some((now + took, std::mem::take(&mut self.written)));
        }
        if !self.is_over() && self.syncing.is_none() && self.flow.is_complete() {
            self.finish();
        }
        std::mem::take(&mut self.ends)
    }

    /// All of it is there: whether it is right. Chunks that are not come again.
    fn finish(&mut self) {
        if self.stream && !self.flow.close(self.chunks) {
            panic!("there is more than was sent");
        }
        let wrong: Ranges = (0..self.chunks).filter(|n| !self.is_noted(*n)).map(|n| n..n + 1).collect();
        if wrong.is_empty() {
            self.whole = self.flow.is_complete();
            return;
        }
        self.tally.spoilt += u64::from(wrong.count());
        self.flow.handle_lost(&wrong);
    }

    /// What it asks for next.
    pub(super) fn ask(&mut self) -> Option<Bytes> {
        if !self.up || self.is_over() {
            return None;
        }
        let ranges = self.flow.next_request(self.requests + 1)?;
        self.requests += 1;
        let ranges = ranges.into_iter().map(|[from, to]| (from, Some(to))).collect();
        Some(control(&Control::Fetch(Fetch { id: self.requests, offer: OFFER, part: Part::Chunk, ranges })))
    }
}
