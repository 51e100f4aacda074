//! What the server puts up with from one connection: how long it may take to say hello and to finish
//! a frame, how much it may send, how often it may be damaged.
//!
//! The server tells it what came in and asks what follows; [`limits`] holds the numbers.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits;
use crate::time::Moment;
use crate::wire::{Code, Kind};

/// What follows from a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Take it.
    Take,
    /// Take it, and read on then.
    TakeAndRest(Moment),
    /// Drop it; the first of a second's drops is told to the peer.
    Drop {
        /// Whether to say `rate_limited`.
        tell: bool,
    },
    /// Close the connection.
    Close(Code),
}

/// The judge of one connection.
#[derive(Debug)]
pub struct Guard {
    connected: Moment,
    admitted: bool,
    /// Since when a frame has been incomplete, and how much of it has come in.
    frame: Option<(Moment, u64)>,
    control: Bucket,
    extensions: Bucket,
    /// When all messages so far would have come at the rate.
    messages: Moment,
    media: Bucket,
    bytes: Bucket,
    damaged: VecDeque<Moment>,
    /// Since when the rate has been exceeded without a quiet second, and when that was last seen.
    flood: Option<(Moment, Moment)>,
    told: Option<Moment>,
}

impl Guard {
    /// For a connection that has just been accepted.
    pub fn new(now: Moment) -> Self {
        let bucket = |(rate, burst): (u32, u32)| Bucket::new(rate.into(), burst.into(), now);
        Self {
            connected: now,
            admitted: false,
            frame: None,
            control: bucket(limits::CONTROL_RATE),
            extensions: bucket(limits::EXTENSION_RATE),
            messages: now,
            media: bucket(limits::MEDIA_RATE),
            bytes: Bucket::new(limits::INGRESS_RATE.0, limits::INGRESS_RATE.1, now),
            damaged: VecDeque::new(),
            flood: None,
            told: None,
        }
    }

    /// The hello was accepted.
    pub fn handle_admitted(&mut self) {
        self.admitted = true;
    }

    /// `count` bytes came in that count against the budget, and `pending` of all that came belong to a frame that is not complete.
    /// When to read on, if not at once.
    pub fn handle_bytes(&mut self, count: usize, pending: usize, now: Moment) -> Option<Moment> {
        self.handle_progress(count, pending, now);
        self.spend(count, now)
    }

    /// `count` bytes came in, and `pending` of all that came belong to a frame that is not complete.
    pub fn handle_progress(&mut self, count: usize, pending: usize, now: Moment) {
        self.frame = match (pending, self.frame) {
            (0, _) => None,
            // A frame was finished in between: the rest belongs to one that has just begun.
            (n, Some(_)) if n <= count => Some((now, n as u64)),
            (n, Some((since, _))) => Some((since, n as u64)),
            (n, None) => Some((now, n as u64)),
        };
    }

    /// Takes `count` bytes off the budget. When to read on, if not at once.
    pub fn spend(&mut self, count: usize, now: Moment) -> Option<Moment> {
        self.bytes.spend(count as u64, now)
    }

    /// Nothing is read for now: a frame that has begun has its time again.
    pub fn handle_not_reading(&mut self, now: Moment) {
        self.frame = self.frame.map(|(_, got)| (now, got));
    }

    /// A whole frame of `kind` is there.
    pub fn handle_frame(&mut self, kind: &Kind, now: Moment) -> Verdict {
        let bucket = match kind {
            Kind::Control => &mut self.control,
            Kind::Message => return self.handle_message(now),
            Kind::Extension(_) => &mut self.extensions,
            // As slow as the disk.
            Kind::File => return Verdict::Take,
            Kind::Video | Kind::Audio => &mut self.media,
        };
        if bucket.take(now) {
            return Verdict::Take;
        }
        let since = match self.flood {
            Some((since, last)) if now.since(last) < Duration::from_secs(1) => since,
            _ => now,
        };
        self.flood = Some((since, now));
        if now.since(since) >= limits::FLOOD {
            return Verdict::Close(Code::Flood);
        }
        let tell = self.told.is_none_or(|told| now.since(told) >= Duration::from_secs(1));
        if tell {
            self.told = Some(now);
        }
        Verdict::Drop { tell }
    }

