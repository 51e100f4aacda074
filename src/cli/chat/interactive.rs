//! The room on a terminal: the session and the screen in one loop, keys before everything else.

mod files;
mod kept;
mod news;
mod typed;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use jiff::tz::TimeZone;
use signal_hook::consts::{SIGHUP, SIGINT};
use tokio::sync::mpsc;

use self::kept::Kept;
use self::typed::Typed;
use super::board::Board;
use super::log::Log;
use super::roster::Roster;
use super::transfers::{self, Transfers};
use super::voice::Voice;
use super::{Chat, hosts, pipe};
use crate::chat::{Content, Inbox};
use crate::cli::recv::Memory;
use crate::cli::state::Patience;
use crate::cli::{Exit, Failure, ended, logging, signal};
use crate::id::{MemberId, Nick};
use crate::limits;
use crate::net::client::{self, Config, Correspondence, End, Events, Handle};
use crate::session::Address;
use crate::terminal::device::{Device, Input};
use crate::terminal::{Action, Command, Draft, Event, Kind, Message, Notify, Now, Screen, Settings, Theme};
use crate::time::{self, Moment};
use crate::wire::control::Status;

/// Older messages that are asked for.
const HISTORY: u32 = 200;
/// What happens in the room is drawn at most this often; keys are drawn at once.
const FRAME: Duration = Duration::from_micros(16_667);
/// How often the time that passes is looked at.
const TICK: Duration = Duration::from_millis(250);
/// A connection that takes longer is told of.
const PATIENCE: Duration = Duration::from_secs(1);
/// Older messages that are asked for together.
const OLDER: u32 = limits::PAGE as u32;
/// Requests whose answers are awaited.
const REQUESTS: usize = 64;
/// Answers that are taken in while the program leaves: one for each message that waits.
const LATE: usize = limits::OUTBOX;
/// How long leaving waits for messages that are not acknowledged yet.
const FAREWELL: Duration = Duration::from_secs(5);

/// Shows the room until the person leaves.
pub(super) fn run(args: &Chat) -> anyhow::Result<()> {
    let history = args.history.unwrap_or(HISTORY);
    let log = args.log.as_deref().map(Log::open).transpose()?;
    let voice = Voice::new(false, false, log)?;
    let mut config = Config { offers: true, ..args.meeting.config(&args.common, "conf-chat", Vec::new())? };
    let mut kept = Kept::open(args.outbox.as_deref(), &config)?;
    let typed = Typed::open(&config);
    config.messages = Some(Correspondence { history, inbox: Inbox::default(), outbox: kept.outbox()? });
    let address = config.address.clone();
    let runtime = pipe::runtime()?;
    let mut unsent = Vec::new();
    let end = talk(args, config, (voice, typed), &runtime, &mut kept, &mut unsent);
    // What went wrong was told on the screen, when it did.
    logging::release(args.common.verbose > 0);
    // The name service may keep a thread waiting.
    runtime.shutdown_background();
    let left = (kept.count() > 0).then(|| not_sent(&kept, &unsent));
    kept.close();
    match (end?, left) {
        (Some(end), left) => {
            left.map(|left| writeln!(io::stderr(), "conf-chat: {left}"));
            Ok(ended(&end, &address)?)
        }
        (None, Some(left)) if signal::received().is_none() => {
            Err(Failure::new(Exit::Incomplete, left).into())
        }
        (None, left) => {
            left.map(|left| writeln!(io::stderr(), "conf-chat: {left}"));
            Ok(())
        }
    }
}

/// What is said of messages that the server has not acknowledged.
fn not_sent(kept: &Kept, texts: &[String]) -> String {
    let (what, it) = match kept.count() {
        1 => ("1 message is not sent".to_owned(), "it"),
        count => (format!("{count} messages are not sent"), "them"),
    };
    if kept.keeps() {
        return format!("{what}: conf-chat sends {it} when it is started in this room again");
    }
    let why = kept.failing.as_ref().map_or("there is no state directory", |failure| &failure.message);
    format!("{what} and could not be kept ({why}):\n{}", texts.join("\n"))
}

