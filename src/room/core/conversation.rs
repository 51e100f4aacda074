//! What the members say: taken in, numbered, relayed, stored, and given to those who missed it.

use std::sync::Arc;

use bytes::Bytes;

use super::{Fetch, Link, Older, Output, Reading, Room};
use crate::chat::{Accepted, Addressee, Author, Entry, Found, Item, Missing, Page, Reader, Start};
use crate::id::{ConnectionId, MemberId};
use crate::limits;
use crate::time::Moment;
use crate::wire::control::{self, Ack, Control, Gap, GapReason, Messages, Refusal};
use crate::wire::{Code, Frame, Letter};

impl Room {
    /// A member says something. Acknowledgements wait for [`Self::handle_settled`].
    pub fn handle_message(&mut self, connection: ConnectionId, frame: &Frame, now: Moment, wall: u64) {
        let (Some(id), Some(letter)) = (self.member_of(connection), &frame.header.letter) else { return };
        let Some(member) = self.members.get(&id) else { return };
        let author = Author { member: id, name: member.name.to_string(), key: member.key };
        let to = match letter.to.map(|to| (to, self.members.get(&to))) {
            _ if self.is_muted(id) => Err(Refusal::new(Code::Muted, "a host has muted you")),
            None => Ok(None),
            Some((member, Some(known))) => Ok(Some(Addressee { member, key: known.key })),
            Some((_, None)) => {
                Err(Refusal::new(Code::Member, "whom this was for is not in the room any more"))
            }
        };
        match self.log.accept(frame, letter, &author, to, connection, wall) {
            Accepted::New(entry) => {
                self.acks.insert(letter.source);
                self.stop_typing(id);
                self.announce(id, now);
                self.relay(&entry, id, letter.to);
                if self.log.is_stored() {
                    self.outputs.push_back(Output::Store(entry));
                }
            }
            Accepted::Again { conflict: false } => {
                self.acks.insert(letter.source);
            }
            Accepted::Again { conflict: true } => {
                if let Some((to, ack)) = self.log.ack(letter.source) {
                    let ack = Ack { conflict: true, ..ack };
                    self.outputs.push_back(Output::Send(to, Control::Ack(ack)));
                }
            }
            Accepted::Refused(refusal) => self.refuse_message(connection, letter, refusal),
            Accepted::Fault(refusal) => {
                self.handle_broken(connection, now);
                self.outputs.push_back(Output::Close(connection, refusal));
            }
        }
    }

    /// What came together has been taken in: acknowledges it.
    pub fn handle_settled(&mut self) {
        for source in std::mem::take(&mut self.acks) {
            if let Some((to, ack)) = self.log.ack(source) {
                self.outputs.push_back(Output::Send(to, Control::Ack(ack)));
            }
        }
    }

    /// The store has everything through this number on disk.
    pub fn handle_stored(&mut self, through: u64) {
        let news = self.log.handle_stored(through);
        self.acks.extend(news);
        self.handle_settled();
    }

    /// The store did not take a message.
    pub fn handle_unstorable(&mut self, seq: u64) {
        if let Some((to, refusal)) = self.log.handle_unstorable(seq) {
            self.outputs.push_back(Output::Send(to, Control::Error(refusal)));
        }
    }

    /// The store grants numbers through this one.
    pub fn handle_reserved(&mut self, through: u64) {
        self.log.handle_reserved(through);
    }

    /// Whether the store works has changed.
    pub fn handle_storage(&mut self, stored: bool, message: &str) {
        self.log.handle_storage(stored);
        if self.log.is_stored() {
            let message = message.to_owned();
            self.outputs.push_back(Output::Broadcast(Control::Storage { stored, message }));
        }
    }

    /// The connections that are to be given more of what they missed, as soon as they have taken what was
    /// sent.
    pub fn behind(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.behind.iter().copied()
    }

    /// What was sent to this connection is on its way: the next part of what it missed.
    pub fn handle_drained(&mut self, connection: ConnectionId) {
        let Some((reader, reading)) = self.reader(connection) else { return };
        let after = match reading {
            Reading::Behind(after) => after,
            Reading::Older(older) => return self.give_older(connection, &reader, older),
            _ => return,
        };
        match self.log.page(&reader, after) {
            Ok(page) => self.send_page(connection, page),
            Err(missing) => {
                self.set_reading(connection, Reading::Asked);
                self.outputs.push_back(Output::Fetch(connection, Fetch::Page(missing), reader.key));
            }
        }
    }

