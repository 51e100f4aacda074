//! The session through which offers are fetched, with what the room has to offer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use crate::id::{MemberId, OfferId, OfferNumber, PublicKey};
use crate::limits;
use crate::net::client::{self, Config, Down, Event, Events, Handle, Stats};
use crate::pipeline::offers::{Change, Offer, Offers};
use crate::session::Key;
use crate::wire::control::Refusal;
use crate::wire::offer::{Fetch, Going};
use crate::wire::{Frame, Part};

use super::Error;

/// How long it is waited for a server that may not answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Of the session, what is left when the offers have been kept up to date.
#[derive(Debug)]
pub enum Happened {
    /// A connection is there; nothing that was asked for before comes any more.
    Up,
    /// The connection is lost; another is tried.
    Down(Down),
    /// The offers changed.
    Offers(Change),
    /// A piece that was asked for.
    Piece(Frame),
    /// A request has been served.
    Done(u64),
    /// Something was refused.
    Refused(Refusal),
}

/// A session in a room that is told of offers.
#[derive(Debug)]
pub struct Room {
    handle: Handle,
    events: Events,
    offers: Offers,
    /// Offers that have gone, the last of them, and why: whoever wants one may have been busy then.
    gone: VecDeque<(OfferId, OfferNumber, Going)>,
    key: Option<PublicKey>,
    member: Option<MemberId>,
    up: bool,
    /// The last number of a request.
    requests: u64,
}

impl Room {
    /// Begins to join, or to look.
    pub fn join(config: Config) -> Self {
        let key = config.key.as_ref().map(Key::public);
        let (handle, events) = client::connect(Config { offers: true, ..config });
        Self {
            handle,
            events,
            offers: Offers::default(),
            gone: VecDeque::new(),
            key,
            member: None,
            up: false,
            requests: 0,
        }
    }

    /// What happens next. Can be given up while it waits.
    pub async fn next(&mut self) -> Result<Happened, Error> {
        loop {
            let event = self.events.next().await.ok_or(Error::Over)?;
            if let Some(change) = self.offers.handle(&event) {
                if let Change::Gone { offer, number, reason } = change {
                    self.gone.truncate(limits::OFFERS - 1);
                    self.gone.push_front((offer, number, reason));
                }
                return Ok(Happened::Offers(change));
            }
            return Ok(match event {
                Event::Up { welcome, .. } => {
                    self.member = Some(welcome.member);
                    self.up = true;
                    Happened::Up
                }
                Event::Looking => {
                    self.up = true;
                    Happened::Up
                }
                Event::Down { reason, .. } => {
                    self.up = false;
                    Happened::Down(reason)
                }
                Event::File(frame) => Happened::Piece(frame),
                Event::Done { id } => Happened::Done(id),
                Event::Refused(refusal) => Happened::Refused(refusal),
                Event::Ended(end) => return Err(Error::Ended(end)),
                _ => continue,
            });
        }
    }

    /// Keeps up to date what the room has to offer, for ever; also after the end of the session.
    pub async fn idle(&mut self) -> Infallible {
        loop {
            if self.next().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Does something else, with an ear for the room.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            never = self.idle() => match never {},
        }
    }

    /// Waits until all offers have been told.
    pub async fn listed(&mut self) -> Result<(), Error> {
        while !(self.up && self.offers.is_listed()) {
            self.next().await?;
        }
        Ok(())
    }

    /// What the room has to offer.
    pub fn offers(&self) -> &Offers {
        &self.offers
    }

    /// The offer with this name of its sender's, as it is now.
    pub fn offer(&self, id: OfferId) -> Option<&Offer> {
        self.offers.by_id(id)
    }

    /// Why an offer is not there any more, where the server has said so.
    pub(super) fn gone(&self, id: OfferId) -> Option<Error> {
        let (_, number, reason) = self.gone.iter().find(|(gone, ..)| *gone == id)?;
        self.offer(id).is_none().then_some(Error::Gone { number: *number, reason: *reason })
    }

    /// Whether an offer is that of this program's user.
    pub fn is_own(&self, offer: &Offer) -> bool {
        offer.is_of(self.key, self.member)
    }

    /// Whether there is a connection.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// What the session has done.
    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// The number that the next request will have.
    pub(super) fn next_request(&self) -> u64 {
        self.requests + 1
    }

    /// Asks for pieces; the number of the request.
    pub(super) async fn fetch(
        &mut self,
        offer: OfferNumber,
        part: Part,
        ranges: Vec<(u32, Option<u32>)>,
    ) -> u64 {
        self.requests += 1;
        self.handle.fetch(Fetch { id: self.requests, offer, part, ranges }).await;
        self.requests
    }

    /// Ends a request.
    pub(super) async fn unfetch(&self, id: u64) {
        self.handle.unfetch(id).await;
    }

    /// Tells the room that all of an offer is here, and waits until the server knows it, as far as it can be
    /// reached soon.
    pub async fn received(&mut self, id: OfferId) {
        let telling = async {
            self.listed().await?;
            let Some(number) = self.offer(id).map(|offer| offer.state.offer) else { return Ok(()) };
            self.handle.received(number).await;
            // The server answers in order, so the end of this is behind what was said before it.
            let request = self.fetch(number, Part::Manifest, vec![(0, Some(1))]).await;
            loop {
                match self.next().await? {
                    Happened::Done(id) if id == request => return Ok(()),
                    Happened::Refused(_) | Happened::Down(_) => return Ok::<(), Error>(()),
                    _ => {}
                }
            }
        };
        // Whoever does not learn it has lost nothing.
        let _ = tokio::time::timeout(ANSWER, telling).await;
    }

    /// Leaves, and waits until the server knows.
    pub async fn leave(mut self) {
        let events = &mut self.events;
        let goodbye =
            async { tokio::join!(self.handle.close(), async { while events.next().await.is_some() {} }) };
        let _ = tokio::time::timeout(ANSWER, goodbye).await;
    }
}
