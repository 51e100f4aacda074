//! A server without sockets: the cores, wired as `server::{hall, fan, connection, outbox}` wire them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::link::{Arrival, Direction};
use super::program::damaged;
use super::shelf::{News, Shelf};
use super::world::wall;
use crate::chat::Log;
use crate::id::{ConnectionId, LogId, MemberId, ResumeToken, Secret, TrackId};
use crate::limits;
use crate::room::{Admitted, Ask, Fan, Flow, Gop, Join, Output, Queue, Receiver, Room, Settings, Terms};
use crate::session::Peer;
use crate::session::peer::Demand;
use crate::session::random::Random;
use crate::time::Moment;
use crate::wire::control::{Control, Goodbye, Refusal, Welcome};
use crate::wire::{Code, Frame, Incoming, Media, Parser};

/// The disk of a server, which outlives it; without one, messages live as long as the room.
pub(super) type Disk = Option<Rc<RefCell<Shelf>>>;

/// One direction of a connection, held by both ends.
pub(super) type Pipe = Rc<RefCell<Direction>>;

const LINGER: Duration = Duration::from_secs(1);

/// The sending half of a connection.
pub(super) struct Line {
    id: ConnectionId,
    queue: RefCell<Queue>,
    down: Pipe,
    now: Rc<Cell<Moment>>,
    woken: Cell<bool>,
    ending: Cell<bool>,
    sent: Cell<u64>,
    /// The next picture is damaged on its way.
    damage: Cell<bool>,
    /// The last message that it has.
    told: Cell<u64>,
}

impl Line {
    fn say(&self, operation: &Control) {
        self.send(Frame::control(operation, 0).bytes().clone());
    }

    fn send(&self, bytes: Bytes) {
        if self.ending.get() {
            return;
        }
        if self.queue.borrow_mut().push_reliable(bytes, self.now.get()).is_err() {
            return self.ending.set(true);
        }
        self.write();
    }

    fn send_media(&self, media: &Media, bytes: &Bytes) {
        if self.ending.get() {
            return;
        }
        let damaged = self.damage.get().then(|| damaged(bytes));
        let bytes = damaged.as_ref().unwrap_or(bytes);
        if self.queue.borrow_mut().push_media(media, bytes, self.now.get()) {
            self.damage.set(false);
            self.write();
        }
        self.check_age();
    }

    /// Of what waits too long only a picture that was begun is left, and what is never dropped.
    fn check_age(&self) {
        let queue = self.queue.borrow();
        let old = queue.age(self.now.get()) >= limits::QUEUE_AGE_GOP;
        assert!(!old || queue.bytes() < 8_000, "{} bytes wait too long", queue.bytes());
    }

    fn refuse(&self, refusal: Refusal) {
        let (code, retry_after_ms) = (Some(refusal.code), refusal.retry_after_ms);
        self.say(&Control::Error(refusal));
        self.goodbye(Goodbye { code, message: String::new(), retry_after_ms });
    }

    fn goodbye(&self, goodbye: Goodbye) {
        self.say(&Control::Goodbye(goodbye));
        self.ending.set(true);
    }

    /// Writes what the link takes; what is left wakes the connection.
    fn write(&self) {
        let (mut queue, mut down) = (self.queue.borrow_mut(), self.down.borrow_mut());
        assert!(queue.bytes() <= limits::QUEUE + limits::QUEUE_RELIABLE, "the queue is bounded");
        while !queue.is_empty() && down.space() > 0 {
            let mut slices = [IoSlice::new(&[])];
            queue.slices(&mut slices);
            let count = slices[0].len().min(down.space());
            down.write(&slices[0][..count], self.now.get());
            queue.wrote(count, self.now.get());
            self.sent.set(self.sent.get() + count as u64);
        }
        if !queue.is_empty() {
            self.woken.set(true);
        }
    }
}

impl Receiver for Rc<Line> {
    fn id(&self) -> ConnectionId {
        self.id
    }

    fn replay(&self, flow: Flow, gop: &Gop, now: Moment) {
        if self.queue.borrow_mut().replay(flow, gop, now) {
            self.write();
        }
    }

    fn open(&self, track: TrackId) {
        self.queue.borrow_mut().open(track);
    }

    fn interrupt(&self, flow: Flow) {
        self.queue.borrow_mut().interrupt(flow);
    }

