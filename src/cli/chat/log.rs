//! `--log`: what is seen, appended to a file that only its owner reads.
//!
//! A file that was moved away or removed is begun anew under its name, as programs that rotate logs expect.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::cli::{Exit, Failure};

/// See the module.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// Why writing fails at present.
    failing: Option<io::Error>,
}

impl Log {
    /// The file, which is made where it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let file = open(path).map_err(|error| {
            Failure::new(Exit::File, format!("cannot write to {}: {error}", path.display()))
        })?;
        Ok(Self { path: path.to_owned(), file, failing: None })
    }

    /// Appends whole lines. A file that cannot be written to is told once, and tried again.
    pub(super) fn append(&mut self, lines: &str) {
        match self.write(lines) {
            Ok(()) => self.failing = None,
            Err(error) if self.failing.is_some() => drop(error),
            Err(error) => {
                tracing::warn!("cannot write to {}: {error}; what is said is not in it", self.path.display());
                self.failing = Some(error);
            }
        }
    }

    fn write(&mut self, lines: &str) -> io::Result<()> {
        let here = self.file.metadata()?;
        let there = std::fs::metadata(&self.path);
        if !there.is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino())) {
            self.file = open(&self.path)?;
        }
        self.file.write_all(lines.as_bytes())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t14_the_log_is_for_its_owner_only_and_goes_on_where_it_was() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("chat.log");
        Log::open(&path).unwrap().append("one\n");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let mut log = Log::open(&path).unwrap();
        log.append("two\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        std::fs::rename(&path, home.path().join("chat.log.1")).unwrap();
        log.append("three\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(Log::open(home.path()).unwrap_err().exit, Exit::File);
    }
}
