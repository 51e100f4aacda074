//! The thread that owns the index and synchronises chunks to disk.
//!
//! It takes what has come since the last time, does it in order, and tells about it when it is on disk.
//! One commit and one synchronisation of each file serve for all.

mod load;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::index::{Index, Record};
use super::reader::Wanted;
use super::stock::{Holding, Row, Stock};
use super::{Inner, News, OpenError, Request, Shelved};
use crate::id::{ConnectionId, PublicKey, RoomName};
use crate::limits;
use crate::time::{self, Moment};
use crate::transfer::Ranges;
use crate::wire::control::{Control, Refusal};
use crate::wire::offer::{Going, Seal};
use crate::wire::{Code, Frame, Part, Piece};

/// What is done at once at the most.
const BATCH: usize = 512;
/// Bytes of an offer after which the index is told what is on disk of it: at a start that much is looked
/// through to find it.
const CHECKPOINT: u64 = 128 * 1024 * 1024;
/// The index is also told when nothing has come for this long.
const QUIET: Duration = Duration::from_secs(1);
/// Time between two looks for what has expired.
const PRUNE: Duration = Duration::from_secs(60);
/// What is forgotten at once because nobody can complete it.
const PRUNED: usize = 100;

/// What the thread is to do.
pub(super) enum Command {
    Create(RoomName, Box<Record>),
    Piece(Arc<Stock>, ConnectionId, Box<Frame>),
    /// The writer has written a chunk, in this life of the holding.
    Written(Arc<Stock>, u32, u64),
    Seal(Arc<Stock>, Request, Seal),
    Withdraw(Arc<Stock>, Option<Request>, Going),
    Received(Arc<Stock>, PublicKey),
    Read(Wanted),
    Load(RoomName, oneshot::Sender<Option<Shelved>>),
    Knows(RoomName, oneshot::Sender<Option<bool>>),
    RemoveRoom(RoomName, oneshot::Sender<bool>),
    Release(RoomName),
    Close(oneshot::Sender<()>),
}

pub(super) struct Thread {
    inner: Arc<Inner>,
    index: Index,
    /// What rooms that are open have been given.
    stocks: BTreeMap<Row, Arc<Stock>>,
    /// Offers of which more is on disk than the index knows, and how many bytes.
    ahead: HashMap<Row, u64>,
    started: Moment,
    pruned: Option<Moment>,
}

/// What a batch has done that is told when it is on disk.
#[derive(Default)]
struct Batch {
    /// What is told when the index is written, and what otherwise.
    news: Vec<Told>,
    written: BTreeMap<Row, (Arc<Stock>, Ranges)>,
    seals: Vec<(Arc<Stock>, Request, Seal)>,
    /// Pieces that are in the transaction: of the manifest, of the sums, and whether there is an `about`.
    pieces: HashMap<Row, (u32, u32, bool)>,
    removed: Vec<Row>,
}

struct Told {
    room: RoomName,
    done: News,
    failed: Option<News>,
}

impl Thread {
    pub(super) fn new(inner: Arc<Inner>, index: Index) -> Result<Self, OpenError> {
        let started = time::now();
        let database = |error| OpenError::Database { file: "index.db".into(), error };
        let rows = index.rows().map_err(database)?;
        if let Err(error) = inner.vault.clean(&rows) {
            tracing::warn!(%error, "cannot look for files that belong to no offer");
        }
        let used = rows.iter().map(|row| inner.vault.bytes(*row)).sum();
        inner.used.store(used, Ordering::Relaxed);
        inner.offers.store(rows.len(), Ordering::Relaxed);
        Ok(Self { inner, index, stocks: BTreeMap::new(), ahead: HashMap::new(), started, pruned: None })
    }

    pub(super) fn run(mut self) {
        while let Some(commands) = self.inner.commands.take(BATCH, QUIET) {
            if commands.is_empty() {
                self.checkpoint(0);
            }
            if let Some(closed) = self.work(commands) {
                self.checkpoint(0);
                drop(self);
                // Who asked may not wait any more.
                let _ = closed.send(());
                return;
            }
            self.prune(time::now());
        }
        self.checkpoint(0);
    }

