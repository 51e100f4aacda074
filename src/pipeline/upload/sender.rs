//! The task: what is missing at the server goes there.

mod talk;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::blame::Blame;
use super::chain::{self, Report};
use super::memory::Memory;
use super::read::{self, Item, Order};
use super::{AHEAD, Done, Error, Job, News, What};
use crate::id::{MemberId, OfferId, OfferNumber};
use crate::limits;
use crate::net::client::{Event, Events, Handle};
use crate::pipeline::figures::{Bound, Doing, Figures, Moving};
use crate::time::{self, Moment};
use crate::transfer::upload::Next;
use crate::transfer::{Sums, Upload};
use crate::wire::offer::{Going, Seal};
use crate::wire::{Frame, Part, Piece};

/// How long leaving may take.
pub(super) const LEAVE: Duration = Duration::from_secs(8);
/// And when it has failed, or the user does not want to wait.
pub(super) const LEAVE_NOW: Duration = Duration::from_secs(1);
/// Between two reports.
const REPORT: Duration = Duration::from_millis(200);

/// What the user wants besides.
#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) to: Option<String>,
    pub(super) wait: bool,
    pub(super) limit: Option<u64>,
    /// The user expects an earlier run to have left something.
    pub(super) resume: bool,
    /// An offer of an earlier run that is to be taken back.
    pub(super) former: Option<OfferId>,
    /// The name that the user has chosen, until the first welcome.
    pub(super) name: Option<String>,
}

/// How far the conversation with the server is on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There is no connection, or it is not known who is in the room.
    Away,
    /// Whom it is for is not in the room any more.
    Alone,
    /// The offer is made.
    Asked,
    /// It is answered.
    Sending,
    /// All is sent; the server has to say that it has it.
    Sealing,
    /// It has said so.
    Sealed,
}

type Sending = Pin<Box<dyn Future<Output = Sent> + Send>>;

/// What went out.
#[derive(Debug)]
enum Sent {
    Other,
    /// And whether it did.
    Chunk(u32, bool),
}

pub(super) struct Sender {
    handle: Handle,
    events: Events,
    job: Job,
    memory: Memory,
    wishes: Wishes,
    flow: Upload<Frame>,
    stage: Stage,
    /// There has been a connection.
    met: bool,
    /// The room's number of the offer; a new life of the server may give another.
    number: Option<OfferNumber>,
    /// Bytes that were there before this run, from when that is known.
    before: Option<u64>,
    /// How many members have all of it.
    received: u32,
    /// What this replaces is being taken back.
    replacing: bool,
    /// This connection has told of it.
    listed: bool,
    /// This connection has told what is offered: the server knows files.
    told: bool,
    members: BTreeMap<MemberId, String>,
    orders: Option<mpsc::Sender<Order>>,
    /// None when all was read that comes out of a pipe.
    items: Option<mpsc::Receiver<Item>>,
    /// None when the sums are known.
    reports: Option<mpsc::Receiver<Report>>,
    /// What goes before chunks: the description, the list, the sums.
    pieces: VecDeque<Frame>,
    sums: Option<Sums>,
    /// The sums as they travel, and how many pieces of them are there or on their way.
    sum_pieces: Vec<Bytes>,
    sum_pieces_sent: usize,
    /// How often the server has said that something is missing.
    incomplete: u32,
    /// When the server was last asked, or last said what became of that; when the clock was looked at.
    answered: Moment,
    looked: Moment,
    sending: Option<Sending>,
    /// When the next chunk may go, by the user's limit.
    due: Moment,
    blame: Blame,
}

impl Sender {
    pub(super) fn new(handle: Handle, events: Events, job: Job, memory: Memory, wishes: Wishes) -> Self {
        Self {
            handle,
            events,
            flow: Upload::new(job.layout.chunks(), 0),
            job,
            memory,
            wishes,
            stage: Stage::Away,
            met: false,
            number: None,
            before: None,
            received: 0,
            replacing: false,
            listed: false,
            told: false,
            members: BTreeMap::new(),
            orders: None,
            items: None,
            reports: None,
            pieces: VecDeque::new(),
            sums: None,
            sum_pieces: Vec::new(),
            sum_pieces_sent: 0,
            incomplete: 0,
            answered: Moment::default(),
            looked: Moment::default(),
            sending: None,
            due: Moment::default(),
            blame: Blame::default(),
        }
    }

