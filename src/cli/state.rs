//! Where programs keep what they have to remember: `$XDG_STATE_HOME/confkit`, else `~/.local/state/confkit`.

use std::io;
use std::path::PathBuf;

use rustix::event::{Timespec, poll};

/// Between two tries of [`soon`].
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// How long to wait for another program of the same person that is in the way for a moment, while it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: whoever draws tries again later.
    None,
    /// 0.2 s: whoever leaves has no later. Longer it does not wait, for the other one may be stopped.
    Last,
}

/// Does something; [`io::ErrorKind::WouldBlock`] where another program is in the way for longer than that.
pub fn soon<T>(patience: Patience, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut left = if patience == Patience::Last { 200 } else { 0 };
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && left > 0 => left -= 1,
            other => return other,
        }
        let _ = poll(&mut [], Some(&WAIT));
    }
}

/// The directory, which may not be there yet; none without a home.
pub fn directory() -> Option<PathBuf> {
    // An XDG directory that is not absolute is invalid and ignored (XDG base directory specification).
    let directory = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = directory("XDG_STATE_HOME").or_else(|| directory("HOME").map(|h| h.join(".local/state")))?;
    Some(state.join("confkit"))
}
