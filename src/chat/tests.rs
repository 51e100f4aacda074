//! A sender's outbox and a receiver's inbox, without what is between them.

use bytes::Bytes;

use super::*;
use crate::id::{LogId, MemberId, SourceId};
use crate::limits;
use crate::wire::control::{self, Ack, Gap, GapReason};
use crate::wire::{Letter, Receipt, Slot};

const ANN: SourceId = SourceId([1; 16]);

fn letter(source: SourceId, n: u64) -> Letter {
    Letter { source, n, to: None, slot: None, receipt: None }
}

fn outbox() -> Outbox {
    let mut outbox = Outbox::new(ANN);
    outbox.handle_up(true);
    outbox
}

fn push(outbox: &mut Outbox, text: &str) -> u64 {
    outbox.push(Bytes::copy_from_slice(text.as_bytes()), None, None, 0).unwrap()
}

fn say_times(outbox: &mut Outbox, count: usize) {
    for _ in 0..count {
        push(outbox, "x");
    }
}

fn sent(outbox: &mut Outbox) -> Vec<u64> {
    std::iter::from_fn(|| outbox.poll()).map(|frame| frame.header.letter.unwrap().n).collect()
}

fn answer(relayed: u64, stored: u64) -> Ack {
    Ack { source: ANN, relayed, stored, seq: 0, conflict: false }
}

#[test]
fn t18_every_reconnect_sends_all_that_is_not_stored_again() {
    let mut outbox = outbox();
    say_times(&mut outbox, 5);
    assert_eq!(sent(&mut outbox), [1, 2, 3, 4, 5]);
    outbox.handle_ack(&answer(4, 2));
    for _ in 0..3 {
        outbox.handle_up(true);
    }
    assert_eq!(sent(&mut outbox), [3, 4, 5]);
    assert_eq!(outbox.handle_ack(&answer(4, 2)), None, "that is no news");
    outbox.handle_ack(&answer(5, 5));
    assert!(outbox.is_empty());
}

#[test]
fn t19_too_much_said_offline_is_refused_and_nothing_of_it_is_lost() {
    let mut outbox = Outbox::new(ANN);
    say_times(&mut outbox, limits::OUTBOX);
    assert_eq!(outbox.push(Bytes::from_static(b"x"), None, None, 0), Err(Full));
    outbox.handle_up(true);
    let mut arrived = Vec::new();
    while let Some(&last) = sent(&mut outbox).inspect_into(&mut arrived).last() {
        outbox.handle_ack(&answer(last, last));
    }
    assert_eq!(arrived, (1..=limits::OUTBOX as u64).collect::<Vec<_>>());
    let large = Bytes::from(vec![0; limits::MESSAGE]);
    let fit = (0..).find(|_| outbox.push(large.clone(), None, None, 0).is_err()).unwrap();
    assert_eq!(fit, limits::OUTBOX_BYTES / limits::MESSAGE);
}

trait Inspect: Sized {
    fn inspect_into(self, all: &mut Vec<u64>) -> Self;
}

impl Inspect for Vec<u64> {
    fn inspect_into(self, all: &mut Vec<u64>) -> Self {
        assert!(self.len() <= limits::WINDOW, "no more than the window is on its way");
        all.extend(&self);
        self
    }
}

#[test]
fn t20_what_an_earlier_life_of_the_server_relayed_is_kept_until_this_one_has_it() {
    let mut outbox = outbox();
    say_times(&mut outbox, 3);
    sent(&mut outbox);
    outbox.handle_ack(&answer(3, 1));
    // It crashed; its disk is full now, so that being relayed has to be enough.
    outbox.handle_up(false);
    assert_eq!(sent(&mut outbox), [2, 3]);
    outbox.handle_ack(&answer(2, 1));
    assert_eq!(outbox.pending().map(|p| p.n).collect::<Vec<_>>(), [3]);
    outbox.handle_storage(true);
    outbox.handle_ack(&answer(3, 1));
    assert!(!outbox.is_empty(), "stored again: relayed is not enough any more");
    outbox.handle_storage(false);
    assert!(outbox.is_empty());
}

#[test]
fn direct_messages_of_an_earlier_life_go_to_nobody_and_keep_their_numbers() {
    let mut outbox = outbox();
    push(&mut outbox, "all");
    outbox.push(Bytes::from_static(b"psst"), Some(MemberId(2)), None, 0).unwrap();
    outbox.handle_up(true);
    outbox.handle_new_members();
    let to: Vec<_> = std::iter::from_fn(|| outbox.poll()).map(|f| f.header.letter.unwrap().to).collect();
    assert_eq!(to, [None, Some(MemberId(0))]);
    outbox.handle_refused(2);
    outbox.handle_ack(&answer(2, 2));
    assert!(outbox.is_empty());
}

#[test]
fn an_acknowledgement_of_what_was_never_said_is_nonsense() {
    let mut outbox = outbox();
    push(&mut outbox, "x");
    outbox.handle_ack(&Ack { source: SourceId([9; 16]), ..answer(1, 1) });
    assert!(!outbox.is_empty());
    let progress = outbox.handle_ack(&answer(99, 99)).unwrap();
    assert_eq!((progress.relayed, progress.stored), (1, 1));
    assert_eq!(push(&mut outbox, "y"), 2);
    assert_eq!(outbox.pending().count(), 1, "what comes later is not covered by it");
}

