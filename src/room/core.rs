//! Members, sessions and tracks of one room.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::presence::Presence;
use crate::id::{ConnectionId, Identity, MemberId, Nick, ResumeToken, RoomName, SessionId, TrackId};
use crate::limits;
use crate::time::Moment;
use crate::wire::Code;
use crate::wire::control::{self, Control, Publish, Refusal, Source, TrackKind};

/// What a room allows and for how long.
#[derive(Debug, Clone, Copy)]
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
    /// Makes several sessions one member.
    pub identity: Option<Identity>,
    /// Takes up an earlier session.
    pub resume: Option<ResumeToken>,
    /// A fresh random token for the session.
    pub token: ResumeToken,
    /// Kinds of track that it wants without asking.
    pub subscribe: Vec<TrackKind>,
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
}

/// One meeting. The caller gives it events and carries out what [`Room::poll_output`] says, in order.
///
/// Bounds: [`limits::MEMBERS`], [`limits::SESSIONS`], [`limits::TRACKS`] of a session,
/// [`limits::ROOM_TRACKS`]. The outputs are polled after every event, so they do not pile up.
#[derive(Debug)]
pub struct Room {
    name: RoomName,
    members: BTreeMap<MemberId, Member>,
    sessions: BTreeMap<SessionId, Session>,
    tracks: BTreeMap<TrackId, Track>,
    connections: BTreeMap<ConnectionId, SessionId>,
    last_member: u32,
    last_session: u32,
    last_track: u32,
    terms: Terms,
    presence: Presence,
    empty_since: Option<Moment>,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Member {
    name: Nick,
    identity: Option<Identity>,
    /// What the others have been told, if anything.
    announced: Option<control::Presence>,
}

#[derive(Debug)]
struct Session {
    member: MemberId,
    token: ResumeToken,
    link: Link,
    kinds: Vec<TrackKind>,
    subscribed: Vec<TrackId>,
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
    /// An empty room.
    pub fn new(name: RoomName, terms: Terms, now: Moment) -> Self {
        Self {
            name,
            members: BTreeMap::new(),
            sessions: BTreeMap::new(),
            tracks: BTreeMap::new(),
            connections: BTreeMap::new(),
            last_member: 0,
            last_session: 0,
            last_track: 0,
            terms,
            presence: Presence::new(now),
            empty_since: Some(now),
            outputs: VecDeque::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// A connection wants to come in.
    pub fn handle_join(&mut self, join: Join) -> Result<Admitted, Refusal> {
        let earlier = join.resume.and_then(|token| self.session_with(token));
        let (session, resumed) = match earlier {
            Some(session) => (self.resume(session, &join), true),
            None => (self.enter(&join)?, false),
        };
        self.empty_since = None;
        self.connections.insert(join.connection, session);
        let held = &self.sessions[&session];
        let (member, token) = (held.member, held.token);
        let name = self.members[&member].name.clone();
        Ok(Admitted { session, member, name, token, resumed })
    }

    /// Tells an admitted connection who and what is here, and attaches it to what it wants. Separate
    /// from [`Self::handle_join`], so that the welcome goes first.
    pub fn handle_welcomed(&mut self, connection: ConnectionId, now: Moment) {
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
    }

    /// A connection broke; its session waits for the next one.
    pub fn handle_broken(&mut self, connection: ConnectionId, now: Moment) {
        let Some(id) = self.connections.remove(&connection) else { return };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.link = Link::Down(now + self.terms.grace);
        let member = session.member;
        for track in session.subscribed.clone() {
            self.outputs.push_back(Output::Detach(track, connection));
        }
        for (track, _) in self.tracks.iter().filter(|(_, t)| t.session == id) {
            self.outputs.push_back(Output::Interrupt(*track, None));
        }
        self.announce(member, now);
    }

    /// A connection ended on purpose; its session ends with it.
    pub fn handle_goodbye(&mut self, connection: ConnectionId, now: Moment) {
        if let Some(id) = self.connections.remove(&connection) {
            for track in self.sessions.get(&id).map(|s| s.subscribed.clone()).unwrap_or_default() {
                self.outputs.push_back(Output::Detach(track, connection));
            }
            self.end_session(id, now);
        }
    }

    /// A member wants a track number.
    pub fn handle_publish(&mut self, connection: ConnectionId, publish: Publish) {
        let Some(&id) = self.connections.get(&connection) else { return };
        let mut asked = self.tracks.iter().filter(|(_, t)| t.session == id);
        if let Some((&track, _)) = asked.find(|(_, t)| t.request == publish.id) {
            return self.ask_again(connection, track, publish);
        }
        let refuse = |message: &str| {
            let mut refusal = Refusal::new(Code::Full, message);
            refusal.id = Some(publish.id);
            Output::Send(connection, Control::Error(refusal))
        };
        if self.tracks.values().filter(|t| t.session == id).count() >= limits::TRACKS {
            return self.outputs.push_back(refuse("this program publishes as many tracks as it may"));
        }
        if self.tracks.len() >= limits::ROOM_TRACKS {
            return self.outputs.push_back(refuse("the room has as many tracks as it may"));
        }
        self.last_track += 1;
        let track = TrackId(self.last_track);
        let member = self.sessions[&id].member;
        let kind = publish.source.kind;
        self.tracks.insert(track, Track { session: id, member, request: publish.id, source: publish.source });
        self.outputs.push_back(Output::Open(track, connection));
        self.outputs.push_back(Output::Send(connection, Control::Published { id: publish.id, track }));
        self.announce_now(member);
        self.outputs.push_back(Output::Broadcast(Control::Track(self.describe(track))));
        for (other, session) in &mut self.sessions {
            if *other != id && session.kinds.contains(&kind) {
                session.subscribed.push(track);
                if let Link::Up(to) = session.link {
                    self.outputs.push_back(Output::Attach(track, to));
                }
            }
        }
    }

    /// A client whose connection broke before the answer came asks again, and so does one whose pictures change.
    fn ask_again(&mut self, connection: ConnectionId, track: TrackId, publish: Publish) {
        let Some(known) = self.tracks.get_mut(&track) else { return };
        if known.source.kind != publish.source.kind {
            let mut refusal = Refusal::new(Code::Track, "a track cannot change its kind");
            refusal.id = Some(publish.id);
            return self.outputs.push_back(Output::Send(connection, Control::Error(refusal)));
        }
        let changed = known.source != publish.source;
        known.source = publish.source;
        self.outputs.push_back(Output::Send(connection, Control::Published { id: publish.id, track }));
        if changed {
            self.outputs.push_back(Output::Broadcast(Control::Track(self.describe(track))));
        }
    }

    /// A member's track ends. Tracks of others are left alone.
    pub fn handle_unpublish(&mut self, connection: ConnectionId, track: TrackId) {
        if self.publishes(connection, track) {
            self.end_track(track);
        }
    }

    /// A connection wants tracks.
    pub fn handle_subscribe(&mut self, connection: ConnectionId, tracks: &[TrackId]) {
        let Some(&id) = self.connections.get(&connection) else { return };
        let (known, unknown): (Vec<TrackId>, Vec<TrackId>) =
            tracks.iter().take(limits::ROOM_TRACKS).partition(|track| self.tracks.contains_key(track));
        // One answer for all, lest a short question make a long one.
        if let Some(track) = unknown.first() {
            let refusal = Refusal::new(Code::Track, format!("there is no track {track}"));
            self.outputs.push_back(Output::Send(connection, Control::Error(refusal)));
        }
        let Some(session) = self.sessions.get_mut(&id) else { return };
        for track in known {
            if !session.subscribed.contains(&track) {
                session.subscribed.push(track);
                self.outputs.push_back(Output::Attach(track, connection));
            }
        }
    }

    /// A connection wants tracks no more.
    pub fn handle_unsubscribe(&mut self, connection: ConnectionId, tracks: &[TrackId]) {
        let Some(session) = self.connections.get(&connection).and_then(|id| self.sessions.get_mut(id)) else {
            return;
        };
        for track in tracks {
            if let Some(place) = session.subscribed.iter().position(|t| t == track) {
                session.subscribed.remove(place);
                self.outputs.push_back(Output::Detach(*track, connection));
            }
        }
    }

    /// Whether `track` is published through `connection`.
    pub fn publishes(&self, connection: ConnectionId, track: TrackId) -> bool {
        let session = self.connections.get(&connection);
        session.is_some() && self.tracks.get(&track).map(|t| &t.session) == session
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
    }

    /// When [`Self::handle_timeout`] is to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let graces = self.sessions.values().filter_map(|s| match s.link {
            Link::Down(end) => Some(end),
            Link::Up(_) => None,
        });
        graces
            .chain(self.presence.poll_timeout())
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

