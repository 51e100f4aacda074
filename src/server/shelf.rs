//! The offers of a room: whose they are, who may see them, who is told what (docs/protocol.md section 13).
//!
//! Decides and does nothing: the hall gives it what members ask and what the [`depot`](super::depot)
//! reports, and carries out what [`Shelf::poll_output`] says. Bounds: [`limits::OFFERS`] in a room,
//! [`limits::OPEN_OFFERS`] of a member that are not complete.

mod entry;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::entry::{Entry, Who};
use super::depot::{Kept, News, Record, Request, Shelved, Stock};
use crate::id::{ConnectionId, OfferNumber, PublicKey};
use crate::limits;
use crate::room::{Person, Room};
use crate::text;
use crate::time::Moment;
use crate::transfer::Ranges;
use crate::wire::control::{By, Control, Refusal};
use crate::wire::offer::{Going, Offer, Offered, Seal};
use crate::wire::{Code, Part, Piece};

/// Pairs in one answer to an offer; each takes at most 18 bytes of the 64 KiB.
const PAIRS: usize = 2_000;
/// Chunks of which the loss is told one by one; a sender sends again whatever is not kept.
const LOSSES: usize = 64;
/// How often guests are looked for who have gone and left something unfinished.
const ROUND: Duration = Duration::from_secs(5);

/// What is known of the life of a room in which its kept offers were made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Earlier {
    /// When it had ended at the latest.
    pub(super) until: Moment,
    /// Whose room it was is known, and is so still. Else somebody who opens it again is its host, and not the host of
    /// what others have left there.
    pub(super) hosts: bool,
}

/// What the hall has to do.
#[derive(Debug)]
pub(super) enum Output {
    /// Send an operation.
    Send(ConnectionId, Control),
    /// Send a frame.
    Pass(ConnectionId, Bytes),
    /// Put an offer into the depot.
    Create(Record),
    /// Take one out of it.
    Withdraw(Arc<Stock>, Option<Request>, Going),
    /// Keep that somebody has received one.
    Received(Arc<Stock>, PublicKey),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shelf {
    offers: BTreeMap<OfferNumber, Entry>,
    /// The last number that was given.
    last: u32,
    /// How long offers are kept; without it none are taken.
    age: Option<Duration>,
    /// Who wants to be told.
    watchers: BTreeMap<ConnectionId, Who>,
    /// When guests are looked for next.
    round: Moment,
    outputs: VecDeque<Output>,
}

impl Shelf {
    /// The offers that were kept of a room, and for how long any are; without that there are none.
    pub(super) fn new(kept: Option<(Shelved, Duration)>, earlier: Earlier) -> Self {
        let age = kept.as_ref().map(|(_, age)| *age);
        let (shelved, _) = kept.unwrap_or_default();
        let entry = |Kept { record, stock, about, received }: Kept| {
            let entry = Entry {
                owner: Who::kept(record.owner),
                to: record.direct.then(|| Who::kept(record.to)),
                stock: Some(stock),
                waiting: Vec::new(),
                uploaders: BTreeSet::new(),
                sessions: BTreeSet::new(),
                until: Some(earlier.until + limits::PIPE_GRACE),
                hosted: earlier.hosts,
                received: received.into_iter().map(Who::Key).collect(),
                told: about.is_some().then(Moment::default),
                about,
                changed: false,
                by: None,
                record,
            };
            (entry.record.number, entry)
        };
        Self {
            offers: shelved.offers.into_iter().map(entry).collect(),
            last: shelved.last,
            age,
            watchers: BTreeMap::new(),
            round: Moment::default(),
            outputs: VecDeque::new(),
        }
    }

    /// A connection has come that wants to be told.
    pub(super) fn handle_watcher(&mut self, connection: ConnectionId, room: &Room, now: Moment) {
        self.give_up_orphans(room, now);
        let Some(who) = room.person(connection).map(|person| Who::of(&person)) else { return };
        self.watchers.insert(connection, who);
        let told = self.list(connection, Some(who), room, now);
        self.outputs.extend(told);
    }

    /// A connection only wants to know what there is, for whoever holds `key`: what it is to be sent. A guest who
    /// is nobody here sees what is for everybody.
    pub(super) fn look(
        &self,
        connection: ConnectionId,
        key: Option<PublicKey>,
        room: &Room,
        now: Moment,
    ) -> Vec<Output> {
        self.list(connection, key.map(Who::Key), room, now)
    }

