//! What is sent: paths that a user named, as a list of files whose identities are known.
//!
//! - A path that is named is followed where it is a link. Inside a directory links are not followed, and
//!   neither they nor pipes, sockets and devices are sent; they are told ([`Found::left_out`]).
//! - What cannot be read, and a name that is not UTF-8, is an error before anything is sent: a copy that
//!   silently lacks something is none.
//! - The order is that of the names, so that the same files give the same list in every run.
//! - The identity of a file is what the file system says of it: device, inode, size, and when it was
//!   written and changed. A file that has another identity than when it was found is another file.
//!
//! At most [`limits::ENTRIES`] files and directories are looked at for sending.

mod read;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use md5::{Digest, Md5};
use rustix::fs::{Access, AtFlags, CWD, OFlags, accessat};
use walkdir::{DirEntry, WalkDir};

pub use self::read::{Error as ReadError, Reader};
use crate::{limits, text};

/// Files that are named one by one in a message; more are counted.
const NAMED: usize = 5;
/// Why something is left out that was asked to be.
pub const EXCLUDED: &str = "excluded";
/// Directories that are looked into.
const DIRECTORIES: usize = 10 * limits::ENTRIES;
/// Things that are not sent and are kept by name; more are counted.
const LEFT_OUT: usize = 1_000;

/// What tells a file from every other, and from itself at another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    /// Bytes.
    pub size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// That of the file that `about` describes.
    pub fn of(about: &Metadata) -> Self {
        Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.len(),
            written: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }

    /// One number for all of `files`, in order.
    pub fn digest<'a>(files: impl IntoIterator<Item = &'a Self>) -> [u8; 16] {
        let mut sum = Md5::new();
        for file in files {
            for number in [file.device, file.inode, file.size] {
                sum.update(number.to_be_bytes());
            }
            for number in [file.written.0, file.written.1, file.changed.0, file.changed.1] {
                sum.update(number.to_be_bytes());
            }
        }
        sum.finalize().into()
    }
}

/// A file or an empty directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The names under which it is sent.
    pub path: Vec<String>,
    /// Where it is.
    pub from: PathBuf,
    /// Which it is.
    pub identity: Identity,
    /// When it was written, in seconds since 1970.
    pub mtime: i64,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Files, in the order in which they are sent.
    pub files: Vec<Source>,
    /// Directories that nothing is in.
    pub directories: Vec<Source>,
    /// What is not sent, and why.
    pub left_out: Vec<(PathBuf, &'static str)>,
    /// How much more is not sent.
    pub left_out_more: usize,
}

impl Found {
    /// For people: that some of it is hidden, which receivers do not take unless they say so; nothing where none is.
    pub fn hidden(&self) -> Option<String> {
        let all = self.files.iter().chain(&self.directories);
        let mut hidden = all.filter(|source| source.path.iter().any(|name| name.starts_with('.')));
        let first = text::scrub(&hidden.next()?.path.join("/"), limits::SENTENCE);
        Some(match hidden.count() {
            0 => format!("{first} is hidden: conf-recv leaves it out unless --allow-hidden is given"),
            more => format!(
                "{} of what is sent is hidden, such as {first}: conf-recv leaves it out unless --allow-hidden is given",
                more + 1
            ),
        })
    }
}

/// Why paths cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Some cannot be read.
    #[error("cannot read {}{}", listed(.0, *.1), way_out(.0))]
    Unreadable(Vec<(PathBuf, io::Error)>, usize),
    /// A path that was named is neither file nor directory.
    #[error("{} is {what}, not a file{hint}", shown(.path))]
    Special {
        /// Which.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// What to type instead.
        hint: String,
    },
    /// Nothing is in it by its size, and something comes out of it.
    #[error(
        "{} says that it is empty, but something comes out of it, as of files that the system makes as they are read; \
         type: {way}", shown(.path)
    )]
    Sizeless {
        /// Which.
        path: PathBuf,
        /// The command that sends it.
        way: String,
    },
    /// Names that cannot be told to others.
    #[error("{} is a name that is not UTF-8, which others could not read; rename it, or leave it out with --exclude", shown(.0))]
    NotText(PathBuf),
    /// A path without a name of its own.
    #[error("{} has no name under which it could be sent; name what is in it", shown(.0))]
    Nameless(PathBuf),
    /// Two that would have one name.
    #[error("{} and {} would have the same name for those who receive them; send them one after the other", shown(.0), shown(.1))]
    Same(PathBuf, PathBuf),
    /// Too many for one offer.
    #[error("there are more than {max} files and directories; send an archive: tar c PATH | conf-send --stdin-name NAME.tar", max = limits::ENTRIES)]
    TooMany,
    /// Nothing is left.
    #[error("there is nothing to send: everything is left out")]
    Nothing,
}

