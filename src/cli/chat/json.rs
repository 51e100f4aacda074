//! `--json`: one object a line, out and in (docs/chat-json.md).
//!
//! Objects that are written have all their keys, with `null` for what there is none of, so that a reader can
//! rely on them; readers must pass over types and keys that they do not know.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::roster::Roster;
use crate::chat::{Content, Progress, Received};
use crate::id::{LogId, MemberId, OfferNumber, PublicKey};
use crate::terminal::Person;
use crate::wire::control::{Action, Gap, GapReason, Member, Moderated, Presence, Quality, Refusal, SentAway};
use crate::wire::offer::Going;

/// Bytes of a line that comes in: the longest text, however it is escaped.
pub(super) const LONGEST: usize = 512 * 1024;

/// What is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Told<'a> {
    Connection(Connection<'a>),
    State {
        members: Vec<Someone<'a>>,
        locked: bool,
        sent_away: &'a [SentAway],
    },
    Presence {
        event: News,
        member: Someone<'a>,
    },
    Room {
        locked: bool,
        sent_away: &'a [SentAway],
    },
    Moderated {
        action: Action,
        member: Option<MemberId>,
        name: Option<&'a str>,
        by: MemberId,
        by_name: &'a str,
    },
    Message(Message<'a>),
    Topic {
        text: &'a str,
    },
    Gap {
        from: u64,
        to: u64,
        reason: GapReason,
    },
    CaughtUp,
    Posted {
        n: u64,
        id: &'a Option<Value>,
    },
    Ack {
        relayed: u64,
        stored: u64,
    },
    Storage {
        stored: bool,
        message: &'a str,
    },
    Done {
        id: &'a Option<Value>,
    },
    Error(Error<'a>),
    Offers {
        offers: Vec<Value>,
        id: &'a Option<Value>,
    },
    Offer {
        event: Happened,
        reason: Option<Going>,
        by: Option<MemberId>,
        by_name: Option<&'a str>,
        offer: Value,
    },
    Transfer(Moved),
}

/// What happened to an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Happened {
    New,
    Complete,
    Received,
    Change,
    Gone,
}

/// How a transfer goes.
#[derive(Debug, Default, Serialize)]
pub(super) struct Moved {
    pub(super) transfer: u32,
    pub(super) event: &'static str,
    pub(super) direction: &'static str,
    pub(super) offer: Option<OfferNumber>,
    pub(super) title: String,
    pub(super) state: Option<&'static str>,
    pub(super) bytes: Option<u64>,
    pub(super) size: Option<u64>,
    pub(super) rate: Option<u64>,
    pub(super) left_s: Option<u64>,
    pub(super) limit: Option<&'static str>,
    pub(super) exit: Option<u8>,
    pub(super) message: Option<String>,
    pub(super) files: Option<Vec<Value>>,
    pub(super) id: Option<Value>,
}

/// How the connection is.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum Connection<'a> {
    Up { room: &'a str, member: MemberId, name: &'a str, resumed: bool, log: Option<LogId>, stored: bool },
    Down { reason: String, retry_in: f64, attempt: u32 },
    Ended { reason: String },
}

/// What happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum News {
    Join,
    Change,
    Leave,
}

/// A member.
#[derive(Debug, Serialize)]
pub(super) struct Someone<'a> {
    member: MemberId,
    name: &'a str,
    own: bool,
    state: Presence,
    since: f64,
    identity: Option<PublicKey>,
    fingerprint: Option<String>,
    host: bool,
    muted: bool,
    away: Option<&'a str>,
    typing: bool,
    watching: bool,
    connection: Quality,
    camera: bool,
    screen: bool,
    microphone: Option<&'static str>,
}

impl<'a> Someone<'a> {
    /// A member, and what it shares.
    pub(super) fn new(member: &'a Member, person: &Person) -> Self {
        Self {
            member: member.member,
            name: &member.name,
            own: person.own,
            state: member.state,
            since: member.since,
            identity: member.key,
            fingerprint: person.fingerprint.clone(),
            host: member.host,
            muted: member.muted,
            away: member.away.as_deref(),
            typing: member.typing,
            watching: member.watching,
            connection: member.connection,
            camera: person.camera,
            screen: person.screen,
            microphone: person.microphone.map(|muted| if muted { "muted" } else { "on" }),
        }
    }

    /// Everybody who is here.
    pub(super) fn all(roster: &'a Roster) -> Vec<Self> {
        let members = roster.members();
        members.filter_map(|member| Some(Self::new(member, &roster.person(member.member)?))).collect()
    }
}

