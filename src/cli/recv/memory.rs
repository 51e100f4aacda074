//! Which offers were received already, so that `--all` and `--watch` take only what is new: one line for each, its
//! id and its room, in `$XDG_STATE_HOME/confkit/received`. Without a place for it nothing is remembered.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::cli::state;
use crate::id::OfferId;

/// Offers that are remembered; the oldest are forgotten.
const MOST: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::cli) struct Memory {
    path: Option<PathBuf>,
    known: BTreeSet<OfferId>,
}

impl Memory {
    /// What is remembered.
    pub(in crate::cli) fn load() -> Self {
        match state::directory() {
            Some(directory) => Self::at(directory.join("received")),
            None => Self::default(),
        }
    }

    fn at(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let newest = &lines[lines.len().saturating_sub(MOST)..];
        if newest.len() < lines.len() {
            // Half of them, so that this is not done every time.
            let keep: String = newest[newest.len() / 2..].iter().flat_map(|line| [line, "\n"]).collect();
            if let Err(error) = replace(&path, &keep) {
                tracing::debug!("cannot shorten {}: {error}", path.display());
            }
        }
        let id = |line: &&str| line.split(' ').next().and_then(|id| id.parse().ok());
        Self { known: newest.iter().filter_map(id).collect(), path: Some(path) }
    }

    /// Whether it was received.
    pub(in crate::cli) fn has(&self, offer: OfferId) -> bool {
        self.known.contains(&offer)
    }

    /// It was received now.
    pub(in crate::cli) fn add(&mut self, offer: OfferId, room: &str) {
        if !self.known.insert(offer) {
            return;
        }
        if let Some(path) = &self.path
            && let Err(error) = append(path, &format!("{offer} {room}\n"))
        {
            tracing::warn!("cannot remember what was received in {}: {error}", path.display());
        }
    }
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    // One call, so that two programs do not mix their lines.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)?.write_all(line.as_bytes())
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?
        .write_all(text.as_bytes())?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_received_is_known_to_the_next_program_and_the_oldest_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("confkit/received");
        let mut memory = Memory::at(path.clone());
        memory.add(OfferId([1; 16]), "standup");
        memory.add(OfferId([1; 16]), "standup");
        memory.add(OfferId([2; 16]), "standup");
        let again = Memory::at(path.clone());
        assert!(again.has(OfferId([1; 16])) && again.has(OfferId([2; 16])) && !again.has(OfferId([3; 16])));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
        let many: String = (0..MOST + 1).map(|n| format!("{n:032x} room\n")).collect();
        fs::write(&path, many).unwrap();
        let memory = Memory::at(path.clone());
        assert!(memory.has(format!("{MOST:032x}").parse().unwrap()));
        assert!(fs::read_to_string(&path).unwrap().lines().count() <= MOST / 2 + 1);
    }
}
