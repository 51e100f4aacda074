//! A device that comes and goes.
//!
//! [`Recovery`] decides, without a clock or a device; [`Recovering`] does what it says. The device is at work on a thread
//! of its own (`watched`), because drivers may block for ever.

use std::sync::Arc;
use std::time::Duration;

use super::watched::{Event, Watched};
use super::{Description, Error, Source, Stop};
use crate::media::Picture;
use crate::time::{self, Moment};

/// What to do with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Open it.
    Open,
    /// Take the next picture; when there is none at this time, it hangs.
    Read(Moment),
    /// Close it, wait, then ask again.
    Wait(Moment),
}

/// When to open, read, close and wait.
///
/// A device that breaks is closed whole before it is opened again, after 1 s, 2 s, 4 s, 8 s, then every 10 s. A damaged
/// picture is left out and counted; thirty in a row count as broken. One that gives nothing for two seconds hangs, which
/// counts as broken too.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    open: bool,
    read_until: Moment,
    retry_at: Option<Moment>,
    failures: u32,
    damaged_in_a_row: u32,
    damaged: u64,
    losses: u64,
}

/// A camera that delivers nothing usable for a second will not begin to by itself.
pub(super) const MAX_DAMAGED: u32 = 30;
/// Pictures come at least once a second.
const SILENCE: Duration = Duration::from_secs(2);
/// The first picture takes longer: some cameras have to find the light first.
const FIRST_PICTURE: Duration = Duration::from_secs(5);
/// Opening tries several modes, and a camera may need seconds for each.
const OPENING: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(10);

impl Recovery {
    /// What to do now.
    pub fn poll(&self, now: Moment) -> Step {
        match self.retry_at {
            Some(at) if at > now => Step::Wait(at),
            _ if self.open => Step::Read(self.read_until),
            _ => Step::Open,
        }
    }

    /// It is open.
    pub fn handle_opened(&mut self, now: Moment) {
        self.open = true;
        self.read_until = now + FIRST_PICTURE;
        self.retry_at = None;
        self.damaged_in_a_row = 0;
    }

    /// It cannot be opened, or it broke.
    pub fn handle_failure(&mut self, now: Moment) {
        self.losses += u64::from(self.open);
        self.open = false;
        let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(10)).min(LAST_RETRY);
        self.failures += 1;
        self.retry_at = Some(now + wait);
    }

    /// A good picture came. Only that makes a device a working one: some open well and then deliver nothing.
    pub fn handle_picture(&mut self, now: Moment) {
        self.read_until = now + SILENCE;
        self.failures = 0;
        self.damaged_in_a_row = 0;
    }

    /// A picture came that cannot be used; `true` when these were too many.
    pub fn handle_damaged(&mut self, now: Moment) -> bool {
        self.read_until = now + SILENCE;
        self.damaged += 1;
        self.damaged_in_a_row += 1;
        let broken = self.damaged_in_a_row >= MAX_DAMAGED;
        if broken {
            self.handle_failure(now);
        }
        broken
    }

    /// Damaged pictures so far.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// How often the device broke.
    pub fn losses(&self) -> u64 {
        self.losses
    }
}

/// An open device. Dropping it closes it.
pub trait Device {
    /// Waits for the next picture; `Ok(Err(..))` is a damaged one. May never return.
    fn read(&mut self) -> Result<Result<Picture, String>, Error>;
}

/// Opens a device, again and again.
pub trait Opener: Clone + Send + 'static {
    /// What it opens. It stays on the thread that opened it.
    type Device: Device;

    /// Opens it.
    fn open(&mut self) -> Result<Self::Device, Error>;

    /// What it opened.
    fn describe(&self) -> Description;
}

/// A source over a device that may break. When it cannot be opened the first time, that is an error; later it is waited
/// for.
///
/// A device that hangs is left to its thread, and what that thread still brings is thrown away. When the next one hangs
/// too, none is opened any more until one of them has come to its end.
pub struct Recovering<O: Opener> {
    opener: O,
    description: Description,
    device: Option<Watched>,
    hung: Option<Watched>,
    recovery: Recovery,
    stop: Arc<Stop>,
    last: Moment,
}

