//! The files in which chunks lie: one for each offer, with a slot for each chunk.
//!
//! A slot holds the chunk's frame as its sender made it, header and payload, so it is handed out as it
//! came and says by itself what it is and whether it is whole. Slots begin at multiples of the chunk size
//! and [`ROOM`] more. What was never written is a hole and takes no room on disk.
//!
//! Files of a directory are opened when they are needed, at most [`OPEN`] at once. Without a directory
//! they have no name, stay open, and are gone with the process.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags};

use super::stock::{Row, Stock};
use crate::limits;
use crate::transfer::Ranges;
use crate::wire::{Frame, Header, Incoming, Parser, Part};

/// Bytes of a slot beyond the chunk: for the header, and to keep slots on boundaries of pages.
const ROOM: u64 = 4096;
/// Longest header of a chunk that is taken.
pub(super) const HEADER: usize = ROOM as usize - 4;
/// Files of a directory that are open at once.
const OPEN: usize = 128;
/// Files without a name that can be held: each takes a descriptor as long as its offer lives.
const NAMELESS: usize = 512;

/// Where the files are.
#[derive(Debug)]
pub(super) struct Vault {
    directory: Option<PathBuf>,
    files: Mutex<HashMap<Row, Arc<File>>>,
}

impl Vault {
    /// Files in `directory`, which is there; without one, files without names.
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, files: Mutex::default() }
    }

    /// Makes the file of an offer; durably, where it has a name.
    pub(super) fn create(&self, row: Row) -> io::Result<()> {
        let file = match &self.directory {
            Some(directory) => {
                let file = options().create(true).truncate(true).open(path(directory, row))?;
                File::open(directory)?.sync_all()?;
                file
            }
            None if self.files().len() >= NAMELESS => {
                return Err(io::Error::other(
                    "this server keeps nothing on disk and holds as many files as it can",
                ));
            }
            None => nameless()?,
        };
        self.keep(row, file);
        Ok(())
    }

    /// The file of an offer.
    pub(super) fn file(&self, row: Row) -> io::Result<Arc<File>> {
        if let Some(file) = self.files().get(&row) {
            return Ok(Arc::clone(file));
        }
        let directory = self.directory.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let file = options().open(path(directory, row))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        Ok(self.keep(row, file))
    }

    /// Removes the file of an offer; those who still read it may.
    pub(super) fn remove(&self, row: Row) {
        self.files().remove(&row);
        if let Some(directory) = &self.directory
            && let Err(error) = std::fs::remove_file(path(directory, row))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, offer = row.0, "cannot remove a file of the depot");
        }
    }

    /// Removes files that belong to none of `rows`: traces of a crash.
    pub(super) fn clean(&self, rows: &[Row]) -> io::Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        for entry in std::fs::read_dir(directory)? {
            let name = entry?.file_name();
            let row = name.to_str().and_then(|name| name.strip_suffix(".chunks")?.parse().ok().map(Row));
            if let Some(row) = row.filter(|row| !rows.contains(row)) {
                self.remove(row);
            }
        }
        Ok(())
    }

    /// Bytes on disk of an offer.
    pub(super) fn bytes(&self, row: Row) -> u64 {
        self.file(row).and_then(|file| file.metadata()).map_or(0, |about| about.blocks() * 512)
    }

    /// Bytes that are free, and what of them must stay so.
    pub(super) fn free(&self) -> Option<(u64, u64)> {
        let place = self.directory.clone().unwrap_or_else(std::env::temp_dir);
        let about = rustix::fs::statvfs(&place).ok()?;
        let all = about.f_blocks.saturating_mul(about.f_frsize);
        let free = about.f_bavail.saturating_mul(about.f_frsize);
        Some((free, (all / 20).min(limits::STORE_FREE)))
    }

    fn keep(&self, row: Row, file: File) -> Arc<File> {
        let mut files = self.files();
        if self.directory.is_some() && files.len() >= OPEN {
            files.retain(|_, file| Arc::strong_count(file) > 1);
        }
        let file = Arc::new(file);
        files.insert(row, Arc::clone(&file));
        file
    }

    fn files(&self) -> MutexGuard<'_, HashMap<Row, Arc<File>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the slot of a chunk begins.
