//! A peer that speaks frames over a plain socket, and a server inside the test.
#![allow(clippy::disallowed_methods)] // A full server says when a place is free only to who asks.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use confkit::id::{Secret, TrackId};
use confkit::server;
use confkit::session::Key;
use confkit::wire::control::{Control, Hello, PROTOCOL, Publish, Refusal, Source, TrackKind, Welcome};
use confkit::wire::{Code, Frame, Incoming, Kind, Media, Parser, Rendition};
use tokio_util::sync::CancellationToken;

/// Longest wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server on a free port of loopback, in threads of the test; stops when dropped.
pub struct Host {
    pub address: SocketAddr,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Host {
    pub fn start() -> Self {
        Self::with(server::Config::default())
    }

    pub fn with(config: server::Config) -> Self {
        let stop = CancellationToken::new();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = confkit::net::tcp::listen("127.0.0.1:0".parse().unwrap()).unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                server::run(listener, config, stopped).await.unwrap();
            });
        });
        Self { address: told.recv().unwrap(), stop, thread: Some(thread) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One connection.
pub struct Peer {
    pub socket: TcpStream,
    parser: Parser,
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, parser: Parser::new() }
    }

    /// The other end of a connection that somebody made; it may be silent for as long as it likes.
    pub fn over(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        Self { socket, parser: Parser::new() }
    }

    /// Connects and joins as `name`, with everything that is in the room subscribed to.
    pub fn join(address: SocketAddr, name: &str) -> (Self, Welcome) {
        let mut peer = Self::connect(address);
        let welcome = peer.hello(Hello { subscribe: vec![TrackKind::Video], ..hello(name) });
        (peer, welcome)
    }

    /// Joins as soon as the server has a place.
    pub fn join_patiently(address: SocketAddr, name: &str) -> (Self, Welcome) {
        for _ in 0..200 {
            let mut peer = Self::connect(address);
            peer.say(&Control::Hello(hello(name)));
            let welcome = peer.wait(|op| match op {
                Control::Welcome(welcome) => Some(Some(welcome)),
                Control::Error(_) => Some(None),
                _ => None,
            });
            match welcome {
                Some(welcome) => return (peer, welcome),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        panic!("no place in 4 s");
    }

    /// Looks at a room: its first part, or why there is none.
    pub fn look(&mut self, hello: Hello) -> Result<(), Refusal> {
        self.say(&Control::Hello(Hello { look: true, ..hello }));
        self.wait(|op| match op {
            Control::State(_) => Some(Ok(())),
            Control::Error(refusal) => Some(Err(refusal)),
            _ => None,
        })
    }

    /// Looks as soon as the server lets it, and how often it did not; nothing else may keep it from that.
    pub fn look_patiently(address: SocketAddr, hello: impl Fn(&Secret<32>) -> Hello) -> usize {
        for refused in 0..200 {
            let mut peer = Self::connect(address);
            let nonce = peer.challenge();
            match peer.look(hello(&nonce)) {
                Ok(()) => return refused,
                Err(refusal) => {
                    assert_eq!(refusal.code, Code::RateLimited);
                    assert!(refusal.retry_after_ms.is_some_and(|wait| (1..=1_000).contains(&wait)));
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
        panic!("no look in 20 s");
    }

    /// Says hello and waits for the welcome and all of the state.
    pub fn hello(&mut self, hello: Hello) -> Welcome {
        self.say(&Control::Hello(hello));
        let welcome = self.wait(|op| if let Control::Welcome(welcome) = op { Some(welcome) } else { None });
        self.wait(|op| if let Control::State(state) = op { (!state.more).then_some(()) } else { None });
        welcome
    }

    /// The same as whoever holds `key`.
    pub fn hello_as(&mut self, key: &Key, hello: Hello) -> Welcome {
        let nonce = self.challenge();
        let proof = key.prove(&nonce, &hello.room);
        self.hello(Hello { key: Some(key.public()), proof: Some(proof), ..hello })
    }

    /// Why a message was not taken, and its number.
    pub fn refused_message(&mut self) -> (Refusal, u64) {
        self.wait(|op| match op {
            Control::Error(refusal) => refusal.n.map(|n| (refusal, n)),
            _ => None,
        })
    }

    /// The server's challenge, which comes first.
    pub fn challenge(&mut self) -> Secret<32> {
        self.wait(|op| if let Control::Challenge { nonce } = op { Some(nonce) } else { None })
    }

    pub fn publish(&mut self, label: &str) -> TrackId {
        let source = Source {
            kind: TrackKind::Video,
            label: label.into(),
            codec: "h264".into(),
            width: 640,
            height: 480,
            fps: 30.0,
            muted: false,
        };
        self.say(&Control::Publish(Publish { id: 1, source }));
        self.wait(|op| if let Control::Published { track, .. } = op { Some(track) } else { None })
    }

    pub fn say(&mut self, operation: &Control) {
        self.send(Frame::control(operation, 0).bytes());
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    pub fn send_picture(&mut self, track: TrackId, seq: u64, key: bool, payload: &[u8]) {
        self.send(picture(track, seq, key, payload).bytes());
    }

    /// The next frame; `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            match self.parser.poll().expect("the server sends frames") {
                Some(Incoming::Frame(frame)) => return Some(frame),
                Some(Incoming::Damaged(header)) => panic!("damaged: {header:?}"),
                None => {}
            }
            let mut bytes = [0; 64 * 1024];
            match self.socket.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.parser.push(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// Bytes that came, whatever they are.
    pub fn some(&mut self) -> usize {
        let mut bytes = [0; 64 * 1024];
        self.socket.read(&mut bytes).unwrap()
    }

    /// Waits for an operation that `pick` accepts; everything else is passed over.
    pub fn wait<T>(&mut self, pick: impl Fn(Control) -> Option<T>) -> T {
        loop {
            let frame = self.next().expect("the connection ended too early");
            if frame.header.kind == Kind::Control
                && let Some(found) = pick(frame.operation().unwrap())
            {
                return found;
            }
        }
    }

    /// Waits for the next frame of `kind`.
    pub fn wait_for(&mut self, kind: &Kind) -> Frame {
        loop {
            let frame = self.next().expect("the connection ended too early");
            if frame.header.kind == *kind {
                return frame;
            }
        }
    }

    /// The refusal that comes next, and whether the connection ended behind it within a second.
    pub fn refused(&mut self) -> (Refusal, bool) {
        let refusal = self.wait(|op| if let Control::Error(refusal) = op { Some(refusal) } else { None });
        (refusal, self.ends())
    }

    /// Whether the connection ends within a second or so.
    pub fn ends(&mut self) -> bool {
        self.socket.set_read_timeout(Some(Duration::from_millis(1_500))).unwrap();
        let mut bytes = [0; 4096];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// Proves that the connection works: a ping comes back. What came before it is returned.
    pub fn settle(&mut self) -> Vec<Frame> {
        self.say(&Control::Ping { id: 4711 });
        let mut before = Vec::new();
        loop {
            let frame = self.next().expect("the connection ended");
            if frame.header.kind == Kind::Control && frame.operation() == Ok(Control::Pong { id: 4711 }) {
                return before;
            }
            before.push(frame);
        }
    }

    pub fn end_writing(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Breaks the connection with a reset instead of an end.
    pub fn reset(self) {
        socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

pub fn hello(name: &str) -> Hello {
    Hello {
        protocol: PROTOCOL,
        room: "test".into(),
        name: name.into(),
        client: "test 1".into(),
        key: None,
        proof: None,
        password: None,
        resume: None,
        subscribe: Vec::new(),
        messages: None,
        offers: false,
        look: false,
    }
}

pub fn picture(track: TrackId, seq: u64, key: bool, payload: &[u8]) -> Frame {
    let media = Media { track, seq, pts: seq * 33_333, key, rendition: Rendition::High, tid: 0 };
    Frame::video(media, payload, 0)
}
