//! Which access units never came. Pure: time is an argument.

use super::Unit;
use crate::time::Moment;
use crate::wire::Rendition;

/// Counts gaps in the numbers of a track.
///
/// Whoever subscribes gets the pictures since the last key at once, without those that nothing refers to
/// (docs/protocol.md 7.6): gaps in there are no losses. That part ends with the first picture that comes about
/// as long after the one before it as it was captured after it; from there on every gap counts.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    last: Option<Last>,
    live: bool,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    rendition: Rendition,
    seq: u64,
    at: Moment,
    pts: Option<u64>,
}

impl Gaps {
    /// How many are missing between the one before and `unit`, which came at `now`.
    pub(super) fn handle_arrival(&mut self, now: Moment, unit: &Unit) -> u64 {
        let Some(seq) = unit.seq else { return 0 };
        let last = self.last.replace(Last { rendition: unit.rendition, seq, at: now, pts: unit.pts });
        let Some(last) = last else { return 0 };
        let was_live = self.live;
        self.live |= match (last.pts, unit.pts) {
            (Some(before), Some(pts)) => {
                now.since(last.at).as_micros() as u64 * 2 >= pts.saturating_sub(before)
            }
            _ => true,
        };
        let gap = last.rendition == unit.rendition && seq > last.seq;
        if was_live && gap { seq - last.seq - 1 } else { 0 }
    }

    /// The source begins anew.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Plays (arrival in ms, seq) of pictures that are captured every 33 ms; how many were missed.
    fn missed(gaps: &mut Gaps, events: impl IntoIterator<Item = (u64, u64)>) -> u64 {
        let one = |(at, seq)| {
            let unit = Unit {
                seq: Some(seq),
                pts: Some(seq * 33_000),
                rendition: Rendition::High,
                data: Bytes::new(),
            };
            gaps.handle_arrival(Moment::from_micros(at * 1000), &unit)
        };
        events.into_iter().map(one).sum()
    }

    #[test]
    fn gaps_in_what_a_late_joiner_gets_are_no_drops() {
        let mut gaps = Gaps::default();
        let replay = (0..9).map(|i| (1000, i * 4));
        let live = (35..60).map(|seq| (1000 + (seq - 34) * 33, seq));
        assert_eq!(missed(&mut gaps, replay.chain(live)), 0);
        assert_eq!(missed(&mut gaps, [(1900, 63)]), 3, "from then on they are");
    }

    #[test]
    fn after_a_broken_connection_it_is_the_same() {
        let mut gaps = Gaps::default();
        assert_eq!(missed(&mut gaps, (0..30).map(|seq| (seq * 33, seq))), 0);
        gaps.forget();
        let replay = (0..5).map(|i| (5000, 120 + i * 4));
        assert_eq!(missed(&mut gaps, replay.chain((137..150).map(|s| (5010 + (s - 136) * 33, s)))), 0);
    }

    #[test]
    fn a_burst_in_the_middle_hides_no_gap() {
        let mut gaps = Gaps::default();
        missed(&mut gaps, (0..30).map(|seq| (seq * 33, seq)));
        assert_eq!(missed(&mut gaps, [(2000, 40), (2000, 42), (2000, 43)]), 10 + 1);
    }

    #[test]
    fn without_time_stamps_every_gap_counts_and_without_numbers_none() {
        let mut gaps = Gaps::default();
        let mut put = |seq| {
            let unit = Unit { seq, pts: None, rendition: Rendition::High, data: Bytes::new() };
            gaps.handle_arrival(Moment::default(), &unit)
        };
        assert_eq!((put(Some(0)), put(Some(1)), put(Some(5)), put(None)), (0, 0, 3, 0));
    }
}
