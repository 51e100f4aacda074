//! A room with its connections: where what the room decides is carried out.

mod files;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::depot::Depot;
use super::fan::Fan;
use super::keeping::Keeping;
use super::outbox::Outbox;
use super::shelf::Shelf;
use super::status;
use crate::id::{ConnectionId, PublicKey, Secret, TrackId};
use crate::limits;
use crate::room::{Admitted, Fetch, Join, Output, Room};
use crate::time::{self, Moment};
use crate::wire::control::{Control, Refusal};
use crate::wire::{Frame, Rendition};

/// One room of the server. The lock is for who comes, goes, publishes, subscribes and says something; media
/// frames pass by it, through their [`Fan`].
#[derive(Debug)]
pub(super) struct Hall {
    state: Mutex<State>,
    /// The room's next timeout has moved, or the store is to be asked.
    changed: Notify,
    /// Something was added that is to be written with what follows.
    unwritten: Notify,
    /// The source from which the room was made, or from which the first came in; nobody has where it was only opened
    /// to be looked at.
    maker: OnceLock<IpAddr>,
    /// What has become of the room's password.
    password: Option<Secret<32>>,
    /// Where its messages are kept.
    pub(super) keeping: Option<Keeping>,
    /// Where its offers are kept.
    depot: Option<Depot>,
    budget: Arc<Budget>,
}

/// How a room is.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) members: usize,
    pub(super) sessions: usize,
    pub(super) last_message: u64,
    pub(super) offers: usize,
    pub(super) offer_bytes: u64,
    pub(super) max_members: usize,
    pub(super) locked: bool,
    pub(super) password: bool,
    pub(super) owner: Option<PublicKey>,
    pub(super) queue: status::Queue,
    pub(super) dropped: status::Dropped,
    /// Each with its frames and bytes so far.
    pub(super) tracks: Vec<(status::Track, u64, u64)>,
}

/// What is said to everybody at once is put together until it is so many bytes. When a thousand members come, a
/// thousand changes go to each of them: one by one they would be a million entries in queues.
const SAID_TOGETHER: usize = 64 * 1024;

/// Memory that the rooms of a server share.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// Bytes in the caches of all tracks.
    pub(super) pictures: Arc<AtomicUsize>,
    /// Bytes in the logs of all rooms.
    pub(super) messages: AtomicUsize,
}

#[derive(Debug)]
struct State {
    room: Room,
    shelf: Shelf,
    outboxes: HashMap<ConnectionId, Arc<Outbox>>,
    fans: HashMap<TrackId, Arc<Fan>>,
    /// Connections to which something was added that is not written yet.
    dirty: Vec<Arc<Outbox>>,
    /// When that was last done.
    written: Moment,
    /// When the room's clock will look next, if at all.
    alarm: Option<Moment>,
    /// What the store is to be asked, for whom. At most one for each connection.
    fetches: VecDeque<(ConnectionId, Fetch, Option<PublicKey>)>,
    /// Bytes of the log that are in the budget.
    log_bytes: usize,
}

impl State {
    /// When the room or its offers have something to do by themselves.
    fn poll_timeout(&self) -> Option<Moment> {
        self.room.poll_timeout().into_iter().chain(self.shelf.poll_timeout()).min()
    }

    /// Adds frames to what waits for everybody.
    fn tell_all(&mut self, frames: &Bytes) {
        if frames.is_empty() {
            return;
        }
        let Self { outboxes, dirty, .. } = self;
        for outbox in outboxes.values() {
            if outbox.append(frames.clone()) {
                dirty.push(Arc::clone(outbox));
            }
        }
    }
}

impl Hall {
    pub(super) fn new(
        (room, shelf): (Room, Shelf),
        maker: Option<IpAddr>,
        password: Option<Secret<32>>,
        keeping: Option<Keeping>,
        depot: Option<Depot>,
        budget: Arc<Budget>,
    ) -> Self {
        let state = State {
            room,
            shelf,
            outboxes: HashMap::new(),
            fans: HashMap::new(),
            dirty: Vec::new(),
            written: Moment::default(),
            alarm: None,
            fetches: VecDeque::new(),
            log_bytes: 0,
        };
        let (changed, unwritten) = (Notify::new(), Notify::new());
        let maker = maker.map_or_else(OnceLock::new, OnceLock::from);
        Self { state: Mutex::new(state), changed, unwritten, maker, password, keeping, depot, budget }
    }

    /// What has become of the room's password.
    pub(super) fn password(&self) -> Option<&Secret<32>> {
        self.password.as_ref()
    }

