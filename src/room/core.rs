//! Members, sessions and tracks of one room. Who may come in is in [`entering`], what they publish in [`tracks`], how
//! they are shown in [`members`], what they say in [`conversation`], and what hosts do in [`moderation`].

mod conversation;
mod entering;
mod members;
mod moderation;
#[cfg(test)]
mod tests;
mod tracks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::presence::Presence;
use crate::chat::{Entry, Log, Missing};
use crate::id::{
    ConnectionId, MemberId, Nick, PublicKey, ResumeToken, RoomName, SessionId, SourceId, TrackId,
};
use crate::limits;
use crate::text::{Look, Looks};
use crate::time::Moment;
use crate::wire::control::{self, Control, Messages, Quality, Refusal, Source, TrackKind};

/// What a room allows and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Members at once; [`limits::MEMBERS`] at the most.
    pub max_members: usize,
    /// How long a session outlives its connection.
    pub grace: Duration,
    /// How long an empty room is kept.
    pub room_grace: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { max_members: limits::MEMBERS, grace: limits::GRACE, room_grace: limits::ROOM_GRACE }
    }
}

/// What a connection brings that wants to be admitted.
#[derive(Debug, Clone)]
pub struct Join {
    /// The connection.
    pub connection: ConnectionId,
    /// The wish for a name; a number is put behind it when somebody else has it.
    pub name: Nick,
    /// Makes several sessions one member; whose it is has been proved.
    pub key: Option<PublicKey>,
    /// Takes up an earlier session.
    pub resume: Option<ResumeToken>,
    /// A fresh random token for the session.
    pub token: ResumeToken,
    /// Kinds of track that it wants without asking.
    pub subscribe: Vec<TrackKind>,
    /// Which messages it wants, if any.
    pub messages: Option<Messages>,
    /// Microseconds since 1970.
    pub wall: u64,
}

/// What an admitted connection has become.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The session.
    pub session: SessionId,
    /// The member it belongs to.
    pub member: MemberId,
    /// The name that the others see.
    pub name: Nick,
    /// What resumes the session.
    pub token: ResumeToken,
    /// Whether an earlier session was taken up.
    pub resumed: bool,
    /// The room's log, where the program wants messages.
    pub log: Option<control::Log>,
}

/// Who is behind a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The session.
    pub session: SessionId,
    /// The member.
    pub member: MemberId,
    /// Its key; guests have none.
    pub key: Option<PublicKey>,
    /// Its name.
    pub name: Nick,
    /// Whether it may moderate.
    pub host: bool,
    /// Whether a host has muted it.
    pub muted: bool,
}

/// What a room keeps for its next life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Who made it.
    pub owner: Option<PublicKey>,
    /// Whom the owner has named.
    pub hosts: Vec<PublicKey>,
    /// Whether newcomers are refused.
    pub locked: bool,
}

/// What the store is asked for a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// Where the newest messages begin, so many of them and none behind that number:
    /// [`Room::handle_start`].
    Start(u32, u64),
    /// Messages: [`Room::handle_fetched`].
    Page(Missing),
    /// Messages that are older than those the reader has: [`Room::handle_found_older`].
    Older(Older),
}

/// What a reader who has the newest messages wants of the older ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Older {
    /// The number of the request.
    pub id: u64,
    /// Only messages before this one.
    pub before: u64,
    /// The newest of them, so many.
    pub count: u32,
    /// What the reader has on the other end: new ones follow behind it.
    after: u64,
}

/// What the server has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send an operation to a connection.
    Send(ConnectionId, Control),
    /// Send an operation to every connection of the room.
    Broadcast(Control),
    /// A track begins; its pictures come from this connection.
    Open(TrackId, ConnectionId),
    /// The publisher of a track has another connection now, or none; what it sent before is not
    /// continued.
    Interrupt(TrackId, Option<ConnectionId>),
    /// A track has ended.
    Shut(TrackId),
    /// From now on this connection receives the track.
    Attach(TrackId, ConnectionId),
    /// This connection no longer receives the track.
    Detach(TrackId, ConnectionId),
    /// Tell the connection why, then close it.
    Close(ConnectionId, Refusal),
    /// Send a message to these connections.
    Relay(Bytes, Arc<[ConnectionId]>),
    /// Store a message.
    Store(Entry),
    /// Ask the store for what a reader is missing; `Option<PublicKey>` is the reader's.
    Fetch(ConnectionId, Fetch, Option<PublicKey>),
    /// Keep this for the next life of the room.
    Keep(Settings),
}

