//! How a server is: what `conf-serve --status` shows. docs/operations.md lists the keys.

use serde::{Deserialize, Serialize};

/// A server.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// Of the protocol: the lowest and the highest that it speaks.
    pub protocol: [u32; 2],
    /// Since it started, in seconds.
    pub uptime: u64,
    /// Connections that are open.
    pub connections: usize,
    /// Connections that were refused since it started.
    pub refused: u64,
    /// Messages of all rooms in the last second.
    pub messages_per_second: f64,
    /// Its open rooms, by name.
    pub rooms: Vec<Room>,
    /// Where messages are kept; absent with `--ephemeral`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
    /// Where files are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
}

/// An open room.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Room {
    /// Its name.
    pub name: String,
    /// People in it.
    pub members: usize,
    /// Programs of them.
    pub sessions: usize,
    /// Messages in the last second.
    pub messages_per_second: f64,
    /// Offers of files in it.
    #[serde(default)]
    pub offers: usize,
    /// Bytes of them on disk.
    #[serde(default)]
    pub offer_bytes: u64,
    /// What waits for its members.
    pub queue: Queue,
    /// Pictures that were dropped for its members since they joined, and why.
    pub dropped: Dropped,
    /// What is published in it.
    pub tracks: Vec<Track>,
}

/// What waits to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Queue {
    /// Bytes for all members.
    pub bytes: usize,
    /// Age of what waits longest, in milliseconds.
    pub oldest_ms: u64,
}

/// Pictures that were not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dropped {
    /// Of an upper temporal layer, for a receiver that was behind.
    pub layer: u64,
    /// Of a group of pictures that was given up.
    pub group: u64,
    /// While a keyframe was waited for.
    pub no_key: u64,
}

/// A published track.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Track {
    /// Its number.
    pub track: u32,
    /// Who publishes it.
    pub member: String,
    /// What it is called.
    pub label: String,
    /// Who receives it.
    pub receivers: usize,
    /// Frames in the last second.
    pub frames_per_second: f64,
    /// Bits in the last second.
    pub bits_per_second: f64,
}

/// Where files are kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Files {
    /// Offers of all rooms.
    pub offers: usize,
    /// Bytes of them on disk.
    pub bytes: u64,
    /// Bytes that there may be.
    pub quota: u64,
    /// Chunks that wait to be written.
    pub waiting: usize,
    /// Why nothing can be stored at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
}

/// Where messages are kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Store {
    /// Messages that are not on disk yet.
    pub waiting: usize,
    /// Bytes of them.
    pub waiting_bytes: usize,
    /// Messages stored since the start.
    pub stored: u64,
    /// Messages that were not stored since the start because too much waited.
    pub refused: u64,
    /// How long the last commit took, in milliseconds.
    pub last_commit_ms: f64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Why nothing can be stored at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
}
