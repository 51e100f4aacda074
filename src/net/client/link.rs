//! The socket of a session: what is read from it and what waits to be written.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::net::tcp;

/// File frames are taken from the program while less than this waits to be written.
pub(super) const BULK: usize = 512 * 1024;
/// Buffers in one write.
const VECTORS: usize = 16;

pub(super) type Dialing = Pin<Box<dyn Future<Output = Result<TcpStream, String>> + Send>>;

/// The connection as it is now.
pub(super) enum Link {
    Idle,
    Dialing(Dialing),
    Open(Open),
}

pub(super) struct Open {
    pub(super) stream: TcpStream,
    /// What is to be written; media is added only when it is empty.
    pub(super) out: VecDeque<Bytes>,
    /// A part of the first of them is out.
    begun: bool,
    /// The kernel may hold more of it than of media.
    bulk: bool,
    /// Nothing more is written: the peer takes no more bytes (it may have said why), or we are done.
    pub(super) deaf: bool,
}

/// What a connection has done.
pub(super) enum Happened {
    Dialed(Result<TcpStream, String>),
    Written(io::Result<usize>),
    Read(io::Result<usize>),
    /// Bytes of a large frame have come where they belong.
    Rest(usize),
}

impl Link {
    /// Waits for whatever the connection does next; for ever where there is none.
    pub(super) async fn happens(
        &mut self,
        buffer: &mut [u8],
        rest: Option<&mut Vec<u8>>,
        reading: bool,
    ) -> Happened {
        match self {
            Self::Idle => std::future::pending().await,
            Self::Dialing(dialing) => Happened::Dialed(dialing.await),
            Self::Open(open) => open.happens(buffer, rest, reading).await,
        }
    }

    /// Closes our side when all is written, so that the server sees the end even if it overlooks the
    /// goodbye.
    pub(super) fn say_no_more(&mut self) {
        if let Self::Open(open) = self
            && open.out.is_empty()
            && !open.deaf
        {
            open.deaf = true;
            // A connection that is broken already says so when it is read.
            let _ = SockRef::from(&open.stream).shutdown(Shutdown::Write);
        }
    }

    /// Drops what waits, except for the rest of a frame that is partly out.
    pub(super) fn forget(&mut self) {
        if let Self::Open(open) = self {
            open.out.truncate(usize::from(open.begun));
        }
    }

    pub(super) fn give_up_writing(&mut self) {
        if let Self::Open(open) = self {
            open.deaf = true;
            open.out.clear();
        }
    }
}

impl Open {
    /// A connection that has just been made.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, out: VecDeque::new(), begun: false, deaf: false, bulk: false }
    }

    /// Whether the program's next frame may come.
    pub(super) fn is_hungry(&self) -> bool {
        self.out.is_empty() || self.deaf || self.bulk && self.out.iter().map(Bytes::len).sum::<usize>() < BULK
    }

    /// Adds a file frame; true.
    pub(super) fn push_bulk(&mut self, bytes: Bytes) -> bool {
        if !self.bulk {
            self.bulk = true;
            // Without it the connection is slower and nothing else.
            let _ = tcp::configure_bulk(&self.stream);
        }
        self.out.push_back(bytes);
        true
    }

    async fn happens(
        &mut self,
        buffer: &mut [u8],
        mut rest: Option<&mut Vec<u8>>,
        reading: bool,
    ) -> Happened {
        let writing = !self.out.is_empty() && !self.deaf;
        let interest = match (reading, writing) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::READABLE,
            (false, true) => Interest::WRITABLE,
            (false, false) => std::future::pending().await,
        };
        loop {
            if let Err(error) = self.stream.ready(interest).await {
                return Happened::Read(Err(error));
            }
            // Writing first: what a slow program does not take must not keep its own words back.
            if writing && let Some(written) = unless_blocked(self.write()) {
                return Happened::Written(written);
            }
            let read = match (reading, &mut rest) {
                (false, _) => None,
                (true, Some(rest)) => unless_blocked(tcp::read_into(&self.stream, rest)),
                (true, None) => unless_blocked(self.stream.try_read(buffer)),
            };
            match (read, &rest) {
                (Some(Ok(count @ 1..)), Some(_)) => return Happened::Rest(count),
                (Some(read), _) => return Happened::Read(read),
                (None, _) => {}
            }
        }
    }

    /// Writes as much as the kernel takes.
    fn write(&mut self) -> io::Result<usize> {
        let slices: Vec<IoSlice<'_>> = self.out.iter().take(VECTORS).map(|b| IoSlice::new(b)).collect();
        let count = self.stream.try_write_vectored(&slices)?;
        let mut left = count;
        while let Some(first) = self.out.front_mut() {
            let part = left.min(first.len());
            first.advance(part);
            left -= part;
            if !first.is_empty() {
                self.begun |= part > 0;
                break;
            }
            self.out.pop_front();
            self.begun = false;
        }
        Ok(count)
    }
}

fn unless_blocked(result: io::Result<usize>) -> Option<io::Result<usize>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        other => Some(other),
    }
}
