//! From a part to the final names.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::directory::foreign;
use super::part::Body;
use super::{Directory, Error, Part, There};

/// What happens to a file that has the final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the new one is not put in its place.
    Keep,
    /// The new one takes its place in one step, if it is a plain file.
    Replace,
}

/// One entry of a tree.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// Its number in the manifest, which is its name in the part.
    pub number: u32,
    /// Where it goes, as plain components.
    pub path: &'a [String],
    /// Whether it is a directory.
    pub directory: bool,
    /// When it was last changed, in seconds since 1970, as the sender says.
    pub mtime: Option<i64>,
}

/// In a part of a tree: everything is whole, and files may be missing because they are in their places.
const PLACING: &str = "placing";
/// Behind that while it is written.
const NEW: &str = ".new";
/// Bytes that are read of it: more than a name for each entry of the largest manifest.
const PLACING_MOST: u64 = 16 << 20;
/// Directories that are held until they are made safe together.
const SYNCED: usize = 64;
/// Looks at a name that comes and goes.
const TRIES: u32 = 64;

impl Part {
    /// Gives a single file its final name; where it is now. On [`Error::Exists`] it is still a part and may be
    /// tried under another name.
    ///
    /// `now` is the wall clock in seconds since 1970: no file is from the future.
    pub fn place(
        &self,
        name: &str,
        mtime: Option<i64>,
        existing: Existing,
        now: i64,
    ) -> Result<PathBuf, Error> {
        let Body::Single(file) = &self.body else { return Err(Error::Name) };
        super::plain(name)?;
        let failed = |error| Error::io("write to", self.path())(error);
        if let Some(mtime) = mtime {
            // A file system without times is no reason to fail.
            let _ = fs::futimens(file, &times(mtime, now));
        }
        fs::fsync(file).map_err(failed)?;
        move_to(&self.parent, &self.part, &self.parent, name, existing)?;
        self.parent.sync()?;
        Ok(self.parent.path(name))
    }

    /// Says that all of a tree is whole and on the disk, before the first file leaves it; `how` is for
    /// whoever goes on with it.
    pub fn begin_placing(&self, how: &[u8]) -> Result<(), Error> {
        let Body::Tree(stage) = &self.body else { return Err(Error::Name) };
        let fresh = format!("{PLACING}{NEW}");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let file = stage.step(&fresh, flags, Mode::RUSR | Mode::WUSR);
        let file = File::from(file.map_err(Error::io("make", stage.path(&fresh)))?);
        let failed = |error| Error::Io { doing: "write to", path: stage.path(&fresh), error };
        file.write_all_at(how, 0).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::renameat(stage, &fresh, stage, PLACING).map_err(Error::io("make", stage.path(PLACING)))?;
        stage.sync()
    }

    /// What was said with [`Self::begin_placing`], by this program or by one before it.
    pub fn placing(&self) -> Result<Option<Vec<u8>>, Error> {
        let Body::Tree(stage) = &self.body else { return Ok(None) };
        let file = match stage.step(PLACING, OFlags::RDONLY, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(Error::io("open", stage.path(PLACING))(error)),
        };
        let mut how = Vec::new();
        file.take(PLACING_MOST).read_to_end(&mut how).map_err(|error| Error::Io {
            doing: "read",
            path: stage.path(PLACING),
            error,
        })?;
        Ok(Some(how))
    }

    /// Whether an entry of a tree is still here.
    pub fn holds(&self, number: u32) -> Result<bool, Error> {
        match &self.body {
            Body::Single(_) => Ok(true),
            Body::Tree(stage) => Ok(stage.look(&number.to_string())? != There::Nothing),
        }
    }

