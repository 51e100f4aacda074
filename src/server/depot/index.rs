//! The index: which offers there are, in SQLite.
//!
//! It is written when something about an offer changes, and now and then while chunks come in. What it
//! says is there has been synchronised to disk before; what came in since it was last written is found
//! again in the files ([`super::vault::recover`]).

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Row as Line, params};

use super::OpenError;
use super::stock::Row;
use crate::id::{OfferId, OfferNumber, PublicKey, RoomName};
use crate::transfer::Ranges;
use crate::wire::Part;

/// The format of the tables below.
const VERSION: u32 = 1;
/// "conf": tells our databases from others.
const APPLICATION: u32 = 0x636f_6e66;

const TABLES: &str = "
-- The last number that was given in each room.
CREATE TABLE room (name TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- `kept` holds ranges of chunks, 4 bytes big-endian for each end. Times are microseconds since 1970.
CREATE TABLE offer (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    room TEXT NOT NULL,
    number INTEGER NOT NULL,
    id BLOB NOT NULL,
    owner BLOB,
    name TEXT NOT NULL,
    direct INTEGER NOT NULL,
    to_key BLOB,
    size INTEGER,
    chunk_size INTEGER NOT NULL,
    chunks INTEGER,
    sealed INTEGER NOT NULL DEFAULT 0,
    since INTEGER NOT NULL,
    touched INTEGER NOT NULL,
    kept BLOB NOT NULL DEFAULT x'',
    UNIQUE (room, number)
) STRICT;
CREATE INDEX offer_age ON offer (touched);

CREATE TABLE piece (
    offer INTEGER NOT NULL REFERENCES offer ON DELETE CASCADE,
    part INTEGER NOT NULL,
    number INTEGER NOT NULL,
    frame BLOB NOT NULL,
    PRIMARY KEY (offer, part, number)
) STRICT;

CREATE TABLE received (
    offer INTEGER NOT NULL REFERENCES offer ON DELETE CASCADE,
    key BLOB NOT NULL,
    PRIMARY KEY (offer, key)
) STRICT, WITHOUT ROWID;
";

/// An offer as it is kept.
#[derive(Debug, Clone)]
pub(in crate::server) struct Record {
    pub(in crate::server) number: OfferNumber,
    pub(in crate::server) id: OfferId,
    /// Whose it is; guests have no key.
    pub(in crate::server) owner: Option<PublicKey>,
    pub(in crate::server) name: String,
    /// Whether it is for one member only, and for whom; guests have no key.
    pub(in crate::server) direct: bool,
    pub(in crate::server) to: Option<PublicKey>,
    pub(in crate::server) size: Option<u64>,
    pub(in crate::server) chunk_size: u32,
    pub(in crate::server) chunks: Option<u32>,
    pub(in crate::server) sealed: bool,
    /// Microseconds since 1970.
    pub(in crate::server) since: u64,
    pub(in crate::server) touched: u64,
}

/// All that the index has of an offer.
pub(super) type Found = (Row, Record, Extras);

/// What the index has of an offer beside its record.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) kept: Ranges,
    pub(super) about: Option<Bytes>,
    pub(super) manifest: u32,
    pub(super) sums: u32,
    pub(super) received: Vec<PublicKey>,
}

pub(super) struct Index {
    connection: Connection,
    /// A transaction is open.
    begun: bool,
}

impl Index {
    /// Opens the index of a directory, which is there; without one it is in memory.
    pub(super) fn open(directory: Option<&Path>) -> Result<Self, OpenError> {
        let file =
            directory.map_or_else(|| PathBuf::from(":memory:"), |directory| directory.join("index.db"));
        let database = |error: rusqlite::Error| OpenError::Database { file: file.clone(), error };
        let mut connection = match directory {
            Some(_) => {
                private(&file);
                Connection::open(&file)
            }
            None => Connection::open_in_memory(),
        }
        .map_err(database)?;
        prepare(&connection).map_err(database)?;
        let number = |name: &str| connection.pragma_query_value(None, name, |line| line.get::<_, u32>(0));
        let fresh = (|| {
            let tables: u32 =
                connection.query_row("SELECT count(*) FROM sqlite_schema", [], |line| line.get(0))?;
            Ok((tables == 0, number("application_id")?, number("user_version")?))
        })();
        match fresh.map_err(database)? {
            (true, 0, _) => found(&mut connection).map_err(database)?,
            (_, APPLICATION, version) if version > VERSION => {
                return Err(OpenError::Newer { file, version, known: VERSION });
            }
            (_, APPLICATION, _) => {}
            _ => return Err(OpenError::NotOurs(file)),
        }
        Ok(Self { connection, begun: false })
    }

