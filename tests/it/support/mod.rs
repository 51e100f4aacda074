//! What the tests need to play the other side.

pub mod files;
pub mod peer;
pub mod programs;
pub mod take;
pub mod talk;
pub mod watcher;
