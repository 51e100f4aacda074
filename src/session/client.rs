//! The client's side of a session (docs/protocol.md section 5).
//!
//! ```text
//! waiting -> connecting -> greeting -> up -> leaving -> ended
//!    ^____________|___________|________|
//! ```
//!
//! [`Client`] holds what must survive a connection: the token, what is published, what is subscribed.
//! It asks for a connection ([`Want`]), is told what becomes of it, takes bytes in and gives bytes and
//! [`Event`]s out. A session that the server does not know any more is begun afresh without the program
//! having to do anything; a connection lost before the first welcome is final, since then the address
//! is more likely wrong than the network.
//!
//! A program that only wants to know how the room is ([`Profile::look`]) comes from greeting to looking instead of up:
//! it is told, in the same events, and the session ends. Where a server knows nothing of that it is let in.
//!
//! Bounds: the edge passes on all events and bytes after each call, so neither list holds more than one
//! read gives rise to. While there is no connection media is dropped and counted; control operations
//! need no queue, because what they asked for is held here and asked for again.

mod event;
mod files;
mod operations;
mod requests;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

pub use event::{Down, End, Event};

use super::backoff::Backoff;
use super::heartbeat::{self, Heartbeat, Side};
use super::key::Key;
use super::password;
use super::publications::Publications;
use crate::chat::{Inbox, Outbox};
use crate::id::{MemberId, Nick, OfferNumber, ResumeToken, RoomName, Secret, TrackId};
use crate::limits;
use crate::time::Moment;
use crate::wire::control::{self, Goodbye, Hello, State, TrackKind};
use crate::wire::offer::Offered;
use crate::wire::{Control, Frame, Header, Incoming, Kind, Parser};

/// How long the server may take to end the connection after our goodbye.
const LEAVE: Duration = Duration::from_secs(2);
/// A server speaks first. Something else may wait for us to speak: it is asked after this long, and what it
/// answers says what it is.
const NUDGE: Duration = Duration::from_secs(2);

/// Who joins what.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The room.
    pub room: RoomName,
    /// The person's name. Follows what the server calls the member, so that it stays when the server has
    /// forgotten the room.
    pub name: Nick,
    /// Program and version.
    pub client: String,
    /// What makes all programs of one person one member; without it the program is a guest.
    pub key: Option<Key>,
    /// What the room's password has become ([`password::key`]).
    pub password: Option<Secret<32>>,
    /// Kinds of track that are wanted as they come.
    pub subscribe: Vec<TrackKind>,
    /// The program takes part in the conversation.
    pub messages: Option<Correspondence>,
    /// The program wants to be told of offers.
    pub offers: bool,
    /// It wants to know how the room is, and not to come in.
    pub look: bool,
    /// Tries in a row to come back; without a number any number.
    pub tries: Option<u32>,
}

/// What a program has of the conversation.
#[derive(Debug, Clone)]
pub struct Correspondence {
    /// How many older messages it wants when it has none.
    pub history: u32,
    /// What it has received.
    pub inbox: Inbox,
    /// What it has said.
    pub outbox: Outbox,
}

/// What the core wants of the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// No connection before this moment.
    Pause(Moment),
    /// A connection; then [`Client::handle_connected`] or [`Client::handle_lost`].
    Connect,
    /// The connection that is being made or is there.
    Keep,
    /// No connection any more.
    Nothing,
}

