//! Where an offer goes: its part, what is in the way, and what is done about that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::record::{Found, Left, Record};
use super::taken::{Taken, create, is_busy};
use super::{Error, Listed};
use crate::files::sink::{self, Directory, Existing, Item, Part, There};
use crate::transfer::name::key;
use crate::transfer::{Entry, Manifest};

/// Names that are tried before it is given up to find a free one.
pub(super) const NUMBERS: u32 = 100;
/// What a file takes on the disk besides its bytes, about.
const BLOCK: u64 = 4096;
/// Files of those in the way that are named.
const NAMED: usize = 8;

/// What happens to files that exist already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// What is received gets another name.
    Rename,
    /// They stay, and are not received.
    Skip,
    /// They are replaced, each in one step.
    Overwrite,
    /// Nothing is received.
    Fail,
}

/// A place for an offer, looked at and not touched.
#[derive(Debug)]
pub struct Target {
    pub(super) listed: Listed,
    pub(super) directory: Directory,
    /// The name of the file, or that of the tree's part.
    base: String,
    pub(super) tree: bool,
    found: Option<Left>,
    pub(super) in_the_way: Vec<String>,
    /// What has the name of a single file, where it is nothing that could be replaced.
    pub(super) foreign: Option<&'static str>,
    /// Files that are there already and are what would come.
    pub(super) same: Vec<bool>,
    /// Under this name all of it is there, too: it was received before when its own was taken.
    pub(super) copy: Option<String>,
    /// The name that a single file will have, if nothing takes it meanwhile.
    pub(super) name: String,
}

/// A part that is ready to be written to.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: Directory,
    pub(super) part: Part,
    tree: bool,
    /// Files that are received.
    pub(super) wanted: Vec<bool>,
    if_exists: IfExists,
    /// The name that a single file has if that is free; else it has that of its part.
    name: String,
}

/// A place, and what is known of what is in it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) listed: Listed,
    pub(super) place: Place,
    pub(super) record: Record,
    pub(super) found: Found,
}

/// Where everything is now.
#[derive(Debug)]
pub(super) struct Put {
    /// Each file, in the order of the manifest; nothing for those that were not received.
    pub(super) places: Vec<Option<PathBuf>>,
    /// What was to be called one way and is called another.
    pub(super) renamed: Vec<(PathBuf, PathBuf)>,
}

/// How the files of a tree get their names; written down before the first one does.
#[derive(Debug, Default, Serialize, Deserialize)]
struct How {
    /// Other names for what is at the top.
    names: BTreeMap<String, String>,
    /// Files that were there stay.
    left_out: BTreeSet<u32>,
    replace: bool,
}

impl Target {
    /// Looks for a place in `directory`, under `name` where the user has chosen one.
    pub fn look(listed: Listed, directory: Directory, name: Option<&str>) -> Result<Self, Error> {
        let manifest = &listed.manifest;
        let single = match (manifest.files(), manifest.directories()) {
            ([file], []) if file.path.components().len() == 1 => Some(file.path.name()),
            _ => None,
        };
        let tree = single.is_none();
        if tree && name.is_some() {
            return Err(Error::Several(manifest.files().len()));
        }
        let base = name.or(single).map_or_else(|| tree_name(manifest), str::to_owned);
        let same = vec![false; manifest.files().len()];
        let mut target = Self {
            directory,
            name: base.clone(),
            base,
            tree,
            found: None,
            in_the_way: Vec::new(),
            foreign: None,
            same,
            copy: None,
            listed,
        };
        target.find()?;
        target.find_name()?;
        target.look_around()?;
        Ok(target)
    }

    /// The part that an earlier run has left.
    fn find(&mut self) -> Result<(), Error> {
        for number in 0..NUMBERS {
            let name = numbered(&self.base, number);
            let found = Record::find(&self.directory, &name, self.tree, &self.listed)?;
            if found.is_some() {
                self.found = found;
                break;
            }
        }
        Ok(())
    }

