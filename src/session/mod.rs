//! A program's membership of a room over one or more connections.
//!
//! Pure: bytes, frames and time come in as arguments, what is to be done goes out. [`Client`] is the
//! client's side, [`Peer`] the server's, [`Heartbeat`] tells a dead peer from a quiet one on both,
//! [`Key`] proves who a person is, and
//! [`Address`] is what a user types.

pub mod address;
pub mod backoff;
pub mod client;
pub mod guard;
pub mod heartbeat;
pub mod key;
pub mod password;
pub mod peer;
mod publications;
pub mod random;
#[cfg(test)]
mod tests;

pub use address::Address;
pub use client::Client;
pub use heartbeat::Heartbeat;
pub use key::Key;
pub use peer::Peer;
