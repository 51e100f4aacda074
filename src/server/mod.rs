//! The server: accepts connections, seats them in rooms, relays.
//!
//! A connection is one task ([`connection`]) and an [`outbox`] through which everybody sends to it; a
//! room is a [`hall`] around the pure [`crate::room::Room`]; a track is a [`fan`] from its publisher to
//! its receivers. A frame's way: `Connection::read` -> `wire::Parser` -> `Fan::deliver` ->
//! [`outbox::broadcast`] -> the socket of each receiver, in one call and without another task unless
//! the receiver's socket is full.
//!
//! [`run`] returns when its token is cancelled and every connection has been said goodbye to, or
//! [`limits::DRAIN`] is over.

mod addresses;
mod connection;
pub mod depot;
mod fan;
mod fetcher;
mod gate;
mod hall;
mod keeping;
mod lines;
pub mod local;
mod outbox;
mod quality;
mod rooms;
mod shelf;
pub mod status;
pub mod store;

use std::collections::HashMap;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, field, info, info_span, warn};

pub use addresses::reachable;

use crate::id::{ConnectionId, RoomName, Secret};
use crate::limits;
use crate::net::tcp;
use crate::room::{Room, Terms};
use crate::time::{self, Moment};
use crate::wire::control::{Control, Refusal};
use crate::wire::{Frame, Header};
use connection::Connection;
use depot::{Depot, Reports};
use gate::{Gate, Ticket};
use hall::{Budget, Hall};
use lines::Lines;
use outbox::Outbox;
use store::{Commit, Commits, Keep, RoomKey, Store};

/// Is called with the header of every frame that a peer sends, before the server acts on it.
pub type Inspect = Arc<dyn Fn(&Header) + Send + Sync>;

/// What can change while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// What rooms allow that are opened from then on.
    pub terms: Terms,
    /// How much is kept of each room.
    pub keep: Keep,
}

/// How the server behaves.
#[derive(Default)]
pub struct Config {
    /// What rooms allow.
    pub terms: Terms,
    /// Files do not step back for pictures and sound; only to measure what that is worth.
    pub unyielding: bool,
    /// Where messages are kept, and what becomes of them; without it they live as long as their room.
    pub store: Option<(Store, Commits)>,
    /// Where files are kept, and what it tells; without it none are taken.
    pub depot: Option<(Depot, Reports)>,
    /// The Unix socket at which it answers the person who runs it ([`local`]).
    pub local: Option<(PathBuf, UnixListener)>,
    /// Settings that take the place of those before.
    pub changes: Option<tokio::sync::mpsc::Receiver<Settings>>,
    /// Watches what comes in (figures, tests).
    pub inspect: Option<Inspect>,
}

/// What all connections share.
struct Server {
    inspect: Option<Inspect>,
    /// Files do not step back.
    unyielding: bool,
    terms: Mutex<Terms>,
    store: Option<Store>,
    depot: Option<Depot>,
    /// Why nothing can be stored at present.
    failing: Mutex<Option<String>>,
    /// Random, in hex: tells clients that this is another life of the server.
    epoch: String,
    rooms: Mutex<HashMap<RoomName, Arc<Hall>>>,
    /// The same rooms by their place in the store.
    kept: Mutex<HashMap<RoomKey, Arc<Hall>>>,
    /// Rooms that were made and need their clock kept.
    new_rooms: tokio::sync::mpsc::Sender<(RoomName, Arc<Hall>)>,
    /// Memory that the rooms share.
    budget: Arc<Budget>,
    /// Who shares a line with whom.
    lines: Lines,
    refused: AtomicU64,
    started: Moment,
    gate: Arc<Gate>,
    refusals: Sparing,
    looks: Sparing,
}

/// What strangers can bring about as often as they like, and what must not fill the disk: the second in which it was
/// last logged, and how often in it.
#[derive(Default)]
struct Sparing(Mutex<(u64, u32)>);

/// What is logged of a kind in one second.
const LOGGED: u32 = 20;
/// Pause after an error of accept (out of descriptors, say), so that it is not asked in a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that are being told at the same time that there is no place; more are just closed.
const TURNED_AWAY: usize = 8;
/// Descriptors kept for the log, and for finding addresses.
const SPARE: usize = 4;
/// How long it may take to close.
const STORE_CLOSE: Duration = Duration::from_secs(1);
/// Rooms whose clocks wait to be kept: each is taken up at once, so few ever wait.
const NEW_ROOMS: usize = 64;

