//! The whole in virtual time: programs' [`session::Client`](crate::session::Client)s over simulated links
//! against the server's cores, with faults. Everything follows from a seed.
//!
//! [`host`] wires the server's cores as `server` does, [`program`] the client's as `net::client` does;
//! neither decides anything. [`world`] carries the bytes, moves the time and makes the faults. [`shelf`] is the
//! server's store; [`ears`] say and hear messages, and judge at the end. [`files`] is the same for files on their way.

mod chat;
mod ears;
mod files;
mod host;
pub(crate) mod link;
mod program;
mod shelf;
mod tests;
mod world;
