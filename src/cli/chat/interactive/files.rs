//! Offers and transfers on the screen.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::{Table, now};
use crate::cli::chat::board::{self, News as Change};
use crate::cli::chat::paths;
use crate::cli::chat::transfers::{About, End, Get, Job, News, Send, Whole};
use crate::cli::progress::Direction;
use crate::cli::progress::line::Shown;
use crate::cli::{signal, units};
use crate::files::source;
use crate::id::{self, OfferNumber};
use crate::net::client;
use crate::pipeline::figures::Figures;
use crate::terminal::{self, Event, Offer, OfferNews, Transfer, Word};
use crate::text;
use crate::transfer::Kind;

/// Files whose sums are told one by one; more are counted.
const SUMS: usize = 20;
/// How long it is waited for a directory to be read.
const LOOK: Duration = Duration::from_millis(500);
/// How long leaving waits for transfers to be broken off in order.
const BREAK_OFF: Duration = Duration::from_secs(10);

impl Table<'_> {
    /// What an event of the session says of offers, for the screen.
    pub(super) fn offered(&mut self, event: &client::Event) -> Vec<Event> {
        let news = self.board.handle(event);
        news.into_iter().flat_map(|news| self.news_of_offer(news)).collect()
    }

    fn news_of_offer(&mut self, news: Change) -> Vec<Event> {
        let changed = |table: &Self, number, news| {
            let offer = table.board.offers().by_number(number);
            offer.map(|offer| Event::Offer(table.seen(offer), news)).into_iter().collect()
        };
        match news {
            Change::Listed => {
                let offers: Vec<Offer> = self.board.offers().iter().map(|offer| self.seen(offer)).collect();
                let new = offers.iter().filter(|offer| !offer.own && !offer.received).count();
                let first = !std::mem::replace(&mut self.listed, true);
                let told = match new {
                    1.. if first => {
                        let what = if new == 1 { "1 offer is".into() } else { format!("{new} offers are") };
                        Some(Event::Notice(format!("{what} here from before; /files lists what there is")))
                    }
                    _ => None,
                };
                [Event::Offers(offers)].into_iter().chain(told).collect()
            }
            Change::New(number) => changed(self, number, OfferNews::New),
            Change::Complete(number) => changed(self, number, OfferNews::Complete),
            Change::Received(number, count) => changed(self, number, OfferNews::Received(count)),
            Change::Changed(number) => changed(self, number, OfferNews::Changed),
            Change::Gone(offer, reason, by) => {
                let by = by.map(|by| (by.by, by.by_name));
                vec![Event::OfferGone { offer: self.seen(&offer), why: board::gone(reason).into(), by }]
            }
        }
    }

    fn seen(&self, offer: &crate::pipeline::offers::Offer) -> Offer {
        board::seen(offer, &self.roster, &self.memory)
    }

    /// Fetches offers.
    pub(super) fn get(&mut self, offers: Vec<Offer>, directory: Option<&Word>) {
        let directory = match directory.map(|word| paths::path(word, home().as_deref())) {
            None => PathBuf::new(),
            Some(Ok(path)) => path,
            Some(Err(why)) => return self.say(Event::Warning(why)),
        };
        for offer in offers {
            let Some(known) = self.board.offers().by_number(offer.number) else { continue };
            let about = known.about.as_ref();
            let job = Get {
                offer: known.state.offer_id,
                number: offer.number,
                title: offer.title,
                directory: directory.clone(),
                text: about.is_some_and(|about| about.kind == Kind::Text),
            };
            self.begin(Job::Get(job));
        }
    }

    /// Offers files.
    pub(super) async fn send(&mut self, to: Option<String>, words: Vec<Word>) {
        let expanding = tokio::task::spawn_blocking(move || paths::expand(&words, home().as_deref()));
        // As below: a file system that does not answer must not hold the keys up.
        let expanded = match tokio::time::timeout(LOOK, expanding).await {
            Ok(Ok(expanded)) => expanded,
            Ok(Err(_)) | Err(_) => Err("a directory there does not answer; nothing was sent".into()),
        };
        match expanded {
            Ok(paths) => {
                let title = match paths.as_slice() {
                    [] => return,
                    [only] => source::shown(only),
                    [first, others @ ..] => format!("{} and {} more", source::shown(first), others.len()),
                };
                self.begin(Job::Send(Send { paths, to, title }));
            }
            Err(why) => self.say(Event::Warning(why)),
        }
    }

    fn begin(&mut self, job: Job) {
        match self.transfers.begin(job, None) {
            Ok(id) => {
                self.warned = false;
                let waits = if self.transfers.is_waiting(id) { "waits for its turn" } else { "begins" };
                self.show_moving(id, "", None, vec![waits.into()]);
            }
            Err(why) => self.say(Event::Warning(why)),
        }
    }

    /// Breaks transfers off.
    pub(super) fn cancel(&mut self, transfers: &[u32]) {
        for id in transfers {
            self.transfers.cancel(*id);
        }
    }

    /// Takes an offer back, once what this program sends of it is broken off.
    pub(super) async fn withdraw(&mut self, number: OfferNumber) {
        self.requests += 1;
        self.room.withdraw(self.requests, number).await;
    }

    /// What goes on with a path that is being typed.
    pub(super) async fn look_for_paths(&mut self, typed: String) {
        let looking = tokio::task::spawn_blocking(move || {
            let found = paths::completions(&typed, home().as_deref());
            (typed, found)
        });
        // A directory that does not answer must not hold the keys up; its thread ends when it does.
        match tokio::time::timeout(LOOK, looking).await {
            Ok(Ok((typed, found))) => self.say(Event::Paths { typed, found }),
            Ok(Err(_)) | Err(_) => self.say(Event::Notice("that directory does not answer".into())),
        }
    }

    /// What a transfer tells.
    pub(super) fn handle_transfer(&mut self, news: News) {
        self.dirty = true;
        match news {
            News::Begun { id, .. } => self.show_moving(id, "", None, vec!["begins".into()]),
            News::Figures { id, figures, rate, left } => {
                let direction = match self.transfers.about(id) {
                    Some(about) if about.sends() => Direction::Send,
                    _ => Direction::Receive,
                };
                let shown = Shown { figures: &figures, rate, left, direction };
                self.show_moving(id, &shown.head(), Some(&figures), shown.parts());
            }
            News::Note { id, text } => {
                let title = self.transfers.about(id).map_or_else(String::new, title);
                self.say(Event::Notice(format!("{title}: {text}")));
            }
            News::Ended { id, about, end } => {
                if let (End::Whole(_) | End::Text(_) | End::Skipped, Job::Get(get)) = (&end, &about.job) {
                    self.memory.add(get.offer, self.address.room.as_str());
                    if let Some(offer) = self.board.offers().by_id(get.offer) {
                        let seen = self.seen(offer);
                        self.say(Event::Offer(seen, OfferNews::Changed));
                    }
                }
                let failed = matches!(end, End::Failed(_));
                let text = ended(&about, &end);
                self.say(Event::Moved { id, text, failed });
            }
        }
    }

    fn show_moving(&mut self, id: u32, head: &str, figures: Option<&Figures>, parts: Vec<String>) {
        let Some(about) = self.transfers.about(id) else { return };
        let transfer = Transfer {
            id,
            offer: about.offer,
            title: text::scrub(&about.title, crate::limits::SENTENCE),
            sends: about.sends(),
            head: head.to_owned(),
            done: figures.map_or(0, |figures| figures.done),
            total: figures.and_then(|figures| figures.total),
            parts,
        };
        self.say(Event::Moving(transfer));
    }

    /// Breaks everything off, and says on stderr, which the screen has left, how it goes on.
    pub(super) async fn break_off(&mut self) {
        self.transfers.stop();
        let all = async {
            while self.transfers.count() > 0 {
                if let News::Ended { about, end, .. } = self.transfers.next().await {
                    let _ = writeln!(io::stderr(), "{}", ended(&about, &end));
                }
            }
        };
        // Whatever does not end in this time has what it has on the disk.
        let _ = tokio::time::timeout(BREAK_OFF, all).await;
    }

    /// Whether leaving has to be asked for once more, because something is on its way.
    pub(super) fn warn_of_transfers(&mut self) -> bool {
        let count = self.transfers.count();
        if count == 0 || std::mem::replace(&mut self.warned, true) {
            return false;
        }
        // A signal that asks to end is not asked back.
        if signal::received().is_some() {
            return false;
        }
        let what = if count == 1 { "1 transfer is".into() } else { format!("{count} transfers are") };
        self.say(Event::Warning(format!(
            "{what} not done; once more leaves all the same: what has come so far is kept, and goes on later"
        )));
        true
    }

    fn say(&mut self, event: Event) {
        self.dirty = true;
        self.screen.handle_event(event, now());
    }
}

