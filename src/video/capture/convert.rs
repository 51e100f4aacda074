//! From the bytes of a camera to I420, in one step.

use yuv::{BufferStoreMut, YuvPackedImage, YuvPlanarImageMut, yuyv422_to_yuv420};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::Pixels;
use crate::media::{Picture, Range};
use crate::time::Moment;

/// How the bytes of a camera are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) pixels: Pixels,
    pub(super) width: usize,
    pub(super) height: usize,
    /// Bytes from one row to the next; 0 for JPEG.
    pub(super) stride: usize,
}

/// The picture in `bytes`, or what is wrong with them. Odd last rows and columns are left out.
pub(super) fn to_picture(layout: Layout, bytes: &[u8], captured: Moment) -> Result<Picture, String> {
    match layout.pixels {
        Pixels::Yuyv => yuyv(layout, bytes, captured),
        Pixels::Nv12 => nv12(layout, bytes, captured),
        Pixels::Mjpeg => jpeg(layout, bytes, captured),
    }
}

fn yuyv(layout: Layout, bytes: &[u8], captured: Moment) -> Result<Picture, String> {
    let (width, height) = even(layout.width, layout.height)?;
    let stride = layout.stride.max(layout.width * 2);
    let bytes = bytes.get(..stride * height).ok_or_else(|| short(bytes, stride * height))?;
    let mut picture = Picture::black(width, height, captured);
    let (y, u, v) = picture.planes_mut();
    let mut planar = YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: width as u32,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: width as u32 / 2,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: width as u32 / 2,
        width: width as u32,
        height: height as u32,
    };
    let packed =
        YuvPackedImage { yuy: bytes, yuy_stride: stride as u32, width: width as u32, height: height as u32 };
    yuyv422_to_yuv420(&mut planar, &packed).map_err(|error| error.to_string())?;
    Ok(picture)
}

fn nv12(layout: Layout, bytes: &[u8], captured: Moment) -> Result<Picture, String> {
    let (width, height) = even(layout.width, layout.height)?;
    let stride = layout.stride.max(layout.width);
    let luma = stride * layout.height;
    let needed = luma + stride * height / 2;
    let bytes = bytes.get(..needed).ok_or_else(|| short(bytes, needed))?;
    let mut picture = Picture::black(width, height, captured);
    let (y, u, v) = picture.planes_mut();
    for (to, from) in y.chunks_exact_mut(width).zip(bytes.chunks_exact(stride)) {
        to.copy_from_slice(&from[..width]);
    }
    let chroma = bytes[luma..].chunks_exact(stride);
    let rows = u.chunks_exact_mut(width / 2).zip(v.chunks_exact_mut(width / 2));
    for ((u, v), from) in rows.zip(chroma) {
        for ((u, v), pair) in u.iter_mut().zip(v).zip(from.chunks_exact(2)) {
            (*u, *v) = (pair[0], pair[1]);
        }
    }
    Ok(picture)
}

fn jpeg(layout: Layout, bytes: &[u8], captured: Moment) -> Result<Picture, String> {
    // The header is judged before a picture is allocated for it.
    let options = DecoderOptions::new_fast()
        .set_max_width(layout.width)
        .set_max_height(layout.height)
        .set_strict_mode(true)
        .jpeg_set_out_colorspace(ColorSpace::YCbCr);
    let mut decoder = JpegDecoder::new_with_options(bytes, options);
    decoder.decode_headers().map_err(|error| format!("{error:?}"))?;
    let (full_width, full_height) = decoder.dimensions().ok_or("a JPEG picture without a size")?;
    if decoder.get_input_colorspace() == Some(ColorSpace::Luma) {
        return Err("a grey JPEG picture".into());
    }
    let pixels = decoder.decode().map_err(|error| format!("{error:?}"))?;
    let (width, height) = even(full_width, full_height)?;
    if pixels.len() < full_width * full_height * 3 {
        return Err(short(&pixels, full_width * full_height * 3));
    }
    let mut picture = Picture::black(width, height, captured);
    picture.range = Range::Full;
    let (y, u, v) = picture.planes_mut();
    let chroma = u.chunks_exact_mut(width / 2).zip(v.chunks_exact_mut(width / 2));
    for (((u, v), luma), from) in
        chroma.zip(y.chunks_exact_mut(width * 2)).zip(pixels.chunks_exact(full_width * 6))
    {
        let (above, below) = from.split_at(full_width * 3);
        let (luma_above, luma_below) = luma.split_at_mut(width);
        for column in 0..width / 2 {
            let (a, b) = (&above[column * 6..column * 6 + 6], &below[column * 6..column * 6 + 6]);
            (luma_above[column * 2], luma_above[column * 2 + 1]) = (a[0], a[3]);
            (luma_below[column * 2], luma_below[column * 2 + 1]) = (b[0], b[3]);
            let mean = |at: usize| {
                let sum = u16::from(a[at]) + u16::from(a[at + 3]) + u16::from(b[at]) + u16::from(b[at + 3]);
                ((sum + 2) / 4) as u8
            };
            (u[column], v[column]) = (mean(1), mean(2));
        }
    }
    Ok(picture)
}

