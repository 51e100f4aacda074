//! When a picture is to be seen. Pure: time is an argument.
//!
//! A [`Clock`] maps the time stamps of one publisher to this machine's time. Its reference is the smallest
//! (arrival - time stamp) that it has seen, which is the way without a queue in it; the reference creeps up
//! slowly, so that it follows a sender whose clock runs differently. On top comes a delay that covers
//! 95 of 100 arrivals, between [`FLOOR`] and [`CEILING`]; it falls no faster than pictures at 1.1 times their speed make it.
//!
//! What is played again from a cache, to whoever comes or comes back, and what comes in after a gap, teaches the clock
//! nothing: it is decoded, of it only what is near the present is seen, and the clock begins anew behind it.
//!
//! An access unit waits in a [`Queue`] until it is due and is then decoded, always in order; when several are
//! due, all are decoded and only the last is seen. What comes more than [`LATE`] too late is decoded and not
//! seen at all: after a pause there is no picture show at double speed but a jump to the present. Time
//! stamps that make no sense are ignored and pictures shown as they come.

mod clock;
mod queue;

pub use clock::{Clock, Due};
pub use queue::{Queue, Ready};

use std::time::Duration;

/// The least delay: what scheduling on a busy machine takes.
pub const FLOOR: Duration = Duration::from_millis(5);
/// The largest delay that is put up with for smoothness.
pub const CEILING: Duration = Duration::from_millis(300);
/// Whoever is later than this is not waited for, and nothing waits longer than this.
pub const LATE: Duration = Duration::from_millis(500);
