//! How well the network serves a connection, as the others are shown it.

use std::time::Duration;

use crate::time::Moment;
use crate::wire::control::Quality;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// An answer that takes longer than this makes conversation hard (ITU-T G.114 advises against 400 ms one way).
const LATE: Duration = Duration::from_millis(800);
/// Looks in a row without complaint before a poor connection is called good again.
const CALM: u32 = 5;

/// Watches one connection.
#[derive(Debug)]
pub(super) struct Observer {
    quality: Quality,
    next: Moment,
    drops: u64,
    calm: u32,
}

impl Observer {
    pub(super) fn new(now: Moment) -> Self {
        Self { quality: Quality::Good, next: now + LOOK, drops: 0, calm: 0 }
    }

    /// `drops` are the pictures dropped for the connection so far, `rtt` its last round-trip time. The
    /// quality where it has changed.
    pub(super) fn look(&mut self, drops: u64, rtt: Option<Duration>, now: Moment) -> Option<Quality> {
        if now < self.next {
            return None;
        }
        self.next = now + LOOK;
        let bad = drops > self.drops || rtt.is_some_and(|rtt| rtt > LATE);
        self.drops = drops;
        self.calm = if bad { 0 } else { self.calm + 1 };
        let before = self.quality;
        match before {
            Quality::Good if bad => self.quality = Quality::Poor,
            Quality::Poor if self.calm >= CALM => self.quality = Quality::Good,
            _ => {}
        }
        (self.quality != before).then_some(self.quality)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_second_is_seen_and_several_good_ones_end_it() {
        let at = |s: u64| Moment::from_micros(s * 1_000_000);
        let mut observer = Observer::new(at(0));
        assert_eq!(observer.look(0, None, at(1)), None);
        assert_eq!(observer.look(3, None, at(2)), Some(Quality::Poor));
        assert!((3..7).all(|s| observer.look(3, None, at(s)).is_none()));
        assert_eq!(observer.look(3, None, at(7)), Some(Quality::Good));
        assert_eq!(observer.look(3, Some(Duration::from_secs(1)), at(8)), Some(Quality::Poor));
    }
}
