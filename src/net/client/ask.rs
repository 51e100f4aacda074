//! A password that is wanted and not known yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{End, Event, Link, Order, Task};
use crate::id::{RoomName, Secret};
use crate::wire::Code;

/// Somebody who can be asked for the password of a room.
///
/// Called on a thread where it may wait, with the number of answers so far that were wrong; gives what the
/// password becomes, or nothing for no answer. Once the flag is up nobody waits for it any more.
#[derive(Clone)]
pub struct Ask(pub Arc<Question>);

/// See [`Ask`].
pub type Question = dyn Fn(&RoomName, u32, &AtomicBool) -> Option<Secret<32>> + Send + Sync;

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ask")
    }
}

impl Task {
    /// Asks for the room's password; without an answer the session has ended with `end`.
    pub(super) async fn ask(&mut self, end: Event) {
        let (enough, room, wrong) =
            (Arc::new(AtomicBool::new(false)), self.config.address.room.clone(), self.wrong);
        let answer = self.config.ask.clone().map(|ask| {
            let enough = Arc::clone(&enough);
            tokio::task::spawn_blocking(move || ask.0(&room, wrong, &enough))
        });
        let Some(mut answer) = answer else { return };
        let password = loop {
            tokio::select! {
                answer = &mut answer => break answer.ok().flatten(),
                () = self.events.closed() => break None,
                () = self.hurry.notified() => break None,
                order = self.orders.recv() => match order {
                    None | Some(Order::Leave) => break None,
                    order => self.handle_order(order, &mut Link::Idle),
                },
                Some(order) = self.words.recv() => self.handle_order(Some(order), &mut Link::Idle),
            }
        };
        enough.store(true, Ordering::Relaxed);
        match password {
            Some(password) => {
                self.wrong += 1;
                self.client.handle_password(password);
            }
            None => {
                // The terminal is given back before anything else happens.
                if !answer.is_finished() {
                    let _ = answer.await;
                }
                self.undelivered.push_back(end);
            }
        }
    }
}

/// Whether a session has ended because the password was missing or wrong.
pub(super) fn is_refused_password(event: &Event) -> bool {
    matches!(event, Event::Ended(End::Refused(refusal)) if refusal.code == Code::Password)
}
