//! From a publisher's time stamps to due times.

use std::collections::VecDeque;
use std::time::Duration;

use super::{CEILING, FLOOR, LATE};
use crate::time::Moment;

/// How many arrivals the delay is judged by: four seconds at 30 pictures a second.
const WINDOW: usize = 128;
/// The reference rises by this part of the time that passes: twice what bad quartz drifts apart (FAULTS V09).
const CREEP: i64 = 1000;
/// The delay falls by this part of the time that passes: pictures are played 1.1 times as fast, and no faster.
const RELAX: i64 = 10;
/// When nothing has come for so long, what comes then is old until it comes no faster than it was captured.
const GAP: i64 = 1_000_000;
/// A reference that falls by more than this was that of pictures which waited somewhere: a jump to the present.
const JUMP: i64 = 100_000;
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
    /// Whether it comes from the present. What is played again from a cache, or comes in after a gap, does not, and its
    /// age says nothing about the way here.
    pub live: bool,
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

/// The past, which comes in faster than it was captured.
#[derive(Debug, Default)]
struct Replay {
    last: Option<Arrival>,
}

/// The clock of one publisher.
#[derive(Debug)]
pub struct Clock {
    /// Smallest (arrival - time stamp), in microseconds.
    reference: Option<i64>,
    last: Option<Arrival>,
    /// How much later than the reference the last ones came.
    delays: VecDeque<i64>,
    /// What added to a time stamp gives the moment when it is seen: reference and delay.
    offset: Option<i64>,
    late: Option<Lateness>,
    /// One bit for each of the last 32 arrivals: whether its step was odd.
    odd: u32,
    replay: Option<Replay>,
    /// Something has been seen.
    seen: bool,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            reference: None,
            last: None,
            delays: VecDeque::new(),
            offset: None,
            late: None,
            odd: 0,
            // Whoever comes to a room gets what is cached first.
            replay: Some(Replay::default()),
            seen: false,
        }
    }
}

impl Clock {
    /// An access unit with time stamp `pts` (microseconds on the publisher's clock) came in at `now`.
    pub fn handle_arrival(&mut self, now: Moment, pts: u64) -> Due {
        let due = self.judge(now, pts);
        self.seen |= due.show;
        due
    }

    /// The way here begins anew: what comes first is played again from a cache (docs/protocol.md 7.6).
    pub fn expect_replay(&mut self) {
        self.forget();
        self.replay = Some(Replay::default());
    }

