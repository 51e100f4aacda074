//! The file of a journal: written at its end, read as a whole, replaced in one step.
//!
//! What is in it is somebody else's business ([`transfer`](crate::transfer)); what was written and not
//! synced may be torn after a power cut, and whoever reads it expects that.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::sink::{Directory, Error};

/// Longest journal that is read: that of an offer with the most chunks there can be.
const MOST: u64 = 512 << 20;

/// An open journal.
#[derive(Debug)]
pub struct JournalFile {
    directory: Directory,
    name: String,
    file: File,
}

impl JournalFile {
    /// Begins a journal, in the place of one that is there.
    pub fn create(directory: &Directory, name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let file = fresh(directory, name, bytes)?;
        Ok(Self { directory: directory.clone(), name: name.to_owned(), file })
    }

    /// The journal that is there, and what is in it; nothing where there is none, or where it is no plain file of this
    /// user.
    pub fn open(directory: &Directory, name: &str) -> Result<Option<(Self, Vec<u8>)>, Error> {
        let failed = |error| Error::Io { doing: "read", path: directory.path(name), error };
        let mut file = match directory.step(name, OFlags::RDWR, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() || about.nlink() > 1 || about.len() > MOST {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(about.len() as usize);
        file.read_to_end(&mut bytes).map_err(failed)?;
        let journal = Self { directory: directory.clone(), name: name.to_owned(), file };
        Ok(Some((journal, bytes)))
    }

    /// Writes at its end. It is on the disk after [`Self::sync`]; what is lost before that costs no more than fetching
    /// what it speaks of again.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.seek(SeekFrom::End(0)).and_then(|_| self.file.write_all(bytes));
        written.map_err(|error| self.failed(error))
    }

    /// It is on the disk.
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|error| self.failed(error))
    }

    /// What is behind so many bytes is no good.
    pub fn cut(&mut self, length: u64) -> Result<(), Error> {
        self.file.set_len(length).map_err(|error| self.failed(error))
    }

    /// Says the same in fewer words, in one step.
    pub fn replace(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file = fresh(&self.directory, &self.name, bytes)?;
        Ok(())
    }

    /// When it was last written to, in seconds and nanoseconds by the system's clock.
    pub fn touched(&self) -> Option<(i64, i64)> {
        self.file.metadata().ok().map(|about| (about.ctime(), about.ctime_nsec()))
    }

    /// It is not needed any more.
    pub fn remove(self) -> Result<(), Error> {
        self.directory.remove(&self.name)
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::Io { doing: "write to", path: self.directory.path(&self.name), error }
    }
}

/// A new file under a name that never shows a part of it.
fn fresh(directory: &Directory, name: &str, bytes: &[u8]) -> Result<File, Error> {
    let new = format!("{name}{NEW}");
    directory.remove(&new)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    let failed = |error: io::Error| Error::Io { doing: "write to", path: directory.path(&new), error };
    let mut file =
        directory.step(&new, flags, Mode::RUSR | Mode::WUSR).map(File::from).map_err(|e| failed(e.into()))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    rustix::fs::renameat(directory, &new, directory, name).map_err(|error| failed(error.into()))?;
    directory.sync()?;
    Ok(file)
}

/// Behind the name of one that is being written.
const NEW: &str = ".new";