/// Has the terminal while it runs.
fn talk(
    args: &Chat,
    config: Config,
    (voice, typed): (Voice, Typed),
    runtime: &tokio::runtime::Runtime,
    kept: &mut Kept,
    unsent: &mut Vec<String>,
) -> anyhow::Result<Option<End>> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let no_color = match args.common.color {
        crate::cli::When::Never => true,
        crate::cli::When::Always => false,
        crate::cli::When::Auto => !variable("NO_COLOR").is_empty(),
    };
    let settings = Settings {
        room: config.address.room.to_string(),
        name: config.name.to_string(),
        zone: TimeZone::system(),
        theme: Theme::new(no_color, &variable("TERM"), &variable("COLORTERM")),
    };
    let roster = Roster::new(config.key.as_ref().map(crate::session::Key::public));
    let address = config.address.clone();
    let transfers = Transfers::new(&config);
    let (room, mut events) = {
        let _inside = runtime.enter();
        client::connect(config)
    };
    // A password is asked for on the terminal as it is.
    let first = match runtime.block_on(first(&mut events, &address)) {
        None => return Ok(None),
        Some(client::Event::Ended(end)) => return Ok(Some(end)),
        Some(first) => first,
    };
    // Beyond `ulimit -f` a write fails instead of ending the program without a word.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default())?;
    logging::hold();
    signal::take();
    let (device, keys) = Device::open(!args.no_mouse)?;
    let mut table = Table {
        screen: Screen::new(settings),
        device,
        room,
        roster,
        voice,
        typed,
        kept,
        unsent,
        board: Board::default(),
        listed: false,
        memory: Memory::load(),
        transfers,
        told_failing: false,
        warned: false,
        address,
        notify: args.notify,
        chosen: args.meeting.name.clone().filter(|name| !name.is_empty()),
        requests: 0,
        asked: VecDeque::new(),
        older: Vec::new(),
        leaving: None,
        dirty: true,
        drawn: Moment::default(),
    };
    table.screen.restore(table.typed.all());
    table.restore();
    runtime.block_on(async {
        table.handle_room(first).await?;
        table.sit(keys, events).await
    })
}

/// What comes first: the room, or why it does not come.
async fn first(events: &mut Events, address: &Address) -> Option<client::Event> {
    tokio::select! {
        biased;
        event = events.next() => return event,
        () = tokio::time::sleep(PATIENCE) => {}
    }
    let Address { host, port, .. } = address;
    let _ = writeln!(io::stderr(), "connecting to {host} port {port} ...");
    events.next().await
}

/// Screen, terminal and session.
struct Table<'a> {
    screen: Screen,
    device: Device,
    room: Handle,
    roster: Roster,
    /// Writes the log.
    voice: Voice,
    /// What was typed, also for the next start.
    typed: Typed,
    kept: &'a mut Kept,
    /// Texts that were not sent when the terminal was left.
    unsent: &'a mut Vec<String>,
    board: Board,
    /// Offers were told once.
    listed: bool,
    /// What was received before.
    memory: Memory,
    transfers: Transfers,
    /// It was said that nothing is kept.
    told_failing: bool,
    /// It was said that leaving breaks transfers off.
    warned: bool,
    address: Address,
    notify: Notify,
    /// The name that was asked for, until it is known whether it was given.
    chosen: Option<String>,
    /// Requests that were made of the server.
    requests: u64,
    /// What was asked for, by the numbers of the requests; the oldest are forgotten first.
    asked: VecDeque<(u64, Asked)>,
    /// Older messages that have come, of those that were asked for.
    older: Vec<Message>,
    /// Until when leaving waits for what is on its way.
    leaving: Option<Moment>,
    dirty: bool,
    drawn: Moment,
}

/// A request that the server answers.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Name,
    Older,
    /// A command of hosts as it was typed.
    Moderation(String),
}

/// Why the loop goes on.
enum Wake {
    Input(Option<Input>),
    Room(Option<client::Event>),
    Transfer(transfers::News),
    Tick,
}