    fn session_with(&self, token: ResumeToken) -> Option<SessionId> {
        self.sessions.iter().find(|(_, session)| session.token == token).map(|(id, _)| *id)
    }

    /// A new session, of a new member or of one who is here already.
    fn enter(&mut self, join: &Join) -> Result<SessionId, Refusal> {
        if self.sessions.len() >= limits::SESSIONS {
            return Err(Refusal::new(Code::Full, "the room has as many programs as it may"));
        }
        let known = join.identity.and_then(|identity| {
            self.members.iter().find(|(_, m)| m.identity == Some(identity)).map(|(id, _)| *id)
        });
        let member = match known {
            Some(member) => member,
            None if self.members() >= self.terms.max_members.min(limits::MEMBERS) => {
                return Err(Refusal::new(
                    Code::Full,
                    format!("the room is full: {} members", self.members()),
                ));
            }
            None => {
                self.last_member += 1;
                let name = self.free_name(&join.name);
                let member = Member { name, identity: join.identity, announced: None };
                self.members.insert(MemberId(self.last_member), member);
                MemberId(self.last_member)
            }
        };
        self.last_session += 1;
        let id = SessionId(self.last_session);
        let session = Session {
            member,
            token: join.token,
            link: Link::Up(join.connection),
            kinds: join.subscribe.clone(),
            subscribed: Vec::new(),
        };
        self.sessions.insert(id, session);
        Ok(id)
    }