    fn judge(&mut self, now: Moment, pts: u64) -> Due {
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
            if passed > GAP && step * 2 < passed {
                self.replay.get_or_insert_default();
            }
        }
        if self.is_distrusted() {
            self.forget();
            return Due { at: now, show: true, live: true };
        }
        let transit = arrival.at - arrival.pts;
        if self.is_past(arrival) {
            let in_time =
                self.reference.is_some_and(|reference| transit - reference <= LATE.as_micros() as i64);
            return Due { at: now + FLOOR, show: !self.seen || in_time, live: false };
        }
        let crept = self.reference.map_or(transit, |r| r + passed / CREEP);
        let reference = crept.min(transit);
        self.reference = Some(reference);
        let delay = transit - reference;
        if delay > LATE.as_micros() as i64 {
            return self.handle_late(now, arrival, delay);
        }
        self.late = None;
        let wanted = reference + self.target_for(delay);
        let eases = passed <= GAP && crept - reference <= JUMP;
        let floor = self.offset.filter(|_| eases).map(|offset| offset - passed / RELAX);
        let offset = floor.map_or(wanted, |floor| wanted.max(floor));
        self.offset = Some(offset);
        let wait = (offset - transit).clamp(0, CEILING.as_micros() as i64);
        Due { at: now + Duration::from_micros(wait as u64), show: true, live: true }
    }

    /// Whether `arrival` still belongs to what is played again. That ends with the first that comes about as long after
    /// the one before it as it was captured after it, and the clock goes on from there.
    fn is_past(&mut self, arrival: Arrival) -> bool {
        let Some(replay) = &mut self.replay else { return false };
        let last = replay.last.replace(arrival);
        if last.is_none_or(|last| (arrival.at - last.at) * 2 < arrival.pts - last.pts) {
            return true;
        }
        let transit = arrival.at - arrival.pts;
        let reference = self.reference.filter(|r| transit - r <= CEILING.as_micros() as i64);
        self.forget();
        self.reference = reference;
        self.replay = None;
        false
    }

    /// The delay that is being kept, on top of the fastest way.
    pub fn target(&self) -> Duration {
        let delay = self.offset.zip(self.reference).map_or(0, |(offset, reference)| offset - reference);
        Duration::from_micros(delay.max(0) as u64).max(FLOOR)
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
            return Due { at: now, show: true, live: true };
        }
        Due { at: now, show: false, live: true }
    }

    /// The delay that covers 95 of the last 100 arrivals, of which this is one.
    fn target_for(&mut self, delay: i64) -> i64 {
        if self.delays.len() == WINDOW {
            self.delays.pop_front();
        }
        self.delays.push_back(delay);
        let mut sorted: Vec<i64> = self.delays.iter().copied().collect();
        let index = (sorted.len() * 95 / 100).min(sorted.len() - 1);
        let (_, percentile, _) = sorted.select_nth_unstable(index);
        (*percentile).clamp(FLOOR.as_micros() as i64, CEILING.as_micros() as i64)
    }

    fn forget(&mut self) {
        self.reference = None;
        self.delays.clear();
        self.offset = None;
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

    /// Pictures since number `first` that come as they are captured.
    fn live(first: u64, count: u64) -> impl Iterator<Item = (u64, u64)> {
        (first..first + count).map(|i| (1_000_000 + i * PICTURE, i * PICTURE))
    }

    /// What is cached of the 30 pictures before number `now`, all at once, without the upper layers.
    fn cached(now: u64) -> impl Iterator<Item = (u64, u64)> {
        (now - 30..now).step_by(2).map(move |i| (1_000_000 + now * PICTURE - 1_000, i * PICTURE))
    }

    #[test]
    fn who_joins_sees_the_first_picture_at_once_and_then_the_present_without_a_delay() {
        let mut clock = Clock::default();
        let due = play(&mut clock, cached(60));
        assert_eq!(due.iter().filter(|d| d.1).count(), 1, "one of the past, at once: {due:?}");
        assert!(due[0].1 && due[0].0 <= 10_000);
        let due = play(&mut clock, live(60, 60));
        assert!(due[1..].iter().all(|d| *d == (FLOOR.as_micros() as u64, true)), "{due:?}");
    }

    #[test]
    fn what_is_played_again_is_not_live_and_what_follows_is() {
        let mut clock = Clock::default();
        let mut alive = |(at, pts): (u64, u64)| clock.handle_arrival(Moment::from_micros(at), pts).live;
        assert!(!cached(60).any(&mut alive), "the age of a cached picture is no latency");
        let alive: Vec<bool> = live(60, 60).map(&mut alive).collect();
        assert!(alive[1..].iter().all(|live| *live), "{alive:?}");
    }

    #[test]
    fn after_a_broken_link_the_picture_is_as_near_as_before() {
        let mut clock = Clock::default();
        play(&mut clock, live(0, 300));
        clock.expect_replay();
        play(&mut clock, cached(900));
        let due = play(&mut clock, live(900, 60));
        assert!(due[1..].iter().all(|d| *d == (FLOOR.as_micros() as u64, true)), "{due:?}");
        // The same, but the connection stayed and gives what had waited in it.
        let back = 1_000_000 + 1_600 * PICTURE;
        play(&mut clock, (960..1600).map(|i| (back + (i - 960) * 20, i * PICTURE)));
        let due = play(&mut clock, live(1601, 60));
        assert!(due[1..].iter().all(|d| *d == (FLOOR.as_micros() as u64, true)), "{due:?}");
    }

    #[test]
    fn a_slow_link_is_forgotten_within_seconds_and_never_played_faster_than_a_tenth() {
        let mut clock = Clock::default();
        let mut random = noise(4);
        let slow = live(0, 300).map(|(at, pts)| (at + random(280_000), pts)).collect::<Vec<_>>();
        let mut last = 0;
        let slow: Vec<(u64, u64)> = slow
            .into_iter()
            .map(|(at, pts)| {
                last = at.max(last);
                (last, pts)
            })
            .collect();
        play(&mut clock, slow);
        assert!(clock.target().as_millis() > 200, "{:?}", clock.target());
        let arrivals: Vec<(u64, u64)> = live(310, 300).collect();
        let due = play(&mut clock, arrivals.iter().copied());
        let shown: Vec<u64> = arrivals.iter().zip(&due).map(|(a, d)| a.0 + d.0).collect();
        let fastest = shown.windows(2).map(|w| w[1] - w[0]).min().unwrap();
        assert!(fastest >= PICTURE * 9 / 10 - 1_000, "{fastest}");
        assert!(due[8 * 30..].iter().all(|d| d.0 <= 10_000), "8 s later: {:?}", &due[200..]);
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
