//! Messages as lines of text, for pipes, logs and exports.
//!
//! What comes from others is scrubbed where it comes in; here lines are kept apart: what follows the first
//! line of a message is indented and marked, so that no message can pretend to be another one.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::chat::{Content, Received};
use crate::limits;

/// Bytes of text in one message as it travels: a payload takes [`limits::MESSAGE`], with room for what
/// surrounds the text.
const LONGEST: usize = limits::MESSAGE - 4 * 1024;

/// A time by the server's clock, in seconds since 1970, where this machine is.
pub(super) fn zoned(seconds: f64, zone: &TimeZone) -> jiff::Zoned {
    let micros = if seconds.is_finite() { (seconds * 1e6) as i64 } else { 0 };
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone())
}

/// `HH:MM`.
pub(super) fn clock(seconds: f64, zone: &TimeZone) -> String {
    let time = zoned(seconds, zone);
    format!("{:02}:{:02}", time.hour(), time.minute())
}

/// `2026-11-22 09:00:00+01:00`.
pub(super) fn stamp(seconds: f64, zone: &TimeZone) -> String {
    zoned(seconds, zone).strftime("%Y-%m-%d %H:%M:%S%:z").to_string()
}

/// A message behind `time`, with its line ends. `to`: who it is for, where it is not for everybody.
pub(super) fn message(time: &str, received: &Received, to: Option<&str>) -> String {
    let name = match to {
        Some(to) => format!("{}→{to}", received.name),
        None => received.name.clone(),
    };
    let head = match &received.content {
        Content::Text(_) => format!("{time} {name}: "),
        Content::Action(_) => format!("{time} * {name} "),
        Content::Topic(_) => format!("{time} {name} = "),
        Content::Other => format!("{time} {name} sent something that this version cannot show"),
    };
    let mut lines = received.content.text().split('\n');
    let mut text = head + lines.next().unwrap_or_default();
    text.push('\n');
    for line in lines {
        let _ = writeln!(text, "{:1$} │ {line}", "", time.chars().count());
    }
    text
}

/// A text as one or several that each fit into a message.
pub(super) fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (at, c) in text.char_indices() {
        let cost = escaped(c);
        if size + cost > LONGEST {
            pieces.push(&text[start..at]);
            (start, size) = (at, 0);
        }
        size += cost;
    }
    pieces.push(&text[start..]);
    pieces
}

/// Bytes that a character takes in JSON.
fn escaped(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::id::{MemberId, SourceId};

    pub(in crate::cli::chat) fn received(name: &str, content: Content) -> Received {
        Received {
            seq: 1,
            from: MemberId(1),
            name: name.into(),
            key: None,
            to: None,
            source: SourceId([0; 16]),
            n: 1,
            own: false,
            sent: 0.0,
            received: 0.0,
            slot: None,
            content,
        }
    }

    #[test]
    fn t03_what_follows_the_first_line_is_marked() {
        let text = Content::Text("hello\n09:00 Bo: me too".into());
        assert_eq!(
            message("09:00", &received("Ann", text), None),
            "09:00 Ann: hello\n      │ 09:00 Bo: me too\n"
        );
        let action = received("Ann", Content::Action("waves".into()));
        assert_eq!(message("09:00", &action, None), "09:00 * Ann waves\n");
        let direct = received("Ann", Content::Text("psst".into()));
        assert_eq!(message("09:00", &direct, Some("Bo")), "09:00 Ann→Bo: psst\n");
    }

    #[test]
    fn a_long_text_becomes_several_messages_that_fit() {
        assert_eq!(pieces("short"), ["short"]);
        assert_eq!(pieces(""), [""]);
        for text in ["x".repeat(200_000), "\u{1}".repeat(50_000), "\"汉\u{1f600}".repeat(30_000)] {
            let parts = pieces(&text);
            assert!(parts.len() > 1 && parts.concat() == text);
            for part in parts {
                assert!(Content::Text(part.into()).to_payload().len() <= limits::MESSAGE);
            }
        }
    }

    #[test]
    fn times_are_those_of_the_place() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(clock(1_763_798_400.0, &zone), "09:00");
        assert_eq!(stamp(1_763_798_400.0, &zone), "2025-11-22 09:00:00+01:00");
        assert_eq!(clock(f64::NAN, &zone), "01:00");
        assert_eq!(clock(1e300, &zone), "01:00");
    }
}
