//! Pieces of files, either way: what a connection uploads and what it fetches, and how both step back for media.

use std::mem;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Connection;
use crate::id::OfferNumber;
use crate::limits;
use crate::net::tcp;
use crate::server::depot::{self, Depot, Stock};
use crate::server::fetcher::{Fetcher, Served};
use crate::server::lines;
use crate::server::outbox::Outbox;
use crate::time::{self, Moment};
use crate::wire::control::{Control, Refusal};
use crate::wire::offer::Fetch;
use crate::wire::{Code, Frame, Part};

impl Connection {
    /// How many bytes of files may go now, either way: while media waits on the same line they step back. Where
    /// media goes over this connection as well, its own queue decides.
    pub(super) fn step_back(&mut self, now: Moment) -> usize {
        let wants_media = self.outbox.queue().wants_media();
        let moved = self.read + self.outbox.sent();
        let news = moved - mem::replace(&mut self.told, moved);
        let Some(place) = self.outbox.place() else { return usize::MAX };
        if wants_media || !self.fans.is_empty() {
            place.mark_media(now);
            // What waits on the way is seen by an answer that takes longer than it did.
            let watched = wants_media && place.has_files(now);
            self.peer.watch(watched.then_some(lines::PROBE), now);
            if let Some(delay) = self.peer.delay(now).filter(|_| watched) {
                let sent = now.micros().saturating_sub(delay.as_micros() as u64);
                if self.way.handle_arrival(sent, now) > limits::QUEUE_AGE_T2 {
                    place.mark_late(now);
                }
            }
            if mem::take(&mut self.yielding) {
                let _ = tcp::configure_bulk(&self.outbox.socket);
            }
            return usize::MAX;
        }
        if !self.bulk || self.server.unyielding {
            return usize::MAX;
        }
        let may = self.server.lines.pass(place, news, now);
        if self.yielding != may.is_some() {
            self.yielding = may.is_some();
            let configure = if self.yielding { tcp::configure_yielding } else { tcp::configure_bulk };
            // Without it the connection is slower, or less polite, and nothing else.
            let _ = configure(&self.outbox.socket);
        }
        may.unwrap_or(usize::MAX)
    }

    /// Takes a piece of an offer in.
    pub(super) fn take_piece(&mut self, frame: Frame) {
        let Some(piece) = frame.header.piece else { return };
        let refuse = |code, message: &str| {
            let mut refusal = Refusal::new(code, message);
            refusal.piece = Some(Box::new(piece));
            Control::Error(refusal)
        };
        let Some(stock) = self.upload(piece.offer) else {
            return self.outbox.send(&refuse(Code::Offer, "this connection has not offered that"));
        };
        let Some(depot) = self.seat.as_ref().and_then(|seat| seat.hall.depot()) else { return };
        if piece.part == Part::Chunk {
            match depot.room_now(&self.share, frame.bytes().len()) {
                Some(room) => self.store_chunk(&stock, frame, room),
                None => self.held = Some((stock, frame)),
            }
            return self.become_bulk();
        }
        let most = if piece.part == Part::About { limits::ABOUT } else { limits::PIECE };
        if frame.payload().is_empty() || frame.payload().len() > most {
            stock.miss(piece.part);
            let message = format!("a piece of {} has 1 to {most} bytes", piece.part.as_str());
            return self.outbox.send(&refuse(Code::Conflict, &message));
        }
        if !frame.is_intact() {
            stock.miss(piece.part);
            return self.outbox.send(&refuse(Code::Checksum, "a piece did not match its checksum"));
        }
        if !depot.piece(&stock, self.outbox.id, frame) {
            stock.miss(piece.part);
            self.outbox.send(&refuse(Code::RateLimited, "the server is busy"));
        }
    }

    /// There is room for the chunk that was held back.
    pub(super) fn store(&mut self, room: depot::Permit) {
        if let Some((stock, frame)) = self.held.take() {
            self.store_chunk(&stock, frame, room);
        }
        self.act(time::now());
    }

    fn store_chunk(&self, stock: &Arc<Stock>, frame: Frame, room: depot::Permit) {
        let piece = frame.header.piece;
        let depot = self.seat.as_ref().and_then(|seat| seat.hall.depot());
        if !depot.is_some_and(|depot| depot.chunk(stock, self.outbox.id, frame, room)) {
            let mut refusal = Refusal::new(Code::RateLimited, "the server is busy");
            refusal.piece = piece.map(Box::new);
            self.outbox.send(&Control::Error(refusal));
        }
    }

    /// What pieces of an offer go into, if this connection offers it.
    fn upload(&mut self, offer: OfferNumber) -> Option<Arc<Stock>> {
        if let Some((_, stock)) = self.uploads.iter().find(|(known, _)| *known == offer) {
            return Some(Arc::clone(stock));
        }
        let stock = self.seat.as_ref()?.hall.upload(self.outbox.id, offer)?;
        if self.uploads.len() >= limits::OPEN_OFFERS {
            self.uploads.remove(0);
        }
        self.uploads.push((offer, Arc::clone(&stock)));
        Some(stock)
    }

    /// Begins to send pieces of an offer.
    pub(super) fn fetch(&mut self, fetch: Fetch) {
        let Some(seat) = &self.seat else { return };
        let stock = seat.hall.stock(self.outbox.id, fetch.offer);
        if let Err(refusal) = self.fetcher.add(fetch, stock) {
            return self.outbox.send(&Control::Error(refusal));
        }
        self.become_bulk();
    }

    pub(super) fn send(&self, served: Served) {
        match served {
            Served::Piece(bytes) => {
                // Where files step back, the loop writes it bit by bit.
                if self.outbox.append(bytes) && !self.yielding {
                    self.outbox.flush();
                }
            }
            Served::Done(id) => self.outbox.send(&Control::Done { id }),
            Served::Refused(refusal) => self.outbox.send(&Control::Error(refusal)),
        }
    }

    fn become_bulk(&mut self) {
        let (first, now) = (!mem::replace(&mut self.bulk, true), time::now());
        if first {
            // Without it the connection is slower and nothing else.
            let _ = tcp::configure_bulk(&self.outbox.socket);
        }
        match self.outbox.place() {
            Some(place) if first => place.begin_files(now),
            Some(place) => place.go_on_with_files(now),
            None => {}
        }
    }
}

/// Room for a chunk that is held back; for ever where there is none.
pub(super) async fn room_for(
    depot: Option<&Depot>,
    share: &Arc<Semaphore>,
    held: &Option<(Arc<Stock>, Frame)>,
) -> Option<depot::Permit> {
    match (depot, held) {
        (Some(depot), Some((_, frame))) => depot.room(share, frame.bytes().len()).await,
        _ => std::future::pending().await,
    }
}

/// Waits until files begin to move on the line of a connection.
pub(super) async fn files_begin(outbox: &Outbox) {
    match outbox.place() {
        Some(place) => place.files_begin().await,
        None => std::future::pending().await,
    }
}

/// What a fetcher sends next.
pub(super) async fn serve_next(depot: Option<&Depot>, fetcher: &mut Fetcher) -> Option<Served> {
    Some(fetcher.next(depot?).await)
}
