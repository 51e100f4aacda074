//! When a picture is due.
//!
//! [`Stamps`] gives times to pictures that bring none (raw H.264, Y4M); [`Pacer`] holds pictures back
//! that come faster than their times, as from a file. Pure: time comes in as an argument.

use std::collections::HashMap;
use std::time::Duration;

use crate::id::TrackId;
use crate::time::Moment;

/// A live source may run this far ahead of its own times before it is held back.
const AHEAD: Duration = Duration::from_millis(500);
/// A step in the times beyond this is a cut in the recording, not a pause of the recorded.
const CUT: Duration = Duration::from_secs(10);
/// A picture that is this late was held up, and those behind it keep their distance from it instead of
/// rushing after the clock.
const LATE: Duration = Duration::from_millis(500);
/// A live picture that comes this much after its time begins a new count, because the source stood still.
const GAP: Duration = Duration::from_millis(200);

/// Holds pictures back until they are due.
#[derive(Debug)]
pub(super) struct Pacer {
    /// Every picture at its time, as from a file; else only those that are far ahead of it.
    exact: bool,
    /// Per track: when its first picture came, and that picture's time.
    anchors: HashMap<TrackId, (Moment, u64)>,
}

/// A first picture this old at most has its time from the clock of this machine.
const FRESH: Duration = Duration::from_secs(10);

impl Pacer {
    pub(super) fn new(exact: bool) -> Self {
        Self { exact, anchors: HashMap::new() }
    }

    /// When a picture of `track` with time `pts` that is here at `now` is to go out.
    pub(super) fn due(&mut self, track: TrackId, pts: u64, now: Moment) -> Moment {
        let captured = Moment::from_micros(pts);
        // A live picture that waited for the connection is no measure for those after it.
        let fresh = !self.exact && captured <= now && now.since(captured) < FRESH;
        let start = if fresh { captured } else { now };
        let (since, first) = *self.anchors.entry(track).or_insert((start, pts));
        let due = since + Duration::from_micros(pts.saturating_sub(first));
        let late = self.exact && now.since(due) > LATE;
        let lost = pts < first || late || due.since(now) > CUT;
        if lost {
            self.anchors.insert(track, (now, pts));
            return now;
        }
        match self.exact {
            true => due,
            false if due.since(now) > AHEAD => due - AHEAD,
            false => now,
        }
    }
}

/// Times for pictures that bring none, in microseconds since the first.
#[derive(Debug)]
pub(super) struct Stamps {
    /// Between two pictures, where that is known.
    interval: Option<Duration>,
    /// The pictures come from a file: when they are read says nothing.
    file: bool,
    next: Duration,
    start: Option<Moment>,
}

impl Stamps {
    /// `fps` is the nominal rate, if there is one.
    pub(super) fn new(fps: Option<f64>, file: bool) -> Self {
        let fps = fps.filter(|fps| (0.1..=1000.0).contains(fps)).or(file.then_some(25.0));
        let interval = fps.map(|fps| Duration::from_secs_f64(1.0 / fps));
        Self { interval, file, next: Duration::ZERO, start: None }
    }

    /// The time of the picture that is here at `now`.
    pub(super) fn stamp(&mut self, now: Moment) -> u64 {
        let elapsed = now.since(*self.start.get_or_insert(now));
        let stamp = match self.interval {
            None => elapsed.max(self.next),
            Some(_) if !self.file && elapsed > self.next + GAP => elapsed,
            Some(_) => self.next,
        };
        self.next = stamp + self.interval.unwrap_or(Duration::from_micros(1));
        stamp.as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACK: TrackId = TrackId(1);

    fn at(millis: u64) -> Moment {
        Moment::from_micros(1_000_000_000 + millis * 1000)
    }

    #[test]
    fn a_file_is_sent_at_its_own_pace() {
        let mut pacer = Pacer::new(true);
        for n in 0..100 {
            assert_eq!(pacer.due(TRACK, 7_000_000 + n * 40_000, at(0)), at(n * 40));
        }
    }

    #[test]
    fn a_live_source_is_held_back_only_when_it_runs_far_ahead() {
        let mut pacer = Pacer::new(false);
        assert_eq!(pacer.due(TRACK, 0, at(0)), at(0));
        assert_eq!(pacer.due(TRACK, 400_000, at(1)), at(1));
        assert_eq!(pacer.due(TRACK, 900_000, at(2)), at(400));
    }

    #[test]
    fn a_pause_of_a_live_source_holds_nothing_back_after_it() {
        let mut pacer = Pacer::new(false);
        assert_eq!(pacer.due(TRACK, 0, at(0)), at(0));
        for n in 1..150 {
            assert_eq!(pacer.due(TRACK, n * 33_000, at(5_000)), at(5_000));
        }
        let mut late = Pacer::new(false);
        let captured = |millis: u64| at(millis).micros();
        for n in 0..150 {
            assert_eq!(late.due(TRACK, captured(n * 33), at(5_000)), at(5_000), "waited for a connection");
        }
    }

    #[test]
    fn cuts_and_hold_ups_begin_a_new_count() {
        let mut pacer = Pacer::new(true);
        pacer.due(TRACK, 5_000_000, at(0));
        assert_eq!(pacer.due(TRACK, 0, at(10)), at(10), "concatenated recordings");
        assert_eq!(pacer.due(TRACK, 60_000_000, at(20)), at(20), "a jump");
        assert_eq!(pacer.due(TRACK, 60_040_000, at(5_000)), at(5_000), "a stall");
        assert_eq!(pacer.due(TRACK, 60_080_000, at(5_001)), at(5_040));
    }

    #[test]
    fn stamps_are_nominal_where_the_rate_is_known() {
        let mut file = Stamps::new(None, true);
        assert_eq!([0, 1, 2].map(|n| file.stamp(at(n))), [0, 40_000, 80_000]);
        let mut live = Stamps::new(Some(50.0), false);
        assert_eq!([0, 15, 45, 900, 925].map(|n| live.stamp(at(n))), [0, 20_000, 40_000, 900_000, 920_000]);
        let mut unknown = Stamps::new(None, false);
        assert_eq!([0, 33, 33].map(|n| unknown.stamp(at(n))), [0, 33_000, 33_001]);
    }
}
