//! One offer, from its first missing chunk to its final name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::chain::Written;
use super::disk::{Begin, Disk, Kept, Sync, Told};
use super::fetch::{MISSING, fetch_list, reason};
use super::patience::{Patience, Side};
use super::record::Found;
use super::target::{Opened, Place};
use super::{Error, Happened, IfExists, Listed, Room, Target, whole};
use crate::pipeline::figures::{Bound, Doing, Figures, Moving};
use crate::pipeline::offers::Change;
use crate::text;
use crate::time::{self, Moment};
use crate::transfer;
use crate::transfer::download::Damaged;
use crate::transfer::{Download, Entry, Manifest, Ranges, Sum, Sums};
use crate::wire::control::Refusal;
use crate::wire::{Code, Frame, Part};

/// Between two reports.
const TICK: Duration = Duration::from_millis(100);
/// Without a byte for so long, one says why.
const QUIET: Duration = Duration::from_secs(1);
/// Bytes of a path that is named.
const PATH: usize = 4096;
/// Chunks that are named where something is wrong with them.
const NAMED: usize = 8;

/// What whoever shows it is told.
#[derive(Debug)]
pub enum Note<'a> {
    /// How it goes.
    Figures(&'a Figures),
    /// Something for people.
    Message(&'a str),
    /// The name under which a part is kept until all of it is there; `--discard` takes it.
    Part(&'a Path),
}

/// How it went.
#[derive(Debug)]
pub enum Outcome {
    /// All of it is in its place.
    Whole {
        /// The files that were received.
        files: Vec<Received>,
    },
    /// Everything was there and stayed.
    Skipped,
}

/// A file that is whole.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its path in the offer.
    pub path: String,
    /// Where it is now; nowhere where it was written to a pipe.
    pub place: PathBuf,
    /// Its size.
    pub size: u64,
    /// Its MD5.
    pub md5: [u8; 16],
}

/// Receives an offer. After any error but those of a place that cannot be written to at all, what came is kept
/// for the next time.
pub async fn run(
    room: &mut Room,
    target: Target,
    if_exists: IfExists,
    most: Option<u64>,
    stop: &CancellationToken,
    report: &mut (dyn FnMut(Note<'_>) + Send),
) -> Result<Outcome, Error> {
    let Some(opened) = room.during(blocking(move || target.open(if_exists))).await? else {
        return Ok(Outcome::Skipped);
    };
    let sync: Sync = std::sync::Arc::new(|these| these.sync());
    let mut run = Run::begin(room, opened, most, sync, report).await?;
    let whole = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::Interrupted),
        whole = run.fetch() => whole,
    };
    let whole = match whole {
        Err(error) => Err(reason(run.room, run.listed.id, error).await),
        whole => whole,
    };
    run.end(whole).await
}

/// Work that waits for the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Io(std::io::Error::other(error)))?
}

struct Run<'a> {
    room: &'a mut Room,
    listed: Listed,
    place: Place,
    disk: Disk,
    report: &'a mut (dyn FnMut(Note<'_>) + Send),
    most: Option<u64>,
    chunks: Download,
    /// The sums of the chunks that are safe.
    found: Found,
    /// A frame that the disk had no room for.
    pending: Option<Frame>,
    sums: Option<Vec<Option<[u8; 16]>>>,
    figures: Figures,
    /// When the last piece came, and when the offer was seen the last time.
    heard: Moment,
    seen: Moment,
    patience: Patience,
    /// Nothing is asked for before.
    not_before: Moment,
    /// The sender's absence was told.
    told_away: bool,
}

