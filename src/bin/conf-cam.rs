//! Pictures from a camera into a pipe; see `conf-cam --help`.

use std::process::ExitCode;

use confkit::cli;

fn main() -> ExitCode {
    cli::run(cli::cam::run)
}