    /// Gives the entries of a tree their final names, below `root`, and removes the part. An entry that is not in
    /// the part any more is in its place already.
    ///
    /// Must have begun with [`Self::begin_placing`]. After an error it can be done again.
    pub fn place_tree<'a>(
        self,
        root: &Directory,
        items: impl Iterator<Item = Item<'a>>,
        existing: impl Fn(u32) -> Existing,
        now: i64,
    ) -> Result<(), Error> {
        let Body::Tree(stage) = &self.body else { return Err(Error::Name) };
        // The way to the last entry: most have their directory in common with the one before.
        let mut way: Vec<(String, Directory)> = Vec::new();
        // Directories that are done with, and not on the disk.
        let mut left = Vec::new();
        for item in items {
            let Some((last, directories)) = item.path.split_last() else { return Err(Error::Name) };
            let same = way.iter().zip(directories).take_while(|((had, _), name)| had == *name).count();
            left.extend(way.drain(same..).map(|(_, directory)| directory));
            if left.len() > SYNCED {
                Directory::sync_all(&std::mem::take(&mut left))?;
            }
            for name in &directories[same..] {
                let below = way.last().map_or(root, |(_, here)| here).enter_or_make(name)?;
                way.push((name.clone(), below));
            }
            let here = way.last().map_or(root, |(_, here)| here);
            if item.directory {
                here.enter_or_make(last)?;
                continue;
            }
            let name = item.number.to_string();
            if stage.look(&name)? == There::Nothing {
                continue;
            }
            if let Some(mtime) = item.mtime {
                let _ = fs::utimensat(stage, &name, &times(mtime, now), AtFlags::SYMLINK_NOFOLLOW);
            }
            move_to(stage, &name, here, last, existing(item.number))?;
        }
        left.extend(way.into_iter().map(|(_, directory)| directory));
        left.push(root.clone());
        Directory::sync_all(&left)?;
        self.discard()
    }
}

/// Whether a file of a part says how it is put into its place.
pub(super) fn is_about_placing(name: &str) -> bool {
    name.strip_suffix(NEW).unwrap_or(name) == PLACING
}

/// Moves `from` to the name `to`, in one step in which nothing else can be at that name.
fn move_to(
    from_in: &Directory,
    from: &str,
    to_in: &Directory,
    to: &str,
    existing: Existing,
) -> Result<(), Error> {
    let path = to_in.path(to);
    let failed = |error| Error::io("move a file to", to_in.path(to))(error);
    for _ in 0..TRIES {
        match move_to_free(from_in, from, to_in, to) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        match to_in.look(to)? {
            // It has gone in this moment.
            There::Nothing => continue,
            There::File { .. } if existing == Existing::Keep => break,
            There::File { .. } => {}
            There::Directory => return Err(foreign(path, "a directory")),
            There::Other(what) => return Err(foreign(path, what)),
        }
        return match exchange(from_in, from, to_in, to).map_err(failed)? {
            FileType::RegularFile => Ok(()),
            _ => Err(foreign(path, "no plain file")),
        };
    }
    Err(Error::Exists(path))
}

/// Never over another name.
fn move_to_free(from_in: &Directory, from: &str, to_in: &Directory, to: &str) -> rustix::io::Result<()> {
    match fs::renameat_with(from_in, from, to_in, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        other => return other,
    }
    // A file system that cannot: a second name, then one less.
    match fs::linkat(from_in, from, to_in, to, AtFlags::empty()) {
        Ok(()) => fs::unlinkat(from_in, from, AtFlags::empty()),
        // FAT knows neither. Between the look and the move another program can still be faster.
        Err(Errno::PERM | Errno::OPNOTSUPP) => match fs::statat(to_in, to, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => fs::renameat(from_in, from, to_in, to),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Puts `from` into the place of a plain file, which is then gone; what was there. Looking first and moving
/// then would leave a moment in which something else takes the name, so anything else is put back.
fn exchange(from_in: &Directory, from: &str, to_in: &Directory, to: &str) -> rustix::io::Result<FileType> {
    match fs::renameat_with(from_in, from, to_in, to, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOENT) => {
            return fs::renameat(from_in, from, to_in, to).map(|()| FileType::RegularFile);
        }
        Err(error) => return Err(error),
    }
    let out = fs::statat(from_in, from, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(out.st_mode);
    if kind == FileType::RegularFile {
        fs::unlinkat(from_in, from, AtFlags::empty())?;
    } else {
        fs::renameat_with(from_in, from, to_in, to, RenameFlags::EXCHANGE)?;
    }
    Ok(kind)
}

/// The sender's time, from 1970 to now.
fn times(mtime: i64, now: i64) -> Timestamps {
    let at = mtime.clamp(0, now.max(0));
    let at = Timespec { tv_sec: at, tv_nsec: 0 };
    Timestamps { last_access: at, last_modification: at }
}
