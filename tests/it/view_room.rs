//! conf-view in a room whose server fails: the window keeps what it has, says so, and goes on by itself.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::programs::{Running, Serve};
use crate::support::talk::{Lines, Town};
use crate::view::{Display, is};

/// Longer than anything that is waited for in a test that succeeds.
const PATIENCE: Duration = Duration::from_secs(40);
const BANNER: [u8; 3] = [0xff, 0xb4, 0x54];
const OWN: [u8; 3] = [0x6c, 0xb6, 0xff];
const SAID: [u8; 3] = [0x8b, 0x95, 0xa1];
const EMPTY: [u8; 3] = [0x11, 0x14, 0x18];
/// A tile without a picture.
const OFF: [u8; 3] = [0x1e, 0x23, 0x29];

fn program(path: &str, room: &str, identity: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(path);
    command.args(arguments).args(["--quiet"]).env("CONF_ROOM", room).env("CONF_IDENTITY_FILE", identity);
    command.env("CONF_NAME", "Ann").stdin(Stdio::null()).stderr(Stdio::null());
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    command
}

/// A camera that shows bars in the room, as `identity`.
fn camera(room: &str, identity: &Path) -> [Running; 2] {
    let arguments = ["--video", "test:bars", "--size", "320x240"];
    let mut cam = program(env!("CARGO_BIN_EXE_conf-cam"), room, identity, &arguments);
    let mut cam = Running::start({
        cam.stdout(Stdio::piped());
        cam
    });
    let mut send = program(env!("CARGO_BIN_EXE_conf-send"), room, identity, &[]);
    send.stdin(Stdio::from(cam.child.stdout.take().unwrap())).stdout(Stdio::null());
    [cam, Running::start(send)]
}

/// conf-view on a display, and what it reports.
struct Viewer {
    _running: Running,
    reports: Receiver<Value>,
}

impl Viewer {
    fn start(room: &str, identity: &Path, display: &Display) -> Self {
        let arguments = ["--size", "640x520", "--stats=json"];
        let mut command = program(env!("CARGO_BIN_EXE_conf-view"), room, identity, &arguments);
        command.env("DISPLAY", &display.name).stdout(Stdio::piped());
        let mut running = Running::start(command);
        let lines = BufReader::new(running.child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (to, reports) = sync_channel(4096);
        std::thread::spawn(move || {
            lines.map(|line| serde_json::from_str(&line).unwrap()).all(|report| to.send(report).is_ok())
        });
        Self { _running: running, reports }
    }

    fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Vec::new();
        loop {
            match self.reports.recv_timeout(PATIENCE) {
                Ok(report) if wanted(&report) => return report,
                Ok(report) => seen.push(report),
                Err(_) => panic!("never {what}; the last was {:?}", seen.last()),
            }
            assert!(seen.len() < 200, "never {what}; the last was {:?}", seen.last());
        }
    }

    fn session(&self, state: &str) -> Value {
        self.until(state, |report| report["type"] == "session" && report["state"] == state)
    }

    fn flowing(&self) -> Value {
        self.until("flowing", |report| report["fps"].as_f64().is_some_and(|fps| fps > 5.0))
    }
}

/// The bars fill the middle of the window, with or without a banner above them.
fn shows(pixels: &[[u8; 3]], width: usize, banner: bool) -> bool {
    let at = |x: usize, y: usize| pixels[y * width + x];
    is(at(2, 2), BANNER) == banner
        && (40..600).step_by(80).any(|x| !is(at(x, 250), EMPTY) && at(x, 250) != [0; 3])
}

#[test]
fn a_snapshot_of_a_room_where_nobody_sends_says_so_and_ends() {
    let home = tempfile::tempdir().unwrap();
    let server = Serve::start();
    let path = home.path().join("room.png");
    let arguments = ["--snapshot", path.to_str().unwrap()];
    let command =
        program(env!("CARGO_BIN_EXE_conf-view"), &server.room, &home.path().join("bob"), &arguments);
    assert_eq!(Running::start(command).wait(Duration::from_secs(15)), 0);
    assert!(path.exists());
}

