//! A session over TCP: the task that owns the socket of a [`session::Client`](crate::session::Client).
//!
//! Events wait in a queue of [`EVENTS`]; when it is full the task stops reading, so that what is too
//! much waits at the server, which knows what to drop. Frames to send wait in a queue of one: the task
//! takes the next when the kernel has taken the last, and the kernel is kept short, so
//! [`Handle::send`] is as slow as the way out. Without a connection it is fast and the frames are
//! dropped and counted.
//!
//! File frames are larger: [`EVENT_BYTES`] of them may wait for the program, and [`BULK`] for the kernel.

mod ask;

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use self::ask::is_refused_password;
pub use self::ask::{Ask, Question};
use super::dial::dial;
use super::tcp;
use crate::chat::{Content, Full};
use crate::id::{MemberId, Nick, OfferNumber, Secret, TrackId};
pub use crate::session::client::{Correspondence, Counts, Down, End, Event};
use crate::session::client::{Profile, Want};
use crate::session::{Address, Client, Key};
use crate::wire::control::{Action, Publish, Status, TrackKind};
use crate::wire::offer::{Fetch, Going, Offer, Seal};
use crate::wire::{Control, Frame, Rendition, Slot};
use crate::{limits, time};

/// Events that may wait for the program: a quarter of a second of nine tracks at 30 pictures.
pub const EVENTS: usize = 64;
/// Bytes of file frames among the events from which nothing more is read until the program has taken some.
pub const EVENT_BYTES: usize = 8 * 1024 * 1024;
/// File frames are taken from the program while less than this waits to be written.
const BULK: usize = 512 * 1024;
/// Things said that may wait for the task, which takes them at once.
const WORDS: usize = 16;
/// The task looks at the clock at least this often, because timers do not run while the machine sleeps.
const TICK: Duration = Duration::from_secs(1);
/// Frames that wait to be written; what the core has beyond that stays there.
const WAITING: usize = 64;
/// Buffers in one write.
const VECTORS: usize = 16;

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

/// Gives orders to a session. Dropping the last one leaves the room.
#[derive(Debug, Clone)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
    words: mpsc::Sender<Order>,
    hurry: Arc<Notify>,
    stats: Arc<Mutex<Stats>>,
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

#[derive(Debug)]
enum Order {
    Send(Frame),
    File(Frame, oneshot::Sender<bool>),
    Ask(Box<Control>),
    Publish(Publish),
    Unpublish(TrackId),
    Subscribe(Vec<TrackId>),
    Unsubscribe(Vec<TrackId>),
    Keyframe(TrackId, Rendition),
    Post(Post),
    Status(Status),
    Rename(u64, Nick),
    Older(u64, u64, u32),
    Moderate(u64, Action, Option<MemberId>),
    Leave,
}

/// Something to say.
#[derive(Debug)]
struct Post {
    payload: Bytes,
    to: Option<MemberId>,
    slot: Option<Slot>,
    answer: oneshot::Sender<Result<u64, Full>>,
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

impl Handle {
    /// Sends a media frame of a track that is published; returns when there is room for the next.
    pub async fn send(&self, frame: Frame) {
        self.order(Order::Send(frame)).await;
    }

    /// Offers something, or goes on with it; [`Event::Offered`] or [`Event::Refused`] is the answer. Like all
    /// requests about offers it goes nowhere without a connection, and is made again after every
    /// [`Event::Up`] as far as it is still wanted.
    pub async fn offer(&self, offer: Offer) {
        self.words(Order::Ask(Box::new(Control::Offer(offer)))).await;
    }

    /// Sends a piece of an offer; returns when there is room for the next. False where it did not go out,
    /// because there is no connection on which the offer was answered.
    pub async fn send_file(&self, frame: Frame) -> bool {
        let (answer, result) = oneshot::channel();
        self.order(Order::File(frame, answer)).await;
        result.await.unwrap_or(false)
    }

    /// Says that an offer is complete, behind all that was sent of it; [`Event::Done`] or [`Event::Refused`]
    /// is the answer, when all of it is on the server's disk.
    pub async fn seal(&self, seal: Seal) {
        self.order(Order::Ask(Box::new(Control::Seal(seal)))).await;
    }

    /// Takes an offer back; [`Event::Done`] or [`Event::Refused`] brings `id` back.
    pub async fn withdraw(&self, id: u64, offer: OfferNumber) {
        self.give_up(id, offer, Going::Withdrawn).await;
    }

