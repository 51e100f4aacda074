//! The state of the screen and what events of the room do to it.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::complete::Completion;
use super::deeds::{Deed, SentAway};
use super::files::{self, Files, Offer, OfferNews, Transfer};
use super::input::Input;
use super::line::{Draft, Fate, Kind, Line, Message};
use super::links;
use super::members::{Members, Person};
use super::obey::UNCONNECTED;
use super::past::Past;
use super::reading::Reading;
use super::scrollback::Scrollback;
use super::style::Theme;
use super::words::Word;
use crate::id::{MemberId, OfferNumber};
use crate::time::Moment;

/// Two rings are at least this far apart.
const RING: Duration = Duration::from_secs(2);
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
    /// Older messages cannot be had now, and why, where there is something to say.
    NoOlder(Option<String>),
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
    /// The server gives no other name.
    NotRenamed,
    /// How the room itself is.
    About {
        /// Whether nobody new is let in.
        locked: bool,
        /// Who may not come back yet, whoever went last at the end.
        sent_away: Vec<SentAway>,
    },
    /// A host has done something; what changes by that comes behind it.
    Deed(Deed),
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
        /// The host who has taken it back, where that was not its sender. The name is scrubbed.
        by: Option<(MemberId, String)>,
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
    /// This was typed and sent, or carried out: keep it for the next start.
    Remember(String),
    /// Tell the others whether something is being typed.
    Typing(bool),
    /// Tell the others that one is away, and why; or back.
    Away(Option<String>),
    /// Take another name.
    Rename(String),
    /// What hosts do: lock, unlock, kick, unkick, mute, unmute, host, unhost.
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
    pub(super) sent_away: Vec<SentAway>,
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
    pub(super) known: bool,
    /// Who was here before the server forgot the room, and until when they are waited for.
    pub(super) absent: Vec<(Person, Moment)>,
    /// Whom a host has sent away and who has not left yet; at most [`crate::limits::MEMBERS`], the first
    /// are given up.
    pub(super) leaving: BTreeSet<MemberId>,
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
            sent_away: Vec::new(),
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
            leaving: BTreeSet::new(),
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
                self.hint.take_if(|hint| hint.starts_with(UNCONNECTED));
                self.reading.handle_up(read, now);
            }
            Event::People(people) => self.handle_people(people, now),
            Event::Person(person) => self.handle_person(person, now),
            Event::Left(id) => {
                self.leaving.remove(&id);
                if let Some(person) = self.members.remove(id).filter(|person| !person.own) {
                    self.traffic(now, |traffic| traffic.leave(id, &person.told()));
                }
            }
            Event::Said(message) => return self.handle_message(message, now),
            Event::Gap(what) => {
                self.push(Line::Warning(what), self.lines.last_time().unwrap_or(now.wall));
            }
            Event::Older(messages) => self.handle_older(messages),
            Event::NoOlder(why) => {
                self.past.handle_failed();
                if let Some(why) = why {
                    self.hint = Some(format!("older messages did not come: {why}; scroll up to ask again"));
                }
            }
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
            Event::NotRenamed => self.wanted = None,
            Event::About { locked, sent_away } => self.handle_about(locked, sent_away, now),
            Event::Deed(deed) => self.handle_deed(&deed, now),
            Event::Offers(offers) => self.files.replace(offers),
            Event::Offer(offer, news) => self.handle_offer(offer, news, now),
            Event::OfferGone { offer, why, by } => {
                self.files.remove(offer.number);
                let own = |id| self.members.iter().any(|person| person.own && person.id == id);
                let by = by.map(|(id, name)| if own(id) { "you".into() } else { name });
                self.push(Line::Notice(files::gone(&offer, &why, by.as_deref())), now.wall);
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
            self.traffic(now, |traffic| traffic.leave(gone.0.id, &gone.0.told()));
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

    /// What was typed in an earlier run, the oldest first.
    pub fn restore(&mut self, typed: Vec<String>) {
        self.input.restore(typed);
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
        let quiet = self.rung.is_none_or(|rung| now.moment.since(rung) >= RING);
        if self.caught_up && mention && quiet {
            self.rung = Some(now.moment);
            actions.push(Action::Ring);
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
