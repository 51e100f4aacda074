//! From a publisher's time stamps to due times.

use std::collections::VecDeque;
use std::time::Duration;

use super::{CEILING, FLOOR, LATE};
use crate::time::Moment;

/// How many arrivals the delay is judged by: four seconds at 30 pictures a second.
const WINDOW: usize = 128;
/// The reference rises by this part of the time that passes: twice what bad quartz drifts apart (FAULTS V09).
const CREEP: i64 = 1000;
/// The delay falls by this part of the time that passes, so that one burst is remembered for a while.
const RELAX: i64 = 50;
/// Lateness that stays for this long without getting less is not a queue that empties but a clock that was set.
const PATIENCE: Duration = Duration::from_millis(400);
/// A step between two time stamps that differs from the step between their arrivals by more than this is odd.
const ODD: i64 = 1_500_000;
/// So many odd ones among the last 32, and time stamps are not believed any more (FAULTS V10).
const DISTRUST: u32 = 8;

/// When an access unit is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// To be decoded and seen at this moment; never more than [`CEILING`] after its arrival.
    pub at: Moment,
    /// Whether it is to be seen at all, or only decoded because later ones need it.
    pub show: bool,
}

#[derive(Debug, Clone, Copy)]
struct Arrival {
    at: i64,
    pts: i64,
}

#[derive(Debug, Clone, Copy)]
struct Lateness {
    since: i64,
    /// How late the first one was.
    first: i64,
}

/// The clock of one publisher.
#[derive(Debug, Default)]
pub struct Clock {
    /// Smallest (arrival - time stamp), in microseconds.
    reference: Option<i64>,
    last: Option<Arrival>,
    /// How much later than the reference the last ones came.
    delays: VecDeque<i64>,
    target: i64,
    late: Option<Lateness>,
    /// One bit for each of the last 32 arrivals: whether its step was odd.
    odd: u32,
}

impl Clock {
    /// An access unit with time stamp `pts` (microseconds on the publisher's clock) came in at `now`.
    pub fn handle_arrival(&mut self, now: Moment, pts: u64) -> Due {
        let arrival = Arrival {
            at: i64::try_from(now.micros()).unwrap_or(i64::MAX),
            // Half the range, so that no difference overflows.
            pts: i64::try_from(pts).unwrap_or(i64::MAX) / 2 * 2 % (1 << 61),
        };
        let last = self.last.replace(arrival);
        let passed = last.map_or(0, |last| (arrival.at - last.at).max(0));
        if let Some(last) = last {
            let step = arrival.pts - last.pts;
            let odd = step <= 0 || (step - passed).abs() > ODD;
            self.odd = self.odd << 1 | u32::from(odd);
        }
        if self.is_distrusted() {
            self.forget();
            return Due { at: now, show: true };
        }
        let transit = arrival.at - arrival.pts;
        let crept = self.reference.map_or(transit, |r| r + passed / CREEP);
        let reference = crept.min(transit);
        self.reference = Some(reference);
        let delay = transit - reference;
        if delay > LATE.as_micros() as i64 {
            return self.handle_late(now, arrival, delay);
        }
        self.late = None;
        self.adapt(delay, passed);
        let wait = (self.target - delay).max(0);
        Due { at: now + Duration::from_micros(wait as u64), show: true }
    }

    /// The delay that is being kept, on top of the fastest way.
    pub fn target(&self) -> Duration {
        Duration::from_micros(self.target.max(0) as u64).max(FLOOR)
    }

    /// How long nothing has come; `None` before the first.
    pub fn age(&self, now: Moment) -> Option<Duration> {
        self.last.map(|last| now.since(Moment::from_micros(last.at as u64)))
    }

    /// Whether pictures are shown as they come because the time stamps make no sense.
    pub fn is_distrusted(&self) -> bool {
        self.odd.count_ones() >= DISTRUST
    }

    /// Much too late: the rest of a pause that is coming in at once, or a clock that was set back.
    fn handle_late(&mut self, now: Moment, arrival: Arrival, delay: i64) -> Due {
        let late = *self.late.get_or_insert(Lateness { since: arrival.at, first: delay });
        let passed = arrival.at - late.since;
        let gained = late.first - delay;
        if passed >= PATIENCE.as_micros() as i64 && gained * 2 < passed {
            self.forget();
            self.reference = Some(arrival.at - arrival.pts);
            self.last = Some(arrival);
            return Due { at: now, show: true };
        }
        Due { at: now, show: false }
    }

    fn adapt(&mut self, delay: i64, passed: i64) {
        if self.delays.len() == WINDOW {
            self.delays.pop_front();
        }
        self.delays.push_back(delay);
        let mut sorted: Vec<i64> = self.delays.iter().copied().collect();
        let index = (sorted.len() * 95 / 100).min(sorted.len() - 1);
        let (_, percentile, _) = sorted.select_nth_unstable(index);
        let wanted = (*percentile).clamp(FLOOR.as_micros() as i64, CEILING.as_micros() as i64);
        self.target = wanted.max(self.target - passed / RELAX);
    }

    fn forget(&mut self) {
        self.reference = None;
        self.delays.clear();
        self.target = 0;
        self.late = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PICTURE: u64 = 33_333;

    /// Plays (arrival, time stamp) pairs and returns, for each, how long after its arrival it is due and whether
    /// it is seen.
    fn play(clock: &mut Clock, events: impl IntoIterator<Item = (u64, u64)>) -> Vec<(u64, bool)> {
        let one = |(at, pts)| {
            let now = Moment::from_micros(at);
            let due = clock.handle_arrival(now, pts);
            assert!(due.at >= now && due.at.since(now) <= LATE, "never in the past, never beyond the bound");
            (due.at.micros() - at, due.show)
        };
        events.into_iter().map(one).collect()
    }

    /// A generator of numbers that look random, the same each time.
    fn noise(seed: u64) -> impl FnMut(u64) -> u64 {
        let mut state = seed;
        move |below| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        }
    }

