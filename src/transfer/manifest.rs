//! What is in an offer: its files and empty directories, their names, sizes and times.
//!
//! A manifest that was accepted is what is received: whatever a peer sends beyond it has no place
//! (`scp`, CVE-2019-6111). Nothing of it is believed before all of it was judged, so that a refused one leaves
//! no trace on the disk.

use std::collections::HashMap;

use bytes::Bytes;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::Error;
use super::list::{self, Few};
use super::name::{self, Path, Rules};
use crate::limits;

/// A file or directory as a list says it, before it is judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Item {
    /// The names on the way to it.
    pub path: Vec<String>,
    /// Bytes; none for a directory, and for a pipe of unknown length.
    pub size: Option<u64>,
    /// When it was changed, in seconds since 1970.
    pub mtime: Option<i64>,
    /// Whether it is a directory; only those that nothing is in need to be listed.
    pub dir: bool,
}

/// A file of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it belongs, in plain names.
    pub path: Path,
    /// The names that its sender gave, where they were not plain.
    pub sent: Option<Vec<String>>,
    /// Bytes; none for a pipe of unknown length.
    pub size: Option<u64>,
    /// When it was changed, in seconds since 1970, by the sender's word.
    pub mtime: Option<i64>,
}

impl Entry {
    /// Whether it is hidden on a Unix system, or was where it came from: a name on the way to it begins with a dot.
    pub fn is_hidden(&self) -> bool {
        let dot = |name: &String| name.starts_with('.');
        self.path.components().iter().any(dot) || self.sent.iter().flatten().any(dot)
    }
}

/// The judged list of an offer. Files have numbers: their places in [`Manifest::files`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    files: Vec<Entry>,
    directories: Vec<Entry>,
    total: Option<u64>,
    digest: [u8; 16],
}

impl Manifest {
    /// The manifest that `pieces` are, from the first to the last.
    pub fn judge(pieces: &[impl AsRef<[u8]>], rules: Rules) -> Result<Self, Error> {
        let listed: Vec<Listed> = list::read(pieces)?;
        let mut items = Vec::with_capacity(listed.len());
        for listed in listed {
            if listed.path.more {
                return Err(Error::Deep);
            }
            let Listed { path, size, mtime, dir } = listed;
            items.push(Item { path: path.items, size, mtime, dir });
        }
        Self::new(items, rules)
    }

    /// The manifest of `items`; what a sender asks with what it has found.
    pub fn new(items: Vec<Item>, rules: Rules) -> Result<Self, Error> {
        if items.is_empty() {
            return Err(Error::Empty);
        }
        if items.len() > limits::ENTRIES {
            return Err(Error::Entries);
        }
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        let mut tree = Tree::default();
        let mut total = 0_u64;
        for item in items {
            let path = Path::judge(&item.path, rules)?;
            tree.insert(&path, item.dir)?;
            total = item
                .size
                .unwrap_or(0)
                .checked_add(total)
                .filter(|total| *total <= limits::INTEGER)
                .ok_or(Error::Large)?;
            if item.dir && item.size.is_some() {
                return Err(Error::Sized(path.to_string()));
            }
            let sent = (item.path != path.components()).then_some(item.path);
            let entry = Entry { path, sent, size: item.size, mtime: item.mtime };
            if item.dir { directories.push(entry) } else { files.push(entry) }
        }
        let sizeless = files.iter().find(|file| file.size.is_none());
        if let Some(file) = sizeless.filter(|_| files.len() + directories.len() > 1) {
            return Err(Error::Sizeless(file.path.to_string()));
        }
        let total = sizeless.is_none().then_some(total);
        let mut manifest = Self { files, directories, total, digest: [0; 16] };
        manifest.digest = manifest.digested();
        Ok(manifest)
    }

    /// The files, in the order in which their bytes stand one behind the other.
    pub fn files(&self) -> &[Entry] {
        &self.files
    }

    /// The directories that are to be there even if nothing is in them.
    pub fn directories(&self) -> &[Entry] {
        &self.directories
    }

    /// Bytes of all files; none for a pipe of unknown length.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// What tells this list from another one: MD5 over its items, however they were cut into pieces.
    pub fn digest(&self) -> [u8; 16] {
        self.digest
    }

    /// The pieces in which it travels; [`Error::Long`] where names are too long for that.
    pub fn pieces(&self) -> Result<Vec<Bytes>, Error> {
        list::write(self.items())
    }

    fn items(&self) -> impl Iterator<Item = Line<'_>> {
        let directories = self.directories.iter().map(|entry| Line::new(entry, true));
        directories.chain(self.files.iter().map(|entry| Line::new(entry, false)))
    }

    fn digested(&self) -> [u8; 16] {
        let mut sum = Md5::new();
        for line in self.items() {
            sum.update(serde_json::to_vec(&line).expect("strings and numbers are always JSON"));
            sum.update(b"\n");
        }
        sum.finalize().into()
    }
}

/// An item as it travels; `dir` and `size` exclude each other.
#[derive(Deserialize)]
struct Listed {
    path: Few<String, { limits::COMPONENTS }>,
    size: Option<u64>,
    mtime: Option<i64>,
    #[serde(default)]
    dir: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    path: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dir: bool,
}

impl<'a> Line<'a> {
    fn new(entry: &'a Entry, dir: bool) -> Self {
        let path = entry.sent.as_deref().unwrap_or(entry.path.components());
        Self { path, size: entry.size, mtime: entry.mtime, dir }
    }
}

/// What is where, by names that no file system tells apart.
#[derive(Default)]
struct Tree {
    /// By the directory's number and the name's key.
    places: HashMap<(usize, String), Place>,
}

struct Place {
    /// As it was written first.
    name: String,
    number: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    /// A directory that was listed itself.
    Listed,
    /// A directory that something is in.
    Implied,
}

impl Tree {
    fn insert(&mut self, path: &Path, dir: bool) -> Result<(), Error> {
        let last = path.components().len() - 1;
        let mut parent = 0;
        for (depth, name) in path.components().iter().enumerate() {
            let number = self.places.len() + 1;
            let kind = match (depth == last, dir) {
                (true, true) => Kind::Listed,
                (true, false) => Kind::File,
                (false, _) => Kind::Implied,
            };
            let place = self.places.entry((parent, name::key(name)));
            let place = place.or_insert_with(|| Place { name: name.clone(), number, kind });
            parent = place.number;
            if place.number == number {
                continue;
            }
            let twice = || Error::Twice(shown(path, depth, &place.name), shown(path, depth, name));
            match (place.kind, kind) {
                _ if place.name != *name => return Err(twice()),
                (Kind::File, Kind::File) | (Kind::Listed, Kind::Listed) => return Err(twice()),
                (Kind::File, _) | (_, Kind::File) => return Err(Error::Below(shown(path, depth, name))),
                (Kind::Implied, Kind::Listed) => place.kind = Kind::Listed,
                (_, Kind::Implied) => {}
            }
        }
        Ok(())
    }
}

/// `name` at this depth of `path`.
fn shown(path: &Path, depth: usize, name: &str) -> String {
    let mut names = path.components()[..depth].to_vec();
    names.push(name.to_owned());
    names.join("/")
}

#[cfg(test)]
mod tests;
