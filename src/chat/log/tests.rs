//! A room's log, told what comes, and asked what it gives.

use bytes::Bytes;

use super::*;
use crate::chat::Reader;
use crate::id::PublicKey;
use crate::wire::control::{Gap, GapReason};
use crate::wire::{Incoming, Parser};

const ANN: SourceId = SourceId([1; 16]);
const LINE: ConnectionId = ConnectionId(1);

fn letter(source: SourceId, n: u64) -> Letter {
    Letter { source, n, to: None, slot: None, receipt: None }
}

fn person(number: u32) -> Author {
    let key = Some(PublicKey([number as u8; 32]));
    Author { member: MemberId(number), name: format!("m{number}"), key }
}

fn guest(number: u32) -> Author {
    Author { key: None, ..person(number) }
}

fn reader(number: u32) -> Reader {
    Reader { member: MemberId(number), key: Some(PublicKey([number as u8; 32])) }
}

fn say(log: &mut Log, source: SourceId, n: u64, text: &str) -> Accepted {
    say_as(log, &person(1), letter(source, n), text)
}

fn say_as(log: &mut Log, author: &Author, letter: Letter, text: &str) -> Accepted {
    let to = letter.to.map(|member| Addressee { member, key: Some(PublicKey([member.0 as u8; 32])) });
    let frame = Frame::message(letter.clone(), text.as_bytes(), 0);
    log.accept(&frame, &letter, author, Ok(to), LINE, 0)
}

fn new(accepted: Accepted) -> Entry {
    match accepted {
        Accepted::New(entry) => entry,
        other => panic!("{other:?}"),
    }
}

fn code(accepted: Accepted) -> Code {
    match accepted {
        Accepted::Refused(refusal) | Accepted::Fault(refusal) => refusal.code,
        other => panic!("{other:?}"),
    }
}

fn log() -> Log {
    Log::new(LogId([7; 8]))
}

fn past() -> Past {
    Past { next: 1, limit: 10_000, oldest: 1, ..Past::default() }
}

/// Ann's source, as a store knows it.
fn standing(n: u64) -> Standing {
    let owner = Some(PublicKey([1; 32]));
    Standing { source: ANN, n, owner, checksum: [0; 16], refused: Vec::new() }
}

fn stored() -> Log {
    Log::restore(LogId([7; 8]), past())
}

fn read(bytes: &Bytes) -> (Letter, Receipt) {
    let mut parser = Parser::new();
    parser.push(bytes);
    let Ok(Some(Incoming::Frame(frame))) = parser.poll() else { panic!("not a frame") };
    let letter = *frame.header.letter.unwrap();
    let receipt = letter.receipt.clone().unwrap();
    (letter, receipt)
}

/// What a reader is given behind `after`: numbers of messages, and gaps.
fn given(log: &Log, reader: &Reader, after: u64) -> (Vec<u64>, Vec<(u64, u64, GapReason)>) {
    let (mut numbers, mut gaps, mut after) = (Vec::new(), Vec::new(), after);
    loop {
        let page = log.page(reader, after).unwrap();
        for item in page.items {
            match item {
                Item::Message(frame) => numbers.push(read(&frame).1.seq),
                Item::Gap(gap) => gaps.push((gap.from, gap.to, gap.reason)),
            }
        }
        if page.complete {
            return (numbers, gaps);
        }
        assert!(page.through > after, "a page goes on");
        after = page.through;
    }
}

fn ack(log: &Log, source: SourceId) -> Ack {
    log.ack(source).unwrap().1
}

#[test]
fn s10_a_number_that_says_something_else_the_second_time_keeps_the_first() {
    let mut log = log();
    new(say(&mut log, ANN, 1, "first"));
    new(say(&mut log, ANN, 2, "second"));
    assert!(matches!(say(&mut log, ANN, 1, "other"), Accepted::Again { conflict: true }));
    assert!(matches!(say(&mut log, ANN, 1, "first"), Accepted::Again { conflict: false }));
    assert_eq!(given(&log, &reader(2), 0).0, [1, 2]);
}

