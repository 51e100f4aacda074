//! What outlives the server: rooms, their messages and their settings, in SQLite.
//!
//! One thread named `store` owns the database. Callers hand it messages ([`Store::append`], which never
//! waits) and ask it questions. It commits what has come in one transaction, and while that is being
//! written the next ones gather, so that a busy server pays one fsync for many messages and a quiet
//! one waits for nothing. [`Commits`] tells what is on disk.
//!
//! Numbers are never given twice, not after a crash either: a block of them is reserved on disk before
//! the first is given ([`Archive::through`], [`Commit::Reserved`]), and what a crash leaves unknown of a
//! block is a gap. A message that was reported as stored is not lost by a crash; one that was not may
//! be. While nothing can be stored (a full disk) messages wait in memory, at most 16 MiB of them; then
//! the newest are refused. The store never looks into a payload and never deletes a damaged file.

mod database;
mod messages;
mod prune;
mod queue;
mod rooms;
#[cfg(test)]
mod tests;
mod thread;
mod types;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

pub use types::{
    Archive, Commit, Founding, Health, Keep, Known, Listed, OpenError, Record, RoomKey, StoreError,
};

use crate::id::{PublicKey, RoomName};
use queue::{Answer, Queue, Range, Request, Write};

/// Messages of [`Archive::newest`].
pub const NEWEST: usize = 256;
/// Bytes of [`Archive::newest`].
pub const NEWEST_BYTES: usize = 1024 * 1024;
/// Outboxes of [`Archive::sources`].
pub const SOURCES: usize = 4_096;
/// Slots of a room; those whose message is older are forgotten.
pub const SLOTS: usize = 64;
/// Numbers that are reserved at once.
pub const BLOCK: u64 = 4_096;

/// The way to the store's thread; cheap to clone. Without one left the store is closed.
#[derive(Clone)]
pub struct Store(Arc<Owner>);

/// What is reported of it.
pub struct Commits(Arc<Queue>);

struct Owner(Arc<Queue>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl std::fmt::Debug for Commits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Commits")
    }
}

impl Commits {
    /// The next report; `None` when the store is closed. Reports of the same kind about one room are
    /// merged where they are not fetched, so nothing waits for who fetches them.
    pub async fn next(&mut self) -> Option<Commit> {
        self.0.report().await
    }
}

impl Store {
    /// Opens the store of a directory, which is made where there is none. `wall` is the time of day in
    /// microseconds since 1970, by which messages get old.
    pub fn open(directory: &Path, keep: Keep, wall: u64) -> Result<(Self, Commits), OpenError> {
        let database = database::open(directory)?;
        let queue = Arc::new(Queue::default());
        let thread = thread::Thread::new(database, Arc::clone(&queue), keep, wall);
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || thread.run())
            .map_err(|error| OpenError::Io { path: directory.into(), error })?;
        Ok((Self(Arc::new(Owner(Arc::clone(&queue)))), Commits(queue)))
    }

    /// A room as it was kept, with numbers reserved; `None` where nothing is kept of it.
    pub async fn load(&self, room: &RoomName) -> Result<Option<Archive>, StoreError> {
        self.ask(|answer| Request::Load(room.clone(), answer)).await
    }

    /// What has to be known of a room before it is worth loading; `None` where nothing is kept of it. Costs one look
    /// into an index, and changes nothing.
    pub async fn knows(&self, room: &RoomName) -> Result<Option<Known>, StoreError> {
        self.ask(|answer| Request::Knows(room.clone(), answer)).await
    }

    /// Makes a room, durably, with numbers reserved.
    pub async fn found(&self, room: &RoomName, about: Founding) -> Result<Archive, StoreError> {
        self.ask(|answer| Request::Found(room.clone(), Box::new(about), answer)).await
    }

    /// Hands over a message of a loaded room, in the order of its numbers. Never blocks. False: it will
    /// not be stored, because too much waits or because its number was not reserved; its number is
    /// used all the same.
    pub fn append(&self, record: Record) -> bool {
        self.0.0.append(record)
    }

    /// Messages between `after` and `before`, both excluded, oldest first, at most so many messages and
    /// bytes (but one at least). Direct ones only where `reader` sent them or was sent them. With them comes
    /// the number from which on messages of the room are kept at all.
    pub async fn page(
        &self,
        room: RoomKey,
        after: u64,
        before: u64,
        messages: usize,
        bytes: usize,
        reader: Option<PublicKey>,
    ) -> Result<(Vec<Record>, u64), StoreError> {
        let range = Range { room, after, before, messages, bytes, reader, newest: false };
        self.ask(|answer| Request::Page(range, answer)).await
    }

    /// The newest messages before `before`, as [`Store::page`] gives them.
    pub async fn last(
        &self,
        room: RoomKey,
        before: u64,
        messages: usize,
        bytes: usize,
        reader: Option<PublicKey>,
    ) -> Result<Vec<Record>, StoreError> {
        let range = Range { room, after: 0, before, messages, bytes, reader, newest: true };
        self.ask(|answer| Request::Page(range, answer)).await.map(|(records, _)| records)
    }

    /// Keeps who the hosts of a room are; false where that will not be stored.
    pub fn set_hosts(&self, room: RoomKey, hosts: Vec<PublicKey>) -> bool {
        self.0.0.change(room, Write::Hosts(room, hosts))
    }

    /// Keeps whether a room is locked; false where that will not be stored.
    pub fn set_locked(&self, room: RoomKey, locked: bool) -> bool {
        self.0.0.change(room, Write::Locked(room, locked))
    }

    /// Keeps whose room it is; false where that will not be stored.
    pub fn set_owner(&self, room: RoomKey, owner: Option<PublicKey>) -> bool {
        self.0.0.change(room, Write::Owner(room, owner))
    }

    /// The room is over for now: gives back the numbers that it did not use. One in which nothing was ever said is
    /// forgotten, unless it is `used` otherwise: whose it is must still be known.
    pub fn release(&self, room: RoomKey, used: bool) {
        // A store that has ended gave them back itself.
        let _ = self.0.0.ask(Request::Release(room, used));
    }

    /// Keeps as much from now on.
    pub fn change(&self, keep: Keep) {
        // A store that has ended keeps what it has.
        let _ = self.0.0.ask(Request::Keep(keep));
    }

    /// All rooms, by name.
    pub async fn rooms(&self) -> Result<Vec<Listed>, StoreError> {
        self.ask(Request::Rooms).await
    }

    /// Removes a room with all its messages; false where there is none.
    pub async fn remove(&self, room: &RoomName) -> Result<bool, StoreError> {
        self.ask(|answer| Request::Remove(room.clone(), answer)).await
    }

    /// How the store is.
    pub fn health(&self) -> Health {
        self.0.0.health()
    }

    /// Stores what waits, gives back unused numbers and closes the database. What cannot be stored at
    /// present is lost.
    pub async fn close(self) {
        let (closed, wait) = oneshot::channel();
        if self.0.0.ask(Request::Close(closed)).is_ok() {
            let _ = wait.await;
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, StoreError> {
        let (answer, wait) = oneshot::channel();
        self.0.0.ask(request(answer))?;
        wait.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Lets the database grow by so many pages only; 0 lifts that.
    #[cfg(test)]
    async fn limit(&self, pages: u64) -> Result<(), StoreError> {
        self.ask(|answer| Request::Limit(pages, answer)).await
    }
}
