//! A device on a thread of its own, so that one that hangs holds nobody up.
//!
//! The thread opens the device, reads it and closes it. Who has waited long enough leaves the thread behind: whatever it
//! still brings is thrown away, and the device is closed as soon as the thread gets it back from the driver.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use super::{Description, Device, Error, Opener};
use crate::media::Picture;

/// What a device does.
pub(super) enum Event {
    /// It is open, and this is what it is.
    Opened(Description),
    /// A picture.
    Picture(Picture),
    /// A picture that cannot be used.
    Damaged(String),
    /// It cannot be opened, or it broke. It is closed, and nothing follows.
    Failed(Error),
}

/// An open device, or one that is being opened.
pub(super) struct Watched {
    /// Without a place to wait in: the thread reads the next picture while the last one is used, and no more.
    events: Option<Receiver<Event>>,
    /// Breaks off when the device is closed.
    closed: Receiver<()>,
}

impl Watched {
    /// Begins to open the device.
    pub(super) fn start<O: Opener>(opener: O) -> io::Result<Self> {
        let (sender, events) = sync_channel(0);
        let (open, closed) = sync_channel(0);
        Builder::new().name("device".into()).spawn(move || {
            run(opener, &sender);
            drop(open);
        })?;
        Ok(Self { events: Some(events), closed })
    }

    /// What happens within `limit`; nothing after [`close`](Self::close).
    pub(super) fn next(&self, limit: Duration) -> Option<Event> {
        match self.events.as_ref()?.recv_timeout(limit) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            // The thread ended without a word: the driver's library panicked.
            Err(RecvTimeoutError::Disconnected) => Some(Event::Failed(Error::Silent)),
        }
    }

    /// Has the device closed, and waits for that at most for `patience`; whether it is closed. To be asked again later.
    pub(super) fn close(&mut self, patience: Duration) -> bool {
        // A thread that has something to say finds nobody who listens, and ends.
        self.events = None;
        !matches!(self.closed.recv_timeout(patience), Err(RecvTimeoutError::Timeout))
    }
}

fn run<O: Opener>(mut opener: O, events: &SyncSender<Event>) {
    let mut device = match opener.open() {
        Ok(device) => device,
        Err(error) => {
            let _ = events.send(Event::Failed(error));
            return;
        }
    };
    if events.send(Event::Opened(opener.describe())).is_err() {
        return;
    }
    let error = loop {
        let event = match device.read() {
            Ok(Ok(picture)) => Event::Picture(picture),
            Ok(Err(damage)) => Event::Damaged(damage),
            Err(error) => break error,
        };
        if events.send(event).is_err() {
            return;
        }
    };
    // Whoever hears of it may open it again at once.
    drop(device);
    let _ = events.send(Event::Failed(error));
}
