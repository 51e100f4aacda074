//! Lines in and lines out, or JSON both ways, where no terminal with panes is.
//!
//! The contract: the program ends with 0 only when everything that it was given is acknowledged. Nothing is
//! dropped on the way: while the outbox is full stdin is not read, so that the writer of the pipe waits.
//!
//! Bounds: those of [`input`] and of the outbox; a line of input becomes messages only when all
//! of the line before is in the outbox.

mod ask;
mod files;
mod progress;
mod room;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::ask::Held;
use self::progress::Progress;
use super::input::{self, Line};
use super::json::{self, Told};
use super::log::Log;
use super::outbox::Journal;
use super::roster::Roster;
use super::transfers::News;
use super::voice::Voice;
use super::waiting::Waiting;
use super::{Chat, lines};
use crate::chat::{Content, Inbox, Outbox};
use crate::cli::{Exit, Failure, ended, signal};
use crate::id::{MemberId, SourceId};
use crate::limits;
use crate::net::client::{self, Config, Correspondence, End, Event, Events, Handle};
use crate::session::Address;
use crate::time;
use crate::wire::control::Room;

/// Bytes of a line that becomes one message.
const LINE: usize = limits::MESSAGE - 4 * 1024;
/// Lines that are put into the outbox together.
const BATCH: usize = 64;
/// After a signal, or when nobody reads stdout any more, acknowledgements are awaited at most so long.
const HASTE: Duration = Duration::from_secs(5);
/// Older messages for a person at a terminal without panes.
const TYPED: u32 = 20;
/// How long the server may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// Passes lines between stdin, the room and stdout until one of them ends.
pub(super) fn run(args: &Chat) -> anyhow::Result<()> {
    let given = given(args)?;
    let mut config = args.meeting.config(&args.common, "conf-chat", Vec::new())?;
    let room = config.address.to_string();
    let journal = args.outbox.as_deref().map(|path| Journal::open(path, &room)).transpose()?;
    let outbox = match &journal {
        Some(journal) => journal.outbox(),
        None => Outbox::new(source()?),
    };
    let log = args.log.as_deref().map(Log::open).transpose()?;
    let shows = args.message.is_empty();
    config.offers = shows;
    let mut pipe = Pipe::new(args, &config, Voice::new(args.json, shows, log)?, given);
    pipe.keep(journal);
    let history = args.history.unwrap_or(if args.is_typed() { TYPED } else { 0 });
    config.messages = Some(Correspondence { history, inbox: Inbox::default(), outbox });
    let runtime = runtime()?;
    let stop = signal::install()?;
    let done = runtime.block_on(pipe.run(config, stop));
    // The thread that reads stdin may be waiting there for ever.
    runtime.shutdown_background();
    done
}

/// What all programs of one thing need.
pub(super) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// A series of messages that nobody has used.
pub(super) fn source() -> Result<SourceId, Failure> {
    let mut source = [0; 16];
    getrandom::fill(&mut source)
        .map_err(|error| Failure::new(Exit::File, format!("no random numbers: {error}")))?;
    Ok(SourceId(source))
}

/// Leaves the room, for which the server has some time.
pub(super) async fn leave(room: &Handle, events: &mut Events) {
    take_leave(room, events, |_| {}).await;
}

/// The same; `told` is given what the server still says.
pub(super) async fn take_leave(room: &Handle, events: &mut Events, mut told: impl FnMut(Event)) {
    let rest = async {
        while let Some(event) = events.next().await {
            told(event);
        }
    };
    let goodbye = async { tokio::join!(room.close(), rest) };
    let _ = tokio::time::timeout(FAREWELL, goodbye).await;
}

/// Whether an event answers something of this program: it still counts when the goodbye is said.
pub(super) fn is_answer(event: &Event) -> bool {
    use Event::{Acknowledged, Conflict, Done, Refused, Storage, Unsent};
    matches!(event, Acknowledged(_) | Conflict | Done { .. } | Refused(_) | Storage { .. } | Unsent { .. })
}

