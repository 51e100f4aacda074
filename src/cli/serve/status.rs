//! `conf-serve --status`: how the running server is.

use std::fmt::Write as _;

use super::table::{self, Align};
use super::{Failure, Format, ask, room};
use crate::server::local::{Answer, Question};
use crate::server::status::{Dropped, Status, Store};

/// Asks and shows.
pub(super) fn run(port: Option<u16>, format: Format) -> Result<String, Failure> {
    match (ask::ask(port, &Question::Status)?, format) {
        (Answer::Status(status), Format::Json) => room::json(&status),
        (Answer::Status(status), Format::Table) => Ok(show(&status)),
        (other, _) => Err(room::unexpected(&other)),
    }
}

fn show(status: &Status) -> String {
    use Align::{Left, Right};
    let mut text = format!(
        "conf-serve {}, up {}: {}, {} refused, {:.0} messages/s\n",
        status.version,
        table::span(status.uptime),
        counted(status.connections as u64, "connection"),
        status.refused,
        status.messages_per_second
    );
    text.push_str(&match &status.store {
        Some(store) => history(store),
        None => "history: none (--ephemeral)\n".into(),
    });
    if let Some(files) = &status.files {
        let _ = writeln!(
            text,
            "files: {} of {} used, {}, {} waiting",
            table::bytes(files.bytes),
            table::bytes(files.quota),
            counted(files.offers as u64, "offer"),
            counted(files.waiting as u64, "chunk")
        );
        if let Some(why) = &files.failing {
            let _ = writeln!(text, "files: NOTHING IS STORED at present: {why}");
        }
    }
    if status.rooms.is_empty() {
        text.push_str("nobody is here\n");
        return text;
    }
    let rooms = status.rooms.iter().map(|room| {
        let dropped = room.dropped;
        [
            room.name.clone(),
            room.members.to_string(),
            room.sessions.to_string(),
            room.tracks.len().to_string(),
            format!("{:.0}", room.messages_per_second),
            room.offers.to_string(),
            table::bytes(room.queue.bytes as u64),
            format!("{} ms", room.queue.oldest_ms),
            not_sent(&dropped),
        ]
    });
    text.push('\n');
    text.push_str(&table::draw(
        [
            ("ROOM", Left),
            ("MEMBERS", Right),
            ("PROGRAMS", Right),
            ("TRACKS", Right),
            ("MESSAGES/S", Right),
            ("OFFERS", Right),
            ("WAITING", Right),
            ("OLDEST", Right),
            ("PICTURES NOT SENT", Left),
        ],
        rooms,
    ));
    if status.rooms.iter().any(|room| room.dropped != Dropped::default()) {
        text.push_str(NOT_SENT);
    }
    let tracks: Vec<[String; 6]> = status
        .rooms
        .iter()
        .flat_map(|room| room.tracks.iter().map(move |track| (room, track)))
        .map(|(room, track)| {
            [
                room.name.clone(),
                track.member.clone(),
                track.label.clone(),
                format!("{:.0}", track.frames_per_second),
                table::bits(track.bits_per_second),
                track.receivers.to_string(),
            ]
        })
        .collect();
    if !tracks.is_empty() {
        let columns = [
            ("ROOM", Left),
            ("MEMBER", Left),
            ("TRACK", Left),
            ("FRAMES/S", Right),
            ("RATE", Right),
            ("RECEIVERS", Right),
        ];
        text.push('\n');
        text.push_str(&table::draw(columns, tracks));
    }
    text
}

/// What the words of [`not_sent`] mean.
const NOT_SENT: &str = "\
pictures not sent: thinned out where a line is slow (fewer a second), skipped where it is too slow (none until the
next whole picture), or before the first whole picture, with which a receiver begins
";

/// Pictures that receivers who are here did not get, and why.
fn not_sent(dropped: &Dropped) -> String {
    let kinds =
        [(dropped.layer, "thinned out"), (dropped.group, "skipped"), (dropped.no_key, "before the first")];
    let told = kinds.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    match told.collect::<Vec<_>>() {
        none if none.is_empty() => "none".into(),
        told => told.join(", "),
    }
}

fn history(store: &Store) -> String {
    let mut text = format!(
        "history: {} on disk, {} stored since the start, {} waiting, last commit {:.1} ms",
        table::bytes(store.bytes),
        counted(store.stored, "message"),
        store.waiting,
        store.last_commit_ms
    );
    if store.refused > 0 {
        let _ = write!(text, ", {} not stored, because too much waited", store.refused);
    }
    text.push('\n');
    if let Some(why) = &store.failing {
        let _ = writeln!(text, "history: NOTHING IS STORED at present: {why}");
    }
    text
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::status::{Files, Queue, Room, Track};

    #[test]
    fn the_table_says_who_is_where_and_what_waits() {
        let track = Track {
            track: 1,
            member: "王小明".into(),
            label: "camera".into(),
            receivers: 3,
            frames_per_second: 29.97,
            bits_per_second: 1_480_000.0,
        };
        let room = Room {
            name: "standup".into(),
            members: 4,
            sessions: 9,
            messages_per_second: 2.4,
            offers: 1,
            offer_bytes: 3_000_000,
            queue: Queue { bytes: 31_000, oldest_ms: 12 },
            dropped: Dropped { layer: 5, group: 1, no_key: 0 },
            tracks: vec![track],
        };
        let store =
            Store { stored: 1, waiting: 2, last_commit_ms: 3.94, bytes: 2_000_000, ..Store::default() };
        let status = Status {
            version: "0.1.0".into(),
            protocol: [1, 1],
            uptime: 7_500,
            connections: 9,
            refused: 0,
            messages_per_second: 2.4,
            rooms: vec![room],
            store: Some(store),
            files: Some(Files { offers: 1, bytes: 3_000_000, quota: 10_000_000_000, ..Files::default() }),
        };
        assert_eq!(
            show(&status),
            "\
conf-serve 0.1.0, up 2 h: 9 connections, 0 refused, 2 messages/s
history: 1.9 MiB on disk, 1 message stored since the start, 2 waiting, last commit 3.9 ms
files: 2.9 MiB of 9.3 GiB used, 1 offer, 0 chunks waiting

ROOM     MEMBERS  PROGRAMS  TRACKS  MESSAGES/S  OFFERS   WAITING  OLDEST  PICTURES NOT SENT
standup        4         9       1           2       1  30.3 KiB   12 ms  5 thinned out, 1 skipped
pictures not sent: thinned out where a line is slow (fewer a second), skipped where it is too slow (none until the
next whole picture), or before the first whole picture, with which a receiver begins

ROOM     MEMBER  TRACK   FRAMES/S        RATE  RECEIVERS
standup  王小明  camera        30  1.5 Mbit/s          3
"
        );
    }
}
