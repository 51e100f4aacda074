//! conf-view without its command line: tracks come from a room or a pipe, pictures go to a window, a PNG, a file or
//! nowhere.
//!
//! A source ([`room`], [`pipe`]) tells a [`Stage`] what is there and hands it access units; each track decodes on a
//! thread of its own ([`track`]); [`show`] draws what is on the stage and measures. Nothing that
//! comes in can stop another track or the window.

mod about;
mod figures;
mod gaps;
mod only;
pub mod pipe;
pub mod room;
mod session;
pub mod show;
mod sink;
mod stage;
mod track;

use std::io;

pub use about::About;
pub use figures::Figures;
pub use only::Only;
pub use session::Session;
pub use show::{Settings, Statistics};
pub use sink::Format;
pub use stage::{Person, Recording, Stage};
pub use track::{Track, Unit};

use crate::session::client::End;
use crate::video::decode::Refused;
use crate::video::render::window::NoWindow;

/// Why viewing ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No window could be opened.
    #[error(transparent)]
    NoWindow(#[from] NoWindow),
    /// What comes through the pipe cannot be read.
    #[error("{what}, at byte {offset} of the input")]
    Input {
        /// What is wrong.
        what: String,
        /// Where.
        offset: u64,
    },
    /// What comes through the pipe is of a kind that cannot be shown.
    #[error("{0}")]
    Unsupported(String),
    /// Nothing came of what was to be written.
    #[error("{0}")]
    Nothing(String),
    /// The pipe broke.
    #[error("cannot read the input: {0}")]
    Read(io::Error),
    /// The stream is of a kind that cannot be shown.
    #[error("{0}")]
    Refused(Refused),
    /// The output cannot be written.
    #[error("cannot write: {0}")]
    Output(#[source] io::Error),
    /// The snapshot cannot be written.
    #[error("cannot write the snapshot {path}: {error}")]
    Snapshot {
        /// Where to.
        path: String,
        /// Why not.
        error: io::Error,
    },
    /// The session in the room is over.
    #[error("{0}")]
    Ended(End),
    /// The system has no thread or runtime left.
    #[error("cannot start: {0}")]
    Start(io::Error),
}
