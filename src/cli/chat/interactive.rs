//! The room on a terminal.

use super::Chat;
use crate::cli::Failure;

/// Shows the room until the person leaves.
pub(super) fn run(args: &Chat) -> anyhow::Result<()> {
    args.meeting.address()?;
    Err(Failure::usage("this version of conf-chat shows no panes yet").into())
}
