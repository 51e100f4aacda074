//! Sizes of pictures, and the names of `conf-cam --quality` that stand for them.

use std::fmt;
use std::str::FromStr;

/// Width and height of a picture in pixels, both even.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// The shortest side that the encoder takes.
const MIN_SIDE: usize = 16;
/// The longest side that the encoder takes; the other one may then be [`MAX_OTHER_SIDE`] at most.
const MAX_SIDE: usize = 3840;
const MAX_OTHER_SIDE: usize = 2160;

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSizeError {
    /// Not two numbers.
    #[error("a size is written as WIDTHxHEIGHT, for instance 640x480")]
    Form,
    /// Too small or too large.
    #[error(
        "a picture is at least {MIN_SIDE}x{MIN_SIDE} and at most {MAX_SIDE}x{MAX_OTHER_SIDE}, for instance 640x480"
    )]
    Limits,
    /// H.264 halves both sides for colour.
    #[error("width and height must be even, for instance {0}")]
    Odd(Size),
}

impl Size {
    /// `width` times `height`, if both are even and an encoder can take them.
    pub fn new(width: usize, height: usize) -> Result<Self, ParseSizeError> {
        let (long, short) = (width.max(height), width.min(height));
        if short < MIN_SIDE || long > MAX_SIDE || short > MAX_OTHER_SIDE {
            return Err(ParseSizeError::Limits);
        }
        let even = Self { width: width & !1, height: height & !1 };
        if even.width == width && even.height == height { Ok(even) } else { Err(ParseSizeError::Odd(even)) }
    }

    /// Pixels.
    pub fn area(self) -> usize {
        self.width * self.height
    }

    /// This shape at `scale` times its width and height: even, and within what an encoder takes.
    fn scaled(self, scale: f64) -> Self {
        let side = |side: usize| ((side as f64 * scale / 2.0).round() as usize * 2).clamp(MIN_SIDE, MAX_SIDE);
        let (width, height) = (side(self.width), side(self.height));
        if width >= height {
            Self { width, height: height.min(MAX_OTHER_SIDE) }
        } else {
            Self { width: width.min(MAX_OTHER_SIDE), height }
        }
    }

    /// The largest size of this shape in `frame`.
    pub fn fitted(self, frame: Self) -> Self {
        let scale = (frame.width as f64 / self.width as f64).min(frame.height as f64 / self.height as f64);
        self.scaled(scale)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for Size {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (width, height) = text.trim().split_once(['x', 'X']).ok_or(ParseSizeError::Form)?;
        let side = |digits: &str| {
            let form = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            // Digits that do not fit a usize are a size all the same, one that is too large.
            if form { Ok(digits.parse().unwrap_or(usize::MAX)) } else { Err(ParseSizeError::Form) }
        };
        Self::new(side(width)?, side(height)?)
    }
}

/// How large the pictures are that a camera sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Quality {
    /// Half the area of 640x480.
    Low,
    /// Three quarters of the area of 640x480.
    Medium,
    /// The area of 640x480.
    High,
    /// As large as fits into 1280x720.
    Hd,
    /// As large as fits into 1920x1080.
    #[value(name = "fullhd")]
    FullHd,
}

impl Quality {
    /// The size for pictures of the shape of `source`, whatever the size of `source` is.
    pub fn size(self, source: Size) -> Size {
        let area = |share: f64| source.scaled((share * 640.0 * 480.0 / source.area() as f64).sqrt());
        match self {
            Self::Low => area(0.5),
            Self::Medium => area(0.75),
            Self::High => area(1.0),
            Self::Hd => source.fitted(Size { width: 1280, height: 720 }),
            Self::FullHd => source.fitted(Size { width: 1920, height: 1080 }),
        }
    }

    /// Bits per second for `size` at `fps` when nobody says otherwise: 0.1 bit per pixel, less for what is large or fast,
    /// where neighbouring pixels and pictures have more in common.
    pub fn bitrate(size: Size, fps: f64) -> u32 {
        let pixels = size.area() as f64;
        let small = 640.0 * 480.0;
        let bits = 0.1 * 30.0 * small * (pixels / small).powf(0.75) * (fps / 30.0).powf(0.6);
        bits.clamp(64_000.0, 20_000_000.0) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(width: usize, height: usize) -> Size {
        Size { width, height }
    }

    #[test]
    fn names_stand_for_shares_of_the_area_of_640x480() {
        let vga = size(640, 480);
        assert_eq!(Quality::High.size(vga), vga);
        assert_eq!(Quality::Low.size(vga), size(452, 340));
        assert_eq!(Quality::Medium.size(vga), size(554, 416));
        assert_eq!(Quality::Hd.size(vga), size(960, 720));
        assert_eq!(Quality::Hd.size(size(1920, 1080)), size(1280, 720));
        assert_eq!(Quality::FullHd.size(size(3840, 2160)), size(1920, 1080));
    }

    #[test]
    fn c12_sizes_out_of_bounds_are_refused() {
        for bad in ["0x0", "100000x100000", "99999999999999999999999x2", "3840x2162", "8x640", "640x0"] {
            assert_eq!(bad.parse::<Size>(), Err(ParseSizeError::Limits), "{bad}");
        }
        for bad in ["", "640", "x", "640x", "-1x5", "+640x480", "640x480x2", "wide", "6 4x48", "NaNxNaN"] {
            assert_eq!(bad.parse::<Size>(), Err(ParseSizeError::Form), "{bad}");
        }
        assert_eq!("641x481".parse::<Size>(), Err(ParseSizeError::Odd(size(640, 480))));
        assert_eq!("640x480".parse(), Ok(size(640, 480)));
        assert_eq!("2160x3840".parse(), Ok(size(2160, 3840)));
    }

    proptest! {
        #[test]
        fn every_shape_of_camera_gets_its_area_and_keeps_its_shape(
            width in 160usize..4096,
            ratio in prop_oneof![Just(4.0 / 3.0), Just(16.0 / 9.0), Just(1.0), Just(9.0 / 16.0), Just(21.0 / 9.0)],
        ) {
            let source = size(width, (width as f64 / ratio) as usize);
            for (quality, share) in [(Quality::Low, 0.5), (Quality::Medium, 0.75), (Quality::High, 1.0)] {
                let result = quality.size(source);
                let area = result.area() as f64 / (640.0 * 480.0);
                prop_assert!((area / share - 1.0).abs() < 0.1, "{result}");
                let shape = result.width as f64 / result.height as f64;
                prop_assert!((shape / ratio - 1.0).abs() < 0.05, "{result}");
                prop_assert!(Size::new(result.width, result.height).is_ok());
            }
        }
    }
}
