//! How a transfer of files goes: what sending and receiving tell whoever shows it.

/// How it goes at a moment.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// What the program does.
    pub doing: Doing,
    /// Bytes that are safe: on the server's disk when sending, on this one when receiving.
    pub done: u64,
    /// Those of them that were safe before this run began.
    pub before: u64,
    /// All bytes, where that is known.
    pub total: Option<u64>,
    /// Files that are complete.
    pub files_done: u32,
    /// All files.
    pub files: u32,
    /// The file that is moving, where there are several.
    pub file: Option<Moving>,
    /// What keeps it from being faster, where that can be told.
    pub bound: Option<Bound>,
    /// Bytes that went more than once.
    pub again: u64,
}

/// A file on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moving {
    /// Its path, as its owner wrote it.
    pub name: String,
    /// Bytes of it that are safe.
    pub done: u64,
    /// All of it, where that is known.
    pub size: Option<u64>,
}

/// What the program does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Doing {
    /// There has been no connection yet.
    #[default]
    Connecting,
    /// Bytes move.
    Moving,
    /// There is nothing to move until the other side brings more.
    Waiting,
    /// Looks at what is there already.
    Checking,
    /// The connection is lost; another is tried.
    Reconnecting,
    /// All is there; it waits until somebody has taken it.
    Offering,
}

/// What keeps a transfer from being faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// This machine's disk, or its processor.
    Disk,
    /// The way to the server.
    Network,
    /// The other side: the server's disk when sending, the sender when receiving; or a meeting that goes
    /// before.
    Peer,
    /// `--limit-rate`.
    Limit,
}
