//! All members in one thread that does as little as it can: one of them in turn says something when it
//! is due, and everybody notes how long what arrives was on its way.

use std::collections::VecDeque;
use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use anyhow::{Context, bail};
use confkit::time::{self, Moment};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use serde::{Deserialize, Serialize};

use crate::speech::{Heard, Speech, Voice};

/// Longest wait for something to read: commands are looked for then.
const LOOK: Duration = Duration::from_millis(10);
/// What may wait to be sent before the members hold their tongue: the server is not read at all.
const UNSENT: usize = 1024 * 1024;

/// Delays in microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Delays {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

/// What was seen from `reset` to `stop`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Messages that had arrived at `stop`, each counted once for every receiver.
    pub(crate) delivered: u64,
    pub(crate) arrival: Delays,
    pub(crate) relayed: Option<Delays>,
    pub(crate) stored: Option<Delays>,
    /// What was sent and has not arrived by the time of the report.
    pub(crate) lost: i64,
}

struct Member {
    stream: TcpStream,
    voice: Voice,
    /// What was read and is not whole.
    rest: Vec<u8>,
    unsent: Vec<u8>,
    /// Messages that are not acknowledged, with the time of sending.
    relaying: VecDeque<(u64, u64)>,
    storing: VecDeque<(u64, u64)>,
}

#[derive(Default)]
struct Seen {
    since: u64,
    until: Option<u64>,
    sent: u64,
    delivered: u64,
    arrival: Vec<u32>,
    relayed: Vec<u32>,
    stored: Vec<u32>,
}

pub(crate) fn run(speech: Speech, address: &str, count: usize) -> anyhow::Result<()> {
    crate::process::raise_descriptors()?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut members = Vec::with_capacity(count);
    for number in 0..count {
        let member = Member::join(speech, number, address)?;
        epoll::add(&epoll, &member.stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
        members.push(member);
    }
    println!("ready");
    Room { speech, members, seen: Seen::default(), pace: None, next: 0 }.attend(&epoll, &commands())
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

struct Room {
    speech: Speech,
    members: Vec<Member>,
    seen: Seen,
    /// When the first message was due, and the pause between two.
    pace: Option<(Moment, Duration)>,
    /// Messages that were due since then.
    next: u32,
}

impl Room {
    fn attend(mut self, epoll: &impl std::os::fd::AsFd, commands: &Receiver<String>) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(256);
        let mut scratch = vec![0; 256 * 1024];
        loop {
            match commands.try_recv() {
                Ok(command) => self.obey(&command)?,
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {}
            }
            let wait = self.speak()?.min(LOOK);
            let wait = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos() as i64 };
            events.clear();
            epoll::wait(epoll, spare_capacity(&mut events), Some(&wait))?;
            for event in &events {
                self.members[event.data.u64() as usize].read(&mut scratch, &mut self.seen)?;
            }
        }
    }

    fn obey(&mut self, command: &str) -> anyhow::Result<()> {
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            ["go", rate] => {
                self.pace = Some((time::now(), Duration::from_secs(1) / rate.parse()?));
                self.next = 0;
            }
            ["reset"] => self.seen = Seen { since: time::wall(), ..Seen::default() },
            ["stop"] => {
                self.pace = None;
                self.seen.until = Some(time::wall());
            }
            ["report"] => println!("{}", serde_json::to_string(&self.report())?),
            _ => bail!("no such command: {command}"),
        }
        Ok(())
    }

    /// Says what is due; how long nothing is.
    fn speak(&mut self) -> anyhow::Result<Duration> {
        let Some((start, pause)) = self.pace else { return Ok(LOOK) };
        loop {
            let left = (start + pause * self.next).since(time::now());
            if !left.is_zero() {
                return Ok(left);
            }
            let number = self.next as usize % self.members.len();
            self.next += 1;
            self.seen.sent += 1;
            self.members[number].speak()?;
        }
    }

    fn report(&mut self) -> Report {
        let copies = self.speech.copies(self.members.len() as u64);
        let lost = (self.seen.sent * copies) as i64 - self.seen.arrival.len() as i64;
        Report {
            delivered: self.seen.delivered,
            lost,
            arrival: delays(&mut self.seen.arrival).unwrap_or(Delays { p50: 0, p99: 0, max: 0 }),
            relayed: delays(&mut self.seen.relayed),
            stored: delays(&mut self.seen.stored),
        }
    }
}

