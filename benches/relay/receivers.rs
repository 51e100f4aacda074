//! Many receiving connections in one thread that does as little as it can: reads into one scratch
//! buffer, follows the frames, and notes for each picture how long it was on its way.

use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context, bail};
use confkit::time::{self, Moment};
use confkit::wire::control::TrackKind;
use confkit::wire::{Control, Frame};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::PICTURE;
use crate::publisher::hello;
use crate::rtmp::{self, Chunks, VIDEO_HEAD};

/// What the receivers saw since `reset`; times in microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) pictures: u64,
    /// Pictures missing between two that arrived.
    pub(crate) gaps: u64,
    /// Pictures from well before `reset`: the receivers are still busy with what was replayed to them
    /// when they joined.
    pub(crate) replayed: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

/// `{"type":"video","timestamp":1234567890.123456,"seq":1234567` behind the length.
const MARK: &[u8] = br#"{"type":"video","timestamp":"#;
const STAMP: usize = 4 + MARK.len();
const SEQ: usize = STAMP + 17 + r#","seq":"#.len();
const HEAD: usize = SEQ + 7;

struct Connection {
    stream: TcpStream,
    /// What comes is RTMP, with our pictures in it.
    chunks: Option<Chunks>,
    /// The first bytes of a frame; the whole header of one that is no picture.
    head: Vec<u8>,
    /// Bytes of the frame that are skipped.
    left: usize,
    /// Time of sending of the picture that is on its way.
    sent: Option<u64>,
    seq: Option<u64>,
}

/// Only pictures sent after `since` count: a replay is older by nature, and no delay of the relay.
struct Seen {
    since: u64,
    delays: Vec<u32>,
    gaps: u64,
    replayed: u64,
}

/// Older than this at `reset` is a replay; younger was on its way.
const ON_ITS_WAY: u64 = 250_000;

/// Opens `count` connections: `raw` without a handshake, `read` as subscribers, `idle` as members who
/// subscribe to nothing, `stall` as subscribers who never read, `rtmp` as players of an RTMP server. Then says `ready` and obeys `reset` and
/// `report` on stdin, whose end ends it.
pub(crate) fn run(mode: &str, address: &str, room: &str, count: usize) -> anyhow::Result<()> {
    crate::process::raise_descriptors()?;
    let address: SocketAddr = address.parse()?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = Vec::with_capacity(count);
    for n in 0..count {
        let stream = connect(mode, address, room, n)?;
        if mode != "stall" {
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)?;
        }
        let chunks = (mode == "rtmp").then(Chunks::new);
        connections.push(Connection { stream, chunks, head: Vec::new(), left: 0, sent: None, seq: None });
    }
    println!("ready");
    attend(mode, &epoll, &mut connections, &commands())
}

fn connect(mode: &str, address: SocketAddr, room: &str, n: usize) -> anyhow::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if mode == "stall" {
        // Little room in the kernel, so that it stalls at once and not after megabytes.
        socket.set_recv_buffer_size(4096)?;
    }
    socket.connect(&address.into())?;
    let mut stream: TcpStream = socket.into();
    stream.set_nodelay(true)?;
    if mode == "rtmp" {
        rtmp::play(&mut stream)?;
    } else if mode != "raw" {
        let kinds = if mode == "idle" { vec![] } else { vec![TrackKind::Video] };
        stream.write_all(Frame::control(&hello(room, &format!("m{n}"), kinds), time::wall()).bytes())?;
        // The first byte of the welcome: admitted, so the server's limit of strangers is not reached.
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.peek(&mut [0]).context("no welcome")?;
    }
    Ok(stream)
}

fn commands() -> Receiver<String> {
    let (to, from) = sync_channel(4);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
    from
}

