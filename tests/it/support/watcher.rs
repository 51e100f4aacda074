//! A member who looks on, within the test.

use confkit::net::client::{self, Config, Event, Events, Handle};
use confkit::wire::Frame;
use confkit::wire::control::TrackKind;

use super::programs::PATIENCE;

/// Sees everything that it is sent.
pub struct Watcher {
    _handle: Handle,
    events: Events,
}

impl Watcher {
    /// Joins `room` and waits until that is done.
    pub async fn join(room: &str) -> Self {
        let (handle, events) = client::connect(Config {
            address: room.parse().unwrap(),
            name: "Watcher".parse().unwrap(),
            key: None,
            password: None,
            messages: None,
            offers: false,
            look: false,
            client: "test".into(),
            subscribe: vec![TrackKind::Video],
            reconnect: None,
            connect_timeout: PATIENCE,
            ask: None,
        });
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
