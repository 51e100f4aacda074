//! The receiver's side of an offer: which chunks are asked for, which of those that come are taken, and when all
//! of them are there.
//!
//! Never more than [`limits::UPLOAD_WINDOW`] bytes are asked for and not safe on the disk: that is what an
//! interruption costs at the most. It is asked for in halves of that, so that the way is never empty. What was
//! not asked for is not taken. A chunk that comes damaged is asked for once more; one that does twice is told.
//!
//! Of a stream whose end is not known, chunks are asked for that may never be: the request is over when the end
//! has come, and what it did not bring is behind it.

use std::collections::BTreeMap;

use super::Ranges;
use crate::limits;

/// Chunks that came damaged, or not at all, a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("chunk {0} came damaged twice")]
pub struct Damaged(pub u32);

/// See the module.
#[derive(Debug)]
pub struct Download {
    /// Chunks of the offer, where that is known.
    total: Option<u32>,
    /// The first chunk that is known not to be, until `total` is known.
    end: Option<u32>,
    /// What is to be had; all of it where there is none.
    wanted: Option<Ranges>,
    /// Safe on the disk.
    kept: Ranges,
    /// Came, and not safe yet.
    taken: Ranges,
    /// What each request has not brought yet.
    requests: BTreeMap<u64, Ranges>,
    /// Asked for and not come; came and not safe.
    asked: Ranges,
    /// Came at any time.
    seen: Ranges,
    again: u32,
    /// Came damaged.
    damaged: Ranges,
    /// Chunks that may be asked for at once.
    window: u32,
}

impl Download {
    /// Of `total` chunks of `chunk_size` bytes those in `kept` are there.
    pub fn new(total: Option<u32>, chunk_size: u32, kept: Ranges) -> Self {
        Self {
            total,
            end: None,
            wanted: None,
            kept,
            taken: Ranges::new(),
            requests: BTreeMap::new(),
            asked: Ranges::new(),
            seen: Ranges::new(),
            again: 0,
            damaged: Ranges::new(),
            window: (limits::UPLOAD_WINDOW as u32 / chunk_size.max(1)).max(2),
        }
    }

    /// Only these chunks are to be had.
    pub fn only(self, wanted: Ranges) -> Self {
        Self { wanted: Some(wanted), ..self }
    }

    /// What to ask for next, if anything, in a request that is called `id`.
    pub fn next_request(&mut self, id: u64) -> Option<Vec<[u32; 2]>> {
        if self.asked.count() > self.window / 2 {
            return None;
        }
        let mut room = self.window - self.asked.count();
        let mut next = Ranges::new();
        for range in self.missing().iter().take(limits::FETCH_RANGES) {
            let end = range.end.min(range.start.saturating_add(room));
            room -= end - range.start;
            next.insert(range.start..end);
            if room == 0 {
                break;
            }
        }
        let pairs = next.pairs();
        (!pairs.is_empty()).then(|| {
            self.asked.join(&next);
            self.requests.insert(id, next);
            pairs
        })
    }

    /// Whether a request is one of these and not over.
    pub fn owns(&self, id: u64) -> bool {
        self.requests.contains_key(&id)
    }

    /// A chunk has come; whether it is to be written.
    pub fn handle_chunk(&mut self, chunk: u32) -> bool {
        let mut came = false;
        for waiting in self.requests.values_mut().filter(|waiting| waiting.contains(chunk)) {
            waiting.remove(chunk..chunk + 1);
            came = true;
        }
        if !came || self.kept.contains(chunk) || !self.taken.add(chunk) {
            return false;
        }
        self.again += u32::from(!self.seen.add(chunk));
        true
    }

    /// Chunks that came are safe on the disk.
    pub fn handle_kept(&mut self, chunk: u32) {
        self.kept.add(chunk);
        self.settle(chunk);
    }

    /// A chunk that came is not what its sum says; it is asked for once more.
    pub fn handle_damaged(&mut self, chunk: u32) -> Result<(), Damaged> {
        self.settle(chunk);
        if self.damaged.add(chunk) { Ok(()) } else { Err(Damaged(chunk)) }
    }

