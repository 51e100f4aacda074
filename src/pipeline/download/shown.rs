//! A text, which is shown instead of being stored.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::{Error, Listed, Note, Room, stream};
use crate::{limits, text};

impl Listed {
    /// Whether it is short enough to be shown.
    pub fn is_short(&self) -> bool {
        self.manifest.files().len() == 1 && self.size.is_some_and(|size| size <= limits::MESSAGE as u64)
    }
}

/// Reads a short one, all of it or nothing: its lines, harmless to show.
pub async fn read(
    room: &mut Room,
    listed: &Listed,
    stop: &CancellationToken,
    report: &mut (dyn FnMut(Note<'_>) + Send),
) -> Result<String, Error> {
    let read = Held::default();
    let most = Some(limits::MESSAGE as u64);
    stream(room, listed, Box::new(read.clone()), most, stop, report).await?;
    let bytes = std::mem::take(&mut *read.0.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(text::scrub_lines(&String::from_utf8_lossy(&bytes), usize::MAX))
}

/// Bytes that are kept in memory; at most as many as a message may have.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<Vec<u8>>>);

impl Write for Held {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() + bytes.len() > limits::MESSAGE {
            return Err(io::Error::other("it is longer than it was said"));
        }
        held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
