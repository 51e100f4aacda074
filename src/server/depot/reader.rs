//! The threads that read chunks for those who fetch them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::stock::Stock;
use super::{Inner, vault};
use crate::wire::Part;

/// A piece that somebody waits for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) stock: Arc<Stock>,
    pub(super) part: Part,
    pub(super) index: u32,
    pub(super) answer: oneshot::Sender<Option<Bytes>>,
}

/// Reads chunks until nobody will want any more.
pub(super) fn run(inner: &Inner) {
    while let Some(wanted) = inner.wanted.take(1, Duration::from_secs(60)) {
        for Wanted { stock, index, answer, .. } in wanted {
            if answer.is_closed() {
                continue;
            }
            let read = inner.vault.file(stock.row).and_then(|file| vault::read(&file, &stock, index));
            let found = read.inspect_err(|error| {
                tracing::error!(%error, room = %stock.room, offer = %stock.number, index, "cannot read a chunk");
            });
            // Who asked may have gone meanwhile.
            let _ = answer.send(found.ok());
        }
    }
}
