//! `--outbox`: messages that are not acknowledged yet, kept in a file, so that a program that is killed sends
//! them when it is started again, each once.
//!
//! The file begins with a line that says whose it is; each line after it is one entry, with the first half of
//! its MD5 before it: a message, which is on the disk before it goes out, or how far the server is. What is
//! damaged is left out and told. It is written anew when it is opened and when [`LARGE`] bytes of it are of
//! no more use. It is locked while it is in use.
//!
//! A message keeps its series and its number, by which the server knows what comes twice. With nothing left
//! to send a new series begins.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use md5::{Digest, Md5};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::pipe;
use crate::chat::{Content, NOBODY, Outbox, Pending};
use crate::cli::{Exit, Failure};
use crate::id::{self, SourceId};
use crate::limits;
use crate::time;
use crate::wire::Slot;

/// Bytes of entries that are of no more use before the file is written anew.
const LARGE: u64 = 4 * 1024 * 1024;
/// Bytes of a file that is read: twice a full outbox, whose texts are escaped once more, and [`LARGE`].
const LONGEST: u64 = 64 * 1024 * 1024;
/// What the first line says besides the room and the series.
const FORMAT: &str = "conf-chat outbox 1";

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: String,
    room: String,
    source: SourceId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Message(Kept),
    /// Everything through this number is acknowledged.
    Done(u64),
    /// The server did not take this one.
    Gone(u64),
}

/// A message in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    n: u64,
    wall: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slot: Option<Slot>,
    #[serde(default, skip_serializing_if = "is_false")]
    direct: bool,
    /// For whom it is, for the person who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    payload: String,
}

impl Kept {
    fn pending(&self) -> Pending {
        Pending {
            n: self.n,
            // To whom it went means nothing in a new session; the server is not asked about it.
            to: self.direct.then_some(NOBODY),
            slot: self.slot.clone(),
            payload: Bytes::copy_from_slice(self.payload.as_bytes()),
            wall: self.wall,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    room: String,
    source: SourceId,
    /// The last number that was used.
    last: u64,
    waiting: VecDeque<Kept>,
    /// Bytes of the file.
    size: u64,
    /// Something is written and may not be on the disk.
    unsynced: bool,
}

impl Journal {
    /// The file for the messages to `room`, which is made where it is not there.
    pub(super) fn open(path: &Path, room: &str) -> Result<Self, Failure> {
        let shown = path.display();
        let failed =
            |error: io::Error| Failure::new(Exit::File, format!("cannot use the outbox {shown}: {error}"));
        let file = locked(path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Failure::new(
                Exit::File,
                format!("the outbox {shown} is in use by another conf-chat; name another with --outbox FILE"),
            ),
            _ => failed(error),
        })?;
        let mut text = Vec::new();
        (&file).take(LONGEST + 1).read_to_end(&mut text).map_err(failed)?;
        let foreign = || {
            let why = "it is no outbox of this version of conf-chat; name another file";
            Failure::new(Exit::File, format!("cannot use the outbox {shown}: {why}"))
        };
        if text.len() as u64 > LONGEST {
            return Err(foreign());
        }
        let new = pipe::source()?;
        let mut journal = Self {
            path: path.to_owned(),
            file,
            room: room.to_owned(),
            source: new,
            last: 0,
            waiting: VecDeque::new(),
            size: 0,
            unsynced: false,
        };
        if !text.is_empty() {
            let there = journal.read(&text).ok_or_else(foreign)?;
            if !journal.waiting.is_empty() && there != room {
                return Err(Failure::new(
                    Exit::File,
                    format!(
                        "the outbox {shown} waits to be sent to {there}, not to {room}; name another file"
                    ),
                ));
            }
        }
        if journal.waiting.is_empty() {
            (journal.source, journal.last) = (new, 0);
        }
        journal.rewrite().map_err(failed)?;
        Ok(journal)
    }

    /// What waits, for the session.
    pub(super) fn outbox(&self) -> Outbox {
        let pending = self.waiting.iter().map(Kept::pending);
        Outbox::restore(self.source, self.last + 1, pending.collect())
    }

    /// What waits, and for whom.
    pub(super) fn messages(&self) -> Vec<(Pending, Option<String>)> {
        let to = |kept: &Kept| kept.direct.then(|| kept.to.clone().unwrap_or_else(|| "somebody".into()));
        self.waiting.iter().map(|kept| (kept.pending(), to(kept))).collect()
    }

    /// The numbers of what waits.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.waiting.iter().map(|kept| kept.n)
    }