    /// A part has another name than its file where somebody else's part was in its way. That is no reason for the
    /// file to be called so, unless the other one still comes.
    fn find_name(&mut self) -> Result<(), Error> {
        let Some(left) = self.found.as_ref().filter(|left| left.part.name() != self.base) else {
            return Ok(());
        };
        let part = left.part.name().to_owned();
        let free = self.directory.look(&self.base)? == There::Nothing;
        if !free || is_busy(&self.directory, &self.base, self.tree) {
            self.name = part;
        }
        Ok(())
    }

    /// Names in the way.
    fn look_around(&mut self) -> Result<(), Error> {
        if self.is_placing()? {
            return Ok(());
        }
        if !self.tree {
            let name = self.name.clone();
            match self.directory.look(&name)? {
                There::Nothing => {}
                There::File { .. } => self.in_the_way.push(name),
                There::Directory => {
                    self.foreign = Some("a directory");
                    self.in_the_way.push(name);
                }
                There::Other(what) => return Err(foreign(&self.directory, &name, what)),
            }
            return Ok(());
        }
        for file in self.listed.manifest.files().iter().filter(|file| self.listed.takes(file)) {
            match self.directory.look_along(file.path.components())? {
                There::Nothing => {}
                There::File { .. } => self.in_the_way.push(file.path.to_string()),
                There::Directory => {
                    return Err(foreign(&self.directory, &file.path.to_string(), "a directory"));
                }
                There::Other(what) => {
                    return Err(foreign(&self.directory, &file.path.to_string(), what));
                }
            }
        }
        for made in self.listed.manifest.directories().iter().filter(|made| self.listed.takes(made)) {
            match self.directory.look_along(made.path.components())? {
                There::Nothing | There::Directory => {}
                There::File { .. } => {
                    return Err(foreign(&self.directory, &made.path.to_string(), "a file"));
                }
                There::Other(what) => {
                    return Err(foreign(&self.directory, &made.path.to_string(), what));
                }
            }
        }
        Ok(())
    }

    /// Whether all is there and only names are missing.
    fn is_placing(&self) -> Result<bool, Error> {
        Ok(match &self.found {
            Some(left) => left.part.placing()?.is_some(),
            None => false,
        })
    }

    /// What happens to files in the way is known now. A directory that gets another name is received with all that
    /// is in it.
    pub fn choose(&mut self, if_exists: IfExists) {
        if if_exists != IfExists::Rename || !self.tree {
            return;
        }
        let tops: BTreeSet<&str> = self.in_the_way.iter().filter_map(|path| path.split('/').next()).collect();
        for (file, same) in self.listed.manifest.files().iter().zip(&mut self.same) {
            *same &= !tops.contains(file.path.components()[0].as_str());
        }
    }

    /// Files that are there under the names of those that would be received.
    pub fn in_the_way(&self) -> &[String] {
        &self.in_the_way
    }

    /// What is received.
    pub fn listed(&self) -> &Listed {
        &self.listed
    }

    /// Where it goes, for people.
    pub fn path(&self) -> PathBuf {
        match self.tree {
            true => self.directory.location().to_owned(),
            false => self.directory.path(&self.name),
        }
    }

    /// Bytes that are there from an earlier run.
    pub fn before(&self) -> u64 {
        self.found.as_ref().map_or(0, |left| left.found.bytes(&self.listed.layout, &self.wanted()))
    }

    /// Which files are received, as far as it depends on what is there.
    fn wanted(&self) -> Vec<bool> {
        let files = self.listed.manifest.files().iter().zip(&self.same);
        files.map(|(file, same)| self.listed.takes(file) && !same).collect()
    }

