//! One track: its access units wait for their time, are decoded on a thread of their own, and the
//! latest picture lies ready for whoever draws.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::about::{About, Warnings};
use super::figures::Figures;
use super::gaps::Gaps;
use super::sink::{Place, Sink};
use crate::media::{Latest, Picture};
use crate::playout::{Clock, Due, Queue};
use crate::time::{self, Moment};
use crate::video::decode::{Outcome, Recovery, Refused};
use crate::video::render::window::Bell;
use crate::wire::Rendition;

/// How long a notice about a decoder that was started again stays, if no picture comes.
const IDLE: Duration = Duration::from_secs(1);
/// A picture that was not shown because a later one was near is shown when none comes for this long.
const HELD: Duration = Duration::from_millis(60);

/// One access unit as it came.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Counts up by one within a rendition; `None` where nobody counts.
    pub seq: Option<u64>,
    /// Time of capture in microseconds, on the publisher's clock; `None` to show it as it comes.
    pub pts: Option<u64>,
    /// Which encoding.
    pub rendition: Rendition,
    /// Annex B; empty for one that was damaged on the way.
    pub data: Bytes,
}

/// A track. Access units go in with [`Track::put`]; its thread ends with it.
#[derive(Debug)]
pub struct Track {
    /// Its place in the order of all.
    pub(super) place: usize,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    about: Mutex<About>,
    inbox: Mutex<Inbox>,
    changed: Condvar,
    pictures: Latest<Fresh>,
    pub(super) figures: Mutex<Figures>,
    /// What is to be said instead of showing pictures.
    notice: Mutex<Option<String>>,
    /// Why none of it can ever be shown.
    refused: Mutex<Option<Refused>>,
    visible: AtomicBool,
    wants_key: AtomicBool,
}

/// A picture that nobody has seen yet.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) picture: Picture,
    /// Whether it comes from the present, so that its age is a latency.
    pub(super) live: bool,
}

#[derive(Debug, Default)]
struct Inbox {
    queue: Queue<Unit>,
    clock: Clock,
    gaps: Gaps,
    /// Something that later ones need was thrown away, and the decoder does not know yet.
    lost: bool,
    state: State,
}

#[derive(Debug, Default, PartialEq, Clone, Copy)]
enum State {
    #[default]
    Open,
    /// Nothing more comes; what waits is still decoded.
    Finished,
    /// What waits is of no use either.
    Abandoned,
}

