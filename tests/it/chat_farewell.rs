//! What the server still says when conf-chat has said goodbye.

use std::net::TcpListener;
use std::process::Command;

use confkit::id::{LogId, MemberId, Secret, SessionId};
use confkit::wire::Kind;
use confkit::wire::control::{Ack, Control, Log, State, Welcome};

use crate::support::peer::Peer;
use crate::support::programs::program;

/// A server that acknowledges the one message that comes when its sender says goodbye, and not before.
fn late(listener: &TcpListener) {
    let mut peer = Peer::over(listener.accept().unwrap().0);
    peer.say(&Control::Challenge { nonce: Secret([7; 32]) });
    peer.wait(|operation| matches!(operation, Control::Hello(_)).then_some(()));
    peer.say(&Control::Welcome(Welcome {
        protocol: 1,
        server: "late 1".into(),
        epoch: "1".into(),
        room: "test".into(),
        session: SessionId(1),
        member: MemberId(1),
        name: "Ann".into(),
        token: Secret([3; 16]),
        resumed: false,
        heartbeat_ms: 4_000,
        grace_ms: 30_000,
        log: Some(Log { id: LogId([1; 8]), last: 0, stored: true }),
    }));
    peer.say(&Control::State(State::default()));
    peer.say(&Control::CaughtUp { seq: 0 });
    let message = peer.wait_for(&Kind::Message);
    let letter = message.header.letter.unwrap();
    peer.wait(|operation| matches!(operation, Control::Goodbye(_)).then_some(()));
    let ack = Ack { source: letter.source, relayed: letter.n, stored: letter.n, seq: 1, conflict: false };
    peer.say(&Control::Ack(ack));
    peer.say(&Control::Goodbye(Default::default()));
}

#[test]
fn an_acknowledgement_that_comes_after_the_goodbye_counts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let room = format!("conf://{}/test", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || late(&listener));
    let home = tempfile::tempdir().unwrap();
    let outbox = home.path().join("outbox");
    let mut chat: Command = program("conf-chat", home.path());
    chat.args(["--room", &room, "--name", "Ann", "-m", "hello", "--ack-timeout", "200ms", "--outbox"]);
    let output = chat.arg(&outbox).output().unwrap();
    server.join().unwrap();
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{why}");
    let kept = std::fs::read_to_string(&outbox).unwrap();
    assert!(kept.contains("{\"done\":1}"), "it would be sent again: {kept}");
}