    /// The source that the room counts for; none where nobody has come in yet.
    pub(super) fn maker(&self) -> Option<IpAddr> {
        self.maker.get().copied()
    }

    /// Somebody has come in from `source`.
    pub(super) fn handle_entered(&self, source: IpAddr) {
        // Whoever came before has made it.
        let _ = self.maker.set(source);
    }

    /// Lets a connection in. `welcome` is sent before anything else reaches it.
    pub(super) fn join(
        &self,
        join: Join,
        outbox: &Arc<Outbox>,
        welcome: impl FnOnce(&Admitted),
    ) -> Result<Admitted, Refusal> {
        let now = time::now();
        let (connection, messages) = (join.connection, join.messages);
        let mut state = self.state();
        let admitted = state.room.handle_join(join, now)?;
        state.outboxes.insert(connection, Arc::clone(outbox));
        welcome(&admitted);
        state.room.handle_welcomed(connection, messages, now);
        self.carry_out(state, now);
        Ok(admitted)
    }

    /// Tells whoever holds `key`, or a guest, how the room is and what is offered in it, and lets nobody in.
    pub(super) fn look(
        &self,
        key: Option<PublicKey>,
        offers: bool,
        outbox: &Arc<Outbox>,
    ) -> Result<(), Refusal> {
        let now = time::now();
        let state = self.state();
        let parts = state.room.look(key, now)?;
        let offered = offers.then(|| state.shelf.look(outbox.id, key, &state.room, now));
        // Those who are in the room do not wait while it is put into words for a stranger.
        drop(state);
        let wall = time::wall();
        for part in parts {
            outbox.append(Frame::control(&Control::State(part), wall).bytes().clone());
        }
        for frame in files::seen(offered.unwrap_or_default()) {
            outbox.append(frame);
        }
        outbox.flush();
        Ok(())
    }

    /// Gives an event to the room and does what it says.
    pub(super) fn handle(&self, event: impl FnOnce(&mut Room, Moment)) {
        let now = time::now();
        let mut state = self.state();
        event(&mut state.room, now);
        self.carry_out(state, now);
    }

    /// A connection is gone, on purpose or not.
    pub(super) fn part(&self, connection: ConnectionId, on_purpose: bool) {
        self.handle(|room, now| match on_purpose {
            true => room.handle_goodbye(connection, now),
            false => room.handle_broken(connection, now),
        });
        let now = time::now();
        let mut state = self.state();
        state.outboxes.remove(&connection);
        let State { shelf, room, .. } = &mut *state;
        shelf.handle_gone(connection, room, now);
        self.carry_out(state, now);
    }

    /// A connection has taken what waited for it.
    pub(super) fn drained(&self, connection: ConnectionId) {
        let mut state = self.state();
        if state.room.behind().any(|behind| behind == connection) {
            state.room.handle_drained(connection);
            self.carry_out(state, time::now());
        }
    }

    /// The fan of a track, if `connection` publishes it.
    pub(super) fn fan_of(&self, connection: ConnectionId, track: TrackId) -> Option<Arc<Fan>> {
        let state = self.state();
        state.room.publishes(connection, track).then(|| state.fans.get(&track).cloned())?
    }

    /// A receiver needs a keyframe of a track.
    pub(super) fn want_key(&self, track: TrackId, rendition: Rendition, receiver: &Arc<Outbox>) {
        let fan = self.state().fans.get(&track).cloned();
        if let Some(fan) = fan {
            fan.want_key(rendition, receiver, time::now());
        }
    }

    /// Passes a frame of unknown type on to the others.
    pub(super) fn pass_on(&self, from: ConnectionId, bytes: &Bytes) {
        let others: Vec<Arc<Outbox>> =
            self.state().outboxes.values().filter(|o| o.id != from).cloned().collect();
        for outbox in others {
            outbox.send_optional(bytes.clone());
        }
    }

    /// The room is over.
    pub(super) fn close(&self) {
        let state = self.state();
        self.budget.messages.fetch_sub(state.log_bytes, Ordering::Relaxed);
        if let Some(keeping) = &self.keeping {
            // Whose files are there must not become somebody else's.
            keeping.release(state.shelf.len() > 0);
        }
        if let Some(depot) = &self.depot {
            depot.release(state.room.name());
        }
    }

