//! Messages as a peer sees them: numbered, acknowledged, kept, and given to who missed them.

use confkit::chat::Content;
use confkit::id::{LogId, MemberId, PublicKey, Secret, SourceId};
use confkit::limits;
use confkit::room::Terms;
use confkit::server::store::{Founding, Keep, Store};
use confkit::server::{self, store};
use confkit::session::{Key, password};
use confkit::wire::control::{Ack, Action, Control, Gap, GapReason, Hello, Log, Messages, Welcome};
use confkit::wire::{Code, Frame, Kind, Letter, Slot};

use super::support::peer::{Host, Peer, hello};

const SOURCE: SourceId = SourceId([7; 16]);
const NEW: Messages = Messages { log: None, after: None, history: 100 };

/// A server that keeps its messages in `directory`.
fn keeping(directory: &std::path::Path) -> Host {
    let store = Store::open(directory, Keep::default(), 1_700_000_000_000_000).unwrap();
    Host::with(server::Config { store: Some(store), ..server::Config::default() })
}

fn reader(host: &Host, name: &str, messages: Messages) -> (Peer, Welcome) {
    let mut peer = Peer::connect(host.address);
    let welcome = peer.hello(Hello { messages: Some(messages), ..hello(name) });
    (peer, welcome)
}

fn letter(source: SourceId, n: u64) -> Letter {
    Letter { source, n, to: None, slot: None, receipt: None }
}

fn say(peer: &mut Peer, n: u64, text: &str) {
    post(peer, letter(SOURCE, n), text);
}

fn post(peer: &mut Peer, letter: Letter, text: &str) {
    peer.send(Frame::message(letter, &Content::Text(text.into()).to_payload(), 0).bytes());
}

/// The next message: its number in the room and what it says.
fn next(peer: &mut Peer) -> (u64, String) {
    let frame = peer.wait_for(&Kind::Message);
    let receipt = frame.header.letter.as_ref().unwrap().receipt.as_ref().unwrap();
    (receipt.seq, Content::from_payload(frame.payload()).text().to_owned())
}

fn acked(peer: &mut Peer, level: impl Fn(&Ack) -> bool) -> Ack {
    peer.wait(|op| match op {
        Control::Ack(ack) if level(&ack) => Some(ack),
        _ => None,
    })
}

fn caught_up(peer: &mut Peer) -> u64 {
    peer.wait(|op| if let Control::CaughtUp { seq } = op { Some(seq) } else { None })
}

fn position(log: Option<Log>, after: u64) -> Messages {
    Messages { log: log.map(|log| log.id), after: Some(after), history: 100 }
}

#[test]
fn of_what_is_said_all_at_once_by_many_nothing_is_left_unwritten() {
    let host = Host::start();
    let mut talkers: Vec<Peer> = (0..20).map(|n| reader(&host, &format!("t{n}"), NEW).0).collect();
    let (mut bob, _) = reader(&host, "Bob", NEW);
    for round in 1..=5 {
        for (number, talker) in talkers.iter_mut().enumerate() {
            post(talker, letter(SourceId([number as u8; 16]), round), "x");
        }
        // Nothing more is said until all of it is there, so nothing that comes later carries it along.
        for told in (round - 1) * 20 + 1..=round * 20 {
            assert_eq!(next(&mut bob).0, told);
        }
        for talker in &mut talkers {
            acked(talker, |ack| ack.relayed == round);
        }
    }
}

#[test]
fn everybody_gets_a_message_in_one_order_and_its_sender_an_acknowledgement() {
    let host = Host::start();
    let (mut ann, welcome) = reader(&host, "Ann", NEW);
    let (mut bob, _) = reader(&host, "Bob", NEW);
    assert_eq!(welcome.log.map(|log| (log.last, log.stored)), Some((0, false)));
    say(&mut ann, 1, "one");
    say(&mut ann, 2, "two");
    for peer in [&mut bob, &mut ann] {
        assert_eq!(next(peer), (1, "one".into()));
        assert_eq!(next(peer), (2, "two".into()));
    }
    let ack = acked(&mut ann, |ack| ack.relayed == 2);
    assert_eq!((ack.source, ack.stored, ack.seq), (SOURCE, 0, 2), "nothing is called stored that is not");
}

