//! One track on its way from its publisher to its receivers: who gets a frame, what starts a receiver,
//! and when the publisher is asked for a keyframe.
//!
//! The edge keeps it under a lock, takes the list of receivers from [`Fan::handle_frame`] and gives them
//! the frame without the lock. Whoever is told to ask something of a publisher does that without it too.
//!
//! Bounds: one group of pictures for each rendition ([`Gop`]), all of the server's together within
//! [`limits::GOP_CACHES`], and the list of receivers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::{Flow, Gop};
use crate::id::{ConnectionId, TrackId};
use crate::limits;
use crate::time::Moment;
use crate::wire::control::Control;
use crate::wire::{Media, Rendition};

/// A connection, as a track sees it.
pub trait Receiver: Clone {
    /// Which one.
    fn id(&self) -> ConnectionId;
    /// Starts it with what there is of a group of pictures.
    fn replay(&self, flow: Flow, gop: &Gop, now: Moment);
    /// It wants the track, from the next keyframe on.
    fn open(&self, track: TrackId);
    /// What comes next of the flow does not continue what it was sent.
    fn interrupt(&self, flow: Flow);
    /// Nothing more of the track will come.
    fn forget(&self, track: TrackId);
}

/// Who gets a frame, and what the publisher is asked.
#[derive(Debug)]
pub struct Delivery<R> {
    /// The receivers.
    pub receivers: Arc<Vec<R>>,
    /// What to ask whom.
    pub ask: Option<Ask<R>>,
}

/// A question to the publisher.
pub type Ask<R> = (R, Control);

/// See the module.
#[derive(Debug)]
pub struct Fan<R> {
    /// Bytes in the caches of all tracks of the server.
    cached: Arc<AtomicUsize>,
    track: TrackId,
    publisher: Option<R>,
    /// Replaced as a whole when one comes or goes, so that taking it costs no copy.
    receivers: Arc<Vec<R>>,
    renditions: BTreeMap<Rendition, Stream>,
    frames: u64,
    bytes: u64,
}

/// What is kept of one rendition.
#[derive(Debug, Default)]
struct Stream {
    gop: Gop,
    /// When the publisher was last asked for a keyframe.
    asked: Option<Moment>,
    last_key: Option<Moment>,
}

impl<R> Drop for Fan<R> {
    fn drop(&mut self) {
        let held: usize = self.renditions.values().map(|stream| stream.gop.bytes()).sum();
        self.cached.fetch_sub(held, Ordering::Relaxed);
    }
}

impl<R: Receiver> Fan<R> {
    /// A track that nobody receives yet; `cached` counts the bytes in the caches of all.
    pub fn new(track: TrackId, publisher: R, cached: Arc<AtomicUsize>) -> Self {
        Self {
            cached,
            track,
            publisher: Some(publisher),
            receivers: Arc::default(),
            renditions: BTreeMap::new(),
            frames: 0,
            bytes: 0,
        }
    }

    /// A frame of the publisher has come. Cache and list are taken together: who is in the list gets
    /// this frame, who is added later gets it with the replay. Nobody misses it, nobody gets it twice.
    pub fn handle_frame(&mut self, media: &Media, bytes: &Bytes, now: Moment) -> Delivery<R> {
        let stream = self.renditions.entry(media.rendition).or_default();
        let before = stream.gop.bytes();
        stream.gop.push(media, bytes, now);
        account(&self.cached, &mut stream.gop, before);
        if media.key {
            stream.last_key = Some(now);
        }
        let overdue = stream.last_key.is_none_or(|at| now.since(at) > limits::KEYFRAME_OVERDUE);
        self.frames += 1;
        self.bytes += bytes.len() as u64;
        let ask = if overdue { self.ask(media.rendition, now) } else { None };
        Delivery { receivers: Arc::clone(&self.receivers), ask }
    }