    /// Starts the threads. They end when nobody takes what they make.
    pub(super) fn start(&mut self, what: What) -> Result<(), Error> {
        let chunk = self.job.chunk_size as usize;
        let (orders, orders_in) = mpsc::channel(read::ORDERS);
        let (items_out, items) = mpsc::channel((AHEAD / chunk).max(1));
        let (links_out, links) = sync_channel((chain::QUEUE / chunk).max(1));
        let (reports_out, reports) = mpsc::channel(1);
        let mut follower = self.job.follower();
        self.memory.restore(&mut follower);
        self.flow = Upload::new(self.job.layout.chunks(), follower.next());
        let input = self.job.input(what);
        let named = |name: &str| std::thread::Builder::new().name(name.into());
        named("reader").spawn(move || read::run(input, orders_in, &items_out, &links_out))?;
        named("sums").spawn(move || chain::run(follower, &links, &reports_out))?;
        (self.orders, self.items, self.reports) = (Some(orders), Some(items), Some(reports));
        Ok(())
    }

    /// Until everything is done, or `stop` is cancelled.
    pub(super) async fn run(
        &mut self,
        stop: &CancellationToken,
        report: &mut impl FnMut(News<'_>),
    ) -> Result<Option<Done>, Error> {
        let mut clock = tokio::time::interval(REPORT);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.order();
            let pause = self.send_next(time::now())?;
            tokio::select! {
                () = stop.cancelled() => {
                    self.say_how_to_go_on(report);
                    return Ok(None);
                }
                event = self.events.next() => match event {
                    Some(event) => self.handle_event(event, report).await?,
                    None => return Ok(None),
                },
                sent = finished(&mut self.sending) => self.handle_sent(&sent),
                item = came(&mut self.items) => self.handle_item(item)?,
                news = came(&mut self.reports) => self.handle_report(news)?,
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
                _ = clock.tick() => {
                    self.look_at_the_clock(time::now())?;
                    report(News::Figures(&self.figures()));
                }
            }
            if let Some(done) = self.done() {
                self.tell_end(&done, report);
                return Ok(Some(done));
            }
        }
    }

    /// Leaves the room, politely where all went well.
    pub(super) async fn leave(mut self, well: bool) {
        self.sending = None;
        let handle = self.handle.clone();
        let closing = async { if well { handle.close().await } else { handle.close_now().await } };
        let both = async { tokio::join!(closing, async { while self.events.next().await.is_some() {} }) };
        // What counts was said and answered before; a goodbye that does not get through changes nothing.
        let _ = tokio::time::timeout(if well { LEAVE } else { LEAVE_NOW }, both).await;
    }

    /// No answer is waited for without end.
    fn look_at_the_clock(&mut self, now: Moment) -> Result<(), Error> {
        let late = now.since(self.looked) > limits::PAUSE;
        self.looked = now;
        if late || matches!(self.stage, Stage::Away | Stage::Alone | Stage::Sealed) {
            // This program was stopped itself, or nothing is waited for.
            self.answered = now;
        }
        // Nothing is to come for what a limit or the network still keeps here.
        if self.stage == Stage::Sending && (self.sending.is_some() || !self.flow.is_flying()) {
            self.answered = now;
        }
        match self.stage {
            Stage::Asked if !self.told && now.since(self.answered) > limits::ANSWER => Err(Error::Unknowing),
            _ if now.since(self.answered) > limits::STALLED => Err(Error::Silent),
            _ => Ok(()),
        }
    }

    /// A later run can go on with it.
    pub(super) fn is_kept(&self) -> bool {
        self.memory.is_kept()
    }

    /// Takes the offer back where nobody can ever complete it, so that the others do not wait for that.
    pub(super) async fn take_back(&mut self, result: &Result<Option<Done>, Error>) {
        let reason = match result {
            Ok(Some(_)) | Err(Error::Gone(_)) => return,
            Err(Error::Changed { .. }) => Going::Changed,
            _ if !self.memory.is_kept() => Going::Broken,
            _ => return,
        };
        let Some(number) = self.number.filter(|_| !matches!(self.stage, Stage::Sealed)) else { return };
        self.sending = None;
        self.handle.give_up(talk::WITHDRAW, number, reason).await;
        let answered = async {
            while let Some(event) = self.events.next().await {
                match event {
                    Event::Done { id: talk::WITHDRAW } => return true,
                    Event::OfferGone { offer, .. } if offer == number => return true,
                    Event::Refused(refusal) if refusal.id == Some(talk::WITHDRAW) => return false,
                    Event::Down { .. } => return false,
                    _ => {}
                }
            }
            false
        };
        if tokio::time::timeout(LEAVE, answered).await.is_ok_and(|taken| taken) {
            self.memory.forget();
        }
    }