    /// Does what has come; `Some` when that was to close.
    pub(super) fn work(&mut self, commands: Vec<Command>) -> Option<oneshot::Sender<()>> {
        let mut batch = Batch::default();
        let mut closed = None;
        for command in commands {
            match command {
                Command::Written(stock, chunk, life) => self.written(&mut batch, stock, chunk, life),
                Command::Piece(stock, connection, frame) => {
                    self.piece(&mut batch, &stock, connection, &frame)
                }
                Command::Create(room, record) => self.create(&mut batch, room, *record),
                Command::Seal(stock, request, seal) => batch.seals.push((stock, request, seal)),
                Command::Withdraw(stock, request, going) => self.withdraw(&mut batch, stock, request, going),
                Command::Received(stock, key) => self.change(|index| index.receive(stock.row, &key)),
                Command::Read(wanted) => self.read(wanted),
                // Strangers ask that: it must not divide a batch, and what is in it may not come to be.
                Command::Knows(room, answer) => {
                    let rows = self.index.of_room(&room).inspect_err(|error| self.note(error));
                    let _ = answer.send(rows.ok().map(|rows| !rows.is_empty()));
                }
                // What these tell must not be older than what came before them.
                Command::Load(room, answer) => {
                    self.finish(std::mem::take(&mut batch));
                    let _ = answer.send(self.load(&room));
                }
                Command::RemoveRoom(room, answer) => {
                    let removed = self.remove_room(&mut batch, &room);
                    self.finish(std::mem::take(&mut batch));
                    let _ = answer.send(removed);
                }
                Command::Release(room) => {
                    self.finish(std::mem::take(&mut batch));
                    self.checkpoint(0);
                    self.stocks.retain(|_, stock| stock.room != room);
                }
                Command::Close(answer) => closed = Some(answer),
            }
        }
        self.finish(batch);
        closed
    }

    fn create(&mut self, batch: &mut Batch, room: RoomName, mut record: Record) {
        record.since = time::wall();
        record.touched = record.since;
        let row = self.index.add(&room, &record).map_err(|error| error.to_string());
        let made = row.and_then(|row| match self.inner.vault.create(row) {
            Ok(()) => Ok(row),
            Err(error) => {
                // It is in the transaction already.
                let _ = self.index.remove(row);
                Err(error.to_string())
            }
        });
        let failed = News::NotCreated(record.clone());
        let done = match made {
            Ok(row) => {
                let (number, chunk_size, size) = (record.number, record.chunk_size, record.size);
                let stock = Stock::new(row, room.clone(), number, chunk_size, size, Holding::default());
                News::Created(record, Arc::new(stock))
            }
            Err(error) => {
                tracing::error!(error, "cannot store an offer");
                return batch.news.push(Told { room, done: failed, failed: None });
            }
        };
        batch.news.push(Told { room, done, failed: Some(failed) });
    }

    fn piece(&mut self, batch: &mut Batch, stock: &Arc<Stock>, connection: ConnectionId, frame: &Frame) {
        let Some(piece) = frame.header.piece else { return };
        let room = stock.room.clone();
        let refuse = |code, message: &str| News::Answer(connection, refuse(piece, code, message));
        let holding = stock.holding().clone();
        let counts = batch.pieces.entry(stock.row).or_insert((holding.manifest, holding.sums, holding.about));
        let (known, most) = match piece.part {
            Part::Manifest => (counts.0, limits::PIECES),
            Part::Sums => (counts.1, limits::PIECES),
            _ => (u32::from(counts.2), 1),
        };
        let fault = match () {
            () if holding.gone.is_some() => Some((Code::Offer, "the offer is gone")),
            () if piece.index < known => return,
            () if holding.sealed => Some((Code::Conflict, "the offer is sealed")),
            () if piece.index >= most => Some((Code::Conflict, "an offer has not that many of these pieces")),
            () if piece.index > known => Some((Code::Conflict, "the piece before this one is missing")),
            () => None,
        };
        if let Some((code, message)) = fault {
            stock.miss(piece.part);
            return batch.news.push(Told { room, done: refuse(code, message), failed: None });
        }
        match self.index.add_piece(stock.row, piece.part, piece.index, frame.bytes()) {
            Ok(()) => {
                match piece.part {
                    Part::Manifest => counts.0 += 1,
                    Part::Sums => counts.1 += 1,
                    _ => counts.2 = true,
                }
                let done = News::Piece(Arc::clone(stock), piece.part, frame.bytes().clone());
                let failed = Some(refuse(Code::Quota, "the server cannot store it"));
                batch.news.push(Told { room, done, failed });
            }
            Err(error) => {
                self.note(&error);
                stock.miss(piece.part);
                batch.news.push(Told {
                    room,
                    done: refuse(Code::Quota, "the server cannot store it"),
                    failed: None,
                });
            }
        }
    }

