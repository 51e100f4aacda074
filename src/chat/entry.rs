//! One message of a room's log, and whose it is.

use bytes::Bytes;

use crate::id::{MemberId, PublicKey, SourceId};
use crate::wire::{Code, Slot};

/// Who sends a message.
#[derive(Debug, Clone)]
pub struct Author {
    /// The member.
    pub member: MemberId,
    /// Its name now.
    pub name: String,
    /// Its key.
    pub key: Option<PublicKey>,
}

/// Whose a direct message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addressee {
    /// The member, in this life of the room.
    pub member: MemberId,
    /// Its key, which outlives that.
    pub key: Option<PublicKey>,
}

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The sender, where that was in this life of the room.
    pub member: Option<MemberId>,
    /// The sender's key.
    pub key: Option<PublicKey>,
}

/// One message of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the room.
    pub seq: u64,
    /// The number of the message to everybody before it.
    pub prev: u64,
    /// The sender's series.
    pub source: SourceId,
    /// Its number there.
    pub n: u64,
    /// MD5 of the payload.
    pub checksum: [u8; 16],
    /// Who sent it.
    pub from: Origin,
    /// Whose it is, where it is not everybody's.
    pub to: Option<Origin>,
    /// Its slot.
    pub slot: Option<Slot>,
    /// When the server took it, in microseconds since 1970.
    pub received: u64,
    /// The frame as receivers get it.
    pub frame: Bytes,
    /// What was refused of its source before it: the store keeps that with the source, since a sender that
    /// has not heard of it asks again.
    pub refused: Vec<(u64, Code)>,
}

/// Who reads.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// The member.
    pub member: MemberId,
    /// Its key.
    pub key: Option<PublicKey>,
}

impl Origin {
    fn is(&self, reader: &Reader) -> bool {
        self.member == Some(reader.member) || (self.key.is_some() && self.key == reader.key)
    }
}

impl Entry {
    /// Whether `reader` may have it.
    pub fn is_for(&self, reader: &Reader) -> bool {
        self.to.is_none_or(|to| to.is(reader) || self.from.is(reader))
    }
}
