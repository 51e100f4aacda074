//! One uncompressed picture.

use crate::time::Moment;

/// How luma and chroma use their 8 bits (ITU-T H.264 Annex E, `video_full_range_flag`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Range {
    /// 16 to 235 (luma) and 16 to 240 (chroma): cameras in YUYV and NV12, decoded video.
    #[default]
    Limited,
    /// 0 to 255: JPEG.
    Full,
}

/// A picture in planar YUV 4:2:0 (I420): width x height bytes of Y, then U and V at half the width
/// and half the height. Width and height are even and at least 2. BT.601 below 720 lines, BT.709
/// from there on.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    data: Vec<u8>,
    /// What the values mean.
    pub range: Range,
    /// When it was captured, on the capturing machine's clock; decoded pictures carry the time at
    /// which they came out of the decoder.
    pub captured: Moment,
}

impl Picture {
    /// A black picture. Odd dimensions are rounded up to even ones.
    pub fn black(width: usize, height: usize, captured: Moment) -> Self {
        let (width, height) = (width.max(2).next_multiple_of(2), height.max(2).next_multiple_of(2));
        let mut data = vec![128; width * height * 3 / 2];
        data[..width * height].fill(16);
        Self { width, height, data, range: Range::Limited, captured }
    }

    /// A picture over `data`, laid out as above, or `None` when the dimensions are odd or zero or
    /// the length does not fit them.
    pub fn from_i420(
        width: usize,
        height: usize,
        data: Vec<u8>,
        range: Range,
        captured: Moment,
    ) -> Option<Self> {
        let fits = width >= 2 && height >= 2 && width.is_multiple_of(2) && height.is_multiple_of(2);
        (fits && data.len() == width * height * 3 / 2).then_some(Self {
            width,
            height,
            data,
            range,
            captured,
        })
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All three planes, Y first.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The luma plane, `width` bytes a row.
    pub fn y(&self) -> &[u8] {
        &self.data[..self.width * self.height]
    }

    /// The first chroma plane, `width / 2` bytes a row.
    pub fn u(&self) -> &[u8] {
        let luma = self.width * self.height;
        &self.data[luma..luma + luma / 4]
    }

    /// The second chroma plane, `width / 2` bytes a row.
    pub fn v(&self) -> &[u8] {
        let luma = self.width * self.height;
        &self.data[luma + luma / 4..]
    }

    /// The three planes, to be written to.
    pub fn planes_mut(&mut self) -> (&mut [u8], &mut [u8], &mut [u8]) {
        let luma = self.width * self.height;
        let (y, chroma) = self.data.split_at_mut(luma);
        let (u, v) = chroma.split_at_mut(luma / 4);
        (y, u, v)
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{})", self.width, self.height)
    }
}
