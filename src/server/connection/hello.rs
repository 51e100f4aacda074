//! Who says hello: comes in, or only looks.

use std::time::Duration;

use tracing::{field, info};

use super::{Connection, Seat, Wish};
use crate::id::{RoomName, Secret};
use crate::limits;
use crate::room::{Admitted, Join};
use crate::server::Server;
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
        if let Err(refusal) = hall.check_password(hello.password.as_ref(), self.peer.nonce()) {
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
        let shown = match self.server.known(&room, self.ticket.source()).await {
            Ok(hall) => hall
                .check_password(hello.password.as_ref(), self.peer.nonce())
                .and_then(|()| hall.look(hello.key, hello.offers, &self.outbox)),
            Err(refusal) => Err(refusal),
        };
        match shown {
            Ok(()) => {
                tracing::Span::current().record("room", field::display(&room));
                info!(client = hello.client, "looked");
                self.peer.handle_shown();
                let slowest = self.outbox.waiting() as u64 / limits::FRAME_RATE;
                self.linger = limits::HELLO + Duration::from_secs(slowest);
                self.outbox.goodbye(Goodbye::default());
            }
            Err(refusal) => self.end(refusal),
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
