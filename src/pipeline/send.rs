//! A pipe into a room: what `conf-send` does with its stdin.
//!
//! A thread reads and takes apart the stream ([`input`]); this task publishes the tracks and sends the
//! frames, each when it is due ([`pace`]) and no faster than the network takes them, so that the writer
//! of the pipe feels it. Between the two waits one frame. While there is no connection the stream is
//! read on and dropped: what is live does not wait. Requests for keyframes go back to the encoder
//! through its feedback socket.

mod input;
mod lag;
mod pace;

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::input::{Item, Reading};
use self::lag::{Lag, Verdict};
use self::pace::Pacer;
use super::feedback::Feedback;
use crate::id::TrackId;
use crate::net::client::{self, Config, End, Event, Events, Handle, Stats};
use crate::time::Moment;
use crate::wire::control::{PipeTrack, Publish, Refusal, Source, Tracks};
use crate::wire::{self, Control, Frame, Media, Rendition, Stream, UnknownStream};
use crate::{h264, limits, time, video};

/// How long leaving may take: what is on its way out, the goodbye, and the server's end.
const LEAVE: Duration = Duration::from_secs(8);
/// And when the user does not want to wait.
const LEAVE_NOW: Duration = Duration::from_secs(1);
/// A frame that took longer than this to be sent waited for the network.
const SLOW: Duration = Duration::from_millis(20);
/// For how long that says something about the frames after it.
const SLOW_FOR: Duration = Duration::from_secs(2);

/// How to send a stream.
pub struct Options {
    /// What the others see as its name.
    pub label: Option<String>,
    /// What it is; by its first bytes if that is not said.
    pub format: Option<Stream>,
    /// Pictures per second of raw H.264.
    pub fps: Option<f64>,
    /// It comes from a file: every picture goes out at its time.
    pub file: bool,
    /// Gets everything as it was read.
    pub pass: Option<Box<dyn Write + Send>>,
    /// The user has chosen the name, and wants to know where it is another.
    pub named: bool,
}

/// How it goes; given out every second.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Pictures and packets that came out of the pipe.
    pub frames: u64,
    /// What the session has done.
    pub session: Stats,
}

/// Why a stream ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read, or not passed on.
    #[error("the stream cannot be read on: {0}")]
    Io(#[from] io::Error),
    /// Nothing came.
    #[error("nothing came in")]
    Empty,
    /// Not a kind of stream that is known.
    #[error("this stream cannot be sent: it is neither frames of conf-cam, H.264 (Annex B) nor Y4M")]
    Unknown(UnknownStream),
    /// Another kind of stream than was said.
    #[error("the stream is {0}, not what --format says")]
    Format(&'static str),
    /// A container, or a codec that is not sent.
    #[error(
        "this is {0}, which conf-send does not read; type: \
         ffmpeg -i FILE -an -c:v libx264 -tune zerolatency -f h264 - | conf-send"
    )]
    Container(&'static str),
    /// Bytes that are no frames, or an end inside one.
    #[error("the stream from the pipe is broken: {0}")]
    Frames(#[from] wire::Error),
    /// Media before any description.
    #[error("the stream does not begin with a description of its tracks; was its beginning cut off?")]
    NoTracks,
    /// More tracks than a session may have.
    #[error("the stream has {0} tracks, at most {max} can be sent", max = limits::TRACKS)]
    TooManyTracks(usize),
    /// No keyframe in all of it.
    #[error("the H.264 stream has no picture at which decoding could begin (ffmpeg: -g 60)")]
    NoPicture,
    /// Not H.264, or too large.
    #[error("{0}")]
    H264(#[from] h264::Error),
    /// H.264 that cannot be shown.
    #[error("this H.264 cannot be sent: {0}")]
    Refused(#[from] h264::Refusal),
    /// Raw pictures that cannot be used.
    #[error("this Y4M stream cannot be sent: {0}")]
    Y4m(String),
    /// A Y4M header that cannot be read.
    #[error("this Y4M stream cannot be sent: {0}")]
    Damaged(String),
    /// The encoder of raw pictures failed.
    #[error("{0}")]
    Encode(#[from] video::encode::Error),
    /// The server does not take the tracks.
    #[error("the server refused the stream: {0}")]
    Rejected(Refusal),
    /// The end of a recording has not arrived.
    #[error(
        "the end of the recording was not sent, because the connection was lost; send it again when the server is back"
    )]
    Incomplete,
    /// The session ended.
    #[error("{0}")]
    Ended(End),
}

/// Sends `input` to a room until it ends or `stop` is cancelled; `report` is called every second.
pub async fn run(
    input: File,
    options: Options,
    config: Config,
    stop: CancellationToken,
    mut report: impl FnMut(Progress),
) -> Result<(), Error> {
    let (items, mut incoming) = mpsc::channel(1);
    let key = Arc::new(AtomicBool::new(false));
    let reading = Reading {
        format: options.format,
        fps: options.fps,
        file: options.file,
        pass: options.pass,
        key: Arc::clone(&key),
    };
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let mut emit = |item| items.blocking_send(Ok(item)).is_ok();
        if let Err(error) = input::read(input, reading, &mut emit) {
            // Nobody waits for the reason any more when the session has ended first.
            let _ = items.blocking_send(Err(error));
        }
    })?;
    // Nobody is bothered before there is something to send.
    let first = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        first = incoming.recv() => match first {
            Some(first) => first?,
            None => return Err(Error::Empty),
        },
    };
    let name = options.named.then(|| config.name.to_string());
    let (handle, events) = client::connect(config);
    let mut sender = Sender {
        handle,
        events,
        label: options.label,
        tracks: BTreeMap::new(),
        requests: 0,
        feedback: None,
        pacer: Pacer::new(options.file),
        key,
        up: false,
        connecting: true,
        frames: 0,
        skipped: 0,
        lag: (!options.file).then(Lag::default),
        began: None,
        slow: None,
        sending: None,
        name,
    };
    let file = options.file;
    sender.begin(first).await;
    let result = sender.run(&mut incoming, &stop, &mut report).await;
    let up = sender.up;
    let left =
        if stop.is_cancelled() { sender.leave_now().await } else { sender.leave(result.is_ok()).await };
    let mut last = sender.progress();
    // It has just left; what counts is how it was until then.
    last.session.up = up;
    report(last);
    match (result, left) {
        (Ok(()), Ok(arrived)) if file && !(up && arrived) && !stop.is_cancelled() => Err(Error::Incomplete),
        (result, left) => result.and(left.map(|_| ())),
    }
}

