//! Control operations (docs/protocol.md section 4): what programs and the server say to each other
//! beside the media. The payload of a control frame is one of these as a JSON object with `op`.
//!
//! Text that is shown to people is scrubbed here, where it comes in.

mod members;

use serde::{Deserialize, Deserializer, Serialize};

pub use self::members::{Action, By, Member, Moderated, Presence, Quality, Room, SentAway, Status};
use super::offer::{Fetch, Going, Offer, OfferState, Offered, Seal, Span};
use super::{Code, Error, Piece, Rendition};
use crate::id::{LogId, MemberId, OfferNumber, PublicKey, ResumeToken, Secret, SessionId, SourceId, TrackId};
use crate::{limits, text};

/// Oldest and newest protocol version that this code speaks.
pub const PROTOCOL: [u32; 2] = [1, 1];

/// One operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Control {
    /// Server: first frame of a connection; what a client signs to prove who it is.
    Challenge {
        /// Random, new for each connection.
        nonce: Secret<32>,
    },
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
    /// Server: something about the room changed.
    Room(Room),
    /// Client: something about this program's member changed.
    Status(Status),
    /// Client: another name, please.
    Rename {
        /// Chosen by the client; comes back in the answer.
        id: u64,
        /// The wish.
        name: String,
    },
    /// Client, for hosts: something about the room or a member is to change.
    Moderate {
        /// Chosen by the client; comes back in the answer.
        id: u64,
        /// What.
        action: Action,
        /// Whom it concerns, where it concerns a member.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<MemberId>,
    },
    /// Server: a host has done something about the room or a member. Comes before what it changes.
    Moderated(Moderated),
    /// Server: what was asked for with this `id` is done.
    Done {
        /// From the request.
        id: u64,
    },
    /// Server: how far one's own messages have come.
    Ack(Ack),
    /// Server: messages that cannot be had back.
    Gap(Gap),
    /// Server: what was missed has been sent; what comes now is new.
    CaughtUp {
        /// The last number that was given when that was so.
        seq: u64,
    },
    /// Client: wants messages that are older than those it has.
    Older {
        /// Chosen by the client; comes back in the answer.
        id: u64,
        /// The oldest number that it has.
        before: u64,
        /// How many it wants at most.
        count: u32,
    },
    /// Server: whether messages are stored has changed.
    Storage {
        /// Whether they are.
        stored: bool,
        /// Why not, for people.
        #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "scrubbed_sentence")]
        message: String,
    },
    /// Client: puts something before the room, or goes on with it.
    Offer(Offer),
    /// Server: the answer to `offer`.
    Offered(Offered),
    /// Server: chunks of what this connection offers that are on disk now.
    Kept {
        /// Of which offer.
        offer: OfferNumber,
        /// Which.
        chunks: Vec<Span>,
    },
    /// Client: the offer is complete.
    Seal(Seal),
    /// Client: the offer is to be forgotten.
    Withdraw {
        /// Chosen by the client; comes back in the answer.
        id: u64,
        /// Which.
        offer: OfferNumber,
        /// Why; what only its sender knows.
        #[serde(default = "Going::withdrawn", skip_serializing_if = "Going::is_withdrawn")]
        reason: Going,
    },
    /// Server: an offer is there, or something about it changed.
    OfferState(OfferState),
    /// Server: an offer is there no more.
    OfferGone {
        /// Which.
        offer: OfferNumber,
        /// Why.
        reason: Going,
        /// The host who has withdrawn it, where that was not its sender.
        #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
        by: Option<By>,
    },
    /// Server: all offers have been told that were there when the client came.
    Offers {
        /// How many.
        count: u32,
    },
    /// Client: send me pieces of an offer.
    Fetch(Fetch),
    /// Client: no more of what was asked for with this `id`.
    Unfetch {
        /// From the request.
        id: u64,
    },
    /// Client: this member has all of an offer, and has checked it.
    Received {
        /// Which.
        offer: OfferNumber,
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
    /// The key of the person who runs it: all programs of one key are one member. Without it the program
    /// is a guest, a member of its own.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "identity")]
    pub key: Option<PublicKey>,
    /// The challenge, signed by that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Secret<64>>,
    /// Proof that it knows the room's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret<32>>,
    /// Takes up the session of an earlier welcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<ResumeToken>,
    /// Kinds of track that it wants without asking one by one: those that are there and those that come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<TrackKind>,
    /// It wants the room's messages; without it, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Messages>,
    /// It wants to be told of offers.
    #[serde(default, skip_serializing_if = "is_false")]
    pub offers: bool,
    /// It wants to know how the room is, and not to come in.
    #[serde(default, skip_serializing_if = "is_false")]
    pub look: bool,
}