    /// Messages are never dropped: who sends too many is read more slowly.
    fn handle_message(&mut self, now: Moment) -> Verdict {
        let (rate, burst) = limits::MESSAGE_RATE;
        let interval = Duration::from_secs(1) / rate;
        self.messages = self.messages.max(now) + interval;
        let ahead = self.messages.since(now).saturating_sub(interval * burst);
        if ahead.is_zero() { Verdict::Take } else { Verdict::TakeAndRest(now + ahead) }
    }

    /// A frame did not match its checksum.
    pub fn handle_damaged(&mut self, now: Moment) -> Verdict {
        self.damaged.retain(|at| now.since(*at) < limits::DAMAGED_WINDOW);
        self.damaged.push_back(now);
        match self.damaged.len() {
            n if n >= limits::DAMAGED => Verdict::Close(Code::Checksum),
            _ => Verdict::Drop { tell: false },
        }
    }

    /// Whether the peer has used up its time. A time that is noticed [`limits::PAUSE`] too late does not
    /// count and begins again: this program was stopped meanwhile, and the peer could not be heard.
    pub fn handle_timeout(&mut self, now: Moment) -> Verdict {
        let Some(due) = self.poll_timeout().filter(|due| now >= *due) else { return Verdict::Take };
        if now >= due + limits::PAUSE {
            self.connected = now;
            self.frame = self.frame.map(|_| (now, 0));
            return Verdict::Take;
        }
        Verdict::Close(Code::Timeout)
    }

    /// When [`Self::handle_timeout`] is to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let hello = (!self.admitted).then(|| self.connected + limits::HELLO);
        let frame = self.frame.map(|(since, got)| {
            // A frame of which `got` bytes are there has paid for this long.
            let lasts = Duration::from_millis(got * 1000 / limits::FRAME_RATE + 1);
            since + lasts.max(limits::FRAME_GRACE)
        });
        hello.into_iter().chain(frame).min()
    }
}

/// A bucket of tokens that fills at a rate, up to a burst.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    burst: u64,
    /// In millionths of a token, so that no fraction is lost between two close calls.
    level: u128,
    at: Moment,
}

const MICRO: u128 = 1_000_000;

impl Bucket {
    fn new(rate: u64, burst: u64, now: Moment) -> Self {
        Self { rate, burst, level: u128::from(burst) * MICRO, at: now }
    }

    fn fill(&mut self, now: Moment) {
        let gained = now.since(self.at).as_micros() * u128::from(self.rate);
        self.level = (self.level + gained).min(u128::from(self.burst) * MICRO);
        self.at = now;
    }

    /// Takes one token, if there is one.
    fn take(&mut self, now: Moment) -> bool {
        self.fill(now);
        let enough = self.level >= MICRO;
        if enough {
            self.level -= MICRO;
        }
        enough
    }

