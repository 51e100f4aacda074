//! What the operations of the server mean for a session.

use std::time::Duration;

use super::{Client, Down, End, Event, Phase};
use crate::chat::{Content, Inbox, Received, Verdict};
use crate::id::TrackId;
use crate::limits;
use crate::time::Moment;
use crate::wire::control::{self, Goodbye, Refusal, State, Status, Welcome};
use crate::wire::{self, Code, Control, Frame};

/// The number of the request for the name that the member had; programs count theirs from 1.
const NAME: u64 = (1 << 53) - 1;

impl Client {
    pub(super) fn handle_operation(&mut self, operation: Control, now: Moment) {
        match (operation, self.phase) {
            (Control::Ping { id }, _) => self.say(&Control::Pong { id }),
            (Control::Pong { id }, _) => self.heartbeat.handle_pong(id, now),
            (Control::Challenge { nonce }, Phase::Greeting { .. }) => self.handle_challenge(&nonce),
            (Control::Welcome(welcome), Phase::Greeting { .. }) => self.handle_welcome(welcome),
            (Control::State(part), Phase::Greeting { .. }) if self.profile.look => {
                self.phase = Phase::Looking { until: now + limits::SILENCE, over: now + limits::LOOK };
                self.state = State::default();
                self.events.push_back(Event::Looking);
                self.handle_shown(Control::State(part), now);
            }
            (Control::Goodbye(goodbye), _) => self.handle_goodbye(goodbye, now),
            (Control::Error(refusal), Phase::Greeting { .. } | Phase::Looking { .. }) => {
                self.handle_rejection(refusal, now)
            }
            (operation, Phase::Looking { .. }) => self.handle_shown(operation, now),
            (operation, Phase::Up) => self.handle_news(operation, now),
            // What was said before the goodbye has its answer before the end.
            (
                operation @ (Control::Ack(_)
                | Control::Error(_)
                | Control::Done { .. }
                | Control::Storage { .. }),
                Phase::Leaving { .. },
            ) => self.handle_news(operation, now),
            _ => {}
        }
    }

    /// What is told to a program that only looks.
    fn handle_shown(&mut self, operation: Control, now: Moment) {
        let last = match &operation {
            Control::State(part) => !part.more && !self.profile.offers,
            Control::Offers { .. } => true,
            Control::OfferState(_) => false,
            _ => return,
        };
        self.handle_news(operation, now);
        self.shown |= last && matches!(self.phase, Phase::Looking { .. });
    }

    fn handle_welcome(&mut self, welcome: Welcome) {
        let [oldest, newest] = control::PROTOCOL;
        if !(oldest..=newest).contains(&welcome.protocol) {
            return self.end(End::Version(welcome.protocol, welcome.protocol));
        }
        self.counts.reconnects += u64::from(self.joined);
        self.joined = true;
        self.backoff.reset();
        self.phase = Phase::Up;
        let resumed = welcome.resumed && self.token.is_some();
        self.token = Some(welcome.token);
        self.state = State::default();
        self.publications.interrupt();
        if !resumed {
            self.publications.forget();
            self.subscribed.clear();
            self.unsubscribed.clear();
            self.strangers = true;
        }
        self.resume_messages(&welcome, resumed);
        self.keep_name(&welcome);
        self.events.push_back(Event::Up { welcome, resumed });
        if self.away.is_some() {
            self.say(&Control::Status(Status { typing: None, away: Some(self.away.clone()) }));
        }
        for track in std::mem::take(&mut self.unpublished) {
            if resumed {
                self.say(&Control::Unpublish { track });
            }
        }
        for publish in self.publications.unanswered().collect::<Vec<_>>() {
            self.say(&Control::Publish(publish));
        }
        self.want_keyframes(None);
    }

    /// The member keeps its name over a restart of the server, which calls it what the first of its programs
    /// calls itself. Where that was one that has not been here before, the name is asked for, once.
    fn keep_name(&mut self, welcome: &Welcome) {
        let before = self.own.replace((welcome.member, welcome.epoch.clone()));
        let is_forgotten = before.is_some_and(|(_, epoch)| epoch != welcome.epoch);
        let wish = self.wish.clone();
        if wish.is_none() && (!is_forgotten || self.profile.name.as_str() == welcome.name) {
            return self.note_name(&welcome.name);
        }
        let (id, name) = wish.unwrap_or_else(|| (NAME, self.profile.name.clone()));
        self.say(&Control::Rename { id, name: name.into() });
    }