    /// All that a request was to bring has come. The chunks that it did not bring, which are asked for once more;
    /// none where they are behind the end of the stream.
    pub fn handle_done(&mut self, id: u64) -> Result<Ranges, Damaged> {
        let Some(mut left) = self.requests.remove(&id) else { return Ok(Ranges::new()) };
        self.asked.subtract(&left);
        let tail = left.iter().next_back().filter(|tail| self.total.is_none() && !self.is_passed(tail.start));
        if let Some(tail) = tail {
            self.end = Some(self.end.map_or(tail.start, |end| end.min(tail.start)));
            left.remove(tail);
        }
        left.numbers().try_for_each(|chunk| self.handle_damaged(chunk))?;
        Ok(left)
    }

    /// The connection is gone, or the server has refused: nothing more comes of what was asked for. What came is
    /// still being written.
    pub fn handle_down(&mut self) {
        self.requests.clear();
        self.asked = self.taken.clone();
    }

    /// The end of the stream is known; whether everything that is there lies before it.
    pub fn close(&mut self, total: u32) -> bool {
        self.total = Some(total);
        self.kept.end() <= total
    }

    /// Chunks that were safe are not what they should be; they are asked for once more.
    pub fn handle_lost(&mut self, chunks: &Ranges) {
        self.kept.subtract(chunks);
        self.damaged.join(chunks);
    }

