//! Time as a value.
//!
//! The pure cores take a [`Moment`] as an argument and never ask for one; edges ask [`now`] and
//! [`wall`], the only two places that read a clock. A `Moment` counts the time in which the machine
//! slept as well (`CLOCK_BOOTTIME`), so a laptop that wakes up after an hour sees an hour pass.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A point of monotonic time, in microseconds since the machine booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The moment `micros` microseconds after the epoch of this clock.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch of this clock.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// How long it has been since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }
}

/// The present moment. For edges only.
pub fn now() -> Moment {
    let t = clock_gettime(ClockId::Boottime);
    Moment(t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1_000)
}

/// Wall-clock time in microseconds since 1970. For edges only; order never depends on it.
pub fn wall() -> u64 {
    let t = clock_gettime(ClockId::Realtime);
    t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1_000
}

/// A duration in whole microseconds, saturating.
fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
