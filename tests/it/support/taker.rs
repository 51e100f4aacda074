//! A member who takes what is offered, within the test, and checks it.

use std::collections::BTreeMap;

use confkit::id::OfferNumber;
use confkit::net::client::{self, Config, Event, Events, Handle};
use confkit::transfer::{About, Manifest, Rules, Sums};
use confkit::wire::offer::{Fetch, OfferState};
use confkit::wire::{Frame, Part};
use md5::{Digest, Md5};

use super::programs::PATIENCE;

/// See the module.
pub struct Taker {
    handle: Handle,
    events: Events,
    requests: u64,
    abouts: BTreeMap<OfferNumber, About>,
}

/// An offer as it arrived.
#[derive(Debug)]
pub struct Taken {
    pub offer: OfferNumber,
    pub about: About,
    pub manifest: Manifest,
    /// By the numbers of the files.
    pub files: Vec<Vec<u8>>,
}

impl Taken {
    pub fn names(&self) -> Vec<String> {
        self.manifest.files().iter().map(|file| file.path.to_string()).collect()
    }
}

/// A guest who wants to be told of offers; `tries` in a row to come back.
pub fn guest(room: &str, name: &str, tries: Option<u32>) -> Config {
    Config {
        address: room.parse().unwrap(),
        name: name.parse().unwrap(),
        key: None,
        password: None,
        messages: None,
        offers: true,
        look: false,
        client: "test".into(),
        subscribe: vec![],
        reconnect: tries,
        connect_timeout: PATIENCE,
        ask: None,
    }
}

impl Taker {
    pub async fn join(room: &str, name: &str) -> Self {
        let (handle, events) = client::connect(guest(room, name, None));
        let mut taker = Self { handle, events, requests: 0, abouts: BTreeMap::new() };
        taker.find(|event| matches!(event, Event::State(_)).then_some(())).await;
        taker
    }

    /// The first event that `wanted` takes; those before it are gone.
    pub async fn find<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.next().await.expect("the session goes on");
                if let Event::File(frame) = &event
                    && let Some(piece) = frame.header.piece.filter(|piece| piece.part == Part::About)
                {
                    self.abouts.insert(piece.offer, About::from_payload(frame.payload()).unwrap());
                }
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("the event comes in time")
    }

    /// The state of an offer, when it is as `fits` says.
    pub async fn state(&mut self, fits: impl Fn(&OfferState) -> bool) -> OfferState {
        self.find(|event| match event {
            Event::OfferState(state) => fits(&state).then_some(state),
            _ => None,
        })
        .await
    }

    /// Takes the next offer that is complete.
    pub async fn take(&mut self) -> Taken {
        let offer = self.state(|state| state.sealed).await.offer;
        self.take_offer(offer).await
    }

    pub async fn take_offer(&mut self, offer: OfferNumber) -> Taken {
        let payloads = |frames: &[Frame]| frames.iter().map(|f| f.payload().to_vec()).collect::<Vec<_>>();
        let manifest = payloads(&self.fetch(offer, Part::Manifest).await);
        let manifest = Manifest::judge(&manifest, Rules { hidden: true }).unwrap();
        let chunks = self.fetch(offer, Part::Chunk).await;
        assert!(chunks.iter().all(Frame::is_intact));
        let order: Vec<u32> = chunks.iter().map(|frame| frame.header.piece.unwrap().index).collect();
        assert_eq!(order, (0..chunks.len() as u32).collect::<Vec<_>>(), "chunks come in order");
        let sums = Sums::judge(&payloads(&self.fetch(offer, Part::Sums).await), &manifest).unwrap();
        let bytes: Vec<u8> = payloads(&chunks).concat();
        let mut left = bytes.as_slice();
        let mut files = Vec::new();
        for sum in sums.files() {
            let (file, rest) = left.split_at(sum.size as usize);
            assert_eq!(<[u8; 16]>::from(Md5::digest(file)), sum.md5);
            files.push(file.to_vec());
            left = rest;
        }
        assert!(left.is_empty(), "there is more than the files");
        let about = self.abouts[&offer].clone();
        Taken { offer, about, manifest, files }
    }

    /// Says that it has all of it.
    pub async fn confirm(&mut self, offer: OfferNumber) {
        self.handle.received(offer).await;
    }

    async fn fetch(&mut self, offer: OfferNumber, part: Part) -> Vec<Frame> {
        self.requests += 1;
        let id = self.requests;
        self.handle.fetch(Fetch { id, offer, part, ranges: vec![(0, None)] }).await;
        let mut frames = Vec::new();
        self.find(|event| match event {
            Event::File(frame) if frame.header.piece.unwrap().part == part => {
                frames.push(frame);
                None
            }
            Event::Done { id: done } if done == id => Some(()),
            Event::Refused(refusal) => panic!("{refusal:?}"),
            _ => None,
        })
        .await;
        frames
    }
}
