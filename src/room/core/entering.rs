//! Who may come in, as whom, and what an earlier session becomes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Join, Link, Member, Output, Reading, Room, Session};
use crate::id::{MemberId, Nick, PublicKey, ResumeToken, SessionId};
use crate::limits;
use crate::text::{Look, Looks, Stem};
use crate::time::Moment;
use crate::wire::Code;
use crate::wire::control::{Quality, Refusal};

impl Room {
    /// The session that `token` resumes, if it is this person's.
    pub(super) fn session_with(&self, token: ResumeToken, key: Option<PublicKey>) -> Option<SessionId> {
        let (id, session) = self.sessions.iter().find(|(_, session)| session.token == token)?;
        (self.members[&session.member].key == key).then_some(*id)
    }

    /// A new session, of a new member or of one who is here already.
    pub(super) fn enter(&mut self, join: &Join, now: Moment) -> Result<SessionId, Refusal> {
        let known = self.member_with(join.key);
        if known.is_none() {
            self.admit_stranger(join, now)?;
        }
        if self.sessions.len() >= limits::SESSIONS && !self.evict(|_| true, now) {
            return Err(Refusal::new(Code::Full, "the room has as many programs as it may"));
        }
        let member = match known {
            Some(member) => member,
            None => self.add_member(join)?,
        };
        self.last_session += 1;
        let id = SessionId(self.last_session);
        let session = Session {
            member,
            token: join.token,
            link: Link::Up(join.connection),
            kinds: join.subscribe.clone(),
            subscribed: Vec::new(),
            reading: Reading::None,
            quality: Quality::Good,
        };
        self.sessions.insert(id, session);
        Ok(id)
    }

    /// The member who holds a key; guests have none.
    pub(super) fn member_with(&self, key: Option<PublicKey>) -> Option<MemberId> {
        let key = key?;
        self.members.iter().find(|(_, member)| member.key == Some(key)).map(|(id, _)| *id)
    }

    /// Whether somebody who is not a member is wanted here now.
    pub(super) fn check_stranger(&self, key: Option<PublicKey>, now: Moment) -> Result<(), Refusal> {
        if let Some(kicked) = key.and_then(|key| self.kicked.get(&key)).filter(|k| k.until > now) {
            let minutes = kicked.until.since(now).as_secs().div_ceil(60);
            let message = format!("{} has sent you away; come back in {minutes} min", kicked.about.by);
            return Err(Refusal::new(Code::Kicked, message));
        }
        if self.settings.locked && !key.is_some_and(|key| self.is_host_key(&key)) {
            return Err(Refusal::new(Code::Locked, "the room is locked: it takes nobody new now"));
        }
        Ok(())
    }

    /// Whether somebody who is not a member may become one now.
    fn admit_stranger(&mut self, join: &Join, now: Moment) -> Result<(), Refusal> {
        self.check_stranger(join.key, now)?;
        let most = self.terms.max_members.min(limits::MEMBERS);
        if self.members() >= most {
            // Who is not there any more makes room for who is.
            let up = |room: &Self, member| {
                room.sessions.values().any(|s| s.member == member && matches!(s.link, Link::Up(_)))
            };
            let gone: BTreeSet<MemberId> =
                self.sessions.values().map(|s| s.member).filter(|member| !up(self, *member)).collect();
            while self.members() >= most && self.evict(|session| gone.contains(&session.member), now) {}
        }
        match self.members() >= most {
            true => {
                let members = self.members();
                let plural = if members == 1 { "" } else { "s" };
                Err(Refusal::new(Code::Full, format!("the room is full: {members} member{plural}")))
            }
            false => Ok(()),
        }
    }

    fn add_member(&mut self, join: &Join) -> Result<MemberId, Refusal> {
        self.last_member += 1;
        let id = MemberId(self.last_member);
        let (name, look) = free_name(&self.looks, &join.name);
        self.looks.add(&look);
        let member = Member {
            name,
            look,
            key: join.key,
            since: join.wall,
            guest_host: false,
            guest_muted: false,
            away: None,
            typing_until: None,
            announced: None,
            seen: false,
        };
        self.members.insert(id, member);
        self.found(id);
        Ok(id)
    }

    /// Ends the broken session that has waited the longest among those that `may` go; whether there was one.
    pub(super) fn evict(&mut self, may: impl Fn(&Session) -> bool, now: Moment) -> bool {
        let waiting = self.sessions.iter().filter_map(|(id, session)| match session.link {
            Link::Down(end) if may(session) => Some((end, *id)),
            _ => None,
        });
        let oldest = waiting.min();
        oldest.inspect(|(_, id)| self.end_session(*id, now)).is_some()
    }

    /// The session goes on over another connection; an older one that is still there is replaced.
    pub(super) fn resume(&mut self, id: SessionId, join: &Join) -> SessionId {
        if let Some(Session { link: Link::Up(old), .. }) = self.sessions.get(&id) {
            let old = *old;
            self.connections.remove(&old);
            self.stop_reading(old);
            for track in self.sessions[&id].subscribed.clone() {
                self.outputs.push_back(Output::Detach(track, old));
            }
            let refusal = Refusal::new(Code::Replaced, "another connection has taken this session over");
            self.outputs.push_back(Output::Close(old, refusal));
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.link = Link::Up(join.connection);
            session.kinds.clone_from(&join.subscribe);
            session.reading = Reading::None;
        }
        self.listeners = None;
        id
    }
}

/// The wished name, with a number behind it where somebody else has it or one that looks the same, and what it looks
/// like.
///
/// Numbers are given one after the other, and looked for in steps that double and then halve: the thousandth of one
/// name costs some twenty questions. A number in between that became free is not always found, and whoever takes just
/// the numbers that are asked for costs others one question for each.
pub(super) fn free_name(taken: &Looks, wish: &Nick) -> (Nick, Look) {
    let look = Look::of(wish.as_str());
    if !taken.have(&look) {
        return (wish.clone(), look);
    }
    // A longer number may need a shorter beginning.
    let mut stems: BTreeMap<usize, Stem> = BTreeMap::new();
    let mut numbered = |n: usize| {
        let name = wish.numbered(n);
        let (beginning, end) = name.as_str().split_at(name.as_str().rfind('#').unwrap_or(0));
        let stem = stems.entry(beginning.len()).or_insert_with(|| Stem::of(beginning));
        let look = stem.with(end);
        (name, look)
    };
    let (mut last, mut step) = (1, 1);
    let (mut first, mut free) = loop {
        let n = last + step;
        let tried = numbered(n);
        if !taken.have(&tried.1) {
            break (n, tried);
        }
        last = n;
        step = if n < limits::MEMBERS { step * 2 } else { 1 };
    };
    while first - last > 1 {
        let n = last.midpoint(first);
        let tried = numbered(n);
        if taken.have(&tried.1) {
            last = n;
        } else {
            (first, free) = (n, tried);
        }
    }
    free
}
