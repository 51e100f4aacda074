//! A member who looks on, within the test.

use confkit::net::client::{self, Config, Event, Events, Handle};
use confkit::wire::Frame;
use confkit::wire::control::TrackKind;

use super::programs::PATIENCE;
use super::taker::guest;

/// Sees everything that it is sent.
pub struct Watcher {
    _handle: Handle,
    events: Events,
}

impl Watcher {
    /// Joins `room` and waits until that is done.
    pub async fn join(room: &str) -> Self {
        let guest = guest(room, "Watcher", None);
        let config = Config { offers: false, subscribe: vec![TrackKind::Video], ..guest };
        let (handle, events) = client::connect(config);
        let mut watcher = Self { _handle: handle, events };
        watcher.find(|event| matches!(event, Event::State(_)).then_some(())).await;
        watcher
    }

    /// The first event that `wanted` takes; those before it are gone.
    pub async fn find<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.next().await.expect("the session goes on");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("the event comes in time")
    }

    /// The next picture.
    pub async fn picture(&mut self) -> Frame {
        self.find(|event| if let Event::Media(frame) = event { Some(frame) } else { None }).await
    }
}
