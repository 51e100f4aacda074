//! Shows a room, or a pipe.

use std::process::ExitCode;

use confkit::cli::{self, view};
use confkit::video::decode::{CHILD_ARGUMENT, child};

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == CHILD_ARGUMENT) {
        return child::run().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    cli::run(view::view)
}
