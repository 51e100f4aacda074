//! The server's side of one connection: what a peer's bytes mean and what the server has to do.
//!
//! The edge gives bytes and time, and carries out each [`Demand`] before it polls for the next, because
//! an answer may change how the frames behind it are read: [`Demand::Join`] is answered by
//! [`Peer::handle_admitted`] or by the end of the connection. Behind [`Demand::Leave`] and
//! [`Demand::End`] nothing more comes.
//!
//! Bounds: those of [`Parser`], [`Guard`] and [`Heartbeat`]; at most one demand is kept.

use std::time::Duration;

use bytes::Bytes;

use super::guard::{Guard, Verdict};
use super::heartbeat::{self, Heartbeat, Side};
use super::key::is_proof;
use crate::id::{MemberId, Nick, OfferNumber, RoomName, Secret, TrackId};
use crate::time::Moment;
use crate::wire::control::{Action, Control, Hello, PROTOCOL, Publish, Refusal, Status};
use crate::wire::offer::{Fetch, Going, Offer, Seal};
use crate::wire::{self, Code, Frame, Header, Incoming, Kind, Parser, Rendition};

/// What the server has to do.
#[derive(Debug)]
pub enum Demand {
    /// Send an operation to the peer.
    Say(Control),
    /// Seat the peer in a room.
    Join {
        /// The version that both speak.
        protocol: u32,
        /// Which room.
        room: RoomName,
        /// The name it would like.
        name: Nick,
        /// What else it said.
        hello: Hello,
    },
    /// It wants a track number.
    Publish(Publish),
    /// Its track ends.
    Unpublish(TrackId),
    /// It wants tracks.
    Subscribe(Vec<TrackId>),
    /// It wants tracks no more.
    Unsubscribe(Vec<TrackId>),
    /// It needs a picture at which decoding can begin.
    Keyframe(TrackId, Rendition),
    /// Something about its user changed.
    Status(Status),
    /// Wants messages that are older than a number, at most so many: the request's number, that one, how many.
    Older(u64, u64, u32),
    /// It wants another name; the number of the request.
    Rename(u64, String),
    /// It wants to moderate; the number of the request.
    Moderate(u64, Action, Option<MemberId>),
    /// It puts something before the room, or goes on with it.
    Offer(Offer),
    /// What it offers is complete.
    Seal(Seal),
    /// An offer is to be forgotten; the number of the request.
    Withdraw(u64, OfferNumber, Going),
    /// It wants pieces of an offer.
    Fetch(Fetch),
    /// It wants no more of those.
    Unfetch(u64),
    /// It has all of an offer.
    Received(OfferNumber),
    /// A piece of an offer. Its payload has not been checked against its checksum.
    File(Frame),
    /// It says something to the room.
    Message(Frame),
    /// A frame for those who receive its track.
    Media(Frame),
    /// A media frame of this track was dropped: those behind it may need it.
    Lost(TrackId, Rendition),
    /// A frame of a type that is not known here, for everybody else in the room.
    PassOn(Bytes),
    /// It leaves on purpose: the others are told, then it is said goodbye to.
    Leave,
    /// Tell it why and end the connection; its session, where it has one, is kept.
    End(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Stranger,
    Seated,
    Over,
}

/// See the module.
#[derive(Debug)]
pub struct Peer {
    phase: Phase,
    /// What it has to sign.
    nonce: Secret<32>,
    parser: Parser,
    guard: Guard,
    heartbeat: Heartbeat,
    /// Bytes of the read that is being taken apart.
    portion: usize,
    /// Bytes of its frames that count against the peer's budget: those of files do not, which are as slow as
    /// the disk.
    charge: usize,
    /// Reading goes on then: the ingress budget is used up.
    rest_until: Option<Moment>,
    /// What follows from the same frame as the demand before.
    further: Option<Demand>,
    /// The peer has been told which types of frames are not known here.
    unknown_told: bool,
}

impl Peer {
    /// A peer that has connected at `now`; `nonce` is random. It is to be sent [`Self::challenge`] first.
    pub fn new(nonce: Secret<32>, now: Moment) -> Self {
        Self {
            phase: Phase::Stranger,
            nonce,
            parser: Parser::for_stranger(),
            guard: Guard::new(now),
            heartbeat: Heartbeat::new(Side::Server, now),
            portion: 0,
            charge: 0,
            rest_until: None,
            further: None,
            unknown_told: false,
        }
    }