    /// How the room is, with the totals that rates are made of.
    pub(super) fn figures(&self) -> Figures {
        let now = time::now();
        let state = self.state();
        let mut figures = Figures {
            members: state.room.members(),
            sessions: state.room.sessions(),
            last_message: state.room.last_message(),
            offers: state.shelf.len(),
            offer_bytes: state.shelf.bytes(),
            max_members: state.room.max_members(),
            locked: state.room.is_locked(),
            owner: state.room.owner(),
            password: self.password.is_some(),
            ..Figures::default()
        };
        for outbox in state.outboxes.values() {
            let queue = outbox.queue();
            let drops = queue.drops();
            figures.queue.bytes += queue.bytes();
            figures.queue.oldest_ms = figures.queue.oldest_ms.max(queue.age(now).as_millis() as u64);
            figures.dropped.layer += drops.layer;
            figures.dropped.group += drops.group;
            figures.dropped.no_key += drops.no_key;
        }
        for (track, member, source) in state.room.published() {
            let Some(fan) = state.fans.get(&track) else { continue };
            let (frames, bytes, receivers) = fan.figures();
            let (member, label) = (member.to_string(), source.label.clone());
            figures.tracks.push((
                status::Track { track: track.0, member, label, receivers, ..status::Track::default() },
                frames,
                bytes,
            ));
        }
        figures
    }

    /// Whether the room may be removed: nobody has been here for its grace time.
    pub(super) fn is_over(&self) -> bool {
        self.state().room.is_over(time::now())
    }

    /// Asks the store for what readers are missing.
    async fn fetch(&self) {
        while let Some((connection, fetch, reader)) = self.next_fetch() {
            let Some(keeping) = &self.keeping else { continue };
            match fetch {
                Fetch::Start(count, through) => {
                    let after = keeping.start(count, through, reader).await;
                    self.handle(|room, _| room.handle_start(connection, after));
                }
                Fetch::Older(older) => {
                    let found = keeping.older(older.before, older.count, reader).await;
                    self.handle(|room, _| room.handle_found_older(connection, older, found.as_deref()));
                }
                Fetch::Page(missing) => {
                    let found = keeping.page(missing, reader).await;
                    self.handle(|room, _| room.handle_fetched(connection, missing, found.as_ref()));
                }
            }
        }
    }

    fn next_fetch(&self) -> Option<(ConnectionId, Fetch, Option<PublicKey>)> {
        self.state().fetches.pop_front()
    }

    /// Watches the room's clock, fetches what its readers miss and writes what was gathered, until the room
    /// is over or `stop`.
    pub(super) async fn keep_time(&self, stop: &CancellationToken) {
        tokio::select! {
            // The store may take its time to answer, and what was gathered must not wait for it.
            () = self.write_gathered() => {}
            () = self.watch_clock(stop) => {}
        }
    }

    /// Writes what [`Self::carry_out`] left to be written, when it is time. Never ends.
    async fn write_gathered(&self) {
        loop {
            self.unwritten.notified().await;
            let due = self.state().written + limits::GATHER;
            tokio::time::sleep(due.since(time::now())).await;
            self.carry_out(self.state(), time::now());
        }
    }