    /// Has chunks read, as far ahead as there is room for them.
    fn order(&mut self) {
        let (Some(orders), Some(number)) = (&self.orders, self.number) else { return };
        let chunk = self.job.chunk_size as usize;
        while self.flow.held(chunk) + chunk <= limits::UPLOAD_WINDOW + AHEAD
            && let Ok(place) = orders.try_reserve()
            && let Some(wanted) = self.flow.next_order()
        {
            place.send(Order {
                chunk: wanted.chunk,
                send: wanted.send.then_some(number),
                link: wanted.link,
                known: self.memory.known(wanted.chunk),
            });
        }
    }

    /// Puts what goes next onto its way, and notes what it waits for; when to look again, where time alone
    /// changes that.
    fn send_next(&mut self, now: Moment) -> Result<Option<Duration>, Error> {
        if self.sending.is_some() {
            self.blame.wait(Some(Bound::Network), now);
            return Ok(None);
        }
        if self.stage != Stage::Sending {
            self.blame.wait(None, now);
            return Ok(None);
        }
        if let Some(frame) = self.pieces.pop_front() {
            let handle = self.handle.clone();
            self.sending = Some(Box::pin(async move {
                handle.send_file(frame).await;
                Sent::Other
            }));
            return Ok(None);
        }
        let pause = self.due.since(now);
        if !pause.is_zero() {
            self.blame.wait(Some(Bound::Limit), now);
            return Ok(Some(pause));
        }
        match self.flow.next_send() {
            Next::Chunk(chunk, frame) => self.send_chunk(chunk, frame, now),
            Next::Window => self.blame.wait(Some(Bound::Peer), now),
            Next::Unread => self.blame.wait(Some(Bound::Disk), now),
            Next::Complete => self.seal()?,
        }
        Ok(None)
    }

    fn send_chunk(&mut self, chunk: u32, frame: Frame, now: Moment) {
        if let Some(limit) = self.wishes.limit {
            let span = frame.header.size as f64 / limit as f64;
            self.due = self.due.max(now) + Duration::from_secs_f64(span);
        }
        let frame = self.renumbered(frame);
        let handle = self.handle.clone();
        self.sending = Some(Box::pin(async move { Sent::Chunk(chunk, handle.send_file(frame).await) }));
        self.blame.wait(Some(Bound::Network), now);
    }

    /// The frame under the number that the offer has now.
    fn renumbered(&self, frame: Frame) -> Frame {
        match (frame.header.piece, self.number) {
            (Some(piece), Some(offer)) if piece.offer != offer => {
                Frame::file(Piece { offer, ..piece }, frame.payload(), time::wall())
            }
            _ => frame,
        }
    }

    fn handle_sent(&mut self, sent: &Sent) {
        self.sending = None;
        if let Sent::Chunk(chunk, false) = *sent {
            self.flow.handle_unsent(chunk);
            // There is no connection; its end is about to be told.
            if self.stage == Stage::Sending {
                self.stage = Stage::Away;
            }
        }
    }

    /// All chunks are there: sends the sums, and then says that it is complete.
    fn seal(&mut self) -> Result<(), Error> {
        let (Some(sums), Some(offer)) = (&self.sums, self.number) else { return Ok(()) };
        if self.sum_pieces.is_empty() {
            self.sum_pieces = sums.pieces()?;
        }
        for index in self.sum_pieces_sent..self.sum_pieces.len() {
            let piece = Piece { offer, part: Part::Sums, index: index as u32 };
            self.pieces.push_back(Frame::file(piece, &self.sum_pieces[index], time::wall()));
        }
        self.sum_pieces_sent = self.sum_pieces.len();
        let seal = Seal {
            id: talk::SEAL,
            offer,
            chunks: self.flow.kept().end(),
            manifest: self.job.pieces.len() as u32,
            sums: self.sum_pieces.len() as u32,
        };
        let pieces = std::mem::take(&mut self.pieces);
        let handle = self.handle.clone();
        self.stage = Stage::Sealing;
        self.sending = Some(Box::pin(async move {
            for frame in pieces {
                handle.send_file(frame).await;
            }
            handle.seal(seal).await;
            Sent::Other
        }));
        Ok(())
    }