    /// The answer to [`Fetch::Start`]: the newest messages that this reader asked for begin behind `after`.
    pub fn handle_start(&mut self, connection: ConnectionId, after: u64) {
        if let Some((_, Reading::Asked)) = self.reader(connection) {
            self.begin_behind(connection, after);
        }
    }

    /// The answer to [`Fetch::Page`]. Without it the store has failed.
    pub fn handle_fetched(&mut self, connection: ConnectionId, missing: Missing, found: Option<&Found>) {
        let Some((_, Reading::Asked)) = self.reader(connection) else { return };
        let page = match found {
            Some(found) => self.log.page_of(missing, found),
            None => {
                let gap = Gap { from: missing.after + 1, to: missing.through, reason: GapReason::Unknown };
                Page { items: vec![Item::Gap(gap)], through: missing.through, complete: false }
            }
        };
        self.send_page(connection, page);
    }

    /// A client wants messages that are older than those it has. They go out when it has taken what was sent,
    /// and new ones behind them.
    pub fn handle_older(&mut self, connection: ConnectionId, id: u64, before: u64, count: u32) {
        let Some((_, reading)) = self.reader(connection) else { return };
        if reading != Reading::Live {
            let mut refusal =
                Refusal::new(Code::RateLimited, "older messages are for who has the newer ones");
            refusal.id = Some(id);
            return self.outputs.push_back(Output::Send(connection, Control::Error(refusal)));
        }
        let count = count.min(limits::PAGE as u32);
        let older = Older { id, before, count, after: self.log.last() };
        self.set_reading(connection, Reading::Older(older));
    }

    /// The answer to [`Fetch::Older`]. Without it the store has failed: the client may ask again.
    pub fn handle_found_older(&mut self, connection: ConnectionId, older: Older, found: Option<&[Entry]>) {
        let Some((reader, Reading::Asked)) = self.reader(connection) else { return };
        let Some(found) = found else {
            let mut refusal = Refusal::new(Code::Internal, "the server cannot read its history now");
            refusal.id = Some(older.id);
            self.outputs.push_back(Output::Send(connection, Control::Error(refusal)));
            return self.set_reading(connection, Reading::Behind(older.after));
        };
        let frames = found.iter().filter(|entry| entry.is_for(&reader) && entry.seq < older.before);
        self.send_older(connection, older, frames.map(|entry| entry.frame.clone()).collect());
    }

    fn give_older(&mut self, connection: ConnectionId, reader: &Reader, older: Older) {
        match self.log.older(reader, older.before, older.count) {
            Some(frames) => self.send_older(connection, older, frames),
            None => {
                self.set_reading(connection, Reading::Asked);
                self.outputs.push_back(Output::Fetch(connection, Fetch::Older(older), reader.key));
            }
        }
    }

    fn send_older(&mut self, connection: ConnectionId, older: Older, frames: Vec<Bytes>) {
        let to: Arc<[ConnectionId]> = Arc::new([connection]);
        for frame in frames {
            self.outputs.push_back(Output::Relay(frame, Arc::clone(&to)));
        }
        self.outputs.push_back(Output::Send(connection, Control::Done { id: older.id }));
        self.set_reading(connection, Reading::Behind(older.after));
    }

    /// Bytes of messages in memory.
    pub fn log_bytes(&self) -> usize {
        self.log.bytes()
    }

    /// Gives up messages in memory, because all rooms together have too many.
    pub fn shrink_log(&mut self) {
        self.log.shrink();
    }