/// One meeting. The caller gives it events and carries out what [`Room::poll_output`] says, in order.
///
/// Bounds: [`limits::MEMBERS`], [`limits::SESSIONS`], [`limits::TRACKS`] of a session,
/// [`limits::ROOM_TRACKS`]. The outputs are polled after every event, so they do not pile up.
#[derive(Debug)]
pub struct Room {
    name: RoomName,
    members: BTreeMap<MemberId, Member>,
    /// What the names of the members look like.
    looks: Looks,
    sessions: BTreeMap<SessionId, Session>,
    tracks: BTreeMap<TrackId, Track>,
    connections: BTreeMap<ConnectionId, SessionId>,
    last_member: u32,
    last_session: u32,
    last_track: u32,
    terms: Terms,
    presence: Presence,
    log: Log,
    /// Sources whose acknowledgement is due.
    acks: BTreeSet<SourceId>,
    /// Connections that are given what they missed in parts.
    behind: BTreeSet<ConnectionId>,
    /// Who is told of messages as they come; made when it is needed.
    listeners: Option<Arc<[ConnectionId]>>,
    settings: Settings,
    /// The owner, where it is a guest.
    guest_owner: Option<MemberId>,
    /// Muted by a host, for the life of the room.
    muted: BTreeSet<PublicKey>,
    /// Sent away by a host; at most [`limits::SENT_AWAY`].
    kicked: BTreeMap<PublicKey, Kicked>,
    empty_since: Option<Moment>,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Member {
    name: Nick,
    /// What that looks like.
    look: Look,
    key: Option<PublicKey>,
    /// Microseconds since 1970.
    since: u64,
    /// A guest who is a host, or muted: what has no key is not kept elsewhere.
    guest_host: bool,
    guest_muted: bool,
    away: Option<String>,
    typing_until: Option<Moment>,
    /// What the others have been told, if anything.
    announced: Option<control::Member>,
    /// Somebody who came before that was told has seen it in the state of the room.
    seen: bool,
}

/// Somebody who may not come back yet.
#[derive(Debug)]
struct Kicked {
    until: Moment,
    about: control::SentAway,
}

#[derive(Debug)]
struct Session {
    member: MemberId,
    token: ResumeToken,
    link: Link,
    kinds: Vec<TrackKind>,
    subscribed: Vec<TrackId>,
    reading: Reading,
    quality: Quality,
}

/// How far a session is with the room's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// It does not want any.
    None,
    /// It is told of each as it comes.
    Live,
    /// It has what came through this number; the rest is sent in parts.
    Behind(u64),
    /// The store has been asked.
    Asked,
    /// It wants older messages; new ones wait until it has them.
    Older(Older),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up(ConnectionId),
    /// Broken; the session ends at this time.
    Down(Moment),
}

#[derive(Debug)]
struct Track {
    session: SessionId,
    member: MemberId,
    /// The `id` under which it was asked for.
    request: u64,
    source: Source,
}

