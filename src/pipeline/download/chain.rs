//! The MD5 of every file, on a thread of its own.
//!
//! MD5 is a chain that one core follows, so it goes beside everything else: chunks come from memory when
//! they arrive in order and this thread keeps up, else from the disk, where they are by then. It never
//! holds up who writes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::files::sink::{Error, Stage};
use crate::transfer::{Chain, Layout, Ranges, Saved};

/// Chunks that wait in memory; what does not fit is read from the disk.
const WAITING: usize = 24;

/// What this thread and the one that writes know together.
#[derive(Debug, Default)]
pub(super) struct Written {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Chunks that can be read from the disk.
    there: Ranges,
    fresh: VecDeque<(u32, Bytes)>,
    /// The layout, from when the end of a stream of unknown length is known.
    closed: Option<Layout>,
    /// No more comes.
    over: bool,
    /// How far the chain of a single file has come.
    saved: Option<Saved>,
}

impl Written {
    /// Chunks in `there` are on the disk already.
    pub(super) fn new(there: Ranges) -> Arc<Self> {
        let state = State { there, ..State::default() };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// A chunk is written.
    pub(super) fn push(&self, chunk: u32, bytes: Bytes) {
        let mut state = self.lock();
        state.there.add(chunk);
        if state.fresh.len() < WAITING {
            state.fresh.push_back((chunk, bytes));
        }
        self.changed.notify_one();
    }

    /// The end of a stream of unknown length is known.
    pub(super) fn close(&self, layout: Layout) {
        self.lock().closed = Some(layout);
        self.changed.notify_one();
    }

    /// No more comes; the chain ends where it is.
    pub(super) fn stop(&self) {
        self.lock().over = true;
        self.changed.notify_one();
    }

    /// How far the chain of a single file has come since this was asked the last time.
    pub(super) fn saved(&self) -> Option<Saved> {
        self.lock().saved.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes next.
enum Next {
    Bytes(Bytes),
    OnDisk,
    Closed(Layout),
    Over,
}

/// Follows the stream of an offer from its first byte, or from where an earlier run stopped.
pub(super) struct Follower {
    written: Arc<Written>,
    stage: Stage,
    layout: Layout,
    /// Files that are not received have no sum.
    wanted: Vec<bool>,
    sums: Vec<Option<[u8; 16]>>,
    /// The next byte that is needed, in the whole stream.
    at: u64,
    file: usize,
    chain: Chain,
    buffer: Vec<u8>,
    /// All that is on the disk of a stream of unknown length went in; what follows comes when its end is known.
    at_the_open_end: bool,
}

impl Follower {
    /// Begins at the first file, or where the chain of a single one was in an earlier run.
    pub(super) fn new(
        written: Arc<Written>,
        stage: Stage,
        layout: Layout,
        wanted: Vec<bool>,
        from: Option<&Saved>,
    ) -> Self {
        // Sums of files that were finished before are not kept: only in the first one can it go on.
        let chain = from.filter(|_| wanted.len() == 1).map(Chain::restore).unwrap_or_default();
        Self {
            at: chain.length(),
            sums: vec![None; wanted.len()],
            written,
            stage,
            layout,
            wanted,
            file: 0,
            chain,
            buffer: Vec::new(),
            at_the_open_end: false,
        }
    }

    /// Follows until the end, or until it is told to stop; the sums that are known then.
    pub(super) fn run(mut self) -> Result<Vec<Option<[u8; 16]>>, Error> {
        loop {
            self.finish_files();
            if self.file == self.wanted.len() {
                return Ok(self.sums);
            }
            let size = u64::from(self.layout.chunk_size());
            // Bounded by limits::CHUNKS.
            let chunk = (self.at / size) as u32;
            match self.next(chunk) {
                Next::Bytes(bytes) => {
                    self.feed(bytes.get((self.at % size) as usize..).unwrap_or_default());
                }
                Next::OnDisk => self.read(chunk)?,
                Next::Closed(layout) => {
                    self.layout = layout;
                    self.at_the_open_end = false;
                }
                Next::Over => return Ok(self.sums),
            }
        }
    }

    fn next(&self, chunk: u32) -> Next {
        let mut state = self.written.lock();
        if self.wanted.len() == 1 && self.chain.length() > 0 {
            state.saved = Some(self.chain.save());
        }
        loop {
            if let Some(layout) = state.closed.take() {
                return Next::Closed(layout);
            }
            if state.over {
                return Next::Over;
            }
            while state.fresh.front().is_some_and(|(number, _)| *number < chunk) {
                state.fresh.pop_front();
            }
            if state.fresh.front().is_some_and(|(number, _)| *number == chunk)
                && let Some((_, bytes)) = state.fresh.pop_front()
            {
                return Next::Bytes(bytes);
            }
            if state.there.contains(chunk) && !self.at_the_open_end {
                return Next::OnDisk;
            }
            state = self.written.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the files that end here, and passes over those that are not received.
    fn finish_files(&mut self) {
        while self.file < self.wanted.len() {
            let end = self.end();
            if !self.wanted[self.file] {
                self.at = end;
            } else if self.at == end {
                self.sums[self.file] = Some(std::mem::take(&mut self.chain).finish());
            } else {
                return;
            }
            self.file += 1;
        }
    }

    /// Where the file ends in the stream.
    fn end(&self) -> u64 {
        if self.layout.total().is_some() { self.layout.place(self.file + 1) } else { u64::MAX }
    }

    /// The next bytes of the stream.
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.file < self.wanted.len() {
            let left = self.end() - self.at;
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let (these, rest) = bytes.split_at(count);
            if self.wanted[self.file] {
                self.chain.update(these);
            }
            self.at += count as u64;
            bytes = rest;
            self.finish_files();
        }
    }

    /// The rest of this file in this chunk, from the disk. What somebody has cut off counts as zeros: the sum
    /// will tell.
    fn read(&mut self, chunk: u32) -> Result<(), Error> {
        let to = (self.layout.start(chunk) + u64::from(self.layout.chunk_size())).min(self.end());
        let mut buffer = std::mem::take(&mut self.buffer);
        // Not more than a chunk.
        buffer.resize((to - self.at) as usize, 0);
        let begin = self.layout.place(self.file);
        let count = self.stage.read(self.file as u32, self.at - begin, &mut buffer)?;
        if count < buffer.len() && self.layout.total().is_none() {
            buffer.truncate(count);
            // The last chunk of a stream whose length is not known yet.
            self.at_the_open_end = true;
        } else {
            buffer[count..].fill(0);
        }
        self.feed(&buffer);
        self.buffer = buffer;
        Ok(())
    }
}
