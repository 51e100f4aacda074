//! Pictures at the edges of the machine: decoding them and drawing them.

pub mod decode;
pub mod render;