/// What was counted over all connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Media frames of this program that did not go out: no connection, or a keyframe was missing.
    pub dropped: u64,
    /// Frames that arrived damaged.
    pub damaged: u64,
    /// Connections after the first.
    pub reconnects: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting(Moment),
    Connecting,
    /// The welcome must be there `until` then. Before the challenge, the server is asked to speak at `nudge`.
    Greeting {
        until: Moment,
        nudge: Option<Moment>,
    },
    /// The room is shown; the server is given up when nothing comes `until` then, and when it is not `over` then.
    Looking {
        until: Moment,
        over: Moment,
    },
    Up,
    Leaving {
        until: Moment,
    },
    Ended,
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    profile: Profile,
    phase: Phase,
    token: Option<ResumeToken>,
    /// Which member the program is, and in which life of the server.
    own: Option<(MemberId, String)>,
    /// The last name that was asked for and not answered, and the number of that request.
    wish: Option<(u64, Nick)>,
    /// Whether there has been a welcome.
    joined: bool,
    backoff: Backoff,
    heartbeat: Heartbeat,
    parser: Parser,
    publications: Publications,
    subscribed: BTreeSet<TrackId>,
    unsubscribed: BTreeSet<TrackId>,
    /// Ended without a connection, by their numbers on the wire: the server does not know it yet.
    unpublished: BTreeSet<TrackId>,
    /// When the welcome must be there, where the edge has set that.
    patience: Option<Moment>,
    /// Parts of a state that is not complete.
    state: State,
    /// Everything has been shown to a program that only looks.
    shown: bool,
    /// The members have other numbers than the program knows, until the state is complete.
    strangers: bool,
    /// Offers that were answered on this connection: their pieces may be sent.
    offered: BTreeSet<OfferNumber>,
    /// An answer to an offer that is not complete.
    offered_part: Option<Offered>,
    /// When frames arrived damaged, newest last; at most [`limits::DAMAGED`].
    damaged: VecDeque<Moment>,
    /// Older messages that were asked for: the number of the request, and before which number.
    older: Option<(u64, u64)>,
    /// What the user said about being away.
    away: Option<String>,
    counts: Counts,
    transmit: VecDeque<Bytes>,
    events: VecDeque<Event>,
    /// Wall-clock time for headers; given by the edge with each call that may write.
    wall: u64,
}

impl Client {
    /// A session that has not begun; `seed` is for jitter.
    pub fn new(profile: Profile, seed: u64) -> Self {
        Self {
            backoff: Backoff::new(seed, profile.tries),
            profile,
            phase: Phase::Waiting(Moment::default()),
            token: None,
            own: None,
            wish: None,
            joined: false,
            heartbeat: Heartbeat::new(Side::Client, Moment::default()),
            parser: Parser::new(),
            publications: Publications::default(),
            subscribed: BTreeSet::new(),
            unsubscribed: BTreeSet::new(),
            unpublished: BTreeSet::new(),
            patience: None,
            state: State::default(),
            shown: false,
            strangers: false,
            offered: BTreeSet::new(),
            offered_part: None,
            damaged: VecDeque::new(),
            older: None,
            away: None,
            counts: Counts::default(),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
            wall: 0,
        }
    }

    /// What to do about the connection at `now`.
    pub fn want(&self, now: Moment) -> Want {
        match self.phase {
            Phase::Waiting(until) if until > now => Want::Pause(until),
            Phase::Waiting(_) => Want::Connect,
            Phase::Ended => Want::Nothing,
            _ => Want::Keep,
        }
    }

    /// The room's password is known now, after the server has refused to let this program in without it: the
    /// session begins anew.
    pub fn handle_password(&mut self, password: Secret<32>) {
        if self.phase == Phase::Ended {
            self.profile.password = Some(password);
            self.phase = Phase::Waiting(Moment::default());
        }
    }

    /// The edge begins to connect.
    pub fn handle_connecting(&mut self) {
        self.phase = Phase::Connecting;
    }

    /// The try that has just begun fails unless there is a welcome by `until`.
    pub fn set_patience(&mut self, until: Moment) {
        self.patience = Some(until);
    }

    /// The edge has a connection.
    pub fn handle_connected(&mut self, now: Moment) {
        self.parser = Parser::new();
        self.parser.trust_files();
        self.heartbeat = Heartbeat::new(Side::Client, now);
        self.damaged.clear();
        let longest = now + limits::HELLO;
        let until = self.patience.take().map_or(longest, |until| until.min(longest));
        self.phase = Phase::Greeting { until, nudge: Some(now + NUDGE) };
    }

