//! How the members are shown to each other: one entry per person, however many programs that person runs.

use std::collections::BTreeMap;

use super::entering::free_name;
use super::{Link, Output, Person, Room, Session};
use crate::id::{ConnectionId, MemberId, Nick, PublicKey, SessionId};
use crate::limits;
use crate::time::Moment;
use crate::wire::Code;
use crate::wire::control::{self, Control, Quality, Refusal, Status, TrackKind};

/// What a member's programs come to.
#[derive(Debug, Clone, Copy, Default)]
struct Programs {
    count: usize,
    /// One of them is connected.
    up: bool,
    /// One of them receives pictures.
    watching: bool,
    /// One of them is served badly by the network.
    poor: bool,
}

impl Programs {
    fn add(&mut self, session: &Session, room: &Room) {
        let video = |track| room.tracks.get(track).is_some_and(|t| t.source.kind == TrackKind::Video);
        self.count += 1;
        self.up |= matches!(session.link, Link::Up(_));
        self.watching |= session.kinds.contains(&TrackKind::Video) || session.subscribed.iter().any(video);
        self.poor |= session.quality == Quality::Poor;
    }
}

impl Room {
    /// A member's program says something about its user.
    pub fn handle_status(&mut self, connection: ConnectionId, status: Status, now: Moment) {
        let Some(id) = self.member_of(connection) else { return };
        let muted = self.is_muted(id);
        let Some(member) = self.members.get_mut(&id) else { return };
        if let Some(away) = status.away {
            // Who is muted does not speak by the reason either; there is no answer that could refuse it.
            member.away = if muted { away.map(|_| String::new()) } else { away };
        }
        if let Some(typing) = status.typing {
            member.typing_until = typing.then(|| now + limits::TYPING);
        }
        self.announce(id, now);
    }

    /// A member wants another name.
    pub fn handle_rename(&mut self, connection: ConnectionId, request: u64, name: &str, now: Moment) {
        let Some(id) = self.member_of(connection) else { return };
        let refuse = |code, message: String| {
            let mut refusal = Refusal::new(code, message);
            refusal.id = Some(request);
            Control::Error(refusal)
        };
        let answer = match name.parse::<Nick>() {
            // Everybody is told of a name: it says something too.
            Ok(_) if self.is_muted(id) => {
                refuse(Code::Muted, "a host has muted you: until that ends your name stays".into())
            }
            Ok(wish) => {
                if let Some(member) = self.members.get_mut(&id) {
                    // Nobody is in their own way.
                    self.looks.remove(&member.look);
                    (member.name, member.look) = free_name(&self.looks, &wish);
                    self.looks.add(&member.look);
                }
                Control::Done { id: request }
            }
            Err(error) => refuse(Code::Name, error.to_string()),
        };
        self.announce(id, now);
        self.outputs.push_back(Output::Send(connection, answer));
    }

    /// How well the network serves a connection.
    pub fn handle_quality(&mut self, connection: ConnectionId, quality: Quality, now: Moment) {
        let Some(id) = self.connections.get(&connection) else { return };
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.quality = quality;
        let member = session.member;
        self.announce(member, now);
    }

    /// Who is behind a connection.
    pub fn person(&self, connection: ConnectionId) -> Option<Person> {
        let session = *self.connections.get(&connection)?;
        let id = self.sessions.get(&session)?.member;
        let member = self.members.get(&id)?;
        let (host, muted) = (self.is_host(id), self.is_muted(id));
        Some(Person { session, member: id, key: member.key, name: member.name.clone(), host, muted })
    }

    /// A member's key, where there is such a member; guests have none.
    pub fn key_of(&self, member: MemberId) -> Option<Option<PublicKey>> {
        let is_here = self.sessions.values().any(|session| session.member == member);
        self.members.get(&member).filter(|_| is_here).map(|member| member.key)
    }

    /// The member who holds a key.
    pub fn holder_of(&self, key: &PublicKey) -> Option<MemberId> {
        let holder = self.members.iter().find(|(_, member)| member.key.as_ref() == Some(key))?;
        self.key_of(*holder.0).map(|_| *holder.0)
    }

    /// Whether a session lives: it is connected, or may still be resumed.
    pub fn is_alive(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// The member to whom a connection belongs.
    pub(super) fn member_of(&self, connection: ConnectionId) -> Option<MemberId> {
        let session = self.connections.get(&connection)?;
        Some(self.sessions.get(session)?.member)
    }

    /// Who said that they were writing and did not say so again.
    pub(super) fn expire_typing(&mut self, now: Moment) {
        let over = |m: &super::Member| m.typing_until.is_some_and(|until| until <= now);
        let done: Vec<MemberId> = self.members.iter().filter(|(_, m)| over(m)).map(|(id, _)| *id).collect();
        for id in done {
            self.stop_typing(id);
            self.announce(id, now);
        }
    }

    pub(super) fn stop_typing(&mut self, id: MemberId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.typing_until = None;
        }
    }

