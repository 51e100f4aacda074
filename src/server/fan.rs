//! A track's [`room::Fan`] under a lock that is held for a moment per frame and not per
//! copy.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::outbox::{self, Outbox};
use crate::id::{ConnectionId, TrackId};
use crate::room::{self, Ask, Flow, Gop, Receiver};
use crate::time::Moment;
use crate::wire::{Frame, Rendition};

#[derive(Debug)]
pub(super) struct Fan(Mutex<room::Fan<Arc<Outbox>>>);

impl Receiver for Arc<Outbox> {
    fn id(&self) -> ConnectionId {
        self.id
    }

    fn replay(&self, flow: Flow, gop: &Gop, now: Moment) {
        Outbox::replay(self, flow, gop, now);
    }

    fn open(&self, track: TrackId) {
        self.queue().open(track);
    }

    fn interrupt(&self, flow: Flow) {
        self.queue().interrupt(flow);
    }

    fn forget(&self, track: TrackId) {
        self.queue().forget(track);
    }
}

impl Fan {
    pub(super) fn new(track: TrackId, publisher: Arc<Outbox>, cached: Arc<AtomicUsize>) -> Self {
        Self(Mutex::new(room::Fan::new(track, publisher, cached)))
    }

    /// Takes a frame of the publisher and gives it to every receiver, in this call.
    pub(super) fn deliver(&self, frame: &Frame, now: Moment) {
        let Some(media) = &frame.header.media else { return };
        let delivery = self.core().handle_frame(media, frame.bytes(), now);
        outbox::broadcast(&delivery.receivers, media, frame.bytes(), now);
        ask(delivery.ask);
    }

    pub(super) fn attach(&self, receiver: Arc<Outbox>, now: Moment) {
        let asks = self.core().attach(receiver, now);
        ask(asks);
    }

    pub(super) fn detach(&self, receiver: ConnectionId) {
        self.core().detach(receiver);
    }

    pub(super) fn interrupt(&self, publisher: Option<Arc<Outbox>>, now: Moment) {
        let asks = self.core().interrupt(publisher, now);
        ask(asks);
    }

    pub(super) fn lost(&self, rendition: Rendition, now: Moment) {
        let wanted = self.core().lost(rendition, now);
        ask(wanted);
    }

    pub(super) fn shut(&self) {
        self.core().shut();
    }

    pub(super) fn want_key(&self, rendition: Rendition, receiver: &Arc<Outbox>, now: Moment) {
        let wanted = self.core().want_key(rendition, receiver, now);
        ask(wanted);
    }

    pub(super) fn frames(&self) -> u64 {
        self.core().frames()
    }

    /// Frames and bytes that have been taken in, and how many receive them.
    pub(super) fn figures(&self) -> (u64, u64, usize) {
        let core = self.core();
        (core.frames(), core.bytes(), core.receivers())
    }

    fn core(&self) -> MutexGuard<'_, room::Fan<Arc<Outbox>>> {
        // A panic with the lock held ends one connection's task; lists and caches stay usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ask(asks: impl IntoIterator<Item = Ask<Arc<Outbox>>>) {
    for (publisher, operation) in asks {
        publisher.send(&operation);
    }
}