    /// The first thing that the peer is told.
    pub fn challenge(&self) -> Control {
        Control::Challenge { nonce: self.nonce }
    }

    /// What the peer's proofs are about.
    pub fn nonce(&self) -> &Secret<32> {
        &self.nonce
    }

    /// Bytes have come in; [`Self::poll`] says what they mean.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Moment) {
        self.heartbeat.handle_received(now);
        self.parser.push(bytes);
        self.portion += bytes.len();
    }

    /// Where the next bytes belong, into its spare capacity, if they are the rest of a large frame ([`Parser::rest`]).
    pub fn rest(&mut self) -> Option<&mut Vec<u8>> {
        self.parser.rest()
    }

    /// So many bytes have come there; [`Self::poll`] says what they mean.
    pub fn handle_rest(&mut self, count: usize, now: Moment) {
        self.heartbeat.handle_received(now);
        self.portion += count;
    }

    /// Bytes have been given to the kernel.
    pub fn handle_sent(&mut self, now: Moment) {
        self.heartbeat.handle_sent(now);
    }

    /// The peer has its seat.
    pub fn handle_admitted(&mut self) {
        self.phase = Phase::Seated;
        self.parser.admit();
        self.parser.trust_files();
        self.guard.handle_admitted();
    }

    /// The peer has been shown what it wanted to see, and that was all.
    pub fn handle_shown(&mut self) {
        self.phase = Phase::Over;
    }

    /// Whether the end of the peer's bytes comes between two frames, as it should.
    pub fn handle_end(&self) -> Result<(), wire::Error> {
        self.parser.finish()
    }

    /// What to do next of what the peer's bytes ask for; `None` when they are used up. `inspect` sees
    /// every header that is acted on.
    pub fn poll(&mut self, now: Moment, mut inspect: impl FnMut(&Header)) -> Option<Demand> {
        if self.further.is_some() {
            return self.further.take();
        }
        while self.phase != Phase::Over {
            let demand = match self.parser.poll() {
                Ok(None) => {
                    let count = std::mem::take(&mut self.portion);
                    self.guard.handle_progress(count, self.parser.pending(), now);
                    let rest = self.guard.spend(std::mem::take(&mut self.charge), now);
                    self.rest_until = self.rest_until.filter(|until| *until > now).max(rest);
                    return None;
                }
                Ok(Some(Incoming::Frame(frame))) => {
                    if frame.header.kind != Kind::File {
                        self.charge += frame.bytes().len();
                    }
                    self.handle_frame(frame, &mut inspect, now)
                }
                Ok(Some(Incoming::Damaged(header))) => {
                    self.charge += header.size;
                    self.handle_damaged(&header, now)
                }
                Err(error) => Some(self.reject(&error)),
            };
            if demand.is_some() {
                return demand;
            }
        }
        None
    }

    /// Nothing is read for now, because what came is not stored yet: the peer's silence says nothing.
    pub fn handle_not_reading(&mut self, now: Moment) {
        self.heartbeat.handle_received(now);
        self.guard.handle_not_reading(now);
    }

    /// Timers of the peer's slowness, silence and stalling. `stalled` is when what waits for the peer
    /// will have waited too long. To be called until it answers nothing.
    pub fn handle_timeout(&mut self, stalled: Option<Moment>, now: Moment) -> Option<Demand> {
        if self.phase == Phase::Over {
            return None;
        }
        if self.is_resting(now) {
            // We do not read, so the peer's silence says nothing.
            self.heartbeat.handle_received(now);
        }
        if let Verdict::Close(code) = self.guard.handle_timeout(now) {
            return Some(self.close(code, "too slow"));
        }
        if stalled.is_some_and(|stalled| now >= stalled) {
            return Some(self.close(Code::SlowConsumer, "nothing was taken for 10 s; resume the session"));
        }
        loop {
            match self.heartbeat.handle_timeout(now) {
                heartbeat::Action::None => return None,
                heartbeat::Action::Ping(id) if self.phase == Phase::Seated => {
                    return Some(Demand::Say(Control::Ping { id }));
                }
                heartbeat::Action::Ping(_) => {}
                heartbeat::Action::Dead => {
                    return Some(self.close(Code::Timeout, "nothing was heard for 12 s"));
                }
            }
        }
    }

