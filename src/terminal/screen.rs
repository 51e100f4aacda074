//! The state of the screen and what events of the room do to it.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::complete::Completion;
use super::files::{self, Files, Offer, OfferNews, Transfer};
use super::input::Input;
use super::line::{Draft, Fate, Kind, Line, Message, Traffic};
use super::links;
use super::members::{Members, Person};
use super::past::Past;
use super::reading::Reading;
use super::scrollback::Scrollback;
use super::style::Theme;
use super::words::Word;
use crate::id::{MemberId, OfferNumber};
use crate::time::Moment;

/// Two rings are at least this far apart.
const RING: Duration = Duration::from_secs(2);
/// Who was here before the server forgot the room is waited for this long before it is said to have left.
const RETURN: Duration = Duration::from_secs(15);
/// Clocks that differ by less are right.
const SKEW: f64 = 120.0;
/// What came this much later than it was written says when that was.
const LATE: f64 = 1800.0;
/// Own messages that were passed on come back in less.
const ECHO: Duration = Duration::from_secs(3);

/// The time by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For durations.
    pub moment: Moment,
    /// Seconds since 1970.
    pub wall: f64,
}

/// What stands still.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of the room.
    pub room: String,
    /// The name of the person.
    pub name: String,
    /// Where the person is.
    pub zone: TimeZone,
    /// Colours.
    pub theme: Theme,
}

/// What happens in the room and to the connection. Texts are scrubbed.
#[derive(Debug, Clone)]
pub enum Event {
    /// The program is in the room.
    Up {
        /// The name that the server gave.
        name: String,
        /// The last message that the person has read, where that is known.
        read: Option<u64>,
    },
    /// Who is there; replaces what was known.
    People(Vec<Person>),
    /// A member came or changed.
    Person(Person),
    /// A member left.
    Left(MemberId),
    /// A message, in the order of the room.
    Said(Message),
    /// Messages from before those that were told, in order: the answer to [`Action::Older`]. None: there are
    /// no more.
    Older(Vec<Message>),
    /// Older messages cannot be had now.
    NoOlder,
    /// Messages that cannot be had.
    Gap(String),
    /// What was said before has been told.
    CaughtUp,
    /// What was typed waits for the server, as number `n`.
    Posted {
        /// What.
        draft: Draft,
        /// Its number.
        n: u64,
    },
    /// What was typed cannot even wait.
    NotPosted {
        /// What.
        draft: Draft,
        /// Why.
        why: String,
    },
    /// Own messages through this number were passed on.
    Relayed(u64),
    /// The server refused an own message.
    Unsent {
        /// Which.
        n: u64,
        /// Why.
        why: String,
    },
    /// The server has given another name, or the same.
    Renamed,
    /// Whether people are let in.
    Locked(bool),
    /// All that is offered; replaces what was known.
    Offers(Vec<Offer>),
    /// An offer came or changed.
    Offer(Offer, OfferNews),
    /// An offer is there no more.
    OfferGone {
        /// What it was.
        offer: Offer,
        /// What became of it, behind "was" or the like.
        why: String,
    },
    /// A file is on its way.
    Moving(Transfer),
    /// It is not any more.
    Moved {
        /// The number of the transfer.
        id: u32,
        /// How it ended.
        text: String,
        /// Whether that is not as it should be.
        failed: bool,
    },
    /// Paths that go on with what was typed; the answer to [`Action::Paths`].
    Paths {
        /// What was typed.
        typed: String,
        /// All of each; directories end with a slash.
        found: Vec<String>,
    },
    /// The connection is lost.
    Down {
        /// Why.
        why: String,
        /// When the next try comes.
        retry: Moment,
    },
    /// The program has something to say.
    Notice(String),
    /// Something is wrong.
    Warning(String),
}

