//! What the members publish, and who receives it.

use super::{Link, Output, Room, Track};
use crate::id::{ConnectionId, TrackId};
use crate::limits;
use crate::time::Moment;
use crate::wire::Code;
use crate::wire::control::{self, Control, Publish, Refusal, TrackKind};

/// Viewers decode what is announced: a codec that none of them knows would be garbage to them.
fn judge(source: &control::Source) -> Result<(), String> {
    match (source.kind, source.codec.as_str()) {
        (TrackKind::Video, "h264") | (TrackKind::Audio, _) => Ok(()),
        (TrackKind::Video, other) => Err(format!("video is h264, not \"{other}\"")),
    }
}

impl Room {
    /// A member wants a track number.
    pub fn handle_publish(&mut self, connection: ConnectionId, publish: Publish) {
        let Some(&id) = self.connections.get(&connection) else { return };
        if let Err(message) = judge(&publish.source) {
            let mut refusal = Refusal::new(Code::Track, message);
            refusal.id = Some(publish.id);
            return self.outputs.push_back(Output::Send(connection, Control::Error(refusal)));
        }
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
        self.outputs.push_back(Output::Broadcast(Control::Track(self.describe_track(track))));
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
            self.outputs.push_back(Output::Broadcast(Control::Track(self.describe_track(track))));
        }
    }

    /// A member's track ends. Tracks of others are left alone.
    pub fn handle_unpublish(&mut self, connection: ConnectionId, track: TrackId) {
        if self.publishes(connection, track) {
            self.end_track(track);
        }
    }

    /// A connection wants tracks.
    pub fn handle_subscribe(&mut self, connection: ConnectionId, tracks: &[TrackId], now: Moment) {
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
        let member = session.member;
        self.announce(member, now);
    }

    /// A connection wants tracks no more.
    pub fn handle_unsubscribe(&mut self, connection: ConnectionId, tracks: &[TrackId], now: Moment) {
        let Some(session) = self.connections.get(&connection).and_then(|id| self.sessions.get_mut(id)) else {
            return;
        };
        for track in tracks {
            if let Some(place) = session.subscribed.iter().position(|t| t == track) {
                session.subscribed.remove(place);
                self.outputs.push_back(Output::Detach(*track, connection));
            }
        }
        let member = session.member;
        self.announce(member, now);
    }

    /// Whether `track` is published through `connection`.
    pub fn publishes(&self, connection: ConnectionId, track: TrackId) -> bool {
        let session = self.connections.get(&connection);
        session.is_some() && self.tracks.get(&track).map(|t| &t.session) == session
    }

    pub(super) fn end_track(&mut self, track: TrackId) {
        self.tracks.remove(&track);
        for session in self.sessions.values_mut() {
            session.subscribed.retain(|t| *t != track);
        }
        self.outputs.push_back(Output::Shut(track));
        self.outputs.push_back(Output::Broadcast(Control::TrackGone { track }));
    }

    pub(super) fn describe_track(&self, id: TrackId) -> control::Track {
        let track = &self.tracks[&id];
        control::Track { track: id, member: track.member, source: track.source.clone() }
    }
}