#[test]
fn an_outbox_from_a_file_goes_on_where_it_was() {
    let mut before = outbox();
    say_times(&mut before, 4);
    before.handle_ack(&answer(2, 2));
    let mut outbox = Outbox::restore(ANN, before.next(), before.pending().cloned().collect());
    outbox.handle_up(true);
    assert_eq!(push(&mut outbox, "y"), 5);
    assert_eq!(sent(&mut outbox), [3, 4, 5]);
}

fn receipt(seq: u64, prev: u64) -> Receipt {
    Receipt { seq, prev, from: MemberId(1), name: "Ann".into(), key: None, received: 0.0 }
}

fn up(id: u8) -> control::Log {
    control::Log { id: LogId([id; 8]), last: 0, stored: true }
}

#[test]
fn t16_what_comes_again_after_a_reconnect_is_shown_once() {
    let mut inbox = Inbox::after(LogId([1; 8]), 0);
    assert_eq!(inbox.handle_message(&letter(ANN, 1), &receipt(1, 0)), Verdict::Show(None));
    assert_eq!(inbox.handle_message(&letter(ANN, 1), &receipt(1, 0)), Verdict::Drop(None));
    assert_eq!(
        inbox.handle_message(&letter(ANN, 9), &receipt(1, 0)),
        Verdict::Drop(None),
        "numbers only grow"
    );
    let relayed_again = receipt(4_097, 0);
    assert_eq!(inbox.handle_message(&letter(ANN, 1), &relayed_again), Verdict::Drop(None));
    assert_eq!(inbox.handle_message(&letter(ANN, 2), &receipt(4_098, 4_097)), Verdict::Show(None));
    assert_eq!(inbox.position(), Some((LogId([1; 8]), 4_098)));
}

#[test]
fn what_was_refused_before_a_restart_and_is_relayed_after_it_is_shown_behind_later_ones() {
    let mut inbox = Inbox::after(LogId([1; 8]), 0);
    assert_eq!(inbox.handle_message(&letter(ANN, 1), &receipt(1, 0)), Verdict::Show(None));
    assert_eq!(inbox.handle_message(&letter(ANN, 3), &receipt(2, 1)), Verdict::Show(None));
    assert_eq!(inbox.handle_message(&letter(ANN, 1), &receipt(3, 2)), Verdict::Drop(None));
    assert_eq!(inbox.handle_message(&letter(ANN, 2), &receipt(4, 3)), Verdict::Show(None));
    assert_eq!(inbox.handle_message(&letter(ANN, 3), &receipt(5, 4)), Verdict::Drop(None));
}

#[test]
fn what_is_missing_in_the_chain_is_a_gap_even_for_who_came_back_with_a_file() {
    let mut inbox = Inbox::after(LogId([1; 8]), 10);
    inbox.handle_up(&up(1));
    let gap = Gap { from: 11, to: 14, reason: GapReason::Unknown };
    assert_eq!(inbox.handle_message(&letter(ANN, 1), &receipt(15, 14)), Verdict::Show(Some(gap)));
    let gap = Gap { from: 16, to: 16, reason: GapReason::Unknown };
    assert_eq!(inbox.handle_message(&letter(ANN, 1), &receipt(17, 16)), Verdict::Drop(Some(gap)));
    assert_eq!(inbox.handle_message(&letter(ANN, 3), &receipt(20, 17)), Verdict::Show(None), "direct ones");
}

#[test]
fn s12_another_log_begins_anew_and_what_was_seen_stays_seen() {
    let mut inbox = Inbox::after(LogId([1; 8]), 10);
    inbox.handle_message(&letter(ANN, 5), &receipt(11, 10));
    inbox.handle_up(&up(2));
    let former = Some((LogId([1; 8]), 11));
    assert_eq!(inbox.position(), former, "what is gone is asked for again until that was told");
    assert!(inbox.handle_gap(&Gap { from: 0, to: 0, reason: GapReason::Unknown }));
    assert_eq!(inbox.position(), None, "a number of the other log means nothing here");
    assert_eq!(inbox.handle_message(&letter(ANN, 5), &receipt(1, 0)), Verdict::Drop(None));
    assert_eq!(inbox.handle_message(&letter(ANN, 6), &receipt(2, 1)), Verdict::Show(None));
}

#[test]
fn who_loses_the_connection_before_the_history_asks_for_the_history_again_and_not_for_everything() {
    let mut inbox = Inbox::default();
    inbox.handle_up(&up(1));
    let topic = Letter { slot: Some(Slot::topic()), ..letter(ANN, 3) };
    assert_eq!(inbox.handle_message(&topic, &receipt(5, 4)), Verdict::Show(None));
    assert_eq!(inbox.position(), None);
    inbox.handle_up(&up(1));
    assert_eq!(inbox.handle_message(&topic, &receipt(5, 4)), Verdict::Drop(None));
    assert_eq!(inbox.handle_message(&letter(ANN, 90), &receipt(801, 800)), Verdict::Show(None), "no gap");
    assert_eq!(inbox.position(), Some((LogId([1; 8]), 801)));
    inbox.handle_caught_up(900);
    assert_eq!(inbox.position(), Some((LogId([1; 8]), 900)));
}

#[test]
fn a_gap_is_told_once() {
    let mut inbox = Inbox::after(LogId([1; 8]), 10);
    let gap = Gap { from: 11, to: 100, reason: GapReason::Crash };
    assert!(inbox.handle_gap(&gap));
    assert!(!inbox.handle_gap(&gap));
    assert_eq!(inbox.handle_message(&letter(ANN, 1), &receipt(101, 9)), Verdict::Show(None));
}
