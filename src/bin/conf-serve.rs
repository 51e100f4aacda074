//! Hosts meetings.

use std::process::ExitCode;

use confkit::cli::{self, serve};

fn main() -> ExitCode {
    cli::run(|args: serve::Serve| serve::serve(&args))
}
