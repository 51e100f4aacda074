//! When a run has lasted long enough. Pure: the times are those of the pictures.

use std::time::Duration;

use super::Options;
use crate::time::Moment;

/// When it is enough.
pub(super) struct Limits {
    duration: Option<Duration>,
    frames: Option<u64>,
    first: Option<Moment>,
    written: u64,
}

impl Limits {
    pub(super) fn new(options: &Options) -> Self {
        Self { duration: options.duration, frames: options.frames, first: None, written: 0 }
    }

    /// Whether this picture comes too late to be written.
    pub(super) fn is_over(&mut self, captured: Moment) -> bool {
        let first = *self.first.get_or_insert(captured);
        self.duration.is_some_and(|most| captured.since(first) >= most)
    }

    /// Whether the picture that was written now is the last.
    pub(super) fn is_enough(&mut self) -> bool {
        self.written += 1;
        self.frames.is_some_and(|most| self.written >= most)
    }
}
