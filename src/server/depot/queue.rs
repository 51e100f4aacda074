//! What waits for a thread of the depot.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Things in order, at most so many; who adds one too many is told so and keeps it.
#[derive(Debug)]
pub(super) struct Queue<T> {
    items: Mutex<Items<T>>,
    filled: Condvar,
    emptied: Condvar,
    most: usize,
}

#[derive(Debug)]
struct Items<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(most: usize) -> Self {
        let items = Mutex::new(Items { waiting: VecDeque::new(), closed: false });
        Self { items, filled: Condvar::new(), emptied: Condvar::new(), most }
    }

    /// Adds `item` where there is room.
    pub(super) fn push(&self, item: T) -> Result<(), T> {
        let mut items = self.items();
        if items.closed || items.waiting.len() >= self.most {
            return Err(item);
        }
        items.waiting.push_back(item);
        drop(items);
        self.filled.notify_one();
        Ok(())
    }

    /// Adds `item`, when there is room; drops it where nobody will take it any more. For threads.
    pub(super) fn push_patiently(&self, item: T) {
        let mut items = self.items();
        while items.waiting.len() >= self.most && !items.closed {
            items = self.emptied.wait(items).unwrap_or_else(PoisonError::into_inner);
        }
        if !items.closed {
            items.waiting.push_back(item);
            drop(items);
            self.filled.notify_one();
        }
    }

    /// Waits at most so long for the first and takes at most `most`; nothing where the time is over, `None`
    /// where nothing will come any more.
    pub(super) fn take(&self, most: usize, wait: Duration) -> Option<Vec<T>> {
        let items = self.items();
        let (mut items, _) = self
            .filled
            .wait_timeout_while(items, wait, |items| items.waiting.is_empty() && !items.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if items.waiting.is_empty() {
            return (!items.closed).then(Vec::new);
        }
        let count = items.waiting.len().min(most);
        let taken = items.waiting.drain(..count).collect();
        drop(items);
        self.emptied.notify_all();
        Some(taken)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.items().waiting.len()
    }

    /// Nothing more is taken in; what waits is still given out.
    pub(super) fn close(&self) {
        self.items().closed = true;
        self.filled.notify_all();
        self.emptied.notify_all();
    }

    fn items(&self) -> MutexGuard<'_, Items<T>> {
        // A panic of another thread with the lock held leaves a list of items.
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