/// Serves on `listener` until `stop` is cancelled, then drains.
pub async fn run(listener: TcpListener, mut config: Config, stop: CancellationToken) -> std::io::Result<()> {
    let (new_rooms, mut made) = tokio::sync::mpsc::channel(NEW_ROOMS);
    let (store, commits) = config.store.take().unzip();
    let (depot, reports) = config.depot.take().unzip();
    let (local, mut changes) = (config.local.take(), config.changes.take());
    let gate = Arc::new(Gate::new(descriptor_budget()));
    let server = Arc::new(Server {
        unyielding: config.unyielding,
        inspect: config.inspect,
        terms: Mutex::new(config.terms),
        store: store.clone(),
        depot: depot.clone(),
        failing: Mutex::default(),
        kept: Mutex::default(),
        epoch: random_epoch()?,
        rooms: Mutex::default(),
        new_rooms,
        budget: Arc::default(),
        lines: Lines::default(),
        refused: AtomicU64::new(0),
        started: time::now(),
        gate: Arc::clone(&gate),
        refusals: Sparing::default(),
        looks: Sparing::default(),
    });
    let mut connections = JoinSet::new();
    let mut clocks = JoinSet::new();
    let mut turned_away = JoinSet::new();
    let mut last = 0;
    if let Some(commits) = commits {
        clocks.spawn(follow(Arc::clone(&server), commits));
    }
    if let Some(reports) = reports {
        clocks.spawn(follow_files(Arc::clone(&server), reports));
    }
    if let Some((socket, listener)) = local {
        let server = Arc::clone(&server);
        let answer = move |question| {
            let server = Arc::clone(&server);
            async move { server.answer(question).await }
        };
        clocks.spawn(local::serve(socket, listener, stop.clone(), answer));
    }
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(end) = connections.join_next() => report(end),
            Some(end) = clocks.join_next() => report(end),
            Some(end) = turned_away.join_next() => report(end),
            Some(settings) = next(&mut changes) => server.change(settings),
            Some((name, hall)) = made.recv() => {
                clocks.spawn(keep_room(Arc::clone(&server), name, hall, stop.clone()));
            }
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => match gate.admit(peer.ip()) {
                    Ok(ticket) => {
                        last += 1;
                        let span = info_span!("connection", id = last, %peer, room = field::Empty, member = field::Empty);
                        let serving = serve(Arc::clone(&server), socket, peer, ConnectionId(last), ticket, stop.clone());
                        connections.spawn(serving.instrument(span));
                    }
                    Err(refusal) => {
                        server.note_refused(&refusal);
                        if turned_away.len() < TURNED_AWAY {
                            turned_away.spawn(turn_away(socket, refusal));
                        }
                    }
                },
                Err(error) => {
                    warn!(%error, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    info!(connections = connections.len(), "stopping");
    let drained = tokio::time::timeout(limits::DRAIN, async {
        while let Some(end) = connections.join_next().await {
            report(end);
        }
    });
    if drained.await.is_err() {
        warn!(connections = connections.len(), "closed connections that did not take their goodbye in time");
    }
    if let Some(store) = store {
        // What was acknowledged is on disk already; this saves the rest.
        if tokio::time::timeout(STORE_CLOSE, store.close()).await.is_err() {
            warn!("the store did not close in time");
        }
    }
    if let Some(depot) = depot
        && tokio::time::timeout(STORE_CLOSE, depot.close()).await.is_err()
    {
        warn!("the files' index did not close in time");
    }
    clocks.shutdown().await;
    Ok(())
}

/// The next settings; never any where they cannot change.
async fn next(changes: &mut Option<tokio::sync::mpsc::Receiver<Settings>>) -> Option<Settings> {
    match changes {
        Some(changes) => changes.recv().await,
        None => std::future::pending().await,
    }
}

async fn serve(
    server: Arc<Server>,
    socket: TcpStream,
    peer: std::net::SocketAddr,
    id: ConnectionId,
    ticket: Ticket,
    stop: CancellationToken,
) {
    if let Err(error) = tcp::configure_media(&socket) {
        warn!(%error, "socket options");
    }
    let mut nonce = [0; 32];
    if let Err(error) = getrandom::fill(&mut nonce) {
        return error!(%error, "the server has no randomness");
    }
    let now = time::now();
    let outbox = Arc::new(Outbox::new(id, socket, now));
    Connection::new(server, outbox, ticket, Secret(nonce), now).run(peer, stop).await;
}

/// Tells the rooms what has become of their messages.
async fn follow(server: Arc<Server>, mut commits: Commits) {
    while let Some(commit) = commits.next().await {
        match commit {
            Commit::Stored { room, through } => {
                server.kept(room, |room, _| room.handle_stored(through));
            }
            Commit::Reserved { room, through } => {
                server.kept(room, |room, _| room.handle_reserved(through));
            }
            Commit::Failing(why) => {
                error!(why, "messages cannot be stored; they are only relayed");
                server.note_storage(Some(format!("messages are not stored now: {why}")));
            }
            Commit::Working => {
                info!("messages are stored again");
                server.note_storage(None);
            }
        }
    }
}

/// Tells the rooms what has become of their offers.
async fn follow_files(server: Arc<Server>, mut reports: Reports) {
    while let Some(report) = reports.next().await {
        let hall = server.rooms().get(&report.room).cloned();
        if let Some(hall) = hall {
            hall.handle_news(report.news);
        }
    }
}

/// Keeps a room's clock until the room is over and removes it then.
async fn keep_room(server: Arc<Server>, name: RoomName, hall: Arc<Hall>, stop: CancellationToken) {
    info!(room = %name, "room opened");
    loop {
        hall.keep_time(&stop).await;
        if stop.is_cancelled() {
            return;
        }
        let mut rooms = server.rooms();
        // Somebody may have come in the meantime; joins hold the same lock.
        if hall.is_over() {
            // It may have been removed by command, and another one made in its place.
            if !rooms.get(&name).is_some_and(|current| Arc::ptr_eq(current, &hall)) {
                return;
            }
            rooms.remove(&name);
            if let Some(keeping) = &hall.keeping {
                lock(&server.kept).remove(&keeping.room());
            }
            hall.close();
            info!(room = %name, "room closed");
            return;
        }
    }
}

/// A task ended: a panic in it is a fault of ours, which ended one connection and nothing else.
fn report(end: Result<(), tokio::task::JoinError>) {
    if let Err(fault) = end {
        error!(%fault, "a connection's task failed; the others go on");
    }
}

/// Tells a connection for which there is no place why, and lets it read that: closing with its hello
/// unread would reset it.
async fn turn_away(socket: TcpStream, refusal: Refusal) {
    let frame = Frame::control(&Control::Error(refusal), time::wall());
    if socket.try_write(frame.bytes()).is_ok() {
        let _ = tokio::time::timeout(connection::LINGER, connection::read_to_end(&socket)).await;
    }
}

impl Server {
    /// Other settings are in force.
    fn change(&self, settings: Settings) {
        let Settings { terms, keep } = settings;
        *lock(&self.terms) = terms;
        if let Some(store) = &self.store {
            store.change(keep);
        }
        info!(
            max_members = terms.max_members,
            grace = ?terms.grace,
            room_grace = ?terms.room_grace,
            history = keep.messages,
            history_age = ?keep.age,
            "other settings are in force"
        );
    }

    fn terms(&self) -> Terms {
        *lock(&self.terms)
    }

    /// Gives an event to the room that has this place in the store.
    fn kept(&self, room: RoomKey, event: impl FnOnce(&mut Room, Moment)) {
        let hall = lock(&self.kept).get(&room).cloned();
        if let Some(hall) = hall {
            hall.handle(event);
        }
    }

    /// The store has failed, or works again.
    fn note_storage(&self, failing: Option<String>) {
        *lock(&self.failing) = failing.clone();
        let halls: Vec<Arc<Hall>> = lock(&self.kept).values().cloned().collect();
        for hall in halls {
            let why = failing.as_deref().unwrap_or_default();
            hall.handle(|room, _| room.handle_storage(failing.is_none(), why));
        }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<RoomName, Arc<Hall>>> {
        lock(&self.rooms)
    }

    /// Counts a refusal, and logs it unless there are too many.
    fn note_refused(&self, refusal: &Refusal) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if self.may_log_refusal() {
            info!(code = refusal.code.as_str(), reason = refusal.message, "refused");
        }
    }

    /// A connection that was admitted is ended.
    fn note_closed(&self, refusal: &Refusal) {
        if self.may_log_refusal() {
            info!(code = refusal.code.as_str(), reason = refusal.message, "closed");
        }
    }

    /// Whether one more refusal may be logged in this second.
    fn may_log_refusal(&self) -> bool {
        let (may, suppressed) = self.refusals.next(time::now());
        if suppressed > 0 {
            info!(suppressed, total = self.refused.load(Ordering::Relaxed), "more refusals");
        }
        may
    }

    /// Whether one more look may be logged in this second.
    fn may_log_look(&self) -> bool {
        let (may, suppressed) = self.looks.next(time::now());
        if suppressed > 0 {
            info!(suppressed, "more looks");
        }
        may
    }
}

impl Sparing {
    /// Whether it may be logged at `now`, and how often it was not in the last second in which it happened.
    fn next(&self, now: Moment) -> (bool, u32) {
        let second = now.micros() / 1_000_000;
        let mut log = lock(&self.0);
        let mut suppressed = 0;
        if log.0 != second {
            suppressed = log.1.saturating_sub(LOGGED);
            *log = (second, 0);
        }
        log.1 = log.1.saturating_add(1);
        (log.1 <= LOGGED, suppressed)
    }
}

/// A panic in one task must not take what is shared from the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn random_epoch() -> std::io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(crate::id::hex(&bytes))
}

/// How many connections this process may hold: [`limits::DESCRIPTORS`] of its descriptors, and not
/// those that it needs itself, after raising their number as far as it may.
fn descriptor_budget() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let most = getrlimit(Resource::Nofile).current.unwrap_or(1_000_000);
    let open = std::fs::read_dir("/proc/self/fd").map_or(16, Iterator::count);
    let free = (most as usize).saturating_sub(open + TURNED_AWAY + SPARE);
    free.min((most as f64 * limits::DESCRIPTORS) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_by_its_number() {
        let looks = Sparing::default();
        let at = |second: u64| Moment::from_micros(second * 1_000_000);
        let logged = (0..1_000).filter(|_| looks.next(at(1)).0).count();
        assert_eq!(logged, LOGGED as usize);
        assert_eq!(looks.next(at(2)), (true, 1_000 - LOGGED));
        assert_eq!(looks.next(at(3)), (true, 0));
    }
}
