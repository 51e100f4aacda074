//! The server as its peers see it.
#![allow(clippy::disallowed_methods)] // Peers that are slow on purpose sleep.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use confkit::id::TrackId;
use confkit::room::Terms;
use confkit::server;
use confkit::session::Key;
use confkit::wire::control::{Control, Hello, Member, Presence, TrackKind};
use confkit::wire::{Code, Frame, Kind, Rendition};

use crate::support::peer::{Host, Peer, hello, picture};

fn seqs(frames: &[Frame]) -> Vec<u64> {
    frames.iter().filter_map(|f| f.header.media.map(|m| m.seq)).collect()
}

fn presence(peer: &mut Peer, of: &str) -> Presence {
    peer.wait(|op| match op {
        Control::Member(Member { name, state, .. }) if name == of => Some(state),
        _ => None,
    })
}

#[test]
fn a_late_joiner_sees_the_group_of_pictures_without_asking() {
    let host = Host::start();
    let (mut ann, _) = Peer::join(host.address, "Ann");
    let track = ann.publish("camera");
    for seq in 0..5 {
        ann.send_picture(track, seq, seq == 2, b"picture");
    }
    ann.settle();
    let (mut bob, _) = Peer::join(host.address, "Bob");
    assert_eq!(seqs(&bob.settle()), [2, 3, 4]);
    ann.send_picture(track, 5, false, b"live");
    assert_eq!(bob.wait_for(&Kind::Video).payload(), b"live");
}

