//! What an offer is, in a few words: what the room is told before anybody fetches anything.

use serde::{Deserialize, Serialize};

use super::Manifest;
use super::list::Few;
use crate::{limits, text};

/// Names of files that are told with an offer.
const FIRST: usize = 8;

/// What was put before the room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Files and directories.
    #[default]
    Files,
    /// A text that is read where it is shown.
    Text,
    /// What a program writes, as it comes.
    Pipe,
}

/// The description of an offer; nothing of it is proved, the manifest is what counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// What it is called.
    pub title: String,
    /// How many files.
    pub files: u64,
    /// Bytes of all of them, where that is known.
    pub size: Option<u64>,
    /// What it is.
    pub kind: Kind,
    /// The first of its files.
    pub first: Vec<String>,
}

impl About {
    /// What `manifest` comes to under this title.
    pub fn of(manifest: &Manifest, title: &str, kind: Kind) -> Self {
        let names = manifest.files().iter().chain(manifest.directories());
        Self {
            title: title.to_owned(),
            files: manifest.files().len() as u64,
            size: manifest.total(),
            kind,
            first: names.take(FIRST).map(|entry| entry.path.to_string()).collect(),
        }
    }

    /// The payload; names are left out from the last where they do not fit.
    pub fn to_payload(&self) -> Vec<u8> {
        let title = text::shorten(&self.title, limits::COMPONENT);
        for names in (0..=self.first.len().min(FIRST)).rev() {
            let out = Out {
                title: &title,
                files: self.files,
                size: self.size,
                kind: self.kind,
                first: &self.first[..names],
            };
            let payload = serde_json::to_vec(&out).expect("strings and numbers are always JSON");
            if payload.len() <= limits::ABOUT {
                return payload;
            }
        }
        // A title whose characters are all written as escapes, or with hundreds of marks.
        let out = Out { title: "", files: self.files, size: self.size, kind: self.kind, first: &[] };
        serde_json::to_vec(&out).expect("strings and numbers are always JSON")
    }

    /// What a payload says, made harmless for a terminal; nothing where it cannot be read.
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        if payload.len() > limits::ABOUT {
            return None;
        }
        let In { title, files, size, kind, first } = serde_json::from_slice(payload).ok()?;
        let line = |text: &str| text::scrub(text, limits::COMPONENT);
        Some(Self {
            title: line(&title),
            files,
            size: size.filter(|size| *size <= limits::INTEGER),
            kind,
            first: first.items.iter().map(|name| line(name)).collect(),
        })
    }
}

#[derive(Serialize)]
struct Out<'a> {
    title: &'a str,
    files: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    kind: Kind,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    first: &'a [String],
}

#[derive(Deserialize)]
struct In {
    #[serde(default)]
    title: String,
    #[serde(default)]
    files: u64,
    size: Option<u64>,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    first: Few<String, FIRST>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_was_said() {
        let about = About {
            title: "报告.pdf".into(),
            files: 1,
            size: Some(7),
            kind: Kind::Files,
            first: vec!["报告.pdf".into()],
        };
        let payload = about.to_payload();
        assert_eq!(About::from_payload(&payload), Some(about));
        let pipe = About { title: "db.sql".into(), files: 1, kind: Kind::Pipe, ..About::default() };
        assert_eq!(
            String::from_utf8(pipe.to_payload()).unwrap(),
            r#"{"title":"db.sql","files":1,"kind":"pipe"}"#
        );
    }

    #[test]
    fn f02_what_it_says_does_nothing_to_a_terminal_and_fits_a_frame() {
        let hostile = "\u{1b}[2J\u{202e}\n".repeat(200);
        let about = About { title: hostile.clone(), first: vec![hostile; 20], ..About::default() };
        let payload = about.to_payload();
        assert!(payload.len() <= limits::ABOUT);
        let told = About::from_payload(&payload).unwrap();
        assert!(told.title.chars().all(|c| !c.is_control()) && told.first.len() <= FIRST);
        let marks = About { title: format!("o{}", "\u{301}".repeat(9_000)), ..About::default() };
        assert!(marks.to_payload().len() <= limits::ABOUT);
        for bad in ["", "[]", "7", "{\"title\":7}", "{\"files\":-1}", "{\"kind\":\"x\"}"] {
            assert_eq!(About::from_payload(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(About::from_payload(b"{}"), Some(About::default()));
    }
}
