//! Waiting for the time of the next picture.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::time::{self, Moment};

/// Ends waits on several threads at once, for good.
#[derive(Debug, Default)]
pub struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// One that has not been called.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every wait, present and future.
    pub fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether it was called.
    pub fn is_stopped(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `deadline`; `false` when stopped before.
    pub fn wait_until(&self, deadline: Moment) -> bool {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = deadline.since(time::now());
            if *stopped || left.is_zero() {
                return !*stopped;
            }
            let waited = self.changed.wait_timeout(stopped, left);
            stopped = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Deadlines of pictures at a steady rate. They are counted from the first one, so that lateness does not add up.
#[derive(Debug, Clone)]
pub struct Pace {
    interval: f64,
    anchor: Option<Moment>,
    count: u64,
}

/// Who is later than this was asleep: pictures go on from now instead of coming in a burst.
const FORGET: Duration = Duration::from_millis(500);

impl Pace {
    /// `fps` pictures per second.
    pub fn new(fps: f64) -> Self {
        Self { interval: 1e6 / fps.clamp(0.01, 1000.0), anchor: None, count: 0 }
    }

    /// When the next picture is due; asked once a picture, the first time answered with `now`.
    pub fn next(&mut self, now: Moment) -> Moment {
        let anchor = *self.anchor.get_or_insert(now);
        let due = anchor + Duration::from_micros((self.count as f64 * self.interval) as u64);
        self.count += 1;
        if now.since(due) > FORGET {
            self.anchor = Some(now);
            self.count = 1;
            return now;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1000)
    }

    #[test]
    fn lateness_does_not_add_up() {
        let mut pace = Pace::new(30.0);
        let last = (0..301).map(|n| pace.next(at(n * 33 + n % 20))).last();
        assert_eq!(last, Some(at(10_000)));
    }

    #[test]
    fn who_was_asleep_goes_on_from_now() {
        let mut pace = Pace::new(10.0);
        assert_eq!(pace.next(at(0)), at(0));
        assert_eq!(pace.next(at(5)), at(100));
        assert_eq!(pace.next(at(3_600_000)), at(3_600_000));
        assert_eq!(pace.next(at(3_600_001)), at(3_600_100));
    }

    #[test]
    fn stop_ends_a_wait() {
        let stop = Stop::new();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| stop.wait_until(time::now() + Duration::from_secs(600)));
            stop.stop();
            assert!(!waiting.join().unwrap());
        });
        assert!(stop.is_stopped() && !stop.wait_until(Moment::default()));
    }
}
