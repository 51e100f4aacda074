//! nginx with its RTMP module as a relay of the same pictures, and as much of RTMP as that takes (Adobe's Real Time
//! Messaging Protocol 1.0: handshake 5.2, chunks 5.3, commands 7.2). Each picture of ours is the body of one video
//! message and goes in one chunk, which is the cheapest for the server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use confkit::time;

use crate::publisher::{Pace, picture};

/// Where Debian's libnginx-mod-rtmp puts it.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
const APPLICATION: &str = "bench";
/// Larger than any message.
const CHUNK: u32 = 65_536;
/// What stands in front of the H.264 in a video message: kind of picture and codec, kind of packet, offset in time.
pub(crate) const VIDEO_HEAD: usize = 5;

const SET_CHUNK_SIZE: u8 = 1;
const VIDEO: u8 = 9;
const COMMAND: u8 = 20;

/// Whether the peer is installed.
pub(crate) fn is_here() -> bool {
    let nginx = Command::new("nginx").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    nginx.is_ok() && Path::new(MODULE).exists()
}

/// One nginx process without master and workers, so that its CPU is all there is.
pub(crate) struct Nginx {
    child: std::process::Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Nginx {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let settings = format!(
            "load_module {MODULE};\n\
             daemon off; master_process off; pid nginx.pid; error_log stderr crit;\n\
             events {{ worker_connections 4096; }}\n\
             rtmp {{ server {{ listen {address}; chunk_size {CHUNK}; application {APPLICATION} {{ live on; }} }} }}\n"
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, settings)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(directory.path()).arg("-c").arg(&file);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let nginx = Self { child, address, _directory: directory };
        for _ in 0..100 {
            if TcpStream::connect(&nginx.address).is_ok() {
                return Ok(nginx);
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        bail!("nginx did not begin to listen")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Publishes until it is dropped.
pub(crate) struct Publisher {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    pub(crate) fn start(address: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        greet(&mut stream)?;
        stream.write_all(&command(
            1,
            &[Amf::Text("publish"), Amf::Number(3.0), Amf::Null, NAME, Amf::Text("live")],
        ))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut answers = stream.try_clone()?;
        std::thread::spawn(move || while matches!(answers.read(&mut [0; 4096]), Ok(1..)) {});
        let thread = std::thread::spawn(move || {
            let mut pace = Pace::start();
            for n in 0.. {
                pace.wait(n);
                let mut body = vec![if n % 60 == 0 { 0x17 } else { 0x27 }, 1, 0, 0, 0];
                body.extend_from_slice(&picture(1, n, time::wall()));
                let sent = stream.write_all(&message(6, 1, VIDEO, (n * 1_000 / crate::RATE) as u32, &body));
                if stopped.load(Ordering::Relaxed) || sent.is_err() {
                    return;
                }
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

const NAME: Amf = Amf::Text("bench");

/// Asks for the stream on a fresh connection.
pub(crate) fn play(stream: &mut TcpStream) -> anyhow::Result<()> {
    greet(stream)?;
    Ok(stream.write_all(&command(1, &[Amf::Text("play"), Amf::Number(4.0), Amf::Null, NAME]))?)
}

/// Handshake, `connect` and `createStream`, whose answers need not be waited for: the first stream has number 1.
fn greet(stream: &mut TcpStream) -> anyhow::Result<()> {
    const HANDSHAKE: usize = 1536;
    let mut hello = vec![0; 1 + HANDSHAKE];
    hello[0] = 3;
    stream.write_all(&hello)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut answer = vec![0; 1 + 2 * HANDSHAKE];
    stream.read_exact(&mut answer).context("no handshake")?;
    stream.set_read_timeout(None)?;
    stream.write_all(&answer[1..=HANDSHAKE])?;
    let mut words = message(2, 0, SET_CHUNK_SIZE, 0, &CHUNK.to_be_bytes());
    words.extend(command(0, &[Amf::Text("connect"), Amf::Number(1.0), Amf::Application(APPLICATION)]));
    words.extend(command(0, &[Amf::Text("createStream"), Amf::Number(2.0), Amf::Null]));
    Ok(stream.write_all(&words)?)
}

/// A value of AMF 0 (Adobe's Action Message Format).
enum Amf {
    Number(f64),
    Text(&'static str),
    Null,
    /// An object with `app`.
    Application(&'static str),
}

impl Amf {
    fn write(&self, to: &mut Vec<u8>) {
        let text = |to: &mut Vec<u8>, text: &str| {
            to.extend((text.len() as u16).to_be_bytes());
            to.extend(text.as_bytes());
        };
        match self {
            Self::Number(number) => {
                to.push(0);
                to.extend(number.to_be_bytes());
            }
            Self::Text(value) => {
                to.push(2);
                text(to, value);
            }
            Self::Null => to.push(5),
            Self::Application(name) => {
                to.push(3);
                text(to, "app");
                Self::Text(name).write(to);
                to.extend([0, 0, 9]);
            }
        }
    }
}

fn command(stream: u32, values: &[Amf]) -> Vec<u8> {
    let mut body = Vec::new();
    values.iter().for_each(|value| value.write(&mut body));
    message(3, stream, COMMAND, 0, &body)
}

/// A message in one chunk with a full header.
fn message(channel: u8, stream: u32, kind: u8, ms: u32, body: &[u8]) -> Vec<u8> {
    let mut chunk = vec![channel];
    chunk.extend(&ms.to_be_bytes()[1..]);
    chunk.extend(&(body.len() as u32).to_be_bytes()[1..]);
    chunk.push(kind);
    chunk.extend(stream.to_le_bytes());
    chunk.extend(body);
    chunk
}

/// Takes a stream of chunks apart; of each video message it keeps the first bytes.
pub(crate) struct Chunks {
    chunk: usize,
    head: Vec<u8>,
    channels: [Channel; 64],
    /// The channel of the chunk that is being read, and how much of it is missing.
    channel: usize,
    left: usize,
}

#[derive(Clone, Default)]
struct Channel {
    kind: u8,
    length: usize,
    got: usize,
    first: Vec<u8>,
}

impl Chunks {
    pub(crate) fn new() -> Self {
        let channels = std::array::from_fn(|_| Channel::default());
        Self { chunk: 128, head: Vec::new(), channels, channel: 0, left: 0 }
    }

    /// Calls `seen` with the first `most` bytes of every video message that is complete.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        most: usize,
        mut seen: impl FnMut(&[u8]),
    ) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            if self.left == 0 {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                if self.head.len() == 1 + [11, 7, 3, 0][usize::from(self.head[0] >> 6)] {
                    self.begin()?;
                }
                continue;
            }
            let count = self.left.min(bytes.len());
            let channel = &mut self.channels[self.channel];
            let kept = most.saturating_sub(channel.first.len()).min(count);
            channel.first.extend_from_slice(&bytes[..kept]);
            (channel.got, self.left, bytes) = (channel.got + count, self.left - count, &bytes[count..]);
            if channel.got < channel.length {
                continue;
            }
            match (channel.kind, channel.first.first_chunk()) {
                (VIDEO, _) => seen(&channel.first),
                (SET_CHUNK_SIZE, Some(size)) => self.chunk = u32::from_be_bytes(*size) as usize,
                _ => {}
            }
            channel.got = 0;
            channel.first.clear();
        }
        Ok(())
    }

    /// The header of a chunk is complete.
    fn begin(&mut self) -> anyhow::Result<()> {
        let number = usize::from(self.head[0] & 0x3f);
        if number < 2 || self.head.get(1..4) == Some(&[0xff; 3]) {
            bail!("a chunk header that the server does not send for so few and so short streams");
        }
        let channel = &mut self.channels[number];
        if let Some(&[high, middle, low, kind]) = self.head.get(4..8) {
            channel.length = u32::from_be_bytes([0, high, middle, low]) as usize;
            channel.kind = kind;
        }
        self.channel = number;
        self.left = self.chunk.min(channel.length - channel.got);
        self.head.clear();
        Ok(())
    }
}
