//! Which numbers of one source a receiver has had.
//!
//! Not just the greatest: a message that was refused, or that came before this receiver did, may come again
//! in another life of the server, behind later ones of its source.
//!
//! Bounds: [`RANGES`] ranges. What is missing between the two oldest counts as had when there are more.

/// Ranges that are remembered. A message for somebody else leaves a hole; most are far back by the time that
/// there are as many.
const RANGES: usize = 64;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    /// First and last of each, in order, with numbers missing between them.
    ranges: Vec<(u64, u64)>,
}

impl Numbers {
    /// Adds a number; whether it is new.
    pub(super) fn insert(&mut self, n: u64) -> bool {
        // The first range that ends at the number before it or later.
        let at = self.ranges.partition_point(|(_, last)| *last + 1 < n);
        match self.ranges.get_mut(at) {
            Some((first, last)) if (*first..=*last).contains(&n) => return false,
            Some((_, last)) if *last + 1 == n => {
                *last = n;
                if let Some(&(next, end)) = self.ranges.get(at + 1)
                    && next == n + 1
                {
                    self.ranges[at].1 = end;
                    self.ranges.remove(at + 1);
                }
            }
            Some((first, _)) if *first == n + 1 => *first = n,
            _ => self.ranges.insert(at, (n, n)),
        }
        if self.ranges.len() > RANGES {
            let (first, _) = self.ranges.remove(0);
            self.ranges[0].0 = first;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_new_once(numbers in proptest::collection::vec(1_u64..120, 1..200)) {
            let (mut known, mut set) = (Numbers::default(), BTreeSet::new());
            for n in numbers {
                prop_assert_eq!(known.insert(n), set.insert(n));
            }
            for pair in known.ranges.windows(2) {
                prop_assert!(pair[0].1 + 1 < pair[1].0, "{:?}", known.ranges);
            }
        }
    }

    #[test]
    fn holes_that_are_far_back_are_forgotten() {
        let mut known = Numbers::default();
        for n in (2..=1_000).step_by(2) {
            assert!(known.insert(n));
        }
        assert_eq!(known.ranges.len(), RANGES);
        assert!(!known.insert(3) && known.insert(999));
    }
}
