//! Files, a text or a pipe into a room: what `conf-send` does with them.
//!
//! Three threads and a task. [`read`] reads chunks ahead, takes their sums, several at once, and makes frames of
//! them; [`chain`] follows the MD5 of each file; the task sends what is missing at the server, at most
//! [`UPLOAD_WINDOW`](crate::limits::UPLOAD_WINDOW) bytes of which it has not said that they are on its disk. What a later run needs to go
//! on is in a [`Ledger`].
//!
//! Between the threads wait at most [`AHEAD`] bytes that were read and not sent, and what was sent and is not
//! on the server's disk. Nothing is dropped: each waits for the next.

mod blame;
mod chain;
mod memory;
mod read;
mod sender;

use std::fs::File;
use std::io;

use tokio_util::sync::CancellationToken;

use self::memory::{Former, Memory};
use self::sender::Sender;
use super::figures::Figures;
use crate::files::ledger::Ledger;
use crate::files::source::{self, Found, Reader};
use crate::id::{OfferId, OfferNumber};
use crate::net::client::{self, Config, End, Event};
use crate::transfer::{self, About, Item, Kind, Layout, Manifest, Rules, Sum, Sums, chunk_size};
use crate::wire::Code;
use crate::wire::control::Refusal;
use crate::wire::offer::Going;
use crate::{limits, text};

/// Bytes that are read ahead of what may be sent.
const AHEAD: usize = 4 * 1024 * 1024;
/// What a text is called.
const TEXT: &str = "text.txt";
/// Characters of a text that stand for it.
const TITLE: usize = 40;

/// What is sent.
#[derive(Debug)]
pub enum What {
    /// Files and directories.
    Files(Found),
    /// A text.
    Text(String),
    /// What comes through a pipe.
    Pipe {
        /// What it is called.
        name: String,
        /// The pipe.
        file: File,
    },
}

/// How it is sent.
#[derive(Debug)]
pub struct Options {
    /// What.
    pub what: What,
    /// For one member only.
    pub to: Option<String>,
    /// Until somebody has all of it.
    pub wait: bool,
    /// At most so many bytes per second.
    pub limit: Option<u64>,
    /// Anew, whatever was sent before.
    pub restart: bool,
    /// The user expects that an earlier run is gone on with.
    pub resume: bool,
    /// What an earlier run has left.
    pub ledger: Option<Ledger>,
    /// The user has chosen the name, and wants to know where it is another.
    pub named: bool,
}

/// What is told while it goes on.
#[derive(Debug)]
pub enum News<'a> {
    /// The server knows it now.
    Begin {
        /// The room's number of the offer.
        offer: OfferNumber,
        /// What it is called.
        title: &'a str,
        /// How many files.
        files: u32,
        /// Bytes, where that is known.
        size: Option<u64>,
        /// Bytes that the server has already.
        before: u64,
    },
    /// How it goes.
    Figures(&'a Figures),
    /// A file is complete.
    File {
        /// Its path.
        path: &'a str,
        /// What it comes to.
        sum: &'a Sum,
    },
    /// Something for the user.
    Note(&'a str),
}

/// What was sent.
#[derive(Debug, Clone)]
pub struct Done {
    /// The room's number of the offer.
    pub offer: OfferNumber,
    /// The sums of its files, in order.
    pub sums: Sums,
}

/// Why it was not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The list of files cannot be sent.
    #[error("{0}")]
    List(#[from] transfer::Error),
    /// A file is not what it was.
    #[error(
        "{name} has changed {when}: what was sent of it is of no use{}", anew(*.taken)
    )]
    Changed {
        /// Which.
        name: String,
        /// Since when.
        when: &'static str,
        /// What was sent of it is taken back.
        taken: bool,
    },
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(String, io::Error),
    /// Threads, signals or what an earlier run has left are not to be had.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// There is no such member.
    #[error("nobody called {nick} is in the room{}", who(.present))]
    Nobody {
        /// Whom it was for.
        nick: String,
        /// Who is.
        present: Vec<String>,
    },
    /// The server does not take it.
    #[error("the server refused: {0}{hint}", hint = hint(.0))]
    Refused(Refusal),
    /// It has no room for the rest, and what it has is kept.
    #[error("the server refused: {0}{hint}; then the same command goes on", hint = hint(.0))]
    Full(Refusal),
    /// It is there no more.
    #[error("the offer is gone: {}; the same command offers it anew", gone(*.0))]
    Gone(Going),
    /// The server has lost what came through a pipe, or has given it up while there was no connection.
    #[error(
        "the server does not have what was sent of this any more, and a pipe cannot be read again; \
         run the whole command again, with what writes into the pipe"
    )]
    Lost,
    /// The connection does not come back, and what was sent is kept.
    #[error("broken off: {0}; the same command goes on from there")]
    BrokenOff(End),
    /// The server does not know what an offer is.
    #[error("this server does not answer an offer: it is an older conf-serve, which takes no files")]
    Unknowing,
    /// The server lives and does not do its work.
    #[error(
        "broken off: the server has not said for {} s what became of it; the same command goes on",
        limits::STALLED.as_secs()
    )]
    Silent,
    /// The session ended.
    #[error("{0}")]
    Ended(End),
}

