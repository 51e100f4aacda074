//! Which pictures of a live pipe come too late to be sent.
//!
//! What stood in the pipe while this program could not run is old, and sending it would make everything
//! after it late for ever. How late a picture is shows in how long after its time it is here, compared
//! with the smallest such delay of late; no clocks need to agree. After one that is too late all are
//! dropped until they are in time again, and then until a keyframe. Pure: time comes in as an argument.

use std::collections::HashMap;
use std::time::Duration;

use crate::id::TrackId;
use crate::time::Moment;
use crate::wire::{Media, Rendition};

/// More than this behind is too late.
const LATE: Duration = Duration::from_millis(250);
/// Where the network is what takes its time, the encoder gets less to do by and by; a keyframe would
/// make it worse.
const LATE_BY_NETWORK: Duration = Duration::from_secs(2);
/// Less than this behind is in time.
const CAUGHT_UP: Duration = Duration::from_millis(100);
/// The smallest delay counts for one to two of these: clocks drift apart.
const MEMORY: Duration = Duration::from_secs(10);
/// A stream that has not caught up by then has other times than before.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two requests for the same keyframe.
const ASK: Duration = Duration::from_millis(500);

/// What becomes of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes out.
    Send,
    /// It is dropped.
    Drop {
        /// A keyframe is to be asked for.
        ask: bool,
    },
}

/// All tracks of a pipe.
#[derive(Debug, Default)]
pub(super) struct Lag {
    flows: HashMap<(TrackId, Rendition), Flow>,
}

#[derive(Debug)]
struct Flow {
    /// Smallest delays in microseconds, of this span of [`MEMORY`] and of the one before.
    least: [i64; 2],
    span: Moment,
    /// Since when pictures are dropped because they are late.
    late: Option<Moment>,
    waits: bool,
    asked: Option<Moment>,
}

impl Lag {
    /// A picture is here at `now`; `slow` when the network has just made one wait.
    pub(super) fn judge(&mut self, media: &Media, now: Moment, slow: bool) -> Verdict {
        let delay = now.micros() as i64 - media.pts as i64;
        let flow = self.flow(media.track, media.rendition, delay, now);
        let behind = flow.behind(delay, now);
        let limit = if slow { LATE_BY_NETWORK } else { LATE };
        match flow.late {
            None if behind > limit => {
                flow.late = Some(now);
                flow.waits = true;
                flow.asked = None;
            }
            Some(_) if behind <= CAUGHT_UP => {
                flow.late = None;
                flow.asked = None;
            }
            Some(since) if now.since(since) > PATIENCE => {
                (flow.least, flow.late) = ([delay; 2], None);
            }
            _ => {}
        }
        if flow.late.is_none() && (media.key || !flow.waits) {
            flow.waits = false;
            return Verdict::Send;
        }
        let ask = flow.asked.is_none_or(|asked| now.since(asked) >= ASK);
        if ask {
            flow.asked = Some(now);
        }
        Verdict::Drop { ask }
    }

    /// A picture is missing: those after it wait for a keyframe.
    pub(super) fn lose(&mut self, media: &Media, now: Moment) {
        let delay = now.micros() as i64 - media.pts as i64;
        let flow = self.flow(media.track, media.rendition, delay, now);
        flow.waits = true;
        flow.asked = None;
    }

    fn flow(&mut self, track: TrackId, rendition: Rendition, delay: i64, now: Moment) -> &mut Flow {
        let new = || Flow { least: [delay; 2], span: now, late: None, waits: false, asked: None };
        self.flows.entry((track, rendition)).or_insert_with(new)
    }
}

impl Flow {
    fn behind(&mut self, delay: i64, now: Moment) -> Duration {
        if now.since(self.span) >= MEMORY && self.late.is_none() {
            self.least = [delay, self.least[0]];
            self.span = now;
        }
        self.least[0] = self.least[0].min(delay);
        let least = self.least[0].min(self.least[1]);
        Duration::from_micros(delay.saturating_sub(least).max(0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_micros(1_000_000_000 + millis * 1000)
    }

    fn judge(lag: &mut Lag, (pts, key): (u64, bool), now: u64, slow: bool) -> Verdict {
        let pts = pts * 1000;
        let media = Media { track: TrackId(1), seq: 0, pts, key, rendition: Rendition::High, tid: 0 };
        lag.judge(&media, at(now), slow)
    }

    #[test]
    fn what_stood_in_the_pipe_is_dropped_until_a_keyframe_in_time() {
        let mut lag = Lag::default();
        for n in 0..30 {
            assert_eq!(judge(&mut lag, (n * 33, n == 0), n * 33 + 5, false), Verdict::Send);
        }
        let mut asked = 0;
        for n in 30..180 {
            // All of five seconds at once, with a keyframe among it that is as old.
            let verdict = judge(&mut lag, (n * 33, n == 60), 5_940, false);
            asked += u32::from(verdict == Verdict::Drop { ask: true });
            assert_ne!(verdict, Verdict::Send, "{n}");
        }
        assert!(asked == 2, "when it began and when it had caught up: {asked}");
        assert_eq!(judge(&mut lag, (5_973, true), 5_978, false), Verdict::Send);
        assert_eq!(judge(&mut lag, (6_006, false), 6_011, false), Verdict::Send);
    }

    #[test]
    fn a_slow_network_is_left_to_the_encoder_at_first() {
        let mut lag = Lag::default();
        judge(&mut lag, (0, true), 0, false);
        assert_eq!(judge(&mut lag, (100, false), 800, true), Verdict::Send);
        assert_ne!(judge(&mut lag, (200, false), 2_800, true), Verdict::Send);
    }

    #[test]
    fn a_stream_that_stays_late_has_a_new_clock() {
        let mut lag = Lag::default();
        judge(&mut lag, (0, true), 0, false);
        let sent = (1..60).find(|n| judge(&mut lag, (n * 33, true), n * 33 + 3_000, false) == Verdict::Send);
        assert!(sent.is_some_and(|n| n < 40), "{sent:?}");
    }

    #[test]
    fn after_a_damaged_picture_a_keyframe_is_awaited() {
        let mut lag = Lag::default();
        judge(&mut lag, (0, true), 0, false);
        let media =
            Media { track: TrackId(1), seq: 1, pts: 33_000, key: false, rendition: Rendition::High, tid: 0 };
        lag.lose(&media, at(33));
        assert_eq!(judge(&mut lag, (66, false), 66, false), Verdict::Drop { ask: true });
        assert_eq!(judge(&mut lag, (99, false), 99, false), Verdict::Drop { ask: false });
        assert_eq!(judge(&mut lag, (133, true), 133, false), Verdict::Send);
    }
}
