//! Where received files are written.
//!
//! Everything happens below one directory that is held by its descriptor. Each step down is one name,
//! opened with `openat2` so that neither a link nor `..` leads out, whoever moves things about in the
//! meantime; a name that is there and is no plain file or directory is never opened.
//!
//! What is not whole yet is in a [`Part`] beside where it will be: `NAME.part`, a file for a single one and
//! a directory of numbered files for several, locked while a program writes to it. Only what is whole is
//! renamed to its final name, after its bytes are on the disk, and the directory after that.
//!
//! Names come from [`transfer`](crate::transfer), which judges them; what is not one plain component is
//! refused here once more. Nothing here decides what may be replaced.

mod directory;
mod part;
mod place;

use std::io;
use std::path::PathBuf;

pub use directory::{Directory, There};
pub use part::{Part, Stage, Unsynced};
pub use place::{Existing, Item};

/// What is behind the name of a file that is not whole yet.
pub const PART: &str = ".part";
/// What is behind the name of a part's journal.
pub const JOURNAL: &str = ".journal";
/// Bytes of a file name, on every file system of Linux.
const NAME: usize = 255;

/// Why something could not be written where it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system says no.
    #[error("cannot {doing} {}: {}", shown(.path), cause(.error))]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// Something else is there, which is neither followed nor opened.
    #[error("{} is {what}, which is never written to; move it away or choose another place with -o", shown(.path))]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// A file of that name is there.
    #[error("{} exists already", shown(.0))]
    Exists(PathBuf),
    /// Another program is receiving into it.
    #[error("{} is being written by another program", shown(.0))]
    Busy(PathBuf),
    /// A directory that has the name of a part, with what nobody puts into one.
    #[error("{} is a directory that has other things in it than a part has; move it away yourself", shown(.0))]
    Mixed(PathBuf),
    /// A name that is no name.
    #[error("a name that cannot be used")]
    Name,
}

impl Error {
    fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.into();
        move |error| Self::Io { doing, path, error: error.into() }
    }

    /// Whether there is no room left, by the disk or by a quota.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { error, .. } if matches!(error.kind(), StorageFull | QuotaExceeded))
    }
}

/// A path as a person may see it.
fn shown(path: &std::path::Path) -> String {
    crate::text::scrub(&path.display().to_string(), 4096)
}

/// The cause in words that say what is the matter; the system's own where these do.
fn cause(error: &io::Error) -> String {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull => "no space is left on this disk".into(),
        ErrorKind::QuotaExceeded => "your quota on this disk is used up".into(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        ErrorKind::FileTooLarge => "the file is too large for this file system or for your limit".into(),
        ErrorKind::InvalidFilename => "the name is too long for this file system".into(),
        ErrorKind::NotADirectory => "it is no directory".into(),
        ErrorKind::NotFound => "there is no such directory".into(),
        _ => error.to_string(),
    }
}

/// One plain component, or an error.
fn plain(name: &str) -> Result<&str, Error> {
    let bad = name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']);
    if bad { Err(Error::Name) } else { Ok(name) }
}
