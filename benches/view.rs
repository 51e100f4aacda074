//! Pictures per second that are decoded, drawn, and seen by a meeting of nine: `make bench-view`.
#![allow(missing_docs, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use confkit::id::TrackId;
use confkit::media::{Picture, Quality, Size};
use confkit::time::{self, Moment};
use confkit::video::decode::{Decoder, InProcess, Isolated};
use confkit::video::encode::{Config, Encoder, OpenH264};
use confkit::video::render::compose::{Composer, Scene, Tile};
use confkit::wire::control::{PipeTrack, Source, TrackKind, Tracks};
use confkit::wire::{Control, Frame, Media, Rendition};

const VIEWER: &str = env!("CARGO_BIN_EXE_conf-view");
const SIZE: Size = Size { width: 640, height: 480 };
const WINDOW: (usize, usize) = (1280, 720);
const TRACKS: usize = 9;
const FPS: u64 = 30;
/// What has to be reached on one core: nine tracks at 30 a second.
const NEEDED: f64 = (TRACKS as u64 * FPS) as f64;

fn main() {
    let units = stream();
    println!("{:<64} {:>10}  target", "nine tracks of 640x480 at 30/s", "measured");
    decode(&units);
    compose();
    meeting(&units);
}

fn row(what: &str, measured: String, target: &str) {
    println!("{what:<64} {measured:>10}  {target}");
}

/// Two seconds of something like a person before a wall; the first is a keyframe and no other.
fn stream() -> Vec<(Bytes, bool)> {
    let bitrate = Quality::bitrate(SIZE, FPS as f64);
    let mut encoder = OpenH264::new(Config { fps: FPS as f64, bitrate });
    let encode = |number: usize| {
        let mut picture = scene(number);
        picture.captured = Moment::from_micros(number as u64 * 1_000_000 / FPS);
        encoder.encode(&picture, number == 0).expect("encodes").map(|unit| (unit.data, unit.key))
    };
    (0..60).filter_map(encode).collect()
}

fn scene(number: usize) -> Picture {
    let mut picture = Picture::black(SIZE.width, SIZE.height, Moment::default());
    let (centre, radius) = (SIZE.width / 2 + (number % 30) * 2, SIZE.height / 3);
    let mut noise = number as u64 + 1;
    let (y, u, _) = picture.planes_mut();
    for (at, pixel) in y.iter_mut().enumerate() {
        let (x, row) = (at % SIZE.width, at / SIZE.width);
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let inside = x.abs_diff(centre).pow(2) + row.abs_diff(SIZE.height / 2).pow(2) < radius * radius;
        let value =
            if inside { 120 + (x + radius + row - centre) % 64 } else { 60 + (x + row) * 40 / SIZE.width };
        *pixel = (value as u64 + (noise >> 62)) as u8;
    }
    u.fill(110);
    picture
}

/// (a) What a process of its own costs. Turns alternate, so that what else runs here meets both.
fn decode(units: &[(Bytes, bool)]) {
    let mut here = InProcess::default();
    let mut there = Isolated::start(Path::new(VIEWER)).expect("the decoder starts");
    let mut rates = [0f64; 2];
    for _ in 0..5 {
        let backends: [&mut dyn Decoder; 2] = [&mut here, &mut there];
        for (rate, decoder) in rates.iter_mut().zip(backends) {
            let began = time::now();
            for (unit, _) in units {
                decoder.decode(unit, false).expect("decodes").expect("a picture each");
            }
            *rate = rate.max(units.len() as f64 / time::now().since(began).as_secs_f64());
        }
    }
    let at_least = format!("> {NEEDED:.0}");
    row("decode in this process, pictures/s", format!("{:.0}", rates[0]), &at_least);
    row("decode in a process of its own, pictures/s", format!("{:.0}", rates[1]), &at_least);
    row("  of what it is in this process", format!("{:.2}", rates[1] / rates[0]), "> 0.8");
}

/// (b) Every picture of every tile is new each time.
fn compose() {
    let pictures: Vec<Arc<Picture>> = (0..TRACKS * 2).map(|n| Arc::new(scene(n))).collect();
    let mut composer = Composer::default();
    let mut paint = |turn: usize| {
        let tiles = (0..TRACKS)
            .map(|i| Tile {
                id: i as u64,
                name: format!("member {i}"),
                picture: Some(Arc::clone(&pictures[(turn % 2) * TRACKS + i])),
                ..Tile::default()
            })
            .collect();
        composer.paint(&Scene { tiles, ..Scene::default() }, WINDOW.0, WINDOW.1)
    };
    paint(0);
    let began = time::now();
    const TURNS: usize = 200;
    for turn in 1..=TURNS {
        assert!(paint(turn), "all of it is new");
    }
    let seconds = time::now().since(began).as_secs_f64();
    let drawn = (TURNS * TRACKS) as f64 / seconds;
    row("draw into 1280x720, pictures/s on one core", format!("{drawn:.0}"), &format!("> {NEEDED:.0}"));
    row("  milliseconds for all nine", format!("{:.2}", seconds * 1000.0 / TURNS as f64), "< 33");
}

