//! What stands in the pane of messages.

use std::ops::Range;

use super::told::{Told, marked};
use crate::id::{MemberId, OfferNumber};

/// Who said something.
#[derive(Debug, Clone, PartialEq)]
pub struct Sender {
    /// The number in the room.
    pub member: MemberId,
    /// The name at that time, scrubbed.
    pub name: String,
    /// What the colour is made of: the same for all that a person says.
    pub hue: u64,
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something.
    Text,
    /// That somebody does something (`/me`).
    Action,
    /// What the room is about.
    Topic,
}

/// A message of the room.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its number in the room.
    pub seq: u64,
    /// Who said it.
    pub from: Sender,
    /// The addressee of a message for one member.
    pub to: Option<String>,
    /// Whether the person at this terminal said it, here or with another program.
    pub mine: bool,
    /// Its number among what this program sent.
    pub own: Option<u64>,
    /// When it was written, by the clock of who wrote it: seconds since 1970.
    pub sent: f64,
    /// When the server got it, by its clock: seconds since 1970.
    pub received: f64,
    /// What kind of thing is said.
    pub kind: Kind,
    /// Scrubbed; may have several lines.
    pub text: String,
}

/// What was typed and is not in the room yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What kind of thing is said.
    pub kind: Kind,
    /// The addressee of a message for one member.
    pub to: Option<(MemberId, String)>,
    /// What is said.
    pub text: String,
}

/// One thing in the pane.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Line {
    /// A new day begins.
    Day(String),
    /// Somebody said something.
    Said {
        /// What.
        message: Message,
        /// Whether it names or addresses the person at this terminal.
        mention: bool,
    },
    /// The person at this terminal said something that is not in the room yet.
    Pending {
        /// What.
        draft: Draft,
        /// The number that this program gave it.
        n: u64,
        /// How it is known to stand.
        fate: Fate,
    },
    /// Members came and went.
    Traffic(Traffic),
    /// Something was offered.
    Offer {
        /// The number of the offer.
        number: OfferNumber,
        /// What is said of it.
        text: String,
    },
    /// This program says something.
    Notice(String),
    /// The same of people.
    Told(Told),
    /// Something is wrong: what is missing, what failed.
    Warning(String),
}

/// What became of an own message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// The server has not answered yet.
    Waiting,
    /// The server passed it on.
    Relayed,
    /// The server refused it, and why.
    Refused(String),
}

/// Members who came and went, in one line.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Traffic {
    joined: Vec<(MemberId, String)>,
    left: Vec<(MemberId, String)>,
    visited: Vec<(MemberId, String)>,
}

/// Members that one line of traffic remembers; beyond that a new line begins.
const TRAFFIC: usize = 1_000;
/// Names that such a line spells out.
const NAMED: usize = 3;

impl Traffic {
    /// Whether another member still has its place here.
    pub(super) fn has_room(&self) -> bool {
        self.joined.len() + self.left.len() + self.visited.len() < TRAFFIC
    }

    /// A member came; one who had just left did not leave.
    pub(super) fn join(&mut self, member: MemberId, name: &str) {
        self.visited.retain(|(_, visitor)| visitor != name);
        if self.left.iter().any(|(_, left)| left == name) {
            self.left.retain(|(_, left)| left != name);
        } else {
            self.joined.retain(|(_, here)| here != name);
            self.joined.push((member, name.to_owned()));
        }
    }

    /// A member left; one who had just come was a visitor. Each name stands in one place, once.
    pub(super) fn leave(&mut self, member: MemberId, name: &str) {
        let here = self.joined.iter().position(|(joined, _)| *joined == member);
        match here {
            Some(at) => {
                // Whoever comes again has another number; no two who are here have the same name.
                let who = self.joined.remove(at);
                self.visited.retain(|(_, visitor)| *visitor != who.1);
                self.visited.push(who);
            }
            None => {
                self.visited.retain(|(_, visitor)| visitor != name);
                self.left.retain(|(_, left)| left != name);
                self.left.push((member, name.to_owned()));
            }
        }
    }

