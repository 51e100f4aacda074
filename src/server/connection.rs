//! One connection: from its first byte to its last. How it comes in is in [`hello`], its files are in [`files`].

mod files;
mod hello;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use self::files::{files_begin, room_for, serve_next};
use super::Server;
use super::depot::{self, Stock};
use super::fan::Fan;
use super::fetcher::Fetcher;
use super::gate::Ticket;
use super::hall::Hall;
use super::outbox::Outbox;
use super::quality::Observer;
use crate::id::{ConnectionId, Nick, OfferNumber, RoomName, Secret, TrackId};
use crate::limits;
use crate::net::tcp;
use crate::room::Transit;
use crate::session::Peer;
use crate::session::peer::Demand;
use crate::time::{self, Moment};
use crate::wire::control::{Control, Goodbye, Hello, Refusal};
use crate::wire::{Code, Frame, Header};

/// How long a connection that ends may take to take what waits for it, and to end its side. The
/// peer's last bytes are read in this time: closing with bytes unread would reset the connection and
/// destroy the reason that was just written.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// While files step back, it is looked this often whether they still have to.
const YIELD_LOOK: Duration = Duration::from_millis(20);

/// A fetched piece is sent when less than this waits for the connection.
const AHEAD: usize = 256 * 1024;

/// The receiving half of a connection, and its timers: carries out what its [`Peer`] asks for. Runs as
/// one task; when it returns or panics the member leaves the room.
pub(super) struct Connection {
    server: Arc<Server>,
    outbox: Arc<Outbox>,
    peer: Peer,
    /// What the peer's heartbeat knows of [`Outbox::sent`].
    sent: u64,
    seat: Option<Seat>,
    ticket: Ticket,
    /// Tracks that this connection publishes, as far as it has sent frames of them.
    fans: Vec<(TrackId, Arc<Fan>, Transit)>,
    /// It wants to join; what it sent behind that waits.
    joining: Option<Wish>,
    /// Offers that this connection uploads, as far as it has sent chunks of them.
    uploads: Vec<(OfferNumber, Arc<Stock>)>,
    /// What it may have on its way to disk.
    share: Arc<Semaphore>,
    /// A chunk for which there was no room; nothing is read until there is.
    held: Option<(Arc<Stock>, Frame)>,
    /// What it has asked to be sent of offers.
    fetcher: Fetcher,
    /// It sends or takes chunks: the kernel may hold more.
    bulk: bool,
    /// Bytes that have been read, and how many of those that moved either way its line knows of.
    read: u64,
    told: u64,
    /// Its files step back for media: the kernel may hold less.
    yielding: bool,
    /// How long the way to it is, while it receives media beside files.
    way: Transit,
    /// Messages of the read that is being taken apart, which are taken in together.
    messages: Vec<Frame>,
    observer: Observer,
    /// How long it may take for its last frames when it ends.
    linger: Duration,
}

/// What somebody who said hello wants.
struct Wish {
    protocol: u32,
    room: RoomName,
    name: Nick,
    hello: Hello,
}

/// A place in a room. Dropping it leaves the room, however the connection's task ended.
struct Seat {
    hall: Arc<Hall>,
    connection: ConnectionId,
    on_purpose: bool,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hall.part(self.connection, self.on_purpose);
    }
}

/// Whether the connection goes on.
enum Next {
    Go,
    /// The peer has closed its side, or the connection broke.
    Gone,
}

