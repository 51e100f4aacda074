//! A file that is only appended to and that one program uses at a time: what a transfer remembers.
//!
//! What stands in it is somebody else's business. It is made with mode 0600, in directories with mode 0700, and
//! locked from [`Ledger::open`] on.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};

/// Bytes that are read of one: a chunk of a transfer takes some 30, and there are at most 2^22.
const LONGEST: u64 = 256 * 1024 * 1024;
/// After this time without a change nobody goes on with it: no server keeps an unfinished upload so long.
const FORGOTTEN: Duration = Duration::from_secs(60 * 86_400);

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
}

impl Ledger {
    /// The one at `path`, which is made where it is not there. `WouldBlock`: another program uses it.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(above)?;
        }
        loop {
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
            let mut options = OpenOptions::new();
            options.read(true).append(true).create(true).mode(0o600).custom_flags(flags);
            let file = options.open(path)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is not a file"));
            }
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            // Whoever had it may have removed it or put another one in its place.
            if is_at(&file, path)? {
                return Ok(Self { path: path.to_owned(), file });
            }
        }
    }

    /// All that is in it.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(&self.path)?;
        file.take(LONGEST + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 <= LONGEST {
            true => Ok(bytes),
            false => Err(io::Error::other("it is too long")),
        }
    }

    /// Adds to it; what a crash of the machine leaves of that is not known.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Puts `bytes` in the place of all that is in it, wholly or not at all, whatever happens.
    pub fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{:016x}", getrandom::u64().map_err(io::Error::other)?));
        let beside = self.path.with_file_name(name);
        let written = self.write_new(&beside, bytes);
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        self.file = written?;
        let above = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(above)?.sync_all()
    }

    /// It is of no more use.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    fn write_new(&self, beside: &Path, bytes: &[u8]) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create_new(true).mode(0o600).open(beside)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(beside, &self.path)?;
        Ok(file)
    }
}

/// Removes those in `directory` that nobody has used for [`FORGOTTEN`]. What cannot be removed stays.
pub fn forget_old(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let old = entry.metadata().ok().filter(Metadata::is_file).and_then(|about| about.modified().ok());
        if old.and_then(|then| then.elapsed().ok()).is_some_and(|age| age > FORGOTTEN) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let here = file.metadata()?;
    Ok(fs::symlink_metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_its_owners_and_one_programs() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b");
        let mut ledger = Ledger::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(home.path().join("a")).unwrap().mode() & 0o777, 0o700);
        assert_eq!(Ledger::open(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        ledger.append(b"one").unwrap();
        ledger.replace(b"two").unwrap();
        assert_eq!(Ledger::open(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        ledger.append(b"three").unwrap();
        assert_eq!(ledger.read().unwrap(), b"twothree");
        drop(ledger);
        Ledger::open(&path).unwrap().remove().unwrap();
        assert_eq!(fs::read_dir(home.path().join("a")).unwrap().count(), 0);
    }

    #[test]
    fn x02_links_and_directories_are_not_used() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("target");
        fs::write(&target, "x").unwrap();
        std::os::unix::fs::symlink(&target, home.path().join("link")).unwrap();
        assert!(Ledger::open(&home.path().join("link")).is_err());
        assert!(Ledger::open(home.path()).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"x");
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        for name in ["old", "new"] {
            drop(Ledger::open(&home.path().join(name)).unwrap());
        }
        let age = FORGOTTEN + Duration::from_secs(60);
        let then = std::time::SystemTime::UNIX_EPOCH + Duration::from_micros(crate::time::wall()) - age;
        File::options().write(true).open(home.path().join("old")).unwrap().set_modified(then).unwrap();
        forget_old(home.path());
        assert!(home.path().join("new").exists() && !home.path().join("old").exists());
    }
}