impl Table<'_> {
    /// Until somebody leaves; how the session ended, if it did.
    async fn sit(
        mut self,
        mut keys: mpsc::Receiver<Input>,
        mut events: Events,
    ) -> anyhow::Result<Option<End>> {
        let over = loop {
            self.draw_in_time()?;
            let since = time::now().since(self.drawn);
            let pause = if self.dirty { FRAME.saturating_sub(since) } else { TICK };
            // Keys before what happens in the room, however much that is.
            let wake = tokio::select! {
                biased;
                input = keys.recv() => Wake::Input(input),
                event = events.next() => Wake::Room(event),
                news = self.transfers.next() => Wake::Transfer(news),
                () = tokio::time::sleep(pause) => Wake::Tick,
            };
            let left = match wake {
                Wake::Input(None | Some(Input::Gone)) => {
                    signal::note(SIGHUP);
                    true
                }
                Wake::Input(Some(input)) => {
                    let mut left = self.handle_input(input).await?;
                    // What was typed together is drawn together.
                    while !left && let Ok(input) = keys.try_recv() {
                        left = self.handle_input(input).await?;
                    }
                    self.draw()?;
                    left
                }
                Wake::Room(None) => break None,
                Wake::Room(Some(client::Event::Ended(end))) => break Some(end),
                Wake::Room(Some(event)) => {
                    self.handle_room(event).await?;
                    false
                }
                Wake::Transfer(news) => {
                    self.handle_transfer(news);
                    false
                }
                Wake::Tick => {
                    self.handle_tick().await?;
                    false
                }
            };
            if left || self.may_leave() {
                break None;
            }
        };
        self.device.close();
        *self.unsent = self.screen.unsent();
        self.kept.handle_read(self.screen.read(), Patience::Last);
        self.typed.close();
        // Both at once: neither has to wait for the other.
        let room = self.room.clone();
        match over {
            Some(_) => self.break_off().await,
            None => {
                let mut late = Vec::new();
                let note = |event: client::Event| {
                    if pipe::is_answer(&event) && late.len() < LATE {
                        late.push(event);
                    }
                };
                tokio::join!(self.break_off(), pipe::take_leave(&room, &mut events, note));
                for event in late.into_iter().flat_map(|event| self.translate(event)).collect::<Vec<_>>() {
                    self.screen.handle_event(event, now());
                }
                *self.unsent = self.screen.unsent();
            }
        }
        Ok(over)
    }

    /// Leaving waits until everything that was said has arrived, for a while.
    fn may_leave(&self) -> bool {
        self.leaving.is_some_and(|until| self.kept.count() == 0 || until.since(time::now()).is_zero())
    }

    fn draw_in_time(&mut self) -> anyhow::Result<()> {
        if self.dirty && time::now().since(self.drawn) >= FRAME {
            self.draw()?;
        }
        Ok(())
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        let screen = &mut self.screen;
        self.device.draw(|buffer| screen.draw(buffer, now())).or_else(|error| {
            match error.raw_os_error() {
                // The terminal has gone; its end is told by other means.
                Some(_) => Ok(()),
                None => Err(error),
            }
        })?;
        (self.dirty, self.drawn) = (false, time::now());
        Ok(())
    }

    /// Whether it is time to leave at once.
    async fn handle_input(&mut self, input: Input) -> anyhow::Result<bool> {
        self.dirty = true;
        let at = |moment| Now { moment, ..now() };
        let actions = match input {
            Input::Key(key, moment) => self.screen.handle_key(key, at(moment)),
            Input::Paste(text, moment) => self.screen.handle_paste(&text, at(moment)),
            Input::TooMuch(bytes) => {
                self.screen.refuse_paste(bytes);
                Vec::new()
            }
            Input::Wheel(rows) => self.screen.handle_wheel(rows),
            Input::Focus(focused) => {
                self.screen.handle_focus(focused);
                Vec::new()
            }
            Input::Resized => Vec::new(),
            Input::Resumed => {
                self.device.enter()?;
                Vec::new()
            }
            Input::Signal(number) => {
                signal::note(number);
                return Ok(true);
            }
            Input::Gone => return Ok(true),
        };
        self.carry_out(actions).await
    }

    async fn handle_tick(&mut self) -> anyhow::Result<()> {
        // Seconds to the next try, typing that ends.
        self.dirty = true;
        let actions = self.screen.tick(now());
        self.kept.handle_read(self.screen.read(), Patience::None);
        self.typed.handle_tick();
        self.carry_out(actions).await.map(drop)
    }

    async fn handle_room(&mut self, event: client::Event) -> anyhow::Result<()> {
        self.dirty = true;
        let offered = self.offered(&event);
        for event in self.translate(event).into_iter().chain(offered) {
            if let Some(what) = files::noted(&event) {
                self.voice.note(now().wall, &what);
            }
            let actions = self.screen.handle_event(event, now());
            self.carry_out(actions).await?;
        }
        Ok(())
    }

    /// Whether it is time to leave at once.
    async fn carry_out(&mut self, actions: Vec<Action>) -> anyhow::Result<bool> {
        for action in actions {
            match action {
                Action::Post(draft) => self.post(draft).await,
                Action::Remember(typed) => self.typed.add(&typed),
                Action::Typing(typing) => {
                    self.room.status(Status { typing: Some(typing), away: None }).await;
                }
                Action::Away(away) => self.room.status(Status { typing: None, away: Some(away) }).await,
                Action::Rename(name) => {
                    if let Ok(name) = name.parse::<Nick>() {
                        let request = self.ask(Asked::Name);
                        self.room.rename(request, name).await;
                    }
                }
                Action::Moderate(command, member) => self.moderate(command, member).await,
                Action::Older(before) => {
                    self.older.clear();
                    let request = self.ask(Asked::Older);
                    self.room.older(request, before, OLDER).await;
                }
                Action::Statistics => {
                    let text = statistics(&self.room.stats(), &self.address);
                    self.screen.handle_event(Event::Notice(text), now());
                }
                Action::Get { offers, directory } => self.get(offers, directory.as_ref()),
                Action::Send { to, paths } => self.send(to, paths).await,
                Action::Cancel(transfers) => self.cancel(&transfers),
                Action::Withdraw(offer) => self.withdraw(offer).await,
                Action::Paths(typed) => self.look_for_paths(typed).await,
                Action::Ring => drop(self.device.ring(self.notify.bytes())),
                Action::Suspend => self.device.suspend()?,
                Action::Redraw => self.device.forget(),
                Action::Quit | Action::Interrupt => {
                    if self.warn_of_transfers() {
                        continue;
                    }
                    if action == Action::Interrupt {
                        signal::note(SIGINT);
                    }
                    // Asked for again, or nothing to wait for.
                    if self.leaving.is_some() || self.kept.count() == 0 {
                        return Ok(true);
                    }
                    let waiting = self.kept.count();
                    let text = format!("{waiting} not sent yet: waiting a moment; once more leaves at once");
                    self.screen.handle_event(Event::Notice(text), now());
                    self.leaving = Some(time::now() + FAREWELL);
                }
            }
        }
        Ok(false)
    }

    async fn post(&mut self, draft: Draft) {
        let text = draft.text.clone();
        let content = match draft.kind {
            Kind::Text => Content::Text(text),
            Kind::Action => Content::Action(text),
            Kind::Topic => Content::Topic(text),
        };
        let to = draft.to.as_ref().map(|(member, _)| *member);
        self.kept.note(&content, draft.to.as_ref().map(|(_, name)| name.as_str()));
        let event = match self.room.post(&content, to).await {
            Ok(n) => {
                self.kept.add(n);
                Event::Posted { draft, n }
            }
            Err(full) => {
                self.kept.take_back();
                Event::NotPosted { draft, why: full.to_string() }
            }
        };
        self.screen.handle_event(event, now());
        self.tell_of_failing();
    }

    /// What an earlier program did not get rid of is sent now, and stands on the screen.
    fn restore(&mut self) {
        self.tell_of_failing();
        let messages = self.kept.messages();
        if messages.is_empty() {
            return;
        }
        let (what, are) = if messages.len() == 1 { ("a message", "is") } else { ("messages", "are") };
        let text = format!("{what} from before {are} not sent yet and {are} sent now");
        self.screen.handle_event(Event::Notice(text), now());
        for (pending, to) in messages {
            let (kind, text) = match Content::from_payload(&pending.payload) {
                Content::Text(text) => (Kind::Text, text),
                Content::Action(text) => (Kind::Action, text),
                Content::Topic(text) => (Kind::Topic, text),
                Content::Other => continue,
            };
            let to = to.map(|to| (crate::chat::NOBODY, to));
            let event = Event::Posted { draft: Draft { kind, to, text }, n: pending.n };
            self.screen.handle_event(event, now());
        }
    }

    /// Says once that what is not sent yet would be lost with the program.
    fn tell_of_failing(&mut self) {
        if let Some(failure) = self.kept.failing.clone().filter(|_| !self.told_failing) {
            self.told_failing = true;
            let text = format!("what is not sent yet is not kept: {failure}");
            self.screen.handle_event(Event::Warning(text), now());
        }
    }

    async fn moderate(&mut self, command: Command, member: Option<MemberId>) {
        let Some(action) = hosts::action(command) else { return };
        let name = member.and_then(|id| self.roster.name(id)).map(|name| format!(" {name}"));
        let typed = format!("/{}{}", command.word(), name.unwrap_or_default());
        let request = self.ask(Asked::Moderation(typed));
        self.room.moderate(request, action, member).await;
    }

    /// The number of a request whose answer means something.
    fn ask(&mut self, asked: Asked) -> u64 {
        self.requests += 1;
        if self.asked.len() >= REQUESTS {
            self.asked.pop_front();
        }
        self.asked.push_back((self.requests, asked));
        self.requests
    }

    /// What was asked for with this number.
    fn answered(&mut self, request: u64) -> Option<Asked> {
        let at = self.asked.iter().position(|(number, _)| *number == request)?;
        self.asked.remove(at).map(|(_, asked)| asked)
    }
}

fn now() -> Now {
    Now { moment: time::now(), wall: time::wall() as f64 / 1e6 }
}

/// The answer to `/stats`.
fn statistics(stats: &client::Stats, address: &Address) -> String {
    let rtt = stats.rtt.map_or("not measured yet".into(), |rtt| format!("{:.1} ms", rtt.as_secs_f64() * 1e3));
    format!(
        "{} port {}, {}\nround trip {rtt}, {} bytes sent, {} received",
        address.host,
        address.port,
        if stats.up { "connected" } else { "not connected" },
        stats.sent,
        stats.received,
    )
}
