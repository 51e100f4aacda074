//! From access units to pictures, without trusting a byte of them.
//!
//! A stream comes from a stranger and the decoder is a large C library, so three things stand
//! between them: [`Gate`] (pure) reads what an access unit claims and decides whether a decoder may see it;
//! the decoder runs in a process of its own ([`Isolated`], whose other end is [`child`]), with a limit on its memory
//! and no files, and may die or hang without harm; [`Recovery`] brings it back and lets nothing be seen
//! after an error until the next keyframe has been decoded well.
//!
//! [`InProcess`] is the decoder itself: what the child runs, and what tests and benchmarks use.

pub mod child;
mod gate;
mod isolated;
mod recovery;
mod software;

use std::io;
use std::time::Duration;

pub use gate::{Gate, Verdict};
pub use isolated::Isolated;
pub use recovery::{Outcome, Recovery, Refused};
pub use software::InProcess;

use crate::media::Picture;

/// The widest picture.
pub const MAX_WIDTH: usize = 4096;
/// Pixels of the largest picture, 4096x2304: level 5.1 ends there.
pub const MAX_PIXELS: usize = 4096 * 2304;
/// The first argument that makes conf-view a decoder for another conf-view.
pub const CHILD_ARGUMENT: &str = "--decoder-child";
/// A decoder that takes longer than this for one picture hangs: the largest take 50 ms.
pub const HANG: Duration = Duration::from_secs(2);

/// Why no picture came out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The access unit cannot be decoded, or refers to pictures that never came.
    #[error("the stream is damaged (decoder: {0})")]
    Stream(String),
    /// The decoder's process ended.
    #[error("the decoder died: {0}")]
    Died(io::Error),
    /// The decoder's process did not answer within [`HANG`].
    #[error("the decoder did not answer")]
    Hung,
    /// No decoder could be started.
    #[error("no decoder could be started: {0}")]
    Unavailable(io::Error),
    /// As many as there may be are at work; there will be one soon.
    #[error("all decoders are at work")]
    Busy,
}

/// Turns access units into pictures. Fed in order; after an error the next one is a keyframe.
pub trait Decoder: Send {
    /// Decodes one access unit in Annex B form; `full_range` is what its stream says about its colours.
    ///
    /// # Errors
    /// See [`Error`]. After anything but `Stream` the decoder is of no more use.
    fn decode(&mut self, unit: &[u8], full_range: bool) -> Result<Option<Picture>, Error>;
}

/// Whether a decoded picture may have this size.
fn is_sane(width: usize, height: usize) -> bool {
    (2..=MAX_WIDTH).contains(&width)
        && (2..=MAX_WIDTH).contains(&height)
        && width * height <= MAX_PIXELS
        && width.is_multiple_of(2)
        && height.is_multiple_of(2)
}
