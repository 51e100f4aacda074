//! Offers and transfers, for the pipe.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::Pipe;
use super::ask::Wrong;
use crate::cli::chat::board::{self, Board, News as Change};
use crate::cli::chat::json::{Happened, Moved, Told};
use crate::cli::chat::lines;
use crate::cli::chat::transfers::{About, End, Get, Job, News, Send, Transfers, Whole};
use crate::cli::progress::json::{limit, state};
use crate::cli::recv::{self, Memory};
use crate::cli::{Exit, Failure};
use crate::id::{self, OfferNumber};
use crate::net::client::{Config, Event};
use crate::pipeline::offers::Offer;
use crate::terminal;
use crate::time::{self, Moment};

/// Between two objects of progress of a transfer.
const PROGRESS: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Files {
    board: Board,
    memory: Memory,
    pub(super) transfers: Transfers,
    /// When the next object of progress may come.
    next: BTreeMap<u32, Moment>,
    /// The first transfer that did not come to its end.
    pub(super) unfinished: Option<Failure>,
    quiet: bool,
}

impl Files {
    pub(super) fn new(config: &Config, quiet: bool) -> Self {
        Self {
            board: Board::default(),
            memory: Memory::load(),
            transfers: Transfers::new(config),
            next: BTreeMap::new(),
            unfinished: None,
            quiet,
        }
    }

    /// Whether it is known what is offered.
    pub(super) fn is_listed(&self) -> bool {
        self.board.offers().is_listed()
    }
}

impl Pipe {
    /// What an event of the session says of offers.
    pub(super) fn handle_offers(&mut self, event: &Event) {
        for news in self.files.board.handle(event) {
            let (happened, number) = match news {
                Change::Listed => {
                    self.list_offers(None);
                    continue;
                }
                Change::Gone(offer, reason, by) => {
                    let object = self.object_of(&offer);
                    self.voice.tell(&Told::Offer {
                        event: Happened::Gone,
                        reason: Some(reason),
                        by: by.as_ref().map(|by| by.by),
                        by_name: by.as_ref().map(|by| by.by_name.as_str()),
                        offer: object,
                    });
                    let seen = board::seen(&offer, &self.roster, &self.files.memory);
                    let by = by.as_ref().map(|by| by.by_name.as_str());
                    self.note_offer(&terminal::gone(&seen, board::gone(reason), by));
                    continue;
                }
                Change::New(number) => (Happened::New, number),
                Change::Complete(number) => (Happened::Complete, number),
                Change::Received(number, _) => (Happened::Received, number),
                Change::Changed(number) => (Happened::Change, number),
            };
            let Some(offer) = self.files.board.offers().by_number(number) else { continue };
            let object = self.object_of(offer);
            let seen = board::seen(offer, &self.roster, &self.files.memory);
            self.voice.tell(&Told::Offer {
                event: happened,
                reason: None,
                by: None,
                by_name: None,
                offer: object,
            });
            match happened {
                Happened::New => self.note_offer(&terminal::offered(&seen, "conf-recv")),
                Happened::Complete => self.note_offer(&format!("{} is complete", terminal::named(&seen))),
                _ => {}
            }
        }
    }

    /// All that is offered.
    pub(super) fn list_offers(&mut self, id: Option<Value>) {
        let offers = self.files.board.offers().iter().map(|offer| self.object_of(offer)).collect();
        self.voice.tell(&Told::Offers { offers, id: &id });
    }

    /// The number of the offer that a number or a name means.
    pub(super) fn find_offer(&self, what: &Value) -> Result<&Offer, Wrong> {
        let what = match what {
            Value::Number(number) => number.to_string(),
            Value::String(name) => name.clone(),
            _ => return Err(Wrong::usage("offer is a number or a name")),
        };
        let shown = || crate::text::for_log(what.as_bytes(), 100);
        let offer = self.files.board.offers().find(&what);
        offer.ok_or_else(|| format!("nothing called {} is offered", shown()).into())
    }

    pub(super) fn get(
        &mut self,
        what: &Value,
        directory: Option<String>,
        id: Option<Value>,
    ) -> Result<(), Wrong> {
        let offer = self.find_offer(what)?;
        let job = Get {
            offer: offer.state.offer_id,
            number: offer.state.offer,
            title: offer.title().to_owned(),
            directory: directory.map(PathBuf::from).unwrap_or_default(),
            text: false,
        };
        Ok(self.files.transfers.begin(Job::Get(job), id).map(drop)?)
    }

