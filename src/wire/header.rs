//! The header of a frame (docs/protocol.md section 3).

use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::json::{Checked, Keys, Text};
use super::{Error, Letter, Part, Piece, Receipt};
use crate::id::{self, MemberId, OfferNumber, TrackId};
use crate::{limits, text};

/// What a frame carries; `type` on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One encoded picture.
    Video,
    /// One packet of sound.
    Audio,
    /// A piece of a file.
    File,
    /// Something a person wrote.
    Message,
    /// An operation of the protocol itself.
    Control,
    /// A type that this version does not know. Those that begin with `x-` are passed on.
    Extension(String),
}

impl Kind {
    /// The type as it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Extension(name) => name,
            known => known.known_name(),
        }
    }

    /// Largest payload.
    pub fn limit(&self) -> usize {
        match self {
            Self::Video => limits::VIDEO,
            Self::Audio => limits::AUDIO,
            Self::File => limits::FILE,
            Self::Message => limits::MESSAGE,
            Self::Control => limits::CONTROL,
            Self::Extension(_) => limits::EXTENSION,
        }
    }

    /// Whether a payload of no bytes means anything.
    fn may_be_empty(&self) -> bool {
        matches!(self, Self::File | Self::Extension(_))
    }

    /// The name of a known type, or what stands for all others in errors.
    fn known_name(&self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::File => "file",
            Self::Message => "message",
            Self::Control => "control",
            Self::Extension(_) => "extension",
        }
    }

    fn from_wire(name: &str) -> Result<Self, &'static str> {
        Ok(match name {
            "video" => Self::Video,
            "audio" => Self::Audio,
            "file" => Self::File,
            "message" => Self::Message,
            "control" => Self::Control,
            _ => {
                let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
                if name.is_empty() || name.len() > 32 || !name.bytes().all(legal) {
                    return Err("type: expected 1 to 32 of a-z, 0-9 and -");
                }
                Self::Extension(name.to_owned())
            }
        })
    }
}

/// One encoding of a video track at one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rendition {
    /// A quarter of the size in each direction.
    Low,
    /// Half the size.
    Medium,
    /// The size of the source.
    #[default]
    High,
}

impl Rendition {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What a relay must know about a media frame, and nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Media {
    /// Whose it is.
    pub track: TrackId,
    /// Counts the frames of a rendition up by one.
    pub seq: u64,
    /// Time of capture in microseconds, on a clock that the track begins where it likes.
    pub pts: u64,
    /// Whether decoding can begin here.
    pub key: bool,
    /// Which encoding of the track.
    pub rendition: Rendition,
    /// Temporal layer, 0 to 2. A picture refers only to pictures of lower layers since the last one of
    /// layer 0, and to that one.
    pub tid: u8,
}

/// A header that has been read and judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// What the frame carries.
    pub kind: Kind,
    /// Seconds since 1970 by the sender's clock; never relied upon.
    pub timestamp: f64,
    /// Length of the payload in bytes.
    pub size: usize,
    /// MD5 of the payload.
    pub checksum: [u8; 16],
    /// Present on video and audio, and only there.
    pub media: Option<Media>,
    /// Present on messages, and only there.
    pub letter: Option<Box<Letter>>,
    /// Present on file frames, and only there.
    pub piece: Option<Piece>,
}

/// Highest temporal layer.
const TOP_LAYER: u64 = 2;

impl Header {
    /// Reads a header. `bytes` is exactly what the length in front of it announced.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.first() != Some(&b'{') {
            return Err(Error::Header("expected a JSON object".into()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Error::Header("not UTF-8".into()))?;
        let mut json = serde_json::Deserializer::from_str(text);
        let raw = (&mut json).deserialize_map(RawVisitor).map_err(json_error)?;
        json.end().map_err(|_| Error::Header("bytes behind the JSON object".into()))?;
        raw.judge()
    }

    /// Writes the header as JSON, the four fixed keys first.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let head = RawOut {
            kind: self.kind.as_str(),
            timestamp: self.timestamp,
            size: self.size,
            checksum: &id::hex(&self.checksum),
            media: self.media.as_ref().map(MediaOut::from),
            letter: self.letter.as_deref().map(LetterOut::from),
            piece: self.piece.as_ref().map(PieceOut::from),
        };
        serde_json::to_writer(&mut out, &head).expect("numbers and strings are always JSON");
        out
    }
}

/// Positions in an error would speak of the header's own lines; the cause is enough and carries
/// none of the peer's bytes, which `serde_json` puts only into type errors that we raise ourselves.
fn json_error(error: serde_json::Error) -> Error {
    let cause = match error.classify() {
        serde_json::error::Category::Data => error.to_string(),
        serde_json::error::Category::Eof => "the JSON object is not complete".into(),
        _ => "not valid JSON".into(),
    };
    let cause = cause.split(" at line").next().unwrap_or_default();
    Error::Header(crate::text::for_log(cause.as_bytes(), 120))
}

