//! What there is to see: members and tracks, shared by the source that knows of them and whoever draws.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Error;
use super::about::{About, Warnings};
use super::only::{Candidate, Choice, Only};
use super::session::Session;
use super::sink::{Format, Home, Sink, Trouble};
use super::track::{Track, Unit, lock};
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

/// So many places in the order are remembered; whoever comes after that stands behind, by number.
const PLACES: usize = 2 * limits::ROOM_TRACKS;

/// A track that has come onto the screen waits this long for a decoder of one that has just left it.
const TURN: Duration = Duration::from_secs(1);

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
    permits: Arc<Permits>,
    warnings: Warnings,
    cast: Mutex<Cast>,
    session: Mutex<Session>,
    ended: Mutex<bool>,
}

/// Who and what is there.
#[derive(Default)]
struct Cast {
    tracks: BTreeMap<u32, Arc<Track>>,
    /// Tracks that are there and not wanted.
    others: BTreeMap<u32, About>,
    people: BTreeMap<u32, Person>,
    choice: Choice,
    places: Places,
}

/// The order in which tracks were first seen. It outlives them: who comes back, after a restart of the server too,
/// stands where they stood.
#[derive(Default)]
struct Places(Vec<(String, String)>);

impl Places {
    fn of(&mut self, about: &About) -> usize {
        let same = |(member, label): &(String, String)| *member == about.member && *label == about.label;
        if let Some(place) = self.0.iter().position(same) {
            return place;
        }
        if self.0.len() < PLACES {
            self.0.push((about.member.clone(), about.label.clone()));
            return self.0.len() - 1;
        }
        PLACES
    }
}

