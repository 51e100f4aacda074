//! Frames out of a stream of bytes that comes in any portions.

use bytes::Bytes;

use super::{Error, Frame, Header, Kind, checksum};
use crate::limits;

/// From this size on a frame of a file gets memory of its own, which it is read into and stays in ...
const LARGE: usize = 128 * 1024;
/// ... when this part of it is there: what a peer only announces takes no memory.
const THERE: usize = 8;

/// What the stream held.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// A whole frame whose payload matches its checksum, as far as that was checked
    /// ([`Parser::trust_files`]).
    Frame(Frame),
    /// A whole frame whose payload does not match. It is dropped; the stream goes on behind it.
    Damaged(Header),
}

/// An incremental reader of frames. Holds at most one frame that is not complete, and no more memory
/// for it than bytes have come in (rounded up to the next doubling; eight times as much for a large frame
/// of a file); every length is judged when it is known and before more is taken.
///
/// ```
/// use confkit::wire::{Control, Frame, Incoming, Parser};
/// let frame = Frame::control(&Control::Pong { id: 7 }, 1_700_000_000_000_000);
/// let mut parser = Parser::new();
/// for byte in frame.bytes().iter() {
///     assert!(parser.poll().unwrap().is_none());
///     parser.push(std::slice::from_ref(byte));
/// }
/// assert!(matches!(parser.poll().unwrap(), Some(Incoming::Frame(f)) if f.payload() == frame.payload()));
/// ```
#[derive(Debug, Default)]
pub struct Parser {
    /// What came in and has not been given out; begins with a frame.
    buffer: Vec<u8>,
    /// Where in `buffer` the next frame begins.
    start: usize,
    /// The header of that frame, once it is complete, and where its payload begins behind `start`.
    header: Option<(Header, usize)>,
    /// `buffer` has been made for that frame alone.
    own: bool,
    /// Bytes of the stream before `start`.
    consumed: u64,
    admitted: bool,
    trusts_files: bool,
}

impl Parser {
    /// A parser for a peer that has been admitted, or for a pipe.
    pub fn new() -> Self {
        Self { admitted: true, ..Self::default() }
    }

    /// A parser for a stranger: headers up to [`limits::HEADER_BEFORE_ADMISSION`], control frames only
    /// as the caller decides.
    pub fn for_stranger() -> Self {
        Self::default()
    }

    /// From now on the peer may use the full limits.
    pub fn admit(&mut self) {
        self.admitted = true;
    }

    /// From now on the payloads of file frames are not checked: whoever takes them checks several at once
    /// ([`Frame::is_intact`] checks one), which is several times as fast.
    pub fn trust_files(&mut self) {
        self.trusts_files = true;
    }

    /// Takes bytes in. The caller polls until nothing is left before it pushes again, so that a
    /// portion and one frame bound the memory.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if it is complete.
    pub fn poll(&mut self) -> Result<Option<Incoming>, Error> {
        let Some((header, payload_at)) = self.poll_header()? else {
            self.release();
            return Ok(None);
        };
        let (end, is_file) = (payload_at + header.size, header.kind == Kind::File);
        let large = is_file && self.trusts_files && end >= LARGE;
        let waiting = &self.buffer[self.start..];
        if waiting.len() < end {
            if large && !self.own && waiting.len() >= end / THERE {
                let mut own = Vec::with_capacity(end);
                own.extend_from_slice(waiting);
                (self.buffer, self.start, self.own) = (own, 0, true);
            }
            return Ok(None);
        }
        let (header, _) = self.header.take().expect("poll_header has just found it");
        let waiting = &self.buffer[self.start..];
        let unchecked = self.trusts_files && header.kind == Kind::File;
        let intact = unchecked || checksum(&waiting[payload_at..end]) == header.checksum;
        self.consumed += end as u64;
        if std::mem::take(&mut self.own) && waiting.len() == end {
            let bytes = Bytes::from(std::mem::take(&mut self.buffer));
            return Ok(Some(Incoming::Frame(Frame::found(header, bytes, payload_at))));
        }
        // A copy of its own: a frame that is kept (in a cache, in a queue) must not keep alive a
        // buffer that also holds others.
        let bytes = intact.then(|| Bytes::copy_from_slice(&waiting[..end]));
        self.start += end;
        Ok(Some(match bytes {
            Some(bytes) => Incoming::Frame(Frame::found(header, bytes, payload_at)),
            None => Incoming::Damaged(header),
        }))
    }

    /// Where the rest of a large frame of a file belongs, if one has begun: whoever fills the spare capacity of
    /// this spares every byte two more copies. What was put there counts when it is polled.
    pub fn rest(&mut self) -> Option<&mut Vec<u8>> {
        (self.own && self.missing() > 0).then_some(&mut self.buffer)
    }

    /// Bytes of a frame that is not complete.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    /// Bytes that are still missing of the frame that has begun, as far as is known: what to read next.
    pub fn missing(&self) -> usize {
        match &self.header {
            Some((header, payload_at)) => (payload_at + header.size).saturating_sub(self.pending()),
            None => 4_usize.saturating_sub(self.pending()).max(1),
        }
    }

    /// Offset in the stream of the frame that comes next or has begun.
    pub fn offset(&self) -> u64 {
        self.consumed
    }

    /// What the end of the stream means here: nothing between frames, an error inside one.
    pub fn finish(&self) -> Result<(), Error> {
        match self.pending() {
            0 => Ok(()),
            inside => Err(Error::Truncated(inside)),
        }
    }

    fn poll_header(&mut self) -> Result<Option<(&Header, usize)>, Error> {
        if self.header.is_none() {
            let Some(length) = self.header_length()? else { return Ok(None) };
            let waiting = &self.buffer[self.start..];
            // A header that cannot be one is refused at its first byte, not after its last.
            if waiting.len() > 4 && waiting[4] != b'{' {
                return Err(Error::Header("expected a JSON object".into()));
            }
            let Some(text) = waiting.get(4..4 + length) else { return Ok(None) };
            self.header = Some((Header::parse(text)?, 4 + length));
        }
        Ok(self.header.as_ref().map(|(header, at)| (header, *at)))
    }

    fn header_length(&self) -> Result<Option<usize>, Error> {
        let Some(head) = self.buffer[self.start..].first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head);
        let limit = if self.admitted { limits::HEADER } else { limits::HEADER_BEFORE_ADMISSION };
        if length < 2 || length as usize > limit {
            return Err(foreign(*head).map_or(Error::HeaderLength(length, limit), Error::Foreign));
        }
        Ok(Some(length as usize))
    }

    /// Gives memory back when nothing waits, so that an idle connection costs none.
    fn release(&mut self) {
        if self.pending() == 0 {
            self.buffer = Vec::new();
            self.start = 0;
        }
    }
}

/// The protocol that usually begins with these bytes, where it is a well-known one.
fn foreign(head: [u8; 4]) -> Option<&'static str> {
    match &head {
        [0x15 | 0x16, 3, ..] => Some("TLS; this port speaks plain frames"),
        b"GET " | b"POST" | b"HEAD" | b"PUT " | b"OPTI" | b"CONN" | b"PRI " | b"HTTP" => Some("HTTP"),
        b"SSH-" => Some("SSH"),
        b"RTSP" => Some("RTSP"),
        _ => None,
    }
}