impl Track {
    /// A track that is decoded by `recovery`; `bell` is rung for each picture. With the sink from `place`, all goes there as fast as
    /// it can and nothing is left out.
    pub(super) fn start(
        about: About,
        recovery: Recovery,
        bell: Bell,
        place: Option<Place>,
        warnings: Warnings,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            about: Mutex::new(about),
            inbox: Mutex::default(),
            changed: Condvar::new(),
            pictures: Latest::new(),
            figures: Mutex::default(),
            notice: Mutex::default(),
            refused: Mutex::default(),
            visible: AtomicBool::new(true),
            wants_key: AtomicBool::new(false),
        });
        let worker_shared = Arc::clone(&shared);
        let mut worker = Worker {
            shared: worker_shared,
            recovery,
            bell,
            sink: None,
            place,
            warnings,
            awake: false,
            held: None,
        };
        let thread = std::thread::Builder::new().name("decode".into()).spawn(move || worker.run())?;
        Ok(Self { place: 0, shared, thread: Some(thread) })
    }

    /// Takes in `unit`, which came at `now`. When too many wait already (the decoder hangs or is too
    /// slow), all of them are dropped and counted, and pictures go on at the next keyframe.
    pub fn put(&self, now: Moment, unit: Unit) {
        let mut inbox = self.shared.inbox();
        if inbox.queue.is_full() {
            let dropped = inbox.queue.len() as u64 + 1;
            inbox.queue = Queue::default();
            inbox.gaps.forget();
            inbox.lost = true;
            drop(inbox);
            lock(&self.shared.figures).drops += dropped;
            self.shared.wants_key.store(true, Ordering::Relaxed);
            return;
        }
        self.shared.admit(&mut inbox, now, unit, true);
        drop(inbox);
        self.shared.changed.notify_all();
    }

    /// An access unit arrived damaged: nothing is shown until a keyframe, and one is asked for.
    pub(super) fn lose(&self) {
        self.shared.inbox().lost = true;
        lock(&self.shared.figures).drops += 1;
        self.shared.wants_key.store(true, Ordering::Relaxed);
    }

    /// As [`put`](Self::put), but waits until there is room, for a source that can be made to wait; with
    /// `paced` off, it is decoded at once.
    pub fn put_waiting(&self, unit: Unit, paced: bool) {
        let mut inbox = self.shared.inbox();
        while inbox.queue.is_full() && inbox.state == State::Open {
            inbox = self.shared.changed.wait(inbox).unwrap_or_else(PoisonError::into_inner);
        }
        self.shared.admit(&mut inbox, time::now(), unit, paced);
        drop(inbox);
        self.shared.changed.notify_all();
    }

    /// The source begins anew with what a decoder needs first (docs/protocol.md 7.6), which has gaps.
    pub(super) fn expect_replay(&self) {
        let mut inbox = self.shared.inbox();
        inbox.gaps.forget();
        inbox.clock.expect_replay();
    }

    /// For how long nothing has come; `None` before the first.
    pub(super) fn age(&self, now: Moment) -> Option<Duration> {
        self.shared.inbox().clock.age(now)
    }

    /// Shows `picture`, which needs no decoding.
    pub fn show(&self, picture: Picture, bell: &Bell) {
        self.shared.inbox().clock.handle_arrival(time::now(), picture.captured.micros());
        lock(&self.shared.figures).decoded(time::now(), &picture, Duration::ZERO);
        self.shared.pictures.put(Fresh { picture, live: true });
        bell.ring();
    }

    /// Nothing more comes.
    pub fn finish(&self) {
        self.shared.inbox().state = State::Finished;
        self.shared.changed.notify_all();
    }

    /// Whether it was finished and all that waited has been decoded.
    pub fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Whether it is on the screen; what is not is not decoded.
    pub(super) fn set_visible(&self, visible: bool) {
        if self.shared.visible.swap(visible, Ordering::Relaxed) != visible {
            // Under the lock, so that its thread is not about to sleep when it is woken.
            drop(self.shared.inbox());
            self.shared.changed.notify_all();
        }
    }

    /// See [`set_visible`](Self::set_visible).
    pub(super) fn is_visible(&self) -> bool {
        self.shared.visible.load(Ordering::Relaxed)
    }

    /// Whether a keyframe should be asked for; asking takes the wish away.
    pub fn take_wish(&self) -> bool {
        self.shared.wants_key.swap(false, Ordering::Relaxed)
    }

    /// The newest picture that has not been taken.
    pub(super) fn take_picture(&self) -> Option<Fresh> {
        self.shared.pictures.try_take()
    }

    /// What is to be said about it, and for how long nothing has come.
    pub(super) fn notice(&self, now: Moment) -> (Option<String>, Option<Duration>) {
        let age = self.shared.inbox().clock.age(now);
        (lock(&self.shared.notice).clone(), age)
    }

    /// Why none of it can ever be shown.
    pub(super) fn refused(&self) -> Option<Refused> {
        lock(&self.shared.refused).clone()
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        self.shared.inbox().state = State::Abandoned;
        self.shared.changed.notify_all();
        // The thread is not waited for: its decoder may take two seconds to be found hanging.
    }
}

impl Shared {
    /// What is known about it.
    pub(super) fn about(&self) -> About {
        lock(&self.about).clone()
    }

    /// Something about it changed; its pictures go on. Whether that is news.
    pub(super) fn change(&self, about: About) -> bool {
        let mut known = lock(&self.about);
        let news = *known != about;
        *known = about;
        news
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.inbox)
    }

    fn admit(&self, inbox: &mut Inbox, now: Moment, unit: Unit, paced: bool) {
        let mut figures = lock(&self.figures);
        figures.came(now, unit.data.len());
        figures.drops += inbox.gaps.handle_arrival(now, &unit);
        let due = match unit.pts {
            Some(pts) if paced => inbox.clock.handle_arrival(now, pts),
            _ => {
                inbox.clock.handle_arrival(now, now.micros());
                Due { at: now, show: true, live: true }
            }
        };
        inbox.queue.push(due, unit.data.len(), unit);
    }
}

struct Worker {
    shared: Arc<Shared>,
    recovery: Recovery,
    bell: Bell,
    sink: Option<Sink>,
    place: Option<Place>,
    warnings: Warnings,
    /// Something has been decoded since it last rested, so that there may be a decoder.
    awake: bool,
    /// The newest picture, if it was not shown because a later one was near.
    held: Option<Fresh>,
}

/// What is to be done next.
enum Step {
    Unit {
        unit: Unit,
        show: bool,
        live: bool,
        /// Something before it was thrown away.
        after_loss: bool,
    },
    /// It is not on the screen any more: its decoder is of use to others.
    Rest,
    /// None has come after the picture that was held back.
    ShowHeld,
    End,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(place) = &self.place
            && let Some(sink) = self.sink.take()
        {
            *lock(place) = Some(sink);
        }
    }
}