impl Connection {
    pub(super) fn new(
        server: Arc<Server>,
        outbox: Arc<Outbox>,
        ticket: Ticket,
        nonce: Secret<32>,
        now: Moment,
    ) -> Self {
        Self {
            server,
            outbox,
            peer: Peer::new(nonce, now),
            sent: 0,
            seat: None,
            ticket,
            fans: Vec::new(),
            joining: None,
            uploads: Vec::new(),
            share: depot::share(),
            held: None,
            fetcher: Fetcher::default(),
            bulk: false,
            read: 0,
            told: 0,
            yielding: false,
            way: Transit::default(),
            messages: Vec::new(),
            observer: Observer::new(now),
            linger: LINGER,
        }
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(mut self, peer: SocketAddr, stop: CancellationToken) {
        debug!(%peer, "connected");
        self.outbox.send(&self.peer.challenge());
        let end = self.serve(&stop).await;
        // What the others see does not wait for the peer to read its goodbye.
        self.seat = None;
        self.fans.clear();
        if let Err(error) = end {
            info!(%error, "connection broken");
            return;
        }
        self.finish(&stop).await;
        debug!("disconnected");
    }

    async fn serve(&mut self, stop: &CancellationToken) -> io::Result<()> {
        loop {
            if self.outbox.is_ending() {
                return Ok(());
            }
            let now = time::now();
            let may = self.step_back(now);
            let full = may == 0 && !self.uploads.is_empty();
            if self.held.is_some() || full {
                self.peer.handle_not_reading(now);
            }
            let watching = self.outbox.queue().wants_media();
            let deadline = self.peer.poll_timeout(self.outbox.poll_timeout());
            let deadline = if self.yielding { deadline.min(now + YIELD_LOOK) } else { deadline };
            let resting = self.peer.is_resting(now) || self.held.is_some() || full;
            let hungry = !self.fetcher.is_idle() && self.outbox.waiting() < AHEAD && may > 0;
            let files = self.seat.as_ref().and_then(|seat| seat.hall.depot());
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.say_closing();
                    return Ok(());
                }
                () = self.outbox.wake.notified() => self.drain(may)?,
                writable = self.outbox.socket.writable(), if !self.outbox.is_empty() && may > 0 => {
                    writable?;
                    self.drain(may)?;
                }
                readable = self.outbox.socket.readable(), if !resting => {
                    readable?;
                    if let Next::Gone = self.read(may)? {
                        return Ok(());
                    }
                }
                () = files_begin(&self.outbox), if watching => {}
                Some(room) = room_for(files, &self.share, &self.held) => self.store(room),
                Some(served) = serve_next(files, &mut self.fetcher), if hungry => self.send(served),
                () = tokio::time::sleep(deadline.since(now)) => {}
            }
            if let Some(wish) = self.joining.take() {
                match wish.hello.look {
                    true => self.look(wish).await,
                    false => self.join(wish).await,
                }
                self.act(time::now());
            }
            self.handle_timeout();
        }
    }

    /// Writes what waits, `most` bytes of it at the most, and, when all of it is written, asks for the keyframes
    /// that it now lacks.
    fn drain(&self, most: usize) -> io::Result<()> {
        self.outbox.drain(most, time::now())?;
        if let Some(seat) = &self.seat {
            if self.outbox.is_empty() {
                seat.hall.drained(self.outbox.id);
            }
            for (track, rendition) in self.outbox.starved() {
                seat.hall.want_key(track, rendition, &self.outbox);
            }
        }
        Ok(())
    }

    /// Reads what has come, `most` bytes at the most, and acts on it.
    fn read(&mut self, most: usize) -> io::Result<Next> {
        thread_local! {
            /// Where bytes land before the parser takes them; one for all connections of a thread.
            static LANDING: RefCell<Vec<u8>> = RefCell::new(vec![0; limits::READ]);
        }
        let peer = &mut self.peer;
        let socket = &self.outbox.socket;
        // Who steps back reads no more than it may, and so not all that is missing of a chunk at once.
        let rest = peer.rest().filter(|_| most == usize::MAX).map(|rest| tcp::read_into(socket, rest));
        let read: io::Result<(usize, Moment)> = match rest {
            Some(read) => read.map(|count| {
                let now = time::now();
                peer.handle_rest(count, now);
                (count, now)
            }),
            None => LANDING.with_borrow_mut(|landing| {
                // Who only takes files still says what it wants.
                let landing = &mut landing[..most.clamp(limits::READ_LEAST, limits::READ)];
                let count = read_what_is_there(socket, landing)?;
                let now = time::now();
                peer.handle_bytes(&landing[..count], now);
                Ok((count, now))
            }),
        };
        let now = match read {
            Ok((0, _)) => return Ok(self.handle_end()),
            Ok((count, now)) => {
                self.read += count as u64;
                now
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Next::Go),
            Err(error) => return Err(error),
        };
        self.act(now);
        Ok(Next::Go)
    }

    /// Does what the bytes that were read ask for.
    fn act(&mut self, now: Moment) {
        let server = Arc::clone(&self.server);
        let inspect = |header: &Header| server.inspect.iter().for_each(|inspect| inspect(header));
        while !self.outbox.is_ending()
            && self.joining.is_none()
            && self.held.is_none()
            && let Some(demand) = self.peer.poll(now, inspect)
        {
            match demand {
                Demand::Message(frame) => self.messages.push(frame),
                demand => {
                    self.say();
                    self.carry_out(demand, now);
                }
            }
        }
        self.say();
    }

    /// Takes in the messages that came together.
    fn say(&mut self) {
        let messages = std::mem::take(&mut self.messages);
        if let (Some(seat), false) = (&self.seat, messages.is_empty()) {
            seat.hall.handle(|room, now| {
                let wall = time::wall();
                messages.iter().for_each(|frame| room.handle_message(self.outbox.id, frame, now, wall));
                room.handle_settled();
            });
        }
    }

    /// The peer has ended its side: between two frames and after a goodbye that is the normal end.
    fn handle_end(&self) -> Next {
        if let Err(error) = self.peer.handle_end() {
            debug!(%error, "connection ended");
        }
        Next::Gone
    }

    fn handle_timeout(&mut self) {
        let now = time::now();
        let sent = self.outbox.sent();
        if sent != self.sent {
            self.sent = sent;
            self.peer.handle_sent(now);
        }
        while let Some(demand) = self.peer.handle_timeout(self.outbox.poll_timeout(), now) {
            self.carry_out(demand, now);
        }
        if let Some(seat) = &self.seat {
            let drops = self.outbox.queue().drops().total();
            if let Some(quality) = self.observer.look(drops, self.peer.rtt(), now) {
                seat.hall.handle(|room, now| room.handle_quality(self.outbox.id, quality, now));
            }
        }
    }

    fn carry_out(&mut self, demand: Demand, now: Moment) {
        let id = self.outbox.id;
        let demand = match demand {
            Demand::Say(operation) => return self.outbox.send(&operation),
            Demand::End(refusal) => return self.end(refusal),
            Demand::Join { protocol, room, name, hello } => {
                self.joining = Some(Wish { protocol, room, name, hello });
                return;
            }
            Demand::Media(frame) => return self.deliver(&frame, now),
            Demand::Lost(track, rendition) => {
                return self.fan(track).into_iter().for_each(|fan| fan.lost(rendition, now));
            }
            Demand::File(frame) => return self.take_piece(frame),
            Demand::Fetch(fetch) => return self.fetch(fetch),
            Demand::Unfetch(request) => {
                if self.fetcher.remove(request) {
                    self.outbox.send(&Control::Done { id: request });
                }
                return;
            }
            other => other,
        };
        let Some(seat) = &mut self.seat else { return };
        match demand {
            Demand::Publish(publish) => seat.hall.handle(|room, _| room.handle_publish(id, publish)),
            Demand::Unpublish(track) => {
                self.fans.retain(|(known, ..)| *known != track);
                seat.hall.handle(|room, _| room.handle_unpublish(id, track));
            }
            Demand::Subscribe(tracks) => {
                seat.hall.handle(|room, now| room.handle_subscribe(id, &tracks, now));
            }
            Demand::Unsubscribe(tracks) => {
                seat.hall.handle(|room, now| room.handle_unsubscribe(id, &tracks, now));
            }
            Demand::Status(status) => seat.hall.handle(|room, now| room.handle_status(id, status, now)),
            Demand::Rename(request, name) => {
                seat.hall.handle(|room, now| room.handle_rename(id, request, &name, now));
            }
            Demand::Older(request, before, count) => {
                seat.hall.handle(|room, _| room.handle_older(id, request, before, count));
            }
            Demand::Moderate(request, action, member) => {
                seat.hall.handle(|room, now| room.handle_moderate(id, request, action, member, now));
            }
            Demand::Offer(offer) => seat.hall.offer(id, &offer),
            Demand::Seal(seal) => seat.hall.seal(id, seal),
            Demand::Withdraw(request, offer, reason) => seat.hall.withdraw(id, request, offer, reason),
            Demand::Received(offer) => seat.hall.received(id, offer),
            Demand::Keyframe(track, rendition) => seat.hall.want_key(track, rendition, &self.outbox),
            Demand::PassOn(bytes) => seat.hall.pass_on(id, &bytes),
            Demand::Leave => {
                seat.on_purpose = true;
                self.seat = None;
                self.outbox.goodbye(Goodbye::default());
            }
            // Carried out above, seated or not.
            Demand::Say(_)
            | Demand::End(_)
            | Demand::Join { .. }
            | Demand::Media(_)
            | Demand::Lost(..)
            | Demand::File(_)
            | Demand::Fetch(_)
            | Demand::Unfetch(_)
            | Demand::Message(_) => {}
        }
    }

    /// Gives a frame to those who receive its track.
    fn deliver(&mut self, frame: &Frame, now: Moment) {
        let Some(media) = frame.header.media else { return };
        let track = media.track;
        match self.fan(track) {
            Some(fan) => {
                fan.deliver(frame, now);
                self.look_at_the_way(track, media.key, media.pts, now);
            }
            None => {
                let message = format!("track {track} is not published by this connection");
                self.outbox.send(&Control::Error(Refusal::new(Code::Track, message)));
            }
        }
    }

    /// Pictures that take longer than usual wait on their sender's side: files on that line step back. A key is
    /// larger and takes longer in any case.
    fn look_at_the_way(&mut self, track: TrackId, key: bool, pts: u64, now: Moment) {
        let Some((.., transit)) = self.fans.iter_mut().find(|(known, ..)| *known == track) else { return };
        let late = transit.handle_arrival(pts, now);
        if late > limits::QUEUE_AGE_T2
            && !key
            && let Some(place) = self.outbox.place()
        {
            place.mark_late(now);
        }
    }

    /// The fan of a track that this connection publishes.
    fn fan(&mut self, track: TrackId) -> Option<&Fan> {
        if let Some(place) = self.fans.iter().position(|(known, ..)| *known == track) {
            return Some(&self.fans[place].1);
        }
        let fan = self.seat.as_ref()?.hall.fan_of(self.outbox.id, track)?;
        self.fans.push((track, fan, Transit::default()));
        self.fans.last().map(|(_, fan, _)| &**fan)
    }

    /// Says goodbye because the server stops.
    fn say_closing(&mut self) {
        // Spread over a second and a half, so that a thousand do not come back in the same millisecond.
        let spread = self.outbox.id.0.wrapping_mul(7_919) % 1_500;
        self.outbox.goodbye(Goodbye {
            code: Some(Code::ShuttingDown),
            message: "the server stops".into(),
            retry_after_ms: Some(500 + spread),
        });
    }

    /// Ends the connection with a reason.
    fn end(&mut self, refusal: Refusal) {
        match self.seat {
            Some(_) => self.server.note_closed(&refusal),
            None => self.server.note_refused(&refusal),
        }
        self.outbox.refuse(refusal);
    }

    /// Lets the last frames leave, then the peer's last bytes come, within `linger`; but waits for no peer that takes
    /// nothing, and not for long when the server stops.
    async fn finish(&self, stop: &CancellationToken) {
        let socket = &self.outbox.socket;
        let last = async {
            while let Some(stalled) = self.outbox.poll_timeout() {
                let wait = stalled.since(time::now());
                tokio::time::timeout(wait, socket.writable()).await.map_err(io::Error::other)??;
                self.outbox.drain(usize::MAX, time::now())?;
            }
            rustix::net::shutdown(socket, rustix::net::Shutdown::Write)?;
            let rest = self.linger.min(limits::HELLO);
            tokio::time::timeout(rest, read_to_end(socket)).await.map_err(io::Error::other)?
        };
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(LINGER).await;
        };
        // However it ends, the connection is over.
        tokio::select! {
            _ = tokio::time::timeout(self.linger, last) => {}
            () = stopped => {}
        }
    }
}

/// Reads what has come.
fn read_what_is_there(socket: &TcpStream, landing: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    let end = socket.try_io(Interest::READABLE, || {
        count = rustix::io::read(socket, &mut *landing)?;
        // Less than there was room for: there is no more, and the kernel says so when there is again (tokio's own
        // `AsyncRead` relies on that too). To ask once more would cost as much as the read itself.
        if (1..landing.len()).contains(&count) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    if count == 0 {
        end?;
    }
    Ok(count)
}

/// Reads and forgets what the peer still sends, until it ends its side.
pub(super) async fn read_to_end(socket: &TcpStream) -> io::Result<()> {
    let mut scratch = [0; 1024];
    loop {
        socket.readable().await?;
        match socket.try_read(&mut scratch) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
