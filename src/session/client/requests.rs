//! What the program wants: said at once where there is a connection, and otherwise held or dropped as each says.

use bytes::Bytes;

use super::{Client, Event};
use crate::chat::{Full, NOBODY, Outbox};
use crate::id::{MemberId, Nick, TrackId};
use crate::wire::control::{Action, Publish, Refusal, Status};
use crate::wire::{Code, Control, Frame, Rendition, Slot};

impl Client {
    /// Says something; its number. It is sent as soon as that is possible, and again until it has arrived.
    /// While the numbers of the members are not known, what is for one of them is for nobody, so that the
    /// server refuses it.
    pub fn post(&mut self, payload: Bytes, to: Option<MemberId>, slot: Option<Slot>) -> Result<u64, Full> {
        let messages = self.profile.messages.as_mut().ok_or(Full)?;
        let to = to.map(|member| if self.strangers { NOBODY } else { member });
        messages.outbox.push(payload, to, slot, self.wall)
    }

    /// What was said and is not acknowledged.
    pub fn outbox(&self) -> Option<&Outbox> {
        self.profile.messages.as_ref().map(|messages| &messages.outbox)
    }

    /// Something about this program's user changed. Said again with every new connection.
    pub fn status(&mut self, status: &Status) {
        if let Some(away) = &status.away {
            self.away.clone_from(away);
        }
        if self.is_up() {
            self.say(&Control::Status(status.clone()));
        }
    }

    /// Asks for messages before number `before`, at most `count`: they come as [`Event::Older`], then
    /// [`Event::Done`] with `id`. Goes nowhere without a connection, and before an earlier request is answered.
    pub fn older(&mut self, id: u64, before: u64, count: u32) {
        if self.is_up() && self.older.is_none() {
            self.older = Some((id, before));
            self.say(&Control::Older { id, before, count });
        }
    }

    /// Another name, please. What is not answered is asked for again with the next connection.
    pub fn rename(&mut self, id: u64, name: Nick) {
        match self.is_up() {
            true => self.say(&Control::Rename { id, name: name.to_string() }),
            false => self.profile.name = name.clone(),
        }
        self.wish = Some((id, name));
    }

    /// As a host: something about the room or a member is to change.
    pub fn moderate(&mut self, id: u64, action: Action, member: Option<MemberId>) {
        let known = member.is_none() || !self.strangers;
        if self.is_up() && known {
            return self.say(&Control::Moderate { id, action, member });
        }
        let missing = if known { "there is no connection" } else { "it is not known yet who is here" };
        let mut refusal = Refusal::new(Code::Unknown, missing);
        refusal.id = Some(id);
        self.events.push_back(Event::Refused(refusal));
    }

    /// The wall clock, for the headers of what is written from now on.
    pub fn set_wall(&mut self, wall: u64) {
        self.wall = wall;
    }

    /// A track is to be published, now and after every new beginning.
    pub fn publish(&mut self, publish: Publish) {
        if self.is_up() {
            self.say(&Control::Publish(publish.clone()));
        }
        self.publications.add(publish);
    }

    /// A published track ends.
    pub fn unpublish(&mut self, track: TrackId) {
        match self.publications.remove(track) {
            Some(track) if self.is_up() => self.say(&Control::Unpublish { track }),
            Some(track) => {
                self.unpublished.insert(track);
            }
            None => {}
        }
    }

    /// These tracks are wanted.
    pub fn subscribe(&mut self, tracks: Vec<TrackId>) {
        for track in &tracks {
            self.unsubscribed.remove(track);
            self.subscribed.insert(*track);
        }
        if self.is_up() {
            self.say(&Control::Subscribe { tracks });
        }
    }

    /// These tracks are not wanted any more.
    pub fn unsubscribe(&mut self, tracks: Vec<TrackId>) {
        for track in &tracks {
            self.subscribed.remove(track);
            self.unsubscribed.insert(*track);
        }
        if self.is_up() {
            self.say(&Control::Unsubscribe { tracks });
        }
    }

    /// A picture at which decoding can begin is wanted. Without a connection there is nothing to do:
    /// the next one begins with such a picture.
    pub fn keyframe(&mut self, track: TrackId, rendition: Rendition) {
        if self.is_up() {
            self.say(&Control::Keyframe { track, rendition });
        }
    }

    /// A media frame as it is to be written, or nothing where it cannot go out now (counted).
    pub fn prepare(&mut self, frame: Frame) -> Option<Frame> {
        let prepared = if self.is_up() { self.publications.prepare(frame) } else { None };
        self.counts.dropped += u64::from(prepared.is_none());
        prepared
    }

    /// A media frame did not even come here, because the edge had no room.
    pub fn handle_dropped(&mut self, frame: &Frame) {
        self.counts.dropped += 1;
        self.publications.lost(frame);
    }
}