/// How long a device may take to close.
const CLOSING: Duration = Duration::from_secs(2);
/// How often a wait for a device looks whether it shall end.
const GLANCE: Duration = Duration::from_millis(100);

impl<O: Opener> Recovering<O> {
    /// Opens the device.
    pub fn open(opener: O, stop: Arc<Stop>) -> Result<Self, Error> {
        let description = opener.describe();
        let mut source = Self {
            opener,
            description,
            device: None,
            hung: None,
            recovery: Recovery::default(),
            stop,
            last: Moment::default(),
        };
        source.start()?;
        Ok(source)
    }

    /// The next good picture, with a time that is later than the one before (C06).
    pub fn next_picture(&mut self) -> Result<Picture, Error> {
        loop {
            if self.stop.is_stopped() {
                return Err(Error::Ended);
            }
            match self.recovery.poll(time::now()) {
                Step::Wait(at) => {
                    self.let_go(CLOSING);
                    self.stop.wait_until(at);
                }
                Step::Open => self.reopen(),
                Step::Read(until) => {
                    if let Some(mut picture) = self.read(until) {
                        picture.captured = picture.captured.max(self.last + Duration::from_micros(1));
                        self.last = picture.captured;
                        return Ok(picture);
                    }
                }
            }
        }
    }

    /// Opens the device, once.
    fn start(&mut self) -> Result<(), Error> {
        self.device = Some(Watched::start(self.opener.clone()).map_err(|_| Error::Silent)?);
        let result = match self.event(time::now() + OPENING) {
            Some(Event::Opened(description)) => {
                self.description = description;
                self.recovery.handle_opened(time::now());
                return Ok(());
            }
            Some(Event::Failed(error)) => Err(error),
            _ if self.stop.is_stopped() => Err(Error::Ended),
            _ => Err(Error::Silent),
        };
        self.let_go(CLOSING);
        result
    }

    fn reopen(&mut self) {
        self.let_go(Duration::ZERO);
        let started = if self.device.is_none() { self.start() } else { Err(Error::Silent) };
        match started {
            Ok(()) => tracing::info!("the camera is back"),
            Err(error) => {
                tracing::debug!(%error, "the camera is not back yet");
                self.recovery.handle_failure(time::now());
            }
        }
    }

    fn read(&mut self, until: Moment) -> Option<Picture> {
        let event = self.event(until);
        let now = time::now();
        match event {
            Some(Event::Picture(picture)) => {
                self.recovery.handle_picture(now);
                return Some(picture);
            }
            Some(Event::Damaged(damage)) => {
                tracing::debug!(damage, "a damaged picture is left out");
                if self.recovery.handle_damaged(now) {
                    tracing::warn!(
                        "{MAX_DAMAGED} damaged pictures in a row ({damage}); opening the camera again"
                    );
                }
            }
            Some(Event::Failed(error)) => {
                tracing::warn!("{error}; waiting for the camera to come back");
                self.recovery.handle_failure(now);
            }
            Some(Event::Opened(_)) => {}
            None if self.stop.is_stopped() => {}
            None => {
                tracing::warn!("no picture for {} s; opening the camera again", SILENCE.as_secs());
                self.recovery.handle_failure(now);
            }
        }
        None
    }

    /// What the device does before `until`, or until everything is to stop.
    fn event(&self, until: Moment) -> Option<Event> {
        let device = self.device.as_ref()?;
        loop {
            let left = until.since(time::now());
            let event = device.next(left.min(GLANCE));
            if event.is_some() || left.is_zero() || self.stop.is_stopped() {
                return event;
            }
        }
    }

    /// Closes the device, or leaves it behind when it hangs; it stays where it is when one is left behind already.
    fn let_go(&mut self, patience: Duration) {
        let Some(device) = &mut self.device else { return };
        if device.close(patience) {
            self.device = None;
        } else if self.hung.as_mut().is_none_or(|hung| hung.close(Duration::ZERO)) {
            self.hung = self.device.take();
        }
    }
}

