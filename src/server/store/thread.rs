//! The thread that owns the database: commits, answers, prunes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::database::Database;
use super::queue::{Answer, Numbers, Queue, Range, Request, Write};
use super::types::{Archive, Founding, Keep, Record, RoomKey, StoreError};
use super::{NEWEST, NEWEST_BYTES, messages, prune, rooms};
use crate::id::{LogId, RoomName};
use crate::limits;
use crate::time::{self, Moment};

/// Writes of one transaction: enough to make an fsync cheap for each, few enough that the first does
/// not wait for the last.
const TRANSACTION: usize = 2_048;
/// The largest message, with its header.
const LARGEST: usize = 4 + limits::HEADER + limits::MESSAGE;
/// From one transaction to the next, where there is enough to do: an fsync costs the same for ten messages as
/// for one. What comes after a pause is stored at once.
const GROUP: Duration = Duration::from_millis(5);
/// Pause between attempts while nothing can be stored.
const RETRY: Duration = Duration::from_secs(1);
/// Pause between looks for what can be given up, where there was nothing.
const SWEEP: Duration = Duration::from_secs(10);
/// ... and where there was something.
const SWEEP_ON: Duration = Duration::from_millis(50);
/// The log is brought into the database when it is longer and nothing else is to be done.
const LOG_IDLE: u64 = 1024 * 1024;
/// ... and when it is longer than this in any case.
const LOG_FULL: u64 = 32 * 1024 * 1024;

/// What runs in the thread.
pub(super) struct Thread {
    database: Database,
    queue: Arc<Queue>,
    keep: Keep,
    /// The time of day when the store was opened, and when that was.
    opened: (u64, Moment),
    /// What was taken and is not on disk.
    unsaved: Vec<Write>,
    /// When the last transaction began.
    began: Moment,
    /// Nothing can be stored; the next attempt is due then.
    retry: Option<Moment>,
    /// The room that was looked at last for what can be given up, and when to go on.
    sweep: (RoomKey, Moment),
    /// Bytes committed since the log was last brought into the database.
    logged: u64,
}

impl Thread {
    pub(super) fn new(database: Database, queue: Arc<Queue>, keep: Keep, wall: u64) -> Self {
        queue.done(&[], Duration::ZERO, database.bytes());
        let now = time::now();
        let sweep = (RoomKey(0), now);
        Self {
            database,
            queue,
            keep,
            opened: (wall, now),
            unsaved: Vec::new(),
            began: Moment::default(),
            retry: None,
            sweep,
            logged: 0,
        }
    }

    /// Works until the store is closed or nobody has it any more.
    pub(super) fn run(mut self) {
        let closed = loop {
            let work = self.queue.take(self.rest(), self.began + GROUP);
            self.unsaved.extend(work.writes);
            self.commit();
            let mut closed = None;
            for request in work.requests {
                match request {
                    Request::Close(told) => closed = Some(told),
                    request => self.answer(request),
                }
            }
            if closed.is_some() || work.abandoned {
                break closed;
            }
            self.sweep();
            self.checkpoint();
        };
        self.close(closed);
    }

    /// How long nothing needs to be done.
    fn rest(&self) -> Duration {
        let due = self.retry.map_or(self.sweep.1, |retry| retry.min(self.sweep.1));
        due.since(time::now())
    }

    /// Stores what was taken, unless nothing can be stored.
    fn commit(&mut self) {
        let now = time::now();
        if self.unsaved.is_empty() || self.retry.is_some_and(|due| due > now) {
            return;
        }
        while !self.unsaved.is_empty() {
            let count = self.unsaved.len().min(TRANSACTION);
            let started = time::now();
            self.began = started;
            let through = |room| self.queue.numbers(room).map(|numbers| numbers.through);
            let writes = &self.unsaved[..count];
            match messages::commit(&mut self.database.connection, writes, through) {
                Ok(extended) => {
                    self.logged += writes.iter().map(Write::cost).sum::<usize>() as u64;
                    self.queue.done(writes, time::now().since(started), self.database.bytes());
                    for (room, through) in extended {
                        self.queue.reserved(room, through);
                    }
                    self.unsaved.drain(..count);
                }
                Err(error) => return self.failed(&error),
            }
        }
        if self.retry.take().is_some() {
            info!("messages are stored again");
            self.queue.failing(None);
        }
    }

