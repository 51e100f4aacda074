//! A program's membership of a room over one or more connections.
//!
//! Pure: bytes, frames and time come in as arguments, what is to be done goes out. [`Client`] is the
//! client's side, [`Heartbeat`] tells a dead peer from a quiet one (both sides use it), [`Address`] is
//! what a user types.

pub mod address;
pub mod backoff;
pub mod client;
pub mod heartbeat;
mod publications;
pub mod random;
#[cfg(test)]
pub(crate) mod sim;
#[cfg(test)]
mod tests;

pub use address::Address;
pub use client::Client;
pub use heartbeat::Heartbeat;

pub mod guard;
