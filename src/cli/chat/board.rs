//! What is offered in the room, and what of it is news.
//!
//! What is there when the program joins is no news. What came, went or was completed while the connection was
//! broken is told when it is there again: offers are known by what their senders call them, since a server
//! that has forgotten the room gives new numbers.

use std::collections::BTreeMap;

use super::roster::Roster;
use crate::cli::recv::Memory;
use crate::cli::units;
use crate::id::{MemberId, OfferId, OfferNumber};
use crate::net::client::Event;
use crate::pipeline::offers::{Change, Offer, Offers};
use crate::terminal;
use crate::wire::control::By;
use crate::wire::offer::Going;

/// See the module. Bounded by what the server keeps.
#[derive(Debug, Default)]
pub(super) struct Board {
    offers: Offers,
    /// What was there before the connection broke.
    before: BTreeMap<OfferId, Offer>,
    /// Offers that were told, and what of them.
    told: BTreeMap<OfferId, Told>,
    /// All that there is has been told at least once.
    begun: bool,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    complete: bool,
    received: u32,
}

/// What is new.
#[derive(Debug)]
pub(super) enum News {
    /// All offers are known, instead of those before.
    Listed,
    /// Something was offered.
    New(OfferNumber),
    /// All of it is there now.
    Complete(OfferNumber),
    /// So many members have all of it.
    Received(OfferNumber, u32),
    /// Something else about it is different.
    Changed(OfferNumber),
    /// It is there no more, and which host has withdrawn it.
    Gone(Box<Offer>, Going, Option<By>),
}

