//! What is not whole yet.
//!
//! A single file is `NAME.part`; of several, `NAME.part` is a directory that has each under its number in the
//! manifest, so that no name that a peer has chosen exists before all is whole, and none can collide with
//! what a part needs for itself.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{self, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::directory::foreign;
use super::{Directory, Error, JOURNAL, NAME, PART, There, plain};

/// Files of a tree that stay open; more are opened again when they are needed.
const OPEN: usize = 8;
/// Threads that wait for the disk where many files are to be made safe: file systems do several at once in the
/// time of one.
const SYNCING: usize = 16;
/// Files that may wait to be made safe; each of them is open.
const UNSYNCED: usize = 256;

/// A locked part. What is in it stays when this is dropped.
#[derive(Debug)]
pub struct Part {
    pub(super) parent: Directory,
    /// The name that it will have.
    pub(super) name: String,
    /// The name that it has.
    pub(super) part: String,
    pub(super) body: Body,
}

/// What a part is made of.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// One file.
    Single(Arc<File>),
    /// A directory of numbered ones.
    Tree(Directory),
}

/// The bytes of a part, for one thread; each has its own.
#[derive(Debug)]
pub struct Stage {
    body: Body,
    /// Where it is, for people.
    path: PathBuf,
    /// The last used at the back.
    open: VecDeque<(u32, Arc<File>)>,
    unsynced: Unsynced,
}

/// What was written and is not known to be on the disk.
#[derive(Debug, Default)]
pub struct Unsynced {
    files: Vec<Arc<File>>,
    /// The directory with new names in it.
    directory: Option<Directory>,
    path: PathBuf,
}

impl Part {
    /// A new part of `name` in `parent`; [`Error::Exists`] where there is one.
    pub fn create(parent: &Directory, name: &str, tree: bool) -> Result<Self, Error> {
        let part = part_name(plain(name)?);
        let body = if tree {
            Body::Tree(parent.make(&part)?)
        } else {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
            let fd = parent.step(&part, flags, Mode::RUSR | Mode::WUSR).map_err(|error| match error {
                Errno::EXIST => Error::Exists(parent.path(&part)),
                error => Error::io("make", parent.path(&part))(error),
            })?;
            Body::Single(Arc::new(File::from(fd)))
        };
        let made = Self { parent: parent.clone(), name: name.to_owned(), part, body };
        made.lock()?;
        // The name must outlive a power cut, or what is written under it would be lost with it.
        parent.sync()?;
        Ok(made)
    }

    /// The part of `name` that is there; nothing where there is none. [`Error::Busy`] while another program
    /// has it, [`Error::Foreign`] where it is something that this module would not have made.
    pub fn open(parent: &Directory, name: &str, tree: bool) -> Result<Option<Self>, Error> {
        let part = part_name(plain(name)?);
        let path = parent.path(&part);
        let body = match (parent.look(&part)?, tree) {
            (There::Nothing, _) => return Ok(None),
            (There::Directory, true) => Body::Tree(parent.enter(&part)?),
            (There::File { .. }, false) => {
                let file = parent.step(&part, OFlags::RDWR, Mode::empty()).map(File::from);
                let file = file.map_err(|error| match error {
                    Errno::LOOP => foreign(path.clone(), "a symbolic link"),
                    error => Error::io("open", &path)(error),
                })?;
                own(&file, &path)?;
                Body::Single(Arc::new(file))
            }
            (There::File { .. }, true) => return Err(foreign(path, "a file")),
            (There::Directory, false) => return Err(foreign(path, "a directory")),
            (There::Other(what), _) => return Err(foreign(path, what)),
        };
        let found = Self { parent: parent.clone(), name: name.to_owned(), part, body };
        found.lock()?;
        Ok(Some(found))
    }

    /// Nobody else writes to it as long as this lives; where the file system knows no locks, nobody is told.
    fn lock(&self) -> Result<(), Error> {
        let path = self.path();
        let locked = match &self.body {
            Body::Single(file) => fs::flock(file, FlockOperation::NonBlockingLockExclusive),
            Body::Tree(directory) => fs::flock(directory, FlockOperation::NonBlockingLockExclusive),
        };
        match locked {
            Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(Errno::WOULDBLOCK) => return Err(Error::Busy(path)),
            Err(error) => return Err(Error::io("lock", path)(error)),
        }
        // Whoever had it until now may have finished it, and the name may be somebody else's.
        let failed = |error| Error::io("look at", self.path())(error);
        let held = match &self.body {
            Body::Single(file) => fs::fstat(file),
            Body::Tree(directory) => fs::fstat(directory),
        };
        let held = held.map_err(failed)?;
        let flags = fs::AtFlags::SYMLINK_NOFOLLOW;
        match fs::statat(&self.parent, self.part.as_str(), flags) {
            Ok(there) if (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino) => Ok(()),
            Ok(_) | Err(Errno::NOENT) => Err(Error::Busy(path)),
            Err(error) => Err(failed(error)),
        }
    }

