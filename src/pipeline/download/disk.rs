//! Chunks on their way to the disk: checked, written, made safe, noted in the journal, in this order.
//!
//! Two threads. One checks the sums of several chunks at once and writes them; the other makes what was written
//! safe, while the first goes on. A chunk is told as kept when it is safe and noted, not before. After a failed
//! sync nothing of what it was about counts.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use super::chain::{Follower, Written};
use super::record::Record;
use crate::files::sink::{Error, Stage, Unsynced};
use crate::transfer::{Layout, Saved, chunk_sums, lanes};
use crate::wire::Frame;

/// Frames that wait for the disk.
pub(super) const WAITING: usize = 16;
/// What may be written without being safe before the writer waits.
const UNSAFE: u64 = 4 * 1024 * 1024;
/// From so many bytes on it is worth a sync ...
const WORTH: u64 = 2 * 1024 * 1024;
/// ... and after so long in any case: at the end of a file, and where less than that comes, nothing else follows.
const PATIENCE: Duration = Duration::from_millis(10);
/// Things told that may wait; whoever hears them does nothing else meanwhile.
const TOLD: usize = 64;

/// What the threads tell.
#[derive(Debug)]
pub(super) enum Told {
    /// These are safe.
    Kept(Vec<Kept>),
    /// This one is not what its sum says, or not as long as it must be.
    Bad(u32),
    /// The MD5 of every file, as far as it could be taken.
    Sums(Vec<Option<[u8; 16]>>),
    /// It cannot go on.
    Failed(Error),
}

/// A chunk that is safe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) chunk: u32,
    pub(super) md5: [u8; 16],
    pub(super) length: u32,
}

/// What is to be on the disk, in this order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unsafe<'a> {
    /// Bytes of the files.
    Data(&'a Unsynced),
    /// The journal, which says so.
    Journal(&'a Record),
}

impl Unsafe<'_> {
    /// Makes it safe.
    pub(super) fn sync(self) -> Result<(), Error> {
        match self {
            Self::Data(unsynced) => unsynced.sync(),
            Self::Journal(record) => record.sync(),
        }
    }
}

