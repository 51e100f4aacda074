//! What outlives the program: what was said and is not acknowledged, and how far the person has read.
//!
//! Both are files in `$XDG_STATE_HOME/confkit/chat` whose names are made of the room and the person. Every
//! terminal has an outbox of its own, [`TERMINALS`] at most in one room; where something waits in one that
//! nobody uses, the next program takes it over. An outbox with nothing in it is removed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};
use rustix::fs::{FlockOperation, flock};

use crate::chat::{Content, Outbox, Pending, Progress};
use crate::cli::Failure;
use crate::cli::chat::outbox::Journal;
use crate::cli::chat::pipe;
use crate::cli::chat::waiting::Waiting;
use crate::cli::state::{self, Patience};
use crate::id::{self, LogId};
use crate::net::client::Config;
use crate::time;
use crate::wire::control;

/// Outboxes of one person in one room.
const TERMINALS: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Kept {
    journal: Option<Journal>,
    /// The person named the file, so it stays.
    named: bool,
    /// Why nothing is kept.
    pub(super) failing: Option<Failure>,
    waiting: Waiting,
    read: Option<PathBuf>,
    /// What the file says: the log, and the last number that was read.
    position: Option<(LogId, u64)>,
    log: Option<LogId>,
}

impl Kept {
    /// For this room and person; `named` is the file that is to be used as outbox.
    pub(super) fn open(named: Option<&Path>, config: &Config) -> Result<Self, Failure> {
        let room = config.address.to_string();
        let person = config.key.as_ref().map_or_else(String::new, |key| key.public().fingerprint());
        let stem = id::hex(&Md5::digest(format!("{room}\n{person}"))[..8]);
        let directory = state::directory().map(|directory| directory.join("chat"));
        let mut failing = None;
        let journal = match (named, &directory) {
            (Some(path), _) => Some(Journal::open(path, &room)?),
            (None, Some(directory)) => {
                Self::outbox_in(directory, &stem, &room).map_err(|failure| failing = Some(failure)).ok()
            }
            (None, None) => None,
        };
        let mut waiting = Waiting::new(None);
        journal.iter().flat_map(Journal::numbers).for_each(|n| waiting.add(n, time::now()));
        let read = directory.map(|directory| directory.join(format!("{stem}.read")));
        let position = read.as_deref().and_then(position);
        Ok(Self { journal, named: named.is_some(), failing, waiting, read, position, log: None })
    }