    /// A request for a name is answered; what came of it is told with the next news of the member.
    fn settle_name(&mut self, id: u64, done: bool) {
        if let Some((_, name)) = self.wish.take_if(|(asked, _)| *asked == id)
            && done
            // The news may have come before, with a number behind the name.
            && !self.profile.name.as_str().starts_with(&format!("{name}#"))
        {
            self.profile.name = name;
        }
    }

    fn note_name(&mut self, name: &str) {
        // What cannot be asked for is nothing to come back with.
        if let Ok(name) = name.parse() {
            self.profile.name = name;
        }
    }

    /// An error instead of a welcome.
    fn handle_rejection(&mut self, refusal: Refusal, now: Moment) {
        let retry_after = refusal.retry_after_ms.map(Duration::from_millis);
        match refusal.code {
            Code::Resume => {
                self.token = None;
                if let Some(messages) = &mut self.profile.messages {
                    messages.inbox = Inbox::default();
                }
                self.lose(Down::Told(refusal), retry_after, now);
            }
            Code::Version => {
                let end = refusal.protocol.map_or(End::Refused(refusal), |[min, max]| End::Version(min, max));
                self.end(end);
            }
            // A place that was there before, or will be soon, is worth another try.
            Code::Full if self.joined || retry_after.is_some() => {
                self.lose(Down::Told(refusal), retry_after, now);
            }
            Code::Name
            | Code::Full
            | Code::Protocol
            | Code::Identity
            | Code::Password
            | Code::Locked
            | Code::Kicked
            | Code::Room => {
                self.end(End::Refused(refusal));
            }
            Code::Replaced => self.end(End::Replaced),
            _ => self.lose(Down::Told(refusal), retry_after, now),
        }
    }

    fn handle_goodbye(&mut self, goodbye: Goodbye, now: Moment) {
        if self.is_leaving() || self.shown {
            return self.end(End::Left);
        }
        let retry_after = goodbye.retry_after_ms.map(Duration::from_millis);
        let code = goodbye.code.unwrap_or(Code::Unknown);
        let mut refusal = Refusal::new(code, goodbye.message);
        refusal.retry_after_ms = goodbye.retry_after_ms;
        if refusal.message.is_empty() && code == Code::Unknown {
            refusal.message = "the server ended the session".into();
        }
        match code {
            Code::Replaced => self.end(End::Replaced),
            Code::Unknown if retry_after.is_none() => self.end(End::Refused(refusal)),
            Code::Full if self.joined || retry_after.is_some() => {
                self.lose(Down::Told(refusal), retry_after, now);
            }
            Code::Kicked => self.end(End::Refused(refusal)),
            Code::Version | Code::Name | Code::Full if !self.is_up() => self.end(End::Refused(refusal)),
            _ => self.lose(Down::Told(refusal), retry_after, now),
        }
    }

    /// What the server says while the session is up.
    fn handle_news(&mut self, operation: Control, now: Moment) {
        let event = match operation {
            Control::State(part) => return self.handle_state(part, now),
            Control::Member(member) => {
                if self.own.as_ref().is_some_and(|(own, _)| *own == member.member) {
                    self.note_name(&member.name);
                }
                Event::Member(member)
            }
            Control::MemberLeft { member } => Event::MemberLeft(member),
            Control::Track(track) => Event::Track(track),
            Control::TrackGone { track } => {
                self.subscribed.remove(&track);
                self.unsubscribed.remove(&track);
                Event::TrackGone(track)
            }
            Control::Published { id, track } => {
                if let Some(track) = self.publications.accept(id, track) {
                    self.events.push_back(Event::Published { id, track });
                }
                return self.want_keyframes(Some(id));
            }
            Control::Keyframe { track, rendition } => match self.publications.outer(track) {
                Some(track) => Event::KeyframeWanted { track, rendition },
                None => return,
            },
            Control::Offered(part) => return self.handle_offered(part, now),
            Control::Kept { offer, chunks } => Event::Kept { offer, chunks },
            Control::OfferState(state) => Event::OfferState(state),
            Control::OfferGone { offer, reason, by } => {
                self.forget_offer(offer);
                Event::OfferGone { offer, reason, by }
            }
            Control::Offers { .. } => Event::OffersListed,
            Control::Room(room) => Event::Room(room),
            Control::Moderated(control::Moderated { action: control::Action::Unknown, .. }) => return,
            Control::Moderated(deed) => Event::Moderated(deed),
            Control::Done { id: NAME } | Control::Error(Refusal { id: Some(NAME), .. }) => return,
            Control::Done { id } => {
                self.older.take_if(|(asked, _)| *asked == id);
                self.settle_name(id, true);
                Event::Done { id }
            }
            Control::Ack(ack) => return self.handle_ack(&ack),
            Control::Gap(gap) => {
                let news = self.profile.messages.as_mut().is_some_and(|m| m.inbox.handle_gap(&gap));
                if !news {
                    return;
                }
                Event::Gap(gap)
            }
            Control::CaughtUp { seq } => {
                let Some(messages) = &mut self.profile.messages else { return };
                messages.inbox.handle_caught_up(seq);
                Event::CaughtUp
            }
            Control::Storage { stored, message } => {
                if let Some(messages) = &mut self.profile.messages {
                    messages.outbox.handle_storage(stored);
                }
                Event::Storage { stored, message }
            }
            Control::Error(refusal) => {
                if let (Some(source), Some(n), Some(messages)) =
                    (refusal.source, refusal.n, &mut self.profile.messages)
                    && source == messages.outbox.source()
                {
                    messages.outbox.handle_refused(n);
                    return self.events.push_back(Event::Unsent { n, refusal });
                }
                if let Some(id) = refusal.id {
                    self.older.take_if(|(asked, _)| *asked == id);
                    self.settle_name(id, false);
                    self.publications.refuse(id);
                }
                Event::Refused(refusal)
            }
            _ => return,
        };
        self.events.push_back(event);
    }