    /// Whether it can be written there, before anybody is asked whether it should.
    pub fn check(&self) -> Result<(), Error> {
        self.directory.check_writable(&self.name)?;
        let entries = self.listed.manifest.files().len() as u64;
        let files = self.listed.manifest.files().iter().zip(&self.same).filter(|(_, same)| **same);
        let there: u64 = files.filter_map(|(file, _)| file.size).sum();
        let needed = self.listed.bytes().unwrap_or(0).saturating_sub(self.before()).saturating_sub(there);
        let needed = needed.saturating_add(if self.tree { entries * BLOCK } else { 0 });
        let free = self.directory.free()?;
        if needed > free { Err(Error::Space { needed, free }) } else { Ok(()) }
    }

    /// Removes what an earlier run has left; how many bytes that were, nothing where there was nothing.
    pub fn discard(self) -> Result<Option<u64>, Error> {
        let bytes = self.before();
        let Some(Left { part, record, .. }) = self.found else { return Ok(None) };
        let journal = part.journal();
        drop(record);
        part.discard()?;
        self.directory.remove(&journal)?;
        Ok(Some(bytes))
    }

    /// Makes the place, with what is to happen to files in the way; nothing where nothing is left to receive.
    pub(super) fn open(mut self, if_exists: IfExists) -> Result<Option<Opened>, Error> {
        self.choose(if_exists);
        let mut wanted = self.wanted();
        if let Some(what) = self.foreign.filter(|_| if_exists != IfExists::Rename) {
            return Err(foreign(&self.directory, &self.name, what));
        }
        if !self.in_the_way.is_empty() {
            match if_exists {
                IfExists::Fail => {
                    let named: Vec<&str> = self.in_the_way.iter().take(NAMED).map(String::as_str).collect();
                    let more = self.in_the_way.len() - named.len();
                    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                    let named: Vec<String> =
                        named.iter().map(|name| self.directory.path(name).display().to_string()).collect();
                    return Err(Error::Exists(named.join(", ") + &more, self.in_the_way.len()));
                }
                IfExists::Skip => {
                    let there: BTreeSet<&str> = self.in_the_way.iter().map(String::as_str).collect();
                    for (file, wanted) in self.listed.manifest.files().iter().zip(&mut wanted) {
                        *wanted &= self.tree && !there.contains(file.path.to_string().as_str());
                    }
                    if !wanted.contains(&true) {
                        return Ok(None);
                    }
                }
                IfExists::Rename | IfExists::Overwrite => {}
            }
        }
        let Self { listed, directory, base, tree, found, in_the_way, mut name, .. } = self;
        let (part, record, found) = match found {
            Some(Left { part, record: Some(record), found }) => (part, record, found),
            Some(Left { part, record: None, found }) => {
                let record = Record::begin(&part, &listed)?;
                (part, record, found)
            }
            None => {
                let from = u32::from(!tree && !in_the_way.is_empty() && if_exists == IfExists::Rename);
                let (part, taken) = create(&directory, &base, tree, from)?;
                let record = Record::begin(&part, &listed)?;
                let notice = taken.map(|taken| taken.notice(&directory, &base, part.name()));
                if taken == Some(Taken::Busy) {
                    name = part.name().to_owned();
                }
                (part, record, Found { notice, ..Found::default() })
            }
        };
        let place = Place { directory, part, tree, wanted, if_exists, name };
        Ok(Some(Opened { listed, place, record, found }))
    }
}

impl Place {
    /// Gives what is whole and safe its names.
    pub(super) fn put(self, record: Record, listed: &Listed, now: i64) -> Result<Put, Error> {
        let manifest = &listed.manifest;
        let Self { directory, part, tree, wanted, if_exists, name } = self;
        let put = if tree {
            put_tree(&directory, part, listed, &wanted, if_exists, now)?
        } else {
            let mtime = manifest.files().first().and_then(|file| file.mtime);
            let place = put_single(&directory, &part, &name, mtime, if_exists, now)?;
            let meant = directory.path(&name);
            let renamed = if place == meant { Vec::new() } else { vec![(meant, place.clone())] };
            Put { places: vec![Some(place)], renamed }
        };
        record.discard()?;
        Ok(put)
    }
}

