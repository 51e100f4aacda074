//! One connection: from its first byte to its last.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, field, info, warn};

use super::Server;
use super::fan::Fan;
use super::gate::Ticket;
use super::hall::Hall;
use super::outbox::Outbox;
use crate::id::{ConnectionId, Nick, RoomName, Secret, TrackId};
use crate::limits;
use crate::room::{Admitted, Join};
use crate::session::guard::{Guard, Verdict};
use crate::session::heartbeat::{Action, Heartbeat, Side};
use crate::time::{self, Moment};
use crate::wire::control::{Control, Goodbye, Hello, PROTOCOL, Refusal, Welcome};
use crate::wire::{self, Code, Frame, Header, Incoming, Kind, Parser};

/// How long a connection that ends may take to take what waits for it, and to end its side. The
/// peer's last bytes are read in this time: closing with bytes unread would reset the connection and
/// destroy the reason that was just written.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// The receiving half of a connection, and its timers. Runs as one task; when it returns or panics
/// the member leaves the room.
pub(super) struct Connection {
    server: Arc<Server>,
    outbox: Arc<Outbox>,
    parser: Parser,
    guard: Guard,
    heartbeat: Heartbeat,
    /// What the heartbeat knows of [`Outbox::sent`].
    sent: u64,
    seat: Option<Seat>,
    ticket: Ticket,
    /// Tracks that this connection publishes, as far as it has sent frames of them.
    fans: Vec<(TrackId, Arc<Fan>)>,
    /// Reading goes on then: the ingress budget is used up.
    rest_until: Option<Moment>,
    /// Types of frames that the peer has been told are not known here.
    unknown_told: bool,
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
    pub(super) fn new(server: Arc<Server>, outbox: Arc<Outbox>, ticket: Ticket, now: Moment) -> Self {
        Self {
            server,
            outbox,
            parser: Parser::for_stranger(),
            guard: Guard::new(now),
            heartbeat: Heartbeat::new(Side::Server, now),
            sent: 0,
            seat: None,
            ticket,
            fans: Vec::new(),
            rest_until: None,
            unknown_told: false,
        }
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(mut self, peer: SocketAddr, stop: CancellationToken) {
        debug!(%peer, "connected");
        let end = self.serve(&stop).await;
        // What the others see does not wait for the peer to read its goodbye.
        self.seat = None;
        self.fans.clear();
        if let Err(error) = end {
            info!(%error, "connection broken");
            return;
        }
        self.finish().await;
        debug!("disconnected");
    }

    async fn serve(&mut self, stop: &CancellationToken) -> io::Result<()> {
        loop {
            if self.outbox.is_ending() {
                return Ok(());
            }
            let now = time::now();
            let deadline = self.poll_timeout();
            let resting = self.rest_until.is_some_and(|until| now < until);
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.say_closing();
                    return Ok(());
                }
                () = self.outbox.wake.notified() => self.drain()?,
                writable = self.outbox.socket.writable(), if !self.outbox.is_empty() => {
                    writable?;
                    self.drain()?;
                }
                readable = self.outbox.socket.readable(), if !resting => {
                    readable?;
                    if let Next::Gone = self.read()? {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep(deadline.since(now)) => {}
            }
            self.handle_timeout();
        }
    }

    /// Writes what waits and, when all of it is written, asks for the keyframes that it now lacks.
    fn drain(&self) -> io::Result<()> {
        self.outbox.drain(time::now())?;
        if let Some(seat) = &self.seat {
            for (track, rendition) in self.outbox.starved() {
                seat.hall.want_key(track, rendition, &self.outbox);
            }
        }
        Ok(())
    }

    /// Reads what has come and acts on it.
    fn read(&mut self) -> io::Result<Next> {
        thread_local! {
            /// Where bytes land before the parser takes them; one for all connections of a thread.
            static LANDING: RefCell<Vec<u8>> = RefCell::new(vec![0; limits::READ]);
        }
        let parser = &mut self.parser;
        let read: io::Result<usize> = LANDING.with_borrow_mut(|landing| {
            let count = self.outbox.socket.try_read(landing)?;
            parser.push(&landing[..count]);
            Ok(count)
        });
        let count = match read {
            Ok(0) => return Ok(self.handle_end()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Next::Go),
            Err(error) => return Err(error),
        };
        let now = time::now();
        self.heartbeat.handle_received(now);
        loop {
            match self.parser.poll() {
                Ok(None) => break,
                Ok(Some(incoming)) => self.handle_incoming(incoming, now),
                Err(error) => self.reject(&error),
            }
            if self.outbox.is_ending() {
                return Ok(Next::Go);
            }
        }
        self.rest_until = self.guard.handle_bytes(count, self.parser.pending(), now);
        Ok(Next::Go)
    }

    /// The peer has ended its side: between two frames and after a goodbye that is the normal end.
    fn handle_end(&self) -> Next {
        if let Err(error) = self.parser.finish() {
            debug!(%error, "connection ended");
        }
        Next::Gone
    }

    fn handle_incoming(&mut self, incoming: Incoming, now: Moment) {
        let frame = match incoming {
            Incoming::Frame(frame) => frame,
            Incoming::Damaged(header) => return self.handle_damaged(&header, now),
        };
        match self.guard.handle_frame(&frame.header.kind, now) {
            Verdict::Take => {}
            Verdict::Drop { tell } => return self.handle_excess(&frame, tell, now),
            Verdict::Close(code) => return self.close(code, "too many frames for too long"),
        }
        if let Some(inspect) = &self.server.config.inspect {
            inspect(&frame.header);
        }
        match (&frame.header.kind, &self.seat) {
            (Kind::Control, _) => self.handle_control(&frame),
            (_, None) => self.close(Code::Protocol, "the first frame must be a hello"),
            (Kind::Video | Kind::Audio, Some(_)) => self.handle_media(&frame, now),
            (Kind::Extension(name), Some(seat)) if name.starts_with("x-") => {
                seat.hall.pass_on(self.outbox.id, frame.bytes());
            }
            (kind, Some(_)) if !self.unknown_told => {
                self.unknown_told = true;
                let message = format!("this server does not take frames of type {}", kind.as_str());
                self.outbox.send(&Control::Error(Refusal::new(Code::Protocol, message)));
            }
            _ => {}
        }
    }

    /// A frame beyond the rate is dropped; what the peer waits for is answered all the same.
    fn handle_excess(&mut self, frame: &Frame, tell: bool, now: Moment) {
        let id = match frame.operation() {
            _ if frame.header.kind != Kind::Control => None,
            Ok(Control::Publish(publish)) => Some(publish.id),
            Ok(Control::Goodbye(_)) => return self.handle_control(frame),
            _ => None,
        };
        self.handle_lost(&frame.header, now);
        if tell || id.is_some() {
            let mut refusal = Refusal::new(Code::RateLimited, "too many frames; some were dropped");
            refusal.retry_after_ms = Some(1_000);
            refusal.id = id;
            self.outbox.send(&Control::Error(refusal));
        }
    }

    fn handle_damaged(&mut self, header: &Header, now: Moment) {
        warn!(kind = header.kind.as_str(), "frame does not match its checksum, dropped");
        self.handle_lost(header, now);
        match self.guard.handle_damaged(now) {
            Verdict::Close(code) => self.close(code, "too many damaged frames"),
            _ if header.media.is_none() => {
                let message = format!("a {} frame did not match its checksum", header.kind.as_str());
                self.outbox.send(&Control::Error(Refusal::new(Code::Checksum, message)));
            }
            _ => {}
        }
    }

    /// A media frame was dropped: those behind it may need it.
    fn handle_lost(&mut self, header: &Header, now: Moment) {
        let Some(media) = header.media else { return };
        if let Some(fan) = self.fan(media.track) {
            fan.lost(media.rendition, now);
        }
    }

    fn handle_media(&mut self, frame: &Frame, now: Moment) {
        let Some(track) = frame.header.media.map(|media| media.track) else { return };
        match self.fan(track) {
            Some(fan) => fan.deliver(frame, now),
            None => {
                let message = format!("track {track} is not published by this connection");
                self.outbox.send(&Control::Error(Refusal::new(Code::Track, message)));
            }
        }
    }

    /// The fan of a track that this connection publishes.
    fn fan(&mut self, track: TrackId) -> Option<&Fan> {
        if let Some(place) = self.fans.iter().position(|(known, _)| *known == track) {
            return Some(&self.fans[place].1);
        }
        let fan = self.seat.as_ref()?.hall.fan_of(self.outbox.id, track)?;
        self.fans.push((track, fan));
        self.fans.last().map(|(_, fan)| &**fan)
    }

    fn handle_control(&mut self, frame: &Frame) {
        let operation = match frame.operation() {
            Ok(operation) => operation,
            Err(error) => return self.reject(&error),
        };
        let Some(seat) = &mut self.seat else {
            return match operation {
                Control::Hello(hello) => self.handle_hello(hello),
                _ => self.close(Code::Protocol, "the first frame must be a hello"),
            };
        };
        let id = self.outbox.id;
        match operation {
            Control::Hello(_) => self.close(Code::Protocol, "a second hello"),
            Control::Publish(publish) => seat.hall.handle(|room, _| room.handle_publish(id, publish)),
            Control::Unpublish { track } => {
                self.fans.retain(|(known, _)| *known != track);
                seat.hall.handle(|room, _| room.handle_unpublish(id, track));
            }
            Control::Subscribe { tracks } => seat.hall.handle(|room, _| room.handle_subscribe(id, &tracks)),
            Control::Unsubscribe { tracks } => {
                seat.hall.handle(|room, _| room.handle_unsubscribe(id, &tracks))
            }
            Control::Keyframe { track, rendition } => seat.hall.want_key(track, rendition, &self.outbox),
            Control::Ping { id } => self.outbox.send(&Control::Pong { id }),
            Control::Pong { id } => self.heartbeat.handle_pong(id, time::now()),
            Control::Goodbye(_) => {
                seat.on_purpose = true;
                self.seat = None;
                self.outbox.goodbye(Goodbye::default());
            }
            // What only servers and pipes say is ignored, like what a later version may say.
            _ => {}
        }
    }

    fn handle_hello(&mut self, hello: Hello) {
        let Some(protocol) = common_version(hello.protocol) else {
            let [min, max] = PROTOCOL;
            let mut refusal = Refusal::new(
                Code::Version,
                format!("this server speaks protocol {min} to {max}; please use a confkit of the same age"),
            );
            refusal.protocol = Some(PROTOCOL);
            return self.end(refusal);
        };
        let names = (hello.room.parse::<RoomName>(), hello.name.parse::<Nick>());
        let (room, name) = match names {
            (Ok(room), Ok(name)) => (room, name),
            (Err(error), _) | (_, Err(error)) => return self.close(Code::Name, &error.to_string()),
        };
        let mut token = [0; 16];
        if getrandom::fill(&mut token).is_err() {
            return self.close(Code::Internal, "the server has no randomness");
        }
        let join = Join {
            connection: self.outbox.id,
            name,
            identity: hello.identity,
            resume: hello.resume,
            token: Secret(token),
            subscribe: hello.subscribe,
        };
        let welcome = |admitted: &Admitted| {
            self.outbox.send(&Control::Welcome(self.server.welcome(protocol, &room, admitted)));
        };
        match self.server.join(&room, join, &self.outbox, welcome) {
            Ok((hall, admitted)) => {
                let span = tracing::Span::current();
                span.record("room", field::display(&room));
                span.record("member", field::display(&admitted.name));
                info!(session = %admitted.session, client = hello.client, resumed = admitted.resumed, "joined");
                self.parser.admit();
                self.guard.handle_admitted();
                self.ticket.handle_admitted();
                self.seat = Some(Seat { hall, connection: self.outbox.id, on_purpose: false });
            }
            Err(refusal) => self.end(refusal),
        }
    }

    /// Timers of the peer's slowness, silence and stalling.
    fn handle_timeout(&mut self) {
        let now = time::now();
        let sent = self.outbox.sent();
        if sent != self.sent {
            self.sent = sent;
            self.heartbeat.handle_sent(now);
        }
        if self.rest_until.is_some_and(|until| now < until) {
            // We do not read, so the peer's silence says nothing.
            self.heartbeat.handle_received(now);
        }
        if let Verdict::Close(code) = self.guard.handle_timeout(now) {
            return self.close(code, "too slow");
        }
        if self.outbox.poll_timeout().is_some_and(|stalled| now >= stalled) {
            return self.close(Code::SlowConsumer, "nothing was taken for 10 s; resume the session");
        }
        loop {
            match self.heartbeat.handle_timeout(now) {
                Action::None => break,
                Action::Ping(id) if self.seat.is_some() => self.outbox.send(&Control::Ping { id }),
                Action::Ping(_) => {}
                Action::Dead => return self.close(Code::Timeout, "nothing was heard for 12 s"),
            }
        }
    }

    fn poll_timeout(&self) -> Moment {
        let optional = [self.guard.poll_timeout(), self.outbox.poll_timeout(), self.rest_until];
        optional.into_iter().flatten().fold(self.heartbeat.poll_timeout(), Moment::min)
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

    /// Ends the connection because of bytes that are not frames.
    fn reject(&mut self, error: &wire::Error) {
        self.close(error.code(), &error.to_string());
    }

    /// Ends the connection with a reason.
    fn close(&mut self, code: Code, message: &str) {
        self.end(Refusal::new(code, message));
    }

    fn end(&mut self, refusal: Refusal) {
        self.server.note_refused(&refusal);
        self.outbox.refuse(refusal);
    }

    /// Lets the last frames leave, then the peer's last bytes come, within [`LINGER`].
    async fn finish(&self) {
        let socket = &self.outbox.socket;
        let last = async {
            while !self.outbox.is_empty() {
                socket.writable().await?;
                self.outbox.drain(time::now())?;
            }
            rustix::net::shutdown(socket, rustix::net::Shutdown::Write)?;
            read_to_end(socket).await
        };
        // However it ends, the connection is over.
        let _ = tokio::time::timeout(LINGER, last).await;
    }
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

/// The newest version that both speak.
fn common_version([oldest, newest]: [u32; 2]) -> Option<u32> {
    let newest = newest.min(PROTOCOL[1]);
    (newest >= oldest.max(PROTOCOL[0])).then_some(newest)
}

impl Server {
    fn welcome(&self, protocol: u32, room: &RoomName, admitted: &Admitted) -> Welcome {
        Welcome {
            protocol,
            server: concat!("confkit ", env!("CARGO_PKG_VERSION")).into(),
            epoch: self.epoch.clone(),
            room: room.to_string(),
            session: admitted.session,
            member: admitted.member,
            name: admitted.name.to_string(),
            token: admitted.token,
            resumed: admitted.resumed,
            heartbeat_ms: limits::HEARTBEAT.as_millis() as u64,
            grace_ms: self.config.terms.grace.as_millis() as u64,
        }
    }
}