    /// The server's challenge is here: says hello with the proofs that it asks for.
    fn handle_challenge(&mut self, nonce: &Secret<32>) {
        let Profile { room, name, client, key, password, subscribe, messages, offers, look, .. } =
            &self.profile;
        let room = room.to_string();
        let hello = Hello {
            protocol: control::PROTOCOL,
            name: name.to_string(),
            client: client.clone(),
            key: key.as_ref().map(Key::public),
            proof: key.as_ref().map(|key| key.prove(nonce, &room)),
            password: password.as_ref().map(|key| password::proof(key, nonce)),
            resume: self.token,
            subscribe: subscribe.clone(),
            messages: messages.as_ref().map(|messages| control::Messages {
                log: messages.inbox.position().map(|(log, _)| log),
                after: messages.inbox.position().map(|(_, last)| last),
                history: messages.history,
            }),
            offers: *offers,
            look: *look,
            room,
        };
        self.say(&Control::Hello(hello));
        if let Phase::Greeting { until, .. } = self.phase {
            self.phase = Phase::Greeting { until, nudge: None };
        }
    }

    /// The edge has lost the connection, or could not make it.
    pub fn handle_lost(&mut self, reason: Down, now: Moment) {
        if !matches!(self.phase, Phase::Ended | Phase::Waiting(_)) {
            self.lose(reason, None, now);
        }
    }