    /// The last number that was used.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Notes a message under the next number; [`Self::sync`] has to follow before it is sent. `to`: for whom
    /// alone it is.
    pub(super) fn add(&mut self, content: &Content, to: Option<&str>) -> Result<(), Failure> {
        self.last += 1;
        let payload = String::from_utf8(content.to_payload()).expect("JSON is text");
        let slot = matches!(content, Content::Topic(_)).then(Slot::topic);
        let (direct, to) = (to.is_some(), to.map(str::to_owned));
        let kept = Kept { n: self.last, wall: time::wall(), slot, direct, to, payload };
        self.waiting.push_back(kept.clone());
        self.unsynced = true;
        self.append(&Entry::Message(kept)).map_err(|error| self.failed(&error))
    }

    /// Returns when everything is on the disk.
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.unsynced) {
            self.file.sync_data().map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// Everything through `n` is acknowledged. That it is not on the disk at once does no harm: the server
    /// knows what comes again.
    pub(super) fn handle_done(&mut self, n: u64) -> Result<(), Failure> {
        if self.waiting.front().is_none_or(|first| first.n > n) {
            return Ok(());
        }
        while self.waiting.front().is_some_and(|first| first.n <= n) {
            self.waiting.pop_front();
        }
        self.note(&Entry::Done(n))
    }

    /// The server did not take `n`.
    pub(super) fn handle_gone(&mut self, n: u64) -> Result<(), Failure> {
        self.waiting.retain(|kept| kept.n != n);
        self.note(&Entry::Gone(n))
    }

    /// What was noted last is not sent after all, and its number not used.
    pub(super) fn take_back(&mut self) -> Result<(), Failure> {
        if self.waiting.pop_back().is_some() {
            self.last -= 1;
            self.rewrite().map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// The file goes: nothing waits.
    pub(super) fn remove(self) {
        // What stays is an outbox with nothing in it.
        let _ = std::fs::remove_file(&self.path);
    }

    fn note(&mut self, entry: &Entry) -> Result<(), Failure> {
        let useful: u64 = self.waiting.iter().map(|kept| kept.payload.len() as u64 * 2).sum();
        let written = match self.size > LARGE + useful {
            true => self.rewrite(),
            false => self.append(entry),
        };
        written.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::new(Exit::File, format!("cannot write to the outbox {}: {error}", self.path.display()))
    }

    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let line = line(entry);
        self.size += line.len() as u64;
        self.file.write_all(line.as_bytes())
    }

    /// Takes in what is there: the room that it is for. What is damaged is left out.
    fn read(&mut self, text: &[u8]) -> Option<String> {
        let mut lines = text.split(|byte| *byte == b'\n');
        let head: Head = serde_json::from_slice(checked(lines.next()?)?).ok()?;
        if head.format != FORMAT {
            return None;
        }
        self.source = head.source;
        let mut damaged = 0;
        for line in lines.filter(|line| !line.is_empty()) {
            match checked(line).and_then(|json| serde_json::from_slice(json).ok()) {
                Some(Entry::Message(kept)) if kept.n > self.last && kept.payload.len() <= limits::MESSAGE => {
                    self.last = kept.n;
                    self.waiting.push_back(kept);
                }
                Some(Entry::Done(n)) => {
                    self.last = self.last.max(n);
                    self.waiting.retain(|kept| kept.n > n);
                }
                Some(Entry::Gone(n)) => {
                    self.last = self.last.max(n);
                    self.waiting.retain(|kept| kept.n != n);
                }
                _ => damaged += 1,
            }
        }
        if damaged > 0 {
            let path = self.path.display();
            tracing::warn!("the outbox {path} was damaged: {damaged} of its entries are left out");
        }
        Some(head.room)
    }

    /// Writes what is of use into a new file, which takes the place of the old one.
    fn rewrite(&mut self) -> io::Result<()> {
        let unique = getrandom::u64().map_err(io::Error::other)?;
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{unique:016x}"));
        let beside = self.path.with_file_name(name);
        let written = self.write_new(&beside).and_then(|file| {
            std::fs::rename(&beside, &self.path)?;
            Ok(file)
        });
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        (self.file, self.size) = written?;
        self.unsynced = false;
        let directory = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }

    fn write_new(&self, path: &Path) -> io::Result<(File, u64)> {
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let head = Head { format: FORMAT.into(), room: self.room.clone(), source: self.source };
        let mut text = line(&head);
        // Numbers that were used must not be used again, also where nothing waits under them.
        text += &line(&Entry::Done(self.waiting.front().map_or(self.last, |first| first.n - 1)));
        self.waiting.iter().for_each(|kept| text += &line(&Entry::Message(kept.clone())));
        if self.waiting.back().is_some_and(|last| last.n < self.last) {
            text += &line(&Entry::Gone(self.last));
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok((file, text.len() as u64))
    }
}

/// The file, for this program alone.
pub(super) fn locked(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let here = file.metadata()?;
        if !here.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        // Whoever had it before may have put another in its place.
        let there = std::fs::metadata(path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino())) {
            return Ok(file);
        }
    }
}

