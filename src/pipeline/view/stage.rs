//! What there is to see: members and tracks, shared by the source that knows of them and whoever draws.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::Error;
use super::session::Session;
use super::sink::{Format, Home, Sink, Trouble};
use super::track::{About, Track, Unit, lock};
use crate::chat::States;
use crate::limits;
use crate::media::Picture;
use crate::time::Moment;
use crate::video::decode::{self, Decoder, Isolated, Recovery, Refused};
use crate::video::render::layout::PER_PAGE;
use crate::video::render::window::Bell;

/// Tracks that are known at once; more are not taken in.
const TRACKS: usize = limits::ROOM_TRACKS;

/// Members that are named to somebody who asked for another.
const NAMED: usize = 20;

/// Which tracks are wanted: `NICK` or `NICK/LABEL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Only {
    nick: String,
    label: Option<String>,
}

impl FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (nick, label) = match text.split_once('/') {
            Some((nick, label)) => (nick, Some(label.to_owned())),
            None => (text, None),
        };
        if nick.is_empty() && label.is_none() {
            return Err("expected NICK or NICK/LABEL".into());
        }
        Ok(Self { nick: nick.to_owned(), label })
    }
}

impl std::fmt::Display for Only {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.label {
            None => f.write_str(&self.nick),
            Some(label) => write!(f, "{}/{label}", self.nick),
        }
    }
}

impl Only {
    /// Whether a track is meant. In a pipe there are no members, and the label is enough.
    fn matches(&self, about: &About) -> bool {
        if about.member.is_empty() {
            return self.label.as_ref().unwrap_or(&self.nick) == &about.label;
        }
        (self.nick.is_empty() || self.nick == about.member)
            && self.label.as_ref().is_none_or(|l| *l == about.label)
    }
}

/// A member of the room.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Person {
    /// Already scrubbed.
    pub name: String,
    /// Oneself.
    pub own: bool,
    /// Since when every connection of this member is broken and the others wait.
    pub reconnecting: Option<Moment>,
    /// What it shares and how it is, beside its pictures.
    pub states: States,
    /// The time of day when it came.
    pub since: Option<String>,
}

impl Person {
    /// What stands behind the name, the most important first.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = self.states.words();
        words.extend(self.since.as_ref().map(|since| format!("since {since}")));
        words
    }
}

/// What one track is written to.
pub struct Recording {
    /// In which form.
    pub format: Format,
    /// Where to.
    pub out: Box<dyn Write + Send>,
}

/// What there is to see. Cheap to clone; all clones are the same stage.
#[derive(Clone)]
pub struct Stage(Arc<Inner>);

struct Inner {
    program: PathBuf,
    only: Option<Only>,
    sink: Home,
    trouble: Trouble,
    bell: Bell,
    /// Decoders at work.
    decoders: Arc<AtomicUsize>,
    tracks: Mutex<BTreeMap<u32, Arc<Track>>>,
    /// Tracks that are there and not wanted.
    others: Mutex<BTreeMap<u32, About>>,
    people: Mutex<BTreeMap<u32, Person>>,
    session: Mutex<Session>,
    ended: Mutex<bool>,
}

impl Stage {
    /// An empty stage. Decoders are `program`; with a `recording`, the first track that is wanted goes there.
    pub fn new(program: PathBuf, only: Option<Only>, recording: Option<Recording>) -> Self {
        let trouble = Trouble::default();
        Self(Arc::new(Inner {
            program,
            only,
            sink: Home::new(recording.map(|r| Sink::new(r.format, r.out, Arc::clone(&trouble)))),
            trouble,
            bell: Bell::default(),
            decoders: Arc::default(),
            tracks: Mutex::default(),
            others: Mutex::default(),
            people: Mutex::default(),
            session: Mutex::default(),
            ended: Mutex::new(false),
        }))
    }

