//! How fast files may go while pictures and sound wait on the same line.
//!
//! A line is what connections of one address have in common. Files are as fast as they can until media waits:
//! then at half of the rate that was too much, and at half again every [`BACK`] in which media still waits, but
//! never below [`limits::YIELD_FLOOR`], so that no transfer starves. When no media has waited for [`CALM`] the rate
//! grows: quickly to near where it was too much, slowly from there on, and faster the longer nothing waits. Where
//! the rate is no longer what limits, it is lifted.
//!
//! Files that begin beside media begin slowly ([`Pace::begin_slowly`]): before anything is known of a line, what was
//! once sent in one go cannot be taken back.

use std::time::Duration;

use crate::limits;
use crate::time::Moment;

/// Between two steps back: until then what was sent before the first one is still on its way.
const BACK: Duration = Duration::from_millis(200);
/// So long no media must have waited before the rate grows.
const CALM: Duration = Duration::from_millis(500);
/// Between two steps forward.
const FORWARD: Duration = Duration::from_millis(250);
/// Steps: while nothing is known, below the rate that was too much, and near it.
const DOUBLE: f64 = 2.0;
const QUICK: f64 = 1.1;
const SLOW: f64 = 1.02;
/// Below this part of the rate that was too much one grows quickly.
const NEAR: f64 = 0.8;
/// After so long without media that waited, slow steps have grown to quick ones.
const LONG: Duration = Duration::from_secs(10);
/// Beyond that much more than is used, a rate limits nothing.
const LIFT: f64 = 4.0;
/// Bytes per second beyond which one does not look any more.
const FAST: f64 = 64e6;
/// The rate with which one begins beside media, in bytes per second.
const FIRST: f64 = 256e3;
/// What may go at once after a pause: as much as media could not notice on a line of 4 Mbit/s.
const BURST: f64 = 16.0 * 1024.0;
/// What went too far is made up for, but no more of it: so much a call may move.
const DEBT: f64 = 1024.0 * 1024.0;
/// Less is not worth a call.
const LEAST: f64 = 4096.0;
/// Over so long the rate is measured.
const SPAN: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// Bytes per second; as fast as it can without.
    rate: Option<f64>,
    /// The rate that was too much, where one is known.
    ceiling: Option<f64>,
    /// Bytes that may go now; below nothing where too much has gone.
    credit: f64,
    filled: Moment,
    /// Since when no media has waited, and when the rate was last changed.
    calm: Moment,
    changed: Moment,
    /// What has gone since then, and how fast it was before.
    moved: u64,
    since: Moment,
    measured: f64,
}

impl Pace {
    /// Files begin, and there is media on the line.
    pub fn begin_slowly(&mut self, now: Moment) {
        if self.rate.is_none() {
            self.rate = Some(FIRST);
            (self.calm, self.changed, self.filled) = (now, now, now);
        }
    }

    /// So many bytes of files have gone.
    pub fn handle_moved(&mut self, bytes: u64, now: Moment) {
        self.fill(now);
        self.moved += bytes;
        if self.rate.is_some() {
            self.credit = (self.credit - bytes as f64).max(-DEBT);
        }
        let span = now.since(self.since);
        if span >= SPAN {
            self.measured = self.moved as f64 / span.as_secs_f64();
            (self.moved, self.since) = (0, now);
        }
    }

    /// Whether media waits on the line now.
    pub fn handle_look(&mut self, late: bool, now: Moment) {
        self.fill(now);
        if late {
            self.calm = now;
            self.step_back(now);
        } else {
            self.step_forward(now);
        }
    }

