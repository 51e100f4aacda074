//! A client's core and a server of fifty lines, the link between them, and the time.

use std::collections::HashMap;
use std::time::Duration;

use crate::id::{MemberId, ResumeToken, Secret, SessionId, TrackId};
use crate::session::client::{Client, Down, Event, Profile, Want};
use crate::session::heartbeat::{Action, Heartbeat, Side};
use crate::session::random::Random;
use crate::simulation::link::{Arrival, Direction, Shape};
use crate::time::Moment;
use crate::wire::control::{Member, Publish, Source, State, Track, TrackKind, Welcome};
use crate::wire::{Control, Frame, Incoming, Media, Parser, Rendition};

pub(super) const START: Moment = Moment::from_micros(1_000_000_000);

pub(super) const CHALLENGE: Control = Control::Challenge { nonce: Secret([1; 32]) };

pub(super) fn profile() -> Profile {
    Profile {
        room: "standup".parse().unwrap(),
        name: "Ann".parse().unwrap(),
        client: "test".into(),
        key: None,
        password: None,
        subscribe: vec![TrackKind::Video],
        messages: None,
        offers: false,
        look: false,
        tries: None,
    }
}

pub(super) fn source() -> Source {
    Source {
        kind: TrackKind::Video,
        label: "camera".into(),
        codec: "h264".into(),
        width: 640,
        height: 480,
        fps: 30.0,
        muted: false,
    }
}

pub(super) fn picture(track: TrackId, seq: u64, key: bool) -> Frame {
    let media = Media { track, seq, pts: seq * 33_333, key, rendition: Rendition::High, tid: 0 };
    let payload: Vec<u8> = (0..400).map(|n| (seq * 7 + n) as u8).collect();
    Frame::video(media, &payload, 0)
}

/// What the server keeps of a session.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) session: SessionId,
    pub(super) tracks: HashMap<u64, TrackId>,
}

/// A server that knows what a client's core has to be told.
pub(super) struct Server {
    pub(super) sessions: HashMap<ResumeToken, Kept>,
    pub(super) last: u32,
    pub(super) current: Option<ResumeToken>,
    pub(super) parser: Parser,
    pub(super) heartbeat: Heartbeat,
    /// Sequence numbers and keys of pictures per connection.
    pub(super) pictures: Vec<Vec<(TrackId, u64, bool)>>,
    /// Says this instead of a welcome.
    pub(super) refuses: Option<Control>,
    /// The names that were asked for, in hello and later.
    pub(super) names: Vec<String>,
    /// How the member is called, and in which life of the server.
    pub(super) name: &'static str,
    pub(super) epoch: &'static str,
}

impl Server {
    pub(super) fn new() -> Self {
        Self {
            sessions: HashMap::new(),
            last: 0,
            current: None,
            parser: Parser::for_stranger(),
            heartbeat: Heartbeat::new(Side::Server, START),
            pictures: Vec::new(),
            refuses: None,
            names: Vec::new(),
            name: "Ann",
            epoch: "e",
        }
    }

    pub(super) fn accept(&mut self, now: Moment) {
        self.parser = Parser::for_stranger();
        self.heartbeat = Heartbeat::new(Side::Server, now);
        self.current = None;
        self.pictures.push(Vec::new());
    }

    pub(super) fn handle(&mut self, bytes: &[u8], now: Moment) -> Vec<Control> {
        self.heartbeat.handle_received(now);
        self.parser.push(bytes);
        let mut answers = Vec::new();
        while let Some(incoming) = self.parser.poll().expect("the client writes frames") {
            let Incoming::Frame(frame) = incoming else { panic!("nothing is damaged here") };
            match frame.header.media {
                Some(m) => self.pictures.last_mut().unwrap().push((m.track, m.seq, m.key)),
                None => self.answer(frame.operation().unwrap(), now, &mut answers),
            }
        }
        answers
    }

