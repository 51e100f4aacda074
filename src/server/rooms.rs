//! Where a room comes from: it is open, or kept from an earlier life, or made.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use super::depot::{Depot, Shelved};
use super::hall::Hall;
use super::keeping::{self, Keeping};
use super::shelf::{Earlier, Shelf};
use super::store::{Archive, Founding, Known, StoreError};
use super::{Server, lock};
use crate::chat::Log;
use crate::id::{LogId, RoomName, Secret};
use crate::limits;
use crate::room::{self, Room};
use crate::time;
use crate::wire::Code;
use crate::wire::control::Refusal;

/// How long the store may take to find a room.
const STORE_ANSWER: Duration = Duration::from_secs(5);

impl Server {
    /// The room of this name, which is made where there is none.
    pub(super) async fn hall(&self, name: &RoomName, from: IpAddr) -> Result<Arc<Hall>, Refusal> {
        if let Some(hall) = self.room(name, from)? {
            return Ok(hall);
        }
        let archive = self.find(name).await?;
        let shelved = self.shelved(name).await;
        if self.depot.is_some() && shelved.is_none() {
            error!(room = %name, "this room takes no files: its offers cannot be read");
        }
        self.open(name, archive, shelved, Some(from))
    }

    /// The room of this name where there is one, open or kept; none is made, and one that is kept does not count for
    /// whoever looks at it. `judge` says what it thinks of the password.
    pub(super) async fn known(
        &self,
        name: &RoomName,
        from: IpAddr,
        judge: impl Fn(Option<&Secret<32>>) -> Result<(), Refusal>,
    ) -> Result<Arc<Hall>, Refusal> {
        let open = self.rooms().get(name).cloned();
        let hall = match open {
            Some(hall) => hall,
            None => {
                self.gate.charge(from, time::now())?;
                let known = self.is_kept(name).await?.ok_or_else(no_such_room)?;
                judge(known.password.map(Secret).as_ref())?;
                self.reopen(name).await?
            }
        };
        judge(hall.password())?;
        Ok(hall)
    }

    /// What is known of a room that is not open, but was made beforehand or has a history or offers. Where there is a
    /// store it knows of each that has offers too ([`Hall::close`]), so that the depot need not be asked.
    async fn is_kept(&self, name: &RoomName) -> Result<Option<Known>, Refusal> {
        match (&self.store, &self.depot) {
            (Some(store), _) => answer(name, store.knows(name)).await,
            (None, Some(depot)) => {
                let known = tokio::time::timeout(STORE_ANSWER, depot.knows(name)).await.ok().flatten();
                Ok(known.ok_or_else(busy)?.then_some(Known { password: None }))
            }
            (None, None) => Ok(None),
        }
    }

    /// Opens a room that is kept, as it is. It may be gone since that was asked: it is not made anew.
    async fn reopen(&self, name: &RoomName) -> Result<Arc<Hall>, Refusal> {
        if self.rooms().len() >= limits::ROOMS {
            return Err(no_more_rooms());
        }
        let shelved = match &self.depot {
            // A room that takes no files because the depot was busy would not be as it is.
            Some(_) => Some(self.shelved(name).await.ok_or_else(busy)?),
            None => None,
        };
        let archive = match &self.store {
            Some(store) => Some(answer(name, store.load(name)).await?.ok_or_else(no_such_room)?),
            None => None,
        };
        if archive.is_none() && shelved.as_ref().is_none_or(|shelved| shelved.offers.is_empty()) {
            return Err(no_such_room());
        }
        self.open(name, archive, shelved, None)
    }

    /// Opens a room with what was kept of it.
    fn open(
        &self,
        name: &RoomName,
        archive: Option<Archive>,
        shelved: Option<Shelved>,
        maker: Option<IpAddr>,
    ) -> Result<Arc<Hall>, Refusal> {
        // Another connection may have been faster, and its room is the one.
        let mut rooms = self.rooms();
        if let Some(hall) = rooms.get(name) {
            return Ok(Arc::clone(hall));
        }
        let Ok(clock) = self.new_rooms.try_reserve() else {
            let mut refusal = Refusal::new(Code::Full, "too many rooms are being made at once");
            refusal.retry_after_ms = Some(500);
            return Err(refusal);
        };
        let hall = Arc::new(self.make(name, archive, shelved, maker)?);
        clock.send((name.clone(), Arc::clone(&hall)));
        rooms.insert(name.clone(), Arc::clone(&hall));
        if let Some(keeping) = &hall.keeping {
            lock(&self.kept).insert(keeping.room(), Arc::clone(&hall));
        }
        Ok(hall)
    }

