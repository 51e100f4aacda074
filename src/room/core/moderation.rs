//! What the hosts of a room do. A host is who made the room, and whom a host has named.

use super::{Link, Output, Room};
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
        if let Action::Lock | Action::Unlock = action {
            self.settings.locked = action == Action::Lock;
            let room = control::Room { locked: self.settings.locked };
            self.outputs.push_back(Output::Broadcast(Control::Room(room)));
            self.outputs.push_back(Output::Keep(self.settings.clone()));
            return Ok(());
        }
        let Some(id) = member.filter(|id| self.members.contains_key(id)) else {
            return Err(Refusal::new(Code::Member, "there is no such member"));
        };
        if self.is_owner(id) && id != by {
            return Err(Refusal::new(Code::Denied, "whoever made the room keeps it"));
        }
        match action {
            Action::Kick => self.kick(id, now),
            Action::Mute | Action::Unmute => self.mute(id, action == Action::Mute),
            Action::Host | Action::Unhost => self.name_host(id, action == Action::Host),
            Action::Lock | Action::Unlock => {}
        }
        self.announce(id, now);
        Ok(())
    }

    /// All programs of a member have to go, and stay out for a while where it has a key.
    fn kick(&mut self, id: MemberId, now: Moment) {
        if let Some(key) = self.members.get(&id).and_then(|m| m.key) {
            // Full only after that many people were sent away within the time.
            if self.kicked.len() < limits::MEMBERS {
                self.kicked.insert(key, now + limits::KICKED);
            }
        }
        let own = self.sessions.iter().filter(|(_, s)| s.member == id);
        let sessions: Vec<(SessionId, Link)> = own.map(|(session, s)| (*session, s.link)).collect();
        for (session, link) in sessions {
            if let Link::Up(connection) = link {
                self.handle_goodbye(connection, now);
                let refusal = Refusal::new(Code::Kicked, "a host has sent you away");
                self.outputs.push_back(Output::Close(connection, refusal));
            } else {
                self.end_session(session, now);
            }
        }
    }

    fn mute(&mut self, id: MemberId, muted: bool) {
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

    fn name_host(&mut self, id: MemberId, host: bool) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let Some(key) = member.key else {
            member.guest_host = host;
            return;
        };
        self.settings.hosts.retain(|known| *known != key);
        if host && self.settings.hosts.len() < limits::HOSTS {
            self.settings.hosts.push(key);
        }
        self.outputs.push_back(Output::Keep(self.settings.clone()));
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
