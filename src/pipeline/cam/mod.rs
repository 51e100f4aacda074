//! From a source of pictures to a stream of bytes: what conf-cam does.
//!
//! ```text
//! capture thread: source -> fit -> clock -> [latest picture] -> caller: encode -> [outbox, 2] -> output thread -> fd
//! ```
//!
//! Nothing waits in line. When the output takes no more, pictures are dropped before they are encoded, so that nothing
//! that was encoded is ever missing, and the bitrate goes down until they fit again.

mod coder;
mod feedback;
mod limits;
mod meter;
mod outbox;
mod shape;
mod skips;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use self::coder::Coder;
use self::feedback::Feedback;
use self::limits::Limits;
use self::meter::Meter;
pub use self::meter::Progress;
use self::outbox::Outbox;
pub use self::outbox::Pipe;
use self::shape::Shape;
use crate::h264::AccessUnit;
use crate::media::{Latest, Picture, Size, clock};
use crate::time;
use crate::video::capture::{
    self, Camera, CameraId, Context, Description, Fit, Pattern, Recorded, Recovering, Source, Stop, Target,
    Test, Units, Want, open_file,
};
use crate::video::encode::{self, Encoded};

/// Where the pictures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A camera of this machine.
    Camera(CameraId),
    /// A test picture.
    Test(Pattern),
    /// A file, `-` for stdin; again and again, if `again`.
    File {
        /// Where it is.
        path: PathBuf,
        /// Begins anew at its end.
        again: bool,
    },
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Frames, for conf-send and conf-view.
    Conf,
    /// H.264 in Annex B form.
    H264,
    /// Raw pictures (YUV4MPEG2).
    Y4m,
}

/// All that can be chosen.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where from.
    pub origin: Origin,
    /// How.
    pub want: Want,
    /// Bits per second; what suits the size where it is `None`.
    pub bitrate: Option<u32>,
    /// What to write.
    pub format: Format,
    /// Burn the time of capture into the pictures.
    pub clock: bool,
    /// End after this time.
    pub duration: Option<Duration>,
    /// End after so many pictures.
    pub frames: Option<u64>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Pictures that were written.
    pub pictures: u64,
    /// Pictures that were captured and not written, because there was no room or no time.
    pub dropped: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// From the first picture to the end.
    pub time: Duration,
}

impl Report {
    /// Pictures per second that were written.
    pub fn fps(&self) -> f64 {
        self.pictures.saturating_sub(1) as f64 / self.time.as_secs_f64().max(0.001)
    }
}

/// Why it ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source.
    #[error(transparent)]
    Capture(#[from] capture::Error),
    /// The encoder.
    #[error(transparent)]
    Encode(#[from] encode::Error),
    /// The output; also when its reader has gone.
    #[error("cannot write: {0}")]
    Output(#[source] io::Error),
    /// The system has no more threads or sockets.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
}

/// Without a picture for this long, that is said. A camera has its own patience.
const SILENCE: Duration = Duration::from_secs(2);
/// How often a wait looks whether it shall end: a device that hangs cannot be woken.
const GLANCE: Duration = Duration::from_millis(100);
/// At the end, what is written may take this long to be taken.
const DRAIN: Duration = Duration::from_secs(1);

/// Where pictures go, and who is told about it.
pub struct Way<'a> {
    /// The output.
    pub output: Box<dyn Write + Send>,
    /// Another handle to it when it is a pipe: that is made short and never waited for.
    pub pipe: Option<Pipe>,
    /// Hears every second how it goes.
    pub progress: &'a mut dyn FnMut(&Progress),
}

/// Runs until the source ends, a limit is reached, the output fails or `stop` is called.
pub fn run<'a>(options: &'a Options, way: Way<'a>, stop: &'a Arc<Stop>) -> Result<Report, Error> {
    let mut work = Work::start(options, way, stop)?;
    let context = Context { stop: Arc::clone(&work.ending.0), want: options.want };
    match &options.origin {
        Origin::File { path, again } => match open_file(path, *again, &context)? {
            Recorded::Units(units) if passes(options) => work.pass(units),
            Recorded::Units(units) => work.live(move || Ok(units.decoded())),
            Recorded::Y4m(source) => work.live(move || Ok(source)),
        },
        Origin::Test(pattern) => {
            let source = Test::new(*pattern, &context);
            work.live(move || Ok(source))
        }
        Origin::Camera(id) => {
            let camera = Camera::new(id.clone(), options.want);
            work.live(move || Recovering::open(camera, context.stop))
        }
    }?;
    let report = work.finish()?;
    tracing::info!(
        report.pictures,
        report.dropped,
        report.bytes,
        pictures_per_second = format_args!("{:.1}", report.fps()),
        "done"
    );
    Ok(report)
}

