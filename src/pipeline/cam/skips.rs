//! Pictures that the encoder leaves out to keep its bitrate: when they are too many, that is said.

use std::time::Duration;

use crate::time::Moment;

/// What is counted together.
const WINDOW: Duration = Duration::from_secs(5);
/// From one in so many on, the motion is no longer smooth.
const TOO_MANY: u32 = 5;
/// Of fewer pictures nobody sees whether motion is smooth.
const FEW: u32 = 15;
/// Who has been told knows it for a while.
const QUIET: Duration = Duration::from_secs(60);

/// Counts what is left out.
#[derive(Debug, Default)]
pub(super) struct Skips {
    since: Option<Moment>,
    pictures: u32,
    skipped: u32,
    told: Option<Moment>,
}

impl Skips {
    /// A picture was encoded, or `skipped`. How many of how many were skipped lately, when that should be said.
    pub(super) fn handle(&mut self, skipped: bool, now: Moment) -> Option<(u32, u32)> {
        let since = *self.since.get_or_insert(now);
        self.pictures += 1;
        self.skipped += u32::from(skipped);
        if now.since(since) < WINDOW {
            return None;
        }
        let counts = (self.skipped, self.pictures);
        (self.since, self.pictures, self.skipped) = (Some(now), 0, 0);
        let quiet = self.told.is_some_and(|told| now.since(told) < QUIET);
        if quiet || !are_too_many(counts) {
            return None;
        }
        self.told = Some(now);
        Some(counts)
    }

    /// The end: what was skipped of the last pictures, unless they are few or somebody has been told already.
    pub(super) fn rest(&self) -> Option<(u32, u32)> {
        let counts = (self.skipped, self.pictures);
        (self.told.is_none() && counts.1 >= FEW && are_too_many(counts)).then_some(counts)
    }
}

/// Whether so many skipped pictures of so many are seen.
fn are_too_many((skipped, pictures): (u32, u32)) -> bool {
    skipped * TOO_MANY >= pictures
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said over `seconds` at 30 pictures per second, of which one in `every` is skipped.
    fn said(skips: &mut Skips, from: u64, seconds: u64, every: u64) -> Vec<(u32, u32)> {
        (from * 30..(from + seconds) * 30)
            .filter_map(|n| skips.handle(n % every == 0, Moment::from_micros(n * 33_333)))
            .collect()
    }

    #[test]
    fn c10_who_misses_every_fifth_picture_is_told_once_a_minute() {
        let mut skips = Skips::default();
        assert_eq!(said(&mut skips, 0, 60, 10), [], "a few are no matter");
        let told = said(&mut skips, 60, 120, 2);
        assert!((1..=3).contains(&told.len()), "{told:?}");
        assert!(told.iter().all(|(skipped, of)| skipped * 3 > *of && (145..=155).contains(of)), "{told:?}");
    }

    #[test]
    fn c10_what_a_short_run_misses_is_told_at_its_end() {
        let mut skips = Skips::default();
        assert_eq!(skips.rest(), None);
        assert_eq!(said(&mut skips, 0, 3, 2), []);
        assert_eq!(skips.rest(), Some((45, 90)));
        said(&mut skips, 3, 6, 2);
        assert_eq!(skips.rest(), None, "it was told while it went on");
    }
}
