//! Fetches what a room was sent.

use std::process::ExitCode;

use confkit::cli::{self, recv};

fn main() -> ExitCode {
    cli::run(recv::recv)
}
