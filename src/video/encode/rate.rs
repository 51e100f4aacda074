//! The bitrate that the way out takes.
//!
//! Additive increase, multiplicative decrease, as in TCP, over a pipe instead of a network: a picture that had to be
//! dropped because there was no room for it says "less", seconds without one say "more". The time it takes to fill a
//! pipe is not a round trip, so both steps wait for the effect of the one before.

use std::time::Duration;

use crate::time::Moment;

/// Decides the bitrate of an encoder. No clock, no encoder: tell it what happens and ask with [`poll`](Self::poll).
#[derive(Debug, Clone)]
pub struct Rate {
    target: u32,
    current: u32,
    told: u32,
    /// What the other end says that its network carries.
    ceiling: u32,
    last_cut: Option<Moment>,
    last_step: Moment,
}

/// A cut needs this long until the pictures in the pipe are the smaller ones.
const CUT_INTERVAL: Duration = Duration::from_millis(400);
const CUT: f64 = 0.75;
/// Nothing grows until this long after the last drop.
const REST: Duration = Duration::from_secs(2);
const STEP_INTERVAL: Duration = Duration::from_millis(500);
/// Share of the target that a step adds: from the floor to the target in some ten seconds.
const STEP: f64 = 0.05;
/// Below this share of the target, or below so many bits per second, pictures are better dropped than encoded worse.
const FLOOR_SHARE: f64 = 0.1;
const FLOOR: u32 = 64_000;
/// Changes below this share are not worth telling the encoder.
const NOTICEABLE: f64 = 0.04;
/// What is said to be carried holds headers and bursts too.
const HEADROOM: f64 = 0.85;

impl Rate {
    /// Starts at `target`, the bitrate that was asked for, and never goes above it.
    pub fn new(target: u32, now: Moment) -> Self {
        Self { target, current: target, told: target, ceiling: u32::MAX, last_cut: None, last_step: now }
    }

    /// A picture was dropped because there was no room for it.
    pub fn handle_drop(&mut self, now: Moment) {
        if self.last_cut.is_none_or(|cut| now.since(cut) >= CUT_INTERVAL) {
            self.current = (f64::from(self.current) * CUT) as u32;
            self.last_cut = Some(now);
        }
        self.last_step = now;
        self.bound();
    }

    /// The other end says that its network carries `bps`.
    pub fn handle_estimate(&mut self, bps: u32) {
        self.ceiling = (f64::from(bps) * HEADROOM) as u32;
        self.bound();
    }

    /// The new bitrate, if it is to change.
    pub fn poll(&mut self, now: Moment) -> Option<u32> {
        let rested = self.last_cut.is_none_or(|cut| now.since(cut) >= REST);
        if rested && self.current < self.target && now.since(self.last_step) >= STEP_INTERVAL {
            self.current = self.current.saturating_add((f64::from(self.target) * STEP) as u32);
            self.last_step = now;
            self.bound();
        }
        let change = f64::from(self.current.abs_diff(self.told));
        let reached = self.current == self.target && self.told != self.target;
        (change >= f64::from(self.told) * NOTICEABLE || reached).then(|| {
            self.told = self.current;
            self.told
        })
    }

    /// The bitrate at present, in bits per second.
    pub fn current(&self) -> u32 {
        self.current
    }

    fn bound(&mut self) {
        let floor = ((f64::from(self.target) * FLOOR_SHARE) as u32).max(FLOOR).min(self.target);
        self.current = self.current.min(self.ceiling).clamp(floor, self.target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1000)
    }

    #[test]
    fn c09_drops_lower_the_bitrate_and_quiet_brings_it_back() {
        let mut rate = Rate::new(1_000_000, at(0));
        assert_eq!(rate.poll(at(0)), None);
        rate.handle_drop(at(10));
        rate.handle_drop(at(20));
        assert_eq!(rate.poll(at(20)), Some(750_000), "one cut for a burst of drops");
        rate.handle_drop(at(500));
        assert_eq!(rate.poll(at(500)), Some(562_500));
        assert_eq!(rate.poll(at(2400)), None, "rests after a drop");
        let back = (2500..20_000).step_by(33).find(|ms| {
            rate.poll(at(*ms));
            rate.current() == 1_000_000
        });
        assert!(back.is_some_and(|ms| ms < 10_000), "{back:?}");
    }

    #[test]
    fn an_estimate_is_a_ceiling() {
        let mut rate = Rate::new(1_000_000, at(0));
        rate.handle_estimate(400_000);
        assert_eq!(rate.poll(at(0)), Some(340_000));
        for ms in 0..20_000 {
            rate.poll(at(ms));
        }
        assert_eq!(rate.current(), 340_000);
        rate.handle_estimate(10_000_000);
        for ms in 20_000..40_000 {
            rate.poll(at(ms));
        }
        assert_eq!(rate.current(), 1_000_000);
    }

    proptest! {
        #[test]
        fn whatever_happens_it_stays_between_floor_and_target(
            target in 1u32..20_000_000,
            events in proptest::collection::vec((0u64..2000, 0u8..3, any::<u32>()), 0..200),
        ) {
            let mut rate = Rate::new(target, at(0));
            let mut now = 0;
            for (wait, event, estimate) in events {
                now += wait;
                match event {
                    0 => rate.handle_drop(at(now)),
                    1 => rate.handle_estimate(estimate),
                    _ => {
                        rate.poll(at(now));
                    }
                }
                prop_assert!(rate.current() <= target && rate.current() >= (target / 10).min(target));
            }
        }
    }
}