#[test]
fn only_shows_who_was_asked_for_and_nobody_else() {
    let home = tempfile::tempdir().unwrap();
    let server = Serve::start();
    let _camera = camera(&server.room, &home.path().join("ann"));
    let arguments = ["--no-window", "--stats=text"];
    let mut watcher =
        program(env!("CARGO_BIN_EXE_conf-view"), &server.room, &home.path().join("bob"), &arguments);
    watcher.env("CONF_NAME", "Bob").stdout(Stdio::piped());
    let mut watcher = Running::start(watcher);
    let said = BufReader::new(watcher.child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let told: Vec<String> = said.take_while(|line| !line.starts_with("Ann / test: 3")).collect();
    assert!(told.iter().any(|line| line == "connected"), "{told:?}");
    let tiles = |arguments: &[&str]| {
        let path = home.path().join("room.png");
        let shot = ["--snapshot", path.to_str().unwrap(), "--size", "640x480"];
        let mut command = program(
            env!("CARGO_BIN_EXE_conf-view"),
            &server.room,
            &home.path().join("cy"),
            &[&shot, arguments].concat(),
        );
        command.env("CONF_NAME", "Cy");
        assert_eq!(Running::start(command).wait(Duration::from_secs(20)), 0);
        let pixels = crate::view::png(&path).1;
        pixels.iter().filter(|pixel| is(**pixel, OFF)).count()
    };
    assert!(tiles(&[]) > 20_000, "Bob has a tile, and his camera is off");
    assert!(tiles(&["--only", "ANN/test"]) < 2_000 && tiles(&["--only", "an"]) < 2_000);
}

#[test]
fn the_server_is_restarted_and_one_s_own_picture_stays_and_comes_again() {
    let Some(display) = Display::start() else { return };
    let home = tempfile::tempdir().unwrap();
    let identity = home.path().join("ann");
    let server = Serve::start();
    let _camera = camera(&server.room, &identity);
    let viewer = Viewer::start(&server.room, &identity, &display);
    assert_eq!(viewer.flowing()["own"], true);
    let window = display.window();
    display.until(&window, "the picture, marked as one's own", |width, pixels| {
        shows(pixels, width, false) && pixels[480 * width..].iter().any(|pixel| is(*pixel, OWN))
    });
    let address = server.address.to_string();
    drop(server);
    let lost = viewer.session("reconnecting");
    assert!(lost["reason"].is_string() && lost["attempt"].is_u64(), "{lost}");
    display.until(&window, "the last picture under a banner", |width, pixels| shows(pixels, width, true));
    let _again = Serve::at(&address);
    viewer.session("up");
    assert_eq!(viewer.flowing()["own"], true);
    display.until(&window, "the picture again", |width, pixels| shows(pixels, width, false));
}

#[test]
fn s24_the_server_stands_still_and_pictures_go_on_when_it_does() {
    let Some(display) = Display::start() else { return };
    let home = tempfile::tempdir().unwrap();
    let server = Serve::start();
    let _camera = camera(&server.room, &home.path().join("ann"));
    let viewer = Viewer::start(&server.room, &home.path().join("bob"), &display);
    assert_eq!(viewer.flowing()["own"], false);
    let window = display.window();
    server.running.signal(Signal::STOP);
    viewer.session("silent");
    display.until(&window, "the last picture under a banner", |width, pixels| shows(pixels, width, true));
    viewer
        .until("silent for 3 s", |report| report["silent_s"].as_f64().is_some_and(|seconds| seconds >= 3.0));
    server.running.signal(Signal::CONT);
    viewer.session("up");
    viewer.flowing();
    display.until(&window, "the picture again", |width, pixels| shows(pixels, width, false));
}

/// How much is written in the colour of what is said of a member, in the lower part of the window.
fn said(width: usize, pixels: &[[u8; 3]]) -> usize {
    pixels[400 * width..].iter().filter(|pixel| is(**pixel, SAID)).count()
}

#[test]
fn who_is_away_or_typing_is_seen_beside_the_picture_and_in_who() {
    let Some(display) = Display::start() else { return };
    let mut town = Town::new();
    let server = town.serve();
    // One person with three programs.
    let home = town.path("Ann");
    std::fs::create_dir_all(&home).unwrap();
    let _camera = camera(&server.room, &home.join("state/confkit/identity"));
    let mut ann = town.talk("Ann", &["--json"]);
    let heard = Lines::of(&mut ann);
    heard.object("caught_up");
    let viewer = Viewer::start(&server.room, &town.path("bob"), &display);
    viewer.flowing();
    let window = display.window();
    let most = std::cell::Cell::new(0);
    display.until(&window, "since when Ann is here", |width, pixels| {
        most.set(said(width, pixels));
        most.get() > 0
    });
    let plain = most.get();
    ann.feed(b"{\"type\":\"away\",\"text\":\"tea\"}\n");
    display.until(&window, "that Ann is away", |width, pixels| {
        most.set(said(width, pixels));
        most.get() > plain
    });
    let away = most.get();
    let (code, table, why) = town.ask("Cy", &["--who"]);
    assert_eq!(code, 0, "{why}");
    assert!(table.contains("camera") && table.contains("away: tea"), "{table}");
    // Ann, and the watcher, who wanted the same name.
    assert_eq!(table.matches("Ann").count(), 2, "one row for all programs of a person: {table}");
    ann.feed(b"{\"type\":\"typing\"}\n");
    display.until(&window, "that Ann is typing", |width, pixels| said(width, pixels) > away);
    ann.feed(b"{\"type\":\"typing\",\"typing\":false}\n{\"type\":\"back\"}\n");
    display.until(&window, "that Ann is back", |width, pixels| said(width, pixels) == plain);
}