    /// What a connection is told of the offers that there are.
    fn list(&self, connection: ConnectionId, who: Option<Who>, room: &Room, now: Moment) -> Vec<Output> {
        let age = self.age.unwrap_or_default();
        let (mut told, mut count) = (Vec::new(), 0);
        let there = |entry: &&Entry| entry.may_be_seen(who) && !entry.is_hopeless(room, now);
        for entry in self.offers.values().filter(there) {
            count += 1;
            told.push(Output::Send(connection, Control::OfferState(entry.describe(room, age))));
            told.extend(entry.about.clone().map(|about| Output::Pass(connection, about)));
        }
        told.push(Output::Send(connection, Control::Offers { count }));
        told
    }

    /// A connection has gone.
    pub(super) fn handle_gone(&mut self, connection: ConnectionId, room: &Room, now: Moment) {
        self.watchers.remove(&connection);
        let mut left = Vec::new();
        for (number, entry) in &mut self.offers {
            entry.waiting.retain(|request| request.connection != connection);
            if entry.uploaders.remove(&connection) && entry.uploaders.is_empty() {
                left.push(*number);
            }
        }
        for number in left {
            self.announce(number, room, now);
        }
        self.give_up_orphans(room, now);
    }

    /// Takes back what nobody can ever finish.
    fn give_up_orphans(&mut self, room: &Room, now: Moment) {
        let hopeless = self.offers.values().filter(|entry| entry.is_hopeless(room, now));
        let stocks = hopeless.filter_map(|entry| entry.stock.as_ref());
        // A depot that is too busy for it is asked again in the next round.
        self.outputs.extend(stocks.map(|stock| Output::Withdraw(Arc::clone(stock), None, Going::Broken)));
    }

    /// A member offers something, or goes on with it. `room_left` says how many bytes the depot still takes, and how
    /// many it takes in all.
    pub(super) fn handle_offer(
        &mut self,
        request: Request,
        offer: &Offer,
        room_left: impl FnOnce() -> Option<(u64, u64)>,
        room: &Room,
        now: Moment,
    ) {
        let Some(person) = room.person(request.connection) else { return };
        let known =
            self.offers.iter().find(|(_, entry)| entry.record.id == offer.offer).map(|(number, _)| *number);
        let result = match known {
            Some(number) => self.go_on(number, request, offer, &person, room, now),
            None => self.begin(request, offer, room_left, &person, room),
        };
        if let Err(refusal) = result {
            self.refuse(request, refusal);
        }
    }

    fn go_on(
        &mut self,
        number: OfferNumber,
        request: Request,
        offer: &Offer,
        person: &Person,
        room: &Room,
        now: Moment,
    ) -> Result<(), Refusal> {
        let Some(entry) = self.offers.get_mut(&number) else { return Ok(()) };
        if entry.owner != Who::of(person) {
            return Err(Refusal::new(Code::Denied, "this offer is somebody else's"));
        }
        let to = offer.to.and_then(|to| room.key_of(to).map(|key| Who::new(to, key)));
        let differs = entry.record.size != offer.size
            || entry.record.chunk_size != offer.chunk_size
            || entry.record.direct != offer.to.is_some()
            || (to.is_some() && to != entry.to);
        if differs {
            let message = "there is an offer of this id with another size, chunk size or receiver";
            return Err(Refusal::new(Code::Conflict, message));
        }
        if entry.is_hopeless(room, now) {
            // The depot has been asked to forget it, or is asked in the next round.
            return Err(Refusal::new(Code::Offer, "the session in which this offer was begun is over"));
        }
        let first = entry.uploaders.is_empty() && !entry.is_sealed();
        if !entry.is_sealed() {
            entry.uploaders.insert(request.connection);
            entry.sessions.retain(|session| room.is_alive(*session));
            entry.sessions.insert(person.session);
            entry.until = None;
        }
        match &entry.stock {
            None => entry.waiting.push(request),
            Some(stock) => {
                let stock = Arc::clone(stock);
                self.answer(request, &stock);
                if first {
                    self.announce(number, room, now);
                }
            }
        }
        Ok(())
    }

