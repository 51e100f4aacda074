//! Messages in the database.

use std::collections::BTreeMap;

use bytes::Bytes;
use md5::{Digest, Md5};
use rusqlite::{Connection, ErrorCode, Row, Transaction, params};

use super::queue::{Range, Write};
use super::types::{Record, RoomKey};
use super::{BLOCK, rooms};
use crate::id::{PublicKey, SourceId};

/// The columns of a [`Record`], in the order in which [`record`] reads them.
pub(super) const COLUMNS: &str =
    "room, seq, prev, source, n, checksum, from_key, to_key, direct, slot, received, sum, frame";

/// What a transaction adds to a room.
#[derive(Default)]
struct Tally {
    last: u64,
    last_public: u64,
    last_received: u64,
    messages: u64,
    bytes: u64,
}

/// Writes in one transaction. Gives the rooms whose numbers were extended, with the last number that
/// may now be given. `through` knows the last that may be given so far.
pub(super) fn commit(
    connection: &mut Connection,
    writes: &[Write],
    through: impl Fn(RoomKey) -> Option<u64>,
) -> rusqlite::Result<Vec<(RoomKey, u64)>> {
    let transaction = connection.transaction()?;
    let mut tallies: BTreeMap<RoomKey, Tally> = BTreeMap::new();
    for write in writes {
        let done = match write {
            Write::Record(record) => insert(&transaction, record, &mut tallies),
            Write::Hole(room, numbers) => {
                // Numbers that went to messages which were refused are used up like the others.
                let tally = tallies.entry(*room).or_default();
                tally.last = tally.last.max(*numbers.end());
                rooms::change(&transaction, write)
            }
            other => rooms::change(&transaction, other),
        };
        match done {
            // The room was removed meanwhile. Anything else would be a fault of ours, and one message
            // must not keep all others from being stored.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                tracing::debug!(%error, "not stored");
            }
            other => other?,
        }
    }
    let mut extended = Vec::new();
    for (room, tally) in tallies {
        let reserved = through(room).filter(|through| through.saturating_sub(tally.last) < BLOCK / 2);
        let reserved = reserved.map(|_| tally.last + BLOCK);
        settle(&transaction, room, &tally, reserved)?;
        extended.extend(reserved.map(|through| (room, through)));
    }
    transaction.commit()?;
    Ok(extended)
}

fn insert(
    transaction: &Transaction<'_>,
    record: &Record,
    tallies: &mut BTreeMap<RoomKey, Tally>,
) -> rusqlite::Result<()> {
    let Record {
        room, seq, prev, source, n, checksum, from_key, to_key, direct, slot, received, frame, ..
    } = record;
    let sum: [u8; 16] = Md5::digest(frame).into();
    let values = params![
        room.0,
        *seq as i64,
        *prev as i64,
        source.0,
        *n as i64,
        checksum,
        from_key.as_ref().map(|key| key.0),
        to_key.as_ref().map(|key| key.0),
        direct,
        slot,
        *received as i64,
        sum,
        &frame[..],
    ];
    const MARKS: &str = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13";
    transaction
        .prepare_cached(&format!("INSERT INTO message ({COLUMNS}) VALUES ({MARKS})"))?
        .execute(values)?;
    if slot.is_some() && !direct {
        transaction
            .prepare_cached(&format!("INSERT OR REPLACE INTO slot ({COLUMNS}) VALUES ({MARKS})"))?
            .execute(values)?;
    }
    let refused = (!record.refused.is_empty()).then(|| serde_json::to_string(&record.refused).ok());
    transaction
        .prepare_cached(
            "INSERT INTO source (room, source, n, owner, checksum, seq, received, refused)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT DO UPDATE SET n = excluded.n, checksum = excluded.checksum, seq = excluded.seq,
                 received = excluded.received, refused = excluded.refused WHERE excluded.n > n",
        )?
        .execute(params![
            room.0,
            source.0,
            *n as i64,
            from_key.as_ref().map(|key| key.0),
            checksum,
            *seq as i64,
            *received as i64,
            refused,
        ])?;
    let tally = tallies.entry(*room).or_default();
    tally.last = tally.last.max(*seq);
    tally.last_received = *received;
    if !direct {
        tally.last_public = tally.last_public.max(*seq);
    }
    tally.messages += 1;
    tally.bytes += frame.len() as u64;
    Ok(())
}

