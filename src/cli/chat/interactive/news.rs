//! What the session tells, as the screen takes it.

use super::{Asked, Table, now};
use crate::chat::{Content, Received};
use crate::cli::chat::hosts;
use crate::cli::chat::roster::{Roster, hue_of};
use crate::limits;
use crate::net::client;
use crate::terminal::{Event, Kind, Message, Sender};
use crate::time;
use crate::wire::control::{Refusal, Room};

impl Table<'_> {
    /// What an event of the session is for the screen.
    pub(super) fn translate(&mut self, event: client::Event) -> Vec<Event> {
        let changed = |roster: &Roster, id| roster.person(id).map(Event::Person).into_iter().collect();
        let event = match event {
            client::Event::Up { welcome, .. } => {
                self.roster.handle_up(&welcome);
                self.kept.handle_storing(welcome.log.is_some_and(|log| log.stored));
                let read = welcome.log.and_then(|log| self.kept.handle_log(&log));
                return vec![Event::Up { name: welcome.name, read }];
            }
            client::Event::State(state) => {
                let room = state.room.clone().unwrap_or_default();
                self.roster.handle_state(state);
                let other = self.chosen.take().and_then(|chosen| self.roster.other_name(&chosen));
                let told = [Event::People(self.roster.people()), about(room)];
                return told.into_iter().chain(other.map(Event::Notice)).collect();
            }
            client::Event::Member(member) => {
                let id = member.member;
                self.roster.handle_member(member);
                return changed(&self.roster, id);
            }
            client::Event::MemberLeft(id) => {
                self.roster.handle_left(id);
                Event::Left(id)
            }
            client::Event::Track(track) => {
                let id = self.roster.handle_track(track);
                return changed(&self.roster, id);
            }
            client::Event::TrackGone(track) => {
                let Some(id) = self.roster.handle_track_gone(track) else { return Vec::new() };
                return changed(&self.roster, id);
            }
            client::Event::Message(received) => {
                let to = received.to.map(|id| self.roster.name(id).unwrap_or("somebody who left").to_owned());
                self.voice.message(&received, to.as_deref());
                self.message(received).map_or_else(Event::Warning, Event::Said)
            }
            client::Event::Older(received) => {
                if self.older.len() < limits::PAGE {
                    self.older.extend(self.message(received));
                }
                return Vec::new();
            }
            // The numbers are those of another life of the room.
            client::Event::Gap(gap) => Event::Gap(gap.to_string()),
            client::Event::CaughtUp => Event::CaughtUp,
            client::Event::Acknowledged(progress) => {
                self.kept.handle_progress(progress);
                Event::Relayed(progress.relayed)
            }
            client::Event::Unsent { n, refusal } => {
                self.kept.handle_refused(n);
                Event::Unsent { n, why: refusal.to_string() }
            }
            client::Event::Conflict => Event::Warning(
                "a message was taken for one from before and is not in the room; say it again".into(),
            ),
            client::Event::Room(room) => about(room),
            client::Event::Moderated(moderated) => {
                self.roster.handle_moderated(&moderated);
                match hosts::deed(moderated) {
                    Some(deed) => Event::Deed(deed),
                    None => return Vec::new(),
                }
            }
            client::Event::Storage { stored: true, .. } => {
                self.kept.handle_storing(true);
                Event::Notice("the server keeps messages on its disk again".into())
            }
            client::Event::Storage { message, .. } => {
                self.kept.handle_storing(false);
                Event::Warning(format!("the server does not keep messages on its disk: {message}"))
            }
            client::Event::Refused(refusal) => {
                let asked = |asked| refusal.id.is_some_and(|id| self.asked.contains(&(id, asked)));
                if asked(Asked::Older) {
                    refusal.id.and_then(|id| self.answered(id));
                    return vec![Event::NoOlder(Some(refusal.to_string()))];
                }
                if asked(Asked::Name) {
                    self.screen.handle_event(Event::NotRenamed, now());
                }
                Event::Warning(self.refused(&refusal))
            }
            client::Event::Done { id } => match self.answered(id) {
                Some(Asked::Name) => Event::Renamed,
                Some(Asked::Older) => Event::Older(std::mem::take(&mut self.older)),
                _ => return Vec::new(),
            },
            client::Event::Down { reason, retry_in, .. } => {
                Event::Down { why: plain(&reason.to_string()), retry: time::now() + retry_in }
            }
            _ => return Vec::new(),
        };
        vec![event]
    }

    /// The server said no. To whom one can turn is said as well.
    fn refused(&mut self, refusal: &Refusal) -> String {
        let asked = refusal.id.and_then(|id| self.answered(id));
        let Some(Asked::Moderation(typed)) = asked else { return refusal.to_string() };
        let hosts = self.roster.members().filter(|member| member.host);
        let names: Vec<&str> = hosts.take(5).map(|member| member.name.as_str()).collect();
        let mine = self.roster.members().any(|m| m.host && self.roster.is_own(m.member, m.key));
        match (mine, names.is_empty()) {
            (false, false) => format!("{typed}: {refusal}; hosts here: {}", names.join(", ")),
            (false, true) => format!("{typed}: {refusal}; no host is here"),
            (true, _) => format!("{typed}: {refusal}"),
        }
    }

    /// A message for the screen; the error says that it cannot be shown.
    fn message(&self, received: Received) -> Result<Message, String> {
        let to = received.to.map(|id| self.roster.name(id).unwrap_or("somebody who left").to_owned());
        let mine = received.own || self.roster.is_own(received.from, received.key);
        let from = received.name;
        let (kind, text) = match received.content {
            Content::Text(text) => (Kind::Text, text),
            Content::Action(text) => (Kind::Action, text),
            Content::Topic(text) => (Kind::Topic, text),
            Content::Other => {
                return Err(format!("{from} sent something that this version cannot show"));
            }
        };
        Ok(Message {
            seq: received.seq,
            to,
            mine,
            own: received.own.then_some(received.n),
            sent: received.sent,
            received: received.received,
            kind,
            text,
            from: Sender { member: received.from, hue: hue_of(received.key.as_ref(), &from), name: from },
        })
    }
}

fn about(room: Room) -> Event {
    Event::About { locked: room.locked, sent_away: hosts::sent_away(room) }
}

/// Why there is no connection, without the address, which does not change, and the number of the error.
fn plain(reason: &str) -> String {
    let text = reason.split(" (os error").next().unwrap_or(reason);
    let is_address = |part: &str| part.parse::<std::net::SocketAddr>().is_ok();
    let text = match text.split_once(": ") {
        Some((before, rest)) if is_address(before) => rest,
        _ => text,
    };
    let mut letters = text.chars();
    // "Connection refused", in the middle of a sentence.
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_there_is_no_connection_is_told_without_addresses_and_numbers() {
        assert_eq!(plain("127.0.0.1:23711: Connection refused (os error 111)"), "connection refused");
        assert_eq!(plain("[::1]:1: Connection refused (os error 111)"), "connection refused");
        assert_eq!(plain("the server closed the connection"), "the server closed the connection");
        assert_eq!(plain("no route: to the host"), "no route: to the host");
        assert_eq!(plain(""), "");
    }
}
