//! How a program ends: the exit codes, the sentence on stderr, and what happens to a panic.

use std::ffi::OsString;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, Parser};

use super::common::When;
use super::{Common, logging, output, signal};

/// Exit codes, the same in every program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; also when the reader of the output went away.
    Done = 0,
    /// Anything that has no code of its own.
    Other = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// Cannot connect, or not in time.
    Connect = 3,
    /// Password, fingerprint or identity is wrong.
    Authentication = 4,
    /// The other side said no.
    Refused = 5,
    /// What arrived is not what was sent.
    Integrity = 6,
    /// Broken off; can be resumed.
    Incomplete = 7,
    /// A device or codec is not available.
    Device = 8,
    /// A local file: no space, exists already, no permission.
    File = 9,
    /// Protocol, format or version.
    Protocol = 10,
}

/// What the codes mean, for those who read the manual.
const MEANINGS: [(u8, &str); 13] = [
    (Exit::Done as u8, "Done; also when the reader of the output went away."),
    (Exit::Other as u8, "A failure that has no code of its own."),
    (Exit::Usage as u8, "The command line cannot be understood."),
    (Exit::Connect as u8, "Cannot connect, or not in time; for conf-serve: cannot listen."),
    (Exit::Authentication as u8, "The password or the identity is wrong."),
    (Exit::Refused as u8, "Refused; or there is no such room, or nobody was there to do it with."),
    (
        Exit::Integrity as u8,
        "What arrived is not what was sent, or what was to be sent has changed or is lost.",
    ),
    (Exit::Incomplete as u8, "Broken off; the same command goes on."),
    (Exit::Device as u8, "A device is not available, or a stream is of a kind that cannot be used."),
    (Exit::File as u8, "A local file: no space, exists already, no permission."),
    (Exit::Protocol as u8, "What came in is damaged, no stream at all, or of another version."),
    (130, "Ended by Ctrl-C (SIGINT)."),
    (143, "Ended by SIGTERM; conf-serve, which was told to stop and did, ends with 0."),
];

/// The section EXIT STATUS of a manual page.
pub(super) fn manual() -> String {
    let entry = |(code, meaning): &(u8, &str)| format!(".TP\n\\fB{code}\\fR\n{meaning}\n");
    let entries: String = MEANINGS.iter().map(entry).collect();
    format!(".SH \"EXIT STATUS\"\n{entries}")
}

/// Below the short help.
const MORE: &str = "--help has examples, and says more of everything";

/// Why a program ends, with the code it ends with.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// What happened, why, and what to type next: one sentence or a few, without the program's name.
    pub message: String,
}

impl Failure {
    /// A failure with a code and a sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

/// A program's command line.
pub trait Program: Parser + CommandFactory {
    /// What is logged without `-v` or `-q`.
    const LOG: tracing::Level = tracing::Level::WARN;

    /// The options that all programs share.
    fn common(&self) -> &Common;
}

/// Runs a program from its arguments to its exit code.
///
/// `main` is `fn main() -> ExitCode { cli::run(|args: Args| ...) }`. The body returns an error to end
/// with a message: a [`Failure`] anywhere in its chain gives the code, everything else is
/// [`Exit::Other`]. After [`signal::install`] a signal makes the code 128 plus its number.
pub fn run<P: Program>(body: impl FnOnce(P) -> anyhow::Result<()>) -> ExitCode {
    let name = P::command().get_name().to_owned();
    install_panic_hook(&name);
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let color = When::among(&arguments);
    let program = match parse::<P>(arguments, color) {
        Ok(program) => program,
        Err(error) => return ExitCode::from(conclude_parsing(&name, color.decide(), &error)),
    };
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        if program.common().generate(P::command())? {
            return Ok(());
        }
        logging::start(&name, program.common(), P::LOG)?;
        body(program)
    }));
    ExitCode::from(match outcome {
        Ok(result) => conclude(&name, result),
        Err(_) => Exit::Other as u8,
    })
}

fn parse<P: Program>(arguments: Vec<OsString>, color: When) -> Result<P, clap::Error> {
    let colors = match color {
        // Its own rules know whether it writes to stdout or stderr.
        When::Auto => ColorChoice::Auto,
        When::Always => ColorChoice::Always,
        When::Never => ColorChoice::Never,
    };
    let command = P::command().color(colors);
    // What stands below the short help would stand below the long one too.
    let below = command.get_after_long_help().cloned().unwrap_or_default();
    let mut command = command.after_help(MORE).after_long_help(below);
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    P::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Prints what clap has to say, be it help or a wrong option; the exit code.
fn conclude_parsing(name: &str, colors: bool, error: &clap::Error) -> u8 {
    if error.use_stderr() {
        let text = error.render();
        let text = if colors { text.ansi().to_string() } else { text.to_string() };
        // As all other messages begin. A closed stderr is no reason to complain.
        let _ = write!(io::stderr(), "{}", text.replacen("error:", &format!("{name}:"), 1));
    } else if let Err(cause) = error.print()
        && cause.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = writeln!(io::stderr(), "{name}: cannot write to stdout: {cause}");
        return Exit::File as u8;
    }
    error.exit_code() as u8
}

/// The exit code of `result`, after its message has been said.
fn conclude(name: &str, result: anyhow::Result<()>) -> u8 {
    let end = || signal::received().map_or(Exit::Done as u8, |signal| 128 + signal);
    let error = match result {
        Ok(()) => return end(),
        // Ctrl-C ends a whole pipeline, and the reader may be gone first.
        Err(error) if error.chain().any(output::is_reader_gone) => return end(),
        Err(error) => error,
    };
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    // The whole chain in one line; each part adds to the one before it.
    let _ = writeln!(io::stderr(), "{name}: {error:#}");
    let exit = match failure {
        Some(failure) => failure.exit,
        None if error.chain().any(output::is_lost) => Exit::File,
        None => Exit::Other,
    };
    exit as u8
}

fn install_panic_hook(name: &str) {
    let name = name.to_owned();
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map_or_else(String::new, |l| format!(" at {}:{}", l.file(), l.line()));
        let what = info.payload_as_str().unwrap_or("no message");
        let _ = writeln!(
            io::stderr(),
            "{name}: internal error{place}: {what}. This is a fault of the program; please report it."
        );
    }));
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_failure_gives_its_code_from_anywhere_in_the_chain() {
        let failed: anyhow::Result<()> =
            Err(Failure::new(Exit::Device, "no camera")).context("cannot start capture");
        assert_eq!(conclude("t", failed), 8);
        assert_eq!(conclude("t", Err(anyhow::anyhow!("else"))), 1);
        assert_eq!(conclude("t", Ok(())), 0);
    }

    #[test]
    fn a_reader_that_went_away_is_a_normal_end_and_a_broken_socket_is_not() {
        let gone: anyhow::Result<()> = Err(output::reader_gone()).context("writing pictures");
        assert_eq!(conclude("t", gone), 0);
        let socket = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(conclude("t", Err(socket.into())), 1);
    }
}
