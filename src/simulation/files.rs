//! Files on their way in virtual time: the cores of sender and receiver, real frames over simulated links, a depot and
//! disks that lose what was not synchronised.
//!
//! A chunk is a few bytes that count as [`CHUNK`], so that windows are as large as in earnest and a thousand
//! transfers take seconds. [`sender`], [`depot`] and [`receiver`] wire the cores as `pipeline` and `server` do; this
//! carries the bytes, moves the time, makes the faults and judges: what arrives is what was sent, what was
//! acknowledged is never lost, and no break costs more than a window.

mod depot;
mod receiver;
mod sender;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use self::depot::Depot;
use self::receiver::Receiver;
use self::sender::Sender;
use super::link::{Arrival, Direction, Shape};
use super::program::damaged;
use crate::id::OfferNumber;
use crate::limits;
use crate::session::random::Random;
use crate::time::Moment;
use crate::wire::{Frame, Incoming, Parser, Part, Piece};

/// What a chunk counts as.
pub(super) const CHUNK: usize = limits::CHUNK_MIN as usize;
/// Chunks of a window.
pub(super) const WINDOW: u64 = (limits::UPLOAD_WINDOW / CHUNK) as u64;
/// The room's number of the offer.
pub(super) const OFFER: OfferNumber = OfferNumber(1);

/// The time moves in such steps.
const STEP: Duration = Duration::from_millis(5);
/// So long after the last fault everything must be over.
const RECOVERY: Duration = Duration::from_secs(120);
/// Frames that wait to be written, from which no more are made.
const QUEUE: usize = 3;

/// What chunk `n` of the offer of this seed holds; no two are alike.
pub(super) fn content(seed: u64, n: u32) -> Vec<u8> {
    let length = 1 + (seed ^ u64::from(n)) as usize % 40;
    [&seed.to_be_bytes()[..], &n.to_be_bytes(), &vec![n as u8; length]].concat()
}

pub(super) fn piece(part: Part, index: u32, payload: &[u8]) -> Frame {
    Frame::file(Piece { offer: OFFER, part, index }, payload, 0)
}

/// A connection of one side to the server.
struct Wire {
    up: Direction,
    down: Direction,
    at_server: Parser,
    at_peer: Parser,
    from_peer: VecDeque<Bytes>,
    from_server: VecDeque<Bytes>,
}

impl Wire {
    fn new(random: &mut Random) -> Self {
        let mut direction = || {
            let shape = Shape {
                latency: Duration::from_millis(random.between(0, 60)),
                rate: random.between(20_000, 400_000),
                portion: random.between(1, 3_000),
            };
            let mut direction = Direction::new(shape, random.bits());
            if random.between(0, 2) == 0 {
                direction.cut_after(random.between(1, 30_000) as usize);
            }
            direction
        };
        let parser = || {
            let mut parser = Parser::new();
            parser.trust_files();
            parser
        };
        Self {
            up: direction(),
            down: direction(),
            at_server: parser(),
            at_peer: parser(),
            from_peer: VecDeque::new(),
            from_server: VecDeque::new(),
        }
    }

    fn is_free(&self) -> (bool, bool) {
        (self.from_peer.len() < QUEUE, self.from_server.len() < QUEUE)
    }

    /// What has come to the server, and to its peer; nothing where the connection is broken.
    fn carry(&mut self, now: Moment) -> Option<(Vec<Incoming>, Vec<Incoming>)> {
        write(&mut self.from_peer, &mut self.up, now);
        write(&mut self.from_server, &mut self.down, now);
        let to_server = read(&mut self.up, &mut self.at_server, now)?;
        Some((to_server, read(&mut self.down, &mut self.at_peer, now)?))
    }
}

fn write(queue: &mut VecDeque<Bytes>, direction: &mut Direction, now: Moment) {
    while let Some(first) = queue.front_mut()
        && direction.space() > 0
    {
        let part = first.split_to(first.len().min(direction.space()));
        direction.write(&part, now);
        if first.is_empty() {
            queue.pop_front();
        }
    }
}

