//! `conf-send`: its options, and which of its two jobs they mean: a stream that comes through a pipe, or files.

pub(super) mod files;
mod stream;
pub(super) mod sums;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Parser};

pub use self::stream::Format;
use super::progress::Style;
use super::{Common, Failure, Meeting, Program, units};

const EXAMPLES: &str = "\
Examples:
  export CONF_ROOM=conf://192.168.1.5/standup
  conf-cam | conf-send                               go live
  conf-cam | tee take.conf | conf-send               go live and keep a recording
  conf-send < take.conf                              send the recording again
  ffmpeg -re -i talk.mp4 -an -c:v libx264 -tune zerolatency -f h264 - | conf-send --as talk
  conf-send big.iso photos/                          files for the room; run it again to go on
  conf-send --to Bob --wait notes.pdf                for one member, until he has it
  pg_dump db | conf-send --stdin-name db.sql         what a program writes, as a file
  until conf-send --resume big.iso; do test $? = 7 || break; sleep 5; done
";

/// Send to the room: what comes in through a pipe (frames of conf-cam, H.264 or Y4M), or files.
#[derive(Debug, Parser)]
#[command(name = "conf-send", version, before_long_help = EXAMPLES)]
// Else a room in the environment would stand there as if it had to be typed.
#[command(override_usage = "conf-send [OPTIONS] [PATH]...")]
#[command(group = ArgGroup::new("what").args(["paths", "stdin_name", "text"]))]
pub struct Send {
    /// Files and directories, in one offer
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    stream: StreamOptions,
    #[command(flatten)]
    files: FileOptions,
    #[command(flatten)]
    meeting: Meeting,
    #[command(flatten)]
    common: Common,
}

/// How a stream is sent.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options for streams")]
struct StreamOptions {
    /// What the others see as the name of the stream
    #[arg(long = "as", value_name = "LABEL", value_parser = stream::label, conflicts_with_all = ["what", "withdraw"])]
    label: Option<String>,
    /// What comes in
    #[arg(short, long, value_enum, default_value_t = Format::Auto, conflicts_with_all = ["what", "withdraw"])]
    format: Format,
    /// Pictures per second of raw H.264, where the stream does not say
    #[arg(long, value_name = "RATE", value_parser = stream::rate, conflicts_with_all = ["what", "withdraw"])]
    fps: Option<f64>,
    /// Copy stdin to stdout as well
    #[arg(long, conflicts_with_all = ["what", "withdraw"])]
    pass: bool,
}

/// How files are sent.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options for files")]
struct FileOptions {
    /// Send what comes through the pipe as a file of this name, in chunks of 256 KiB: a slow pipe is seen when one is
    /// full; it cannot be resumed
    #[arg(long, value_name = "NAME", conflicts_with_all = ["resume", "restart", "exclude", "dry_run"])]
    stdin_name: Option<String>,
    /// Send a text; - for what comes in through the pipe
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["resume", "restart", "exclude"], allow_hyphen_values = true)]
    text: Option<String>,
    /// Go on from where it broke off; this also happens without being asked for
    #[arg(long, requires = "paths")]
    resume: bool,
    /// Begin anew, and take back what was sent of it before
    #[arg(long, requires = "paths", conflicts_with = "resume")]
    restart: bool,
    /// For one member only, who has to be in the room
    #[arg(long, value_name = "NICK", requires = "what")]
    to: Option<String>,
    /// Stay until somebody has all of it, checked and on disk
    #[arg(long, requires = "what")]
    wait: bool,
    /// Send at most so many bytes per second: 500K, 2M
    #[arg(long, value_name = "RATE", value_parser = units::parse_rate, requires = "what")]
    limit_rate: Option<u64>,
    /// Leave out what has such a name ('*.o'), or such a path ('src/*/target'); may be given several times
    #[arg(long, value_name = "GLOB", requires = "paths")]
    exclude: Vec<String>,
    /// Show what would be sent, and end
    #[arg(short = 'n', long, requires = "what")]
    dry_run: bool,
    /// Take an offer of yours back, by its number
    #[arg(long, value_name = "OFFER", conflicts_with = "what")]
    withdraw: Option<u32>,
    /// How progress is shown on stderr
    #[arg(long, value_name = "STYLE", value_enum, default_value_t = Style::Auto)]
    progress: Style,
}

impl Program for Send {
    fn common(&self) -> &Common {
        &self.common
    }
}

/// Sends what the arguments say.
pub fn send(args: Send) -> anyhow::Result<()> {
    if args.paths.iter().any(|path| path == Path::new("-")) {
        let why = "\"-\" would be a file without a name; type: conf-send --stdin-name NAME, or nothing for a stream";
        return Err(Failure::usage(why).into());
    }
    let stdin = args.files.stdin_name.is_some();
    let files = !args.paths.is_empty() || stdin || args.files.text.is_some() || args.files.withdraw.is_some();
    if io::stdin().is_terminal() && (stdin || !files) {
        let help = format!(
            "conf-send sends what comes in through a pipe, or files.\n\n{EXAMPLES}\nMore: conf-send --help"
        );
        return Err(Failure::usage(help).into());
    }
    match args.files.withdraw {
        Some(offer) => files::withdraw(&args, offer),
        None if files => files::send(&args),
        None => stream::send(args),
    }
}
