//! The sender's side of an offer: which chunk is read next, which is sent next, and which may be forgotten.
//!
//! Chunks are read in order, because the sums of the files follow them; a chunk that the server lost is read
//! again. What was read stays in memory until it is on the server's disk, so that a broken connection costs no
//! reading. At most [`limits::UPLOAD_WINDOW`] bytes are on their way without being there.

use std::collections::{BTreeMap, BTreeSet};

use super::Ranges;
use crate::limits;
use crate::wire::Frame;
use crate::wire::offer::Span;

/// A chunk that is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub chunk: u32,
    /// It is missing at the server.
    pub send: bool,
    /// It is the next one for the sums of the files.
    pub link: bool,
}

/// What may go on its way.
#[derive(Debug)]
pub enum Next<L> {
    /// This.
    Chunk(u32, L),
    /// Nothing, because enough is on its way.
    Window,
    /// Nothing, because nothing more was read yet.
    Unread,
    /// Nothing: all of it is on the server's disk.
    Complete,
}

/// A chunk that was read.
pub trait Load: Clone {
    /// Bytes of the file in it.
    fn size(&self) -> usize;
}

impl Load for Frame {
    fn size(&self) -> usize {
        self.header.size
    }
}

/// See the module.
#[derive(Debug)]
pub struct Upload<L> {
    /// How many chunks there are, where that is known.
    total: Option<u32>,
    /// On the server's disk.
    kept: Ranges,
    /// Read, and not on the server's disk.
    ready: BTreeMap<u32, L>,
    ready_bytes: usize,
    /// Those of them that are on their way.
    flying: BTreeSet<u32>,
    flying_bytes: usize,
    /// On the server's disk, read, or to be read.
    taken: Ranges,
    /// To be read, in order to be sent.
    wanted: BTreeSet<u32>,
    /// Everything that is to be read.
    ordered: usize,
    /// The next chunk for the sums of the files.
    link: u32,
    /// To be looked at again.
    compare: Ranges,
    /// Sent in this run.
    sent: Ranges,
    again: u64,
    damaged: BTreeMap<u32, u32>,
}

impl<L: Load> Upload<L> {
    /// Nothing is known of the server; the sums go on from chunk `link`.
    pub fn new(total: Option<u32>, link: u32) -> Self {
        Self {
            total,
            link,
            kept: Ranges::new(),
            ready: BTreeMap::new(),
            ready_bytes: 0,
            flying: BTreeSet::new(),
            flying_bytes: 0,
            taken: Ranges::new(),
            wanted: BTreeSet::new(),
            ordered: 0,
            compare: Ranges::new(),
            sent: Ranges::new(),
            again: 0,
            damaged: BTreeMap::new(),
        }
    }

    /// The server has `stored`. Chunks of `compare` are looked at again first.
    pub fn handle_stored(&mut self, stored: Ranges, compare: Ranges) {
        self.kept = stored;
        self.compare = compare;
        self.flying.clear();
        self.flying_bytes = 0;
        let kept = &self.kept;
        self.ready.retain(|chunk, _| !kept.contains(*chunk));
        self.ready_bytes = self.ready.values().map(Load::size).sum();
        self.taken = self.kept.clone();
        for chunk in self.ready.keys().chain(&self.wanted) {
            self.taken.add(*chunk);
        }
    }

    /// The connection is gone, and what was on its way with it.
    pub fn handle_down(&mut self) {
        self.flying.clear();
        self.flying_bytes = 0;
    }

    /// The next chunk to read, while not too much waits.
    pub fn next_order(&mut self) -> Option<Wanted> {
        let missing = self.missing();
        let link = self.total.is_none_or(|total| self.link < total).then_some(self.link);
        let chunk = self.compare.first().or(match (missing, link) {
            (Some(missing), Some(link)) => Some(missing.min(link)),
            (missing, link) => missing.or(link),
        })?;
        self.compare.remove(chunk..chunk + 1);
        let wanted = Wanted { chunk, send: self.taken.add(chunk), link: link == Some(chunk) };
        self.link += u32::from(wanted.link);
        self.ordered += 1;
        if wanted.send {
            self.wanted.insert(chunk);
        }
        Some(wanted)
    }

    /// The first chunk that the server lacks and nobody reads.
    fn missing(&self) -> Option<u32> {
        let chunk = self.taken.gap(0);
        (chunk < self.total.unwrap_or(limits::CHUNKS)).then_some(chunk)
    }

