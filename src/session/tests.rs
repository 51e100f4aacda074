//! The client's core against a server of fifty lines, over the simulated link, in virtual time.

use std::collections::HashMap;
use std::time::Duration;

use super::client::{Client, Counts, Down, End, Event, Profile, Want};
use super::heartbeat::{Action, Heartbeat, Side};
use super::random::Random;
use crate::id::{MemberId, ResumeToken, Secret, SessionId, TrackId};
use crate::limits;
use crate::simulation::link::{Arrival, Direction, Shape};
use crate::time::Moment;
use crate::wire::control::{Goodbye, Publish, Refusal, Source, State, Track, TrackKind, Welcome};
use crate::wire::{Code, Control, Frame, Incoming, Media, Parser, Rendition};

const START: Moment = Moment::from_micros(1_000_000_000);

const CHALLENGE: Control = Control::Challenge { nonce: Secret([1; 32]) };

fn profile() -> Profile {
    Profile {
        room: "standup".parse().unwrap(),
        name: "Ann".parse().unwrap(),
        client: "test".into(),
        key: None,
        password: None,
        subscribe: vec![TrackKind::Video],
        messages: None,
        offers: false,
        tries: None,
    }
}

fn source() -> Source {
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

fn picture(track: TrackId, seq: u64, key: bool) -> Frame {
    let media = Media { track, seq, pts: seq * 33_333, key, rendition: Rendition::High, tid: 0 };
    let payload: Vec<u8> = (0..400).map(|n| (seq * 7 + n) as u8).collect();
    Frame::video(media, &payload, 0)
}

/// What the server keeps of a session.
#[derive(Debug, Clone)]
struct Kept {
    session: SessionId,
    tracks: HashMap<u64, TrackId>,
}

/// A server that knows what a client's core has to be told.
struct Server {
    sessions: HashMap<ResumeToken, Kept>,
    last: u32,
    current: Option<ResumeToken>,
    parser: Parser,
    heartbeat: Heartbeat,
    /// Sequence numbers and keys of pictures per connection.
    pictures: Vec<Vec<(TrackId, u64, bool)>>,
    /// Says this instead of a welcome.
    refuses: Option<Control>,
}

impl Server {
    fn new() -> Self {
        Self {
            sessions: HashMap::new(),
            last: 0,
            current: None,
            parser: Parser::for_stranger(),
            heartbeat: Heartbeat::new(Side::Server, START),
            pictures: Vec::new(),
            refuses: None,
        }
    }

    fn accept(&mut self, now: Moment) {
        self.parser = Parser::for_stranger();
        self.heartbeat = Heartbeat::new(Side::Server, now);
        self.current = None;
        self.pictures.push(Vec::new());
    }

    fn handle(&mut self, bytes: &[u8], now: Moment) -> Vec<Control> {
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

    fn answer(&mut self, operation: Control, now: Moment, answers: &mut Vec<Control>) {
        match operation {
            Control::Hello(_) if self.refuses.is_some() => answers.extend(self.refuses.clone()),
            Control::Hello(hello) => {
                self.parser.admit();
                let known = hello.resume.filter(|token| self.sessions.contains_key(token));
                self.last += 1;
                let token = known.unwrap_or(Secret([self.last as u8; 16]));
                let fresh = Kept { session: SessionId(self.last), tracks: HashMap::new() };
                let session = self.sessions.entry(token).or_insert(fresh).session;
                self.current = Some(token);
                answers.push(welcome(session, token, known.is_some()));
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
            Control::Ping { id } => answers.push(Control::Pong { id }),
            Control::Pong { id } => self.heartbeat.handle_pong(id, now),
            Control::Goodbye(_) => drop(self.current.take().map(|token| self.sessions.remove(&token))),
            _ => {}
        }
    }
}

fn welcome(session: SessionId, token: ResumeToken, resumed: bool) -> Control {
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
struct World {
    now: Moment,
    client: Client,
    server: Server,
    link: Option<(Direction, Direction)>,
    shape: Shape,
    random: Random,
    next_cut: [Option<usize>; 2],
    events: Vec<Event>,
    track: Option<TrackId>,
    next_picture: Moment,
    sent: u64,
}

impl World {
    fn new(seed: u64, shape: Shape) -> Self {
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

    fn run(&mut self, span: Duration) {
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

    fn step(&mut self) {
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
    fn pictures(&mut self) {
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

    fn carry(&mut self) {
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

    fn ups(&self) -> Vec<(SessionId, bool)> {
        let ups = self.events.iter().filter_map(|e| match e {
            Event::Up { welcome, resumed } => Some((welcome.session, *resumed)),
            _ => None,
        });
        ups.collect()
    }

    /// Nothing arrived in part or twice, and nothing went out without its keyframe.
    fn check(&self) {
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

const LAN: Shape = Shape { latency: Duration::from_millis(1), rate: 10_000_000, portion: 4096 };
const POOR: Shape = Shape { latency: Duration::from_millis(180), rate: 30_000, portion: 60 };

#[test]
fn a_session_runs_for_hours() {
    let mut world = World::new(1, Shape { portion: 100_000, ..LAN });
    world.run(Duration::from_secs(2 * 3600));
    assert_eq!(world.ups(), [(SessionId(1), false)]);
    assert_eq!(world.client.counts(), Counts { dropped: 7, ..Counts::default() }, "until the first key");
    world.check();
}

#[test]
fn w10_w35_a_cut_at_any_byte_never_loses_the_session_or_delivers_a_part() {
    for side in [0, 1] {
        for cut in 1..1_400 {
            let mut world = World::new(cut as u64, LAN);
            world.run(Duration::from_secs(2));
            world.next_cut[side] = Some(cut);
            world.link.as_mut().unwrap().1.reset();
            world.run(Duration::from_secs(15));
            assert!(world.client.is_up(), "side {side}, cut after {cut}: {:?}", world.events.last());
            let ups = world.ups();
            assert!(ups.len() >= 2 && ups[1..].iter().all(|up| *up == (SessionId(1), true)), "{ups:?}");
            assert!(!world.server.pictures.last().unwrap().is_empty(), "pictures go out again");
            world.check();
        }
    }
}

#[test]
fn hours_of_faults_on_a_poor_line_always_end_in_the_same_session() {
    for seed in 0..4 {
        let mut world = World::new(seed, POOR);
        world.run(Duration::from_secs(10));
        for _ in 0..40 {
            let span = Duration::from_millis(world.random.between(1, 60_000));
            world.run(span);
            let kind = world.random.between(0, 3);
            let Some((up, down)) = &mut world.link else { continue };
            match kind {
                0 => up.stall(Duration::from_secs(20)),
                1 => down.stall(Duration::from_secs(20)),
                2 => up.reset(),
                _ => down.close(world.now),
            }
        }
        world.run(Duration::from_secs(60));
        assert!(world.client.is_up(), "seed {seed}");
        assert!(world.ups()[1..].iter().all(|up| *up == (SessionId(1), true)), "{:?}", world.ups());
        world.check();
    }
}

#[test]
fn s12_a_server_that_forgot_the_session_gets_everything_anew() {
    let mut world = World::new(3, LAN);
    world.run(Duration::from_secs(3));
    let track = world.track.unwrap();
    world.server.sessions.clear();
    world.link.as_mut().unwrap().1.reset();
    world.events.clear();
    world.run(Duration::from_secs(5));
    assert_eq!(world.ups(), [(SessionId(12), false)]);
    let states = world.events.iter().filter(|e| matches!(e, Event::State(s) if s.tracks.len() == 1));
    assert_eq!(states.count(), 1, "one whole state from two parts");
    assert!(!world.events.iter().any(|e| matches!(e, Event::Published { .. })), "the number stays");
    let wanted = |e: &Event| matches!(e, Event::KeyframeWanted { track: t, .. } if *t == track);
    assert!(world.events.iter().any(wanted));
    let on_the_wire = world.server.pictures.last().unwrap()[0];
    assert_ne!(on_the_wire.0, track);
    assert!(on_the_wire.2, "begins with a keyframe");
}

#[test]
fn s09_whoever_was_replaced_stays_away() {
    let mut world = World::new(4, LAN);
    world.run(Duration::from_secs(3));
    let goodbye = Goodbye { code: Some(Code::Replaced), ..Goodbye::default() };
    let now = world.now;
    world.link.as_mut().unwrap().1.write(Frame::control(&Control::Goodbye(goodbye), 0).bytes(), now);
    world.run(Duration::from_secs(60));
    assert!(matches!(world.events.last(), Some(Event::Ended(End::Replaced))));
    assert_eq!(world.ups().len(), 1);
}

#[test]
fn w39_versions_names_and_full_rooms_are_final() {
    let mut version = Refusal::new(Code::Version, "");
    version.protocol = Some([2, 3]);
    for (refusal, end) in [
        (version, End::Version(2, 3)),
        (Refusal::new(Code::Name, "no"), End::Refused(Refusal::new(Code::Name, "no"))),
        (Refusal::new(Code::Full, "full"), End::Refused(Refusal::new(Code::Full, "full"))),
    ] {
        let mut world = World::new(5, LAN);
        world.server.refuses = Some(Control::Error(refusal));
        world.run(Duration::from_secs(60));
        assert!(matches!(&world.events[..], [Event::Ended(e)] if *e == end), "{:?}", world.events);
    }
}

#[test]
fn a_full_room_is_tried_again_by_who_was_in_it_or_was_told_when() {
    let mut asked = Refusal::new(Code::Full, "full");
    asked.retry_after_ms = Some(2000);
    let mut world = World::new(5, LAN);
    world.server.refuses = Some(Control::Error(asked));
    world.run(Duration::from_secs(1));
    world.server.refuses = None;
    world.run(Duration::from_secs(4));
    assert!(world.client.is_up(), "told when: {:?}", world.events);

    world.server.refuses = Some(Control::Error(Refusal::new(Code::Full, "full")));
    world.link.as_mut().unwrap().1.reset();
    world.run(Duration::from_secs(1));
    world.server.refuses = None;
    world.run(Duration::from_secs(15));
    assert!(world.client.is_up(), "was there before: {:?}", world.events);
}

#[test]
fn a_track_that_ended_while_the_connection_was_down_ends_after_it_is_back() {
    let mut client = Client::new(profile(), 1);
    let token = Secret([1; 16]);
    client.publish(Publish { id: 1, source: source() });
    client.handle_connecting();
    client.handle_connected(START);
    for said in [welcome(SessionId(1), token, false), Control::Published { id: 1, track: TrackId(7) }] {
        client.handle_bytes(Frame::control(&said, 0).bytes(), START);
    }
    client.handle_lost(Down::Closed, START);
    client.unpublish(TrackId(7));
    client.handle_connecting();
    client.handle_connected(START);
    client.handle_bytes(Frame::control(&welcome(SessionId(1), token, true), 0).bytes(), START);
    let mut parser = Parser::new();
    std::iter::from_fn(|| client.poll_transmit()).for_each(|bytes| parser.push(&bytes));
    let mut ended = Vec::new();
    while let Some(Incoming::Frame(frame)) = parser.poll().unwrap() {
        if let Control::Unpublish { track } = frame.operation().unwrap() {
            ended.push(track);
        }
    }
    assert_eq!(ended, [TrackId(7)]);
}

#[test]
fn a_connection_that_came_about_is_no_failed_try() {
    let mut client = Client::new(Profile { tries: Some(2), ..profile() }, 1);
    for _ in 0..5 {
        client.handle_connecting();
        client.handle_connected(START);
        let hello = Frame::control(&welcome(SessionId(1), Secret([1; 16]), true), 0);
        client.handle_bytes(hello.bytes(), START);
        assert!(client.is_up());
        client.handle_lost(Down::Closed, START);
    }
}

#[test]
fn w20_the_time_to_connect_covers_the_welcome() {
    let mut client = Client::new(profile(), 1);
    client.handle_connecting();
    client.set_patience(START + Duration::from_secs(2));
    client.handle_connected(START + Duration::from_secs(1));
    assert_eq!(client.poll_timeout(), Some(START + Duration::from_secs(2)));
}

#[test]
fn w21_a_damaged_picture_is_told_so_that_a_keyframe_is_awaited() {
    let mut world = World::new(8, LAN);
    world.run(Duration::from_secs(3));
    let mut damaged = picture(TrackId(900), 1, true).bytes().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    world.client.handle_bytes(&damaged, world.now);
    let told = Event::Lost { track: TrackId(900), rendition: Rendition::High };
    assert_eq!(format!("{:?}", world.client.poll_event()), format!("{:?}", Some(told)));
}

#[test]
fn s13_a_refused_resume_is_followed_by_a_fresh_hello() {
    let mut world = World::new(6, LAN);
    world.run(Duration::from_secs(3));
    world.server.refuses = Some(Control::Error(Refusal::new(Code::Resume, "who?")));
    world.link.as_mut().unwrap().1.reset();
    world.run(Duration::from_millis(800));
    world.server.refuses = None;
    world.run(Duration::from_secs(5));
    assert_eq!(world.ups().last().map(|up| up.1), Some(false));
    assert!(world.client.is_up());
}

#[test]
fn s17_the_time_that_a_stopping_server_names_is_kept() {
    let mut world = World::new(7, LAN);
    world.run(Duration::from_secs(3));
    let goodbye =
        Goodbye { code: Some(Code::ShuttingDown), message: "back soon".into(), retry_after_ms: Some(5000) };
    let now = world.now;
    world.link.as_mut().unwrap().1.write(Frame::control(&Control::Goodbye(goodbye), 0).bytes(), now);
    world.run(Duration::from_secs(4));
    assert_eq!(world.ups().len(), 1);
    world.run(Duration::from_secs(3));
    assert_eq!(world.ups().len(), 2);
}

#[test]
fn w05_w06_x06_an_answer_in_another_protocol_is_named() {
    for (bytes, word) in [(&b"HTTP/1.1 302 Found\r\n"[..], "HTTP"), (&[0x15, 3, 3, 0, 2, 2, 40], "TLS")] {
        let mut client = Client::new(profile(), 1);
        client.handle_connecting();
        client.handle_connected(START);
        client.handle_bytes(bytes, START);
        match client.poll_event() {
            Some(Event::Ended(End::Unreachable(Down::Garbled(error)))) => {
                assert!(error.to_string().contains(word), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn w20_a_server_that_never_welcomes_is_given_up() {
    let mut client = Client::new(profile(), 1);
    client.handle_connecting();
    client.handle_connected(START);
    // What says nothing may wait for us to speak.
    let nudge = START + Duration::from_secs(2);
    assert_eq!(client.poll_timeout(), Some(nudge));
    client.handle_timeout(nudge);
    assert!(client.poll_transmit().is_some());
    assert_eq!(client.poll_timeout(), Some(START + limits::HELLO));
    client.handle_timeout(START + limits::HELLO);
    assert!(matches!(client.poll_event(), Some(Event::Ended(End::Unreachable(Down::NoWelcome)))));
    assert_eq!(client.want(START), Want::Nothing);
}

#[test]
fn w21_damaged_pictures_are_dropped_and_too_many_break_the_connection() {
    let mut world = World::new(8, LAN);
    world.run(Duration::from_secs(3));
    let mut damaged = picture(TrackId(900), 1, true).bytes().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let now = world.now;
    for n in 1..=limits::DAMAGED {
        assert!(world.client.is_up(), "{n}");
        world.client.handle_bytes(&damaged, now);
        assert_eq!(world.client.counts().damaged, n as u64);
    }
    assert!(!world.client.is_up());
    world.run(Duration::from_secs(5));
    assert_eq!(world.ups().last(), Some(&(SessionId(1), true)));
}

#[test]
fn tries_are_limited_where_the_user_limits_them() {
    let mut client = Client::new(Profile { tries: Some(2), ..profile() }, 1);
    client.handle_connecting();
    client.handle_connected(START);
    let hello = Frame::control(&welcome(SessionId(1), Secret([1; 16]), false), 0);
    client.handle_bytes(hello.bytes(), START);
    for _ in 0..3 {
        client.handle_connecting();
        client.handle_lost(Down::Closed, START);
    }
    let events: Vec<_> = std::iter::from_fn(|| client.poll_event()).collect();
    assert!(matches!(events.last(), Some(Event::Ended(End::GaveUp { tries: 2, .. }))), "{events:?}");
}

#[test]
fn w36_the_goodbye_that_answers_ours_is_no_refusal() {
    let mut world = World::new(9, LAN);
    world.run(Duration::from_secs(3));
    world.client.leave(world.now);
    let goodbye = Frame::control(&Control::Goodbye(Goodbye::default()), 0);
    world.client.handle_bytes(goodbye.bytes(), world.now);
    world.run(Duration::from_secs(1));
    assert!(matches!(world.events.last(), Some(Event::Ended(End::Left))));
}

#[test]
fn w36_leaving_waits_for_the_end_of_the_server_but_not_for_ever() {
    let mut world = World::new(9, LAN);
    world.run(Duration::from_secs(3));
    world.client.leave(world.now);
    assert!(world.client.is_leaving());
    world.run(Duration::from_secs(1));
    assert!(world.client.is_leaving());
    assert!(world.server.sessions.is_empty(), "the goodbye has arrived");
    world.run(Duration::from_secs(6));
    assert!(matches!(world.events.last(), Some(Event::Ended(End::Left))));
}