    /// Adds a receiver and starts it with the current groups of pictures.
    pub fn attach(&mut self, receiver: R, now: Moment) -> Vec<Ask<R>> {
        if self.receivers.iter().any(|r| r.id() == receiver.id()) {
            return Vec::new();
        }
        receiver.open(self.track);
        for (rendition, stream) in &self.renditions {
            receiver.replay((self.track, *rendition), &stream.gop, now);
        }
        Arc::make_mut(&mut self.receivers).push(receiver);
        let empty = self.renditions.iter().filter(|(_, stream)| stream.gop.since().is_none());
        let hungry: Vec<Rendition> = empty.map(|(rendition, _)| *rendition).collect();
        hungry.into_iter().filter_map(|rendition| self.ask(rendition, now)).collect()
    }

    /// Removes a receiver.
    pub fn detach(&mut self, receiver: ConnectionId) {
        if let Some(place) = self.receivers.iter().position(|r| r.id() == receiver) {
            Arc::make_mut(&mut self.receivers).remove(place).forget(self.track);
        }
    }

    /// The publisher has another connection, or none for now: what comes next does not continue what
    /// was sent.
    pub fn interrupt(&mut self, publisher: Option<R>, now: Moment) -> Vec<Ask<R>> {
        self.publisher = publisher;
        self.renditions.values_mut().for_each(|stream| stream.asked = None);
        let renditions: Vec<Rendition> = self.renditions.keys().copied().collect();
        renditions.into_iter().filter_map(|rendition| self.lost(rendition, now)).collect()
    }

    /// A picture of `rendition` did not get here: those behind it may refer to it, so nobody is sent any
    /// before the next keyframe, which is asked for.
    pub fn lost(&mut self, rendition: Rendition, now: Moment) -> Option<Ask<R>> {
        let stream = self.renditions.entry(rendition).or_default();
        let before = stream.gop.bytes();
        stream.gop.clear();
        account(&self.cached, &mut stream.gop, before);
        for receiver in self.receivers.iter() {
            receiver.interrupt((self.track, rendition));
        }
        self.ask(rendition, now)
    }

    /// The track has ended.
    pub fn shut(&mut self) {
        self.publisher = None;
        for receiver in std::mem::take(&mut self.receivers).iter() {
            receiver.forget(self.track);
        }
    }

    /// A receiver needs a keyframe: from the cache where that is fresh, else from the publisher. Who does
    /// not receive the track cannot make its publisher work.
    pub fn want_key(&mut self, rendition: Rendition, receiver: &R, now: Moment) -> Option<Ask<R>> {
        if !self.receivers.iter().any(|r| r.id() == receiver.id()) {
            return None;
        }
        if let Some(Stream { gop, .. }) = self.renditions.get(&rendition)
            && gop.since().is_some_and(|since| now.since(since) < limits::KEYFRAME_INTERVAL)
        {
            receiver.replay((self.track, rendition), gop, now);
            return None;
        }
        self.ask(rendition, now)
    }

    /// Frames that have been taken in.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes of them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Who receives it.
    pub fn receivers(&self) -> usize {
        self.receivers.len()
    }

    /// Asks the publisher for a keyframe, unless that was done just now.
    fn ask(&mut self, rendition: Rendition, now: Moment) -> Option<Ask<R>> {
        let stream = self.renditions.entry(rendition).or_default();
        if stream.asked.is_some_and(|at| now.since(at) < limits::KEYFRAME_INTERVAL) {
            return None;
        }
        stream.asked = Some(now);
        let operation = Control::Keyframe { track: self.track, rendition };
        self.publisher.clone().map(|publisher| (publisher, operation))
    }
}

/// Keeps the books of [`limits::GOP_CACHES`]: a cache that goes beyond is given up.
fn account(cached: &AtomicUsize, gop: &mut Gop, before: usize) {
    let (added, removed) = (gop.bytes().saturating_sub(before), before.saturating_sub(gop.bytes()));
    cached.fetch_sub(removed, Ordering::Relaxed);
    if cached.fetch_add(added, Ordering::Relaxed) + added > limits::GOP_CACHES {
        cached.fetch_sub(gop.bytes(), Ordering::Relaxed);
        gop.clear();
    }
}
