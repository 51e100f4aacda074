//! Talks in a room; see `conf-chat --help`.

use std::process::ExitCode;

use confkit::cli::{self, chat};

fn main() -> ExitCode {
    cli::run(chat::chat)
}