fn read(direction: &mut Direction, parser: &mut Parser, now: Moment) -> Option<Vec<Incoming>> {
    let mut came = Vec::new();
    while let Some(arrival) = direction.read(now) {
        let Arrival::Bytes(bytes) = arrival else { return None };
        parser.push(&bytes);
        while let Some(incoming) = parser.poll().ok()? {
            came.push(incoming);
        }
    }
    Some(came)
}

/// Chunks that went more than once, and what may cause that.
#[derive(Debug, Default)]
pub(super) struct Tally {
    times: BTreeMap<u32, u64>,
    again: u64,
    /// Breaks so far, and chunks that were damaged or lost by a disk.
    breaks: u64,
    pub(super) spoilt: u64,
}

impl Tally {
    pub(super) fn count(&mut self, chunk: u32) {
        let times = self.times.entry(chunk).or_default();
        *times += 1;
        self.again += u64::from(*times > 1);
        let most = self.breaks * WINDOW + self.spoilt;
        assert!(self.again <= most, "{} chunks went again, and {most} may have", self.again);
    }
}

/// See the module.
pub(super) struct World {
    random: Random,
    now: Moment,
    depot: Depot,
    sender: Sender,
    receiver: Receiver,
    /// Of the sender, and of the receiver; when the next try is made where there is none.
    wires: [Result<Wire, Moment>; 2],
    calm: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let now = Moment::from_micros(1_000_000);
        let chunks = match random.between(0, 9) {
            0 => random.between(0, 2),
            1..4 => random.between(30, 36),
            _ => random.between(3, 220),
        } as u32;
        let stream = random.between(0, 4) == 0;
        let late = now + Duration::from_millis(random.between(0, 2_000));
        Self {
            now,
            depot: Depot::new(seed),
            sender: Sender::new(seed, chunks, stream),
            receiver: Receiver::new(seed, chunks, stream),
            wires: [Err(now), Err(late)],
            calm: false,
            random,
        }
    }

    /// A time of faults, and then everything is over, and right.
    pub(super) fn run(mut self) {
        for _ in 0..self.random.between(0, 12) {
            let span = match self.random.between(0, 3) {
                0 => self.random.between(0, 50),
                1 | 2 => self.random.between(50, 700),
                _ => self.random.between(700, 5_000),
            };
            self.pass(Duration::from_millis(span));
            self.fault();
        }
        self.calm = true;
        let end = self.now + RECOVERY;
        while !self.is_over() {
            assert!(
                self.now < end,
                "it does not come to an end: {}, {}",
                self.sender.state(),
                self.receiver.state()
            );
            self.pass(STEP);
        }
        self.depot.check(&self.sender);
        self.receiver.check(self.depot.is_gone());
    }

    fn is_over(&self) -> bool {
        self.sender.is_over() && self.receiver.is_over()
    }

    fn fault(&mut self) {
        match self.random.between(0, 11) {
            0 | 1 => self.cut(0),
            2 | 3 => self.cut(1),
            4 => {
                // A killed server has given everything to its kernel; a machine that loses power has not.
                let power = self.random.between(0, 1) == 0;
                let lost = self.depot.crash(power);
                self.sender.tally.spoilt += lost;
                self.cut(0);
                self.cut(1);
            }
            5 if self.sender.can_restart() => {
                self.cut(0);
                self.sender.restart();
            }
            6 | 7 => {
                self.cut(1);
                let power = self.random.between(0, 1) == 0;
                self.receiver.crash(power);
            }
            8 => {
                // A sync that fails: nothing of what it was about counts.
                let lost = self.depot.fail_to_sync();
                self.sender.tally.spoilt += lost.len() as u64;
                let wire = self.wires[0].as_mut().ok();
                wire.into_iter().for_each(|wire| wire.from_server.extend(depot::losses(&lost)));
            }
            9 => self.receiver.spoil(),
            10 => {
                let span = Duration::from_millis(self.random.between(100, 3_000));
                for wire in self.wires.iter_mut().flatten() {
                    wire.up.stall(span);
                    wire.down.stall(span);
                }
            }
            _ if self.random.between(0, 3) == 0 => self.withdraw(),
            _ => {}
        }
    }

    fn withdraw(&mut self) {
        self.depot.withdraw();
        for wire in self.wires.iter_mut().flatten() {
            wire.from_server.push_back(depot::gone());
        }
    }

    /// The connection of one side breaks.
    fn cut(&mut self, side: usize) {
        if self.wires[side].is_err() {
            return;
        }
        self.wires[side] = Err(self.now + Duration::from_millis(self.random.between(1, 800)));
        self.sender.tally.breaks += u64::from(side == 0);
        self.receiver.tally.breaks += u64::from(side == 1);
        if side == 0 {
            self.sender.handle_down();
        } else {
            self.depot.handle_reader_gone();
            self.receiver.handle_down();
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end && !self.is_over() {
            self.now += STEP;
            self.connect();
            self.work();
            for side in 0..2 {
                self.carry(side);
            }
        }
    }

    fn connect(&mut self) {
        for side in 0..2 {
            let over = if side == 0 { self.sender.is_over() } else { self.receiver.is_over() };
            if over || !matches!(self.wires[side], Err(at) if at <= self.now) {
                continue;
            }
            let mut wire = Wire::new(&mut self.random);
            if self.calm {
                let shape = Shape { latency: STEP, rate: 400_000, portion: 3_000 };
                wire.up.heal(shape);
                wire.down.heal(shape);
            }
            let first =
                if side == 0 { self.sender.handle_up() } else { self.receiver.handle_up(&self.depot) };
            wire.from_peer.extend(first);
            self.wires[side] = Ok(wire);
        }
    }

    /// What everybody does by itself.
    fn work(&mut self) {
        let kept = self.depot.work(self.now);
        if let Ok(wire) = &mut self.wires[0] {
            wire.from_server.extend(kept);
            if wire.is_free().0 {
                let next = self.sender.work(&mut self.random);
                let spoilt = &mut self.sender.tally.spoilt;
                let next = next.map(|frame| spoil(&frame, self.calm, &mut self.random, spoilt));
                wire.from_peer.extend(next);
            }
        }
        let ended = self.receiver.work(self.now, &mut self.random);
        if ended {
            // It says what is wrong and ends; its user starts it again.
            self.cut(1);
            self.receiver.crash(false);
        }
        if let Ok(wire) = &mut self.wires[1] {
            wire.from_peer.extend(self.receiver.ask());
            while wire.is_free().1
                && let Some(frame) = self.depot.serve()
            {
                let spoilt = &mut self.receiver.tally.spoilt;
                wire.from_server.push_back(spoil(&frame, self.calm, &mut self.random, spoilt));
            }
        }
    }

    fn carry(&mut self, side: usize) {
        let Ok(wire) = &mut self.wires[side] else { return };
        let Some((to_server, to_peer)) = wire.carry(self.now) else { return self.cut(side) };
        for incoming in to_server {
            let answers = self.depot.handle(incoming);
            wire.from_server.extend(answers);
        }
        for incoming in to_peer {
            let answers = match side {
                0 => self.sender.handle(incoming),
                _ => self.receiver.handle(incoming),
            };
            wire.from_peer.extend(answers);
        }
        self.depot.check(&self.sender);
    }
}

/// The bytes of a frame; now and then those of a chunk have changed on the way.
fn spoil(frame: &Frame, calm: bool, random: &mut Random, spoilt: &mut u64) -> Bytes {
    let chunk = frame.header.piece.is_some_and(|piece| piece.part == Part::Chunk);
    if calm || !chunk || random.between(0, 150) > 0 {
        return frame.bytes().clone();
    }
    *spoilt += 1;
    damaged(frame.bytes())
}
