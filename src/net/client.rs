//! A session over TCP: the task that owns the socket of a [`session::Client`](crate::session::Client).
//!
//! Events wait in a queue of [`EVENTS`]; when it is full the task stops reading, so that what is too
//! much waits at the server, which knows what to drop. Frames to send wait in a queue of one: the task
//! takes the next when the kernel has taken the last, and the kernel is kept short, so
//! [`Handle::send`] is as slow as the way out. Without a connection it is fast and the frames are
//! dropped and counted.
//!
//! File frames are larger: [`EVENT_BYTES`] of them may wait for the program, and [`link::BULK`] for the kernel.

mod ask;
mod handle;
mod link;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use self::ask::is_refused_password;
pub use self::ask::{Ask, Question};
pub use self::handle::Handle;
use self::handle::Order;
use self::link::{Happened, Link, Open};
use super::dial::dial;
use super::tcp;
use crate::id::{Nick, Secret};
pub use crate::session::client::{Correspondence, Counts, Down, End, Event};
use crate::session::client::{Profile, Want};
use crate::session::{Address, Client, Key};
use crate::wire::control::TrackKind;
use crate::{limits, time};

/// Events that may wait for the program: a quarter of a second of nine tracks at 30 pictures.
pub const EVENTS: usize = 64;
/// Bytes of file frames among the events from which nothing more is read until the program has taken some.
pub const EVENT_BYTES: usize = 8 * 1024 * 1024;
/// Things said that may wait for the task, which takes them at once.
const WORDS: usize = 16;
/// The task looks at the clock at least this often, because timers do not run while the machine sleeps.
const TICK: Duration = Duration::from_secs(1);
/// Frames that wait to be written; what the core has beyond that stays there.
const WAITING: usize = 64;

/// What to join and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where.
    pub address: Address,
    /// As whom.
    pub name: Nick,
    /// What makes all programs of one person one member; without it the program is a guest.
    pub key: Option<Key>,
    /// What the room's password has become.
    pub password: Option<Secret<32>>,
    /// Program and version, as in `conf-view 0.1.0`.
    pub client: String,
    /// Kinds of track that are wanted as they come.
    pub subscribe: Vec<TrackKind>,
    /// The program takes part in the conversation.
    pub messages: Option<Correspondence>,
    /// The program wants to be told of offers.
    pub offers: bool,
    /// It wants to know how the room is, and not to come in; a server that knows nothing of that lets it in.
    pub look: bool,
    /// Tries in a row to come back; without a number any number.
    pub reconnect: Option<u32>,
    /// How long one try to connect may take, the wait for the welcome included.
    pub connect_timeout: Duration,
    /// Who says the room's password where none is there, or another one is wanted.
    pub ask: Option<Ask>,
}

/// What a session has done so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    /// Last round-trip time, with what waited before it in queues.
    pub rtt: Option<Duration>,
    /// Bytes given to the kernel.
    pub sent: u64,
    /// Bytes read.
    pub received: u64,
    /// Whether the session is up.
    pub up: bool,
    /// Drops, damage, reconnects.
    pub counts: Counts,
}

/// What a session tells. Dropping it leaves the room as well.
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Receiver<Event>,
    weight: Arc<Weight>,
    task: JoinHandle<()>,
}

/// Bytes of file frames among the events that the program has not taken yet.
#[derive(Debug, Default)]
struct Weight {
    bytes: AtomicUsize,
    /// Some were taken.
    lighter: Notify,
}

impl Weight {
    fn is_too_much(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= EVENT_BYTES
    }

    fn add(&self, event: &Event) {
        self.bytes.fetch_add(weight(event), Ordering::Relaxed);
    }

    fn take(&self, event: &Event) {
        let weight = weight(event);
        if weight > 0 && self.bytes.fetch_sub(weight, Ordering::Relaxed) >= EVENT_BYTES {
            self.lighter.notify_one();
        }
    }
}

fn weight(event: &Event) -> usize {
    match event {
        Event::File(frame) => frame.bytes().len(),
        _ => 0,
    }
}

/// Begins a session; must be called within a tokio runtime. The first event says whether it came about.
pub fn connect(config: Config) -> (Handle, Events) {
    let (orders, orders_in) = mpsc::channel(1);
    let (words, words_in) = mpsc::channel(WORDS);
    let (events_out, events) = mpsc::channel(EVENTS);
    let stats = Arc::new(Mutex::new(Stats::default()));
    let hurry = Arc::new(Notify::new());
    let weight = Arc::new(Weight::default());
    let profile = Profile {
        room: config.address.room.clone(),
        name: config.name.clone(),
        client: config.client.clone(),
        key: config.key.clone(),
        password: config.password,
        subscribe: config.subscribe.clone(),
        messages: config.messages.clone(),
        offers: config.offers,
        look: config.look,
        tries: config.reconnect,
    };
    // Without random numbers the jitter is that of all programs without them, and nothing else suffers.
    let seed = getrandom::u64().unwrap_or_else(|_| time::wall());
    let task = Task {
        client: Client::new(profile, seed),
        config,
        orders: orders_in,
        words: words_in,
        hurry: Arc::clone(&hurry),
        events: events_out,
        weight: Arc::clone(&weight),
        undelivered: VecDeque::new(),
        stats: Arc::clone(&stats),
        traffic: (0, 0),
        abandoned: false,
        wrong: 0,
        refused: None,
    };
    let task = tokio::spawn(task.run());
    (Handle { orders, words, hurry, stats }, Events { queue: events, weight, task })
}