/// What is left out: `pattern` is a glob over names (`*.o`, `target`), or with a slash in it over paths as they
/// are sent (`src/*/target`). A directory that matches is left out with everything in it.
pub fn excluded(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let plain = pattern.trim_end_matches('/').trim_start_matches("./");
        let anywhere = format!("**/{plain}");
        let pattern = if plain.contains('/') { plain } else { anywhere.as_str() };
        set.add(GlobBuilder::new(pattern).literal_separator(true).build()?);
    }
    set.build()
}

/// Looks at everything that `paths` name.
pub fn find(paths: &[PathBuf], exclude: &GlobSet) -> Result<Found, Error> {
    let mut search = Search {
        exclude,
        found: Found::default(),
        taken: HashSet::new(),
        unreadable: Vec::new(),
        unreadable_more: 0,
    };
    let mut tops: Vec<(String, &PathBuf)> = Vec::new();
    for path in paths {
        let name = name(path)?;
        if let Some((_, other)) = tops.iter().find(|(there, _)| *there == name) {
            return Err(Error::Same((*other).clone(), path.clone()));
        }
        search.add(path, &name)?;
        tops.push((name, path));
    }
    if !search.unreadable.is_empty() {
        return Err(Error::Unreadable(search.unreadable, search.unreadable_more));
    }
    let Search { mut found, taken, .. } = search;
    found.directories.retain(|directory| !taken.contains(&directory.path));
    match found.files.len() + found.directories.len() {
        0 => Err(Error::Nothing),
        1..=limits::ENTRIES => Ok(found),
        _ => Err(Error::TooMany),
    }
}

struct Search<'a> {
    exclude: &'a GlobSet,
    found: Found,
    /// Directories that something is in.
    taken: HashSet<Vec<String>>,
    unreadable: Vec<(PathBuf, io::Error)>,
    unreadable_more: usize,
}

impl Search<'_> {
    /// Takes in one path that was named.
    fn add(&mut self, path: &Path, name: &str) -> Result<(), Error> {
        let about = match fs::metadata(path) {
            Ok(about) => about,
            Err(error) => {
                self.cannot_read(path, error);
                return Ok(());
            }
        };
        if about.is_dir() {
            return self.walk(path, name);
        }
        if let Some(what) = special(&about) {
            let hint = match about.file_type().is_fifo() || about.file_type().is_char_device() {
                true => format!("; what comes out of it is sent by: {}", as_a_pipe(name, path)),
                false => String::new(),
            };
            return Err(Error::Special { path: path.to_owned(), what, hint });
        }
        if self.exclude.is_match(name) {
            self.leave_out(path, EXCLUDED);
            return Ok(());
        }
        self.file(vec![name.to_owned()], path.to_owned(), &about, true)
    }

    fn walk(&mut self, root: &Path, name: &str) -> Result<(), Error> {
        let mut walk = WalkDir::new(root).sort_by_file_name().into_iter();
        while let Some(entry) = walk.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(root).to_owned();
                    self.cannot_read(&path, error.into());
                    continue;
                }
            };
            let below = entry.path().strip_prefix(root).unwrap_or(Path::new(""));
            // With nothing behind it the joined path would end with a slash.
            let sent: PathBuf =
                [Path::new(name), below].iter().filter(|part| !part.as_os_str().is_empty()).collect();
            if self.exclude.is_match_candidate(&Candidate::new(&sent)) {
                self.leave_out(entry.path(), EXCLUDED);
                if entry.file_type().is_dir() {
                    walk.skip_current_dir();
                }
                continue;
            }
            self.entry(&entry, &sent)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, sent: &Path) -> Result<(), Error> {
        let text = |name: &OsStr| name.to_str().map(str::to_owned);
        let names: Option<Vec<String>> = sent.iter().map(text).collect();
        let names = names.ok_or_else(|| Error::NotText(entry.path().to_owned()))?;
        let kind = entry.file_type();
        if kind.is_symlink() && entry.depth() > 0 {
            self.leave_out(entry.path(), "a link");
            return Ok(());
        }
        // Of the directory that was named itself, what it leads to counts.
        let about = match entry.depth() {
            0 => fs::metadata(entry.path()),
            _ => entry.metadata().map_err(Into::into),
        };
        let about = match about {
            Ok(about) => about,
            Err(error) => {
                self.cannot_read(entry.path(), error);
                return Ok(());
            }
        };
        if about.is_dir() {
            self.room()?;
            self.holds(&names);
            let from = entry.path().to_owned();
            let identity = Identity::of(&about);
            self.found.directories.push(Source { path: names, from, identity, mtime: about.mtime() });
            return Ok(());
        }
        match special(&about) {
            Some(what) => self.leave_out(entry.path(), what),
            None => self.file(names, entry.path().to_owned(), &about, false)?,
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: Vec<String>,
        from: PathBuf,
        about: &Metadata,
        from_user: bool,
    ) -> Result<(), Error> {
        self.room()?;
        if let Err(error) = accessat(CWD, &from, Access::READ_OK, AtFlags::EACCESS) {
            self.cannot_read(&from, error.into());
            return Ok(());
        }
        if about.len() == 0 && has_bytes(&from) {
            // Its size would be promised to the receivers.
            if from_user {
                let name = path.last().map_or("NAME", String::as_str);
                let way = as_a_pipe(name, &from);
                return Err(Error::Sizeless { path: from, way });
            }
            self.leave_out(&from, "it says that it is empty, and is not");
            return Ok(());
        }
        self.holds(&path);
        self.found.files.push(Source { path, from, identity: Identity::of(about), mtime: about.mtime() });
        Ok(())
    }

    /// The directory above `path` is not empty.
    fn holds(&mut self, path: &[String]) {
        if let Some((_, above)) = path.split_last()
            && !self.taken.contains(above)
        {
            self.taken.insert(above.to_vec());
        }
    }

    fn room(&self) -> Result<(), Error> {
        // Directories that something is in do not count in the end, but the search has to end too.
        let many = self.found.files.len() >= limits::ENTRIES || self.found.directories.len() >= DIRECTORIES;
        if many { Err(Error::TooMany) } else { Ok(()) }
    }

    fn leave_out(&mut self, path: &Path, why: &'static str) {
        match self.found.left_out.len() {
            0..LEFT_OUT => self.found.left_out.push((path.to_owned(), why)),
            _ => self.found.left_out_more += 1,
        }
    }

    fn cannot_read(&mut self, path: &Path, error: io::Error) {
        match self.unreadable.len() {
            0..NAMED => self.unreadable.push((path.to_owned(), error)),
            _ => self.unreadable_more += 1,
        }
    }
}

