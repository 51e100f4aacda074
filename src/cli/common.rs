//! Options that programs share.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Exit, Failure, exit, identity, output, password};
use crate::id::{Nick, RoomName, Secret};
use crate::limits;
use crate::net::client::{Config, Down, End};
use crate::session::{self, Address};
use crate::wire::Code;
use crate::wire::control::{Refusal, TrackKind};

/// What every program understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "General options")]
pub struct Common {
    /// Say less: errors only
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Write the log to a file instead of stderr (-: stderr)
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub log_file: Option<PathBuf>,
    /// How the log is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text, hide_short_help = true)]
    pub log_format: LogFormat,
    /// When to use colours on stderr
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = When::Auto, hide_short_help = true)]
    pub color: When,
    /// Never ask anything
    #[arg(long, hide_short_help = true)]
    pub no_input: bool,
    /// Print the completions of a shell
    #[arg(long, value_name = "SHELL", hide = true)]
    pub completions: Option<clap_complete::Shell>,
    /// Print the manual page
    #[arg(long, hide = true)]
    pub man: bool,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// When to do something that depends on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// Where it makes sense
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

impl When {
    /// The decision: this, else `NO_COLOR`, else `FORCE_COLOR`, else whether stderr is a terminal that can
    /// show colours.
    pub(super) fn decide(self) -> bool {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto if set("NO_COLOR") => false,
            Self::Auto if set("FORCE_COLOR") => true,
            Self::Auto => io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb"),
        }
    }

    /// What `--color` says among these arguments: errors in the command line have colours, too, and come
    /// before it is understood.
    pub(super) fn among(arguments: &[OsString]) -> Self {
        let mut chosen = Self::Auto;
        let mut texts = arguments.iter().filter_map(|argument| argument.to_str()).peekable();
        while let Some(text) = texts.next() {
            let value = match text.strip_prefix("--color") {
                Some("") => texts.peek().copied(),
                Some(value) => value.strip_prefix('='),
                None => None,
            };
            chosen = value.and_then(|value| Self::from_str(value, false).ok()).unwrap_or(chosen);
        }
        chosen
    }
}

impl Common {
    /// Whether stderr gets colours.
    pub fn colors(&self) -> bool {
        self.color.decide()
    }

    /// Writes completions or the manual page to stdout where that is asked for; whether it was.
    pub(super) fn generate(&self, mut command: clap::Command) -> anyhow::Result<bool> {
        let mut text = Vec::new();
        if let Some(shell) = self.completions {
            let name = command.get_name().to_owned();
            clap_complete::generate(shell, &mut command, name, &mut text);
        } else if self.man {
            clap_mangen::Man::new(command).render(&mut text)?;
            text.extend_from_slice(exit::manual().as_bytes());
        } else {
            return Ok(false);
        }
        output::stdout()?.write_all(&text)?;
        Ok(true)
    }
}

/// Which room to join, as whom, and how long to try.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Room options")]
pub struct Meeting {
    /// The room: conf://HOST[:PORT]/ROOM
    #[allow(rustdoc::broken_intra_doc_links, reason = "the text of --help, not a link")]
    #[arg(short, long, value_name = "URI", env = "CONF_ROOM")]
    pub room: Option<String>,
    /// The name that the others see [default: the login name]
    #[arg(long, value_name = "NICK", env = "CONF_NAME")]
    pub name: Option<String>,
    /// The room's password is the first line of this file, which nobody else may read
    #[arg(long, value_name = "FILE", env = "CONF_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
    /// How long one try to connect may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, hide_short_help = true)]
    pub connect_timeout: Duration,
    /// Give up after this many tries in a row to come back; 0 never comes back [default: never gives up]
    #[arg(long, value_name = "TRIES", hide_short_help = true)]
    pub reconnect: Option<u32>,
}

impl Meeting {
    /// All that is needed to join, for the program `client` that wants the tracks of these kinds.
    pub fn config(
        &self,
        common: &Common,
        client: &str,
        subscribe: Vec<TrackKind>,
    ) -> Result<Config, Failure> {
        let address = self.address()?;
        let password = self.password(&address.room)?;
        Ok(Config {
            ask: password.is_none().then(|| password::asker(common)).flatten(),
            password,
            address,
            name: self.nick()?,
            key: identity::load()?,
            client: format!("{client} {}", env!("CARGO_PKG_VERSION")),
            subscribe,
            messages: None,
            offers: false,
            look: false,
            reconnect: self.reconnect,
            connect_timeout: self.connect_timeout,
        })
    }

