//! What can be wrong with bytes, and the codes by which peers tell each other.

use serde::{Deserialize, Serialize};

/// Error codes on the wire (docs/protocol.md section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The header is not what section 2 describes.
    BadHeader,
    /// A length beyond the limit of its type.
    TooLarge,
    /// The payload does not match its checksum.
    Checksum,
    /// A control frame that cannot be understood or does not belong here.
    Protocol,
    /// No common protocol version.
    Version,
    /// No hello in time, or bytes that come too slowly.
    Timeout,
    /// Too many frames or bytes; `retry_after_ms` says when to go on.
    RateLimited,
    /// The rate was exceeded for too long.
    Flood,
    /// A limit of the room or the server is reached.
    Full,
    /// A room or member name that cannot be used.
    Name,
    /// The proof does not fit the key.
    Identity,
    /// The room's password is missing or wrong.
    Password,
    /// There is no such room to look at.
    Room,
    /// The room takes no newcomers now.
    Locked,
    /// A host has sent this member away.
    Kicked,
    /// There is no such member.
    Member,
    /// Only hosts may do that.
    Denied,
    /// A host has muted this member.
    Muted,
    /// The session cannot be resumed.
    Resume,
    /// Another connection took the session over.
    Replaced,
    /// This connection takes its bytes too slowly; the session is kept.
    SlowConsumer,
    /// The frame names a track that is not the sender's or does not exist.
    Track,
    /// There is no such offer, or not for this member.
    Offer,
    /// The offer of this `offer` id is another one.
    Conflict,
    /// The offer cannot be sealed: something of it is missing.
    Incomplete,
    /// The server has no room left for files.
    Quota,
    /// The server is about to stop; `retry_after_ms` says when to come back.
    ShuttingDown,
    /// A fault of the server.
    Internal,
    /// A code that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Code {
    /// The code as it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadHeader => "bad_header",
            Self::TooLarge => "too_large",
            Self::Checksum => "checksum",
            Self::Protocol => "protocol",
            Self::Version => "version",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Flood => "flood",
            Self::Full => "full",
            Self::Name => "name",
            Self::Identity => "identity",
            Self::Password => "password",
            Self::Room => "room",
            Self::Locked => "locked",
            Self::Kicked => "kicked",
            Self::Member => "member",
            Self::Denied => "denied",
            Self::Muted => "muted",
            Self::Resume => "resume",
            Self::Replaced => "replaced",
            Self::SlowConsumer => "slow_consumer",
            Self::Track => "track",
            Self::Offer => "offer",
            Self::Conflict => "conflict",
            Self::Incomplete => "incomplete",
            Self::Quota => "quota",
            Self::ShuttingDown => "shutting_down",
            Self::Internal => "internal",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a stream of bytes is not a stream of frames. None of the variants carries bytes of the peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first four bytes give a length that no header has.
    #[error("header length {0}: expected 2 to {1}")]
    HeaderLength(u32, usize),
    /// The bytes belong to another protocol, named here.
    #[error("not a confkit frame: this is {0}")]
    Foreign(&'static str),
    /// The header is not one JSON object as described.
    #[error("header: {0}")]
    Header(String),
    /// The payload is larger than its type allows.
    #[error("{kind} payload of {size} bytes: at most {limit}")]
    TooLarge {
        /// Type of the frame.
        kind: &'static str,
        /// What the header says.
        size: u64,
        /// What is allowed.
        limit: usize,
    },
    /// The payload of a control frame is not a control operation.
    #[error("control: {0}")]
    Control(String),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame, {0} bytes after its start")]
    Truncated(usize),
}

impl Error {
    /// The code under which a peer is told.
    pub fn code(&self) -> Code {
        match self {
            Self::HeaderLength(..) | Self::Foreign(_) | Self::Header(_) => Code::BadHeader,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Control(_) | Self::Truncated(_) => Code::Protocol,
        }
    }
}
