//! Lines in and lines out, where no terminal with panes is.

use super::Chat;
use crate::cli::Failure;

/// Passes lines between stdin, the room and stdout until one of them ends.
pub(super) fn run(args: &Chat) -> anyhow::Result<()> {
    args.meeting.address()?;
    Err(Failure::usage("this version of conf-chat needs a terminal on stdin and stdout").into())
}
