//! What the programs do between their ends: pipes, codecs and sessions put together.

pub mod cam;
pub mod download;
mod feedback;
pub mod figures;
pub mod offers;
pub mod send;
pub mod upload;
pub mod view;