    /// The session goes on over another connection; an older one that is still there is replaced.
    fn resume(&mut self, id: SessionId, join: &Join) -> SessionId {
        if let Some(Session { link: Link::Up(old), .. }) = self.sessions.get(&id) {
            let old = *old;
            self.connections.remove(&old);
            for track in self.sessions[&id].subscribed.clone() {
                self.outputs.push_back(Output::Detach(track, old));
            }
            let refusal = Refusal::new(Code::Replaced, "another connection has taken this session over");
            self.outputs.push_back(Output::Close(old, refusal));
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.link = Link::Up(join.connection);
            session.kinds.clone_from(&join.subscribe);
        }
        id
    }

    fn free_name(&self, wish: &Nick) -> Nick {
        let taken = |name: &Nick| self.members.values().any(|m| m.name == *name);
        let mut name = wish.clone();
        let mut n = 2;
        while taken(&name) {
            name = wish.numbered(n);
            n += 1;
        }
        name
    }

    fn end_session(&mut self, id: SessionId, now: Moment) {
        let Some(session) = self.sessions.remove(&id) else { return };
        let own: Vec<TrackId> =
            self.tracks.iter().filter(|(_, t)| t.session == id).map(|(t, _)| *t).collect();
        for track in own {
            self.end_track(track);
        }
        self.announce(session.member, now);
        if self.sessions.is_empty() {
            self.empty_since = Some(now);
        }
    }

    fn end_track(&mut self, track: TrackId) {
        self.tracks.remove(&track);
        for session in self.sessions.values_mut() {
            session.subscribed.retain(|t| *t != track);
        }
        self.outputs.push_back(Output::Shut(track));
        self.outputs.push_back(Output::Broadcast(Control::TrackGone { track }));
    }

    /// Something about a member may have changed: tells the others, now or with the next batch.
    fn announce(&mut self, member: MemberId, now: Moment) {
        let present = self.sessions.values().any(|s| s.member == member);
        if !present && self.members.get(&member).is_some_and(|m| m.announced.is_none()) {
            // Nobody has heard of them, so nobody needs to hear that they left.
            self.members.remove(&member);
            return self.presence.forget(member);
        }
        if self.presence.change(member, now) {
            self.announce_now(member);
        }
    }

    fn announce_now(&mut self, id: MemberId) {
        let links: Vec<Link> = self.sessions.values().filter(|s| s.member == id).map(|s| s.link).collect();
        let Some(member) = self.members.get_mut(&id) else { return };
        if links.is_empty() {
            let known = member.announced.is_some();
            self.members.remove(&id);
            if known {
                self.outputs.push_back(Output::Broadcast(Control::MemberLeft { member: id }));
            }
            return;
        }
        let state = presence(&links);
        if member.announced != Some(state) {
            member.announced = Some(state);
            let told = control::Member { member: id, name: member.name.to_string(), state };
            self.outputs.push_back(Output::Broadcast(Control::Member(told)));
        }
    }

