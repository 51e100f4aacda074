//! The server: accepts connections, seats them in rooms, relays.
//!
//! A connection is one task ([`connection`]) and an [`outbox`] through which everybody sends to it; a
//! room is a [`hall`] around the pure [`crate::room::Room`]; a track is a [`fan`] from its publisher to
//! its receivers. A frame's way: `Connection::read` -> `wire::Parser` -> `Fan::deliver` ->
//! `Outbox::send_media` of each receiver -> its socket, in one call and without another task unless
//! the receiver's socket is full.
//!
//! [`run`] returns when its token is cancelled and every connection has been said goodbye to, or
//! [`limits::DRAIN`] is over.

mod addresses;
mod connection;
mod fan;
mod gate;
mod hall;
mod outbox;
pub mod store;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, field, info, info_span, warn};

pub use addresses::reachable;

use crate::id::{ConnectionId, RoomName};
use crate::limits;
use crate::net::tcp;
use crate::room::{Admitted, Join, Terms};
use crate::time;
use crate::wire::control::{Control, Refusal};
use crate::wire::{Code, Frame, Header};
use connection::Connection;
use gate::{Gate, Ticket};
use hall::Hall;
use outbox::Outbox;

/// Is called with the header of every frame that a peer sends, before the server acts on it.
pub type Inspect = Arc<dyn Fn(&Header) + Send + Sync>;

/// How the server behaves.
#[derive(Clone, Default)]
pub struct Config {
    /// What rooms allow.
    pub terms: Terms,
    /// Watches what comes in (figures, tests).
    pub inspect: Option<Inspect>,
}

/// What all connections share.
struct Server {
    config: Config,
    /// Random, in hex: tells clients that this is another life of the server.
    epoch: String,
    rooms: Mutex<HashMap<RoomName, Arc<Hall>>>,
    /// Rooms that were made and need their clock kept.
    new_rooms: tokio::sync::mpsc::Sender<(RoomName, Arc<Hall>)>,
    /// Bytes in the caches of all tracks.
    cached: Arc<AtomicUsize>,
    refused: AtomicU64,
    /// The second in which refusals were last logged, and how many in it.
    refusal_log: Mutex<(u64, u32)>,
}

/// Refusals that are logged in one second; a flood of them must not fill the disk.
const REFUSALS_LOGGED: u32 = 20;
/// Pause after an error of accept (out of descriptors, say), so that it is not asked in a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that are being told at the same time that there is no place; more are just closed.
const TURNED_AWAY: usize = 8;
/// Descriptors kept for the log, and for finding addresses.
const SPARE: usize = 4;
/// Rooms whose clocks wait to be kept: each is taken up at once, so few ever wait.
const NEW_ROOMS: usize = 64;

/// Serves on `listener` until `stop` is cancelled, then drains.
pub async fn run(listener: TcpListener, config: Config, stop: CancellationToken) -> std::io::Result<()> {
    let (new_rooms, mut made) = tokio::sync::mpsc::channel(NEW_ROOMS);
    let server = Arc::new(Server {
        config,
        epoch: random_epoch()?,
        rooms: Mutex::default(),
        new_rooms,
        cached: Arc::default(),
        refused: AtomicU64::new(0),
        refusal_log: Mutex::default(),
    });
    let gate = Arc::new(Gate::new(descriptor_budget()));
    let mut connections = JoinSet::new();
    let mut clocks = JoinSet::new();
    let mut turned_away = JoinSet::new();
    let mut last = 0;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(end) = connections.join_next() => report(end),
            Some(end) = clocks.join_next() => report(end),
            Some(end) = turned_away.join_next() => report(end),
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
        while clocks.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        warn!(connections = connections.len(), "closed connections that did not take their goodbye in time");
    }
    Ok(())
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
    let now = time::now();
    let outbox = Arc::new(Outbox::new(id, socket, now));
    Connection::new(server, outbox, ticket, now).run(peer, stop).await;
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
            rooms.remove(&name);
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
    /// Seats a connection in a room, which is made where there is none.
    fn join(
        &self,
        name: &RoomName,
        join: Join,
        outbox: &Arc<Outbox>,
        welcome: impl FnOnce(&Admitted),
    ) -> Result<(Arc<Hall>, Admitted), Refusal> {
        let from = outbox.socket.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip());
        let mut rooms = self.rooms();
        if let Some(hall) = rooms.get(name) {
            let admitted = hall.join(join, outbox, welcome)?;
            return Ok((Arc::clone(hall), admitted));
        }
        let from = gate::source(from);
        let made_here = rooms.values().filter(|hall| hall.maker == from).count();
        if rooms.len() >= limits::ROOMS || made_here >= limits::ROOMS_PER_ADDRESS {
            return Err(Refusal::new(Code::Full, "no more rooms can be made from here now"));
        }
        let Ok(clock) = self.new_rooms.try_reserve() else {
            let mut refusal = Refusal::new(Code::Full, "too many rooms are being made at once");
            refusal.retry_after_ms = Some(500);
            return Err(refusal);
        };
        let cached = Arc::clone(&self.cached);
        let hall = Arc::new(Hall::new(name.clone(), self.config.terms, from, cached, time::now()));
        let admitted = hall.join(join, outbox, welcome)?;
        clock.send((name.clone(), Arc::clone(&hall)));
        rooms.insert(name.clone(), Arc::clone(&hall));
        Ok((hall, admitted))
    }

    fn rooms(&self) -> std::sync::MutexGuard<'_, HashMap<RoomName, Arc<Hall>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal, and logs it unless there are too many.
    fn note_refused(&self, refusal: &Refusal) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if self.may_log_refusal() {
            info!(code = refusal.code.as_str(), reason = refusal.message, "refused");
        }
    }

    /// Whether one more refusal may be logged in this second.
    fn may_log_refusal(&self) -> bool {
        let second = time::now().micros() / 1_000_000;
        let mut log = self.refusal_log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.0 != second {
            let suppressed = log.1.saturating_sub(REFUSALS_LOGGED);
            *log = (second, 0);
            if suppressed > 0 {
                info!(suppressed, total = self.refused.load(Ordering::Relaxed), "more refusals");
            }
        }
        log.1 += 1;
        log.1 <= REFUSALS_LOGGED
    }
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