    /// Every offer, with what it has of `touched`, for cleaning up.
    pub(super) fn rows(&self) -> rusqlite::Result<Vec<Row>> {
        let mut all = self.connection.prepare("SELECT key FROM offer")?;
        all.query_map([], |line| line.get(0).map(Row))?.collect()
    }

    /// Offers that nothing has come to since `before`, with their rooms.
    pub(super) fn expired(&self, before: u64) -> rusqlite::Result<Vec<Row>> {
        let mut old = self.connection.prepare_cached("SELECT key FROM offer WHERE touched < ?1 LIMIT 100")?;
        old.query_map([micros(before)], |line| line.get(0).map(Row))?.collect()
    }

    /// Offers that are not complete and whose senders cannot come back to them when nobody is in their room any more:
    /// pipes, and what guests have begun.
    pub(super) fn orphans(&self) -> rusqlite::Result<Vec<Row>> {
        let mut open = self
            .connection
            .prepare_cached("SELECT key FROM offer WHERE sealed = 0 AND (size IS NULL OR owner IS NULL)")?;
        open.query_map([], |line| line.get(0).map(Row))?.collect()
    }

    /// The offers of a room, in order, and the last number that was given there.
    pub(super) fn load(&self, room: &RoomName) -> rusqlite::Result<(u32, Vec<Found>)> {
        let last = self
            .connection
            .prepare_cached("SELECT last FROM room WHERE name = ?1")?
            .query_row([room.as_str()], |line| line.get(0))
            .optional()?
            .unwrap_or(0);
        let mut offers = self.connection.prepare_cached(
            "SELECT key, number, id, owner, name, direct, to_key, size, chunk_size, chunks, sealed, since, touched, kept
             FROM offer WHERE room = ?1 ORDER BY number",
        )?;
        let found: Vec<(Row, Record, Vec<u8>)> = offers
            .query_map([room.as_str()], |line| Ok((Row(line.get(0)?), record(line)?, line.get(13)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let full = |(row, record, kept): (Row, Record, Vec<u8>)| {
            let extras = Extras { kept: ranges(&kept), ..self.extras(row)? };
            Ok((row, record, extras))
        };
        Ok((last, found.into_iter().map(full).collect::<rusqlite::Result<_>>()?))
    }

    fn extras(&self, row: Row) -> rusqlite::Result<Extras> {
        let count = |part: Part| {
            self.connection
                .prepare_cached("SELECT count(*) FROM piece WHERE offer = ?1 AND part = ?2")?
                .query_row(params![row.0, code(part)], |line| line.get::<_, u32>(0))
        };
        let mut received = self.connection.prepare_cached("SELECT key FROM received WHERE offer = ?1")?;
        Ok(Extras {
            kept: Ranges::new(),
            about: self.piece(row, Part::About, 0)?,
            manifest: count(Part::Manifest)?,
            sums: count(Part::Sums)?,
            received: received
                .query_map([row.0], |line| line.get(0).map(PublicKey))?
                .collect::<rusqlite::Result<_>>()?,
        })
    }

    /// Adds an offer.
    pub(super) fn add(&mut self, room: &RoomName, record: &Record) -> rusqlite::Result<Row> {
        self.begin()?;
        self.connection
            .prepare_cached(
                "INSERT INTO room VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET last = max(last, ?2)",
            )?
            .execute(params![room.as_str(), record.number.0])?;
        self.connection
            .prepare_cached(
                "INSERT INTO offer (room, number, id, owner, name, direct, to_key, size, chunk_size, since, touched)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)",
            )?
            .execute(params![
                room.as_str(),
                record.number.0,
                record.id.0,
                record.owner.map(|key| key.0),
                record.name,
                record.direct,
                record.to.map(|key| key.0),
                record.size.map(micros),
                record.chunk_size,
                micros(record.since),
            ])?;
        Ok(Row(self.connection.last_insert_rowid()))
    }

    /// Adds a piece; one that is there stays as it is.
    pub(super) fn add_piece(
        &mut self,
        row: Row,
        part: Part,
        number: u32,
        frame: &[u8],
    ) -> rusqlite::Result<()> {
        self.begin()?;
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO piece VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![row.0, code(part), number, frame])?;
        Ok(())
    }

    /// A piece, as it came.
    pub(super) fn piece(&self, row: Row, part: Part, number: u32) -> rusqlite::Result<Option<Bytes>> {
        self.connection
            .prepare_cached("SELECT frame FROM piece WHERE offer = ?1 AND part = ?2 AND number = ?3")?
            .query_row(params![row.0, code(part), number], |line| line.get::<_, Vec<u8>>(0))
            .optional()
            .map(|frame| frame.map(Bytes::from))
    }

    /// Notes what is on disk.
    pub(super) fn keep(&mut self, row: Row, kept: &Ranges, wall: u64) -> rusqlite::Result<()> {
        self.begin()?;
        self.connection
            .prepare_cached("UPDATE offer SET kept = ?2, touched = ?3 WHERE key = ?1")?
            .execute(params![row.0, blob(kept), micros(wall)])?;
        Ok(())
    }

    /// Notes that an offer is complete, or no longer because its file has lost something.
    pub(super) fn seal(&mut self, row: Row, chunks: Option<u32>, wall: u64) -> rusqlite::Result<()> {
        self.begin()?;
        self.connection
            .prepare_cached(
                "UPDATE offer SET sealed = ?2 IS NOT NULL, chunks = ?2, touched = ?3 WHERE key = ?1",
            )?
            .execute(params![row.0, chunks, micros(wall)])?;
        Ok(())
    }

    /// Notes that somebody has all of an offer.
    pub(super) fn receive(&mut self, row: Row, key: &PublicKey) -> rusqlite::Result<()> {
        self.begin()?;
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO received VALUES (?1, ?2)")?
            .execute(params![row.0, key.0])?;
        Ok(())
    }

    /// Forgets an offer.
    pub(super) fn remove(&mut self, row: Row) -> rusqlite::Result<()> {
        self.begin()?;
        self.connection.prepare_cached("DELETE FROM offer WHERE key = ?1")?.execute([row.0])?;
        Ok(())
    }

    /// The offers of a room, to be removed with it.
    pub(super) fn of_room(&self, room: &RoomName) -> rusqlite::Result<Vec<Row>> {
        let mut all = self.connection.prepare_cached("SELECT key FROM offer WHERE room = ?1")?;
        all.query_map([room.as_str()], |line| line.get(0).map(Row))?.collect()
    }

    /// Makes what was changed durable. After an error none of it is.
    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        if !std::mem::take(&mut self.begun) {
            return Ok(());
        }
        self.connection.execute_batch("COMMIT").inspect_err(|_| {
            // Without a transaction there is nothing to take back.
            let _ = self.connection.execute_batch("ROLLBACK");
        })
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        if !self.begun {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            self.begun = true;
        }
        Ok(())
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(1))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -4_096)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn found(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN EXCLUSIVE; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
    ))
}