    fn handle_item(&mut self, item: Option<Item>) -> Result<(), Error> {
        match item {
            Some(Item::Chunk(chunk, frame)) => self.flow.handle_read(chunk, frame),
            Some(Item::Seen) => self.flow.handle_seen(),
            Some(Item::End(total)) => {
                self.job.layout.close(total)?;
                self.flow.handle_end(self.job.layout.chunks().unwrap_or(0));
                (self.orders, self.items) = (None, None);
            }
            Some(Item::Failed(error)) => return Err(error.into()),
            None => return Err(std::io::Error::other("the files are not read any more").into()),
        }
        Ok(())
    }

    fn handle_report(&mut self, report: Option<Report>) -> Result<(), Error> {
        match report {
            Some(Report::At(point)) => self.memory.note(&point),
            Some(Report::Done(sums)) => (self.sums, self.reports) = (Some(sums), None),
            // The reader says why, where it still can.
            None if self.items.is_some() => self.reports = None,
            None => return Err(std::io::Error::other("the sums are not followed any more").into()),
        }
        Ok(())
    }

    /// What was sent, when nothing is left to do.
    fn done(&mut self) -> Option<Done> {
        if self.stage != Stage::Sealed || self.wishes.wait && self.received == 0 {
            return None;
        }
        Some(Done { offer: self.number?, sums: self.sums.clone()? })
    }

    fn tell_end(&self, done: &Done, report: &mut impl FnMut(News<'_>)) {
        report(News::Figures(&self.figures()));
        for (file, sum) in self.job.manifest.files().iter().zip(done.sums.files()) {
            report(News::File { path: &file.path.to_string(), sum });
        }
    }

    fn figures(&self) -> Figures {
        let layout = &self.job.layout;
        let kept = self.flow.kept();
        let files = self.job.manifest.files();
        let done: u64 = kept.iter().map(|range| layout.bytes(range)).sum();
        let whole = if self.stage == Stage::Sealed { files.len() } else { layout.finished(kept.gap(0)) };
        let file = files.get(whole).filter(|_| files.len() > 1).map(|file| Moving {
            name: file.path.to_string(),
            done: layout.start(kept.gap(0)).saturating_sub(layout.place(whole)),
            size: file.size,
        });
        let doing = match self.stage {
            Stage::Sealed => Doing::Offering,
            Stage::Away | Stage::Asked if !self.met || self.number.is_none() => Doing::Connecting,
            Stage::Away | Stage::Asked => Doing::Reconnecting,
            Stage::Alone => Doing::Waiting,
            Stage::Sending if self.flow.is_looking() => Doing::Checking,
            Stage::Sending | Stage::Sealing => match self.is_idle() {
                true => Doing::Waiting,
                false => Doing::Moving,
            },
        };
        Figures {
            doing,
            done,
            before: self.before.unwrap_or(0),
            total: layout.total(),
            files_done: whole as u32,
            files: files.len() as u32,
            file,
            bound: self.blame.most(),
            again: self.flow.again(),
        }
    }

    /// Nothing comes out of the pipe.
    fn is_idle(&self) -> bool {
        self.job.layout.total().is_none() && self.flow.is_drained()
    }

    /// How much of it is on the server's disk, where that can be told.
    fn percent(&self) -> Option<u64> {
        let figures = self.figures();
        let total = figures.total.filter(|total| *total > 0)?;
        Some((u128::from(figures.done) * 100 / u128::from(total)) as u64)
    }

    fn say_how_to_go_on(&self, report: &mut impl FnMut(News<'_>)) {
        if self.number.is_none() {
            return;
        }
        let note = match (self.stage, self.percent()) {
            (Stage::Sealed, _) => {
                "all of it is on the server, and stays there; nobody has received all of it yet".to_owned()
            }
            _ if !self.memory.is_kept() => {
                "stopped; what was sent of it is taken back: nothing can go on with it".to_owned()
            }
            (_, Some(percent)) => format!("stopped at {percent} %; the same command goes on from there"),
            _ => "stopped; the same command goes on from there".to_owned(),
        };
        report(News::Note(&note));
    }
}

/// The end of `sending`; never without one.
async fn finished(sending: &mut Option<Sending>) -> Sent {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

/// What a thread has for us; none where it has ended too early.
async fn came<T>(thread: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match thread {
        Some(thread) => thread.recv().await,
        None => std::future::pending().await,
    }
}
