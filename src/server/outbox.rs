//! The sending half of a connection: its socket and what waits for it.
//!
//! Whoever has a frame for the connection writes it at once when nothing waits, without waking the
//! connection's task; what the kernel does not take waits in the [`Queue`], which the task drains.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use rustix::net::{SendFlags, send};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::lines::{self, Place};
use crate::id::ConnectionId;
use crate::room::{Flow, Gop, Queue};
use crate::time::{self, Moment};
use crate::wire::control::{Control, Goodbye, Refusal};
use crate::wire::{Code, Frame, Media};

/// Slices that one write takes: a control frame or a few pictures each.
const SLICES: usize = 16;

/// Shared by the connection's task and everybody who sends to it. Nobody holds the lock across an
/// await, and a write under it never blocks.
///
/// In this order, and from such an address on, because with hundreds of receivers nothing of one is in the caches any
/// more when its next picture comes, and every line that has to be fetched costs a fiftieth of the copy: what a copy
/// needs lies in the first two lines, of which the processor fetches the second along with the first.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Outbox {
    /// Nothing more is accepted; what waits is written, then the connection ends.
    ending: AtomicBool,
    pub(super) socket: TcpStream,
    queue: Mutex<Queue>,
    pub(super) id: ConnectionId,
    /// The connection's task has something to do: drain, or end.
    pub(super) wake: Notify,
    /// Whom it shares a line with, when it is known whose it is.
    place: OnceLock<Place>,
}

/// Receivers whose state is fetched together, before the first of them is sent anything.
const TOGETHER: usize = 16;

/// Sends a media frame to each of `receivers`, or drops it by the rule of its queue.
pub(super) fn broadcast(receivers: &[Arc<Outbox>], media: &Media, bytes: &Bytes, now: Moment) {
    for group in receivers.chunks(TOGETHER) {
        // These reads do not depend on each other, so the processor waits for all of them at once; the locks below it
        // would wait for one by one.
        let ending = group.iter().filter(|outbox| outbox.ending.load(Ordering::Relaxed)).count();
        for outbox in group {
            if ending == 0 || !outbox.is_ending() {
                outbox.send_media(media, bytes, now);
            }
        }
    }
}

impl Outbox {
    pub(super) fn new(id: ConnectionId, socket: TcpStream, now: Moment) -> Self {
        Self {
            ending: AtomicBool::new(false),
            socket,
            queue: Mutex::new(Queue::new(now)),
            id,
            wake: Notify::new(),
            place: OnceLock::new(),
        }
    }

    /// It is known whose connection it is.
    pub(super) fn settle(&self, place: Place) {
        // Nobody says hello twice.
        let _ = self.place.set(place);
    }

    /// Whom it shares a line with.
    pub(super) fn place(&self) -> Option<&Place> {
        self.place.get()
    }

    /// Sends an operation.
    pub(super) fn send(&self, operation: &Control) {
        if !self.is_ending() && self.append(Frame::control(operation, time::wall()).bytes().clone()) {
            self.flush();
        }
    }

    /// Adds a frame that must not be dropped; a connection that cannot take it is told so and ended. Whether
    /// it is the first that waits, so that [`Self::flush`] is to be called when all that belongs together is
    /// added.
    pub(super) fn append(&self, bytes: Bytes) -> bool {
        if self.is_ending() {
            return false;
        }
        let now = time::now();
        let mut queue = self.queue();
        let first = queue.is_empty();
        if let Err(overflow) = queue.push_reliable(bytes, now) {
            self.ending.store(true, Ordering::Release);
            let goodbye = Goodbye {
                code: Some(Code::SlowConsumer),
                message: overflow.to_string(),
                retry_after_ms: Some(0),
            };
            queue.push_last(Frame::control(&Control::Goodbye(goodbye), time::wall()).bytes().clone(), now);
            drop(queue);
            self.wake.notify_one();
            return false;
        }
        first
    }