    /// Bytes that were read and are not on the server's disk, if chunks that are to be read have `chunk_size`.
    pub fn held(&self, chunk_size: usize) -> usize {
        self.ready_bytes + self.wanted.len() * chunk_size
    }

    /// Whether chunks are on their way.
    pub fn is_flying(&self) -> bool {
        !self.flying.is_empty()
    }

    /// Whether chunks are looked at that are not sent.
    pub fn is_looking(&self) -> bool {
        self.ordered > 0 && self.wanted.is_empty() && self.ready.is_empty()
    }

    /// Whether there is nothing that could be sent or was sent and is not answered.
    pub fn is_drained(&self) -> bool {
        self.ready.is_empty()
    }

    /// A pipe would have to be read from its beginning again.
    pub fn has_lost(&self) -> bool {
        self.missing().is_some_and(|chunk| chunk < self.link)
    }

    /// A chunk was read.
    pub fn handle_read(&mut self, chunk: u32, load: L) {
        self.ordered = self.ordered.saturating_sub(1);
        self.wanted.remove(&chunk);
        if !self.kept.contains(chunk) {
            self.ready_bytes += load.size();
            if let Some(former) = self.ready.insert(chunk, load) {
                self.ready_bytes -= former.size();
            }
        }
    }

    /// A chunk was looked at.
    pub fn handle_seen(&mut self) {
        self.ordered = self.ordered.saturating_sub(1);
    }

    /// A pipe has ended: it has so many chunks. What was to be read behind them is not there.
    pub fn handle_end(&mut self, total: u32) {
        self.total = Some(total);
        self.ordered = 0;
        self.wanted.clear();
        self.link = total;
    }

    /// What goes next.
    pub fn next_send(&mut self) -> Next<L> {
        let next = self.ready.iter().find(|(chunk, _)| !self.flying.contains(chunk));
        let Some((&chunk, load)) = next else {
            let complete = self.total.is_some_and(|total| self.kept.covers(0..total));
            return if complete { Next::Complete } else { Next::Unread };
        };
        let bytes = load.size();
        if self.flying_bytes + bytes > limits::UPLOAD_WINDOW {
            return Next::Window;
        }
        let load = load.clone();
        self.flying.insert(chunk);
        self.flying_bytes += bytes;
        if !self.sent.add(chunk) {
            self.again += bytes as u64;
        }
        Next::Chunk(chunk, load)
    }

    /// A chunk did not get onto its way.
    pub fn handle_unsent(&mut self, chunk: u32) {
        if self.flying.remove(&chunk) {
            self.flying_bytes -= self.ready.get(&chunk).map_or(0, Load::size);
        }
    }

    /// Chunks are on the server's disk.
    pub fn handle_kept(&mut self, spans: &[Span]) {
        for &[from, to] in spans.iter().filter(|span| span[0] < span[1]) {
            self.kept.insert(from..to);
            self.taken.insert(from..to);
            let there: Vec<u32> = self.ready.range(from..to).map(|(chunk, _)| *chunk).collect();
            for chunk in there {
                self.handle_unsent(chunk);
                self.ready_bytes -= self.ready.remove(&chunk).as_ref().map_or(0, Load::size);
            }
        }
    }

    /// A chunk has arrived damaged; how often it has by now.
    pub fn handle_damaged(&mut self, chunk: u32) -> u32 {
        self.handle_unsent(chunk);
        let times = self.damaged.entry(chunk).or_default();
        *times += 1;
        *times
    }

    /// What is on the server's disk.
    pub fn kept(&self) -> &Ranges {
        &self.kept
    }