    /// The name that it will have.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is now, for people.
    pub fn path(&self) -> PathBuf {
        self.parent.path(&self.part)
    }

    /// The directory that it is in.
    pub fn parent(&self) -> &Directory {
        &self.parent
    }

    /// The name of its journal, in the same directory.
    pub fn journal(&self) -> String {
        format!("{}{JOURNAL}", self.part)
    }

    /// What the part of `name` is called.
    pub fn called(name: &str) -> String {
        part_name(name)
    }

    /// The name of the journal of the part of `name`.
    pub fn journal_of(name: &str) -> String {
        format!("{}{JOURNAL}", part_name(name))
    }

    /// When its file was last touched, in seconds and nanoseconds by the system's clock; nothing for a tree. No
    /// program can set that time, unlike that of the last change.
    pub fn touched(&self) -> Option<(i64, i64)> {
        let Body::Single(file) = &self.body else { return None };
        file.metadata().ok().map(|about| (about.ctime(), about.ctime_nsec()))
    }

    /// Its bytes, for one thread.
    pub fn stage(&self) -> Stage {
        Stage {
            body: self.body.clone(),
            path: self.path(),
            open: VecDeque::new(),
            unsynced: Unsynced { path: self.path(), ..Unsynced::default() },
        }
    }

    /// Whether nothing is in it but what this module puts there.
    pub fn is_its_own(&self) -> Result<bool, Error> {
        let Body::Tree(directory) = &self.body else { return Ok(true) };
        for name in directory.names()? {
            let number = name.bytes().all(|byte| byte.is_ascii_digit());
            let known = number || super::place::is_about_placing(&name);
            if !known || !matches!(directory.look(&name)?, There::File { .. }) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes it.
    pub fn discard(self) -> Result<(), Error> {
        match &self.body {
            Body::Single(_) => self.parent.remove(&self.part),
            Body::Tree(directory) => {
                for name in directory.names()? {
                    directory.remove(&name)?;
                }
                self.parent.remove_directory(&self.part)
            }
        }
    }
}

impl Stage {
    /// Writes into file number `file`, which is made where it is not there.
    pub fn write(&mut self, file: u32, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let open = self.file(file, true)?;
        let written = open.write_all_at(bytes, at);
        self.unsynced.add(open);
        written.map_err(|error| Error::Io { doing: "write to", path: self.path.clone(), error })
    }

    /// Reads out of file number `file` until `buffer` is full or the file ends; how much there was. A file
    /// that is not there has no bytes.
    pub fn read(&mut self, file: u32, at: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let failed = |path: &PathBuf, error| Error::Io { doing: "read", path: path.clone(), error };
        let open = match self.file(file, false) {
            Ok(open) => open,
            Err(Error::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut count = 0;
        while count < buffer.len() {
            match open.read_at(&mut buffer[count..], at + count as u64) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&self.path, error)),
            }
        }
        Ok(count)
    }

    /// File number `file` ends here: what was behind is not ours.
    pub fn end(&mut self, file: u32, size: u64) -> Result<(), Error> {
        let open = self.file(file, true)?;
        let path = &self.path;
        let failed = |error| Error::Io { doing: "write to", path: path.clone(), error };
        let there = open.metadata().map_err(failed)?.len();
        if there > size {
            open.set_len(size).map_err(failed)?;
        }
        if there > size || there == 0 {
            self.unsynced.add(open);
        }
        Ok(())
    }

    /// What was written since the last time.
    pub fn unsynced(&self) -> &Unsynced {
        &self.unsynced
    }

    /// Takes what was written since the last time, for whoever makes it safe.
    pub fn take_unsynced(&mut self) -> Unsynced {
        let fresh = Unsynced { path: self.path.clone(), ..Unsynced::default() };
        std::mem::replace(&mut self.unsynced, fresh)
    }

    fn file(&mut self, number: u32, make: bool) -> Result<Arc<File>, Error> {
        let directory = match &self.body {
            Body::Single(file) => return Ok(Arc::clone(file)),
            Body::Tree(directory) => directory,
        };
        if let Some(at) = self.open.iter().position(|(known, _)| *known == number) {
            let found = self.open.remove(at).expect("the position was found just now");
            let file = Arc::clone(&found.1);
            self.open.push_back(found);
            return Ok(file);
        }
        let name = number.to_string();
        let path = directory.path(&name);
        let flags = if make { OFlags::RDWR | OFlags::CREATE } else { OFlags::RDWR };
        let file = directory.step(&name, flags, Mode::RUSR | Mode::WUSR).map_err(|error| match error {
            Errno::LOOP => foreign(path.clone(), "a symbolic link"),
            error => Error::io("open", &path)(error),
        })?;
        let file = Arc::new(File::from(file));
        own(&file, &path)?;
        if make {
            self.unsynced.directory = Some(directory.clone());
        }
        if self.open.len() == OPEN {
            self.open.pop_front();
        }
        self.open.push_back((number, Arc::clone(&file)));
        Ok(file)
    }
}

impl Unsynced {
    /// Makes it safe. After an error none of it is: the kernel forgets what it could not write, so another
    /// try that succeeds would prove nothing.
    pub fn sync(&self) -> Result<(), Error> {
        let files: Vec<&File> = self.files.iter().map(AsRef::as_ref).collect();
        all(&files, |file| fs::fdatasync(file)).map_err(Error::io("write to", &self.path))?;
        self.directory.as_ref().map_or(Ok(()), Directory::sync)
    }