    fn forget(&self, track: TrackId) {
        self.queue.borrow_mut().forget(track);
    }
}

/// The receiving half.
struct Connection {
    peer: Peer,
    line: Rc<Line>,
    up: Pipe,
    sent: u64,
    seated: bool,
    /// The last frames leave; over then.
    until: Option<Moment>,
}

/// What the checks need to know of a member.
#[derive(Debug, Clone, Copy)]
struct Known {
    member: MemberId,
    /// Since when none of its connections is there.
    down: Option<Moment>,
}

/// One life of a server with one room.
pub(super) struct Host {
    now: Rc<Cell<Moment>>,
    random: Random,
    life: u64,
    rooms: u64,
    disk: Disk,
    room: Room,
    lines: BTreeMap<ConnectionId, Rc<Line>>,
    fans: BTreeMap<TrackId, Fan<Rc<Line>>>,
    connections: BTreeMap<ConnectionId, Connection>,
    sessions: HashMap<ResumeToken, Known>,
    seats: HashMap<ConnectionId, ResumeToken>,
}

impl Host {
    pub(super) fn new(life: u64, seed: u64, disk: Disk, now: Rc<Cell<Moment>>) -> Self {
        Self {
            random: Random::new(seed ^ life),
            life,
            rooms: 0,
            room: new_room(life, 0, &disk, now.get()),
            disk,
            now,
            lines: BTreeMap::new(),
            fans: BTreeMap::new(),
            connections: BTreeMap::new(),
            sessions: HashMap::new(),
            seats: HashMap::new(),
        }
    }

    pub(super) fn accept(&mut self, id: ConnectionId, up: Pipe, down: Pipe) {
        let now = self.now.get();
        let line = Rc::new(Line {
            id,
            queue: RefCell::new(Queue::new(now)),
            down,
            now: Rc::clone(&self.now),
            woken: Cell::new(false),
            ending: Cell::new(false),
            sent: Cell::new(0),
            damage: Cell::new(false),
            told: Cell::new(0),
        });
        let peer = Peer::new(Secret([id.0 as u8; 32]), now);
        line.say(&peer.challenge());
        let connection = Connection { peer, line, up, sent: 0, seated: false, until: None };
        self.connections.insert(id, connection);
    }

    /// The next picture for `place`, counted over the connections, is damaged on its way.
    pub(super) fn damage(&self, place: usize) {
        self.lines.values().nth(place).into_iter().for_each(|line| line.damage.set(true));
    }

    /// Stops with a word to everybody, or without.
    pub(super) fn stop(self, in_order: bool) {
        for connection in self.connections.values() {
            if in_order {
                connection.line.goodbye(Goodbye {
                    code: Some(Code::ShuttingDown),
                    message: String::new(),
                    retry_after_ms: Some(500),
                });
            }
            match in_order {
                true => connection.line.down.borrow_mut().close(self.now.get()),
                false => connection.line.down.borrow_mut().reset(),
            }
        }
        self.disk.iter().for_each(|disk| disk.borrow_mut().end(in_order));
    }

