//! The decoder's own process, and what is said between it and the viewer.
//!
//! Standard input is a socket: the viewer sends access units, each behind its length (u32, little
//! endian, at most [`h264::MAX_ACCESS_UNIT`]) and gets one [`Reply`] for each. Standard output is shared memory
//! of [`SHARED`] bytes into which the planes of a picture are written before its reply goes out; the viewer has copied
//! them before it sends the next access unit. When the socket ends, so does the process.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::{InProcess, MAX_PIXELS};
use crate::h264;

/// Bytes of the memory that both share: one picture of the largest size.
pub const SHARED: usize = MAX_PIXELS * 3 / 2;

/// The most memory a decoder may take: sixteen pictures of 4096x2304 and what it needs beside them. A stream that
/// asks for more loses its decoder, nothing else.
const MEMORY: u64 = 640 << 20;

/// What became of one access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// It was taken; no picture is complete.
    Nothing,
    /// A picture of this width and height lies in the shared memory.
    Picture(u32, u32),
    /// It cannot be decoded.
    Damaged,
}

impl Reply {
    pub(super) const LENGTH: usize = 12;

    pub(super) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let (kind, width, height) = match self {
            Self::Nothing => (0u32, 0, 0),
            Self::Picture(width, height) => (1, width, height),
            Self::Damaged => (2, 0, 0),
        };
        let mut bytes = [0; Self::LENGTH];
        for (target, value) in bytes.chunks_exact_mut(4).zip([kind, width, height]) {
            target.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// `None` for what no decoder of ours would say.
    pub(super) fn from_bytes(bytes: [u8; Self::LENGTH]) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<4>();
        match [0, 1, 2].map(|i| u32::from_le_bytes(words[i])) {
            [0, 0, 0] => Some(Self::Nothing),
            [1, width, height] => Some(Self::Picture(width, height)),
            [2, 0, 0] => Some(Self::Damaged),
            _ => None,
        }
    }
}

/// The whole life of a decoder's process: until the viewer is gone.
///
/// # Errors
/// When standard input and output are not what a viewer hands over.
pub fn run() -> io::Result<()> {
    let input = rustix::stdio::stdin().try_clone_to_owned()?;
    let shared = File::from(rustix::stdio::stdout().try_clone_to_owned()?);
    confine()?;
    serve(UnixStream::from(input), &shared)
}

/// Takes away what a decoder does not need, for the day on which a stream takes it over.
fn confine() -> io::Result<()> {
    let limit = |most| Rlimit { current: Some(most), maximum: Some(most) };
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    setrlimit(Resource::As, limit(MEMORY))?;
    setrlimit(Resource::Core, limit(0))?;
    setrlimit(Resource::Nofile, limit(0))?;
    Ok(())
}

fn serve(mut viewer: UnixStream, shared: &File) -> io::Result<()> {
    let mut decoder = InProcess::default();
    let (mut unit, mut planes) = (Vec::new(), Vec::new());
    loop {
        let mut length = [0; 4];
        match viewer.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            result => result?,
        }
        let length = u32::from_le_bytes(length) as usize;
        if length > h264::MAX_ACCESS_UNIT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        unit.resize(length, 0);
        viewer.read_exact(&mut unit)?;
        let reply = match decoder.unpack(&unit, &mut planes) {
            Ok(Some((width, height))) => {
                shared.write_all_at(&planes, 0)?;
                Reply::Picture(width as u32, height as u32)
            }
            Ok(None) => Reply::Nothing,
            Err(_) => Reply::Damaged,
        };
        viewer.write_all(&reply.to_bytes())?;
    }
}