    fn written(&mut self, batch: &mut Batch, stock: Arc<Stock>, chunk: u32, life: u64) {
        if stock.holding().life != life {
            stock.change(|holding| holding.written.remove(chunk..chunk + 1));
            return self.inner.report(&stock, News::Lost(Arc::clone(&stock), Ranges::from(chunk..chunk + 1)));
        }
        batch.written.entry(stock.row).or_insert_with(|| (stock, Ranges::new())).1.add(chunk);
    }

    fn withdraw(&mut self, batch: &mut Batch, stock: Arc<Stock>, request: Option<Request>, going: Going) {
        let room = stock.room.clone();
        self.change(|index| index.remove(stock.row));
        let done = News::Gone(stock, going);
        batch.news.push(Told { room: room.clone(), done, failed: None });
        if let Some(request) = request {
            let Request { connection, id } = request;
            let done = News::Answer(connection, Control::Done { id });
            let failed = Some(News::Answer(connection, refusal(request)));
            batch.news.push(Told { room, done, failed });
        }
    }

    fn read(&mut self, Wanted { stock, part, index, answer }: Wanted) {
        let found = self.index.piece(stock.row, part, index).inspect_err(|error| self.note(error));
        // Who asked may have gone meanwhile.
        let _ = answer.send(found.ok().flatten());
    }

    /// Makes all of a batch durable, then tells of it.
    fn finish(&mut self, batch: Batch) {
        let Batch { news, written, seals, pieces, removed } = batch;
        let kept: Vec<(Arc<Stock>, Ranges)> =
            written.into_values().filter_map(|(stock, chunks)| self.synchronise(&stock, chunks)).collect();
        for (stock, chunks) in &kept {
            *self.ahead.entry(stock.row).or_default() +=
                u64::from(chunks.count()) * u64::from(stock.chunk_size);
        }
        let listed = self.list(&kept, &pieces);
        let sealed: Vec<Told> = seals
            .into_iter()
            .map(|(stock, request, seal)| self.seal(stock, request, seal, &pieces))
            .collect();
        let committed = self.index.commit();
        let done = committed.is_ok();
        match &committed {
            Ok(()) => self.note_working(),
            Err(error) => self.note(error),
        }
        if done {
            removed.into_iter().for_each(|row| self.forget(row));
        }
        for (stock, chunks) in kept {
            self.inner.report(&stock, News::Kept(Arc::clone(&stock), chunks));
        }
        for Told { room, done: news, failed } in news.into_iter().chain(sealed) {
            match (done, failed) {
                (true, _) => self.settle(room, news),
                (false, failed) => {
                    match news {
                        News::Created(_, stock) => self.inner.vault.remove(stock.row),
                        News::Piece(stock, part, _) => stock.miss(part),
                        _ => {}
                    }
                    if let Some(failed) = failed {
                        self.inner.tell(room, failed);
                    }
                }
            }
        }
        for stock in listed.iter().filter(|_| done) {
            stock.change(|holding| holding.listed = true);
        }
        self.checkpoint(CHECKPOINT);
    }

    /// Offers whose manifest is complete with this batch: the pieces of it came before the first chunk, and none is
    /// missing. The chunks are noted together with those pieces, so that an index that knows of a chunk has them
    /// all, whenever the server is killed.
    fn list(
        &mut self,
        kept: &[(Arc<Stock>, Ranges)],
        pieces: &HashMap<Row, (u32, u32, bool)>,
    ) -> Vec<Arc<Stock>> {
        let complete = |stock: &Stock| {
            let holding = stock.holding();
            let manifest = pieces.get(&stock.row).map_or(holding.manifest, |counts| counts.0);
            !holding.listed && !holding.torn && manifest > 0
        };
        let listed = kept.iter().map(|(stock, _)| stock).filter(|stock| complete(stock));
        let listed: Vec<Arc<Stock>> = listed.cloned().collect();
        let wall = time::wall();
        for stock in &listed {
            let kept = stock.holding().kept.clone();
            self.change(|index| index.keep(stock.row, &kept, wall));
        }
        listed
    }