    /// Sends everything that is here, in parts that fit a control frame.
    fn tell_state(&mut self, connection: ConnectionId) {
        /// A member or track takes at most about 500 bytes of the 64 KiB.
        const PART: usize = 100;
        let members = self.members.keys().map(|id| {
            let links: Vec<Link> =
                self.sessions.values().filter(|s| s.member == *id).map(|s| s.link).collect();
            let name = self.members[id].name.to_string();
            control::Member { member: *id, name, state: presence(&links) }
        });
        let members: Vec<_> = members.collect();
        let tracks: Vec<_> = self.tracks.keys().map(|id| self.describe(*id)).collect();
        let (mut members, mut tracks) = (members.chunks(PART), tracks.chunks(PART));
        loop {
            let part = (members.next(), tracks.next());
            let more = members.len() > 0 || tracks.len() > 0;
            let state = control::State {
                members: part.0.map(<[_]>::to_vec).unwrap_or_default(),
                tracks: part.1.map(<[_]>::to_vec).unwrap_or_default(),
                more,
            };
            self.outputs.push_back(Output::Send(connection, Control::State(state)));
            if !more {
                break;
            }
        }
    }

    fn describe(&self, id: TrackId) -> control::Track {
        let track = &self.tracks[&id];
        control::Track { track: id, member: track.member, source: track.source.clone() }
    }
}

fn presence(links: &[Link]) -> control::Presence {
    match links.iter().any(|link| matches!(link, Link::Up(_))) {
        true => control::Presence::Here,
        false => control::Presence::Reconnecting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1_000)
    }

    fn room(max_members: usize) -> Room {
        Room::new("test".parse().unwrap(), Terms { max_members, ..Terms::default() }, at(0))
    }

    fn token(n: u64) -> ResumeToken {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        crate::id::Secret(bytes)
    }

    fn join(connection: u64, name: &str) -> Join {
        Join {
            connection: ConnectionId(connection),
            name: name.parse().unwrap(),
            identity: None,
            resume: None,
            token: token(connection),
            subscribe: vec![TrackKind::Video],
        }
    }

    fn enter(room: &mut Room, join: Join, now: Moment) -> Admitted {
        let connection = join.connection;
        let admitted = room.handle_join(join).unwrap();
        room.handle_welcomed(connection, now);
        admitted
    }

    fn outputs(room: &mut Room) -> Vec<Output> {
        std::iter::from_fn(|| room.poll_output()).collect()
    }

    fn publish(room: &mut Room, connection: u64, id: u64) -> Vec<Output> {
        let source = Source {
            kind: TrackKind::Video,
            label: "camera".into(),
            codec: "h264".into(),
            width: 0,
            height: 0,
            fps: 0.0,
        };
        outputs(room);
        room.handle_publish(ConnectionId(connection), Publish { id, source });
        outputs(room)
    }

    #[test]
    fn a_broken_connection_is_not_a_leave_until_the_grace_time_is_over() {
        let mut room = room(9);
        enter(&mut room, join(1, "Ann"), at(0));
        enter(&mut room, join(2, "Bob"), at(0));
        publish(&mut room, 1, 1);
        room.handle_broken(ConnectionId(1), at(1_000));
        let told = outputs(&mut room);
        assert!(told.iter().any(|o| matches!(o, Output::Broadcast(Control::Member(m)) if m.state == control::Presence::Reconnecting)));
        assert!(!told.iter().any(|o| matches!(o, Output::Shut(_))), "the track waits with its publisher");
        assert_eq!(room.poll_timeout(), Some(at(31_000)));
        room.handle_timeout(at(30_999));
        assert!(outputs(&mut room).is_empty());
        room.handle_timeout(at(31_000));
        let told = outputs(&mut room);
        assert!(told.contains(&Output::Broadcast(Control::MemberLeft { member: MemberId(1) })), "{told:?}");
        assert!(told.contains(&Output::Shut(TrackId(1))), "{told:?}");
    }

    #[test]
    fn who_comes_back_keeps_member_tracks_and_subscriptions() {
        let mut room = room(9);
        let first = enter(&mut room, join(1, "Ann"), at(0));
        enter(&mut room, join(2, "Bob"), at(0));
        publish(&mut room, 1, 1);
        publish(&mut room, 2, 1);
        room.handle_broken(ConnectionId(1), at(1_000));
        outputs(&mut room);
        let back = enter(&mut room, Join { resume: Some(token(1)), ..join(3, "Ann") }, at(2_000));
        assert_eq!((back.member, back.resumed, back.token), (first.member, true, first.token));
        let told = outputs(&mut room);
        assert!(told.contains(&Output::Interrupt(TrackId(1), Some(ConnectionId(3)))), "{told:?}");
        assert!(told.contains(&Output::Attach(TrackId(2), ConnectionId(3))), "{told:?}");
        assert!(room.publishes(ConnectionId(3), TrackId(1)));
    }

    #[test]
    fn s07_equal_names_get_numbers() {
        let mut room = room(9);
        let names: Vec<_> =
            (1..4).map(|n| enter(&mut room, join(n, "Ann"), at(0)).name.to_string()).collect();
        assert_eq!(names, ["Ann", "Ann#2", "Ann#3"]);
    }

