//! The side that sends, as `pipeline::upload` wires it.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{CHUNK, OFFER, Tally, content, piece};
use crate::id::OfferId;
use crate::session::random::Random;
use crate::transfer::upload::{Load, Next, Wanted};
use crate::transfer::{Ranges, Upload};
use crate::wire::control::{Control, Refusal};
use crate::wire::offer::{Offer, Seal};
use crate::wire::{Code, Frame, Incoming, Part};

const ASK: u64 = 1;
const SEAL: u64 = 2;
/// Chunks that may be read ahead of the window.
const AHEAD: usize = 48;

/// A chunk that was read.
#[derive(Debug, Clone)]
struct Chunk(Frame);

impl Load for Chunk {
    fn size(&self) -> usize {
        CHUNK
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Away,
    Asked,
    Sending,
    Sealing,
    Sealed,
    Gone,
}

/// See the module.
pub(super) struct Sender {
    seed: u64,
    chunks: u32,
    /// It comes out of a pipe, which cannot be read again.
    stream: bool,
    flow: Upload<Chunk>,
    stage: Stage,
    reading: VecDeque<Wanted>,
    ended: bool,
    /// Everything that it was told to be safe.
    pub(super) told: Ranges,
    pub(super) tally: Tally,
}

impl Sender {
    pub(super) fn new(seed: u64, chunks: u32, stream: bool) -> Self {
        Self {
            seed,
            chunks,
            stream,
            flow: Upload::new((!stream).then_some(chunks), 0),
            stage: Stage::Away,
            reading: VecDeque::new(),
            ended: false,
            told: Ranges::new(),
            tally: Tally::default(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Sealed | Stage::Gone)
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.stage == Stage::Sealed
    }

    pub(super) fn state(&self) -> String {
        format!("sender {:?}, {:?} of {} kept", self.stage, self.flow.kept().pairs(), self.chunks)
    }

    pub(super) fn can_restart(&self) -> bool {
        !self.stream && !self.is_over()
    }

    /// It was killed; what it remembers is which offer it was.
    pub(super) fn restart(&mut self) {
        self.flow = Upload::new(Some(self.chunks), 0);
        self.reading.clear();
        self.stage = Stage::Away;
    }

    pub(super) fn handle_down(&mut self) {
        if !self.is_over() {
            self.stage = Stage::Away;
        }
        self.flow.handle_down();
    }

    pub(super) fn handle_up(&mut self) -> Option<Bytes> {
        self.stage = Stage::Asked;
        let size = (!self.stream).then_some(u64::from(self.chunks) * CHUNK as u64);
        let offer = Offer { id: ASK, offer: OfferId([1; 16]), chunk_size: CHUNK as u32, size, to: None };
        Some(control(&Control::Offer(offer)))
    }

    pub(super) fn handle(&mut self, incoming: Incoming) -> Option<Bytes> {
        let Incoming::Frame(frame) = incoming else { return None };
        match frame.operation().unwrap() {
            Control::Offered(offered) => {
                self.flow.handle_stored(Ranges::from_pairs(offered.stored), Ranges::new());
                assert!(!(self.stream && self.flow.has_lost()), "what came out of the pipe is lost");
                self.stage = if offered.sealed { Stage::Sealed } else { Stage::Sending };
            }
            Control::Kept { chunks, .. } => {
                self.told.join(&Ranges::from_pairs(chunks.iter().copied()));
                self.flow.handle_kept(&chunks);
            }
            Control::Error(refusal) => return self.handle_refused(&refusal),
            Control::Done { id: SEAL } => self.stage = Stage::Sealed,
            Control::OfferGone { .. } => self.stage = Stage::Gone,
            other => panic!("{other:?}"),
        }
        None
    }

    fn handle_refused(&mut self, refusal: &Refusal) -> Option<Bytes> {
        match (refusal.code, refusal.piece.as_deref()) {
            (Code::Checksum | Code::Internal, Some(piece)) => {
                self.flow.handle_damaged(piece.index);
                None
            }
            (Code::Incomplete, None) => self.handle_up(),
            (Code::Offer, _) => {
                self.stage = Stage::Gone;
                None
            }
            _ => panic!("{refusal:?}"),
        }
    }

    /// Reads, and sends what goes next.
    pub(super) fn work(&mut self, random: &mut Random) -> Option<Frame> {
        if self.stage != Stage::Sending {
            return None;
        }
        while self.flow.held(CHUNK) < AHEAD * CHUNK
            && let Some(wanted) = self.flow.next_order()
        {
            self.reading.push_back(wanted);
        }
        for _ in 0..random.between(0, 3) {
            // The end of a pipe takes back what was to be read behind it.
            if let Some(wanted) = self.reading.pop_front() {
                self.read(wanted);
            }
        }
        match self.flow.next_send() {
            Next::Chunk(chunk, Chunk(frame)) => {
                self.tally.count(chunk);
                Some(frame)
            }
            Next::Complete => {
                self.stage = Stage::Sealing;
                let seal = Seal { id: SEAL, offer: OFFER, chunks: self.chunks, manifest: 1, sums: 1 };
                Some(Frame::control(&Control::Seal(seal), 0))
            }
            Next::Window | Next::Unread => None,
        }
    }

    fn read(&mut self, wanted: Wanted) {
        if wanted.chunk >= self.chunks {
            if !self.ended {
                self.ended = true;
                self.flow.handle_end(self.chunks);
                self.reading.clear();
            }
        } else if wanted.send {
            let frame = piece(Part::Chunk, wanted.chunk, &content(self.seed, wanted.chunk));
            self.flow.handle_read(wanted.chunk, Chunk(frame));
        } else {
            self.flow.handle_seen();
        }
    }
}

pub(super) fn control(operation: &Control) -> Bytes {
    Frame::control(operation, 0).bytes().clone()
}
