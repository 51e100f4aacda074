//! The one way to stdout, or to a file instead of it.
//!
//! Unbuffered: what is written is out. A reader that goes away ends the program in peace: the error
//! that a write then returns is known to [`super::run`].

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use super::{Exit, Failure};

/// Where a program writes what it produces.
#[derive(Debug)]
pub struct Output {
    file: File,
    stdout: bool,
}

/// What goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// May be shown on a terminal.
    Text,
    /// May not, unless `force` is set.
    Binary {
        /// Write to a terminal all the same.
        force: bool,
    },
}

impl Output {
    /// Stdout for `None` and `-`, else the file, which is made or replaced.
    pub fn open(path: Option<&Path>, content: Content) -> Result<Self, Failure> {
        match path.filter(|path| *path != Path::new("-")) {
            Some(path) => {
                let file = File::create(path).map_err(|error| {
                    Failure::new(Exit::File, format!("cannot write to {}: {error}", path.display()))
                })?;
                Ok(Self { file, stdout: false })
            }
            None if content == (Content::Binary { force: false }) && io::stdout().is_terminal() => {
                Err(Failure::usage(
                    "this writes binary data, which a terminal cannot show; send it through a pipe, \
                     name a file with -o FILE, or insist with --force",
                ))
            }
            None => stdout().map_err(|error| Failure::new(Exit::File, format!("no stdout: {error}"))),
        }
    }

    /// Whether it is stdout.
    pub fn is_stdout(&self) -> bool {
        self.stdout
    }

    /// The file behind it, for pipes and polling.
    pub fn as_file(&self) -> &File {
        &self.file
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => reader_gone(),
            // Nothing is lost by these: the writer tries again.
            io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => error,
            kind => io::Error::new(kind, Lost { stdout: self.stdout, cause: error }),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Stdout, for text.
pub fn stdout() -> io::Result<Output> {
    // A descriptor of its own, because the standard library's stdout buffers by lines.
    let file = File::from(rustix::io::dup(io::stdout())?);
    Ok(Output { file, stdout: true })
}

/// The error of a write whose reader has gone, for writers other than [`Output`].
pub fn reader_gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, ReaderGone)
}

/// Whether an error means that the reader of stdout has gone.
pub fn is_reader_gone(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<ReaderGone>())
}

/// Whether an error means that what goes out cannot be written where it goes.
pub fn is_lost(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<Lost>())
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write to {}: {cause}", if *.stdout { "stdout" } else { "the file of -o" })]
struct Lost {
    stdout: bool,
    cause: io::Error,
}

#[derive(Debug, thiserror::Error)]
#[error("the reader has gone")]
struct ReaderGone;