impl Room {
    /// An empty room with what is known from an earlier life.
    pub fn new(name: RoomName, terms: Terms, log: Log, settings: Settings, now: Moment) -> Self {
        Self {
            name,
            members: BTreeMap::new(),
            looks: Looks::default(),
            sessions: BTreeMap::new(),
            tracks: BTreeMap::new(),
            connections: BTreeMap::new(),
            last_member: 0,
            last_session: 0,
            last_track: 0,
            terms,
            presence: Presence::new(now),
            log,
            acks: BTreeSet::new(),
            behind: BTreeSet::new(),
            listeners: None,
            settings,
            guest_owner: None,
            muted: BTreeSet::new(),
            kicked: BTreeMap::new(),
            empty_since: Some(now),
            outputs: VecDeque::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// A connection wants to come in.
    pub fn handle_join(&mut self, join: Join, now: Moment) -> Result<Admitted, Refusal> {
        self.check_position(join.messages)?;
        let earlier = join.resume.and_then(|token| self.session_with(token, join.key));
        let (session, resumed) = match earlier {
            Some(session) => (self.resume(session, &join), true),
            None => (self.enter(&join, now)?, false),
        };
        self.empty_since = None;
        self.connections.insert(join.connection, session);
        let held = &self.sessions[&session];
        let (member, token) = (held.member, held.token);
        let name = self.members[&member].name.clone();
        let log = join.messages.map(|_| self.describe_log());
        Ok(Admitted { session, member, name, token, resumed, log })
    }

    /// Tells an admitted connection who and what is here, and attaches it to what it wants. Separate
    /// from [`Self::handle_join`], so that the welcome goes first.
    pub fn handle_welcomed(&mut self, connection: ConnectionId, messages: Option<Messages>, now: Moment) {
        let Some(&id) = self.connections.get(&connection) else { return };
        let member = self.sessions[&id].member;
        self.tell_state(connection);
        self.announce(member, now);
        let session = &self.sessions[&id];
        let wanted: Vec<TrackId> = self
            .tracks
            .iter()
            .filter(|(track, t)| {
                t.session != id
                    && (session.kinds.contains(&t.source.kind) || session.subscribed.contains(track))
            })
            .map(|(track, _)| *track)
            .collect();
        for track in &wanted {
            self.outputs.push_back(Output::Attach(*track, connection));
        }
        for (track, _) in self.tracks.iter().filter(|(_, t)| t.session == id) {
            self.outputs.push_back(Output::Interrupt(*track, Some(connection)));
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.subscribed = wanted;
        }
        // Receiving pictures is something that the others see.
        self.announce(member, now);
        if let Some(messages) = messages {
            self.begin_reading(connection, messages);
        }
    }

    /// A connection broke; its session waits for the next one.
    pub fn handle_broken(&mut self, connection: ConnectionId, now: Moment) {
        let Some(id) = self.connections.remove(&connection) else { return };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.link = Link::Down(now + self.terms.grace);
        session.reading = Reading::None;
        session.quality = Quality::Good;
        let (member, subscribed) = (session.member, session.subscribed.clone());
        self.stop_reading(connection);
        for track in subscribed {
            self.outputs.push_back(Output::Detach(track, connection));
        }
        for (track, _) in self.tracks.iter().filter(|(_, t)| t.session == id) {
            self.outputs.push_back(Output::Interrupt(*track, None));
        }
        self.announce(member, now);
    }

    /// A connection ended on purpose; its session ends with it.
    pub fn handle_goodbye(&mut self, connection: ConnectionId, now: Moment) {
        if let Some(id) = self.disconnect(connection) {
            self.end_session(id, now);
        }
    }

    /// The connection does not belong to the room any more; which session it had.
    fn disconnect(&mut self, connection: ConnectionId) -> Option<SessionId> {
        let id = self.connections.remove(&connection)?;
        self.stop_reading(connection);
        for track in self.sessions.get(&id).map(|s| s.subscribed.clone()).unwrap_or_default() {
            self.outputs.push_back(Output::Detach(track, connection));
        }
        Some(id)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        let over: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, s)| matches!(s.link, Link::Down(end) if now >= end))
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.end_session(id, now);
        }
        for member in self.presence.take_due(now) {
            self.announce_now(member);
        }
        self.expire_typing(now);
        self.forgive(now);
    }

    /// When [`Self::handle_timeout`] is to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let graces = self.sessions.values().filter_map(|s| match s.link {
            Link::Down(end) => Some(end),
            Link::Up(_) => None,
        });
        graces
            .chain(self.presence.poll_timeout())
            .chain(self.members.values().filter_map(|member| member.typing_until))
            .chain(self.kicked.values().map(|kicked| kicked.until))
            .chain(self.empty_since.map(|t| t + self.terms.room_grace))
            .min()
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether nobody has been here for the grace time.
    pub fn is_over(&self, now: Moment) -> bool {
        self.empty_since.is_some_and(|since| now >= since + self.terms.room_grace)
    }

    /// The connections that are in the room.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.connections.keys().copied()
    }

    /// Members who are here or reconnecting.
    pub fn members(&self) -> usize {
        // Those whose leaving has not been told yet are still listed, but no longer here.
        self.sessions.values().map(|s| s.member).collect::<BTreeSet<_>>().len()
    }

    /// Programs of the members.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// What is published, and who does.
    pub fn published(&self) -> impl Iterator<Item = (TrackId, &Nick, &Source)> {
        self.tracks.iter().filter_map(|(id, track)| {
            self.members.get(&track.member).map(|member| (*id, &member.name, &track.source))
        })
    }

    /// The number of the last message.
    pub fn last_message(&self) -> u64 {
        self.log.last()
    }

    /// How long a session outlives its connection.
    pub fn grace(&self) -> Duration {
        self.terms.grace
    }

    /// Members that it takes.
    pub fn max_members(&self) -> usize {
        self.terms.max_members
    }

    /// Whether newcomers are refused.
    pub fn is_locked(&self) -> bool {
        self.settings.locked
    }

    /// Whose it is, unless a guest's.
    pub fn owner(&self) -> Option<PublicKey> {
        self.settings.owner
    }

    fn end_session(&mut self, id: SessionId, now: Moment) {
        if let Some(member) = self.drop_session(id, now) {
            self.announce(member, now);
        }
    }

    /// The session ends; whose it was, of whom the others are to be told.
    fn drop_session(&mut self, id: SessionId, now: Moment) -> Option<MemberId> {
        let session = self.sessions.remove(&id)?;
        let own: Vec<TrackId> =
            self.tracks.iter().filter(|(_, t)| t.session == id).map(|(t, _)| *t).collect();
        for track in own {
            self.end_track(track);
        }
        if self.sessions.is_empty() {
            self.empty_since = Some(now);
        }
        Some(session.member)
    }
}
