//! One's own messages that are not acknowledged yet, and how long that may take.

use std::collections::VecDeque;
use std::time::Duration;

use super::Level;
use crate::chat::Progress;
use crate::time::Moment;

/// See the module. Holds as many numbers as the outbox messages.
#[derive(Debug)]
pub(super) struct Waiting {
    level: Option<Level>,
    /// Whether the server keeps messages, so that being passed on is not enough.
    storing: bool,
    progress: Progress,
    numbers: VecDeque<u64>,
    /// When there was the last progress.
    moved: Moment,
}

impl Waiting {
    /// For the level that is asked for; without one it is `stored` where the server stores.
    pub(super) fn new(level: Option<Level>) -> Self {
        Self {
            level,
            storing: true,
            progress: Progress::default(),
            numbers: VecDeque::new(),
            moved: Moment::default(),
        }
    }

    /// Message `n` has been posted.
    pub(super) fn add(&mut self, n: u64, now: Moment) {
        if self.numbers.is_empty() {
            self.moved = now;
        }
        self.numbers.push_back(n);
    }

    /// The server has come further. Through which number all is done.
    pub(super) fn handle_progress(&mut self, progress: Progress, now: Moment) -> u64 {
        self.progress = progress;
        self.moved = now;
        self.release()
    }

    /// Whether the server keeps messages has been told. Through which number all is done.
    pub(super) fn handle_storing(&mut self, storing: bool) -> u64 {
        self.storing = storing;
        self.release()
    }

    /// Message `n` will never arrive; whether it was awaited.
    pub(super) fn forget(&mut self, n: u64) -> bool {
        let before = self.numbers.len();
        self.numbers.retain(|other| *other != n);
        self.numbers.len() < before
    }

    /// How many are awaited.
    pub(super) fn count(&self) -> usize {
        self.numbers.len()
    }

    /// Until when progress has to come, where that may take as long as `limit`.
    pub(super) fn deadline(&self, limit: Duration) -> Moment {
        self.moved + limit
    }

    /// The time without progress counts from here.
    pub(super) fn begin(&mut self, now: Moment) {
        self.moved = now;
    }

    /// Whether `stored` was asked for and cannot be had.
    pub(super) fn is_less_than_asked(&self) -> bool {
        self.level == Some(Level::Stored) && !self.storing
    }

    fn release(&mut self) -> u64 {
        let stored = self.storing && self.level != Some(Level::Relayed);
        let done = if stored { self.progress.stored } else { self.progress.relayed };
        while self.numbers.front().is_some_and(|n| *n <= done) {
            self.numbers.pop_front();
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t08_done_is_what_has_reached_the_level_that_is_asked_for() {
        let now = Moment::default();
        let mut stored = Waiting::new(None);
        let mut relayed = Waiting::new(Some(Level::Relayed));
        for waiting in [&mut stored, &mut relayed] {
            (1..=3).for_each(|n| waiting.add(n, now));
            waiting.handle_progress(Progress { relayed: 3, stored: 1 }, now);
        }
        assert_eq!((stored.count(), relayed.count()), (2, 0));
        assert!(stored.forget(2) && !stored.forget(2));
        // A server that cannot store any more has done what it can.
        stored.handle_storing(false);
        assert_eq!(stored.count(), 0);
        assert!(!stored.is_less_than_asked());
    }
}
