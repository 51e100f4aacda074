//! A meeting of 2, 5 and 10 people who all send and see 640x480 at 30 pictures per second: what the server and one
//! member's programs cost, and how quickly pictures and messages come.
//!
//! `cargo bench --bench meeting` (`make bench-meeting`). One member is `conf-cam | conf-send` and `conf-view` as they are;
//! the others are sessions in this process that send pictures encoded beforehand and decode nothing, for ten people do
//! not sit at one machine. Ends non-zero only when it could not measure.
#![allow(clippy::print_stdout)]

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use confkit::chat::{Content, Inbox, Outbox};
use confkit::id::{Secret, SourceId, TrackId};
use confkit::media::{Picture, Quality, Size};
use confkit::net::client::{self, Config, Correspondence, Event, Handle};
use confkit::session::Key;
use confkit::time::{self, Moment};
use confkit::video::encode::{Config as Encoding, Encoder, OpenH264};
use confkit::wire::control::{Publish, Source, TrackKind};
use confkit::wire::{Frame, Media, Rendition};

const SIZE: Size = Size { width: 640, height: 480 };
const FPS: u64 = 30;
/// Pictures between two keyframes of those who are simulated.
const GROUP: usize = 60;
/// Left out: joining, first pictures, playout settling.
const SETTLE: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(10);
/// Pause between two messages.
const MESSAGES: Duration = Duration::from_millis(250);

/// What a meeting has shown.
struct Figures {
    server: Load,
    programs: Load,
    /// To and from the one member, in Mbit/s.
    mbit: f64,
    /// From a message until the others have it, in milliseconds: p50, p99.
    response: [f64; 2],
    /// From the capture of a picture until it is handed to the window, in milliseconds: p50, p99 of the worst second.
    glass: [f64; 2],
}

/// Of one or several processes.
struct Load {
    /// In percent of one core.
    cpu: f64,
    /// Resident, in MB.
    memory: f64,
}

fn main() -> anyhow::Result<()> {
    // Test runners ask every target what tests it has.
    if std::env::args().skip(1).any(|arg| arg != "--bench") {
        return Ok(());
    }
    let units = units();
    println!("meeting: everybody sends and sees 640x480 at {FPS}/s; loopback, no TLS\n");
    println!("           server            one member's programs          message         picture");
    println!("people    CPU     memory     CPU     memory    network     p50     p99     p50     p99");
    for people in [2, 5, 10] {
        let figures = meeting(people, &units).with_context(|| format!("{people} people"))?;
        let Figures { server, programs, mbit, response: [m50, m99], glass: [g50, g99] } = figures;
        println!(
            "{people:>6} {:>5.1} % {:>7.1} MB {:>5.0} % {:>7.0} MB {mbit:>5.1} Mbit/s {m50:>5.1} ms {m99:>4.1} ms {g50:>5.1} ms {g99:>4.1} ms",
            server.cpu, server.memory, programs.cpu, programs.memory
        );
    }
    Ok(())
}