    /// Adds what `other` is about.
    pub fn join(&mut self, other: Self) {
        if other.is_empty() {
            return;
        }
        other.files.into_iter().for_each(|file| self.add(file));
        self.directory = other.directory.or(self.directory.take());
        self.path = other.path;
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.directory.is_none()
    }

    /// Whether it is about so many files that it should be made safe before more are written.
    pub fn is_much(&self) -> bool {
        self.files.len() >= UNSYNCED
    }

    fn add(&mut self, file: Arc<File>) {
        // Those that were written last are the likely ones.
        if !self.files.iter().rev().any(|known| Arc::ptr_eq(known, &file)) {
            self.files.push(file);
        }
    }
}

/// Does something that waits for the disk with all of these; the first error.
pub(super) fn all<T: Sync>(
    these: &[T],
    wait: impl Fn(&T) -> rustix::io::Result<()> + Sync,
) -> rustix::io::Result<()> {
    let threads = these.len().min(SYNCING);
    if threads <= 1 {
        return these.iter().try_for_each(wait);
    }
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(this) = these.get(next.fetch_add(1, Ordering::Relaxed)) {
            wait(this)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = threads.into_iter().map(|thread| thread.join().unwrap_or(Err(Errno::IO)));
        others.fold(own, Result::and)
    })
}

/// Refuses to write into what others see under another name, or into what is not the user's.
fn own(file: &File, path: &std::path::Path) -> Result<(), Error> {
    let about = file.metadata().map_err(|error| Error::Io { doing: "look at", path: path.into(), error })?;
    if !about.is_file() {
        return Err(foreign(path.into(), "no plain file"));
    }
    if about.nlink() > 1 {
        return Err(foreign(path.into(), "a file with several names (hard links)"));
    }
    if about.uid() != rustix::process::geteuid().as_raw() {
        return Err(foreign(path.into(), "a file of another user"));
    }
    Ok(())
}

/// The name of what will be `name`; short enough for a journal's name beside it.
fn part_name(name: &str) -> String {
    let room = NAME - PART.len() - JOURNAL.len() - ".new".len();
    if name.len() <= room {
        return format!("{name}{PART}");
    }
    let sum = crate::id::hex(&crate::wire::checksum(name.as_bytes())[..4]);
    let mut keep = room - sum.len() - 1;
    while !name.is_char_boundary(keep) {
        keep -= 1;
    }
    format!("{}~{sum}{PART}", &name[..keep])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f13_the_longest_names_have_a_part_and_a_journal_of_their_own() {
        let long = "é".repeat(127);
        let part = part_name(&long);
        assert!(part.len() + JOURNAL.len() <= NAME && part.ends_with(PART));
        assert_ne!(part, part_name(&format!("{long}x")));
        assert_eq!(part_name("a.zip"), "a.zip.part");
    }
}
