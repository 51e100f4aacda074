//! The log: `tracing` to stderr or a file, as text or JSON lines.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::common::LogFormat;
use super::{Common, Exit, Failure};

/// Starts the log as the options say; `level` is what is logged without them. `CONF_LOG` takes a filter
/// such as `confkit::net=trace` instead.
pub(super) fn start(name: &str, common: &Common, level: Level) -> Result<(), Failure> {
    // Programs that people talk to say sentences; those that log, and whoever wants to know more, get times.
    let plain = level <= Level::WARN && common.verbose == 0 && common.log_file.is_none();
    let level = match common.verbose {
        _ if common.quiet => Level::ERROR,
        0 => level,
        1 if level < Level::INFO => Level::INFO,
        1 | 2 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let filter = std::env::var("CONF_LOG")
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(format!("warn,confkit={level}")));
    let (writer, colors) = match common.log_file.as_deref().filter(|path| *path != Path::new("-")) {
        None => (BoxMakeWriter::new(|| Stderr), common.colors()),
        Some(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path).map_err(|error| {
                Failure::new(Exit::File, format!("cannot write the log to {}: {error}", path.display()))
            })?;
            (BoxMakeWriter::new(Mutex::new(file)), common.color == super::When::Always)
        }
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colors)
        .log_internal_errors(false);
    let started = match common.log_format {
        LogFormat::Text if plain => log.event_format(Plain { name: name.to_owned() }).try_init(),
        LogFormat::Text => log.with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failure::new(Exit::Other, format!("cannot start the log: {error}")))
}

/// `conf-chat: a sentence`, as errors are told.
struct Plain {
    name: String,
}

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        write!(writer, "{}: ", self.name)?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Stderr that may be closed: what cannot be said is not said.
struct Stderr;

/// Lines that wait while a program draws on the terminal; the oldest stay.
const HELD: usize = 100;
static HELD_BACK: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// Bars that are drawn on stderr; a line goes above them.
static BARS: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// The bars of all that this program shows, made at the first call. Lines for stderr go above them.
pub(super) fn bars(make: impl FnOnce() -> MultiProgress) -> MultiProgress {
    BARS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(make).clone()
}

/// Writes something above the bars, on whatever it is that is the terminal.
pub(super) fn above_bars<T>(write: impl FnOnce() -> T) -> T {
    let bars = BARS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bars {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

/// Bars that are away until this is dropped.
pub(super) struct Away(Option<MultiProgress>);

/// Takes the bars away, so that something else can use the terminal.
pub(super) fn bars_away() -> Away {
    let bars = BARS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(bars) = &bars {
        let _ = bars.clear();
        bars.set_draw_target(ProgressDrawTarget::hidden());
    }
    Away(bars)
}

impl Drop for Away {
    fn drop(&mut self) {
        if let Some(bars) = &self.0 {
            bars.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

/// Does something else on the terminal, which the bars leave alone meanwhile.
pub(super) fn without_bars<T>(work: impl FnOnce() -> T) -> T {
    let _away = bars_away();
    work()
}

/// Keeps lines for stderr back until [`release`], where stderr is a terminal that would show them amid
/// what is drawn there.
pub(super) fn hold() {
    if io::stderr().is_terminal() {
        *HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }
}

/// Writes to stderr again, and what was kept back if it is to be `shown`.
pub(super) fn release(shown: bool) {
    let held = HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner).take();
    for line in held.into_iter().flatten().filter(|_| shown) {
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(held) if held.len() < HELD => held.push(String::from_utf8_lossy(bytes).into_owned()),
            Some(_) => {}
            None => {
                above_bars(|| drop(io::stderr().write_all(bytes)));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