#[test]
fn s10_is_noticed_across_a_restart_for_the_last_message() {
    let sources = vec![Standing { checksum: crate::wire::checksum(b"five"), ..standing(5) }];
    let mut log = Log::restore(LogId([7; 8]), Past { next: 9, limit: 99, sources, ..past() });
    assert!(matches!(say(&mut log, ANN, 5, "five"), Accepted::Again { conflict: false }));
    assert!(matches!(say(&mut log, ANN, 5, "V"), Accepted::Again { conflict: true }));
    assert_eq!(ack(&log, ANN).stored, 5, "what was stored is acknowledged so");
}

#[test]
fn s11_a_jump_too_far_is_a_fault_and_an_old_number_is_known() {
    let mut log = log();
    new(say(&mut log, ANN, 10, "a source may begin anywhere"));
    new(say(&mut log, ANN, 10 + limits::AHEAD, "as far as it may"));
    assert_eq!(code(say(&mut log, ANN, 11 + 2 * limits::AHEAD, "too far")), Code::Protocol);
    assert!(matches!(say(&mut log, ANN, 3, "old"), Accepted::Again { .. }));
    assert_eq!(ack(&log, ANN).relayed, 10 + limits::AHEAD);
}

#[test]
fn s11_after_a_restart_a_sender_may_be_further_than_the_disk_knows() {
    let sources = vec![standing(5)];
    let mut log = Log::restore(LogId([7; 8]), Past { next: 9, limit: 99, sources, ..past() });
    let far = 5 + 3 * limits::AHEAD;
    new(say(&mut log, ANN, far, "what was relayed in between was not stored"));
    assert_eq!(code(say(&mut log, ANN, far + limits::AHEAD + 1, "now it is known")), Code::Protocol);
}

#[test]
fn s08_a_source_of_somebody_else_is_refused_and_says_nothing_about_it() {
    let mut log = log();
    new(say(&mut log, ANN, 1, "mine"));
    assert_eq!(code(say_as(&mut log, &person(2), letter(ANN, 2), "hers")), Code::Identity);
    assert_eq!(code(say_as(&mut log, &guest(3), letter(ANN, 2), "a guest's")), Code::Identity);
    new(say(&mut log, ANN, 2, "mine again"));
    let elsewhere = Author { member: MemberId(9), ..person(1) };
    new(say_as(&mut log, &elsewhere, letter(ANN, 3), "the same person as another member"));
}

#[test]
fn s08_what_a_client_says_about_its_sender_is_overwritten() {
    let mut log = log();
    let receipt =
        Receipt { seq: 99, prev: 98, from: MemberId(9), name: "Eve".into(), key: None, received: 5.0 };
    let forged = Letter { receipt: Some(receipt), ..letter(ANN, 1) };
    let (_, receipt) = read(&new(say_as(&mut log, &person(1), forged, "hello")).frame);
    assert_eq!((receipt.seq, receipt.prev, receipt.from), (1, 0, MemberId(1)));
    assert_eq!((receipt.name.as_str(), receipt.key), ("m1", Some(PublicKey([1; 32]))));
}

#[test]
fn a_guest_who_is_gone_does_not_take_its_messages_with_it() {
    let mut log = log();
    new(say_as(&mut log, &guest(1), letter(ANN, 1), "one"));
    assert_eq!(code(say_as(&mut log, &guest(2), letter(ANN, 2), "two")), Code::Identity);
    log.handle_guest_gone(MemberId(1));
    assert!(matches!(say_as(&mut log, &guest(2), letter(ANN, 1), "one"), Accepted::Again { .. }));
    new(say_as(&mut log, &guest(2), letter(ANN, 2), "two"));
    assert_eq!(code(say_as(&mut log, &guest(3), letter(ANN, 3), "three")), Code::Identity);
}

