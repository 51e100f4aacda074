//! Reads the sources as the one stream that an offer is, chunk by chunk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use rustix::fs::{Advice, OFlags, fadvise};

use super::{Identity, Source, shown};
use crate::transfer::Layout;

/// From this size on the kernel is told that a file is read from front to back.
const LARGE: u64 = 1024 * 1024;

/// Why a chunk cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not what it was when it was found.
    #[error("{0} has changed")]
    Changed(String),
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    Io(String, io::Error),
}

/// Reads chunks; best in order.
#[derive(Debug)]
pub struct Reader {
    sources: Vec<Source>,
    layout: Layout,
    open: Option<(usize, File)>,
}

impl Reader {
    /// Reads `sources`, whose bytes stand as `layout` says.
    pub fn new(sources: Vec<Source>, layout: Layout) -> Self {
        Self { sources, layout, open: None }
    }

    /// Fills `bytes`, which is as long as chunk `chunk`, with it. A file of which something is read is the one
    /// that was found, before and after.
    pub fn read(&mut self, chunk: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let parts: Vec<_> = self.layout.parts(chunk).collect();
        for part in parts {
            let source = &self.sources[part.file];
            let name = || shown(&source.from);
            let failed = |error| Error::Io(name(), error);
            let file = match self.open.take() {
                Some((open, file)) if open == part.file => file,
                _ => open(source)?,
            };
            match file.read_exact_at(&mut bytes[part.at..part.at + part.length], part.offset) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(Error::Changed(name()));
                }
                Err(error) => return Err(failed(error)),
            }
            // What was written while it was read would make it a mixture, so it counts only when nothing was.
            if Identity::of(&file.metadata().map_err(failed)?) != source.identity {
                return Err(Error::Changed(name()));
            }
            if part.offset + (part.length as u64) < source.identity.size {
                self.open = Some((part.file, file));
            }
        }
        Ok(())
    }

    /// The file that is being read.
    pub fn name(&self) -> String {
        let file = self.open.as_ref().map_or(0, |(file, _)| *file);
        self.sources.get(file).map_or_else(String::new, |source| shown(&source.from))
    }

    /// Whether all files are still what they were when they were found.
    pub fn check(&self) -> Result<(), Error> {
        for source in &self.sources {
            let same = std::fs::metadata(&source.from).is_ok_and(|now| Identity::of(&now) == source.identity);
            if !same {
                return Err(Error::Changed(shown(&source.from)));
            }
        }
        Ok(())
    }
}

fn open(source: &Source) -> Result<File, Error> {
    // A pipe that has taken the place of the file must not hold the program up.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(&source.from);
    let file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::Changed(shown(&source.from)),
        _ => Error::Io(shown(&source.from), error),
    })?;
    if source.identity.size >= LARGE {
        // Only advice; without it reading is a little slower.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
    }
    Ok(file)
}
