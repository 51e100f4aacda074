//! `conf-view`: its options, and which source and which end they choose.

mod later;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};

use self::later::Later;
use super::output::{Content, Output};
use super::{Common, Exit, Failure, Meeting, Program, common, ended, output, signal};
use crate::pipeline::view::pipe::{self, Pace};
use crate::pipeline::view::{Error, Format, Only, Recording, Settings, Stage, Statistics, room, show};
use crate::video::render::window::DEFAULT_SIZE;
use crate::wire::control::TrackKind;

/// See everybody in the room in one window.
#[derive(Debug, Parser)]
#[command(name = "conf-view", version, before_long_help = EXAMPLES, after_long_help = KEYS)]
pub struct View {
    /// `-` shows a pipe (frames of conf-cam, H.264 or Y4M) instead of a room
    #[arg(value_name = "-", value_parser = input)]
    pub input: Option<String>,

    /// Only this member, or only this track of the member; the beginning of a name is enough
    #[arg(long, value_name = "NICK[/LABEL]")]
    pub only: Option<Only>,

    /// How tiles share the window
    #[arg(long, value_name = "LAYOUT", value_enum, default_value_t = Layout::Grid)]
    pub layout: Layout,

    /// Open no window
    #[arg(long)]
    pub no_window: bool,

    /// Write what is seen to a picture (- for stdout) and end; with -t, at the end of that time
    #[arg(long, value_name = "FILE.png")]
    pub snapshot: Option<PathBuf>,

    /// Write one track to a file or, with `-`, to stdout, instead of showing it
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// In which form -o writes
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    pub format: Option<Recorded>,

    /// Write binary data even to a terminal
    #[arg(long)]
    pub force: bool,

    /// Statistics of each track, once a second
    #[arg(long, value_name = "FORM", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    pub stats: Option<Form>,

    /// End after this time
    #[arg(short = 't', long, value_name = "TIME", value_parser = common::duration)]
    pub time: Option<Duration>,

    /// Size of the window or the snapshot
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub size: Option<(usize, usize)>,

    #[command(flatten)]
    meeting: Meeting,

    #[command(flatten)]
    common: Common,
}

/// How tiles share the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// All of a size
    Grid,
    /// One large, the others small
    Speaker,
}

/// In which form a track is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Recorded {
    /// H.264 as it came
    H264,
    /// Uncompressed pictures
    Y4m,
}

/// In which form statistics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

const EXAMPLES: &str = "\
Examples:
  conf-view                                 everybody in the room that CONF_ROOM names
  conf-cam | conf-view -                    one's own camera, without a room
  conf-view --snapshot room.png             a picture of the room, without a window
  conf-view --only ana -f y4m -o - | ffmpeg -i - -vf fps=1 shot-%03d.png
  conf-view --no-window --stats=json -t 10s | jq '.latency_ms // empty'
Keys: q quits, ? shows the others.
";

const KEYS: &str = "\
Keys in the window:
  q                     quit
  Tab, arrows, 1 to 8   one large: the next, the one before, or this one
  Enter, g              one large, or all alike; a click does both
  Page Up, Page Down    the page before, the next
  f, F11, double click  full screen; Escape leaves it
  SPACE, p              freeze
  s                     save a snapshot
  i                     statistics
  ?                     these keys
";

impl Program for View {
    fn common(&self) -> &Common {
        &self.common
    }
}

/// Shows a room or a pipe until it ends, the window is closed or a signal comes.
pub fn view(args: View) -> anyhow::Result<()> {
    let stop = signal::install()?;
    // Still there when the file has been replaced by a newer one meanwhile.
    let own = PathBuf::from("/proc/self/exe");
    let program = if own.exists() { own } else { std::env::current_exe()? };
    let from_pipe = args.input.is_some();
    if from_pipe && io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "stdin is a terminal; send a stream through a pipe\n\n{EXAMPLES}"
        ))
        .into());
    }
    args.snapshot.as_deref().map_or(Ok(()), common::only_png)?;
    if args.snapshot.as_ref().is_some_and(is_stdout) {
        Output::open(None, Content::Binary { force: args.force })?;
    }
    let recording = recording(&args)?;
    let records = recording.is_some();
    let window = !(args.no_window || records || args.snapshot.is_some());
    let stage = Stage::new(program, args.only.clone(), recording);
    let address = if from_pipe { None } else { Some(args.meeting.address()?) };
    let settings = Settings {
        size: args.size.unwrap_or(DEFAULT_SIZE),
        speaker: args.layout == Layout::Speaker,
        window,
        snapshot: args.snapshot.clone(),
        duration: args.time,
        statistics: statistics(&args)?,
        title: address
            .as_ref()
            .map_or_else(|| "conf-view".into(), |address| format!("{} - conf-view", address.room)),
        empty: match &address {
            Some(address) => format!("Nobody sends video yet. To be seen: conf-cam | conf-send -r {address}"),
            None => "waiting for the stream".into(),
        },
    };
    let source_stop = stop.child_token();
    let mut member = None;
    match &address {
        Some(_) => {
            let config = args.meeting.config(&args.common, "conf-view", vec![TrackKind::Video])?;
            member = Some({
                let named = args.meeting.name.as_ref().is_some_and(|name| !name.is_empty());
                room::join(config, named, stage.clone(), source_stop.clone())?
            });
        }
        None => read_stdin(&stage, if records { Some(Pace::Fast) } else { None })?,
    }
    let shown = show::run(&stage, settings, &stop);
    let never_joined = address.is_some() && !stage.has_joined() && !stop.is_cancelled();
    source_stop.cancel();
    if let Some(member) = member {
        member.wait();
    }
    match shown {
        // That it was never there says more.
        Err(Error::Nothing(_)) if never_joined => {}
        shown => shown.or_else(|error| failure(error, address.as_ref()))?,
    }
    match &address {
        Some(address) if never_joined && (args.time.is_some() || args.snapshot.is_some()) => {
            let (host, port) = (&address.host, address.port);
            let message =
                format!("no answer from {host} port {port} in that time; is conf-serve running there?");
            Err(Failure::new(Exit::Connect, message).into())
        }
        _ => Ok(()),
    }
}

