//! From decoded pictures to a window, a PNG or nothing at all.
//!
//! [`layout`] decides where each tile goes and knows no pixels; [`text`] turns names into alpha
//! bitmaps; [`compose`] paints tiles into a buffer of 0RGB pixels and touches only what has changed;
//! [`window`] shows that buffer, [`snapshot`] writes it to a file.

mod canvas;
pub mod compose;
pub mod layout;
mod scale;
pub mod snapshot;
pub mod text;
pub mod window;

pub use canvas::Canvas;
