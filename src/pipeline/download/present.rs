//! What is there already and is what would come: it need not be received.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use super::fetch::fetch_list;
use super::run::blocking;
use super::target::{below, entries, numbered};
use super::{Error, Room, Target};
use crate::files::sink::There;
use crate::transfer::{Chain, Entry, Sums};
use crate::wire;

/// What is read at once.
const READ: usize = 1024 * 1024;
/// Numbered names under which it is looked for what was received before.
const COPIES: u32 = 10;

impl Target {
    /// Files that are there already, and are what would come: they need not be received.
    pub fn same(&self) -> Vec<PathBuf> {
        let files = self.listed.manifest.files().iter().zip(&self.same).filter(|(_, same)| **same);
        files.map(|(file, _)| self.place_of(file)).collect()
    }

    /// Whether everything is there already.
    pub fn is_there(&self) -> bool {
        let directories = self.listed.manifest.directories().iter().filter(|made| self.listed.takes(made));
        let mut made = directories.map(|made| self.directory.look_along(made.path.components()));
        let files = self.listed.manifest.files().iter().zip(&self.same);
        let mut files = files.filter(|(file, _)| self.listed.takes(file)).peekable();
        files.peek().is_some()
            && files.all(|(_, same)| *same)
            && made.all(|there| matches!(there, Ok(There::Directory)))
    }

    /// Where all of it is already, under a name that it got because its own was taken.
    pub fn copy(&self) -> Option<PathBuf> {
        self.copy.as_deref().map(|name| self.directory.path(name))
    }

    fn place_of(&self, file: &Entry) -> PathBuf {
        match self.tree {
            true => below(&self.directory, file.path.components()),
            false => self.directory.path(&self.name),
        }
    }

    /// Looks which of the files that are in the way are what would come.
    fn compare(&mut self, sums: &Sums) {
        let files = self.listed.manifest.files().iter().zip(sums.files()).zip(&mut self.same);
        for ((file, sum), same) in files {
            if !self.listed.takes(file) {
                continue;
            }
            let single = [self.name.clone()];
            let path = if self.tree { file.path.components() } else { &single };
            // What cannot be read is not known to be the same.
            let Ok(Some(there)) = self.directory.read_along(path) else { continue };
            *same = is_the_same(&there, sum.size, sum.md5).unwrap_or(false);
        }
        let known = self.listed.manifest.files().iter().zip(&self.same).filter(|(_, same)| **same);
        let known: BTreeSet<String> = known.map(|(file, _)| file.path.to_string()).collect();
        let tree = self.tree;
        self.in_the_way.retain(|path| if tree { !known.contains(path) } else { known.is_empty() });
    }

    /// Looks for a copy that got another name when it was received before.
    fn find_copy(&mut self, sums: &Sums) {
        let Some(top) = self.top().filter(|_| !self.in_the_way.is_empty()) else { return };
        for number in 1..=COPIES {
            let name = numbered(&top, number);
            if matches!(self.directory.look(&name), Ok(There::Nothing) | Err(_)) {
                return;
            }
            if self.is_there_as(&name, sums) {
                self.copy = Some(name);
                return;
            }
        }
    }

    /// The one name below which all of it is.
    fn top(&self) -> Option<String> {
        if !self.tree {
            return Some(self.name.clone());
        }
        let mut tops = entries(&self.listed.manifest).filter(|entry| self.listed.takes(entry));
        let first = &tops.next()?.path.components()[0];
        tops.all(|entry| entry.path.components()[0] == *first).then(|| first.clone())
    }

    fn is_there_as(&self, name: &str, sums: &Sums) -> bool {
        let path = |entry: &Entry| -> Vec<String> {
            let below = entry.path.components().iter().skip(1).filter(|_| self.tree).cloned();
            std::iter::once(name.to_owned()).chain(below).collect()
        };
        let manifest = &self.listed.manifest;
        let mut files = manifest.files().iter().zip(sums.files()).filter(|(file, _)| self.listed.takes(file));
        let mut made = manifest.directories().iter().filter(|made| self.listed.takes(made));
        made.all(|made| matches!(self.directory.look_along(&path(made)), Ok(There::Directory)))
            && files.all(|(file, sum)| match self.directory.read_along(&path(file)) {
                Ok(Some(there)) => is_the_same(&there, sum.size, sum.md5).unwrap_or(false),
                Ok(None) | Err(_) => false,
            })
    }
}

/// Whether what is in a file is what would come.
fn is_the_same(file: &File, size: u64, md5: [u8; 16]) -> std::io::Result<bool> {
    if file.metadata()?.len() != size {
        return Ok(false);
    }
    let mut sum = Chain::new();
    let mut buffer = vec![0; READ];
    // A file that grows meanwhile is another one.
    let mut bytes = file.take(size.saturating_add(1));
    loop {
        match bytes.read(&mut buffer)? {
            0 => break,
            count => sum.update(&buffer[..count]),
        }
    }
    Ok(sum.length() == size && sum.finish() == md5)
}

/// Looks which of the files in the way are what the offer has, where its sums are known: what is the same need not be
/// received. With `copies` also whether all of it is there under a name that it got because its own was taken.
pub async fn compare(room: &mut Room, mut target: Target, copies: bool) -> Result<Target, Error> {
    let sealed = room.offer(target.listed.id).is_some_and(|offer| offer.state.sealed);
    if target.in_the_way.is_empty() || target.foreign.is_some() && !copies || !sealed {
        return Ok(target);
    }
    let pieces = fetch_list(room, target.listed.id, wire::Part::Sums).await?;
    let sums = Sums::judge(&pieces, &target.listed.manifest)?;
    room.during(blocking(move || {
        target.compare(&sums);
        if copies {
            target.find_copy(&sums);
        }
        Ok(target)
    }))
    .await
}