fn attend(
    mode: &str,
    epoll: &impl std::os::fd::AsFd,
    connections: &mut [Connection],
    commands: &Receiver<String>,
) -> anyhow::Result<()> {
    use std::sync::mpsc::TryRecvError;
    let mut seen = Seen::new();
    let mut events = Vec::with_capacity(256);
    let mut scratch = vec![0; 64 * 1024];
    let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let mut pings = Pings { next: 0, last: time::now() };
    loop {
        match commands.try_recv() {
            Ok(word) if word == "reset" => seen = Seen::new(),
            Ok(_) => println!("{}", serde_json::to_string(&seen.report())?),
            Err(TryRecvError::Disconnected) => return Ok(()),
            Err(TryRecvError::Empty) => {}
        }
        events.clear();
        epoll::wait(epoll, spare_capacity(&mut events), Some(&timeout))?;
        for event in &events {
            let connection = &mut connections[event.data.u64() as usize];
            match connection.stream.read(&mut scratch) {
                Ok(0) => bail!("the sender closed a connection"),
                Ok(count) => connection.take(&scratch[..count], time::wall(), &mut seen)?,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !matches!(mode, "raw" | "rtmp") {
            pings.send(connections);
        }
    }
}

/// A ping from each connection every four seconds, evenly spread.
struct Pings {
    next: usize,
    last: Moment,
}

impl Pings {
    fn send(&mut self, connections: &mut [Connection]) {
        let each = Duration::from_secs(4) / connections.len() as u32;
        while time::now().since(self.last) >= each {
            self.last += each;
            let ping = Frame::control(&Control::Ping { id: 1 }, time::wall());
            // A stalled connection may be closed by the server; the others go on.
            let _ = connections[self.next].stream.write(ping.bytes());
            self.next = (self.next + 1) % connections.len();
        }
    }
}

impl Connection {
    fn take(&mut self, mut bytes: &[u8], now: u64, seen: &mut Seen) -> anyhow::Result<()> {
        if let Some(chunks) = &mut self.chunks {
            return chunks.take(bytes, VIDEO_HEAD + HEAD, |first| {
                if let Some(head) = first.get(VIDEO_HEAD..VIDEO_HEAD + HEAD) {
                    let sent = seen.begin(head, &mut self.seq);
                    seen.note(sent, now);
                }
            });
        }
        while !bytes.is_empty() {
            if self.left > 0 {
                let skip = self.left.min(bytes.len());
                self.left -= skip;
                bytes = &bytes[skip..];
            } else {
                let wanted = self.wanted();
                let more = (wanted - self.head.len()).min(bytes.len());
                self.head.extend_from_slice(&bytes[..more]);
                bytes = &bytes[more..];
                if self.head.len() == wanted {
                    self.begin(seen)?;
                }
            }
            if self.left == 0
                && let Some(sent) = self.sent.take()
            {
                seen.note(sent, now);
            }
        }
        Ok(())
    }

    /// How many bytes decide what comes next.
    fn wanted(&self) -> usize {
        if self.head.len() < HEAD || self.head[4..].starts_with(MARK) { HEAD } else { 4 + self.header() }
    }

    fn header(&self) -> usize {
        self.head.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize)
    }

    /// The head of a frame is complete: how much of it is still to come.
    fn begin(&mut self, seen: &mut Seen) -> anyhow::Result<()> {
        if self.head[4..].starts_with(MARK) {
            self.sent = Some(seen.begin(&self.head, &mut self.seq));
            self.left = 4 + self.header() + PICTURE - HEAD;
        } else if self.head.len() == 4 + self.header() {
            let text = std::str::from_utf8(&self.head[4..])?;
            let (_, size) = text.split_once("\"size\":").context("a header has a size")?;
            let size: String = size.chars().take_while(char::is_ascii_digit).collect();
            self.left = size.parse()?;
        } else {
            return Ok(());
        }
        self.head.clear();
        Ok(())
    }
}

impl Seen {
    fn new() -> Self {
        Self { since: time::wall(), delays: Vec::new(), gaps: 0, replayed: 0 }
    }

    /// A picture with this head comes, behind number `last`: when it was sent.
    fn begin(&mut self, head: &[u8], last: &mut Option<u64>) -> u64 {
        let digits = |range: &[u8]| -> u64 {
            range.iter().filter(|b| b.is_ascii_digit()).fold(0, |n, b| n * 10 + u64::from(b - b'0'))
        };
        let seq = digits(&head[SEQ..HEAD]);
        if let Some(last) = last.replace(seq) {
            self.gaps += seq.saturating_sub(last + 1);
        }
        digits(&head[STAMP..STAMP + 17])
    }

    fn note(&mut self, sent: u64, now: u64) {
        if sent >= self.since {
            self.delays.push(now.saturating_sub(sent) as u32);
        } else if sent + ON_ITS_WAY < self.since {
            self.replayed += 1;
        }
    }

    fn report(&self) -> Report {
        let mut delays = self.delays.clone();
        delays.sort_unstable();
        let at = |share: f64| {
            let place = (delays.len() as f64 * share) as usize;
            delays.get(place.min(delays.len().saturating_sub(1))).copied().unwrap_or_default().into()
        };
        Report {
            pictures: delays.len() as u64,
            gaps: self.gaps,
            replayed: self.replayed,
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}
