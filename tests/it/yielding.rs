//! A file and a meeting on the same thin line: the pictures come first, and the file still comes.
#![allow(clippy::disallowed_methods)] // Pictures are sent by the clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use confkit::server::depot::{Depot, Keep};
use confkit::wire::control::{Control, Hello, TrackKind};
use confkit::wire::offer::Fetch;
use confkit::wire::{Frame, Kind, Media, Part, Rendition};
use confkit::{limits, server, time};

use crate::support::files::{content, wants_offers};
use crate::support::peer::{Host, Peer, hello};
use crate::support::thin::Thin;

/// Bytes per second of the line, and of the pictures.
const LINE: f64 = 600e3;
const PICTURE: usize = 6_000;
const INTERVAL: Duration = Duration::from_millis(33);
/// What is looked at, and what is passed over before: until then the line is not known.
const SPAN: Duration = Duration::from_secs(8);
const BEFORE: Duration = Duration::from_secs(2);

/// Pictures, and bytes of a file, over one line.
#[derive(Debug, Default)]
struct Meeting {
    /// Milliseconds from sending to arrival.
    delays: Vec<u64>,
    /// Pictures that were not sent.
    missing: u64,
    /// Bytes of the file.
    bytes: usize,
}

impl Meeting {
    fn delay(&self, part: f64) -> u64 {
        let mut delays = self.delays.clone();
        delays.sort_unstable();
        delays[(delays.len() as f64 * part) as usize]
    }
}

/// Sends pictures in three layers until it is stopped; each begins with when it was sent.
fn publish(address: SocketAddr, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    let (mut ann, _) = Peer::join(address, "Ann");
    let track = ann.publish("camera");
    std::thread::spawn(move || {
        let start = time::now();
        for seq in 0.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let key = seq % 60 == 0;
            let tid = [0, 2, 1, 2][seq as usize % 4];
            let media = Media { track, seq, pts: seq * 33_000, key, rendition: Rendition::High, tid };
            let mut payload = vec![7; if key { 3 * PICTURE } else { PICTURE }];
            payload[..8].copy_from_slice(&time::now().micros().to_be_bytes());
            ann.send(Frame::video(media, &payload, 0).bytes());
            std::thread::sleep((start + INTERVAL * (seq as u32 + 1)).since(time::now()));
        }
    })
}

/// Watches for a while; the pictures behind `BEFORE`.
fn watch(mut bob: Peer) -> Meeting {
    let (start, mut meeting, mut last) = (time::now(), Meeting::default(), None);
    loop {
        let frame = bob.next().expect("the meeting goes on");
        if frame.header.kind == Kind::Control {
            if let Ok(Control::Ping { id }) = frame.operation() {
                bob.say(&Control::Pong { id });
            }
            continue;
        }
        let (now, media) = (time::now(), frame.header.media.unwrap());
        let sent = u64::from_be_bytes(frame.payload()[..8].try_into().unwrap());
        if now.since(start) > BEFORE {
            meeting.delays.push((now.micros() - sent) / 1_000);
            meeting.missing += last.map_or(0, |last: u64| media.seq - last - 1);
        }
        last = Some(media.seq);
        if now.since(start) > BEFORE + SPAN {
            return meeting;
        }
    }
}

fn meet(unyielding: bool, with_file: bool) -> Meeting {
    let depot = Depot::open(None, Keep::default()).unwrap();
    let config = server::Config { depot: Some(depot), unyielding, ..server::Config::default() };
    let host = Host::with(config);
    let mut cy = Peer::connect(host.address);
    cy.hello(hello("Cy"));
    let offer = cy.upload(1, &content(1, 24 * 1024 * 1024));
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = publish(host.address, Arc::clone(&stop));
    let line = Thin::to(host.address, LINE, 64 * 1024);
    let mut bob = Peer::connect(line.address);
    bob.hello(Hello { subscribe: vec![TrackKind::Video], ..hello("Bob") });
    bob.wait_for(&Kind::Video);
    let watching = std::thread::spawn(move || watch(bob));
    let mut bytes = 0;
    if with_file {
        let mut dora = Peer::connect(line.address);
        dora.hello(wants_offers("Dora"));
        dora.say(&Control::Fetch(Fetch { id: 5, offer, part: Part::Chunk, ranges: vec![(0, None)] }));
        while !watching.is_finished() {
            bytes += dora.some();
        }
    }
    let meeting = watching.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    publishing.join().unwrap();
    Meeting { bytes, ..meeting }
}