/// What `-m` says.
fn given(args: &Chat) -> Result<VecDeque<Content>, Failure> {
    let mut given = VecDeque::new();
    for text in &args.message {
        match said(text) {
            Said::Nothing => return Err(Failure::usage("-m has nothing to say: the text is empty")),
            Said::Command => {
                let shown = crate::text::for_log(text.as_bytes(), 40);
                return Err(Failure::usage(format!(
                    "\"{shown}\" looks like a command, which -m does not carry out; nothing was sent"
                )));
            }
            Said::Content(content) => given.extend(parts(content)),
        }
    }
    Ok(given)
}

/// What a line means.
enum Said {
    Nothing,
    Command,
    Content(Content),
}

/// Lines are what they are, other than actions and what was meant as a command and would tell the room
/// what it should not know.
fn said(line: &str) -> Said {
    if line.trim().is_empty() {
        return Said::Nothing;
    }
    match line.strip_prefix("/me ") {
        Some(action) => Said::Content(Content::Action(action.trim().to_owned())),
        None if crate::terminal::is_command(line) => Said::Command,
        None => Said::Content(Content::Text(line.to_owned())),
    }
}

/// A content as one or several that fit into messages.
fn parts(content: Content) -> Vec<Content> {
    let again: fn(String) -> Content = match content {
        Content::Text(_) => Content::Text,
        Content::Action(_) => Content::Action,
        Content::Topic(_) => Content::Topic,
        Content::Other => return Vec::new(),
    };
    lines::pieces(content.text()).into_iter().map(|part| again(part.to_owned())).collect()
}

/// Something that is to be said.
#[derive(Debug)]
struct Draft {
    content: Content,
    to: Option<MemberId>,
    id: Option<Value>,
}

/// Why the program ends, where it is not the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hurry {
    /// All the time that is needed.
    None,
    /// A signal, or nobody reads any more.
    Some,
}

/// Where the messages come from.
enum Source {
    /// From stdin.
    Stdin(mpsc::Receiver<io::Result<Line>>),
    /// From nowhere; it goes on until a signal.
    Nowhere,
    /// There are no more.
    Over,
}

/// The state between stdin, room and stdout.
struct Pipe {
    voice: Voice,
    roster: Roster,
    address: Address,
    named: Option<String>,
    /// To whom everything goes.
    to: Option<String>,
    ack_timeout: Duration,
    listens: bool,
    /// What `-m` says, until the room is there.
    given: VecDeque<Content>,
    waiting: Waiting,
    journal: Option<Journal>,
    /// The last number that was used.
    last: u64,
    drafts: VecDeque<Draft>,
    /// A request that has to wait until it is known what is offered; nothing is read before it is carried out.
    held: Option<Held>,
    /// Requests that were made of the server, by their numbers: what their answers carry.
    requests: VecDeque<(u64, Option<Value>)>,
    asked: u64,
    /// Lines of input so far.
    line: u64,
    hurry: Hurry,
    /// Who is there is known.
    ready: bool,
    /// Older messages were asked for: it does not end before they are there.
    history: bool,
    /// What was missed has come.
    caught_up: bool,
    /// How the room itself is.
    about: Room,
    /// Messages that the server did not take, and why the last.
    unsent: (u64, String),
    /// Lines that looked like commands.
    commands: u64,
    /// Requests that were not carried out, and what the first of them means for the end.
    wrong: Option<(u64, Exit)>,
    /// The person has typed /quit.
    quits: bool,
    /// A person types the lines, at a terminal without panes.
    typist: bool,
    /// How far it is.
    progress: Progress,
    told_replaced: bool,
    told_cut: bool,
    told_less: bool,
    failed: Option<Failure>,
    files: files::Files,
}

/// Why the loop goes on.
enum Wake {
    Stop,
    Event(Option<Event>),
    Line(Option<io::Result<Line>>),
    Transfer(News),
    /// Nobody reads stdout any more.
    Deaf,
    /// What is offered does not become known.
    Unlisted,
    Tick,
}

