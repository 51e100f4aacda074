//! docs/protocol.md against the code, both ways: the worked examples read and are written as they
//! stand there, and every operation, key, code and limit of the code has its place in the page.

use std::collections::BTreeSet;
use std::time::Duration;

use confkit::chat::Content;
use confkit::id::{LogId, MemberId, OfferId, OfferNumber, Secret, SessionId, SourceId, TrackId};
use confkit::limits;
use confkit::session::Key;
use confkit::wire::control::{
    Ack, Action, By, Gap, GapReason, Goodbye, Hello, Log, Member, Messages, Moderated, PROTOCOL, PipeTrack,
    Publish, Quality, Refusal, Room, SentAway, Source, State, Status, Track, TrackKind, Tracks, Welcome,
};
use confkit::wire::offer::{Fetch, Going, Offer, OfferState, Offered, Seal};
use confkit::wire::{
    Code, Control, Frame, Incoming, Letter, Media, Parser, Part, Piece, Receipt, Rendition, Slot,
};

const PAGE: &str = include_str!("../../docs/protocol.md");
const WALL: u64 = 1_700_000_000_250_000;

struct Example {
    name: String,
    header: String,
    payload: Option<String>,
    bytes: Vec<u8>,
}

fn section(number: u32) -> &'static str {
    let from = PAGE.find(&format!("\n## {number}. ")).expect("the section is there");
    let rest = &PAGE[from + 1..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

fn fenced<'a>(text: &'a str, language: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("```{language}\n")).expect("the block is there");
    rest.split_once("\n```").expect("the block ends").0
}

fn examples() -> Vec<Example> {
    let parse = |text: &str| {
        let (heading, body) = text.split_once('\n').unwrap();
        let json = fenced(body, "json");
        let hex = fenced(body, "hex");
        Example {
            name: heading.rsplit(' ').next().unwrap().into(),
            header: json.lines().next().unwrap().into(),
            payload: json.lines().nth(1).map(str::to_owned),
            bytes: hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect(),
        }
    };
    section(11).split("\n### ").skip(1).map(parse).collect()
}

fn read(bytes: &[u8]) -> Frame {
    let mut parser = Parser::new();
    parser.push(bytes);
    let Some(Incoming::Frame(frame)) = parser.poll().unwrap() else { panic!("not a whole, undamaged frame") };
    parser.finish().unwrap();
    frame
}

fn camera() -> Source {
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

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        room: "standup".into(),
        name: "Ann".into(),
        client: "example 1.0".into(),
        key: None,
        proof: None,
        password: None,
        resume: None,
        subscribe: vec![TrackKind::Video],
        messages: None,
        offers: false,
        look: false,
    }
}

const NONCE: Secret<32> = Secret([0x5a; 32]);
const LOG: LogId = LogId([0x1d; 8]);
const SOURCE: SourceId = SourceId([0xc4; 16]);

/// The key that grows from 32 bytes of 0x07.
fn key() -> Key {
    Key::from_seed(&Secret([7; 32]))
}

fn log() -> Log {
    Log { id: LOG, last: 40, stored: true }
}

fn ack() -> Ack {
    Ack { source: SOURCE, relayed: 1, stored: 0, seq: 41, conflict: false }
}

fn token() -> Secret<16> {
    Secret(std::array::from_fn(|i| i as u8))
}

fn member(number: u32, name: &str) -> Member {
    Member { since: 1_700_000_000.0, ..Member::new(MemberId(number), name) }
}

