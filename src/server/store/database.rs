//! Opening: the directory, its lock, the format, and whether the file is whole.
//!
//! In the directory stand `history.db` (SQLite, with its `-wal` and `-shm`) and `lock`, which the
//! server that has it open holds a lock on; that dies with its process.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, flock};

use super::types::OpenError;

/// The format of the tables below.
const VERSION: u32 = 2;
/// "conf": tells our databases from others.
const APPLICATION: u32 = 0x636f_6e66;
/// How SQLite's files begin.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// In the lock file of a directory whose database was made completely.
const MADE: &str = "confkit history";
/// Longest check of a database that was not closed; what it does not reach is found when it is read.
const CHECK: Duration = Duration::from_secs(10);

const TABLES: &str = "
CREATE TABLE state (
    clean INTEGER NOT NULL
) STRICT;
INSERT INTO state VALUES (1);

-- Numbers below `reserved` may have been given; `last` is the last that is kept.
CREATE TABLE room (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    log BLOB NOT NULL,
    founded INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    last INTEGER NOT NULL DEFAULT 0,
    last_public INTEGER NOT NULL DEFAULT 0,
    last_received INTEGER,
    messages INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    owner BLOB,
    locked INTEGER NOT NULL DEFAULT 0,
    password BLOB,
    max_members INTEGER,
    history INTEGER,
    permanent INTEGER NOT NULL
) STRICT;

CREATE TABLE host (
    room INTEGER NOT NULL REFERENCES room ON DELETE CASCADE,
    key BLOB NOT NULL,
    PRIMARY KEY (room, key)
) STRICT, WITHOUT ROWID;

-- `sum` is of the whole frame: what the disk changed is not delivered.
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    room INTEGER NOT NULL REFERENCES room ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    prev INTEGER NOT NULL,
    source BLOB NOT NULL,
    n INTEGER NOT NULL,
    checksum BLOB NOT NULL,
    from_key BLOB,
    to_key BLOB,
    direct INTEGER NOT NULL,
    slot TEXT,
    received INTEGER NOT NULL,
    sum BLOB NOT NULL,
    frame BLOB NOT NULL,
    UNIQUE (room, seq)
) STRICT;

CREATE TABLE slot (
    room INTEGER NOT NULL REFERENCES room ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    prev INTEGER NOT NULL,
    source BLOB NOT NULL,
    n INTEGER NOT NULL,
    checksum BLOB NOT NULL,
    from_key BLOB,
    to_key BLOB,
    direct INTEGER NOT NULL,
    slot TEXT NOT NULL,
    received INTEGER NOT NULL,
    sum BLOB NOT NULL,
    frame BLOB NOT NULL,
    PRIMARY KEY (room, slot)
) STRICT;

CREATE TABLE source (
    room INTEGER NOT NULL REFERENCES room ON DELETE CASCADE,
    source BLOB NOT NULL,
    n INTEGER NOT NULL,
    owner BLOB,
    checksum BLOB NOT NULL,
    seq INTEGER NOT NULL,
    received INTEGER NOT NULL,
    refused TEXT,
    PRIMARY KEY (room, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX source_age ON source (received);

-- Numbers from `first` to `last` were lost.
CREATE TABLE gap (
    room INTEGER NOT NULL REFERENCES room ON DELETE CASCADE,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (room, first)
) STRICT, WITHOUT ROWID;
";

/// An open database, and the lock that keeps others out of it.
pub(super) struct Database {
    pub(super) connection: Connection,
    pub(super) file: PathBuf,
    _lock: File,
}

/// Opens the database of a directory, or makes both.
pub(super) fn open(directory: &Path) -> Result<Database, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| OpenError::Io { path, error }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io(directory))?;
    // SQLite is told to follow no link to the file; the directory may be one.
    let directory = directory.canonicalize().map_err(io(directory))?;
    let lock_file = directory.join("lock");
    let mut lock = private(&lock_file).map_err(io(&lock_file))?;
    let mut noted = String::new();
    (&lock).take(256).read_to_string(&mut noted).map_err(io(&lock_file))?;
    if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        return Err(match error {
            rustix::io::Errno::WOULDBLOCK => {
                let process = noted.lines().nth(1).and_then(|id| id.trim().parse().ok());
                OpenError::Locked { directory, process }
            }
            other => OpenError::Io { path: lock_file, error: other.into() },
        });
    }
    let file = directory.join("history.db");
    let fresh = is_fresh(&file, noted.starts_with(MADE))?;
    private(&file).map_err(io(&file))?;
    let connection = connect(&file, fresh).map_err(|error| refusal(&file, error))?;
    if !fresh && !was_closed(&connection).map_err(|error| refusal(&file, error))? {
        tracing::info!(file = %file.display(), "the history was not closed; checking it");
        check(&connection, &file)?;
    }
    bring_up(&connection).map_err(|error| refusal(&file, error))?;
    connection.execute("UPDATE state SET clean = 0", []).map_err(|error| refusal(&file, error))?;
    let note = format!("{MADE}\n{}\n", std::process::id());
    lock.set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| lock.write_all(note.as_bytes()))
        .map_err(io(&lock_file))?;
    Ok(Database { connection, file, _lock: lock })
}

