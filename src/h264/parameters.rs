//! The parameter sets of a stream, remembered so that every keyframe can carry its own.

use bytes::Bytes;

use super::nal::{Kind, Unit};

/// The latest parameter set of every identifier. Bounded: [`MAX_SPS`] and [`MAX_PPS`] of at most [`MAX_BYTES`] each;
/// what does not fit is not remembered.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    sps: Vec<(u32, Bytes)>,
    pps: Vec<(u32, Bytes)>,
}

/// Sequence parameter sets: real streams have one, a change of size in between two.
const MAX_SPS: usize = 8;
/// Picture parameter sets: real streams have up to three, conformance streams some dozens.
const MAX_PPS: usize = 64;
/// The largest legal ones, with scaling lists and HRD, stay well below.
const MAX_BYTES: usize = 2048;

impl Parameters {
    /// Remembers `unit` where it is a parameter set.
    pub(super) fn learn(&mut self, unit: Unit<'_>) {
        let (sets, id, most) = match unit.kind() {
            // Profile, constraint flags and level stand before the identifier.
            Kind::Sps => (&mut self.sps, unit.parameter_id(3), MAX_SPS),
            Kind::Pps => (&mut self.pps, unit.parameter_id(0), MAX_PPS),
            _ => return,
        };
        let Some(id) = id.filter(|_| unit.bytes().len() <= MAX_BYTES) else { return };
        let known = sets.iter().position(|(known, _)| *known == id);
        match known {
            Some(at) if sets[at].1[..] == *unit.bytes() => {}
            Some(at) => sets[at].1 = Bytes::copy_from_slice(unit.bytes()),
            None if sets.len() < most => sets.push((id, Bytes::copy_from_slice(unit.bytes()))),
            None => {}
        }
    }

    /// Whether a decoder could start with what is known.
    pub(super) fn complete(&self) -> bool {
        !self.sps.is_empty() && !self.pps.is_empty()
    }

    /// Everything that is known, sequence parameter sets first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Bytes> {
        self.sps.iter().chain(&self.pps).map(|(_, bytes)| bytes)
    }
}
