//! A device that comes and goes.
//!
//! [`Recovery`] decides, without a clock or a device; [`Recovering`] does what it says.

use std::sync::Arc;
use std::time::Duration;

use super::{Description, Error, Source, Stop};
use crate::media::Picture;
use crate::time::{self, Moment};

/// What to do with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Open it.
    Open,
    /// Take the next picture.
    Read,
    /// Close it, wait, then ask again.
    Wait(Moment),
}

/// When to open, read, close and wait.
///
/// A device that breaks is closed whole before it is opened again, after 1 s, 2 s, 4 s, 8 s, then every 10 s. A damaged
/// picture is left out and counted; thirty in a row count as broken.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    open: bool,
    retry_at: Option<Moment>,
    failures: u32,
    damaged_in_a_row: u32,
    damaged: u64,
    losses: u64,
}

/// A camera that delivers nothing usable for a second will not begin to by itself.
pub(super) const MAX_DAMAGED: u32 = 30;
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(10);

impl Recovery {
    /// What to do now.
    pub fn poll(&self, now: Moment) -> Step {
        match self.retry_at {
            Some(at) if at > now => Step::Wait(at),
            _ if self.open => Step::Read,
            _ => Step::Open,
        }
    }

    /// It is open.
    pub fn handle_opened(&mut self) {
        self.open = true;
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
    pub fn handle_picture(&mut self) {
        self.failures = 0;
        self.damaged_in_a_row = 0;
    }

    /// A picture came that cannot be used; `true` when these were too many.
    pub fn handle_damaged(&mut self, now: Moment) -> bool {
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
    /// Waits for the next picture; `Ok(Err(..))` is a damaged one.
    fn read(&mut self) -> Result<Result<Picture, String>, Error>;
}

/// Opens a device, again and again.
pub trait Opener: Send {
    /// What it opens.
    type Device: Device;

    /// Opens it.
    fn open(&mut self) -> Result<Self::Device, Error>;

    /// What it opened last.
    fn describe(&self) -> Description;
}

/// A source over a device that may break. When it cannot be opened the first time, that is an error; later it is waited
/// for.
pub struct Recovering<O: Opener> {
    opener: O,
    device: Option<O::Device>,
    recovery: Recovery,
    stop: Arc<Stop>,
    last: Moment,
}

impl<O: Opener> Recovering<O> {
    /// Opens the device.
    ///
    /// A device belongs to the thread that opened it, so call this on the thread that will read.
    pub fn open(mut opener: O, stop: Arc<Stop>) -> Result<Self, Error> {
        let device = opener.open()?;
        let mut recovery = Recovery::default();
        recovery.handle_opened();
        Ok(Self { opener, device: Some(device), recovery, stop, last: Moment::default() })
    }

    /// What the device is now.
    pub fn description(&self) -> Description {
        self.opener.describe()
    }

    /// The next good picture, with a time that is later than the one before (C06).
    pub fn next_picture(&mut self) -> Result<Picture, Error> {
        loop {
            if self.stop.is_stopped() {
                return Err(Error::Ended);
            }
            match self.recovery.poll(time::now()) {
                Step::Wait(at) => {
                    self.device = None;
                    self.stop.wait_until(at);
                }
                Step::Open => self.reopen(),
                Step::Read => {
                    if let Some(mut picture) = self.read() {
                        picture.captured = picture.captured.max(self.last + Duration::from_micros(1));
                        self.last = picture.captured;
                        return Ok(picture);
                    }
                }
            }
        }
    }

    fn reopen(&mut self) {
        match self.opener.open() {
            Ok(device) => {
                tracing::info!("the camera is back");
                self.device = Some(device);
                self.recovery.handle_opened();
            }
            Err(error) => {
                tracing::debug!(%error, "the camera is not back yet");
                self.recovery.handle_failure(time::now());
            }
        }
    }

    fn read(&mut self) -> Option<Picture> {
        let now = time::now();
        match self.device.as_mut().map(Device::read) {
            Some(Ok(Ok(picture))) => {
                self.recovery.handle_picture();
                return Some(picture);
            }
            Some(Ok(Err(damage))) => {
                tracing::debug!(damage, "a damaged picture is left out");
                if self.recovery.handle_damaged(now) {
                    tracing::warn!(
                        "{MAX_DAMAGED} damaged pictures in a row ({damage}); opening the camera again"
                    );
                }
            }
            Some(Err(error)) => {
                tracing::warn!("{error}; waiting for the camera to come back");
                self.recovery.handle_failure(now);
            }
            None => self.recovery.handle_failure(now),
        }
        None
    }
}

impl<O: Opener> Source for Recovering<O> {
    fn next(&mut self) -> Result<Picture, Error> {
        self.next_picture()
    }

    fn describe(&self) -> Description {
        self.description()
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

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1000)
    }

    #[test]
    fn c02_a_lost_camera_is_tried_again_later_and_later() {
        let mut recovery = Recovery::default();
        recovery.handle_opened();
        assert_eq!(recovery.poll(at(0)), Step::Read);
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
        recovery.handle_opened();
        recovery.handle_failure(now);
        assert_eq!(recovery.poll(now), Step::Wait(now + Duration::from_secs(10)), "no picture yet");
        recovery.handle_opened();
        recovery.handle_picture();
        recovery.handle_failure(now);
        assert_eq!(recovery.poll(now), Step::Wait(now + Duration::from_secs(1)));
        assert_eq!(recovery.losses(), 3);
    }

    #[test]
    fn c05_thirty_damaged_pictures_in_a_row_reopen_the_camera() {
        let mut recovery = Recovery::default();
        recovery.handle_opened();
        for _ in 0..29 {
            assert!(!recovery.handle_damaged(at(0)));
        }
        recovery.handle_picture();
        for _ in 0..29 {
            assert!(!recovery.handle_damaged(at(0)));
        }
        assert!(recovery.handle_damaged(at(0)));
        assert_eq!(recovery.poll(at(0)), Step::Wait(at(1000)));
        assert_eq!(recovery.damaged(), 59);
    }

    enum Event {
        Picture(u64),
        Damaged,
        Gone,
    }

    struct Fake(VecDeque<Vec<Event>>);

    struct FakeDevice(VecDeque<Event>);

    impl Device for FakeDevice {
        fn read(&mut self) -> Result<Result<Picture, String>, Error> {
            match self.0.pop_front() {
                Some(Event::Picture(ms)) => Ok(Ok(Picture::black(16, 16, at(ms)))),
                Some(Event::Damaged) => Ok(Err("torn".into())),
                Some(Event::Gone) | None => {
                    Err(Error::Device { path: PathBuf::from("/dev/video9"), why: "gone".into() })
                }
            }
        }
    }

    impl Opener for Fake {
        type Device = FakeDevice;

        fn open(&mut self) -> Result<FakeDevice, Error> {
            let life = self.0.pop_front().ok_or_else(|| Error::NoCamera("none".into()))?;
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
            vec![Event::Picture(5000), Event::Damaged, Event::Picture(1000), Event::Gone],
            vec![Event::Picture(200), Event::Picture(9000)],
        ];
        let stop = Arc::new(Stop::new());
        let mut source = Recovering::open(Fake(lives.into()), Arc::clone(&stop)).unwrap();
        let times: Vec<_> = (0..4).map(|_| source.next().unwrap().captured.micros()).collect();
        assert_eq!(times, [5_000_000, 5_000_001, 5_000_002, 9_000_000]);
        stop.stop();
        assert!(matches!(source.next(), Err(Error::Ended)));
    }

    #[test]
    fn c01_a_camera_that_was_never_there_is_an_error() {
        assert!(Recovering::open(Fake(VecDeque::new()), Arc::default()).is_err());
    }
}