/// Something that was said.
#[derive(Debug, Serialize)]
pub(super) struct Message<'a> {
    seq: u64,
    from: MemberId,
    name: &'a str,
    identity: Option<PublicKey>,
    own: bool,
    n: Option<u64>,
    to: Option<MemberId>,
    time: f64,
    sent: f64,
    kind: &'static str,
    text: &'a str,
}

impl<'a> Message<'a> {
    pub(super) fn new(received: &'a Received, roster: &Roster) -> Self {
        Self {
            seq: received.seq,
            from: received.from,
            name: &received.name,
            identity: received.key,
            own: received.own || roster.is_own(received.from, received.key),
            n: received.own.then_some(received.n),
            to: received.to,
            time: received.received,
            sent: received.sent,
            kind: match received.content {
                Content::Text(_) => "text",
                Content::Action(_) => "action",
                Content::Topic(_) => "topic",
                Content::Other => "other",
            },
            text: received.content.text(),
        }
    }
}

/// Something that did not work.
#[derive(Debug, Default, Serialize)]
pub(super) struct Error<'a> {
    pub(super) message: String,
    pub(super) code: Option<&'static str>,
    /// The message that it is about.
    pub(super) n: Option<u64>,
    /// The line of input that it is about.
    pub(super) line: Option<u64>,
    pub(super) id: Option<&'a Value>,
}

impl Error<'_> {
    pub(super) fn refusal(refusal: &Refusal, n: Option<u64>) -> Self {
        Self { message: refusal.to_string(), code: Some(refusal.code.as_str()), n, ..Self::default() }
    }
}

impl From<Gap> for Told<'_> {
    fn from(gap: Gap) -> Self {
        Self::Gap { from: gap.from, to: gap.to, reason: gap.reason }
    }
}

impl From<Progress> for Told<'_> {
    fn from(progress: Progress) -> Self {
        Self::Ack { relayed: progress.relayed, stored: progress.stored }
    }
}

impl<'a> From<&'a Moderated> for Told<'a> {
    fn from(moderated: &'a Moderated) -> Self {
        Self::Moderated {
            action: moderated.action,
            member: moderated.member,
            name: moderated.member.map(|_| moderated.name.as_str()),
            by: moderated.by,
            by_name: &moderated.by_name,
        }
    }
}

impl Told<'_> {
    /// As a line.
    pub(super) fn line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("strings, numbers and lists are always JSON");
        line.push('\n');
        line
    }
}

/// What is asked for.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Asked {
    Message {
        text: String,
        to: Option<String>,
        #[serde(default)]
        kind: Kind,
    },
    Topic {
        text: String,
    },
    Typing {
        typing: Option<bool>,
    },
    Away {
        text: Option<String>,
    },
    Back {},
    Rename {
        name: String,
    },
    Moderate {
        action: Action,
        member: Option<String>,
    },
    Offers {},
    Get {
        offer: Value,
        directory: Option<String>,
    },
    Send {
        paths: Vec<String>,
        to: Option<String>,
    },
    Cancel {
        transfer: u32,
    },
    Withdraw {
        offer: Value,
    },
}

impl Asked {
    /// Whether what is offered has to be known for it.
    pub(super) fn is_about_offers(&self) -> bool {
        matches!(self, Self::Offers {} | Self::Get { .. } | Self::Withdraw { .. })
    }
}

/// How something is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    #[default]
    Text,
    Action,
    Topic,
}

impl Kind {
    pub(super) fn content(self, text: String) -> Content {
        match self {
            Self::Text => Content::Text(text),
            Self::Action => Content::Action(text),
            Self::Topic => Content::Topic(text),
        }
    }
}

