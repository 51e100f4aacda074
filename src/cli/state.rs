//! Where programs keep what they have to remember: `$XDG_STATE_HOME/confkit`, else `~/.local/state/confkit`.

use std::path::PathBuf;

/// The directory, which may not be there yet; none without a home.
pub fn directory() -> Option<PathBuf> {
    // An XDG directory that is not absolute is invalid and ignored (XDG base directory specification).
    let directory = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = directory("XDG_STATE_HOME").or_else(|| directory("HOME").map(|h| h.join(".local/state")))?;
    Some(state.join("confkit"))
}
