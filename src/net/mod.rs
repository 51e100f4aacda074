//! The network edge: sockets, name resolution, and the task that runs a session over TCP.

pub mod client;
pub mod dial;
pub mod tcp;