impl Worker {
    fn run(&mut self) {
        loop {
            match self.next() {
                Step::End => break,
                Step::Rest => self.rest(),
                Step::ShowHeld => {
                    if let Some(held) = self.held.take() {
                        self.shared.pictures.put(held);
                        self.bell.ring();
                    }
                }
                Step::Unit { unit, show, live, after_loss } => self.unit(&unit, show, live, after_loss),
            }
        }
        self.bell.ring();
    }

    fn rest(&mut self) {
        self.recovery.rest();
        self.awake = false;
        self.held = None;
    }

    fn unit(&mut self, unit: &Unit, show: bool, live: bool, after_loss: bool) {
        self.take_sink();
        if after_loss || unit.data.is_empty() {
            self.recovery.lost();
        }
        if unit.data.is_empty() {
            self.want_key();
            return;
        }
        if let Some(sink) = &mut self.sink {
            sink.unit(unit);
            if !sink.wants_pictures() {
                return;
            }
        }
        // What is recorded is decoded whether it is drawn or not.
        if self.sink.is_none() && !self.shared.visible.load(Ordering::Relaxed) {
            self.rest();
            return;
        }
        self.awake = true;
        self.decode(unit, show, live);
    }

    /// The track before this one may still be at work when this one begins.
    fn take_sink(&mut self) {
        if self.sink.is_none()
            && let Some(place) = &self.place
            && let Some(mut sink) = lock(place).take()
        {
            sink.begin(&self.shared.about());
            self.sink = Some(sink);
        }
    }

    /// What is to be done next; waits for it.
    fn next(&self) -> Step {
        let mut inbox = self.shared.inbox();
        loop {
            if inbox.state == State::Abandoned {
                return Step::End;
            }
            if self.awake && self.sink.is_none() && !self.shared.visible.load(Ordering::Relaxed) {
                return Step::Rest;
            }
            let now = time::now();
            if let Some(ready) = inbox.queue.poll(now) {
                self.shared.changed.notify_all();
                let after_loss = std::mem::take(&mut inbox.lost);
                let show = ready.show || self.sink.is_some();
                return Step::Unit { unit: ready.unit, show, live: ready.live, after_loss };
            }
            let finished = inbox.state == State::Finished && inbox.queue.is_empty();
            if finished && self.held.is_some() {
                return Step::ShowHeld;
            }
            if finished {
                return Step::End;
            }
            let due = inbox.queue.deadline().map_or(IDLE, |at| at.since(now)).min(IDLE);
            let wait = if self.held.is_some() { due.min(HELD) } else { due };
            let (woken, waited) =
                self.shared.changed.wait_timeout(inbox, wait).unwrap_or_else(PoisonError::into_inner);
            inbox = woken;
            if waited.timed_out() && wait < due {
                return Step::ShowHeld;
            }
        }
    }

    fn decode(&mut self, unit: &Unit, show: bool, live: bool) {
        let began = time::now();
        let outcome = self.recovery.take(began, &unit.data);
        let now = time::now();
        match outcome {
            Outcome::Picture(picture) => {
                lock(&self.shared.figures).decoded(now, &picture, now.since(began));
                *lock(&self.shared.notice) = None;
                if let Some(sink) = &mut self.sink {
                    sink.picture(&picture);
                }
                let fresh = Fresh { picture, live };
                if show {
                    self.held = None;
                    self.shared.pictures.put(fresh);
                    self.bell.ring();
                } else {
                    self.held = Some(fresh);
                }
            }
            Outcome::Nothing => {}
            Outcome::AwaitKey => self.want_key(),
            Outcome::Damaged => {
                self.want_key();
                self.say("the stream is damaged, waiting for a whole picture");
            }
            Outcome::Restarted => {
                self.want_key();
                self.say("decoder restarted");
            }
            Outcome::Refused(refused) => {
                if refused.is_final() {
                    lock(&self.shared.refused).get_or_insert(refused.clone());
                } else {
                    self.want_key();
                }
                self.say(&refused.to_string());
                if let Some(sink) = &mut self.sink {
                    sink.refused(&refused);
                }
            }
        }
    }

    fn want_key(&self) {
        lock(&self.shared.figures).drops += 1;
        self.shared.wants_key.store(true, Ordering::Relaxed);
    }

    fn say(&self, words: &str) {
        let mut notice = lock(&self.shared.notice);
        if notice.as_deref() != Some(words) {
            let title = self.shared.about().title();
            if self.warnings.admit(time::now(), &title) {
                tracing::warn!(track = title, "{words}");
            }
            *notice = Some(words.to_owned());
            self.bell.ring();
        }
    }
}

/// A panic elsewhere leaves figures and notices that are still good enough to show.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
