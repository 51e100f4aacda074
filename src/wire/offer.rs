//! Operations about files (docs/protocol.md section 13).

use serde::{Deserialize, Serialize};

use super::Part;
use super::control::{is_false, scrubbed_label};
use crate::id::{MemberId, OfferId, OfferNumber, PublicKey};

/// Chunk numbers from the first to below the second.
pub type Span = [u32; 2];

/// Puts something before the room, or goes on with what was put before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Chosen by the client; comes back in the answer.
    pub id: u64,
    /// Which offer; chosen at random by its sender. The same again goes on with it.
    pub offer: OfferId,
    /// Bytes of every chunk but the last.
    pub chunk_size: u32,
    /// Bytes in all, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The only member who is told of it, beside its sender; without one everybody is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<MemberId>,
}

/// The answer to an offer: what is on disk already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// The `id` of the request.
    pub id: u64,
    /// What to put into the headers.
    pub offer: OfferNumber,
    /// Chunks that are on disk.
    pub stored: Vec<Span>,
    /// Whether the `about` is there.
    pub about: bool,
    /// Pieces of the manifest that are there, from the first.
    pub manifest: u32,
    /// Pieces of the sums that are there, from the first.
    pub sums: u32,
    /// Whether the offer is complete.
    pub sealed: bool,
    /// Whether another part of the answer follows, with more of `stored`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
}

/// Says that an offer is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Chosen by the client; comes back in the answer.
    pub id: u64,
    /// Which offer.
    pub offer: OfferNumber,
    /// How many chunks it has ...
    pub chunks: u32,
    /// ... pieces of its manifest ...
    pub manifest: u32,
    /// ... and of its sums.
    pub sums: u32,
}

/// An offer as those are told who may see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfferState {
    /// Its number in the room.
    pub offer: OfferNumber,
    /// What its sender calls it.
    pub offer_id: OfferId,
    /// Whose it is, where that member is in the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// That member's name when it was made.
    #[serde(deserialize_with = "scrubbed_label")]
    pub name: String,
    /// That member's key; guests have none.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "identity")]
    pub key: Option<PublicKey>,
    /// The only member who is told of it, beside its sender, where that member is in the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<MemberId>,
    /// Whether it is for one member only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub direct: bool,
    /// Bytes in all, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Bytes of every chunk but the last.
    pub chunk_size: u32,
    /// How many chunks are on disk.
    pub kept: u32,
    /// Chunks in all, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<u32>,
    /// Whether it is complete.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sealed: bool,
    /// Whether its sender is at it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub uploading: bool,
    /// How many members, beside its sender, have all of it.
    #[serde(default)]
    pub received: u32,
    /// Since when it has been there, in seconds since 1970 by the server's clock.
    pub since: f64,
    /// When the server will forget it.
    pub expires: f64,
}

/// Why an offer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Going {
    /// Its sender or a host has withdrawn it.
    Withdrawn,
    /// It was older than the server keeps.
    Expired,
    /// Its source is not what it was when it was offered, so the rest will never come.
    Changed,
    /// It came out of a pipe, or the like, and nobody can go on with it.
    Broken,
    /// Whoever runs the server has removed it.
    #[serde(other)]
    Removed,
}

impl Going {
    /// What a sender may say of its own offer, beside that it takes it back.
    pub(crate) fn is_hopeless(self) -> bool {
        matches!(self, Self::Changed | Self::Broken)
    }

    pub(super) fn withdrawn() -> Self {
        Self::Withdrawn
    }

    // Called by serde, which hands over a reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(super) fn is_withdrawn(&self) -> bool {
        *self == Self::Withdrawn
    }
}

/// Asks for pieces of an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Chosen by the client; comes back when all has been sent.
    pub id: u64,
    /// Of which offer.
    pub offer: OfferNumber,
    /// `manifest`, `chunk` or `sums`.
    pub part: Part,
    /// Which, from the first to below the second; in the last of them `null` for all that there will be.
    pub ranges: Vec<(u32, Option<u32>)>,
}