impl Pipe {
    fn new(args: &Chat, config: &Config, voice: Voice, given: VecDeque<Content>) -> Self {
        Self {
            voice,
            roster: Roster::new(config.key.as_ref().map(crate::session::Key::public)),
            address: config.address.clone(),
            named: args.meeting.name.clone().filter(|name| !name.is_empty()),
            to: args.to.clone(),
            ack_timeout: args.ack_timeout,
            listens: args.listen,
            given,
            waiting: Waiting::new(args.ack),
            journal: None,
            last: 0,
            drafts: VecDeque::new(),
            held: None,
            requests: VecDeque::new(),
            asked: 0,
            line: 0,
            hurry: Hurry::None,
            ready: false,
            history: args.history.is_some_and(|history| history > 0),
            caught_up: false,
            about: Room::default(),
            unsent: (0, String::new()),
            commands: 0,
            wrong: None,
            quits: false,
            typist: args.is_typed(),
            progress: Progress::new(args.common.quiet || args.listen || !args.message.is_empty()),
            told_replaced: false,
            told_cut: false,
            told_less: false,
            failed: None,
            files: files::Files::new(config, args.common.quiet),
        }
    }

    /// What goes out is kept there; what is there is awaited.
    fn keep(&mut self, journal: Option<Journal>) {
        self.journal = journal;
        if let Some(journal) = &self.journal {
            self.last = journal.last();
            journal.numbers().for_each(|n| self.waiting.add(n, time::now()));
        }
    }

    async fn run(mut self, config: Config, stop: CancellationToken) -> anyhow::Result<()> {
        let longest = if self.voice.is_json() { json::LONGEST } else { LINE };
        let mut source = match (self.given.is_empty(), self.listens) {
            (false, _) => Source::Over,
            (true, true) => Source::Nowhere,
            (true, false) => Source::Stdin(input::lines(longest)?),
        };
        let (room, mut events) = client::connect(config);
        let mut over = None;
        let mut stopped = false;
        let gone = self.voice.watch()?;
        loop {
            let told = self.ready && (self.caught_up || !self.history || self.hurry == Hurry::Some);
            let idle = self.drafts.is_empty() && self.held.is_none();
            let ending = matches!(source, Source::Over) && idle && told;
            let moving = self.files.transfers.count() > 0;
            if ending && self.waiting.count() == 0 && self.requests.is_empty() && !moving {
                break;
            }
            let patience = match self.hurry {
                Hurry::None => self.ack_timeout,
                Hurry::Some => self.ack_timeout.min(HASTE),
            };
            let left = self.waiting.deadline(patience).since(time::now());
            // A transfer takes as long as it takes, until a signal.
            let patient = moving && self.hurry == Hurry::None;
            let gives_up = matches!(source, Source::Over) && self.held.is_none() && self.ready && !patient;
            if gives_up && left.is_zero() || self.hurry == Hurry::Some && !self.ready {
                break;
            }
            let reads = self.ready && idle;
            let held = self.held.as_ref().map(|held| (held.since + patience).since(time::now()));
            let wake = tokio::select! {
                biased;
                () = stop.cancelled(), if !stopped => Wake::Stop,
                event = events.next() => Wake::Event(event),
                line = source.next(), if reads => Wake::Line(line),
                news = self.files.transfers.next() => Wake::Transfer(news),
                () = gone.notified(), if self.voice.broken().is_none() => Wake::Deaf,
                () = tokio::time::sleep(left), if gives_up => Wake::Tick,
                () = tokio::time::sleep(held.unwrap_or_default()), if held.is_some() => Wake::Unlisted,
                () = tokio::time::sleep(self.progress.pause(time::now())) => Wake::Tick,
            };
            match wake {
                Wake::Stop => {
                    stopped = true;
                    self.finish(&mut source, Hurry::Some);
                }
                Wake::Event(None) => break,
                Wake::Event(Some(Event::Ended(end))) => {
                    over = Some(end);
                    break;
                }
                Wake::Event(Some(event)) => self.handle_event(event),
                Wake::Line(None) => self.finish(&mut source, Hurry::None),
                Wake::Line(Some(line)) => self.read(line, &mut source, &room).await,
                Wake::Transfer(news) => self.handle_transfer(news),
                Wake::Deaf => self.voice.handle_gone(),
                Wake::Unlisted => self.give_up_held(),
                Wake::Tick => {}
            }
            self.take_held(&room).await;
            self.report(matches!(source, Source::Over));
            self.flush(&room).await;
            if self.quits {
                self.finish(&mut source, Hurry::None);
                self.quits = false;
            }
            if self.hurry == Hurry::None && (self.voice.broken().is_some() || self.failed.is_some()) {
                self.finish(&mut source, Hurry::Some);
            }
        }
        if over.is_none() {
            let late = |event| {
                if is_answer(&event) {
                    self.handle_event(event);
                }
            };
            take_leave(&room, &mut events, late).await;
        }
        self.conclude(over)
    }

