//! The key by which all programs of one person are one member: the 32 random bytes that an Ed25519 key grows from, made at first use
//! and kept in `$XDG_STATE_HOME/confkit/identity` (else `~/.local/state`), readable by its owner only.
//! `CONF_IDENTITY_FILE` names another file.
//!
//! Where nothing can be kept, or where what is there belongs to somebody else, the program runs without
//! an identity (it is then a member of its own) and says so in the log. A file of one's own that is
//! damaged, or that others can read, ends the program: nobody becomes another person without noticing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Exit, Failure, state};
use crate::id::Secret;
use crate::session::Key;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    /// There is none of this person, and none can be kept.
    #[error(transparent)]
    Absent(#[from] io::Error),
    /// There is something, which must be looked at first.
    #[error("{0}")]
    Damaged(String),
}

/// The key of whoever runs this program, if there is one.
pub fn load() -> Result<Option<Key>, Failure> {
    let Some(path) = path() else {
        tracing::warn!("no HOME and no XDG_STATE_HOME: this program is a member of its own");
        return Ok(None);
    };
    let shown = path.display();
    match load_or_make(&path) {
        Ok(seed) => Ok(Some(Key::from_seed(&seed))),
        Err(Unusable::Absent(error)) => {
            tracing::warn!(
                "cannot keep an identity in {shown} ({error}): this program is a member of its own"
            );
            Ok(None)
        }
        Err(Unusable::Damaged(why)) => Err(Failure::new(
            Exit::File,
            format!("the identity in {shown} {why}; without it you would be somebody else to the others"),
        )),
    }
}

fn path() -> Option<PathBuf> {
    if let Some(file) = std::env::var_os("CONF_IDENTITY_FILE").filter(|file| !file.is_empty()) {
        return Some(file.into());
    }
    state::directory().map(|state| state.join("identity"))
}

fn load_or_make(path: &Path) -> Result<Secret<32>, Unusable> {
    match read(path) {
        Err(Unusable::Absent(error)) if error.kind() == io::ErrorKind::NotFound => {
            make(path)?;
            // Another program may have been faster; what is there now counts.
            read(path)
        }
        other => other,
    }
}

fn read(path: &Path) -> Result<Secret<32>, Unusable> {
    let damaged = |why: String| Err(Unusable::Damaged(why));
    let no_link = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(no_link.bits() as i32).open(path) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return damaged(
                "is a symbolic link; put the file itself there, or name it in CONF_IDENTITY_FILE".into(),
            );
        }
        other => other?,
    };
    let about = file.metadata()?;
    belongs_to_us(&about)?;
    if !about.is_file() {
        return damaged("is not a file; move it away to get a new one".into());
    }
    let mode = about.mode() & 0o777;
    if mode & 0o077 != 0 {
        return damaged(format!(
            "can be read by others (mode {mode:04o}): chmod 600 it, or delete it to get a new one"
        ));
    }
    let mut bytes = Vec::new();
    (&file).take(128).read_to_end(&mut bytes)?;
    let seed = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
    seed.map_or_else(
        || {
            damaged(
                "is damaged (it does not hold 64 hex digits): put back a copy, or delete it to get a new one"
                    .into(),
            )
        },
        Ok,
    )
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
    use std::os::unix::fs::PermissionsExt;

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
    fn a17_a18_what_is_damaged_or_open_to_others_is_never_replaced() {
        let home = tempfile::tempdir().unwrap();
        let damaged = |path: &Path| match load_or_make(path) {
            Err(Unusable::Damaged(why)) => why,
            other => panic!("expected a refusal, not {other:?}"),
        };
        let link = home.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(damaged(&link).contains("symbolic link"));
        let file = home.path().join("file");
        for content in [&b"00ff"[..], b"", b"\xff\xfe", &[b'z'; 64]] {
            write_new(&file, "").unwrap();
            fs::write(&file, content).unwrap();
            assert!(damaged(&file).contains("64 hex digits"));
            assert_eq!(fs::read(&file).unwrap(), content, "never silently a new identity");
            fs::remove_file(&file).unwrap();
        }
        let good = load_or_make(&file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(damaged(&file).contains("0644"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(load_or_make(&file).unwrap(), good);
        let fifo = home.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        assert!(damaged(&fifo).contains("not a file"));
        assert!(damaged(home.path()).contains("not a file"));
    }

    #[test]
    fn x02_where_nothing_can_be_kept_there_is_no_identity() {
        assert!(matches!(load_or_make(Path::new("/proc/nowhere/identity")), Err(Unusable::Absent(_))));
    }
}
