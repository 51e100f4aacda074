//! Who is in the room, as the terminal shows it.

use crate::chat::States;
use crate::id::MemberId;
use crate::text;

/// A member and what it shares. Texts are scrubbed.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// The number in the room.
    pub id: MemberId,
    /// The name.
    pub name: String,
    /// The short form of its key, for comparing.
    pub fingerprint: Option<String>,
    /// What the colour is made of.
    pub hue: u64,
    /// Since when, by the server's clock: seconds since 1970.
    pub since: f64,
    /// Whether it is the person at this terminal.
    pub own: bool,
    /// Whether every connection broke and it is expected back.
    pub reconnecting: bool,
    /// Whether it is a host of the room.
    pub host: bool,
    /// Whether a host has muted it.
    pub muted: bool,
    /// Why it is away, if it is; may be empty.
    pub away: Option<String>,
    /// Whether it is typing.
    pub typing: bool,
    /// Whether it watches video.
    pub watching: bool,
    /// Whether its connection is bad.
    pub poor: bool,
    /// Whether a camera is on.
    pub camera: bool,
    /// Whether a screen is shared.
    pub screen: bool,
    /// Whether a microphone is on; `Some(true)`: muted.
    pub microphone: Option<bool>,
}

impl Person {
    /// A member of whom nothing more is known.
    pub fn new(id: MemberId, name: &str, hue: u64) -> Self {
        Self {
            id,
            name: name.to_owned(),
            fingerprint: None,
            hue,
            since: 0.0,
            own: false,
            reconnecting: false,
            host: false,
            muted: false,
            away: None,
            typing: false,
            watching: false,
            poor: false,
            camera: false,
            screen: false,
            microphone: None,
        }
    }

    /// Whether it is the same person as `other`, perhaps in another life of the room. Keys stay whatever
    /// people are called; of guests only the name is known, or the number while the room lives.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.fingerprint, &other.fingerprint) {
            (Some(one), Some(another)) => one == another,
            (None, None) => {
                let number = self.id == other.id && self.since > 0.0 && self.since == other.since;
                number || self.name == other.name
            }
            _ => false,
        }
    }

    /// Whether the name could be meant to look like another's: its letters come from several scripts.
    pub fn is_doubtful(&self) -> bool {
        text::mixes_scripts(&self.name)
    }

    /// The name; where that is doubtful, the short form of the key stands beside it.
    pub fn told(&self) -> String {
        match (self.is_doubtful(), &self.fingerprint) {
            (false, _) => self.name.clone(),
            (true, Some(fingerprint)) => format!("{} [{fingerprint}]", self.name),
            (true, None) => format!("{} [guest]", self.name),
        }
    }

    /// What it shares and how it is, in words.
    pub fn states(&self) -> Vec<String> {
        let states = States {
            reconnecting: self.reconnecting,
            poor: self.poor,
            // Shown beside the name, where it comes and goes without moving anything.
            typing: false,
            camera: self.camera,
            screen: self.screen,
            microphone: self.microphone,
            watching: self.watching,
            muted: self.muted,
            away: self.away.clone(),
        };
        states.words()
    }

    /// The mark before the name: here, away, reconnecting.
    pub fn mark(&self) -> &'static str {
        match (self.reconnecting, self.away.is_some()) {
            (true, _) => "◌",
            (_, true) => "○",
            _ => "●",
        }
    }

    /// A letter for each thing shared.
    pub fn letters(&self) -> String {
        let shared = [
            (self.camera, 'C'),
            (self.screen, 'S'),
            (self.microphone == Some(false), 'M'),
            (self.microphone == Some(true), 'm'),
            (self.watching, 'W'),
        ];
        shared.into_iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect()
    }
}

/// All members, the person at this terminal first, the others by name.
#[derive(Debug, Default)]
pub(super) struct Members {
    list: Vec<Person>,
}

impl Members {
    /// In the order in which they are shown.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Person> {
        self.list.iter()
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nobody is there.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// A member by its name; the only one whose name begins so, where nobody has it.
    pub(super) fn by_name(&self, name: &str) -> Option<&Person> {
        let wanted = name.to_lowercase();
        let exact = self.list.iter().find(|person| person.name == name);
        let alike = || self.list.iter().find(|person| person.name.to_lowercase() == wanted);
        let only = || {
            let mut beginning = self.list.iter().filter(|p| p.name.to_lowercase().starts_with(&wanted));
            beginning.next().filter(|_| beginning.next().is_none() && !wanted.is_empty())
        };
        exact.or_else(alike).or_else(only)
    }

    /// A member came or changed; what was known of it before.
    pub(super) fn put(&mut self, person: Person) -> Option<Person> {
        let before = self.remove(person.id);
        let key = |p: &Person| (!p.own, p.name.to_lowercase(), p.id);
        let at = self.list.partition_point(|other| key(other) < key(&person));
        self.list.insert(at, person);
        before
    }

    /// Something about a member is different.
    pub(super) fn change(&mut self, id: MemberId, change: impl FnOnce(&mut Person)) {
        if let Some(person) = self.list.iter_mut().find(|person| person.id == id) {
            change(person);
        }
    }

    /// A member left.
    pub(super) fn remove(&mut self, id: MemberId) -> Option<Person> {
        let at = self.list.iter().position(|person| person.id == id)?;
        Some(self.list.remove(at))
    }

    /// Who is there now, instead of what was known; returns what was known.
    pub(super) fn replace(&mut self, people: Vec<Person>) -> Vec<Person> {
        let before = std::mem::take(&mut self.list);
        people.into_iter().for_each(|person| {
            self.put(person);
        });
        before
    }

    /// "Ann is typing", "Ann and Bo are typing", "3 people are typing".
    pub(super) fn typing(&self) -> Option<String> {
        let names: Vec<&str> =
            self.list.iter().filter(|p| p.typing && !p.own).map(|p| p.name.as_str()).collect();
        Some(match names.as_slice() {
            [] => return None,
            [one] => format!("{one} is typing…"),
            [one, two] => format!("{one} and {two} are typing…"),
            more => format!("{} people are typing…", more.len()),
        })
    }
}