    /// Puts a file's chunks on disk; those that are.
    fn synchronise(&mut self, stock: &Arc<Stock>, chunks: Ranges) -> Option<(Arc<Stock>, Ranges)> {
        let synchronised = self.inner.vault.file(stock.row).and_then(|file| (self.inner.sync)(&file));
        if stock.holding().gone.is_some() {
            return None;
        }
        match synchronised {
            Ok(()) => {
                stock.change(|holding| {
                    holding.kept.join(&chunks);
                    holding.written.subtract(&chunks);
                });
                Some((Arc::clone(stock), chunks))
            }
            Err(error) => {
                // What the kernel could not write it has forgotten, and says so once only: nothing of it may
                // be believed, also not what was written behind it.
                tracing::error!(%error, room = %stock.room, offer = %stock.number, "chunks could not be stored");
                let lost = stock.change(|holding| {
                    holding.life += 1;
                    std::mem::take(&mut holding.written)
                });
                self.inner.report(stock, News::Lost(Arc::clone(stock), lost));
                None
            }
        }
    }

    /// Whether an offer is complete, and what is told then.
    fn seal(
        &mut self,
        stock: Arc<Stock>,
        request: Request,
        seal: Seal,
        pieces: &HashMap<Row, (u32, u32, bool)>,
    ) -> Told {
        let room = stock.room.clone();
        let Request { connection, id } = request;
        let refuse = |code, message: String| {
            let mut refusal = Refusal::new(code, message);
            refusal.id = Some(id);
            News::Answer(connection, Control::Error(refusal))
        };
        let holding = stock.holding().clone();
        let counts = pieces.get(&stock.row).copied();
        let (manifest, sums, about) = counts.unwrap_or((holding.manifest, holding.sums, holding.about));
        let missing = holding.kept.missing(seal.chunks).count();
        let fault = match () {
            () if holding.gone.is_some() => Some((Code::Offer, "the offer is gone".into())),
            () if holding.sealed && holding.chunks == Some(seal.chunks) => {
                let done = News::Answer(connection, Control::Done { id });
                return Told { room, done, failed: None };
            }
            () if holding.sealed => Some((Code::Conflict, "the offer is sealed with other chunks".into())),
            () if stock.chunks().is_some_and(|chunks| chunks != seal.chunks)
                || holding.kept.end() > seal.chunks =>
            {
                Some((Code::Conflict, "the offer has another number of chunks".into()))
            }
            () if missing > 0 => Some((Code::Incomplete, format!("{missing} chunks are missing"))),
            () if holding.short.is_some_and(|short| short + 1 != seal.chunks) => {
                Some((Code::Conflict, "a chunk that is not the last one is short".into()))
            }
            () if !about || (manifest, sums) != (seal.manifest, seal.sums) || manifest == 0 || sums == 0 => {
                Some((Code::Incomplete, "pieces of the about, the manifest or the sums are missing".into()))
            }
            () => None,
        };
        if let Some((code, message)) = fault {
            return Told { room, done: refuse(code, message), failed: None };
        }
        let wall = time::wall();
        let noted = self
            .index
            .keep(stock.row, &holding.kept, wall)
            .and_then(|()| self.index.seal(stock.row, Some(seal.chunks), wall));
        let failed = refuse(Code::Quota, "the server cannot write its index".into());
        if let Err(error) = noted {
            self.note(&error);
            return Told { room, done: failed, failed: None };
        }
        self.ahead.remove(&stock.row);
        let total = self.total(&stock, seal.chunks);
        stock.change(|holding| (holding.chunks, holding.total) = (Some(seal.chunks), total));
        Told { room, done: News::Sealed(stock, request), failed: Some(failed) }
    }

    /// News that has come true changes what is there, then it is told.
    fn settle(&mut self, room: RoomName, news: News) {
        match &news {
            News::Created(_, stock) => {
                self.inner.offers.fetch_add(1, Ordering::Relaxed);
                self.stocks.insert(stock.row, Arc::clone(stock));
            }
            News::Piece(stock, part, _) => stock.change(|holding| match part {
                Part::Manifest => holding.manifest += 1,
                Part::Sums => holding.sums += 1,
                _ => holding.about = true,
            }),
            News::Sealed(stock, _) => stock.change(|holding| holding.sealed = true),
            News::Gone(stock, _) if stock.holding().gone.is_some() => return,
            News::Gone(stock, going) => {
                stock.change(|holding| holding.gone = Some(*going));
                self.forget(stock.row);
            }
            _ => {}
        }
        self.inner.tell(room, news);
    }

