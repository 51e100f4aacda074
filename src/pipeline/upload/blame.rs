//! What keeps an upload from being faster: whatever it has waited for longest of late.

use std::time::Duration;

use crate::pipeline::figures::Bound;
use crate::time::Moment;

/// What is longer ago than this counts half.
const HALF: Duration = Duration::from_secs(2);

/// Times of waiting, by their cause.
#[derive(Debug, Default)]
pub(super) struct Blame {
    waited: [f64; 4],
    now: Option<(Bound, Moment)>,
}

const BOUNDS: [Bound; 4] = [Bound::Disk, Bound::Network, Bound::Peer, Bound::Limit];

impl Blame {
    /// From now on it waits for this.
    pub(super) fn wait(&mut self, bound: Option<Bound>, now: Moment) {
        if let Some((last, since)) = self.now {
            let span = now.since(since).as_secs_f64();
            let fade = 0.5_f64.powf(span / HALF.as_secs_f64());
            self.waited.iter_mut().for_each(|waited| *waited *= fade);
            self.waited[place(last)] += span;
        }
        self.now = bound.map(|bound| (bound, now));
    }

    /// What it waited for most.
    pub(super) fn most(&self) -> Option<Bound> {
        let most = self.waited.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
        (*most.1 > 0.0).then(|| BOUNDS[most.0])
    }
}

fn place(bound: Bound) -> usize {
    BOUNDS.iter().position(|each| *each == bound).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_of_late_counts() {
        let at = |millis: u64| Moment::from_micros(millis * 1000);
        let mut blame = Blame::default();
        assert_eq!(blame.most(), None);
        blame.wait(Some(Bound::Disk), at(0));
        blame.wait(Some(Bound::Network), at(3000));
        blame.wait(None, at(3100));
        assert_eq!(blame.most(), Some(Bound::Disk));
        for tenth in 31..80 {
            blame.wait(Some(Bound::Network), at(tenth * 100));
        }
        assert_eq!(blame.most(), Some(Bound::Network));
    }
}
