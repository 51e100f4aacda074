//! The pictures since the last keyframe, kept to start a late joiner with.

use bytes::Bytes;

use crate::limits;
use crate::time::Moment;
use crate::wire::Media;

/// A group of pictures that grows. Bounded by [`limits::GOP_CACHE`] and [`limits::GOP_CACHE_PICTURES`];
/// when it outgrows them all of it goes, for its end is worth nothing without its beginning.
#[derive(Debug, Default)]
pub struct Gop {
    pictures: Vec<(Media, Bytes)>,
    bytes: usize,
    since: Moment,
}

/// Beyond this many pictures only those of layer 0 are replayed: a newcomer has to decode all of them
/// before the first can be shown.
const REPLAY_WHOLE: usize = 30;

impl Gop {
    /// Takes the next picture of the rendition.
    pub fn push(&mut self, media: &Media, bytes: &Bytes, now: Moment) {
        if media.key {
            self.clear();
            self.since = now;
        } else if self.pictures.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        self.pictures.push((*media, bytes.clone()));
        if self.bytes > limits::GOP_CACHE || self.pictures.len() > limits::GOP_CACHE_PICTURES {
            self.clear();
        }
    }

    /// Forgets everything: the publisher was interrupted.
    pub fn clear(&mut self) {
        self.pictures = Vec::new();
        self.bytes = 0;
    }

    /// What a newcomer is sent, in order: all of a short group, the base layer of a long one.
    pub fn replay(&self) -> impl Iterator<Item = &(Media, Bytes)> {
        let whole = self.is_short();
        self.pictures.iter().filter(move |(media, _)| whole || media.tid == 0)
    }

    /// Whether [`Self::replay`] gives every layer.
    pub fn is_short(&self) -> bool {
        self.pictures.len() <= REPLAY_WHOLE
    }

    /// Since when its keyframe has been there; `None` when it is empty.
    pub fn since(&self) -> Option<Moment> {
        (!self.pictures.is_empty()).then_some(self.since)
    }

    /// The number of its keyframe; `None` when it is empty.
    pub fn key(&self) -> Option<u64> {
        self.pictures.first().map(|(media, _)| media.seq)
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TrackId;
    use crate::wire::Rendition;

    fn push(gop: &mut Gop, seq: u64, key: bool, tid: u8, size: usize) {
        let media = Media { track: TrackId(1), seq, pts: 0, key, rendition: Rendition::High, tid };
        gop.push(&media, &vec![0; size].into(), Moment::default());
    }

    fn seqs(gop: &Gop) -> Vec<u64> {
        gop.replay().map(|(media, _)| media.seq).collect()
    }

    #[test]
    fn it_begins_with_the_last_keyframe() {
        let mut gop = Gop::default();
        push(&mut gop, 0, false, 0, 10);
        assert_eq!(gop.since(), None);
        for (seq, key) in [(1, true), (2, false), (3, true), (4, false)] {
            push(&mut gop, seq, key, 0, 10);
        }
        assert_eq!(seqs(&gop), [3, 4]);
    }

    #[test]
    fn a_long_group_is_replayed_by_its_base_layer() {
        let mut gop = Gop::default();
        for seq in 0..40 {
            push(&mut gop, seq, seq == 0, [0, 2, 1, 2][seq as usize % 4], 10);
        }
        assert_eq!(seqs(&gop), (0..40).step_by(4).collect::<Vec<_>>());
    }

    #[test]
    fn what_outgrows_the_bound_goes_as_a_whole() {
        let mut gop = Gop::default();
        push(&mut gop, 0, true, 0, limits::GOP_CACHE);
        push(&mut gop, 1, false, 0, 1);
        assert_eq!((gop.since(), gop.bytes()), (None, 0));
        push(&mut gop, 2, false, 0, 1);
        assert_eq!(gop.bytes(), 0, "nothing without the keyframe");
    }
}
