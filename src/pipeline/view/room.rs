//! A room as the source: its session runs on a thread of its own.

use std::collections::HashMap;
use std::sync::mpsc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Error, Person, Session, Stage, Unit};
use crate::chat::States;
use crate::id::{MemberId, TrackId};
use crate::net::client::{self, Event, Handle};
use crate::session::client::End;
use crate::time::{self, Moment};
use crate::wire::Rendition;
use crate::wire::control::{Member, Presence, Quality, Track, TrackKind};

/// The server is said to be silent when nothing has come for this long while tracks are there. Its pings come
/// every four seconds only, but pictures far more often.
const SILENT: Duration = Duration::from_secs(2);
/// Leaving may take this long. Looking up a name cannot be broken off, and a server may not answer any more.
const LEAVE: Duration = Duration::from_secs(3);
/// How often wishes for keyframes are collected.
const WISHES: Duration = Duration::from_millis(100);

/// Joins a room and puts what happens there on `stage` until `stop` is cancelled or the session ends.
///
/// The user is told when the name in the room is not the one of `config` and was `named` explicitly.
///
/// # Errors
/// When there is no thread.
pub fn join(
    config: client::Config,
    named: bool,
    stage: Stage,
    stop: CancellationToken,
) -> Result<Joined, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let (done, ended) = mpsc::sync_channel(1);
    let body = move || {
        runtime.block_on(async {
            let name = named.then(|| config.name.to_string());
            let (handle, events) = client::connect(config);
            let received = (0, time::now());
            let (members, tracks) = (HashMap::new(), HashMap::new());
            Room { stage, name, own: None, members, tracks, up: false, received, handle }
                .run(events, stop)
                .await;
        });
        // Looking up a name cannot be broken off, and nobody waits for it any more.
        runtime.shutdown_background();
        // Whoever waited for it may have gone.
        let _ = done.send(());
    };
    std::thread::Builder::new().name("room".into()).spawn(body).map_err(Error::Start)?;
    Ok(Joined(ended))
}

/// A session that ends on a thread of its own.
#[derive(Debug)]
pub struct Joined(mpsc::Receiver<()>);

impl Joined {
    /// Waits for its end, but no longer than three seconds: a thread that still looks up a name ends with the process.
    pub fn wait(self) {
        let _ = self.0.recv_timeout(LEAVE);
    }
}

struct Room {
    stage: Stage,
    /// The name that the user has chosen, until the first welcome.
    name: Option<String>,
    own: Option<MemberId>,
    members: HashMap<MemberId, Member>,
    /// With those that bring no pictures.
    tracks: HashMap<TrackId, Track>,
    up: bool,
    /// How many bytes had come when that was last looked at, and since when it has been so many.
    received: (u64, Moment),
    handle: Handle,
}