/// What the example of this name says, made by the code.
fn operation(name: &str) -> Control {
    match name {
        "hello" => Control::Hello(hello()),
        "challenge" => Control::Challenge { nonce: NONCE },
        "hello-identity" => Control::Hello(Hello {
            key: Some(key().public()),
            proof: Some(key().prove(&NONCE, "standup")),
            messages: Some(Messages { log: None, after: None, history: 200 }),
            subscribe: Vec::new(),
            ..hello()
        }),
        "ack" => Control::Ack(ack()),
        "caught-up" => Control::CaughtUp { seq: 41 },
        "hello-look" => Control::Hello(Hello { subscribe: Vec::new(), offers: true, look: true, ..hello() }),
        "shown" => Control::State(State {
            members: vec![member(1, "Ann")],
            tracks: Vec::new(),
            room: Some(Room::default()),
            more: false,
        }),
        "shown-offers" => Control::Offers { count: 0 },
        "farewell" => Control::Goodbye(Goodbye::default()),
        "no-room" => Control::Error(Refusal::new(Code::Room, "there is no such room")),
        "older" => Control::Older { id: 6, before: 812, count: 200 },
        "hello-resume" => Control::Hello(Hello { resume: Some(token()), ..hello() }),
        "welcome" => Control::Welcome(Welcome {
            protocol: 1,
            server: "conf-serve 0.1.0".into(),
            epoch: "5f3a".into(),
            room: "standup".into(),
            session: SessionId(2),
            member: MemberId(2),
            name: "Ann".into(),
            token: token(),
            resumed: false,
            heartbeat_ms: limits::HEARTBEAT.as_millis() as u64,
            grace_ms: limits::GRACE.as_millis() as u64,
            log: Some(log()),
        }),
        "state" => Control::State(State {
            members: vec![member(1, "王小明"), member(2, "Ann")],
            tracks: vec![Track { track: TrackId(1), member: MemberId(1), source: camera() }],
            room: Some(Room::default()),
            more: false,
        }),
        "moderated" => Control::Moderated(Moderated {
            action: Action::Kick,
            member: Some(MemberId(3)),
            name: "Bo".into(),
            by: MemberId(2),
            by_name: "Ann".into(),
        }),
        "offer_gone" => Control::OfferGone {
            offer: OfferNumber(3),
            reason: Going::Withdrawn,
            by: Some(By { by: MemberId(2), by_name: "Ann".into() }),
        },
        "room" => Control::Room(Room {
            locked: true,
            sent_away: vec![SentAway { member: MemberId(3), name: "Bo".into(), by: "Ann".into() }],
        }),
        "publish" => Control::Publish(Publish { id: 1, source: camera() }),
        "published" => Control::Published { id: 1, track: TrackId(2) },
        "keyframe" => Control::Keyframe { track: TrackId(2), rendition: Rendition::High },
        "ping" => Control::Ping { id: 7 },
        "pong" => Control::Pong { id: 7 },
        "error" => Control::Error(Refusal::new(Code::Track, "track 1 is not yours")),
        "version" => Control::Error(Refusal {
            protocol: Some(PROTOCOL),
            ..Refusal::new(Code::Version, "this server speaks protocol 1")
        }),
        "goodbye" => Control::Goodbye(Goodbye {
            code: Some(Code::ShuttingDown),
            message: "the server restarts".into(),
            retry_after_ms: Some(1000),
        }),
        "tracks" => Control::Tracks(Tracks {
            tracks: vec![PipeTrack { track: TrackId(1), source: camera() }],
            feedback: Some("/run/user/1000/confkit/cam-42/feedback".into()),
        }),
        "offer" => Control::Offer(offer()),
        "offered" => Control::Offered(Offered {
            id: 1,
            offer: OfferNumber(3),
            stored: vec![[0, 2], [3, 4]],
            about: true,
            manifest: 1,
            sums: 0,
            sealed: false,
            more: false,
        }),
        "kept" => Control::Kept { offer: OfferNumber(3), chunks: vec![[2, 3]] },
        "seal" => Control::Seal(Seal { id: 2, offer: OfferNumber(3), chunks: 4, manifest: 1, sums: 1 }),
        "offer-state" => Control::OfferState(OfferState { to: None, direct: false, ..offer_state() }),
        "fetch" => Control::Fetch(Fetch {
            id: 5,
            offer: OfferNumber(3),
            part: Part::Chunk,
            ranges: vec![(0, Some(1)), (2, None)],
        }),
        other => panic!("the example {other} is not known here"),
    }
}

fn offer() -> Offer {
    Offer { id: 1, offer: OfferId([0x0f; 16]), chunk_size: 262_144, size: Some(1_000_000), to: None }
}

