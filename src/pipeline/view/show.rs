//! Draws what is on the stage, in a window or without one, and measures what was shown.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::track::{Fresh, Track, lock};
use super::{Error, Person, Session, Stage};
use crate::media::{self, Picture};
use crate::time::{self, Moment};
use crate::video::decode::Refused;
use crate::video::render::Canvas;
use crate::video::render::compose::{Composer, Notice, Scene, Tile};
use crate::video::render::layout::{Mode, PER_PAGE};
use crate::video::render::snapshot;
use crate::video::render::window::{Input, PER_SECOND, Window};

/// A track from which nothing has come for this long has stalled.
const STALL: Duration = Duration::from_secs(2);
/// A window that nothing changes in is painted again this often: what covered it may be gone.
const REPAINT: Duration = Duration::from_millis(500);
/// A window that nobody can see is looked at this often, and not painted.
const HIDDEN: Duration = Duration::from_millis(100);
/// After so long in the dark, nothing is decoded either; until then it is, because windows come back soon.
const DARK: Duration = Duration::from_secs(10);
/// How long a snapshot waits for the first picture of each track.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(5);
/// A snapshot waits at least this long for tracks to be announced.
const SNAPSHOT_SETTLE: Duration = Duration::from_millis(300);
/// Members without video have tiles with numbers from here on.
const PEOPLE: u64 = 1 << 48;
/// How often figures are written.
const REPORTS: Duration = Duration::from_secs(1);
/// A picture whose clock is older than this comes from a recording: its age is no latency.
const LATENCY: u64 = 10_000_000;
/// How long a member who was asked for may take to be announced.
const MISSING: Duration = Duration::from_secs(1);
/// How long "saved as" stays.
const SAID: Duration = Duration::from_secs(3);

/// In which form statistics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistics {
    /// For people.
    Text,
    /// One JSON object a line and track.
    Json,
}

/// What is done with the pictures.
pub struct Settings {
    /// Width and height of the window or the snapshot.
    pub size: (usize, usize),
    /// Whether one member is large from the start.
    pub speaker: bool,
    /// Whether a window is opened.
    pub window: bool,
    /// Where a picture of what is seen is written: as soon as every track has one, or at the end of `duration`.
    pub snapshot: Option<PathBuf>,
    /// When to end.
    pub duration: Option<Duration>,
    /// Statistics, once a second.
    pub statistics: Option<(Statistics, Box<dyn Write + Send>)>,
    /// The window's title.
    pub title: String,
    /// What is said while nobody sends video.
    pub empty: String,
}

/// Shows `stage` until it is over, `stop` is cancelled, the window is closed or the time is up. With a window, for the
/// main thread only.
///
/// # Errors
/// The first thing that went wrong here or on the stage.
pub fn run(stage: &Stage, settings: Settings, stop: &CancellationToken) -> Result<(), Error> {
    let window = match settings.window {
        true => Some(Window::open(&settings.title, settings.size.0, settings.size.1)?),
        false => None,
    };
    let now = time::now();
    let show = Show {
        stage,
        composer: Composer::default(),
        scene: Scene { empty: settings.empty.clone(), ..Scene::default() },
        pictures: HashMap::new(),
        fresh: Vec::new(),
        focus: None,
        focus_before: None,
        hidden: None,
        frozen: false,
        said: None,
        missing: None,
        told: None,
        session: Session::default(),
        began: now,
        reported: now,
        has_reported: false,
        said_empty: false,
        settings,
    };
    match window {
        Some(window) => show.with_window(window, stop),
        None => show.without_window(stop),
    }
}

