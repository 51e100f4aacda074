//! Rooms in the database.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, params};

use super::queue::{Numbers, Write};
use super::types::{Archive, Founding, Known, Listed, RoomKey, StoreError};
use super::{BLOCK, NEWEST, NEWEST_BYTES, SOURCES, messages};
use crate::chat::Standing;
use crate::id::{LogId, PublicKey, RoomName, SourceId};
use crate::wire::Code;

/// Rooms that are kept at the most; counting them takes a few milliseconds.
const ROOMS: i64 = 65_536;

/// A row of `room`, as far as loading needs it.
struct Kept {
    archive: Archive,
    reserved: u64,
    last: u64,
}

/// Loads a room and reserves numbers for it. `open` are those of a room that is loaded already.
pub(super) fn load(
    connection: &mut Connection,
    name: &RoomName,
    open: impl FnOnce(RoomKey) -> Option<Numbers>,
) -> Result<Option<Archive>, StoreError> {
    let transaction = connection.transaction()?;
    let row = transaction
        .prepare_cached(
            "SELECT key, log, reserved, last, last_public, owner, locked, password, max_members, history
             FROM room WHERE name = ?1",
        )?
        .query_row([name.as_str()], room)
        .optional()?;
    let Some(Kept { mut archive, reserved, last }) = row else { return Ok(None) };
    match open(archive.key) {
        Some(Numbers { through, given }) => {
            archive.next = given + 1;
            archive.through = through;
        }
        None => {
            // What was reserved and is not here was given by a server that did not end in order, or
            // may have been.
            if last + 1 < reserved {
                add_gap(&transaction, archive.key, last + 1, reserved - 1)?;
            }
            archive.next = reserved;
            archive.through = reserved - 1;
        }
    }
    if archive.through < archive.next + BLOCK / 2 {
        archive.through = archive.next - 1 + BLOCK;
        reserve(&transaction, archive.key, archive.through + 1)?;
    }
    complete(&transaction, &mut archive)?;
    transaction.commit()?;
    Ok(Some(archive))
}

fn room(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let number = |column| row.get::<_, i64>(column).map(|n| n as u64);
    let archive = Archive {
        key: RoomKey(row.get(0)?),
        log: LogId(row.get(1)?),
        next: 0,
        through: 0,
        last_public: number(4)?,
        oldest: None,
        gaps: Vec::new(),
        owner: row.get::<_, Option<_>>(5)?.map(PublicKey),
        hosts: Vec::new(),
        locked: row.get(6)?,
        password: row.get(7)?,
        max_members: row.get::<_, Option<i64>>(8)?.map(|n| n as usize),
        history: row.get::<_, Option<i64>>(9)?.map(|n| n as u64),
        newest: Vec::new(),
        slots: Vec::new(),
        sources: Vec::new(),
    };
    Ok(Kept { archive, reserved: number(2)?, last: number(3)? })
}

/// What stands in the other tables.
fn complete(transaction: &Transaction<'_>, archive: &mut Archive) -> rusqlite::Result<()> {
    let key = archive.key.0;
    archive.oldest = messages::oldest(transaction, archive.key)?;
    archive.gaps = transaction
        .prepare_cached("SELECT first, last FROM gap WHERE room = ?1 ORDER BY first")?
        .query_map([key], |row| Ok(row.get::<_, i64>(0)? as u64..row.get::<_, i64>(1)? as u64 + 1))?
        .collect::<Result<_, _>>()?;
    archive.hosts = transaction
        .prepare_cached("SELECT key FROM host WHERE room = ?1")?
        .query_map([key], |row| row.get(0).map(PublicKey))?
        .collect::<Result<_, _>>()?;
    archive.sources = transaction
        .prepare_cached(
            "SELECT source, n, owner, checksum, refused FROM source WHERE room = ?1
             ORDER BY received DESC LIMIT ?2",
        )?
        .query_map(params![key, SOURCES as i64], |row| {
            Ok(Standing {
                source: SourceId(row.get(0)?),
                n: row.get::<_, i64>(1)? as u64,
                owner: row.get::<_, Option<_>>(2)?.map(PublicKey),
                checksum: row.get(3)?,
                refused: refused(row.get_ref(4)?.as_str_or_null()?),
            })
        })?
        .collect::<Result<_, _>>()?;
    archive.newest = messages::newest(transaction, archive.key, NEWEST, NEWEST_BYTES)?;
    archive.slots = messages::slots(transaction, archive.key)?;
    Ok(())
}