impl Cast {
    /// All who can be meant by somebody who wants only some.
    fn candidates(&self, abouts: &[About]) -> Vec<(String, Option<String>)> {
        let tracks = abouts.iter().chain(self.others.values());
        let tracks = tracks.map(|about| (about.member.clone(), Some(about.label.clone())));
        let people = self.people.values().filter(|person| !person.own);
        tracks.chain(people.map(|person| (person.name.clone(), None))).collect()
    }
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
            permits: Arc::default(),
            warnings: Warnings::default(),
            cast: Mutex::default(),
            session: Mutex::default(),
            ended: Mutex::new(false),
        }))
    }

    /// A track is there, or something about it changed.
    pub fn add(&self, id: u32, about: About) {
        let mut cast = lock(&self.0.cast);
        let known = cast.tracks.get(&id).map(|track| track.shared().change(about.clone()));
        match known {
            Some(false) => return,
            Some(true) => {}
            None if self.0.only.is_some() => {
                if cast.others.len() < TRACKS || cast.others.contains_key(&id) {
                    cast.others.insert(id, about);
                }
            }
            None => self.start(&mut cast, id, about),
        }
        self.choose(&mut cast);
        self.0.bell.ring();
    }

    /// Lets a track begin.
    fn start(&self, cast: &mut Cast, id: u32, about: About) {
        if cast.tracks.len() >= TRACKS {
            return;
        }
        let (program, permits) = (self.0.program.clone(), Arc::clone(&self.0.permits));
        let recovery = Recovery::new(move || {
            let permit = permits.take(TURN).ok_or(decode::Error::Busy)?;
            let decoder = Isolated::start(&program)?;
            Ok(Box::new(Permitted { decoder, _permit: permit }) as Box<dyn Decoder>)
        });
        let place = cast.places.of(&about);
        let sink = self.0.sink.lend(&about);
        match Track::start(about, recovery, self.0.bell.clone(), sink, self.0.warnings.clone()) {
            Ok(mut track) => {
                track.place = place;
                // What is beyond the first page is not drawn, so it takes no decoder from those that are.
                track.set_visible(cast.tracks.len() < PER_PAGE);
                cast.tracks.insert(id, Arc::new(track));
            }
            Err(error) => self.fail(Error::Start(error)),
        }
    }

    /// Where only some are wanted: lets those begin who are meant now, and ends the others.
    fn choose(&self, cast: &mut Cast) {
        let Some(only) = &self.0.only else { return };
        let abouts: Vec<(u32, About)> = cast.tracks.iter().map(|(id, t)| (*id, t.shared().about())).collect();
        let there = cast.candidates(&abouts.iter().map(|(_, about)| about.clone()).collect::<Vec<_>>());
        let there = there.iter().map(|(member, label)| Candidate { member, label: label.as_deref() });
        cast.choice = only.choose(there, &cast.choice);
        for (id, about) in abouts {
            if !only.wants(&cast.choice, Candidate::from(&about)) {
                cast.tracks.remove(&id);
                cast.others.insert(id, about);
            }
        }
        let wanted = |about: &About| only.wants(&cast.choice, Candidate::from(about));
        let begin: Vec<u32> = cast.others.iter().filter(|(_, a)| wanted(a)).map(|(id, _)| *id).collect();
        for id in begin {
            if let Some(about) = cast.others.remove(&id) {
                self.start(cast, id, about);
            }
        }
    }

    /// A track is gone.
    pub fn remove(&self, id: u32) {
        let mut cast = lock(&self.0.cast);
        cast.tracks.remove(&id);
        cast.others.remove(&id);
        self.choose(&mut cast);
        self.0.bell.ring();
    }

    /// Nobody and nothing is there any more.
    pub fn clear(&self) {
        let mut cast = lock(&self.0.cast);
        cast.tracks.clear();
        cast.others.clear();
        cast.people.clear();
        self.0.bell.ring();
    }

    /// A member came or changed.
    pub fn meet(&self, id: u32, mut person: Person) {
        let mut cast = lock(&self.0.cast);
        if let (Some(since), Some(before)) = (&mut person.reconnecting, cast.people.get(&id)) {
            *since = before.reconnecting.unwrap_or(*since);
        }
        cast.people.insert(id, person);
        self.choose(&mut cast);
        self.0.bell.ring();
    }

    /// A member left.
    pub fn part(&self, id: u32) {
        let mut cast = lock(&self.0.cast);
        cast.people.remove(&id);
        self.choose(&mut cast);
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
        lock(&self.0.cast).tracks.get(&id).cloned()
    }

    /// Who was asked for and is not there, and who is instead; nothing where anybody who is wanted is there.
    pub(super) fn missing(&self) -> Option<String> {
        let cast = lock(&self.0.cast);
        let only = self.0.only.as_ref().filter(|_| cast.tracks.is_empty())?;
        if let Choice::Several(names) = &cast.choice {
            let names: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
            return Some(format!("several names begin with {:?}: {}", only.to_string(), names.join(", ")));
        }
        let mut there: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for person in cast.people.values().filter(|person| !person.own) {
            there.entry(&person.name).or_default();
        }
        for about in cast.others.values() {
            there.entry(&about.member).or_default().push(&about.label);
        }
        let line = |(name, labels): (&&str, &Vec<&str>)| match (*name, labels.as_slice()) {
            ("", labels) => labels.join(", "),
            (name, []) => format!("{name} (no video)"),
            (name, labels) => format!("{name} ({})", labels.join(", ")),
        };
        let mut names: Vec<String> = there.iter().take(NAMED).map(line).collect();
        if there.len() > NAMED {
            names.push(format!("and {} more", there.len() - NAMED));
        }
        Some(match (self.session(), names.is_empty()) {
            (Session::Absent, true) => format!("no track {:?} in this stream", only.to_string()),
            (Session::Absent, false) => {
                format!("no track {:?} in this stream; there: {}", only.to_string(), names.join(", "))
            }
            (_, true) => {
                format!("no member {:?} with video here; nobody else is in the room", only.to_string())
            }
            (_, false) => {
                format!("no member {:?} with video here; there: {}", only.to_string(), names.join(", "))
            }
        })
    }

    /// Whether a recording was wanted and nothing came of it so far.
    pub(super) fn has_recorded_nothing(&self) -> bool {
        self.0.sink.is_empty()
    }

    /// Whether only some tracks are wanted.
    pub(super) fn is_choosy(&self) -> bool {
        self.0.only.is_some()
    }

    /// All tracks, in the order in which they were first seen.
    pub fn tracks(&self) -> Vec<(u32, Arc<Track>)> {
        let cast = lock(&self.0.cast);
        let mut tracks: Vec<_> = cast.tracks.iter().map(|(id, track)| (*id, Arc::clone(track))).collect();
        tracks.sort_by_key(|(_, track)| track.place);
        tracks
    }

    /// Members; where only some are wanted, those who are.
    pub(super) fn people(&self) -> Vec<(u32, Person)> {
        let cast = lock(&self.0.cast);
        let only = self.0.only.as_ref();
        let wanted = |person: &Person| {
            let whole = Candidate { member: &person.name, label: None };
            only.is_none_or(|only| only.wants(&cast.choice, whole))
        };
        cast.people
            .iter()
            .filter(|(_, person)| wanted(person))
            .map(|(id, person)| (*id, person.clone()))
            .collect()
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

/// The [`limits::DECODERS`] that may be at work at once.
#[derive(Default)]
struct Permits {
    taken: Mutex<usize>,
    freed: Condvar,
}

impl Permits {
    /// One of them, if there is one within `limit`.
    fn take(self: &Arc<Self>, limit: Duration) -> Option<Permit> {
        let all_taken = |taken: &mut usize| *taken >= limits::DECODERS;
        let waited = self.freed.wait_timeout_while(lock(&self.taken), limit, all_taken);
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *taken >= limits::DECODERS {
            return None;
        }
        *taken += 1;
        Some(Permit(Arc::clone(self)))
    }
}

/// One of the [`Permits`]; given back when it goes.
struct Permit(Arc<Permits>);

impl Drop for Permit {
    fn drop(&mut self) {
        *lock(&self.0.taken) -= 1;
        self.0.freed.notify_one();
    }
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
        write!(f, "Stage({} tracks)", lock(&self.0.cast).tracks.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v18_no_more_decoders_than_permits_and_who_comes_next_waits_for_one() {
        let all: Arc<Permits> = Arc::default();
        let mut permits: Vec<Permit> = std::iter::from_fn(|| all.take(Duration::ZERO)).collect();
        assert_eq!(permits.len(), limits::DECODERS);
        let next = std::thread::spawn({
            let all = Arc::clone(&all);
            move || all.take(Duration::from_secs(60)).is_some()
        });
        permits.pop();
        assert!(next.join().unwrap(), "each gives its own back");
        permits.push(all.take(Duration::from_secs(60)).unwrap());
        assert!(all.take(Duration::ZERO).is_none());
    }

    fn about(member: &str, label: &str) -> About {
        About { member: member.into(), label: label.into(), ..About::default() }
    }

    fn titles(stage: &Stage) -> Vec<String> {
        stage.tracks().iter().map(|(_, track)| track.shared().about().title()).collect()
    }

    #[test]
    fn who_comes_back_stands_where_they_stood() {
        let stage = Stage::new("none".into(), None, None);
        for (id, name) in [(1, "Ann"), (2, "Bob"), (3, "Cy")] {
            stage.add(id, about(name, "camera"));
        }
        stage.clear();
        for (id, name) in [(1, "Cy"), (2, "Ann"), (3, "New"), (4, "Bob")] {
            stage.add(id, about(name, "camera"));
        }
        assert_eq!(titles(&stage), ["Ann", "Bob", "Cy", "New"]);
    }

    #[test]
    fn a_better_match_takes_the_place_of_the_one_before_and_people_are_chosen_too() {
        let stage = Stage::new("none".into(), Some("an".parse().unwrap()), None);
        let person = |name: &str| Person { name: name.into(), ..Person::default() };
        stage.meet(1, person("Ana"));
        stage.meet(2, person("Bob"));
        assert_eq!(stage.people().len(), 1, "Ana alone, without video");
        stage.add(7, about("Ana", "camera"));
        stage.add(8, about("Bob", "camera"));
        assert_eq!(titles(&stage), ["Ana"]);
        stage.add(9, about("AN", "camera"));
        assert_eq!(titles(&stage), ["AN"]);
        stage.remove(9);
        assert_eq!(titles(&stage), ["Ana"]);
    }

    #[test]
    fn who_is_missing_is_told_with_those_who_are_there() {
        let stage = Stage::new("none".into(), Some("nobody".parse().unwrap()), None);
        stage.tell(Session::Up);
        let words = stage.missing().unwrap();
        assert_eq!(words, "no member \"nobody\" with video here; nobody else is in the room");
        stage.add(8, about("Bob", "camera"));
        assert!(stage.missing().unwrap().ends_with("with video here; there: Bob (camera)"));
    }
}