/// Stops what it is told to, at the latest when it goes.
struct Ending(Arc<Stop>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// One picture, at the size that is wanted. A camera gets some pictures' time to adapt to the light.
pub fn snapshot(options: &Options, stop: &Arc<Stop>) -> Result<Picture, Error> {
    const WARM_UP: usize = 8;
    let context = Context { stop: Arc::clone(stop), want: options.want };
    let (mut source, skip): (Box<dyn Source>, usize) = match &options.origin {
        Origin::File { path, .. } => match open_file(path, false, &context)? {
            Recorded::Units(units) => (Box::new(units.decoded()), 0),
            Recorded::Y4m(source) => (Box::new(source), 0),
        },
        Origin::Test(pattern) => (Box::new(Test::new(*pattern, &context)), 0),
        Origin::Camera(id) => {
            let camera = Camera::new(id.clone(), options.want);
            (Box::new(Recovering::open(camera, Arc::clone(stop))?), WARM_UP)
        }
    };
    for _ in 0..skip {
        source.next()?;
    }
    let mut picture = Fit::new(options.want.size).apply(source.next()?);
    if options.clock {
        burn(&mut picture);
    }
    Ok(picture)
}

/// Whether access units leave as they came.
fn passes(options: &Options) -> bool {
    options.format != Format::Y4m
        && !options.clock
        && options.bitrate.is_none()
        && options.want.size == Target::Natural
}

/// One run, on the caller's thread.
struct Work<'a> {
    options: &'a Options,
    shape: Shape,
    feedback: Option<Feedback>,
    outbox: Arc<Outbox>,
    /// The user's.
    stop: &'a Arc<Stop>,
    /// The source's: it ends with this run, whether that was stopped or has done what was wanted.
    ending: Ending,
    meter: Meter,
    progress: &'a mut dyn FnMut(&Progress),
}

/// What the capture thread and the caller share.
struct Shared<T> {
    latest: Latest<T>,
    error: Mutex<Option<capture::Error>>,
    gone: Latest<()>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { latest: Latest::new(), error: Mutex::default(), gone: Latest::new() }
    }
}

impl<T: Send + 'static> Shared<T> {
    /// Has a thread bring something until there is an error.
    fn spawn(
        self: &Arc<Self>,
        bring: impl FnOnce(&Self) -> Result<(), capture::Error> + Send + 'static,
    ) -> Result<(), Error> {
        let there = Arc::clone(self);
        let work = move || {
            if let Err(error) = bring(&there) {
                *lock(&there.error) = Some(error);
            }
            there.latest.close();
            there.gone.close();
        };
        std::thread::Builder::new().name("capture".into()).spawn(work).map_err(Error::Start)?;
        Ok(())
    }
}

/// A picture, and what its source was then.
struct Captured {
    picture: Picture,
    description: Description,
    interruptions: u64,
}

impl<'a> Work<'a> {
    fn start(options: &'a Options, way: Way<'a>, stop: &'a Arc<Stop>) -> Result<Self, Error> {
        let ending = Ending(Arc::default());
        let feedback = match &way.pipe {
            Some(_) if options.format == Format::Conf => Feedback::open(Arc::clone(&ending.0))
                .unwrap_or_else(|error| {
                    tracing::debug!(%error, "no feedback socket");
                    None
                }),
            _ => None,
        };
        let outbox = Outbox::start(way.output, way.pipe).map_err(Error::Start)?;
        let shape = Shape::new(options.format, feedback.as_ref().map(Feedback::path));
        let meter = Meter::default();
        Ok(Self { options, shape, feedback, outbox, stop, ending, meter, progress: way.progress })
    }

