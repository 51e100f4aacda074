//! Pictures and what is said about them; no device, no codec.

pub mod clock;
mod latest;
mod picture;
mod quality;
mod y4m;

pub use latest::Latest;
pub use picture::{Picture, Range};
pub use quality::{ParseSizeError, Quality, Size};
pub use y4m::is_interlaced;