/// For its owner only, like the directory around it, where the file system can do that; made where there
/// is none, because SQLite gives its other files the mode of this one. What is wrong with it is found when
/// it is opened.
fn private(file: &Path) {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let mut options = std::fs::OpenOptions::new();
    let made = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(file);
    let _ = made.and_then(|file| file.set_permissions(std::fs::Permissions::from_mode(0o600)));
}

fn record(line: &Line<'_>) -> rusqlite::Result<Record> {
    let unsigned = |number: i64| number.unsigned_abs();
    Ok(Record {
        number: OfferNumber(line.get(1)?),
        id: OfferId(line.get(2)?),
        owner: line.get::<_, Option<[u8; 32]>>(3)?.map(PublicKey),
        name: line.get(4)?,
        direct: line.get(5)?,
        to: line.get::<_, Option<[u8; 32]>>(6)?.map(PublicKey),
        size: line.get::<_, Option<i64>>(7)?.map(unsigned),
        chunk_size: line.get(8)?,
        chunks: line.get(9)?,
        sealed: line.get(10)?,
        since: unsigned(line.get(11)?),
        touched: unsigned(line.get(12)?),
    })
}

/// SQLite's integers have a sign; none of ours is that large.
fn micros(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn code(part: Part) -> u8 {
    match part {
        Part::About => 0,
        Part::Manifest => 1,
        Part::Sums => 2,
        Part::Chunk => 3,
    }
}

fn blob(ranges: &Ranges) -> Vec<u8> {
    ranges.pairs().iter().flatten().flat_map(|end| end.to_be_bytes()).collect()
}

fn ranges(blob: &[u8]) -> Ranges {
    let end = |bytes: &[u8]| bytes.iter().fold(0, |n: u32, byte| n << 8 | u32::from(*byte));
    Ranges::from_pairs(blob.chunks_exact(8).map(|pair| [end(&pair[..4]), end(&pair[4..])]))
}