impl Database {
    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        let log = self.file.with_extension("db-wal");
        [&self.file, &log].into_iter().filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum()
    }

    /// Closes it in order.
    pub(super) fn close(self) -> rusqlite::Result<()> {
        self.connection.execute("UPDATE state SET clean = 1", [])?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.connection.close().map_err(|(_, error)| error)
    }
}

/// A file for its owner only, made where there is none.
fn private(path: &Path) -> std::io::Result<File> {
    let no_link = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.custom_flags(no_link.bits() as i32).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::Error::other("it is not a file")),
    }
}

/// Whether there is no database yet. Looks at the first bytes alone: one of a later version is not
/// even opened.
fn is_fresh(file: &Path, made: bool) -> Result<bool, OpenError> {
    let mut head = Vec::new();
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(OpenError::Io { path: file.into(), error }),
    };
    let read = opened.take(100).read_to_end(&mut head);
    read.map_err(|error| OpenError::Io { path: file.into(), error })?;
    let damaged = |what: &str| Err(OpenError::Damaged { file: file.into(), what: what.into() });
    let number = |at: usize| {
        head.get(at..at + 4).map_or(0, |b| b.iter().fold(0, |n: u32, byte| n << 8 | u32::from(*byte)))
    };
    match head.len() {
        0 if made => damaged("it is empty, but it was not"),
        0 => Ok(true),
        _ if !head.starts_with(MAGIC) && made => damaged("its first bytes are not those of a database"),
        _ if !head.starts_with(MAGIC) => Err(OpenError::NotOurs(file.into())),
        1..100 => damaged("its end is missing"),
        // Broken off while it was made: nothing was ever kept in it.
        _ if number(68) == 0 && number(60) == 0 && !made => Ok(true),
        _ if number(68) != APPLICATION => Err(OpenError::NotOurs(file.into())),
        _ if number(60) > VERSION => {
            Err(OpenError::Newer { file: file.into(), version: number(60), known: VERSION })
        }
        _ => Ok(false),
    }
}

fn connect(file: &Path, fresh: bool) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::from_secs(1))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // A file that is refused is not written to, not even when it is closed again.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    if fresh {
        // One transaction, in the database file itself: it is there as a whole or not at all.
        connection.pragma_update(None, "synchronous", "EXTRA")?;
        connection.execute_batch(&format!(
            "BEGIN EXCLUSIVE; {TABLES}
             PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
        ))?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -8_192)?;
    connection.set_prepared_statement_cache_capacity(48);
    Ok(connection)
}

/// Makes a database of an earlier version one of this version.
fn bring_up(connection: &Connection) -> rusqlite::Result<()> {
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version < 2 {
        connection.execute_batch(&format!(
            "BEGIN EXCLUSIVE; ALTER TABLE source ADD COLUMN refused TEXT;
             PRAGMA user_version = {VERSION}; COMMIT;"
        ))?;
    }
    Ok(())
}

fn was_closed(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT clean FROM state", [], |row| row.get(0))
}

/// SQLite's own check, for a limited time.
fn check(connection: &Connection, file: &Path) -> Result<(), OpenError> {
    let interrupt = connection.get_interrupt_handle();
    let (done, ended) = mpsc::sync_channel::<()>(1);
    let watch = std::thread::spawn(move || {
        if ended.recv_timeout(CHECK) == Err(mpsc::RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    drop(done);
    let _ = watch.join();
    match found {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(what) => Err(OpenError::Damaged { file: file.into(), what }),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) => {
            tracing::warn!(file = %file.display(), "the history is too large to be checked completely");
            Ok(())
        }
        Err(error) => Err(refusal(file, error)),
    }
}

fn refusal(file: &Path, error: rusqlite::Error) -> OpenError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => {
            OpenError::Damaged { file: file.into(), what: error.to_string() }
        }
        // A table that is not as it was made.
        _ if matches!(error, rusqlite::Error::QueryReturnedNoRows) => {
            OpenError::Damaged { file: file.into(), what: "a table is empty".into() }
        }
        _ => OpenError::Database { file: file.into(), error },
    }
}
