//! What the server answers at its local socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Answer, Create, Question, RoomLine};
use crate::id::RoomName;
use crate::server::depot;
use crate::server::hall::{Figures, Hall};
use crate::server::status::{Files, Room, Status, Store, Track};
use crate::server::store::{Founding, Health, StoreError};
use crate::server::{Server, lock};
use crate::time;
use crate::wire::control::PROTOCOL;

/// How long rates are measured.
const MEASURED: Duration = Duration::from_secs(1);

impl Server {
    /// Answers a question of the person who runs the server.
    pub(in crate::server) async fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Status => Answer::Status(Box::new(self.status().await)),
            Question::Rooms => self.list().await,
            Question::Create(create) => self.create(create).await,
            Question::Remove { name } => self.remove(&name).await,
        }
    }

    async fn status(&self) -> Status {
        let before: BTreeMap<RoomName, Figures> = self.figures();
        let begun = time::now();
        tokio::time::sleep(MEASURED).await;
        let seconds = time::now().since(begun).as_secs_f64();
        let rooms: Vec<Room> = self
            .figures()
            .into_iter()
            .map(|(name, after)| {
                let before = before.get(&name);
                room(&name, before, after, seconds)
            })
            .collect();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: PROTOCOL,
            uptime: time::now().since(self.started).as_secs(),
            connections: self.gate.connections(),
            refused: self.refused.load(Ordering::Relaxed),
            messages_per_second: rooms.iter().fold(0.0, |all, room| all + room.messages_per_second),
            rooms,
            store: self.store.as_ref().map(|store| health(store.health())),
            files: self.depot.as_ref().map(|depot| files(depot.health())),
        }
    }

    fn figures(&self) -> BTreeMap<RoomName, Figures> {
        let halls: Vec<(RoomName, Arc<Hall>)> =
            self.rooms().iter().map(|(name, hall)| (name.clone(), Arc::clone(hall))).collect();
        halls.into_iter().map(|(name, hall)| (name, hall.figures())).collect()
    }

    async fn list(&self) -> Answer {
        let mut rooms: BTreeMap<RoomName, RoomLine> = BTreeMap::new();
        if let Some(store) = &self.store {
            let kept = match store.rooms().await {
                Ok(kept) => kept,
                Err(error) => return refused(error.to_string()),
            };
            for kept in kept {
                let line = RoomLine {
                    members: 0,
                    max_members: kept.max_members.unwrap_or(self.terms().max_members),
                    password: kept.password,
                    locked: kept.locked,
                    permanent: kept.permanent,
                    messages: kept.messages,
                    bytes: kept.bytes,
                    history: kept.history,
                    last_message: kept.last_message.map(|micros| micros / 1_000_000),
                    owner: kept.owner.map(|key| key.fingerprint()),
                    name: kept.name.clone(),
                };
                rooms.insert(kept.name, line);
            }
        }
        for (name, figures) in self.figures() {
            let line = rooms.entry(name.clone()).or_insert_with(|| RoomLine::open(name));
            line.members = figures.members;
            line.max_members = figures.max_members;
            line.locked = figures.locked;
            line.password = figures.password;
            line.owner = figures.owner.map(|key| key.fingerprint());
        }
        Answer::Rooms { rooms: rooms.into_values().collect() }
    }

    async fn create(&self, create: Create) -> Answer {
        let Some(store) = &self.store else {
            return refused("this server runs with --ephemeral: a room lives as long as somebody is in it");
        };
        let name = create.name;
        let about = Founding {
            owner: create.owner,
            hosts: create.hosts,
            password: create.password.map(|password| password.0),
            max_members: create.max_members,
            history: create.history,
            permanent: true,
        };
        match store.found(&name, about).await {
            Ok(archive) => {
                store.release(archive.key, false);
                Answer::Done
            }
            Err(StoreError::Exists) => refused(format!(
                "there is a room {name} already; conf-serve room remove {name} removes it with its messages"
            )),
            Err(error) => refused(error.to_string()),
        }
    }

    /// Not while somebody is in it: they would talk on in a room that nobody else finds.
    async fn remove(&self, name: &RoomName) -> Answer {
        let open = {
            let mut rooms = self.rooms();
            let members = rooms.get(name).map(|hall| hall.figures().members);
            match members {
                Some(0) => rooms.remove(name),
                Some(1) => return refused(format!("somebody is in {name}")),
                Some(members) => return refused(format!("{members} people are in {name}")),
                None => None,
            }
        };
        if let Some(hall) = &open {
            if let Some(keeping) = &hall.keeping {
                lock(&self.kept).remove(&keeping.room());
            }
            hall.close();
        }
        let kept = match &self.store {
            Some(store) => store.remove(name).await,
            None => Ok(false),
        };
        let files = match &self.depot {
            Some(depot) => depot.remove_room(name).await == Some(true),
            None => false,
        };
        match kept {
            Ok(kept) if kept || files || open.is_some() => Answer::Done,
            Ok(_) => {
                refused(format!("there is no room {name}; conf-serve room list shows those that there are"))
            }
            Err(error) => refused(error.to_string()),
        }
    }
}

impl RoomLine {
    /// An open room of which nothing is kept.
    fn open(name: RoomName) -> Self {
        Self {
            name,
            members: 0,
            max_members: 0,
            password: false,
            locked: false,
            permanent: false,
            messages: 0,
            bytes: 0,
            history: None,
            last_message: None,
            owner: None,
        }
    }
}

fn refused(message: impl Into<String>) -> Answer {
    Answer::Refused { message: message.into() }
}

fn room(name: &RoomName, before: Option<&Figures>, after: Figures, seconds: f64) -> Room {
    let rate = |total: u64, earlier: u64| total.saturating_sub(earlier) as f64 / seconds;
    let tracks = after.tracks.into_iter().map(|(track, frames, bytes)| {
        let earlier = before.and_then(|b| b.tracks.iter().find(|(t, ..)| t.track == track.track));
        let (had_frames, had_bytes) = earlier.map_or((0, 0), |(_, frames, bytes)| (*frames, *bytes));
        Track {
            frames_per_second: rate(frames, had_frames),
            bits_per_second: 8.0 * rate(bytes, had_bytes),
            ..track
        }
    });
    Room {
        name: name.to_string(),
        members: after.members,
        sessions: after.sessions,
        messages_per_second: rate(after.last_message, before.map_or(after.last_message, |b| b.last_message)),
        offers: after.offers,
        offer_bytes: after.offer_bytes,
        queue: after.queue,
        dropped: after.dropped,
        tracks: tracks.collect(),
    }
}

fn files(health: depot::Health) -> Files {
    Files {
        offers: health.offers,
        bytes: health.bytes,
        quota: health.quota,
        waiting: health.waiting,
        failing: health.failing,
    }
}

fn health(health: Health) -> Store {
    Store {
        waiting: health.waiting,
        waiting_bytes: health.waiting_bytes,
        stored: health.stored,
        refused: health.refused,
        last_commit_ms: health.last_commit.as_secs_f64() * 1e3,
        bytes: health.bytes,
        failing: health.failing,
    }
}
