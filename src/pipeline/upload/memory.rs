//! What an upload that was broken off leaves to the next run, in a [`Ledger`] (docs/files.md).
//!
//! The first line says what is sent to where, and under which number; each line after it how far the sums of
//! the files are. Every line has the first half of its MD5 in front. A line that is torn or damaged is left
//! out: then more is read again, and nothing else is lost. What the server has it says itself.

use std::collections::BTreeMap;
use std::io;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::chain::{Follower, Point};
use super::{Error, Job};
use crate::files::ledger::Ledger;
use crate::id::{self, OfferId};
use crate::limits;
use crate::transfer::Saved;

const FORMAT: &str = "conf-send upload 1";
/// Bytes after which the file is written anew, with only what is still of use.
const LARGE: usize = 4 * 1024 * 1024;
/// Chunks whose sums are remembered: more than can be on their way.
const CHUNKS: usize = 2 * (limits::UPLOAD_WINDOW / limits::CHUNK_MIN as usize);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    format: String,
    room: String,
    offer: OfferId,
    chunk_size: u32,
    /// Of the list of files.
    list: Digits,
    /// Of what the file system says of them.
    files: Digits,
    /// All of it is at the server.
    #[serde(default, skip_serializing_if = "is_false")]
    sent: bool,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Line {
    next: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open: Option<(usize, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ended: Vec<(usize, Digits)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    chunks: Vec<(u32, Digits)>,
}

/// 16 bytes as hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Digits([u8; 16]);

impl TryFrom<String> for Digits {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        id::unhex(text.as_bytes()).map(Self).ok_or("expected 32 hex digits")
    }
}

impl From<Digits> for String {
    fn from(digits: Digits) -> Self {
        id::hex(&digits.0)
    }
}

/// What an earlier run has left that is not gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Former {
    /// Nothing.
    Nothing,
    /// An offer that the user wants to be replaced.
    Replaced(OfferId),
    /// An offer of files that are others now. It stays remembered until it is taken back.
    Changed(OfferId),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Memory {
    ledger: Option<Ledger>,
    head: Head,
    resumed: bool,
    /// Where the sums of the files are.
    next: u32,
    open: Option<(usize, Saved)>,
    ended: BTreeMap<usize, [u8; 16]>,
    /// The sums of the last chunks.
    chunks: BTreeMap<u32, [u8; 16]>,
    size: usize,
    /// The user has been told that nothing can be written.
    warned: bool,
}

impl Memory {
    /// What is known of `job`, whose files the file system knows by `identity`; with `restart` nothing, and
    /// beside it the offer that was made of it before.
    pub(super) fn open(
        ledger: Option<Ledger>,
        job: &Job,
        identity: [u8; 16],
        room: &str,
        restart: bool,
    ) -> Result<(Self, Former), Error> {
        let mut unique = [0; 16];
        getrandom::fill(&mut unique).map_err(io::Error::other)?;
        let head = Head {
            format: FORMAT.into(),
            room: room.into(),
            offer: OfferId(unique),
            chunk_size: job.chunk_size,
            list: Digits(job.manifest.digest()),
            files: Digits(identity),
            sent: false,
        };
        let mut memory = Self {
            ledger,
            head,
            resumed: false,
            next: 0,
            open: None,
            ended: BTreeMap::new(),
            chunks: BTreeMap::new(),
            size: 0,
            warned: false,
        };
        let Some(ledger) = &memory.ledger else { return Ok((memory, Former::Nothing)) };
        let bytes = ledger.read().map_err(Error::Io)?;
        let mut former = Former::Nothing;
        if let Some(head) = memory.recognised(&bytes) {
            let same = Head { offer: memory.head.offer, sent: false, ..head.clone() } == memory.head;
            match (restart, same) {
                (true, _) => former = Former::Replaced(head.offer),
                (false, true) => memory.go_on(head, &bytes),
                // What was sent stays, and this is something new.
                (false, false) if head.sent => {}
                (false, false) => return Ok((memory, Former::Changed(head.offer))),
            }
        }
        if let Err(error) = memory.rewrite() {
            tracing::warn!("cannot remember how far this upload comes ({error}): it cannot be gone on with");
            memory.ledger = None;
        }
        Ok((memory, former))
    }

    /// Whether an earlier run is gone on with.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Whether an earlier run has sent all of it.
    pub(super) fn is_sent(&self) -> bool {
        self.head.sent
    }

    /// All of it is at the server: the same command need not send it again.
    pub(super) fn sent(&mut self) {
        self.head.sent = true;
        if let Err(error) = self.rewrite() {
            tracing::debug!("cannot remember that this was sent: {error}");
        }
    }

    /// What was remembered is of no use here: a new offer, from the beginning.
    pub(super) fn begin_anew(&mut self) -> Result<(), Error> {
        getrandom::fill(&mut self.head.offer.0).map_err(io::Error::other)?;
        (self.head.sent, self.resumed) = (false, false);
        Ok(self.rewrite()?)
    }

