//! A cell for the latest of something, between two threads.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Holds at most one value: a new one replaces what was not yet taken. The writer never waits; the reader sleeps until
/// there is something. Share it in an `Arc`.
#[derive(Debug)]
pub struct Latest<T> {
    slot: Mutex<Slot<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    closed: bool,
    replaced: u64,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        let slot = Slot { value: None, closed: false, replaced: 0 };
        Self { slot: Mutex::new(slot), changed: Condvar::new() }
    }
}

impl<T> Latest<T> {
    /// An empty cell.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `value` in place of what is there; `false` when the cell is closed and nobody will take it.
    pub fn put(&self, value: T) -> bool {
        let mut slot = self.lock();
        if slot.closed {
            return false;
        }
        let before = slot.value.replace(value);
        slot.replaced += u64::from(before.is_some());
        drop(slot);
        self.changed.notify_one();
        // What was replaced is dropped here, outside the lock.
        drop(before);
        true
    }

    /// Waits for a value; `None` when the cell is closed and empty.
    pub fn take(&self) -> Option<T> {
        let mut slot = self.lock();
        loop {
            if slot.value.is_some() || slot.closed {
                return slot.value.take();
            }
            slot = self.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits at most `limit` for a value; `None` when there is none by then or the cell is closed and empty.
    pub fn take_within(&self, limit: Duration) -> Option<T> {
        let slot = self.lock();
        let waiting = |slot: &mut Slot<T>| slot.value.is_none() && !slot.closed;
        let waited = self.changed.wait_timeout_while(slot, limit, waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0.value.take()
    }

    /// The value, if there is one now.
    pub fn try_take(&self) -> Option<T> {
        self.lock().value.take()
    }

    /// Ends it for both sides. A value that is there can still be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// How many values were replaced before anybody took them.
    pub fn replaced(&self) -> u64 {
        self.lock().replaced
    }

    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_value_wins_and_losses_are_counted() {
        let cell = Latest::new();
        assert!(cell.put(1) && cell.put(2) && cell.put(3));
        assert_eq!((cell.take(), cell.try_take(), cell.replaced()), (Some(3), None, 2));
    }

    #[test]
    fn closing_wakes_the_reader_and_tells_the_writer() {
        let cell = Latest::new();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| cell.take());
            cell.close();
            assert_eq!(reader.join().unwrap(), None);
        });
        assert!(!cell.put(1));
        assert_eq!(cell.take_within(Duration::from_secs(60)), None);
    }
}
