//! What the hosts of a room do. A host is who made the room, and whom a host has named.

use super::{Kicked, Link, Output, Room};
use crate::id::{ConnectionId, MemberId, PublicKey, SessionId};
use crate::limits;
use crate::time::Moment;
use crate::wire::Code;
use crate::wire::control::{self, Action, Control, Refusal};

impl Room {
    /// A member wants to change something about the room or a member.
    pub fn handle_moderate(
        &mut self,
        connection: ConnectionId,
        request: u64,
        action: Action,
        member: Option<MemberId>,
        now: Moment,
    ) {
        let Some(by) = self.member_of(connection) else { return };
        let answer = match self.moderate(by, action, member, now) {
            Ok(()) => Control::Done { id: request },
            Err(mut refusal) => {
                refusal.id = Some(request);
                Control::Error(refusal)
            }
        };
        self.outputs.push_back(Output::Send(connection, answer));
    }

    fn moderate(
        &mut self,
        by: MemberId,
        action: Action,
        member: Option<MemberId>,
        now: Moment,
    ) -> Result<(), Refusal> {
        if !self.is_host(by) {
            return Err(Refusal::new(Code::Denied, "only hosts of the room can do that"));
        }
        match action {
            Action::Lock | Action::Unlock => {
                self.lock(by, action == Action::Lock);
                return Ok(());
            }
            Action::Unkick => return self.unkick(by, member),
            Action::Unknown => {
                return Err(Refusal::new(Code::Denied, "this server knows no such action"));
            }
            _ => {}
        }
        let Some(id) = member.filter(|id| self.members.contains_key(id)) else {
            return Err(Refusal::new(Code::Member, "there is no such member"));
        };
        if self.is_owner(id) && id != by {
            return Err(Refusal::new(Code::Denied, "whoever made the room keeps it"));
        }
        let own = match action {
            Action::Kick => "nobody sends themselves away: whoever wants to go leaves",
            Action::Mute => "nobody mutes themselves",
            _ => "",
        };
        if id == by && !own.is_empty() {
            return Err(Refusal::new(Code::Denied, own));
        }
        match action {
            Action::Kick => self.kick(id, by, now),
            Action::Mute | Action::Unmute => self.mute(id, by, action == Action::Mute),
            _ => self.name_host(id, by, action == Action::Host)?,
        }
        self.announce(id, now);
        Ok(())
    }

    /// Everybody is told what a host does, before what comes of it.
    fn tell_deed(&mut self, by: MemberId, action: Action, member: Option<(MemberId, String)>) {
        let by_name = self.name_of(by);
        let (member, name) = member.map_or((None, String::new()), |(id, name)| (Some(id), name));
        let deed = control::Moderated { action, member, name, by, by_name };
        self.outputs.push_back(Output::Broadcast(Control::Moderated(deed)));
    }

    fn tell_deed_to(&mut self, by: MemberId, action: Action, member: MemberId) {
        let name = self.name_of(member);
        self.tell_deed(by, action, Some((member, name)));
    }

    fn name_of(&self, id: MemberId) -> String {
        self.members.get(&id).map_or_else(String::new, |member| member.name.to_string())
    }

    fn tell_room(&mut self) {
        let room = self.describe_room();
        self.outputs.push_back(Output::Broadcast(Control::Room(room)));
    }

    fn lock(&mut self, by: MemberId, locked: bool) {
        if self.settings.locked == locked {
            return;
        }
        self.tell_deed(by, if locked { Action::Lock } else { Action::Unlock }, None);
        self.settings.locked = locked;
        self.tell_room();
        self.outputs.push_back(Output::Keep(self.settings.clone()));
    }

    /// All programs of a member have to go, and stay out for a while where it has a key.
    fn kick(&mut self, id: MemberId, by: MemberId, now: Moment) {
        let by_name = self.name_of(by);
        let mut message = format!("{by_name} has sent you away");
        let key = self.members.get(&id).and_then(|m| m.key);
        if let Some(key) = key {
            if self.kicked.len() >= limits::SENT_AWAY {
                let first = self.kicked.iter().min_by_key(|(_, kicked)| kicked.until);
                first.map(|(key, _)| *key).and_then(|key| self.kicked.remove(&key));
            }
            message.push_str(&format!("; come back in {} min", limits::KICKED.as_secs() / 60));
            let about = control::SentAway { member: id, name: self.name_of(id), by: by_name };
            self.kicked.insert(key, Kicked { until: now + limits::KICKED, about });
        }
        let own = self.sessions.iter().filter(|(_, s)| s.member == id);
        let sessions: Vec<(SessionId, Link)> = own.map(|(session, s)| (*session, s.link)).collect();
        // What is told to everybody is not for them: the refusal says all.
        for (_, link) in &sessions {
            if let Link::Up(connection) = *link {
                self.disconnect(connection);
                let refusal = Refusal::new(Code::Kicked, message.clone());
                self.outputs.push_back(Output::Close(connection, refusal));
            }
        }
        self.tell_deed_to(by, Action::Kick, id);
        for (session, _) in sessions {
            self.drop_session(session, now);
        }
        // At once: whoever is let in again before that was told would be one whom nobody saw leave.
        self.presence.forget(id);
        self.announce_now(id);
        if key.is_some() {
            self.tell_room();
        }
    }

