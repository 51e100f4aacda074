//! Files: what an offer consists of, and how its bytes get from one disk to another through any interruption.
//!
//! An offer is one stream of bytes, file behind file in the order of its [`Manifest`], cut into chunks that are
//! numbered from 0; [`Layout`] knows which chunk holds what, [`Ranges`] which of them are where. Each file has
//! an MD5 of its own ([`Chain`], [`Sums`]), each chunk one in its frame. The contract is docs/protocol.md
//! section 13.
//!
//! Pure: no socket, file or clock.

mod about;
mod chain;
pub mod download;
mod error;
pub mod journal;
mod layout;
mod list;
mod manifest;
mod meant;
pub mod name;
mod ranges;
mod sums;
pub mod upload;

pub use about::{About, Kind};
pub use chain::{Chain, Saved, chunk_sums, lanes};
pub use download::Download;
pub use error::Error;
pub use journal::Journal;
pub use layout::{Layout, Part, chunk_size};
pub use list::is_last;
pub use manifest::{Entry, Item, Manifest};
pub use meant::meant;
pub use name::{Path, Rules};
pub use ranges::Ranges;
pub use sums::{Sum, Sums};
pub use upload::Upload;