/// What was refused of a source. It stands in a text of ours; one that the disk has changed is as good as none.
fn refused(text: Option<&str>) -> Vec<(u64, Code)> {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Makes a room with numbers reserved.
pub(super) fn found(
    connection: &mut Connection,
    name: &RoomName,
    about: &Founding,
    log: LogId,
    wall: u64,
) -> Result<Archive, StoreError> {
    let transaction = connection.transaction()?;
    let count: i64 =
        transaction.prepare_cached("SELECT count(*) FROM room")?.query_row([], |row| row.get(0))?;
    if count >= ROOMS {
        return Err(StoreError::Full);
    }
    let made = transaction
        .prepare_cached(
            "INSERT INTO room (name, log, founded, reserved, owner, password, max_members, history, permanent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            name.as_str(),
            log.0,
            wall as i64,
            BLOCK as i64 + 1,
            about.owner.map(|key| key.0),
            about.password,
            about.max_members.map(|n| n as i64),
            about.history.map(|n| n as i64),
            about.permanent,
        ]);
    match made {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            return Err(StoreError::Exists);
        }
        made => made?,
    };
    let key = RoomKey(transaction.last_insert_rowid());
    set_hosts(&transaction, key, &about.hosts)?;
    transaction.commit()?;
    Ok(Archive {
        key,
        log,
        next: 1,
        through: BLOCK,
        last_public: 0,
        oldest: None,
        gaps: Vec::new(),
        owner: about.owner,
        hosts: about.hosts.clone(),
        locked: false,
        password: about.password,
        max_members: about.max_members,
        history: about.history,
        newest: Vec::new(),
        slots: Vec::new(),
        sources: Vec::new(),
    })
}

/// Carries out a change of a room.
pub(super) fn change(transaction: &Transaction<'_>, change: &Write) -> rusqlite::Result<()> {
    match change {
        // Written by the caller.
        Write::Record(_) => {}
        Write::Hosts(room, hosts) => set_hosts(transaction, *room, hosts)?,
        Write::Locked(room, locked) => {
            transaction
                .prepare_cached("UPDATE room SET locked = ?2 WHERE key = ?1")?
                .execute(params![room.0, locked])?;
        }
        Write::Owner(room, owner) => {
            transaction
                .prepare_cached("UPDATE room SET owner = ?2 WHERE key = ?1")?
                .execute(params![room.0, owner.map(|key| key.0)])?;
        }
        Write::Hole(room, numbers) => add_gap(transaction, *room, *numbers.start(), *numbers.end())?,
    }
    Ok(())
}

fn set_hosts(transaction: &Transaction<'_>, room: RoomKey, hosts: &[PublicKey]) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM host WHERE room = ?1")?.execute([room.0])?;
    let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO host (room, key) VALUES (?1, ?2)")?;
    for host in hosts {
        insert.execute(params![room.0, host.0])?;
    }
    Ok(())
}

fn add_gap(transaction: &Transaction<'_>, room: RoomKey, first: u64, last: u64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO gap (room, first, last) VALUES (?1, ?2, ?3)")?
        .execute(params![room.0, first as i64, last as i64])?;
    Ok(())
}

/// Sets the first number that was certainly not given.
pub(super) fn reserve(connection: &Connection, room: RoomKey, reserved: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE room SET reserved = ?2 WHERE key = ?1")?
        .execute(params![room.0, reserved as i64])?;
    Ok(())
}

/// Forgets a room that was made by joining it and in which nothing was ever said, so that who only
/// makes rooms does not fill the disk. Whether it was such a room.
pub(super) fn forget_unused(connection: &Connection, room: RoomKey) -> rusqlite::Result<bool> {
    let forgotten = connection
        .prepare_cached("DELETE FROM room WHERE key = ?1 AND NOT permanent AND last = 0")?
        .execute([room.0])?;
    Ok(forgotten > 0)
}

/// The key of a room.
pub(super) fn key(connection: &Connection, name: &RoomName) -> rusqlite::Result<Option<RoomKey>> {
    connection
        .prepare_cached("SELECT key FROM room WHERE name = ?1")?
        .query_row([name.as_str()], |row| row.get(0).map(RoomKey))
        .optional()
}

/// What is known of a room that is not loaded.
pub(super) fn known(connection: &Connection, name: &RoomName) -> rusqlite::Result<Option<Known>> {
    connection
        .prepare_cached("SELECT password FROM room WHERE name = ?1")?
        .query_row([name.as_str()], |row| row.get(0).map(|password| Known { password }))
        .optional()
}

/// Removes a room with all that it has.
pub(super) fn remove(connection: &Connection, room: RoomKey) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM room WHERE key = ?1")?.execute([room.0])?;
    Ok(())
}

/// All rooms, by name.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<Listed>> {
    let mut statement = connection.prepare_cached(
        "SELECT name, founded, messages, bytes, last_received, owner, password IS NOT NULL, locked,
             max_members, history, permanent
         FROM room ORDER BY name",
    )?;
    let rows = statement.query_map([], |row| {
        let number = |column| row.get::<_, i64>(column).map(|n| n as u64);
        let optional = |column| row.get::<_, Option<i64>>(column).map(|n| n.map(|n| n as u64));
        let name: String = row.get(0)?;
        let Ok(name) = name.parse() else { return Ok(None) };
        Ok(Some(Listed {
            name,
            founded: number(1)?,
            messages: number(2)?,
            bytes: number(3)?,
            last_message: optional(4)?,
            owner: row.get::<_, Option<_>>(5)?.map(PublicKey),
            password: row.get(6)?,
            locked: row.get(7)?,
            max_members: optional(8)?.map(|n| n as usize),
            history: optional(9)?,
            permanent: row.get(10)?,
        }))
    })?;
    rows.filter_map(Result::transpose).collect()
}