fn offer_state() -> OfferState {
    OfferState {
        offer: OfferNumber(3),
        offer_id: OfferId([0x0f; 16]),
        member: Some(MemberId(2)),
        name: "Ann".into(),
        key: Some(key().public()),
        to: Some(MemberId(1)),
        direct: true,
        size: Some(1_000_000),
        chunk_size: 262_144,
        kept: 4,
        chunks: Some(4),
        sealed: true,
        uploading: true,
        received: 0,
        since: 1_700_000_000.0,
        expires: 1_700_604_800.0,
    }
}

fn piece(part: Part, index: u32, payload: &[u8]) -> Option<Frame> {
    Some(Frame::file(Piece { offer: OfferNumber(3), part, index }, payload, WALL))
}

/// The same for media.
fn picture(name: &str) -> Option<Frame> {
    let media = Media { track: TrackId(2), seq: 0, pts: 0, key: true, rendition: Rendition::High, tid: 0 };
    match name {
        "video" => Some(Frame::video(
            media,
            &[
                0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0x2d, 0xe5, 0, 0, 0, 1, 0x68, 0xce,
                0x3c, 0x80, 0, 0, 0, 1, 0x65, 0x88, 0x84, 0x0f,
            ],
            WALL,
        )),
        "video-t2" => Some(Frame::video(
            Media { seq: 1, pts: 33_333, key: false, tid: 2, ..media },
            &[0, 0, 0, 1, 0x01, 0xe0, 0x23, 0x20],
            WALL,
        )),
        "message" => Some(message(None)),
        "message-relayed" => Some(message(Some(Receipt {
            seq: 41,
            prev: 40,
            from: MemberId(2),
            name: "Ann".into(),
            key: Some(key().public()),
            received: 1_700_000_000.5,
        }))),
        "topic" => Some(Frame::message(
            Letter { source: SOURCE, n: 2, to: None, slot: Some(Slot::topic()), receipt: None },
            &Content::Topic("Monday's plan".into()).to_payload(),
            WALL,
        )),
        "about" => piece(
            Part::About,
            0,
            br#"{"title":"report.pdf","files":1,"size":1000000,"kind":"files","first":["report.pdf"]}"#,
        ),
        "manifest" => piece(
            Part::Manifest,
            0,
            br#"{"files":[{"path":["report.pdf"],"size":1000000,"mtime":1700000000}]}"#,
        ),
        "chunk" => piece(Part::Chunk, 2, b"%PDF"),
        "sums" => {
            piece(Part::Sums, 0, br#"{"files":[{"md5":"0cc175b9c0f1b6a831c399e269772661","size":1000000}]}"#)
        }
        _ => None,
    }
}

fn message(receipt: Option<Receipt>) -> Frame {
    let letter = Letter { source: SOURCE, n: 1, to: None, slot: None, receipt };
    Frame::message(letter, &Content::Text("你好, everybody".into()).to_payload(), WALL)
}

#[test]
fn the_examples_of_the_page_read_as_it_says() {
    let examples = examples();
    assert!(examples.len() >= 15, "{} examples", examples.len());
    for example in &examples {
        let frame = read(&example.bytes);
        let length = u32::from_be_bytes(*example.bytes.first_chunk().unwrap()) as usize;
        assert_eq!(&example.bytes[4..4 + length], example.header.as_bytes(), "{}", example.name);
        if let Some(expected) = picture(&example.name) {
            assert_eq!(frame.header, expected.header, "{}", example.name);
            assert_eq!(frame.payload(), expected.payload(), "{}", example.name);
        } else {
            let text = example.payload.as_deref().expect("a control frame has text for a payload");
            assert_eq!(frame.payload(), text.as_bytes(), "{}", example.name);
            assert_eq!(frame.operation().unwrap(), operation(&example.name), "{}", example.name);
        }
    }
}

/// Not a check: writes the examples of the page anew where `CONF_WRITE_EXAMPLES` is set.
#[test]
fn the_examples_can_be_written_anew() {
    if std::env::var_os("CONF_WRITE_EXAMPLES").is_none() {
        return;
    }
    let mut page = PAGE.to_owned();
    for text in section(11).split("\n### ").skip(1) {
        let (heading, body) = text.split_once('\n').unwrap();
        let name = heading.rsplit(' ').next().unwrap();
        let frame = picture(name).unwrap_or_else(|| Frame::control(&operation(name), WALL));
        let length = u32::from_be_bytes(*frame.bytes().first_chunk().unwrap()) as usize;
        let header = std::str::from_utf8(&frame.bytes()[4..4 + length]).unwrap();
        let json = match std::str::from_utf8(frame.payload()) {
            Ok(payload) if payload.starts_with('{') => format!("{header}\n{payload}"),
            _ => header.to_owned(),
        };
        let bytes: Vec<String> = frame.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let lines: Vec<String> = bytes.chunks(32).map(|line| line.join(" ")).collect();
        let anew = body.replace(fenced(body, "json"), &json).replace(fenced(body, "hex"), &lines.join("\n"));
        page = page.replace(body, &anew);
    }
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md"), page).unwrap();
}

#[test]
fn the_examples_of_the_page_are_what_the_code_writes() {
    for example in examples() {
        let frame = picture(&example.name).unwrap_or_else(|| Frame::control(&operation(&example.name), WALL));
        assert_eq!(confkit::id::hex(frame.bytes()), confkit::id::hex(&example.bytes), "{}", example.name);
    }
}

/// One of every operation with every key set. A new variant or field does not compile until it is
/// added here, and then fails until it stands in the page.
fn all_operations() -> Vec<Control> {
    let all: Vec<Control> = vec![
        Control::Hello(Hello {
            key: Some(key().public()),
            proof: Some(key().prove(&NONCE, "standup")),
            password: Some(NONCE),
            resume: Some(token()),
            messages: Some(Messages { log: Some(LOG), after: Some(1), history: 200 }),
            offers: true,
            look: true,
            ..hello()
        }),
        operation("welcome"),
        operation("state"),
        Control::Member(Member {
            key: Some(key().public()),
            host: true,
            muted: true,
            away: Some("lunch".into()),
            typing: true,
            watching: true,
            connection: Quality::Poor,
            ..member(1, "Ann")
        }),
        Control::MemberLeft { member: MemberId(1) },
        Control::Publish(Publish { id: 1, source: Source { muted: true, ..camera() } }),
        operation("published"),
        Control::Unpublish { track: TrackId(1) },
        Control::Track(Track {
            track: TrackId(1),
            member: MemberId(1),
            source: Source { muted: true, ..camera() },
        }),
        Control::TrackGone { track: TrackId(1) },
        Control::Subscribe { tracks: vec![TrackId(1)] },
        Control::Unsubscribe { tracks: vec![TrackId(1)] },
        operation("keyframe"),
        operation("ping"),
        operation("pong"),
        operation("goodbye"),
        Control::Error(Refusal {
            code: Code::Version,
            message: "no".into(),
            retry_after_ms: Some(1),
            id: Some(1),
            protocol: Some(PROTOCOL),
            source: Some(SOURCE),
            n: Some(1),
            piece: Some(Box::new(Piece { offer: OfferNumber(3), part: Part::Chunk, index: 2 })),
        }),
        operation("tracks"),
        operation("challenge"),
        operation("room"),
        Control::Status(Status { typing: Some(true), away: Some(Some("lunch".into())) }),
        Control::Rename { id: 1, name: "Anna".into() },
        Control::Moderate { id: 1, action: Action::Kick, member: Some(MemberId(3)) },
        operation("moderated"),
        Control::Done { id: 1 },
        Control::Ack(Ack { conflict: true, ..ack() }),
        Control::Gap(Gap { from: 1, to: 2, reason: GapReason::Crash }),
        Control::CaughtUp { seq: 41 },
        operation("older"),
        Control::Storage { stored: false, message: "the disk is full".into() },
        Control::Offer(Offer { to: Some(MemberId(1)), ..offer() }),
        operation("offered"),
        operation("kept"),
        operation("seal"),
        Control::Withdraw { id: 1, offer: OfferNumber(3), reason: Going::Changed },
        Control::OfferState(offer_state()),
        operation("offer_gone"),
        Control::Offers { count: 2 },
        operation("fetch"),
        Control::Unfetch { id: 5 },
        Control::Received { offer: OfferNumber(3) },
    ];
    let mut seen = BTreeSet::new();
    for operation in &all {
        seen.insert(match operation {
            Control::Hello(_) => 0,
            Control::Welcome(_) => 1,
            Control::State(_) => 2,
            Control::Member(_) => 3,
            Control::MemberLeft { .. } => 4,
            Control::Publish(_) => 5,
            Control::Published { .. } => 6,
            Control::Unpublish { .. } => 7,
            Control::Track(_) => 8,
            Control::TrackGone { .. } => 9,
            Control::Subscribe { .. } => 10,
            Control::Unsubscribe { .. } => 11,
            Control::Keyframe { .. } => 12,
            Control::Ping { .. } => 13,
            Control::Pong { .. } => 14,
            Control::Goodbye(_) => 15,
            Control::Error(_) => 16,
            Control::Tracks(_) => 17,
            Control::Challenge { .. } => 18,
            Control::Room(_) => 19,
            Control::Status(_) => 20,
            Control::Rename { .. } => 21,
            Control::Moderate { .. } => 22,
            Control::Done { .. } => 23,
            Control::Ack(_) => 24,
            Control::Gap(_) => 25,
            Control::CaughtUp { .. } => 26,
            Control::Storage { .. } => 27,
            Control::Offer(_) => 28,
            Control::Offered(_) => 29,
            Control::Kept { .. } => 30,
            Control::Seal(_) => 31,
            Control::Withdraw { .. } => 32,
            Control::OfferState(_) => 33,
            Control::OfferGone { .. } => 34,
            Control::Offers { .. } => 35,
            Control::Fetch(_) => 36,
            Control::Unfetch { .. } => 37,
            Control::Received { .. } => 38,
            Control::Older { .. } => 39,
            Control::Moderated(_) => 40,
            Control::Unknown => unreachable!("is never sent"),
        });
    }
    assert_eq!(seen.len(), 41, "one of every operation");
    all
}

#[test]
fn every_operation_and_key_stands_in_section_4() {
    let page = section(4);
    for operation in all_operations() {
        let json: serde_json::Value =
            serde_json::from_slice(Frame::control(&operation, 0).payload()).unwrap();
        let keys = json.as_object().unwrap();
        let op = keys["op"].as_str().unwrap();
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{op}` |")))
            .unwrap_or_else(|| panic!("section 4 has no row for {op}"));
        let cell = row.rsplit('|').nth(1).unwrap();
        let listed: BTreeSet<&str> = cell.split('`').skip(1).step_by(2).collect();
        let written: BTreeSet<&str> = keys.keys().map(String::as_str).filter(|&key| key != "op").collect();
        let missing: Vec<_> = written.difference(&listed).collect();
        assert!(missing.is_empty(), "{op}: the page does not list {missing:?}");
        let surplus: Vec<_> = listed.difference(&written).filter(|&&key| key != "more").collect();
        assert!(surplus.is_empty(), "{op}: the code does not write {surplus:?}");
    }
}

#[test]
fn keys_that_the_page_marks_optional_may_be_absent_and_no_others() {
    for operation in all_operations() {
        let json: serde_json::Value =
            serde_json::from_slice(Frame::control(&operation, 0).payload()).unwrap();
        let op = json["op"].as_str().unwrap().to_owned();
        let row = section(4).lines().find(|line| line.starts_with(&format!("| `{op}` |"))).unwrap();
        for key in json.as_object().unwrap().keys().filter(|key| *key != "op") {
            let mut without = json.clone();
            without.as_object_mut().unwrap().remove(key);
            let payload = serde_json::to_vec(&without).unwrap();
            let read = Frame::new(confkit::wire::Kind::Control, None, &payload, 0).operation();
            let optional = row.contains(&format!("`{key}`?"));
            assert_eq!(read.is_ok(), optional, "{op} without {key}: {read:?}");
        }
    }
}

#[test]
fn every_header_key_stands_in_section_3() {
    for frame in [picture("video"), picture("message-relayed"), picture("topic"), picture("chunk")] {
        let frame = frame.unwrap();
        let length = u32::from_be_bytes(*frame.bytes().first_chunk().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&frame.bytes()[4..4 + length]).unwrap();
        for key in header.as_object().unwrap().keys() {
            assert!(section(3).contains(&format!("\n| `{key}` |")), "section 3 has no row for {key}");
        }
    }
}

#[test]
fn every_code_stands_in_section_8_and_no_other() {
    let source = include_str!("../../src/wire/error.rs");
    let in_code: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \"")?.1.strip_suffix("\","))
        .filter(|&code| code != "unknown")
        .collect();
    let in_page: BTreeSet<&str> =
        section(8).lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0)).collect();
    assert!(in_code.len() >= 16);
    assert_eq!(in_code, in_page);
    for code in in_page {
        let read: Code = serde_json::from_value(code.into()).unwrap();
        assert_eq!(read.as_str(), code);
    }
}

