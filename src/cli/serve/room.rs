//! `conf-serve room`: rooms of the running server.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::table::{self, Align};
use super::{Exit, Failure, Format, ask, members};
use crate::cli::{identity, password};
use crate::id::{PublicKey, RoomName};
use crate::server::local::{Answer, Create, Question, RoomLine};
use crate::{limits, session, time};

/// What to do with rooms.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum Room {
    /// Make a room that stays when it is empty
    #[command(before_help = CREATE)]
    Create(Make),
    /// List the rooms that are open or kept
    List {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
        /// The same as --json, as it was written once
        #[arg(value_enum, hide = true, conflicts_with = "json")]
        format: Option<Format>,
        #[command(flatten)]
        which: Which,
    },
    /// Remove an empty room with all its messages
    Remove {
        /// Its name
        name: RoomName,
        #[command(flatten)]
        which: Which,
    },
}

const CREATE: &str = "\
Examples:
  conf-serve room create standup                              you are its host
  conf-serve room create board --ask-password --max-members 12
  conf-serve room create talks --history 100000 --host KEY    KEY is one too
";

/// Which server.
#[derive(Debug, Clone, Args)]
pub(super) struct Which {
    /// The server's port, where several are running
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
}

/// A room to be made.
#[derive(Debug, Clone, Args)]
pub(super) struct Make {
    /// Its name
    pub name: RoomName,
    /// The room's password is the first line of this file, which nobody else may read; - is stdin
    #[arg(long, value_name = "FILE", env = "CONF_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
    /// Ask for the room's password
    #[arg(long)]
    pub ask_password: bool,
    /// Never ask anything
    #[arg(long)]
    pub no_input: bool,
    /// Members that it takes
    #[arg(long, value_name = "N", value_parser = members)]
    pub max_members: Option<usize>,
    /// Messages that it keeps, instead of the server's --history
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=limits::INTEGER))]
    pub history: Option<u64>,
    /// Somebody else who is its host: a public key of 64 hex digits; may be repeated
    #[arg(long = "host", value_name = "KEY")]
    pub hosts: Vec<PublicKey>,
    #[command(flatten)]
    pub which: Which,
}

/// Does it; what is to be shown.
pub(super) fn run(room: &Room) -> Result<String, Failure> {
    match room {
        Room::Create(make) => create(make),
        Room::List { json, format, which } => match ask::ask(which.port, &Question::Rooms)? {
            Answer::Rooms { rooms } if *json || *format == Some(Format::Json) => self::json(&rooms),
            Answer::Rooms { rooms } => Ok(list(&rooms)),
            other => Err(unexpected(&other)),
        },
        Room::Remove { name, which } => match ask::ask(which.port, &Question::Remove { name: name.clone() })?
        {
            Answer::Done => Ok(format!("removed {name}\n")),
            other => Err(unexpected(&other)),
        },
    }
}

fn create(make: &Make) -> Result<String, Failure> {
    let name = &make.name;
    let password = match &make.password_file {
        _ if make.ask_password && make.no_input => {
            return Err(Failure::usage(
                "--ask-password asks, which --no-input forbids; use --password-file FILE",
            ));
        }
        _ if make.ask_password => Some(password::ask(&format!("Password of {name}"), true)?),
        Some(file) => Some(password::from_file(file)?),
        None => None,
    };
    let owner = identity::load()?.map(|key| key.public());
    let question = Question::Create(Create {
        name: name.clone(),
        owner,
        hosts: make.hosts.clone(),
        password: password.map(|password| session::password::key(&password, name)),
        max_members: make.max_members,
        history: make.history,
    });
    match ask::ask(make.which.port, &question)? {
        Answer::Done => Ok(match owner {
            Some(key) => format!("made {name}; its host is {} (you)\n", key.fingerprint()),
            None => format!("made {name}\n"),
        }),
        other => Err(unexpected(&other)),
    }
}

/// The failure behind an answer that is not the wanted one.
pub(super) fn unexpected(answer: &Answer) -> Failure {
    match answer {
        Answer::Refused { message } => Failure::new(Exit::Refused, message.clone()),
        _ => Failure::new(
            Exit::Protocol,
            "the running conf-serve answers something else; is it of another version?",
        ),
    }
}

fn list(rooms: &[RoomLine]) -> String {
    if rooms.is_empty() {
        return "no rooms; joining one makes it, or: conf-serve room create NAME\n".into();
    }
    let now = time::wall() / 1_000_000;
    let rows = rooms.iter().map(|room| {
        let mut traits = String::new();
        for (is, what) in [(room.permanent, "stays"), (room.password, "password"), (room.locked, "locked")] {
            if is {
                let _ = write!(traits, "{}{what}", if traits.is_empty() { "" } else { ", " });
            }
        }
        [
            room.name.to_string(),
            format!("{}/{}", room.members, room.max_members),
            room.messages.to_string(),
            table::bytes(room.bytes),
            room.last_message.map_or_else(|| "-".into(), |at| table::ago(now.saturating_sub(at))),
            room.owner.clone().unwrap_or_else(|| "-".into()),
            traits,
        ]
    });
    use Align::{Left, Right};
    table::draw(
        [
            ("ROOM", Left),
            ("MEMBERS", Right),
            ("MESSAGES", Right),
            ("SIZE", Right),
            ("LAST", Right),
            ("OWNER", Left),
            ("", Left),
        ],
        rows,
    )
}

/// Indented, with an end of line.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::new(Exit::Other, error.to_string()))?;
    Ok(text + "\n")
}