    /// Nothing more is read; what was read is brought to its end.
    fn finish(&mut self, source: &mut Source, hurry: Hurry) {
        *source = Source::Over;
        self.hurry = hurry;
        if hurry == Hurry::Some {
            self.files.transfers.stop();
        }
        self.waiting.begin(time::now());
    }

    /// Takes a line, and those that have come with it.
    async fn read(&mut self, line: io::Result<Line>, source: &mut Source, room: &Handle) {
        let mut next = Some(line);
        while let Some(line) = next.take() {
            match line {
                Ok(line) if self.voice.is_json() => self.handle_request(&line, room).await,
                Ok(line) => self.handle_line(line),
                Err(error) => {
                    self.failed = Some(Failure::new(Exit::File, format!("cannot read stdin: {error}")));
                }
            }
            if self.drafts.len() < BATCH && self.held.is_none() && self.failed.is_none() {
                next = source.at_once();
            }
        }
    }

    fn handle_line(&mut self, line: Line) {
        self.line += 1;
        if line.replaced && !self.told_replaced {
            self.told_replaced = true;
            tracing::warn!("line {} is no UTF-8: what is no text is sent as \u{fffd}", self.line);
        }
        if line.goes_on && !self.told_cut {
            self.told_cut = true;
            tracing::warn!("line {} is longer than {LINE} bytes: it is sent in parts", self.line);
        }
        let said = said(&line.text);
        if self.typist && matches!(said, Said::Command) {
            return self.obey(&line.text);
        }
        match said {
            Said::Nothing => {}
            Said::Content(content) => self.say(content, None),
            Said::Command => {
                self.commands += 1;
                let shown = crate::text::for_log(line.text.as_bytes(), 40);
                tracing::warn!(
                    "line {} looks like a command, which only a terminal has; it was not sent: {shown}",
                    self.line
                );
            }
        }
    }

    /// Puts something into the queue, for whom `--to` says.
    fn say(&mut self, content: Content, id: Option<Value>) {
        let to = match self.to.as_deref().map(|name| self.roster.by_name(name).ok_or(name)) {
            None => None,
            Some(Ok(member)) => Some(member.member),
            Some(Err(name)) => {
                let shown = crate::text::for_log(name.as_bytes(), 40);
                let message = format!("nobody here is called {shown}; conf-chat --who tells who is here");
                self.failed.get_or_insert(Failure::new(Exit::Refused, message));
                return;
            }
        };
        for content in parts(content) {
            self.drafts.push_back(Draft { content, to, id: id.clone() });
        }
    }

    /// Puts as much into the outbox as it takes, after it is on the disk where that is asked for.
    async fn flush(&mut self, room: &Handle) {
        if let Err(failure) = self.note_drafts() {
            self.drafts.clear();
            self.failed.get_or_insert(failure);
        }
        while let Some(draft) = self.drafts.front() {
            let Ok(n) = room.post(&draft.content, draft.to).await else { return };
            self.last = n;
            self.waiting.add(n, time::now());
            self.progress.add();
            if let Some(draft) = self.drafts.pop_front() {
                self.voice.tell(&Told::Posted { n, id: &draft.id });
            }
        }
    }

