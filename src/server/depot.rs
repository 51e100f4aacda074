//! Files that members have put before their rooms: chunks on disk, an index beside them.
//!
//! Threads of its own do the work, so that neither media nor messages ever wait for it: `depot-write`
//! checks chunks and writes them, `depot` synchronises them to disk in batches and owns the index, and
//! `depot-read` (two of them) fetches what is handed out. A batch is what has come while the one before
//! was being synchronised. A chunk counts as kept when its file has been synchronised behind it; where
//! that fails once, everything written since the last time is given up and must come again.
//!
//! Bounds: [`IN_FLIGHT`] bytes of chunks wait to be written, at most [`IN_FLIGHT_EACH`] of one
//! connection (who brings more is not read until there is room); [`REQUESTS`] requests wait, more are
//! refused; [`REPORTS`] reports wait, then the threads wait. On disk [`Keep::bytes`].

mod index;
mod queue;
mod reader;
mod stock;
#[cfg(test)]
mod tests;
mod thread;
mod vault;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

pub(super) use index::Record;
#[cfg(test)]
pub(super) use stock::Row;
pub(super) use stock::{Holding, Stock};

use crate::id::{ConnectionId, PublicKey, RoomName};
use crate::transfer::Ranges;
use crate::wire::control::Control;
use crate::wire::offer::{Going, Seal};
use crate::wire::{Frame, Part};
use queue::Queue;
use reader::Wanted;
use thread::Command;
use vault::Vault;
use writer::{Chunk, Job};

/// Bytes of chunks that wait to be written.
const IN_FLIGHT: usize = 64 * 1024 * 1024;
/// ... of one connection: what a sender may have on its way.
const IN_FLIGHT_EACH: usize = 8 * 1024 * 1024;
/// What permits count.
const UNIT: usize = 1024;
/// Requests that wait for the index, or to be read.
const REQUESTS: usize = 4_096;
/// Reports that wait to be told.
const REPORTS: usize = 1_024;
/// Threads that read.
const READERS: usize = 2;

/// What is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Bytes of all offers.
    pub bytes: u64,
    /// How long after its last chunk an offer is kept.
    pub age: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self { bytes: 10 * 1024 * 1024 * 1024, age: Duration::from_secs(7 * 24 * 60 * 60) }
    }
}

/// Why the depot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A later version made it.
    #[error("{} has format {version}, and this version knows {known} at most", .file.display())]
    Newer {
        /// The index.
        file: PathBuf,
        /// Its format.
        version: u32,
        /// The last one known here.
        known: u32,
    },
    /// Something else has the index's name.
    #[error("{} is not an index of conf-serve", .0.display())]
    NotOurs(PathBuf),
    /// The file system said no.
    #[error("cannot use {}: {error}", .path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// SQLite said no.
    #[error("cannot open {}: {error}", .file.display())]
    Database {
        /// The index.
        file: PathBuf,
        /// What it said.
        error: rusqlite::Error,
    },
}

/// Synchronises a file's data; another one than [`File::sync_data`] only to try what happens when that fails.
pub type Sync = Arc<dyn Fn(&File) -> std::io::Result<()> + Send + std::marker::Sync>;

/// The way to the depot; cheap to clone. Without one left it is closed.
#[derive(Clone)]
pub struct Depot(Arc<Owner>);

/// What the depot tells.
#[derive(Debug)]
pub struct Reports(mpsc::Receiver<Report>);

struct Owner {
    inner: Arc<Inner>,
    room: Arc<Semaphore>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.inner.commands.close();
        self.inner.jobs.close();
        self.inner.wanted.close();
    }
}

/// What the threads share.
struct Inner {
    keep: Keep,
    vault: Vault,
    commands: Queue<Command>,
    jobs: Queue<Job>,
    wanted: Queue<Wanted>,
    reports: mpsc::Sender<Report>,
    sync: Sync,
    /// Bytes of all files.
    used: AtomicU64,
    offers: AtomicUsize,
    failing: Mutex<Option<String>>,
}

/// News of an offer.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) room: RoomName,
    pub(super) news: News,
}

/// What has happened.
#[derive(Debug)]
pub(super) enum News {
    /// An offer is in the index.
    Created(Record, Arc<Stock>),
    /// It could not be put there.
    NotCreated(Record),
    /// A piece that is no chunk is on disk.
    Piece(Arc<Stock>, Part, Bytes),
    /// These chunks are on disk.
    Kept(Arc<Stock>, Ranges),
    /// These chunks must come again.
    Lost(Arc<Stock>, Ranges),
    /// The offer is complete.
    Sealed(Arc<Stock>, Request),
    /// The offer is there no more.
    Gone(Arc<Stock>, Going),
    /// Something for one connection alone.
    Answer(ConnectionId, Control),
}

/// Who asked, under which number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) connection: ConnectionId,
    pub(super) id: u64,
}

