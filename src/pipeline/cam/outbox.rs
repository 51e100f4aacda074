//! What waits to be written, and the thread that writes it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::time;

/// The output, when it is a pipe: another handle to it.
#[derive(Debug)]
pub struct Pipe(pub File);

/// Pictures between the encoder and the output: one that is being written and one that waits. Who wants to put more has
/// to wait for room first, and drops what it has meanwhile.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    changed: Condvar,
    pipe: Option<Pipe>,
}

#[derive(Debug, Default)]
struct State {
    /// Each with whether it is a picture.
    queue: VecDeque<(Bytes, bool)>,
    written: Totals,
    writing: bool,
    closed: bool,
    error: Option<io::Error>,
    failed: bool,
}

/// What has been written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) pictures: u64,
    pub(super) bytes: u64,
}

const MOST: usize = 2;
/// What a pipe that polls as writable takes without blocking (POSIX `PIPE_BUF`; Linux: 4096).
const PORTION: usize = 4096;
const SHORTEST: usize = 16 * 1024;
/// What Linux lets a user have without privileges.
const LONGEST: usize = 1024 * 1024;
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

impl Outbox {
    pub(super) fn start(output: Box<dyn Write + Send>, pipe: Option<Pipe>) -> io::Result<Arc<Self>> {
        let outbox = Arc::new(Self { state: Mutex::default(), changed: Condvar::new(), pipe });
        let there = Arc::clone(&outbox);
        std::thread::Builder::new().name("output".into()).spawn(move || there.work(output))?;
        Ok(outbox)
    }

    /// Makes the pipe about `bytes` long.
    pub(super) fn shorten(&self, bytes: usize) {
        if let Some(Pipe(file)) = &self.pipe {
            let size = bytes.clamp(SHORTEST, LONGEST);
            if let Err(error) = rustix::pipe::fcntl_setpipe_size(file, size) {
                tracing::debug!(%error, "the pipe keeps its length");
            }
        }
    }

    /// Waits until a picture can be put, at most for `limit`; whether it can. The output's error, once.
    pub(super) fn wait_for_room(&self, limit: Duration) -> io::Result<bool> {
        self.wait(limit, |state| state.queue.len() + usize::from(state.writing) < MOST)
    }

    /// No more will be put: waits until all is written, at most for `limit`; whether it is.
    pub(super) fn finish(&self, limit: Duration) -> io::Result<bool> {
        self.lock().closed = true;
        self.changed.notify_all();
        self.wait(limit, |state| state.queue.is_empty() && !state.writing)
    }

    fn wait(&self, limit: Duration, done: impl Fn(&State) -> bool) -> io::Result<bool> {
        let deadline = time::now() + limit;
        let mut state = self.lock();
        loop {
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            let left = deadline.since(time::now());
            if state.failed || done(&state) || left.is_zero() {
                return Ok(state.failed || done(&state));
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The parts of a picture, itself the last of them.
    pub(super) fn put(&self, parts: Vec<Bytes>) {
        let last = parts.len().saturating_sub(1);
        let parts = parts.into_iter().enumerate().map(|(at, part)| (part, at == last));
        self.lock().queue.extend(parts);
        self.changed.notify_all();
    }

    /// What has been written so far.
    pub(super) fn written(&self) -> Totals {
        self.lock().written
    }

    fn work(&self, mut output: Box<dyn Write + Send>) {
        while let Some((bytes, picture)) = self.next() {
            let result = self.write(&mut *output, &bytes);
            let mut state = self.lock();
            state.writing = false;
            match result {
                Ok(()) => {
                    state.written.pictures += u64::from(picture);
                    state.written.bytes += bytes.len() as u64;
                }
                Err(error) => {
                    state.queue.clear();
                    state.failed = true;
                    state.error = Some(error);
                }
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<(Bytes, bool)> {
        let mut state = self.lock();
        loop {
            if state.failed {
                return None;
            }
            if let Some(next) = state.queue.pop_front() {
                state.writing = true;
                return Some(next);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write(&self, output: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
        let Some(Pipe(file)) = &self.pipe else { return output.write_all(bytes) };
        // In portions, each when there is room: a pipe that nobody reads never holds this thread.
        for portion in bytes.chunks(PORTION) {
            while poll(&mut [PollFd::new(file, PollFlags::OUT)], Some(&GLANCE))? == 0 {}
            output.write_all(portion)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
