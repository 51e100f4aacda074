//! Files: what a program asks about offers, and what it is told.
//!
//! Nothing is remembered over a connection: after every [`Event::Up`] the program offers and fetches
//! again what it still wants, since only it knows how far it has come. Without a connection a request
//! goes nowhere.

use super::{Client, Event};
use crate::id::OfferNumber;
use crate::limits;
use crate::time::Moment;
use crate::wire::offer::Offered;
use crate::wire::{self, Control, Frame, Part};

impl Client {
    /// Asks something about an offer: `offer`, `seal`, `withdraw`, `fetch`, `unfetch` or `received`.
    pub fn ask(&mut self, request: &Control) {
        if self.is_up() {
            self.say(request);
        }
    }

    /// A file frame as it is to be written; nothing where its offer has not been answered on this connection.
    pub fn prepare_file(&mut self, frame: Frame) -> Option<Frame> {
        let offer = frame.header.piece?.offer;
        (self.is_up() && self.offered.contains(&offer)).then_some(frame)
    }

    /// The answer to an offer, of which the parts are put together.
    pub(super) fn handle_offered(&mut self, part: Offered, now: Moment) {
        let whole = match self.offered_part.take() {
            Some(mut begun) if begun.id == part.id => {
                begun.stored.extend(part.stored);
                Offered { stored: begun.stored, ..part }
            }
            _ => part,
        };
        if whole.stored.len() > limits::CHUNKS as usize {
            let error = wire::Error::Control("more chunks than an offer can have".into());
            return self.lose(error.into(), None, now);
        }
        if whole.more {
            self.offered_part = Some(whole);
            return;
        }
        self.offered.insert(whole.offer);
        self.events.push_back(Event::Offered(whole));
    }

    /// An offer is there no more.
    pub(super) fn forget_offer(&mut self, offer: OfferNumber) {
        self.offered.remove(&offer);
    }

    /// A piece of an offer has come. Chunks go on unchecked.
    pub(super) fn handle_file(&mut self, frame: Frame, now: Moment) {
        let is_chunk = frame.header.piece.is_some_and(|piece| piece.part == Part::Chunk);
        if is_chunk || frame.is_intact() {
            self.events.push_back(Event::File(frame));
        } else {
            self.handle_damaged(&frame.header, now);
        }
    }
}
