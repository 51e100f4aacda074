//! Giving up what is too old or too much, in steps so small that no commit waits for long.

use rusqlite::{Connection, OptionalExtension, params};

use super::types::{Keep, RoomKey};
use crate::id::RoomName;

/// Messages that one step gives up.
pub(super) const STEP: usize = 256;
/// How long it is known which of an outbox's messages came: longer than a sender may be away with
/// unanswered messages and expect them not to appear twice.
const SOURCES: u64 = 7 * 24 * 3600 * 1_000_000;

/// The room after `room` in the order of keys, to be looked at next.
pub(super) fn next_room(connection: &Connection, room: RoomKey) -> rusqlite::Result<Option<RoomKey>> {
    connection
        .prepare_cached("SELECT key FROM room WHERE key > ?1 ORDER BY key LIMIT 1")?
        .query_row([room.0], |row| row.get(0).map(RoomKey))
        .optional()
}

/// Gives up some messages of a room that are too old or too many; how many.
pub(super) fn messages(
    connection: &mut Connection,
    room: RoomKey,
    keep: Keep,
    wall: u64,
) -> rusqlite::Result<usize> {
    let transaction = connection.transaction()?;
    let about = transaction
        .prepare_cached("SELECT messages, history FROM room WHERE key = ?1")?
        .query_row([room.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)))
        .optional()?;
    let Some((kept, own)) = about else { return Ok(0) };
    let most = own.unwrap_or_else(|| i64::try_from(keep.messages).unwrap_or(i64::MAX));
    let before = wall.saturating_sub(u64::try_from(keep.age.as_micros()).unwrap_or(u64::MAX));
    let surplus = (kept - most).clamp(0, STEP as i64);
    // By age only from the oldest on: a clock that was set back leaves no holes.
    let (last, count, bytes) = transaction
        .prepare_cached(
            "SELECT max(seq), count(*), total(length(frame)) FROM (
                 SELECT seq, received, frame, row_number() OVER (ORDER BY seq) AS place
                 FROM message WHERE room = ?1 ORDER BY seq LIMIT ?2
             ) WHERE place <= ?3 OR received < ?4",
        )?
        .query_row(params![room.0, STEP as i64, surplus, before as i64], |row| {
            Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, i64>(1)?, row.get::<_, f64>(2)?))
        })?;
    let Some(last) = last else { return Ok(0) };
    let deleted = transaction
        .prepare_cached("DELETE FROM message WHERE room = ?1 AND seq <= ?2")?
        .execute(params![room.0, last])?;
    transaction.prepare_cached("DELETE FROM gap WHERE room = ?1 AND last <= ?2")?.execute([room.0, last])?;
    transaction
        .prepare_cached(
            "UPDATE room SET messages = messages - ?2, bytes = max(bytes - ?3, 0) WHERE key = ?1",
        )?
        .execute(params![room.0, deleted as i64, bytes as i64])?;
    transaction.commit()?;
    debug_assert_eq!(count as usize, deleted);
    Ok(deleted)
}

/// Gives up the slots of a room beyond the newest, and outboxes that were silent for long.
pub(super) fn rest(connection: &Connection, room: RoomKey, wall: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM slot WHERE room = ?1 AND seq <
                 (SELECT seq FROM slot WHERE room = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![room.0, super::SLOTS as i64 - 1])?;
    connection
        .prepare_cached(
            "DELETE FROM source WHERE (room, source) IN
                 (SELECT room, source FROM source WHERE received < ?1 ORDER BY received LIMIT ?2)",
        )?
        .execute(params![wall.saturating_sub(SOURCES) as i64, STEP as i64])?;
    Ok(())
}

/// Forgets a room that was made by joining it, has no message left and is long unused.
pub(super) fn room(
    connection: &Connection,
    room: RoomKey,
    keep: Keep,
    wall: u64,
) -> rusqlite::Result<Option<RoomName>> {
    let before = wall.saturating_sub(u64::try_from(keep.age.as_micros()).unwrap_or(u64::MAX));
    let name = connection
        .prepare_cached(
            "DELETE FROM room WHERE key = ?1 AND NOT permanent AND messages = 0
                 AND coalesce(last_received, founded) < ?2 RETURNING name",
        )?
        .query_row(params![room.0, before as i64], |row| row.get::<_, String>(0))
        .optional()?;
    Ok(name.and_then(|name| name.parse().ok()))
}