    /// The same, of an offer that can never be completed: why is told to those who fetch it.
    pub async fn give_up(&self, id: u64, offer: OfferNumber, reason: Going) {
        self.words(Order::Ask(Box::new(Control::Withdraw { id, offer, reason }))).await;
    }

    /// Asks for pieces of an offer: they come as [`Event::File`] in order, those that are not there yet when
    /// they are, then [`Event::Done`]. Several requests are served one after the other.
    pub async fn fetch(&self, fetch: Fetch) {
        self.words(Order::Ask(Box::new(Control::Fetch(fetch)))).await;
    }

    /// Ends a request for pieces; those that are on their way still come.
    pub async fn unfetch(&self, id: u64) {
        self.words(Order::Ask(Box::new(Control::Unfetch { id }))).await;
    }

    /// Says that this member has all of an offer, checked and safely stored.
    pub async fn received(&self, offer: OfferNumber) {
        self.words(Order::Ask(Box::new(Control::Received { offer }))).await;
    }

    /// Publishes a track; [`Event::Published`] brings its number.
    pub async fn publish(&self, publish: Publish) {
        self.order(Order::Publish(publish)).await;
    }

    /// Ends a published track.
    pub async fn unpublish(&self, track: TrackId) {
        self.order(Order::Unpublish(track)).await;
    }

    /// Asks for tracks.
    pub async fn subscribe(&self, tracks: Vec<TrackId>) {
        self.order(Order::Subscribe(tracks)).await;
    }

    /// Asks for tracks no more.
    pub async fn unsubscribe(&self, tracks: Vec<TrackId>) {
        self.order(Order::Unsubscribe(tracks)).await;
    }

    /// Asks for a picture at which decoding can begin.
    pub async fn keyframe(&self, track: TrackId, rendition: Rendition) {
        self.order(Order::Keyframe(track, rendition)).await;
    }

    /// Says something; its number. It is sent when that is possible, and again until it has arrived;
    /// [`Event::Acknowledged`] tells. Does not wait for the network.
    pub async fn post(&self, content: &Content, to: Option<MemberId>) -> Result<u64, Full> {
        let (answer, result) = oneshot::channel();
        let slot = matches!(content, Content::Topic(_)).then(Slot::topic);
        let post = Post { payload: content.to_payload().into(), to, slot, answer };
        self.words(Order::Post(post)).await;
        result.await.unwrap_or(Err(Full))
    }

    /// Says something about this program's user.
    pub async fn status(&self, status: Status) {
        self.words(Order::Status(status)).await;
    }

    /// Asks for another name; [`Event::Done`] or [`Event::Refused`] brings `id` back.
    pub async fn rename(&self, id: u64, name: Nick) {
        self.words(Order::Rename(id, name)).await;
    }

    /// Asks for messages before number `before`, at most `count`: they come as [`Event::Older`], then
    /// [`Event::Done`] with `id`; goes nowhere without a connection, and one at a time.
    pub async fn older(&self, id: u64, before: u64, count: u32) {
        self.words(Order::Older(id, before, count)).await;
    }

    /// As a host: changes something about the room or a member; [`Event::Done`] or [`Event::Refused`] brings
    /// `id` back.
    pub async fn moderate(&self, id: u64, action: Action, member: Option<MemberId>) {
        self.words(Order::Moderate(id, action, member)).await;
    }

    /// Leaves the room when everything that was sent before is written, and waits until the server has
    /// closed the connection (or has had its time to), so that nothing of it is lost. The events still
    /// have to be taken in the meantime.
    pub async fn close(&self) {
        self.order(Order::Leave).await;
        self.orders.closed().await;
    }

    /// Leaves the room now: media that is not on its way yet is dropped, and what waits for the network
    /// does not keep the goodbye back.
    pub async fn close_now(&self) {
        self.hurry.notify_one();
        self.orders.closed().await;
    }