    /// A track is there, or something about it changed.
    pub fn add(&self, id: u32, about: About) {
        let mut tracks = lock(&self.0.tracks);
        if let Some(track) = tracks.get(&id) {
            if track.shared().change(about) {
                self.0.bell.ring();
            }
            return;
        }
        if self.0.only.as_ref().is_some_and(|only| !only.matches(&about)) {
            let mut others = lock(&self.0.others);
            if others.len() < TRACKS || others.contains_key(&id) {
                others.insert(id, about);
            }
            return;
        }
        lock(&self.0.others).remove(&id);
        if tracks.len() >= TRACKS {
            return;
        }
        let (program, decoders) = (self.0.program.clone(), Arc::clone(&self.0.decoders));
        let recovery = Recovery::new(move || {
            let permit = Permit::take(&decoders).ok_or_else(too_many)?;
            let decoder = Isolated::start(&program)?;
            Ok(Box::new(Permitted { decoder, _permit: permit }) as Box<dyn Decoder>)
        });
        let sink = self.0.sink.lend(&about);
        match Track::start(about, recovery, self.0.bell.clone(), sink) {
            Ok(track) => {
                // What is beyond the first page is not drawn, so it takes no decoder from those that are.
                track.set_visible(tracks.len() < PER_PAGE);
                tracks.insert(id, Arc::new(track));
            }
            Err(error) => self.fail(Error::Start(error)),
        }
        self.0.bell.ring();
    }

    /// A track is gone.
    pub fn remove(&self, id: u32) {
        lock(&self.0.tracks).remove(&id);
        lock(&self.0.others).remove(&id);
        self.0.bell.ring();
    }

    /// Nobody and nothing is there any more.
    pub fn clear(&self) {
        lock(&self.0.tracks).clear();
        lock(&self.0.others).clear();
        lock(&self.0.people).clear();
        self.0.bell.ring();
    }

    /// A member came or changed.
    pub fn meet(&self, id: u32, mut person: Person) {
        let mut people = lock(&self.0.people);
        if let (Some(since), Some(before)) = (&mut person.reconnecting, people.get(&id)) {
            *since = before.reconnecting.unwrap_or(*since);
        }
        people.insert(id, person);
        drop(people);
        self.0.bell.ring();
    }

    /// A member left.
    pub fn part(&self, id: u32) {
        lock(&self.0.people).remove(&id);
        self.0.bell.ring();
    }

    /// An access unit came; without effect for a track that is not wanted.
    pub fn put(&self, now: Moment, id: u32, unit: Unit) {
        if let Some(track) = self.track(id) {
            track.put(now, unit);
        }
    }

    /// The track with this number, if it is wanted.
    pub fn track(&self, id: u32) -> Option<Arc<Track>> {
        lock(&self.0.tracks).get(&id).cloned()
    }

    /// Who was asked for and is not there, and who is instead; nothing where anybody who is wanted is there.
    pub(super) fn missing(&self) -> Option<String> {
        let only = self.0.only.as_ref().filter(|_| lock(&self.0.tracks).is_empty())?;
        let mut there: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (_, person) in self.people().into_iter().filter(|(_, person)| !person.own) {
            there.entry(person.name).or_default();
        }
        for about in lock(&self.0.others).values() {
            there.entry(about.member.clone()).or_default().push(about.label.clone());
        }
        let line = |(name, labels): (&String, &Vec<String>)| match (name.as_str(), labels.as_slice()) {
            ("", labels) => labels.join(", "),
            (name, []) => format!("{name} (no video)"),
            (name, labels) => format!("{name} ({})", labels.join(", ")),
        };
        let mut names: Vec<String> = there.iter().take(NAMED).map(line).collect();
        if there.len() > NAMED {
            names.push(format!("and {} more", there.len() - NAMED));
        }
        let who = if names.is_empty() { "nobody else is".into() } else { names.join(", ") };
        Some(format!("{only} sends no video here; there: {who}"))
    }

    /// Whether a recording was wanted and nothing came of it so far.
    pub(super) fn has_recorded_nothing(&self) -> bool {
        self.0.sink.is_empty()
    }

    /// Whether only some tracks are wanted.
    pub(super) fn is_choosy(&self) -> bool {
        self.0.only.is_some()
    }

    /// All tracks, in order.
    pub fn tracks(&self) -> Vec<(u32, Arc<Track>)> {
        lock(&self.0.tracks).iter().map(|(id, track)| (*id, Arc::clone(track))).collect()
    }

