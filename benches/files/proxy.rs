//! A way to the server on which is seen what moves.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use confkit::time;
use confkit::wire::{Incoming, Parser, Part};

/// Longer than anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// See the module. It goes on until the program ends.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) address: String,
    way: Arc<Way>,
}

struct Way {
    server: String,
    /// Whether chunks are looked at, which costs time.
    counting: bool,
    up: Direction,
    down: Direction,
}

/// What has gone in one direction.
#[derive(Default)]
pub(crate) struct Direction {
    bytes: AtomicU64,
    /// Bytes of chunks that had gone before.
    again: AtomicU64,
    chunks: Mutex<HashSet<u32>>,
}

impl Direction {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn again(&self) -> u64 {
        self.again.load(Ordering::Relaxed)
    }

    /// Waits until so many bytes have gone in all.
    pub(crate) fn reach(&self, bytes: u64) -> anyhow::Result<()> {
        let begun = time::now();
        while self.bytes() < bytes {
            if time::now().since(begun) > PATIENCE {
                bail!("after {PATIENCE:?} only {} of {bytes} bytes had moved", self.bytes());
            }
            std::thread::park_timeout(LOOK);
        }
        Ok(())
    }

    fn look(&self, parser: &mut Parser, bytes: &[u8]) {
        parser.push(bytes);
        while let Ok(Some(incoming)) = parser.poll() {
            let Incoming::Frame(frame) = incoming else { continue };
            let chunk = frame.header.piece.filter(|piece| piece.part == Part::Chunk);
            let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
            if chunk.is_some_and(|chunk| !chunks.insert(chunk.index)) {
                self.again.fetch_add(frame.header.size as u64, Ordering::Relaxed);
            }
        }
    }
}

impl Proxy {
    pub(crate) fn start(server: &str, counting: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let (up, down) = (Direction::default(), Direction::default());
        let way = Arc::new(Way { server: server.into(), counting, up, down });
        let carrier = Arc::clone(&way);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is not there closes the connection.
                let _ = carry(&carrier, client);
            }
        });
        Ok(Self { address, way })
    }

    /// What has gone to the server.
    pub(crate) fn up(&self) -> &Direction {
        &self.way.up
    }

    /// What has come from it.
    pub(crate) fn down(&self) -> &Direction {
        &self.way.down
    }
}

fn carry(way: &Arc<Way>, client: TcpStream) -> std::io::Result<()> {
    let server = TcpStream::connect(&way.server)?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
    }
    let pump = |from: &TcpStream, to: &TcpStream, pick: fn(&Way) -> &Direction| {
        let (mut from, mut to, way) = (from.try_clone()?, to.try_clone()?, Arc::clone(way));
        std::thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            let mut parser = Parser::new();
            parser.trust_files();
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let direction = pick(&way);
                direction.bytes.fetch_add(count as u64, Ordering::Relaxed);
                if way.counting {
                    direction.look(&mut parser, &buffer[..count]);
                }
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        });
        Ok::<_, std::io::Error>(())
    };
    pump(&client, &server, |way| &way.up)?;
    pump(&server, &client, |way| &way.down)
}
