//! Which of a camera's modes to use.

use std::fmt;

use super::{Target, Want};
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

const FPS: f64 = 30.0;

/// `modes`, best first. When a mode turns out not to work (no bandwidth on the bus, say), the next one is to be tried.
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

    #[test]
    fn c13_a_mode_that_does_not_work_is_followed_by_others() {
        let want = Want { size: Target::Natural, fps: None, pixels: Some(Pixels::Yuyv) };
        let ranked = rank(webcam(), &want);
        assert_eq!(ranked.len(), 5);
        assert!(ranked.iter().all(|mode| mode.pixels == Pixels::Yuyv));
    }
}