    fn begin(
        &mut self,
        request: Request,
        offer: &Offer,
        room_left: impl FnOnce() -> Option<(u64, u64)>,
        person: &Person,
        room: &Room,
    ) -> Result<(), Refusal> {
        let refuse = |code, message: &str| Err(Refusal::new(code, message));
        let chunk = offer.chunk_size;
        if !chunk.is_power_of_two() || !(limits::CHUNK_MIN..=limits::CHUNK_MAX).contains(&chunk) {
            return refuse(Code::Conflict, "chunk_size: expected a power of two from 262144 to 1048576");
        }
        let most = u64::from(limits::CHUNKS) * u64::from(chunk);
        if offer.size.is_some_and(|size| size > most) {
            return refuse(Code::Conflict, "size: an offer has at most 4194304 chunks");
        }
        if person.muted {
            return refuse(Code::Muted, "a host has muted you");
        }
        let to = match offer.to.map(|to| (to, room.key_of(to))) {
            None => None,
            Some((to, Some(key))) => Some(Who::new(to, key)),
            Some((_, None)) => return refuse(Code::Member, "there is no such member"),
        };
        if self.age.is_none() {
            return refuse(Code::Quota, "this server takes no files");
        }
        if self.offers.len() >= limits::OFFERS || self.last == u32::MAX {
            return refuse(Code::Full, "the room has as many offers as it may; withdraw some");
        }
        let owner = Who::of(person);
        let open = self.offers.values().filter(|entry| entry.owner == owner && !entry.is_sealed()).count();
        if open >= limits::OPEN_OFFERS {
            return refuse(
                Code::Full,
                "you have as many unfinished offers as you may; finish or withdraw some",
            );
        }
        match room_left() {
            Some((left, _)) if offer.size.unwrap_or(0) <= left => {}
            Some((left, all)) => {
                let needed = offer
                    .size
                    .map_or_else(String::new, |size| format!("this takes {}, and ", text::size(size)));
                let message = format!(
                    "{needed}{} of the {} that the server keeps are free",
                    text::size(left),
                    text::size(all)
                );
                return refuse(Code::Quota, &message);
            }
            None => return refuse(Code::Quota, "this server takes no files"),
        }
        self.last += 1;
        let record = Record {
            number: OfferNumber(self.last),
            id: offer.offer,
            owner: person.key,
            name: person.name.to_string(),
            direct: offer.to.is_some(),
            to: match to {
                Some(Who::Key(key)) => Some(key),
                _ => None,
            },
            size: offer.size,
            chunk_size: chunk,
            chunks: None,
            sealed: false,
            since: 0,
            touched: 0,
        };
        let entry = Entry {
            record: record.clone(),
            owner,
            to,
            stock: None,
            about: None,
            waiting: vec![request],
            uploaders: [request.connection].into(),
            sessions: [person.session].into(),
            until: None,
            hosted: true,
            received: BTreeSet::new(),
            told: None,
            changed: false,
            by: None,
        };
        self.offers.insert(record.number, entry);
        self.outputs.push_back(Output::Create(record));
        Ok(())
    }

    /// The depot has news of one of the offers.
    pub(super) fn handle_news(&mut self, news: News, room: &Room, now: Moment, wall: u64) {
        match news {
            News::Created(record, stock) => self.handle_created(record, &stock),
            News::NotCreated(record) => {
                self.handle_not_created(record.number, Code::Quota, "the server cannot store it now")
            }
            News::Piece(stock, Part::About, frame) => {
                if let Some(entry) = self.offers.get_mut(&stock.number) {
                    entry.about = Some(frame);
                    self.announce(stock.number, room, now);
                }
            }
            News::Piece(..) => {}
            News::Kept(stock, chunks) => self.handle_kept(&stock, &chunks, room, now, wall),
            News::Lost(stock, chunks) => self.handle_lost(&stock, &chunks),
            News::Sealed(stock, request) => {
                let answer = Control::Done { id: request.id };
                self.outputs.push_back(Output::Send(request.connection, answer));
                if let Some(entry) = self.offers.get_mut(&stock.number) {
                    entry.record.touched = wall;
                    entry.uploaders.clear();
                    self.announce(stock.number, room, now);
                }
            }
            News::Gone(stock, reason) => self.handle_removed(stock.number, reason),
            News::Answer(connection, operation) => {
                self.outputs.push_back(Output::Send(connection, operation))
            }
        }
    }

    fn handle_created(&mut self, record: Record, stock: &Arc<Stock>) {
        let Some(entry) = self.offers.get_mut(&record.number) else { return };
        entry.record = record;
        entry.stock = Some(Arc::clone(stock));
        for request in std::mem::take(&mut entry.waiting) {
            self.answer(request, stock);
        }
    }

    /// An offer could not be put into the depot.
    pub(super) fn handle_not_created(&mut self, number: OfferNumber, code: Code, message: &str) {
        let Some(entry) = self.offers.remove(&number) else { return };
        for request in entry.waiting {
            self.refuse(request, Refusal::new(code, message));
        }
    }