impl Member {
    /// Comes in, and waits until it is there.
    fn join(speech: Speech, number: usize, address: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let voice = Voice::new(speech, number)?;
        stream.write_all(&voice.greeting())?;
        let mut member = Self {
            stream,
            voice,
            rest: Vec::new(),
            unsent: Vec::new(),
            relaying: VecDeque::new(),
            storing: VecDeque::new(),
        };
        let mut scratch = [0; 4096];
        loop {
            let count = member.stream.read(&mut scratch).context("no answer")?;
            if count == 0 {
                bail!("the server closed the connection");
            }
            let heard = member.take(&scratch[..count])?;
            let is_in = heard.iter().any(|heard| matches!(heard, Heard::In));
            for heard in heard {
                if let Heard::Answer(bytes) = heard {
                    member.send(&bytes)?;
                }
            }
            if is_in {
                break;
            }
        }
        member.stream.set_nonblocking(true)?;
        Ok(member)
    }

    fn speak(&mut self) -> anyhow::Result<()> {
        let wall = time::wall();
        let (bytes, n) = self.voice.say(wall);
        self.relaying.push_back((n, wall));
        self.storing.push_back((n, wall));
        self.send(&bytes)
    }

    fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.unsent.extend_from_slice(bytes);
        match self.stream.write(&self.unsent) {
            Ok(count) => drop(self.unsent.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if self.unsent.len() > UNSENT {
            bail!("the server does not read");
        }
        Ok(())
    }

    fn read(&mut self, scratch: &mut [u8], seen: &mut Seen) -> anyhow::Result<()> {
        let count = match self.stream.read(scratch) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let now = time::wall();
        for heard in self.take(&scratch[..count])? {
            match heard {
                Heard::Said(sent) => seen.note(sent, now),
                Heard::Relayed(through) => {
                    settle(&mut self.relaying, through, now, seen.since, &mut seen.relayed)
                }
                Heard::Stored(through) => {
                    settle(&mut self.storing, through, now, seen.since, &mut seen.stored)
                }
                Heard::Answer(bytes) => self.send(&bytes)?,
                Heard::In => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> anyhow::Result<VecDeque<Heard>> {
        let mut heard = VecDeque::new();
        if self.rest.is_empty() {
            let done = self.voice.hear(bytes, &mut heard)?;
            self.rest.extend_from_slice(&bytes[done..]);
        } else {
            self.rest.extend_from_slice(bytes);
            let done = self.voice.hear(&self.rest, &mut heard)?;
            self.rest.drain(..done);
        }
        Ok(heard)
    }
}

impl Seen {
    fn note(&mut self, sent: u64, now: u64) {
        // What arrives in this time counts, also where it was said before.
        if self.until.is_none() {
            self.delivered += 1;
        }
        if sent >= self.since {
            self.arrival.push(now.saturating_sub(sent) as u32);
        }
    }
}

/// Notes how long the messages through this number took.
fn settle(waiting: &mut VecDeque<(u64, u64)>, through: u64, now: u64, since: u64, into: &mut Vec<u32>) {
    while let Some((_, sent)) = waiting.pop_front_if(|(n, _)| *n <= through) {
        if sent >= since {
            into.push(now.saturating_sub(sent) as u32);
        }
    }
}

pub(crate) fn delays(all: &mut [u32]) -> Option<Delays> {
    all.sort_unstable();
    let at = |share: f64| {
        let place = (all.len() as f64 * share) as usize;
        all.get(place.min(all.len().saturating_sub(1))).copied().unwrap_or_default().into()
    };
    (!all.is_empty()).then(|| Delays { p50: at(0.5), p99: at(0.99), max: at(1.0) })
}
