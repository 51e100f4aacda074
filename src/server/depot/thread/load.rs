//! What an offer comes to that was kept: from the index, and from its file.

use std::sync::Arc;

use super::Thread;
use crate::id::RoomName;
use crate::server::depot::index::Extras;
use crate::server::depot::stock::{Holding, Stock};
use crate::server::depot::{Kept, Shelved, vault};

impl Thread {
    /// The offers of a room, as the index and their files have them.
    pub(super) fn load(&mut self, room: &RoomName) -> Option<Shelved> {
        let (last, found) = self.index.load(room).inspect_err(|error| self.note(error)).ok()?;
        let mut offers = Vec::new();
        for (row, record, extras) in found {
            // A guest that never finished cannot come back to it.
            if !record.sealed && record.owner.is_none() && !self.stocks.contains_key(&row) {
                self.change(|index| index.remove(row));
                self.forget(row);
                continue;
            }
            let Extras { kept, about, manifest, sums, received } = extras;
            let stock = match self.stocks.get(&row) {
                Some(stock) => Arc::clone(stock),
                None => {
                    let holding =
                        Holding { kept, about: about.is_some(), manifest, sums, ..Holding::default() };
                    let holding = Holding { chunks: record.chunks, sealed: record.sealed, ..holding };
                    let stock =
                        Stock::new(row, room.clone(), record.number, record.chunk_size, record.size, holding);
                    stock.change(|holding| {
                        // What is only in the file says nothing: the server may have been killed before the pieces
                        // that came before it were in the index.
                        holding.listed = !holding.kept.is_empty() && holding.manifest > 0;
                    });
                    self.look(&stock);
                    if let Some(chunks) = record.chunks.filter(|_| record.sealed) {
                        let total = self.total(&stock, chunks);
                        stock.change(|holding| holding.total = total);
                    }
                    let stock = Arc::new(stock);
                    self.stocks.insert(row, Arc::clone(&stock));
                    stock
                }
            };
            offers.push(Kept { record, stock, about, received });
        }
        if let Err(error) = self.index.commit() {
            self.note(&error);
        }
        Some(Shelved { last, offers })
    }

    /// Looks at an offer's file: finds what the index does not know, and forgets what is not there.
    fn look(&mut self, stock: &Stock) {
        stock.add_bytes(self.inner.vault.bytes(stock.row));
        let mut holding = stock.holding();
        let file = self.inner.vault.file(stock.row);
        let there = match &file {
            Ok(file) => vault::below_end(file, stock),
            Err(_) => 0,
        };
        let before = holding.kept.count();
        holding.kept.remove(there..u32::MAX);
        if holding.kept.count() < before {
            tracing::error!(room = %stock.room, offer = %stock.number, "the file of an offer is shorter than it was");
            holding.sealed = false;
        }
        let Ok(file) = file else { return };
        if !holding.sealed {
            match vault::recover(&file, stock, &holding.kept) {
                Ok(found) => holding.kept.join(&found),
                Err(error) => {
                    tracing::warn!(%error, offer = %stock.number, "cannot look through the file of an offer")
                }
            }
            let last = holding.kept.end().checked_sub(1);
            if let (Some(last), None) = (last, stock.size) {
                let length = vault::length(&file, stock, last);
                holding.short = length.filter(|length| *length < stock.chunk_size as usize).map(|_| last);
            }
        }
    }

    /// Bytes of a sealed offer that had no size before.
    pub(super) fn total(&self, stock: &Stock, chunks: u32) -> Option<u64> {
        let Some(last) = chunks.checked_sub(1).filter(|_| stock.size.is_none()) else {
            return stock.size.or(Some(0));
        };
        let length = vault::length(&*self.inner.vault.file(stock.row).ok()?, stock, last)?;
        Some(u64::from(last) * u64::from(stock.chunk_size) + length as u64)
    }
}
