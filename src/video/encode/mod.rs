//! From pictures to access units.
//!
//! An [`Encoder`] takes pictures one after the other and gives an access unit for each, or none where it skips one to
//! keep its bitrate. [`rate::Rate`] decides the bitrate from what the way out takes. An encoder belongs to one thread.

mod openh264;
pub mod rate;

use bytes::Bytes;

pub use self::openh264::OpenH264;
use crate::media::Picture;

/// One encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Annex B with start codes of four bytes; SPS and PPS stand in front of every IDR.
    pub data: Bytes,
    /// An IDR picture: a decoder can start here.
    pub key: bool,
    /// The temporal layer, 0 to 2: no picture needs one of a higher layer.
    pub tid: u8,
}

/// What an encoder is made for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Pictures per second, 1 to 120.
    pub fps: f64,
    /// Bits per second.
    pub bitrate: u32,
}

/// Why a picture could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The codec's own error.
    #[error("the H.264 encoder failed: {0}")]
    Codec(String),
    /// A picture that no frame can carry.
    #[error("the encoder made a picture of {0} bytes; use a smaller --size or --bitrate")]
    TooLarge(usize),
}

/// Makes access units of pictures.
pub trait Encoder: Send {
    /// Encodes `picture`, as an IDR if `force_key`. `None` when the encoder skips the picture to keep its bitrate; a
    /// keyframe that was asked for then comes with a later picture. A picture of another size or range than the one
    /// before begins a new sequence: new parameter sets and an IDR.
    fn encode(&mut self, picture: &Picture, force_key: bool) -> Result<Option<Encoded>, Error>;

    /// Bits per second from the next picture on, without a keyframe.
    fn set_bitrate(&mut self, bps: u32);
}
