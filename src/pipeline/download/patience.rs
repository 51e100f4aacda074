//! How long it is waited for a side that does nothing, and which side that is.

use super::Error;
use crate::limits;
use crate::time::Moment;

/// Who would have to do something now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Nobody: nothing is to come, or whoever sends it takes a rest.
    Nobody,
    /// The server, which was asked.
    Server,
    /// This machine's disk, which was given something to write.
    Disk,
}

/// The time since anything went on. Look at it every second or more often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    since: Moment,
    looked: Moment,
}

impl Patience {
    pub(super) fn new(now: Moment) -> Self {
        Self { since: now, looked: now }
    }

    /// Something came, or is on the disk.
    pub(super) fn handle_progress(&mut self, now: Moment) {
        self.since = now;
    }

    /// An error where it was waited too long.
    pub(super) fn look(&mut self, side: Side, now: Moment) -> Result<(), Error> {
        // A program that was stopped itself has not been kept waiting.
        let late = now.since(std::mem::replace(&mut self.looked, now)) > limits::PAUSE;
        if late || side == Side::Nobody {
            self.since = now;
        }
        match side {
            _ if now.since(self.since) <= limits::STALLED => Ok(()),
            Side::Disk => Err(Error::Stuck),
            Side::Nobody | Side::Server => Err(Error::Silent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_micros((1_000 + seconds) * 1_000_000)
    }

    /// Looks every second; when it was too long.
    fn ends(
        seconds: u64,
        side: impl Fn(u64) -> Side,
        progress: impl Fn(u64) -> bool,
    ) -> Option<(u64, Error)> {
        let mut patience = Patience::new(at(0));
        (0..seconds).find_map(|second| {
            if progress(second) {
                patience.handle_progress(at(second));
            }
            patience.look(side(second), at(second)).err().map(|error| (second, error))
        })
    }

    #[test]
    fn what_comes_slowly_is_waited_for_and_what_stops_is_not() {
        let all = limits::STALLED.as_secs() * 10;
        assert!(ends(all, |_| Side::Server, |second| second % 290 == 0).is_none());
        let end = ends(all, |_| Side::Server, |second| second < 400);
        assert!(matches!(end, Some((second, Error::Silent)) if second == 400 + limits::STALLED.as_secs()));
        assert!(ends(all, |_| Side::Nobody, |_| false).is_none());
        let end = ends(all, |second| if second < 700 { Side::Nobody } else { Side::Server }, |_| false);
        assert!(matches!(end, Some((second, _)) if second == 700 + limits::STALLED.as_secs()));
    }

    #[test]
    fn a_disk_that_hangs_is_not_called_a_silent_server() {
        let (_, error) = ends(1_000, |_| Side::Disk, |second| second < 10).unwrap();
        assert_eq!(error.to_string(), "this machine's disk has taken nothing for 300 s");
    }

    #[test]
    fn x04_a_program_that_was_stopped_has_not_been_kept_waiting() {
        let mut patience = Patience::new(at(0));
        patience.look(Side::Server, at(1)).unwrap();
        patience.look(Side::Server, at(10_000)).unwrap();
        patience.look(Side::Server, at(10_001)).unwrap();
    }
}