impl Board {
    /// Follows the session.
    pub(super) fn handle(&mut self, event: &Event) -> Vec<News> {
        if let Event::Up { .. } = event {
            self.before = self.offers.iter().map(|offer| (offer.state.offer_id, offer.clone())).collect();
        }
        let leaving = match event {
            Event::OfferGone { offer, by, .. } => {
                self.offers.by_number(*offer).map(|offer| (Box::new(offer.clone()), by.clone()))
            }
            _ => None,
        };
        match self.offers.handle(event) {
            Some(Change::Listed) => self.handle_listed(),
            Some(Change::New(number) | Change::Changed(number)) if self.offers.is_listed() => {
                self.news_of(number).into_iter().collect()
            }
            Some(Change::Gone { offer, reason, .. }) => {
                let told = self.told.remove(&offer).is_some();
                leaving.filter(|_| told).map(|(gone, by)| News::Gone(gone, reason, by)).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// What is offered.
    pub(super) fn offers(&self) -> &Offers {
        &self.offers
    }

    fn handle_listed(&mut self) -> Vec<News> {
        let mut news = vec![News::Listed];
        let numbers: Vec<OfferNumber> = self.offers.iter().map(|offer| offer.state.offer).collect();
        if !std::mem::replace(&mut self.begun, true) {
            for offer in self.offers.iter() {
                self.told.insert(offer.state.offer_id, Told::of(offer));
            }
            return news;
        }
        for (id, offer) in std::mem::take(&mut self.before) {
            if self.offers.by_id(id).is_none() && self.told.remove(&id).is_some() {
                news.push(News::Gone(Box::new(offer), Going::Removed, None));
            }
        }
        news.extend(numbers.into_iter().filter_map(|number| self.news_of(number)));
        news
    }

    fn news_of(&mut self, number: OfferNumber) -> Option<News> {
        let offer = self.offers.by_number(number)?;
        let now = Told::of(offer);
        let Some(told) = self.told.get_mut(&offer.state.offer_id) else {
            // What it is called follows at once; nobody has to know of it before.
            if offer.about.is_none() && !offer.state.sealed {
                return None;
            }
            self.told.insert(offer.state.offer_id, now);
            return Some(News::New(number));
        };
        let before = std::mem::replace(told, now);
        Some(match () {
            () if now.complete && !before.complete => News::Complete(number),
            () if now.received > before.received => News::Received(number, now.received),
            () => News::Changed(number),
        })
    }
}

impl Told {
    fn of(offer: &Offer) -> Self {
        Self { complete: offer.state.sealed, received: offer.state.received }
    }
}

/// Whether an offer is of the person who runs the program.
pub(super) fn is_own(offer: &Offer, roster: &Roster) -> bool {
    // Whoever is not here is no member; the key tells all the same.
    roster.is_own(offer.state.member.unwrap_or(MemberId(0)), offer.state.key)
}

/// An offer as the screen shows it.
pub(super) fn seen(offer: &Offer, roster: &Roster, memory: &Memory) -> terminal::Offer {
    let own = is_own(offer, roster);
    let to = || match own {
        true => offer.state.to.and_then(|id| roster.name(id)).unwrap_or("one member").to_owned(),
        false => "you".to_owned(),
    };
    terminal::Offer {
        number: offer.state.offer,
        title: offer.title().to_owned(),
        files: offer.about.as_ref().map_or(0, |about| about.files),
        size: offer.size().map_or_else(|| "size unknown".into(), units::size),
        from: offer.state.name.clone(),
        own,
        to: offer.state.direct.then(to),
        state: offer.standing(),
        complete: offer.state.sealed,
        received: memory.has(offer.state.offer_id),
    }
}

/// What became of an offer, behind its name.
pub(super) fn gone(reason: Going) -> &'static str {
    match reason {
        Going::Withdrawn => "was withdrawn",
        Going::Expired => "was older than the server keeps, and is gone",
        Going::Changed => "changed at its sender while it was sent, and is taken back",
        Going::Broken => "is gone: its sender stopped before all of it was there, and cannot go on with it",
        Going::Removed => "is not at the server any more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::{About, Kind};
    use crate::wire::control::Welcome;
    use crate::wire::offer::OfferState;
    use crate::wire::{Frame, Part, Piece};

    fn up() -> Event {
        let welcome: Welcome = serde_json::from_value(serde_json::json!({
            "protocol": 1, "server": "s", "epoch": "e", "room": "r", "session": 1, "member": 1, "name": "Ann",
            "token": "0".repeat(32), "resumed": false, "heartbeat_ms": 1000, "grace_ms": 1000
        }))
        .unwrap_or_else(|error| panic!("{error}"));
        Event::Up { welcome, resumed: false }
    }

    fn state(number: u32, id: u8) -> OfferState {
        OfferState {
            offer: OfferNumber(number),
            offer_id: OfferId([id; 16]),
            member: Some(MemberId(2)),
            name: "Bo".into(),
            key: None,
            to: None,
            direct: false,
            size: Some(10),
            chunk_size: 1,
            kept: 0,
            chunks: Some(10),
            sealed: false,
            uploading: true,
            received: 0,
            since: 0.0,
            expires: 1.0,
        }
    }

    fn about(number: u32) -> Event {
        let about =
            About { title: "a.txt".into(), files: 1, size: Some(10), kind: Kind::Files, first: Vec::new() };
        let piece = Piece { offer: OfferNumber(number), part: Part::About, index: 0 };
        Event::File(Frame::file(piece, &about.to_payload(), 0))
    }

    fn words(news: &[News]) -> Vec<String> {
        let word = |news: &News| match news {
            News::Listed => "listed".into(),
            News::New(number) => format!("new {number}"),
            News::Complete(number) => format!("complete {number}"),
            News::Received(number, count) => format!("received {number} {count}"),
            News::Changed(number) => format!("changed {number}"),
            News::Gone(offer, reason, _) => format!("gone {} {reason:?}", offer.state.offer),
        };
        news.iter().map(word).collect()
    }

    fn all(board: &mut Board, events: Vec<Event>) -> Vec<String> {
        events.iter().flat_map(|event| words(&board.handle(event))).collect()
    }

    #[test]
    fn an_offer_is_told_once_when_it_has_a_name_and_again_when_it_is_complete() {
        let mut board = Board::default();
        let old = Event::OfferState(state(1, 1));
        assert_eq!(all(&mut board, vec![up(), old, about(1), Event::OffersListed]), ["listed"]);
        assert_eq!(all(&mut board, vec![Event::OfferState(state(2, 2))]), [""; 0]);
        assert_eq!(all(&mut board, vec![about(2)]), ["new 2"]);
        let sealed = OfferState { sealed: true, ..state(2, 2) };
        let received = OfferState { received: 1, ..sealed.clone() };
        let events = vec![Event::OfferState(sealed), Event::OfferState(received)];
        assert_eq!(all(&mut board, events), ["complete 2", "received 2 1"]);
        let gone = |offer, reason| Event::OfferGone { offer: OfferNumber(offer), reason, by: None };
        let events = vec![gone(1, Going::Expired), gone(2, Going::Withdrawn), gone(9, Going::Withdrawn)];
        assert_eq!(all(&mut board, events), ["gone 1 Expired", "gone 2 Withdrawn"]);
    }

    #[test]
    fn what_happened_while_the_connection_was_broken_is_told_and_nothing_else() {
        let mut board = Board::default();
        let first = vec![
            up(),
            Event::OfferState(state(1, 1)),
            Event::OfferState(state(2, 2)),
            Event::OfferState(state(3, 3)),
            Event::OffersListed,
        ];
        all(&mut board, first);
        // Offer 1 has another number now, 2 is gone, 3 is complete, 4 is new.
        let second = vec![
            up(),
            Event::OfferState(state(7, 1)),
            about(7),
            Event::OfferState(OfferState { sealed: true, ..state(8, 3) }),
            Event::OfferState(state(9, 4)),
            about(9),
            Event::OffersListed,
        ];
        let told = all(&mut board, second);
        assert_eq!(told, ["listed", "gone 2 Removed", "changed 7", "complete 8", "new 9"]);
    }
}