    fn failed(&mut self, error: &rusqlite::Error) {
        if self.retry.is_none() {
            error!(%error, "messages cannot be stored");
            self.queue.failing(Some(error.to_string()));
        }
        self.retry = Some(time::now() + RETRY);
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Load(name, answer) => reply(answer, self.load(&name)),
            Request::Knows(name, answer) => {
                reply(answer, rooms::known(&self.database.connection, &name).map_err(Into::into));
            }
            Request::Found(name, about, answer) => reply(answer, self.found(&name, &about)),
            Request::Page(range, answer) => reply(answer, self.page(&range)),
            Request::Rooms(answer) => {
                reply(answer, rooms::list(&self.database.connection).map_err(Into::into))
            }
            Request::Remove(name, answer) => reply(answer, self.remove(&name)),
            Request::Release(room, used) => self.release(room, used),
            Request::Keep(keep) => self.keep = keep,
            Request::Close(_) => {}
            #[cfg(test)]
            Request::Limit(pages, answer) => {
                let limited = self.database.connection.pragma_update(
                    None,
                    "max_page_count",
                    match pages {
                        0 => u32::MAX - 1,
                        pages => pages as u32,
                    },
                );
                reply(answer, limited.map_err(Into::into));
            }
        }
    }

    fn load(&mut self, name: &RoomName) -> Result<Option<Archive>, StoreError> {
        let open = |room| self.queue.numbers(room);
        let Some(mut archive) = rooms::load(&mut self.database.connection, name, open)? else {
            return Ok(None);
        };
        let given = archive.next - 1;
        self.queue.open_room(archive.key, Numbers { through: archive.through, given });
        let waiting = self.waiting(archive.key).cloned();
        archive.newest.extend(waiting);
        cut_front(&mut archive.newest, NEWEST, NEWEST_BYTES);
        Ok(Some(archive))
    }

    fn found(&mut self, name: &RoomName, about: &Founding) -> Result<Archive, StoreError> {
        let mut log = [0; 8];
        getrandom::fill(&mut log).map_err(|_| StoreError::Closed)?;
        let wall = self.wall();
        let archive = rooms::found(&mut self.database.connection, name, about, LogId(log), wall)?;
        self.queue.open_room(archive.key, Numbers { through: archive.through, given: 0 });
        Ok(archive)
    }

    /// What is in the database, and what is still to go there; and the oldest number of both.
    fn page(&self, range: &Range) -> Result<(Vec<Record>, u64), StoreError> {
        let mut records = messages::page(&self.database.connection, range)?;
        let stored = records.last().map_or(range.after, |record| record.seq);
        // The next one in the database may not have fitted: what waits is behind it.
        let cut = !records.is_empty() && size(&records) + LARGEST > range.bytes;
        let full = records.len() >= range.messages || cut;
        let may_read = |record: &&Record| {
            !record.direct
                || range.reader.is_some_and(|r| [record.from_key, record.to_key].contains(&Some(r)))
        };
        let wanted = |record: &&Record| record.seq > stored && record.seq < range.before;
        if range.newest || !full {
            records.extend(self.waiting(range.room).filter(wanted).filter(may_read).cloned());
        }
        if range.newest {
            cut_front(&mut records, range.messages, range.bytes);
        } else {
            records.truncate(range.messages);
        }
        let kept = messages::oldest(&self.database.connection, range.room)?;
        let oldest = kept.or_else(|| self.waiting(range.room).map(|record| record.seq).next());
        Ok((records, oldest.unwrap_or(range.before)))
    }

    fn waiting(&self, room: RoomKey) -> impl Iterator<Item = &Record> {
        self.unsaved.iter().filter_map(move |write| match write {
            Write::Record(record) if record.room == room => Some(record),
            _ => None,
        })
    }

    fn remove(&mut self, name: &RoomName) -> Result<bool, StoreError> {
        let Some(room) = rooms::key(&self.database.connection, name)? else { return Ok(false) };
        self.queue.close_room(room);
        rooms::remove(&self.database.connection, room)?;
        Ok(true)
    }

    /// Gives back numbers that a room did not use.
    fn release(&mut self, room: RoomKey, used: bool) {
        let Some(Numbers { given, .. }) = self.queue.numbers(room) else { return };
        // With something unsaved the room stays open: its numbers are known here and not on disk.
        if self.retry.is_some() {
            return;
        }
        let connection = &self.database.connection;
        let forgotten = given == 0 && !used && rooms::forget_unused(connection, room).unwrap_or(false);
        if forgotten || rooms::reserve(connection, room, given + 1).is_ok() {
            self.queue.close_room(room);
        }
    }

    /// Looks at one room for what can be given up.
    fn sweep(&mut self) {
        let now = time::now();
        if now < self.sweep.1 || self.retry.is_some() {
            if self.retry.is_some() {
                self.sweep.1 = now + SWEEP;
            }
            return;
        }
        let on = self.sweep_room().unwrap_or_else(|error| {
            warn!(%error, "cannot give up old messages");
            false
        });
        self.sweep.1 = time::now() + if on { SWEEP_ON } else { SWEEP };
    }

    /// Whether there is more to be done soon.
    fn sweep_room(&mut self) -> rusqlite::Result<bool> {
        let wall = self.wall();
        let connection = &mut self.database.connection;
        let Some(room) = prune::next_room(connection, self.sweep.0)? else {
            self.sweep.0 = RoomKey(0);
            return Ok(false);
        };
        let given_up = prune::messages(connection, room, self.keep, wall)?;
        if given_up >= prune::STEP {
            return Ok(true);
        }
        prune::rest(connection, room, wall)?;
        if self.queue.numbers(room).is_none()
            && let Some(name) = prune::room(connection, room, self.keep, wall)?
        {
            info!(room = %name, "forgot an empty room");
        }
        self.sweep.0 = room;
        Ok(given_up > 0 || prune::next_room(connection, room)?.is_some())
    }

    /// Brings the log into the database.
    fn checkpoint(&mut self) {
        let idle = self.queue.is_idle();
        if self.retry.is_some() || self.logged < if idle { LOG_IDLE } else { LOG_FULL } {
            return;
        }
        self.logged = 0;
        let done = self.database.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = done {
            warn!(%error, "cannot bring the log into the history");
        }
    }

    fn close(mut self, told: Option<oneshot::Sender<()>>) {
        self.retry = None;
        self.commit();
        if !self.unsaved.is_empty() {
            warn!(messages = self.unsaved.len(), "closed with messages that could not be stored");
        }
        for (room, numbers) in self.queue.open_rooms() {
            if let Err(error) = rooms::reserve(&self.database.connection, room, numbers.given + 1) {
                warn!(%error, "cannot give back numbers");
            }
        }
        if let Err(error) = self.database.close() {
            warn!(%error, "cannot close the history in order");
        }
        self.queue.end();
        if let Some(told) = told {
            let _ = told.send(());
        }
    }

    fn wall(&self) -> u64 {
        let (wall, opened) = self.opened;
        wall + time::now().since(opened).as_micros() as u64
    }
}

/// Sends an answer; who asked may have gone.
fn reply<T>(answer: Answer<T>, value: Result<T, StoreError>) {
    let _ = answer.send(value);
}

fn size(records: &[Record]) -> usize {
    records.iter().map(|record| record.frame.len()).sum()
}

/// Leaves the newest, at most so many messages and bytes.
fn cut_front(records: &mut Vec<Record>, messages: usize, bytes: usize) {
    let mut first = records.len().saturating_sub(messages);
    let mut size = size(&records[first..]);
    while size > bytes && first + 1 < records.len() {
        size -= records[first].frame.len();
        first += 1;
    }
    records.drain(..first);
}
