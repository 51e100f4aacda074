//! The room on a terminal: the session and the screen in one loop, keys before everything else.

mod files;

use std::io::{self, Write};
use std::time::Duration;

use jiff::tz::TimeZone;
use signal_hook::consts::{SIGHUP, SIGINT};
use tokio::sync::mpsc;

use super::board::Board;
use super::log::Log;
use super::roster::{Roster, hue_of};
use super::transfers::{self, Transfers};
use super::voice::Voice;
use super::{Chat, pipe};
use crate::chat::{Content, Inbox, Outbox, Received};
use crate::cli::recv::Memory;
use crate::cli::{ended, logging, signal};
use crate::id::{MemberId, Nick};
use crate::net::client::{self, Config, Correspondence, End, Events, Handle};
use crate::session::Address;
use crate::terminal::device::{Device, Input};
use crate::terminal::{
    Action, Command, Draft, Event, Kind, Message, Notify, Now, Screen, Sender, Settings, Theme,
};
use crate::time::{self, Moment};
use crate::wire::control::{self, Status};

/// Older messages that are asked for.
const HISTORY: u32 = 200;
/// What happens in the room is drawn at most this often; keys are drawn at once.
const FRAME: Duration = Duration::from_micros(16_667);
/// How often the time that passes is looked at.
const TICK: Duration = Duration::from_millis(250);
/// A connection that takes longer is told of.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long leaving waits for messages that are not acknowledged yet.
const FAREWELL: Duration = Duration::from_secs(5);

/// Shows the room until the person leaves.
pub(super) fn run(args: &Chat) -> anyhow::Result<()> {
    let history = args.history.unwrap_or(HISTORY);
    let outbox = Outbox::new(pipe::source()?);
    let correspondence = Correspondence { history, inbox: Inbox::default(), outbox };
    let log = args.log.as_deref().map(Log::open).transpose()?;
    let voice = Voice::new(false, false, log)?;
    let config = Config {
        messages: Some(correspondence),
        offers: true,
        ..args.meeting.config(&args.common, "conf-chat", Vec::new())?
    };
    let address = config.address.clone();
    let runtime = pipe::runtime()?;
    let end = talk(args, config, voice, &runtime);
    // What went wrong was told on the screen, when it did.
    logging::release(args.common.verbose > 0);
    // The name service may keep a thread waiting.
    runtime.shutdown_background();
    match end? {
        Some(end) => Ok(ended(&end, &address)?),
        None => Ok(()),
    }
}