    /// Takes `count` tokens. When there were too few, the moment at which there would have been enough.
    fn spend(&mut self, count: u64, now: Moment) -> Option<Moment> {
        self.fill(now);
        let cost = u128::from(count) * MICRO;
        let missing = cost.saturating_sub(self.level);
        self.level = self.level.saturating_sub(cost);
        let micros = missing / u128::from(self.rate);
        (missing > 0).then(|| now + Duration::from_micros(micros.min(u64::MAX.into()) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1_000)
    }

    #[test]
    fn s03_a_byte_a_second_does_not_extend_the_time_for_the_hello() {
        let mut slow = Guard::new(at(0));
        let closed = (0..60).find(|&second| {
            slow.handle_bytes(1, second as usize + 1, at(second * 1000));
            slow.handle_timeout(at(second * 1000)) == Verdict::Close(Code::Timeout)
        });
        assert_eq!(closed, Some(5), "a frame must go on faster than that");
        let mut silent = Guard::new(at(0));
        assert_eq!(silent.poll_timeout(), Some(at(8_000)));
        assert_eq!(silent.handle_timeout(at(7_999)), Verdict::Take);
        assert_eq!(silent.handle_timeout(at(8_000)), Verdict::Close(Code::Timeout));
    }

    #[test]
    fn w20_a_frame_that_is_begun_must_go_on() {
        let mut guard = Guard::new(at(0));
        guard.handle_admitted();
        guard.handle_bytes(50_000, 50_000, at(0));
        assert_eq!(guard.handle_timeout(at(5_000)), Verdict::Take, "50 KB pay for 6 s");
        assert_eq!(guard.handle_timeout(at(7_000)), Verdict::Close(Code::Timeout));
        guard.handle_bytes(50_000, 0, at(7_000));
        assert_eq!(
            guard.handle_timeout(at(60_000)),
            Verdict::Take,
            "between frames silence is the heartbeat's matter"
        );
    }

    #[test]
    fn s24_after_a_pause_of_the_server_a_begun_frame_has_its_time_again() {
        let mut guard = Guard::new(at(0));
        guard.handle_admitted();
        guard.handle_bytes(1_000, 1_000, at(0));
        assert_eq!(guard.handle_timeout(at(60_000)), Verdict::Take);
        assert_eq!(guard.handle_timeout(at(64_900)), Verdict::Take);
        assert_eq!(guard.handle_timeout(at(65_100)), Verdict::Close(Code::Timeout));
    }

    #[test]
    fn w21_ten_damaged_frames_in_a_minute_are_too_many() {
        let mut guard = Guard::new(at(0));
        for n in 0..30 {
            assert_eq!(guard.handle_damaged(at(n * 10_000)), Verdict::Drop { tell: false });
        }
        for n in 0..9 {
            assert_eq!(guard.handle_damaged(at(400_000 + n)), Verdict::Drop { tell: false });
        }
        assert_eq!(guard.handle_damaged(at(400_010)), Verdict::Close(Code::Checksum));
    }

    #[test]
    fn w33_ten_times_the_rate_is_dropped_told_once_a_second_and_closed_after_a_minute() {
        let mut guard = Guard::new(at(0));
        guard.handle_admitted();
        let (mut taken, mut told, mut closed) = (0, 0, None);
        for n in 0..62_000 {
            match guard.handle_frame(&Kind::Control, at(n)) {
                Verdict::Take | Verdict::TakeAndRest(_) => taken += 1,
                Verdict::Drop { tell } => told += u32::from(tell),
                Verdict::Close(code) => {
                    closed = Some((code, n));
                    break;
                }
            }
        }
        assert_eq!(closed.map(|(code, _)| code), Some(Code::Flood));
        assert!(closed.is_some_and(|(_, n)| n >= 60_000));
        assert!((6_000..6_400).contains(&taken), "{taken}");
        assert!((55..=61).contains(&told), "{told}");
    }

    #[test]
    fn w24_a_hundred_thousand_empty_frames_a_second_are_a_flood() {
        let mut guard = Guard::new(at(0));
        let kind = Kind::Extension("x-empty".into());
        let taken = (0..100_000).filter(|n| guard.handle_frame(&kind, at(n / 100)) == Verdict::Take).count();
        assert!(taken <= 50 + 20, "{taken}");
    }

    #[test]
    fn s15_more_bytes_than_the_budget_are_read_later() {
        let mut guard = Guard::new(at(0));
        assert_eq!(guard.handle_bytes(limits::INGRESS_RATE.1 as usize, 0, at(0)), None);
        let later = guard.handle_bytes(limits::INGRESS_RATE.0 as usize, 0, at(0));
        assert_eq!(later, Some(at(1_000)));
    }
}
