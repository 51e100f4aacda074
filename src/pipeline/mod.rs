//! What the programs do with pictures, one module per program.

pub mod cam;
pub mod view;