/// The keys as they come, before they are judged together.
#[derive(Default)]
struct Raw<'de> {
    kind: Option<Text<'de>>,
    timestamp: Option<f64>,
    size: Option<u64>,
    checksum: Option<Text<'de>>,
    track: Option<u64>,
    seq: Option<u64>,
    pts: Option<u64>,
    key: Option<bool>,
    rendition: Option<Rendition>,
    tid: Option<u64>,
    letter: RawLetter<'de>,
    offer: Option<u64>,
    part: Option<Part>,
    index: Option<u64>,
}

/// The keys of a message.
#[derive(Default)]
struct RawLetter<'de> {
    source: Option<Text<'de>>,
    n: Option<u64>,
    to: Option<u64>,
    slot: Option<Text<'de>>,
    prev: Option<u64>,
    from: Option<u64>,
    name: Option<Text<'de>>,
    identity: Option<Text<'de>>,
    received: Option<f64>,
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw<'de>, A::Error> {
        let mut raw = Raw::default();
        let mut keys = Keys::default();
        while let Some(Text(key)) = map.next_key()? {
            match key.as_ref() {
                "type" => raw.kind = Some(named(&mut map, "type: expected a string")?),
                "timestamp" => raw.timestamp = Some(named(&mut map, "timestamp: expected a number")?),
                "size" => raw.size = Some(integer(&mut map, "size")?),
                "checksum" => raw.checksum = Some(named(&mut map, "checksum: expected a string")?),
                "track" => raw.track = Some(integer(&mut map, "track")?),
                "seq" => raw.seq = Some(integer(&mut map, "seq")?),
                "pts" => raw.pts = Some(integer(&mut map, "pts")?),
                "key" => raw.key = Some(named(&mut map, "key: expected true or false")?),
                "rendition" => {
                    raw.rendition = Some(named(&mut map, "rendition: expected high, medium or low")?);
                }
                "tid" => raw.tid = Some(integer(&mut map, "tid")?),
                "source" => raw.letter.source = Some(named(&mut map, "source: expected a string")?),
                "n" => raw.letter.n = Some(integer(&mut map, "n")?),
                "to" => raw.letter.to = Some(integer(&mut map, "to")?),
                "slot" => raw.letter.slot = Some(named(&mut map, "slot: expected a string")?),
                "prev" => raw.letter.prev = Some(integer(&mut map, "prev")?),
                "from" => raw.letter.from = Some(integer(&mut map, "from")?),
                "name" => raw.letter.name = Some(named(&mut map, "name: expected a string")?),
                "identity" => raw.letter.identity = Some(named(&mut map, "identity: expected a string")?),
                "received" => raw.letter.received = Some(named(&mut map, "received: expected a number")?),
                "offer" => raw.offer = Some(integer(&mut map, "offer")?),
                "part" => {
                    raw.part = Some(named(&mut map, "part: expected about, manifest, chunk or sums")?);
                }
                "index" => raw.index = Some(integer(&mut map, "index")?),
                _ => map.next_value_seed(Checked { depth: limits::HEADER_DEPTH - 1 })?,
            }
            keys.add(key)?;
        }
        Ok(raw)
    }
}

/// The next value, or an error that says what was expected instead of what came.
fn named<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    map: &mut A,
    expected: &'static str,
) -> Result<T, A::Error> {
    map.next_value().map_err(|_| A::Error::custom(expected))
}

fn integer<'de, A: MapAccess<'de>>(map: &mut A, key: &'static str) -> Result<u64, A::Error> {
    let wrong = || A::Error::custom(format_args!("{key}: expected an integer from 0 to 2^53"));
    let number: u64 = map.next_value().map_err(|_| wrong())?;
    if number > limits::INTEGER { Err(wrong()) } else { Ok(number) }
}