/// Reads the pipe on a thread of its own, which ends with the process: a read cannot be broken off.
fn read_stdin(stage: &Stage, pace: Option<Pace>) -> anyhow::Result<()> {
    let input = File::from(rustix::stdio::stdin().try_clone_to_owned()?);
    let recorded = input.metadata().is_ok_and(|metadata| metadata.is_file());
    let pace = pace.unwrap_or(if recorded { Pace::Recorded } else { Pace::Live });
    let stage = stage.clone();
    std::thread::Builder::new().name("input".into()).spawn(move || {
        match pipe::read(input, &stage, pace) {
            Ok(()) => stage.finish(),
            Err(error) => stage.fail(error),
        }
    })?;
    Ok(())
}

fn recording(args: &View) -> Result<Option<Recording>, Failure> {
    let Some(path) = &args.output else {
        return match args.format {
            Some(_) => {
                Err(Failure::usage("-f says in which form -o writes; add -o FILE, or -o - for a pipe"))
            }
            None => Ok(None),
        };
    };
    let by_name = match path.extension().and_then(|e| e.to_str()) {
        Some("y4m") => Recorded::Y4m,
        Some("h264" | "264") | None => Recorded::H264,
        Some(_) if args.format.is_some() => Recorded::H264,
        Some(ending) => {
            return Err(Failure::usage(format!(
                "cannot write .{ending}; name the file .h264 or .y4m, or say which with -f"
            )));
        }
    };
    let format = match args.format.unwrap_or(by_name) {
        Recorded::H264 => Format::H264,
        Recorded::Y4m => Format::Y4m,
    };
    let out: Box<dyn Write + Send> = if is_stdout(path) {
        Box::new(Output::open(None, Content::Binary { force: args.force })?)
    } else {
        Box::new(Later::new(path)?)
    };
    Ok(Some(Recording { format, out }))
}

fn is_stdout(path: impl AsRef<Path>) -> bool {
    path.as_ref() == Path::new("-")
}

/// Statistics go to stdout where nothing else does.
fn statistics(args: &View) -> anyhow::Result<Option<(Statistics, Box<dyn Write + Send>)>> {
    let Some(form) = args.stats else { return Ok(None) };
    let form = match form {
        Form::Text => Statistics::Text,
        Form::Json => Statistics::Json,
    };
    let taken = args.output.iter().chain(&args.snapshot).any(is_stdout);
    let out: Box<dyn Write + Send> = if taken { Box::new(io::stderr()) } else { Box::new(output::stdout()?) };
    Ok(Some((form, out)))
}

/// The end of viewing as the end of the program.
fn failure(error: Error, address: Option<&crate::session::Address>) -> anyhow::Result<()> {
    let exit = match &error {
        Error::NoWindow(_) | Error::Refused(_) | Error::Unsupported(_) => Exit::Device,
        Error::Nothing(_) => Exit::Refused,
        Error::Input { .. } => Exit::Protocol,
        Error::Output(cause) if output::is_reader_gone(cause) => return Ok(()),
        Error::Snapshot { path, error } if path == "-" && error.kind() == io::ErrorKind::BrokenPipe => {
            return Ok(());
        }
        Error::Output(_) | Error::Snapshot { .. } => Exit::File,
        Error::Ended(end) => {
            return match address {
                Some(address) => Ok(ended(end, address)?),
                None => Ok(()),
            };
        }
        Error::Read(_) | Error::Start(_) => Exit::Other,
    };
    Err(Failure::new(exit, error.to_string()).into())
}

fn input(text: &str) -> Result<String, String> {
    match text {
        "-" => Ok(text.into()),
        _ if text.starts_with("conf://") => {
            Err(format!("a room is named with --room; type: conf-view --room {text}"))
        }
        _ => Err(format!("a file comes through stdin; type: conf-view - < {text}")),
    }
}

fn size(text: &str) -> Result<(usize, usize), String> {
    let parsed = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    parsed
        .filter(|(width, height)| show::is_size(*width, *height))
        .ok_or_else(|| "expected WIDTHxHEIGHT from 16x16 to 7680x4320, as in 1280x720".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_make_sense() {
        View::command().debug_assert();
    }

    #[test]
    fn sizes_and_times() {
        assert_eq!(size("1280x720"), Ok((1280, 720)));
        for bad in ["", "x", "0x0", "1280", "100000x100000", "-1x5"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        let duration = common::duration;
        assert_eq!(duration("2.5"), Ok(Duration::from_millis(2500)));
        assert_eq!(duration("1m"), Ok(Duration::from_secs(60)));
        for bad in ["0", "0s", "NaN", "-3", "soon", "1e300"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_or_a_room_in_the_place_of_the_pipe_is_told_where_it_goes() {
        for (what, hint) in [("take.conf", "conf-view - < take.conf"), ("conf://h/r", "--room conf://h/r")] {
            let error = View::try_parse_from(["conf-view", what]).expect_err(what).to_string();
            assert!(error.contains(hint), "{error}");
        }
    }
}
