//! NAL units in an Annex B byte stream (ITU-T H.264 7.3.1 and Annex B).

use h264_reader::rbsp::{BitRead, BitReader, ByteReader};

/// What a NAL unit is for (ITU-T H.264 table 7-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A slice of a picture that needs others (1).
    Slice,
    /// A data partition (2 to 4): Extended profile only.
    Partition,
    /// A slice of a picture that resets the decoder (5).
    IdrSlice,
    /// Supplemental enhancement information (6).
    Sei,
    /// Sequence parameter set (7).
    Sps,
    /// Picture parameter set (8).
    Pps,
    /// Access unit delimiter (9).
    Delimiter,
    /// What stands before a base layer slice in a scalable stream (14).
    Prefix,
    /// Parameter sets and slices of scalable, multiview or auxiliary pictures (13, 15, 19 to 21).
    Extension,
    /// End of sequence, end of stream, filler and everything without a meaning here.
    Other,
}

/// One NAL unit without its start code, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit<'a>(&'a [u8]);

impl<'a> Unit<'a> {
    /// The unit in `bytes`, or `None` when there is nothing in it.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    /// Header and payload, with emulation prevention bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// What it is for.
    pub fn kind(self) -> Kind {
        match self.0[0] & 0x1f {
            1 => Kind::Slice,
            2..=4 => Kind::Partition,
            5 => Kind::IdrSlice,
            6 => Kind::Sei,
            7 => Kind::Sps,
            8 => Kind::Pps,
            9 => Kind::Delimiter,
            14 => Kind::Prefix,
            13 | 15 | 19..=21 => Kind::Extension,
            _ => Kind::Other,
        }
    }

    /// `nal_ref_idc`: 0 when no other picture needs this one.
    pub fn reference(self) -> u8 {
        self.0[0] >> 5 & 3
    }

    /// The first two fields of a slice header, or `None` when they are damaged.
    pub(super) fn slice_start(self) -> Option<SliceStart> {
        // Two numbers take at most 16 bytes, with room for emulation prevention.
        let head = &self.0[..self.0.len().min(24)];
        let mut bits = BitReader::new(ByteReader::skipping_h264_header(head));
        let first_macroblock = bits.read_ue("first_mb_in_slice").ok()?;
        let slice_type = bits.read_ue("slice_type").ok().filter(|kind| *kind <= 9)?;
        Some(SliceStart { first_macroblock, slice_type: slice_type % 5 })
    }

    /// The identifier with which a parameter set begins (`skip` bytes after the header), or `None` when damaged.
    pub(super) fn parameter_id(self, skip: u32) -> Option<u32> {
        let head = &self.0[..self.0.len().min(24)];
        let mut bits = BitReader::new(ByteReader::skipping_h264_header(head));
        if skip > 0 {
            bits.skip(skip * 8, "profile and level").ok()?;
        }
        bits.read_ue("parameter_set_id").ok()
    }
}

/// How a slice header begins (ITU-T H.264 7.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SliceStart {
    /// Number of its first macroblock; 0 at the start of a picture.
    pub(super) first_macroblock: u32,
    /// 0 P, 1 B, 2 I, 3 SP, 4 SI.
    pub(super) slice_type: u32,
}

/// The NAL units of `data`; what stands before the first start code is passed over.
pub fn units(data: &[u8]) -> impl Iterator<Item = Unit<'_>> {
    let mut rest = start_code(data, 0).map(|code| &data[code + 3..]);
    std::iter::from_fn(move || {
        loop {
            let bytes = rest?;
            let next = start_code(bytes, 0);
            rest = next.map(|code| &bytes[code + 3..]);
            if let Some(unit) = Unit::new(without_trailing_zeros(&bytes[..next.unwrap_or(bytes.len())])) {
                return Some(unit);
            }
        }
    })
}

/// Where the next `00 00 01` at or after `from` begins.
pub(super) fn start_code(data: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(&last) = data.get(at + 2) {
        // The third byte tells how far the next candidate is away, so most bytes are never looked at.
        match last {
            0 => at += 1,
            1 if data[at] == 0 && data[at + 1] == 0 => return Some(at),
            _ => at += 3,
        }
    }
    None
}

/// A NAL unit never ends in a zero byte (ITU-T H.264 7.4.1); zeros there belong to the byte stream.
pub(super) fn without_trailing_zeros(bytes: &[u8]) -> &[u8] {
    let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..len]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_found_whatever_the_start_codes() {
        let data = [9, 9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 1, 0x65, 3, 0];
        let found: Vec<&[u8]> = units(&data).map(Unit::bytes).collect();
        assert_eq!(found, [&[0x67, 1][..], &[0x68, 2], &[0x65, 3]]);
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        assert_eq!(units(&[]).count(), 0);
        assert_eq!(units(&[0, 0, 1]).count(), 0);
        assert_eq!(units(&[1, 2, 3, 4, 5, 6]).count(), 0);
    }
}
