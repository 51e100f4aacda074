//! Pictures at the edges of the machine: capturing, encoding, decoding and drawing them, each role behind a trait.

pub mod capture;
pub mod decode;
pub mod encode;
pub mod render;
