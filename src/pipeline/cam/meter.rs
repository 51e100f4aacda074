//! How it goes: what is written and what is left out, second by second.

use std::time::Duration;

use super::outbox::Totals;
use crate::media::Size;
use crate::time::Moment;

/// How it went for a second or so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Size of the pictures at present.
    pub size: Size,
    /// Pictures per second that were written.
    pub fps: f64,
    /// Bits per second that were written.
    pub bps: f64,
    /// Pictures that were written, from the beginning.
    pub pictures: u64,
    /// Pictures that were captured and not written, from the beginning.
    pub dropped: u64,
}

/// Counts. Only what has left counts as written: a rate that the source intends says nothing about it.
#[derive(Debug, Default)]
pub(super) struct Meter {
    size: Option<Size>,
    first: Moment,
    put: u64,
    dropped: u64,
    told_at: Moment,
    told: Totals,
}

const EVERY: Duration = Duration::from_secs(1);

impl Meter {
    /// A picture goes to the output.
    pub(super) fn handle_picture(&mut self, size: Size, now: Moment) {
        if self.size.replace(size).is_none() {
            (self.first, self.told_at) = (now, now);
        }
        self.put += 1;
    }

    /// Pictures were left out.
    pub(super) fn handle_drops(&mut self, count: u64) {
        self.dropped += count;
    }

    /// How it went since it was said last, if that is a second ago.
    pub(super) fn poll(&mut self, now: Moment, written: Totals) -> Option<Progress> {
        let (size, time) = (self.size?, now.since(self.told_at));
        if time < EVERY {
            return None;
        }
        let rate = |now: u64, before: u64| (now - before) as f64 / time.as_secs_f64();
        let progress = Progress {
            size,
            fps: rate(written.pictures, self.told.pictures),
            bps: rate(written.bytes, self.told.bytes) * 8.0,
            pictures: written.pictures,
            dropped: self.dropped,
        };
        (self.told_at, self.told) = (now, written);
        Some(progress)
    }

    /// Pictures that were left out, once no more are written: also those that did not get out.
    pub(super) fn dropped(&self, written: Totals) -> u64 {
        self.dropped + self.put.saturating_sub(written.pictures)
    }

    /// Since the first picture.
    pub(super) fn time(&self, now: Moment) -> Duration {
        self.size.map_or(Duration::ZERO, |_| now.since(self.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c10_the_rate_is_that_of_the_pictures_that_were_written() {
        let at = |ms: u64| Moment::from_micros(ms * 1000);
        let size = Size { width: 64, height: 48 };
        let mut meter = Meter::default();
        assert_eq!(meter.poll(at(5000), Totals::default()), None, "there was no picture yet");
        meter.handle_picture(size, at(10_000));
        meter.handle_picture(size, at(10_100));
        meter.handle_drops(50);
        assert_eq!(meter.poll(at(10_999), Totals { pictures: 2, bytes: 9 }), None);
        let told = meter.poll(at(12_000), Totals { pictures: 10, bytes: 1000 });
        assert_eq!(told, Some(Progress { size, fps: 5.0, bps: 4000.0, pictures: 10, dropped: 50 }));
        let told = meter.poll(at(13_000), Totals { pictures: 11, bytes: 1000 }).unwrap();
        assert_eq!((told.fps, told.bps), (1.0, 0.0));
        assert_eq!(
            (meter.dropped(Totals { pictures: 1, bytes: 5 }), meter.time(at(13_000)).as_secs()),
            (51, 3)
        );
    }
}