/// The name under which what is at `path` is sent: its last one, also of `.` and `..`.
fn name(path: &Path) -> Result<String, Error> {
    let nameless = || Error::Nameless(path.to_owned());
    let last = match path.components().next_back() {
        Some(std::path::Component::Normal(last)) => last.to_owned(),
        Some(_) => {
            let whole = path.canonicalize().map_err(|e| Error::Unreadable(vec![(path.to_owned(), e)], 0))?;
            whole.file_name().ok_or_else(nameless)?.to_owned()
        }
        None => return Err(nameless()),
    };
    last.into_string().map_err(|_| Error::NotText(path.to_owned()))
}

/// Whether something comes out of a file that says that it has no bytes, as those of /proc do.
fn has_bytes(path: &Path) -> bool {
    let mut options = fs::OpenOptions::new();
    let open = options.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path);
    open.and_then(|mut file| file.read(&mut [0])).is_ok_and(|count| count > 0)
}

/// The command that sends what comes out of `path`.
fn as_a_pipe(name: &str, path: &Path) -> String {
    format!(
        "conf-send --stdin-name {} < {}",
        text::quoted(&text::scrub(name, limits::COMPONENT)),
        text::quoted(&shown(path))
    )
}

/// What it is, where it is neither file nor directory.
fn special(about: &Metadata) -> Option<&'static str> {
    let kind = about.file_type();
    match () {
        () if kind.is_file() => None,
        () if kind.is_fifo() => Some("a pipe"),
        () if kind.is_socket() => Some("a socket"),
        () if kind.is_char_device() || kind.is_block_device() => Some("a device"),
        () => Some("something else"),
    }
}

/// What to type where something that is there cannot be read.
fn way_out(unreadable: &[(PathBuf, io::Error)]) -> &'static str {
    match unreadable.iter().all(|(_, error)| error.kind() == io::ErrorKind::PermissionDenied) {
        true => "; to send the rest, leave it out with --exclude",
        false => "",
    }
}

fn listed(unreadable: &[(PathBuf, io::Error)], more: usize) -> String {
    let named = unreadable.iter().map(|(path, error)| format!("{}: {error}", shown(path)));
    let mut text: Vec<String> = named.collect();
    if more > 0 {
        text.push(format!("and {more} more"));
    }
    text.join("; ")
}

/// `path` for a message: nothing in it does anything to a terminal.
pub fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    match path.to_str() {
        Some(path) => text::scrub(path, limits::SENTENCE),
        None => text::for_log(path.as_os_str().as_bytes(), limits::SENTENCE),
    }
}

#[cfg(test)]
mod tests;