    fn handle_kept(&mut self, stock: &Stock, chunks: &Ranges, room: &Room, now: Moment, wall: u64) {
        let Some(entry) = self.offers.get_mut(&stock.number) else { return };
        entry.record.touched = wall;
        entry.changed = true;
        let due = entry.told.is_none_or(|told| now.since(told) >= limits::OFFER_NEWS);
        for uploader in &entry.uploaders {
            let kept = Control::Kept { offer: stock.number, chunks: chunks.pairs() };
            self.outputs.push_back(Output::Send(*uploader, kept));
        }
        if due {
            self.announce(stock.number, room, now);
        }
    }

    fn handle_lost(&mut self, stock: &Stock, chunks: &Ranges) {
        let Some(entry) = self.offers.get(&stock.number) else { return };
        for uploader in &entry.uploaders {
            for index in chunks.numbers().take(LOSSES) {
                let mut refusal =
                    Refusal::new(Code::Internal, "the server could not store a chunk; send it again");
                refusal.piece = Some(Box::new(Piece { offer: stock.number, part: Part::Chunk, index }));
                self.outputs.push_back(Output::Send(*uploader, Control::Error(refusal)));
            }
        }
    }

    fn handle_removed(&mut self, number: OfferNumber, reason: Going) {
        let Some(entry) = self.offers.remove(&number) else { return };
        let watching =
            self.watchers.iter().filter(|(_, who)| entry.may_see(**who)).map(|(connection, _)| *connection);
        let told: BTreeSet<ConnectionId> = watching.chain(entry.uploaders.iter().copied()).collect();
        let by = entry.by.as_ref().filter(|_| reason == Going::Withdrawn);
        let gone = |connection| {
            Output::Send(connection, Control::OfferGone { offer: number, reason, by: by.cloned() })
        };
        self.outputs.extend(told.into_iter().map(gone));
    }

    /// What a connection may put pieces of an offer into.
    pub(super) fn upload(&self, connection: ConnectionId, number: OfferNumber) -> Option<Arc<Stock>> {
        let entry = self.offers.get(&number)?;
        entry.stock.clone().filter(|_| entry.uploaders.contains(&connection))
    }

    /// What a connection may fetch an offer from.
    pub(super) fn fetch(
        &self,
        connection: ConnectionId,
        number: OfferNumber,
        room: &Room,
    ) -> Option<Arc<Stock>> {
        let who = Who::of(&room.person(connection)?);
        let entry = self.offers.get(&number)?;
        entry.stock.clone().filter(|_| entry.may_see(who))
    }

    /// A sender says that its offer is complete: what is to be sealed.
    pub(super) fn handle_seal(
        &mut self,
        connection: ConnectionId,
        seal: Seal,
        room: &Room,
        now: Moment,
    ) -> Option<Arc<Stock>> {
        let own = |entry: &&mut Entry| {
            room.person(connection).is_some_and(|person| Who::of(&person) == entry.owner)
        };
        let entry = self.offers.get_mut(&seal.offer).filter(own);
        let stock = entry.and_then(|entry| {
            if !entry.is_hopeless(room, now) {
                // Its sender may leave now: the depot says what becomes of it.
                entry.until = Some(now + room.grace());
            }
            entry.stock.clone()
        });
        if stock.is_none() {
            let refusal = Refusal::new(Code::Offer, "there is no such offer of yours");
            self.refuse(Request { connection, id: seal.id }, refusal);
        }
        stock
    }

    /// Somebody wants an offer to be forgotten.
    pub(super) fn handle_withdraw(
        &mut self,
        request: Request,
        number: OfferNumber,
        reason: Going,
        room: &Room,
    ) {
        let Some(person) = room.person(request.connection) else { return };
        let who = Who::of(&person);
        let entry = self.offers.get_mut(&number);
        let refusal = match entry.and_then(|entry| entry.stock.clone().map(|stock| (entry, stock))) {
            Some((entry, stock))
                if entry.owner == who || (person.host && entry.hosted && entry.may_see(who)) =>
            {
                // What is complete can be had, whatever becomes of its source.
                let hopeless = reason.is_hopeless() && entry.owner == who && !entry.is_sealed();
                let going = if hopeless { reason } else { Going::Withdrawn };
                let host = || By { by: person.member, by_name: person.name.to_string() };
                entry.by = (entry.owner != who).then(host);
                return self.outputs.push_back(Output::Withdraw(stock, Some(request), going));
            }
            Some((entry, _)) if person.host && entry.may_see(who) => Refusal::new(
                Code::Denied,
                "this offer was here before the room was yours: only its sender can take it back",
            ),
            Some((entry, _)) if entry.may_see(who) => Refusal::new(
                Code::Denied,
                "this offer is somebody else's: its sender or a host can take it back",
            ),
            _ => Refusal::new(Code::Offer, "there is no such offer"),
        };
        self.refuse(request, refusal);
    }

