//! A track written to a pipe or a file instead of a window.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::Error;
use super::about::About;
use super::track::{Unit, lock};
use crate::media::{Picture, Size};
use crate::video::capture::{Fit, Target};
use crate::video::decode::Refused;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Access units as they came, from the first keyframe on.
    H264,
    /// Pictures, uncompressed.
    Y4m,
}

/// Where errors of a sink go: it works on a track's thread, they are told by the main one.
pub(super) type Trouble = Arc<Mutex<Option<Error>>>;

/// Where the sink lies while no track writes to it.
pub(super) type Place = Arc<Mutex<Option<Sink>>>;

/// The home of the sink: a member who comes back has another track, and the recording goes on with that.
pub(super) struct Home {
    place: Option<Place>,
    wrote: Arc<AtomicBool>,
    /// Which track is recorded, once the first has come.
    meant: Mutex<Option<About>>,
    /// It has been said that others are there.
    told: AtomicBool,
}

impl Home {
    pub(super) fn new(sink: Option<Sink>) -> Self {
        let wrote = sink.as_ref().map(|sink| Arc::clone(&sink.wrote)).unwrap_or_default();
        let place = sink.map(|sink| Arc::new(Mutex::new(Some(sink))));
        Self { place, wrote, meant: Mutex::default(), told: AtomicBool::new(false) }
    }

    /// Whether a recording was wanted and nothing has been written so far.
    pub(super) fn is_empty(&self) -> bool {
        self.place.is_some() && !self.wrote.load(Ordering::Relaxed)
    }

    /// Where a track takes the sink from, if it is the one that is recorded. When another one comes, it is said once
    /// which one is.
    pub(super) fn lend(&self, about: &About) -> Option<Place> {
        let place = self.place.as_ref()?;
        let mut meant = lock(&self.meant);
        let meant = meant.get_or_insert_with(|| about.clone());
        if meant.member == about.member && meant.label == about.label {
            return Some(Arc::clone(place));
        }
        if !self.told.swap(true, Ordering::Relaxed) {
            let (this, other) = (meant.title(), about.title());
            tracing::warn!(
                "only {this} is written, not {other}; to choose: --only NICK or --only NICK/LABEL"
            );
        }
        None
    }
}

/// Writes one track.
pub(super) struct Sink {
    format: Format,
    out: Box<dyn Write + Send>,
    trouble: Trouble,
    fps: f64,
    size: Option<(usize, usize)>,
    /// Brings pictures of another size to the first one's.
    fit: Option<Fit>,
    started: bool,
    /// Something has been written.
    wrote: Arc<AtomicBool>,
}

impl Sink {
    pub(super) fn new(format: Format, out: Box<dyn Write + Send>, trouble: Trouble) -> Self {
        Self { format, out, trouble, fps: 30.0, size: None, fit: None, started: false, wrote: Arc::default() }
    }

    pub(super) fn wants_pictures(&self) -> bool {
        self.format == Format::Y4m
    }

    /// Writes an access unit where those are wanted.
    pub(super) fn unit(&mut self, unit: &Unit) {
        if self.format != Format::H264 || self.failed() {
            return;
        }
        match crate::h264::inspect(&unit.data) {
            Ok(summary) => {
                self.started |= summary.key;
                if self.started {
                    let written = self.out.write_all(&unit.data);
                    self.check(written);
                }
            }
            Err(refusal) => {
                // What follows needs it, so that a reader has to begin anew as well.
                self.started = false;
                self.refused(&refusal.into());
            }
        }
    }

    /// Writes a picture where those are wanted.
    pub(super) fn picture(&mut self, picture: &Picture) {
        if self.format != Format::Y4m || self.failed() {
            return;
        }
        let size = (picture.width(), picture.height());
        let written = match self.size {
            None => {
                self.size = Some(size);
                let rate = (self.fps * 1000.0).round() as u32;
                let header = format!("YUV4MPEG2 W{} H{} F{rate}:1000 Ip A1:1 C420mpeg2\n", size.0, size.1);
                self.out.write_all(header.as_bytes())
            }
            Some(_) => Ok(()),
        };
        let first = self.size.unwrap_or(size);
        let scaled = (first != size).then(|| self.scaled(picture, first));
        let picture = scaled.as_ref().unwrap_or(picture);
        let written = written
            .and_then(|()| self.out.write_all(b"FRAME\n"))
            .and_then(|()| self.out.write_all(picture.data()));
        self.check(written);
    }

    /// `picture` at the size with which the recording began: Y4M has only one.
    fn scaled(&mut self, picture: &Picture, (width, height): (usize, usize)) -> Picture {
        let fit = self.fit.get_or_insert_with(|| {
            let now = format_args!("{}x{}", picture.width(), picture.height()).to_string();
            tracing::warn!(
                "the pictures are {now} now; they are written as {width}x{height}, as the first ones were"
            );
            Fit::new(Target::Exact(Size { width, height }))
        });
        fit.apply(picture.clone())
    }

    /// Nothing that could be written will come.
    pub(super) fn refused(&mut self, refused: &Refused) {
        if refused.is_final() {
            self.fail(Error::Refused(refused.clone()));
        }
    }

    /// From now on another track, which begins with a keyframe.
    pub(super) fn begin(&mut self, about: &About) {
        self.fps = about.fps.filter(|fps| (0.1..=1000.0).contains(fps)).unwrap_or(self.fps);
        self.started = false;
    }

    fn check(&mut self, written: std::io::Result<()>) {
        match written {
            Ok(()) => self.wrote.store(true, Ordering::Relaxed),
            Err(error) => self.fail(Error::Output(error)),
        }
    }

    fn failed(&self) -> bool {
        lock(&self.trouble).is_some()
    }

    fn fail(&mut self, error: Error) {
        lock(&self.trouble).get_or_insert(error);
    }
}