    /// The room of this name, or whether one may be made from here. Whoever is the first to come into one that was
    /// only opened to be looked at makes it in this sense.
    fn room(&self, name: &RoomName, from: IpAddr) -> Result<Option<Arc<Hall>>, Refusal> {
        let rooms = self.rooms();
        let open = rooms.get(name);
        if let Some(hall) = open.filter(|hall| hall.maker().is_some()) {
            return Ok(Some(Arc::clone(hall)));
        }
        let made_here = rooms.values().filter(|hall| hall.maker() == Some(from)).count();
        let full = open.is_none() && rooms.len() >= limits::ROOMS;
        match full || made_here >= limits::ROOMS_PER_ADDRESS {
            true => Err(no_more_rooms()),
            false => Ok(open.cloned()),
        }
    }

    /// What the store knows of a room; a store that cannot tell does not keep people from meeting.
    async fn find(&self, name: &RoomName) -> Result<Option<Archive>, Refusal> {
        let Some(store) = &self.store else { return Ok(None) };
        let found = async {
            match store.load(name).await? {
                Some(archive) => Ok(archive),
                None => match store.found(name, Founding::default()).await {
                    // Somebody else has made it in the meantime.
                    Err(StoreError::Exists) => store.load(name).await?.ok_or(StoreError::Busy),
                    other => other,
                },
            }
        };
        match tokio::time::timeout(STORE_ANSWER, found).await {
            Ok(Ok(archive)) => Ok(Some(archive)),
            Ok(Err(StoreError::Busy)) | Err(_) => Err(busy()),
            Ok(Err(error)) => {
                error!(room = %name, %error, "this room's messages are not kept");
                Ok(None)
            }
        }
    }

    /// The offers that are kept of a room; a depot that cannot tell does not keep people from meeting.
    async fn shelved(&self, name: &RoomName) -> Option<Shelved> {
        tokio::time::timeout(STORE_ANSWER, self.depot.as_ref()?.load(name)).await.ok().flatten()
    }

    fn make(
        &self,
        name: &RoomName,
        archive: Option<Archive>,
        shelved: Option<Shelved>,
        maker: Option<IpAddr>,
    ) -> Result<Hall, Refusal> {
        let budget = Arc::clone(&self.budget);
        let depot = self.depot.clone().filter(|_| shelved.is_some());
        let hosts = archive.as_ref().is_some_and(|archive| archive.owner.is_some());
        let earlier = Earlier { until: self.started, hosts };
        let shelf = Shelf::new(shelved.zip(depot.as_ref().map(Depot::age)), earlier);
        let mut terms = self.terms();
        let (now, name) = (time::now(), name.clone());
        let Some((archive, store)) = archive.zip(self.store.clone()) else {
            let mut id = [0; 8];
            getrandom::fill(&mut id)
                .map_err(|_| Refusal::new(Code::Internal, "the server has no randomness"))?;
            let room = Room::new(name, terms, Log::new(LogId(id)), room::Settings::default(), now);
            return Ok(Hall::new((room, shelf), maker, None, None, depot, budget));
        };
        let password = archive.password.map(Secret);
        terms.max_members = archive.max_members.unwrap_or(terms.max_members);
        let keeping = Keeping::new(store, archive.key);
        let (log, settings) = keeping::restore(archive);
        let mut room = Room::new(name, terms, log, settings, now);
        if let Some(why) = &*lock(&self.failing) {
            room.handle_storage(false, why);
        }
        Ok(Hall::new((room, shelf), maker, password, Some(keeping), depot, budget))
    }
}

/// What the store says of a room to whoever looks at it, who can do without.
async fn answer<T>(
    room: &RoomName,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(STORE_ANSWER, asked).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(StoreError::Busy)) | Err(_) => Err(busy()),
        Ok(Err(error)) => {
            error!(%room, %error, "cannot tell whether this room is kept");
            Err(busy())
        }
    }
}

fn no_such_room() -> Refusal {
    Refusal::new(Code::Room, "there is no such room")
}

fn no_more_rooms() -> Refusal {
    Refusal::new(Code::Full, "no more rooms can be made from here now")
}

/// The store cannot say anything of a room at present.
fn busy() -> Refusal {
    let mut refusal = Refusal::new(Code::Internal, "the store is busy");
    refusal.retry_after_ms = Some(1_000);
    refusal
}
