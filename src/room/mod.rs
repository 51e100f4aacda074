//! Who is in a room, what they publish, and what waits for whom.
//!
//! [`Room`] decides about members, sessions and tracks; [`Queue`] about what one receiver is sent and
//! when it is dropped; [`Fan`] about who gets a track's frames; [`Gop`] keeps what starts a late joiner. None of them does I/O or reads a clock:
//! the server gives them events and the time, and carries out what they say.

mod core;
mod fan;
mod gop;
mod pace;
mod presence;
pub mod queue;

pub use core::{Admitted, Fetch, Join, Older, Output, Person, Room, Settings, Terms};
pub use fan::{Ask, Delivery, Fan, Receiver};
pub use gop::Gop;
pub use pace::{Pace, Transit};
pub use queue::{Drops, Flow, Overflow, Queue};