    /// The line; empty where all have come back.
    pub(super) fn told(&self) -> Told {
        let groups = [(&self.joined, "joined"), (&self.left, "left"), (&self.visited, "joined and left")];
        let parts = groups.into_iter().filter(|(names, _)| !names.is_empty());
        let parts: Vec<String> = parts.map(|(names, what)| format!("{} {what}", listed(names))).collect();
        Told::new(&parts.join("; "))
    }
}

/// "Ann", "Ann and Bo", "Ann, Bo and 3 others".
fn listed(names: &[(MemberId, String)]) -> String {
    let name = |at: usize| marked(&names[at].1);
    match names.len() {
        0 => String::new(),
        1 => name(0),
        count if count <= NAMED => {
            let first: Vec<_> = (0..count - 1).map(name).collect();
            format!("{} and {}", first.join(", "), name(count - 1))
        }
        count => format!("{}, {} and {} others", name(0), name(1), count - 2),
    }
}

impl Line {
    /// The text that is wrapped into rows.
    pub(super) fn text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Day(text) | Self::Notice(text) | Self::Warning(text) | Self::Offer { text, .. } => {
                text.into()
            }
            Self::Said { message, .. } => (&message.text).into(),
            Self::Pending { draft, fate: Fate::Refused(why), .. } => {
                format!("{}\n(not sent: {why})", draft.text).into()
            }
            Self::Pending { draft, .. } => (&draft.text).into(),
            Self::Told(told) => (&told.text).into(),
            Self::Traffic(traffic) => traffic.told().text.into(),
        }
    }

    /// Where names stand in a text of the program.
    pub(super) fn names(&self) -> Vec<Range<usize>> {
        match self {
            Self::Told(told) => told.names.clone(),
            Self::Traffic(traffic) => traffic.told().names,
            _ => Vec::new(),
        }
    }

    /// Bytes of memory, roughly.
    pub(super) fn weight(&self) -> usize {
        // The line itself, its place in the ring and its rows.
        const OWN: usize = 320;
        let names = match self {
            Self::Said { message, .. } => message.from.name.len(),
            Self::Traffic(traffic) => {
                (traffic.joined.len() + traffic.left.len() + traffic.visited.len()) * 96
            }
            _ => 0,
        };
        OWN + names
            + match self {
                Self::Traffic(_) => 0,
                other => other.text().len(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(names: &[&str]) -> Traffic {
        let mut traffic = Traffic::default();
        names.iter().zip(1..).for_each(|(name, id)| traffic.join(MemberId(id), name));
        traffic
    }

    #[test]
    fn comings_and_goings_are_one_line() {
        assert_eq!(joined(&["Ann"]).told().text, "Ann joined");
        assert_eq!(joined(&["Ann", "Bo", "Cy"]).told().text, "Ann, Bo and Cy joined");
        assert_eq!(joined(&["Ann", "Bo", "Cy", "Di", "Ed"]).told().text, "Ann, Bo and 3 others joined");
        let mut traffic = joined(&["Ann", "Bo"]);
        traffic.leave(MemberId(2), "Bo");
        traffic.leave(MemberId(9), "Zoe");
        assert_eq!(traffic.told().text, "Ann joined; Zoe left; Bo joined and left");
        traffic.join(MemberId(10), "Zoe");
        assert_eq!(traffic.told().text, "Ann joined; Bo joined and left");
    }

    #[test]
    fn who_comes_and_goes_several_times_is_named_once() {
        let mut traffic = Traffic::default();
        for id in 1..5 {
            traffic.join(MemberId(id), "root");
            traffic.leave(MemberId(id), "root");
        }
        assert_eq!(traffic.told().text, "root joined and left");
        traffic.join(MemberId(5), "root");
        assert_eq!(traffic.told().text, "root joined");
        traffic.leave(MemberId(5), "root");
        traffic.join(MemberId(6), "Bo");
        traffic.leave(MemberId(6), "Bo");
        assert_eq!(traffic.told().text, "root and Bo joined and left");
        // Whose leaving was not heard, because the server had forgotten everybody.
        let mut traffic = joined(&["Ann", "Bo", "Ann"]);
        assert_eq!(traffic.told().text, "Bo and Ann joined");
        traffic.leave(MemberId(9), "Cy");
        traffic.leave(MemberId(11), "Cy");
        assert_eq!(traffic.told().text, "Bo and Ann joined; Cy left");
    }
}