    fn handle_state(&mut self, part: State, now: Moment) {
        self.state.members.extend(part.members);
        self.state.tracks.extend(part.tracks);
        self.state.room = part.room.or(self.state.room.take());
        if self.state.members.len() > limits::MEMBERS || self.state.tracks.len() > limits::ROOM_TRACKS {
            let error = wire::Error::Control("more members or tracks than a room can have".into());
            return self.lose(error.into(), None, now);
        }
        if part.more {
            return;
        }
        let state = std::mem::take(&mut self.state);
        self.strangers = false;
        // What was asked for just before the connection broke may not have arrived.
        let here = |track: &TrackId| state.tracks.iter().any(|t| t.track == *track);
        self.subscribed.retain(here);
        self.unsubscribed.retain(here);
        if !self.subscribed.is_empty() {
            self.say(&Control::Subscribe { tracks: self.subscribed.iter().copied().collect() });
        }
        if !self.unsubscribed.is_empty() {
            self.say(&Control::Unsubscribe { tracks: self.unsubscribed.iter().copied().collect() });
        }
        self.events.push_back(Event::State(state));
    }

    /// A connection is up: what was not acknowledged is sent again.
    fn resume_messages(&mut self, welcome: &Welcome, resumed: bool) {
        let Some(messages) = &mut self.profile.messages else { return };
        if let Some(log) = &welcome.log {
            messages.inbox.handle_up(log);
        }
        messages.outbox.handle_up(welcome.log.is_some_and(|log| log.stored));
        if !resumed {
            messages.outbox.handle_new_members();
        }
    }

    fn handle_ack(&mut self, ack: &control::Ack) {
        let Some(messages) = &mut self.profile.messages else { return };
        if ack.conflict && ack.source == messages.outbox.source() {
            self.events.push_back(Event::Conflict);
        }
        if let Some(progress) = messages.outbox.handle_ack(ack) {
            self.events.push_back(Event::Acknowledged(progress));
        }
    }

    pub(super) fn handle_message(&mut self, frame: &Frame) {
        let (Some(letter), Some(messages)) = (&frame.header.letter, &mut self.profile.messages) else {
            return;
        };
        let Some(receipt) = &letter.receipt else { return };
        // Nothing new has a number that low.
        let is_older = self.older.is_some_and(|(_, before)| receipt.seq < before);
        let gap = match is_older {
            true => None,
            false => match messages.inbox.handle_message(letter, receipt) {
                Verdict::Show(gap) => gap,
                Verdict::Drop(gap) => return self.events.extend(gap.map(Event::Gap)),
            },
        };
        let received = Received {
            seq: receipt.seq,
            from: receipt.from,
            name: receipt.name.clone(),
            key: receipt.key,
            to: letter.to,
            source: letter.source,
            n: letter.n,
            own: letter.source == messages.outbox.source(),
            sent: frame.header.timestamp,
            received: receipt.received,
            slot: letter.slot.clone(),
            content: Content::from_payload(frame.payload()),
        };
        self.events.extend(gap.map(Event::Gap));
        self.events.push_back(if is_older { Event::Older(received) } else { Event::Message(received) });
    }

    fn want_keyframes(&mut self, id: Option<u64>) {
        for (track, rendition) in self.publications.waiting(id) {
            self.events.push_back(Event::KeyframeWanted { track, rendition });
        }
    }
}