    /// Writes what was added.
    pub(super) fn flush(&self) {
        self.write(self.queue(), time::now());
    }

    /// Sends a frame that this server does not know, if little waits.
    pub(super) fn send_optional(&self, bytes: Bytes) {
        let now = time::now();
        let mut queue = self.queue();
        if !self.is_ending() && queue.push_optional(bytes, now) {
            self.write(queue, now);
        }
    }

    /// Sends a media frame, or drops it by the queue's rule.
    ///
    /// This is the path of every copy, so it does as little as it can: where nothing waits the bytes go
    /// to the kernel in one send call that asks nobody whether the socket is writable.
    fn send_media(&self, media: &Media, bytes: &Bytes, now: Moment) {
        let mut queue = self.queue();
        if !queue.is_empty() && lines::is_late(queue.age(now)) {
            self.place.get().into_iter().for_each(|place| place.mark_late(now));
        }
        if !queue.admit_media(media, bytes.len(), now) {
            return;
        }
        let written = match queue.is_empty() {
            true => send(&self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).unwrap_or(0),
            false => 0,
        };
        if written == bytes.len() {
            return queue.passed(written);
        }
        // A full socket and a broken one alike: the connection's task finds out which.
        let idle = queue.is_empty();
        queue.append_media(media, bytes, written, now);
        drop(queue);
        if idle {
            self.wake.notify_one();
        }
    }

    /// Starts the receiver on a flow with what its group of pictures has so far, unless that was done
    /// just now.
    pub(super) fn replay(&self, flow: Flow, gop: &Gop, now: Moment) {
        let mut queue = self.queue();
        if queue.replay(flow, gop, now) {
            self.write(queue, now);
        }
    }

    /// Flows that need a keyframe to go on.
    pub(super) fn starved(&self) -> Vec<Flow> {
        self.queue().starved().collect()
    }

    /// Says why and ends the connection when that is written.
    pub(super) fn refuse(&self, refusal: Refusal) {
        let goodbye = Goodbye {
            code: Some(refusal.code),
            message: refusal.message.clone(),
            retry_after_ms: refusal.retry_after_ms,
        };
        self.send(&Control::Error(refusal));
        self.goodbye(goodbye);
    }

    /// Says goodbye and ends the connection when that is written.
    pub(super) fn goodbye(&self, goodbye: Goodbye) {
        self.send(&Control::Goodbye(goodbye));
        self.ending.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether the connection is about to end.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue().is_empty()
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue().bytes()
    }

    /// When the connection counts as stalled.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        self.queue().poll_timeout()
    }

    /// Bytes given to the kernel so far.
    pub(super) fn sent(&self) -> u64 {
        self.queue().sent()
    }

    /// The queue, for figures.
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic while the lock was held ended that connection's task; the queue itself is only data.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits as far as the kernel takes it, and about `most` bytes of it. For the connection's task.
    pub(super) fn drain(&self, most: usize, now: Moment) -> io::Result<()> {
        let mut queue = self.queue();
        self.write_some(&mut queue, most, now)
    }

    fn write(&self, mut queue: MutexGuard<'_, Queue>, now: Moment) {
        // A fault of the socket is found by the connection's task, which reads it; here it only means
        // that nothing can be written.
        let written = self.write_some(&mut queue, usize::MAX, now);
        if written.is_err() || !queue.is_empty() {
            drop(queue);
            self.wake.notify_one();
        }
    }

    fn write_some(&self, queue: &mut Queue, mut most: usize, now: Moment) -> io::Result<()> {
        while !queue.is_empty() && most > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = queue.slices_of(most, &mut slices);
            // One buffer goes by send, which is cheaper than sendmsg.
            let result = match &slices[..filled] {
                [one] => self.socket.try_write(one),
                many => self.socket.try_write_vectored(many),
            };
            match result {
                Ok(count) => {
                    queue.wrote(count, now);
                    most = most.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