    /// Something about a member may have changed: tells the others, now or with the next batch.
    pub(super) fn announce(&mut self, member: MemberId, now: Moment) {
        let Some(known) = self.members.get(&member) else { return };
        let told = self.describe_member(member);
        if told.is_none() && known.announced.is_none() && !known.seen {
            // Nobody has heard of them, so nobody needs to hear that they left.
            self.remove_member(member);
            return self.presence.forget(member);
        }
        if told.is_some() && told == known.announced {
            return self.presence.forget(member);
        }
        if self.presence.change(member, now) {
            self.announce_now(member);
        }
    }

    pub(super) fn announce_now(&mut self, id: MemberId) {
        let told = self.describe_member(id);
        let Some(member) = self.members.get_mut(&id) else { return };
        match told {
            Some(told) if member.announced.as_ref() != Some(&told) => {
                member.announced = Some(told.clone());
                self.outputs.push_back(Output::Broadcast(Control::Member(told)));
            }
            Some(_) => {}
            None => {
                let known = member.announced.is_some() || member.seen;
                self.remove_member(id);
                if known {
                    self.outputs.push_back(Output::Broadcast(Control::MemberLeft { member: id }));
                }
            }
        }
    }

    fn remove_member(&mut self, id: MemberId) {
        let Some(member) = self.members.remove(&id) else { return };
        self.looks.remove(&member.look);
        if member.key.is_none() {
            self.log.handle_guest_gone(id);
        }
    }

    /// How a member is shown now; `None` when no session of it is left.
    pub(super) fn describe_member(&self, id: MemberId) -> Option<control::Member> {
        let mut programs = Programs::default();
        self.sessions.values().filter(|s| s.member == id).for_each(|session| programs.add(session, self));
        self.describe_with(id, programs)
    }

    /// The same for all members, with one look at each session.
    fn describe_members(&self) -> Vec<control::Member> {
        let mut all: BTreeMap<MemberId, Programs> = BTreeMap::new();
        for session in self.sessions.values() {
            all.entry(session.member).or_default().add(session, self);
        }
        all.into_iter().filter_map(|(id, programs)| self.describe_with(id, programs)).collect()
    }

    fn describe_with(&self, id: MemberId, programs: Programs) -> Option<control::Member> {
        let member = self.members.get(&id)?;
        if programs.count == 0 {
            return None;
        }
        Some(control::Member {
            state: match programs.up {
                true => control::Presence::Here,
                false => control::Presence::Reconnecting,
            },
            since: member.since as f64 / 1e6,
            key: member.key,
            host: self.is_host(id),
            muted: self.is_muted(id),
            away: member.away.clone(),
            typing: member.typing_until.is_some(),
            watching: programs.watching,
            connection: match programs.poor {
                true => Quality::Poor,
                false => Quality::Good,
            },
            ..control::Member::new(id, member.name.to_string())
        })
    }

    /// How the room itself is shown.
    pub(super) fn describe_room(&self) -> control::Room {
        // In the order in which they went.
        let mut kicked: Vec<_> = self.kicked.values().collect();
        kicked.sort_by_key(|kicked| (kicked.until, kicked.about.member));
        let sent_away = kicked.into_iter().map(|kicked| kicked.about.clone()).collect();
        control::Room { locked: self.settings.locked, sent_away }
    }

    /// Sends everything that is here.
    pub(super) fn tell_state(&mut self, connection: ConnectionId) {
        let parts = self.describe().into_iter();
        self.outputs.extend(parts.map(|part| Output::Send(connection, Control::State(part))));
        let own = self.member_of(connection);
        let others = self.members.iter_mut().filter(|(id, _)| Some(**id) != own);
        others.for_each(|(_, member)| member.seen = true);
    }

    /// How the room is, for whoever holds `key`, or is a guest: nobody comes in, and nobody else learns of it.
    /// That the room is full does not matter.
    pub fn look(&self, key: Option<PublicKey>, now: Moment) -> Result<Vec<control::State>, Refusal> {
        if self.member_with(key).is_none() {
            self.check_stranger(key, now)?;
        }
        Ok(self.describe())
    }

    /// Everything that is here, in parts that fit a control frame.
    fn describe(&self) -> Vec<control::State> {
        /// A member or track takes at most about 1,000 bytes of the 64 KiB.
        const PART: usize = 50;
        let members = self.describe_members();
        let tracks: Vec<_> = self.tracks.keys().map(|id| self.describe_track(*id)).collect();
        let (mut members, mut tracks) = (members.chunks(PART), tracks.chunks(PART));
        let mut room = Some(self.describe_room());
        let mut parts = Vec::new();
        // Who is sent away may take half a frame.
        if let Some(alone) = room.take_if(|room| !room.sent_away.is_empty()) {
            parts.push(control::State { room: Some(alone), more: true, ..control::State::default() });
        }
        loop {
            let part = (members.next(), tracks.next());
            let more = members.len() > 0 || tracks.len() > 0;
            parts.push(control::State {
                members: part.0.map(<[_]>::to_vec).unwrap_or_default(),
                tracks: part.1.map(<[_]>::to_vec).unwrap_or_default(),
                room: room.take(),
                more,
            });
            if !more {
                return parts;
            }
        }
    }
}
