//! A room's offers: what its members ask about them and what the depot reports, under the room's lock, so
//! that everybody sees changes in the same order.

use std::sync::Arc;

use super::Hall;
use crate::id::{ConnectionId, OfferNumber};
use crate::server::depot::{Depot, News, Request, Stock};
use crate::server::outbox::Outbox;
use crate::server::shelf::{Output, Shelf};
use crate::time::{self, Moment};
use crate::wire::control::Control;
use crate::wire::offer::{Going, Offer, Seal};
use crate::wire::{Code, Frame};

use super::State;

impl Hall {
    /// Where its offers are kept.
    pub(in crate::server) fn depot(&self) -> Option<&Depot> {
        self.depot.as_ref()
    }

    /// A connection that wants to be told of offers has been told everything else.
    pub(in crate::server) fn watch(&self, connection: ConnectionId) {
        self.shelve(|shelf, room, now| shelf.handle_watcher(connection, room, now));
    }

    /// A member offers something, or goes on with it.
    pub(in crate::server) fn offer(&self, connection: ConnectionId, offer: &Offer) {
        let request = Request { connection, id: offer.id };
        let left = || self.depot.as_ref().map(Depot::room_left);
        self.shelve(|shelf, room, now| shelf.handle_offer(request, offer, left, room, now));
    }

    /// A sender says that its offer is complete.
    pub(in crate::server) fn seal(&self, connection: ConnectionId, seal: Seal) {
        self.shelve(|shelf, room, now| {
            let request = Request { connection, id: seal.id };
            let stock = shelf.handle_seal(connection, seal, room, now);
            if let (Some(stock), Some(depot)) = (stock, &self.depot)
                && !depot.seal(&stock, request, seal)
            {
                shelf.handle_busy(request);
            }
        });
    }

    /// Somebody wants an offer to be forgotten.
    pub(in crate::server) fn withdraw(
        &self,
        connection: ConnectionId,
        id: u64,
        offer: OfferNumber,
        reason: Going,
    ) {
        let request = Request { connection, id };
        self.shelve(|shelf, room, _| shelf.handle_withdraw(request, offer, reason, room));
    }

    /// A member has all of an offer.
    pub(in crate::server) fn received(&self, connection: ConnectionId, offer: OfferNumber) {
        self.shelve(|shelf, room, now| shelf.handle_received(connection, offer, room, now));
    }

    /// What a connection may put pieces of an offer into.
    pub(in crate::server) fn upload(
        &self,
        connection: ConnectionId,
        offer: OfferNumber,
    ) -> Option<Arc<Stock>> {
        self.state().shelf.upload(connection, offer)
    }

    /// What a connection may fetch an offer from.
    pub(in crate::server) fn stock(
        &self,
        connection: ConnectionId,
        offer: OfferNumber,
    ) -> Option<Arc<Stock>> {
        let state = self.state();
        state.shelf.fetch(connection, offer, &state.room)
    }

    /// The depot has news.
    pub(in crate::server) fn handle_news(&self, news: News) {
        self.shelve(|shelf, room, now| shelf.handle_news(news, room, now, time::wall()));
    }

    fn shelve(&self, event: impl FnOnce(&mut Shelf, &crate::room::Room, Moment)) {
        let now = time::now();
        let mut state = self.state();
        let State { shelf, room, .. } = &mut *state;
        event(shelf, room, now);
        self.carry_out(state, now);
    }

    /// Does what the shelf says.
    pub(super) fn oblige(&self, state: &mut State) {
        while let Some(output) = state.shelf.poll_output() {
            let State { shelf, room, outboxes, dirty, .. } = &mut *state;
            let mut add = |to: ConnectionId, frame: bytes::Bytes| {
                if let Some(outbox) = outboxes.get(&to)
                    && Outbox::append(outbox, frame)
                {
                    dirty.push(Arc::clone(outbox));
                }
            };
            let depot = self.depot.as_ref();
            match output {
                Output::Send(to, operation) => add(to, control(&operation)),
                Output::Pass(to, frame) => add(to, frame),
                Output::Create(record) => {
                    let number = record.number;
                    if !depot.is_some_and(|depot| depot.create(room.name(), record)) {
                        shelf.handle_not_created(number, Code::RateLimited, "the server is busy");
                    }
                }
                Output::Withdraw(stock, request, going) => {
                    let taken = depot.is_some_and(|depot| depot.withdraw(&stock, request, going));
                    if let (false, Some(request)) = (taken, request) {
                        shelf.handle_busy(request);
                    }
                }
                Output::Received(stock, key) => {
                    // Where it is not kept the count begins anew with the next life of the server.
                    let _ = depot.map(|depot| depot.received(&stock, key));
                }
            }
        }
    }
}

/// What a connection is told of the offers that only looks.
pub(super) fn seen(told: Vec<Output>) -> impl Iterator<Item = bytes::Bytes> {
    told.into_iter().filter_map(|output| match output {
        Output::Send(_, operation) => Some(control(&operation)),
        Output::Pass(_, frame) => Some(frame),
        _ => None,
    })
}

fn control(operation: &Control) -> bytes::Bytes {
    Frame::control(operation, time::wall()).bytes().clone()
}
