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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// A connection that writes down what it is told.
    #[derive(Clone)]
    struct Told(ConnectionId, Rc<RefCell<Vec<String>>>);

    impl Receiver for Told {
        fn id(&self) -> ConnectionId {
            self.0
        }

        fn replay(&self, _: Flow, gop: &Gop, _: Moment) {
            let seqs: Vec<u64> = gop.replay().map(|(media, _)| media.seq).collect();
            self.1.borrow_mut().push(format!("replay {seqs:?}"));
        }

        fn open(&self, _: TrackId) {
            self.1.borrow_mut().push("open".into());
        }

        fn interrupt(&self, _: Flow) {
            self.1.borrow_mut().push("interrupt".into());
        }

        fn forget(&self, _: TrackId) {
            self.1.borrow_mut().push("forget".into());
        }
    }

    impl Told {
        fn new(id: u64) -> Self {
            Self(ConnectionId(id), Rc::default())
        }

        fn takes(&self) -> Vec<String> {
            self.1.take()
        }
    }

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1_000)
    }

    fn fan() -> Fan<Told> {
        Fan::new(TrackId(1), Told::new(0), Arc::default())
    }

    fn give(fan: &mut Fan<Told>, seq: u64, key: bool, ms: u64) -> Delivery<Told> {
        let media = Media { track: TrackId(1), seq, pts: 0, key, rendition: Rendition::High, tid: 0 };
        fan.handle_frame(&media, &Bytes::from_static(b"x"), at(ms))
    }

    #[test]
    fn a_late_joiner_is_started_with_the_group_of_pictures_at_once_and_then_gets_what_comes() {
        let (mut fan, ann) = (fan(), Told::new(1));
        for seq in 3..6 {
            give(&mut fan, seq, seq == 3, seq);
        }
        assert_eq!(fan.attach(ann.clone(), at(6)).len(), 0, "nobody has to be asked for what is there");
        assert_eq!(ann.takes(), ["open", "replay [3, 4, 5]"]);
        assert_eq!(give(&mut fan, 6, false, 7).receivers.len(), 1);
        assert_eq!(fan.attach(ann.clone(), at(8)).len() + ann.takes().len(), 0, "only once");
        fan.detach(ann.id());
        assert_eq!(ann.takes(), ["forget"]);
        assert_eq!(give(&mut fan, 7, false, 9).receivers.len(), 0);
    }

    #[test]
    fn what_a_new_connection_of_the_publisher_sends_does_not_continue_what_was_sent() {
        let (mut fan, ann) = (fan(), Told::new(1));
        give(&mut fan, 3, true, 0);
        fan.attach(ann.clone(), at(1));
        ann.takes();
        let asks = fan.interrupt(Some(Told::new(7)), at(2));
        assert_eq!(ann.takes(), ["interrupt"]);
        assert!(matches!(&asks[..], [(to, Control::Keyframe { .. })] if to.id() == ConnectionId(7)));
        let bo = Told::new(2);
        fan.attach(bo.clone(), at(3));
        assert_eq!(bo.takes(), ["open", "replay []"], "nothing of the group that will not go on");
    }

    #[test]
    fn a_keyframe_comes_from_the_cache_while_that_is_fresh_and_is_asked_for_at_most_twice_a_second() {
        let (mut fan, ann, bo) = (fan(), Told::new(1), Told::new(2));
        give(&mut fan, 3, true, 0);
        fan.attach(ann.clone(), at(1));
        fan.attach(bo.clone(), at(1));
        ann.takes();
        let wanted =
            |fan: &mut Fan<Told>, who: &Told, ms| fan.want_key(Rendition::High, who, at(ms)).is_some();
        assert!(!wanted(&mut fan, &ann, 100));
        assert_eq!(ann.takes(), ["replay [3]"]);
        assert!(wanted(&mut fan, &ann, 1_000));
        assert!(!wanted(&mut fan, &bo, 1_499), "that is under way");
        assert!(wanted(&mut fan, &bo, 1_500));
        assert!(!wanted(&mut fan, &Told::new(9), 3_000), "who does not receive it makes nobody work");
    }
}
