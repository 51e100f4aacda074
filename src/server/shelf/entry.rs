//! One offer of a room, and whose it is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::id::{ConnectionId, MemberId, PublicKey, SessionId};
use crate::room::{Person, Room};
use crate::server::depot::{Record, Request, Stock};
use crate::time::Moment;
use crate::wire::control::By;
use crate::wire::offer::OfferState;

/// A person over several lives of the server: a key, or a guest's number in this life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Key(PublicKey),
    Guest(MemberId),
    /// A guest of an earlier life.
    Nobody,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) owner: Who,
    pub(super) to: Option<Who>,
    /// There when the depot has it.
    pub(super) stock: Option<Arc<Stock>>,
    /// The frame; the others are told of the offer when it is there.
    pub(super) about: Option<Bytes>,
    /// Requests that wait for the depot.
    pub(super) waiting: Vec<Request>,
    pub(super) uploaders: BTreeSet<ConnectionId>,
    /// Sessions in which it was offered: one that is not complete and cannot be read again lives as long as they do.
    /// Those that are over are forgotten with the next one.
    pub(super) sessions: BTreeSet<SessionId>,
    /// Until when it is waited for whether or not such a session lives: for its sender after a restart, and for the
    /// depot, which may yet say that it is complete.
    pub(super) until: Option<Moment>,
    /// Hosts may take it back: they are hosts of the room in which it was offered.
    pub(super) hosted: bool,
    pub(super) received: BTreeSet<Who>,
    /// When the others were last told, and whether there is more to tell.
    pub(super) told: Option<Moment>,
    pub(super) changed: bool,
    /// The host who has asked for it to be withdrawn, where that is not its sender.
    pub(super) by: Option<By>,
}

impl Who {
    pub(super) fn new(member: MemberId, key: Option<PublicKey>) -> Self {
        key.map_or(Self::Guest(member), Self::Key)
    }

    pub(super) fn of(person: &Person) -> Self {
        Self::new(person.member, person.key)
    }

    pub(super) fn kept(key: Option<PublicKey>) -> Self {
        key.map_or(Self::Nobody, Self::Key)
    }

    /// The number in this life of the room, where the person is here.
    pub(super) fn member(self, room: &Room) -> Option<MemberId> {
        match self {
            Self::Key(key) => room.holder_of(&key),
            Self::Guest(member) => room.key_of(member).map(|_| member),
            Self::Nobody => None,
        }
    }
}

impl Entry {
    pub(super) fn may_see(&self, who: Who) -> bool {
        self.about.is_some() && (self.to.is_none() || self.to == Some(who) || self.owner == who)
    }

    /// The same for somebody who may be nobody.
    pub(super) fn may_be_seen(&self, who: Option<Who>) -> bool {
        who.map_or(self.about.is_some() && self.to.is_none(), |who| self.may_see(who))
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.stock.as_ref().is_some_and(|stock| stock.holding().sealed)
    }

    /// Whether nobody can complete it any more: what guests have begun who are gone, and pipes
    /// of sessions that are over.
    pub(super) fn is_hopeless(&self, room: &Room, now: Moment) -> bool {
        if self.is_sealed() {
            return false;
        }
        let nobody = match self.owner {
            Who::Nobody => true,
            Who::Guest(_) => self.owner.member(room).is_none(),
            Who::Key(_) => false,
        };
        let over = !self.sessions.iter().any(|session| room.is_alive(*session));
        nobody || self.is_open_pipe() && over && self.until.is_none_or(|until| now >= until)
    }

    /// Whether only the program that began it can finish it: what came out of a pipe does not come again.
    pub(super) fn is_open_pipe(&self) -> bool {
        self.record.size.is_none() && !self.is_sealed()
    }

    pub(super) fn describe(&self, room: &Room, age: Duration) -> OfferState {
        let Record { number, id, owner, name, direct, size, chunk_size, since, touched, .. } = &self.record;
        let holding = self.stock.as_ref().map(|stock| stock.holding().clone()).unwrap_or_default();
        let seconds = |micros: u64| micros as f64 / 1e6;
        OfferState {
            offer: *number,
            offer_id: *id,
            member: self.owner.member(room),
            name: name.clone(),
            key: *owner,
            to: self.to.and_then(|to| to.member(room)),
            direct: *direct,
            size: size.or(holding.total),
            chunk_size: *chunk_size,
            kept: holding.kept.count(),
            chunks: self.stock.as_ref().and_then(|stock| stock.chunks()),
            sealed: holding.sealed,
            uploading: !self.uploaders.is_empty(),
            received: u32::try_from(self.received.len()).unwrap_or(u32::MAX),
            since: seconds(*since),
            expires: seconds(*touched) + age.as_secs_f64(),
        }
    }
}
