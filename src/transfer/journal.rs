//! What a receiver remembers of an offer between two runs: which chunks are safe on its disk, what their sums
//! are, and how far the MD5 of the files has come.
//!
//! A journal is [`MAGIC`] and records, each of which has a check of its own: one byte of kind, four of length,
//! the body, and the first eight bytes of an MD5 over all of that behind the identity of the offer, so that
//! what is left of another journal is never taken for a part of this one. Numbers are big-endian. Records are
//! only added; a record is written when what it speaks of is safe, never before.
//!
//! What a crash leaves of the last record is passed over. Behind a record that is damaged nothing is believed:
//! then less is known than is there, and that is fetched again.
//!
//! The bytes are kept by somebody else. Memory: 16 bytes a chunk, at most [`limits::CHUNKS`].

use std::collections::BTreeMap;
use std::ops::Range;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::{Ranges, Saved};
use crate::id::{self, OfferId};
use crate::limits;

/// What the file begins with.
pub const MAGIC: &[u8] = b"confkit journal 1\n";

/// Bytes of a body at the most; more is written as several records.
const BODY: usize = 64 * 1024;
/// Kind and length.
const FRONT: usize = 5;
/// The check.
const BACK: usize = 8;
/// A chunk or file, and its sum.
const LINE: usize = 4 + 16;
/// From so many bytes on, and when that is twice as much as needed, it is worth writing anew.
const LONG: usize = 1024 * 1024;

/// Which offer a journal is about. One that differs in any of it is about another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// What its sender calls it.
    pub offer: OfferId,
    /// The room that it is in, and whatever else tells one place from another.
    pub room: String,
    /// Bytes of its chunks.
    pub chunk_size: u32,
    /// [`Manifest::digest`](super::Manifest::digest) of what was accepted.
    #[serde(with = "digits")]
    pub manifest: [u8; 16],
}

/// What is wrong with the bytes of a journal; what stands before it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The last record is not whole, as after a crash.
    Torn,
    /// A record is not what was written.
    Wrong,
}

/// Bytes that are no journal, or do not even say what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no journal of this program, or its beginning is damaged")]
pub struct NoJournal;

/// A journal that was read.
#[derive(Debug)]
pub struct Opened {
    /// What it says.
    pub journal: Journal,
    /// How many of its bytes are good; what is behind them has to go before anything is added.
    pub good: usize,
    /// What is wrong with the rest.
    pub damage: Option<Damage>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    head: Head,
    chunks: Ranges,
    /// By the number of the chunk.
    sums: Vec<[u8; 16]>,
    ended: BTreeMap<u32, [u8; 16]>,
    open: Option<(u32, Saved)>,
}

impl Journal {
    /// Nothing is there yet. Its bytes are [`Journal::to_bytes`].
    pub fn new(head: Head) -> Self {
        Self { head, chunks: Ranges::new(), sums: Vec::new(), ended: BTreeMap::new(), open: None }
    }

    /// Reads what was written.
    pub fn open(bytes: &[u8]) -> Result<Opened, NoJournal> {
        let mut left = bytes.strip_prefix(MAGIC).ok_or(NoJournal)?;
        let first = next(&[], &mut left).map_err(|_| NoJournal)?.ok_or(NoJournal)?;
        let head: Head = match first {
            (Kind::Head, body) => serde_json::from_slice(body).map_err(|_| NoJournal)?,
            _ => return Err(NoJournal),
        };
        let mut journal = Self::new(head);
        let damage = journal.read(&mut left);
        Ok(Opened { journal, good: bytes.len() - left.len(), damage })
    }

    /// Reads a journal whose beginning is damaged, but that must have had this head: the checks of its records
    /// say whether it had. Nothing where not one of them is right. Has to be written anew before anything is added.
    pub fn recover(bytes: &[u8], head: Head) -> Option<Self> {
        let mut journal = Self::new(head);
        let mut left = bytes.get(journal.to_bytes().len()..)?;
        let all = left.len();
        journal.read(&mut left);
        (left.len() < all).then_some(journal)
    }