impl<O: Opener> Drop for Recovering<O> {
    fn drop(&mut self) {
        self.let_go(CLOSING);
    }
}

impl<O: Opener> Source for Recovering<O> {
    fn next(&mut self) -> Result<Picture, Error> {
        self.next_picture()
    }

    fn describe(&self) -> Description {
        self.description.clone()
    }

    fn interruptions(&self) -> u64 {
        self.recovery.losses()
    }
}

impl<O: Opener> std::fmt::Debug for Recovering<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recovering({:?})", self.recovery)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Size;
    use std::collections::VecDeque;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, mpsc};

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1000)
    }

    #[test]
    fn c02_a_lost_camera_is_tried_again_later_and_later() {
        let mut recovery = Recovery::default();
        recovery.handle_opened(at(0));
        assert_eq!(recovery.poll(at(0)), Step::Read(at(5000)));
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..6 {
            recovery.handle_failure(now);
            let Step::Wait(until) = recovery.poll(now) else { panic!("waits") };
            waits.push(until.since(now).as_secs());
            assert_eq!(recovery.poll(until), Step::Open);
            now = until;
        }
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        recovery.handle_opened(at(0));
        recovery.handle_failure(now);
        assert_eq!(recovery.poll(now), Step::Wait(now + Duration::from_secs(10)), "no picture yet");
        recovery.handle_opened(at(0));
        recovery.handle_picture(at(0));
        recovery.handle_failure(now);
        assert_eq!(recovery.poll(now), Step::Wait(now + Duration::from_secs(1)));
        assert_eq!(recovery.losses(), 3);
    }

    #[test]
    fn c05_thirty_damaged_pictures_in_a_row_reopen_the_camera() {
        let mut recovery = Recovery::default();
        recovery.handle_opened(at(0));
        for _ in 0..29 {
            assert!(!recovery.handle_damaged(at(0)));
        }
        recovery.handle_picture(at(0));
        for _ in 0..29 {
            assert!(!recovery.handle_damaged(at(0)));
        }
        assert!(recovery.handle_damaged(at(0)));
        assert_eq!(recovery.poll(at(0)), Step::Wait(at(1000)));
        assert_eq!(recovery.damaged(), 59);
    }

    enum Act {
        Picture(u64),
        Damaged,
        Gone,
        /// Until the other end breaks off, then a picture that is too late.
        Hang(std::sync::mpsc::Receiver<()>),
    }

    /// A device with several lives.
    #[derive(Clone)]
    struct Fake(Arc<Mutex<VecDeque<Vec<Act>>>>);

    struct FakeDevice(VecDeque<Act>);

    fn fake(lives: impl IntoIterator<Item = Vec<Act>>) -> Fake {
        Fake(Arc::new(Mutex::new(lives.into_iter().collect())))
    }

    impl Device for FakeDevice {
        fn read(&mut self) -> Result<Result<Picture, String>, Error> {
            match self.0.pop_front() {
                Some(Act::Picture(ms)) => Ok(Ok(Picture::black(16, 16, at(ms)))),
                Some(Act::Damaged) => Ok(Err("torn".into())),
                Some(Act::Hang(end)) => {
                    let _ = end.recv();
                    Ok(Ok(Picture::black(32, 32, at(0))))
                }
                Some(Act::Gone) | None => {
                    Err(Error::Device { path: PathBuf::from("/dev/video9"), why: "gone".into() })
                }
            }
        }
    }

    impl Opener for Fake {
        type Device = FakeDevice;

        fn open(&mut self) -> Result<FakeDevice, Error> {
            let life = self.0.lock().unwrap().pop_front().ok_or_else(|| Error::NoCamera("none".into()))?;
            Ok(FakeDevice(life.into()))
        }

        fn describe(&self) -> Description {
            Description {
                label: "camera",
                name: "fake".into(),
                size: Size { width: 16, height: 16 },
                fps: 30.0,
            }
        }
    }

    #[test]
    fn c02_c06_pictures_go_on_after_a_loss_and_their_times_never_go_back() {
        let lives = [
            vec![Act::Picture(5000), Act::Damaged, Act::Picture(1000), Act::Gone],
            vec![Act::Picture(200), Act::Picture(9000)],
        ];
        let stop = Arc::new(Stop::new());
        let mut source = Recovering::open(fake(lives), Arc::clone(&stop)).unwrap();
        let times: Vec<_> = (0..4).map(|_| source.next().unwrap().captured.micros()).collect();
        assert_eq!(times, [5_000_000, 5_000_001, 5_000_002, 9_000_000]);
        assert_eq!(source.interruptions(), 1);
        stop.stop();
        assert!(matches!(source.next(), Err(Error::Ended)));
    }

    #[test]
    fn c03_a_camera_that_hangs_is_given_up_and_opened_again() {
        let (ends, hangs): (Vec<_>, Vec<_>) = (0..2).map(|_| mpsc::sync_channel(0)).unzip();
        let mut hangs = hangs.into_iter().map(|hang| vec![Act::Picture(1), Act::Hang(hang)]);
        let [first, second] = [hangs.next().unwrap(), hangs.next().unwrap()];
        let lives = fake([first, second, vec![Act::Picture(3), Act::Picture(4)]]);
        let stop = Arc::new(Stop::new());
        let mut source = Recovering::open(lives.clone(), Arc::clone(&stop)).unwrap();
        let started = time::now();
        source.next().unwrap();
        source.next().unwrap();
        let waited = time::now().since(started).as_secs_f64();
        assert!((3.0..9.0).contains(&waited), "reopened after {waited} s");
        assert_eq!(source.interruptions(), 1);
        // The second one hangs too. Two threads in a driver are enough: the third life has to wait for one of them.
        std::thread::scope(|scope| {
            let reading = scope.spawn(move || (source.next().unwrap(), source));
            stop.wait_until(time::now() + Duration::from_secs(7));
            assert_eq!(lives.0.lock().unwrap().len(), 1, "a third thread was started");
            drop(ends);
            let (picture, mut source) = reading.join().unwrap();
            assert_eq!((picture.width(), source.next().unwrap().width()), (16, 16), "a late picture got in");
        });
    }

    #[test]
    fn c01_a_camera_that_was_never_there_is_an_error() {
        assert!(Recovering::open(fake([]), Arc::default()).is_err());
    }

    /// A device that one program at a time may have open.
    #[derive(Clone, Default)]
    struct Exclusive(Arc<AtomicBool>);

    struct Held(Arc<AtomicBool>);

    impl Drop for Held {
        fn drop(&mut self) {
            self.0.store(false, Ordering::SeqCst);
        }
    }

    impl Device for Held {
        fn read(&mut self) -> Result<Result<Picture, String>, Error> {
            Ok(Ok(Picture::black(16, 16, time::now())))
        }
    }

    impl Opener for Exclusive {
        type Device = Held;

        fn open(&mut self) -> Result<Held, Error> {
            match self.0.swap(true, Ordering::SeqCst) {
                true => Err(Error::Busy("/dev/video0".into())),
                false => Ok(Held(Arc::clone(&self.0))),
            }
        }

        fn describe(&self) -> Description {
            fake([]).describe()
        }
    }

    #[test]
    fn c14_the_second_program_is_told_the_first_goes_on_and_lets_go_at_its_end() {
        let camera = Exclusive::default();
        let mut first = Recovering::open(camera.clone(), Arc::default()).unwrap();
        first.next().unwrap();
        let refused = Recovering::open(camera.clone(), Arc::default()).expect_err("in use").to_string();
        assert!(refused.contains("/dev/video0 is in use by another program"), "{refused}");
        first.next().unwrap();
        assert_eq!(first.interruptions(), 0);
        drop(first);
        Recovering::open(camera, Arc::default()).unwrap().next().unwrap();
    }
}