/// Says it where the server gave another name than the one that was `chosen`.
pub fn tell_other_name(chosen: Option<&str>, given: &str) {
    if let Some(chosen) = chosen.filter(|chosen| *chosen != given) {
        let given = crate::text::scrub(given, limits::LABEL);
        tracing::warn!(
            "you are {given} in this room, not {chosen}: that name is taken, or a program of yours came first; \
             CONF_IDENTITY_FILE=FILE makes this program somebody else"
        );
    }
}

impl Events {
    /// The next event; `None` after [`Event::Ended`].
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.queue.recv().await?;
        self.weight.take(&event);
        Some(event)
    }

    /// The same for a thread of its own.
    pub fn next_blocking(&mut self) -> Option<Event> {
        let event = self.queue.blocking_recv()?;
        self.weight.take(&event);
        Some(event)
    }

    /// Waits until the task has ended.
    pub async fn finished(self) {
        drop(self.queue);
        let _ = self.task.await;
    }
}

/// Why the task goes on.
enum Wake {
    /// An event may be delivered, or nobody wants any.
    Room(bool),
    Link(Happened),
    Order(Option<Order>),
    Hurry,
    Lighter,
    Tick,
}

struct Task {
    client: Client,
    config: Config,
    orders: mpsc::Receiver<Order>,
    words: mpsc::Receiver<Order>,
    hurry: Arc<Notify>,
    events: mpsc::Sender<Event>,
    weight: Arc<Weight>,
    /// Events that found the queue full; nothing is read while there are any.
    undelivered: VecDeque<Event>,
    stats: Arc<Mutex<Stats>>,
    /// Bytes sent and received.
    traffic: (u64, u64),
    /// Nobody gives orders any more.
    abandoned: bool,
    /// Passwords that were asked for and not the right ones.
    wrong: u32,
    /// The end of the session, unless somebody knows the password.
    refused: Option<Event>,
}

impl Task {
    async fn run(mut self) {
        let mut link = Link::Idle;
        let mut buffer = vec![0; limits::READ];
        loop {
            self.collect(&mut link);
            if let Some(end) = self.refused.take() {
                link = Link::Idle;
                self.ask(end).await;
                continue;
            }
            if self.follow(&mut link) && self.undelivered.is_empty() {
                return;
            }
            let pause = self.client.poll_timeout().map_or(TICK, |t| t.since(time::now()).min(TICK));
            let heavy = self.weight.is_too_much();
            let reading = self.undelivered.is_empty() && !heavy;
            let hungry = match &link {
                Link::Open(open) => open.is_hungry(),
                _ => true,
            };
            let wake = tokio::select! {
                room = self.events.reserve(), if !self.undelivered.is_empty() => Wake::Room(room.is_ok()),
                happened = link.happens(&mut buffer, self.client.rest(), reading) => Wake::Link(happened),
                Some(order) = self.words.recv(), if !self.abandoned => Wake::Order(Some(order)),
                order = self.orders.recv(), if hungry && !self.abandoned => Wake::Order(order),
                () = self.hurry.notified() => Wake::Hurry,
                () = self.weight.lighter.notified(), if heavy => Wake::Lighter,
                () = tokio::time::sleep(pause) => Wake::Tick,
            };
            self.client.set_wall(time::wall());
            match wake {
                Wake::Room(true) => {}
                Wake::Room(false) => self.abandon(),
                Wake::Link(happened) => self.handle_link(happened, &buffer, &mut link),
                Wake::Order(order) => self.handle_order(order, &mut link),
                Wake::Hurry => {
                    link.forget();
                    self.client.leave(time::now());
                }
                Wake::Lighter | Wake::Tick => {}
            }
            let now = time::now();
            if !reading {
                self.client.handle_not_reading(now);
            }
            self.client.handle_timeout(now);
        }
    }