fn put_single(
    directory: &Directory,
    part: &Part,
    name: &str,
    mtime: Option<i64>,
    if_exists: IfExists,
    now: i64,
) -> Result<PathBuf, Error> {
    let existing = if if_exists == IfExists::Overwrite { Existing::Replace } else { Existing::Keep };
    let rename = if_exists == IfExists::Rename;
    match part.place(name, mtime, existing, now) {
        Err(sink::Error::Exists(_) | sink::Error::Foreign { .. }) if rename => {}
        // It came while this was received.
        Err(sink::Error::Exists(path)) => return Err(Error::Exists(path.display().to_string(), 1)),
        other => return Ok(other?),
    }
    for number in 1..NUMBERS {
        let name = numbered(name, number);
        match part.place(&name, mtime, Existing::Keep, now) {
            Err(sink::Error::Exists(_) | sink::Error::Foreign { .. }) => {}
            other => return Ok(other?),
        }
    }
    Err(Error::Exists(directory.path(name).display().to_string(), 1))
}

fn put_tree(
    directory: &Directory,
    part: Part,
    listed: &Listed,
    wanted: &[bool],
    if_exists: IfExists,
    now: i64,
) -> Result<Put, Error> {
    let manifest = &listed.manifest;
    let how = match part.placing()? {
        Some(how) => serde_json::from_slice(&how).unwrap_or_default(),
        None => {
            let how = How::new(directory, manifest, wanted, if_exists)?;
            part.begin_placing(&serde_json::to_vec(&how).expect("names and numbers are always JSON"))?;
            how
        }
    };
    let paths: Vec<Vec<String>> = manifest.files().iter().map(|file| how.path(file)).collect();
    let made = manifest.directories().iter().filter(|made| listed.takes(made));
    let made: Vec<Vec<String>> = made.map(|made| how.path(made)).collect();
    let files = manifest.files().iter().zip(&paths).enumerate();
    let files = files.filter(|(number, _)| !how.left_out.contains(&(*number as u32))).map(
        |(number, (file, path))| Item { number: number as u32, path, directory: false, mtime: file.mtime },
    );
    let made = made.iter().map(|path| Item { number: 0, path, directory: true, mtime: None });
    let existing = if how.replace { Existing::Replace } else { Existing::Keep };
    part.place_tree(directory, made.chain(files), |_| existing, now).map_err(|error| match error {
        sink::Error::Exists(path) => Error::Exists(path.display().to_string(), 1),
        other => other.into(),
    })?;
    let place = |(number, path): (usize, &Vec<String>)| {
        let place = || below(directory, path);
        (!how.left_out.contains(&(number as u32))).then(place)
    };
    let renamed = how.names.iter().map(|(name, other)| (directory.path(name), directory.path(other)));
    Ok(Put { places: paths.iter().enumerate().map(place).collect(), renamed: renamed.collect() })
}

impl How {
    fn new(
        directory: &Directory,
        manifest: &Manifest,
        wanted: &[bool],
        if_exists: IfExists,
    ) -> Result<Self, Error> {
        let left_out = wanted.iter().enumerate().filter(|(_, wanted)| !**wanted);
        let mut how = Self {
            names: BTreeMap::new(),
            left_out: left_out.map(|(number, _)| number as u32).collect(),
            replace: if_exists == IfExists::Overwrite,
        };
        for (number, file) in manifest.files().iter().enumerate() {
            let path = file.path.components();
            if how.left_out.contains(&(number as u32)) {
                continue;
            }
            if directory.look_along(path)? == There::Nothing || how.names.contains_key(&path[0]) {
                continue;
            }
            match if_exists {
                IfExists::Rename => {
                    let name = free(directory, manifest, &path[0])?;
                    how.names.insert(path[0].clone(), name);
                }
                // It came while this was received.
                IfExists::Fail => return Err(Error::Exists(file.path.to_string(), 1)),
                IfExists::Skip | IfExists::Overwrite => {}
            }
        }
        Ok(how)
    }

