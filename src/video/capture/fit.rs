//! Pictures of one size out of pictures of another.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use super::Target;
use crate::media::{Picture, Size};

/// Brings pictures to the size that is wanted; those that have it pass untouched.
pub struct Fit {
    target: Target,
    resizer: Resizer,
}

impl Fit {
    /// To `target`.
    pub fn new(target: Target) -> Self {
        Self { target, resizer: Resizer::new() }
    }

    /// `picture` at the size that is wanted.
    pub fn apply(&mut self, picture: Picture) -> Picture {
        let size = self.target.of(Size { width: picture.width(), height: picture.height() });
        if (size.width, size.height) == (picture.width(), picture.height()) {
            return picture;
        }
        let mut scaled = Picture::black(size.width, size.height, picture.captured);
        scaled.range = picture.range;
        let (width, height) = (picture.width(), picture.height());
        let (y, u, v) = scaled.planes_mut();
        self.plane((picture.y(), width, height), (y, size.width, size.height));
        for (from, to) in [(picture.u(), u), (picture.v(), v)] {
            self.plane((from, width / 2, height / 2), (to, size.width / 2, size.height / 2));
        }
        scaled
    }

    fn plane(&mut self, (from, width, height): (&[u8], usize, usize), to: (&mut [u8], usize, usize)) {
        let (to, to_width, to_height) = to;
        let from = TypedImageRef::<U8>::from_buffer(width as u32, height as u32, from);
        let to = TypedImage::<U8>::from_buffer(to_width as u32, to_height as u32, to);
        let (Ok(from), Ok(mut to)) = (from, to) else { return };
        // Bilinear convolution: it averages when it makes smaller, and costs a millisecond at most.
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
            .fit_into_destination(Some((0.5, 0.5)));
        if let Err(error) = self.resizer.resize_typed(&from, &mut to, &options) {
            tracing::warn!(%error, "a picture could not be scaled");
        }
    }
}

impl std::fmt::Debug for Fit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fit({:?})", self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Quality;
    use crate::time::Moment;

    #[test]
    fn colours_stay_and_what_does_not_fit_is_cut_off_at_both_sides() {
        let mut wide = Picture::black(640, 240, Moment::default());
        let (y, u, v) = wide.planes_mut();
        for row in y.chunks_exact_mut(640) {
            row[160..480].fill(200);
        }
        u.fill(90);
        v.fill(170);
        let square = Fit::new(Target::Exact(Size { width: 120, height: 120 })).apply(wide.clone());
        assert_eq!((square.width(), square.height()), (120, 120));
        assert!(square.y()[2..118].iter().all(|pixel| *pixel == 16 || *pixel >= 190));
        assert_eq!((square.y()[60 * 120 + 60], square.u()[0], square.v()[0]), (200, 90, 170));
        let low = Fit::new(Target::Quality(Quality::Low)).apply(wide.clone());
        assert!((low.width() as f64 / low.height() as f64 - 640.0 / 240.0).abs() < 0.05);
        assert_eq!(Fit::new(Target::Natural).apply(wide.clone()), wide);
    }
}