    /// Whether a position that a client brings can be: a number that was never given cannot.
    pub(super) fn check_position(&self, messages: Option<Messages>) -> Result<(), Refusal> {
        match messages {
            Some(Messages { log: Some(log), after: Some(after), .. })
                if log == self.log.id() && after > self.log.last() =>
            {
                let message = format!("message {after} has not been yet; the last is {}", self.log.last());
                Err(Refusal::new(Code::Resume, message))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn describe_log(&self) -> control::Log {
        control::Log { id: self.log.id(), last: self.log.last(), stored: self.log.is_storing() }
    }

    /// A session that wants messages has been welcomed.
    pub(super) fn begin_reading(&mut self, connection: ConnectionId, wanted: Messages) {
        let Some((reader, _)) = self.reader(connection) else { return };
        if let (Some(log), Some(after)) = (wanted.log, wanted.after) {
            if log == self.log.id() {
                self.set_reading(connection, Reading::Behind(after));
                return self.handle_drained(connection);
            }
            let gap = Gap { from: 0, to: 0, reason: GapReason::Unknown };
            self.outputs.push_back(Output::Send(connection, Control::Gap(gap)));
        }
        match self.log.start(&reader, wanted.history) {
            Start::After(after) => self.begin_behind(connection, after),
            Start::Newest { count, through } => {
                self.set_reading(connection, Reading::Asked);
                let fetch = Fetch::Start(count, through);
                self.outputs.push_back(Output::Fetch(connection, fetch, reader.key));
            }
        }
    }

    /// A newcomer's messages begin behind `after`; before them stands what is kept of the slots.
    fn begin_behind(&mut self, connection: ConnectionId, after: u64) {
        for frame in self.log.slots(after) {
            self.outputs.push_back(Output::Relay(frame, Arc::new([connection])));
        }
        self.set_reading(connection, Reading::Behind(after));
        self.handle_drained(connection);
    }

    fn send_page(&mut self, connection: ConnectionId, page: Page) {
        let to: Arc<[ConnectionId]> = Arc::new([connection]);
        for item in page.items {
            self.outputs.push_back(match item {
                Item::Message(frame) => Output::Relay(frame, Arc::clone(&to)),
                Item::Gap(gap) => Output::Send(connection, Control::Gap(gap)),
            });
        }
        match page.complete {
            true => {
                self.set_reading(connection, Reading::Live);
                let seq = self.log.last();
                self.outputs.push_back(Output::Send(connection, Control::CaughtUp { seq }));
            }
            false => self.set_reading(connection, Reading::Behind(page.through)),
        }
    }

    /// Sends a new message to those who are told as it comes.
    fn relay(&mut self, entry: &Entry, from: MemberId, to: Option<MemberId>) {
        let listeners = match to {
            None => self.listeners(),
            Some(to) => self.listening(|member| member == from || member == to).collect(),
        };
        if !listeners.is_empty() {
            self.outputs.push_back(Output::Relay(entry.frame.clone(), listeners));
        }
    }

    fn listeners(&mut self) -> Arc<[ConnectionId]> {
        if let Some(known) = &self.listeners {
            return Arc::clone(known);
        }
        let listeners: Arc<[ConnectionId]> = self.listening(|_| true).collect();
        self.listeners = Some(Arc::clone(&listeners));
        listeners
    }

    fn listening(&self, whose: impl Fn(MemberId) -> bool) -> impl Iterator<Item = ConnectionId> {
        self.sessions.values().filter_map(move |session| match session.link {
            Link::Up(connection) if session.reading == Reading::Live && whose(session.member) => {
                Some(connection)
            }
            _ => None,
        })
    }

    fn refuse_message(&mut self, connection: ConnectionId, letter: &Letter, mut refusal: Refusal) {
        refusal.source = Some(letter.source);
        refusal.n = Some(letter.n);
        self.outputs.push_back(Output::Send(connection, Control::Error(refusal)));
        self.acks.insert(letter.source);
    }

    fn reader(&self, connection: ConnectionId) -> Option<(Reader, Reading)> {
        let session = self.sessions.get(self.connections.get(&connection)?)?;
        let key = self.members.get(&session.member)?.key;
        Some((Reader { member: session.member, key }, session.reading))
    }

    fn set_reading(&mut self, connection: ConnectionId, reading: Reading) {
        let session = self.connections.get(&connection).and_then(|id| self.sessions.get_mut(id));
        if let Some(session) = session {
            session.reading = reading;
            self.listeners = None;
            match reading {
                Reading::Behind(_) | Reading::Older(_) => self.behind.insert(connection),
                _ => self.behind.remove(&connection),
            };
        }
    }

    /// A connection is gone, or does not belong to its session any more.
    pub(super) fn stop_reading(&mut self, connection: ConnectionId) {
        self.listeners = None;
        self.behind.remove(&connection);
        self.log.handle_gone(connection);
    }
}

/// The part that a page holds fits the bound of what may wait for a connection.
const _: () = assert!(limits::PAGE_BYTES + limits::MESSAGE + limits::HEADER < limits::QUEUE_RELIABLE);