/// Limits that no peer can notice.
const OWN: &[&str] = &[
    "DRAIN",
    "DESCRIPTORS",
    "READ",
    "NOTSENT_LOWAT",
    "DECODERS",
    "WAKE",
    "LOG_RING",
    "LOG_BYTES",
    "LOGS_BYTES",
    "PAGE",
    "PAGE_BYTES",
    "WINDOW_BYTES",
    "NOTSENT_LOWAT_BULK",
    "NOTSENT_LOWAT_YIELDING",
    "READ_LEAST",
    "STORE_FREE",
    "CHUNK_STEP",
    "TRANSFERS",
];

#[test]
fn every_limit_stands_in_section_9_with_its_value() {
    let mut known = BTreeSet::new();
    let mut row = |name: &'static str, value: String| {
        known.insert(name);
        let found = section(9).lines().any(|line| line.starts_with(&format!("| {name} | {value} |")));
        assert!(found, "section 9 has no row | {name} | {value} |");
    };
    macro_rules! rows {
        ($text:ident: $($name:ident)*) => { $(row(stringify!($name), $text(limits::$name));)* };
    }
    let plain = |n: usize| n.to_string();
    rows!(plain: HEADER HEADER_BEFORE_ADMISSION HEADER_KEYS HEADER_DEPTH CONTROL MESSAGE AUDIO FILE VIDEO EXTENSION
        NAME ROOM LABEL SENTENCE MARKS QUEUE QUEUE_RELIABLE GOP_CACHE GOP_CACHES GOP_CACHE_PICTURES DAMAGED MEMBERS SESSIONS
        TRACKS ROOM_TRACKS ROOMS ROOMS_PER_ADDRESS LOOKERS_PER_ADDRESS PENDING_PER_ADDRESS CONNECTIONS_PER_ADDRESS PICTURE_WIDTH
        PICTURE_HEIGHT ABOUT PIECE ENTRIES COMPONENTS COMPONENT OFFERS OPEN_OFFERS UPLOAD_WINDOW FETCHES FETCH_RANGES REASON SOURCES SLOTS HOSTS SENT_AWAY OUTBOX OUTBOX_BYTES WINDOW);
    let medium = |n: u32| n.to_string();
    let large = |n: u64| n.to_string();
    rows!(large: INTEGER FRAME_RATE AHEAD YIELD_FLOOR);
    rows!(medium: HISTORY CHUNK_MIN CHUNK_MAX CHUNKS PIECES);
    let seconds = |span: Duration| format!("{} s", span.as_secs_f64());
    rows!(seconds: HELLO LOOK HEARTBEAT SILENCE PAUSE FRAME_GRACE WRITE_STALL GRACE ROOM_GRACE PIPE_GRACE BACKOFF_FIRST BACKOFF_LAST
        QUEUE_AGE_T2 QUEUE_AGE_T1 QUEUE_AGE_GOP KEYFRAME_INTERVAL KEYFRAME_OVERDUE FLOOD DAMAGED_WINDOW TYPING GATHER KICKED OFFER_NEWS ANSWER STALLED YIELD_AGE);
    let rate = |(each, burst): (u32, u32)| format!("{each}/s, burst {burst}");
    rows!(rate: CONTROL_RATE MESSAGE_RATE EXTENSION_RATE MEDIA_RATE TRIES);
    let bytes = |(each, burst): (u64, u64)| format!("{each}/s, burst {burst}");
    rows!(bytes: INGRESS_RATE);

    for line in include_str!("../../src/limits.rs").lines() {
        let Some(name) = line.strip_prefix("pub const ").and_then(|rest| rest.split_once(':')) else {
            continue;
        };
        assert!(known.contains(name.0) || OWN.contains(&name.0), "section 9 does not speak of {}", name.0);
    }
}