/// What the screen wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Say it; answered by [`Event::Posted`] or [`Event::NotPosted`].
    Post(Draft),
    /// Tell the others whether something is being typed.
    Typing(bool),
    /// Tell the others that one is away, and why; or back.
    Away(Option<String>),
    /// Take another name.
    Rename(String),
    /// What hosts do: lock, unlock, kick, mute, unmute, host, unhost.
    Moderate(super::Command, Option<MemberId>),
    /// Ask for messages before this number.
    Older(u64),
    /// Say how the connection is.
    Statistics,
    /// Fetch offers, into a directory that is not the current one where there is one.
    Get {
        /// Which.
        offers: Vec<Offer>,
        /// Where to.
        directory: Option<Word>,
    },
    /// Offer files.
    Send {
        /// The name of the only member for whom they are.
        to: Option<String>,
        /// Which.
        paths: Vec<Word>,
    },
    /// Break transfers off.
    Cancel(Vec<u32>),
    /// Take an offer back.
    Withdraw(OfferNumber),
    /// Look for paths that go on with this; answered by [`Event::Paths`].
    Paths(String),
    /// Ring.
    Ring,
    /// Stop until the shell goes on.
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// Leave the room.
    Quit,
    /// Leave the room as Ctrl-C asks for.
    Interrupt,
}

/// How the connection is.
#[derive(Debug)]
pub(super) enum Connection {
    Connecting,
    Up,
    Down { why: String, retry: Moment },
}

/// What is being looked for.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) wanted: String,
    pub(super) at: Option<u64>,
}

/// The screen: what stands on it and what is typed. It has no terminal, no connection and no clock.
#[derive(Debug)]
pub struct Screen {
    pub(super) settings: Settings,
    pub(super) topic: String,
    pub(super) locked: bool,
    pub(super) connection: Connection,
    pub(super) lines: Scrollback,
    pub(super) members: Members,
    pub(super) input: Input,
    pub(super) completion: Option<Completion>,
    /// What was pasted and waits for a yes.
    pub(super) paste: Option<String>,
    /// Keys before this moment belong to what was pasted.
    pub(super) burst: Option<Moment>,
    /// A sentence that stands until the next key.
    pub(super) hint: Option<String>,
    pub(super) search: Option<Search>,
    /// When the last key was pressed and when the others were told, while they see "typing".
    pub(super) typing: Option<(Moment, Moment)>,
    pub(super) input_width: usize,
    pub(super) page: usize,
    /// Offers, and files on their way.
    pub(super) files: Files,
    /// Cells of a row of what the program says, when it was drawn last.
    pub(super) cells: usize,
    /// Alt-L: nothing but what is said, for marking it with the mouse.
    pub(super) bare: bool,
    /// Alt-M: members are in the bar.
    pub(super) without_members: bool,
    /// Whose messages are not shown: what their colours are made of, which names a person, and their names.
    pub(super) ignored: Vec<(u64, String)>,
    /// The name that was asked for.
    pub(super) wanted: Option<String>,
    /// What is older than what stands here.
    pub(super) past: Past,
    /// What the person has read.
    pub(super) reading: Reading,
    /// When own messages were passed on.
    relayed: Option<Moment>,
    pub(super) caught_up: bool,
    known: bool,
    /// Who was here before the server forgot the room, and until when they are waited for.
    absent: Vec<(Person, Moment)>,
    rung: Option<Moment>,
    day: Option<Date>,
}

