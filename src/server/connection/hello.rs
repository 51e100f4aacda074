//! Who says hello: comes in, or only looks.

use std::time::Duration;

use tracing::{debug, field, info};

use super::{Connection, Seat, Wish};
use crate::id::{RoomName, Secret};
use crate::limits;
use crate::room::{Admitted, Join};
use crate::server::Server;
use crate::session::password;
use crate::time;
use crate::wire::Code;
use crate::wire::control::{Control, Goodbye, Refusal, Welcome};

impl Connection {
    pub(super) async fn join(&mut self, Wish { protocol, room, name, hello }: Wish) {
        let mut token = [0; 16];
        if getrandom::fill(&mut token).is_err() {
            return self.end(Refusal::new(Code::Internal, "the server has no randomness"));
        }
        let hall = match self.server.hall(&room, self.ticket.source()).await {
            Ok(hall) => hall,
            Err(refusal) => return self.end(refusal),
        };
        if let Err(refusal) = self.judge(hall.password(), hello.password.as_ref()) {
            return self.end(refusal);
        }
        let join = Join {
            connection: self.outbox.id,
            name,
            key: hello.key,
            resume: hello.resume,
            token: Secret(token),
            subscribe: hello.subscribe,
            messages: hello.messages,
            wall: time::wall(),
        };
        self.outbox.settle(self.server.lines.place(self.ticket.source(), hello.key));
        let welcome = |admitted: &Admitted| {
            self.outbox.send(&Control::Welcome(self.server.welcome(protocol, &room, admitted)));
        };
        match hall.join(join, &self.outbox, welcome) {
            Ok(admitted) => {
                let span = tracing::Span::current();
                span.record("room", field::display(&room));
                span.record("member", field::display(&admitted.name));
                info!(session = %admitted.session, client = hello.client, resumed = admitted.resumed, "joined");
                self.peer.handle_admitted();
                self.ticket.handle_admitted();
                hall.handle_entered(self.ticket.source());
                if hello.offers {
                    hall.watch(self.outbox.id);
                }
                self.seat = Some(Seat { hall, connection: self.outbox.id, on_purpose: false });
            }
            Err(refusal) => self.end(refusal),
        }
    }

    /// Tells how the room is, without a seat in it, and ends. Until then the connection has its place among those
    /// that are not admitted.
    pub(super) async fn look(&mut self, Wish { room, hello, .. }: Wish) {
        if let Err(refusal) = self.ticket.handle_look() {
            return self.end(refusal);
        }
        let judge = |password: Option<&Secret<32>>| self.judge(password, hello.password.as_ref());
        let known = self.server.known(&room, self.ticket.source(), judge).await;
        let shown = known.and_then(|hall| hall.look(hello.key, hello.offers, &self.outbox));
        match shown {
            Ok(()) => {
                tracing::Span::current().record("room", field::display(&room));
                match self.server.may_log_look() {
                    true => info!(client = hello.client, "looked"),
                    false => debug!(client = hello.client, "looked"),
                }
                self.peer.handle_shown();
                let slowest = self.outbox.waiting() as u64 / limits::FRAME_RATE;
                self.linger = limits::HELLO + Duration::from_secs(slowest);
                self.outbox.goodbye(Goodbye::default());
            }
            Err(refusal) => self.end(refusal),
        }
    }

    /// Whether somebody may come in, or look, as far as the password goes. Nobody can guess faster than
    /// [`limits::TRIES`]: beyond that not even the right one is told from a wrong one.
    fn judge(&self, password: Option<&Secret<32>>, proof: Option<&Secret<32>>) -> Result<(), Refusal> {
        let Some(key) = password else { return Ok(()) };
        let Some(proof) = proof else {
            return Err(Refusal::new(Code::Password, "this room has a password"));
        };
        let (gate, source) = (&self.server.gate, self.ticket.source());
        gate.charge(source, time::now())?;
        match password::is_proof(key, proof, self.peer.nonce()) {
            true => {
                gate.give_back(source);
                Ok(())
            }
            false => Err(Refusal::new(Code::Password, "the password is wrong")),
        }
    }
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
            grace_ms: self.terms().grace.as_millis() as u64,
            log: admitted.log,
        }
    }
}
