//! `conf-chat`: its options, and whether a person or a pipe is at the other end.

mod board;
mod export;
mod hosts;
mod input;
mod interactive;
mod json;
mod lines;
mod log;
mod outbox;
mod paths;
mod pipe;
mod roster;
mod transfers;
mod voice;
mod waiting;
mod who;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::{Common, Failure, Meeting, Program};
use crate::limits;
use crate::terminal::Notify;

const EXAMPLES: &str = "\
Examples:
  export CONF_ROOM=conf://192.168.1.5/standup
  conf-chat                                      messages, members and input on this terminal
  conf-chat -m 'back in five minutes'            say one thing and end
  tail -F app.log | grep --line-buffered ERROR | conf-chat
  conf-chat --json | jq -r 'select(.type==\"message\").text'
  conf-chat --who                                who is here, and what they share
  conf-chat --export md --history all > notes.md
On the terminal: /help shows the commands, /quit or Ctrl-D leaves.
";

/// Talk in the room: on a terminal with panes, in a pipe line by line.
#[derive(Debug, Parser)]
#[command(name = "conf-chat", version, before_long_help = EXAMPLES, override_usage = "conf-chat [OPTIONS]")]
pub struct Chat {
    /// Say this and end when the server has it; several are several messages
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub message: Vec<String>,

    /// Only for this member
    #[arg(long, value_name = "NICK")]
    pub to: Option<String>,

    /// Show who is in the room and end, without joining it
    #[arg(long, value_name = "FORM", value_enum, num_args = 0..=1, require_equals = true,
          default_missing_value = "text", conflicts_with_all = ["message", "json", "export"])]
    pub who: Option<Form>,

    /// Write what was said to stdout and end
    #[arg(long, value_name = "FORMAT", value_enum, conflicts_with_all = ["message", "json"])]
    pub export: Option<Export>,

    /// One JSON object a line, in and out
    #[arg(long)]
    pub json: bool,

    /// At most so many older messages: up to 1000, with --export any number or `all` [default: 200 on a
    /// terminal and for --export, else 0]
    #[arg(long, value_name = "N", value_parser = history)]
    pub history: Option<u32>,

    /// Append what is said to a file
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,

    /// Keep what is not sent yet in this file, for the next start [default: in the state directory on a
    /// terminal, else nowhere]
    #[arg(long, value_name = "FILE")]
    pub outbox: Option<PathBuf>,

    /// What a message must have reached before the program ends [default: stored, where the server stores]
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub ack: Option<Level>,

    /// Give up when that takes longer, without any progress
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub ack_timeout: Duration,

    /// Read nothing from stdin: only follow what the others say
    #[arg(short = 'n', long, conflicts_with = "message")]
    pub listen: bool,

    /// How a terminal tells that one was named or addressed
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Notify::Bell)]
    pub notify: Notify,

    /// Leave the mouse to the terminal: no wheel, but text is marked without Shift
    #[arg(long)]
    pub no_mouse: bool,

    #[command(flatten)]
    meeting: Meeting,

    #[command(flatten)]
    common: Common,
}

/// In which form members are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// In which form messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Export {
    /// Markdown
    Md,
    /// Plain text
    Txt,
    /// One JSON object a line
    Json,
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// The server passed it on
    Relayed,
    /// The server has it on disk, where it keeps anything
    Stored,
}

impl Program for Chat {
    fn common(&self) -> &Common {
        &self.common
    }
}

impl Chat {
    /// Whether a person sits at a terminal that can show panes.
    fn is_interactive(&self) -> bool {
        let one_thing = !self.message.is_empty() || self.who.is_some() || self.export.is_some();
        let one_thing = one_thing || self.json || self.listen;
        let capable = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        !one_thing && capable && io::stdin().is_terminal() && io::stdout().is_terminal()
    }
}

impl Chat {
    /// Whether a person types lines at a terminal that shows no panes.
    fn is_typed(&self) -> bool {
        let one_thing = !self.message.is_empty() || self.json || self.listen;
        !one_thing && io::stdin().is_terminal() && io::stdout().is_terminal()
    }
}

impl Chat {
    /// An option that was given and means nothing to a person at a terminal, and what to do instead.
    fn idle_option(&self) -> Option<(&'static str, &'static str)> {
        let given = [
            (self.to.is_some(), "--to", "write: /msg NICK TEXT"),
            (self.ack.is_some(), "--ack", "/quit waits until the server has everything"),
        ];
        given.into_iter().find(|(given, ..)| *given).map(|(_, option, instead)| (option, instead))
    }
}

/// A number of messages, or `all`.
fn history(text: &str) -> Result<u32, String> {
    match text {
        "all" => Ok(u32::MAX),
        _ => text.parse().map_err(|_| "expected a number of messages, or all".into()),
    }
}

/// Talks until the person leaves, the pipe ends or a signal comes.
pub fn chat(args: Chat) -> anyhow::Result<()> {
    if args.export.is_none() && args.history.is_some_and(|history| history > limits::HISTORY) {
        let most = limits::HISTORY;
        return Err(
            Failure::usage(format!("--history goes up to {most}; --export writes more, or all")).into()
        );
    }
    match (args.who, args.export) {
        (Some(form), _) => who::run(&args, form),
        (None, Some(form)) => export::run(&args, form),
        (None, None) if args.is_interactive() => match args.idle_option() {
            Some((option, instead)) => {
                Err(Failure::usage(format!("{option} does nothing on a terminal; {instead}")).into())
            }
            None => interactive::run(&args),
        },
        (None, None) => pipe::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn options_for_pipes_are_not_taken_and_ignored_on_a_terminal() {
        let idle = |arguments: &[&str]| {
            let all = [&["conf-chat"], arguments].concat();
            Chat::try_parse_from(all).unwrap().idle_option().map(|(option, _)| option)
        };
        assert_eq!(idle(&["--to", "Bo"]), Some("--to"));
        assert_eq!(idle(&["--ack", "relayed"]), Some("--ack"));
        assert_eq!(idle(&["--history", "5", "--log", "file", "--outbox", "file"]), None);
    }

    #[test]
    fn the_options_make_sense() {
        Chat::command().debug_assert();
    }
}