    fn path(&self, entry: &Entry) -> Vec<String> {
        let mut path = entry.path.components().to_vec();
        if let Some(name) = self.names.get(&path[0]) {
            path[0].clone_from(name);
        }
        path
    }
}

/// The first numbered name that nothing has or will have.
fn free(directory: &Directory, manifest: &Manifest, name: &str) -> Result<String, Error> {
    let tops: BTreeSet<String> = entries(manifest).map(|entry| key(&entry.path.components()[0])).collect();
    for number in 1..NUMBERS {
        let other = numbered(name, number);
        if directory.look(&other)? == There::Nothing && !tops.contains(&key(&other)) {
            return Ok(other);
        }
    }
    Err(Error::Exists(name.to_owned(), 1))
}

/// `a.tar.gz`, `a (1).tar.gz`, ...: never longer than a name may be.
pub(super) fn numbered(name: &str, number: u32) -> String {
    const LONGEST: usize = 255;
    if number == 0 {
        return name.to_owned();
    }
    let dot = name.rfind('.').filter(|at| *at > 0 && name.len() - at <= 10).unwrap_or(name.len());
    let dot = name[..dot].strip_suffix(".tar").filter(|stem| !stem.is_empty()).map_or(dot, str::len);
    let (stem, ending) = name.split_at(dot);
    let number = format!(" ({number})");
    let mut keep = stem.len().min(LONGEST - number.len() - ending.len());
    while !stem.is_char_boundary(keep) {
        keep -= 1;
    }
    format!("{}{number}{ending}", &stem[..keep])
}

/// Where a path of several names is, for people.
pub(super) fn below(directory: &Directory, path: &[String]) -> PathBuf {
    path[1..].iter().fold(directory.path(&path[0]), |above, name| above.join(name))
}

/// What the part of several files is called: after the first of them, and never hidden, whatever that is.
fn tree_name(manifest: &Manifest) -> String {
    let mut tops = entries(manifest).map(|entry| &entry.path.components()[0]);
    let first = tops.next().cloned().unwrap_or_default();
    let name = if tops.all(|top| *top == first) { first } else { format!("{first} and more") };
    match name.trim_start_matches('.') {
        "" => "files".into(),
        visible => visible.to_owned(),
    }
}

pub(super) fn entries(manifest: &Manifest) -> impl Iterator<Item = &Entry> {
    manifest.files().iter().chain(manifest.directories())
}

fn foreign(directory: &Directory, name: &str, what: &'static str) -> Error {
    sink::Error::Foreign { path: directory.path(name), what }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f08_another_name_keeps_its_ending_and_its_length() {
        assert_eq!(numbered("a.zip", 0), "a.zip");
        assert_eq!(numbered("a.zip", 2), "a (2).zip");
        assert_eq!(numbered("a.tar.gz", 1), "a (1).tar.gz");
        assert_eq!(numbered(".bashrc", 1), ".bashrc (1)");
        assert_eq!(numbered("Makefile", 1), "Makefile (1)");
        assert_eq!(numbered("v1. The long story of it", 1), "v1. The long story of it (1)");
        let long = numbered(&format!("{}.zip", "é".repeat(125)), 99);
        assert!(long.len() <= 255 && long.ends_with(" (99).zip"), "{long}");
    }

    #[test]
    fn f07_a_part_is_never_hidden() {
        let name = |paths: &[&str]| {
            let item = |path: &&str| crate::transfer::Item {
                path: vec![(*path).to_owned()],
                size: Some(1),
                ..crate::transfer::Item::default()
            };
            let items = paths.iter().map(item).collect();
            tree_name(&Manifest::new(items, crate::transfer::Rules { hidden: true }).unwrap())
        };
        assert_eq!(name(&["a", ".env"]), "a and more");
        assert_eq!(name(&[".env", "a"]), "env and more");
        assert_eq!(name(&[".git"]), "git");
    }
}
