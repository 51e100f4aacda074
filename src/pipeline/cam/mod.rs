//! From a source of pictures to a stream of bytes: what conf-cam does.
//!
//! ```text
//! capture thread: source -> fit -> clock -> [latest picture] -> caller: encode -> [outbox, 2] -> output thread -> fd
//! ```
//!
//! Nothing waits in line. When the output takes no more, pictures are dropped before they are encoded, so that nothing
//! that was encoded is ever missing, and the bitrate goes down until they fit again.

mod feedback;
mod outbox;
mod shape;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use self::feedback::Feedback;
use self::outbox::Outbox;
pub use self::outbox::Pipe;
use self::shape::Shape;
use crate::media::{Latest, Picture, Quality, Size, clock};
use crate::time::{self, Moment};
use crate::video::capture::{
    self, Camera, CameraId, Context, Description, Fit, Pattern, Recorded, Recovering, Source, Stop, Target,
    Test, Units, Want, open_file,
};
use crate::video::encode::rate::Rate;
use crate::video::encode::{self, Config, Encoder, OpenH264};

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

/// Without a picture for this long, that is said.
const SILENCE: Duration = Duration::from_secs(2);
/// How often a wait looks whether it shall end: a device that hangs cannot be woken.
const GLANCE: Duration = Duration::from_millis(100);
/// Who asks for keyframes gets one at most this often.
const KEY_INTERVAL: Duration = Duration::from_millis(500);
/// At the end, what is written may take this long to be taken.
const DRAIN: Duration = Duration::from_secs(1);

/// Runs until the source ends, a limit is reached, the output fails or `stop` is called. `pipe` is the output when that
/// is a pipe: it is made short and never waited for.
pub fn run(
    options: &Options,
    output: Box<dyn Write + Send>,
    pipe: Option<Pipe>,
    stop: &Arc<Stop>,
) -> Result<Report, Error> {
    let feedback = match &pipe {
        Some(_) if options.format == Format::Conf => {
            Feedback::open(Arc::clone(stop)).unwrap_or_else(|error| {
                tracing::debug!(%error, "no feedback socket");
                None
            })
        }
        _ => None,
    };
    let outbox = Outbox::start(output, pipe).map_err(Error::Start)?;
    let context = Context { stop: Arc::clone(stop), want: options.want };
    let ended = match &options.origin {
        Origin::File { path, again } => match open_file(path, *again, &context)? {
            Recorded::Units(units) if passes(options) => {
                pass(options, units, &outbox, feedback.as_ref(), stop)
            }
            Recorded::Units(units) => live(options, move || Ok(units.decoded()), &outbox, feedback, stop),
            Recorded::Y4m(source) => live(options, move || Ok(source), &outbox, feedback, stop),
        },
        Origin::Test(pattern) => {
            let source = Test::new(*pattern, &context);
            live(options, move || Ok(source), &outbox, feedback, stop)
        }
        Origin::Camera(id) => {
            let camera = Camera::new(id.clone(), options.want);
            let stop = Arc::clone(stop);
            live(
                options,
                move || Recovering::open(camera, Arc::clone(&stop)),
                &outbox,
                feedback,
                &context.stop,
            )
        }
    };
    let report = ended?;
    outbox.finish(DRAIN).map_err(Error::Output)?;
    tracing::info!(report.pictures, report.dropped, report.bytes, "done");
    Ok(report)
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

/// Access units of a file, untouched, at their pace. A file can wait: nothing is dropped.
fn pass(
    options: &Options,
    mut units: Units,
    outbox: &Arc<Outbox>,
    feedback: Option<&Feedback>,
    stop: &Arc<Stop>,
) -> Result<Report, Error> {
    let mut shape = Shape::new(options.format, feedback.map(Feedback::path));
    let (limits, outbox) = (Limits::new(options), Arc::clone(outbox));
    let work = move || {
        let description = units.description();
        let mut limits = limits;
        let mut report = Report::default();
        loop {
            let passage = match units.next_unit() {
                Err(capture::Error::Ended) => return Ok(report),
                next => next?,
            };
            if limits.reached(report.pictures, passage.captured) {
                return Ok(report);
            }
            outbox.wait_for_room(&|| false).map_err(Error::Output)?;
            let unit =
                encode::Encoded { data: passage.unit.data, key: passage.unit.key, tid: passage.unit.tid };
            for bytes in shape.unit(&description, description.size, &unit, passage.captured) {
                report.bytes += bytes.len() as u64;
                outbox.put(bytes);
            }
            report.pictures += 1;
        }
    };
    // Reading may block on a pipe that nobody writes to, so it happens where it can be left behind.
    let result = Arc::new(Latest::new());
    let there = Arc::clone(&result);
    spawn("capture", move || {
        there.put(work());
    })?;
    loop {
        match result.take_within(GLANCE) {
            Some(report) => return report,
            None if stop.is_stopped() => return Ok(Report::default()),
            None => {}
        }
    }
}

/// What the capture thread and the caller share.
struct Shared {
    latest: Latest<Picture>,
    description: Mutex<Option<Description>>,
    error: Mutex<Option<capture::Error>>,
    gone: Latest<()>,
}

/// Pictures that are taken when there is room for them.
fn live<S: Source + 'static>(
    options: &Options,
    open: impl FnOnce() -> Result<S, capture::Error> + Send + 'static,
    outbox: &Arc<Outbox>,
    feedback: Option<Feedback>,
    stop: &Arc<Stop>,
) -> Result<Report, Error> {
    let shared = Arc::new(Shared {
        latest: Latest::new(),
        description: Mutex::default(),
        error: Mutex::default(),
        gone: Latest::new(),
    });
    let (there, target, clock) = (Arc::clone(&shared), options.want.size, options.clock);
    spawn("capture", move || {
        if let Err(error) = open().and_then(|source| capture(source, target, clock, &there)) {
            *lock(&there.error) = Some(error);
        }
        there.latest.close();
        there.gone.close();
    })?;
    let report = write_pictures(options, &shared, outbox, feedback.as_ref(), stop);
    shared.latest.close();
    let failed = lock(&shared.error).take();
    // The camera is let go before the program says that it is done; a device that hangs is left to the system.
    stop.stop();
    shared.gone.take_within(DRAIN);
    let report = report?;
    match failed {
        Some(capture::Error::Ended) | None => Ok(report),
        Some(error) => Err(error.into()),
    }
}