    pub(super) fn answer(&mut self, operation: Control, now: Moment, answers: &mut Vec<Control>) {
        match operation {
            Control::Hello(_) if self.refuses.is_some() => answers.extend(self.refuses.clone()),
            Control::Hello(hello) => {
                self.parser.admit();
                self.names.push(hello.name);
                let known = hello.resume.filter(|token| self.sessions.contains_key(token));
                self.last += 1;
                let token = known.unwrap_or(Secret([self.last as u8; 16]));
                let fresh = Kept { session: SessionId(self.last), tracks: HashMap::new() };
                let session = self.sessions.entry(token).or_insert(fresh).session;
                self.current = Some(token);
                let Control::Welcome(welcome) = welcome(session, token, known.is_some()) else { return };
                let (name, epoch) = (self.name.to_owned(), self.epoch.to_owned());
                answers.push(Control::Welcome(Welcome { name, epoch, ..welcome }));
                let track = Track { track: TrackId(900), member: MemberId(9), source: source() };
                answers.push(Control::State(State { tracks: vec![track], more: true, ..State::default() }));
                answers.push(Control::State(State::default()));
            }
            Control::Publish(publish) => {
                self.last += 10;
                let fresh = TrackId(self.last);
                let kept = self.sessions.get_mut(&self.current.unwrap()).unwrap();
                let track = *kept.tracks.entry(publish.id).or_insert(fresh);
                answers.push(Control::Published { id: publish.id, track });
            }
            Control::Rename { id, name } => {
                answers.push(Control::Member(Member::new(MemberId(1), &name)));
                answers.push(Control::Done { id });
                self.names.push(format!("rename {name}"));
            }
            Control::Ping { id } => answers.push(Control::Pong { id }),
            Control::Pong { id } => self.heartbeat.handle_pong(id, now),
            Control::Goodbye(_) => drop(self.current.take().map(|token| self.sessions.remove(&token))),
            _ => {}
        }
    }
}

pub(super) fn welcome(session: SessionId, token: ResumeToken, resumed: bool) -> Control {
    Control::Welcome(Welcome {
        protocol: 1,
        server: "test".into(),
        epoch: "e".into(),
        room: "standup".into(),
        session,
        member: MemberId(1),
        name: "Ann".into(),
        token,
        resumed,
        heartbeat_ms: 4000,
        grace_ms: 30_000,
        log: None,
    })
}

/// Both ends, the link between them, and the pictures that each sends.
pub(super) struct World {
    pub(super) now: Moment,
    pub(super) client: Client,
    pub(super) server: Server,
    pub(super) link: Option<(Direction, Direction)>,
    pub(super) shape: Shape,
    pub(super) random: Random,
    pub(super) next_cut: [Option<usize>; 2],
    pub(super) events: Vec<Event>,
    pub(super) track: Option<TrackId>,
    pub(super) next_picture: Moment,
    pub(super) sent: u64,
}

