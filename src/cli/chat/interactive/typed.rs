//! What was typed, for the next start: up and down bring it back.
//!
//! One file for each person, beside the outboxes, that only its owner reads. Every entry is a line with a JSON
//! string, so that a text of several lines comes back as one; a line that makes no sense is passed over. All
//! terminals of a person append to it, each under a lock; whoever makes it longer than [`LINES`] or [`BYTES`]
//! writes the newer part into a new file, which takes its place.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

use crate::cli::chat::outbox;
use crate::cli::state::{self, Patience};
use crate::net::client::Config;
use crate::{id, text};

/// Entries of the file.
const LINES: usize = 1_000;
/// Bytes of the file.
const BYTES: usize = 256 * 1024;
/// What is kept of a file that has become too long, in parts of four: it is not written anew at every line.
const KEPT: usize = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Typed {
    /// None without a state directory, or where it cannot be used.
    path: Option<PathBuf>,
    /// What could not be written because another terminal held the file; at most [`LINES`], the newest.
    unwritten: VecDeque<String>,
}

impl Typed {
    /// Of this person.
    pub(super) fn open(config: &Config) -> Self {
        let person = config.key.as_ref().map_or_else(String::new, |key| key.public().fingerprint());
        let name = format!("{}.typed", id::hex(&Md5::digest(person)[..8]));
        let path = state::directory().map(|directory| directory.join("chat").join(name));
        Self { path, unwritten: VecDeque::new() }
    }

    /// What was typed before, the oldest first.
    pub(super) fn all(&self) -> Vec<String> {
        let there = self.path.as_deref().map(|path| File::open(path).and_then(|file| entries(&file)));
        match there {
            None => Vec::new(),
            Some(Err(error)) => {
                tracing::debug!("what was typed before is not known: {error}");
                Vec::new()
            }
            Some(Ok(entries)) => entries,
        }
    }

    /// Something was typed.
    pub(super) fn add(&mut self, typed: &str) {
        if self.path.is_some() {
            self.unwritten.push_back(typed.to_owned());
            self.write(Patience::None);
        }
    }

    /// Time has passed: what could not be written is tried again.
    pub(super) fn handle_tick(&mut self) {
        self.write(Patience::None);
    }

    /// The program ends.
    pub(super) fn close(&mut self) {
        self.write(Patience::Last);
    }

    fn write(&mut self, patience: Patience) {
        let Some(path) = self.path.as_ref().filter(|_| !self.unwritten.is_empty()) else { return };
        match add(path, &self.unwritten, patience) {
            Ok(()) => self.unwritten.clear(),
            // The next time will do.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.unwritten.len() < LINES => {}
            Err(error) => {
                self.unwritten.pop_front();
                tracing::debug!("cannot write to {}: {error}", path.display());
            }
        }
    }
}

fn add(path: &Path, typed: &VecDeque<String>, patience: Patience) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut file = state::soon(patience, || outbox::locked(path))?;
    let mut there = entries(&file)?;
    let mut lines = String::new();
    for typed in typed {
        if there.last() != Some(typed) {
            lines += &line(typed);
            there.push(typed.clone());
        }
    }
    let size = file.metadata()?.len() as usize;
    if there.len() > LINES || size + lines.len() >= BYTES {
        return rewrite(path, &there);
    }
    // What a crash has cut off ends here.
    if size > 0 && !ends_a_line(path, size)? {
        lines.insert(0, '\n');
    }
    file.write_all(lines.as_bytes())
}

