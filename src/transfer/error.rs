//! What is wrong with an offer.

use crate::limits;

/// Why a list of files, or what belongs to it, is not taken.
///
/// The texts say what and why; what to type next is known where they are shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no JSON object, or keys are missing or of another kind.
    #[error("the list of files cannot be read: {0}")]
    Garbled(String),
    /// More pieces, or larger ones, than a list can have.
    #[error("the list of files is longer than {} pieces of {} KiB", limits::PIECES, limits::PIECE / 1024)]
    Long,
    /// The list ends before its last piece, or goes on behind it.
    #[error("the list of files is not whole")]
    Torn,
    /// No file and no directory.
    #[error("the list of files is empty")]
    Empty,
    /// Too many.
    #[error("there are more than {} files and directories", limits::ENTRIES)]
    Entries,
    /// Too many names on the way to one.
    #[error("a file is more than {} directories deep", limits::COMPONENTS)]
    Deep,
    /// A name that is not taken, and why.
    #[error("the name \"{0}\" is not accepted: {1}")]
    Name(String, &'static str),
    /// A name that begins with a dot.
    #[error("\"{0}\" begins with a dot, so it is hidden")]
    Hidden(String),
    /// Two that a file system may take for the same.
    #[error("\"{0}\" and \"{1}\" are the same on some systems; leave one out, or send an archive")]
    Twice(String, String),
    /// A file where another file's directory is.
    #[error("\"{0}\" is a file and a directory")]
    Below(String),
    /// A size that cannot be, or all of them together.
    #[error("the sizes add up to more than {} bytes", limits::INTEGER)]
    Large,
    /// Only a single file can be without a size.
    #[error("\"{0}\" has no size")]
    Sizeless(String),
    /// A directory has none.
    #[error("\"{0}\" is a directory and has a size")]
    Sized(String),
    /// Not a power of two, or outside the bounds.
    #[error(
        "chunks of {size} bytes are not a power of two from {} to {} KiB",
        limits::CHUNK_MIN / 1024,
        limits::CHUNK_MAX / 1024
    )]
    ChunkSize {
        /// What was said.
        size: u64,
    },
    /// More chunks than an offer can have.
    #[error("it has more than {} chunks", limits::CHUNKS)]
    Chunks,
    /// The sums are those of other files, or of files of other sizes.
    #[error("the sums do not belong to the list of files")]
    Sums,
}
