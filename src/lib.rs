//! confkit: video meetings as Unix commands.
//!
//! The library behind the programs in `src/bin`. Read it in the order in which a picture travels:
//!
//! ```text
//! video::capture -> video::encode -> wire -> pipe -> pipeline::send -> net -> server -> room
//!   -> subscriber queue -> net -> playout -> video::decode -> video::render -> window
//! ```
//!
//! Layers; imports point downward only (`make layers` checks it):
//!
//! ```text
//! bin -> cli -> server, pipeline, terminal -> net, video, files -> session, room, playout
//!   -> transfer, chat, media, h264 -> wire -> text, id, time, limits
//! ```
//!
//! `wire`, `chat`, `transfer`, `session`, `room`, `playout` and `h264` are pure: no socket, file, thread or clock.

pub mod chat;
pub mod cli;
pub mod files;
pub mod h264;
pub mod id;
pub mod limits;
pub mod media;
pub mod net;
pub mod pipeline;
pub mod playout;
pub mod room;
pub mod server;
pub mod session;
#[cfg(test)]
mod simulation;
pub mod terminal;
pub mod text;
pub mod time;
pub mod transfer;
pub mod video;
pub mod wire;
