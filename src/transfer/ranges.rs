//! Sets of chunk numbers: what is there, what is missing, what is to be fetched.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// A set of numbers as half-open ranges, sorted, with a gap between any two.
///
/// Every operation on one range takes time in the logarithm of the number of ranges, so that a peer who sends
/// every other chunk costs no more than one who sends them in order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    /// First number of each range and the one behind its last.
    ends: BTreeMap<u32, u32>,
    count: u32,
}

impl Ranges {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What `pairs` say, in any order and overlapping or not; a pair that holds nothing is left out.
    pub fn from_pairs(pairs: impl IntoIterator<Item = [u32; 2]>) -> Self {
        pairs.into_iter().map(|[from, to]| from..to).collect()
    }

    /// The ranges as they travel.
    pub fn pairs(&self) -> Vec<[u32; 2]> {
        self.iter().map(|range| [range.start, range.end]).collect()
    }

    /// The ranges, from the first to the last.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u32>> {
        self.ends.iter().map(|(start, end)| *start..*end)
    }

    /// Every number, in order.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.iter().flatten()
    }

    /// How many numbers.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many ranges.
    pub fn runs(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no number.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `number` is in it.
    pub fn contains(&self, number: u32) -> bool {
        self.ends.range(..=number).next_back().is_some_and(|(_, end)| number < *end)
    }

    /// Whether all of `range` is in it.
    pub fn covers(&self, range: Range<u32>) -> bool {
        range.is_empty()
            || self.ends.range(..=range.start).next_back().is_some_and(|(_, end)| range.end <= *end)
    }

    /// Adds `range`; what is in it already stays.
    pub fn insert(&mut self, range: Range<u32>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // Whatever touches it becomes one with it.
        while let Some((&from, &to)) = self.ends.range(..=end).next_back() {
            if to < start {
                break;
            }
            self.ends.remove(&from);
            self.count -= to - from;
            start = start.min(from);
            end = end.max(to);
        }
        self.ends.insert(start, end);
        self.count += end - start;
    }

    /// Adds `number`; whether it is new.
    pub fn add(&mut self, number: u32) -> bool {
        let new = !self.contains(number);
        if new {
            self.insert(number..number.saturating_add(1));
        }
        new
    }

    /// Takes `range` out.
    pub fn remove(&mut self, range: Range<u32>) {
        while let Some((&from, &to)) = self.ends.range(..range.end).next_back() {
            if to <= range.start || range.is_empty() {
                return;
            }
            self.ends.remove(&from);
            self.count -= to - from;
            if from < range.start {
                self.insert(from..range.start);
            }
            if to > range.end {
                self.insert(range.end..to);
            }
        }
    }

    /// Adds all of `other`.
    pub fn join(&mut self, other: &Self) {
        other.iter().for_each(|range| self.insert(range));
    }

    /// Takes all of `other` out.
    pub fn subtract(&mut self, other: &Self) {
        other.iter().for_each(|range| self.remove(range));
    }

    /// The numbers below `total` that are not in it.
    pub fn missing(&self, total: u32) -> Self {
        let mut missing = Self::new();
        let mut from = 0;
        for range in self.iter().take_while(|range| range.start < total) {
            missing.insert(from..range.start);
            from = range.end;
        }
        missing.insert(from..total);
        missing
    }

    /// The first number from `from` on that is not in it.
    pub fn gap(&self, from: u32) -> u32 {
        let end = self.ends.range(..=from).next_back().map_or(0, |(_, end)| *end);
        from.max(end)
    }

    /// The first number of it from `from` on.
    pub fn next(&self, from: u32) -> Option<u32> {
        if self.contains(from) {
            return Some(from);
        }
        self.ends.range(from..).next().map(|(start, _)| *start)
    }

    /// The first number of it.
    pub fn first(&self) -> Option<u32> {
        self.ends.first_key_value().map(|(start, _)| *start)
    }

    /// The number behind its last; 0 where there is none.
    pub fn end(&self) -> u32 {
        self.ends.last_key_value().map_or(0, |(_, end)| *end)
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl From<Range<u32>> for Ranges {
    fn from(range: Range<u32>) -> Self {
        [range].into_iter().collect()
    }
}

impl FromIterator<Range<u32>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<u32>>>(ranges: I) -> Self {
        let mut all = Self::new();
        all.extend(ranges);
        all
    }
}

impl Extend<Range<u32>> for Ranges {
    fn extend<I: IntoIterator<Item = Range<u32>>>(&mut self, ranges: I) {
        ranges.into_iter().for_each(|range| self.insert(range));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_touches_becomes_one() {
        let mut ranges = Ranges::from_pairs([[4, 6], [0, 2], [9, 9], [8, 7]]);
        assert_eq!(ranges.pairs(), [[0, 2], [4, 6]]);
        ranges.insert(2..4);
        assert_eq!(ranges.pairs(), [[0, 6]]);
        ranges.remove(1..2);
        assert_eq!((ranges.pairs(), ranges.count()), (vec![[0, 1], [2, 6]], 5));
        assert_eq!(ranges.missing(8).pairs(), [[1, 2], [6, 8]]);
        assert_eq!(ranges.missing(1).pairs(), <[[u32; 2]; 0]>::default());
        assert_eq!((ranges.gap(0), ranges.gap(2), ranges.gap(9)), (1, 6, 9));
        assert_eq!((ranges.next(1), ranges.next(3), ranges.next(6)), (Some(2), Some(3), None));
        assert!(ranges.covers(2..6) && !ranges.covers(0..2) && ranges.covers(7..7));
    }

    #[test]
    fn the_largest_numbers_are_no_special_case() {
        let mut ranges = Ranges::from(0..u32::MAX);
        assert!(!ranges.contains(u32::MAX) && ranges.contains(u32::MAX - 1));
        ranges.remove(5..u32::MAX - 1);
        assert_eq!(ranges.pairs(), [[0, 5], [u32::MAX - 1, u32::MAX]]);
    }

    proptest! {
        #[test]
        fn they_are_a_set(steps in prop::collection::vec((any::<bool>(), 0_u32..64, 0_u32..64), 0..60)) {
            let (mut ranges, mut set) = (Ranges::new(), BTreeSet::new());
            for (adds, from, to) in steps {
                if adds {
                    ranges.insert(from..to);
                    set.extend(from..to);
                } else {
                    ranges.remove(from..to);
                    set.retain(|number| !(from..to).contains(number));
                }
                prop_assert_eq!(ranges.numbers().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(ranges.count() as usize, set.len());
                let apart = ranges.pairs().windows(2).all(|two| two[0][1] < two[1][0]);
                prop_assert!(apart, "{ranges:?}");
                prop_assert_eq!(ranges.contains(from), set.contains(&from));
                prop_assert_eq!(Ranges::from_pairs(ranges.pairs()), ranges.clone());
                let missing: Vec<u32> = (0..to).filter(|number| !set.contains(number)).collect();
                prop_assert_eq!(ranges.missing(to).numbers().collect::<Vec<_>>(), missing);
            }
        }
    }
}
