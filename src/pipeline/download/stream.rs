//! A single file as it comes, in order, into a pipe: nothing is kept, so nothing can be resumed by another run.
//! Over broken connections it goes on by itself.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::fetch::{fetch_list, present, reason};
use super::patience::{Patience, Side};
use super::{Error, Happened, Listed, Note, Received, Room};
use crate::pipeline::figures::{Doing, Figures};
use crate::pipeline::offers::Change;
use crate::time;
use crate::transfer::{self, Chain, Sums};
use crate::wire::{Frame, Part, checksum};

/// Chunks that wait for the reader of the pipe.
const WAITING: usize = 8;
/// How long a reader of the pipe may take for what it was given before, when the user has had enough.
const LAST_WRITE: Duration = Duration::from_secs(1);
/// Between two reports.
const TICK: Duration = Duration::from_millis(100);

/// Writes the file of an offer to `out` as it comes. What was written before an error is found was written: a
/// reader that must not use it looks at the exit code.
pub async fn stream(
    room: &mut Room,
    listed: &Listed,
    out: Box<dyn Write + Send>,
    most: Option<u64>,
    stop: &CancellationToken,
    report: &mut (dyn FnMut(Note<'_>) + Send),
) -> Result<Received, Error> {
    let [file] = listed.manifest.files() else {
        return Err(Error::Several(listed.manifest.files().len()));
    };
    let (chunks, incoming) = mpsc::channel(WAITING);
    let writer = tokio::task::spawn_blocking(move || write(out, incoming));
    let figures = Figures { total: listed.size, files: 1, ..Figures::default() };
    let mut streaming =
        Streaming { room, listed, chunks, most, next: 0, done: 0, failed: None, figures, report };
    let moved = tokio::select! {
        () = stop.cancelled() => Err(Error::Interrupted),
        moved = streaming.run() => moved,
    };
    // By name: what a pattern passes over lives on, and the thread waits until nobody can send it anything.
    let Streaming { room, chunks, .. } = streaming;
    drop(chunks);
    let enough = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_WRITE).await;
    };
    let written = tokio::select! {
        biased;
        written = writer => written.map_err(|error| Error::Io(std::io::Error::other(error)))?,
        () = enough => return Err(Error::Interrupted),
    };
    let (md5, size) = match (moved, written) {
        // A reader that has gone ends everything else.
        (_, Err(error)) => return Err(Error::Io(error)),
        (Err(error), _) => return Err(reason(room, listed.id, error).await),
        (Ok(()), Ok(written)) => written,
    };
    let sums = tokio::select! {
        () = stop.cancelled() => return Err(Error::Interrupted),
        sums = fetch_list(room, listed.id, Part::Sums) => Sums::judge(&sums?, &listed.manifest)?,
    };
    let path = file.path.to_string();
    match sums.files() {
        [sum] if (sum.md5, sum.size) == (md5, size) => {
            Ok(Received { path, place: PathBuf::new(), size, md5 })
        }
        _ => Err(Error::Damaged { file: path, what: "its MD5 is not that of its sender".into() }),
    }
}

/// Writes what comes; the MD5 of all of it, and how much it was.
fn write(
    mut out: Box<dyn Write + Send>,
    mut incoming: mpsc::Receiver<Bytes>,
) -> std::io::Result<([u8; 16], u64)> {
    let mut chain = Chain::new();
    while let Some(bytes) = incoming.blocking_recv() {
        out.write_all(&bytes)?;
        chain.update(&bytes);
    }
    out.flush()?;
    let size = chain.length();
    Ok((chain.finish(), size))
}

struct Streaming<'a> {
    room: &'a mut Room,
    listed: &'a Listed,
    chunks: mpsc::Sender<Bytes>,
    most: Option<u64>,
    /// The chunk that comes next.
    next: u32,
    done: u64,
    /// The chunk that came damaged the last time.
    failed: Option<u32>,
    figures: Figures,
    report: &'a mut (dyn FnMut(Note<'_>) + Send),
}

