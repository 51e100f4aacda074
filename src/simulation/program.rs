//! A program in a meeting: a [`Client`], its end of a link, a camera and eyes that miss nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::ears::Ears;
use super::host::Pipe;
use super::link::Arrival;
use crate::chat::{Inbox, Outbox};
use crate::id::{Secret, TrackId};
use crate::limits;
use crate::session::Key;
use crate::session::client::{Client, Correspondence, Down, End, Event, Profile, Want};
use crate::time::Moment;
use crate::wire::control::{Control, Hello, Publish, Source, TrackKind};
use crate::wire::{Code, Frame, Incoming, Media, Parser, Rendition};

/// Pause between two pictures, and after how many of them a keyframe comes unasked.
const INTERVAL: Duration = Duration::from_millis(125);
const GROUP: usize = 40;
/// Pause between two requests for a keyframe, a little more than the server passes on.
const ASK: Duration = Duration::from_millis(600);
/// Layers as the encoder gives them.
const LAYERS: [u8; 4] = [0, 2, 1, 2];
const RENDITION: Rendition = Rendition::High;

/// Every picture that was ever made, by publisher and `seq`: whether it is a key, and its layer.
pub(super) type Films = Rc<RefCell<BTreeMap<u8, Vec<(bool, u8)>>>>;

struct Camera {
    next: Moment,
    phase: usize,
    key: bool,
    track: Option<TrackId>,
    /// The next frame is damaged on its way.
    damage: bool,
}

/// What has been seen of one publisher over the present connection.
#[derive(Default)]
struct Seen {
    last: Option<u64>,
    all: BTreeSet<u64>,
    /// Keyframes asked for, so that often a group of pictures may come again.
    asked: u32,
    /// One was asked for and has not come.
    wanted: bool,
    /// What comes is of no use before a keyframe, which was asked for then.
    lost: Option<Moment>,
}

struct Socket {
    up: Pipe,
    down: Pipe,
    out: VecDeque<Bytes>,
}

pub(super) struct Program {
    pub(super) index: u8,
    client: Client,
    socket: Option<Socket>,
    dialing: Option<Moment>,
    camera: Option<Camera>,
    films: Films,
    seen: BTreeMap<TrackId, Seen>,
    /// When the newest picture of each publisher was made.
    pub(super) newest: BTreeMap<u8, Moment>,
    tracks: BTreeSet<TrackId>,
    pub(super) ears: Option<Ears>,
    /// What it writes next is damaged on its way.
    damage: bool,
}

impl Program {
    /// One that talks and neither films nor looks; perhaps without a key.
    pub(super) fn talking(index: u8, seed: u64, guest: bool, history: u32, now: Moment) -> Self {
        let key = (!guest).then(|| Key::from_seed(&Secret([index; 32])));
        let ears = Ears::new(index, seed, key.as_ref().map(Key::public), now);
        let outbox = Outbox::new(ears.source);
        let profile = Profile {
            room: "standup".parse().unwrap(),
            name: format!("p{index}").parse().unwrap(),
            client: "simulation".into(),
            key,
            password: None,
            subscribe: Vec::new(),
            messages: Some(Correspondence { history, inbox: Inbox::default(), outbox }),
            offers: false,
            look: false,
            tries: None,
        };
        let client = Client::new(profile, seed ^ u64::from(index));
        Self {
            index,
            client,
            socket: None,
            dialing: None,
            camera: None,
            films: Films::default(),
            seen: BTreeMap::new(),
            newest: BTreeMap::new(),
            tracks: BTreeSet::new(),
            ears: Some(ears),
            damage: false,
        }
    }

    /// Whether it has been given everything, and everything that it said is answered.
    pub(super) fn is_settled(&self) -> bool {
        let Some(ears) = &self.ears else { return true };
        ears.is_caught_up() && self.client.is_up() && self.client.outbox().is_none_or(Outbox::is_empty)
    }

