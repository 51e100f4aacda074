//! Progress of a transfer on stderr: bars on a terminal, else a line now and then, or JSON.
//!
//! Call [`Display::begin`] once, [`Display::show`] as often as there are figures (it limits itself),
//! [`Display::file`] for each file that is whole, and [`Display::end`] at the end. What is drawn on a
//! terminal is gone afterwards, except for the last line. Lines of the log go above the bars, and those of several
//! transfers stand below each other.

pub(super) mod json;
pub(super) mod line;
pub(super) mod meter;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::json::Told;
use self::line::Shown;
use self::meter::Meter;
use super::{Common, Exit, logging, units};
use crate::pipeline::figures::{Doing, Figures};
use crate::time::{self, Moment};

/// Between two lines off a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Between two objects of JSON.
const JSON_EVERY: Duration = Duration::from_secs(1);
/// Between two pictures of the bars.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Cells of a title in the last line.
const TITLE: usize = 60;
/// The width of a terminal that does not say.
const COLUMNS: usize = 80;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Style {
    /// Bars on a terminal, else lines
    #[default]
    Auto,
    /// Bars
    Bar,
    /// A line every 10 s and at the end
    Plain,
    /// One JSON object a line
    Json,
    /// Nothing
    None,
}

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the room.
    Send,
    /// From the room.
    Receive,
}

/// What is known when it begins.
#[derive(Debug, Clone, Copy)]
pub struct Begin<'a> {
    /// The room's number of the offer.
    pub offer: Option<u64>,
    /// What it is called.
    pub title: &'a str,
    /// How many files.
    pub files: u32,
    /// All bytes, where that is known.
    pub size: Option<u64>,
    /// Bytes that were there before.
    pub before: u64,
}

/// How it ended.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// The code with which the program ends; 128 and more after a signal.
    pub exit: u8,
    /// Why, where it did not go well.
    pub message: Option<&'a str>,
    /// Nothing had to move: there is nothing to sum up.
    pub idle: bool,
}

/// See the module.
pub struct Display {
    kind: Kind,
    direction: Direction,
    meter: Meter,
    started: Moment,
    /// What it is called.
    title: String,
    /// When the next line may come.
    next: Moment,
    last: Figures,
    /// The room's number of the offer.
    offer: Option<u64>,
    /// Others are shown beside it.
    several: bool,
}

enum Kind {
    None,
    Plain,
    Json,
    Bars(Bars),
}

/// One line for the file that moves, one for all.
struct Bars {
    all: MultiProgress,
    file: ProgressBar,
    total: ProgressBar,
}

impl Display {
    /// As `style` says; `--quiet` without a style is none.
    pub fn new(style: Style, direction: Direction, common: &Common) -> Self {
        let terminal = io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        let kind = match style {
            Style::Auto if common.quiet => Kind::None,
            Style::None => Kind::None,
            Style::Json => Kind::Json,
            Style::Auto | Style::Bar if terminal => Kind::Bars(Bars::new()),
            Style::Auto | Style::Bar | Style::Plain => Kind::Plain,
        };
        let now = time::now();
        let next = if matches!(kind, Kind::Json) { now } else { now + LINE_EVERY };
        Self {
            kind,
            direction,
            meter: Meter::default(),
            started: now,
            title: String::new(),
            next,
            last: Figures::default(),
            offer: None,
            several: false,
        }
    }

    /// Which offer it is about, and whether others may be shown beside it.
    pub fn about(mut self, offer: Option<u64>, several: bool) -> Self {
        (self.offer, self.several) = (offer, several);
        self
    }

    /// The transfer begins.
    pub fn begin(&mut self, begin: &Begin<'_>) {
        self.offer = begin.offer.or(self.offer);
        self.started = time::now();
        self.title = line::name(begin.title);
        self.next = self.started + LINE_EVERY;
        if !matches!(self.kind, Kind::Json) {
            return;
        }
        self.next = self.started;
        let Begin { offer, title, files, size, before } = *begin;
        let direction = json::direction(self.direction);
        self.tell(&Told::Begin { direction, offer, title, files, size, before });
    }

    /// How it goes.
    pub fn show(&mut self, figures: &Figures) {
        let now = time::now();
        self.meter.push(figures.done, now);
        self.last.clone_from(figures);
        let moving = figures.doing == Doing::Moving;
        let rate = self.meter.rate().filter(|_| moving);
        let left = figures.total.filter(|_| moving).map(|total| total.saturating_sub(figures.done));
        let left = left.and_then(|bytes| self.meter.left(bytes));
        let shown = Shown { figures, rate, left, direction: self.direction };
        match &self.kind {
            Kind::Bars(bars) => bars.draw(&shown, &self.title),
            Kind::None => {}
            Kind::Plain | Kind::Json if now < self.next => {}
            Kind::Plain => {
                self.next = now + LINE_EVERY;
                let title = if self.several { format!("{}: ", self.title) } else { String::new() };
                let _ = writeln!(io::stderr(), "{title}{}", shown.plain());
            }
            Kind::Json => {
                self.next = now + JSON_EVERY;
                self.tell(&Told::Progress {
                    offer: self.offer,
                    state: json::state(figures.doing),
                    bytes: figures.done,
                    size: figures.total,
                    files_done: figures.files_done,
                    files: figures.files,
                    file: figures.file.as_ref().map(|file| file.name.as_str()),
                    rate: rate.map(|rate| rate as u64),
                    left_s: left.map(|left| left.as_secs()),
                    limit: figures.bound.filter(|_| moving).map(json::limit),
                });
            }
        }
    }

