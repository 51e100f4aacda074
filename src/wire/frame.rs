//! One frame, as the bytes that travel and the header that was read from them.

use bytes::Bytes;
use md5::{Digest, Md5};

use super::control::{self, Control};
use super::{Error, Header, Kind, Letter, Media, Piece};
use crate::limits;

/// What a buffer keeps free in front of the payload for [`Frame::file_in`]: the longest header of a file
/// frame has 210 bytes.
pub const FILE_ROOM: usize = 256;

/// A frame. Cloning it copies no payload.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The header.
    pub header: Header,
    /// Length, header and payload, exactly as they travel.
    bytes: Bytes,
    /// Where in `bytes` the payload begins.
    payload_at: usize,
}

impl Frame {
    /// A frame of `kind` over `payload`, stamped with `wall` microseconds since 1970.
    ///
    /// The payload must fit the limit of its kind; everything that makes frames from foreign data
    /// checks before it comes here.
    pub fn new(kind: Kind, media: Option<Media>, payload: &[u8], wall: u64) -> Self {
        debug_assert!(payload.len() <= kind.limit(), "the maker of a payload knows its limit");
        let header = Header {
            kind,
            timestamp: wall as f64 / 1e6,
            size: payload.len(),
            checksum: checksum(payload),
            media,
            letter: None,
            piece: None,
        };
        Self::assemble(header, payload)
    }

    /// A video frame over one access unit.
    pub fn video(media: Media, access_unit: &[u8], wall: u64) -> Self {
        Self::new(Kind::Video, Some(media), access_unit, wall)
    }

    /// A control frame.
    pub fn control(operation: &Control, wall: u64) -> Self {
        Self::new(Kind::Control, None, &control::write(operation), wall)
    }

    /// A message.
    pub fn message(letter: Letter, payload: &[u8], wall: u64) -> Self {
        debug_assert!(payload.len() <= limits::MESSAGE, "the maker of a payload knows its limit");
        let header = Header {
            kind: Kind::Message,
            timestamp: wall as f64 / 1e6,
            size: payload.len(),
            checksum: checksum(payload),
            media: None,
            letter: Some(Box::new(letter)),
            piece: None,
        };
        Self::assemble(header, payload)
    }

    /// A piece of an offer.
    pub fn file(piece: Piece, payload: &[u8], wall: u64) -> Self {
        debug_assert!(payload.len() <= limits::FILE, "the maker of a payload knows its limit");
        Self::assemble(Self::file_header(piece, payload.len(), checksum(payload), wall), payload)
    }

    /// A piece of an offer whose payload lies in `buffer` behind [`FILE_ROOM`] bytes, which are
    /// overwritten: nothing is copied. `checksum` is the payload's.
    pub fn file_in(piece: Piece, mut buffer: Vec<u8>, checksum: [u8; 16], wall: u64) -> Self {
        let size = buffer.len().saturating_sub(FILE_ROOM);
        debug_assert!(
            buffer.len() >= FILE_ROOM && size <= limits::FILE,
            "the maker of a buffer knows its limits"
        );
        let header = Self::file_header(piece, size, checksum, wall);
        let head = header.write();
        let from =
            FILE_ROOM.checked_sub(4 + head.len()).expect("a file frame's header has fixed keys and is short");
        buffer[from..from + 4].copy_from_slice(&(head.len() as u32).to_be_bytes());
        buffer[from + 4..FILE_ROOM].copy_from_slice(&head);
        Self { header, bytes: Bytes::from(buffer).slice(from..), payload_at: 4 + head.len() }
    }

    /// The same message under another header: the server's, which says who sent it.
    pub fn with_letter(&self, letter: Letter) -> Self {
        Self::assemble(Header { letter: Some(Box::new(letter)), ..self.header.clone() }, self.payload())
    }

    /// The same payload and checksum under another media header (a new track number, say).
    pub fn with_media(&self, media: Media) -> Self {
        Self::assemble(Header { media: Some(media), ..self.header.clone() }, self.payload())
    }

    /// Length, header and payload, exactly as they travel.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the frame carries.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload_at..]
    }

    /// What the frame carries, sharing its memory.
    pub fn payload_bytes(&self) -> Bytes {
        self.bytes.slice(self.payload_at..)
    }

    /// The operation of a control frame.
    pub fn operation(&self) -> Result<Control, Error> {
        control::read(self.payload())
    }

    /// Whether the payload matches the checksum. Asked only of file frames: the parser has checked all
    /// others, and these where it was not told to leave them ([`Parser::trust_files`]).
    ///
    /// [`Parser::trust_files`]: super::Parser::trust_files
    pub fn is_intact(&self) -> bool {
        checksum(self.payload()) == self.header.checksum
    }

    /// A frame that the parser has found in `bytes`.
    pub(super) fn found(header: Header, bytes: Bytes, payload_at: usize) -> Self {
        Self { header, bytes, payload_at }
    }

    fn file_header(piece: Piece, size: usize, checksum: [u8; 16], wall: u64) -> Header {
        let timestamp = wall as f64 / 1e6;
        Header { kind: Kind::File, timestamp, size, checksum, media: None, letter: None, piece: Some(piece) }
    }

    fn assemble(header: Header, payload: &[u8]) -> Self {
        let head = header.write();
        let mut bytes = Vec::with_capacity(4 + head.len() + payload.len());
        bytes.extend_from_slice(&(head.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(payload);
        Self { header, bytes: bytes.into(), payload_at: 4 + head.len() }
    }
}

/// MD5 of a payload: a check against damage, not against malice.
pub fn checksum(payload: &[u8]) -> [u8; 16] {
    Md5::digest(payload).into()
}
