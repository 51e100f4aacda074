//! What goes into the store and what comes out of it.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::chat::Standing;
use crate::id::{LogId, PublicKey, RoomName, SourceId};
use crate::wire::Code;

/// A room in the store; never used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomKey(pub(super) i64);

/// How much of each room is kept. Slots are kept beside it, however old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Messages of a room that has no number of its own.
    pub messages: u64,
    /// Age from which a message is given up.
    pub age: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self { messages: 10_000, age: Duration::from_secs(90 * 24 * 3600) }
    }
}

/// What a room is made with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Founding {
    /// Whose room it is.
    pub owner: Option<PublicKey>,
    /// Who are hosts besides the owner.
    pub hosts: Vec<PublicKey>,
    /// The key derived from its password.
    pub password: Option<[u8; 32]>,
    /// Members that it takes.
    pub max_members: Option<usize>,
    /// Messages that it keeps, instead of [`Keep::messages`].
    pub history: Option<u64>,
    /// Stays without messages. Other rooms are forgotten with their last message.
    pub permanent: bool,
}

/// A room as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The room.
    pub key: RoomKey,
    /// Its log.
    pub log: LogId,
    /// The first number that may be given.
    pub next: u64,
    /// The last number that may be given until [`Commit::Reserved`] says more.
    pub through: u64,
    /// The number of the last public message; 0 if there was none.
    pub last_public: u64,
    /// The oldest number that is kept: those before it have expired, but for `gaps`.
    pub oldest: Option<u64>,
    /// Numbers that were lost in crashes.
    pub gaps: Vec<Range<u64>>,
    /// Whose room it is.
    pub owner: Option<PublicKey>,
    /// Who are hosts besides the owner.
    pub hosts: Vec<PublicKey>,
    /// Whether newcomers are refused.
    pub locked: bool,
    /// The key derived from its password.
    pub password: Option<[u8; 32]>,
    /// Members that it takes.
    pub max_members: Option<usize>,
    /// Messages that it keeps, where it has a number of its own.
    pub history: Option<u64>,
    /// The newest messages, oldest first: at most [`super::NEWEST`] and [`super::NEWEST_BYTES`].
    pub newest: Vec<Record>,
    /// The newest message of each slot, oldest first.
    pub slots: Vec<Record>,
    /// Where the outboxes stand that were active last: at most [`super::SOURCES`].
    pub sources: Vec<Standing>,
}

/// A room that is not loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The key derived from its password.
    pub password: Option<[u8; 32]>,
}

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose log it is in.
    pub room: RoomKey,
    /// Its number there.
    pub seq: u64,
    /// The number of the public message before it.
    pub prev: u64,
    /// The outbox that it came from.
    pub source: SourceId,
    /// Its number there.
    pub n: u64,
    /// MD5 of its payload.
    pub checksum: [u8; 16],
    /// Who sent it, unless it was a guest.
    pub from_key: Option<PublicKey>,
    /// For whom alone it is, unless that was a guest.
    pub to_key: Option<PublicKey>,
    /// Whether it is for one member alone.
    pub direct: bool,
    /// The slot whose newest message it is; not for direct ones.
    pub slot: Option<String>,
    /// The server's clock when it came, in microseconds since 1970.
    pub received: u64,
    /// The whole frame as it goes to receivers.
    pub frame: Bytes,
    /// What was refused of its outbox before it, and why. It is kept with the outbox and not with the
    /// message, of which it is empty when that is read.
    pub refused: Vec<(u64, Code)>,
}

/// What happened in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// All messages of a room that were accepted, through this number, are on disk.
    Stored {
        /// The room.
        room: RoomKey,
        /// The number.
        through: u64,
    },
    /// Numbers through this one may be given in a room.
    Reserved {
        /// The room.
        room: RoomKey,
        /// The number.
        through: u64,
    },
    /// Nothing can be stored at present, and why.
    Failing(String),
    /// It can be stored again, and all that waited is.
    Working,
}

/// A room of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: RoomName,
    /// When it was made, in microseconds since 1970.
    pub founded: u64,
    /// Messages kept.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// When the last of them came, in microseconds since 1970.
    pub last_message: Option<u64>,
    /// Whose it is.
    pub owner: Option<PublicKey>,
    /// Whether it has a password.
    pub password: bool,
    /// Whether newcomers are refused.
    pub locked: bool,
    /// Members that it takes.
    pub max_members: Option<usize>,
    /// Messages that it keeps, where it has a number of its own.
    pub history: Option<u64>,
    /// Stays without messages.
    pub permanent: bool,
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Messages and changes that are not on disk yet.
    pub waiting: usize,
    /// Bytes of them.
    pub waiting_bytes: usize,
    /// Messages stored since the start.
    pub stored: u64,
    /// Messages that were refused since the start because too much waited.
    pub refused: u64,
    /// How long the last commit took.
    pub last_commit: Duration,
    /// Bytes of the database and its log.
    pub bytes: u64,
    /// Why nothing can be stored at present.
    pub failing: Option<String>,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has it open.
    #[error("another conf-serve{} keeps its history in {}", by(*.process), .directory.display())]
    Locked {
        /// The directory.
        directory: PathBuf,
        /// The other server's process.
        process: Option<u32>,
    },
    /// A later version made it.
    #[error("{} has format {version}, and this version knows {known} at most", .file.display())]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its format.
        version: u32,
        /// The last one known here.
        known: u32,
    },
    /// It is damaged where that cannot be the trace of a crash.
    #[error("{} is damaged: {what}", .file.display())]
    Damaged {
        /// The database, or its log.
        file: PathBuf,
        /// What was found.
        what: String,
    },
    /// Something else has the database's name.
    #[error("{} is not a history of conf-serve", .0.display())]
    NotOurs(PathBuf),
    /// The file system said no.
    #[error("cannot use {}: {error}", .path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// SQLite said no.
    #[error("cannot open {}: {error}", .file.display())]
    Database {
        /// The database.
        file: PathBuf,
        /// What it said.
        error: rusqlite::Error,
    },
}

fn by(process: Option<u32>) -> String {
    process.map_or_else(String::new, |id| format!(" (process {id})"))
}

/// Why the store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A room of this name is there already.
    #[error("there is a room of this name already")]
    Exists,
    /// As many rooms are kept as may be.
    #[error("no more rooms can be kept")]
    Full,
    /// Too many requests wait.
    #[error("the history is busy")]
    Busy,
    /// The store was closed.
    #[error("the history is closed")]
    Closed,
    /// The database said no.
    #[error("the history cannot be used: {0}")]
    Database(#[from] rusqlite::Error),
}