    /// Passes on what the core has to say to the program and to the server.
    fn collect(&mut self, link: &mut Link) {
        while let Some(event) = self.client.poll_event() {
            if self.config.ask.is_some() && is_refused_password(&event) {
                self.refused = Some(event);
                continue;
            }
            log(&event);
            self.weight.add(&event);
            self.undelivered.push_back(event);
        }
        while let Some(event) = self.undelivered.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.undelivered.push_front(event);
                    break;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => self.abandon(),
            }
        }
        if let Link::Open(open) = link {
            while open.out.len() < WAITING
                && let Some(bytes) = self.client.poll_transmit()
            {
                if !open.deaf {
                    open.out.push_back(bytes);
                }
            }
        }
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        *stats = Stats {
            rtt: self.client.rtt(),
            sent: self.traffic.0,
            received: self.traffic.1,
            up: self.client.is_up(),
            counts: self.client.counts(),
        };
    }

    /// Brings the connection in line with what the core wants; whether all is over.
    fn follow(&mut self, link: &mut Link) -> bool {
        match self.client.want(time::now()) {
            Want::Keep if self.client.is_leaving() => link.say_no_more(),
            Want::Keep => {}
            Want::Pause(_) => *link = Link::Idle,
            Want::Connect => {
                let (address, limit) = (self.config.address.clone(), self.config.connect_timeout);
                self.client.handle_connecting();
                self.client.set_patience(time::now() + limit);
                *link = Link::Dialing(Box::pin(dialed(address, limit)));
            }
            Want::Nothing => {
                *link = Link::Idle;
                return true;
            }
        }
        false
    }

    fn handle_link(&mut self, happened: Happened, buffer: &[u8], link: &mut Link) {
        let now = time::now();
        let lost = match happened {
            Happened::Dialed(Ok(stream)) => {
                *link = Link::Open(Open::new(stream));
                return self.client.handle_connected(now);
            }
            Happened::Dialed(Err(reason)) => Down::Unreachable(reason),
            Happened::Written(Ok(count)) => {
                self.traffic.0 += count as u64;
                return self.client.handle_sent(now);
            }
            // The server may have said why before it closed; that is found by reading on.
            Happened::Written(Err(_)) => return link.give_up_writing(),
            Happened::Read(Ok(0)) => Down::Closed,
            Happened::Read(Ok(count)) => {
                self.traffic.1 += count as u64;
                return self.client.handle_bytes(&buffer[..count], now);
            }
            Happened::Rest(count) => {
                self.traffic.1 += count as u64;
                return self.client.handle_rest(now);
            }
            Happened::Read(Err(error)) => Down::Broken(error.to_string()),
        };
        *link = Link::Idle;
        self.client.handle_lost(lost, now);
    }

    fn handle_order(&mut self, order: Option<Order>, link: &mut Link) {
        match order {
            Some(Order::Send(frame)) if matches!(link, Link::Open(open) if open.deaf) => {
                self.client.handle_dropped(&frame);
            }
            Some(Order::Send(frame)) => {
                if let Some(frame) = self.client.prepare(frame)
                    && let Link::Open(open) = link
                {
                    open.out.push_back(frame.bytes().clone());
                }
            }
            Some(Order::File(frame, answer)) => {
                let sent = match link {
                    Link::Open(open) if !open.deaf => match self.client.prepare_file(frame) {
                        Some(frame) => open.push_bulk(frame.bytes().clone()),
                        None => false,
                    },
                    _ => false,
                };
                // Who has gone does not want to know.
                let _ = answer.send(sent);
            }
            Some(Order::Ask(request)) => self.client.ask(&request),
            Some(Order::Publish(publish)) => self.client.publish(publish),
            Some(Order::Unpublish(track)) => self.client.unpublish(track),
            Some(Order::Subscribe(tracks)) => self.client.subscribe(tracks),
            Some(Order::Unsubscribe(tracks)) => self.client.unsubscribe(tracks),
            Some(Order::Keyframe(track, rendition)) => self.client.keyframe(track, rendition),
            Some(Order::Post(post)) => {
                let result = self.client.post(post.payload, post.to, post.slot);
                // Who does not wait for the number does not need it.
                let _ = post.answer.send(result);
            }
            Some(Order::Status(status)) => self.client.status(&status),
            Some(Order::Rename(id, name)) => self.client.rename(id, name),
            Some(Order::Older(id, before, count)) => self.client.older(id, before, count),
            Some(Order::Moderate(id, action, member)) => self.client.moderate(id, action, member),
            Some(Order::Leave) => self.client.leave(time::now()),
            None => self.abandon(),
        }
    }

    /// Nobody listens or nobody gives orders any more.
    fn abandon(&mut self) {
        self.abandoned = true;
        self.undelivered.clear();
        self.client.leave(time::now());
    }
}

async fn dialed(address: Address, limit: Duration) -> Result<TcpStream, String> {
    let stream = dial(&address.host, address.port, limit).await.map_err(|error| error.to_string())?;
    tcp::configure_media(&stream).map_err(|error| error.to_string())?;
    Ok(stream)
}

fn log(event: &Event) {
    match event {
        Event::Up { welcome, resumed } => {
            tracing::info!(room = welcome.room, member = %welcome.member, name = welcome.name, resumed, "joined");
        }
        Event::Down { reason, retry_in, attempt } => {
            // A sentence for people, who are not interested in how often that was.
            tracing::debug!(attempt, "the connection is lost");
            tracing::warn!("{reason}; trying again in {:.1} s", retry_in.as_secs_f64());
        }
        // Whoever has asked for it says so itself.
        Event::Refused(refusal) if refusal.id.is_some() || refusal.piece.is_some() => {
            tracing::debug!(code = refusal.code.as_str(), "refused: {refusal}");
        }
        Event::Refused(refusal) => tracing::warn!("refused: {refusal}"),
        Event::Ended(end) => tracing::info!("{end}"),
        _ => {}
    }
}