    async fn watch_clock(&self, stop: &CancellationToken) {
        loop {
            self.fetch().await;
            let timeout = {
                let mut state = self.state();
                state.alarm = state.poll_timeout();
                state.alarm
            };
            let now = time::now();
            let wait = async {
                match timeout {
                    Some(at) => tokio::time::sleep(at.since(now)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
                () = wait => {
                    self.handle_timeout();
                    if self.is_over() {
                        return;
                    }
                }
            }
        }
    }

    fn handle_timeout(&self) {
        let now = time::now();
        let mut state = self.state();
        state.room.handle_timeout(now);
        let State { shelf, room, .. } = &mut *state;
        shelf.handle_timeout(room, now);
        self.carry_out(state, now);
    }

    /// What the room says is done in its order and under its lock, so that all connections see changes
    /// in the same order.
    fn carry_out(&self, mut state: MutexGuard<'_, State>, now: Moment) {
        loop {
            self.obey_all(&mut state, now);
            self.oblige(&mut state);
            let State { room, outboxes, .. } = &*state;
            let takes = |id: &ConnectionId| outboxes.get(id).is_some_and(|outbox| outbox.is_empty());
            let catching_up = room.behind().any(|id| takes(&id));
            if !catching_up && now.since(state.written) < limits::GATHER {
                break;
            }
            let dirty = std::mem::take(&mut state.dirty);
            if !dirty.is_empty() {
                state.written = now;
                dirty.iter().for_each(|outbox| outbox.flush());
            }
            // Who has taken everything at once is given more of what it missed.
            let State { room, outboxes, .. } = &mut *state;
            let ready = |id: &ConnectionId| outboxes.get(id).is_some_and(|o| o.is_empty() && !o.is_ending());
            let ready: Vec<ConnectionId> = room.behind().filter(ready).collect();
            if ready.is_empty() {
                break;
            }
            ready.into_iter().for_each(|connection| room.handle_drained(connection));
        }
        self.account(&mut state);
        let unwritten = !state.dirty.is_empty();
        // Waking the clock costs more than looking whether it would be for nothing.
        let sooner = state.poll_timeout().is_some_and(|at| state.alarm.is_none_or(|alarm| at < alarm));
        let changed = sooner || !state.fetches.is_empty();
        drop(state);
        if unwritten {
            self.unwritten.notify_one();
        }
        if changed {
            self.changed.notify_one();
        }
    }

    fn obey_all(&self, state: &mut State, now: Moment) {
        let mut said = BytesMut::new();
        while let Some(output) = state.room.poll_output() {
            let goes_on = matches!(output, Output::Broadcast(_)) && said.len() < SAID_TOGETHER;
            if !goes_on {
                state.tell_all(&said.split().freeze());
            }
            self.obey(state, output, &mut said, now);
        }
        state.tell_all(&said.freeze());
    }

    /// What is for everybody is put behind `said`.
    fn obey(&self, state: &mut State, output: Output, said: &mut BytesMut, now: Moment) {
        let State { room, outboxes, fans, dirty, fetches, .. } = state;
        let mut add = |outbox: &Arc<Outbox>, bytes: Bytes| {
            if outbox.append(bytes) {
                dirty.push(Arc::clone(outbox));
            }
        };
        match output {
            Output::Send(to, operation) => {
                if let Some(outbox) = outboxes.get(&to) {
                    add(outbox, Frame::control(&operation, time::wall()).bytes().clone());
                }
            }
            Output::Broadcast(operation) => {
                said.extend_from_slice(Frame::control(&operation, time::wall()).bytes());
            }
            Output::Relay(frame, to) => {
                let receivers = to.iter().filter_map(|id| outboxes.get(id));
                receivers.for_each(|outbox| add(outbox, frame.clone()));
            }
            Output::Store(entry) => {
                let seq = entry.seq;
                if !self.keeping.as_ref().is_some_and(|keeping| keeping.store(entry)) {
                    room.handle_unstorable(seq);
                }
            }
            Output::Fetch(connection, fetch, reader) => fetches.push_back((connection, fetch, reader)),
            Output::Keep(settings) => {
                if let Some(keeping) = &self.keeping {
                    keeping.keep(settings);
                }
            }
            Output::Open(track, publisher) => {
                if let Some(publisher) = outboxes.get(&publisher) {
                    info!(%track, "track opened");
                    let cached = Arc::clone(&self.budget.pictures);
                    fans.insert(track, Arc::new(Fan::new(track, Arc::clone(publisher), cached)));
                }
            }
            Output::Interrupt(track, publisher) => {
                if let Some(fan) = fans.get(&track) {
                    fan.interrupt(publisher.and_then(|id| outboxes.get(&id).cloned()), now);
                }
            }
            Output::Shut(track) => {
                if let Some(fan) = fans.remove(&track) {
                    info!(%track, frames = fan.frames(), "track ended");
                    fan.shut();
                }
            }
            Output::Attach(track, receiver) => {
                if let (Some(fan), Some(outbox)) = (fans.get(&track), outboxes.get(&receiver)) {
                    debug!(%track, connection = %receiver, "subscribed");
                    // Its pictures must not stand before what was said earlier.
                    outbox.flush();
                    fan.attach(Arc::clone(outbox), now);
                }
            }
            Output::Detach(track, receiver) => {
                if let Some(fan) = fans.get(&track) {
                    fan.detach(receiver);
                }
            }
            Output::Close(connection, refusal) => {
                if let Some(outbox) = outboxes.remove(&connection) {
                    outbox.refuse(refusal);
                }
            }
        }
    }

    /// Keeps the books of [`limits::LOGS_BYTES`]: a log that makes it too much gives up its older half.
    fn account(&self, state: &mut State) {
        let bytes = state.room.log_bytes();
        if bytes == state.log_bytes {
            return;
        }
        let messages = &self.budget.messages;
        messages.fetch_sub(state.log_bytes, Ordering::Relaxed);
        state.log_bytes = bytes;
        if messages.fetch_add(bytes, Ordering::Relaxed) + bytes > limits::LOGS_BYTES {
            state.room.shrink_log();
            state.log_bytes = state.room.log_bytes();
            messages.fetch_sub(bytes - state.log_bytes, Ordering::Relaxed);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in one connection's task must not take the room from the others.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