#[test]
fn s16_what_was_acknowledged_as_stored_outlives_the_server_and_what_comes_again_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let host = keeping(directory.path());
    let (mut ann, welcome) = reader(&host, "Ann", NEW);
    for n in 1..=300 {
        say(&mut ann, n, &format!("line {n}"));
    }
    acked(&mut ann, |ack| ack.stored == 300);
    drop((ann, host));

    let host = keeping(directory.path());
    let (mut ann, again) = reader(&host, "Ann", position(welcome.log, 250));
    assert_eq!(again.log.map(|log| log.id), welcome.log.map(|log| log.id), "the same log");
    for n in 251..=300 {
        assert_eq!(next(&mut ann), (n, format!("line {n}")));
    }
    assert_eq!(caught_up(&mut ann), 300);
    // The answer to the last ones might have been lost: they are sent again.
    say(&mut ann, 299, "line 299");
    say(&mut ann, 300, "line 300");
    say(&mut ann, 301, "new");
    assert_eq!(next(&mut ann), (301, "new".into()));
    assert_eq!(acked(&mut ann, |ack| ack.stored == 301).relayed, 301);
    // A newcomer is given as much as it asked for, from the disk too.
    let (mut late, _) = reader(&host, "Late", Messages { history: 280, ..NEW });
    for n in 22..=300 {
        assert_eq!(next(&mut late), (n, format!("line {n}")));
    }
    assert_eq!(next(&mut late), (301, "new".into()));
    assert_eq!(caught_up(&mut late), 301);
}

#[test]
fn s12_a_position_in_a_log_that_is_gone_is_told_as_a_gap_and_answered_with_history() {
    let host = Host::start();
    let (mut ann, _) = reader(&host, "Ann", NEW);
    say(&mut ann, 1, "hello");
    next(&mut ann);
    let foreign = Messages { log: Some(LogId([9; 8])), after: Some(77), history: 10 };
    let (mut bob, _) = reader(&host, "Bob", foreign);
    let gap = bob.wait(|op| if let Control::Gap(gap) = op { Some(gap) } else { None });
    assert_eq!(gap, Gap { from: 0, to: 0, reason: GapReason::Unknown });
    assert_eq!(next(&mut bob), (1, "hello".into()));
}

#[test]
fn s13_a_position_that_was_never_given_is_refused() {
    let host = Host::start();
    let (_ann, welcome) = reader(&host, "Ann", NEW);
    let mut bob = Peer::connect(host.address);
    let messages = Some(position(welcome.log, 1_000_000));
    bob.say(&Control::Hello(Hello { messages, ..hello("Bob") }));
    assert_eq!(bob.refused().0.code, Code::Resume);
}

#[test]
fn s10_s11_a_number_used_twice_is_told_once_and_one_far_ahead_ends_the_connection() {
    let host = Host::start();
    let (mut ann, _) = reader(&host, "Ann", NEW);
    say(&mut ann, 1, "first");
    say(&mut ann, 1, "another text");
    assert!(acked(&mut ann, |ack| ack.conflict).relayed == 1);
    say(&mut ann, 2, "second");
    let (mut bob, _) = reader(&host, "Bob", NEW);
    assert_eq!([next(&mut bob), next(&mut bob)], [(1, "first".into()), (2, "second".into())]);
    say(&mut ann, 3 + limits::AHEAD, "far ahead");
    assert_eq!(ann.refused().0.code, Code::Protocol);
}

#[test]
fn s08_nobody_speaks_as_somebody_else() {
    let host = Host::start();
    let (key, other) = (Key::from_seed(&Secret([1; 32])), Key::from_seed(&Secret([2; 32])));
    let mut ann = Peer::connect(host.address);
    let welcome = ann.hello_as(&key, Hello { messages: Some(NEW), ..hello("Ann") });
    say(&mut ann, 1, "mine");
    let frame = ann.wait_for(&Kind::Message);
    let receipt = frame.header.letter.unwrap().receipt.unwrap();
    assert_eq!((receipt.from, receipt.name, receipt.key), (welcome.member, "Ann".into(), Some(key.public())));

    let mut eve = Peer::connect(host.address);
    eve.hello_as(&other, hello("Eve"));
    say(&mut eve, 2, "in her series");
    assert_eq!(eve.refused_message().0.code, Code::Identity);

    // Her name and key without the proof, with a proof for another challenge, and with somebody else's.
    let stale = Peer::connect(host.address).challenge();
    for proof in [None, Some(key.prove(&stale, "test")), Some(other.prove(&stale, "test"))] {
        let mut eve = Peer::connect(host.address);
        eve.say(&Control::Hello(Hello { key: Some(key.public()), proof, ..hello("Ann") }));
        let (refusal, ended) = eve.refused();
        assert_eq!((refusal.code, ended), (Code::Identity, true));
    }
    // A stolen token is not enough either.
    let mut eve = Peer::connect(host.address);
    let taken = eve.hello_as(&other, Hello { resume: Some(welcome.token), ..hello("Eve") });
    assert!(!taken.resumed && taken.member != welcome.member);
}