impl Screen {
    /// An empty screen.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            topic: String::new(),
            locked: false,
            connection: Connection::Connecting,
            lines: Scrollback::default(),
            members: Members::default(),
            input: Input::default(),
            completion: None,
            paste: None,
            burst: None,
            hint: None,
            search: None,
            typing: None,
            input_width: 20,
            page: 10,
            files: Files::default(),
            cells: 40,
            bare: false,
            without_members: false,
            ignored: Vec::new(),
            wanted: None,
            past: Past::default(),
            reading: Reading::default(),
            relayed: None,
            caught_up: false,
            known: false,
            absent: Vec::new(),
            rung: None,
            day: None,
        }
    }

    /// Something happened in the room.
    pub fn handle_event(&mut self, event: Event, now: Now) -> Vec<Action> {
        match event {
            Event::Up { name, read } => {
                self.connection = Connection::Up;
                self.settings.name = name;
                self.reading.handle_up(read, now);
            }
            Event::People(people) => self.handle_people(people, now),
            Event::Person(person) => self.handle_person(person, now),
            Event::Left(id) => {
                if let Some(person) = self.members.remove(id).filter(|person| !person.own) {
                    self.traffic(now, |traffic| traffic.leave(id, &person.name));
                }
            }
            Event::Said(message) => return self.handle_message(message, now),
            Event::Gap(what) => {
                self.push(Line::Warning(what), self.lines.last_time().unwrap_or(now.wall));
            }
            Event::Older(messages) => self.handle_older(messages),
            Event::NoOlder => self.past.handle_failed(),
            Event::CaughtUp => {
                if !std::mem::replace(&mut self.caught_up, true) {
                    self.reading.handle_caught_up();
                }
            }
            Event::Posted { draft, n } => {
                self.lines.push_pending(Line::Pending { draft, n, fate: Fate::Waiting }, now.wall);
            }
            Event::NotPosted { draft, why } => {
                self.push(Line::Warning(format!("not sent: {why}")), now.wall);
                if self.input.text().is_empty() {
                    self.input.set(draft.text);
                }
            }
            Event::Relayed(through) => {
                self.lines.mark_relayed(through);
                self.relayed = Some(now.moment);
            }
            Event::Unsent { n, why } => {
                if !self.lines.mark_refused(n, why.clone()) {
                    self.push(Line::Warning(format!("a message was not sent: {why}")), now.wall);
                }
            }
            Event::Renamed => self.handle_renamed(now),
            Event::Locked(locked) => {
                if self.known && locked != self.locked {
                    let what = if locked {
                        "the room is locked: nobody else can join"
                    } else {
                        "the room is open again"
                    };
                    self.push(Line::Notice(what.into()), now.wall);
                }
                self.locked = locked;
            }
            Event::Offers(offers) => self.files.replace(offers),
            Event::Offer(offer, news) => self.handle_offer(offer, news, now),
            Event::OfferGone { offer, why } => {
                self.files.remove(offer.number);
                self.push(Line::Notice(format!("{} {why}", files::named_of(&offer))), now.wall);
            }
            Event::Moving(transfer) => self.files.show(transfer),
            Event::Moved { id, text, failed } => {
                self.files.end(id);
                self.push(if failed { Line::Warning(text) } else { Line::Notice(text) }, now.wall);
            }
            Event::Paths { typed, found } => self.handle_paths(&typed, found),
            Event::Down { why, retry } => {
                self.connection = Connection::Down { why, retry };
                self.past.handle_failed();
            }
            Event::Notice(text) => self.push(Line::Notice(text), now.wall),
            Event::Warning(text) => self.push(Line::Warning(text), now.wall),
        }
        Vec::new()
    }

    /// The wheel of the mouse: rows, negative is up.
    pub fn handle_wheel(&mut self, rows: isize) -> Vec<Action> {
        self.lines.scroll(rows);
        if rows < 0 { self.ask_for_older() } else { Vec::new() }
    }

    /// Time passes: whoever types nothing for a while is not typing.
    pub fn tick(&mut self, now: Now) -> Vec<Action> {
        const IDLE: Duration = Duration::from_secs(5);
        for gone in
            self.absent.extract_if(.., |(_, until)| until.since(now.moment).is_zero()).collect::<Vec<_>>()
        {
            self.traffic(now, |traffic| traffic.leave(gone.0.id, &gone.0.name));
        }
        self.mark_in_time(now);
        // What comes back does so at once.
        let settled = self.relayed.is_some_and(|relayed| now.moment.since(relayed) >= ECHO);
        if settled && self.caught_up && matches!(self.connection, Connection::Up) {
            self.relayed = None;
            self.lines.settle();
        }
        match self.typing {
            Some((key, _)) if now.moment.since(key) >= IDLE => {
                self.typing = None;
                vec![Action::Typing(false)]
            }
            _ => Vec::new(),
        }
    }

    /// Texts of own messages that the server has not answered.
    pub fn unsent(&self) -> Vec<String> {
        self.lines.unsent()
    }

    /// A local time of day.
    pub(super) fn clock(&self, seconds: f64) -> String {
        let time = timestamp(seconds).to_zoned(self.settings.zone.clone());
        format!("{:02}:{:02}", time.hour(), time.minute())
    }

    /// A local time of day, with the day where that is another one than that of `other`.
    fn when(&self, seconds: f64, other: f64) -> String {
        let zoned = |seconds| timestamp(seconds).to_zoned(self.settings.zone.clone());
        let clock = self.clock(seconds);
        match zoned(seconds).date() == zoned(other).date() {
            true => format!("at {clock}"),
            false => format!("{} at {clock}", zoned(seconds).strftime("%-d %B %Y")),
        }
    }

    /// Adds a line, and the day before it where that is another one.
    pub(super) fn push(&mut self, line: Line, seconds: f64) {
        let time = timestamp(seconds).to_zoned(self.settings.zone.clone());
        if self.day != Some(time.date()) {
            self.day = Some(time.date());
            self.lines.push(Line::Day(time.strftime("%A, %-d %B %Y").to_string()), seconds);
        }
        self.lines.push(line, seconds);
    }

    fn handle_message(&mut self, mut message: Message, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(n) = message.own {
            self.lines.remove_pending(n);
        }
        if message.kind != Kind::Topic {
            self.past.note(message.seq);
        }
        if !message.mine && self.ignored.iter().any(|(hue, _)| *hue == message.from.hue) {
            return actions;
        }
        message.text = shown(message.text);
        if message.kind == Kind::Topic {
            self.topic = message.text.replace('\n', " ");
        }
        let mention = !message.mine && (message.to.is_some() || names(&message.text, &self.settings.name));
        self.tell_when(&mut message);
        self.note_unread(message.seq, message.mine, now);
        if self.caught_up && !message.mine {
            if mention && self.rung.is_none_or(|rung| now.moment.since(rung) >= RING) {
                self.rung = Some(now.moment);
                actions.push(Action::Ring);
            }
        }
        let time = message.received;
        self.push(Line::Said { message, mention }, time);
        actions
    }

    /// Says when it was written, where that is not when it came. What waited for a connection is late, which
    /// says nothing of the clock.
    pub(super) fn tell_when(&self, message: &mut Message) {
        let early = message.sent - message.received;
        if early > SKEW {
            let clock = self.clock(message.sent);
            message.text.push_str(&format!(" (written at {clock} by the sender's clock)"));
        } else if -early > LATE {
            message.text.push_str(&format!(" (written {})", self.when(message.sent, message.received)));
        }
    }

    fn handle_offer(&mut self, offer: Offer, news: OfferNews, now: Now) {
        let number = offer.number;
        match news {
            OfferNews::New => {
                let text = files::offered(&offer, "/get");
                self.push(Line::Offer { number, text }, now.wall);
            }
            OfferNews::Complete => {
                // What was said last becomes the news.
                let text = files::offered(&offer, "/get");
                if !self.lines.change_offer(number, text) {
                    self.push(Line::Notice(format!("{} is complete", files::named_of(&offer))), now.wall);
                }
            }
            OfferNews::Received(count) if offer.own => {
                let who = if count == 1 { "1 member has".into() } else { format!("{count} members have") };
                self.push(Line::Notice(format!("{who} all of {}", files::named_of(&offer))), now.wall);
            }
            OfferNews::Received(_) | OfferNews::Changed => {}
        }
        self.files.put(offer);
    }

    fn handle_people(&mut self, people: Vec<Person>, now: Now) {
        let before = self.members.replace(people.clone());
        if !std::mem::replace(&mut self.known, true) {
            return;
        }
        let absent = std::mem::take(&mut self.absent);
        let was_here = |person: &Person| {
            before.iter().chain(absent.iter().map(|(absent, _)| absent)).find(|other| other.is_same(person))
        };
        for person in &people {
            match was_here(person) {
                Some(before) => self.tell_changes(before, person, now),
                None if person.own => {}
                None => self.traffic(now, |traffic| traffic.join(person.id, &person.name)),
            }
        }
        let is_here = |person: &Person| people.iter().any(|other| other.is_same(person));
        let until = now.moment + RETURN;
        let gone: Vec<_> = before
            .iter()
            .filter(|person| !person.own && !is_here(person))
            .cloned()
            .map(|p| (p, until))
            .collect();
        self.absent = absent.into_iter().filter(|(person, _)| !is_here(person)).chain(gone).collect();
    }

    fn handle_person(&mut self, person: Person, now: Now) {
        let before = self.members.put(person.clone()).or_else(|| {
            let absent = self.absent.iter().position(|(absent, _)| absent.is_same(&person));
            absent.map(|at| self.absent.remove(at).0)
        });
        match before {
            Some(before) => self.tell_changes(&before, &person, now),
            None if person.own => {}
            None => self.traffic(now, |traffic| traffic.join(person.id, &person.name)),
        }
    }

    fn tell_changes(&mut self, before: &Person, person: &Person, now: Now) {
        let (name, own) = (person.name.clone(), person.own);
        let (host, muted) = (person.host, person.muted);
        let who = |verb: &str, verb_of_you: &str| match own {
            true => format!("you {verb_of_you}"),
            false => format!("{name} {verb}"),
        };
        let mut said = Vec::new();
        if before.name != name {
            said.push(match own {
                true => self.renamed(&name),
                false => format!("{} is now called {name}", before.name),
            });
            if own {
                self.settings.name = name.clone();
            }
        }
        if own && before.away != person.away {
            said.push(match &person.away {
                Some(why) if why.is_empty() => "you are away; /back ends it".into(),
                Some(why) => format!("you are away: {why}; /back ends it"),
                None => "you are back".into(),
            });
        }
        if before.host != host {
            said.push(if host {
                who("is a host now", "are a host now")
            } else {
                who("is no host any more", "are no host any more")
            });
        }
        if before.muted != muted {
            said.push(match muted {
                true => who("was muted by a host", "were muted by a host: nobody hears or reads you"),
                false => who("may speak again", "may speak again"),
            });
        }
        said.into_iter().for_each(|text| self.push(Line::Notice(text), now.wall));
    }

    /// Which name one has got, and why it is not the one that was asked for.
    fn renamed(&mut self, name: &str) -> String {
        match self.wanted.take().filter(|wanted| wanted != name) {
            Some(wanted) => format!("you are now called {name}: somebody else here is called {wanted}"),
            None => format!("you are now called {name}"),
        }
    }

    /// Another name was asked for and answered: nothing has changed where that was not told.
    fn handle_renamed(&mut self, now: Now) {
        if let Some(wanted) = self.wanted.take() {
            let name = &self.settings.name;
            let text = match *name == wanted {
                true => format!("you are called {name} already"),
                false => format!("you are still called {name}: somebody else here is called {wanted}"),
            };
            self.push(Line::Notice(text), now.wall);
        }
    }

    /// Members come and go in one line, until something else is said.
    fn traffic(&mut self, now: Now, change: impl FnOnce(&mut Traffic)) {
        let mut change = Some(change);
        if self.lines.change_traffic(|traffic| {
            if let Some(change) = change.take() {
                change(traffic);
            }
        }) {
            return;
        }
        if let Some(change) = change {
            let mut traffic = Traffic::default();
            change(&mut traffic);
            self.push(Line::Traffic(traffic), now.wall);
        }
    }
}

/// A text as it stands in the pane.
pub(super) fn shown(text: String) -> String {
    // Tabs would jump over cells.
    links::unmask(if text.contains('\t') { text.replace('\t', "    ") } else { text })
}

/// Whether `text` names `name`, as a word of its own and in whatever case.
pub(super) fn names(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    // Scripts from U+2E80 on have no spaces between words.
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() && c < '\u{2e80}');
    !name.is_empty()
        && text.match_indices(&name).any(|(at, found)| {
            !is_part(text[..at].chars().next_back()) && !is_part(text[at + found.len()..].chars().next())
        })
}

/// Whatever a peer calls a time is one.
pub(super) fn timestamp(seconds: f64) -> Timestamp {
    let seconds = if seconds.is_finite() { seconds } else { 0.0 };
    // From the year 1 to the year 9998, whatever the zone.
    Timestamp::from_second(seconds.clamp(-6.2e10, 2.53e11) as i64).unwrap_or(Timestamp::UNIX_EPOCH)
}