    /// Takes what the records say; what is wrong with the rest, in front of which `left` is then.
    fn read(&mut self, left: &mut &[u8]) -> Option<Damage> {
        loop {
            let before = *left;
            match next(&self.head.offer.0, left) {
                Ok(None) => return None,
                Ok(Some((kind, body))) if self.take(kind, body).is_some() => {}
                Ok(Some(_)) => {
                    *left = before;
                    return Some(Damage::Wrong);
                }
                Err(damage) => return Some(damage),
            }
        }
    }

    /// What it is about.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The chunks that are safe.
    pub fn chunks(&self) -> &Ranges {
        &self.chunks
    }

    /// The MD5 of a chunk that is safe.
    pub fn sum(&self, chunk: u32) -> Option<[u8; 16]> {
        self.chunks.contains(chunk).then(|| self.sums[chunk as usize])
    }

    /// The MD5 of files that are whole, by their numbers.
    pub fn ended(&self) -> &BTreeMap<u32, [u8; 16]> {
        &self.ended
    }

    /// The file whose MD5 is being followed, and how far.
    pub fn open_file(&self) -> Option<(u32, &Saved)> {
        self.open.as_ref().map(|(file, saved)| (*file, saved))
    }

    /// Chunks are safe, with these sums; the bytes to add.
    pub fn add_chunks(&mut self, chunks: &[(u32, [u8; 16])]) -> Vec<u8> {
        chunks.iter().for_each(|(chunk, sum)| self.insert(*chunk, *sum));
        self.lines(Kind::Chunks, chunks.iter().copied())
    }

    /// Chunks have turned out to be something else; the bytes to add.
    pub fn remove_chunks(&mut self, chunks: Range<u32>) -> Vec<u8> {
        let body = [chunks.start.to_be_bytes(), chunks.end.to_be_bytes()].concat();
        self.chunks.remove(chunks);
        self.record(Kind::Lost, &body)
    }

    /// The MD5 of `file` has come so far; the bytes to add. What is known of files in the chain is the caller's.
    pub fn add_chain(&mut self, file: u32, saved: &Saved) -> Vec<u8> {
        self.open = Some((file, saved.clone()));
        self.record(Kind::Chain, &chain(file, saved))
    }

    /// Files are whole and have these sums; the bytes to add.
    pub fn add_files(&mut self, files: &[(u32, [u8; 16])]) -> Vec<u8> {
        self.ended.extend(files.iter().copied());
        self.lines(Kind::Files, files.iter().copied())
    }

    /// The sums of files are to be taken anew; the bytes to add.
    pub fn forget_files(&mut self) -> Vec<u8> {
        self.ended.clear();
        self.open = None;
        self.record(Kind::Again, &[])
    }

    /// All of it anew, in as few bytes as it takes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let head = serde_json::to_vec(&self.head).expect("strings and numbers are always JSON");
        bytes.extend(record(&[], Kind::Head, &head));
        let chunks = self.chunks.numbers().map(|chunk| (chunk, self.sums[chunk as usize]));
        bytes.extend(self.lines(Kind::Chunks, chunks));
        bytes.extend(self.lines(Kind::Files, self.ended.iter().map(|(file, sum)| (*file, *sum))));
        if let Some((file, saved)) = &self.open {
            bytes.extend(self.record(Kind::Chain, &chain(*file, saved)));
        }
        bytes
    }

    /// Whether a journal of so many bytes is worth writing anew ([`Journal::to_bytes`]).
    pub fn is_long(&self, bytes: usize) -> bool {
        let needed = (self.chunks.count() as usize + self.ended.len()) * LINE;
        bytes > LONG && bytes / 2 > needed
    }

    fn insert(&mut self, chunk: u32, sum: [u8; 16]) {
        let place = chunk as usize;
        if self.sums.len() <= place {
            self.sums.resize(place + 1, [0; 16]);
        }
        self.sums[place] = sum;
        self.chunks.add(chunk);
    }

    /// Believes a record whose check is right; nothing where it says what cannot be.
    fn take(&mut self, kind: Kind, body: &[u8]) -> Option<()> {
        match kind {
            Kind::Head => return None,
            Kind::Chunks => {
                for (chunk, sum) in read_lines(body)? {
                    (chunk < limits::CHUNKS).then(|| self.insert(chunk, sum))?;
                }
            }
            Kind::Lost => {
                let (from, to) = body.split_at_checked(4)?;
                self.chunks.remove(number(from)?..number(to)?);
            }
            Kind::Files => self.ended.extend(read_lines(body)?),
            Kind::Chain => {
                let (file, saved) = body.split_at_checked(4)?;
                self.open = Some((number(file)?, Saved::from_bytes(saved)?));
            }
            Kind::Again => {
                self.ended.clear();
                self.open = None;
            }
        }
        Some(())
    }

    fn lines(&self, kind: Kind, lines: impl Iterator<Item = (u32, [u8; 16])>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut body = Vec::new();
        for (number, sum) in lines {
            if body.len() + LINE > BODY {
                bytes.extend(self.record(kind, &std::mem::take(&mut body)));
            }
            body.extend_from_slice(&number.to_be_bytes());
            body.extend_from_slice(&sum);
        }
        if !body.is_empty() {
            bytes.extend(self.record(kind, &body));
        }
        bytes
    }

    fn record(&self, kind: Kind, body: &[u8]) -> Vec<u8> {
        record(&self.head.offer.0, kind, body)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Head = 1,
    Chunks = 2,
    Lost = 3,
    Files = 4,
    Chain = 5,
    Again = 6,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Head, Self::Chunks, Self::Lost, Self::Files, Self::Chain, Self::Again]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