    /// A file is whole.
    pub fn file(&mut self, path: &str, size: u64, md5: &str) {
        self.tell(&Told::File { offer: self.offer, path, size, md5 });
    }

    /// Something that the user should know; above the bars, and not with `--quiet`.
    pub fn note(&mut self, message: &str) {
        match &self.kind {
            Kind::None => {}
            Kind::Json => self.tell(&Told::Note { offer: self.offer, message }),
            Kind::Plain => drop(writeln!(io::stderr(), "{message}")),
            Kind::Bars(bars) => bars.all.suspend(|| drop(writeln!(io::stderr(), "{message}"))),
        }
    }

    /// It is over.
    pub fn end(mut self, ending: &Ending<'_>) {
        let moved = self.moved();
        let figures = std::mem::take(&mut self.last);
        let seconds = time::now().since(self.started);
        self.clear();
        if matches!(self.kind, Kind::Json) {
            self.tell(&Told::End {
                offer: self.offer,
                result: result(ending.exit),
                exit: ending.exit,
                bytes: figures.done,
                moved,
                again: figures.again,
                seconds: (seconds.as_secs_f64() * 1000.0).round() / 1000.0,
                message: ending.message,
            });
        } else if ending.exit == 0 && !ending.idle && !matches!(self.kind, Kind::None) {
            let summary = self.summary(&figures, moved, seconds);
            logging::above_bars(|| drop(writeln!(io::stderr(), "{summary}")));
        }
    }

    /// Bytes that moved in this run.
    pub fn moved(&self) -> u64 {
        self.last.done.saturating_sub(self.last.before)
    }

    fn summary(&self, figures: &Figures, moved: u64, seconds: Duration) -> String {
        let verb = match self.direction {
            Direction::Send => "sent",
            Direction::Receive => "fetched",
        };
        let rate = units::rate(moved as f64 / seconds.as_secs_f64().max(0.001));
        let files = match figures.files {
            0 | 1 => String::new(),
            files => format!("{files} files, "),
        };
        let size = match figures.before {
            0 => units::size(moved),
            _ => format!("{} of {} in this run,", units::size(moved), units::size(figures.done)),
        };
        let title = line::fit(&self.title, TITLE);
        format!("{verb} {title}: {files}{size} in {}, {rate}", units::span(seconds))
    }

    fn tell(&self, told: &Told<'_>) {
        if matches!(self.kind, Kind::Json) {
            let _ = io::stderr().write_all(told.line().as_bytes());
        }
    }

    fn clear(&self) {
        if let Kind::Bars(bars) = &self.kind {
            for bar in [&bars.file, &bars.total] {
                bar.finish_and_clear();
                bars.all.remove(bar);
            }
            let _ = bars.all.clear();
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Bars {
    fn new() -> Self {
        let hertz = (1000 / DRAW_EVERY.as_millis()) as u8;
        let target = || ProgressDrawTarget::stderr_with_hz(hertz);
        let all = logging::bars(|| MultiProgress::with_draw_target(target()));
        let style = ProgressStyle::with_template("{msg}").expect("the template is one that indicatif knows");
        let bar = || all.add(ProgressBar::no_length().with_style(style.clone()));
        let (file, total) = (bar(), bar());
        Self { all, file, total }
    }

    fn draw(&self, shown: &Shown<'_>, title: &str) {
        // The last column stays free: some terminals wrap as soon as it is written.
        let width = rustix::termios::tcgetwinsize(io::stderr())
            .map_or(COLUMNS, |size| match usize::from(size.ws_col) {
                0 => COLUMNS,
                columns => columns,
            })
            .saturating_sub(1);
        let file = shown.figures.file.as_ref().filter(|_| shown.figures.doing == Doing::Moving);
        // One file alone has the name of all of it.
        let alone = || if shown.figures.files > 1 { String::new() } else { line::fit(title, width) };
        self.file.set_message(file.map_or_else(alone, |file| line::file(file, width)));
        self.total.set_message(shown.bar(width));
    }
}

/// The end of what failed before it was known what would go; for `--progress json`, and not for wrong options.
pub fn end_before_it_began(direction: Direction, common: &Common, error: &anyhow::Error) {
    let failure = error.downcast_ref::<super::Failure>();
    let exit = failure.map_or(Exit::Other, |failure| failure.exit) as u8;
    if exit != Exit::Usage as u8 {
        let message = error.to_string();
        let ending = Ending { exit, message: Some(&message), idle: true };
        Display::new(Style::Json, direction, common).end(&ending);
    }
}

/// The word of an exit code for a script.
fn result(exit: u8) -> &'static str {
    const CONNECT: u8 = Exit::Connect as u8;
    const AUTHENTICATION: u8 = Exit::Authentication as u8;
    const REFUSED: u8 = Exit::Refused as u8;
    const INTEGRITY: u8 = Exit::Integrity as u8;
    const INCOMPLETE: u8 = Exit::Incomplete as u8;
    const FILE: u8 = Exit::File as u8;
    match exit {
        0 => "done",
        CONNECT => "not_connected",
        AUTHENTICATION | REFUSED => "refused",
        INTEGRITY => "changed",
        INCOMPLETE => "incomplete",
        FILE => "local_file",
        128.. => "interrupted",
        _ => "failed",
    }
}