    /// Tells the index what is on disk of offers with more than `most` bytes that it does not know of. Of those
    /// whose manifest may miss something it is found in their files at the next start.
    fn checkpoint(&mut self, most: u64) {
        let due: Vec<Row> =
            self.ahead.iter().filter(|(_, bytes)| **bytes > most).map(|(row, _)| *row).collect();
        let wall = time::wall();
        for row in &due {
            if let Some(stock) = self.stocks.get(row).filter(|stock| stock.holding().listed) {
                let kept = stock.holding().kept.clone();
                self.change(|index| index.keep(*row, &kept, wall));
            }
        }
        match self.index.commit() {
            Ok(()) => self.ahead.retain(|row, _| !due.contains(row)),
            Err(error) => self.note(&error),
        }
    }

    fn remove_room(&mut self, batch: &mut Batch, room: &RoomName) -> bool {
        let rows = self.index.of_room(room).inspect_err(|error| self.note(error)).unwrap_or_default();
        for row in &rows {
            self.gone(batch, *row, Going::Removed);
        }
        !rows.is_empty()
    }

    /// Forgets what nothing has come to for too long, and what nobody can complete any more: of rooms that are open
    /// their shelf says that.
    pub(super) fn prune(&mut self, now: Moment) {
        if self.pruned.is_some_and(|at| now.since(at) < PRUNE) {
            return;
        }
        self.pruned = Some(now);
        let age = u64::try_from(self.inner.keep.age.as_micros()).unwrap_or(u64::MAX);
        let before = time::wall().saturating_sub(age);
        let old = self.index.expired(before).inspect_err(|error| self.note(error)).unwrap_or_default();
        let mut batch = Batch::default();
        for row in old {
            self.gone(&mut batch, row, Going::Expired);
        }
        if now.since(self.started) >= limits::PIPE_GRACE {
            let open = self.index.orphans().inspect_err(|error| self.note(error)).unwrap_or_default();
            let hopeless: Vec<Row> =
                open.into_iter().filter(|row| !self.stocks.contains_key(row)).take(PRUNED).collect();
            for row in hopeless {
                self.gone(&mut batch, row, Going::Broken);
            }
        }
        self.finish(batch);
    }

    fn gone(&mut self, batch: &mut Batch, row: Row, going: Going) {
        match self.stocks.get(&row).cloned() {
            Some(stock) => self.withdraw(batch, stock, None, going),
            None => {
                self.change(|index| index.remove(row));
                batch.removed.push(row);
            }
        }
    }

    /// Removes the file of an offer that the index does not have any more.
    fn forget(&mut self, row: Row) {
        let stock = self.stocks.remove(&row);
        let bytes = stock.map_or_else(|| self.inner.vault.bytes(row), |stock| stock.bytes());
        self.ahead.remove(&row);
        self.inner.vault.remove(row);
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self.inner.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        let fewer = |offers: usize| Some(offers.saturating_sub(1));
        let _ = self.inner.offers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
    }

    /// Changes the index; a change that cannot be made is told where the index is known to fail.
    fn change(&mut self, change: impl FnOnce(&mut Index) -> rusqlite::Result<()>) {
        if let Err(error) = change(&mut self.index) {
            self.note(&error);
        }
    }

    fn note(&self, error: &rusqlite::Error) {
        let mut failing = self.inner.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.is_none() {
            tracing::error!(%error, "the index of files cannot be used");
        }
        *failing = Some(error.to_string());
    }

    fn note_working(&self) {
        *self.inner.failing.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn refusal(request: Request) -> Control {
    let mut refusal = Refusal::new(Code::Quota, "the server cannot store it now");
    refusal.id = Some(request.id);
    Control::Error(refusal)
}

fn refuse(piece: Piece, code: Code, message: &str) -> Control {
    let mut refusal = Refusal::new(code, message);
    refusal.piece = Some(Box::new(piece));
    Control::Error(refusal)
}
