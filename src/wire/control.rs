//! Control operations (docs/protocol.md section 4): what programs and the server say to each other
//! beside the media. The payload of a control frame is one of these as a JSON object with `op`.
//!
//! Text that is shown to people is scrubbed here, where it comes in.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Code, Error, Rendition};
use crate::id::{Identity, MemberId, ResumeToken, SessionId, TrackId};
use crate::{limits, text};

/// Oldest and newest protocol version that this code speaks.
pub const PROTOCOL: [u32; 2] = [1, 1];

/// One operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Control {
    /// Client: first frame of a connection.
    Hello(Hello),
    /// Server: the client is admitted.
    Welcome(Welcome),
    /// Server: who and what is in the room; follows the welcome, in several parts where it is long.
    State(State),
    /// Server: a member came, or something about a member changed.
    Member(Member),
    /// Server: a member has left for good.
    MemberLeft {
        /// Who.
        member: MemberId,
    },
    /// Client: asks for a track number.
    Publish(Publish),
    /// Server: the answer to `publish`.
    Published {
        /// The `id` of the request.
        id: u64,
        /// What to put into the headers.
        track: TrackId,
    },
    /// Client: the track ends.
    Unpublish {
        /// Which.
        track: TrackId,
    },
    /// Server: a track is there, or something about it changed.
    Track(Track),
    /// Server: a track has ended.
    TrackGone {
        /// Which.
        track: TrackId,
    },
    /// Client: send me these tracks.
    Subscribe {
        /// Which.
        tracks: Vec<TrackId>,
    },
    /// Client: no more of these tracks.
    Unsubscribe {
        /// Which.
        tracks: Vec<TrackId>,
    },
    /// Client to server, server to publisher, and through the feedback socket: a picture is wanted at
    /// which decoding can begin.
    Keyframe {
        /// Which track.
        track: TrackId,
        /// Which encoding.
        #[serde(default)]
        rendition: Rendition,
    },
    /// Either side: are you there?
    Ping {
        /// Comes back in the pong.
        id: u64,
    },
    /// Either side: I am.
    Pong {
        /// From the ping.
        id: u64,
    },
    /// Either side: the connection ends on purpose.
    Goodbye(Goodbye),
    /// Server: something was refused. The connection goes on unless a goodbye or its end follows.
    Error(Refusal),
    /// First frame in a pipe: the tracks that follow.
    Tracks(Tracks),
    /// An operation of a later version; ignored.
    #[serde(other)]
    Unknown,
}

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest and newest version that it speaks.
    pub protocol: [u32; 2],
    /// The room.
    pub room: String,
    /// The person's name.
    pub name: String,
    /// Program and version, for logs.
    #[serde(default, deserialize_with = "scrubbed_label")]
    pub client: String,
    /// Makes all programs of one person one member; without it the program is a member of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Takes up the session of an earlier welcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<ResumeToken>,
    /// Kinds of track that it wants without asking one by one: those that are there and those that come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<TrackKind>,
}

/// The answer to a hello.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that both speak from here on.
    pub protocol: u32,
    /// Program and version, for logs.
    #[serde(deserialize_with = "scrubbed_label")]
    pub server: String,
    /// Random for each life of the server; changes when it was restarted.
    pub epoch: String,
    /// The room's name.
    #[serde(deserialize_with = "scrubbed_label")]
    pub room: String,
    /// The session.
    pub session: SessionId,
    /// The member that the session belongs to.
    pub member: MemberId,
    /// The name under which the others see it.
    #[serde(deserialize_with = "scrubbed_label")]
    pub name: String,
    /// For `resume` in a later hello.
    pub token: ResumeToken,
    /// Whether an earlier session was taken up: its member, tracks and subscriptions are still there.
    pub resumed: bool,
    /// A ping goes out after this long without another frame.
    pub heartbeat_ms: u64,
    /// How long the session outlives the connection.
    pub grace_ms: u64,
}

/// Who and what is in the room.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    /// Members, in order of arrival.
    pub members: Vec<Member>,
    /// Tracks, in order of publication.
    pub tracks: Vec<Track>,
    /// Whether another part follows.
    #[serde(default)]
    pub more: bool,
}

/// A member as the others see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The number.
    pub member: MemberId,
    /// The name.
    #[serde(deserialize_with = "scrubbed_label")]
    pub name: String,
    /// Whether any of its programs is connected.
    #[serde(default)]
    pub state: Presence,
}

/// Whether a member is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// At least one program is connected.
    #[default]
    Here,
    /// Every connection broke and the grace time is not over.
    Reconnecting,
}

/// What a track consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// What a publisher says about a track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Pictures or sound.
    pub kind: TrackKind,
    /// Where they come from: `camera`, `screen`, or what the user called it.
    #[serde(deserialize_with = "scrubbed_label")]
    pub label: String,
    /// `h264`.
    #[serde(deserialize_with = "scrubbed_label")]
    pub codec: String,
    /// Pixels in a row; 0 when it is not known yet.
    #[serde(default)]
    pub width: u32,
    /// Rows.
    #[serde(default)]
    pub height: u32,
    /// Pictures per second, as intended.
    #[serde(default)]
    pub fps: f64,
}

/// Asks for a track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Publish {
    /// Chosen by the client; comes back in the answer.
    pub id: u64,
    /// What it is.
    #[serde(flatten)]
    pub source: Source,
}

/// A track as the others see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// The number.
    pub track: TrackId,
    /// Whose it is.
    pub member: MemberId,
    /// What it is.
    #[serde(flatten)]
    pub source: Source,
}

/// One track of a pipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipeTrack {
    /// The number in the headers that follow; the writer's own.
    pub track: TrackId,
    /// What it is.
    #[serde(flatten)]
    pub source: Source,
}

/// The description at the head of a pipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tracks {
    /// What follows.
    pub tracks: Vec<PipeTrack>,
    /// A Unix datagram socket on which the writer takes control operations as JSON, one each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feedback: Option<String>,
}

/// The connection ends on purpose.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Goodbye {
    /// Why, where it is not simply the end; else `null` or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "scrubbed_sentence")]
    pub message: String,
    /// When to try again; absent when that makes no sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Something was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of reason.
    pub code: Code,
    /// The reason, for people.
    #[serde(default, deserialize_with = "scrubbed_sentence")]
    pub message: String,
    /// When to try again; absent when that makes no sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The `id` of the request that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The versions that the server speaks, with code `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<[u32; 2]>,
}

impl Refusal {
    /// A refusal with a code and a sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None, id: None, protocol: None }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.message.as_str() {
            "" => f.write_str(self.code.as_str()),
            message => f.write_str(message),
        }
    }
}

/// The payload of a control frame.
pub(super) fn write(operation: &Control) -> Vec<u8> {
    serde_json::to_vec(operation).expect("operations hold strings, numbers and lists only")
}

/// The operation in a payload.
pub(super) fn read(payload: &[u8]) -> Result<Control, Error> {
    if payload.len() > limits::CONTROL {
        return Err(Error::TooLarge { kind: "control", size: payload.len() as u64, limit: limits::CONTROL });
    }
    serde_json::from_slice(payload).map_err(|error| {
        let cause = error.to_string();
        let cause = cause.split(" at line").next().unwrap_or_default();
        Error::Control(text::for_log(cause.as_bytes(), 120))
    })
}

fn scrubbed_label<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| text::scrub(&text, limits::LABEL))
}

fn scrubbed_sentence<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| text::scrub(&text, limits::SENTENCE))
}
