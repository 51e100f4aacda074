//! The viewer's end of a decoder in a process of its own.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{MemfdFlags, SealFlags};

use super::child::{Reply, SHARED};
use super::{CHILD_ARGUMENT, Decoder, Error, HANG, is_sane, software};
use crate::media::Picture;

/// A decoder that can be lost. Nothing that its process does reaches further than a wrong picture: the
/// memory that both share is sealed in its size and only copied from, and every answer is judged.
pub struct Isolated {
    process: Child,
    socket: UnixStream,
    shared: File,
}

impl std::fmt::Debug for Isolated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Isolated({})", self.process.id())
    }
}

impl Isolated {
    /// Starts `program` (conf-view itself) as a decoder.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is no memory, no process or no such program.
    pub fn start(program: &Path) -> Result<Self, Error> {
        Self::try_start(program).map_err(Error::Unavailable)
    }

    fn try_start(program: &Path) -> io::Result<Self> {
        let shared = rustix::fs::memfd_create("pictures", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&shared, SHARED as u64)?;
        rustix::fs::fcntl_add_seals(&shared, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_read_timeout(Some(HANG))?;
        socket.set_write_timeout(Some(HANG))?;
        let process = Command::new(program)
            .arg0("conf-view")
            .arg(CHILD_ARGUMENT)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(shared.try_clone()?))
            .stderr(Stdio::null())
            // Ctrl-C is for the viewer, which ends its decoders itself.
            .process_group(0)
            .spawn()?;
        Ok(Self { process, socket, shared: File::from(shared) })
    }

    fn exchange(&mut self, unit: &[u8]) -> io::Result<Reply> {
        let length = u32::try_from(unit.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.socket.write_all(&length.to_le_bytes())?;
        self.socket.write_all(unit)?;
        let mut reply = [0; Reply::LENGTH];
        self.socket.read_exact(&mut reply)?;
        Reply::from_bytes(reply).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Decoder for Isolated {
    fn decode(&mut self, unit: &[u8], full_range: bool) -> Result<Option<Picture>, Error> {
        let reply = self.exchange(unit).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Hung,
            _ => Error::Died(error),
        })?;
        let (width, height) = match reply {
            Reply::Nothing => return Ok(None),
            Reply::Damaged => return Err(Error::Stream("cannot be decoded".into())),
            Reply::Picture(width, height) => (width as usize, height as usize),
        };
        if !is_sane(width, height) {
            return Err(Error::Died(io::ErrorKind::InvalidData.into()));
        }
        let mut planes = vec![0; width * height * 3 / 2];
        self.shared.read_exact_at(&mut planes, 0).map_err(Error::Died)?;
        Ok(Picture::from_i420(width, height, planes, software::range(full_range), crate::time::now()))
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        // It may hang, so it is not asked. That it is gone already is no error.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
