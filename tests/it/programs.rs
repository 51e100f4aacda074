//! Real programs, started by tests and gone with them.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use confkit::net::client::{self, Config, Event, Events, Handle};
use confkit::video::encode::{self, Encoder, OpenH264};
use confkit::wire::control::{PipeTrack, Source, TrackKind, Tracks};
use confkit::wire::{Control, Frame, Media, Rendition};
use confkit::{id::TrackId, media::Picture, time};
use tempfile::TempDir;

/// Longer than anything that is waited for in a test that succeeds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A program that is killed, by its own id, when the test forgets it.
pub(crate) struct Running {
    pub(crate) child: Child,
    _home: TempDir,
}

impl Running {
    /// Starts `command` as a person of its own.
    pub(crate) fn start(mut command: Command) -> Self {
        let home = tempfile::tempdir().unwrap();
        let child = at_home(&mut command, home.path()).spawn().unwrap();
        Self { child, _home: home }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Closes stdin and waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nothing of the machine's user gets into a test or out of it.
fn at_home<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    for name in ["CONF_ROOM", "CONF_NAME", "CONF_IDENTITY_FILE", "CONF_LOG", "XDG_CONFIG_HOME"] {
        if !command.get_envs().any(|(set, _)| set == name) {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).env("XDG_STATE_HOME", home).env("XDG_RUNTIME_DIR", home)
}

/// A server on a port of its own.
pub(crate) struct Server {
    _running: Running,
    pub(crate) room: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::at("127.0.0.1:0")
    }

    pub(crate) fn at(address: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conf-serve"));
        command.arg(address).arg("-q").stdout(Stdio::piped());
        let mut running = Running::start(command);
        let lines = BufReader::new(running.child.stdout.take().unwrap()).lines();
        let export = lines
            .map_while(Result::ok)
            .find_map(|line| line.trim().strip_prefix("export CONF_ROOM=").map(str::to_owned));
        Self { _running: running, room: export.expect("conf-serve prints the export line") }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.room.trim_start_matches("conf://").split('/').next().unwrap().parse().unwrap()
    }
}

/// `conf-send` to `room`, with a pipe on stdin.
pub(crate) fn conf_send(room: &str, arguments: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conf-send"));
    command.args(arguments).env("CONF_ROOM", room).env("CONF_NAME", "Ann");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(command)
}

/// A member who looks on, within the test.
pub(crate) struct Watcher {
    _handle: Handle,
    events: Events,
}

impl Watcher {
    /// Joins `room` and waits until that is done.
    pub(crate) async fn join(room: &str) -> Self {
        let (handle, events) = client::connect(Config {
            address: room.parse().unwrap(),
            name: "Watcher".parse().unwrap(),
            identity: None,
            client: "test".into(),
            subscribe: vec![TrackKind::Video],
            reconnect: None,
            connect_timeout: PATIENCE,
        });
        let mut watcher = Self { _handle: handle, events };
        watcher.find(|event| matches!(event, Event::State(_)).then_some(())).await;
        watcher
    }

    /// The first event that `wanted` takes; those before it are gone.
    pub(crate) async fn find<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.next().await.expect("the session goes on");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("the event comes in time")
    }

    /// The next picture.
    pub(crate) async fn picture(&mut self) -> Frame {
        self.find(|event| if let Event::Media(frame) = event { Some(frame) } else { None }).await
    }
}

/// `count` encoded pictures, every tenth a key.
pub(crate) fn access_units(count: usize) -> Vec<(Vec<u8>, bool)> {
    let mut encoder = OpenH264::new(encode::Config { fps: 30.0, bitrate: 300_000 });
    let units = (0..count).map(|n| {
        let unit = encoder.encode(&Picture::black(64, 48, time::now()), n % 10 == 0).unwrap().unwrap();
        (unit.data.to_vec(), unit.key)
    });
    units.collect()
}

/// The head of a pipe as conf-cam writes it, with one track of number 5.
pub(crate) fn description() -> Vec<u8> {
    let source = Source {
        kind: TrackKind::Video,
        label: "camera".into(),
        codec: "h264".into(),
        width: 64,
        height: 48,
        fps: 30.0,
    };
    let track = PipeTrack { track: TrackId(5), source };
    Frame::control(&Control::Tracks(Tracks { tracks: vec![track], feedback: None }), 0).bytes().to_vec()
}

/// The pictures as frames of that track.
pub(crate) fn frames(units: &[(Vec<u8>, bool)]) -> Vec<Frame> {
    let frame = |(n, (unit, key)): (usize, &(Vec<u8>, bool))| {
        let media = Media {
            track: TrackId(5),
            seq: n as u64,
            pts: n as u64 * 33_333,
            key: *key,
            rendition: Rendition::High,
            tid: 0,
        };
        Frame::video(media, unit, 0)
    };
    units.iter().enumerate().map(frame).collect()
}

/// Writes to a program that may already have gone.
pub(crate) fn feed(running: &mut Running, bytes: &[u8]) {
    let stdin = running.child.stdin.as_mut().unwrap();
    let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
}