impl Streaming<'_> {
    async fn run(&mut self) -> Result<(), Error> {
        loop {
            if self.listed.layout.chunks() == Some(self.next) {
                self.tell();
                return Ok(());
            }
            present(self.room, self.listed.id).await?;
            if self.attempt().await? {
                self.tell();
                return Ok(());
            }
        }
    }

    /// Fetches from the next chunk on; whether that was all there is.
    async fn attempt(&mut self) -> Result<bool, Error> {
        let id = self.listed.id;
        let Some(number) = self.room.offer(id).map(|offer| offer.state.offer) else { return Ok(false) };
        let end = self.listed.layout.chunks();
        let request = self.room.fetch(number, Part::Chunk, vec![(self.next, end)]).await;
        let mut clock = tokio::time::interval(TICK);
        let mut patience = Patience::new(time::now());
        loop {
            let happened = tokio::select! {
                happened = self.room.next() => happened?,
                () = self.chunks.closed() => return Ok(true),
                _ = clock.tick() => {
                    self.tell();
                    let side = if self.is_waiting() { Side::Nobody } else { Side::Server };
                    patience.look(side, time::now())?;
                    continue;
                }
            };
            match happened {
                Happened::Up | Happened::Down(_) => return Ok(false),
                Happened::Piece(frame) => {
                    let piece = frame.header.piece.filter(|piece| piece.part == Part::Chunk);
                    if piece.is_none_or(|piece| (piece.offer, piece.index) != (number, self.next)) {
                        continue;
                    }
                    if !self.fits(&frame) {
                        self.room.unfetch(request).await;
                        if self.failed.replace(self.next) == Some(self.next) {
                            let file = self.listed.manifest.files()[0].path.to_string();
                            let what = format!("chunk {} came damaged twice", self.next);
                            return Err(Error::Damaged { file, what });
                        }
                        return Ok(false);
                    }
                    self.take(frame).await?;
                    patience.handle_progress(time::now());
                }
                Happened::Done(done) if done == request => {
                    let all = end.is_none_or(|end| end == self.next);
                    return if all { Ok(true) } else { Err(transfer::Error::Torn.into()) };
                }
                Happened::Refused(refusal) if refusal.id == Some(request) => {
                    return Err(Error::Refused(refusal));
                }
                Happened::Offers(Change::Gone { offer, number, reason }) if offer == id => {
                    return Err(Error::Gone { number, reason });
                }
                _ => {}
            }
        }
    }

    fn fits(&self, frame: &Frame) -> bool {
        let length = frame.payload().len();
        let right = match self.listed.layout.length(self.next) {
            Some(must) => length == must,
            None => length > 0 && length <= self.listed.layout.chunk_size() as usize,
        };
        right && checksum(frame.payload()) == frame.header.checksum
    }

    async fn take(&mut self, frame: Frame) -> Result<(), Error> {
        self.next += 1;
        self.done += frame.payload().len() as u64;
        if let Some(most) = self.most.filter(|most| self.done > *most) {
            return Err(Error::Large { most, size: Some(self.done) });
        }
        // A reader that takes its time holds up the connection, as it should; one that has gone is noticed by
        // the thread that writes.
        let _ = self.chunks.send(frame.payload_bytes()).await;
        Ok(())
    }

    /// Its sender has sent no more so far.
    fn is_waiting(&self) -> bool {
        let offer = self.room.offer(self.listed.id);
        offer.is_none_or(|offer| !offer.state.sealed && offer.state.kept <= self.next)
    }

    fn tell(&mut self) {
        let waiting = self.is_waiting();
        self.figures.done = self.done;
        self.figures.doing = match self.room.is_up() {
            false => Doing::Reconnecting,
            true if waiting => Doing::Waiting,
            true => Doing::Moving,
        };
        (self.report)(Note::Figures(&self.figures));
    }
}
