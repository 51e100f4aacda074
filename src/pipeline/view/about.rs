//! What is known of a track beside its pictures, and what has been said about it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::track::lock;
use crate::time::Moment;

/// What is wrong with a track is logged at most this often, whatever it does (FAULTS V03).
const WARN_EVERY: Duration = Duration::from_secs(60);
/// Tracks whose last warning is remembered; while so many have been warned of in that time, no others are.
const WARNED: usize = 64;

/// What is known of a track beside its pictures. Texts are already scrubbed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct About {
    /// Whose it is; empty for a pipe.
    pub member: String,
    /// That member's number; `None` for a pipe.
    pub of: Option<u32>,
    /// What it is called: `camera`, `screen`.
    pub label: String,
    /// One's own.
    pub own: bool,
    /// Width and height, where they are known before the first picture.
    pub size: Option<(usize, usize)>,
    /// Pictures a second, as intended.
    pub fps: Option<f64>,
}

impl About {
    /// The name under the picture.
    pub fn title(&self) -> String {
        match (self.member.as_str(), self.label.as_str()) {
            ("", label) => label.to_owned(),
            (member, "" | "camera") => member.to_owned(),
            (member, label) => format!("{member} / {label}"),
        }
    }

    /// The name and what follows it, to be drawn one behind the other.
    pub(super) fn drawn(&self) -> (String, String) {
        match (self.member.as_str(), self.label.as_str()) {
            ("", label) => (label.to_owned(), String::new()),
            (member, "" | "camera") => (member.to_owned(), String::new()),
            (member, label) => (member.to_owned(), format!("/ {label}")),
        }
    }
}

/// What was logged about tracks lately, so that none of them fills a log. All clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Warnings(Arc<Mutex<VecDeque<(String, Moment)>>>);

impl Warnings {
    /// Whether `title` may be warned of at `now`; if so, that is remembered.
    pub(super) fn admit(&self, now: Moment, title: &str) -> bool {
        let mut last = lock(&self.0);
        last.retain(|(_, at)| now.since(*at) < WARN_EVERY);
        if last.len() >= WARNED || last.iter().any(|(warned, _)| warned == title) {
            return false;
        }
        last.push_back((title.to_owned(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v03_a_track_that_goes_wrong_all_the_time_is_logged_once_a_minute() {
        let warnings = Warnings::default();
        let at = |seconds: u64| Moment::from_micros(seconds * 1_000_000);
        let told = (0..300).filter(|second| warnings.admit(at(*second), "Mallory")).count();
        assert_eq!(told, 5);
        assert!(warnings.admit(at(301), "Ann"), "others are told of all the same");
        let many = (0..1000).filter(|i| warnings.admit(at(302), &i.to_string())).count();
        assert!(many <= WARNED, "nor do many names help: {many}");
    }
}
