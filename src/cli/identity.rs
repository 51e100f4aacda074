//! The key by which all programs of one person are one member: the 32 random bytes that an Ed25519 key grows from, made at first use
//! and kept in `$XDG_STATE_HOME/confkit/identity` (else `~/.local/state`), readable by its owner only.
//! `CONF_IDENTITY_FILE` names another file.
//!
//! Where nothing can be kept, or where what is there belongs to somebody else, the program runs without
//! an identity (it is then a member of its own) and says so in the log.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::state;
use crate::id::Secret;
use crate::session::Key;

/// The key of whoever runs this program, if there is one.
pub fn load() -> Option<Key> {
    let Some(path) = path() else {
        tracing::warn!("no HOME and no XDG_STATE_HOME: this program is a member of its own");
        return None;
    };
    match load_or_make(&path) {
        Ok(seed) => Some(Key::from_seed(&seed)),
        Err(error) => {
            let path = path.display();
            tracing::warn!(
                "cannot use the identity in {path} ({error}): this program is a member of its own"
            );
            None
        }
    }
}

fn path() -> Option<PathBuf> {
    if let Some(file) = std::env::var_os("CONF_IDENTITY_FILE").filter(|file| !file.is_empty()) {
        return Some(file.into());
    }
    state::directory().map(|state| state.join("identity"))
}

fn load_or_make(path: &Path) -> io::Result<Secret<32>> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path)?;
            // Another program may have been faster; what is there now counts.
            read(path)
        }
        other => other,
    }
}

fn read(path: &Path) -> io::Result<Secret<32>> {
    let no_link = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(no_link.bits() as i32).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    belongs_to_us(&about)?;
    if about.mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    let mut text = String::new();
    (&file).take(128).read_to_string(&mut text)?;
    text.trim()
        .parse()
        .map_err(|()| io::Error::other("it does not hold 64 hex digits; delete it to get a new one"))
}

/// Written beside its place and linked into it, so that no reader ever sees half of it and of two
/// writers one wins.
fn make(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    belongs_to_us(&fs::metadata(directory)?)?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let unique = getrandom::u64().map_err(io::Error::other)?;
    let beside = directory.join(format!(".identity.{unique:016x}"));
    let written = write_new(&beside, &Secret(secret).hex())
        .and_then(|()| fs::hard_link(&beside, path))
        .or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) });
    let _ = fs::remove_file(&beside);
    written
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

fn belongs_to_us(about: &fs::Metadata) -> io::Result<()> {
    match about.uid() == rustix::process::geteuid().as_raw() {
        true => Ok(()),
        false => Err(io::Error::other("it belongs to somebody else")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_made_once_and_for_its_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b/identity");
        let first = load_or_make(&path).unwrap();
        assert_eq!(load_or_make(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn many_programs_that_start_at_once_agree() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("identity");
        let starts: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || load_or_make(&path).unwrap())
            })
            .collect();
        let all: Vec<Secret<32>> = starts.into_iter().map(|t| t.join().unwrap()).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn x02_links_fifos_and_damaged_files_are_not_used() {
        let home = tempfile::tempdir().unwrap();
        let link = home.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(load_or_make(&link).is_err());
        let damaged = home.path().join("damaged");
        fs::write(&damaged, "00ff").unwrap();
        assert!(load_or_make(&damaged).is_err());
        assert_eq!(fs::read_to_string(&damaged).unwrap(), "00ff", "never silently a new identity");
        assert!(load_or_make(Path::new("/proc/nowhere/identity")).is_err());
    }
}