/// How it becomes safe; another way in tests.
pub(super) type Sync = Arc<dyn Fn(Unsafe<'_>) -> Result<(), Error> + Send + std::marker::Sync>;

/// The threads of a part.
#[derive(Debug)]
pub(super) struct Disk {
    /// Chunks to be written. Closed when all are there.
    pub(super) frames: Option<mpsc::Sender<Frame>>,
    pub(super) told: mpsc::Receiver<Told>,
    pub(super) written: Arc<Written>,
    slot: Arc<Slot>,
    writer: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<Option<Record>>>,
    follower: Option<JoinHandle<()>>,
}

/// What a part is and what of it is there.
pub(super) struct Begin {
    pub(super) layout: Layout,
    /// Files that are received.
    pub(super) wanted: Vec<bool>,
    /// For the thread that writes and for the one that reads.
    pub(super) stages: [Stage; 2],
    pub(super) written: Arc<Written>,
    /// Where the MD5 of a single file goes on.
    pub(super) saved: Option<Saved>,
    pub(super) record: Record,
    pub(super) sync: Sync,
}

impl Disk {
    pub(super) fn start(begin: Begin) -> std::io::Result<Self> {
        let Begin { layout, wanted, stages: [stage, reading], written, saved, record, sync } = begin;
        let (frames, incoming) = mpsc::channel(WAITING);
        let (tell, told) = mpsc::channel(TOLD);
        let slot = Arc::new(Slot::default());
        let follower =
            Follower::new(Arc::clone(&written), reading, layout.clone(), wanted.clone(), saved.as_ref());
        let writer = Writer {
            stage,
            layout,
            wanted,
            written: Arc::clone(&written),
            slot: Arc::clone(&slot),
            tell: tell.clone(),
        };
        let keeper = Keeper {
            slot: Arc::clone(&slot),
            written: Arc::clone(&written),
            record,
            sync,
            tell: tell.clone(),
        };
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        Ok(Self {
            frames: Some(frames),
            told,
            written,
            slot,
            writer: Some(thread("write").spawn(move || writer.run(incoming))?),
            keeper: Some(thread("keep").spawn(move || keeper.run())?),
            follower: Some(thread("md5").spawn(move || {
                let told = match follower.run() {
                    Ok(sums) => Told::Sums(sums),
                    Err(error) => Told::Failed(error),
                };
                // Nobody may be interested any more.
                let _ = tell.blocking_send(told);
            })?),
        })
    }

    /// Ends the threads when what was given to them is safe; the journal, where it could be kept.
    pub(super) async fn finish(mut self) -> Option<Record> {
        self.frames = None;
        self.written.stop();
        // They end when nobody speaks any more.
        while self.told.recv().await.is_some() {}
        self.join()
    }

    /// Leaves the threads to themselves: the disk for which they wait may never answer.
    pub(super) fn abandon(mut self) {
        drop((self.writer.take(), self.keeper.take(), self.follower.take()));
    }

    fn join(&mut self) -> Option<Record> {
        for thread in [self.writer.take(), self.follower.take()].into_iter().flatten() {
            let _ = thread.join();
        }
        self.slot.close();
        self.keeper.take().and_then(|thread| thread.join().ok()).flatten()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.frames = None;
        self.written.stop();
        self.told.close();
        self.slot.close();
        self.join();
    }
}

/// What is written and not safe, between the two threads.
#[derive(Debug, Default)]
struct Slot {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    unsynced: Unsynced,
    chunks: Vec<Kept>,
    bytes: u64,
    over: bool,
}

impl Slot {
    /// Adds something, when there is room.
    fn put(&self, unsynced: Unsynced, chunks: Vec<Kept>) {
        let mut state = self.lock();
        while (state.bytes >= UNSAFE || state.unsynced.is_much()) && !state.over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.bytes += chunks.iter().map(|kept| u64::from(kept.length)).sum::<u64>();
        state.unsynced.join(unsynced);
        state.chunks.extend(chunks);
        self.changed.notify_all();
    }

    /// Takes what there is as soon as it is worth it; nothing at the end.
    fn take(&self) -> Option<(Unsynced, Vec<Kept>)> {
        let mut state = self.lock();
        while state.chunks.is_empty() && state.unsynced.is_empty() {
            if state.over {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let little =
            |waiting: &mut Waiting| waiting.bytes < WORTH && !waiting.unsynced.is_much() && !waiting.over;
        let (mut state, _) =
            self.changed.wait_timeout_while(state, PATIENCE, little).unwrap_or_else(PoisonError::into_inner);
        state.bytes = 0;
        self.changed.notify_all();
        Some((std::mem::take(&mut state.unsynced), std::mem::take(&mut state.chunks)))
    }

    fn close(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks and writes.
struct Writer {
    stage: Stage,
    layout: Layout,
    wanted: Vec<bool>,
    written: Arc<Written>,
    slot: Arc<Slot>,
    tell: mpsc::Sender<Told>,
}

impl Writer {
    fn run(mut self, mut incoming: mpsc::Receiver<Frame>) {
        let lanes = lanes();
        let mut batch = Vec::with_capacity(lanes);
        while let Some(frame) = incoming.blocking_recv() {
            batch.push(frame);
            while batch.len() < lanes
                && let Ok(frame) = incoming.try_recv()
            {
                batch.push(frame);
            }
            if let Err(error) = self.write(&batch) {
                let _ = self.tell.blocking_send(Told::Failed(error));
                break;
            }
            batch.clear();
        }
        // The keeper still makes safe what came so far.
        self.slot.close();
    }

    fn write(&mut self, batch: &[Frame]) -> Result<(), Error> {
        let payloads: Vec<&[u8]> = batch.iter().map(Frame::payload).collect();
        let mut kept = Vec::with_capacity(batch.len());
        for (frame, md5) in batch.iter().zip(chunk_sums(&payloads)) {
            let Some(piece) = frame.header.piece else { continue };
            let (chunk, payload) = (piece.index, frame.payload());
            if md5 != frame.header.checksum || !self.fits(chunk, payload.len()) {
                let _ = self.tell.blocking_send(Told::Bad(chunk));
                continue;
            }
            for part in self.layout.parts(chunk) {
                let end = (part.at + part.length).min(payload.len());
                if self.wanted.get(part.file).is_some_and(|wanted| *wanted)
                    && let Some(bytes) = payload.get(part.at..end)
                {
                    self.stage.write(part.file as u32, part.offset, bytes)?;
                }
                if self.stage.unsynced().is_much() {
                    self.slot.put(self.stage.take_unsynced(), Vec::new());
                }
            }
            self.written.push(chunk, frame.payload_bytes());
            kept.push(Kept { chunk, md5, length: payload.len() as u32 });
        }
        if !kept.is_empty() {
            self.slot.put(self.stage.take_unsynced(), kept);
        }
        Ok(())
    }

    /// Whether a chunk is as long as it must be; of a stream of unknown length any may be the last.
    fn fits(&self, chunk: u32, length: usize) -> bool {
        match self.layout.length(chunk) {
            Some(must) => must > 0 && length == must,
            None => (1..=self.layout.chunk_size() as usize).contains(&length),
        }
    }
}

/// Makes safe and notes.
struct Keeper {
    slot: Arc<Slot>,
    written: Arc<Written>,
    record: Record,
    sync: Sync,
    tell: mpsc::Sender<Told>,
}

impl Keeper {
    /// The journal at the end; none where it could not be kept.
    fn run(mut self) -> Option<Record> {
        while let Some((unsynced, chunks)) = self.slot.take() {
            let noted = (self.sync)(Unsafe::Data(&unsynced))
                .and_then(|()| self.record.add(&chunks, self.written.saved().as_ref()))
                // What is told as kept makes room for more to be asked for. If a power cut could take the record of it,
                // more than the window would come a second time: the kernel may keep a record for half a minute.
                .and_then(|()| (self.sync)(Unsafe::Journal(&self.record)));
            if let Err(error) = noted {
                let _ = self.tell.blocking_send(Told::Failed(error));
                self.slot.close();
                return None;
            }
            let _ = self.tell.blocking_send(Told::Kept(chunks));
        }
        // Without a new chunk the chain may still have come further.
        if let Some(saved) = self.written.saved() {
            self.record.add(&[], Some(&saved)).ok()?;
        }
        Some(self.record)
    }
}