    /// Whether a later run could go on.
    pub(super) fn is_kept(&self) -> bool {
        self.ledger.is_some()
    }

    /// The number under which it is offered.
    pub(super) fn offer(&self) -> OfferId {
        self.head.offer
    }

    /// What a chunk was when it was read last, where that is known.
    pub(super) fn known(&self, chunk: u32) -> Option<[u8; 16]> {
        self.chunks.get(&chunk).copied()
    }

    /// Takes `follower` to where the sums were.
    pub(super) fn restore(&self, follower: &mut Follower) {
        let ended: Vec<_> = self.ended.iter().map(|(file, sum)| (*file, *sum)).collect();
        follower.resume(self.next, self.open.as_ref().map(|(file, saved)| (*file, saved)), &ended);
    }

    /// The sums are there now. Where that cannot be written down, a later run reads more again.
    pub(super) fn note(&mut self, point: &Point) {
        self.take(point.clone());
        if let Err(error) = self.write(point)
            && !std::mem::replace(&mut self.warned, true)
        {
            tracing::warn!("cannot write down how far this upload is: {error}; a later run reads more again");
        }
    }

    fn write(&mut self, point: &Point) -> io::Result<()> {
        let Some(ledger) = &mut self.ledger else { return Ok(()) };
        if self.size > LARGE {
            return self.rewrite();
        }
        let digits = |(place, sum): &(usize, [u8; 16])| (*place, Digits(*sum));
        let line = Line {
            next: point.next,
            open: point.open.as_ref().map(|(file, saved)| (*file, id::hex(saved.as_bytes()))),
            ended: point.ended.iter().map(digits).collect(),
            chunks: point.chunks.iter().map(|(chunk, sum)| (*chunk, Digits(*sum))).collect(),
        };
        let text = written(&line);
        self.size += text.len();
        ledger.append(text.as_bytes())
    }

    /// There is nothing to go on with any more.
    pub(super) fn forget(&mut self) {
        if let Some(Err(error)) = self.ledger.take().map(Ledger::remove) {
            tracing::warn!("what was remembered of this upload cannot be removed: {error}");
        }
    }

    /// The first line, if it is one of ours and for this room.
    fn recognised(&self, bytes: &[u8]) -> Option<Head> {
        let head: Head = read(bytes.split(|byte| *byte == b'\n').next()?)?;
        (head.format == FORMAT && head.room == self.head.room).then_some(head)
    }

    fn go_on(&mut self, head: Head, bytes: &[u8]) {
        self.head = head;
        self.resumed = true;
        for line in bytes.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty()) {
            let point = read(line).and_then(|line: Line| point(&line));
            // What is behind a line that is missing says of some files nothing at all.
            let Some(point) = point else {
                tracing::warn!("what was remembered of this upload is damaged; more of it is read again");
                break;
            };
            self.take(point);
        }
    }

    fn take(&mut self, point: Point) {
        self.next = point.next;
        self.open = point.open;
        self.ended.extend(point.ended);
        self.chunks.extend(point.chunks);
        while self.chunks.len() > CHUNKS {
            self.chunks.pop_first();
        }
    }

    /// Only what is of use, in the place of what is there.
    fn rewrite(&mut self) -> io::Result<()> {
        let Some(ledger) = &mut self.ledger else { return Ok(()) };
        let mut text = written(&self.head);
        if self.next > 0 {
            text += &written(&Line {
                next: self.next,
                open: self.open.as_ref().map(|(file, saved)| (*file, id::hex(saved.as_bytes()))),
                ended: self.ended.iter().map(|(file, sum)| (*file, Digits(*sum))).collect(),
                chunks: self.chunks.iter().map(|(chunk, sum)| (*chunk, Digits(*sum))).collect(),
            });
        }
        self.size = text.len();
        ledger.replace(text.as_bytes())
    }
}

// Called by serde, which hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

fn point(line: &Line) -> Option<Point> {
    let open = match &line.open {
        Some((file, digits)) => Some((*file, Saved::from_bytes(&unhex(digits)?)?)),
        None => None,
    };
    Some(Point {
        next: line.next,
        open,
        ended: line.ended.iter().map(|(file, sum)| (*file, sum.0)).collect(),
        chunks: line.chunks.iter().map(|(chunk, sum)| (*chunk, sum.0)).collect(),
    })
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| digits.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    (0..digits.len()).step_by(2).map(pair).collect()
}

fn written(line: &impl Serialize) -> String {
    let json = serde_json::to_string(line).expect("strings and numbers are always JSON");
    format!("{} {json}\n", check(json.as_bytes()))
}

fn read<T: serde::de::DeserializeOwned>(line: &[u8]) -> Option<T> {
    let (digits, json) = line.split_at_checked(16)?;
    let json = json.strip_prefix(b" ")?;
    (digits == check(json).as_bytes()).then(|| serde_json::from_slice(json).ok())?
}

fn check(bytes: &[u8]) -> String {
    id::hex(&Md5::digest(bytes)[..8])
}

#[cfg(test)]
mod tests;