impl Room {
    async fn run(mut self, mut events: client::Events, stop: CancellationToken) {
        let mut wishes = tokio::time::interval(WISHES);
        wishes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.stage.tell(Session::Connecting);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                event = events.next() => match event {
                    Some(event) => self.handle(event),
                    None => return,
                },
                _ = wishes.tick() => {
                    self.listen(time::now());
                    self.wish().await;
                }
            }
        }
        let leaving = self.handle.close();
        tokio::pin!(leaving);
        loop {
            tokio::select! {
                () = &mut leaving => return,
                event = events.next() => if event.is_none() { return },
            }
        }
    }

    /// Notices that a connection that stands brings nothing, long before it counts as lost.
    fn listen(&mut self, now: Moment) {
        let received = self.handle.stats().received;
        if received != self.received.0 || !self.up {
            self.received = (received, now);
        }
        let since = self.received.1;
        let flowed = |age: Option<Duration>| age.is_some_and(|age| age < now.since(since) + SILENT);
        let expected = || self.stage.tracks().iter().any(|(_, track)| flowed(track.age(now)));
        if self.up && now.since(since) >= SILENT && expected() {
            self.stage.tell(Session::Silent { since });
        } else if self.up {
            self.stage.tell(Session::Up);
        }
    }

    async fn wish(&self) {
        for (id, track) in self.stage.tracks() {
            if track.take_wish() {
                self.handle.keyframe(TrackId(id), Rendition::High).await;
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Up { welcome, resumed } => {
                client::tell_other_name(self.name.take().as_deref(), &welcome.name);
                self.own = Some(welcome.member);
                if !resumed {
                    self.members.clear();
                    self.tracks.clear();
                }
                self.up = true;
                self.received.1 = time::now();
                self.stage.expect_replay();
                self.stage.tell(Session::Up);
            }
            Event::State(state) => {
                let gone: Vec<u32> = self
                    .tracks
                    .keys()
                    .filter(|id| !state.tracks.iter().any(|t| t.track == **id))
                    .map(|id| id.0)
                    .collect();
                let left: Vec<u32> = self
                    .members
                    .keys()
                    .filter(|id| !state.members.iter().any(|m| m.member == **id))
                    .map(|id| id.0)
                    .collect();
                if self.tracks.is_empty() && self.members.is_empty() {
                    self.stage.clear();
                }
                gone.into_iter().for_each(|id| self.gone(TrackId(id)));
                left.into_iter().for_each(|id| self.left(MemberId(id)));
                state.members.into_iter().for_each(|member| self.member(member));
                state.tracks.into_iter().for_each(|track| self.track(track));
            }
            Event::Member(member) => self.member(member),
            Event::MemberLeft(id) => self.left(id),
            Event::Track(track) => self.track(track),
            Event::TrackGone(id) => self.gone(id),
            Event::Media(frame) => {
                if let Some(media) = frame.header.media {
                    let (seq, pts) = (Some(media.seq), Some(media.pts));
                    let unit = Unit { seq, pts, rendition: media.rendition, data: frame.payload_bytes() };
                    self.stage.put(time::now(), media.track.0, unit);
                }
            }
            Event::Lost { track, .. } => {
                if let Some(track) = self.stage.track(track.0) {
                    track.lose();
                }
            }
            Event::Down { reason, retry_in, attempt } => {
                self.up = false;
                let retry_at = time::now() + retry_in;
                self.stage.tell(Session::Reconnecting { reason: reason.to_string(), attempt, retry_at });
            }
            Event::Ended(End::Left) => self.stage.finish(),
            Event::Ended(end) => self.stage.fail(Error::Ended(end)),
            // What is said and done in the room is not seen here; refusals are told by the connection itself.
            _ => {}
        }
    }

    fn member(&mut self, member: Member) {
        let id = member.member;
        let before = self.members.insert(id, member);
        self.introduce(id);
        let renamed = before.is_some_and(|before| before.name != self.members[&id].name);
        if renamed {
            let theirs: Vec<Track> = self.tracks.values().filter(|t| t.member == id).cloned().collect();
            theirs.into_iter().for_each(|track| self.show(track));
        }
    }

    /// Puts on stage what is known of a member.
    fn introduce(&self, id: MemberId) {
        let Some(member) = self.members.get(&id) else { return };
        let own = self.own == Some(id);
        let tracks = || self.tracks.values().filter(|track| track.member == id);
        let mut sound = tracks().filter(|track| track.source.kind == TrackKind::Audio).peekable();
        let has_sound = sound.peek().is_some();
        let silent = sound.all(|track| track.source.muted);
        let reconnecting = member.state == Presence::Reconnecting;
        let states = States {
            // The picture says that itself.
            reconnecting: false,
            camera: false,
            poor: member.connection == Quality::Poor && !reconnecting,
            typing: member.typing && !own,
            screen: tracks().any(|t| t.source.kind == TrackKind::Video && t.source.label == "screen"),
            microphone: has_sound.then_some(silent),
            watching: member.watching,
            muted: member.muted,
            away: member.away.clone(),
        };
        let person = Person {
            name: member.name.clone(),
            own,
            reconnecting: reconnecting.then(time::now),
            states,
            since: clock(member.since),
        };
        self.stage.meet(id.0, person);
    }

    fn left(&mut self, id: MemberId) {
        self.members.remove(&id);
        self.stage.part(id.0);
    }

    fn track(&mut self, track: Track) {
        let member = track.member;
        self.tracks.insert(track.track, track.clone());
        self.show(track);
        self.introduce(member);
    }

    /// Puts a track with pictures on stage.
    fn show(&self, track: Track) {
        if track.source.kind != TrackKind::Video {
            return;
        }
        let mut about = super::pipe::about(&track.source);
        let name = self.members.get(&track.member).map(|member| member.name.clone());
        about.member = name.unwrap_or_else(|| format!("member {}", track.member.0));
        about.of = Some(track.member.0);
        about.own = self.own == Some(track.member);
        self.stage.add(track.track.0, about);
    }

    fn gone(&mut self, id: TrackId) {
        self.stage.remove(id.0);
        if let Some(track) = self.tracks.remove(&id) {
            self.introduce(track.member);
        }
    }
}

/// `09:00`, where the clock on the wall of this place shows that.
fn clock(seconds: f64) -> Option<String> {
    let at = jiff::Timestamp::from_microsecond((seconds * 1e6) as i64).ok().filter(|_| seconds > 0.0)?;
    Some(at.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M").to_string())
}