/// The offers of a room as they were kept.
#[derive(Debug, Default)]
pub(super) struct Shelved {
    /// The last number that was given.
    pub(super) last: u32,
    pub(super) offers: Vec<Kept>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) record: Record,
    pub(super) stock: Arc<Stock>,
    pub(super) about: Option<Bytes>,
    pub(super) received: Vec<PublicKey>,
}

/// How the depot is.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Offers of all rooms.
    pub offers: usize,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes that may be.
    pub quota: u64,
    /// Chunks that wait to be written.
    pub waiting: usize,
    /// Why nothing can be stored at present.
    pub failing: Option<String>,
}

/// Room for a chunk on its way to disk.
pub(super) type Permit = [OwnedSemaphorePermit; 2];

/// What one connection may have on its way.
pub(super) fn share() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(IN_FLIGHT_EACH / UNIT))
}

impl Reports {
    pub(super) async fn next(&mut self) -> Option<Report> {
        self.0.recv().await
    }
}

impl std::fmt::Debug for Depot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Depot")
    }
}

impl Depot {
    /// Opens the depot in `DIRECTORY/files`, which is made where there is none; the caller holds the lock of the
    /// directory. Without a directory it is gone with the process.
    pub fn open(directory: Option<&Path>, keep: Keep) -> Result<(Self, Reports), OpenError> {
        Self::open_with(directory, keep, Arc::new(File::sync_data))
    }