    pub(super) fn people(&self) -> Vec<(u32, Person)> {
        lock(&self.0.people).iter().map(|(id, person)| (*id, person.clone())).collect()
    }

    /// How the session is doing now.
    pub fn tell(&self, session: Session) {
        let mut known = lock(&self.0.session);
        if *known != session {
            *known = session;
            drop(known);
            self.0.bell.ring();
        }
    }

    pub(super) fn session(&self) -> Session {
        lock(&self.0.session).clone()
    }

    /// Whether there has been a session at all.
    pub fn has_joined(&self) -> bool {
        !matches!(self.session(), Session::Absent | Session::Connecting)
    }

    /// The source begins anew with what its tracks need first: gaps are none of its losses until it is through with
    /// that.
    pub fn expect_replay(&self) {
        for (_, track) in self.tracks() {
            track.expect_replay();
        }
    }

    /// The source has given everything.
    pub fn finish(&self) {
        for (_, track) in self.tracks() {
            track.finish();
        }
        *lock(&self.0.ended) = true;
        self.0.bell.ring();
    }

    /// Whether the source has given everything and all of it has been decoded.
    pub fn is_over(&self) -> bool {
        *lock(&self.0.ended) && self.tracks().iter().all(|(_, track)| track.is_done())
    }

    /// Viewing cannot go on. The first reason counts.
    pub fn fail(&self, error: Error) {
        lock(&self.0.trouble).get_or_insert(error);
        self.0.bell.ring();
    }

    /// Whether something went wrong for good.
    pub(super) fn has_failed(&self) -> bool {
        lock(&self.0.trouble).is_some()
    }

    /// Why none of what is there can be shown; nothing while any of it can.
    pub(super) fn refused(&self) -> Option<Refused> {
        let all: Option<Vec<Refused>> = self.tracks().iter().map(|(_, track)| track.refused()).collect();
        all?.into_iter().next()
    }

    pub(super) fn trouble(&self) -> Option<Error> {
        lock(&self.0.trouble).take()
    }

    /// Rung when something new is to be seen.
    pub fn bell(&self) -> &Bell {
        &self.0.bell
    }
}

/// One of the [`limits::DECODERS`] that may be at work at once.
struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let free = |count| (count < limits::DECODERS).then_some(count + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        Some(Self(Arc::clone(taken)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn too_many() -> decode::Error {
    let why = format!("{} are at work already", limits::DECODERS);
    decode::Error::Unavailable(std::io::Error::other(why))
}

/// A decoder and the permit that goes with it.
struct Permitted<D> {
    decoder: D,
    _permit: Permit,
}

impl<D: Decoder> Decoder for Permitted<D> {
    fn decode(&mut self, unit: &[u8], full_range: bool) -> Result<Option<Picture>, decode::Error> {
        self.decoder.decode(unit, full_range)
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stage({} tracks)", lock(&self.0.tracks).len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v18_no_more_decoders_than_permits() {
        let taken = Arc::default();
        let mut permits: Vec<Permit> = std::iter::from_fn(|| Permit::take(&taken)).collect();
        assert_eq!(permits.len(), limits::DECODERS);
        permits.pop();
        let again = Permit::take(&taken);
        assert!(again.is_some() && Permit::take(&taken).is_none(), "each gives its own back");
    }

    #[test]
    fn only_names_a_member_a_label_or_both() {
        let track = |member: &str, label: &str| About {
            member: member.into(),
            label: label.into(),
            ..About::default()
        };
        let ana: Only = "ana".parse().unwrap();
        assert!(ana.matches(&track("ana", "camera")) && ana.matches(&track("ana", "slides")));
        assert!(!ana.matches(&track("bob", "camera")));
        let slides: Only = "ana/slides".parse().unwrap();
        assert!(slides.matches(&track("ana", "slides")) && !slides.matches(&track("ana", "camera")));
        assert!("camera".parse::<Only>().unwrap().matches(&track("", "camera")), "a pipe has no members");
        assert!("".parse::<Only>().is_err());
    }
}