fn settle(
    transaction: &Transaction<'_>,
    room: RoomKey,
    tally: &Tally,
    reserved: Option<u64>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE room SET last = max(last, ?2), last_public = max(last_public, ?3),
                 last_received = nullif(max(coalesce(last_received, 0), ?4), 0),
                 messages = messages + ?5, bytes = bytes + ?6, reserved = max(reserved, ?7)
             WHERE key = ?1",
        )?
        .execute(params![
            room.0,
            tally.last as i64,
            tally.last_public as i64,
            tally.last_received as i64,
            tally.messages as i64,
            tally.bytes as i64,
            reserved.map_or(0, |through| through as i64 + 1),
        ])?;
    Ok(())
}

/// Messages of a range, oldest first. One whose bytes the disk has changed is left out.
pub(super) fn page(connection: &Connection, range: &Range) -> rusqlite::Result<Vec<Record>> {
    let order = if range.newest { "DESC" } else { "ASC" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM message WHERE room = ?1 AND seq > ?2 AND seq < ?3
             AND (NOT direct OR from_key = ?4 OR to_key = ?4)
         ORDER BY seq {order} LIMIT ?5"
    ))?;
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![
        range.room.0,
        number(range.after),
        number(range.before),
        range.reader.map(|key| key.0),
        number(range.messages as u64),
    ])?;
    collect(&mut rows, range.bytes, range.newest)
}

/// The oldest number that is kept of a room.
pub(super) fn oldest(connection: &Connection, room: RoomKey) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT min(seq) FROM message WHERE room = ?1")?
        .query_row([room.0], |row| row.get::<_, Option<i64>>(0))
        .map(|seq| seq.map(|seq| seq as u64))
}

/// The newest messages of a room, also those that are for single members.
pub(super) fn newest(
    connection: &Connection,
    room: RoomKey,
    messages: usize,
    bytes: usize,
) -> rusqlite::Result<Vec<Record>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM message WHERE room = ?1 ORDER BY seq DESC LIMIT ?2"
    ))?;
    collect(&mut statement.query(params![room.0, messages as i64])?, bytes, true)
}

/// The newest message of each slot, oldest first.
pub(super) fn slots(connection: &Connection, room: RoomKey) -> rusqlite::Result<Vec<Record>> {
    let mut statement = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM slot WHERE room = ?1 ORDER BY seq DESC LIMIT ?2"))?;
    collect(&mut statement.query(params![room.0, super::SLOTS as i64])?, usize::MAX, true)
}

/// Rows up to so many bytes, one at least, turned round where they came newest first.
fn collect(rows: &mut rusqlite::Rows<'_>, bytes: usize, reverse: bool) -> rusqlite::Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut room_left = bytes;
    while let Some(row) = rows.next()? {
        let (record, whole) = record(row)?;
        if !whole {
            tracing::error!(seq = record.seq, "a message of the history is damaged and left out");
            continue;
        }
        match room_left.checked_sub(record.frame.len()) {
            None if !records.is_empty() => break,
            left => room_left = left.unwrap_or(0),
        }
        records.push(record);
    }
    if reverse {
        records.reverse();
    }
    Ok(records)
}

/// A row of [`COLUMNS`], and whether its frame is as it was written.
fn record(row: &Row<'_>) -> rusqlite::Result<(Record, bool)> {
    let number = |column| row.get::<_, i64>(column).map(|n| n as u64);
    let key = |column| row.get::<_, Option<[u8; 32]>>(column).map(|key| key.map(PublicKey));
    let frame = row.get_ref(12)?.as_blob()?;
    let whole = row.get::<_, [u8; 16]>(11)? == <[u8; 16]>::from(Md5::digest(frame));
    let record = Record {
        room: RoomKey(row.get(0)?),
        seq: number(1)?,
        prev: number(2)?,
        source: SourceId(row.get(3)?),
        n: number(4)?,
        checksum: row.get(5)?,
        from_key: key(6)?,
        to_key: key(7)?,
        direct: row.get(8)?,
        slot: row.get(9)?,
        received: number(10)?,
        frame: Bytes::copy_from_slice(frame),
        refused: Vec::new(),
    };
    Ok((record, whole))
}
