//! Access units out of a byte stream.

use bytes::{BufMut, Bytes, BytesMut};

use super::nal::{Kind, Unit, start_code, without_trailing_zeros};
use super::parameters::Parameters;
use super::{MAX_ACCESS_UNIT, MAX_UNITS};

/// One encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// Annex B with start codes of four bytes.
    pub data: Bytes,
    /// An IDR picture with SPS and PPS in front: a decoder can start here.
    pub key: bool,
    /// The temporal layer: 2 for a picture that no other needs, else 0.
    pub tid: u8,
}

/// What is wrong with a stream. The splitter goes on behind the damage, with the next keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No start code within the first bytes.
    #[error("this is not H.264 in Annex B form: no start code in the first {0} bytes")]
    NoStartCode(usize),
    /// An access unit or NAL unit above the limit.
    #[error("a picture of the H.264 stream is larger than {MAX_ACCESS_UNIT} bytes")]
    TooLarge,
    /// More NAL units than a picture can need.
    #[error("a picture of the H.264 stream has more than {MAX_UNITS} parts")]
    TooManyUnits,
}

/// Cuts an Annex B stream into access units (ITU-T H.264 7.4.1.2.3).
///
/// Feed it with [`push`](Self::push), in pieces of any size, and after every piece call [`poll`](Self::poll) until it
/// gives `None`. The last access unit comes after [`finish`](Self::finish). A keyframe whose parameter sets were sent
/// earlier gets them in front. Slices with a damaged header, end markers and filler are left out.
///
/// Between calls it holds at most one access unit, the NAL unit that is arriving and the parameter sets: below
/// 10 MiB. After an error nothing comes out until the next keyframe.
#[derive(Debug, Default)]
pub struct Splitter {
    /// Bytes that are not yet part of a whole NAL unit, from `head` on.
    buffer: Vec<u8>,
    head: usize,
    /// Before this there is no start code.
    scanned: usize,
    state: State,
    finished: bool,
    pending: Pending,
    parameters: Parameters,
    /// Pictures are missing: wait for a keyframe.
    lost: bool,
}

/// Where in the byte stream `head` is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Before the first start code, after so many bytes.
    #[default]
    Start,
    /// Inside a NAL unit that is given up.
    Skip,
    /// At the first byte of a NAL unit.
    Unit,
}

/// How far a stream may go on without a start code before it is something else.
const MAX_PREAMBLE: usize = 64 * 1024;

impl Splitter {
    /// A splitter at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.head);
        self.scanned = self.scanned.saturating_sub(self.head);
        self.head = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The stream has ended: what is there is all there will be.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// The next access unit, or `None` when more bytes are needed (or, after [`finish`](Self::finish), at the end).
    pub fn poll(&mut self) -> Result<Option<AccessUnit>, Error> {
        loop {
            let Some((from, to)) = self.next_unit()? else {
                return Ok(if self.finished { self.complete() } else { None });
            };
            let bytes = without_trailing_zeros(&self.buffer[from..to]);
            let Some(unit) = Unit::new(bytes) else { continue };
            let slice = unit.slice_start();
            let starts = self.pending.is_followed_by(unit, slice.map(|slice| slice.first_macroblock));
            let done = if starts { self.pending.take(&self.parameters) } else { None };
            // Borrowed anew: completing the picture before needed the whole of `pending`.
            let wanted = match unit.kind() {
                Kind::Slice | Kind::IdrSlice => slice.is_some(),
                Kind::Other => false,
                _ => true,
            };
            let added = if wanted { self.pending.add(unit) } else { Ok(()) };
            self.parameters.learn(unit);
            if let Err(error) = added {
                self.pending = Pending::default();
                self.lost = true;
                return Err(error);
            }
            if let Some(done) = done.and_then(|done| self.admit(done)) {
                return Ok(Some(done));
            }
        }
    }

    /// Bytes that are held back at present, parameter sets aside.
    pub fn held(&self) -> usize {
        self.buffer.capacity() + self.pending.data.capacity()
    }

