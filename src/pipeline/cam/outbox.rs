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
    queue: VecDeque<Bytes>,
    writing: bool,
    closed: bool,
    error: Option<io::Error>,
    failed: bool,
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

    /// Waits until a picture can be put or `give_up` says so; whether that took a wait. The output's error, once.
    pub(super) fn wait_for_room(&self, give_up: &dyn Fn() -> bool) -> io::Result<bool> {
        let mut state = self.lock();
        let mut waited = false;
        loop {
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            if state.queue.len() + usize::from(state.writing) < MOST || state.failed || give_up() {
                return Ok(waited);
            }
            waited = true;
            let next = self.changed.wait_timeout(state, Duration::from_millis(100));
            state = next.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn put(&self, bytes: Bytes) {
        self.lock().queue.push_back(bytes);
        self.changed.notify_all();
    }

    /// Waits until all is written, at most for `limit`.
    pub(super) fn finish(&self, limit: Duration) -> io::Result<()> {
        let deadline = time::now() + limit;
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
        while (!state.queue.is_empty() || state.writing) && !state.failed {
            let left = deadline.since(time::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.error.take().map_or(Ok(()), Err)
    }

    fn work(&self, mut output: Box<dyn Write + Send>) {
        while let Some(bytes) = self.next() {
            let result = self.write(&mut *output, &bytes);
            let mut state = self.lock();
            state.writing = false;
            if let Err(error) = result {
                state.queue.clear();
                state.failed = true;
                state.error = Some(error);
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<Bytes> {
        let mut state = self.lock();
        loop {
            if state.failed {
                return None;
            }
            if let Some(bytes) = state.queue.pop_front() {
                state.writing = true;
                return Some(bytes);
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