    /// Bytes that were sent more than once.
    pub fn again(&self) -> u64 {
        self.again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::OfferNumber;
    use crate::wire::{Part, Piece};

    const MIB: usize = 1024 * 1024;

    fn frame(chunk: u32, bytes: usize) -> Frame {
        let piece = Piece { offer: OfferNumber(1), part: Part::Chunk, index: chunk };
        Frame::file(piece, &vec![7; bytes], 0)
    }

    fn ranges(pairs: &[Span]) -> Ranges {
        Ranges::from_pairs(pairs.iter().copied())
    }

    fn orders(upload: &mut Upload<Frame>) -> Vec<(u32, bool, bool)> {
        std::iter::from_fn(|| upload.next_order()).map(|w| (w.chunk, w.send, w.link)).collect()
    }

    fn sent(upload: &mut Upload<Frame>) -> Vec<u32> {
        std::iter::from_fn(|| if let Next::Chunk(chunk, _) = upload.next_send() { Some(chunk) } else { None })
            .collect()
    }

    #[test]
    fn every_chunk_is_read_once_in_order_and_sent_where_it_is_missing() {
        let mut upload = Upload::new(Some(6), 2);
        upload.handle_stored(ranges(&[[0, 3], [4, 5]]), ranges(&[[1, 3]]));
        assert_eq!(
            orders(&mut upload),
            [(1, false, false), (2, false, true), (3, true, true), (4, false, true), (5, true, true)]
        );
        assert!(matches!(upload.next_send(), Next::Unread));
        for chunk in [3, 5] {
            upload.handle_read(chunk, frame(chunk, 10));
        }
        assert_eq!(sent(&mut upload), [3, 5]);
        upload.handle_kept(&[[3, 4], [5, 6]]);
        assert!(matches!(upload.next_send(), Next::Complete));
        assert_eq!((upload.again(), upload.held(10)), (0, 0));
    }

    #[test]
    fn f35_no_more_than_the_window_is_sent_again_and_nothing_is_read_again() {
        let mut upload = Upload::new(Some(12), 0);
        upload.handle_stored(Ranges::new(), Ranges::new());
        assert_eq!(orders(&mut upload).len(), 12);
        (0..12).for_each(|chunk| upload.handle_read(chunk, frame(chunk, MIB)));
        assert_eq!(sent(&mut upload), (0..8).collect::<Vec<_>>());
        assert!(matches!(upload.next_send(), Next::Window));
        upload.handle_kept(&[[0, 2]]);
        assert_eq!(sent(&mut upload), [8, 9]);
        upload.handle_down();
        // What was not told any more had arrived all the same.
        upload.handle_stored(ranges(&[[0, 5]]), Ranges::new());
        assert_eq!(orders(&mut upload), []);
        assert_eq!(sent(&mut upload), [5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(upload.again(), 5 * MIB as u64);
        upload.handle_kept(&[[0, 12]]);
        assert!(matches!(upload.next_send(), Next::Complete));
    }

    #[test]
    fn what_the_server_has_lost_is_read_again() {
        let mut upload = Upload::new(Some(3), 0);
        upload.handle_stored(Ranges::new(), Ranges::new());
        assert_eq!(orders(&mut upload).len(), 3);
        (0..3).for_each(|chunk| upload.handle_read(chunk, frame(chunk, 1)));
        assert_eq!(sent(&mut upload).len(), 3);
        upload.handle_kept(&[[0, 2]]);
        assert!(!upload.has_lost());
        upload.handle_down();
        upload.handle_stored(Ranges::new(), Ranges::new());
        assert!(upload.has_lost());
        assert_eq!(orders(&mut upload), [(0, true, false), (1, true, false)]);
    }

    #[test]
    fn a_damaged_chunk_is_sent_again() {
        let mut upload = Upload::new(Some(1), 0);
        upload.handle_stored(Ranges::new(), Ranges::new());
        orders(&mut upload);
        upload.handle_read(0, frame(0, 5));
        assert_eq!(sent(&mut upload), [0]);
        assert_eq!(upload.handle_damaged(0), 1);
        assert_eq!(sent(&mut upload), [0]);
        assert_eq!((upload.handle_damaged(0), upload.again()), (2, 5));
    }

    #[test]
    fn f21_a_pipe_is_complete_when_it_has_ended_and_all_of_it_is_there() {
        let mut upload = Upload::new(None, 0);
        upload.handle_stored(Ranges::new(), Ranges::new());
        for chunk in 0..3 {
            assert_eq!(upload.next_order(), Some(Wanted { chunk, send: true, link: true }));
        }
        upload.handle_read(0, frame(0, 1));
        assert_eq!(sent(&mut upload), [0]);
        upload.handle_kept(&[[0, 1]]);
        assert!(matches!(upload.next_send(), Next::Unread));
        upload.handle_end(1);
        assert!(matches!(upload.next_send(), Next::Complete));
        assert_eq!(upload.next_order(), None);
        let mut empty: Upload<Frame> = Upload::new(Some(0), 0);
        assert_eq!(empty.next_order(), None);
        assert!(matches!(empty.next_send(), Next::Complete));
    }
}