impl From<source::ReadError> for Error {
    fn from(error: source::ReadError) -> Self {
        match error {
            source::ReadError::Changed(name) => {
                Self::Changed { name, when: "while it was sent", taken: true }
            }
            source::ReadError::Io(name, error) => Self::Read(name, error),
        }
    }
}

/// Sends it until all of it is on the server's disk, or `stop` is cancelled, which leaves nothing to return.
pub async fn run(
    options: Options,
    config: Config,
    stop: CancellationToken,
    mut report: impl FnMut(News<'_>),
) -> Result<Option<Done>, Error> {
    let job = Job::new(&options.what)?;
    let Options { what, to, wait, limit, restart, resume, ledger, named } = options;
    let identity = match &what {
        What::Files(found) => source::Identity::digest(found.files.iter().map(|file| &file.identity)),
        _ => [0; 16],
    };
    let (mut memory, former) = Memory::open(ledger, &job, identity, &config.address.to_string(), restart)?;
    let former = match former {
        Former::Nothing => None,
        Former::Replaced(former) => Some(former),
        Former::Changed(former) => {
            let taken = take_back(Which::Changed(former), config, &stop).await.is_ok();
            if taken {
                memory.forget();
            } else if stop.is_cancelled() {
                let what = &job.title;
                report(News::Note(&format!(
                    "stopped; {what} has changed since it was broken off, and what was sent of it is not taken \
                     back yet"
                )));
                return Ok(None);
            }
            return Err(Error::Changed { name: job.title, when: "since it was broken off", taken });
        }
    };
    let name = named.then(|| config.name.to_string());
    // A server that tells of no offers knows nothing of files.
    let (handle, events) = client::connect(Config { offers: true, ..config });
    let mut sender =
        Sender::new(handle, events, job, memory, sender::Wishes { to, wait, limit, resume, former, name });
    sender.start(what)?;
    let result = sender.run(&stop, &mut report).await;
    let result = match result {
        Err(Error::Refused(refusal)) if refusal.code == Code::Quota && sender.is_kept() => {
            Err(Error::Full(refusal))
        }
        result => result,
    };
    sender.take_back(&result).await;
    sender.leave(matches!(result, Ok(Some(_)))).await;
    result
}

/// Which offer is to be taken back over a session of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// The one of this number, because the user says so.
    Numbered(OfferNumber),
    /// One of an earlier run, if it is there and not complete: what it was made of has changed.
    Changed(OfferId),
}

/// Takes back the offer of this number.
pub async fn withdraw(offer: OfferNumber, config: Config) -> Result<(), Error> {
    take_back(Which::Numbered(offer), config, &CancellationToken::new()).await
}

/// See [`Which`]. What is replaced by something else is taken back over the session that sends that. When `stop` is
/// cancelled it is not waited for any more.
async fn take_back(which: Which, config: Config, stop: &CancellationToken) -> Result<(), Error> {
    const REQUEST: u64 = 1;
    let offers = matches!(which, Which::Changed(_));
    let (handle, mut events) = client::connect(Config { offers, ..config });
    let mut asked = false;
    let mut limit = None;
    let result = loop {
        // How long it takes to connect is limited there, and a person may be typing a password.
        let over = async {
            match limit {
                None => std::future::pending().await,
                Some(limit) => tokio::time::sleep_until(limit).await,
            }
        };
        let event = tokio::select! {
            // Who has asked for that needs no other reason.
            () = stop.cancelled() => break Err(Error::Silent),
            () = over => break Err(Error::Unknowing),
            event = events.next() => event,
        };
        match event {
            Some(Event::Up { .. }) => {
                limit.get_or_insert_with(|| tokio::time::Instant::now() + limits::ANSWER);
                if let Which::Numbered(offer) = which {
                    handle.withdraw(REQUEST, offer).await;
                }
            }
            Some(Event::OfferState(state)) if which == Which::Changed(state.offer_id) => {
                // What is complete was sent before it changed.
                if state.sealed {
                    break Ok(());
                }
                handle.give_up(REQUEST, state.offer, Going::Changed).await;
                asked = true;
            }
            Some(Event::OffersListed) if offers && !asked => break Ok(()),
            // The session decides how long it tries to come back, where this is all that the user wants. Else there
            // is one limit for all of it: a server that has gone does not keep anybody.
            Some(Event::Down { .. }) => {
                asked = false;
                limit = limit.filter(|_| offers);
            }
            Some(Event::Done { id: REQUEST }) | None => break Ok(()),
            Some(Event::Refused(refusal)) if refusal.id == Some(REQUEST) => {
                break Err(Error::Refused(refusal));
            }
            Some(Event::Ended(end)) => return Err(Error::Ended(end)),
            Some(_) => {}
        }
    };
    let well = result.is_ok();
    let closing = async { if well { handle.close().await } else { handle.close_now().await } };
    let both = async { tokio::join!(closing, async { while events.next().await.is_some() {} }) };
    // What counts is answered, or is not going to be; a goodbye that does not get through changes nothing.
    let _ = tokio::time::timeout(if well { sender::LEAVE } else { sender::LEAVE_NOW }, both).await;
    result
}