/// Has the terminal while it runs.
fn talk(
    args: &Chat,
    config: Config,
    voice: Voice,
    runtime: &tokio::runtime::Runtime,
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
    let (device, keys) = Device::open(!args.no_mouse)?;
    let mut table = Table {
        screen: Screen::new(settings),
        device,
        room,
        roster,
        voice,
        board: Board::default(),
        listed: false,
        memory: Memory::load(),
        transfers,
        warned: false,
        address,
        notify: args.notify,
        chosen: args.meeting.name.clone().filter(|name| !name.is_empty()),
        requests: 0,
        leaving: None,
        dirty: true,
        drawn: Moment::default(),
    };
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
struct Table {
    screen: Screen,
    device: Device,
    room: Handle,
    roster: Roster,
    /// Writes the log.
    voice: Voice,
    board: Board,
    /// Offers were told once.
    listed: bool,
    /// What was received before.
    memory: Memory,
    transfers: Transfers,
    /// It was said that leaving breaks transfers off.
    warned: bool,
    address: Address,
    notify: Notify,
    /// The name that was asked for, until it is known whether it was given.
    chosen: Option<String>,
    /// Requests that were made of the server.
    requests: u64,
    /// Until when leaving waits for what is on its way.
    leaving: Option<Moment>,
    dirty: bool,
    drawn: Moment,
}

/// Why the loop goes on.
enum Wake {
    Input(Option<Input>),
    Room(Option<client::Event>),
    Transfer(transfers::News),
    Tick,
}

impl Table {
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
        // Both at once: neither has to wait for the other.
        let room = self.room.clone();
        match over {
            Some(_) => self.break_off().await,
            None => drop(tokio::join!(self.break_off(), pipe::leave(&room, &mut events))),
        }
        Ok(over)
    }

    /// Leaving waits until everything that was said has arrived, for a while.
    fn may_leave(&self) -> bool {
        self.leaving.is_some_and(|until| self.screen.pending() == 0 || until.since(time::now()).is_zero())
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
            Input::Wheel(rows) => {
                self.screen.handle_wheel(rows);
                Vec::new()
            }
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
                Action::Typing(typing) => {
                    self.room.status(Status { typing: Some(typing), away: None }).await;
                }
                Action::Away(away) => self.room.status(Status { typing: None, away: Some(away) }).await,
                Action::Rename(name) => {
                    if let Ok(name) = name.parse::<Nick>() {
                        self.requests += 1;
                        self.room.rename(self.requests, name).await;
                    }
                }
                Action::Moderate(command, member) => self.moderate(command, member).await,
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
                    if self.leaving.is_some() || self.screen.pending() == 0 {
                        return Ok(true);
                    }
                    let waiting = self.screen.pending();
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
        let event = match self.room.post(&content, to).await {
            Ok(n) => Event::Posted { draft, n },
            Err(full) => Event::NotPosted { draft, why: full.to_string() },
        };
        self.screen.handle_event(event, now());
    }

    async fn moderate(&mut self, command: Command, member: Option<MemberId>) {
        let action = match command {
            Command::Lock => control::Action::Lock,
            Command::Unlock => control::Action::Unlock,
            Command::Kick => control::Action::Kick,
            Command::Mute => control::Action::Mute,
            Command::Unmute => control::Action::Unmute,
            Command::Host => control::Action::Host,
            Command::Unhost => control::Action::Unhost,
            _ => return,
        };
        self.requests += 1;
        self.room.moderate(self.requests, action, member).await;
    }

    /// What an event of the session is for the screen.
    fn translate(&mut self, event: client::Event) -> Vec<Event> {
        let changed = |roster: &Roster, id| roster.person(id).map(Event::Person).into_iter().collect();
        let event = match event {
            client::Event::Up { welcome, .. } => {
                self.roster.handle_up(&welcome);
                let other = self.chosen.take().filter(|chosen| *chosen != welcome.name);
                let told = other.map(|chosen| {
                    let given = &welcome.name;
                    Event::Notice(format!(
                        "you are {given} here, not {chosen}: that name is taken, or a program of yours came first"
                    ))
                });
                return [Event::Up { name: welcome.name }].into_iter().chain(told).collect();
            }
            client::Event::State(state) => {
                let locked = state.room.is_some_and(|room| room.locked);
                self.roster.handle_state(state);
                return vec![Event::People(self.roster.people()), Event::Locked(locked)];
            }
            client::Event::Member(member) => {
                let id = member.member;
                self.roster.handle_member(member);
                return changed(&self.roster, id);
            }
            client::Event::MemberLeft(id) => {
                self.roster.handle_left(id);
                Event::Left(id)
            }
            client::Event::Track(track) => {
                let id = self.roster.handle_track(track);
                return changed(&self.roster, id);
            }
            client::Event::TrackGone(track) => {
                let Some(id) = self.roster.handle_track_gone(track) else { return Vec::new() };
                return changed(&self.roster, id);
            }
            client::Event::Message(received) => self.message(received),
            // The numbers are those of another life of the room.
            client::Event::Gap(gap) => Event::Gap(gap.to_string()),
            client::Event::CaughtUp => Event::CaughtUp,
            client::Event::Acknowledged(progress) => Event::Relayed(progress.relayed),
            client::Event::Unsent { n, refusal } => Event::Unsent { n, why: refusal.to_string() },
            client::Event::Conflict => Event::Warning(
                "a message was taken for one from before and is not in the room; say it again".into(),
            ),
            client::Event::Room(room) => Event::Locked(room.locked),
            client::Event::Storage { stored: true, .. } => {
                Event::Notice("the server keeps messages on its disk again".into())
            }
            client::Event::Storage { message, .. } => {
                Event::Warning(format!("the server does not keep messages on its disk: {message}"))
            }
            client::Event::Refused(refusal) => Event::Warning(refusal.to_string()),
            client::Event::Down { reason, retry_in, .. } => {
                Event::Down { why: reason.to_string(), retry: time::now() + retry_in }
            }
            _ => return Vec::new(),
        };
        vec![event]
    }

    fn message(&mut self, received: Received) -> Event {
        let to = received.to.map(|id| self.roster.name(id).unwrap_or("somebody who left").to_owned());
        self.voice.message(&received, to.as_deref());
        let mine = received.own || self.roster.is_own(received.from, received.key);
        let from = received.name;
        let (kind, text) = match received.content {
            Content::Text(text) => (Kind::Text, text),
            Content::Action(text) => (Kind::Action, text),
            Content::Topic(text) => (Kind::Topic, text),
            Content::Other => {
                return Event::Warning(format!("{from} sent something that this version cannot show"));
            }
        };
        Event::Said(Message {
            to,
            mine,
            own: received.own.then_some(received.n),
            sent: received.sent,
            received: received.received,
            kind,
            text,
            from: Sender { member: received.from, hue: hue_of(received.key.as_ref(), &from), name: from },
        })
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