fn place(stock: &Stock, index: u32) -> u64 {
    u64::from(index) * (u64::from(stock.chunk_size) + ROOM)
}

/// Writes a chunk's frame into its slot.
pub(super) fn write(file: &File, stock: &Stock, index: u32, frame: &Frame) -> io::Result<()> {
    file.write_all_at(frame.bytes(), place(stock, index))
}

/// The frame in a slot, exactly as it was written. Its payload is not checked.
pub(super) fn read(file: &File, stock: &Stock, index: u32) -> io::Result<Bytes> {
    let place = place(stock, index);
    let most = ROOM as usize + stock.chunk_size as usize;
    let mut slot = Vec::with_capacity(most);
    while slot.len() < most {
        let at = place + slot.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut slot), at) {
            Ok(0) => break,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let wrong = || io::Error::other("the disk has changed what was stored");
    let (header, payload_at) = header(&slot).ok_or_else(wrong)?;
    let end = payload_at + header.size;
    let right = header
        .piece
        .is_some_and(|piece| (piece.offer, piece.part, piece.index) == (stock.number, Part::Chunk, index));
    if !right || end > slot.len() {
        return Err(wrong());
    }
    slot.truncate(end);
    Ok(Bytes::from(slot))
}

/// The first slot that is behind the end of a file.
pub(super) fn below_end(file: &File, stock: &Stock) -> u32 {
    let bytes = file.metadata().map_or(0, |about| about.len());
    u32::try_from(bytes.div_ceil(u64::from(stock.chunk_size) + ROOM)).unwrap_or(u32::MAX)
}

/// Bytes of the payload in a slot.
pub(super) fn length(file: &File, stock: &Stock, index: u32) -> Option<usize> {
    let mut head = vec![0; ROOM as usize];
    let read = file.read_at(&mut head, place(stock, index)).ok()?;
    header(&head[..read]).map(|(header, _)| header.size)
}

fn header(slot: &[u8]) -> Option<(Header, usize)> {
    let length = u32::from_be_bytes(*slot.first_chunk()?) as usize;
    let header = Header::parse(slot.get(4..4 + length.min(HEADER))?).ok()?;
    Some((header, 4 + length))
}

/// Chunks beyond `known` that are whole in the file: what was stored after the index was last written. The
/// file is synchronised when this returns.
pub(super) fn recover(file: &File, stock: &Stock, known: &Ranges) -> io::Result<Ranges> {
    let mut found = Ranges::new();
    let slot = u64::from(stock.chunk_size) + ROOM;
    let mut at = 0;
    while let Some(data) = next_data(file, at)? {
        let Ok(first) = u32::try_from(data / slot) else { break };
        let index = known.gap(first);
        at = u64::from(index) * slot;
        if at > data {
            continue;
        }
        if is_whole(file, stock, index) {
            found.add(index);
        }
        at = (u64::from(index) + 1) * slot;
    }
    if !found.is_empty() {
        file.sync_data()?;
    }
    Ok(found)
}

fn is_whole(file: &File, stock: &Stock, index: u32) -> bool {
    let Ok(bytes) = read(file, stock, index) else { return false };
    let mut parser = Parser::new();
    parser.push(&bytes);
    matches!(parser.poll(), Ok(Some(Incoming::Frame(_))))
}

/// The first place from `at` on that is not a hole.
fn next_data(file: &File, at: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(place) => Ok(Some(place)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn path(directory: &std::path::Path, row: Row) -> PathBuf {
    directory.join(format!("{}.chunks", row.0))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits() as i32);
    options
}

/// A file that no directory knows.
fn nameless() -> io::Result<File> {
    let place = std::env::temp_dir();
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open(&place, flags, Mode::RUSR | Mode::WUSR) {
        return Ok(file.into());
    }
    // File systems that cannot do that.
    let name =
        place.join(format!("confkit-{}-{:016x}", std::process::id(), getrandom::u64().unwrap_or_default()));
    let file = options().create_new(true).open(&name)?;
    std::fs::remove_file(&name)?;
    Ok(file)
}