    /// Who was sent away as this member may come back.
    fn unkick(&mut self, by: MemberId, member: Option<MemberId>) -> Result<(), Refusal> {
        let kicked = self.kicked.iter().find(|(_, kicked)| Some(kicked.about.member) == member);
        let Some(key) = kicked.map(|(key, _)| *key) else {
            return Err(Refusal::new(Code::Member, "nobody of that number is sent away"));
        };
        if let Some(Kicked { about, .. }) = self.kicked.remove(&key) {
            self.tell_deed(by, Action::Unkick, Some((about.member, about.name)));
        }
        self.tell_room();
        Ok(())
    }

    /// Whose time is over may come back.
    pub(super) fn forgive(&mut self, now: Moment) {
        let before = self.kicked.len();
        self.kicked.retain(|_, kicked| kicked.until > now);
        if self.kicked.len() < before {
            self.tell_room();
        }
    }

    fn mute(&mut self, id: MemberId, by: MemberId, muted: bool) {
        if self.is_muted(id) == muted {
            return;
        }
        self.tell_deed_to(by, if muted { Action::Mute } else { Action::Unmute }, id);
        let Some(member) = self.members.get_mut(&id) else { return };
        match member.key {
            None => member.guest_muted = muted,
            Some(key) if muted => {
                self.muted.insert(key);
            }
            Some(key) => {
                self.muted.remove(&key);
            }
        }
    }

    fn name_host(&mut self, id: MemberId, by: MemberId, host: bool) -> Result<(), Refusal> {
        // Who made the room is its host, named or not.
        if self.is_host(id) == host || self.is_owner(id) {
            return Ok(());
        }
        let Some(member) = self.members.get(&id) else { return Ok(()) };
        let key = member.key;
        if host && key.is_some() && self.settings.hosts.len() >= limits::HOSTS {
            let message = format!("the room has {} hosts already, which is as many as it may", limits::HOSTS);
            return Err(Refusal::new(Code::Full, message));
        }
        self.tell_deed_to(by, if host { Action::Host } else { Action::Unhost }, id);
        match (key, self.members.get_mut(&id)) {
            (None, Some(member)) => {
                member.guest_host = host;
                return Ok(());
            }
            (Some(key), _) if host => self.settings.hosts.push(key),
            (key, _) => self.settings.hosts.retain(|known| Some(*known) != key),
        }
        self.outputs.push_back(Output::Keep(self.settings.clone()));
        Ok(())
    }

    /// The first who comes into a room that belongs to nobody has made it.
    pub(super) fn found(&mut self, id: MemberId) {
        let guest_is_gone = self.guest_owner.is_none_or(|owner| !self.members.contains_key(&owner));
        if self.settings.owner.is_some() || !self.settings.hosts.is_empty() || !guest_is_gone {
            return;
        }
        match self.members.get(&id).and_then(|m| m.key) {
            Some(key) => {
                self.settings.owner = Some(key);
                self.outputs.push_back(Output::Keep(self.settings.clone()));
            }
            None => self.guest_owner = Some(id),
        }
    }

    fn is_owner(&self, id: MemberId) -> bool {
        let key = self.members.get(&id).and_then(|m| m.key);
        self.guest_owner == Some(id) || (key.is_some() && key == self.settings.owner)
    }

    pub(super) fn is_host(&self, id: MemberId) -> bool {
        let Some(member) = self.members.get(&id) else { return false };
        self.is_owner(id) || member.guest_host || member.key.is_some_and(|key| self.is_host_key(&key))
    }

    /// Whether the holder of this key is a host.
    pub(super) fn is_host_key(&self, key: &PublicKey) -> bool {
        self.settings.owner.as_ref() == Some(key) || self.settings.hosts.contains(key)
    }

    pub(super) fn is_muted(&self, id: MemberId) -> bool {
        let Some(member) = self.members.get(&id) else { return false };
        member.guest_muted || member.key.is_some_and(|key| self.muted.contains(&key))
    }
}
