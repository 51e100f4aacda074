//! A room with its connections: where what the room decides is carried out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::fan::Fan;
use super::outbox::Outbox;
use crate::id::{ConnectionId, RoomName, TrackId};
use crate::room::{Admitted, Join, Output, Room, Terms};
use crate::time::{self, Moment};
use crate::wire::control::Refusal;
use crate::wire::{Frame, Rendition};

/// One room of the server. The lock is for who comes, goes, publishes and subscribes; media frames
/// pass by it, through their [`Fan`].
#[derive(Debug)]
pub(super) struct Hall {
    state: Mutex<State>,
    /// The room's next timeout may have moved.
    changed: Notify,
    /// The source from which the room was made.
    pub(super) maker: IpAddr,
    /// Bytes in the caches of all tracks of the server.
    cached: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct State {
    room: Room,
    outboxes: HashMap<ConnectionId, Arc<Outbox>>,
    fans: HashMap<TrackId, Arc<Fan>>,
}

impl Hall {
    pub(super) fn new(
        name: RoomName,
        terms: Terms,
        maker: IpAddr,
        cached: Arc<AtomicUsize>,
        now: Moment,
    ) -> Self {
        let state =
            State { room: Room::new(name, terms, now), outboxes: HashMap::new(), fans: HashMap::new() };
        Self { state: Mutex::new(state), changed: Notify::new(), maker, cached }
    }

    /// Lets a connection in. `welcome` is sent before anything else reaches it.
    pub(super) fn join(
        &self,
        join: Join,
        outbox: &Arc<Outbox>,
        welcome: impl FnOnce(&Admitted),
    ) -> Result<Admitted, Refusal> {
        let now = time::now();
        let connection = join.connection;
        let mut state = self.state();
        let admitted = state.room.handle_join(join)?;
        state.outboxes.insert(connection, Arc::clone(outbox));
        welcome(&admitted);
        state.room.handle_welcomed(connection, now);
        self.carry_out(state, now);
        Ok(admitted)
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
        self.state().outboxes.remove(&connection);
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

    /// Whether the room may be removed: nobody has been here for its grace time.
    pub(super) fn is_over(&self) -> bool {
        self.state().room.is_over(time::now())
    }

    /// Watches the room's clock until it is over or `stop`.
    pub(super) async fn keep_time(&self, stop: &CancellationToken) {
        loop {
            let timeout = self.state().room.poll_timeout();
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
                    self.handle(Room::handle_timeout);
                    if self.is_over() {
                        return;
                    }
                }
            }
        }
    }

    /// What the room says is done in its order and under its lock, so that all connections see changes
    /// in the same order.
    fn carry_out(&self, mut state: MutexGuard<'_, State>, now: Moment) {
        while let Some(output) = state.room.poll_output() {
            let State { outboxes, fans, .. } = &mut *state;
            match output {
                Output::Send(to, operation) => {
                    if let Some(outbox) = outboxes.get(&to) {
                        outbox.send(&operation);
                    }
                }
                Output::Broadcast(operation) => {
                    let frame = Frame::control(&operation, time::wall());
                    for outbox in outboxes.values() {
                        outbox.send_bytes(frame.bytes().clone());
                    }
                }
                Output::Open(track, publisher) => {
                    if let Some(publisher) = outboxes.get(&publisher) {
                        info!(%track, "track opened");
                        let fan = Fan::new(track, Arc::clone(publisher), Arc::clone(&self.cached));
                        fans.insert(track, Arc::new(fan));
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
        drop(state);
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in one connection's task must not take the room from the others.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