#[test]
fn f30_on_a_thin_line_pictures_do_not_wait_for_a_file_and_the_file_still_comes() {
    let runs = [(true, true), (false, true), (false, false)];
    let runs = runs.map(|(unyielding, file)| std::thread::spawn(move || meet(unyielding, file)));
    let [without, with, alone] = runs.map(|run| run.join().unwrap());
    for (name, meeting) in [("unyielding", &without), ("yielding", &with), ("no file", &alone)] {
        eprintln!(
            "{name}: {} pictures, {} missing, delay p50 {} ms, p95 {} ms, max {} ms; {} bytes of the file",
            meeting.delays.len(),
            meeting.missing,
            meeting.delay(0.5),
            meeting.delay(0.95),
            meeting.delay(1.0 - 1e-9),
            meeting.bytes
        );
    }
    // Layers are dropped when the oldest picture has waited for 60 ms.
    assert!(with.missing <= with.delays.len() as u64 / 50, "{} pictures were dropped", with.missing);
    let stage = limits::QUEUE_AGE_T2.as_millis() as u64;
    assert!(without.delay(0.5) > stage + alone.delay(0.5), "the line is not thin");
    assert!(with.delay(0.5) < stage + alone.delay(0.5), "pictures wait for the file");
    assert!(with.delay(0.95) < without.delay(0.95));
    let seconds = (BEFORE + SPAN).as_secs();
    assert!(with.bytes as u64 > limits::YIELD_FLOOR * seconds / 2, "{} bytes: it starves", with.bytes);
}

#[test]
fn what_uploads_from_a_line_whose_pictures_come_late_is_read_more_slowly() {
    let depot = Depot::open(None, Keep::default()).unwrap();
    let host = Host::with(server::Config { depot: Some(depot), ..server::Config::default() });
    let (mut ann, _) = Peer::join(host.address, "Ann");
    let track = ann.publish("camera");
    let picture = move |seq: u64, late: u64| {
        let media = Media {
            track,
            seq,
            pts: time::now().micros() - late,
            key: seq == 0,
            rendition: Rendition::High,
            tid: 0,
        };
        Frame::video(media, &[7; 100], 0)
    };
    ann.send(picture(0, 0).bytes());
    let mut cy = Peer::connect(host.address);
    cy.hello(hello("Cy"));
    let number = cy.offer(&crate::support::files::offer(1, None)).offer;
    // Pictures that take 200 ms longer than the first one have waited at home.
    let stop = Arc::new(AtomicBool::new(false));
    let late = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            for seq in 1.. {
                if stop.load(Ordering::Relaxed) {
                    return ann;
                }
                ann.send(picture(seq, 200_000).bytes());
                std::thread::sleep(INTERVAL);
            }
            ann
        }
    });
    let (start, mut kept) = (time::now(), 0);
    let mut feeding = cy.socket.try_clone().unwrap();
    std::thread::spawn(move || {
        for index in 0..40 {
            let chunk = content(index as u8, 256 * 1024);
            let frame = crate::support::files::piece(number, Part::Chunk, index, &chunk);
            if std::io::Write::write_all(&mut feeding, frame.bytes()).is_err() {
                return;
            }
        }
    });
    while time::now().since(start) < Duration::from_secs(4) {
        kept += kept_now(&mut cy);
    }
    assert!(kept < 20, "{kept} chunks in 4 s");
    // Afterwards it is quick again.
    stop.store(true, Ordering::Relaxed);
    let _ann = late.join().unwrap();
    while kept < 40 {
        kept += kept_now(&mut cy);
    }
}

/// Chunks of the next message about some that are kept.
fn kept_now(peer: &mut Peer) -> u32 {
    peer.wait(|op| match op {
        Control::Kept { chunks, .. } => Some(chunks.iter().map(|[from, to]| to - from).sum()),
        Control::Error(refusal) => panic!("{refusal:?}"),
        _ => None,
    })
}