    #[test]
    fn a_steady_stream_is_delayed_by_the_floor() {
        let due =
            play(&mut Clock::default(), (0..300).map(|i| (1_000_000 + i * PICTURE, 77_000 + i * PICTURE)));
        assert!(due.iter().all(|d| *d == (FLOOR.as_micros() as u64, true)), "{due:?}");
    }

    #[test]
    fn jitter_is_covered_and_pictures_become_even() {
        let mut random = noise(1);
        let mut clock = Clock::default();
        let arrivals: Vec<(u64, u64)> =
            (0..600).map(|i| (1_000_000 + i * PICTURE + random(40_000), i * PICTURE)).collect();
        let due = play(&mut clock, arrivals.iter().copied());
        let shown: Vec<i64> = arrivals.iter().zip(&due).map(|(a, d)| (a.0 + d.0) as i64).collect();
        let uneven = shown[200..].windows(2).filter(|w| (w[1] - w[0] - PICTURE as i64).abs() > 4_000).count();
        assert!(uneven < 40, "{uneven} of 400 intervals are uneven");
        assert!((35..=60).contains(&clock.target().as_millis()), "{:?}", clock.target());
    }

    #[test]
    fn v09_half_a_thousandth_of_drift_and_ten_seconds_of_skew() {
        for sign in [-1i64, 1] {
            let mut clock = Clock::default();
            let mut random = noise(2);
            let hour = 3600 * 30;
            let due = play(
                &mut clock,
                (0..hour).map(|i| {
                    let sent = i * PICTURE;
                    let pts = 10_000_000 + (sent as i64 + sign * sent as i64 / 2000) as u64;
                    (20_000_000 + sent + random(8_000), pts)
                }),
            );
            assert!(due.iter().all(|d| d.1), "nothing is dropped");
            assert!(clock.target() < Duration::from_millis(30), "{:?}", clock.target());
            assert!(due.iter().all(|d| d.0 < 30_000));
        }
    }

    #[test]
    fn v10_constant_time_stamps_are_shown_as_they_come() {
        let due = play(&mut Clock::default(), (0..300).map(|i| (1_000_000 + i * PICTURE, 5)));
        assert!(due[40..].iter().all(|d| *d == (0, true)));
        assert!(due.iter().filter(|d| !d.1).count() == 0, "{due:?}");
    }

    #[test]
    fn v10_random_time_stamps_are_shown_as_they_come() {
        let mut random = noise(3);
        let due =
            play(&mut Clock::default(), (0..300).map(|i| (1_000_000 + i * PICTURE, random(u64::MAX >> 12))));
        assert!(due[40..].iter().all(|d| *d == (0, true)), "{due:?}");
    }

    #[test]
    fn v10_good_time_stamps_are_believed_again() {
        let mut clock = Clock::default();
        play(&mut clock, (0..100).map(|i| (1_000_000 + i * PICTURE, 5)));
        assert!(clock.is_distrusted());
        play(&mut clock, (100..200).map(|i| (1_000_000 + i * PICTURE, i * PICTURE)));
        assert!(!clock.is_distrusted());
    }

    #[test]
    fn v11_a_pause_of_an_hour_ends_without_a_picture_show() {
        let hour = 3_600_000_000;
        // The publisher was asleep: nothing came, and then its time stamps go on with the clock.
        let mut clock = Clock::default();
        play(&mut clock, (0..100).map(|i| (1_000_000 + i * PICTURE, i * PICTURE)));
        let due = play(&mut clock, (100..200).map(|i| (1_000_000 + hour + i * PICTURE, hour + i * PICTURE)));
        assert!(due.iter().all(|d| d.1 && d.0 <= 10_000), "{due:?}");
        // Its time stamps stood still meanwhile: the present is shown within half a second.
        let mut clock = Clock::default();
        play(&mut clock, (0..100).map(|i| (1_000_000 + i * PICTURE, i * PICTURE)));
        let due = play(&mut clock, (100..200).map(|i| (1_000_000 + hour + i * PICTURE, i * PICTURE)));
        assert!(due[15..].iter().all(|d| d.1 && d.0 <= 10_000), "{due:?}");
        // The network was gone and gives everything at once.
        let mut clock = Clock::default();
        play(&mut clock, (0..100).map(|i| (1_000_000 + i * PICTURE, i * PICTURE)));
        let back = 1_000_000 + 100 * PICTURE + 10_000_000;
        let due = play(&mut clock, (100..400).map(|i| (back + (i - 100) * 1000, i * PICTURE)));
        let seen = due.iter().filter(|d| d.1).count();
        assert!((1..=30).contains(&seen), "{seen} of 300 pictures that came at once were seen");
        assert!(due.last().expect("some").1, "and the last is one of them");
    }

    #[test]
    fn the_age_is_that_of_the_last_arrival() {
        let mut clock = Clock::default();
        assert_eq!(clock.age(Moment::from_micros(5)), None);
        clock.handle_arrival(Moment::from_micros(1_000_000), 7);
        assert_eq!(clock.age(Moment::from_micros(4_000_000)), Some(Duration::from_secs(3)));
    }

    proptest! {
        #[test]
        fn v09_any_arrivals_wait_no_longer_than_the_bound(
            events in prop::collection::vec((0u64..100_000_000, any::<u64>()), 0..200),
        ) {
            let mut at = 0;
            let events = events.into_iter().map(|(step, pts)| { at += step; (at, pts) });
            play(&mut Clock::default(), events);
        }
    }
}
