//! The command line: what programs share, and one module per program.
//!
//! A program is `fn main() -> ExitCode { cli::run(|args: Args| ...) }`: [`run`] parses, starts the log,
//! runs the body and turns its end into an exit code and a sentence on stderr. Payload goes through
//! [`output::Output`]; nothing else writes to stdout.

pub mod cam;
pub mod chat;
mod common;
mod exit;
pub mod identity;
mod logging;
pub mod output;
pub mod password;
pub mod progress;
pub mod recv;
pub mod send;
pub mod serve;
pub mod signal;
pub mod state;
pub mod units;
pub mod view;

pub use common::{Common, LogFormat, Meeting, When, ended};
pub use exit::{Exit, Failure, Program, run};
pub use output::is_reader_gone;