/// What a line asks for, and the `id` that its answers carry. The error is a sentence.
pub(super) fn asked(line: &str) -> (Option<Value>, Result<Asked, String>) {
    let because = |error: &serde_json::Error| {
        let text = error.to_string();
        crate::text::for_log(text.split(" at line").next().unwrap_or_default().as_bytes(), 200)
    };
    match serde_json::from_str::<Value>(line) {
        Err(error) => (None, Err(format!("this is no JSON: {}", because(&error)))),
        Ok(value) if !value.is_object() => (None, Err("expected a JSON object with a type".into())),
        Ok(mut value) => {
            let id = value.as_object_mut().and_then(|object| object.remove("id"));
            // An answer must not be longer than a question may be.
            let id = id.filter(|id| id.is_number() || id.as_str().is_some_and(|id| id.len() <= 128));
            (id, Asked::deserialize(value).map_err(|error| because(&error)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_asked_for() {
        let message = |text: &str, to: Option<&str>, kind| Asked::Message {
            text: text.into(),
            to: to.map(Into::into),
            kind,
        };
        for (line, expected) in [
            (r#"{"type":"message","text":"hi"}"#, message("hi", None, Kind::Text)),
            (
                r#"{"type":"message","text":"hi","to":"Bo","kind":"action"}"#,
                message("hi", Some("Bo"), Kind::Action),
            ),
            (r#"{"type":"typing"}"#, Asked::Typing { typing: None }),
            (r#"{"type":"away","text":"tea"}"#, Asked::Away { text: Some("tea".into()) }),
            (r#"{"type":"back"}"#, Asked::Back {}),
            (r#"{"type":"offers"}"#, Asked::Offers {}),
            (r#"{"type":"get","offer":3}"#, Asked::Get { offer: 3.into(), directory: None }),
            (
                r#"{"type":"send","paths":["a"],"to":"Bo"}"#,
                Asked::Send { paths: vec!["a".into()], to: Some("Bo".into()) },
            ),
            (r#"{"type":"cancel","transfer":1}"#, Asked::Cancel { transfer: 1 }),
            (r#"{"type":"withdraw","offer":"a.txt"}"#, Asked::Withdraw { offer: "a.txt".into() }),
            (
                r#"{"type":"moderate","action":"lock"}"#,
                Asked::Moderate { action: Action::Lock, member: None },
            ),
        ] {
            assert_eq!(asked(line).1, Ok(expected), "{line}");
        }
        assert_eq!(asked(r#"{"type":"back","id":7}"#).0, Some(Value::from(7)));
    }

    /// The row of a type in a table of docs/chat-json.md, in the part that begins with `part`.
    fn documented(part: &str, kind: &str) -> &'static str {
        let docs = include_str!("../../../docs/chat-json.md");
        let rows = docs.split_once(part).unwrap().1.split("\n### ").next().unwrap();
        let start = format!("| `{kind}` |");
        rows.lines().find(|row| row.starts_with(&start)).unwrap_or_else(|| panic!("{kind} is not documented"))
    }

    #[test]
    fn what_is_told_has_the_keys_of_the_documentation() {
        let none = None;
        let away = [SentAway { member: MemberId(3), name: "Bo".into(), by: "Ann".into() }];
        let deed = Moderated {
            action: Action::Kick,
            member: Some(MemberId(3)),
            name: "Bo".into(),
            by: MemberId(2),
            by_name: "Ann".into(),
        };
        let told = [
            Told::Offers { offers: Vec::new(), id: &none },
            Told::Offer {
                event: Happened::Gone,
                reason: Some(Going::Withdrawn),
                by: Some(MemberId(2)),
                by_name: Some("Ann"),
                offer: Value::Null,
            },
            Told::Transfer(Moved::default()),
            Told::Ack { relayed: 1, stored: 1 },
            Told::State { members: Vec::new(), locked: true, sent_away: &away },
            Told::Room { locked: true, sent_away: &away },
            (&deed).into(),
            Told::Gap { from: 1, to: 2, reason: GapReason::Crash },
        ];
        for told in told {
            let object: serde_json::Map<String, Value> = serde_json::from_str(&told.line()).unwrap();
            let row = documented("### Out", object["type"].as_str().unwrap());
            for key in object.keys().filter(|key| *key != "type") {
                assert!(row.contains(&format!("`{key}`")), "{key} is not in {row}");
            }
        }
        for event in [Happened::New, Happened::Complete, Happened::Received, Happened::Change, Happened::Gone]
        {
            let word = serde_json::to_string(&event).unwrap().replace('"', "`");
            assert!(documented("### Out", "offer").contains(&word), "{word}");
        }
        for (kind, keys) in [
            ("offers", &[][..]),
            ("get", &["offer", "directory"]),
            ("send", &["paths", "to"]),
            ("cancel", &["transfer"]),
            ("withdraw", &["offer"]),
        ] {
            let row = documented("### In", kind);
            assert!(keys.iter().all(|key| row.contains(&format!("`{key}`"))), "{row}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_sentence_and_keeps_its_id() {
        for line in [
            "",
            "x",
            "[]",
            "{}",
            r#"{"type":"fly"}"#,
            r#"{"type":"message"}"#,
            r#"{"type":"message","text":1}"#,
            r#"{"type":"away","away":"x"}"#,
            r#"{"type":"back","later":1}"#,
        ] {
            assert!(asked(line).1.is_err(), "{line}");
        }
        let (id, result) = asked(r#"{"type":"fly","id":"a"}"#);
        assert_eq!(id, Some(Value::from("a")));
        assert!(result.unwrap_err().contains("fly"));
    }
}