    /// The same with another way to synchronise, which may fail.
    pub fn open_with(directory: Option<&Path>, keep: Keep, sync: Sync) -> Result<(Self, Reports), OpenError> {
        let directory = directory.map(|directory| directory.join("files"));
        let (inner, thread, told) = prepare(directory.as_deref(), keep, sync)?;
        let writer = writer::Writer::new(Arc::clone(&inner));
        let path = directory.unwrap_or_default();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.into()).spawn(work);
            thread.map(drop).map_err(|error| OpenError::Io { path: path.clone(), error })
        };
        spawn("depot", Box::new(move || thread.run()))?;
        spawn("depot-write", Box::new(move || writer.run()))?;
        for _ in 0..READERS {
            let inner = Arc::clone(&inner);
            spawn("depot-read", Box::new(move || reader::run(&inner)))?;
        }
        let room = Arc::new(Semaphore::new(IN_FLIGHT / UNIT));
        Ok((Self(Arc::new(Owner { inner, room })), Reports(told)))
    }

    /// The offers of a room. Everything that is asked about them later belongs to what this has given.
    pub(super) async fn load(&self, room: &RoomName) -> Option<Shelved> {
        let (answer, wait) = oneshot::channel();
        self.command(Command::Load(room.clone(), answer)).then_some(())?;
        wait.await.ok()?
    }

    /// Whether anything is kept of a room; `None` where so much waits that what members want goes first.
    pub(super) async fn knows(&self, room: &RoomName) -> Option<bool> {
        if self.0.inner.commands.len() > REQUESTS / 2 {
            return None;
        }
        let (answer, wait) = oneshot::channel();
        self.command(Command::Knows(room.clone(), answer)).then_some(())?;
        wait.await.ok()?
    }

    /// Puts an offer into the index: [`News::Created`]. Like all of these, false where too much waits.
    pub(super) fn create(&self, room: &RoomName, record: Record) -> bool {
        self.command(Command::Create(room.clone(), Box::new(record)))
    }

    /// Stores a piece that is no chunk: [`News::Piece`], or an answer that says why not.
    pub(super) fn piece(&self, stock: &Arc<Stock>, connection: ConnectionId, frame: Frame) -> bool {
        self.command(Command::Piece(Arc::clone(stock), connection, Box::new(frame)))
    }

    /// Stores a chunk: [`News::Kept`], or an answer that says why not.
    pub(super) fn chunk(
        &self,
        stock: &Arc<Stock>,
        connection: ConnectionId,
        frame: Frame,
        room: Permit,
    ) -> bool {
        let Some(piece) = frame.header.piece else { return false };
        let chunk = Chunk { stock: Arc::clone(stock), connection, frame, index: piece.index, _room: room };
        self.0.inner.jobs.push(Job::Chunk(chunk)).is_ok()
    }

    /// Room for a chunk of `bytes`, of which `share` is the connection's part; waits for it.
    pub(super) async fn room(&self, share: &Arc<Semaphore>, bytes: usize) -> Option<Permit> {
        let units = units(bytes);
        let own = Arc::clone(share).acquire_many_owned(units).await.ok()?;
        let all = Arc::clone(&self.0.room).acquire_many_owned(units).await.ok()?;
        Some([own, all])
    }

    /// The same where there is room now.
    pub(super) fn room_now(&self, share: &Arc<Semaphore>, bytes: usize) -> Option<Permit> {
        let units = units(bytes);
        let own = Arc::clone(share).try_acquire_many_owned(units).ok()?;
        let all = Arc::clone(&self.0.room).try_acquire_many_owned(units).ok()?;
        Some([own, all])
    }

    /// Completes an offer, behind its chunks: [`News::Sealed`], or an answer that says what is missing.
    pub(super) fn seal(&self, stock: &Arc<Stock>, request: Request, seal: Seal) -> bool {
        self.0.inner.jobs.push(Job::Seal(Arc::clone(stock), request, seal)).is_ok()
    }

    /// Forgets an offer: [`News::Gone`], and an answer to who asked.
    pub(super) fn withdraw(&self, stock: &Arc<Stock>, request: Option<Request>, going: Going) -> bool {
        self.command(Command::Withdraw(Arc::clone(stock), request, going))
    }

    /// Notes that somebody has all of an offer.
    pub(super) fn received(&self, stock: &Arc<Stock>, key: PublicKey) -> bool {
        self.command(Command::Received(Arc::clone(stock), key))
    }

    /// A piece as it came; `None` where it is not there or cannot be read. Not to be polled again once given.
    pub(super) fn read(
        &self,
        stock: &Arc<Stock>,
        part: Part,
        index: u32,
    ) -> oneshot::Receiver<Option<Bytes>> {
        let (answer, wait) = oneshot::channel();
        let wanted = Wanted { stock: Arc::clone(stock), part, index, answer };
        // Where it finds no room its answer is dropped, and that is an answer too.
        let _ = match part {
            Part::Chunk => self.0.inner.wanted.push(wanted).map_err(drop),
            _ => self.0.inner.commands.push(Command::Read(wanted)).map_err(drop),
        };
        wait
    }

    /// Forgets a room with all its offers; whether there were any.
    pub(super) async fn remove_room(&self, room: &RoomName) -> Option<bool> {
        let (answer, wait) = oneshot::channel();
        self.command(Command::RemoveRoom(room.clone(), answer)).then_some(())?;
        wait.await.ok()
    }

    /// The room is over for now.
    pub(super) fn release(&self, room: &RoomName) {
        // Where this does not come through, the next life of the room is given the same.
        self.command(Command::Release(room.clone()));
    }

    /// How long offers are kept.
    pub(super) fn age(&self) -> Duration {
        self.0.inner.keep.age
    }

    /// How many bytes can still be kept, and how many in all.
    pub(super) fn room_left(&self) -> (u64, u64) {
        let inner = &self.0.inner;
        let left = inner.keep.bytes.saturating_sub(inner.used.load(Ordering::Relaxed));
        let disk = inner.vault.free().map_or(u64::MAX, |(free, reserve)| free.saturating_sub(reserve));
        (left.min(disk), inner.keep.bytes)
    }

    /// How it is.
    pub fn health(&self) -> Health {
        let inner = &self.0.inner;
        Health {
            offers: inner.offers.load(Ordering::Relaxed),
            bytes: inner.used.load(Ordering::Relaxed),
            quota: inner.keep.bytes,
            waiting: inner.jobs.len(),
            failing: inner.failing.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Writes the index and ends. What was kept is on disk already; this saves looking for it at the next start.
    pub async fn close(self) {
        let (closed, wait) = oneshot::channel();
        if self.command(Command::Close(closed)) {
            let _ = wait.await;
        }
    }

    fn command(&self, command: Command) -> bool {
        self.0.inner.commands.push(command).is_ok()
    }
}

impl Inner {
    /// Tells a room; waits where it does not listen fast enough.
    fn tell(&self, room: RoomName, news: News) {
        // Where nobody listens any more the server has ended.
        let _ = self.reports.blocking_send(Report { room, news });
    }

    fn report(&self, stock: &Stock, news: News) {
        self.tell(stock.room.clone(), news);
    }
}

/// The depot in this directory, with the thread that owns its index, which is not running yet.
fn prepare(
    directory: Option<&Path>,
    keep: Keep,
    sync: Sync,
) -> Result<(Arc<Inner>, thread::Thread, mpsc::Receiver<Report>), OpenError> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(directory) = directory {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| OpenError::Io { path: directory.into(), error })?;
    }
    let index = index::Index::open(directory)?;
    let (reports, told) = mpsc::channel(REPORTS);
    let inner = Arc::new(Inner {
        keep,
        vault: Vault::new(directory.map(Path::to_owned)),
        commands: Queue::new(REQUESTS),
        jobs: Queue::new(REQUESTS),
        wanted: Queue::new(REQUESTS),
        reports,
        sync,
        used: AtomicU64::new(0),
        offers: AtomicUsize::new(0),
        failing: Mutex::default(),
    });
    let thread = thread::Thread::new(Arc::clone(&inner), index)?;
    Ok((inner, thread, told))
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min((IN_FLIGHT_EACH / UNIT) as u32)
}
