//! How long to wait before the next try: twice as long each time, with jitter, so that a thousand
//! clients of a server that restarts do not come back in the same instant.

use std::time::Duration;

use super::random::Random;
use crate::limits;

/// Longest pause that a server may ask for.
const ASKED: Duration = Duration::from_secs(300);

/// The pauses between tries in a row.
#[derive(Debug, Clone)]
pub struct Backoff {
    random: Random,
    tries: u32,
    /// Tries that are allowed.
    limit: Option<u32>,
}

impl Backoff {
    /// No try has failed yet; `limit` is how many may be made, without it any number.
    pub fn new(seed: u64, limit: Option<u32>) -> Self {
        Self { random: Random::new(seed), tries: 0, limit }
    }

    /// The pause before the next try, from half the step to the whole step: 0.25 to 0.5 s at first, 5 to
    /// 10 s at last. Where the server said `retry_after`, the pause is at least as long as that. `None`
    /// when the tries are used up.
    pub fn pause(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        if self.limit.is_some_and(|limit| self.tries >= limit) {
            return None;
        }
        let doublings = self.tries.min(16);
        self.tries += 1;
        let step = (limits::BACKOFF_FIRST * 2).saturating_mul(1 << doublings).min(limits::BACKOFF_LAST);
        let jittered = step.mul_f64(0.5 + 0.5 * self.random.fraction());
        // The clients of a server that named a time get the same jitter on top of it.
        Some(retry_after.map_or(jittered, |asked| asked.min(ASKED) + jittered - limits::BACKOFF_FIRST))
    }

    /// Tries in a row so far.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// There was a welcome: the next pause is a short one again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_their_bounds_and_begin_anew() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(seed, None);
            for n in 0..40 {
                let step = (0.5 * 2_f64.powi(n)).min(10.0);
                let pause = backoff.pause(None).unwrap().as_secs_f64();
                assert!((step / 2.0..=step).contains(&pause), "{n}: {pause}");
            }
            backoff.reset();
            assert!(backoff.pause(None).unwrap() <= Duration::from_millis(500));
        }
    }

    #[test]
    fn tries_are_counted_and_end() {
        let mut backoff = Backoff::new(1, Some(2));
        assert!(backoff.pause(None).is_some());
        assert!(backoff.pause(None).is_some());
        assert_eq!(backoff.pause(None), None);
        assert_eq!(Backoff::new(1, Some(0)).pause(None), None);
    }

    #[test]
    fn a_time_that_the_server_names_is_honoured_but_not_any_time() {
        let mut backoff = Backoff::new(1, None);
        let asked = Duration::from_secs(7);
        let pause = backoff.pause(Some(asked)).unwrap();
        assert!(pause >= asked && pause <= asked + Duration::from_millis(250));
        assert!(backoff.pause(Some(Duration::MAX)).unwrap() < Duration::from_secs(320));
    }

    #[test]
    fn x12_a_thousand_clients_do_not_come_back_together() {
        let mut slots = [0; 10];
        for seed in 0..1000 {
            let pause = Backoff::new(seed, None).pause(None).unwrap();
            slots[((pause.as_millis() - 250) / 25).min(9) as usize] += 1;
        }
        assert!(slots.iter().all(|&n| (60..140).contains(&n)), "{slots:?}");
    }
}