    /// Bytes have come in.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Moment) {
        self.parser.push(bytes);
        self.handle_rest(now);
    }

    /// Where the next bytes belong, into its spare capacity, if they are the rest of a large frame ([`Parser::rest`]).
    pub fn rest(&mut self) -> Option<&mut Vec<u8>> {
        self.parser.rest()
    }

    /// Bytes have come there.
    pub fn handle_rest(&mut self, now: Moment) {
        self.heartbeat.handle_received(now);
        self.notice_pause(now);
        if let Phase::Looking { until, .. } = &mut self.phase {
            *until = now + limits::SILENCE;
        }
        while self.is_connected() {
            match self.parser.poll() {
                Ok(None) => return,
                Ok(Some(Incoming::Frame(frame))) => self.handle_frame(frame, now),
                Ok(Some(Incoming::Damaged(header))) => self.handle_damaged(&header, now),
                Err(error) => self.lose(error.into(), None, now),
            }
        }
    }

    /// Bytes have been given to the kernel.
    pub fn handle_sent(&mut self, now: Moment) {
        self.heartbeat.handle_sent(now);
    }

    /// The edge does not read, because the program is slow; the server's silence means nothing.
    pub fn handle_not_reading(&mut self, now: Moment) {
        self.heartbeat.handle_received(now);
        if let Phase::Looking { until, over } = &mut self.phase {
            *until = now + limits::SILENCE;
            *over = (*over).max(*until);
        }
    }

    /// Whoever notices only now that a look should have been over was stopped itself: that says nothing of the
    /// server.
    fn notice_pause(&mut self, now: Moment) {
        if let Phase::Looking { until, over } = &mut self.phase {
            let late = now.since((*until).min(*over));
            if late > limits::PAUSE {
                *until = now + limits::SILENCE;
                *over = (*over + late).max(*until);
            }
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.notice_pause(now);
        match self.phase {
            Phase::Greeting { until, .. } if until <= now => self.lose(Down::NoWelcome, None, now),
            Phase::Greeting { until, nudge: Some(at) } if at <= now => {
                self.phase = Phase::Greeting { until, nudge: None };
                self.say(&Control::Ping { id: 0 });
            }
            Phase::Looking { until, .. } if until <= now => self.lose(Down::Silent, None, now),
            Phase::Looking { over, .. } if over <= now => self.lose(Down::Slow, None, now),
            Phase::Leaving { until } if until <= now => self.end(End::Left),
            Phase::Up => loop {
                match self.heartbeat.handle_timeout(now) {
                    heartbeat::Action::None => return,
                    heartbeat::Action::Ping(id) => self.say(&Control::Ping { id }),
                    heartbeat::Action::Dead => return self.lose(Down::Silent, None, now),
                }
            },
            _ => {}
        }
    }

    /// When [`Self::handle_timeout`] or [`Self::want`] has news.
    pub fn poll_timeout(&self) -> Option<Moment> {
        match self.phase {
            Phase::Waiting(until) | Phase::Leaving { until } => Some(until),
            Phase::Looking { until, over } => Some(until.min(over)),
            Phase::Greeting { until, nudge } => Some(nudge.map_or(until, |nudge| nudge.min(until))),
            Phase::Up => Some(self.heartbeat.poll_timeout()),
            Phase::Connecting | Phase::Ended => None,
        }
    }

    /// What the program should learn next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What to write next, in front of any media.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if self.transmit.is_empty()
            && self.is_up()
            && let Some(messages) = &mut self.profile.messages
        {
            return messages.outbox.poll().map(|frame| frame.bytes().clone());
        }
        self.transmit.pop_front()
    }

    /// The program leaves.
    pub fn leave(&mut self, now: Moment) {
        match self.phase {
            Phase::Up => {
                self.say(&Control::Goodbye(Goodbye::default()));
                self.phase = Phase::Leaving { until: now + LEAVE };
            }
            Phase::Leaving { .. } | Phase::Ended => {}
            _ => self.end(End::Left),
        }
    }

    /// Whether the session is up.
    pub fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up)
    }

    /// Whether the goodbye is said and the server's end is awaited.
    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. })
    }

    /// The last round-trip time.
    pub fn rtt(&self) -> Option<Duration> {
        self.heartbeat.rtt()
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn is_connected(&self) -> bool {
        matches!(
            self.phase,
            Phase::Greeting { .. } | Phase::Looking { .. } | Phase::Up | Phase::Leaving { .. }
        )
    }

    fn handle_frame(&mut self, frame: Frame, now: Moment) {
        match (&frame.header.kind, self.phase) {
            (Kind::Control, _) => match frame.operation() {
                Ok(operation) => self.handle_operation(operation, now),
                Err(error) => self.lose(error.into(), None, now),
            },
            (Kind::Video | Kind::Audio, Phase::Up) => self.events.push_back(Event::Media(frame)),
            (Kind::Message, Phase::Up) => self.handle_message(&frame),
            (Kind::File, Phase::Up | Phase::Looking { .. }) => self.handle_file(frame, now),
            _ => {}
        }
    }

    fn handle_damaged(&mut self, header: &Header, now: Moment) {
        self.counts.damaged += 1;
        self.damaged.retain(|&at| now.since(at) < limits::DAMAGED_WINDOW);
        self.damaged.push_back(now);
        // Without a control frame the two sides no longer agree on who is here; a message is had again by
        // asking for what follows the last one.
        if matches!(header.kind, Kind::Control | Kind::Message) || self.damaged.len() >= limits::DAMAGED {
            return self.lose(Down::Damaged, None, now);
        }
        if let (Some(media), Phase::Up) = (header.media, self.phase) {
            self.events.push_back(Event::Lost { track: media.track, rendition: media.rendition });
        }
    }

    /// The connection is worth nothing any more. Another is tried, unless there has never been a
    /// welcome and the server did not name a time either.
    fn lose(&mut self, reason: Down, retry_after: Option<Duration>, now: Moment) {
        if self.is_leaving() || self.shown {
            return self.end(End::Left);
        }
        self.transmit.clear();
        self.older = None;
        self.offered.clear();
        self.offered_part = None;
        self.publications.interrupt();
        if !self.joined && retry_after.is_none() {
            return self.end(End::Unreachable(reason));
        }
        match self.backoff.pause(retry_after) {
            None => self.end(End::GaveUp { tries: self.backoff.tries(), last: reason }),
            Some(retry_in) => {
                self.phase = Phase::Waiting(now + retry_in);
                let attempt = self.backoff.tries();
                self.events.push_back(Event::Down { reason, retry_in, attempt });
            }
        }
    }

    fn end(&mut self, end: End) {
        self.phase = Phase::Ended;
        self.transmit.clear();
        self.events.push_back(Event::Ended(end));
    }

    fn say(&mut self, operation: &Control) {
        self.transmit.push_back(Frame::control(operation, self.wall).bytes().clone());
    }
}