    pub(super) fn new(index: u8, seed: u64, films: Films, camera: bool, eyes: bool, now: Moment) -> Self {
        let profile = Profile {
            room: "standup".parse().unwrap(),
            name: format!("p{index}").parse().unwrap(),
            client: "simulation".into(),
            key: Some(Key::from_seed(&Secret([index; 32]))),
            password: None,
            subscribe: if eyes { vec![TrackKind::Video] } else { Vec::new() },
            messages: None,
            offers: false,
            look: false,
            tries: None,
        };
        let mut client = Client::new(profile, seed ^ u64::from(index));
        if camera {
            let source = Source {
                kind: TrackKind::Video,
                label: "camera".into(),
                codec: "h264".into(),
                width: 640,
                height: 480,
                fps: 8.0,
                muted: false,
            };
            client.publish(Publish { id: 1, source });
            films.borrow_mut().insert(index, Vec::new());
        }
        let next = now + Duration::from_millis(37 * u64::from(index));
        let camera = camera.then_some(Camera { next, phase: 0, key: true, track: None, damage: false });
        Self {
            index,
            client,
            socket: None,
            dialing: None,
            camera,
            films,
            seen: BTreeMap::new(),
            newest: BTreeMap::new(),
            tracks: BTreeSet::new(),
            ears: None,
            damage: false,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.client.is_up()
    }

    /// Both directions of its connection.
    pub(super) fn link(&self) -> Option<(Pipe, Pipe)> {
        self.socket.as_ref().map(|s| (Rc::clone(&s.up), Rc::clone(&s.down)))
    }

    /// Its decoder has lost its way.
    pub(super) fn want_key(&mut self) {
        if let Some(track) = self.tracks.first() {
            self.ask(*track);
        }
    }

    /// Its decoder of something that it sees has lost its way.
    pub(super) fn want_key_again(&mut self) {
        if let Some(track) = self.seen.keys().next() {
            self.ask(*track);
        }
    }

    /// Whether a keyframe that it asked for has not come.
    pub(super) fn wants_key(&self) -> bool {
        self.seen.values().any(|seen| seen.wanted)
    }

    /// The next frame that it sends is damaged.
    pub(super) fn damage(&mut self) {
        self.camera.iter_mut().for_each(|camera| camera.damage = true);
        self.damage = self.ears.is_some();
    }

    fn ask(&mut self, track: TrackId) {
        if self.client.is_up() {
            let seen = self.seen.entry(track).or_default();
            seen.asked += 1;
            seen.wanted = true;
            self.client.keyframe(track, RENDITION);
        }
    }

    pub(super) fn next(&self) -> Option<Moment> {
        let times = [
            self.client.poll_timeout(),
            self.dialing,
            self.camera.as_ref().map(|camera| camera.next),
            self.ears.as_ref().and_then(Ears::next),
            self.socket.as_ref().and_then(|socket| socket.down.borrow().next()),
        ];
        times.into_iter().flatten().min()
    }

    /// Does everything that is due; `dial` makes a connection, or does not.
    pub(super) fn step(&mut self, now: Moment, dial: impl FnOnce() -> Option<(Pipe, Pipe)>) {
        match self.client.want(now) {
            Want::Connect => {
                self.client.handle_connecting();
                self.dialing = Some(now + Duration::from_millis(3));
            }
            Want::Pause(_) | Want::Nothing => self.hang_up(now),
            Want::Keep => {}
        }
        if self.dialing.is_some_and(|at| at <= now) {
            self.dialing = None;
            match dial() {
                Some((up, down)) => {
                    self.socket = Some(Socket { up, down, out: VecDeque::new() });
                    self.client.handle_connected(now);
                }
                None => self.client.handle_lost(Down::Unreachable("refused".into()), now),
            }
        }
        self.film(now);
        self.ears.iter_mut().for_each(|ears| ears.speak(&mut self.client, now));
        self.read(now);
        self.client.handle_timeout(now);
        self.write(now);
        while let Some(event) = self.client.poll_event() {
            self.handle_event(event, now);
        }
    }

    fn hang_up(&mut self, now: Moment) {
        if let Some(socket) = self.socket.take() {
            socket.up.borrow_mut().close(now);
        }
    }

    fn film(&mut self, now: Moment) {
        let Some(camera) = self.camera.as_mut().filter(|camera| camera.next <= now) else { return };
        camera.next = now + INTERVAL;
        let Some(track) = camera.track else { return };
        let mut films = self.films.borrow_mut();
        let film = films.get_mut(&self.index).unwrap();
        let key = std::mem::take(&mut camera.key) || camera.phase == GROUP;
        camera.phase = if key { 1 } else { camera.phase + 1 };
        let tid = LAYERS[(camera.phase - 1) % LAYERS.len()];
        let seq = film.len() as u64;
        film.push((key, tid));
        let media = Media { track, seq, pts: seq * 125_000, key, rendition: RENDITION, tid };
        let frame = Frame::video(media, &payload(self.index, seq, now.micros(), key), 0);
        match &mut self.socket {
            Some(socket) if !socket.out.is_empty() => self.client.handle_dropped(&frame),
            socket => {
                if let Some(frame) = self.client.prepare(frame)
                    && let Some(socket) = socket
                {
                    let damage = std::mem::take(&mut camera.damage);
                    socket.out.push_back(if damage { damaged(frame.bytes()) } else { frame.bytes().clone() });
                }
            }
        }
    }

    fn read(&mut self, now: Moment) {
        while let Some(socket) = &self.socket {
            let arrival = socket.down.borrow_mut().read(now);
            let lost = match arrival {
                None => return,
                Some(Arrival::Bytes(bytes)) => {
                    self.client.handle_bytes(&bytes, now);
                    // What else has come is for the next connection to forget.
                    match self.client.want(now) {
                        Want::Keep => continue,
                        _ => return self.hang_up(now),
                    }
                }
                Some(Arrival::End) => {
                    socket.up.borrow_mut().close(now);
                    Down::Closed
                }
                Some(Arrival::Reset) => {
                    socket.up.borrow_mut().reset();
                    Down::Broken("reset".into())
                }
            };
            self.socket = None;
            self.client.handle_lost(lost, now);
        }
    }

    fn write(&mut self, now: Moment) {
        let Some(socket) = &mut self.socket else { return };
        let damage = std::mem::take(&mut self.damage);
        let written = socket.out.len();
        socket.out.extend(std::iter::from_fn(|| self.client.poll_transmit()));
        if let Some(ears) = self.ears.as_ref().filter(|_| !self.client.is_up()) {
            let hello = socket.out.range(written..).find_map(hello);
            hello.into_iter().for_each(|hello| ears.check_position(hello.messages));
        }
        if let Some(last) = socket.out.back_mut().filter(|_| damage) {
            *last = damaged(last);
        }
        assert!(self.ears.is_some() || socket.out.len() < 64, "what waits to be written is bounded");
        let mut up = socket.up.borrow_mut();
        while let Some(first) = socket.out.front_mut()
            && up.space() > 0
        {
            let part = first.split_to(first.len().min(up.space()));
            up.write(&part, now);
            self.client.handle_sent(now);
            if first.is_empty() {
                socket.out.pop_front();
            }
        }
    }

    fn handle_event(&mut self, event: Event, now: Moment) {
        self.ears.iter_mut().for_each(|ears| ears.handle_event(&event));
        match event {
            Event::Up { .. } => self.seen.clear(),
            Event::State(state) => self.tracks = state.tracks.iter().map(|t| t.track).collect(),
            Event::Track(track) => drop(self.tracks.insert(track.track)),
            Event::TrackGone(track) => drop(self.tracks.remove(&track)),
            Event::Published { track, .. } => self.camera.iter_mut().for_each(|c| c.track = Some(track)),
            Event::KeyframeWanted { .. } => self.camera.iter_mut().for_each(|c| c.key = true),
            Event::Media(frame) => self.look(&frame, now),
            Event::Lost { track, .. } => {
                self.seen.entry(track).or_default().lost = Some(now);
                self.ask(track);
            }
            Event::Down { reason, .. } => {
                let damaged = matches!(reason, Down::Damaged) && self.ears.is_none();
                assert!(!damaged && !matches!(reason, Down::Garbled(_)), "p{}: {reason}", self.index);
            }
            // Who finds no server at first does not try again.
            Event::Ended(End::Unreachable(_)) if self.ears.as_ref().is_some_and(Ears::was_never_up) => {
                self.ears = None;
            }
            Event::Ended(end) => panic!("p{} ended: {end}", self.index),
            Event::Refused(refusal) => {
                // A track that ended at the same time, and what is said before a lame connection ends.
                let known = [Code::Track, Code::Timeout, Code::SlowConsumer];
                let talk = [Code::Checksum, Code::Internal, Code::Denied, Code::Member, Code::Unknown];
                let known = [&known[..], if self.ears.is_some() { &talk[..] } else { &[] }].concat();
                assert!(known.contains(&refusal.code), "p{} was refused: {refusal}", self.index);
            }
            _ => {}
        }
    }

    /// Nothing in part, nothing twice, nothing without what it refers to.
    fn look(&mut self, frame: &Frame, now: Moment) {
        let media = frame.header.media.unwrap();
        let (from, made) = read_payload(frame.payload());
        assert_eq!(frame.payload(), payload(from, media.seq, made, media.key), "a whole picture");
        let films = Rc::clone(&self.films);
        let film = &films.borrow()[&from];
        let seen = self.seen.entry(media.track).or_default();
        let seq = media.seq;
        if media.key {
            seen.wanted = false;
            seen.lost = None;
        }
        if let Some(at) = &mut seen.lost {
            if now.since(*at) > ASK {
                *at = now;
                self.ask(media.track);
            }
            return;
        }
        if seen.last.is_some_and(|last| seq <= last) {
            assert!(media.key, "p{} saw {seq} of p{from} after {:?}", self.index, seen.last);
            assert!(seen.asked > 0, "p{} did not ask for {seq} of p{from} again", self.index);
            seen.asked -= 1;
            seen.all.clear();
        }
        let (key, tid) = film[seq as usize];
        assert_eq!((media.key, media.tid), (key, tid));
        if !key {
            for back in (0..seq).rev() {
                let (_, lower) = film[back as usize];
                if lower < tid || lower == 0 {
                    assert!(
                        seen.all.contains(&back),
                        "p{} saw {seq} of p{from} without {back}: {:?}",
                        self.index,
                        seen.all
                    );
                }
                if lower == 0 {
                    break;
                }
            }
        }
        seen.last = Some(seq);
        seen.all.insert(seq);
        self.newest.insert(from, Moment::from_micros(made));
    }
}

/// The hello, if that is what is written.
fn hello(bytes: &Bytes) -> Option<Hello> {
    let mut parser = Parser::new();
    parser.push(bytes);
    let Ok(Some(Incoming::Frame(frame))) = parser.poll() else { panic!("a program writes frames") };
    match frame.operation() {
        Ok(Control::Hello(hello)) => Some(hello),
        _ => None,
    }
}

/// Who made it, when, and bytes that no other picture has.
fn payload(from: u8, seq: u64, made: u64, key: bool) -> Vec<u8> {
    let length = if key { 4_500 } else { 100 + (seq * 379) as usize % 1_700 };
    let mut bytes = Vec::with_capacity(17 + length);
    bytes.push(from);
    bytes.extend_from_slice(&made.to_be_bytes());
    bytes.extend((0..length).map(|n| (seq as usize * 7 + n) as u8));
    bytes
}

/// A frame whose payload does not match its checksum.
pub(super) fn damaged(frame: &[u8]) -> Bytes {
    let mut bytes = frame.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bytes.into()
}

fn read_payload(bytes: &[u8]) -> (u8, u64) {
    (bytes[0], u64::from_be_bytes(bytes[1..9].try_into().unwrap()))
}

/// How old the newest picture may be for a publisher to count as live.
pub(super) const LIVE: Duration = Duration::from_millis(1_500);

/// How long after the last fault everybody sees everybody again: silence is noticed, the longest pause
/// passes, a hello and a keyframe come.
pub(super) const RECOVERY: Duration =
    Duration::from_secs(limits::SILENCE.as_secs() + limits::BACKOFF_LAST.as_secs() + 8);
