//! The one who sends: a picture of fixed size at a fixed rate.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::bail;
use confkit::time::{self, Moment};
use confkit::wire::control::{Hello, PROTOCOL, Publish, Source, TrackKind};
use confkit::wire::{Control, Frame, Incoming, Parser, checksum};

use crate::{PICTURE, RATE};

/// A member that publishes until it is dropped.
pub(crate) struct Publisher {
    stream: TcpStream,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Publisher {
    pub(crate) fn start(address: &str, room: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(Frame::control(&hello(room, "publisher", Vec::new()), time::wall()).bytes())?;
        let source = Source {
            kind: TrackKind::Video,
            label: "bench".into(),
            codec: "h264".into(),
            width: 640,
            height: 480,
            fps: RATE as f64,
            muted: false,
        };
        let publish = Control::Publish(Publish { id: 1, source });
        let mut parser = Parser::new();
        let mut asked = false;
        let track = loop {
            match next(&mut stream, &mut parser)? {
                // Nothing may follow the hello before the welcome.
                Control::Welcome(_) if !asked => {
                    stream.write_all(Frame::control(&publish, time::wall()).bytes())?;
                    asked = true;
                }
                Control::Published { track, .. } => break track.0,
                Control::Error(refusal) => bail!("refused: {refusal}"),
                _ => {}
            }
        };
        stream.set_read_timeout(None)?;
        let stop = Arc::new(AtomicBool::new(false));
        let threads = vec![
            std::thread::spawn({
                let (mut stream, stop) = (stream.try_clone()?, Arc::clone(&stop));
                move || {
                    let mut pace = Pace::start();
                    for n in 0.. {
                        pace.wait(n);
                        let frame = picture(track, n, time::wall());
                        if stop.load(Ordering::Relaxed) || stream.write_all(&frame).is_err() {
                            return;
                        }
                    }
                }
            }),
            std::thread::spawn({
                let mut stream = stream.try_clone()?;
                move || while matches!(stream.read(&mut [0; 16 * 1024]), Ok(1..)) {}
            }),
        ];
        Ok(Self { stream, stop, threads })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.stream.shutdown(Shutdown::Both);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn next(stream: &mut TcpStream, parser: &mut Parser) -> anyhow::Result<Control> {
    loop {
        if let Some(incoming) = parser.poll()? {
            match incoming {
                Incoming::Frame(frame) if frame.header.media.is_none() => return Ok(frame.operation()?),
                _ => continue,
            }
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes)? {
            0 => bail!("the server closed the connection"),
            count => parser.push(&bytes[..count]),
        }
    }
}

/// The first frame of a member.
pub(crate) fn hello(room: &str, name: &str, subscribe: Vec<TrackKind>) -> Control {
    Control::Hello(Hello {
        protocol: PROTOCOL,
        room: room.into(),
        name: name.into(),
        client: "bench".into(),
        key: None,
        proof: None,
        password: None,
        messages: None,
        offers: false,
        look: false,
        resume: None,
        subscribe,
    })
}

/// The bytes of picture `n`. All have the same length, and the time stands where
/// [`crate::receivers`] looks for it. Every 60th is a key; the layers run 0 2 1 2.
pub(crate) fn picture(track: u32, n: u64, wall: u64) -> Vec<u8> {
    let mut payload = vec![0x5a; PICTURE];
    payload[..8].copy_from_slice(&n.to_be_bytes());
    let sum = confkit::id::hex(&checksum(&payload));
    let key = if n.is_multiple_of(60) { "true " } else { "false" };
    let tid = [0, 2, 1, 2][(n % 4) as usize];
    let (seconds, micros) = (wall / 1_000_000, wall % 1_000_000);
    let (seq, pts) = (1_000_000 + n, 1_000_000_000 + n * 1_000_000 / RATE);
    let header = format!(
        r#"{{"type":"video","timestamp":{seconds}.{micros:06},"seq":{seq},"size":{PICTURE},"checksum":"{sum}","track":{track},"pts":{pts},"key":{key},"rendition":"high","tid":{tid}}}"#
    );
    let mut frame = (header.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(&payload);
    frame
}

/// Absolute deadlines at [`RATE`], so that one late picture does not delay the next.
pub(crate) struct Pace(Moment);

impl Pace {
    pub(crate) fn start() -> Self {
        Self(time::now())
    }

    /// Waits until picture `n` is due.
    pub(crate) fn wait(&mut self, n: u64) {
        let due = self.0 + Duration::from_micros(n * 1_000_000 / RATE);
        loop {
            let left = due.since(time::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }
}
