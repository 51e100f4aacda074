//! A TCP connection without a network, in virtual time: bytes arrive late, in portions of any size down
//! to one byte, no faster than a rate, and the connection can stall, half-close, break or be cut after
//! an exact number of bytes. Everything follows from a seed.

use std::collections::VecDeque;
use std::time::Duration;

use crate::session::random::Random;
use crate::time::Moment;

/// What the sockets of both ends hold of one direction: little, so that queues fill and drop.
const BUFFER: usize = 4 * 1024;

/// How a direction behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) latency: Duration,
    /// Bytes per second.
    pub(crate) rate: u64,
    /// Largest portion in which bytes arrive.
    pub(crate) portion: u64,
}

impl Shape {
    fn takes(&self, bytes: usize) -> Duration {
        Duration::from_micros(bytes as u64 * 1_000_000 / self.rate)
    }
}

/// What the reader finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    Bytes(Vec<u8>),
    /// The writer closed its side.
    End,
    /// The connection broke.
    Reset,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Direction {
    shape: Shape,
    random: Random,
    /// What is on its way and when it arrives.
    flight: VecDeque<(Moment, Vec<u8>)>,
    /// Bytes in it.
    flying: usize,
    /// When the last byte that was written arrives.
    busy_until: Moment,
    end_at: Option<Moment>,
    reset: bool,
    /// Bytes until the connection is cut.
    left: Option<usize>,
}

impl Direction {
    pub(crate) fn new(shape: Shape, seed: u64) -> Self {
        Self {
            shape,
            random: Random::new(seed),
            flight: VecDeque::new(),
            flying: 0,
            busy_until: Moment::default(),
            end_at: None,
            reset: false,
            left: None,
        }
    }

    /// The connection breaks behind this many bytes.
    pub(crate) fn cut_after(&mut self, bytes: usize) {
        self.left = Some(bytes);
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8], now: Moment) {
        while !bytes.is_empty() && !self.reset && self.end_at.is_none() {
            let portion = self.random.between(1, self.shape.portion).min(bytes.len() as u64) as usize;
            let (head, rest) = bytes.split_at(portion);
            bytes = rest;
            self.flying += portion;
            self.busy_until = self.busy_until.max(now) + self.shape.takes(portion);
            self.flight.push_back((self.busy_until + self.shape.latency, head.to_vec()));
        }
    }

    /// Nothing arrives for a while.
    pub(crate) fn stall(&mut self, span: Duration) {
        for (at, _) in &mut self.flight {
            *at += span;
        }
        self.busy_until += span;
        if let Some(end) = &mut self.end_at {
            *end += span;
        }
    }

    /// From now on it behaves like this.
    pub(crate) fn set_shape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// The writer closes its side behind what it has written.
    pub(crate) fn close(&mut self, now: Moment) {
        self.end_at = Some(self.busy_until.max(now) + self.shape.latency);
    }

    /// The connection breaks; what is on its way is lost.
    pub(crate) fn reset(&mut self) {
        self.reset = true;
        self.flight.clear();
        self.flying = 0;
    }

    pub(crate) fn read(&mut self, now: Moment) -> Option<Arrival> {
        if self.reset {
            return Some(Arrival::Reset);
        }
        if self.flight.front().is_some_and(|(at, _)| *at <= now) {
            let (_, mut bytes) = self.flight.pop_front()?;
            self.flying -= bytes.len();
            if let Some(left) = &mut self.left {
                bytes.truncate(*left);
                *left -= bytes.len();
                if *left == 0 {
                    self.reset();
                }
            }
            return Some(Arrival::Bytes(bytes));
        }
        (self.flight.is_empty() && self.end_at.is_some_and(|at| at <= now)).then_some(Arrival::End)
    }

    /// From now on it behaves like this, and nothing cuts it.
    pub(crate) fn heal(&mut self, shape: Shape) {
        self.shape = shape;
        self.left = None;
        // What left at the old rate goes on at the new one; what is stalled stays so to its front.
        let Some((first, _)) = self.flight.front() else { return };
        let mut due = *first;
        for (at, bytes) in &mut self.flight {
            due += shape.takes(bytes.len());
            *at = due.min(*at);
            self.busy_until = *at;
        }
    }

    /// Bytes that the sockets on the way still take.
    pub(crate) fn space(&self) -> usize {
        BUFFER.saturating_sub(self.flying)
    }

    /// When there is something to read.
    pub(crate) fn next(&self) -> Option<Moment> {
        if self.reset {
            return Some(Moment::default());
        }
        self.flight.front().map(|(at, _)| *at).or(self.end_at)
    }
}