impl<'a> Run<'a> {
    async fn begin(
        room: &'a mut Room,
        opened: Opened,
        most: Option<u64>,
        sync: Sync,
        report: &'a mut (dyn FnMut(Note<'_>) + Send),
    ) -> Result<Self, Error> {
        let Opened { listed, place, mut record, mut found } = opened;
        let there = found.bytes(&listed.layout, &place.wanted);
        let mut figures = Figures {
            doing: Doing::Checking,
            done: there,
            before: there,
            total: listed.size,
            files: place.wanted.iter().filter(|wanted| **wanted).count() as u32,
            ..Figures::default()
        };
        report(Note::Figures(&figures));
        report(Note::Part(&place.directory.path(place.part.name())));
        let stage = place.part.stage();
        let (layout, wanted) = (listed.layout.clone(), place.wanted.clone());
        let (mut found, record) = room
            .during(blocking(move || {
                let lost = whole::look_at_the_end(stage, &layout, &wanted, &mut found)?;
                if !lost.is_empty() {
                    record.remove(&lost)?;
                }
                Ok((found, record))
            }))
            .await?;
        if let Some(notice) = &found.notice {
            report(Note::Message(notice));
        }
        let kept = found.kept();
        let written = Written::new(kept.clone());
        let layout = &listed.layout;
        let mut chunks = Download::new(layout.chunks(), layout.chunk_size(), kept);
        if let Some(wanted) = wanted_chunks(&listed, &place.wanted) {
            figures.total = layout.chunks().map(|all| layout.bytes_of(0..all, &place.wanted));
            chunks = chunks.only(wanted);
        }
        let disk = Disk::start(Begin {
            layout: listed.layout.clone(),
            wanted: place.wanted.clone(),
            stages: [place.part.stage(), place.part.stage()],
            written,
            saved: found.saved.take(),
            record,
            sync,
        })?;
        let now = time::now();
        let mut run = Self {
            room,
            listed,
            place,
            disk,
            report,
            most,
            chunks,
            found: Found { saved: None, notice: None, ..found },
            pending: None,
            sums: None,
            heard: now,
            seen: now,
            patience: Patience::new(now),
            not_before: now,
            told_away: false,
            figures: std::mem::take(&mut figures),
        };
        run.figures.before = run.done();
        run.figures.done = run.figures.before;
        Ok(run)
    }

    /// Fetches everything and checks it; the sums.
    async fn fetch(&mut self) -> Result<Sums, Error> {
        self.move_all().await?;
        let sums = self.fetch_sums().await?;
        if let (None, [only]) = (self.listed.layout.total(), sums.files()) {
            self.close(only.size).await?;
        }
        let chains = self.chains().await?;
        let bad: Vec<usize> = (0..chains.len())
            .filter(|&file| chains[file].is_some_and(|md5| md5 != sums.files()[file].md5))
            .collect();
        self.mend(&bad, &sums).await?;
        Ok(sums)
    }

    /// The sums are there when the offer is complete.
    async fn fetch_sums(&mut self) -> Result<Sums, Error> {
        let sealed = self.room.offer(self.listed.id).is_some_and(|offer| offer.state.sealed);
        self.figures.doing = if sealed { Doing::Checking } else { Doing::Waiting };
        let mut clock = tokio::time::interval(TICK);
        let fetching = fetch_list(self.room, self.listed.id, Part::Sums);
        tokio::pin!(fetching);
        loop {
            tokio::select! {
                pieces = &mut fetching => return Ok(Sums::judge(&pieces?, &self.listed.manifest)?),
                _ = clock.tick() => (self.report)(Note::Figures(&self.figures)),
            }
        }
    }

    /// The end of a stream is known: what is behind the last chunk that came was not told before.
    async fn close(&mut self, size: u64) -> Result<(), Error> {
        self.listed.layout.close(size)?;
        self.disk.written.close(self.listed.layout.clone());
        let chunks = self.listed.layout.chunks().unwrap_or(0);
        if !self.chunks.close(chunks) {
            return Err(transfer::Error::Sums.into());
        }
        self.move_all().await
    }

    /// Waits for the thread that takes the files' MD5.
    async fn chains(&mut self) -> Result<Vec<Option<[u8; 16]>>, Error> {
        self.figures.doing = Doing::Checking;
        let mut clock = tokio::time::interval(TICK);
        loop {
            if let Some(sums) = self.sums.take() {
                return Ok(sums);
            }
            tokio::select! {
                told = self.disk.told.recv() => match told {
                    Some(told) => self.handle_told(told)?,
                    None => return Err(std::io::Error::other("a thread has ended").into()),
                },
                never = self.room.idle() => match never {},
                _ = clock.tick() => (self.report)(Note::Figures(&self.figures)),
            }
        }
    }

    /// Finds the chunks that make files wrong, fetches them again, and looks once more.
    async fn mend(&mut self, bad: &[usize], sums: &Sums) -> Result<(), Error> {
        for &file in bad {
            let path = self.listed.manifest.files()[file].path.to_string();
            let (stage, layout) = (self.place.part.stage(), self.listed.layout.clone());
            let (found, wanted) = (self.found.clone(), self.place.wanted.clone());
            let chunks = self
                .room
                .during(blocking(move || Ok(whole::wrong_chunks(stage, &layout, &wanted, file, &found)?)))
                .await?;
            let named = named(&chunks);
            (self.report)(Note::Message(&format!("{path}: {named} wrong on this disk; fetched again")));
            self.chunks.handle_lost(&chunks);
            self.move_all().await?;
            let (stage, size) = (self.place.part.stage(), sums.files()[file].size);
            let md5 = self.room.during(blocking(move || Ok(whole::file_md5(stage, file, size)?))).await?;
            if md5 != sums.files()[file].md5 {
                let what = format!("its MD5 is not that of its sender, also after {named} came again");
                return Err(Error::Damaged { file: path, what });
            }
        }
        Ok(())
    }

    /// Fetches until every chunk that is wanted is safe; of a stream of unknown length, until it ends.
    async fn move_all(&mut self) -> Result<(), Error> {
        let mut clock = tokio::time::interval(TICK);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.chunks.is_complete() {
            self.ask().await?;
            let Some(frames) = self.disk.frames.clone() else { return Err(Error::Over) };
            tokio::select! {
                biased;
                told = self.disk.told.recv() => match told {
                    Some(told) => self.handle_told(told)?,
                    None => return Err(std::io::Error::other("a thread has ended").into()),
                },
                permit = frames.reserve(), if self.pending.is_some() => {
                    if let (Ok(permit), Some(frame)) = (permit, self.pending.take()) {
                        permit.send(frame);
                    }
                }
                happened = self.room.next(), if self.pending.is_none() => self.handle(happened?)?,
                _ = clock.tick() => self.tick()?,
            }
        }
        self.figures.done = self.done();
        (self.report)(Note::Figures(&self.figures));
        Ok(())
    }

    /// Asks for what is missing, when that makes sense.
    async fn ask(&mut self) -> Result<(), Error> {
        if !self.room.is_up() || !self.room.offers().is_listed() || time::now() < self.not_before {
            return Ok(());
        }
        let Some(number) = self.room.offer(self.listed.id).map(|offer| offer.state.offer) else {
            return Ok(());
        };
        if let Some(ranges) = self.chunks.next_request(self.room.next_request()) {
            let ranges = ranges.into_iter().map(|[from, to]| (from, Some(to))).collect();
            self.room.fetch(number, Part::Chunk, ranges).await;
        }
        Ok(())
    }

    fn handle(&mut self, happened: Happened) -> Result<(), Error> {
        match happened {
            Happened::Up | Happened::Down(_) => self.chunks.handle_down(),
            Happened::Piece(frame) => self.handle_piece(frame),
            Happened::Done(id) => {
                let left = self.chunks.handle_done(id).map_err(|Damaged(chunk)| self.damaged(chunk))?;
                left.numbers().for_each(|chunk| self.tell_again(chunk));
            }
            Happened::Refused(refusal) => self.handle_refused(refusal)?,
            Happened::Offers(Change::Gone { offer, number, reason }) if offer == self.listed.id => {
                return Err(Error::Gone { number, reason });
            }
            Happened::Offers(_) => {}
        }
        Ok(())
    }

    fn handle_piece(&mut self, frame: Frame) {
        let Some(piece) = frame.header.piece.filter(|piece| piece.part == Part::Chunk) else { return };
        let number = self.room.offer(self.listed.id).map(|offer| offer.state.offer);
        // What was not asked for was not accepted either.
        if number == Some(piece.offer) && self.chunks.handle_chunk(piece.index) {
            self.heard = time::now();
            self.patience.handle_progress(self.heard);
            self.pending = Some(frame);
        }
    }

    fn handle_refused(&mut self, refusal: Refusal) -> Result<(), Error> {
        if refusal.code == Code::RateLimited {
            let wait = Duration::from_millis(refusal.retry_after_ms.unwrap_or(1000));
            self.not_before = time::now() + wait;
            self.chunks.handle_down();
            return Ok(());
        }
        if refusal.id.is_some_and(|id| self.chunks.owns(id)) { Err(Error::Refused(refusal)) } else { Ok(()) }
    }

    fn handle_told(&mut self, told: Told) -> Result<(), Error> {
        match told {
            Told::Kept(chunks) => self.handle_kept(&chunks),
            Told::Bad(chunk) => {
                self.chunks.handle_damaged(chunk).map_err(|Damaged(chunk)| self.damaged(chunk))?;
                self.tell_again(chunk);
            }
            Told::Sums(sums) => self.sums = Some(sums),
            Told::Failed(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn handle_kept(&mut self, chunks: &[Kept]) {
        self.patience.handle_progress(time::now());
        for kept in chunks {
            self.chunks.handle_kept(kept.chunk);
            self.found.md5s.insert(kept.chunk, kept.md5);
        }
    }

    fn tell_again(&mut self, chunk: u32) {
        (self.report)(Note::Message(&format!("chunk {chunk} arrived damaged; it is fetched again")));
    }

    fn damaged(&self, chunk: u32) -> Error {
        let file = self.listed.layout.parts(chunk).next().map_or(0, |part| part.file);
        let file = self.listed.manifest.files().get(file);
        let file = file.map_or_else(String::new, |file| file.path.to_string());
        Error::Damaged { file, what: Damaged(chunk).to_string() }
    }

    fn done(&self) -> u64 {
        let (layout, wanted) = (&self.listed.layout, &self.place.wanted);
        self.chunks.kept().iter().map(|range| layout.bytes_of(range, wanted)).sum()
    }

    fn tick(&mut self) -> Result<(), Error> {
        if let Some(gone) = self.room.gone(self.listed.id) {
            return Err(gone);
        }
        let now = time::now();
        self.figures.done = self.done();
        self.figures.again = u64::from(self.chunks.again()) * u64::from(self.listed.layout.chunk_size());
        if self.listed.layout.total().is_none()
            && let Some(most) = self.most.filter(|most| self.figures.done > *most)
        {
            return Err(Error::Large { most, size: Some(self.figures.done) });
        }
        let (offer, kept) = (self.room.offer(self.listed.id), self.chunks.kept());
        if offer.is_some() || !self.room.is_up() || !self.room.offers().is_listed() {
            self.seen = now;
        } else if now.since(self.seen) > MISSING {
            return Err(Error::Missing);
        }
        let quiet = now.since(self.heard) > QUIET;
        let waiting = offer.is_none_or(|offer| !offer.state.sealed && offer.state.kept <= kept.count());
        self.patience.look(
            match (self.chunks.is_writing(), self.room.is_up() && self.chunks.is_asking() && !waiting) {
                (true, _) => Side::Disk,
                (false, true) => Side::Server,
                (false, false) => Side::Nobody,
            },
            now,
        )?;
        let away = offer.is_some_and(|offer| offer.is_waiting() && offer.state.kept <= kept.count());
        if away && quiet && !self.told_away {
            let name = offer.map_or("", |offer| offer.state.name.as_str());
            let rest = match self.listed.layout.total() {
                Some(_) => "the rest comes when it goes on there",
                None => "nobody else can go on with what comes out of a pipe, so this is given up in a while",
            };
            let message = format!("{name} has stopped sending; {rest}");
            (self.report)(Note::Message(&message));
        }
        self.told_away = away && (quiet || self.told_away);
        self.figures.doing = match self.room.is_up() {
            false => Doing::Reconnecting,
            true if quiet && waiting => Doing::Waiting,
            true => Doing::Moving,
        };
        let full = self.disk.frames.as_ref().is_some_and(|frames| frames.capacity() == 0);
        self.figures.bound = Some(match (full, waiting) {
            (true, _) => Bound::Disk,
            (false, true) => Bound::Peer,
            (false, false) => Bound::Network,
        });
        let first = self.chunks.first_missing();
        self.figures.files_done = (self.listed.layout.finished(first) as u32).min(self.figures.files);
        if self.figures.files > 1 {
            self.figures.file = self.moving(first);
        }
        (self.report)(Note::Figures(&self.figures));
        Ok(())
    }

    /// The file in which the first missing chunk is.
    fn moving(&self, chunk: u32) -> Option<Moving> {
        let part = self.listed.layout.parts(chunk).next()?;
        let file = self.listed.manifest.files().get(part.file)?;
        Some(Moving { name: file.path.to_string(), done: part.offset, size: file.size })
    }

    /// Puts everything in its place, or leaves it for the next time.
    async fn end(mut self, whole: Result<Sums, Error>) -> Result<Outcome, Error> {
        if matches!(whole, Err(Error::Stuck)) {
            self.disk.abandon();
            return whole.map(|_| Outcome::Skipped);
        }
        let record = self.disk.finish().await;
        if let (Err(_), Some(record)) = (&whole, &record) {
            // Some of it was still on its way to the disk.
            self.figures.done = record.bytes(&self.listed.layout, &self.place.wanted);
            (self.report)(Note::Figures(&self.figures));
        }
        let (sums, Some(record)) = (whole?, record) else {
            return Err(std::io::Error::other("the journal cannot be written").into());
        };
        let Self { place, listed, room, report, .. } = self;
        let (files, renamed) = room
            .during(blocking(move || {
                whole::settle(place.part.stage(), &place.wanted, &sums)?;
                let now = i64::try_from(time::wall() / 1_000_000).unwrap_or(i64::MAX);
                let put = place.put(record, &listed, now)?;
                Ok((received(&listed.manifest, put.places, &sums), put.renamed))
            }))
            .await?;
        for (taken, place) in renamed {
            let shown = |path: &Path| text::scrub(&path.display().to_string(), PATH);
            report(Note::Message(&format!("{} was taken, so it is {}", shown(&taken), shown(&place))));
        }
        Ok(Outcome::Whole { files })
    }
}

/// Chunks in which something is that is wanted; nothing where all is.
fn wanted_chunks(listed: &Listed, wanted: &[bool]) -> Option<Ranges> {
    if !wanted.contains(&false) {
        return None;
    }
    let files = wanted.iter().enumerate().filter(|(_, wanted)| **wanted);
    Some(files.map(|(file, _)| listed.layout.chunks_of(file)).collect())
}

/// The files that are in their places now.
fn received(manifest: &Manifest, places: Vec<Option<PathBuf>>, sums: &Sums) -> Vec<Received> {
    let files = manifest.files().iter().zip(sums.files()).zip(places);
    let received = |((file, sum), place): ((&Entry, &Sum), Option<PathBuf>)| {
        let path = file.path.to_string();
        place.map(|place| Received { path, place, size: sum.size, md5: sum.md5 })
    };
    files.filter_map(received).collect()
}

/// Some chunks in words.
fn named(chunks: &Ranges) -> String {
    let ranges = chunks.iter().take(NAMED).map(|range| match range.end - range.start {
        1 => range.start.to_string(),
        _ => format!("{}-{}", range.start, range.end - 1),
    });
    let list = ranges.collect::<Vec<_>>().join(", ");
    match (chunks.count(), chunks.runs() > NAMED) {
        (1, _) => format!("chunk {list}"),
        (_, false) => format!("chunks {list}"),
        (count, true) => format!("{count} chunks ({list} and others)"),
    }
}