    fn step_back(&mut self, now: Moment) {
        let floor = limits::YIELD_FLOOR as f64;
        match self.rate {
            Some(rate) if rate <= floor || now.since(self.changed) < BACK => return,
            Some(rate) => {
                // One that is on its way down already was not what is too much.
                let first = self.ceiling.is_none_or(|ceiling| rate > ceiling * NEAR);
                if first {
                    self.ceiling = Some(rate.min(self.measured.max(floor)));
                }
                self.rate = Some((rate.min(self.measured.max(floor) * DOUBLE) / 2.0).max(floor));
            }
            None => {
                self.ceiling = Some(self.measured.max(floor));
                self.rate = Some((self.measured / 2.0).max(floor));
            }
        }
        self.changed = now;
        self.credit = self.credit.min(0.0);
    }

    fn step_forward(&mut self, now: Moment) {
        let Some(rate) = self.rate else { return };
        let calm = now.since(self.calm);
        if calm < CALM && self.ceiling.is_some() || now.since(self.changed) < FORWARD {
            return;
        }
        let step = match self.ceiling {
            None => DOUBLE,
            Some(ceiling) if rate < ceiling * NEAR => QUICK,
            Some(_) => SLOW + (QUICK - SLOW) * (calm.as_secs_f64() / LONG.as_secs_f64()).min(1.0),
        };
        let unused = calm > LONG && rate > LIFT * self.measured.max(limits::YIELD_FLOOR as f64);
        self.rate = Some(rate * step).filter(|rate| *rate < FAST && !unused);
        self.changed = now;
        if self.rate.is_none() {
            (self.ceiling, self.credit) = (None, 0.0);
        }
    }

    /// How many bytes may go now; none where it is not limited.
    pub fn allowed(&mut self, now: Moment) -> Option<usize> {
        self.fill(now);
        self.rate.map(|_| if self.credit < LEAST { 0 } else { self.credit as usize })
    }

    /// Whether there is a limit now.
    pub fn is_limited(&self) -> bool {
        self.rate.is_some()
    }

    fn fill(&mut self, now: Moment) {
        if let Some(rate) = self.rate {
            let came = rate * now.since(self.filled).as_secs_f64();
            self.credit = (self.credit + came).min(BURST.max(rate / 20.0));
        }
        self.filled = now;
    }
}

/// How much longer than usual pictures of one track take to arrive: they wait on their sender's side.
///
/// Nothing is known of the sender's clock, so what counts is the difference to the quickest picture. That is let
/// go of slowly, for clocks do not run equally fast.
#[derive(Debug, Clone, Copy, Default)]
pub struct Transit {
    least: Option<i64>,
    at: Moment,
}