fn line(entry: &impl Serialize) -> String {
    let json = serde_json::to_string(entry).expect("strings and numbers are always JSON");
    format!("{} {json}\n", digits(json.as_bytes()))
}

fn checked(line: &[u8]) -> Option<&[u8]> {
    let (digits_there, json) = line.split_at_checked(16)?;
    let json = json.strip_prefix(b" ")?;
    (digits_there == digits(json).as_bytes()).then_some(json)
}

fn digits(bytes: &[u8]) -> String {
    id::hex(&Md5::digest(bytes)[..8])
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: &str = "conf://h/r";

    fn texts(journal: &Journal) -> Vec<(u64, String)> {
        let outbox = journal.outbox();
        outbox.pending().map(|p| (p.n, Content::from_payload(&p.payload).text().to_owned())).collect()
    }

    fn say(journal: &mut Journal, text: &str) {
        journal.add(&Content::Text(text.into()), None).unwrap();
        journal.sync().unwrap();
    }

    #[test]
    fn t25_what_is_not_acknowledged_is_there_again_under_its_number() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("outbox");
        let mut journal = Journal::open(&path, ROOM).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        for text in ["one", "two\nlines", "three", "four"] {
            say(&mut journal, text);
        }
        journal.handle_done(1).unwrap();
        journal.handle_gone(3).unwrap();
        let source = journal.outbox().source();
        drop(journal);
        let mut journal = Journal::open(&path, ROOM).unwrap();
        assert_eq!(texts(&journal), [(2, "two\nlines".into()), (4, "four".into())]);
        assert_eq!((journal.outbox().source(), journal.outbox().next()), (source, 5));
        journal.handle_done(4).unwrap();
        drop(journal);
        let journal = Journal::open(&path, ROOM).unwrap();
        assert!(texts(&journal).is_empty() && journal.outbox().source() != source);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn t25_a_file_that_was_cut_anywhere_gives_what_was_whole() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("outbox");
        let mut journal = Journal::open(&path, ROOM).unwrap();
        let head = std::fs::metadata(&path).unwrap().len() as usize;
        (0..5).for_each(|n| say(&mut journal, &n.to_string()));
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for length in (head..whole.len()).step_by(7) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let got = texts(&Journal::open(&path, ROOM).unwrap());
            let kept = whole[head..length].iter().filter(|byte| **byte == b'\n').count();
            // An entry without its line end is whole too.
            assert!(got.len() == kept || got.len() == kept + 1, "{length}");
            assert!(
                got.iter().enumerate().all(|(at, (n, text))| *n == at as u64 + 1 && *text == at.to_string())
            );
        }
        let mut damaged = whole.clone();
        let at = head + (whole.len() - head) / 2;
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(texts(&Journal::open(&path, ROOM).unwrap()).len(), 4);
    }

    #[test]
    fn t25_an_outbox_serves_one_program_and_one_room_and_files_of_others_stay_as_they_are() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("outbox");
        let mut journal = Journal::open(&path, ROOM).unwrap();
        say(&mut journal, "x");
        assert!(Journal::open(&path, ROOM).unwrap_err().message.contains("in use"));
        drop(journal);
        let refused = Journal::open(&path, "conf://h/other").unwrap_err();
        assert!(refused.exit == Exit::File && refused.message.contains(ROOM));
        let other = home.path().join("notes");
        std::fs::write(&other, "my notes\n").unwrap();
        assert_eq!(Journal::open(&other, ROOM).unwrap_err().exit, Exit::File);
        assert_eq!(std::fs::read(&other).unwrap(), b"my notes\n");
        assert_eq!(Journal::open(home.path(), ROOM).unwrap_err().exit, Exit::File);
    }

    #[test]
    fn the_file_stays_small_however_much_is_said() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("outbox");
        let mut journal = Journal::open(&path, ROOM).unwrap();
        let text = Content::Text("x".repeat(50_000));
        for n in 1..=300 {
            journal.add(&text, None).unwrap();
            journal.handle_done(n).unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() < LARGE + 200_000);
        drop(journal);
        assert!(texts(&Journal::open(&path, ROOM).unwrap()).is_empty());
    }
}
