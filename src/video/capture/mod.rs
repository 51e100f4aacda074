//! Where pictures come from: a camera, a file, a test picture.
//!
//! A [`Source`] gives one picture after the other, each at its time, on the thread that asks. It converts once, to
//! I420, and never holds pictures back: who is late asks again and gets the present one. [`Stop`] ends every wait.

mod camera;
mod convert;
mod file;
mod fit;
mod modes;
mod pace;
mod pattern;
mod recovery;
mod watched;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub use self::camera::{Camera, CameraId, Listed, list};
pub use self::file::{Passage, Recorded, Units, Y4m, open_file};
pub use self::fit::Fit;
pub use self::modes::{Mode, Pixels, rank, start_first};
pub use self::pace::{Pace, Stop};
pub use self::pattern::{Pattern, Test};
pub use self::recovery::{Device, Opener, Recovering, Recovery, Step};
use crate::media::{Picture, Quality, Size};

/// Gives pictures. A source stays on the thread that made it.
pub trait Source {
    /// Waits for the next picture. Picture times never go backwards.
    fn next(&mut self) -> Result<Picture, Error>;

    /// What it is, as far as it is known; the size may change with the next picture.
    fn describe(&self) -> Description;

    /// How often the pictures have been interrupted so far. After an interruption the next one is nothing like the one
    /// before it, and whoever lost patience meanwhile must be able to begin with it.
    fn interruptions(&self) -> u64 {
        0
    }
}

/// What a source is.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// `camera`, `test` or `file`.
    pub label: &'static str,
    /// For people: the device's name or the file's.
    pub name: String,
    /// Size of the pictures, before [`Fit`].
    pub size: Size,
    /// Pictures per second, as intended.
    pub fps: f64,
}

/// What the user wants to have; a source comes as near as it can.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Want {
    /// Size of the pictures.
    pub size: Target,
    /// Pictures per second; the source's own where it is `None`.
    pub fps: Option<f64>,
    /// How the camera shall deliver its pixels.
    pub pixels: Option<Pixels>,
}

/// The size of the pictures that leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The source's own, for a camera the one nearest to 640x480.
    Natural,
    /// By name, at the source's aspect ratio.
    Quality(Quality),
    /// This one; what does not fit its shape is cut off at the edges.
    Exact(Size),
}

impl Target {
    /// The size for pictures that come as `source`.
    pub fn of(self, source: Size) -> Size {
        match self {
            Self::Natural if Size::new(source.width, source.height).is_ok() => source,
            Self::Natural => source.fitted(Size { width: 3840, height: 2160 }),
            Self::Quality(quality) => quality.size(source),
            Self::Exact(size) => size,
        }
    }
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file has ended, or [`Stop`] was called.
    #[error("there are no more pictures")]
    Ended,
    /// No such camera.
    #[error("{0}; see what there is with conf-cam --list, or try --video test:clock")]
    NoCamera(String),
    /// The system forbids it.
    #[error(
        "{} may not be opened by this user: join the group `video` (sudo usermod -aG video $USER) and log in again",
        .0.display()
    )]
    Forbidden(PathBuf),
    /// Somebody else has it.
    #[error("{} is in use by another program (group `video`): close that one, or choose another camera (conf-cam --list)", .0.display())]
    Busy(PathBuf),
    /// Its bus has no room for its pictures.
    #[error(
        "{} finds no room on its USB bus: unplug what else is on that bus, or ask for less (--size 320x240, --fps 15)",
        .0.display()
    )]
    Bandwidth(PathBuf),
    /// No mode of the camera can be used.
    #[error("{} has no picture format that can be used: it offers {offers}; YUYV, NV12 and MJPEG are understood", path.display())]
    NoMode {
        /// The device.
        path: PathBuf,
        /// The formats that it has.
        offers: String,
    },
    /// The camera's driver fails.
    #[error("{} failed: {why}", path.display())]
    Device {
        /// The device.
        path: PathBuf,
        /// What the driver says.
        why: String,
    },
    /// The camera was opened, or was to be, and nothing came of it.
    #[error(
        "the camera does not answer: unplug it and plug it in again, or choose another (conf-cam --list)"
    )]
    Silent,
    /// The file cannot be opened or read.
    #[error("cannot read {0}: {1}")]
    File(String, io::Error),
    /// The file is of a kind that cannot be used.
    #[error("{0}: {1}")]
    Format(String, String),
    /// The file is no stream, or breaks off being one.
    #[error("{0}: {1}")]
    Damaged(String, String),
}

/// Makes sources that stop together.
#[derive(Debug, Clone)]
pub struct Context {
    /// Ends their waits.
    pub stop: Arc<Stop>,
    /// What the user wants.
    pub want: Want,
}