/// The newest entries in a new file, the newest of all however long it is. The lock of the old one is held until the new one stands in its place.
fn rewrite(path: &Path, entries: &[String]) -> io::Result<()> {
    let mut kept = Vec::new();
    let mut bytes = 0;
    for entry in entries.iter().rev().take(LINES / 4 * KEPT) {
        let line = line(entry);
        bytes += line.len();
        if bytes > BYTES / 4 * KEPT && !kept.is_empty() {
            break;
        }
        kept.push(line);
    }
    kept.reverse();
    let new = path.with_extension(format!("new{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(kept.concat().as_bytes())?;
    file.sync_data()?;
    fs::rename(new, path)
}

fn entries(file: &File) -> io::Result<Vec<String>> {
    let mut bytes = Vec::new();
    // Twice what this program writes: of another file the rest is not looked at.
    file.take(2 * BYTES as u64).read_to_end(&mut bytes)?;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let typed = lines.filter_map(|line| serde_json::from_slice::<String>(line).ok());
    let mut all: Vec<String> = typed.map(|typed| text::scrub_lines(&typed, usize::MAX)).collect();
    let many = all.len().saturating_sub(LINES);
    all.drain(..many);
    Ok(all)
}

fn ends_a_line(path: &Path, size: usize) -> io::Result<bool> {
    let mut last = [0];
    rustix::io::pread(&File::open(path)?, &mut last, size as u64 - 1)?;
    Ok(last == *b"\n")
}

fn line(typed: &str) -> String {
    serde_json::to_string(typed).expect("a string is always JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn typed(home: &tempfile::TempDir) -> Typed {
        Typed { path: Some(home.path().join("chat/a.typed")), unwritten: VecDeque::new() }
    }

    fn file(home: &tempfile::TempDir) -> PathBuf {
        home.path().join("chat/a.typed")
    }

    #[test]
    fn what_was_typed_comes_back_as_it_was_and_only_its_owner_reads_it() {
        let home = tempfile::tempdir().unwrap();
        assert!(typed(&home).all().is_empty());
        let texts = ["one", "two\nlines \"of\" one", "汉字", "one"];
        texts.iter().chain(&["one"]).for_each(|text| typed(&home).add(text));
        assert_eq!(typed(&home).all(), texts, "the same twice in a row is there once");
        assert_eq!(fs::metadata(file(&home)).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_damaged_is_passed_over_and_what_follows_is_whole() {
        let home = tempfile::tempdir().unwrap();
        typed(&home).add("one");
        let mut torn = fs::read(file(&home)).unwrap();
        torn.extend_from_slice(b"[1]\n\xff\xfe\n\"\x1b[2J\"\n\"tw");
        fs::write(file(&home), torn).unwrap();
        typed(&home).add("three");
        assert_eq!(typed(&home).all(), ["one", "three"]);
        fs::write(file(&home), "\"\\u001b[2Jx\"\n").unwrap();
        assert_eq!(typed(&home).all(), ["␛[2Jx"]);
    }

    #[test]
    fn the_file_is_bounded_in_lines_and_in_bytes() {
        let home = tempfile::tempdir().unwrap();
        let lines: String = (0..LINES).map(|n| line(&n.to_string())).collect();
        typed(&home).add("first");
        fs::write(file(&home), lines).unwrap();
        typed(&home).add("last");
        let all = typed(&home).all();
        assert_eq!((all.len(), all.last().unwrap().as_str()), (LINES / 4 * 3, "last"));
        assert_eq!(all[0], (LINES / 4 + 1).to_string(), "the oldest are gone");
        for n in 0..20 {
            typed(&home).add(&format!("{n}{}", "\"".repeat(30_000)));
            assert!(fs::metadata(file(&home)).unwrap().len() <= BYTES as u64);
        }
        assert!(typed(&home).all().last().unwrap().starts_with("19"));
        assert_eq!(fs::read_dir(home.path().join("chat")).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_could_not_be_written_at_once_is_written_with_the_next() {
        let home = tempfile::tempdir().unwrap();
        let mut typed = typed(&home);
        typed.add("one");
        let held = outbox::locked(&file(&home)).unwrap();
        typed.add("two");
        assert_eq!(typed.all(), ["one"]);
        drop(held);
        typed.add("three");
        assert_eq!(typed.all(), ["one", "two", "three"]);
        // Or when time has passed, or at the end.
        let held = outbox::locked(&file(&home)).unwrap();
        typed.add("four");
        typed.handle_tick();
        assert_eq!(typed.all().last().unwrap(), "three");
        drop(held);
        typed.handle_tick();
        assert_eq!(typed.all().last().unwrap(), "four");
        let held = outbox::locked(&file(&home)).unwrap();
        typed.add("five");
        std::thread::scope(|scope| {
            scope.spawn(|| drop(held));
            typed.close();
        });
        assert_eq!(typed.all().last().unwrap(), "five");
    }

    #[test]
    fn the_newest_stays_even_where_it_is_too_long_for_all_others() {
        let home = tempfile::tempdir().unwrap();
        for text in ["short", &"x".repeat(200 * 1024), &"y".repeat(200 * 1024)] {
            typed(&home).add(text);
        }
        let all = typed(&home).all();
        assert!(all.len() == 1 && all[0].starts_with('y') && all[0].len() == 200 * 1024);
    }

    #[test]
    fn two_terminals_lose_nothing_of_each_other() {
        let home = tempfile::tempdir().unwrap();
        typed(&home).add("first");
        std::thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let home = &home;
                scope.spawn(move || {
                    let mut typed = typed(home);
                    (0..200).for_each(|n| typed.add(&format!("{name}{n}")));
                    while !typed.unwritten.is_empty() {
                        typed.close();
                    }
                });
            }
        });
        let all = typed(&home).all();
        for name in ["a", "b", "c"] {
            let own: Vec<_> = all.iter().filter(|typed| typed.starts_with(name)).cloned().collect();
            assert_eq!(own, (0..200).map(|n| format!("{name}{n}")).collect::<Vec<_>>());
        }
    }
}