#[test]
fn a_refused_number_stays_refused_and_a_relayed_one_stays_relayed() {
    let mut log = stored();
    let no = |log: &mut Log, n| {
        let frame = Frame::message(letter(ANN, n), b"?", 0);
        let muted = Refusal::new(Code::Muted, "no");
        log.accept(&frame, &letter(ANN, n), &person(1), Err(muted), LINE, 0)
    };
    new(say(&mut log, ANN, 1, "relayed"));
    assert!(matches!(no(&mut log, 1), Accepted::Again { .. }), "it was there before the reason was");
    assert_eq!(code(no(&mut log, 2)), Code::Muted);
    assert_eq!(code(say(&mut log, ANN, 2, "again")), Code::Muted, "the answer may have been lost");
    new(say(&mut log, ANN, 3, "relayed"));
    assert_eq!((ack(&log, ANN).relayed, ack(&log, ANN).stored), (3, 0));
    assert_eq!(log.handle_stored(1), [ANN]);
    assert_eq!(ack(&log, ANN).stored, 1, "what was refused waits for nothing but what is before it");
    log.handle_stored(2);
    assert_eq!(ack(&log, ANN).stored, 3);
}

#[test]
fn what_was_refused_is_said_before_anything_behind_it_is_acknowledged_again() {
    let mut log = stored();
    new(say(&mut log, ANN, 1, "relayed"));
    let muted = Refusal::new(Code::Muted, "no");
    let frame = Frame::message(letter(ANN, 2), b"?", 0);
    let refused = log.accept(&frame, &letter(ANN, 2), &person(1), Err(muted), LINE, 0);
    assert_eq!(code(refused), Code::Muted);
    new(say(&mut log, ANN, 3, "relayed"));
    log.handle_stored(2);
    // Neither the refusal nor what followed has arrived: all is sent again over another connection.
    let again = |log: &mut Log, n| {
        let frame = Frame::message(letter(ANN, n), b"relayed", 0);
        log.accept(&frame, &letter(ANN, n), &person(1), Ok(None), ConnectionId(2), 0)
    };
    assert!(matches!(again(&mut log, 1), Accepted::Again { .. }));
    assert_eq!((ack(&log, ANN).relayed, ack(&log, ANN).stored), (1, 1), "the sender would forget 2");
    assert_eq!(code(again(&mut log, 2)), Code::Muted);
    assert!(matches!(again(&mut log, 3), Accepted::Again { .. }));
    assert_eq!((ack(&log, ANN).relayed, ack(&log, ANN).stored), (3, 3));
}

#[test]
fn what_was_refused_is_refused_by_the_next_life_of_the_server_too() {
    let mut log = stored();
    let muted = Refusal::new(Code::Muted, "no");
    let frame = Frame::message(letter(ANN, 1), b"?", 0);
    let refused = log.accept(&frame, &letter(ANN, 1), &person(1), Err(muted), LINE, 0);
    assert_eq!(code(refused), Code::Muted);
    let entry = new(say(&mut log, ANN, 2, "relayed"));
    assert_eq!(entry.refused, [(1, Code::Muted)], "what the store is to know");
    let sources = vec![Standing { refused: entry.refused, ..standing(2) }];
    let mut log = Log::restore(LogId([7; 8]), Past { next: 9, limit: 99, sources, ..past() });
    assert_eq!(code(say(&mut log, ANN, 1, "?")), Code::Muted, "it was never taken");
    assert!(matches!(say(&mut log, ANN, 2, "relayed"), Accepted::Again { .. }));
    assert_eq!(new(say(&mut log, ANN, 3, "x")).refused, [(1, Code::Muted)], "nor forgotten");
}