/// Which messages a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// The log of which it has messages already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogId>,
    /// The last number of that log that it has: all behind it are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// How many older messages it wants where it has none.
    #[serde(default)]
    pub history: u32,
}

/// The room's log of messages, as a client is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Another one means that numbers known from earlier mean nothing here.
    pub id: LogId,
    /// The last number that was given.
    pub last: u64,
    /// Whether messages are kept on disk.
    pub stored: bool,
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
    /// The room's messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
}

/// Who and what is in the room.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    /// Members, in order of arrival.
    pub members: Vec<Member>,
    /// Tracks, in order of publication.
    pub tracks: Vec<Track>,
    /// The room itself; in the first part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Room>,
    /// Whether another part follows.
    #[serde(default)]
    pub more: bool,
}

/// How far the messages of one source have come: through these numbers all are, that were not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Which source.
    pub source: SourceId,
    /// The room has been told.
    pub relayed: u64,
    /// They are on disk.
    pub stored: u64,
    /// The number in the room's log of message `relayed`.
    pub seq: u64,
    /// A message came again under its number with another content: the first one counts.
    #[serde(default, skip_serializing_if = "is_false")]
    pub conflict: bool,
}

/// Messages that cannot be had back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first that is missing.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

/// As people are told.
impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.reason, self.to.saturating_sub(self.from) + 1) {
            // How many of the numbers were given is not known.
            (GapReason::Crash, _) => {
                f.write_str("the server broke off here: what was said in its last moment may be missing")
            }
            (GapReason::Expired, many) => write!(f, "{many} older messages are not kept any more"),
            (GapReason::Unknown, _) if self.to == 0 => {
                f.write_str("the server has forgotten this room: what was said while it was away is not here")
            }
            (GapReason::Unknown, 1) => write!(f, "message {} is missing", self.from),
            (GapReason::Unknown, _) => write!(f, "messages {} to {} are missing", self.from, self.to),
        }
    }
}

/// Why messages cannot be had back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// The server ended before it could store them. Some of the numbers may never have been given.
    Crash,
    /// They were older than the server keeps.
    Expired,
    /// The server does not know the log that the client has.
    #[serde(other)]
    Unknown,
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
    /// Whether its owner has switched it off for now.
    #[serde(default, skip_serializing_if = "is_false")]
    pub muted: bool,
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
    /// The message that was refused: its source ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceId>,
    /// ... and its number there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// The piece of an offer that was refused.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub piece: Option<Box<Piece>>,
}

impl Refusal {
    /// A refusal with a code and a sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            message,
            retry_after_ms: None,
            id: None,
            protocol: None,
            source: None,
            n: None,
            piece: None,
        }
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
        // Quotation marks would be escaped once more in JSON, and stand there with their backslashes.
        Error::Control(text::for_log(cause.replace('"', "'").as_bytes(), 120))
    })
}

pub(super) fn scrubbed_label<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| text::scrub(&text, limits::LABEL))
}

fn scrubbed_sentence<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| text::scrub(&text, limits::SENTENCE))
}

fn scrubbed_reason<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.map(|text| text::scrub(&text, limits::REASON)))
}

/// Tells a key with `null` from one that is absent.
fn told<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    scrubbed_reason(from).map(Some)
}

pub(super) fn is_false(value: &bool) -> bool {
    !value
}