    /// When [`Self::handle_timeout`] is to be called at the latest, or reading goes on.
    pub fn poll_timeout(&self, stalled: Option<Moment>) -> Moment {
        let optional = [self.guard.poll_timeout(), stalled, self.rest_until];
        optional.into_iter().flatten().fold(self.heartbeat.poll_timeout(), Moment::min)
    }

    /// The last round-trip time.
    pub fn rtt(&self) -> Option<Duration> {
        self.heartbeat.rtt()
    }

    /// Pings as often as this, or no more often than needed.
    pub fn watch(&mut self, every: Option<Duration>, now: Moment) {
        self.heartbeat.watch(every, now);
    }

    /// The round-trip time, or how long an answer has been waited for where that is longer.
    pub fn delay(&self, now: Moment) -> Option<Duration> {
        self.heartbeat.delay(now)
    }

    /// Whether nothing is to be read now.
    pub fn is_resting(&self, now: Moment) -> bool {
        self.rest_until.is_some_and(|until| now < until)
    }

    fn handle_frame(
        &mut self,
        frame: Frame,
        inspect: &mut impl FnMut(&Header),
        now: Moment,
    ) -> Option<Demand> {
        match self.guard.handle_frame(&frame.header.kind, now) {
            Verdict::Take => {}
            Verdict::TakeAndRest(until) => self.rest_until = self.rest_until.max(Some(until)),
            Verdict::Drop { tell } => return self.handle_excess(&frame, tell, now),
            Verdict::Close(code) => return Some(self.close(code, "too many frames for too long")),
        }
        inspect(&frame.header);
        match (&frame.header.kind, self.phase) {
            (Kind::Control, _) => match frame.operation() {
                Ok(operation) => self.handle_operation(operation, now),
                Err(error) => Some(self.reject(&error)),
            },
            (_, Phase::Stranger) => Some(self.close(Code::Protocol, "the first frame must be a hello")),
            (Kind::Video | Kind::Audio, _) => Some(Demand::Media(frame)),
            (Kind::Message, _) => Some(Demand::Message(frame)),
            (Kind::File, _) => Some(Demand::File(frame)),
            (Kind::Extension(name), _) if name.starts_with("x-") => {
                Some(Demand::PassOn(frame.bytes().clone()))
            }
            (kind, _) if !self.unknown_told => {
                self.unknown_told = true;
                let message = format!("this server does not take frames of type {}", kind.as_str());
                Some(Demand::Say(Control::Error(Refusal::new(Code::Protocol, message))))
            }
            _ => None,
        }
    }

    /// A frame beyond the rate is dropped; what the peer waits for is answered all the same.
    fn handle_excess(&mut self, frame: &Frame, tell: bool, now: Moment) -> Option<Demand> {
        let id = match frame.operation() {
            _ if frame.header.kind != Kind::Control => None,
            Ok(Control::Publish(publish)) => Some(publish.id),
            Ok(
                Control::Rename { id, .. }
                | Control::Moderate { id, .. }
                | Control::Withdraw { id, .. }
                | Control::Older { id, .. },
            ) => Some(id),
            Ok(
                Control::Offer(Offer { id, .. })
                | Control::Seal(Seal { id, .. })
                | Control::Fetch(Fetch { id, .. }),
            ) => Some(id),
            Ok(goodbye @ Control::Goodbye(_)) => return self.handle_operation(goodbye, now),
            _ => None,
        };
        let told = (tell || id.is_some()).then(|| {
            let mut refusal = Refusal::new(Code::RateLimited, "too many frames; some were dropped");
            refusal.retry_after_ms = Some(1_000);
            refusal.id = id;
            Demand::Say(Control::Error(refusal))
        });
        self.lost(&frame.header, told)
    }

    fn handle_damaged(&mut self, header: &Header, now: Moment) -> Option<Demand> {
        tracing::warn!(kind = header.kind.as_str(), "frame does not match its checksum, dropped");
        let further = match self.guard.handle_damaged(now) {
            Verdict::Close(code) => Some(self.close(code, "too many damaged frames")),
            // Those behind it must not be taken before it: they come again after a resume, and it does.
            _ if header.kind == Kind::Message => Some(self.close(Code::Checksum, "a message came damaged")),
            _ if header.media.is_none() => {
                let message = format!("a {} frame did not match its checksum", header.kind.as_str());
                Some(Demand::Say(Control::Error(Refusal::new(Code::Checksum, message))))
            }
            _ => None,
        };
        self.lost(header, further)
    }