#[test]
fn t24_stored_is_said_when_it_is_and_not_before() {
    let mut log = stored();
    for n in 1..=3 {
        new(say(&mut log, ANN, n, "x"));
    }
    assert_eq!((ack(&log, ANN).relayed, ack(&log, ANN).stored, log.unstored()), (3, 0, 3));
    assert_eq!(log.handle_stored(2), [ANN]);
    assert_eq!((ack(&log, ANN).stored, log.unstored()), (2, 1));
    assert!(log.handle_stored(2).is_empty(), "that is no news");
}

#[test]
fn what_cannot_be_kept_is_told_to_its_sender_and_is_a_gap_for_the_others() {
    let mut log = stored();
    new(say(&mut log, ANN, 1, "kept"));
    let lost = new(say(&mut log, ANN, 2, "not kept"));
    let (to, refusal) = log.handle_unstorable(lost.seq).unwrap();
    assert_eq!((to, refusal.source, refusal.n), (LINE, Some(ANN), Some(2)));
    new(say(&mut log, ANN, 3, "kept"));
    assert_eq!(code(say(&mut log, ANN, 2, "not kept")), Code::Internal, "nobody takes it for stored");
    log.handle_stored(3);
    assert_eq!(ack(&log, ANN).stored, 3, "those behind it are not held up for ever");
    log.shrink();
    log.shrink();
    let missing = log.page(&reader(2), 0).unwrap_err();
    let page = log.page_of(missing, &Found::default());
    assert!(matches!(page.items[..], [Item::Gap(Gap { from: 2, to: 2, reason: GapReason::Crash })]));
}

#[test]
fn numbers_that_are_not_reserved_are_not_given() {
    let mut log = Log::restore(LogId([7; 8]), Past { limit: 2, ..past() });
    new(say(&mut log, ANN, 1, "a"));
    new(say(&mut log, ANN, 2, "b"));
    let refused = say(&mut log, ANN, 3, "c");
    assert!(matches!(&refused, Accepted::Fault(r) if r.retry_after_ms.is_some()), "{refused:?}");
    assert!(matches!(say(&mut log, ANN, 2, "b"), Accepted::Again { .. }), "what is known is still known");
    log.handle_storage(false);
    let refused = say(&mut log, ANN, 3, "c");
    assert!(matches!(&refused, Accepted::Refused(_)), "a full disk does not end connections: {refused:?}");
    log.handle_storage(true);
    log.handle_reserved(9);
    assert_eq!(new(say(&mut log, ANN, 4, "d")).seq, 3);
}

#[test]
fn a_direct_message_is_for_two_and_not_in_the_chain_of_the_others() {
    let mut log = log();
    new(say(&mut log, ANN, 1, "all"));
    new(say_as(&mut log, &person(1), Letter { to: Some(MemberId(2)), ..letter(ANN, 2) }, "psst"));
    let last = new(say(&mut log, ANN, 3, "all"));
    assert_eq!(last.prev, 1);
    assert_eq!(given(&log, &reader(1), 0).0, [1, 2, 3]);
    assert_eq!(given(&log, &reader(2), 0).0, [1, 2, 3]);
    assert_eq!(given(&log, &reader(3), 0).0, [1, 3]);
    let elsewhere = Reader { member: MemberId(77), ..reader(2) };
    assert_eq!(given(&log, &elsewhere, 0).0, [1, 2, 3], "the key outlives the member");
}