fn capture(
    mut source: impl Source,
    target: Target,
    clock: bool,
    shared: &Shared,
) -> Result<(), capture::Error> {
    let mut fit = Fit::new(target);
    loop {
        let mut picture = fit.apply(source.next()?);
        if clock {
            burn(&mut picture);
        }
        *lock(&shared.description) = Some(source.describe());
        if !shared.latest.put(picture) {
            return Ok(());
        }
    }
}

/// Writes the wall-clock time at which it was captured into a picture.
fn burn(picture: &mut Picture) {
    let age = time::now().since(picture.captured).as_micros() as u64;
    clock::burn(picture, time::wall().saturating_sub(age));
}

fn write_pictures(
    options: &Options,
    shared: &Shared,
    outbox: &Arc<Outbox>,
    feedback: Option<&Feedback>,
    stop: &Arc<Stop>,
) -> Result<Report, Error> {
    let mut shape = Shape::new(options.format, feedback.map(Feedback::path));
    let mut limits = Limits::new(options);
    let mut coder: Option<Coder> = None;
    let mut report = Report::default();
    let (mut heard, mut said, mut losses) = (time::now(), false, 0);
    loop {
        let blocked = outbox.wait_for_room(&|| stop.is_stopped()).map_err(Error::Output)?;
        let Some(picture) = shared.latest.take_within(GLANCE) else {
            if stop.is_stopped() || shared.latest.is_closed() {
                return Ok(report);
            }
            if !said && time::now().since(heard) >= SILENCE {
                tracing::warn!("no picture for 2 s; waiting");
                said = true;
            }
            continue;
        };
        (heard, said) = (time::now(), false);
        let lost = shared.latest.replaced();
        report.dropped += lost - losses;
        if limits.reached(report.pictures, picture.captured) {
            return Ok(report);
        }
        let size = Size { width: picture.width(), height: picture.height() };
        let Some(description) = lock(&shared.description).clone() else { continue };
        let written = if options.format == Format::Y4m {
            Some(shape.picture(&description, &picture))
        } else {
            let coder = coder.get_or_insert_with(|| Coder::new(options, &description, size, outbox));
            coder.handle_losses(blocked, lost - losses);
            let wanted = feedback.is_some_and(Feedback::key_wanted);
            coder.encode(&picture, wanted)?.map(|unit| {
                if unit.key
                    && let Some(feedback) = feedback
                {
                    feedback.handle_key();
                }
                shape.unit(&description, size, &unit, picture.captured)
            })
        };
        losses = lost;
        match written {
            Some(parts) => {
                report.pictures += 1;
                for bytes in parts {
                    report.bytes += bytes.len() as u64;
                    outbox.put(bytes);
                }
            }
            None => report.dropped += 1,
        }
    }
}

/// The encoder and the bitrate that it is given.
struct Coder {
    encoder: OpenH264,
    rate: Rate,
    last_key: Option<Moment>,
}

impl Coder {
    fn new(options: &Options, description: &Description, size: Size, outbox: &Outbox) -> Self {
        let fps = description.fps.clamp(1.0, 120.0);
        let bitrate = options.bitrate.unwrap_or_else(|| Quality::bitrate(size, fps));
        // Room for one large picture: what is in the pipe is late already.
        outbox.shorten((f64::from(bitrate) / 8.0 / fps * 3.0) as usize);
        let encoder = OpenH264::new(Config { fps, bitrate });
        Self { encoder, rate: Rate::new(bitrate, time::now()), last_key: None }
    }

    fn handle_losses(&mut self, blocked: bool, lost: u64) {
        let now = time::now();
        if blocked && lost > 0 {
            self.rate.handle_drop(now);
        }
        if let Some(bps) = self.rate.poll(now) {
            tracing::debug!(bps, "bitrate");
            self.encoder.set_bitrate(bps);
        }
    }

    fn encode(
        &mut self,
        picture: &Picture,
        key_wanted: bool,
    ) -> Result<Option<encode::Encoded>, encode::Error> {
        let now = time::now();
        let due = self.last_key.is_none_or(|last| now.since(last) >= KEY_INTERVAL);
        let unit = self.encoder.encode(picture, key_wanted && due)?;
        if unit.as_ref().is_some_and(|unit| unit.key) {
            self.last_key = Some(now);
        }
        Ok(unit)
    }
}

/// When enough has been written.
struct Limits {
    duration: Option<Duration>,
    frames: Option<u64>,
    first: Option<Moment>,
}

impl Limits {
    fn new(options: &Options) -> Self {
        Self { duration: options.duration, frames: options.frames, first: None }
    }

    fn reached(&mut self, pictures: u64, captured: Moment) -> bool {
        let first = *self.first.get_or_insert(captured);
        self.frames.is_some_and(|most| pictures >= most)
            || self.duration.is_some_and(|most| captured.since(first) >= most)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    std::thread::Builder::new().name(name.into()).spawn(work).map_err(Error::Start)?;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