impl Raw<'_> {
    fn judge(self) -> Result<Header, Error> {
        let missing = |key: &str| Error::Header(format!("{key} is missing"));
        let kind = Kind::from_wire(&self.kind.ok_or_else(|| missing("type"))?.0)
            .map_err(|e| Error::Header(e.into()))?;
        let timestamp = self.timestamp.ok_or_else(|| missing("timestamp"))?;
        let size = self.size.ok_or_else(|| missing("size"))?;
        let checksum = self.checksum.ok_or_else(|| missing("checksum"))?;
        let checksum = id::unhex(checksum.0.as_bytes())
            .ok_or_else(|| Error::Header("checksum: expected 32 hex digits".into()))?;
        let limit = kind.limit();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > limit {
            return Err(Error::TooLarge { kind: kind.known_name(), size: size as u64, limit });
        }
        if size == 0 && !kind.may_be_empty() {
            return Err(Error::Header(format!("size: a {} frame has a payload", kind.known_name())));
        }
        let media = match kind {
            Kind::Video | Kind::Audio => Some(Media {
                track: TrackId(small("track", self.track.ok_or_else(|| missing("track"))?)?),
                seq: self.seq.ok_or_else(|| missing("seq"))?,
                pts: self.pts.ok_or_else(|| missing("pts"))?,
                key: self.key.unwrap_or(kind == Kind::Audio),
                rendition: self.rendition.unwrap_or_default(),
                tid: match self.tid.unwrap_or(0) {
                    tid @ 0..=TOP_LAYER => tid as u8,
                    _ => return Err(Error::Header("tid: expected 0, 1 or 2".into())),
                },
            }),
            _ => None,
        };
        let letter = match kind {
            Kind::Message => Some(Box::new(self.letter.judge(self.seq)?)),
            _ => None,
        };
        let piece = match kind {
            Kind::File => Some(Piece {
                offer: OfferNumber(small("offer", self.offer.ok_or_else(|| missing("offer"))?)?),
                part: self.part.ok_or_else(|| missing("part"))?,
                index: small("index", self.index.ok_or_else(|| missing("index"))?)?,
            }),
            _ => None,
        };
        Ok(Header { kind, timestamp, size, checksum, media, letter, piece })
    }
}

impl RawLetter<'_> {
    fn judge(self, seq: Option<u64>) -> Result<Letter, Error> {
        let missing = |key: &str| Error::Header(format!("{key} is missing"));
        let wrong = |what: &str| Error::Header(what.into());
        let receipt = match seq {
            None => None,
            Some(seq) => Some(Receipt {
                seq,
                prev: self.prev.ok_or_else(|| missing("prev"))?,
                from: member(self.from.ok_or_else(|| missing("from"))?)?,
                name: text::scrub(&self.name.ok_or_else(|| missing("name"))?.0, limits::NAME),
                key: match self.identity {
                    None => None,
                    Some(hex) => Some(hex.0.parse().map_err(|_| wrong("identity: expected 64 hex digits"))?),
                },
                received: self.received.ok_or_else(|| missing("received"))?,
            }),
        };
        Ok(Letter {
            source: self
                .source
                .ok_or_else(|| missing("source"))?
                .0
                .parse()
                .map_err(|_| wrong("source: expected 32 hex digits"))?,
            n: match self.n.ok_or_else(|| missing("n"))? {
                0 => return Err(wrong("n: counts from 1")),
                n => n,
            },
            to: self.to.map(member).transpose()?,
            slot: self.slot.map(|slot| slot.0.parse().map_err(wrong)).transpose()?,
            receipt,
        })
    }
}

fn member(number: u64) -> Result<MemberId, Error> {
    let wrong = |_| Error::Header("to, from: expected an integer below 2^32".into());
    u32::try_from(number).map(MemberId).map_err(wrong)
}

fn small(key: &str, number: u64) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| Error::Header(format!("{key}: expected an integer below 2^32")))
}

#[derive(Serialize)]
struct RawOut<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: f64,
    size: usize,
    checksum: &'a str,
    #[serde(flatten)]
    media: Option<MediaOut>,
    #[serde(flatten)]
    letter: Option<LetterOut<'a>>,
    #[serde(flatten)]
    piece: Option<PieceOut>,
}

#[derive(Serialize)]
struct MediaOut {
    track: u32,
    seq: u64,
    pts: u64,
    key: bool,
    rendition: Rendition,
    tid: u8,
}

impl From<&Media> for MediaOut {
    fn from(m: &Media) -> Self {
        Self { track: m.track.0, seq: m.seq, pts: m.pts, key: m.key, rendition: m.rendition, tid: m.tid }
    }
}

#[derive(Serialize)]
struct PieceOut {
    offer: u32,
    part: Part,
    index: u32,
}

impl From<&Piece> for PieceOut {
    fn from(piece: &Piece) -> Self {
        Self { offer: piece.offer.0, part: piece.part, index: piece.index }
    }
}

#[derive(Serialize)]
struct LetterOut<'a> {
    source: String,
    n: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<&'a str>,
    #[serde(flatten)]
    receipt: Option<ReceiptOut<'a>>,
}

#[derive(Serialize)]
struct ReceiptOut<'a> {
    seq: u64,
    prev: u64,
    from: u32,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    received: f64,
}

impl<'a> From<&'a Letter> for LetterOut<'a> {
    fn from(letter: &'a Letter) -> Self {
        Self {
            source: letter.source.to_string(),
            n: letter.n,
            to: letter.to.map(|to| to.0),
            slot: letter.slot.as_ref().map(|slot| slot.as_str()),
            receipt: letter.receipt.as_ref().map(|receipt| ReceiptOut {
                seq: receipt.seq,
                prev: receipt.prev,
                from: receipt.from.0,
                name: &receipt.name,
                identity: receipt.key.map(|key| key.to_string()),
                received: receipt.received,
            }),
        }
    }
}