    /// A frame was dropped; `further` follows from that as well.
    fn lost(&mut self, header: &Header, further: Option<Demand>) -> Option<Demand> {
        match header.media {
            Some(media) => {
                self.further = further;
                Some(Demand::Lost(media.track, media.rendition))
            }
            None => further,
        }
    }

    fn handle_operation(&mut self, operation: Control, now: Moment) -> Option<Demand> {
        Some(match (operation, self.phase) {
            (Control::Hello(hello), Phase::Stranger) => self.handle_hello(hello),
            // Who asks whether anybody is here at all; the deadline of the hello stands.
            (Control::Ping { id }, Phase::Stranger) => Demand::Say(Control::Pong { id }),
            (_, Phase::Stranger) => self.close(Code::Protocol, "the first frame must be a hello"),
            (Control::Hello(_), _) => self.close(Code::Protocol, "a second hello"),
            (Control::Publish(publish), _) => Demand::Publish(publish),
            (Control::Unpublish { track }, _) => Demand::Unpublish(track),
            (Control::Subscribe { tracks }, _) => Demand::Subscribe(tracks),
            (Control::Unsubscribe { tracks }, _) => Demand::Unsubscribe(tracks),
            (Control::Keyframe { track, rendition }, _) => Demand::Keyframe(track, rendition),
            (Control::Status(status), _) => Demand::Status(status),
            (Control::Rename { id, name }, _) => Demand::Rename(id, name),
            (Control::Older { id, before, count }, _) => Demand::Older(id, before, count),
            (Control::Moderate { id, action, member }, _) => Demand::Moderate(id, action, member),
            (Control::Offer(offer), _) => Demand::Offer(offer),
            (Control::Seal(seal), _) => Demand::Seal(seal),
            (Control::Withdraw { id, offer, reason }, _) => Demand::Withdraw(id, offer, reason),
            (Control::Fetch(fetch), _) => Demand::Fetch(fetch),
            (Control::Unfetch { id }, _) => Demand::Unfetch(id),
            (Control::Received { offer }, _) => Demand::Received(offer),
            (Control::Ping { id }, _) => Demand::Say(Control::Pong { id }),
            (Control::Pong { id }, _) => {
                self.heartbeat.handle_pong(id, now);
                return None;
            }
            (Control::Goodbye(_), _) => {
                self.phase = Phase::Over;
                Demand::Leave
            }
            // What only servers and pipes say is ignored, like what a later version may say.
            _ => return None,
        })
    }

    fn handle_hello(&mut self, hello: Hello) -> Demand {
        let Some(protocol) = common_version(hello.protocol) else {
            let [min, max] = PROTOCOL;
            let mut refusal = Refusal::new(
                Code::Version,
                format!("this server speaks protocol {min} to {max}; please use a confkit of the same age"),
            );
            refusal.protocol = Some(PROTOCOL);
            self.phase = Phase::Over;
            return Demand::End(refusal);
        };
        if let Some(key) = &hello.key {
            let proved = hello.proof.is_some_and(|proof| is_proof(key, &proof, &self.nonce, &hello.room));
            if !proved {
                return self.close(Code::Identity, "the proof does not fit the identity");
            }
        }
        match (hello.room.parse::<RoomName>(), hello.name.parse::<Nick>()) {
            (Ok(room), Ok(name)) => Demand::Join { protocol, room, name, hello },
            (Err(error), _) | (_, Err(error)) => self.close(Code::Name, &error.to_string()),
        }
    }

    /// Ends the connection because of bytes that are not frames.
    fn reject(&mut self, error: &wire::Error) -> Demand {
        self.close(error.code(), &error.to_string())
    }

    fn close(&mut self, code: Code, message: &str) -> Demand {
        self.phase = Phase::Over;
        Demand::End(Refusal::new(code, message))
    }
}

/// The newest version that both speak.
fn common_version([oldest, newest]: [u32; 2]) -> Option<u32> {
    let newest = newest.min(PROTOCOL[1]);
    (newest >= oldest.max(PROTOCOL[0])).then_some(newest)
}
