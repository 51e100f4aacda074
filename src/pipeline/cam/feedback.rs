//! The way back: a socket on which the reader of the pipe asks for keyframes.
//!
//! A Unix datagram socket in a directory that only its owner can enter; each datagram is a control operation as JSON.
//! What is not understood is ignored. What a killed program has left of it the next one removes.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::limits;
use crate::video::capture::Stop;
use crate::wire::Control;

/// The socket, and what was asked for on it. Dropping it removes the socket.
#[derive(Debug)]
pub(super) struct Feedback {
    directory: PathBuf,
    path: PathBuf,
    key_wanted: Arc<AtomicBool>,
}

/// What the directories are called, before 16 hex digits.
const PREFIX: &str = "confkit-cam-";
/// The socket in one.
const SOCKET: &str = "feedback";
/// After so long a directory without a socket is not one that is just being made.
const MAKING: Duration = Duration::from_secs(60);

/// How often the listening thread looks whether it shall end.
const GLANCE: Duration = Duration::from_millis(250);

impl Feedback {
    /// Opens the socket; `None` where no path is short enough for one.
    pub(super) fn open(stop: Arc<Stop>) -> io::Result<Option<Self>> {
        let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
        let base = base.unwrap_or_else(std::env::temp_dir);
        let unique = getrandom::u64().map_err(io::Error::other)?;
        let directory = base.join(format!("{PREFIX}{unique:016x}"));
        let path = directory.join(SOCKET);
        // sockaddr_un has 108 bytes.
        if path.as_os_str().len() > 100 || path.to_str().is_none() {
            return Ok(None);
        }
        clean(&base);
        DirBuilder::new().mode(0o700).create(&directory)?;
        let feedback = Self { directory, path, key_wanted: Arc::default() };
        let socket = UnixDatagram::bind(&feedback.path)?;
        socket.set_read_timeout(Some(GLANCE))?;
        let wanted = Arc::clone(&feedback.key_wanted);
        std::thread::Builder::new().name("feedback".into()).spawn(move || listen(&socket, &wanted, &stop))?;
        Ok(Some(feedback))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a keyframe is wanted.
    pub(super) fn key_wanted(&self) -> bool {
        self.key_wanted.load(Ordering::Relaxed)
    }

    /// A keyframe has been made.
    pub(super) fn handle_key(&self) {
        self.key_wanted.store(false, Ordering::Relaxed);
    }
}

impl Drop for Feedback {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_dir(&self.directory);
    }
}

/// Removes what programs of this user have left that were killed.
fn clean(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let ours = |digits: &str| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits.is_some_and(ours)
            && let Err(error) = clean_one(&entry.path())
        {
            tracing::debug!(%error, ?name, "a directory of another conf-cam stays");
        }
    }
}

/// Removes such a directory where its socket is nobody's any more. No link is followed, and what somebody else may
/// write to is left alone.
fn clean_one(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let about = directory.metadata()?;
    if about.uid() != rustix::process::geteuid().as_raw() || about.mode() & 0o077 != 0 {
        return Ok(());
    }
    match rustix::fs::statat(&directory, SOCKET, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(socket) if FileType::from_raw_mode(socket.st_mode) == FileType::Socket => {
            match UnixDatagram::unbound()?.connect(path.join(SOCKET)) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                _ => return Ok(()),
            }
            rustix::fs::unlinkat(&directory, SOCKET, AtFlags::empty())?;
        }
        Err(rustix::io::Errno::NOENT) if about.modified()?.elapsed().is_ok_and(|age| age > MAKING) => {}
        _ => return Ok(()),
    }
    // Only where nothing else is in it.
    Ok(rustix::fs::rmdir(path)?)
}

fn listen(socket: &UnixDatagram, key_wanted: &AtomicBool, stop: &Stop) {
    let mut bytes = vec![0; limits::CONTROL];
    while !stop.is_stopped() {
        match socket.recv(&mut bytes) {
            Ok(count) => {
                if let Ok(Control::Keyframe { .. }) = serde_json::from_slice(&bytes[..count]) {
                    key_wanted.store(true, Ordering::Relaxed);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_a_killed_program_has_left_is_removed_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let base = home.path().join("base");
        let make = |path: &Path, mode: u32| {
            fs::create_dir_all(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            UnixDatagram::bind(path.join(SOCKET)).unwrap()
        };
        let named = |digit: u32| base.join(format!("{PREFIX}{}", digit.to_string().repeat(16)));
        drop(make(&named(1), 0o700));
        let _alive = make(&named(2), 0o700);
        // What others can write to, what a link leads to, what has another name, what has more in it, and what is no
        // socket.
        drop(make(&named(3), 0o777));
        drop(make(&home.path().join("elsewhere"), 0o700));
        symlink(home.path().join("elsewhere"), named(4)).unwrap();
        drop(make(&base.join(format!("{PREFIX}mine")), 0o700));
        drop(make(&named(5), 0o700));
        fs::write(named(5).join("notes"), "of somebody").unwrap();
        drop(make(&named(6), 0o700));
        fs::remove_file(named(6).join(SOCKET)).unwrap();
        symlink(home.path().join("elsewhere").join(SOCKET), named(6).join(SOCKET)).unwrap();
        // One that is just being made, and one that was for longer.
        fs::create_dir(named(7)).unwrap();
        fs::set_permissions(named(7), fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(named(8)).unwrap();
        fs::set_permissions(named(8), fs::Permissions::from_mode(0o700)).unwrap();
        fs::File::open(named(8)).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();

        clean(&base);
        let there: Vec<u32> = (1..=8).filter(|digit| named(*digit).symlink_metadata().is_ok()).collect();
        assert_eq!(there, [2, 3, 4, 5, 6, 7]);
        assert!(home.path().join("elsewhere").join(SOCKET).exists());
        assert!(base.join(format!("{PREFIX}mine")).join(SOCKET).exists());
        assert_eq!(fs::read_to_string(named(5).join("notes")).unwrap(), "of somebody");
    }
}
