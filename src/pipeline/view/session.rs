//! How the session in the room is doing, for the banner and the statistics.

use std::time::Duration;

use serde_json::json;

use crate::time::Moment;

/// How the session in the room is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Session {
    /// There is none: the source is a pipe.
    #[default]
    Absent,
    /// The first connection is being made.
    Connecting,
    /// All is well.
    Up,
    /// The connection stands, but nothing has come through it since then.
    Silent {
        /// When the last byte came.
        since: Moment,
    },
    /// The connection is lost; pictures stay as they were.
    Reconnecting {
        /// Why, as a person would say it.
        reason: String,
        /// Which try in a row comes next.
        attempt: u32,
        /// When.
        retry_at: Moment,
    },
}

impl Session {
    /// One word for programs; `None` where there is no session.
    fn state(&self) -> Option<&'static str> {
        match self {
            Self::Absent => None,
            Self::Connecting => Some("connecting"),
            Self::Up => Some("up"),
            Self::Silent { .. } => Some("silent"),
            Self::Reconnecting { .. } => Some("reconnecting"),
        }
    }

    /// What stands across the top; whole seconds, so that it changes once a second.
    pub(super) fn banner(&self, now: Moment) -> Option<String> {
        match self {
            Self::Absent | Self::Up => None,
            Self::Connecting => Some("connecting".into()),
            Self::Silent { since } => {
                Some(format!("nothing comes from the server for {} s", now.since(*since).as_secs()))
            }
            Self::Reconnecting { reason, retry_at, .. } => {
                let left = retry_at.since(now);
                let next = match left.as_millis().div_ceil(1000) {
                    0 => "trying again now".into(),
                    seconds => format!("trying again in {seconds} s"),
                };
                Some(format!("{reason}: {next}"))
            }
        }
    }

    /// One line for programs.
    pub(super) fn json(&self, now: Moment, wall: u64) -> Option<String> {
        let mut line = json!({"type": "session", "time": wall as f64 / 1e6, "state": self.state()?});
        let seconds = |span: Duration| (span.as_secs_f64() * 10.0).round() / 10.0;
        match self {
            Self::Silent { since } => line["silent_s"] = json!(seconds(now.since(*since))),
            Self::Reconnecting { reason, attempt, retry_at } => {
                line["reason"] = json!(reason);
                line["attempt"] = json!(attempt);
                line["retry_in_s"] = json!(seconds(retry_at.since(now)));
            }
            Self::Absent | Self::Connecting | Self::Up => {}
        }
        Some(line.to_string())
    }

    /// One line for a person; nothing when all is well.
    pub(super) fn text(&self, now: Moment) -> Option<String> {
        self.banner(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_counts_down_and_says_why() {
        let at = |seconds: u64| Moment::from_micros(seconds * 1_000_000);
        let lost = Session::Reconnecting {
            reason: "the server closed the connection".into(),
            attempt: 2,
            retry_at: at(12),
        };
        assert_eq!(
            lost.banner(at(10)).as_deref(),
            Some("the server closed the connection: trying again in 2 s")
        );
        assert!(lost.banner(at(13)).is_some_and(|words| words.ends_with("trying again now")));
        let line: serde_json::Value = serde_json::from_str(&lost.json(at(10), 5_000_000).unwrap()).unwrap();
        assert_eq!(
            line,
            json!({"type": "session", "time": 5.0, "state": "reconnecting", "attempt": 2, "retry_in_s": 2.0,
                "reason": "the server closed the connection"})
        );
        let silent = Session::Silent { since: at(10) };
        assert_eq!(silent.banner(at(13)).as_deref(), Some("nothing comes from the server for 3 s"));
        assert_eq!((Session::Up.banner(at(0)), Session::Absent.json(at(0), 0)), (None, None));
    }
}
