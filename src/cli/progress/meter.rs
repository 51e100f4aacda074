//! How fast something goes, and how long it will still take.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Moment;

/// What the rate is taken over: long enough that batches do not show, short enough that a change does.
const SPAN: Duration = Duration::from_secs(5);
/// Two samples are at least this far apart, so that there are few.
const APART: Duration = Duration::from_millis(100);

/// The rate of the last [`SPAN`].
#[derive(Debug, Default)]
pub(in crate::cli) struct Meter {
    samples: VecDeque<(Moment, u64)>,
}

impl Meter {
    /// So many bytes have moved by now. A count that went back begins anew.
    pub(in crate::cli) fn push(&mut self, bytes: u64, now: Moment) {
        if self.samples.back().is_some_and(|&(_, last)| bytes < last) {
            self.samples.clear();
        }
        if self.samples.back().is_some_and(|&(at, _)| now.since(at) < APART) {
            return;
        }
        self.samples.push_back((now, bytes));
        // The first that is older stays: it is where the span begins.
        while self.samples.get(1).is_some_and(|&(at, _)| now.since(at) >= SPAN) {
            self.samples.pop_front();
        }
    }

    /// Bytes per second; nothing before there is something to tell.
    pub(in crate::cli) fn rate(&self) -> Option<f64> {
        let (&(from, before), &(to, after)) = (self.samples.front()?, self.samples.back()?);
        let span = to.since(from).as_secs_f64();
        (span > 0.0).then(|| (after - before) as f64 / span)
    }

    /// How long `bytes` more will take; nothing where that is a guess.
    pub(in crate::cli) fn left(&self, bytes: u64) -> Option<Duration> {
        let seconds = bytes as f64 / self.rate().filter(|rate| *rate >= 1.0)?;
        Duration::try_from_secs_f64(seconds.ceil()).ok().filter(|left| left.as_secs() < 100 * 86_400)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_micros(millis * 1000)
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut meter = Meter::default();
        assert_eq!(meter.rate(), None);
        for tenth in 0..100 {
            meter.push(tenth * 1_000, at(tenth * 100));
        }
        assert_eq!(meter.rate().unwrap().round(), 10_000.0);
        for tenth in 100..200 {
            meter.push(99_000, at(tenth * 100));
        }
        assert_eq!((meter.rate(), meter.left(5)), (Some(0.0), None));
        assert!(meter.samples.len() < 60);
    }

    #[test]
    fn a_count_that_goes_back_begins_anew() {
        let mut meter = Meter::default();
        meter.push(1_000_000, at(0));
        meter.push(0, at(1000));
        meter.push(500, at(1500));
        assert_eq!(meter.rate(), Some(1000.0));
        assert_eq!(meter.left(2500), Some(Duration::from_secs(3)));
    }
}
