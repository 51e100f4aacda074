//! What the programs do between their ends: pipes, codecs and sessions put together.

pub mod cam;
pub mod send;
pub mod view;
