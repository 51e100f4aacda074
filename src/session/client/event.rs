//! What a program learns of its session.

use std::time::Duration;

use crate::chat::{Progress, Received};
use crate::id::{MemberId, OfferNumber, TrackId};
use crate::wire::control::{self, By, Gap, Member, Moderated, Refusal, Room, State, Track, Welcome};
use crate::wire::offer::{Going, OfferState, Offered, Span};
use crate::wire::{self, Frame, Rendition};

/// What the program learns. Track numbers of what it publishes itself stay the same for it over all
/// connections.
#[derive(Debug, Clone)]
pub enum Event {
    /// The session is up. Without `resumed` it is a new one: what the program knew of the room is void.
    Up {
        /// What the server said.
        welcome: Welcome,
        /// Whether the earlier session goes on.
        resumed: bool,
    },
    /// The server shows the room without letting the program in: what there is follows, and then the end.
    Looking,
    /// Who and what is in the room, complete; replaces what was known.
    State(State),
    /// A member came or changed.
    Member(Member),
    /// A member left.
    MemberLeft(MemberId),
    /// A track came or changed.
    Track(Track),
    /// A track ended.
    TrackGone(TrackId),
    /// A request to publish was granted; comes once per request.
    Published {
        /// The request.
        id: u64,
        /// What to put into the headers.
        track: TrackId,
    },
    /// A picture at which decoding can begin is wanted of what this program publishes.
    KeyframeWanted {
        /// Of which track.
        track: TrackId,
        /// Of which encoding.
        rendition: Rendition,
    },
    /// A frame of a subscribed track.
    Media(Frame),
    /// A frame of a subscribed track arrived damaged: what follows may refer to it, until a keyframe.
    Lost {
        /// Of which track.
        track: TrackId,
        /// Of which encoding.
        rendition: Rendition,
    },
    /// A message: in the room's order, each once.
    Message(Received),
    /// A message from before those that were told, which was asked for.
    Older(Received),
    /// These messages cannot be had back.
    Gap(Gap),
    /// What was missed has come; messages that come now are new.
    CaughtUp,
    /// How far one's own messages have come.
    Acknowledged(Progress),
    /// The server took something else under this number before, so this message is not told.
    Conflict,
    /// The server does not take one's own message.
    Unsent {
        /// Its number.
        n: u64,
        /// Why.
        refusal: Refusal,
    },
    /// The server knows what this program offers: pieces may be sent.
    Offered(Offered),
    /// Chunks of what this program offers that are on disk now.
    Kept {
        /// Of which offer.
        offer: OfferNumber,
        /// Which.
        chunks: Vec<Span>,
    },
    /// An offer came or changed.
    OfferState(OfferState),
    /// An offer is there no more.
    OfferGone {
        /// Which.
        offer: OfferNumber,
        /// Why.
        reason: Going,
        /// The host who has withdrawn it, where that was not its sender.
        by: Option<By>,
    },
    /// All offers have been told that were there when the session came up.
    OffersListed,
    /// A piece of an offer: its `about` where the program wants to be told of offers, or what was fetched. The
    /// payload of a chunk is not yet checked against its checksum: whoever takes chunks checks several at once.
    File(Frame),
    /// The room changed.
    Room(Room),
    /// A host has done something; what comes of it is told after this.
    Moderated(Moderated),
    /// Whether messages are stored changed.
    Storage {
        /// Whether they are.
        stored: bool,
        /// Why not, for people.
        message: String,
    },
    /// What was asked for with this number is done.
    Done {
        /// From the request.
        id: u64,
    },
    /// The server refused something; the session goes on.
    Refused(Refusal),
    /// The connection is lost; another is tried after `retry_in`.
    Down {
        /// Why.
        reason: Down,
        /// The pause before the next try.
        retry_in: Duration,
        /// Which try in a row that will be.
        attempt: u32,
    },
    /// The session is over; the last event.
    Ended(End),
}

/// Why a connection was lost.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Down {
    /// It was never made.
    #[error("{0}")]
    Unreachable(String),
    /// The server ended it without a word.
    #[error("the server closed the connection")]
    Closed,
    /// The network broke it.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Nothing came for [`SILENCE`](crate::limits::SILENCE).
    #[error("the server does not answer any more")]
    Silent,
    /// It did not show the room within [`LOOK`](crate::limits::LOOK).
    #[error("the server takes too long to show the room")]
    Slow,
    /// No welcome came.
    #[error("nothing there answered as a conf-serve would")]
    NoWelcome,
    /// What came is no stream of frames, or makes no sense.
    #[error("{0}")]
    Garbled(#[from] wire::Error),
    /// Too many payloads did not match their checksums.
    #[error("too much arrives damaged")]
    Damaged,
    /// The server said why.
    #[error("{0}")]
    Told(Refusal),
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum End {
    /// The program left.
    #[error("left the room")]
    Left,
    /// The first connection did not come about.
    #[error("{0}")]
    Unreachable(Down),
    /// The server does not want this program.
    #[error("{0}")]
    Refused(Refusal),
    /// The server speaks other versions of the protocol.
    #[error("the server speaks protocol version {0} to {1}, this program version {p0} to {p1}: upgrade the older of the two",
        p0 = control::PROTOCOL[0], p1 = control::PROTOCOL[1])]
    Version(u32, u32),
    /// Another connection took this session over.
    #[error("this session was taken over by another connection")]
    Replaced,
    /// All tries to come back failed.
    #[error("gave up after {tries} tries to come back: {last}")]
    GaveUp {
        /// How many.
        tries: u32,
        /// Why the last failed.
        last: Down,
    },
}
