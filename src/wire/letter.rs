//! What the header of a message says (docs/protocol.md section 12).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{MemberId, PublicKey, SourceId};

/// What a relay must know about a message, and nothing more.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// Which sender's series of messages it belongs to: chosen at random by the sender.
    pub source: SourceId,
    /// Its number in that series, counted up by one from 1.
    pub n: u64,
    /// The only member who gets it, beside its sender; without one everybody does.
    pub to: Option<MemberId>,
    /// The newest message of a slot is kept however old it becomes.
    pub slot: Option<Slot>,
    /// What the server adds; what a client writes in its place is ignored.
    pub receipt: Option<Receipt>,
}

/// What the server says about a message that it has taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// Its number in the room's log: one sequence for everybody, never given twice.
    pub seq: u64,
    /// The number of the message to everybody that came before it; 0 for the first.
    pub prev: u64,
    /// Who sent it.
    pub from: MemberId,
    /// The sender's name at that time.
    pub name: String,
    /// The sender's key, where it has one.
    pub key: Option<PublicKey>,
    /// When the server took it, in seconds since 1970 by its clock.
    pub received: f64,
}

/// A place for one message that everybody who joins is given, such as the topic: 1 to 16 of `a-z` and
/// `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slot(String);

impl Slot {
    /// What the room talks about.
    pub fn topic() -> Self {
        Self("topic".into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slot {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        match legal && (1..=16).contains(&text.len()) {
            true => Ok(Self(text.to_owned())),
            false => Err("slot: expected 1 to 16 of a-z and -"),
        }
    }
}

impl TryFrom<String> for Slot {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Slot> for String {
    fn from(slot: Slot) -> Self {
        slot.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