/// What of an event beside messages stands in the log.
pub(super) fn noted(event: &Event) -> Option<String> {
    match event {
        Event::Gap(what) => Some(what.clone()),
        Event::Deed(deed) => Some(deed.sentence(None)),
        Event::Offer(offer, OfferNews::New) => Some(terminal::offered(offer, "conf-recv")),
        Event::Offer(offer, OfferNews::Complete) => Some(format!("{} is complete", terminal::named(offer))),
        Event::OfferGone { offer, why, by } => {
            Some(terminal::gone(offer, why, by.as_ref().map(|(_, name)| name.as_str())))
        }
        _ => None,
    }
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

/// A transfer in a sentence.
fn title(about: &About) -> String {
    let title = text::shorten(&text::scrub(&about.title, crate::limits::SENTENCE), 60);
    match about.offer {
        Some(number) => format!("#{number} {title}"),
        None => title,
    }
}

/// How a transfer ended, for people.
fn ended(about: &About, end: &End) -> String {
    let what = title(about);
    match (end, about.sends()) {
        (End::Whole(files), true) => format!("sent {what}: {}", sums(files, false)),
        (End::Whole(files), false) => format!("fetched {what}: {}", sums(files, true)),
        (End::Text(text), _) => format!("{what} says:\n{text}"),
        (End::Skipped, _) => format!("{what}: everything is there already"),
        (End::Stopped, true) => format!("{what}: broken off; sent again it goes on from there"),
        (End::Stopped, false) => {
            let number = about.offer.map_or_else(String::new, |number| number.to_string());
            format!("{what}: broken off; /get {number} or conf-recv {number} goes on from there")
        }
        (End::Failed(failure), true) => format!("{what} was not sent: {failure}"),
        (End::Failed(failure), false) => format!("{what} was not fetched: {failure}"),
    }
}

/// Size and MD5 of files, and where they are.
fn sums(files: &[Whole], places: bool) -> String {
    let name = |file: &Whole| match places {
        true => source::shown(&file.place),
        false => text::scrub(&file.path, crate::limits::SENTENCE),
    };
    let all: u64 = files.iter().map(|file| file.size).sum();
    if let [file] = files {
        let place = if places { format!(" in {}", name(file)) } else { String::new() };
        return format!("{}{place}, MD5 {}", units::size(file.size), id::hex(&file.md5));
    }
    let lines = files.iter().take(SUMS).map(|file| format!("\n{}  {}", id::hex(&file.md5), name(file)));
    let more = files.len().saturating_sub(SUMS);
    let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
    format!("{} files, {}{}{more}", files.len(), units::size(all), lines.collect::<String>())
}
