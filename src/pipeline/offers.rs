//! What is put before a room, as its members see it.

use std::collections::BTreeMap;

use crate::id::{MemberId, OfferId, OfferNumber, PublicKey};
use crate::net::client::Event;
use crate::transfer::{About, meant};
use crate::wire::Part;
use crate::wire::offer::{Going, OfferState};

/// One offer.
#[derive(Debug, Clone)]
pub struct Offer {
    /// What the server says of it.
    pub state: OfferState,
    /// What its sender says of it; none before that has come, or where it cannot be read.
    pub about: Option<About>,
    /// Its description has come, whether it can be read or not.
    pub described: bool,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An offer is there that was not; its description may come a little later.
    New(OfferNumber),
    /// Something about it is different.
    Changed(OfferNumber),
    /// It is there no more.
    Gone {
        /// What it was.
        offer: OfferId,
        /// Its number.
        number: OfferNumber,
        /// Why.
        reason: Going,
    },
    /// All have been told that were there when the session began.
    Listed,
}

/// The offers of a room, by number. Bounded by what the server keeps.
#[derive(Debug, Clone, Default)]
pub struct Offers {
    all: BTreeMap<OfferNumber, Offer>,
    /// Everything that is there has been told.
    listed: bool,
}

impl Offers {
    /// Follows the session; what changed.
    pub fn handle(&mut self, event: &Event) -> Option<Change> {
        match event {
            Event::Up { .. } | Event::Looking => {
                // Told anew, and complete, before anything else about offers.
                self.all.clear();
                self.listed = false;
                None
            }
            Event::OfferState(state) => {
                let number = state.offer;
                let known = self.all.get_mut(&number);
                Some(match known {
                    Some(offer) => {
                        offer.state = state.clone();
                        Change::Changed(number)
                    }
                    None => {
                        self.all
                            .insert(number, Offer { state: state.clone(), about: None, described: false });
                        Change::New(number)
                    }
                })
            }
            Event::File(frame) => {
                let piece = frame.header.piece.filter(|piece| piece.part == Part::About)?;
                let offer = self.all.get_mut(&piece.offer)?;
                offer.about = About::from_payload(frame.payload());
                offer.described = true;
                Some(Change::Changed(piece.offer))
            }
            Event::OfferGone { offer, reason, .. } => {
                let gone = self.all.remove(offer)?;
                Some(Change::Gone { offer: gone.state.offer_id, number: *offer, reason: *reason })
            }
            Event::OffersListed => {
                self.listed = true;
                Some(Change::Listed)
            }
            _ => None,
        }
    }

    /// Whether all that there is has been told since the session came up.
    pub fn is_listed(&self) -> bool {
        self.listed
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Offer> {
        self.all.values()
    }

    /// The offer with this number.
    pub fn by_number(&self, number: OfferNumber) -> Option<&Offer> {
        self.all.get(&number)
    }

    /// The offer that its sender calls this.
    pub fn by_id(&self, id: OfferId) -> Option<&Offer> {
        self.all.values().find(|offer| offer.state.offer_id == id)
    }

    /// What a person means by a number or a name ([`meant`]).
    pub fn find(&self, what: &str) -> Option<&Offer> {
        meant(what, &self.all, Offer::title)
    }
}

impl Offers {
    /// The newest offer that has something of this name in it, as far as its description tells.
    pub fn holding(&self, what: &str) -> Option<&Offer> {
        let what = what.trim_end_matches('/');
        let is_it = |path: &String| {
            path == what
                || path.strip_prefix(what).is_some_and(|rest| rest.starts_with('/'))
                || path.rsplit('/').next() == Some(what)
        };
        let holds = |offer: &&Offer| offer.about.as_ref().is_some_and(|about| about.first.iter().any(is_it));
        self.all.values().rev().find(holds)
    }
}

impl Offer {
    /// What it is called, harmless to show.
    pub fn title(&self) -> &str {
        self.about.as_ref().map(|about| about.title.as_str()).filter(|title| !title.is_empty()).unwrap_or("?")
    }

    /// Bytes of all of it, where that is known.
    pub fn size(&self) -> Option<u64> {
        self.state.size
    }

    /// Whether it is that of whoever holds `key`; of a guest, that of this member.
    pub fn is_of(&self, key: Option<PublicKey>, member: Option<MemberId>) -> bool {
        match (self.state.key, key) {
            (None, None) => member.is_some() && self.state.member == member,
            (owner, key) => owner == key,
        }
    }

    /// How it stands, in a word or two.
    pub fn standing(&self) -> String {
        let OfferState { sealed, uploading, kept, chunks, .. } = self.state;
        let part =
            chunks.filter(|chunks| *chunks > 0).map(|chunks| u64::from(kept) * 100 / u64::from(chunks));
        match (sealed, uploading, part) {
            (true, ..) => "complete".into(),
            (false, true, Some(part)) => format!("{part} % so far"),
            (false, true, None) => "growing".into(),
            (false, false, Some(part)) => format!("{part} %, its sender is away"),
            (false, false, None) => "its sender is away".into(),
        }
    }
}