#[test]
fn a_direct_message_reaches_the_programs_of_two_members_and_nobody_else() {
    let host = Host::start();
    let key = Key::from_seed(&Secret([1; 32]));
    let wants = || Hello { messages: Some(NEW), ..hello("Ann") };
    let (mut ann, mut ann_too) = (Peer::connect(host.address), Peer::connect(host.address));
    ann.hello_as(&key, wants());
    ann_too.hello_as(&key, wants());
    let (mut bob, bobs) = reader(&host, "Bob", NEW);
    let (mut eve, _) = reader(&host, "Eve", NEW);
    post(&mut ann, Letter { to: Some(bobs.member), ..letter(SOURCE, 1) }, "for Bob");
    post(&mut ann, letter(SOURCE, 2), "for all");
    post(&mut ann, Letter { to: Some(MemberId(99)), ..letter(SOURCE, 3) }, "for nobody");
    for peer in [&mut ann, &mut ann_too, &mut bob] {
        assert_eq!([next(peer), next(peer)], [(1, "for Bob".into()), (2, "for all".into())]);
    }
    assert_eq!(next(&mut eve), (2, "for all".into()));
    assert_eq!(ann.refused_message().0.code, Code::Member);
    let (mut late, _) = reader(&host, "Late", NEW);
    assert_eq!(next(&mut late), (2, "for all".into()), "nor who reads the history");
}

#[test]
fn the_topic_is_given_to_everybody_who_joins_however_old_it_is() {
    let host = Host::start();
    let (mut ann, _) = reader(&host, "Ann", NEW);
    post(&mut ann, Letter { slot: Some(Slot::topic()), ..letter(SOURCE, 1) }, "plans");
    for n in 2..=9 {
        say(&mut ann, n, "more");
    }
    acked(&mut ann, |ack| ack.relayed == 9);
    let (mut late, _) = reader(&host, "Late", Messages { history: 2, ..NEW });
    assert_eq!([next(&mut late).0, next(&mut late).0, next(&mut late).0], [1, 8, 9]);
    assert_eq!(caught_up(&mut late), 9);
}

#[test]
fn who_asks_for_older_messages_gets_them_in_order_from_memory_and_from_the_disk_and_then_what_is_new() {
    let directory = tempfile::tempdir().unwrap();
    for keeps in [false, true] {
        let host = if keeps { keeping(directory.path()) } else { Host::start() };
        let (mut ann, _) = reader(&host, "Ann", NEW);
        (1..=200).for_each(|n| say(&mut ann, n, &format!("line {n}")));
        acked(&mut ann, |ack| ack.relayed == 200 && (!keeps || ack.stored == 200));
        let host = if keeps {
            drop((ann, host));
            let host = keeping(directory.path());
            ann = reader(&host, "Ann", Messages { history: 0, ..NEW }).0;
            host
        } else {
            host
        };
        let (mut bob, _) = reader(&host, "Bob", Messages { history: 10, ..NEW });
        (191..=200).for_each(|n| assert_eq!(next(&mut bob), (n, format!("line {n}"))));
        caught_up(&mut bob);
        for (id, before, count, expected) in
            [(1, 191, 50, 141..191), (2, 141, 1_000, 13..141), (3, 13, 1_000, 1..13), (4, 1, 10, 1..1)]
        {
            bob.say(&Control::Older { id, before, count });
            expected.for_each(|n| assert_eq!(next(&mut bob), (n, format!("line {n}"))));
            bob.wait(|op| (op == Control::Done { id }).then_some(()));
            assert_eq!(caught_up(&mut bob), 200);
        }
        // What is said meanwhile comes once, and they in their order.
        bob.say(&Control::Older { id: 5, before: 11, count: 100 });
        bob.say(&Control::Older { id: 6, before: 11, count: 100 });
        let source = SourceId([9; 16]);
        post(&mut ann, letter(source, 1), "new");
        // Whichever of the two connections the server heard first.
        let (mut older, mut new) = (0, 0);
        while older < 10 || new == 0 {
            let (n, text) = next(&mut bob);
            if n == 201 {
                assert_eq!(text, "new");
                new += 1;
            } else {
                assert_eq!((n, text), (older % 10 + 1, format!("line {n}")));
                older += 1;
            }
        }
        assert_eq!(new, 1);
    }
}