    /// Access units of a file, untouched, at their pace. A file can wait: nothing is dropped.
    fn pass(&mut self, mut units: Units) -> Result<(), Error> {
        let shared = Arc::new(Shared::<()>::default());
        let (taken, next) = sync_channel(0);
        // Reading may block on a pipe that nobody writes to, so it happens where it can be left behind.
        shared.spawn(move |_| {
            loop {
                let unit = units.next_unit().map(|passage| (passage, units.description()));
                let last = unit.is_err();
                if taken.send(unit).is_err() || last {
                    return Ok(());
                }
            }
        })?;
        let mut limits = Limits::new(self.options);
        while !self.stop.is_stopped() {
            self.tell();
            let (passage, description) = match next.recv_timeout(GLANCE) {
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) | Ok(Err(capture::Error::Ended)) => break,
                Ok(next) => next?,
            };
            if limits.is_over(passage.captured) {
                break;
            }
            self.wait_for_room()?;
            if self.stop.is_stopped() {
                break;
            }
            let AccessUnit { data, key, tid } = passage.unit;
            let unit = Encoded { data, key, tid };
            let size = description.size;
            self.meter.handle_picture(size, passage.captured);
            self.outbox.put(self.shape.unit(&description, size, &unit, passage.captured));
            if limits.is_enough() {
                break;
            }
        }
        drop(next);
        self.end(&shared)
    }

    /// Pictures that are taken when there is room for them.
    fn live<S: Source + 'static>(
        &mut self,
        open: impl FnOnce() -> Result<S, capture::Error> + Send + 'static,
    ) -> Result<(), Error> {
        let shared = Arc::new(Shared::default());
        let (target, clock) = (self.options.want.size, self.options.clock);
        shared.spawn(move |there| open().and_then(|source| capture(source, target, clock, &there.latest)))?;
        let written = self.write_pictures(&shared.latest);
        shared.latest.close();
        let ended = self.end(&shared);
        written?;
        ended
    }

    /// The source is let go, and its error told, if that is why it ended.
    fn end<T>(&self, shared: &Shared<T>) -> Result<(), Error> {
        let failed = lock(&shared.error).take();
        self.ending.0.stop();
        // The camera is let go before the program says that it is done; a device that hangs is left to the system.
        shared.gone.take_within(DRAIN);
        match failed {
            Some(capture::Error::Ended) | None => Ok(()),
            Some(error) => Err(error.into()),
        }
    }

    fn write_pictures(&mut self, latest: &Latest<Captured>) -> Result<(), Error> {
        let mut coder: Option<Coder> = None;
        let end = self.write_until_enough(latest, &mut coder);
        if let Some(coder) = &coder {
            coder.tell_last_skips();
        }
        end
    }

    fn write_until_enough(
        &mut self,
        latest: &Latest<Captured>,
        coder: &mut Option<Coder>,
    ) -> Result<(), Error> {
        let mut limits = Limits::new(self.options);
        let (mut heard, mut said, mut losses) = (time::now(), false, 0);
        loop {
            let blocked = self.wait_for_room()?;
            if self.stop.is_stopped() {
                return Ok(());
            }
            let Some(captured) = latest.take_within(GLANCE) else {
                if latest.is_closed() {
                    return Ok(());
                }
                if !said && time::now().since(heard) >= SILENCE {
                    said = true;
                    if !matches!(self.options.origin, Origin::Camera(_)) {
                        tracing::warn!("no picture for 2 s; waiting");
                    }
                }
                continue;
            };
            (heard, said) = (time::now(), false);
            let lost = latest.replaced() - losses;
            losses += lost;
            self.meter.handle_drops(lost);
            if limits.is_over(captured.picture.captured) {
                return Ok(());
            }
            match self.shaped(&captured, coder, blocked, lost)? {
                Some(parts) => {
                    self.meter.handle_picture(size_of(&captured.picture), captured.picture.captured);
                    self.outbox.put(parts);
                    if limits.is_enough() {
                        return Ok(());
                    }
                }
                None => self.meter.handle_drops(1),
            }
        }
    }

    /// A picture as it is written; `None` when it is left out.
    fn shaped(
        &mut self,
        captured: &Captured,
        coder: &mut Option<Coder>,
        blocked: bool,
        lost: u64,
    ) -> Result<Option<Vec<Bytes>>, Error> {
        let Captured { picture, description, interruptions } = captured;
        if self.options.format == Format::Y4m {
            return Ok(self.shape.picture(description, picture));
        }
        let size = size_of(picture);
        let coder = coder.get_or_insert_with(|| Coder::new(self.options, description, size, &self.outbox));
        coder.handle_losses(blocked, lost);
        coder.handle_interruptions(*interruptions);
        let Some(unit) = coder.encode(picture, self.feedback.as_ref().is_some_and(Feedback::key_wanted))?
        else {
            return Ok(None);
        };
        if unit.key
            && let Some(feedback) = &self.feedback
        {
            feedback.handle_key();
        }
        Ok(Some(self.shape.unit(description, size, &unit, picture.captured)))
    }

    /// Waits until a picture can be put, or until everything is to stop; whether that took a wait.
    fn wait_for_room(&mut self) -> Result<bool, Error> {
        let mut limit = Duration::ZERO;
        loop {
            self.tell();
            if self.outbox.wait_for_room(limit).map_err(Error::Output)? || self.stop.is_stopped() {
                return Ok(!limit.is_zero());
            }
            limit = GLANCE;
        }
    }

    fn tell(&mut self) {
        if let Some(progress) = self.meter.poll(time::now(), self.outbox.written()) {
            (self.progress)(&progress);
        }
    }

    /// Waits until all is written. Once everything is to stop, that may not take long any more.
    fn finish(mut self) -> Result<Report, Error> {
        let time = self.meter.time(time::now());
        while !self.stop.is_stopped() && !self.outbox.finish(GLANCE).map_err(Error::Output)? {
            self.tell();
        }
        self.outbox.finish(DRAIN).map_err(Error::Output)?;
        let written = self.outbox.written();
        let dropped = self.meter.dropped(written);
        Ok(Report { pictures: written.pictures, dropped, bytes: written.bytes, time })
    }
}

fn capture(
    mut source: impl Source,
    target: Target,
    clock: bool,
    latest: &Latest<Captured>,
) -> Result<(), capture::Error> {
    let mut fit = Fit::new(target);
    loop {
        let mut picture = fit.apply(source.next()?);
        if clock {
            burn(&mut picture);
        }
        let (description, interruptions) = (source.describe(), source.interruptions());
        if !latest.put(Captured { picture, description, interruptions }) {
            return Ok(());
        }
    }
}

/// Writes the wall-clock time at which it was captured into a picture.
fn burn(picture: &mut Picture) {
    let age = time::now().since(picture.captured).as_micros() as u64;
    clock::burn(picture, time::wall().saturating_sub(age));
}

fn size_of(picture: &Picture) -> Size {
    Size { width: picture.width(), height: picture.height() }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
