//! A stream: what comes through the pipe, into the room.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;

use clap::ValueEnum;

use super::Send;
use crate::cli::output::{Content, Output};
use crate::cli::{Common, Exit, Failure, ended, is_reader_gone, signal};
use crate::limits;
use crate::pipeline::send::{self, Error, Options, Progress};
use crate::wire::Stream;

/// The pipe into this program: little, so that the writer soon feels what the network does not take.
const PIPE: usize = 16 * 1024;
/// Seconds between two lines of progress where stderr is no terminal.
const LINE_EVERY: u32 = 10;

/// What comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Told by the first bytes
    Auto,
    /// Frames, as conf-cam writes them
    Conf,
    /// H.264 with start codes (Annex B)
    H264,
    /// Uncompressed pictures
    Y4m,
}

/// Sends stdin until it ends or a signal comes.
pub(super) fn send(args: Send) -> anyhow::Result<()> {
    let config = args.meeting.config(&args.common, "conf-send", Vec::new())?;
    let input = File::from(rustix::io::dup(io::stdin())?);
    let about = input.metadata()?;
    if about.is_dir() {
        return Err(Failure::usage("stdin is a directory; to send its files, type: conf-send PATH").into());
    }
    if about.file_type().is_fifo() {
        // A pipe that already holds more stays as it is.
        let _ = rustix::pipe::fcntl_setpipe_size(&input, PIPE);
    }
    let pass: Option<Box<dyn Write + std::marker::Send>> = match args.stream.pass {
        true => Some(Box::new(Output::open(None, Content::Binary { force: false })?)),
        false => None,
    };
    let options = Options {
        label: args.stream.label,
        format: args.stream.format.stream(),
        fps: args.stream.fps,
        file: about.is_file(),
        pass,
        named: args.meeting.name.as_ref().is_some_and(|name| !name.is_empty()),
    };
    let stop = signal::install()?;
    let address = config.address.clone();
    let mut report = Report::new(&args.common);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let sent = runtime.block_on(send::run(input, options, config, stop, |progress| report.show(progress)));
    report.finish();
    // The thread that reads stdin may be waiting there for ever.
    runtime.shutdown_background();
    match sent {
        Ok(()) => Ok(()),
        Err(Error::Ended(end)) => Ok(ended(&end, &address)?),
        Err(Error::Io(error)) if is_reader_gone(&error) => Err(error.into()),
        Err(error) => Err(Failure::new(exit_code(&error), error.to_string()).into()),
    }
}

impl Format {
    fn stream(self) -> Option<Stream> {
        match self {
            Self::Auto => None,
            Self::Conf => Some(Stream::Frames),
            Self::H264 => Some(Stream::AnnexB),
            Self::Y4m => Some(Stream::Y4m),
        }
    }
}

fn exit_code(error: &Error) -> Exit {
    match error {
        Error::Io(_) => Exit::File,
        Error::Refused(_) | Error::Encode(_) | Error::Container(_) | Error::Y4m(_) => Exit::Device,
        Error::Incomplete => Exit::Incomplete,
        Error::Rejected(_) => Exit::Refused,
        _ => Exit::Protocol,
    }
}

pub(super) fn label(text: &str) -> Result<String, String> {
    let clean = crate::text::scrub(text.trim(), text.len());
    if clean.is_empty() || clean.chars().count() > limits::LABEL {
        Err("a label has 1 to 64 characters".into())
    } else {
        Ok(clean)
    }
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    let fps = text.parse().ok().filter(|fps| (0.1..=1000.0).contains(fps));
    fps.ok_or_else(|| "a rate is a number from 0.1 to 1000".into())
}

/// Progress on stderr: one line that changes where that is a terminal, else a line every ten seconds.
struct Report {
    quiet: bool,
    terminal: bool,
    seconds: u32,
    last: Progress,
    shown: bool,
}

impl Report {
    fn new(common: &Common) -> Self {
        Self {
            quiet: common.quiet,
            terminal: io::IsTerminal::is_terminal(&io::stderr()),
            seconds: 0,
            last: Progress::default(),
            shown: false,
        }
    }

    fn show(&mut self, now: Progress) {
        self.seconds += 1;
        let every = if self.terminal { 1 } else { LINE_EVERY };
        if self.quiet || !self.seconds.is_multiple_of(every) {
            return;
        }
        let line = line(&self.last, &now, f64::from(every));
        self.last = now;
        self.shown = true;
        let _ = match self.terminal {
            true => write!(io::stderr(), "\r{line}\x1b[K"),
            false => writeln!(io::stderr(), "{line}"),
        };
    }

    fn finish(&self) {
        if self.shown && self.terminal {
            let _ = writeln!(io::stderr());
        }
    }
}

fn line(before: &Progress, now: &Progress, seconds: f64) -> String {
    let pictures = (now.frames - before.frames) as f64 / seconds;
    let rate = (now.session.sent - before.session.sent) as f64 * 8.0 / seconds / 1000.0;
    let state = if now.session.up { "live" } else { "not connected" };
    let rtt =
        now.session.rtt.map_or_else(String::new, |rtt| format!(", rtt {:.0} ms", rtt.as_secs_f64() * 1e3));
    let dropped = now.session.counts.dropped;
    format!("{state}: {pictures:.0} pictures/s, {rate:.0} kbit/s, {dropped} dropped{rtt}")
}