/// (c) The program itself: nine tracks through its pipe, in a window where there is Xvfb.
fn meeting(units: &[(Bytes, bool)]) {
    let display = Display::start();
    let mut command = Command::new(VIEWER);
    command.args(["-", "--size", "1280x720", "--stats=json"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    match &display {
        Some(display) => command.env("DISPLAY", &display.name),
        None => command.arg("--no-window"),
    };
    let mut viewer = command.spawn().expect("conf-view starts");
    let mut input = viewer.stdin.take().expect("piped");
    let output = BufReader::new(viewer.stdout.take().expect("piped"));
    let reader = std::thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        lines.filter_map(|line| serde_json::from_str(&line).ok()).collect::<Vec<serde_json::Value>>()
    });
    let began = time::now();
    let seconds = 8;
    send(units, &mut input, began, FPS * seconds);
    let load = load(viewer.id()) / time::now().since(began).as_secs_f64();
    drop(input);
    viewer.wait().expect("conf-view ends");
    let reports = reader.join().expect("no panic");
    // The first two seconds hold the start of nine decoders.
    let steady = || reports.iter().filter(|r| r["type"] == "track").skip(TRACKS * 2);
    let of = |key: &'static str| steady().filter_map(move |report| report[key].as_f64());
    let slowest = of("fps").fold(f64::MAX, f64::min);
    let mean = of("fps").sum::<f64>() / of("fps").count().max(1) as f64;
    let place = if display.is_some() { "in a window of 1280x720" } else { "without a window" };
    row(&format!("conf-view, {place}: pictures/s per track, mean"), format!("{mean:.1}"), "30");
    row("  slowest track in any second", format!("{slowest:.1}"), "> 29");
    let drops = of("drops").fold(0.0, f64::max);
    row("  drops of the worst track", format!("{drops:.0}"), "0");
    row("  cores used by it and its decoders", format!("{load:.2}"), "< 1.5");
}

/// Each track at its own phase, as people do not start their cameras together.
fn send(units: &[(Bytes, bool)], out: &mut impl Write, began: Moment, pictures: u64) {
    let track = |i: usize| TrackId(i as u32 + 1);
    let source = |i: usize| Source {
        kind: TrackKind::Video,
        label: format!("member {i}"),
        codec: "h264".into(),
        width: SIZE.width as u32,
        height: SIZE.height as u32,
        fps: FPS as f64,
        muted: false,
    };
    let tracks = (0..TRACKS).map(|i| PipeTrack { track: track(i), source: source(i) }).collect();
    let announcement = Frame::control(&Control::Tracks(Tracks { tracks, feedback: None }), time::wall());
    out.write_all(announcement.bytes()).expect("conf-view reads");
    for seq in 0..pictures {
        let (data, key) = &units[seq as usize % units.len()];
        for i in 0..TRACKS {
            let offset = (seq * TRACKS as u64 + i as u64) * 1_000_000 / (FPS * TRACKS as u64);
            let due = began + Duration::from_micros(offset);
            while !due.since(time::now()).is_zero() {
                std::thread::park_timeout(due.since(time::now()));
            }
            let pts = seq * 1_000_000 / FPS;
            let media = Media { track: track(i), seq, pts, key: *key, rendition: Rendition::High, tid: 0 };
            out.write_all(Frame::video(media, data, time::wall()).bytes()).expect("conf-view reads");
        }
    }
}

/// Seconds of CPU that a process and its children have used.
fn load(process: u32) -> f64 {
    let read = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let children: String = std::fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|task| read(format!("{}/children", task.path().display())))
        .collect();
    let ticks = |process: &str| -> f64 {
        let stat = read(format!("/proc/{process}/stat"));
        // Behind the name, which may hold anything: fields 14 and 15, in hundredths of a second.
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
        fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum()
    };
    (ticks(&process.to_string()) + children.split_whitespace().map(ticks).sum::<f64>()) / 100.0
}

/// A virtual display of its own.
struct Display {
    server: Child,
    name: String,
}

impl Display {
    fn start() -> Option<Self> {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1300x800x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(server.stdout.take()?).read_line(&mut line).ok()?;
        Some(Self { server, name: format!(":{}", line.trim()) })
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
