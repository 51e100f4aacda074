//! What one connection has asked to be sent of offers: request after request, piece after piece, each when
//! it is there and the connection has taken most of the one before.
//!
//! Bounds: [`limits::FETCHES`] requests of [`limits::FETCH_RANGES`] ranges, and one piece that is read. One more is
//! read ahead, so that the disk and the connection do not wait for each other, while fewer than [`AHEAD`] are on all
//! connections.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use super::depot::{Depot, Holding, Stock};
use crate::limits;
use crate::wire::control::Refusal;
use crate::wire::offer::Fetch;
use crate::wire::{Code, Part};

/// Pieces that are read ahead for all connections together: 64 MiB of the largest.
const AHEAD: usize = 64;
static READ_AHEAD: Semaphore = Semaphore::const_new(AHEAD);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Fetcher {
    requests: VecDeque<Serving>,
    /// Pieces of the first request that are being read, in order.
    reading: VecDeque<(oneshot::Receiver<Option<Bytes>>, Option<SemaphorePermit<'static>>)>,
}

#[derive(Debug)]
struct Serving {
    fetch: Fetch,
    stock: Arc<Stock>,
    /// Which range is being read, and which piece of it comes next.
    range: usize,
    next: u32,
}

/// What the connection sends next.
#[derive(Debug)]
pub(super) enum Served {
    /// A piece.
    Piece(Bytes),
    /// Everything that was asked for with this number has been sent.
    Done(u64),
    /// A request cannot be served any further.
    Refused(Refusal),
}

/// What comes next of a request.
enum Step {
    Read(u32),
    NextRange,
    End,
    Gone,
}

impl Fetcher {
    /// Takes a request for what is in `stock`, unless it makes no sense.
    pub(super) fn add(&mut self, fetch: Fetch, stock: Option<Arc<Stock>>) -> Result<(), Refusal> {
        let id = fetch.id;
        let refuse = |code, message: &str| {
            let mut refusal = Refusal::new(code, message);
            refusal.id = Some(id);
            Err(refusal)
        };
        let Some(stock) = stock else { return refuse(Code::Offer, "there is no such offer") };
        if self.requests.len() >= limits::FETCHES {
            return refuse(Code::Full, "too many requests wait on this connection");
        }
        let ranges = &fetch.ranges;
        let ordered = ranges.iter().all(|(from, to)| to.is_none_or(|to| *from < to));
        let open = ranges.iter().rev().skip(1).any(|(_, to)| to.is_none());
        if fetch.part == Part::About
            || ranges.is_empty()
            || ranges.len() > limits::FETCH_RANGES
            || !ordered
            || open
        {
            return refuse(
                Code::Conflict,
                "fetch: expected manifest, chunk or sums, and 1 to 1024 ranges of them",
            );
        }
        let next = ranges[0].0;
        self.requests.push_back(Serving { fetch, stock, range: 0, next });
        Ok(())
    }

    /// Ends a request; whether there was one.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        let Some(place) = self.requests.iter().position(|serving| serving.fetch.id == id) else {
            return false;
        };
        if place == 0 {
            self.reading.clear();
        }
        self.requests.remove(place).is_some()
    }

    /// Whether there is anything to be sent.
    pub(super) fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// What to send next; waits for pieces that are still to come, and for ever where nothing is wanted. When
    /// it is dropped before it answers, nothing is lost.
    pub(super) async fn next(&mut self, depot: &Depot) -> Served {
        loop {
            let Some(serving) = self.requests.front_mut() else { return std::future::pending().await };
            let id = serving.fetch.id;
            while self.reading.len() < 2
                && let Some(Step::Read(index)) = serving.step()
            {
                let ahead = if self.reading.is_empty() { None } else { READ_AHEAD.try_acquire().ok() };
                if !self.reading.is_empty() && ahead.is_none() {
                    break;
                }
                self.reading.push_back((depot.read(&serving.stock, serving.fetch.part, index), ahead));
                serving.next += 1;
            }
            if let Some((reading, _)) = self.reading.front_mut() {
                let found = reading.await;
                self.reading.pop_front();
                if let Ok(Some(bytes)) = found {
                    return Served::Piece(bytes);
                }
                self.reading.clear();
                let gone = serving.stock.holding().gone.is_some();
                self.requests.pop_front();
                return Served::Refused(match found {
                    Err(_) if !gone => busy(id),
                    _ => refusal(id, gone),
                });
            }
            let step = serving.stock.wait(|holding| serving.step_by(holding)).await;
            match step {
                Step::Read(_) => {}
                Step::NextRange => {
                    serving.range += 1;
                    serving.next = serving.fetch.ranges.get(serving.range).map_or(0, |range| range.0);
                }
                Step::End => {
                    self.requests.pop_front();
                    return Served::Done(id);
                }
                Step::Gone => {
                    self.requests.pop_front();
                    return Served::Refused(refusal(id, true));
                }
            }
        }
    }
}

impl Serving {
    /// What comes next, where that can be told now.
    fn step(&self) -> Option<Step> {
        self.step_by(&self.stock.holding())
    }

    fn step_by(&self, holding: &Holding) -> Option<Step> {
        let (part, next) = (self.fetch.part, self.next);
        let Some((_, to)) = self.fetch.ranges.get(self.range) else { return Some(Step::End) };
        match () {
            () if holding.gone.is_some() => Some(Step::Gone),
            () if to.is_some_and(|to| next >= to) => Some(Step::NextRange),
            () if holding.has(part, next) => Some(Step::Read(next)),
            () if holding.end(part).is_some_and(|end| next >= end) => Some(Step::NextRange),
            () => None,
        }
    }
}

/// The disk has more to read than it may have waiting.
fn busy(id: u64) -> Refusal {
    let mut refusal = Refusal::new(Code::RateLimited, "the server's disk is busy");
    (refusal.id, refusal.retry_after_ms) = (Some(id), Some(1_000));
    refusal
}

fn refusal(id: u64, gone: bool) -> Refusal {
    let mut refusal = match gone {
        true => Refusal::new(Code::Offer, "the offer is gone"),
        false => Refusal::new(Code::Internal, "the server cannot read what it has stored"),
    };
    refusal.id = Some(id);
    refusal
}
