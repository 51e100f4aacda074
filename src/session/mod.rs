//! A program's membership of a room over one or more connections.
//!
//! Pure: bytes, frames and time come in as arguments, what is to be done goes out. [`Heartbeat`] tells
//! a dead peer from a quiet one (both sides use it), [`Address`] is what a user types.

pub mod address;
pub mod heartbeat;

pub use address::Address;
pub use heartbeat::Heartbeat;
