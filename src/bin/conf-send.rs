//! Sends a stream to a room.

use std::process::ExitCode;

use confkit::cli::{self, send};

fn main() -> ExitCode {
    cli::run(send::send)
}
