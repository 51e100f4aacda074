//! What a message says: its payload, which is between the programs of people. The server never reads it.

use serde::{Deserialize, Serialize};

use crate::{limits, text};

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Text, in one or several lines.
    Text(String),
    /// What somebody does: "Ann waves".
    Action(String),
    /// What the room talks about; empty for nothing in particular.
    Topic(String),
    /// Something that this program does not know.
    Other,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    kind: String,
    #[serde(default)]
    text: String,
}

impl Content {
    /// The payload.
    pub fn to_payload(&self) -> Vec<u8> {
        let (kind, text) = match self {
            Self::Text(text) => ("text", text.as_str()),
            Self::Action(text) => ("action", text.as_str()),
            Self::Topic(text) => ("topic", text.as_str()),
            Self::Other => ("other", ""),
        };
        let wire = Wire { kind: kind.into(), text: text.into() };
        serde_json::to_vec(&wire).expect("two strings are always JSON")
    }

    /// What a payload says, made harmless for a terminal: line breaks stay, control characters are shown.
    pub fn from_payload(payload: &[u8]) -> Self {
        let Ok(Wire { kind, text }) = serde_json::from_slice(payload) else { return Self::Other };
        match kind.as_str() {
            "text" => Self::Text(text::scrub_lines(&text, limits::MESSAGE)),
            "action" => Self::Action(text::scrub_lines(&text, limits::MESSAGE)),
            "topic" => Self::Topic(text::scrub(&text, limits::SENTENCE)),
            _ => Self::Other,
        }
    }

    /// The text, where there is any.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Action(text) | Self::Topic(text) => text,
            Self::Other => "",
        }
    }
}