    /// What the password becomes for this room, where one is given.
    pub fn password(&self, room: &RoomName) -> Result<Option<Secret<32>>, Failure> {
        let Some(file) = self.password_file.as_deref().filter(|file| !file.as_os_str().is_empty()) else {
            return Ok(None);
        };
        if file == Path::new("-") {
            return Err(Failure::usage("stdin is for what is sent; name a file with --password-file"));
        }
        Ok(Some(session::password::key(&password::from_file(file)?, room)))
    }

    /// Where the room is.
    pub fn address(&self) -> Result<Address, Failure> {
        let missing = || Failure::usage("which room? Type: export CONF_ROOM=conf://HOST/ROOM");
        let text = self.room.as_deref().filter(|text| !text.trim().is_empty()).ok_or_else(missing)?;
        text.parse().map_err(|error| {
            let shown = crate::text::for_log(text.as_bytes(), 100);
            Failure::usage(format!("the room address \"{shown}\" cannot be used: {error}"))
        })
    }

    /// Under which name to join: the option, else the login name, else `guest`.
    pub fn nick(&self) -> Result<Nick, Failure> {
        match self.name.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => {
                name.parse().map_err(|error| Failure::usage(format!("{error}; choose another with --name")))
            }
            None => whoami::username()
                .ok()
                .and_then(|login| login.parse().ok())
                .or_else(|| "guest".parse().ok())
                .ok_or_else(|| Failure::new(Exit::Usage, "choose a name with --name")),
        }
    }
}

/// The end of a session at `address` as the end of a program; nothing where it was meant to end.
pub fn ended(end: &End, address: &Address) -> Result<(), Failure> {
    let Address { host, port, room } = address;
    Err(match end {
        End::Left => return Ok(()),
        End::Unreachable(Down::Garbled(error)) => {
            Failure::new(Exit::Protocol, format!("{host} port {port} is no conf-serve: {error}"))
        }
        End::Unreachable(reason) => Failure::new(
            Exit::Connect,
            format!("cannot connect to {host} port {port}: {reason}; is conf-serve running there?"),
        ),
        End::GaveUp { .. } => Failure::new(Exit::Connect, format!("{host} port {port}: {end}")),
        End::Version(..) => Failure::new(Exit::Protocol, end.to_string()),
        End::Replaced => Failure::new(Exit::Refused, end.to_string()),
        End::Refused(Refusal { code: Code::Room, .. }) => Failure::new(
            Exit::Refused,
            format!("there is no room {room} at {host} port {port}; whoever joins it first makes it"),
        ),
        End::Refused(refusal) => {
            let exit = match refusal.code {
                Code::Protocol | Code::BadHeader | Code::Version => Exit::Protocol,
                Code::Name => Exit::Usage,
                Code::Password | Code::Identity => Exit::Authentication,
                _ => Exit::Refused,
            };
            let hint = match refusal.code {
                Code::Password => "; --password-file FILE (or CONF_PASSWORD_FILE) says it",
                _ => "",
            };
            if refusal.code == Code::Kicked && refusal.message.is_empty() {
                let minutes = limits::KICKED.as_secs() / 60;
                let message = format!(
                    "a host has sent you away; come back in {minutes} min, if the room is not locked then"
                );
                return Err(Failure::new(exit, message));
            }
            Failure::new(exit, format!("the server refused: {refusal}{hint}"))
        }
    })
}
/// A time above zero. A bare number is seconds, as with ffmpeg's -t.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| None),
        Err(_) => humantime::parse_duration(text).map_err(|error| Some(error.to_string())),
    };
    match parsed {
        Ok(time) if !time.is_zero() => Ok(time),
        Ok(_) | Err(None) => Err("expected a time above 0, such as 10s".into()),
        Err(Some(why)) => Err(why),
    }
}

/// Refuses a name that promises another kind of picture than a PNG.
pub(super) fn only_png(path: &Path) -> Result<(), Failure> {
    match path.extension() {
        Some(ending) if !ending.eq_ignore_ascii_case("png") => Err(Failure::usage(format!(
            "a snapshot is a PNG, not .{}; name it {}",
            ending.display(),
            path.with_extension("png").display()
        ))),
        _ => Ok(()),
    }
}
