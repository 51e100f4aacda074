//! Which of a camera's modes to use.

use std::fmt;

use super::{Error, Target, Want};
use crate::media::Size;

/// How a camera delivers pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Pixels {
    /// Packed 4:2:2.
    Yuyv,
    /// Half-planar 4:2:0.
    Nv12,
    /// A JPEG picture each.
    Mjpeg,
}

/// One way in which a camera can work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode {
    /// The form of its pixels.
    pub pixels: Pixels,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Pictures per second.
    pub fps: u32,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pixels = format!("{:?}", self.pixels).to_uppercase();
        write!(f, "{}x{} {pixels} at {} pictures/s", self.width, self.height, self.fps)
    }
}

impl Mode {
    /// About how many bytes a second it puts on the camera's bus.
    fn load(&self) -> f64 {
        let per_pixel = match self.pixels {
            Pixels::Yuyv => 2.0,
            Pixels::Nv12 => 1.5,
            // Cameras reserve for the worst picture, at about a quarter of the pixels' size.
            Pixels::Mjpeg => 0.5,
        };
        (self.width * self.height) as f64 * f64::from(self.fps) * per_pixel
    }
}

const FPS: f64 = 30.0;
/// A camera that cannot work in this many modes cannot work.
const MAX_TRIES: usize = 6;

/// Starts a camera in the first of `modes` that works, and says so where that is not the first of them. Where the bus
/// has no room for a mode (C13), only those that need less are tried behind it.
///
/// # Errors
/// That of the last mode that was tried, or `none`. Another user of the camera and a missing permission end the search.
pub fn start_first<D>(
    modes: Vec<Mode>,
    none: Error,
    mut start: impl FnMut(Mode) -> Result<D, Error>,
) -> Result<(D, Mode), Error> {
    let (mut last, mut before, mut room) = (none, None::<Mode>, f64::INFINITY);
    let mut tries = 0;
    for mode in modes {
        if tries == MAX_TRIES {
            break;
        }
        if mode.load() >= room {
            continue;
        }
        tries += 1;
        if let Some(failed) = before {
            tracing::warn!("the camera does not work with {failed} ({last}); trying {mode}");
        }
        match start(mode) {
            Ok(device) => return Ok((device, mode)),
            Err(error @ (Error::Busy(_) | Error::Forbidden(_))) => return Err(error),
            Err(error) => {
                if matches!(error, Error::Bandwidth(_)) {
                    room = mode.load();
                }
                (last, before) = (error, Some(mode));
            }
        }
    }
    Err(last)
}