impl Transit {
    /// A picture that was captured at `pts` arrives.
    pub fn handle_arrival(&mut self, pts: u64, now: Moment) -> Duration {
        /// Microseconds per second that a clock may be off.
        const DRIFT: u64 = 1_000;
        /// A track that begins its count anew.
        const JUMP: i64 = 10_000_000;
        let took = (now.micros() as i64).wrapping_sub(pts as i64);
        let drift = (now.since(self.at).as_micros() as u64 * DRIFT / 1_000_000) as i64;
        let least = self.least.map(|least| least.saturating_add(drift));
        let least =
            least.filter(|least| took.saturating_sub(*least) < JUMP).map_or(took, |least| least.min(took));
        (self.least, self.at) = (Some(least), now);
        Duration::from_micros(took.saturating_sub(least).max(0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(10);

    fn at(ms: u64) -> Moment {
        Moment::from_micros(1_000_000 + ms * 1_000)
    }

    /// A line that takes `line` bytes per second, of which media wants `media`, and a file that takes what it may:
    /// the longest that media waited in each second, and the bytes of the file.
    fn run(line: f64, media: impl Fn(u64) -> f64, seconds: u64, yielding: bool) -> (Vec<Duration>, Vec<f64>) {
        let mut pace = Pace::default();
        pace.begin_slowly(at(0));
        let (mut waits, mut files) = (vec![Duration::ZERO; seconds as usize], vec![0.0; seconds as usize]);
        let mut queue = 0.0;
        for ms in (0..seconds * 1_000).step_by(STEP.as_millis() as usize) {
            let (now, second) = (at(ms), (ms / 1_000) as usize);
            let step = STEP.as_secs_f64();
            queue = f64::max(0.0, queue - line * step) + media(ms / 1_000) * step;
            // The way holds as much as a file may have on its way.
            let want = f64::max(0.0, line * 0.5 - queue).min(line * step * 4.0);
            let may =
                if yielding { pace.allowed(now).map_or(want, |bytes| want.min(bytes as f64)) } else { want };
            queue += may;
            files[second] += may;
            pace.handle_moved(may as u64, now);
            let wait = Duration::from_secs_f64(queue / line);
            waits[second] = waits[second].max(wait);
            pace.handle_look(media(ms / 1_000) > 0.0 && wait > limits::YIELD_AGE, now);
        }
        (waits, files)
    }

    #[test]
    fn media_does_not_wait_for_files_and_files_do_not_starve() {
        let line = 500e3;
        let (without, _) = run(line, |_| 200e3, 60, false);
        assert!(without[30] > limits::QUEUE_AGE_GOP, "{without:?}");
        let (waits, files) = run(line, |_| 200e3, 60, true);
        let late = waits.iter().filter(|wait| **wait > limits::QUEUE_AGE_T2).count();
        assert!(late <= 3, "{waits:?}");
        let rate = files[10..].iter().sum::<f64>() / 50.0;
        assert!(rate > 150e3, "{rate} of 300 kB/s that are left: {files:?}");
    }

    #[test]
    fn on_a_line_that_media_fills_alone_files_still_go_on() {
        let (_, files) = run(100e3, |_| 200e3, 30, true);
        assert!(files[5..].iter().all(|bytes| *bytes >= 0.0));
        let mut pace = Pace::default();
        let mut went = 0;
        for ms in (0..60_000).step_by(10) {
            pace.handle_look(true, at(ms));
            let may = pace.allowed(at(ms)).unwrap_or(1_000_000);
            went += may as u64;
            pace.handle_moved(may as u64, at(ms));
        }
        assert!(went > limits::YIELD_FLOOR * 50, "{went}");
    }

    #[test]
    fn when_the_meeting_is_over_a_file_has_the_line_for_itself_again() {
        let line = 12e6;
        let (_, files) = run(line, |second| if second < 20 { 11e6 } else { 0.0 }, 90, true);
        assert!(files[19] < 3e6, "{files:?}");
        assert!(files[80] > 0.9 * line, "{files:?}");
    }

    #[test]
    fn without_media_nothing_is_limited() {
        let mut pace = Pace::default();
        for ms in 0..1_000 {
            pace.handle_look(false, at(ms));
            pace.handle_moved(1_000_000, at(ms));
            assert_eq!(pace.allowed(at(ms)), None);
        }
        // Beside media that does not mind it is fast within seconds.
        pace.begin_slowly(at(1_000));
        let fast = (1_000..9_000).step_by(10).find(|ms| {
            pace.handle_look(false, at(*ms));
            let may = pace.allowed(at(*ms)).unwrap_or(0);
            pace.handle_moved(may as u64, at(*ms));
            !pace.is_limited()
        });
        assert!(fast.is_some_and(|ms| ms < 4_000), "{fast:?}");
    }

    #[test]
    fn pictures_that_take_longer_than_usual_are_noticed_whatever_the_clocks_say() {
        let mut transit = Transit::default();
        let pts = |n: u64| 77_000_000_000 + n * 33_333;
        for n in 0..100 {
            let late = if n == 50 { 90 } else { n % 3 };
            let took = transit.handle_arrival(pts(n), at(n * 33_333 / 1_000 + late));
            assert_eq!(took > Duration::from_millis(60), n == 50, "{n}: {took:?}");
        }
        // The count begins anew.
        assert_eq!(transit.handle_arrival(0, at(4_000)), Duration::ZERO);
        assert!(transit.handle_arrival(33_333, at(4_100)) > Duration::from_millis(60));
        assert_eq!(transit.handle_arrival(1 << 53, at(4_200)), Duration::ZERO);
    }
}