    /// The bounds of the next whole NAL unit in the buffer.
    fn next_unit(&mut self) -> Result<Option<(usize, usize)>, Error> {
        loop {
            let code = start_code(&self.buffer, self.scanned.max(self.head));
            match (self.state, code) {
                (State::Unit, Some(code)) => {
                    let from = self.head;
                    self.enter(code);
                    if code - from > MAX_ACCESS_UNIT {
                        return Err(self.give_up());
                    }
                    return Ok(Some((from, code)));
                }
                (_, Some(code)) => self.enter(code),
                (State::Unit, None) if self.finished && self.head < self.buffer.len() => {
                    let from = self.head;
                    (self.head, self.scanned) = (self.buffer.len(), self.buffer.len());
                    return Ok(Some((from, self.head)));
                }
                (state, None) => {
                    // The last two bytes may be the start of a start code.
                    self.scanned = self.buffer.len().saturating_sub(2).max(self.scanned);
                    let waiting = self.buffer.len() - self.head;
                    match state {
                        State::Start if waiting > MAX_PREAMBLE || (self.finished && waiting > 0) => {
                            self.state = State::Skip;
                            return Err(Error::NoStartCode(waiting));
                        }
                        State::Skip => self.head = self.scanned.max(self.head),
                        State::Unit if waiting > MAX_ACCESS_UNIT => {
                            self.state = State::Skip;
                            return Err(self.give_up());
                        }
                        _ => {}
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Goes to the NAL unit behind the start code at `code`.
    fn enter(&mut self, code: usize) {
        self.head = code + 3;
        self.scanned = self.head;
        self.state = State::Unit;
    }

    /// Drops the picture that a NAL unit above the limit belongs to.
    fn give_up(&mut self) -> Error {
        self.pending = Pending::default();
        self.lost = true;
        Error::TooLarge
    }

    /// The picture that is being collected, taken as whole.
    fn complete(&mut self) -> Option<AccessUnit> {
        let done = self.pending.take(&self.parameters)?;
        self.admit(done)
    }

    /// Holds back what cannot be decoded because of what was dropped before it.
    fn admit(&mut self, done: AccessUnit) -> Option<AccessUnit> {
        self.lost &= !done.key;
        (!self.lost).then_some(done)
    }
}

/// The access unit that is being collected.
#[derive(Debug, Default)]
struct Pending {
    data: BytesMut,
    units: usize,
    /// Bytes of a delimiter at the front, with its start code.
    delimiter: usize,
    sps: bool,
    pps: bool,
    /// Of the first slice: whether it is an IDR, whether other pictures need it.
    picture: Option<(bool, bool)>,
}

impl Pending {
    /// Whether `unit` is the first of the next access unit.
    fn is_followed_by(&self, unit: Unit<'_>, first_macroblock: Option<u32>) -> bool {
        let Some(picture) = self.picture else { return false };
        match unit.kind() {
            Kind::Slice | Kind::IdrSlice => match first_macroblock {
                Some(0) => true,
                Some(_) => picture != picture_of(unit),
                None => false,
            },
            Kind::Delimiter | Kind::Sps | Kind::Pps | Kind::Sei | Kind::Prefix => true,
            Kind::Partition | Kind::Extension | Kind::Other => false,
        }
    }

    fn add(&mut self, unit: Unit<'_>) -> Result<(), Error> {
        if self.units == MAX_UNITS {
            return Err(Error::TooManyUnits);
        }
        if self.data.len() + START_CODE.len() + unit.bytes().len() > MAX_ACCESS_UNIT {
            return Err(Error::TooLarge);
        }
        put(&mut self.data, unit.bytes());
        self.units += 1;
        match unit.kind() {
            Kind::Delimiter if self.units == 1 => self.delimiter = self.data.len(),
            Kind::Sps => self.sps = true,
            Kind::Pps => self.pps = true,
            Kind::Slice | Kind::IdrSlice => {
                self.picture.get_or_insert(picture_of(unit));
            }
            _ => {}
        }
        Ok(())
    }

    /// The access unit, if there is a picture in it; leaves nothing behind.
    fn take(&mut self, parameters: &Parameters) -> Option<AccessUnit> {
        let whole = std::mem::take(self);
        let (idr, reference) = whole.picture?;
        let tid = if reference { 0 } else { 2 };
        let own = whole.sps && whole.pps;
        if !idr || own || !parameters.complete() {
            return Some(AccessUnit { data: whole.data.freeze(), key: idr && own, tid });
        }
        let mut data = BytesMut::with_capacity(whole.data.len() + 256);
        data.put_slice(&whole.data[..whole.delimiter]);
        for set in parameters.all() {
            put(&mut data, set);
        }
        data.put_slice(&whole.data[whole.delimiter..]);
        (data.len() <= MAX_ACCESS_UNIT).then(|| AccessUnit { data: data.freeze(), key: true, tid })
    }
}

/// Whether the picture of a slice is an IDR, and whether others need it.
fn picture_of(slice: Unit<'_>) -> (bool, bool) {
    (slice.kind() == Kind::IdrSlice, slice.reference() != 0)
}

const START_CODE: [u8; 4] = [0, 0, 0, 1];

fn put(data: &mut BytesMut, unit: &[u8]) {
    data.put_slice(&START_CODE);
    data.put_slice(unit);
}
