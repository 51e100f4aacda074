//! The journal of a part: which chunks are safe, so that the next run does not read the data to know.

use std::collections::BTreeMap;

use super::Listed;
use super::disk::Kept;
use crate::files::journal::JournalFile;
use crate::files::sink::{Directory, Error, Part};
use crate::transfer::journal::{Damage, Head, MAGIC};
use crate::transfer::{Journal, Layout, Ranges, Saved};

/// The journal of a part, open.
#[derive(Debug)]
pub(super) struct Record {
    file: JournalFile,
    journal: Journal,
    /// Bytes in the file.
    length: usize,
}

/// What an earlier run has left.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// The MD5 of every chunk that is safe.
    pub(super) md5s: BTreeMap<u32, [u8; 16]>,
    /// Where the MD5 of a single file goes on; only if nobody touched the file since.
    pub(super) saved: Option<Saved>,
    /// The journal is not what it was: every chunk that it speaks of has to be looked at.
    pub(super) doubtful: bool,
    /// What a person should know about it.
    pub(super) notice: Option<String>,
}

/// A part with its journal; without one where that cannot be read, and nothing in the part counts.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) part: Part,
    pub(super) record: Option<Record>,
    pub(super) found: Found,
}

impl Record {
    /// A journal for a new part.
    pub(super) fn begin(part: &Part, listed: &Listed) -> Result<Self, Error> {
        let journal = Journal::new(head(listed));
        let bytes = journal.to_bytes();
        let file = JournalFile::create(part.parent(), &part.journal(), &bytes)?;
        Ok(Self { file, journal, length: bytes.len() })
    }

    /// The part of `name` that an earlier run has left of this very offer; nothing where there is none, where it
    /// is another's, and while another program has it.
    pub(super) fn find(
        directory: &Directory,
        name: &str,
        tree: bool,
        listed: &Listed,
    ) -> Result<Option<Left>, Error> {
        let journal = Part::journal_of(name);
        // Before it is locked: whoever else it belongs to must not notice.
        match JournalFile::open(directory, &journal)? {
            Some((_, bytes)) if is_about(&bytes, listed) => {}
            _ => return Ok(None),
        }
        let part = match Part::open(directory, name, tree) {
            Ok(Some(part)) => part,
            Ok(None) | Err(Error::Busy(_) | Error::Foreign { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some((file, bytes)) =
            JournalFile::open(directory, &journal)?.filter(|(_, b)| is_about(b, listed))
        else {
            return Ok(None);
        };
        Self::read(file, &bytes, part, listed).map(Some)
    }

    /// Whether there is a journal of a part of `name`, readable or not.
    pub(super) fn is_there(directory: &Directory, name: &str) -> Result<bool, Error> {
        Ok(JournalFile::open(directory, &Part::journal_of(name))?.is_some())
    }

    fn read(mut file: JournalFile, bytes: &[u8], part: Part, listed: &Listed) -> Result<Left, Error> {
        let Ok(opened) = Journal::open(bytes) else {
            if let Some(journal) = Journal::recover(bytes, head(listed)) {
                return Self::recovered(file, journal, part);
            }
            let notice = format!(
                "the journal of {} is damaged, so what was received of it before cannot be used",
                part.name()
            );
            let found = Found { notice: Some(notice), ..Found::default() };
            return Ok(Left { part, record: None, found });
        };
        // Whoever wrote into the file last wrote into the journal after that. In the same moment by this clock
        // could be before it as well.
        let untouched = part.touched().zip(file.touched()).is_some_and(|(part, journal)| part < journal);
        let journal = opened.journal;
        let mut found = Found {
            md5s: journal.chunks().numbers().filter_map(|n| Some((n, journal.sum(n)?))).collect(),
            saved: journal.open_file().filter(|_| untouched).map(|(_, saved)| saved.clone()),
            doubtful: false,
            notice: None,
        };
        if opened.damage == Some(Damage::Wrong) {
            found.notice = Some(format!(
                "a part of the journal of {} is damaged; what it was about is fetched again",
                part.name()
            ));
        }
        if opened.damage.is_some() {
            file.cut(opened.good as u64)?;
        }
        let record = Self { file, journal, length: opened.good };
        Ok(Left { part, record: Some(record), found })
    }

    /// The beginning of the journal is damaged. What stands behind it is believed as far as the data bears it out.
    fn recovered(mut file: JournalFile, journal: Journal, part: Part) -> Result<Left, Error> {
        let bytes = journal.to_bytes();
        file.replace(&bytes)?;
        let notice = format!(
            "the beginning of the journal of {} is damaged; what was received before is looked at again",
            part.name()
        );
        let found = Found {
            md5s: journal.chunks().numbers().filter_map(|n| Some((n, journal.sum(n)?))).collect(),
            saved: None,
            doubtful: true,
            notice: Some(notice),
        };
        let record = Self { file, journal, length: bytes.len() };
        Ok(Left { part, record: Some(record), found })
    }

    /// Chunks are safe, and the MD5 of a single file has come so far.
    pub(super) fn add(&mut self, chunks: &[Kept], saved: Option<&Saved>) -> Result<(), Error> {
        let sums: Vec<(u32, [u8; 16])> = chunks.iter().map(|kept| (kept.chunk, kept.md5)).collect();
        let mut bytes = if sums.is_empty() { Vec::new() } else { self.journal.add_chunks(&sums) };
        if let Some(saved) = saved {
            bytes.extend(self.journal.add_chain(0, saved));
        }
        self.write(&bytes)
    }

    /// What was added is on the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file.sync()
    }

    /// Chunks are not what they should be.
    pub(super) fn remove(&mut self, chunks: &Ranges) -> Result<(), Error> {
        let mut bytes: Vec<u8> = chunks.iter().flat_map(|range| self.journal.remove_chunks(range)).collect();
        bytes.extend(self.journal.forget_files());
        self.write(&bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.append(bytes)?;
        self.length += bytes.len();
        if self.journal.is_long(self.length) {
            let bytes = self.journal.to_bytes();
            self.file.replace(&bytes)?;
            self.length = bytes.len();
        }
        Ok(())
    }

    /// Bytes that are safe, of the files that are wanted.
    pub(super) fn bytes(&self, layout: &Layout, wanted: &[bool]) -> u64 {
        self.journal.chunks().iter().map(|range| layout.bytes_of(range, wanted)).sum()
    }

    /// It is not needed any more.
    pub(super) fn discard(self) -> Result<(), Error> {
        self.file.remove()
    }
}

impl Found {
    /// The chunks that are safe.
    pub(super) fn kept(&self) -> Ranges {
        self.md5s.keys().map(|chunk| *chunk..*chunk + 1).collect()
    }

    /// Bytes that are safe, of the files that are wanted.
    pub(super) fn bytes(&self, layout: &Layout, wanted: &[bool]) -> u64 {
        self.kept().iter().map(|range| layout.bytes_of(range, wanted)).sum()
    }
}

/// Whether a journal is about this offer, or is one that cannot be read any more.
fn is_about(bytes: &[u8], listed: &Listed) -> bool {
    match Journal::open(bytes) {
        Ok(opened) => *opened.journal.head() == head(listed),
        Err(_) => {
            bytes.starts_with(&MAGIC[..MAGIC.len() - 2]) || Journal::recover(bytes, head(listed)).is_some()
        }
    }
}

fn head(listed: &Listed) -> Head {
    Head {
        offer: listed.id,
        room: listed.room.clone(),
        chunk_size: listed.layout.chunk_size(),
        manifest: listed.manifest.digest(),
    }
}
