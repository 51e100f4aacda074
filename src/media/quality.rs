//! The names of `conf-cam --quality` and the sizes they stand for.

/// Width and height of a picture in pixels, both even.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}
/// see issue
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quality {
    /// x
    Low,
    /// x
    Medium,
    /// x
    High,
    /// x
    Hd,
    /// x
    FullHd,
}
