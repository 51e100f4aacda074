//! The way back to the encoder: a Unix socket that the writer of a pipe named in its first frame.
//!
//! The name comes out of a stream, perhaps one that somebody else recorded, so nothing is written to
//! anything but an existing socket of the same user. Best effort: a request that does not arrive is
//! followed by another.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::wire::Control;

/// Where requests go.
#[derive(Debug)]
pub(super) struct Feedback {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Feedback {
    /// The socket at `path`, if that is one that may be used.
    pub(super) fn open(path: &str) -> Option<Self> {
        let path = Path::new(path);
        let about = path.symlink_metadata().ok()?;
        let ours = about.uid() == rustix::process::geteuid().as_raw();
        if !path.is_absolute() || !about.file_type().is_socket() || !ours {
            tracing::debug!("the feedback socket of the stream cannot be used");
            return None;
        }
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Self { socket, path: path.into() })
    }

    /// Passes a request on.
    pub(super) fn send(&self, operation: &Control) {
        let sent = serde_json::to_vec(operation)
            .map_err(Into::into)
            .and_then(|bytes| self.socket.send_to(&bytes, &self.path));
        if let Err(error) = sent {
            tracing::debug!("the encoder takes no requests: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TrackId;
    use crate::wire::Rendition;

    #[test]
    fn requests_arrive_as_json_and_only_sockets_are_written_to() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("feedback");
        assert!(Feedback::open(path.to_str().unwrap()).is_none(), "nothing is created");
        let encoder = UnixDatagram::bind(&path).unwrap();
        let operation = Control::Keyframe { track: TrackId(1), rendition: Rendition::Low };
        Feedback::open(path.to_str().unwrap()).unwrap().send(&operation);
        let mut buffer = [0; 200];
        let count = encoder.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], br#"{"op":"keyframe","track":1,"rendition":"low"}"#);

        let link = home.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(Feedback::open(link.to_str().unwrap()).is_none(), "no link is followed");
        assert!(Feedback::open("/etc/passwd").is_none());
        assert!(Feedback::open("relative").is_none());
    }
}
