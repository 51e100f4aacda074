//! Where a server keeps its history, and what to say when it cannot.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use super::{Exit, Failure, Serve};
use crate::server::depot::{self, Depot, Reports};
use crate::server::store::{Commits, Keep, OpenError, Store};
use crate::time;

/// The directory of programs' own data, if the environment says where that is.
pub(super) fn data_directory() -> Option<PathBuf> {
    let data =
        absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")))?;
    Some(data.join("confkit"))
}

/// Where running servers have their sockets, the preferred one first.
pub(super) fn socket_directories() -> Vec<PathBuf> {
    let runtime = absolute("XDG_RUNTIME_DIR").map(|directory| directory.join("confkit"));
    runtime.into_iter().chain(data_directory()).collect()
}

/// A directory named by the environment. One that is not absolute is invalid and ignored (XDG base
/// directory specification).
fn absolute(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The history, where there is one, and what has become of its messages.
type History = Option<(Store, Commits)>;
/// The files, and what has become of them.
type Files = Option<(Depot, Reports)>;

/// Opens the history, of which so much is kept, and the files that the options ask for.
pub(super) fn open(args: &Serve, keep: Keep) -> Result<(History, Files), Failure> {
    let age = Duration::from_secs(u64::from(args.store_days) * 24 * 60 * 60);
    let files = depot::Keep { bytes: args.store_quota, age };
    let directory = match args.ephemeral {
        true => None,
        false => args.store.clone().or_else(data_directory),
    };
    let Some(directory) = directory else {
        if !args.ephemeral {
            warn!("no HOME and no XDG_DATA_HOME: nothing is kept; --store DIR says where to");
        }
        let depot = Depot::open(None, files).map_err(|error| files_failure(&error))?;
        return Ok((None, Some(depot)));
    };
    let history = Store::open(&directory, keep, time::wall()).map_err(|error| failure(&error, &directory))?;
    // Behind the history, which holds the lock of the directory.
    let depot = Depot::open(Some(&directory), files).map_err(|error| files_failure(&error))?;
    Ok((Some(history), Some(depot)))
}

fn files_failure(error: &depot::OpenError) -> Failure {
    let exit = match error {
        depot::OpenError::Newer { .. } => Exit::Protocol,
        depot::OpenError::NotOurs(_) | depot::OpenError::Io { .. } | depot::OpenError::Database { .. } => {
            Exit::File
        }
    };
    let hint = "choose another directory with --store DIR, or let the server keep nothing with --ephemeral";
    Failure::new(exit, format!("{error}; {hint}"))
}

fn failure(error: &OpenError, directory: &Path) -> Failure {
    let (exit, hint) = match error {
        OpenError::Locked { .. } => (
            Exit::File,
            "give this one a directory of its own with --store DIR, or let it keep nothing with --ephemeral"
                .into(),
        ),
        OpenError::Newer { .. } => {
            (Exit::Protocol, "run that version, or choose another directory with --store DIR".into())
        }
        OpenError::Damaged { .. } => {
            let directory = directory.display();
            let hint = format!(
                "nothing was changed. Move {directory} away to begin anew and keep what can be rescued, \
                 or serve without it: --ephemeral"
            );
            (Exit::Integrity, hint)
        }
        OpenError::NotOurs(_) => (Exit::File, "choose another directory with --store DIR".into()),
        OpenError::Io { .. } | OpenError::Database { .. } => (
            Exit::File,
            "choose another directory with --store DIR, or let the server keep nothing with --ephemeral"
                .into(),
        ),
    };
    Failure::new(exit, format!("{error}; {hint}"))
}