fn even(width: usize, height: usize) -> Result<(usize, usize), String> {
    let size = (width & !1, height & !1);
    if size.0 < 2 || size.1 < 2 { Err(format!("a picture of {width}x{height}")) } else { Ok(size) }
}

fn short(bytes: &[u8], needed: usize) -> String {
    format!("{} bytes instead of {needed}", bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(pixels: Pixels, width: usize, height: usize, stride: usize) -> Layout {
        Layout { pixels, width, height, stride }
    }

    #[test]
    fn packed_and_half_planar_pixels_land_where_they_belong() {
        // Rows of eight bytes, of which the last four are padding.
        let yuyv = [10, 50, 11, 60, 0, 0, 0, 0, 12, 52, 13, 62, 0, 0, 0, 0];
        let picture = to_picture(layout(Pixels::Yuyv, 2, 2, 8), &yuyv, Moment::default()).unwrap();
        assert_eq!(picture.y(), [10, 11, 12, 13]);
        assert!(picture.u()[0].abs_diff(51) <= 1 && picture.v()[0].abs_diff(61) <= 1);
        let nv12 = [10, 11, 0, 12, 13, 0, 50, 60, 0];
        let picture = to_picture(layout(Pixels::Nv12, 2, 2, 3), &nv12, Moment::default()).unwrap();
        assert_eq!((picture.y(), picture.u(), picture.v()), (&[10, 11, 12, 13][..], &[50][..], &[60][..]));
    }

    /// 16x16, grey-green, made by ffmpeg from `color=0x408040`, baseline 4:2:0.
    const JPEG: &[u8] = include_bytes!("testdata/green.jpg");

    #[test]
    fn a_jpeg_picture_keeps_its_colour_and_its_range() {
        let picture = to_picture(layout(Pixels::Mjpeg, 16, 16, 0), JPEG, Moment::default()).unwrap();
        assert_eq!((picture.width(), picture.height(), picture.range), (16, 16, Range::Full));
        let (y, u, v) = (picture.y()[0], picture.u()[0], picture.v()[0]);
        assert!(y.abs_diff(102) < 8 && u.abs_diff(107) < 8 && v.abs_diff(101) < 8, "{y} {u} {v}");
    }

    #[test]
    fn c05_damaged_buffers_are_errors() {
        for (pixels, bytes) in [
            (Pixels::Mjpeg, &[][..]),
            (Pixels::Mjpeg, &JPEG[..JPEG.len() / 3]),
            (Pixels::Mjpeg, &[0xff; 300]),
            (Pixels::Yuyv, &[1; 511]),
            (Pixels::Nv12, &[]),
        ] {
            let result = to_picture(layout(pixels, 16, 16, 0), bytes, Moment::default());
            assert!(result.is_err(), "{pixels:?} of {} bytes", bytes.len());
        }
        let larger = to_picture(layout(Pixels::Mjpeg, 8, 8, 0), JPEG, Moment::default());
        assert!(larger.is_err(), "larger than the mode");
    }

    proptest! {
        #[test]
        fn c05_no_damage_makes_it_panic(damage in proptest::collection::vec((0..JPEG.len(), any::<u8>()), 1..20)) {
            let mut bytes = JPEG.to_vec();
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            let _ = to_picture(layout(Pixels::Mjpeg, 16, 16, 0), &bytes, Moment::default());
        }
    }
}