    /// One in which something waits, else any that nobody uses.
    fn outbox_in(directory: &Path, stem: &str, room: &str) -> Result<Journal, Failure> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| {
            Failure::new(crate::cli::Exit::File, format!("cannot make {}: {error}", directory.display()))
        })?;
        let paths = || (0..TERMINALS).map(|n| directory.join(format!("{stem}-{n}.outbox")));
        let there = paths().filter(|path| path.exists()).filter_map(|path| Journal::open(&path, room).ok());
        for journal in there {
            if journal.numbers().next().is_some() {
                return Ok(journal);
            }
            journal.remove();
        }
        let mut last = None;
        for path in paths() {
            match Journal::open(&path, room) {
                Ok(journal) => return Ok(journal),
                Err(failure) => last = Some(failure),
            }
        }
        Err(last.expect("there is at least one path"))
    }

    /// What waits, for the session.
    pub(super) fn outbox(&self) -> Result<Outbox, Failure> {
        self.journal.as_ref().map_or_else(|| pipe::source().map(Outbox::new), |journal| Ok(journal.outbox()))
    }

    /// What waits, and for whom.
    pub(super) fn messages(&self) -> Vec<(Pending, Option<String>)> {
        self.journal.as_ref().map_or_else(Vec::new, Journal::messages)
    }

    /// Something is going to be said; it is on the disk then.
    pub(super) fn note(&mut self, content: &Content, to: Option<&str>) {
        if let Some(journal) = &mut self.journal {
            let noted = journal.add(content, to).and_then(|()| journal.sync());
            self.check(noted);
        }
    }

    /// It is said, as number `n`.
    pub(super) fn add(&mut self, n: u64) {
        self.waiting.add(n, time::now());
    }

    /// It could not be said.
    pub(super) fn take_back(&mut self) {
        let taken = self.journal.as_mut().map_or(Ok(()), Journal::take_back);
        self.check(taken);
    }

    /// Messages that are not acknowledged.
    pub(super) fn count(&self) -> usize {
        self.waiting.count()
    }

    /// Whether they outlive the program.
    pub(super) fn keeps(&self) -> bool {
        self.journal.is_some()
    }

    /// The server has come further.
    pub(super) fn handle_progress(&mut self, progress: Progress) {
        let done = self.waiting.handle_progress(progress, time::now());
        self.handle_done(done);
    }

    /// Whether the server keeps messages has been told.
    pub(super) fn handle_storing(&mut self, storing: bool) {
        let done = self.waiting.handle_storing(storing);
        self.handle_done(done);
    }

    /// The server did not take `n`.
    pub(super) fn handle_refused(&mut self, n: u64) {
        self.waiting.forget(n);
        let noted = self.journal.as_mut().map_or(Ok(()), |journal| journal.handle_gone(n));
        self.check(noted);
    }

    /// The log of the room; how far the person had read in it.
    pub(super) fn handle_log(&mut self, log: &control::Log) -> Option<u64> {
        self.log = Some(log.id);
        self.position.filter(|(id, _)| *id == log.id).map(|(_, seq)| seq)
    }

    /// The person has read everything through `seq`. With [`Patience::None`] that may have to be said again.
    pub(super) fn handle_read(&mut self, seq: u64, patience: Patience) {
        let (Some(log), Some(path)) = (self.log, &self.read) else { return };
        if self.position.is_some_and(|(id, read)| id == log && read >= seq) || seq == 0 {
            return;
        }
        // Another terminal of this person may have read further.
        match advance(path, log, seq, patience) {
            Ok(read) => self.position = Some((log, read)),
            // Another one is writing: the next time will do.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                self.position = Some((log, seq));
                tracing::debug!("cannot write to {}: {error}", path.display());
            }
        }
    }

    /// The program ends.
    pub(super) fn close(&mut self) {
        if let Some(journal) = self.journal.take_if(|_| self.waiting.count() == 0 && !self.named) {
            journal.remove();
        }
    }

    fn handle_done(&mut self, n: u64) {
        let noted = self.journal.as_mut().map_or(Ok(()), |journal| journal.handle_done(n));
        self.check(noted);
    }

    /// What cannot be written to is not kept any more, and that is told.
    fn check(&mut self, done: Result<(), Failure>) {
        if let Err(failure) = done {
            self.journal = None;
            self.failing = Some(failure);
        }
    }
}

fn position(path: &Path) -> Option<(LogId, u64)> {
    let text = fs::read_to_string(path).ok()?;
    let (log, seq) = text.trim_end().split_once(' ')?;
    Some((log.parse().ok()?, seq.parse().ok()?))
}

/// Writes down that everything through `seq` is read, unless more is; through which number it is then.
fn advance(path: &Path, log: LogId, seq: u64, patience: Patience) -> io::Result<u64> {
    let directory = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // The file itself is replaced, so that it cannot be locked.
    let lock = File::open(directory)?;
    state::soon(patience, || Ok(flock(&lock, FlockOperation::NonBlockingLockExclusive)?))?;
    if let Some((_, further)) = position(path).filter(|(id, read)| *id == log && *read >= seq) {
        return Ok(further);
    }
    write(path, &format!("{log} {seq}\n"))?;
    Ok(seq)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension(format!("new{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&new)?.write_all(text.as_bytes())?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_goes_forward_only_with_two_terminals() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("chat/a.read");
        let (log, other) = (LogId([1; 8]), LogId([2; 8]));
        assert_eq!(advance(&path, log, 10, Patience::None).unwrap(), 10);
        // The other terminal stands further up.
        assert_eq!(advance(&path, log, 7, Patience::None).unwrap(), 10);
        assert_eq!(position(&path), Some((log, 10)));
        assert_eq!(advance(&path, log, 12, Patience::None).unwrap(), 12);
        // Numbers of another log say nothing of this one.
        assert_eq!(advance(&path, other, 3, Patience::None).unwrap(), 3);
        assert_eq!(position(&path), Some((other, 3)));
        let held = File::open(home.path().join("chat")).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert_eq!(advance(&path, other, 4, Patience::None).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut kept = Kept {
            journal: None,
            named: false,
            failing: None,
            waiting: Waiting::new(None),
            read: Some(path.clone()),
            position: None,
            log: Some(other),
        };
        kept.handle_read(5, Patience::None);
        assert_eq!(position(&path), Some((other, 3)), "another one is writing");
        // Who leaves waits a moment.
        std::thread::scope(|scope| {
            scope.spawn(|| drop(held));
            kept.handle_read(5, Patience::Last);
        });
        assert_eq!(position(&path), Some((other, 5)));
    }
}