    fn note_drafts(&mut self) -> Result<(), Failure> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        // What the outbox had no room for is there from an earlier time.
        let there = (journal.last() - self.last) as usize;
        for draft in self.drafts.iter().skip(there) {
            let to = draft.to.map(|to| self.roster.name(to).unwrap_or_default());
            journal.add(&draft.content, to)?;
        }
        journal.sync()
    }

    /// Says from time to time how far it is, where that takes long.
    fn report(&mut self, over: bool) {
        let waiting = self.waiting.count() + self.drafts.len();
        if let Some(text) = self.progress.poll(waiting as u64, over, time::now()) {
            let _ = writeln!(io::stderr(), "conf-chat: {text}");
        }
    }

    /// Everything through `n` has reached the level that is asked for.
    fn handle_done(&mut self, n: u64) {
        if let Some(Err(failure)) = self.journal.as_mut().map(|journal| journal.handle_done(n)) {
            self.failed.get_or_insert(failure);
        }
    }

    /// How it ended, as the end of the program.
    fn conclude(mut self, over: Option<End>) -> anyhow::Result<()> {
        let left = self.waiting.count() + self.drafts.len();
        if let Some(end) = &over {
            self.voice.tell(&Told::Connection(json::Connection::Ended { reason: end.to_string() }));
        }
        let messages =
            |count: usize| if count == 1 { "1 message".into() } else { format!("{count} messages") };
        let incomplete = |why: &str| {
            let count = messages(left);
            Failure::new(Exit::Incomplete, format!("{count} not acknowledged by the server: {why}"))
        };
        if let Some(end @ (End::GaveUp { .. } | End::Replaced)) = &over
            && left > 0
        {
            return Err(incomplete(&end.to_string()).into());
        }
        if let Some(end) = &over {
            ended(end, &self.address)?;
        }
        if let Some(failure) = self.failed {
            return Err(failure.into());
        }
        if left > 0 {
            let why = match self.hurry {
                Hurry::None => "no answer in time; --ack-timeout TIME waits longer",
                Hurry::Some => "interrupted",
            };
            return Err(incomplete(why).into());
        }
        if let (1.., why) = &self.unsent {
            let count = messages(self.unsent.0 as usize);
            return Err(Failure::new(Exit::Refused, format!("{count} not taken by the server: {why}")).into());
        }
        if let (count @ 1.., None) = (self.requests.len(), self.wrong) {
            let requests = if count == 1 { "1 request".into() } else { format!("{count} requests") };
            let message = format!("{requests} not answered by the server: it may be done or not");
            return Err(Failure::new(Exit::Incomplete, message).into());
        }
        if let Some((count, exit)) = self.wrong {
            let lines = if count == 1 { "1 line".into() } else { format!("{count} lines") };
            let message = format!("{lines} not carried out; the errors on stdout say which and why");
            return Err(Failure::new(exit, message).into());
        }
        if let Some(error) = self.voice.into_broken() {
            return Err(match crate::cli::is_reader_gone(&error) {
                true => error.into(),
                false => Failure::new(Exit::File, format!("cannot write to stdout: {error}")).into(),
            });
        }
        if let Some(failure) = self.files.unfinished {
            return Err(failure.into());
        }
        match self.commands {
            0 => Ok(()),
            count => {
                let lines = if count == 1 { "1 line".into() } else { format!("{count} lines") };
                let message =
                    format!("{lines} not sent, because a pipe has no commands; --json takes any text");
                Err(Failure::usage(message).into())
            }
        }
    }
}

impl Source {
    /// The next line; nothing at the end.
    async fn next(&mut self) -> Option<io::Result<Line>> {
        match self {
            Self::Stdin(lines) => lines.recv().await,
            Self::Nowhere | Self::Over => std::future::pending().await,
        }
    }

    /// The next line, where it is there.
    fn at_once(&mut self) -> Option<io::Result<Line>> {
        match self {
            Self::Stdin(lines) => lines.try_recv().ok(),
            _ => None,
        }
    }
}
