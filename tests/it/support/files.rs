//! Offers, as a peer makes and fetches them over a plain socket.

use confkit::id::{OfferId, OfferNumber};
use confkit::wire::control::{Control, Hello, Refusal};
use confkit::wire::offer::{Fetch, Offer, OfferState, Offered, Seal};
use confkit::wire::{Frame, Kind, Part, Piece};

use super::peer::{Peer, hello};

pub const CHUNK: u32 = 256 * 1024;

/// Bytes that are different in every chunk of every offer.
pub fn content(seed: u8, length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| (n as u64).wrapping_mul(2_654_435_761).to_le_bytes()[2] ^ (n >> 18) as u8 ^ seed)
        .collect()
}

pub fn wants_offers(name: &str) -> Hello {
    Hello { offers: true, ..hello(name) }
}

pub fn offer(seed: u8, size: Option<u64>) -> Offer {
    Offer { id: u64::from(seed), offer: OfferId([seed; 16]), chunk_size: CHUNK, size, to: None }
}

pub fn piece(offer: OfferNumber, part: Part, index: u32, payload: &[u8]) -> Frame {
    Frame::file(Piece { offer, part, index }, payload, 0)
}

pub fn about(offer: OfferNumber) -> Frame {
    piece(offer, Part::About, 0, br#"{"title":"a","files":1,"kind":"files","first":["a"]}"#)
}

impl Peer {
    /// Offers, and waits for all of the answer.
    pub fn offer(&mut self, offer: &Offer) -> Offered {
        self.say(&Control::Offer(offer.clone()));
        let mut stored = Vec::new();
        loop {
            let part = self.wait(|op| match op {
                Control::Offered(part) => Some(part),
                Control::Error(refusal) if refusal.id == Some(offer.id) => panic!("{refusal:?}"),
                _ => None,
            });
            stored.extend_from_slice(&part.stored);
            if !part.more {
                return Offered { stored, ..part };
            }
        }
    }

    /// The refusal of a request.
    pub fn refusal(&mut self, id: u64) -> Refusal {
        self.wait(|op| match op {
            Control::Error(refusal) if refusal.id == Some(id) => Some(refusal),
            Control::Done { id: done } if done == id => panic!("it was done"),
            Control::Offered(offered) if offered.id == id => panic!("it was answered"),
            _ => None,
        })
    }

    /// The refusal of a piece.
    pub fn refused_piece(&mut self) -> Refusal {
        self.wait(|op| match op {
            Control::Error(refusal) => refusal.piece.is_some().then_some(refusal),
            _ => None,
        })
    }

    pub fn done(&mut self, id: u64) {
        self.wait(|op| match op {
            Control::Done { id: done } => (done == id).then_some(()),
            Control::Error(refusal) if refusal.id == Some(id) => panic!("{refusal:?}"),
            _ => None,
        });
    }

    /// Waits until so many chunks more are kept.
    pub fn kept(&mut self, mut count: u32) {
        while count > 0 {
            count -= self.wait(|op| match op {
                Control::Kept { chunks, .. } => Some(chunks.iter().map(|[from, to]| to - from).sum::<u32>()),
                Control::Error(refusal) => panic!("{refusal:?}"),
                _ => None,
            });
        }
    }

    /// Uploads a whole offer and seals it.
    pub fn upload(&mut self, seed: u8, content: &[u8]) -> OfferNumber {
        let number = self.offer(&offer(seed, Some(content.len() as u64))).offer;
        self.send(about(number).bytes());
        self.send(piece(number, Part::Manifest, 0, b"{\"files\":[]}").bytes());
        let mut chunks = 0;
        for (index, chunk) in content.chunks(CHUNK as usize).enumerate() {
            self.send(piece(number, Part::Chunk, index as u32, chunk).bytes());
            chunks += 1;
        }
        self.send(piece(number, Part::Sums, 0, b"{\"files\":[]}").bytes());
        self.say(&Control::Seal(seal(number, chunks)));
        self.done(u64::from(number.0) + 1_000);
        number
    }

    /// All pieces of a request, until it is done.
    pub fn fetch(&mut self, fetch: Fetch) -> Vec<Frame> {
        let (id, part) = (fetch.id, fetch.part);
        self.say(&Control::Fetch(fetch));
        let mut frames = Vec::new();
        loop {
            let frame = self.next().expect("the connection ended");
            match &frame.header.kind {
                Kind::File if frame.header.piece.is_some_and(|piece| piece.part == part) => {
                    frames.push(frame)
                }
                // The `about` of an offer that it was told of.
                Kind::File => {}
                _ => match frame.operation().unwrap() {
                    Control::Done { id: done } if done == id => return frames,
                    Control::Error(refusal) => panic!("{refusal:?}"),
                    _ => {}
                },
            }
        }
    }

    /// All chunks of an offer, put together.
    pub fn download(&mut self, offer: OfferNumber) -> Vec<u8> {
        let chunks = self.fetch(Fetch { id: 77, offer, part: Part::Chunk, ranges: vec![(0, None)] });
        let in_order =
            chunks.iter().enumerate().all(|(n, frame)| frame.header.piece.unwrap().index == n as u32);
        assert!(in_order, "chunks come in order");
        chunks.iter().flat_map(|frame| frame.payload().to_vec()).collect()
    }

    /// The state of an offer, when it is as `fits` says.
    pub fn offer_state(&mut self, fits: impl Fn(&OfferState) -> bool) -> OfferState {
        self.wait(|op| match op {
            Control::OfferState(state) => fits(&state).then_some(state),
            _ => None,
        })
    }
}

pub fn seal(offer: OfferNumber, chunks: u32) -> Seal {
    Seal { id: u64::from(offer.0) + 1_000, offer, chunks, manifest: 1, sums: 1 }
}
