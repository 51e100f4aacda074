//! A directory that is held, and the steps below it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::part::all;
use super::{Error, plain};

/// Tries when the kernel says that somebody renamed something in the middle of a step (`EAGAIN`).
const TRIES: u32 = 64;

/// A directory, by its descriptor: it stays the same one whatever happens to its name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Directory {
    fd: Arc<OwnedFd>,
    /// For people.
    path: PathBuf,
}

/// What is at a name; a link is itself, not what it points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// Nothing.
    Nothing,
    /// A plain file with so many bytes.
    File {
        /// Its size.
        size: u64,
    },
    /// A directory.
    Directory,
    /// Something that is never opened.
    Other(&'static str),
}

impl Directory {
    /// Holds the directory that the user has named; links in that path are the user's own.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(path, flags, Mode::empty()).map_err(Error::io("open", path))?;
        Ok(Self { fd: Arc::new(fd), path: path.to_owned() })
    }

    /// The same, made where it is not there.
    pub fn open_or_make(path: &Path) -> Result<Self, Error> {
        match std::fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The last of a relative path's is the empty one, which is this directory.
                let is_missing = |above: &&Path| !above.as_os_str().is_empty() && !above.exists();
                let missing = path.ancestors().skip(1).take_while(is_missing).last().unwrap_or(path);
                let why = format!("there is no directory {}", super::shown(missing));
                Err(Error::Io { doing: "make", path: path.to_owned(), error: io::Error::other(why) })
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::Io { doing: "make", path: path.to_owned(), error })
            }
            _ => Self::open(path),
        }
    }

    /// Where `name` is, for people.
    pub fn path(&self, name: &str) -> PathBuf {
        // Without "./" in front of everything.
        if self.path == Path::new(".") { name.into() } else { self.path.join(name) }
    }

    /// Where it is itself, for people.
    pub fn location(&self) -> &Path {
        &self.path
    }

    /// A plain file below it, to be read; nothing where there is none.
    pub fn read_along(&self, path: &[String]) -> Result<Option<std::fs::File>, Error> {
        let Some((last, directories)) = path.split_last() else { return Err(Error::Name) };
        let mut here = self.clone();
        for name in directories {
            match here.look(name)? {
                There::Directory => here = here.enter(name)?,
                _ => return Ok(None),
            }
        }
        if !matches!(here.look(last)?, There::File { .. }) {
            return Ok(None);
        }
        let file =
            here.step(last, OFlags::RDONLY, Mode::empty()).map_err(Error::io("open", here.path(last)))?;
        Ok(Some(file.into()))
    }

    /// Bytes that this user can still write on its file system.
    pub fn free(&self) -> Result<u64, Error> {
        let about = fs::fstatvfs(&self.fd).map_err(Error::io("look at", &self.path))?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }

    /// Whether files can be made here, and one of this name, without leaving anything behind.
    pub fn check_writable(&self, name: &str) -> Result<(), Error> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match fs::openat(&self.fd, ".", flags, Mode::RUSR | Mode::WUSR) {
            Ok(_) => {}
            // No such files on this file system, or in this kernel.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {
                fs::accessat(&self.fd, ".", fs::Access::WRITE_OK, AtFlags::EACCESS)
                    .map_err(Error::io("write in", &self.path))?;
            }
            Err(error) => return Err(Error::io("write in", &self.path)(error)),
        }
        self.look(name).map(drop)
    }

    /// What is at `name`.
    pub fn look(&self, name: &str) -> Result<There, Error> {
        let about = match fs::statat(&self.fd, plain(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(about) => about,
            Err(Errno::NOENT) => return Ok(There::Nothing),
            Err(error) => return Err(Error::io("look at", self.path(name))(error)),
        };
        Ok(match FileType::from_raw_mode(about.st_mode) {
            FileType::RegularFile => There::File { size: u64::try_from(about.st_size).unwrap_or(0) },
            FileType::Directory => There::Directory,
            FileType::Symlink => There::Other("a symbolic link"),
            FileType::Fifo => There::Other("a named pipe"),
            FileType::Socket => There::Other("a socket"),
            _ => There::Other("a device"),
        })
    }

    /// What is at a path of several names; nothing where a directory on the way is missing.
    pub fn look_along(&self, path: &[String]) -> Result<There, Error> {
        let Some((last, directories)) = path.split_last() else { return Err(Error::Name) };
        let mut here = self.clone();
        for name in directories {
            here = match here.look(name)? {
                There::Nothing => return Ok(There::Nothing),
                There::Directory => here.enter(name)?,
                There::File { .. } => return Err(foreign(here.path(name), "a file")),
                There::Other(what) => return Err(foreign(here.path(name), what)),
            };
        }
        here.look(last)
    }

    /// The directory `name` in this one.
    pub fn enter(&self, name: &str) -> Result<Self, Error> {
        let fd = self.step(name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).map_err(|error| {
            match error {
                // A link looks like this, and so does a file.
                Errno::LOOP | Errno::NOTDIR => foreign(self.path(name), "no directory"),
                error => Error::io("open", self.path(name))(error),
            }
        })?;
        Ok(Self { fd: Arc::new(fd), path: self.path(name) })
    }

    /// The directory `name` in this one, made where it is not there, for the user alone and by the umask.
    pub fn enter_or_make(&self, name: &str) -> Result<Self, Error> {
        match fs::mkdirat(&self.fd, plain(name)?, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => self.enter(name),
            Err(error) => Err(Error::io("make", self.path(name))(error)),
        }
    }

    /// A directory that nobody else has made.
    pub(super) fn make(&self, name: &str) -> Result<Self, Error> {
        match fs::mkdirat(&self.fd, plain(name)?, Mode::RWXU) {
            Ok(()) => self.enter(name),
            Err(Errno::EXIST) => Err(Error::Exists(self.path(name))),
            Err(error) => Err(Error::io("make", self.path(name))(error)),
        }
    }

    /// The names in here that are text, in no order.
    pub(super) fn names(&self) -> Result<Vec<String>, Error> {
        let failed = || Error::io("read", &self.path);
        let entries = fs::Dir::read_from(&self.fd).map_err(failed())?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed())?;
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Removes a file; that there is none is fine.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.unlink(name, AtFlags::empty())
    }

    /// Removes an empty directory; that there is none is fine.
    pub(super) fn remove_directory(&self, name: &str) -> Result<(), Error> {
        self.unlink(name, AtFlags::REMOVEDIR)
    }

    fn unlink(&self, name: &str, flags: AtFlags) -> Result<(), Error> {
        match fs::unlinkat(&self.fd, plain(name)?, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(Error::io("remove", self.path(name))(error)),
        }
    }

    /// The names in here are on the disk.
    pub fn sync(&self) -> Result<(), Error> {
        Self::sync_all(std::slice::from_ref(self))
    }

    /// The names in all of these are on the disk.
    pub(super) fn sync_all(these: &[Self]) -> Result<(), Error> {
        let sync = |directory: &Self| match fs::fsync(&directory.fd) {
            // Some network file systems cannot, and need not.
            Err(Errno::INVAL) => Ok(()),
            other => other,
        };
        let path = these.first().map(|first| first.path.clone()).unwrap_or_default();
        all(these, sync).map_err(Error::io("write in", path))
    }

    /// Opens one name in here that is no link, and nothing outside.
    pub(in crate::files) fn step(
        &self,
        name: &str,
        flags: OFlags,
        mode: Mode,
    ) -> rustix::io::Result<OwnedFd> {
        let name = plain(name).map_err(|_| Errno::INVAL)?;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        // What makes nothing has no mode, says openat2.
        let mode = if flags.contains(OFlags::CREATE) { mode } else { Mode::empty() };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..TRIES {
            match fs::openat2(&self.fd, name, flags, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Before Linux 5.6, or forbidden by a filter of system calls. One name that is no link leads
                // nowhere else either way.
                Err(Errno::NOSYS | Errno::PERM) => return fs::openat(&self.fd, name, flags, mode),
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Something is there that is never opened.
pub(super) fn foreign(path: PathBuf, what: &'static str) -> Error {
    Error::Foreign { path, what }
}
