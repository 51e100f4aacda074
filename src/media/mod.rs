//! Pictures and what is said about them; no device, no codec.

pub mod clock;
mod picture;
mod quality;

pub use picture::{Picture, Range};
pub use quality::{Quality, Size};