#[test]
fn the_relay_gives_the_bytes_on_as_they_came() {
    let host = Host::start();
    let (mut ann, _) = Peer::join(host.address, "Ann");
    let track = ann.publish("camera");
    let (mut bob, _) = Peer::join(host.address, "Bob");
    let header = format!(
        r#"{{"checksum":"{}", "later":[1,{{"x":null}}],"type":"video","timestamp":1e9,"size":2,"track":{track},"seq":0,"pts":0,"key":true}}"#,
        confkit::id::hex(&confkit::wire::checksum(b"hi"))
    );
    let mut bytes = (header.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(b"hi");
    ann.send(&bytes);
    assert_eq!(bob.wait_for(&Kind::Video).bytes()[..], bytes[..]);
}

#[test]
fn w05_w06_foreign_protocols_are_refused_and_nobody_else_notices() {
    let host = Host::start();
    let (mut ann, _) = Peer::join(host.address, "Ann");
    ann.settle();
    for (bytes, word) in [
        (&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc][..], "TLS"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (&[0, 0, 0, 0x54, 0xff, b'S', b'M', b'B'], "JSON"),
        (&[0xa5; 1024], "length"),
    ] {
        let mut stranger = Peer::connect(host.address);
        stranger.send(bytes);
        let (refusal, ended) = stranger.refused();
        assert_eq!(refusal.code, Code::BadHeader);
        assert!(refusal.message.contains(word), "{}", refusal.message);
        assert!(ended);
    }
    assert!(ann.settle().is_empty());
}

#[test]
fn w07_a_hello_in_single_bytes() {
    let host = Host::start();
    let mut ann = Peer::connect(host.address);
    for byte in Frame::control(&Control::Hello(hello("Ann")), 0).bytes().iter() {
        ann.send(&[*byte]);
    }
    ann.wait(|op| matches!(op, Control::Welcome(_)).then_some(()));
}

#[test]
fn w10_w35_a_reset_inside_a_frame_delivers_no_part_and_the_session_can_be_resumed() {
    let host = Host::start();
    let (mut bob, _) = Peer::join(host.address, "Bob");
    let (mut ann, welcome) = Peer::join(host.address, "Ann");
    let track = ann.publish("camera");
    ann.send_picture(track, 0, true, b"whole");
    let half = picture(track, 1, false, &[7; 5000]);
    ann.send(&half.bytes()[..2000]);
    bob.wait_for(&Kind::Video);
    ann.reset();
    assert_eq!(presence(&mut bob, "Ann"), Presence::Reconnecting);
    let mut again = Peer::connect(host.address);
    let back = again.hello(Hello { resume: Some(welcome.token), ..hello("Ann") });
    assert!(back.resumed);
    assert_eq!((back.member, back.session), (welcome.member, welcome.session));
    assert_eq!(presence(&mut bob, "Ann"), Presence::Here);
    again.send_picture(track, 2, false, b"its reference is lost");
    again.send_picture(track, 3, true, b"new start");
    assert_eq!(bob.wait_for(&Kind::Video).payload(), b"new start");
}

#[test]
fn w21_damaged_pictures_are_dropped_and_ten_of_them_end_the_connection() {
    let host = Host::start();
    let (mut bob, _) = Peer::join(host.address, "Bob");
    let (mut ann, _) = Peer::join(host.address, "Ann");
    let track = ann.publish("camera");
    let damaged = |seq| {
        let mut bytes = picture(track, seq, true, b"damaged").bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    ann.send_picture(track, 0, true, b"whole");
    ann.send(&damaged(1));
    ann.send_picture(track, 2, false, b"refers to the damaged one");
    ann.wait(|op| matches!(op, Control::Keyframe { .. }).then_some(()));
    ann.send_picture(track, 3, true, b"whole again");
    assert_eq!(bob.wait_for(&Kind::Video).payload(), b"whole");
    assert_eq!(bob.wait_for(&Kind::Video).payload(), b"whole again");
    for seq in 4..13 {
        ann.send(&damaged(seq));
    }
    let (refusal, ended) = ann.refused();
    assert_eq!((refusal.code, ended), (Code::Checksum, true));
}

#[test]
fn w25_frames_of_unknown_type_are_passed_on_with_x_and_noticed_once_without() {
    let host = Host::start();
    let (mut bob, _) = Peer::join(host.address, "Bob");
    let (mut ann, _) = Peer::join(host.address, "Ann");
    for kind in ["telepathy", "telepathy", "x-whiteboard"] {
        ann.send(Frame::new(Kind::Extension(kind.into()), None, b"data", 0).bytes());
    }
    assert_eq!(bob.wait_for(&Kind::Extension("x-whiteboard".into())).payload(), b"data");
    let notices = ann.settle().iter().filter(|f| matches!(f.operation(), Ok(Control::Error(_)))).count();
    assert_eq!(notices, 1);
}

#[test]
fn w30_s23_clocks_of_senders_do_not_order_anything() {
    let host = Host::start();
    let (mut bob, _) = Peer::join(host.address, "Bob");
    let (mut ann, _) = Peer::join(host.address, "Ann");
    let track = ann.publish("camera");
    let media = |seq| picture(track, seq, seq == 0, b"x").header.media.unwrap();
    for (seq, wall) in [(0, 9_000_000_000_000_000), (1, 5), (2, 0), (3, 7_200_000_000)] {
        ann.send(Frame::video(media(seq), b"x", wall).bytes());
    }
    ann.settle();
    assert_eq!(seqs(&bob.settle()), [0, 1, 2, 3]);
}

#[test]
fn w33_a_flood_of_control_frames_is_told_to_slow_down() {
    let host = Host::start();
    let (mut ann, _) = Peer::join(host.address, "Ann");
    let pings: Vec<u8> =
        (0..2_000).flat_map(|id| Frame::control(&Control::Ping { id }, 0).bytes().to_vec()).collect();
    ann.send(&pings);
    let refusal = ann.wait(|op| if let Control::Error(refusal) = op { Some(refusal) } else { None });
    assert_eq!(refusal.code, Code::RateLimited);
    assert!(refusal.retry_after_ms.is_some());
}

#[test]
fn w34_what_was_sent_before_the_end_arrives_and_what_waits_is_still_delivered() {
    let host = Host::start();
    let (mut bob, _) = Peer::join(host.address, "Bob");
    let (mut ann, _) = Peer::join(host.address, "Ann");
    let track = ann.publish("camera");
    for seq in 0..20 {
        ann.send_picture(track, seq, seq == 0, &[1; 3000]);
    }
    ann.say(&Control::Ping { id: 99 });
    ann.end_writing();
    ann.wait(|op| (op == Control::Pong { id: 99 }).then_some(()));
    assert!(ann.ends());
    for seq in 0..20 {
        assert_eq!(bob.wait_for(&Kind::Video).header.media.unwrap().seq, seq);
    }
}

#[test]
fn w39_versions_without_a_common_one_are_told_what_there_is() {
    let host = Host::start();
    let mut old = Peer::connect(host.address);
    old.say(&Control::Hello(Hello { protocol: [7, 9], ..hello("Ann") }));
    let (refusal, ended) = old.refused();
    assert_eq!((refusal.code, refusal.protocol, ended), (Code::Version, Some([1, 1]), true));
    let mut newer = Peer::connect(host.address);
    assert_eq!(newer.hello(Hello { protocol: [1, 9], ..hello("Ann") }).protocol, 1);
}

#[test]
fn the_first_frame_must_be_a_hello_with_names_that_can_be_used() {
    let host = Host::start();
    let mut hasty = Peer::connect(host.address);
    hasty.say(&Control::Ping { id: 1 });
    hasty.wait(|op| (op == Control::Pong { id: 1 }).then_some(()));
    hasty.say(&Control::Subscribe { tracks: vec![TrackId(1)] });
    assert_eq!(hasty.refused().0.code, Code::Protocol);
    for bad in [Hello { room: "../etc".into(), ..hello("Ann") }, hello("a\u{202e}b"), hello("")] {
        let mut peer = Peer::connect(host.address);
        peer.say(&Control::Hello(bad));
        let (refusal, ended) = peer.refused();
        assert_eq!((refusal.code, ended), (Code::Name, true));
    }
}

#[test]
fn s03_connections_that_say_nothing_or_a_byte_a_second_are_closed_within_ten_seconds() {
    let host = Host::start();
    let mut slow: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(host.address).unwrap()).collect();
    let (mut ann, _) = Peer::join(host.address, "Ann");
    let hello = Frame::control(&Control::Hello(hello("Slow")), 0);
    let started = confkit::time::now();
    for byte in hello.bytes().iter().take(12) {
        // Writes to connections that are closed already fail, which is what is waited for.
        slow.retain_mut(|socket| socket.write_all(&[*byte]).is_ok());
        if slow.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(slow.is_empty(), "{} are still open", slow.len());
    assert!(confkit::time::now().since(started) < Duration::from_millis(11_500));
    ann.settle();
}

#[test]
fn s04_stalled_viewers_cost_the_others_no_picture() {
    let host = Host::start();
    let (mut ann, _) = Peer::join(host.address, "Ann");
    let track = ann.publish("camera");
    let stalled: Vec<_> = (0..200).map(|n| Peer::join(host.address, &format!("stalled {n}"))).collect();
    let (mut bob, _) = Peer::join(host.address, "Bob");
    // Pictures as large as those of 4K at 40 Mbit/s, one keyframe a second.
    for seq in 0..120 {
        ann.send_picture(track, seq, seq % 30 == 0, &[seq as u8; 160_000]);
        assert_eq!(bob.wait_for(&Kind::Video).header.media.unwrap().seq, seq);
    }
    drop(stalled);
}

#[test]
fn w37_a_viewer_that_takes_nothing_for_ten_seconds_is_let_go_and_keeps_its_session() {
    let host = Host::start();
    let (mut ann, _) = Peer::join(host.address, "Ann");
    let track = ann.publish("camera");
    let (_stalled, _) = Peer::join(host.address, "stalled");
    let started = confkit::time::now();
    let mut way = ann.socket.try_clone().unwrap();
    let feeding = std::thread::spawn(move || {
        for seq in 0..140 {
            let size = if seq < 60 { 160_000 } else { 100 };
            if way.write_all(picture(track, seq, seq % 30 == 0, &vec![7; size]).bytes()).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(if seq < 60 { 5 } else { 200 }));
        }
    });
    ann.wait(|op| match op {
        Control::Member(Member { name, state: Presence::Reconnecting, .. }) if name == "stalled" => Some(()),
        _ => None,
    });
    let waited = confkit::time::now().since(started);
    assert!((9..16).contains(&waited.as_secs()), "{waited:?}");
    drop(ann);
    feeding.join().unwrap();
}

#[test]
fn s08_a_frame_of_somebody_elses_track_goes_nowhere() {
    let host = Host::start();
    let (mut ann, _) = Peer::join(host.address, "Ann");
    let track = ann.publish("camera");
    let (mut bob, _) = Peer::join(host.address, "Bob");
    let (mut eve, _) = Peer::join(host.address, "Eve");
    eve.send_picture(track, 0, true, b"forged");
    let refusal = eve.wait(|op| if let Control::Error(refusal) = op { Some(refusal) } else { None });
    assert_eq!(refusal.code, Code::Track);
    eve.say(&Control::Unpublish { track });
    eve.settle();
    ann.send_picture(track, 0, true, b"real");
    assert_eq!(bob.wait_for(&Kind::Video).payload(), b"real");
}

#[test]
fn s09_the_newest_connection_of_a_session_wins() {
    let host = Host::start();
    let (mut old, welcome) = Peer::join(host.address, "Ann");
    let (mut bob, _) = Peer::join(host.address, "Bob");
    let mut new = Peer::connect(host.address);
    let back = new.hello(Hello { resume: Some(welcome.token), ..hello("Ann") });
    assert_eq!((back.resumed, back.member), (true, welcome.member));
    let (refusal, ended) = old.refused();
    assert_eq!((refusal.code, ended), (Code::Replaced, true));
    let seen: Vec<_> = bob.settle().iter().filter_map(|f| f.operation().ok()).collect();
    assert!(!seen.iter().any(|op| matches!(op, Control::MemberLeft { .. })), "{seen:?}");
}

#[test]
fn s12_an_unknown_or_expired_session_becomes_a_new_one_with_the_full_state() {
    let host = Host::with(server::Config {
        terms: Terms { grace: Duration::from_millis(100), ..Terms::default() },
        ..server::Config::default()
    });
    let (mut bob, _) = Peer::join(host.address, "Bob");
    let (ann, welcome) = Peer::join(host.address, "Ann");
    ann.reset();
    bob.wait(|op| matches!(op, Control::MemberLeft { member } if member == welcome.member).then_some(()));
    let mut again = Peer::connect(host.address);
    let fresh = again.hello(Hello { resume: Some(welcome.token), ..hello("Ann") });
    assert!(!fresh.resumed);
    assert_ne!(fresh.token, welcome.token);
}

#[test]
fn s14_a_publisher_without_keyframes_is_asked_for_one() {
    let host = Host::start();
    let (mut ann, _) = Peer::join(host.address, "Ann");
    let track = ann.publish("camera");
    let (mut bob, _) = Peer::join(host.address, "Bob");
    ann.send_picture(track, 0, false, b"delta");
    let asked = ann.wait(|op| match op {
        Control::Keyframe { track, rendition } => Some((track, rendition)),
        _ => None,
    });
    assert_eq!(asked, (track, Rendition::High));
    ann.send_picture(track, 1, true, b"key");
    assert_eq!(bob.wait_for(&Kind::Video).payload(), b"key");
}

#[test]
fn s29_a_fault_in_one_connection_ends_that_connection_only() {
    let fault: server::Inspect = Arc::new(|header| {
        assert!(header.kind != Kind::Extension("x-fault".into()), "a fault on purpose");
    });
    let host = Host::with(server::Config { inspect: Some(fault), ..server::Config::default() });
    let (mut bob, _) = Peer::join(host.address, "Bob");
    let (mut ann, _) = Peer::join(host.address, "Ann");
    ann.send(Frame::new(Kind::Extension("x-fault".into()), None, b"!", 0).bytes());
    assert!(ann.ends());
    assert_eq!(presence(&mut bob, "Ann"), Presence::Here);
    assert_eq!(presence(&mut bob, "Ann"), Presence::Reconnecting);
    Peer::join(host.address, "Cid").0.settle();
}

#[test]
fn programs_of_one_person_are_one_member() {
    let host = Host::start();
    let key = Key::from_seed(&confkit::id::Secret([7; 32]));
    let (mut bob, _) = Peer::join(host.address, "Bob");
    let mut send = Peer::connect(host.address);
    let first = send.hello_as(&key, hello("Ann"));
    let track = send.publish("camera");
    let mut view = Peer::connect(host.address);
    let second = view.hello_as(&key, Hello { subscribe: vec![TrackKind::Video], ..hello("Ann") });
    assert_eq!((first.member, &first.name), (second.member, &second.name));
    send.send_picture(track, 0, true, b"mine");
    assert_eq!(view.wait_for(&Kind::Video).payload(), b"mine");
    send.say(&Control::Goodbye(Default::default()));
    assert!(send.ends());
    view.say(&Control::Goodbye(Default::default()));
    assert!(view.ends());
    bob.wait(|op| matches!(op, Control::MemberLeft { member } if member == first.member).then_some(()));
}

#[test]
fn a_track_is_sent_until_it_is_unsubscribed_and_again_from_a_keyframe_on() {
    let host = Host::start();
    let (mut ann, _) = Peer::join(host.address, "Ann");
    let track = ann.publish("camera");
    let mut bob = Peer::connect(host.address);
    bob.hello(hello("Bob"));
    ann.send_picture(track, 0, true, b"unseen");
    ann.settle();
    assert!(seqs(&bob.settle()).is_empty());
    bob.say(&Control::Subscribe { tracks: vec![track] });
    assert_eq!(seqs(&bob.settle()), [0]);
    bob.say(&Control::Unsubscribe { tracks: vec![track] });
    bob.settle();
    ann.send_picture(track, 1, false, b"unseen");
    ann.settle();
    assert!(seqs(&bob.settle()).is_empty());
    bob.say(&Control::Subscribe { tracks: vec![TrackId(999)] });
    let refusal = bob.wait(|op| if let Control::Error(refusal) = op { Some(refusal) } else { None });
    assert_eq!(refusal.code, Code::Track);
}