#[test]
fn the_newest_of_a_slot_is_kept_however_old() {
    let mut log = log();
    let topic = |n| Letter { slot: Some(Slot::topic()), ..letter(ANN, n) };
    new(say_as(&mut log, &person(1), topic(1), "old topic"));
    new(say_as(&mut log, &person(1), topic(2), "topic"));
    for n in 3..3 + limits::LOG_RING as u64 {
        new(say(&mut log, ANN, n, "x"));
    }
    let Start::After(after) = log.start(&reader(2), 10) else { panic!("it is all in memory") };
    let kept: Vec<u64> = log.slots(after).iter().map(|frame| read(frame).1.seq).collect();
    assert_eq!(kept, [2]);
    assert_eq!(log.slots(1), Vec::<Bytes>::new(), "who gets it in its place does not get it twice");
    for (n, name) in ["a", "b", "c", "d", "e", "f", "g"].iter().enumerate() {
        let slot = Some(name.parse().unwrap());
        new(say_as(&mut log, &person(1), Letter { slot, ..letter(ANN, 2_051 + n as u64) }, "x"));
    }
    let more = Letter { slot: Some("h".parse().unwrap()), ..letter(ANN, 2_060) };
    assert_eq!(code(say_as(&mut log, &person(1), more, "x")), Code::Full);
}

#[test]
fn history_is_as_long_as_asked_and_pages_hold_all_of_it() {
    let mut log = log();
    for n in 1..=1_000 {
        new(say(&mut log, ANN, n, "x"));
    }
    assert_eq!(log.start(&reader(2), 10), Start::After(990));
    assert_eq!(log.start(&reader(2), 0), Start::After(1_000));
    assert_eq!(given(&log, &reader(2), 500).0, (501..=1_000).collect::<Vec<_>>());
    let first = log.page(&reader(2), 0).unwrap();
    assert_eq!((first.items.len(), first.complete), (limits::PAGE, false));
}

#[test]
fn what_memory_has_given_up_is_an_expired_gap_where_there_is_no_store() {
    let mut log = log();
    for n in 1..=10 {
        new(say(&mut log, ANN, n, "x"));
    }
    log.shrink();
    assert_eq!(given(&log, &reader(2), 2), ((6..=10).collect(), vec![(3, 5, GapReason::Expired)]));
    assert_eq!(given(&log, &reader(2), 5), ((6..=10).collect(), vec![]));
}

#[test]
fn what_the_store_has_given_up_is_said_before_the_first_that_it_has() {
    let past = Past { next: 21, oldest: 11, limit: 99, ..past() };
    let mut log = Log::restore(LogId([7; 8]), past);
    let missing = log.page(&reader(2), 3).unwrap_err();
    assert_eq!(missing, Missing { after: 3, through: 20 });
    let page = log.page_of(missing, &Found::default());
    assert!(matches!(page.items[..], [Item::Gap(Gap { from: 4, to: 10, reason: GapReason::Expired })]));
    assert!(page.complete);
}

#[test]
fn what_the_store_gives_up_while_the_room_lives_is_said_too() {
    let mut log = stored();
    for n in 1..=10 {
        new(say(&mut log, ANN, n, "x"));
    }
    log.shrink();
    let missing = log.page(&reader(2), 1).unwrap_err();
    let page = log.page_of(missing, &Found { oldest: 4, ..Found::default() });
    assert!(matches!(page.items[..], [Item::Gap(Gap { from: 2, to: 3, reason: GapReason::Expired })]));
    let missing = log.page(&reader(2), 1).unwrap_err();
    log.page_of(missing, &Found { oldest: 6, ..Found::default() });
    assert_eq!(given(&log, &reader(2), 1), ((6..=10).collect(), vec![(2, 5, GapReason::Expired)]));
}

#[test]
fn a_crash_is_a_gap_between_what_was_stored_and_what_came_later() {
    let past = Past { next: 101, limit: 999, gaps: vec![(4, 100)], ..past() };
    let mut log = Log::restore(LogId([7; 8]), past);
    new(say(&mut log, ANN, 1, "later"));
    let missing = log.page(&reader(2), 6).unwrap_err();
    let page = log.page_of(missing, &Found::default());
    assert!(matches!(page.items[..], [Item::Gap(Gap { from: 7, to: 100, reason: GapReason::Crash })]));
    assert!(!page.complete, "the rest comes from memory");
    assert_eq!(given(&log, &reader(2), page.through).0, [101]);
}
