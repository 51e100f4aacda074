//! A server that speaks the protocol and lies about files, or has never heard of them.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use confkit::id::{MemberId, OfferId, OfferNumber, Secret, SessionId};
use confkit::wire::control::{Control, State, Welcome};
use confkit::wire::offer::{Fetch, OfferState};
use confkit::wire::{Frame, Kind, Part};

use super::files::{CHUNK, piece};
use super::peer::Peer;

type Answer = Box<dyn FnMut(&Fetch) -> Vec<Frame> + Send>;

/// An offer, and what is sent to who asks for it.
pub struct Lie {
    pub state: OfferState,
    pub answer: Answer,
}

impl Lie {
    /// A complete offer of so many bytes, under the number that it has in its server's list.
    pub fn new(
        number: u32,
        size: Option<u64>,
        answer: impl FnMut(&Fetch) -> Vec<Frame> + Send + 'static,
    ) -> Self {
        let mut id = [9; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let chunks = size.map(|size| size.div_ceil(CHUNK.into()) as u32);
        let state = OfferState {
            offer: OfferNumber(number),
            offer_id: OfferId(id),
            member: Some(MemberId(7)),
            name: "Mallory".into(),
            key: None,
            to: None,
            direct: false,
            size,
            chunk_size: CHUNK,
            kept: chunks.unwrap_or(1),
            chunks,
            sealed: true,
            uploading: false,
            received: 0,
            since: 1e9,
            expires: 4e9,
        };
        Self { state, answer: Box::new(answer) }
    }

    /// The pieces that an honest server would send: `manifest` and `sums` as they are, and the `stream`.
    pub fn honest(fetch: &Fetch, manifest: &[String], sums: &str, stream: &[u8]) -> Vec<Frame> {
        let send = |part, index: usize, bytes: &[u8]| piece(fetch.offer, part, index as u32, bytes);
        match fetch.part {
            Part::Manifest => manifest
                .iter()
                .enumerate()
                .map(|(n, text)| send(Part::Manifest, n, text.as_bytes()))
                .collect(),
            Part::Sums => vec![send(Part::Sums, 0, sums.as_bytes())],
            _ => {
                let chunks: Vec<&[u8]> = stream.chunks(CHUNK as usize).collect();
                let asked = fetch.ranges.iter().flat_map(|(from, to)| *from..to.unwrap_or(u32::MAX).min(999));
                asked.filter_map(|n| Some(send(Part::Chunk, n as usize, chunks.get(n as usize)?))).collect()
            }
        }
    }
}

/// See the module. It goes on for as long as the test.
pub struct Liar {
    pub address: SocketAddr,
    pub lies: Arc<Mutex<Vec<Lie>>>,
}

impl Liar {
    /// With these offers; without any it is a server of the time before files.
    pub fn start(lies: Vec<Lie>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let liar = Self { address: listener.local_addr().unwrap(), lies: Arc::new(Mutex::new(lies)) };
        let lies = Arc::clone(&liar.lies);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let lies = Arc::clone(&lies);
                std::thread::spawn(move || serve(Peer::over(socket), &lies));
            }
        });
        liar
    }

    pub fn room(&self) -> String {
        format!("conf://{}/test", self.address)
    }
}

/// A server that lets one peer in, and is gone: its address, and what ends when it is.
pub fn fleeting() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let gone = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        welcome(&mut Peer::over(socket)).expect("a peer that comes in");
    });
    (address, gone)
}

fn say(peer: &mut Peer, operation: Control) -> Option<()> {
    peer.socket.write_all(Frame::control(&operation, 0).bytes()).ok()
}

/// Lets a peer in.
fn welcome(peer: &mut Peer) -> Option<()> {
    say(peer, Control::Challenge { nonce: Secret([7; 32]) })?;
    while !matches!(peer.next()?.operation(), Ok(Control::Hello(_))) {}
    let welcome = Welcome {
        protocol: 1,
        server: "liar 1".into(),
        epoch: "1".into(),
        room: "test".into(),
        session: SessionId(1),
        member: MemberId(1),
        name: "Bob".into(),
        token: Secret([3; 16]),
        resumed: false,
        heartbeat_ms: 4_000,
        grace_ms: 30_000,
        log: None,
    };
    say(peer, Control::Welcome(welcome))?;
    say(peer, Control::State(State::default()))
}

/// Until the peer has had enough.
fn serve(mut peer: Peer, lies: &Mutex<Vec<Lie>>) -> Option<()> {
    welcome(&mut peer)?;
    let states: Vec<OfferState> = lies.lock().unwrap().iter().map(|lie| lie.state.clone()).collect();
    for state in &states {
        say(&mut peer, Control::OfferState(state.clone()))?;
        let about = br#"{"title":"a","files":1,"kind":"files","first":["a"]}"#;
        peer.socket.write_all(piece(state.offer, Part::About, 0, about).bytes()).ok()?;
    }
    if !states.is_empty() {
        say(&mut peer, Control::Offers { count: states.len() as u32 })?;
    }
    loop {
        let frame = peer.next()?;
        if frame.header.kind != Kind::Control {
            continue;
        }
        match frame.operation() {
            Ok(Control::Ping { id }) => say(&mut peer, Control::Pong { id })?,
            Ok(Control::Goodbye(_)) => return None,
            Ok(Control::Fetch(fetch)) => {
                let frames = {
                    let mut lies = lies.lock().unwrap();
                    let lie = lies.iter_mut().find(|lie| lie.state.offer == fetch.offer)?;
                    (lie.answer)(&fetch)
                };
                for frame in frames {
                    peer.socket.write_all(frame.bytes()).ok()?;
                }
                say(&mut peer, Control::Done { id: fetch.id })?;
            }
            _ => {}
        }
    }
}
