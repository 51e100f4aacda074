//! H.264 as bytes: access units out of an Annex B stream, and what they claim to be.
//!
//! [`Splitter`] turns a byte stream, cut anywhere, into [`AccessUnit`]s. [`inspect()`] reads the parameter sets and
//! slice headers of one access unit and refuses what the decoder must not see: it stands before every decoder and
//! before everything that is published. Nothing here decodes a picture, allocates by a number found in the stream,
//! or panics, whatever the bytes are.
//!
//! Limits: an access unit has at most [`MAX_ACCESS_UNIT`] bytes and [`MAX_UNITS`] NAL units; a picture at most
//! 4096x2304 pixels.

mod foreign;
mod inspect;
mod nal;
mod parameters;
mod rate;
mod split;
#[cfg(test)]
mod tests;

pub use foreign::foreign;
pub use inspect::{Refusal, StreamInfo, Summary, inspect};
pub use nal::{Kind, Unit, units};
pub use rate::with_rate;
pub use split::{AccessUnit, Error, Splitter};

/// Bytes of one access unit: what one video frame may carry.
pub const MAX_ACCESS_UNIT: usize = crate::limits::VIDEO;

/// NAL units in one access unit. A 4096x2304 picture with one slice per row of macroblocks has 144; encoders that cut
/// slices to packets of 1 KB reach some thousands in a large keyframe.
pub const MAX_UNITS: usize = 4096;
