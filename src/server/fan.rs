//! One track on its way from its publisher to its receivers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
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
    frames: AtomicU64,
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
    pub(super) fn new(track: TrackId, publisher: Arc<Outbox>) -> Self {
        let state = State { publisher: Some(publisher), ..State::default() };
        Self { track, state: Mutex::new(state), frames: AtomicU64::new(0) }
    }

    /// Takes a frame of the publisher and gives it to every receiver, in this call.
    pub(super) fn deliver(&self, frame: &Frame, now: Moment) {
        let Some(media) = &frame.header.media else { return };
        let (receivers, overdue) = {
            let mut state = self.state();
            let flow = state.renditions.entry(media.rendition).or_default();
            flow.gop.push(media, frame.bytes(), now);
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
    pub(super) fn interrupt(&self, publisher: Option<Arc<Outbox>>) {
        let mut state = self.state();
        state.publisher = publisher;
        for flow in state.renditions.values_mut() {
            flow.gop.clear();
            flow.asked = None;
        }
        for receiver in state.receivers.iter() {
            receiver.interrupt(self.track);
        }
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

    /// A receiver needs a keyframe: from the cache where that is fresh, else from the publisher.
    pub(super) fn want_key(&self, rendition: Rendition, receiver: &Outbox, now: Moment) {
        let state = self.state();
        let fresh = state.renditions.get(&rendition).is_some_and(|flow| {
            flow.gop.since().is_some_and(|since| now.since(since) < limits::KEYFRAME_INTERVAL)
        });
        let listed = state.receivers.iter().any(|r| r.id == receiver.id);
        if fresh && listed {
            receiver.replay((self.track, rendition), &state.renditions[&rendition].gop, now);
            return;
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

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic with the lock held ends one connection's task; lists and caches stay usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
