//! A picture in the size and colours of the screen.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use yuv::{YuvPlanarImage, YuvRange, YuvStandardMatrix, yuv420_to_bgra};

use crate::media::{Picture, Range};

/// From this many lines on, pictures without a word about it are in BT.709 colours.
const HD_LINES: usize = 720;

/// Scales and converts; its buffers are used again for the next picture.
#[derive(Default)]
pub(super) struct Scaler {
    resizer: Resizer,
    planes: [Vec<u8>; 3],
    bgra: Vec<u8>,
}

impl Scaler {
    /// `picture` as BGRA, `width` x `height`, both at least 1; `None` where that cannot be done.
    ///
    /// Planes are scaled before colours are converted: that is half the work when, as usual, the
    /// tile is smaller than the picture.
    pub(super) fn convert(&mut self, picture: &Picture, width: usize, height: usize) -> Option<&[u8]> {
        let half = (width.div_ceil(2), height.div_ceil(2));
        let same = (width, height) == (picture.width(), picture.height());
        let [y, u, v] = &mut self.planes;
        let (y, u, v): (&[u8], &[u8], &[u8]) = if same {
            (picture.y(), picture.u(), picture.v())
        } else {
            let from = (picture.width(), picture.height());
            let from_half = (from.0 / 2, from.1 / 2);
            resize(&mut self.resizer, picture.y(), from, y, (width, height))?;
            resize(&mut self.resizer, picture.u(), from_half, u, half)?;
            resize(&mut self.resizer, picture.v(), from_half, v, half)?;
            (y, u, v)
        };
        let planar = YuvPlanarImage {
            y_plane: y,
            y_stride: width as u32,
            u_plane: u,
            u_stride: half.0 as u32,
            v_plane: v,
            v_stride: half.0 as u32,
            width: width as u32,
            height: height as u32,
        };
        self.bgra.resize(width * height * 4, 0);
        let range = match picture.range {
            Range::Limited => YuvRange::Limited,
            Range::Full => YuvRange::Full,
        };
        let matrix =
            if picture.height() >= HD_LINES { YuvStandardMatrix::Bt709 } else { YuvStandardMatrix::Bt601 };
        yuv420_to_bgra(&planar, &mut self.bgra, width as u32 * 4, range, matrix).ok()?;
        Some(&self.bgra)
    }
}

fn resize(
    resizer: &mut Resizer,
    source: &[u8],
    (width, height): (usize, usize),
    target: &mut Vec<u8>,
    (to_width, to_height): (usize, usize),
) -> Option<()> {
    target.resize(to_width * to_height, 0);
    // Typed, because the other way compiles the resizer for each of its sixteen kinds of pixels.
    let source = TypedImageRef::<U8>::from_buffer(width as u32, height as u32, source).ok()?;
    let mut target = TypedImage::<U8>::from_buffer(to_width as u32, to_height as u32, target).ok()?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    resizer.resize_typed(&source, &mut target, &options).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Moment;

    fn plain(width: usize, height: usize, yuv: (u8, u8, u8), range: Range) -> Picture {
        let mut picture = Picture::black(width, height, Moment::default());
        let (y, u, v) = picture.planes_mut();
        y.fill(yuv.0);
        u.fill(yuv.1);
        v.fill(yuv.2);
        picture.range = range;
        picture
    }

    #[test]
    fn colours_come_out_as_they_were_meant() {
        let mut scaler = Scaler::default();
        for (yuv, range, lines, rgb) in [
            ((81, 90, 240), Range::Limited, 480, [255, 0, 0]),
            ((63, 102, 240), Range::Limited, 720, [255, 0, 0]),
            ((76, 85, 255), Range::Full, 480, [255, 0, 0]),
            ((145, 54, 34), Range::Limited, 480, [0, 255, 0]),
            ((235, 128, 128), Range::Limited, 480, [255, 255, 255]),
            ((255, 128, 128), Range::Full, 480, [255, 255, 255]),
        ] {
            let picture = plain(lines * 4 / 3, lines, yuv, range);
            for (width, height) in [(picture.width(), lines), (101, 77), (1, 1), (2000, 1001)] {
                let bgra = scaler.convert(&picture, width, height).expect("converts");
                for pixel in bgra.chunks(4) {
                    for (got, wanted) in pixel[..3].iter().rev().zip(rgb) {
                        assert!(got.abs_diff(wanted) <= 3, "{pixel:?} is not {rgb:?} reversed");
                    }
                }
            }
        }
    }
}