impl World {
    pub(super) fn new(seed: u64, shape: Shape) -> Self {
        let mut client = Client::new(profile(), seed);
        client.publish(Publish { id: 1, source: source() });
        Self {
            now: START,
            client,
            server: Server::new(),
            link: None,
            shape,
            random: Random::new(seed),
            next_cut: [None, None],
            events: Vec::new(),
            track: None,
            next_picture: START,
            sent: 0,
        }
    }

    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.step();
            let times = [self.client.poll_timeout(), self.link.as_ref().and_then(|l| l.0.next())];
            let times = times.into_iter().chain([
                self.link.as_ref().and_then(|l| l.1.next()),
                Some(self.server.heartbeat.poll_timeout()),
                Some(self.next_picture),
            ]);
            let next = times.flatten().min().unwrap().max(self.now + Duration::from_micros(1));
            self.now = next.min(end);
        }
    }

    pub(super) fn step(&mut self) {
        match self.client.want(self.now) {
            Want::Connect => {
                let seed = self.random.bits();
                let mut link = (Direction::new(self.shape, seed), Direction::new(self.shape, !seed));
                self.next_cut[0].take().into_iter().for_each(|n| link.0.cut_after(n));
                self.next_cut[1].take().into_iter().for_each(|n| link.1.cut_after(n));
                self.link = Some(link);
                self.server.accept(self.now);
                self.client.handle_connecting();
                self.client.handle_connected(self.now);
                if let Some((_, down)) = &mut self.link {
                    down.write(Frame::control(&CHALLENGE, 0).bytes(), self.now);
                }
            }
            Want::Pause(_) | Want::Nothing => self.link = None,
            Want::Keep => {}
        }
        self.pictures();
        self.carry();
        self.client.handle_timeout(self.now);
        while let Some(event) = self.client.poll_event() {
            if let Event::Published { track, .. } = event {
                self.track = Some(track);
            }
            self.events.push(event);
        }
    }

    /// Ten pictures a second both ways, one key in ten.
    pub(super) fn pictures(&mut self) {
        if self.now < self.next_picture {
            return;
        }
        self.next_picture = self.now + Duration::from_millis(100);
        self.sent += 1;
        let key = self.sent.is_multiple_of(10);
        let outgoing = self.track.and_then(|track| self.client.prepare(picture(track, self.sent, key)));
        if let Some((up, down)) = &mut self.link {
            if let Some(frame) = outgoing {
                up.write(frame.bytes(), self.now);
                self.client.handle_sent(self.now);
            }
            if self.server.current.is_some() {
                down.write(picture(TrackId(900), self.sent, key).bytes(), self.now);
                self.server.heartbeat.handle_sent(self.now);
            }
        }
    }

    pub(super) fn carry(&mut self) {
        let Some((up, down)) = &mut self.link else { return };
        while let Some(bytes) = self.client.poll_transmit() {
            up.write(&bytes, self.now);
            self.client.handle_sent(self.now);
        }
        let mut answers = Vec::new();
        match up.read(self.now) {
            Some(Arrival::Bytes(bytes)) => answers = self.server.handle(&bytes, self.now),
            Some(Arrival::End) => down.close(self.now),
            Some(Arrival::Reset) => down.reset(),
            None => {}
        }
        match self.server.heartbeat.handle_timeout(self.now) {
            Action::Ping(id) => answers.push(Control::Ping { id }),
            Action::Dead => down.reset(),
            Action::None => {}
        }
        for answer in answers {
            down.write(Frame::control(&answer, 0).bytes(), self.now);
        }
        match down.read(self.now) {
            Some(Arrival::Bytes(bytes)) => {
                self.client.handle_bytes(&bytes, self.now);
            }
            Some(Arrival::End) => self.client.handle_lost(Down::Closed, self.now),
            Some(Arrival::Reset) => self.client.handle_lost(Down::Broken("reset".into()), self.now),
            None => {}
        }
    }

    pub(super) fn ups(&self) -> Vec<(SessionId, bool)> {
        let ups = self.events.iter().filter_map(|e| match e {
            Event::Up { welcome, resumed } => Some((welcome.session, *resumed)),
            _ => None,
        });
        ups.collect()
    }

    /// Nothing arrived in part or twice, and nothing went out without its keyframe.
    pub(super) fn check(&self) {
        let mut last = 0;
        for event in &self.events {
            if let Event::Media(frame) = event {
                let seq = frame.header.media.unwrap().seq;
                assert!(seq > last, "{seq} after {last}");
                assert_eq!(frame.payload(), picture(TrackId(900), seq, false).payload());
                last = seq;
            }
        }
        for connection in &self.server.pictures {
            assert!(connection.first().is_none_or(|(_, _, key)| *key), "{connection:?}");
            assert!(connection.windows(2).all(|w| w[1].1 == w[0].1 + 1), "{connection:?}");
        }
    }
}

pub(super) const LAN: Shape = Shape { latency: Duration::from_millis(1), rate: 10_000_000, portion: 4096 };
pub(super) const POOR: Shape = Shape { latency: Duration::from_millis(180), rate: 30_000, portion: 60 };
