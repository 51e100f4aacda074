//! What the tests need to play the other side.

pub mod cable;
pub mod files;
pub mod hands;
pub mod kills;
pub mod liar;
pub mod mount;
pub mod peer;
pub mod programs;
pub mod random;
pub mod scene;
pub mod take;
pub mod taker;
pub mod talk;
pub mod terminal;
pub mod thin;
pub mod watcher;
