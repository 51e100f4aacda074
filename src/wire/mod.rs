//! Frames: the unit in which everything travels, through a pipe as well as over TCP.
//!
//! A frame is a length, a JSON header and a payload (docs/protocol.md section 2). This module writes
//! frames, reads them from bytes that come in any portions, and knows the control operations. It does
//! no I/O, judges every length before it allocates, and never looks into a payload other than that of
//! a control frame.
//!
//! The caller feeds a [`Parser`] and asks it for [`Incoming`] frames; after an [`Error`] the stream
//! cannot be trusted any more and is closed. There is no search for a next frame in broken bytes.

pub mod control;
mod error;
mod frame;
mod header;
mod json;
mod letter;
pub mod offer;
mod parser;
mod piece;
mod sniff;
#[cfg(test)]
mod tests;

pub use control::Control;
pub use error::{Code, Error};
pub use frame::{FILE_ROOM, Frame, checksum};
pub use header::{Header, Kind, Media, Rendition};
pub use letter::{Letter, Receipt, Slot};
pub use parser::{Incoming, Parser};
pub use piece::{Part, Piece};
pub use sniff::{Stream, UnknownStream, sniff};
