//! The way back: a socket on which the reader of the pipe asks for keyframes.
//!
//! A Unix datagram socket in a directory that only its owner can enter; each datagram is a control operation as JSON.
//! What is not understood is ignored.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

/// How often the listening thread looks whether it shall end.
const GLANCE: Duration = Duration::from_millis(250);

impl Feedback {
    /// Opens the socket; `None` where no path is short enough for one.
    pub(super) fn open(stop: Arc<Stop>) -> io::Result<Option<Self>> {
        let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
        let base = base.unwrap_or_else(std::env::temp_dir);
        let unique = getrandom::u64().map_err(io::Error::other)?;
        let directory = base.join(format!("confkit-cam-{unique:016x}"));
        let path = directory.join("feedback");
        // sockaddr_un has 108 bytes.
        if path.as_os_str().len() > 100 || path.to_str().is_none() {
            return Ok(None);
        }
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