    /// What has been done so far.
    pub fn stats(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What takes no room on the way out need not wait for it.
    async fn words(&self, order: Order) {
        let _ = self.words.send(order).await;
    }

    /// An order to a session that is over has nobody to carry it out, and its end has been told.
    async fn order(&self, order: Order) {
        let _ = self.orders.send(order).await;
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

type Dialing = Pin<Box<dyn Future<Output = Result<TcpStream, String>> + Send>>;

/// The connection as it is now.
enum Link {
    Idle,
    Dialing(Dialing),
    Open(Open),
}

struct Open {
    stream: TcpStream,
    /// What is to be written; media is added only when it is empty.
    out: VecDeque<Bytes>,
    /// A part of the first of them is out.
    begun: bool,
    /// The kernel may hold more of it than of media.
    bulk: bool,
    /// Nothing more is written: the peer takes no more bytes (it may have said why), or we are done.
    deaf: bool,
}

/// What a connection has done.
enum Happened {
    Dialed(Result<TcpStream, String>),
    Written(io::Result<usize>),
    Read(io::Result<usize>),
    /// Bytes of a large frame have come where they belong.
    Rest(usize),
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
                *link =
                    Link::Open(Open { stream, out: VecDeque::new(), begun: false, deaf: false, bulk: false });
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

impl Link {
    /// Waits for whatever the connection does next; for ever where there is none.
    async fn happens(&mut self, buffer: &mut [u8], rest: Option<&mut Vec<u8>>, reading: bool) -> Happened {
        match self {
            Self::Idle => std::future::pending().await,
            Self::Dialing(dialing) => Happened::Dialed(dialing.await),
            Self::Open(open) => open.happens(buffer, rest, reading).await,
        }
    }

    /// Closes our side when all is written, so that the server sees the end even if it overlooks the
    /// goodbye.
    fn say_no_more(&mut self) {
        if let Self::Open(open) = self
            && open.out.is_empty()
            && !open.deaf
        {
            open.deaf = true;
            // A connection that is broken already says so when it is read.
            let _ = SockRef::from(&open.stream).shutdown(Shutdown::Write);
        }
    }

    /// Drops what waits, except for the rest of a frame that is partly out.
    fn forget(&mut self) {
        if let Self::Open(open) = self {
            open.out.truncate(usize::from(open.begun));
        }
    }

    fn give_up_writing(&mut self) {
        if let Self::Open(open) = self {
            open.deaf = true;
            open.out.clear();
        }
    }
}

impl Open {
    /// Whether the program's next frame may come.
    fn is_hungry(&self) -> bool {
        self.out.is_empty() || self.deaf || self.bulk && self.out.iter().map(Bytes::len).sum::<usize>() < BULK
    }

    /// Adds a file frame; true.
    fn push_bulk(&mut self, bytes: Bytes) -> bool {
        if !self.bulk {
            self.bulk = true;
            // Without it the connection is slower and nothing else.
            let _ = tcp::configure_bulk(&self.stream);
        }
        self.out.push_back(bytes);
        true
    }

    async fn happens(
        &mut self,
        buffer: &mut [u8],
        mut rest: Option<&mut Vec<u8>>,
        reading: bool,
    ) -> Happened {
        let writing = !self.out.is_empty() && !self.deaf;
        let interest = match (reading, writing) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::READABLE,
            (false, true) => Interest::WRITABLE,
            (false, false) => std::future::pending().await,
        };
        loop {
            if let Err(error) = self.stream.ready(interest).await {
                return Happened::Read(Err(error));
            }
            // Writing first: what a slow program does not take must not keep its own words back.
            if writing && let Some(written) = unless_blocked(self.write()) {
                return Happened::Written(written);
            }
            let read = match (reading, &mut rest) {
                (false, _) => None,
                (true, Some(rest)) => unless_blocked(tcp::read_into(&self.stream, rest)),
                (true, None) => unless_blocked(self.stream.try_read(buffer)),
            };
            match (read, &rest) {
                (Some(Ok(count @ 1..)), Some(_)) => return Happened::Rest(count),
                (Some(read), _) => return Happened::Read(read),
                (None, _) => {}
            }
        }
    }

    /// Writes as much as the kernel takes.
    fn write(&mut self) -> io::Result<usize> {
        let slices: Vec<IoSlice<'_>> = self.out.iter().take(VECTORS).map(|b| IoSlice::new(b)).collect();
        let count = self.stream.try_write_vectored(&slices)?;
        let mut left = count;
        while let Some(first) = self.out.front_mut() {
            let part = left.min(first.len());
            first.advance(part);
            left -= part;
            if !first.is_empty() {
                self.begun |= part > 0;
                break;
            }
            self.out.pop_front();
            self.begun = false;
        }
        Ok(count)
    }
}

fn unless_blocked(result: io::Result<usize>) -> Option<io::Result<usize>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        other => Some(other),
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
