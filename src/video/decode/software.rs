//! openh264 in this process.

use openh264::decoder::{DecodedYUV, Decoder as OpenH264};
use openh264::formats::YUVSource;

use super::{Decoder, Error, is_sane};
use crate::media::{Picture, Range};

/// The decoder itself. Error concealment is off: what cannot be decoded is an error and no picture.
#[derive(Default)]
pub struct InProcess {
    decoder: Option<OpenH264>,
}

impl std::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InProcess")
    }
}

impl InProcess {
    /// Decodes `unit` and packs the planes of the picture into `planes`; its width and height.
    pub(super) fn unpack(
        &mut self,
        unit: &[u8],
        planes: &mut Vec<u8>,
    ) -> Result<Option<(usize, usize)>, Error> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(OpenH264::new().map_err(|e| Error::Stream(e.to_string()))?),
        };
        let decoded = match decoder.decode(unit) {
            Ok(Some(decoded)) => Ok(Some(pack(&decoded, planes)?)),
            Ok(None) => Ok(None),
            Err(error) => Err(Error::Stream(error.to_string())),
        };
        if decoded.is_err() {
            // What it remembers of the broken stream must not show in the next picture.
            self.decoder = None;
        }
        decoded
    }
}

impl Decoder for InProcess {
    fn decode(&mut self, unit: &[u8], full_range: bool) -> Result<Option<Picture>, Error> {
        let mut planes = Vec::new();
        let Some((width, height)) = self.unpack(unit, &mut planes)? else { return Ok(None) };
        Ok(Picture::from_i420(width, height, planes, range(full_range), crate::time::now()))
    }
}

/// How colours are to be read.
pub(super) fn range(full: bool) -> Range {
    if full { Range::Full } else { Range::Limited }
}

fn pack(decoded: &DecodedYUV<'_>, planes: &mut Vec<u8>) -> Result<(usize, usize), Error> {
    let (width, height) = decoded.dimensions();
    if !is_sane(width, height) {
        return Err(Error::Stream(format!("a picture of {width}x{height}")));
    }
    planes.clear();
    planes.reserve(width * height * 3 / 2);
    let strides = decoded.strides();
    for (plane, stride, width, height) in [
        (decoded.y(), strides.0, width, height),
        (decoded.u(), strides.1, width / 2, height / 2),
        (decoded.v(), strides.2, width / 2, height / 2),
    ] {
        for row in plane.chunks(stride).take(height) {
            let row = row.get(..width).ok_or_else(|| Error::Stream("a row that is too short".into()))?;
            planes.extend_from_slice(row);
        }
    }
    if planes.len() == width * height * 3 / 2 {
        Ok((width, height))
    } else {
        Err(Error::Stream("rows are missing".into()))
    }
}