fn meeting(people: usize, units: &Units) -> anyhow::Result<Figures> {
    let dir = tempfile::tempdir()?;
    let (server, room) = serve(dir.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (delays, measured) = sync_channel(10_000);
    let mut handles = Vec::new();
    for number in 1..people as u8 {
        let member = Member { number, talks: number == 1, units: units.clone(), delays: delays.clone() };
        handles.push(runtime.block_on(member.join(&room))?);
    }
    let real = RealMember::start(&room, dir.path())?;
    std::thread::park_timeout(SETTLE);
    let pids = [vec![server.0.id()], real.processes()?];
    let used = || anyhow::Ok([cpu(&pids[0])?, cpu(&pids[1])?]);
    measured.try_iter().for_each(drop);
    let (began, before, moved) = (time::now(), used()?, moved(&handles[0]));
    std::thread::park_timeout(MEASURED);
    let seconds = time::now().since(began).as_secs_f64();
    let after = used()?;
    let load = |which: usize| {
        let memory: anyhow::Result<f64> = pids[which].iter().map(|pid| resident(*pid)).sum();
        anyhow::Ok(Load { cpu: (after[which] - before[which]) / seconds * 100.0, memory: memory? })
    };
    Ok(Figures {
        server: load(0)?,
        programs: load(1)?,
        mbit: (self::moved(&handles[0]) - moved) as f64 * 8.0 / 1e6 / seconds,
        response: quantiles(measured.try_iter().collect()).context("no message came")?,
        glass: real.glass_to_glass()?,
    })
}

/// Bytes that a member has sent and received.
fn moved(member: &Handle) -> u64 {
    let stats = member.stats();
    stats.sent + stats.received
}

/// Median and the 99th of a hundred.
fn quantiles(mut all: Vec<f64>) -> Option<[f64; 2]> {
    all.sort_by(f64::total_cmp);
    let at = |share: usize| all.get(all.len() * share / 100).copied();
    Some([at(50)?, at(99)?])
}

/// Encoded pictures, and which of them are keyframes.
type Units = Vec<(Bytes, bool, u8)>;

/// Two seconds of something like a person before a wall.
fn units() -> Units {
    let mut encoder =
        OpenH264::new(Encoding { fps: FPS as f64, bitrate: Quality::bitrate(SIZE, FPS as f64) });
    let encode = |number: usize| {
        let picture = scene(number);
        let unit = encoder.encode(&picture, number == 0).expect("encodes")?;
        Some((unit.data, unit.key, unit.tid))
    };
    (0..GROUP).filter_map(encode).collect()
}

fn scene(number: usize) -> Picture {
    let captured = Moment::from_micros(number as u64 * 1_000_000 / FPS);
    let mut picture = Picture::black(SIZE.width, SIZE.height, captured);
    let (centre, radius) = (SIZE.width / 2 + (number % 30) * 2, SIZE.height / 3);
    let mut noise = number as u64 + 1;
    for (at, pixel) in picture.planes_mut().0.iter_mut().enumerate() {
        let (x, row) = (at % SIZE.width, at / SIZE.width);
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let inside = x.abs_diff(centre).pow(2) + row.abs_diff(SIZE.height / 2).pow(2) < radius * radius;
        let value =
            if inside { 120 + (x + radius + row - centre) % 64 } else { 60 + (x + row) * 40 / SIZE.width };
        *pixel = (value as u64 + (noise >> 62)) as u8;
    }
    picture
}

/// Somebody who is simulated.
struct Member {
    number: u8,
    /// Says something now and then; the others note how old it is when they have it.
    talks: bool,
    units: Units,
    delays: SyncSender<f64>,
}

impl Member {
    async fn join(self, room: &str) -> anyhow::Result<Handle> {
        let (handle, events) = client::connect(self.config(room, vec![TrackKind::Video], self.number)?);
        let source = Source {
            kind: TrackKind::Video,
            label: "camera".into(),
            codec: "h264".into(),
            width: SIZE.width as u32,
            height: SIZE.height as u32,
            fps: FPS as f64,
            muted: false,
        };
        handle.publish(Publish { id: 1, source }).await;
        if self.talks {
            tokio::spawn(talk(self.config(room, Vec::new(), 100)?));
        }
        tokio::spawn(self.attend(events, handle.clone()));
        Ok(handle)
    }

    /// One of this member's programs.
    fn config(&self, room: &str, subscribe: Vec<TrackKind>, program: u8) -> anyhow::Result<Config> {
        let outbox = Outbox::new(SourceId([program; 16]));
        Ok(Config {
            ask: None,
            address: room.parse()?,
            name: format!("member {}", self.number).parse()?,
            key: Some(Key::from_seed(&Secret([self.number; 32]))),
            password: None,
            client: "bench".into(),
            subscribe,
            messages: Some(Correspondence { history: 0, inbox: Inbox::default(), outbox }),
            offers: false,
            look: false,
            reconnect: Some(0),
            connect_timeout: Duration::from_secs(5),
        })
    }

    async fn attend(self, mut events: client::Events, handle: Handle) {
        while let Some(event) = events.next().await {
            match event {
                Event::Published { track, .. } => {
                    let (units, phase) = (self.units.clone(), u64::from(self.number) * 3_000);
                    tokio::spawn(film(handle.clone(), track, units, phase));
                }
                Event::Message(message) => {
                    // It says when it was written.
                    let written: Option<u64> = match &message.content {
                        Content::Text(text) => text.parse().ok(),
                        _ => None,
                    };
                    let age = written.map(|at| time::wall().saturating_sub(at) as f64 / 1e3);
                    if let Some(age) = age {
                        let _ = self.delays.try_send(age);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Writes in a program of its own, as conf-chat is one.
async fn talk(config: Config) {
    let (handle, mut events) = client::connect(config);
    let mut due = tokio::time::interval(MESSAGES);
    loop {
        tokio::select! {
            event = events.next() => if event.is_none() { return },
            _ = due.tick() => {
                let said = handle.post(&Content::Text(time::wall().to_string()), None).await;
                if said.is_err() {
                    return;
                }
            }
        }
    }
}

/// Sends the pictures again and again, each at its time, so many microseconds beside the others.
async fn film(handle: Handle, track: TrackId, units: Units, phase: u64) {
    let mut due = tokio::time::interval(Duration::from_micros(1_000_000 / FPS));
    tokio::time::sleep(Duration::from_micros(phase)).await;
    for seq in 0.. {
        due.tick().await;
        let (data, key, tid) = &units[seq as usize % units.len()];
        let pts = seq * 1_000_000 / FPS;
        let media = Media { track, seq, pts, key: *key, rendition: Rendition::High, tid: *tid };
        handle.send(Frame::video(media, data, time::wall())).await;
    }
}

/// A program; it ends when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(path: &str, args: &[&str], dir: &Path, input: Stdio) -> anyhow::Result<(Running, ChildStdout)> {
    let mut command = Command::new(path);
    command.arg("--quiet").args(args).env("XDG_STATE_HOME", dir).env_remove("CONF_ROOM");
    let mut child = Running(command.stdin(input).stdout(Stdio::piped()).spawn()?);
    let stdout = child.0.stdout.take().context("stdout is piped")?;
    Ok((child, stdout))
}

fn serve(dir: &Path) -> anyhow::Result<(Running, String)> {
    let store = dir.join("store");
    let store = store.to_str().context("a path in UTF-8")?;
    let args = ["--store", store, "127.0.0.1:0"];
    let (server, stdout) = start(env!("CARGO_BIN_EXE_conf-serve"), &args, dir, Stdio::null())?;
    let lines = within(BufReader::new(stdout).lines());
    while let Ok(line) = lines.recv_timeout(Duration::from_secs(10)) {
        if let Some((_, rest)) = line.split_once("conf://") {
            return Ok((server, format!("conf://{rest}").trim().to_owned()));
        }
    }
    bail!("conf-serve did not print its address")
}

/// Somebody with the real programs.
struct RealMember {
    programs: [Running; 3],
    reports: Receiver<String>,
}

impl RealMember {
    fn start(room: &str, dir: &Path) -> anyhow::Result<Self> {
        let film = ["--video", "test:clock", "--size", "640x480", "--fps", "30"];
        let (cam, pipe) = start(env!("CARGO_BIN_EXE_conf-cam"), &film, dir, Stdio::null())?;
        let me = ["--room", room, "--name", "me"];
        let (send, _) = start(env!("CARGO_BIN_EXE_conf-send"), &me, dir, pipe.into())?;
        let view = ["--room", room, "--name", "me", "--no-window", "--stats=json"];
        let (view, stdout) = start(env!("CARGO_BIN_EXE_conf-view"), &view, dir, Stdio::null())?;
        let reports = within(BufReader::new(stdout).lines());
        Ok(Self { programs: [cam, send, view], reports })
    }

    /// The programs and their decoders.
    fn processes(&self) -> anyhow::Result<Vec<u32>> {
        let mut all = Vec::new();
        for program in &self.programs {
            let pid = program.0.id();
            all.push(pid);
            for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
                let children = std::fs::read_to_string(task?.path().join("children"))?;
                all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
        }
        Ok(all)
    }

    /// What conf-view has read out of its own pictures: the median of p50 and the worst p99 of the seconds so far,
    /// without the first.
    fn glass_to_glass(&self) -> anyhow::Result<[f64; 2]> {
        let reports = self.reports.try_iter().filter_map(|line| serde_json::from_str(&line).ok());
        let seconds = reports.filter_map(|report: serde_json::Value| {
            let latency = &report["latency_ms"];
            Some((latency["p50"].as_f64()?, latency["p99"].as_f64()?))
        });
        let (mut halves, most): (Vec<f64>, Vec<f64>) = seconds.skip(SETTLE.as_secs() as usize).unzip();
        halves.sort_by(f64::total_cmp);
        let half = *halves.get(halves.len() / 2).context("conf-view reported no latency")?;
        Ok([half, most.into_iter().fold(0.0, f64::max)])
    }
}

/// The lines as they come, so that waiting for one has a limit.
fn within(lines: Lines<BufReader<ChildStdout>>) -> Receiver<String> {
    let (to, from) = sync_channel(1_024);
    std::thread::spawn(move || {
        lines.map_while(Result::ok).take_while(|line| to.send(line.clone()).is_ok()).count()
    });
    from
}

/// CPU time of processes so far, in seconds.
fn cpu(pids: &[u32]) -> anyhow::Result<f64> {
    let mut total = 0.0;
    for pid in pids {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, rest) = text.rsplit_once(") ").context("stat has a name in brackets")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        // USER_HZ is 100 on every Linux.
        total += (fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0;
    }
    Ok(total)
}

/// Resident memory of a process in MB.
fn resident(pid: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}
