//! The thread that reads what is sent, takes the sums of its chunks, and makes frames of them.
//!
//! Orders come in a queue of [`ORDERS`], so that the files are read ahead of the network; frames leave in
//! another, which is bounded in bytes. Every byte is read once and copied never: it is read to where it stands in its frame.

use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::chain::Link;
use crate::files::source::{ReadError, Reader};
use crate::id::OfferNumber;
use crate::time;
use crate::transfer::{Layout, chunk_sums, lanes};
use crate::wire::{FILE_ROOM, Frame, Part, Piece};

/// Orders that may wait.
pub(super) const ORDERS: usize = 16;
/// Bytes of which the sums are taken at once at the most: none of them is on its way before all of them are read.
const BATCH: usize = 4 * 1024 * 1024;

/// A chunk that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) chunk: u32,
    /// For the frame; without it the chunk is not sent.
    pub(super) send: Option<OfferNumber>,
    /// It is the next one for the sums of the files.
    pub(super) link: bool,
    /// What it must be.
    pub(super) known: Option<[u8; 16]>,
}

/// What comes of it.
#[derive(Debug)]
pub(super) enum Item {
    /// A chunk to send.
    Chunk(u32, Frame),
    /// A chunk that was only looked at.
    Seen,
    /// The end of a pipe: how many bytes came out of it.
    End(u64),
    /// It cannot be read.
    Failed(ReadError),
}

/// Where the bytes come from.
#[derive(Debug)]
pub(super) enum Input {
    /// Files, in any order of chunks.
    Files(Reader, Layout),
    /// What was said on the command line.
    Text(Bytes, Layout),
    /// A pipe, each chunk once and in order.
    Pipe(Pipe),
}

/// A pipe as chunks.
#[derive(Debug)]
pub(super) struct Pipe {
    file: File,
    chunk_size: usize,
    total: u64,
    ended: bool,
}

impl Pipe {
    pub(super) fn new(file: File, chunk_size: u32) -> Self {
        Self { file, chunk_size: chunk_size as usize, total: 0, ended: false }
    }

    /// Appends the next chunk to `buffer`; a short one is the last.
    fn read(&mut self, buffer: &mut Vec<u8>) -> Result<(), ReadError> {
        let before = buffer.len();
        let limit = self.chunk_size as u64;
        // `read_to_end` would grow the buffer by its own rules; it has its final size here.
        buffer.reserve_exact(self.chunk_size);
        let read = (&self.file).take(limit).read_to_end(buffer);
        read.map_err(|error| ReadError::Io("the pipe".into(), error))?;
        let length = buffer.len() - before;
        self.total += length as u64;
        self.ended = length < self.chunk_size;
        Ok(())
    }
}

/// Reads until nobody orders or takes any more.
pub(super) fn run(
    mut input: Input,
    mut orders: mpsc::Receiver<Order>,
    items: &mpsc::Sender<Item>,
    links: &std::sync::mpsc::SyncSender<Link>,
) {
    let lanes = lanes();
    while let Some(first) = orders.blocking_recv() {
        let mut batch = vec![first];
        let size = input.length(first.chunk).max(1);
        while batch.len() < lanes
            && (batch.len() + 1) * size <= BATCH
            && let Ok(order) = orders.try_recv()
        {
            batch.push(order);
        }
        let result = take(&mut input, &batch, |item| items.blocking_send(item).map_err(|_| Gone), links);
        match result {
            Ok(true) => {}
            Ok(false) => break,
            Err(Gone) => return,
        }
    }
}

/// Nobody wants it any more.
struct Gone;

/// Carries out a batch; whether there can be more.
fn take(
    input: &mut Input,
    batch: &[Order],
    mut emit: impl FnMut(Item) -> Result<(), Gone>,
    links: &std::sync::mpsc::SyncSender<Link>,
) -> Result<bool, Gone> {
    let mut buffers = Vec::with_capacity(batch.len());
    for order in batch {
        match input.read(order.chunk) {
            Ok(buffer) => buffers.push(buffer),
            Err(error) => {
                emit(Item::Failed(error))?;
                return Ok(false);
            }
        }
    }
    let payloads: Vec<&[u8]> = buffers.iter().map(|buffer| &buffer[FILE_ROOM..]).collect();
    let sums = chunk_sums(&payloads);
    for ((order, buffer), sum) in batch.iter().zip(buffers).zip(sums) {
        if order.known.is_some_and(|known| known != sum) {
            emit(Item::Failed(ReadError::Changed(input.name())))?;
            return Ok(false);
        }
        // Nothing more came out of the pipe.
        if buffer.len() == FILE_ROOM && matches!(input, Input::Pipe(_)) {
            break;
        }
        let size = buffer.len() - FILE_ROOM;
        let piece =
            Piece { offer: order.send.unwrap_or(OfferNumber(0)), part: Part::Chunk, index: order.chunk };
        let frame = Frame::file_in(piece, buffer, sum, time::wall());
        if order.link {
            let whole = frame.bytes();
            let bytes = whole.slice(whole.len() - size..);
            links.send(Link::Chunk { chunk: order.chunk, bytes, sum }).map_err(|_| Gone)?;
        }
        emit(if order.send.is_some() { Item::Chunk(order.chunk, frame) } else { Item::Seen })?;
    }
    match input {
        Input::Pipe(pipe) if pipe.ended => {
            links.send(Link::End(pipe.total)).map_err(|_| Gone)?;
            emit(Item::End(pipe.total))?;
            Ok(false)
        }
        _ => Ok(true),
    }
}

impl Input {
    /// Bytes of a chunk, as far as that is known.
    fn length(&self, chunk: u32) -> usize {
        match self {
            Self::Files(_, layout) | Self::Text(_, layout) => layout.length(chunk).unwrap_or(0),
            // What comes out of a pipe goes on its way at once.
            Self::Pipe(_) => BATCH,
        }
    }

    /// A buffer with the chunk behind the room for the header.
    fn read(&mut self, chunk: u32) -> Result<Vec<u8>, ReadError> {
        match self {
            Self::Files(reader, layout) => {
                let mut buffer = vec![0; FILE_ROOM + layout.length(chunk).unwrap_or(0)];
                reader.read(chunk, &mut buffer[FILE_ROOM..])?;
                Ok(buffer)
            }
            Self::Text(text, layout) => {
                let mut buffer = vec![0; FILE_ROOM];
                let from = layout.start(chunk) as usize;
                buffer.extend_from_slice(&text[from..from + layout.length(chunk).unwrap_or(0)]);
                Ok(buffer)
            }
            Self::Pipe(pipe) => {
                let mut buffer = Vec::with_capacity(FILE_ROOM + pipe.chunk_size);
                buffer.resize(FILE_ROOM, 0);
                pipe.read(&mut buffer)?;
                Ok(buffer)
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Files(reader, _) => reader.name(),
            _ => "the pipe".into(),
        }
    }
}
