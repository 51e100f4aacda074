//! How a member is, in words that are the same wherever members are shown.

use crate::text;

/// Columns of the reason for being away.
const REASON: usize = 40;

/// What a member shares and how it is; only what is out of the ordinary is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct States {
    /// Every connection broke and it is expected back.
    pub reconnecting: bool,
    /// Its connection is bad.
    pub poor: bool,
    /// It is writing.
    pub typing: bool,
    /// A camera is on.
    pub camera: bool,
    /// A screen is shared.
    pub screen: bool,
    /// A microphone is on; `Some(true)`: muted.
    pub microphone: Option<bool>,
    /// It receives pictures.
    pub watching: bool,
    /// A host has muted it.
    pub muted: bool,
    /// Why it is away, if it is; may be empty.
    pub away: Option<String>,
}

impl States {
    /// In words, the most important first.
    pub fn words(&self) -> Vec<String> {
        let said = [
            (self.reconnecting, "reconnecting"),
            (self.poor && !self.reconnecting, "poor connection"),
            (self.typing, "typing…"),
            (self.camera, "camera"),
            (self.screen, "screen"),
            (self.microphone == Some(false), "mic"),
            (self.microphone == Some(true), "mic off"),
            (self.watching, "watching"),
            (self.muted, "muted"),
        ];
        let mut words: Vec<String> =
            said.into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned()).collect();
        match &self.away {
            Some(why) if why.is_empty() => words.push("away".into()),
            Some(why) => words.push(format!("away: {}", text::shorten(why, REASON))),
            None => {}
        }
        words
    }
}