    #[test]
    fn s28_a_flood_of_joins_and_leaves_is_told_once_a_second() {
        let mut room = room(100);
        enter(&mut room, join(1, "Ann"), at(0));
        outputs(&mut room);
        let mut told = 0;
        for n in 0..1_000 {
            let now = at(n * 10);
            enter(&mut room, join(n + 2, "Flood"), now);
            room.handle_goodbye(ConnectionId(n + 2), now);
            room.handle_timeout(now);
            let presence =
                |o: &Output| matches!(o, Output::Broadcast(Control::Member(_) | Control::MemberLeft { .. }));
            told += outputs(&mut room).iter().filter(|o| presence(o)).count();
        }
        assert!(told <= 100, "{told} messages for 2,000 changes in 10 s");
        room.handle_timeout(at(12_000));
        outputs(&mut room);
        assert_eq!(room.members.len(), 1, "nobody is left behind");
    }

    #[test]
    fn a_full_room_and_too_many_tracks_are_refused() {
        let mut room = room(1);
        enter(&mut room, join(1, "Ann"), at(0));
        assert_eq!(room.handle_join(join(2, "Bob")).unwrap_err().code, Code::Full);
        for id in 0..limits::TRACKS as u64 {
            assert!(publish(&mut room, 1, id).iter().any(|o| matches!(o, Output::Open(..))));
        }
        let told = publish(&mut room, 1, 99);
        assert!(matches!(&told[..], [Output::Send(_, Control::Error(r))] if r.id == Some(99)), "{told:?}");
    }

    #[test]
    fn asking_again_gives_the_same_track_and_updates_it() {
        let mut room = room(9);
        enter(&mut room, join(1, "Ann"), at(0));
        publish(&mut room, 1, 7);
        let granted = Output::Send(ConnectionId(1), Control::Published { id: 7, track: TrackId(1) });
        assert_eq!(
            publish(&mut room, 1, 7),
            std::slice::from_ref(&granted),
            "nothing changed, so nobody is told"
        );
        let mut source = room.tracks[&TrackId(1)].source.clone();
        (source.width, source.height) = (1280, 720);
        room.handle_publish(ConnectionId(1), Publish { id: 7, source: source.clone() });
        let track = control::Track { track: TrackId(1), member: MemberId(1), source: source.clone() };
        assert_eq!(outputs(&mut room), [granted, Output::Broadcast(Control::Track(track.clone()))]);
        enter(&mut room, join(2, "Bob"), at(0));
        let state = outputs(&mut room).into_iter().find_map(|output| match output {
            Output::Send(_, Control::State(state)) => Some(state.tracks),
            _ => None,
        });
        assert_eq!(state, Some(vec![track]), "who comes later is told the new size");
        source.kind = TrackKind::Audio;
        room.handle_publish(ConnectionId(1), Publish { id: 7, source });
        let told = outputs(&mut room);
        assert!(matches!(&told[..], [Output::Send(_, Control::Error(r))] if r.id == Some(7)), "{told:?}");
    }

    #[test]
    fn an_empty_room_is_over_after_its_grace_time() {
        let mut room = room(9);
        enter(&mut room, join(1, "Ann"), at(0));
        assert!(!room.is_over(at(1_000_000)));
        room.handle_goodbye(ConnectionId(1), at(1_000_000));
        assert!(!room.is_over(at(1_059_999)));
        assert_eq!(room.poll_timeout(), Some(at(1_060_000)));
        assert!(room.is_over(at(1_060_000)));
    }

    #[test]
    fn a_large_room_is_told_in_parts_that_fit_a_control_frame() {
        let mut room = room(1_000);
        for n in 0..450 {
            enter(&mut room, join(n, &format!("{n}{}", "名".repeat(60))), at(n * 1_000));
            outputs(&mut room);
        }
        enter(&mut room, join(999, "Late"), at(500_000));
        let parts: Vec<control::State> = outputs(&mut room)
            .into_iter()
            .filter_map(|o| if let Output::Send(_, Control::State(state)) = o { Some(state) } else { None })
            .collect();
        assert_eq!(parts.iter().map(|p| p.members.len()).sum::<usize>(), 451);
        assert_eq!(parts.iter().map(|p| p.more).collect::<Vec<_>>(), [true, true, true, true, false]);
        for part in parts {
            assert!(serde_json::to_vec(&Control::State(part)).unwrap().len() <= limits::CONTROL);
        }
    }
}