fn record(salt: &[u8], kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FRONT + body.len() + BACK);
    bytes.push(kind as u8);
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(body);
    let check = check(salt, &bytes);
    bytes.extend_from_slice(&check);
    bytes
}

/// The first record of `left`, which is behind it then; none at the end.
fn next<'a>(salt: &[u8], left: &mut &'a [u8]) -> Result<Option<(Kind, &'a [u8])>, Damage> {
    if left.is_empty() {
        return Ok(None);
    }
    // A file system may have made the file longer and not written what is there.
    let unwritten = left.len() <= FRONT + BODY + BACK && left.iter().all(|byte| *byte == 0);
    let Some((front, rest)) = left.split_at_checked(FRONT).filter(|_| !unwritten) else {
        return Err(Damage::Torn);
    };
    let length = u32::from_be_bytes([front[1], front[2], front[3], front[4]]) as usize;
    let kind = Kind::of(front[0]).filter(|_| length <= BODY).ok_or(Damage::Wrong)?;
    let Some((body, behind)) = rest.split_at_checked(length) else { return Err(Damage::Torn) };
    let Some((mark, behind)) = behind.split_at_checked(BACK) else { return Err(Damage::Torn) };
    if check(salt, &left[..FRONT + length]) != mark {
        // Pages of the last record may have been written in any order.
        return Err(if behind.is_empty() { Damage::Torn } else { Damage::Wrong });
    }
    *left = behind;
    Ok(Some((kind, body)))
}

fn check(salt: &[u8], bytes: &[u8]) -> [u8; BACK] {
    let sum = Md5::new().chain_update(salt).chain_update(bytes).finalize();
    std::array::from_fn(|place| sum[place])
}

fn chain(file: u32, saved: &Saved) -> Vec<u8> {
    [&file.to_be_bytes(), saved.as_bytes()].concat()
}

fn read_lines(body: &[u8]) -> Option<impl Iterator<Item = (u32, [u8; 16])>> {
    body.len().is_multiple_of(LINE).then(|| {
        body.chunks_exact(LINE).map(|line| {
            let number = u32::from_be_bytes([line[0], line[1], line[2], line[3]]);
            (number, std::array::from_fn(|place| line[4 + place]))
        })
    })
}

fn number(four: &[u8]) -> Option<u32> {
    four.try_into().ok().map(u32::from_be_bytes)
}

/// Sixteen bytes as hex digits.
mod digits {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::id;

    pub(super) fn serialize<S: Serializer>(sum: &[u8; 16], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&id::hex(sum))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(from)?;
        id::unhex(text.as_bytes()).ok_or_else(|| D::Error::custom("expected 32 hex digits"))
    }
}

#[cfg(test)]
mod tests;