    /// Whether a request is not over yet.
    pub fn is_asking(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Whether chunks have come that are not safe yet.
    pub fn is_writing(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Whether everything that is to be had is safe. Of a stream whose end is not known, as far as it is seen.
    pub fn is_complete(&self) -> bool {
        self.total.or(self.end).is_some() && self.missing().is_empty() && self.asked.is_empty()
    }

    /// The first chunk that is to be had and is not safe; behind all of them where there is none.
    pub fn first_missing(&self) -> u32 {
        let Some(wanted) = &self.wanted else { return self.kept.gap(0) };
        let mut missing = wanted.clone();
        missing.subtract(&self.kept);
        missing.iter().next().map_or_else(|| wanted.end(), |range| range.start)
    }

    /// What is safe on the disk.
    pub fn kept(&self) -> &Ranges {
        &self.kept
    }

    /// How many chunks came more than once.
    pub fn again(&self) -> u32 {
        self.again
    }

    /// What is to be had, not safe, and not asked for.
    fn missing(&self) -> Ranges {
        let end = self.total.or(self.end).unwrap_or(limits::CHUNKS);
        let mut missing = match &self.wanted {
            Some(wanted) => {
                let mut missing = wanted.clone();
                missing.remove(end..u32::MAX);
                missing
            }
            None => (0..end).into(),
        };
        missing.subtract(&self.kept);
        missing.subtract(&self.asked);
        missing
    }

    /// Whether a chunk behind `chunk` was ever there.
    fn is_passed(&self, chunk: u32) -> bool {
        self.kept.end().max(self.seen.end()) > chunk
    }

    fn settle(&mut self, chunk: u32) {
        self.taken.remove(chunk..chunk + 1);
        // It may have been asked for a second time meanwhile.
        if !self.requests.values().any(|waiting| waiting.contains(chunk)) {
            self.asked.remove(chunk..chunk + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u32 = limits::CHUNK_MIN;
    /// Chunks in a window.
    const WINDOW: u32 = limits::UPLOAD_WINDOW as u32 / SIZE;

    fn download(total: u32, kept: &[[u32; 2]]) -> Download {
        Download::new(Some(total), SIZE, Ranges::from_pairs(kept.iter().copied()))
    }

    #[test]
    fn it_asks_for_what_is_missing_and_is_complete_when_that_is_safe() {
        let mut download = download(9, &[[1, 3], [8, 9]]);
        assert_eq!(download.next_request(1), Some(vec![[0, 1], [3, 8]]));
        assert_eq!(download.next_request(2), None);
        for chunk in [0, 3, 4, 5, 6, 7] {
            assert!(download.handle_chunk(chunk));
            assert!(!download.is_complete());
            download.handle_kept(chunk);
        }
        assert!(download.is_complete());
        assert_eq!(download.handle_done(1), Ok(Ranges::new()));
        assert_eq!((download.again(), download.kept().pairs()), (0, vec![[0, 9]]));
        assert!(self::download(0, &[]).is_complete());
    }

    #[test]
    fn f35_never_more_than_the_window_is_asked_for() {
        let mut download = download(1_000, &[]);
        assert_eq!(download.next_request(1), Some(vec![[0, WINDOW]]));
        for chunk in 0..WINDOW / 2 {
            assert_eq!(download.next_request(2), None);
            assert!(download.handle_chunk(chunk));
            assert_eq!(download.next_request(2), None, "what came is not safe yet");
            download.handle_kept(chunk);
        }
        assert_eq!(download.next_request(2), Some(vec![[WINDOW, WINDOW + WINDOW / 2]]));
        download.handle_chunk(WINDOW / 2);
        download.handle_down();
        assert!(!download.owns(1) && !download.owns(2));
        let again = vec![[WINDOW / 2 + 1, WINDOW + WINDOW / 2]];
        assert_eq!(download.next_request(3), Some(again), "what came is still being written");
    }

    #[test]
    fn f09_what_was_not_asked_for_is_not_taken() {
        let mut download = download(9, &[[1, 2]]).only(Ranges::from_pairs([[0, 2], [7, 9]]));
        assert!(!download.handle_chunk(0));
        assert_eq!(download.next_request(1), Some(vec![[0, 1], [7, 9]]));
        assert!(!download.handle_chunk(1) && !download.handle_chunk(5) && !download.handle_chunk(77));
        assert!(download.handle_chunk(7));
        assert!(!download.handle_chunk(7), "not twice");
    }

    #[test]
    fn f26_a_damaged_chunk_is_asked_for_once_more_and_then_told() {
        let mut download = download(2, &[]);
        download.next_request(1);
        assert!(download.handle_chunk(0) && download.handle_chunk(1));
        download.handle_kept(0);
        assert_eq!(download.handle_damaged(1), Ok(()));
        assert_eq!(download.next_request(2), Some(vec![[1, 2]]));
        assert!(download.handle_chunk(1));
        assert_eq!(download.again(), 1);
        assert_eq!(download.handle_damaged(1), Err(Damaged(1)));
    }

    #[test]
    fn f24_chunks_that_a_request_did_not_bring_are_asked_for_once_more() {
        let mut download = download(3, &[]);
        download.next_request(1);
        assert!(download.handle_chunk(1));
        assert_eq!(download.handle_done(1), Ok(Ranges::from_pairs([[0, 1], [2, 3]])));
        download.handle_kept(1);
        assert_eq!(download.next_request(2), Some(vec![[0, 1], [2, 3]]));
        assert_eq!(download.handle_done(2), Err(Damaged(0)));
    }

    #[test]
    fn f26_chunks_that_are_wrong_on_the_disk_are_fetched_again() {
        let mut download = download(4, &[[0, 4]]);
        assert!(download.is_complete());
        download.handle_lost(&Ranges::from(1..3));
        assert_eq!(download.next_request(1), Some(vec![[1, 3]]));
        assert!(download.handle_chunk(1));
        assert_eq!(download.handle_damaged(1), Err(Damaged(1)));
    }

    #[test]
    fn f21_a_stream_ends_where_requests_bring_nothing_any_more() {
        let mut download = Download::new(None, SIZE, Ranges::new());
        assert_eq!(download.next_request(1), Some(vec![[0, WINDOW]]));
        for chunk in 0..WINDOW / 2 {
            assert!(download.handle_chunk(chunk));
            download.handle_kept(chunk);
        }
        assert!(!download.is_complete());
        assert_eq!(download.next_request(2), Some(vec![[WINDOW, WINDOW + WINDOW / 2]]));
        assert!(download.handle_chunk(WINDOW / 2));
        assert_eq!(download.handle_done(1), Ok(Ranges::new()));
        assert_eq!(download.handle_done(2), Ok(Ranges::new()));
        assert!(!download.is_complete(), "the last one is not safe yet");
        download.handle_kept(WINDOW / 2);
        assert!(download.is_complete());
        assert!(download.close(WINDOW / 2 + 1) && download.is_complete());
        assert!(!download.close(3));
        let mut empty = Download::new(None, SIZE, Ranges::new());
        empty.next_request(1);
        assert_eq!(empty.handle_done(1), Ok(Ranges::new()));
        assert!(empty.is_complete());
    }

    #[test]
    fn f21_a_stream_that_goes_on_in_another_run_is_not_ended_by_what_an_old_request_left() {
        let mut download = Download::new(None, SIZE, Ranges::from_pairs([[0, 2], [4, 6]]));
        assert_eq!(download.next_request(1).unwrap()[0], [2, 4]);
        assert!(download.handle_chunk(2));
        // Chunk 3 is there, because later ones are.
        assert_eq!(download.handle_done(1), Ok(Ranges::from(3..4)));
        assert!(!download.is_complete());
        download.handle_kept(2);
        assert_eq!(download.next_request(2), Some(vec![[3, 4]]));
    }
}