    /// Does everything that is due.
    pub(super) fn step(&mut self) {
        let now = self.now.get();
        if self.room.poll_timeout().is_some_and(|at| at <= now) {
            self.room.handle_timeout(now);
            self.carry_out();
            if self.room.is_over(now) {
                self.rooms += 1;
                self.disk.iter().for_each(|disk| disk.borrow_mut().end(true));
                self.room = new_room(self.life, self.rooms, &self.disk, now);
                self.sessions.clear();
            }
        }
        while let Some(news) = self.disk.as_ref().and_then(|disk| disk.borrow_mut().poll(now)) {
            self.handle_news(news);
        }
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.serve(id);
        }
    }

    /// All rooms together have too many messages in memory.
    pub(super) fn shrink(&mut self) {
        self.room.shrink_log();
    }

    fn handle_news(&mut self, news: News) {
        match news {
            News::Stored(through) => self.room.handle_stored(through),
            News::Reserved(through) => self.room.handle_reserved(through),
            News::Storage(works) => self.room.handle_storage(works, "full"),
            News::Start(to, after) => self.room.handle_start(to, after),
            News::Page(to, missing, found) => self.room.handle_fetched(to, missing, found.as_ref()),
            News::Older(to, older, found) => self.room.handle_found_older(to, older, found.as_deref()),
        }
        self.carry_out();
    }

    pub(super) fn next(&self) -> Option<Moment> {
        let connections = self.connections.values().flat_map(|c| {
            let stalled = c.line.queue.borrow().poll_timeout();
            let timer = c.until.unwrap_or_else(|| c.peer.poll_timeout(stalled));
            [Some(timer), c.up.borrow().next()]
        });
        let disk = self.disk.as_ref().and_then(|disk| disk.borrow().next());
        connections.flatten().chain(self.room.poll_timeout()).chain(disk).min()
    }

    fn serve(&mut self, id: ConnectionId) {
        self.drain(id);
        let gone = self.read(id);
        let now = self.now.get();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let line = Rc::clone(&connection.line);
        if connection.until.is_none() && !gone {
            if line.sent.get() != connection.sent {
                connection.sent = line.sent.get();
                connection.peer.handle_sent(now);
            }
            loop {
                let stalled = line.queue.borrow().poll_timeout();
                let peer = &mut self.connections.get_mut(&id).unwrap().peer;
                let Some(demand) = peer.handle_timeout(stalled, now) else { break };
                self.handle_demand(id, demand);
            }
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.until {
            None if gone || line.ending.get() => {
                connection.until = Some(now + LINGER);
                self.part(id, false);
            }
            Some(until) if until <= now => {
                line.down.borrow_mut().close(now);
                self.connections.remove(&id);
            }
            Some(_) if line.queue.borrow().is_empty() => line.down.borrow_mut().close(now),
            _ => {}
        }
    }

    fn drain(&mut self, id: ConnectionId) {
        let line = Rc::clone(&self.connections[&id].line);
        let writable = !line.queue.borrow().is_empty() && line.down.borrow().space() > 0;
        if line.woken.replace(false) || writable {
            line.write();
            if line.queue.borrow().is_empty() && self.room.behind().any(|behind| behind == id) {
                self.room.handle_drained(id);
                self.carry_out();
            }
            let starved: Vec<Flow> = line.queue.borrow().starved().collect();
            for (track, rendition) in starved {
                self.want_key(&line, track, rendition);
            }
        }
    }

    fn want_key(&mut self, line: &Rc<Line>, track: TrackId, rendition: crate::wire::Rendition) {
        if let Some(fan) = self.fans.get_mut(&track) {
            ask(fan.want_key(rendition, line, self.now.get()));
        }
    }

    /// Whether the peer is gone.
    fn read(&mut self, id: ConnectionId) -> bool {
        let now = self.now.get();
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return true };
            if connection.peer.is_resting(now) {
                return false;
            }
            let arrival = connection.up.borrow_mut().read(now);
            match arrival {
                None => return false,
                Some(Arrival::Bytes(bytes)) if connection.until.is_none() => {
                    connection.peer.handle_bytes(&bytes, now);
                    while let Some(connection) = self.connections.get_mut(&id)
                        && !connection.line.ending.get()
                        && let Some(demand) = connection.peer.poll(now, |_| {})
                    {
                        self.handle_demand(id, demand);
                    }
                }
                Some(Arrival::Bytes(_)) => {}
                Some(Arrival::End) => {
                    if connection.until.is_some() {
                        connection.until = Some(now);
                    }
                    return true;
                }
                Some(Arrival::Reset) => {
                    connection.line.down.borrow_mut().reset();
                    self.part(id, false);
                    self.connections.remove(&id);
                    return true;
                }
            }
        }
    }

    fn handle_demand(&mut self, id: ConnectionId, demand: Demand) {
        let line = Rc::clone(&self.connections[&id].line);
        let now = self.now.get();
        match demand {
            Demand::Say(operation) => return line.say(&operation),
            Demand::End(refusal) => return line.refuse(refusal),
            Demand::Join { name, hello, .. } => {
                let mut token = [0; 16];
                token[..8].copy_from_slice(&self.random.bits().to_be_bytes());
                let join = Join {
                    connection: id,
                    name,
                    key: hello.key,
                    resume: hello.resume,
                    token: Secret(token),
                    subscribe: hello.subscribe,
                    messages: hello.messages,
                    wall: wall(0, now),
                };
                return self.join(&line, join);
            }
            Demand::Media(frame) => return self.deliver(&line, &frame),
            Demand::Lost(track, rendition) => {
                if self.room.publishes(id, track)
                    && let Some(fan) = self.fans.get_mut(&track)
                {
                    ask(fan.lost(rendition, now));
                }
                return;
            }
            _ if !self.connections[&id].seated => return,
            Demand::Publish(publish) => self.room.handle_publish(id, publish),
            Demand::Unpublish(track) => self.room.handle_unpublish(id, track),
            Demand::Subscribe(tracks) => self.room.handle_subscribe(id, &tracks, now),
            Demand::Unsubscribe(tracks) => self.room.handle_unsubscribe(id, &tracks, now),
            Demand::Keyframe(track, rendition) => return self.want_key(&line, track, rendition),
            Demand::Message(frame) => {
                self.room.handle_message(id, &frame, now, wall(0, now));
                self.room.handle_settled();
            }
            Demand::Status(status) => self.room.handle_status(id, status, now),
            Demand::Rename(request, name) => self.room.handle_rename(id, request, &name, now),
            Demand::Older(request, before, count) => self.room.handle_older(id, request, before, count),
            Demand::Moderate(request, action, member) => {
                self.room.handle_moderate(id, request, action, member, now);
            }
            // Files have a simulation of their own.
            Demand::PassOn(_)
            | Demand::Offer(_)
            | Demand::Seal(_)
            | Demand::Withdraw(..)
            | Demand::Fetch(_)
            | Demand::Unfetch(_)
            | Demand::Received(_)
            | Demand::File(_) => {}
            Demand::Leave => {
                self.part(id, true);
                line.goodbye(Goodbye::default());
            }
        }
        self.carry_out();
    }

    fn deliver(&mut self, line: &Rc<Line>, frame: &Frame) {
        let Some(media) = &frame.header.media else { return };
        if !self.room.publishes(line.id, media.track) {
            let refusal = Refusal::new(Code::Track, "not published by this connection");
            return line.say(&Control::Error(refusal));
        }
        let Some(fan) = self.fans.get_mut(&media.track) else { return };
        let delivery = fan.handle_frame(media, frame.bytes(), self.now.get());
        for receiver in delivery.receivers.iter() {
            receiver.send_media(media, frame.bytes());
        }
        ask(delivery.ask);
    }

    fn join(&mut self, line: &Rc<Line>, join: Join) {
        let (resume, messages) = (join.resume, join.messages);
        let admitted = match self.room.handle_join(join, self.now.get()) {
            Ok(admitted) => admitted,
            Err(refusal) => return line.refuse(refusal),
        };
        self.check_admitted(line.id, resume, &admitted);
        self.lines.insert(line.id, Rc::clone(line));
        let position = messages.filter(|wanted| wanted.log == admitted.log.map(|log| log.id));
        line.told.set(position.and_then(|position| position.after).unwrap_or(0));
        line.say(&Control::Welcome(Welcome {
            protocol: 1,
            server: "simulation".into(),
            epoch: self.life.to_string(),
            room: self.room.name().to_string(),
            session: admitted.session,
            member: admitted.member,
            name: admitted.name.to_string(),
            token: admitted.token,
            resumed: admitted.resumed,
            heartbeat_ms: 4_000,
            grace_ms: 30_000,
            log: admitted.log,
        }));
        self.room.handle_welcomed(line.id, messages, self.now.get());
        self.carry_out();
        let connection = self.connections.get_mut(&line.id).unwrap();
        connection.peer.handle_admitted();
        connection.seated = true;
    }

    /// Whoever comes back within the grace time is who they were.
    fn check_admitted(&mut self, id: ConnectionId, resume: Option<ResumeToken>, admitted: &Admitted) {
        if let Some(before) = resume.and_then(|token| self.sessions.get(&token)) {
            let down = before.down.map_or(Duration::ZERO, |since| self.now.get().since(since));
            assert!(
                down >= limits::GRACE || (admitted.resumed && admitted.member == before.member),
                "{:?} came back as {admitted:?} after {down:?}",
                before.member
            );
        }
        self.sessions.insert(admitted.token, Known { member: admitted.member, down: None });
        self.seats.insert(id, admitted.token);
    }

    fn part(&mut self, id: ConnectionId, on_purpose: bool) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !std::mem::take(&mut connection.seated) {
            return;
        }
        let now = self.now.get();
        if let Some(token) = self.seats.remove(&id)
            && !self.seats.values().any(|other| *other == token)
            && let Some(known) = self.sessions.get_mut(&token)
        {
            known.down = Some(now);
        }
        match on_purpose {
            true => self.room.handle_goodbye(id, now),
            false => self.room.handle_broken(id, now),
        }
        self.carry_out();
        self.lines.remove(&id);
    }

    fn carry_out(&mut self) {
        loop {
            while let Some(output) = self.room.poll_output() {
                self.obey(output);
            }
            let idle = |line: &Rc<Line>| line.queue.borrow().is_empty() && !line.ending.get();
            let ready = self.room.behind().filter(|id| self.lines.get(id).is_some_and(idle));
            let ready: Vec<ConnectionId> = ready.collect();
            if ready.is_empty() {
                return;
            }
            ready.into_iter().for_each(|id| self.room.handle_drained(id));
        }
    }

    fn obey(&mut self, output: Output) {
        let now = self.now.get();
        match output {
            Output::Send(to, operation) => self.lines.get(&to).into_iter().for_each(|l| l.say(&operation)),
            Output::Relay(frame, to) => {
                let seq = seq_of(&frame);
                for line in to.iter().filter_map(|id| self.lines.get(id)) {
                    let before = line.told.replace(seq);
                    assert!(before < seq, "{} is sent {seq} and has {before}", line.id);
                    line.send(frame.clone());
                }
            }
            Output::Store(entry) => {
                let seq = entry.seq;
                if !self.disk.as_ref().is_some_and(|disk| disk.borrow_mut().append(entry, now)) {
                    self.room.handle_unstorable(seq);
                }
            }
            Output::Fetch(to, fetch, reader) => {
                let disk = self.disk.as_ref();
                disk.into_iter().for_each(|disk| disk.borrow_mut().ask(to, fetch, reader, now));
            }
            Output::Keep(settings) => {
                let disk = self.disk.as_ref();
                disk.into_iter().for_each(|disk| disk.borrow_mut().keep(settings.clone()));
            }
            Output::Broadcast(operation) => {
                self.check_left(&operation);
                self.lines.values().for_each(|line| line.say(&operation));
            }
            Output::Open(track, publisher) => {
                if let Some(publisher) = self.lines.get(&publisher) {
                    self.fans.insert(track, Fan::new(track, Rc::clone(publisher), Arc::default()));
                }
            }
            Output::Interrupt(track, publisher) => {
                if let Some(fan) = self.fans.get_mut(&track) {
                    ask(fan.interrupt(publisher.and_then(|id| self.lines.get(&id).cloned()), now));
                }
            }
            Output::Shut(track) => self.fans.remove(&track).into_iter().for_each(|mut fan| fan.shut()),
            Output::Attach(track, to) => {
                if let (Some(fan), Some(line)) = (self.fans.get_mut(&track), self.lines.get(&to)) {
                    ask(fan.attach(Rc::clone(line), now));
                }
            }
            Output::Detach(track, from) => {
                self.fans.get_mut(&track).into_iter().for_each(|fan| fan.detach(from));
            }
            Output::Close(id, refusal) => {
                self.lines.remove(&id).into_iter().for_each(|line| line.refuse(refusal.clone()));
            }
        }
    }

    /// Nobody is said to have left before the grace time is over.
    fn check_left(&self, operation: &Control) {
        let Control::MemberLeft { member } = operation else { return };
        for known in self.sessions.values().filter(|known| known.member == *member) {
            let down = known.down.map(|since| self.now.get().since(since));
            assert!(down.is_some_and(|down| down >= limits::GRACE), "{member} left after {down:?}");
        }
    }
}

fn new_room(life: u64, count: u64, disk: &Disk, now: Moment) -> Room {
    let fresh = || (Log::new(LogId((life << 32 | count).to_be_bytes())), Settings::default());
    let (log, settings) = disk.as_ref().map_or_else(fresh, |disk| disk.borrow_mut().load());
    Room::new("standup".parse().unwrap(), Terms::default(), log, settings, now)
}

/// The number of a message in the room.
fn seq_of(frame: &Bytes) -> u64 {
    let mut parser = Parser::new();
    parser.push(frame);
    let Ok(Some(Incoming::Frame(frame))) = parser.poll() else { panic!("the server writes frames") };
    frame.header.letter.and_then(|letter| letter.receipt).unwrap().seq
}

fn ask(asks: impl IntoIterator<Item = Ask<Rc<Line>>>) {
    for (publisher, operation) in asks {
        publisher.say(&operation);
    }
}
