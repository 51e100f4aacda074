//! The thread that checks chunks and writes them into their files.
//!
//! MD5 is taken of several chunks at once, in the lanes of a vector, so a short while is waited for
//! company ([`COMPANY`]). Whoever handed a chunk in has paid for its memory with a permit, which is given
//! back when it is written.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::stock::{Stock, Verdict};
use super::thread::Command;
use super::{Inner, News, Report, Request, vault};
use crate::id::ConnectionId;
use crate::time::{self, Moment};
use crate::transfer::{Ranges, chunk_sums, lanes};
use crate::wire::control::{Control, Refusal};
use crate::wire::offer::Seal;
use crate::wire::{Code, Frame};

/// Chunks that are checked together at the most: two rounds of the widest lanes.
const TOGETHER: usize = 16;
/// How long the first chunk waits for others.
const COMPANY: Duration = Duration::from_millis(3);
/// Bytes that need not wait for more.
const ENOUGH: usize = 4 * 1024 * 1024;
/// How long what the file system said about its free room holds.
const FREE_HOLDS: Duration = Duration::from_millis(200);

/// What the thread is to do, in order.
#[derive(Debug)]
pub(super) enum Job {
    Chunk(Chunk),
    /// Goes on to the index, behind the chunks that came before it.
    Seal(Arc<Stock>, Request, Seal),
}

/// A chunk that has come.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) stock: Arc<Stock>,
    pub(super) connection: ConnectionId,
    pub(super) frame: Frame,
    pub(super) index: u32,
    pub(super) _room: [OwnedSemaphorePermit; 2],
}

pub(super) struct Writer {
    inner: Arc<Inner>,
    /// When the disk was last asked, and whether it had room.
    free: Option<(Moment, bool)>,
}

impl Writer {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, free: None }
    }

    pub(super) fn run(mut self) {
        let lanes = lanes();
        while let Some(mut jobs) = self.inner.jobs.take(TOGETHER, Duration::from_secs(60)) {
            let bytes = |jobs: &[Job]| -> usize { jobs.iter().map(Job::size).sum() };
            while !jobs.is_empty()
                && jobs.len() < lanes
                && bytes(&jobs) < ENOUGH
                && !jobs.iter().any(Job::is_seal)
            {
                match self.inner.jobs.take(TOGETHER - jobs.len(), COMPANY) {
                    Some(more) if !more.is_empty() => jobs.extend(more),
                    _ => break,
                }
            }
            self.work(jobs);
        }
    }

    fn work(&mut self, jobs: Vec<Job>) {
        let payloads: Vec<&[u8]> = jobs.iter().filter_map(Job::payload).collect();
        let mut sums = chunk_sums(&payloads).into_iter();
        for job in jobs {
            match job {
                Job::Chunk(chunk) => {
                    let intact = sums.next() == Some(chunk.frame.header.checksum);
                    self.chunk(chunk, intact);
                }
                Job::Seal(stock, request, seal) => {
                    self.inner.commands.push_patiently(Command::Seal(stock, request, seal));
                }
            }
        }
    }

    fn chunk(&mut self, chunk: Chunk, intact: bool) {
        let Chunk { stock, connection, frame, index, .. } = &chunk;
        if !intact {
            return self.refuse(&chunk, Code::Checksum, "a chunk did not match its checksum");
        }
        let length = frame.payload().len();
        match stock.judge(*index, length) {
            Verdict::Take => {}
            Verdict::Pending => return,
            Verdict::Kept => {
                let mut chunks = Ranges::new();
                chunks.add(*index);
                let operation = Control::Kept { offer: stock.number, chunks: chunks.pairs() };
                return self.inner.report(stock, News::Answer(*connection, operation));
            }
            Verdict::Refuse(code, message) => return self.refuse(&chunk, code, message),
        }
        if frame.bytes().len() - length > vault::HEADER {
            return self.refuse(&chunk, Code::TooLarge, "a chunk's header is at most 4092 bytes");
        }
        let size = frame.bytes().len() as u64;
        if self.inner.used.load(Ordering::Relaxed) + size > self.inner.keep.bytes {
            return self.refuse(
                &chunk,
                Code::Quota,
                "all that the server keeps of files is used up (its --store-quota)",
            );
        }
        if !self.is_room() {
            return self.refuse(&chunk, Code::Quota, "the server's disk is full");
        }
        let life = stock.holding().life;
        let written =
            self.inner.vault.file(stock.row).and_then(|file| vault::write(&file, stock, *index, frame));
        if let Err(error) = written {
            let (code, message) = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    (Code::Quota, "the server's disk is full")
                }
                // Withdrawn in this moment.
                io::ErrorKind::NotFound => (Code::Offer, "the offer is gone"),
                _ => (Code::Internal, "the server cannot write its files"),
            };
            tracing::warn!(%error, offer = %stock.number, "cannot store a chunk");
            self.free = None;
            return self.refuse(&chunk, code, message);
        }
        self.inner.used.fetch_add(size, Ordering::Relaxed);
        stock.add_bytes(size);
        let mut holding = stock.holding();
        holding.written.add(*index);
        if (length as u64) < u64::from(stock.chunk_size) && stock.size.is_none() {
            holding.short = Some(*index);
        }
        drop(holding);
        self.inner.commands.push_patiently(Command::Written(Arc::clone(stock), *index, life));
    }

    /// Whether the disk has as much free as must stay so.
    fn is_room(&mut self) -> bool {
        let now = time::now();
        if let Some((at, room)) = self.free
            && now.since(at) < FREE_HOLDS
        {
            return room;
        }
        let room = self.inner.vault.free().is_none_or(|(free, reserve)| free > reserve);
        self.free = Some((now, room));
        room
    }

    fn refuse(&self, chunk: &Chunk, code: Code, message: &str) {
        let mut refusal = Refusal::new(code, message);
        refusal.piece = chunk.frame.header.piece.map(Box::new);
        let answer = News::Answer(chunk.connection, Control::Error(refusal));
        let Report { room, news } = Report { room: chunk.stock.room.clone(), news: answer };
        self.inner.tell(room, news);
    }
}

impl Job {
    fn payload(&self) -> Option<&[u8]> {
        match self {
            Self::Chunk(chunk) => Some(chunk.frame.payload()),
            Self::Seal(..) => None,
        }
    }

    fn size(&self) -> usize {
        self.payload().map_or(0, <[u8]>::len)
    }

    fn is_seal(&self) -> bool {
        matches!(self, Self::Seal(..))
    }
}