    /// A member has all of an offer.
    pub(super) fn handle_received(
        &mut self,
        connection: ConnectionId,
        number: OfferNumber,
        room: &Room,
        now: Moment,
    ) {
        let Some(who) = room.person(connection).map(|person| Who::of(&person)) else { return };
        let Some(entry) = self.offers.get_mut(&number) else { return };
        let may = entry.may_see(who) && entry.owner != who && entry.is_sealed();
        if !may || entry.received.len() >= limits::MEMBERS || !entry.received.insert(who) {
            return;
        }
        if let (Who::Key(key), Some(stock)) = (who, &entry.stock) {
            self.outputs.push_back(Output::Received(Arc::clone(stock), key));
        }
        self.announce(number, room, now);
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, room: &Room, now: Moment) {
        let due = |entry: &Entry| {
            entry.changed && entry.told.is_none_or(|told| now.since(told) >= limits::OFFER_NEWS)
        };
        let changed: Vec<OfferNumber> =
            self.offers.iter().filter(|(_, e)| due(e)).map(|(number, _)| *number).collect();
        for number in changed {
            self.announce(number, room, now);
        }
        if now < self.round {
            return;
        }
        self.round = now + ROUND;
        self.give_up_orphans(room, now);
    }

    /// When [`Self::handle_timeout`] is to be called at the latest.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let changed = self.offers.values().filter(|entry| entry.changed);
        let news = changed.map(|entry| entry.told.map_or(self.round, |told| told + limits::OFFER_NEWS));
        let open = |entry: &&Entry| {
            !matches!(entry.owner, Who::Key(_)) && !entry.is_sealed() || entry.is_open_pipe()
        };
        let round = self.offers.values().find(open).map(|_| self.round);
        news.chain(round).min()
    }

    /// What to do next.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How many offers there are.
    pub(super) fn len(&self) -> usize {
        self.offers.len()
    }

    /// Bytes of them on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.offers.values().filter_map(|entry| entry.stock.as_ref()).map(|stock| stock.bytes()).sum()
    }

    /// Refuses a request of which the depot did not take notice.
    pub(super) fn handle_busy(&mut self, request: Request) {
        let mut refusal = Refusal::new(Code::RateLimited, "the server is busy");
        refusal.retry_after_ms = Some(1_000);
        self.refuse(request, refusal);
    }

    /// Tells those who may see it how an offer is; the first time with its `about`.
    fn announce(&mut self, number: OfferNumber, room: &Room, now: Moment) {
        let age = self.age.unwrap_or_default();
        let Some(entry) = self.offers.get_mut(&number) else { return };
        if entry.about.is_none() {
            return;
        }
        let first = entry.told.is_none();
        entry.told = Some(now);
        entry.changed = false;
        let state = entry.describe(room, age);
        for (connection, _) in self.watchers.iter().filter(|(_, who)| entry.may_see(**who)) {
            self.outputs.push_back(Output::Send(*connection, Control::OfferState(state.clone())));
            if first {
                self.outputs.extend(entry.about.clone().map(|about| Output::Pass(*connection, about)));
            }
        }
    }

    /// Tells a sender what there is already, in parts that fit a control frame.
    fn answer(&mut self, request: Request, stock: &Stock) {
        let holding = stock.holding().clone();
        let pairs = holding.kept.pairs();
        let mut parts = pairs.chunks(PAIRS);
        loop {
            let stored = parts.next().map(<[_]>::to_vec).unwrap_or_default();
            let more = parts.len() > 0;
            let offered = Offered {
                id: request.id,
                offer: stock.number,
                stored,
                about: holding.about,
                manifest: holding.manifest,
                sums: holding.sums,
                sealed: holding.sealed,
                more,
            };
            self.outputs.push_back(Output::Send(request.connection, Control::Offered(offered)));
            if !more {
                break;
            }
        }
    }

    fn refuse(&mut self, request: Request, mut refusal: Refusal) {
        refusal.id = Some(request.id);
        self.outputs.push_back(Output::Send(request.connection, Control::Error(refusal)));
    }
}

#[cfg(test)]
mod tests;
