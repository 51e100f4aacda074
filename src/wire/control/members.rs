//! What is told of members and of the room, and what hosts do.

use serde::{Deserialize, Serialize};

use super::{is_false, scrubbed_label, scrubbed_reason, told};
use crate::id::{MemberId, PublicKey};

/// What can be said of a room.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Room {
    /// Whether newcomers are refused.
    #[serde(default)]
    pub locked: bool,
    /// Who may not come back yet; at most [`crate::limits::SENT_AWAY`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent_away: Vec<SentAway>,
}

/// A member whom a host has sent away, and who may not come back yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentAway {
    /// The number that it had, which takes it back.
    pub member: MemberId,
    /// Its name then.
    #[serde(deserialize_with = "scrubbed_label")]
    pub name: String,
    /// The name of the host.
    #[serde(deserialize_with = "scrubbed_label")]
    pub by: String,
}

/// What a host has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moderated {
    /// What.
    pub action: Action,
    /// To whom, where it concerns a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// That member's name.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "scrubbed_label")]
    pub name: String,
    /// The host.
    pub by: MemberId,
    /// The host's name.
    #[serde(deserialize_with = "scrubbed_label")]
    pub by_name: String,
}

/// A host who has done something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// The host.
    pub by: MemberId,
    /// The host's name.
    #[serde(deserialize_with = "scrubbed_label")]
    pub by_name: String,
}

/// What a program says about its member. What is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// Whether its user is writing; holds for [`crate::limits::TYPING`] unless it is said again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typing: Option<bool>,
    /// Away, with or without a reason; `null` for back.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "told")]
    pub away: Option<Option<String>>,
}

/// What a host can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// No newcomers.
    Lock,
    /// Newcomers again.
    Unlock,
    /// A member has to leave, and stays out for [`crate::limits::KICKED`].
    Kick,
    /// Who was sent away may come back at once.
    Unkick,
    /// A member's messages are refused and its sound is not passed on.
    Mute,
    /// The end of that.
    Unmute,
    /// A member becomes a host too.
    Host,
    /// A member is no host any more.
    Unhost,
    /// Something of a later version: refused by a server, passed over by a client.
    #[serde(other)]
    Unknown,
}

/// A member as the others see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The number.
    pub member: MemberId,
    /// The name.
    #[serde(deserialize_with = "scrubbed_label")]
    pub name: String,
    /// Whether any of its programs is connected.
    #[serde(default)]
    pub state: Presence,
    /// Since when it has been in the room, in seconds since 1970 by the server's clock.
    #[serde(default)]
    pub since: f64,
    /// Its key, which it has proved to hold; guests have none.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "identity")]
    pub key: Option<PublicKey>,
    /// Whether it may moderate.
    #[serde(default, skip_serializing_if = "is_false")]
    pub host: bool,
    /// Whether a host has muted it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub muted: bool,
    /// Away, with a reason, which may be empty.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "scrubbed_reason")]
    pub away: Option<String>,
    /// Whether it is writing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub typing: bool,
    /// Whether it receives somebody's pictures.
    #[serde(default, skip_serializing_if = "is_false")]
    pub watching: bool,
    /// How well the network serves it.
    #[serde(default, skip_serializing_if = "Quality::is_good")]
    pub connection: Quality,
}

impl Member {
    /// A member of whom no more is known than who it is.
    pub fn new(member: MemberId, name: impl Into<String>) -> Self {
        Self {
            member,
            name: name.into(),
            state: Presence::Here,
            since: 0.0,
            key: None,
            host: false,
            muted: false,
            away: None,
            typing: false,
            watching: false,
            connection: Quality::Good,
        }
    }
}

/// How well the network serves a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Pictures are dropped for it, or it answers late.
    Poor,
    /// Nothing to complain of.
    #[default]
    #[serde(other)]
    Good,
}

impl Quality {
    fn is_good(&self) -> bool {
        *self == Self::Good
    }
}

/// Whether a member is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// At least one program is connected.
    #[default]
    Here,
    /// Every connection broke and the grace time is not over.
    Reconnecting,
}