/// A track of the pipe in the room.
#[derive(Debug)]
struct Outgoing {
    request: u64,
    /// Its number in the session, once the server has given one.
    number: Option<TrackId>,
}

type Sending = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Sender {
    handle: Handle,
    events: Events,
    label: Option<String>,
    /// By the numbers in the pipe.
    tracks: BTreeMap<TrackId, Outgoing>,
    requests: u64,
    feedback: Option<Feedback>,
    pacer: Pacer,
    key: Arc<AtomicBool>,
    up: bool,
    /// There has been no connection yet; what came first waits for it.
    connecting: bool,
    frames: u64,
    /// Pictures that came too late, or whose predecessors did.
    skipped: u64,
    /// Only what is live can be late.
    lag: Option<Lag>,
    /// Since when a frame has been with the network, and whether one waited there of late.
    began: Option<Moment>,
    slow: Option<Moment>,
    /// The frame that is waiting for its time or for the network.
    sending: Option<Sending>,
    /// The name that the user has chosen, until the first welcome.
    name: Option<String>,
}

impl Sender {
    async fn run(
        &mut self,
        incoming: &mut mpsc::Receiver<Result<Item, Error>>,
        stop: &CancellationToken,
        report: &mut impl FnMut(Progress),
    ) -> Result<(), Error> {
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let ready = self.sending.is_none() && (self.is_answered() || !self.up && !self.connecting);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                event = self.events.next() => match event {
                    Some(event) => self.handle_event(event)?,
                    None => return Ok(()),
                },
                () = finished(&mut self.sending) => self.sent(time::now()),
                item = incoming.recv(), if ready => match item {
                    Some(item) => self.begin(item?).await,
                    None => return Ok(()),
                },
                _ = clock.tick() => {
                    report(self.progress());
                }
            }
        }
    }

    fn is_answered(&self) -> bool {
        self.tracks.values().all(|track| track.number.is_some())
    }

    async fn begin(&mut self, item: Item) {
        match item {
            Item::Tracks(tracks) => self.publish(tracks).await,
            Item::Changed(tracks) => self.change(tracks).await,
            Item::Frame(frame) => self.send(frame),
            Item::Lost(media) => {
                if let Some(lag) = &mut self.lag {
                    lag.lose(&media, time::now());
                }
                self.ask_encoder(media.track, media.rendition);
            }
        }
    }

    /// Publishes the tracks of a stream, in place of those of the stream before it.
    async fn publish(&mut self, tracks: Tracks) {
        for number in std::mem::take(&mut self.tracks).into_values().filter_map(|track| track.number) {
            self.handle.unpublish(number).await;
        }
        // What begins now has times of its own.
        if let Some(lag) = &mut self.lag {
            *lag = Lag::default();
        }
        self.feedback = tracks.feedback.as_deref().and_then(Feedback::open);
        let alone = tracks.tracks.len() == 1;
        for track in tracks.tracks {
            self.requests += 1;
            self.tracks.insert(track.track, Outgoing { request: self.requests, number: None });
            let source = self.labelled(track.source, alone);
            self.handle.publish(Publish { id: self.requests, source }).await;
        }
    }

    /// Says what the tracks are now. They keep their numbers, and their pictures need not wait for an answer.
    async fn change(&mut self, tracks: Tracks) {
        let same = |track: &PipeTrack| self.tracks.contains_key(&track.track);
        if tracks.tracks.len() != self.tracks.len() || !tracks.tracks.iter().all(same) {
            return self.publish(tracks).await;
        }
        let alone = tracks.tracks.len() == 1;
        for track in tracks.tracks {
            let Some(request) = self.tracks.get(&track.track).map(|outgoing| outgoing.request) else {
                continue;
            };
            let source = self.labelled(track.source, alone);
            self.handle.publish(Publish { id: request, source }).await;
        }
    }

    fn labelled(&self, mut source: Source, alone: bool) -> Source {
        match &self.label {
            Some(label) if alone => source.label.clone_from(label),
            Some(label) => source.label = format!("{label} {}", source.label),
            None => {}
        }
        source
    }

    fn send(&mut self, frame: Frame) {
        self.frames += 1;
        let Some(media) = frame.header.media else { return };
        let Some(track) = self.tracks.get(&media.track).and_then(|track| track.number) else { return };
        let now = time::now();
        let slow = self.slow.is_some_and(|slow| now.since(slow) < SLOW_FOR);
        if let Some(Verdict::Drop { ask }) = self.lag.as_mut().map(|lag| lag.judge(&media, now, slow)) {
            self.skipped += 1;
            if ask {
                self.ask_encoder(media.track, media.rendition);
            }
            return;
        }
        let due = self.pacer.due(media.track, media.pts, now);
        self.began = Some(due);
        let frame = if track == media.track { frame } else { frame.with_media(Media { track, ..media }) };
        let handle = self.handle.clone();
        self.sending = Some(Box::pin(async move {
            let pause = due.since(time::now());
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            handle.send(frame).await;
        }));
    }

    fn sent(&mut self, now: Moment) {
        self.sending = None;
        if self.began.take().is_some_and(|began| now.since(began) > SLOW) {
            self.slow = Some(now);
        }
    }

    fn progress(&self) -> Progress {
        let mut session = self.handle.stats();
        session.counts.dropped += self.skipped;
        Progress { frames: self.frames, session }
    }

    fn handle_event(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Up { welcome, .. } => {
                client::tell_other_name(self.name.take().as_deref(), &welcome.name);
                self.up = true;
                self.connecting = false;
            }
            Event::Down { .. } => self.up = false,
            Event::Published { id, track } => {
                if let Some(outgoing) = self.tracks.values_mut().find(|t| t.request == id) {
                    outgoing.number = Some(track);
                }
            }
            Event::Refused(refusal) if self.tracks.values().any(|t| Some(t.request) == refusal.id) => {
                return Err(Error::Rejected(refusal));
            }
            Event::KeyframeWanted { track, rendition } => {
                let own = self.tracks.iter().find(|(_, t)| t.number == Some(track)).map(|(own, _)| *own);
                self.ask_encoder(own.unwrap_or(track), rendition);
            }
            Event::Ended(end) => return Err(Error::Ended(end)),
            _ => {}
        }
        Ok(())
    }

    /// `track` by its number in the pipe.
    fn ask_encoder(&self, track: TrackId, rendition: Rendition) {
        self.key.store(true, Ordering::Relaxed);
        if let Some(feedback) = &self.feedback {
            feedback.send(&Control::Keyframe { track, rendition });
        }
    }

    /// Leaves the room. Where all was read, what is on its way still goes out and the server's end is
    /// awaited, since otherwise the last pictures could be lost. Whether that has worked.
    async fn leave(&mut self, complete: bool) -> Result<bool, Error> {
        let numbers: Vec<TrackId> = self.tracks.values().filter_map(|track| track.number).collect();
        let handle = self.handle.clone();
        let sending = self.sending.take().filter(|_| complete);
        let closing = async move {
            if let Some(sending) = sending {
                sending.await;
            }
            for number in numbers {
                handle.unpublish(number).await;
            }
            handle.close().await;
        };
        let both = async { tokio::join!(closing, drained(&mut self.events)).1 };
        match tokio::time::timeout(LEAVE, both).await {
            Ok((_, Some(end))) if end != End::Left => Err(Error::Ended(end)),
            Ok((whole, _)) => Ok(whole),
            Err(_) => Ok(false),
        }
    }

    /// Leaves the room without what is on its way.
    async fn leave_now(&mut self) -> Result<bool, Error> {
        self.sending = None;
        let handle = self.handle.clone();
        let both = async { tokio::join!(handle.close_now(), drained(&mut self.events)) };
        // A goodbye that does not get through now is not worth waiting for.
        Ok(tokio::time::timeout(LEAVE_NOW, both).await.is_ok())
    }
}

/// Takes the events in to the last: whether the connection has held, and how the session ended.
async fn drained(events: &mut Events) -> (bool, Option<End>) {
    let (mut whole, mut last) = (true, None);
    while let Some(event) = events.next().await {
        match event {
            Event::Down { .. } => whole = false,
            Event::Ended(end) => last = Some(end),
            _ => {}
        }
    }
    (whole, last)
}

/// The end of `sending`; never without one.
async fn finished(sending: &mut Option<Sending>) {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}
