//! One track on its way from its publisher to its receivers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::outbox::Outbox;
use crate::id::{ConnectionId, TrackId};
use crate::limits;
use crate::room::Gop;
use crate::time::Moment;
use crate::wire::control::Control;
use crate::wire::{Frame, Rendition};

/// Receivers are kept as a list that is replaced when one comes or goes, so that the lock is held for
/// a moment per frame and not per copy.
#[derive(Debug)]
pub(super) struct Fan {
    track: TrackId,
    state: Mutex<State>,
    /// Bytes in the caches of all tracks of the server.
    cached: Arc<AtomicUsize>,
    frames: AtomicU64,
}

impl Drop for Fan {
    fn drop(&mut self) {
        let held: usize = self.state().renditions.values().map(|flow| flow.gop.bytes()).sum();
        self.cached.fetch_sub(held, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct State {
    publisher: Option<Arc<Outbox>>,
    receivers: Arc<Vec<Arc<Outbox>>>,
    renditions: BTreeMap<Rendition, Flow>,
}

/// What is kept of one rendition.
#[derive(Debug, Default)]
struct Flow {
    gop: Gop,
    /// When the publisher was last asked for a keyframe.
    asked: Option<Moment>,
    last_key: Option<Moment>,
}

impl Fan {
    pub(super) fn new(track: TrackId, publisher: Arc<Outbox>, cached: Arc<AtomicUsize>) -> Self {
        let state = State { publisher: Some(publisher), ..State::default() };
        Self { track, state: Mutex::new(state), cached, frames: AtomicU64::new(0) }
    }

    /// Takes a frame of the publisher and gives it to every receiver, in this call.
    pub(super) fn deliver(&self, frame: &Frame, now: Moment) {
        let Some(media) = &frame.header.media else { return };
        let (receivers, overdue) = {
            let mut state = self.state();
            let flow = state.renditions.entry(media.rendition).or_default();
            let before = flow.gop.bytes();
            flow.gop.push(media, frame.bytes(), now);
            self.account(&mut flow.gop, before);
            if media.key {
                flow.last_key = Some(now);
            }
            let overdue = flow.last_key.is_none_or(|at| now.since(at) > limits::KEYFRAME_OVERDUE);
            // Cache and list are taken together: who is in the list gets this frame below, who is added
            // later gets it with the replay. Nobody misses it and nobody gets it twice.
            (Arc::clone(&state.receivers), overdue)
        };
        self.frames.fetch_add(1, Ordering::Relaxed);
        for receiver in receivers.iter() {
            receiver.send_media(media, frame.bytes(), now);
        }
        if overdue {
            self.ask(media.rendition, now);
        }
    }

    /// Adds a receiver and starts it with the current group of pictures.
    pub(super) fn attach(&self, receiver: Arc<Outbox>, now: Moment) {
        let mut state = self.state();
        if state.receivers.iter().any(|r| r.id == receiver.id) {
            return;
        }
        let mut hungry = Vec::new();
        receiver.open(self.track);
        for (rendition, flow) in &state.renditions {
            receiver.replay((self.track, *rendition), &flow.gop, now);
            if flow.gop.since().is_none() {
                hungry.push(*rendition);
            }
        }
        let mut receivers = Vec::clone(&state.receivers);
        receivers.push(receiver);
        state.receivers = Arc::new(receivers);
        drop(state);
        for rendition in hungry {
            self.ask(rendition, now);
        }
    }

    /// Removes a receiver.
    pub(super) fn detach(&self, receiver: ConnectionId) {
        let mut state = self.state();
        let left = state.receivers.iter().filter(|r| r.id != receiver).cloned().collect();
        let gone = state.receivers.iter().find(|r| r.id == receiver).cloned();
        state.receivers = Arc::new(left);
        drop(state);
        if let Some(gone) = gone {
            gone.forget(self.track);
        }
    }

    /// The publisher has another connection, or none for now: what comes next does not continue what
    /// was sent.
    pub(super) fn interrupt(&self, publisher: Option<Arc<Outbox>>, now: Moment) {
        let renditions: Vec<Rendition> = {
            let mut state = self.state();
            state.publisher = publisher;
            state.renditions.values_mut().for_each(|flow| flow.asked = None);
            state.renditions.keys().copied().collect()
        };
        for rendition in renditions {
            self.lost(rendition, now);
        }
    }

    /// A picture of `rendition` did not get here: those behind it may refer to it, so nobody is sent any
    /// before the next keyframe, which is asked for.
    pub(super) fn lost(&self, rendition: Rendition, now: Moment) {
        let mut state = self.state();
        let flow = state.renditions.entry(rendition).or_default();
        let before = flow.gop.bytes();
        flow.gop.clear();
        self.account(&mut flow.gop, before);
        for receiver in state.receivers.iter() {
            receiver.interrupt((self.track, rendition));
        }
        drop(state);
        self.ask(rendition, now);
    }

    /// The track has ended.
    pub(super) fn shut(&self) {
        let mut state = self.state();
        let receivers = std::mem::take(&mut state.receivers);
        state.publisher = None;
        drop(state);
        for receiver in receivers.iter() {
            receiver.forget(self.track);
        }
    }

    /// A receiver needs a keyframe: from the cache where that is fresh, else from the publisher. Who does
    /// not receive the track cannot make its publisher work.
    pub(super) fn want_key(&self, rendition: Rendition, receiver: &Outbox, now: Moment) {
        let state = self.state();
        if !state.receivers.iter().any(|r| r.id == receiver.id) {
            return;
        }
        if let Some(Flow { gop, .. }) = state.renditions.get(&rendition)
            && gop.since().is_some_and(|since| now.since(since) < limits::KEYFRAME_INTERVAL)
        {
            return receiver.replay((self.track, rendition), gop, now);
        }
        drop(state);
        self.ask(rendition, now);
    }

    /// Frames that have been taken in.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Asks the publisher for a keyframe, unless that was done just now.
    fn ask(&self, rendition: Rendition, now: Moment) {
        let mut state = self.state();
        let flow = state.renditions.entry(rendition).or_default();
        if flow.asked.is_some_and(|at| now.since(at) < limits::KEYFRAME_INTERVAL) {
            return;
        }
        flow.asked = Some(now);
        let publisher = state.publisher.clone();
        drop(state);
        if let Some(publisher) = publisher {
            publisher.send(&Control::Keyframe { track: self.track, rendition });
        }
    }

    /// Keeps the books of [`limits::GOP_CACHES`]: a cache that goes beyond is given up.
    fn account(&self, gop: &mut Gop, before: usize) {
        let (added, removed) = (gop.bytes().saturating_sub(before), before.saturating_sub(gop.bytes()));
        self.cached.fetch_sub(removed, Ordering::Relaxed);
        if self.cached.fetch_add(added, Ordering::Relaxed) + added > limits::GOP_CACHES {
            self.cached.fetch_sub(gop.bytes(), Ordering::Relaxed);
            gop.clear();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic with the lock held ends one connection's task; lists and caches stay usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
