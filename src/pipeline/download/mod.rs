//! From the room to the disk: what `conf-recv` does with an offer.
//!
//! In steps, so that a person can be asked between them: [`list`] learns what is in an offer, [`Target::look`]
//! finds a place and what is in the way, [`run()`] fetches, checks and puts everything in its place, and
//! [`stream()`] does without a place and writes the bytes of a single file as they come. All of them go on over
//! broken connections and restarts of the server.
//!
//! What was received is in a part ([`sink`]) with a journal beside it; a run that breaks off
//! leaves both, and the next one goes on from there.

mod chain;
mod disk;
mod fetch;
mod leftover;
mod patience;
mod present;
mod record;
mod room;
mod run;
mod shown;
mod stream;
mod taken;
mod target;
mod whole;

use std::io;

use crate::files::sink;
use crate::id::{OfferId, OfferNumber};
use crate::net::client::End;
use crate::pipeline::offers::Offer;
use crate::transfer::{self, Entry, Layout, Manifest, Rules};
use crate::wire::Part;
use crate::wire::control::Refusal;
use crate::wire::offer::Going;
use crate::{limits, text};

pub use fetch::fetch_list;
pub use leftover::Leftover;
pub use present::compare;
pub use room::{Happened, Room};
pub use run::{Note, Outcome, Received, run};
pub use shown::read;
pub use stream::stream;
pub use target::{IfExists, Target};

/// What is in an offer, judged.
#[derive(Debug, Clone)]
pub struct Listed {
    /// What its sender calls it.
    pub id: OfferId,
    /// The room that it is in, as its address.
    pub room: String,
    /// What is in it.
    pub manifest: Manifest,
    /// What is where in its chunks.
    pub layout: Layout,
    /// Bytes in all, where its sender or, of a pipe that has ended, the server says so.
    pub size: Option<u64>,
    /// What is hidden is taken, too.
    pub hidden: bool,
}

/// Why an offer was not received.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The session is over.
    #[error("{0}")]
    Ended(End),
    /// The session was over before.
    #[error("the session is over")]
    Over,
    /// The user has had enough.
    #[error("interrupted")]
    Interrupted,
    /// It was withdrawn, or the server has forgotten it.
    #[error("offer {number} is there no more: {}", gone(.reason))]
    Gone {
        /// Its number.
        number: OfferNumber,
        /// Why.
        reason: Going,
    },
    /// The server was restarted without it.
    #[error("the server does not know this offer any more; it goes on when its sender sends it again")]
    Missing,
    /// The server lives and does not do its work.
    #[error("the server has sent nothing of it for {} s", limits::STALLED.as_secs())]
    Silent,
    /// This machine's disk neither writes nor fails.
    #[error("this machine's disk has taken nothing for {} s", limits::STALLED.as_secs())]
    Stuck,
    /// The server does not hand it out.
    #[error("the server refused: {0}")]
    Refused(Refusal),
    /// What is in it is not taken.
    #[error("not accepted: {0}")]
    Judged(#[from] transfer::Error),
    /// It cannot be written.
    #[error("{0}")]
    Sink(#[from] sink::Error),
    /// Threads cannot be started, or the like.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Files of that name are there.
    #[error("{} already; choose with --if-exists rename, skip or overwrite", exist(.0, *.1))]
    Exists(String, usize),
    /// More than fits.
    #[error("{} more are needed, and {} are free", text::size(*.needed), text::size(*.free))]
    Space {
        /// Bytes that are missing.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// There is no single file to be called that.
    #[error("this offer has {0} files; name a directory with -o DIR/")]
    Several(usize),
    /// It is longer than it was said, or than the user takes.
    #[error("it has {}, which is more than {}", known(*.size), text::size(*.most))]
    Large {
        /// Bytes that are taken.
        most: u64,
        /// Bytes that it has, where that is known.
        size: Option<u64>,
    },
    /// What arrived is not what was sent, even the second time.
    #[error("{file} is damaged: {what}; it stays as a part, and is not used")]
    Damaged {
        /// Which file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
}

/// Learns what is in an offer. Where hidden names are not taken, they are left out, unless there is nothing else.
pub async fn list(room: &mut Room, id: OfferId, address: &str, rules: Rules) -> Result<Listed, Error> {
    let pieces = fetch_list(room, id, Part::Manifest).await?;
    let offer = room.offer(id).ok_or(Error::Missing)?;
    let manifest = Manifest::judge(&pieces, Rules { hidden: true })?;
    if !rules.hidden && manifest.files().iter().chain(manifest.directories()).all(Entry::is_hidden) {
        // By the stricter rule, for what it says.
        Manifest::judge(&pieces, rules)?;
    }
    let layout = Layout::new(&manifest, u64::from(offer.state.chunk_size))?;
    // The list is what is accepted; what the server was told must be the same.
    if offer.state.size.is_some_and(|size| manifest.total().is_some_and(|total| total != size)) {
        return Err(transfer::Error::Large.into());
    }
    let size = manifest.total().or(offer.state.size);
    Ok(Listed { id, room: address.to_owned(), manifest, layout, size, hidden: rules.hidden })
}

impl Listed {
    /// Whether an entry is received, as far as its name goes.
    pub(crate) fn takes(&self, entry: &Entry) -> bool {
        self.hidden || !entry.is_hidden()
    }

    /// How many files and directories are left out because they are hidden.
    pub fn left_out(&self) -> usize {
        let entries = self.manifest.files().iter().chain(self.manifest.directories());
        entries.filter(|entry| !self.takes(entry)).count()
    }

    /// How many files there are but for those.
    pub fn files(&self) -> usize {
        self.manifest.files().iter().filter(|file| self.takes(file)).count()
    }

    /// Bytes of all files but for those.
    pub fn bytes(&self) -> Option<u64> {
        let left_out = self.manifest.files().iter().filter(|file| !self.takes(file));
        self.size.map(|size| size.saturating_sub(left_out.filter_map(|file| file.size).sum()))
    }

    /// What is received of it as text: size and path, one a line.
    pub fn lines(&self) -> impl Iterator<Item = (Option<u64>, String)> + '_ {
        let files = self.manifest.files().iter().filter(|file| self.takes(file));
        let made = self.manifest.directories().iter().filter(|made| self.takes(made));
        let files = files.map(|file| (file.size, file.path.to_string()));
        files.chain(made.map(|made| (None, format!("{}/", made.path))))
    }
}

impl Offer {
    /// Whether fetching it now would have to wait for its sender.
    pub fn is_waiting(&self) -> bool {
        !self.state.sealed && !self.state.uploading
    }
}

fn gone(reason: &Going) -> &'static str {
    match reason {
        Going::Withdrawn => "it was withdrawn",
        Going::Expired => "it was older than the server keeps",
        Going::Changed => {
            "it changed at its sender while it was sent; it can be received when it is sent anew"
        }
        Going::Broken => "its sender stopped before all of it was there, and cannot go on with it",
        Going::Removed => "it was removed at the server",
    }
}

fn known(size: Option<u64>) -> String {
    size.map_or_else(|| "no size that is known".into(), text::size)
}

fn exist(names: &str, count: usize) -> String {
    if count == 1 { format!("{names} exists") } else { format!("{names} exist") }
}

#[cfg(test)]
mod tests;
