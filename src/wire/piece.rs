//! What the header of a file frame says (docs/protocol.md section 13).

use serde::{Deserialize, Serialize};

use crate::id::OfferNumber;

/// What a relay must know about a piece of an offer, and nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Piece {
    /// Of which offer.
    pub offer: OfferNumber,
    /// Of what of it.
    pub part: Part,
    /// Which piece of that, counted from 0.
    pub index: u32,
}

/// What an offer consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// What it is, in a few words; one piece.
    About,
    /// Its files, with their names.
    Manifest,
    /// The bytes of its files.
    Chunk,
    /// The MD5 of each file.
    Sums,
}

impl Part {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::About => "about",
            Self::Manifest => "manifest",
            Self::Chunk => "chunk",
            Self::Sums => "sums",
        }
    }
}
