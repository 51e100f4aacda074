//! Where programs keep what they have to remember: `$XDG_STATE_HOME/confkit`, else `~/.local/state/confkit`.

use std::io;
use std::path::PathBuf;

use rustix::event::{Timespec, poll};

/// How often [`soon`] tries, and how long it waits in between.
const TRIES: u32 = 200;
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// Something for which another program of the same person may be in the way for a moment, while it writes. Whoever
/// is stopped in that moment must not stop this one: after 0.2 s it is given up with [`io::ErrorKind::WouldBlock`].
pub fn soon<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut left = TRIES;
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