struct Show<'a> {
    stage: &'a Stage,
    settings: Settings,
    composer: Composer,
    scene: Scene,
    /// The picture of each track that is on the screen.
    pictures: HashMap<u32, Arc<Picture>>,
    /// Pictures that were taken and not yet handed over, and whether they come from the present.
    fresh: Vec<(Arc<Track>, Arc<Picture>, bool)>,
    focus: Option<u64>,
    /// The focus before the last click, for what a second click makes of it.
    focus_before: Option<u64>,
    /// Since when nobody can see the window.
    hidden: Option<Moment>,
    frozen: bool,
    said: Option<(Moment, String)>,
    /// Since when nobody is there who was asked for, and what was last said about it.
    missing: Option<Moment>,
    told: Option<String>,
    /// As it was written last.
    session: Session,
    began: Moment,
    reported: Moment,
    /// There has been a report about a track.
    has_reported: bool,
    /// It has been said that nobody sends anything.
    said_empty: bool,
}

impl Show<'_> {
    fn with_window(mut self, mut window: Window, stop: &CancellationToken) -> Result<(), Error> {
        let frame = Duration::from_micros(1_000_000 / PER_SECOND);
        let mut painted = Moment::default();
        let mut waiting = true;
        while !stop.is_cancelled() && !self.is_over(time::now()) {
            let was_hidden = self.hidden.is_some();
            self.hidden = window.is_hidden().then(|| self.hidden.unwrap_or_else(time::now));
            if self.hidden.is_some() {
                std::thread::park_timeout(HIDDEN);
            } else {
                if was_hidden {
                    painted = Moment::default();
                }
                // A picture is painted as soon as it is there, but not sooner than one refresh after the last.
                waiting |= self.stage.bell().wait(frame);
                let early = frame.saturating_sub(time::now().since(painted));
                if !early.is_zero() && waiting {
                    std::thread::park_timeout(early);
                }
            }
            let now = time::now();
            self.refresh(now);
            let canvas = if self.hidden.is_some() { None } else { self.paint(&window, now, &mut painted) };
            let inputs = window.update(canvas);
            waiting = false;
            self.handed_over(time::now());
            self.report(time::now())?;
            for input in inputs {
                if !self.input(input, &mut window) {
                    return self.end(true);
                }
            }
        }
        self.end(stop.is_cancelled())
    }

    /// What the window is to show, where that is not what it shows; remembers in `painted` when that was.
    fn paint(&mut self, window: &Window, now: Moment, painted: &mut Moment) -> Option<&Canvas> {
        let (width, height) = window.size();
        let changed = self.composer.paint(&self.scene, width, height);
        if !changed && now.since(*painted) < REPAINT {
            return None;
        }
        *painted = now;
        Some(self.composer.canvas())
    }

    fn without_window(mut self, stop: &CancellationToken) -> Result<(), Error> {
        while !stop.is_cancelled() && !self.is_over(time::now()) {
            self.stage.bell().wait(Duration::from_millis(100));
            let now = time::now();
            self.refresh(now);
            self.handed_over(now);
            self.report(now)?;
        }
        self.refresh(time::now());
        self.handed_over(time::now());
        self.end(stop.is_cancelled())
    }

    /// Says who is there, where those who were asked for are not.
    fn miss(&mut self, now: Moment) {
        let ready = matches!(self.stage.session(), Session::Up | Session::Absent);
        let Some(words) = self.stage.missing().filter(|_| ready) else {
            self.missing = None;
            return;
        };
        let since = *self.missing.get_or_insert(now);
        if now.since(since) >= MISSING && self.told.as_ref() != Some(&words) {
            tracing::warn!("{words}; waiting");
            self.told = Some(words);
            self.missing = Some(now);
        }
    }

    /// Takes new pictures and sees what is there.
    fn refresh(&mut self, now: Moment) {
        self.miss(now);
        let tracks = self.stage.tracks();
        let people: BTreeMap<u32, Person> = self.stage.people().into_iter().collect();
        let mut silent = people.clone();
        let mut tiles = Vec::with_capacity(tracks.len());
        for (id, track) in &tracks {
            if !self.frozen
                && let Some(Fresh { picture, live }) = track.take_picture()
            {
                let picture = Arc::new(picture);
                self.fresh.push((Arc::clone(track), Arc::clone(&picture), live));
                self.pictures.insert(*id, picture);
            }
            let of = track.shared().about().of;
            of.map(|member| silent.remove(&member));
            let person = of.and_then(|member| people.get(&member));
            tiles.push(self.tile(*id, track, person, now));
        }
        self.pictures.retain(|id, _| tracks.iter().any(|(there, _)| there == id));
        tiles.extend(silent.into_iter().filter(|(_, person)| !person.own).map(|(id, person)| {
            let gone = person.reconnecting.map(|since| now.since(since).as_secs());
            let notice = gone.map_or(Notice::CameraOff, Notice::Reconnecting);
            let (id, states) = (PEOPLE + u64::from(id), person.words());
            Tile { id, name: person.name, notice, states, ..Tile::default() }
        }));
        self.scene.tiles = tiles;
        self.scene.empty = self.stage.missing().unwrap_or_else(|| self.settings.empty.clone());
        self.arrange(now);
        let page = self.scene.page.min(self.scene.pages() - 1);
        let dark = self.hidden.is_some_and(|since| now.since(since) >= DARK);
        for (index, (_, track)) in tracks.iter().enumerate() {
            track.set_visible(index / PER_PAGE == page && !dark);
        }
    }

    fn tile(&self, id: u32, track: &Track, person: Option<&Person>, now: Moment) -> Tile {
        let shared = track.shared();
        let picture = self.pictures.get(&id).cloned();
        let (words, age) = track.notice(now);
        let gone = person.and_then(|person| person.reconnecting).map(|since| now.since(since));
        let notice = match (gone, words, age) {
            // What counts is how old the picture is, not when the server noticed.
            (Some(gone), _, age) if picture.is_some() => {
                Notice::Gone(age.map_or(gone, |age| age.max(gone)).as_secs())
            }
            (Some(gone), ..) => Notice::Reconnecting(gone.as_secs()),
            (None, Some(words), _) => Notice::Because(words),
            (None, None, Some(age)) if age >= STALL && picture.is_some() => Notice::Stalled(age.as_secs()),
            _ if picture.is_none() => Notice::Waiting,
            _ => Notice::Live,
        };
        let statistics = if self.scene.statistics { lock(&shared.figures).lines(now) } else { Vec::new() };
        let about = shared.about();
        let (name, label) = about.drawn();
        Tile {
            id: u64::from(id),
            name,
            label,
            own: about.own,
            states: person.map(Person::words).unwrap_or_default(),
            picture,
            aspect: about.size.map(|(width, height)| width as f32 / height as f32),
            notice,
            statistics,
        }
    }

    /// Who is large, and what stands across the top.
    fn arrange(&mut self, now: Moment) {
        let place = |id: u64| self.scene.tiles.iter().position(|tile| tile.id == id);
        let speaker = || self.scene.tiles.iter().position(|tile| !tile.own && tile.picture.is_some());
        self.scene.mode = match self.focus.and_then(place) {
            Some(index) => Mode::Focus(index),
            None if self.settings.speaker => speaker().map_or(Mode::Grid, Mode::Focus),
            None => Mode::Grid,
        };
        let said = self.said.as_ref().filter(|(at, _)| now.since(*at) < SAID).map(|(_, words)| words.clone());
        let frozen = self.frozen.then(|| "frozen: press SPACE to go on".to_owned());
        self.scene.banner = said.or_else(|| self.stage.session().banner(now)).or(frozen);
    }

    /// What was taken is on the screen now: the end of its way, at which latency is measured.
    fn handed_over(&mut self, now: Moment) {
        let wall = time::wall();
        if self.hidden.is_some() {
            self.fresh.clear();
        }
        for (track, picture, live) in self.fresh.drain(..) {
            // A picture from the past shows how old it is, and not how long the way is.
            let clock =
                || media::clock::read(picture.y(), picture.width(), picture.height(), picture.width());
            let burnt = if live { clock() } else { None };
            let latency = burnt.and_then(|burnt| wall.checked_sub(burnt)).filter(|age| *age <= LATENCY);
            lock(&track.shared().figures).shown(now, latency);
        }
    }

    /// Statistics once a second, and the session when it changes.
    fn report(&mut self, now: Moment) -> Result<(), Error> {
        let session = self.stage.session();
        let changed = session != self.session;
        if changed {
            self.session = session;
        }
        if now.since(self.reported) < REPORTS {
            // A session that is lost and found within a second is to be seen as well.
            return if changed { self.write_session(now, true) } else { Ok(()) };
        }
        // After a pause of this program, the reports that it missed are not made up for.
        self.reported = if now.since(self.reported) < 2 * REPORTS { self.reported + REPORTS } else { now };
        self.write_session(now, changed)?;
        self.write_statistics(now)
    }

    /// What has happened since the last report: a stream may be over before there is any.
    fn last_report(&mut self, now: Moment) -> Result<(), Error> {
        let due = !self.has_reported || now.since(self.reported) >= REPORTS / 2;
        if due { self.write_statistics(now) } else { Ok(()) }
    }

    fn write_session(&mut self, now: Moment, changed: bool) -> Result<(), Error> {
        let Some((form, out)) = &mut self.settings.statistics else { return Ok(()) };
        let line = match form {
            Statistics::Json => self.session.json(now, time::wall()),
            Statistics::Text if changed && self.session == Session::Up => Some("connected".into()),
            Statistics::Text => self.session.text(now),
        };
        line.map_or(Ok(()), |line| out.write_all((line + "\n").as_bytes()).map_err(Error::Output))
    }

    fn write_statistics(&mut self, now: Moment) -> Result<(), Error> {
        let Some((form, out)) = &mut self.settings.statistics else { return Ok(()) };
        let tracks = self.stage.tracks();
        let mut text = String::new();
        for (_, track) in &tracks {
            let shared = track.shared();
            let figures = lock(&shared.figures);
            let decoded = track.is_visible() && self.hidden.is_none();
            text += &match form {
                Statistics::Json => figures.json(now, time::wall(), &shared.about(), decoded),
                Statistics::Text => figures.text(now, &shared.about(), decoded),
            };
            text.push('\n');
        }
        // Said once, and again when the last one has gone.
        if *form == Statistics::Text && tracks.is_empty() && self.session == Session::Up && !self.said_empty {
            text = self.scene.empty.clone() + "\n";
        }
        self.said_empty = tracks.is_empty() && self.session == Session::Up;
        self.has_reported |= !tracks.is_empty();
        out.write_all(text.as_bytes()).map_err(Error::Output)
    }

    /// Why nothing of a pipe can ever be shown.
    fn nothing_can_be_shown(&self) -> Option<Refused> {
        let from_pipe = self.session == Session::Absent && self.stage.session() == Session::Absent;
        self.stage.refused().filter(|_| from_pipe)
    }

    fn is_over(&self, now: Moment) -> bool {
        let age = now.since(self.began);
        if self.stage.has_failed() || self.nothing_can_be_shown().is_some() {
            return true;
        }
        if let Some(duration) = self.settings.duration {
            return age >= duration || self.stage.is_over();
        }
        if self.settings.snapshot.is_some() && !self.settings.window {
            let tracks = self.stage.tracks();
            let has_picture =
                |(id, track): &(u32, Arc<Track>)| self.pictures.contains_key(id) || !track.is_visible();
            let complete = !tracks.is_empty() && tracks.iter().all(has_picture);
            return (complete && age >= SNAPSHOT_SETTLE) || age >= SNAPSHOT_WAIT || self.stage.is_over();
        }
        self.stage.is_over()
    }

    /// The last things, in order: what went wrong, the snapshot, the last figures.
    fn end(mut self, stopped: bool) -> Result<(), Error> {
        if let Some(error) = self.stage.trouble() {
            return Err(error);
        }
        if let Some(refused) = self.nothing_can_be_shown() {
            return Err(Error::Refused(refused));
        }
        let nothing = self.stage.has_recorded_nothing()
            || self.settings.snapshot.is_some() && self.stage.is_choosy() && self.pictures.is_empty();
        if nothing && !stopped {
            let why = self.stage.missing().unwrap_or_else(|| "no picture came".into());
            // What has been said already is not said again.
            let why = if self.told.as_ref() == Some(&why) { String::new() } else { why + "; " };
            return Err(Error::Nothing(format!("{why}nothing was written")));
        }
        self.last_report(time::now())?;
        if let Some(path) = self.settings.snapshot.take() {
            self.save(&path).map_err(|error| Error::Snapshot { path: path.display().to_string(), error })?;
        }
        Ok(())
    }

    /// Writes what is seen, or would be.
    fn save(&mut self, path: &Path) -> std::io::Result<()> {
        if !self.settings.window {
            let (width, height) = self.settings.size;
            self.composer.paint(&self.scene, width, height);
        }
        snapshot::write(self.composer.canvas(), path)
    }

    /// Does what a person asks for; `false` to end.
    fn input(&mut self, input: Input, window: &mut Window) -> bool {
        match input {
            Input::Close | Input::Letter('q') => return false,
            Input::Letter('i') => self.scene.statistics ^= true,
            Input::Letter('?') => self.scene.help ^= true,
            Input::Letter('g') => self.focus = None,
            Input::Letter(' ' | 'p') => self.frozen ^= true,
            Input::Letter('f') | Input::Fullscreen => self.fill_screen(window),
            Input::Letter('s') => self.save_numbered(),
            Input::Letter(digit @ '1'..='8') => {
                let index = digit as usize - '1' as usize;
                self.focus = self.scene.tiles.get(index).map(|tile| tile.id).or(self.focus);
            }
            Input::Next => self.step(1),
            Input::Previous => self.step(self.scene.tiles.len().saturating_sub(1)),
            Input::Enter if self.focus.is_none() => self.step(1),
            Input::Enter => self.focus = None,
            Input::Escape if window.is_full() => self.fill_screen(window),
            Input::Escape => self.focus = None,
            Input::Click(x, y) => {
                self.focus_before = self.focus;
                let clicked = self.composer.tile_at(x, y);
                // A second click on the large tile goes back.
                self.focus = if clicked == self.focus { None } else { clicked.or(self.focus) };
            }
            Input::DoubleClick => {
                self.focus = self.focus_before;
                self.fill_screen(window);
            }
            Input::PageUp => self.scene.page = self.scene.page.saturating_sub(1),
            Input::PageDown => self.scene.page = (self.scene.page + 1).min(self.scene.pages() - 1),
            Input::Letter(_) => {}
        }
        self.stage.bell().ring();
        true
    }

    /// So many tiles further, and from the grid to the first.
    fn step(&mut self, by: usize) {
        let tiles = &self.scene.tiles;
        let next = match self.focus.and_then(|id| tiles.iter().position(|tile| tile.id == id)) {
            Some(index) => (index + by) % tiles.len(),
            None => 0,
        };
        self.focus = tiles.get(next).map(|tile| tile.id);
    }

    fn fill_screen(&mut self, window: &mut Window) {
        let full = !window.is_full();
        if !window.set_full(full) {
            let words = "here only the window system can fill the screen: use its own key";
            self.said = Some((time::now(), words.into()));
        }
    }

    /// Saves a snapshot under a name of its own in the current directory.
    fn save_numbered(&mut self) {
        let name = format!("conf-view-{}.png", time::wall() / 1_000_000);
        let words = match snapshot::write(self.composer.canvas(), Path::new(&name)) {
            Ok(()) => format!("saved as {name}"),
            Err(error) => format!("cannot save {name}: {error}"),
        };
        self.said = Some((time::now(), words));
    }
}

/// Whether a window or snapshot may have this size.
pub fn is_size(width: usize, height: usize) -> bool {
    (16..=7680).contains(&width) && (16..=4320).contains(&height)
}