/// The list of what is sent.
pub fn manifest(what: &What) -> Result<Manifest, Error> {
    let items = match what {
        What::Text(text) => vec![item(TEXT, Some(text.len() as u64))],
        What::Pipe { name, .. } => return pipe(name),
        What::Files(found) => {
            let item = |from: &source::Source, dir: bool| Item {
                path: from.path.clone(),
                size: (!dir).then_some(from.identity.size),
                mtime: Some(from.mtime),
                dir,
            };
            let directories = found.directories.iter().map(|from| item(from, true));
            directories.chain(found.files.iter().map(|from| item(from, false))).collect()
        }
    };
    Ok(Manifest::new(items, Rules { hidden: true })?)
}

/// The list of a pipe of this name.
pub fn pipe(name: &str) -> Result<Manifest, Error> {
    Ok(Manifest::new(vec![item(name, None)], Rules { hidden: true })?)
}

fn item(name: &str, size: Option<u64>) -> Item {
    Item { path: vec![name.to_owned()], size, mtime: None, dir: false }
}

/// What is to be sent, as it does not change any more.
#[derive(Debug)]
struct Job {
    title: String,
    manifest: Manifest,
    about: About,
    pieces: Vec<bytes::Bytes>,
    layout: Layout,
    chunk_size: u32,
}

impl Job {
    fn new(what: &What) -> Result<Self, Error> {
        let manifest = manifest(what)?;
        let (title, kind) = match what {
            What::Text(said) => (text::shorten(said.lines().next().unwrap_or_default(), TITLE), Kind::Text),
            What::Pipe { name, .. } => (name.clone(), Kind::Pipe),
            What::Files(found) => (title(found), Kind::Files),
        };
        let chunk_size = chunk_size(manifest.total());
        Ok(Self {
            about: About::of(&manifest, &title, kind),
            pieces: manifest.pieces()?,
            layout: Layout::new(&manifest, chunk_size.into())?,
            title,
            manifest,
            chunk_size,
        })
    }

    /// It cannot be read again, also where its end has been seen and its size is known.
    fn is_pipe(&self) -> bool {
        self.manifest.total().is_none()
    }

    fn input(&self, what: What) -> read::Input {
        match what {
            What::Files(found) => {
                read::Input::Files(Reader::new(found.files, self.layout.clone()), self.layout.clone())
            }
            What::Text(text) => read::Input::Text(text.into_bytes().into(), self.layout.clone()),
            What::Pipe { file, .. } => read::Input::Pipe(read::Pipe::new(file, self.chunk_size)),
        }
    }

    fn follower(&self) -> chain::Follower {
        let sizes = self.manifest.files().iter().map(|file| file.size).collect();
        chain::Follower::new(self.layout.clone(), sizes)
    }
}

/// What files are called together: `a.txt`, `photos/`, `a.txt and 2 others`.
fn title(found: &Found) -> String {
    let mut tops: Vec<&str> = Vec::new();
    for source in found.files.iter().chain(&found.directories) {
        if let Some(top) = source.path.first()
            && !tops.contains(&top.as_str())
        {
            tops.push(top);
        }
    }
    let alone = found.files.len() == 1 && found.files[0].path.len() == 1 && found.directories.is_empty();
    match tops.as_slice() {
        [] => String::new(),
        [only] if alone => (*only).to_owned(),
        [only] => format!("{only}/"),
        [first, second] => format!("{first} and {second}"),
        [first, others @ ..] => format!("{first} and {} others", others.len()),
    }
}

fn anew(taken: bool) -> &'static str {
    match taken {
        true => " and is taken back; the same command sends it anew",
        false => "; the same command with --restart sends it anew",
    }
}

fn who(present: &[String]) -> String {
    match present {
        [] => ", which is empty".into(),
        present => format!("; who is: {}", present.join(", ")),
    }
}

fn hint(refusal: &Refusal) -> &'static str {
    match refusal.code {
        Code::Quota => {
            "; taking something back (conf-recv --list, conf-send --withdraw N) or a larger --store-quota of \
             conf-serve makes room"
        }
        _ => "",
    }
}

fn gone(reason: Going) -> &'static str {
    match reason {
        Going::Withdrawn => "its owner or a host has taken it back",
        Going::Expired => "it was older than the server keeps",
        Going::Changed => "what it is made of has changed",
        Going::Broken => "nobody went on with it for too long",
        Going::Removed => "whoever runs the server has removed it",
    }
}