#[test]
fn hosts_lock_mute_name_others_and_send_away() {
    let host = Host::start();
    let (mut ann, _) = reader(&host, "Ann", NEW);
    let key = Key::from_seed(&Secret([3; 32]));
    let mut bob = Peer::connect(host.address);
    let bobs = bob.hello_as(&key, Hello { messages: Some(NEW), ..hello("Bob") });
    let moderate = |peer: &mut Peer, id, action, member| {
        peer.say(&Control::Moderate { id, action, member });
        peer.wait(|op| match op {
            Control::Done { id: done } if done == id => Some(None),
            Control::Error(refusal) if refusal.id == Some(id) => Some(Some(refusal.code)),
            _ => None,
        })
    };
    assert_eq!(moderate(&mut bob, 1, Action::Lock, None), Some(Code::Denied), "Ann made the room");
    assert_eq!(moderate(&mut ann, 1, Action::Mute, Some(bobs.member)), None);
    post(&mut bob, letter(SourceId([3; 16]), 1), "psst");
    assert_eq!(bob.refused_message().0.code, Code::Muted);
    assert_eq!(moderate(&mut ann, 2, Action::Unmute, Some(bobs.member)), None);
    post(&mut bob, letter(SourceId([3; 16]), 2), "here again");
    assert_eq!(next(&mut ann).1, "here again");
    assert_eq!(moderate(&mut ann, 3, Action::Lock, None), None);
    let mut eve = Peer::connect(host.address);
    eve.say(&Control::Hello(hello("Eve")));
    assert_eq!(eve.refused().0.code, Code::Locked);
    assert_eq!(moderate(&mut ann, 4, Action::Unlock, None), None);
    assert_eq!(moderate(&mut ann, 5, Action::Host, Some(bobs.member)), None);
    assert_eq!(moderate(&mut bob, 6, Action::Lock, None), None, "hosts name hosts");
    assert_eq!(moderate(&mut bob, 7, Action::Kick, Some(MemberId(1))), Some(Code::Denied));
    assert_eq!(moderate(&mut ann, 8, Action::Unhost, Some(bobs.member)), None);
    assert_eq!(moderate(&mut ann, 9, Action::Unlock, None), None);
    assert_eq!(moderate(&mut ann, 10, Action::Kick, Some(bobs.member)), None);
    assert_eq!(bob.refused().0.code, Code::Kicked);
    let mut back = Peer::connect(host.address);
    let proof = key.prove(&back.challenge(), "test");
    back.say(&Control::Hello(Hello { key: Some(key.public()), proof: Some(proof), ..hello("Bob") }));
    assert_eq!(back.refused().0.code, Code::Kicked);
}

#[test]
fn a_room_with_a_password_takes_who_knows_it() {
    let directory = tempfile::tempdir().unwrap();
    let room = "test".parse().unwrap();
    let secret = password::key("correct horse", &room);
    let (store, commits) = Store::open(directory.path(), Keep::default(), 0).unwrap();
    let founding =
        Founding { password: Some(secret.0), owner: Some(PublicKey([1; 32])), ..Founding::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _: store::Archive = runtime.block_on(store.found(&room, founding)).unwrap();
    let terms = Terms::default();
    let config = server::Config { store: Some((store, commits)), terms, ..server::Config::default() };
    let host = Host::with(config);
    let enter = |key: Option<Secret<32>>| {
        let mut peer = Peer::connect(host.address);
        let nonce = peer.challenge();
        let password = key.map(|key| password::proof(&key, &nonce));
        peer.say(&Control::Hello(Hello { password, ..hello("Ann") }));
        peer.wait(|op| match op {
            Control::Welcome(_) => Some(None),
            Control::Error(refusal) => Some(Some(refusal.code)),
            _ => None,
        })
    };
    assert_eq!(enter(None), Some(Code::Password));
    assert_eq!(enter(Some(password::key("wrong", &room))), Some(Code::Password));
    assert_eq!(enter(Some(secret)), None);
}

#[test]
fn s05_who_does_not_take_its_messages_is_closed_and_has_them_all_when_it_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let host = keeping(directory.path());
    let (mut ann, welcome) = reader(&host, "Ann", NEW);
    let (stalled, bobs) = reader(&host, "Bob", NEW);
    // More than the kernel's buffers and the queue together hold.
    let long = "x".repeat(60_000);
    for n in 1..=220 {
        say(&mut ann, n, &long);
        assert_eq!(next(&mut ann).0, n);
    }
    acked(&mut ann, |ack| ack.stored == 220);
    drop(stalled);
    let mut bob = Peer::connect(host.address);
    let messages = Some(position(welcome.log, 0));
    let again = bob.hello(Hello { resume: Some(bobs.token), messages, ..hello("Bob") });
    assert!(again.resumed);
    for n in 1..=220 {
        assert_eq!(next(&mut bob), (n, long.clone()));
    }
    assert_eq!(caught_up(&mut bob), 220);
}
