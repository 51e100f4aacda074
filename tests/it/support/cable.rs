//! A way to the server that can be cut, and that counts what goes over it: to the server, or from it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use confkit::wire::{Frame, Incoming, Parser, Part};

/// After so long nothing more is awaited.
const QUIET: Duration = Duration::from_secs(1);

/// The direction in which one counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// What went that way, and when to cut.
#[derive(Default)]
struct Traffic {
    /// How often each chunk went, and its size.
    chunks: BTreeMap<u32, (u32, usize)>,
    bytes: u64,
    /// Cuts the connection when so many bytes more have gone.
    left: Option<u64>,
    open: Vec<TcpStream>,
}

/// See the module. It goes on for as long as the test.
#[derive(Clone)]
pub struct Cable {
    pub address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    way: Way,
    traffic: Arc<(Mutex<Traffic>, Condvar)>,
}

impl Cable {
    /// Counts what goes to the server.
    pub fn to(server: SocketAddr) -> Self {
        Self::lay(server, Way::Up)
    }

    /// Counts what comes from it.
    pub fn from(server: SocketAddr) -> Self {
        Self::lay(server, Way::Down)
    }

    fn lay(server: SocketAddr, way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::new(Mutex::new(server));
        let cable = Self { address, server, way, traffic: Arc::default() };
        let this = cable.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                this.carry(client);
            }
        });
        cable
    }

    /// The address of a room at the other end.
    pub fn room(&self) -> String {
        format!("conf://{}/main", self.address)
    }

    /// Whoever connects from now on comes to another server.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.server.lock().unwrap() = server;
    }

    /// Cuts every connection as soon as so many bytes more have gone.
    pub fn cut_after(&self, bytes: u64) {
        self.traffic.0.lock().unwrap().left = Some(bytes);
    }

    /// Does so, and waits until it is done, or for a while in which nothing went.
    pub fn cut(&self, bytes: u64) {
        self.cut_after(bytes);
        self.wait_for(bytes);
        self.traffic.0.lock().unwrap().left = None;
    }

    /// Waits until so many bytes more have gone, or for a while in which none did.
    pub fn wait_for(&self, bytes: u64) {
        let (traffic, more) = &*self.traffic;
        let mut now = traffic.lock().unwrap();
        let enough = now.bytes + bytes;
        while now.bytes < enough {
            let (then, quiet) = more.wait_timeout(now, QUIET).unwrap();
            if quiet.timed_out() {
                return;
            }
            now = then;
        }
    }

    /// Bytes of chunks that went more than once.
    pub fn again(&self) -> usize {
        let traffic = self.traffic.0.lock().unwrap();
        traffic.chunks.values().map(|(times, size)| (*times as usize - 1) * size).sum()
    }

    /// Bytes of different chunks that went.
    pub fn once(&self) -> usize {
        self.traffic.0.lock().unwrap().chunks.values().map(|(_, size)| size).sum()
    }

    /// How many chunks went.
    pub fn chunks(&self) -> usize {
        self.traffic.0.lock().unwrap().chunks.len()
    }

    fn carry(&self, client: TcpStream) {
        let server = *self.server.lock().unwrap();
        let Ok(server) = TcpStream::connect(server) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ends = [&client, &server].map(|end| end.try_clone().unwrap());
        self.traffic.0.lock().unwrap().open.extend(ends);
        let (back_from, back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let (counted, other) = match self.way {
            Way::Up => ((client, server), (back_from, back_to)),
            Way::Down => ((back_from, back_to), (client, server)),
        };
        std::thread::spawn(move || copy(other.0, other.1, |_| true));
        let this = self.clone();
        std::thread::spawn(move || {
            let mut parser = Parser::new();
            parser.trust_files();
            copy(counted.0, counted.1, |bytes| this.count(&mut parser, bytes));
        });
    }

    /// Whether the connection goes on.
    fn count(&self, parser: &mut Parser, bytes: &[u8]) -> bool {
        let mut traffic = self.traffic.0.lock().unwrap();
        parser.push(bytes);
        while let Ok(Some(Incoming::Frame(frame))) = parser.poll() {
            traffic.note(&frame);
        }
        traffic.bytes += bytes.len() as u64;
        self.traffic.1.notify_all();
        if let Some(left) = traffic.left {
            if left <= bytes.len() as u64 {
                traffic.left = None;
                traffic.open.drain(..).for_each(|end| drop(end.shutdown(Shutdown::Both)));
                return false;
            }
            traffic.left = Some(left - bytes.len() as u64);
        }
        true
    }
}

impl Traffic {
    fn note(&mut self, frame: &Frame) {
        if let Some(piece) = frame.header.piece.filter(|piece| piece.part == Part::Chunk) {
            self.chunks.entry(piece.index).or_insert((0, frame.header.size)).0 += 1;
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut goes_on: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !goes_on(&buffer[..count]) || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