/// `modes`, best first. When a mode turns out not to work, the next one is to be tried ([`start_first`]).
///
/// Enough pixels count most, then enough pictures, then not too many pixels, then how cheap they are to convert.
pub fn rank(mut modes: Vec<Mode>, want: &Want) -> Vec<Mode> {
    modes.retain(|mode| want.pixels.is_none_or(|pixels| pixels == mode.pixels));
    let cost = |mode: &Mode| {
        let size = Size { width: mode.width, height: mode.height };
        let wanted = match want.size {
            Target::Natural => Size { width: 640, height: 480 },
            Target::Quality(quality) => quality.size(size),
            Target::Exact(size) => size,
        };
        let scale = match want.size {
            Target::Exact(wanted) => {
                (mode.width as f64 / wanted.width as f64).min(mode.height as f64 / wanted.height as f64)
            }
            _ => (size.area() as f64 / wanted.area() as f64).sqrt(),
        };
        // A mode within a few percent is taken as it is.
        let (missing, spare) = ((0.97 / scale - 1.0).max(0.0), (scale - 1.0).max(0.0));
        let rate = f64::from(mode.fps) / want.fps.unwrap_or(FPS);
        let (slow, fast) = ((1.0 - rate).max(0.0), (rate - 1.0).max(0.0));
        let pixels = match mode.pixels {
            Pixels::Nv12 => 0.0,
            Pixels::Yuyv => 0.01,
            Pixels::Mjpeg => 0.1,
        };
        let shape = match want.size {
            Target::Exact(wanted) => {
                let ratio =
                    size.width as f64 * wanted.height as f64 / (size.height as f64 * wanted.width as f64);
                ratio.max(1.0 / ratio) - 1.0
            }
            _ => 0.0,
        };
        missing * 8.0 + slow * 4.0 + spare * 0.5 + fast * 0.05 + pixels + shape
    };
    modes.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    modes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Quality;

    /// A usual USB 2.0 camera: raw pictures are slow when they are large.
    fn webcam() -> Vec<Mode> {
        let mode = |pixels, width, height, fps| Mode { pixels, width, height, fps };
        vec![
            mode(Pixels::Yuyv, 320, 240, 30),
            mode(Pixels::Yuyv, 640, 480, 30),
            mode(Pixels::Yuyv, 640, 480, 15),
            mode(Pixels::Yuyv, 640, 360, 30),
            mode(Pixels::Yuyv, 1280, 720, 10),
            mode(Pixels::Mjpeg, 640, 480, 30),
            mode(Pixels::Mjpeg, 1280, 720, 30),
            mode(Pixels::Mjpeg, 1920, 1080, 30),
        ]
    }

    fn best(size: Target, fps: Option<f64>) -> String {
        rank(webcam(), &Want { size, fps, pixels: None })[0].to_string()
    }

    #[test]
    fn enough_pixels_then_enough_pictures_then_cheap_ones() {
        assert_eq!(best(Target::Natural, None), "640x480 YUYV at 30 pictures/s");
        assert_eq!(best(Target::Natural, Some(15.0)), "640x480 YUYV at 15 pictures/s");
        assert_eq!(best(Target::Quality(Quality::Hd), None), "1280x720 MJPEG at 30 pictures/s");
        assert_eq!(best(Target::Quality(Quality::Hd), Some(10.0)), "1280x720 YUYV at 10 pictures/s");
        assert_eq!(best(Target::Quality(Quality::FullHd), None), "1920x1080 MJPEG at 30 pictures/s");
        assert_eq!(best(Target::Quality(Quality::Low), None), "640x360 YUYV at 30 pictures/s");
        let exact = |width, height| best(Target::Exact(Size { width, height }), None);
        assert_eq!(exact(640, 360), "640x360 YUYV at 30 pictures/s");
        assert_eq!(exact(320, 240), "320x240 YUYV at 30 pictures/s");
        assert_eq!(exact(3840, 2160), "1920x1080 MJPEG at 30 pictures/s");
    }

    /// What a camera on a bus with this much room does, and the modes that were tried.
    fn on_a_bus(room: f64, want: &Want) -> (Result<Mode, Error>, Vec<String>) {
        let mut tried = Vec::new();
        let path = std::path::PathBuf::from("/dev/video0");
        let none = Error::NoMode { path: path.clone(), offers: String::new() };
        let started = start_first(rank(webcam(), want), none, |mode| {
            tried.push(mode.to_string());
            if mode.load() > room { Err(Error::Bandwidth(path.clone())) } else { Ok(()) }
        });
        (started.map(|((), mode)| mode), tried)
    }

    #[test]
    fn c13_without_room_on_the_bus_a_mode_that_needs_less_is_used() {
        let hd = Want { size: Target::Quality(Quality::Hd), fps: None, pixels: None };
        let (started, tried) = on_a_bus(10e6, &hd);
        // The next best in size would be 1920x1080, which a bus without room for 1280x720 need not be asked for.
        assert_eq!(tried[0], "1280x720 MJPEG at 30 pictures/s");
        assert!(!tried.iter().any(|mode| mode.starts_with("1920x1080")), "{tried:?}");
        assert_eq!(started.unwrap().to_string(), "640x480 MJPEG at 30 pictures/s");

        let raw = Want { size: Target::Natural, fps: None, pixels: Some(Pixels::Yuyv) };
        let (started, tried) = on_a_bus(5e6, &raw);
        assert_eq!(started.unwrap().to_string(), "320x240 YUYV at 30 pictures/s", "{tried:?}");

        let (started, tried) = on_a_bus(1e6, &raw);
        let said = started.expect_err("nothing fits").to_string();
        assert!(said.contains("/dev/video0") && said.contains("--size"), "{said}");
        assert!(tried.len() <= MAX_TRIES);
    }

    #[test]
    fn c14_a_camera_in_use_is_not_tried_in_other_modes() {
        let want = Want { size: Target::Natural, fps: None, pixels: None };
        let (none, mut tries) = (Error::Silent, 0);
        let started = start_first(rank(webcam(), &want), none, |_| {
            tries += 1;
            Err::<(), _>(Error::Busy("/dev/video0".into()))
        });
        assert!(matches!(started, Err(Error::Busy(_))));
        assert_eq!(tries, 1);
    }
}