    pub(super) fn send(
        &mut self,
        paths: Vec<String>,
        to: Option<String>,
        id: Option<Value>,
    ) -> Result<(), Wrong> {
        let Some(first) = paths.first() else { return Err(Wrong::usage("paths is empty")) };
        let title = first.clone();
        let job = Send { paths: paths.into_iter().map(PathBuf::from).collect(), to, title };
        Ok(self.files.transfers.begin(Job::Send(job), id).map(drop)?)
    }

    pub(super) fn cancel(&mut self, transfer: u32) -> Result<(), Wrong> {
        self.files.transfers.about(transfer).ok_or_else(|| "there is no such transfer".to_owned())?;
        self.files.transfers.cancel(transfer);
        Ok(())
    }

    /// What a transfer tells.
    pub(super) fn handle_transfer(&mut self, news: News) {
        match news {
            News::Begun { id, before } => {
                let Some(about) = self.files.transfers.about(id) else { return };
                let moved = Moved { event: "begin", bytes: Some(before), ..moved(id, about) };
                self.voice.tell(&Told::Transfer(moved));
            }
            News::Figures { id, figures, rate, left } => {
                let now = time::now();
                let next = self.files.next.entry(id).or_default();
                let Some(about) = self.files.transfers.about(id).filter(|_| *next <= now) else { return };
                *next = now + PROGRESS;
                self.voice.tell(&Told::Transfer(Moved {
                    event: "progress",
                    state: Some(state(figures.doing)),
                    bytes: Some(figures.done),
                    size: figures.total,
                    rate: rate.map(|rate| rate as u64),
                    left_s: left.map(|left| left.as_secs()),
                    limit: figures.bound.filter(|_| rate.is_some()).map(limit),
                    ..moved(id, about)
                }));
            }
            News::Note { id, text } => {
                let Some(about) = self.files.transfers.about(id) else { return };
                self.voice.tell(&Told::Transfer(Moved {
                    event: "note",
                    message: Some(text),
                    ..moved(id, about)
                }));
            }
            News::Ended { id, about, end } => self.handle_end(id, &about, end),
        }
    }

    fn handle_end(&mut self, id: u32, about: &About, end: End) {
        self.files.next.remove(&id);
        if let (End::Whole(_) | End::Skipped, Job::Get(get)) = (&end, &about.job) {
            self.files.memory.add(get.offer, self.address.room.as_str());
        }
        let title = crate::text::for_log(about.title.as_bytes(), 100);
        let (exit, message, files) = match end {
            End::Whole(files) => (Exit::Done, None, files),
            End::Text(_) | End::Skipped => (Exit::Done, None, Vec::new()),
            End::Stopped => (
                Exit::Incomplete,
                Some("broken off; the same again goes on from there".to_owned()),
                Vec::new(),
            ),
            End::Failed(failure) => (failure.exit, Some(failure.message), Vec::new()),
        };
        if let Some(message) = &message {
            let failure = Failure::new(exit, format!("{title}: {message}"));
            self.files.unfinished.get_or_insert(failure);
        }
        self.voice.tell(&Told::Transfer(Moved {
            event: "end",
            exit: Some(exit as u8),
            message,
            files: Some(files.iter().map(whole).collect()),
            ..moved(id, about)
        }));
    }

    fn object_of(&self, offer: &Offer) -> Value {
        recv::one(offer, board::is_own(offer, &self.roster), &self.files.memory)
    }

    /// Tells people something about an offer.
    fn note_offer(&mut self, text: &str) {
        let now = time::wall() as f64 / 1e6;
        self.voice.note(now, text);
        if !self.voice.is_json() && !self.files.quiet {
            let _ = writeln!(io::stderr(), "{} {text}", lines::clock(now, &TimeZone::system()));
        }
    }

    /// The number of an offer, for withdrawing it.
    pub(super) fn offer_number(&self, what: &Value) -> Result<OfferNumber, Wrong> {
        self.find_offer(what).map(|offer| offer.state.offer)
    }
}

fn moved(id: u32, about: &About) -> Moved {
    Moved {
        transfer: id,
        direction: if about.sends() { "send" } else { "receive" },
        offer: about.offer,
        title: about.title.clone(),
        id: about.tag.clone(),
        ..Moved::default()
    }
}

fn whole(file: &Whole) -> Value {
    let place = file.place.to_string_lossy();
    json!({ "path": file.path, "place": place, "size": file.size, "md5": id::hex(&file.md5) })
}
