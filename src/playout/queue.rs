//! Access units that wait until they are due.

use std::collections::VecDeque;

use super::Due;
use crate::time::Moment;

/// The most that wait: half a second of 120 pictures a second, with room to spare.
const UNITS: usize = 96;
/// The most bytes that wait.
const BYTES: usize = 8 << 20;

/// An access unit whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready<T> {
    /// What was put in.
    pub unit: T,
    /// Whether its picture is to be seen; otherwise it is only decoded.
    pub show: bool,
    /// Whether it comes from the present, see [`Due::live`].
    pub live: bool,
}

/// Access units of one track in the order of their arrival. Bounded in number and in bytes; when it is
/// full, the oldest are due at once. Nothing is ever left out: every later picture needs them.
#[derive(Debug)]
pub struct Queue<T> {
    waiting: VecDeque<(Due, usize, T)>,
    bytes: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Queue<T> {
    /// Puts in `unit` of `bytes` bytes.
    pub fn push(&mut self, due: Due, bytes: usize, unit: T) {
        self.bytes += bytes;
        self.waiting.push_back((due, bytes, unit));
    }

    /// The next one to be decoded at `now`. It is not seen when the one behind it is due as well.
    pub fn poll(&mut self, now: Moment) -> Option<Ready<T>> {
        let full = self.waiting.len() > UNITS || self.bytes > BYTES;
        let (due, ..) = self.waiting.front()?;
        if due.at > now && !full {
            return None;
        }
        let (due, bytes, unit) = self.waiting.pop_front()?;
        self.bytes -= bytes;
        let overtaken = self.waiting.front().is_some_and(|(next, ..)| next.show && next.at <= now);
        Some(Ready { unit, show: due.show && !overtaken, live: due.live })
    }

    /// When to poll next.
    pub fn deadline(&self) -> Option<Moment> {
        self.waiting.front().map(|(due, ..)| due.at)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether no more should be put in before some have been taken out.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= UNITS || self.bytes >= BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(at: u64, show: bool) -> Due {
        Due { at: Moment::from_micros(at), show, live: true }
    }

    #[test]
    fn all_are_decoded_in_order_and_the_last_that_is_due_is_seen() {
        let mut queue = Queue::default();
        for at in 1..=5 {
            queue.push(due(at * 10, true), 1, at);
        }
        let now = Moment::from_micros(35);
        let out: Vec<_> = std::iter::from_fn(|| queue.poll(now)).map(|r| (r.unit, r.show)).collect();
        assert_eq!(out, [(1, false), (2, false), (3, true)]);
        assert_eq!(queue.deadline(), Some(Moment::from_micros(40)));
    }

    #[test]
    fn hidden_ones_stay_hidden() {
        let mut queue = Queue::default();
        queue.push(due(1, false), 1, 'a');
        assert_eq!(queue.poll(Moment::from_micros(1)), Some(Ready { unit: 'a', show: false, live: true }));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_full_queue_gives_out_early_and_leaves_nothing_out() {
        let mut queue = Queue::default();
        let mut out = 0;
        for unit in 0..10_000 {
            queue.push(due(u64::MAX, true), 100_000, unit);
            while let Some(ready) = queue.poll(Moment::default()) {
                assert_eq!(ready.unit, out);
                out += 1;
            }
            assert!(queue.bytes <= BYTES && queue.len() <= UNITS);
        }
    }
}
