use proptest::prelude::*;

use super::*;
use crate::transfer::Chain;

fn head() -> Head {
    Head {
        offer: OfferId([7; 16]),
        room: "conf://127.0.0.1/standup".into(),
        chunk_size: limits::CHUNK_MIN,
        manifest: [9; 16],
    }
}

fn saved(length: usize) -> Saved {
    let mut chain = Chain::new();
    chain.update(&vec![1; length]);
    chain.save()
}

/// A journal with something of everything in it, and its bytes as they were added.
fn written() -> (Journal, Vec<u8>) {
    let mut journal = Journal::new(head());
    let mut bytes = journal.to_bytes();
    bytes.extend(journal.add_chunks(&[(0, [1; 16]), (1, [2; 16]), (9, [3; 16])]));
    bytes.extend(journal.add_chain(0, &saved(100)));
    bytes.extend(journal.add_files(&[(0, [4; 16])]));
    bytes.extend(journal.remove_chunks(1..2));
    bytes.extend(journal.add_chain(1, &saved(77)));
    bytes.extend(journal.add_chunks(&[(2, [5; 16])]));
    (journal, bytes)
}

#[test]
fn what_was_written_is_read() {
    let (journal, bytes) = written();
    let opened = Journal::open(&bytes).unwrap();
    assert_eq!((&opened.journal, opened.good, opened.damage), (&journal, bytes.len(), None));
    assert_eq!(journal.chunks().pairs(), [[0, 1], [2, 3], [9, 10]]);
    assert_eq!((journal.sum(9), journal.sum(1), journal.sum(77)), (Some([3; 16]), None, None));
    assert_eq!(journal.ended().get(&0), Some(&[4; 16]));
    assert_eq!(journal.open_file(), Some((1, &saved(77))));
    let anew = Journal::open(&journal.to_bytes()).unwrap();
    let known = |journal: &Journal| {
        let sums: Vec<_> = journal.chunks().numbers().map(|chunk| journal.sum(chunk)).collect();
        (journal.head().clone(), sums, journal.ended().clone(), journal.open.clone())
    };
    assert_eq!(known(&anew.journal), known(&journal));
}

#[test]
fn sums_of_files_can_be_taken_anew() {
    let (mut journal, mut bytes) = written();
    bytes.extend(journal.forget_files());
    let opened = Journal::open(&bytes).unwrap().journal;
    assert!(opened.ended().is_empty() && opened.open_file().is_none() && !opened.chunks().is_empty());
}

#[test]
fn f18_a_record_that_is_cut_short_anywhere_is_passed_over() {
    let (_, bytes) = written();
    let least = Journal::new(head()).to_bytes().len();
    let mut known = 0;
    for length in least..=bytes.len() {
        let opened = Journal::open(&bytes[..length]).unwrap();
        assert_eq!(opened.damage.is_none(), opened.good == length, "{length}");
        assert!(matches!(opened.damage, None | Some(Damage::Torn)));
        // Only the removal takes something away.
        known = known.max(opened.journal.chunks().count());
        assert!(opened.journal.chunks().count() + 1 >= known);
        // What is added behind the good bytes is read.
        let mut journal = opened.journal;
        let mut whole = bytes[..opened.good].to_vec();
        whole.extend(journal.add_chunks(&[(50, [6; 16])]));
        assert_eq!(Journal::open(&whole).unwrap().journal, journal);
    }
    for length in 0..least {
        assert_eq!(Journal::open(&bytes[..length]).err(), Some(NoJournal));
    }
}

#[test]
fn f18_a_flipped_bit_anywhere_is_noticed_and_nothing_wrong_is_believed() {
    let (journal, bytes) = written();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let Ok(opened) = Journal::open(&flipped) else { continue };
            assert!(opened.damage.is_some(), "byte {at} bit {bit}");
            assert_eq!(opened.journal.head(), journal.head());
            assert!(opened.journal.chunks().numbers().all(|chunk| [0, 1, 2, 9].contains(&chunk)));
        }
    }
}

#[test]
fn f18_what_a_file_system_did_not_write_is_a_torn_end() {
    let (journal, bytes) = written();
    let padded = [bytes.clone(), vec![0; 4_096]].concat();
    let opened = Journal::open(&padded).unwrap();
    assert_eq!((opened.journal, opened.good, opened.damage), (journal, bytes.len(), Some(Damage::Torn)));
}

#[test]
fn f18_the_journal_of_another_transfer_is_not_believed() {
    let (_, bytes) = written();
    let mut other = Journal::new(Head { offer: OfferId([8; 16]), ..head() });
    let mut mixed = other.to_bytes();
    mixed.extend_from_slice(&bytes[Journal::new(head()).to_bytes().len()..]);
    let opened = Journal::open(&mixed).unwrap();
    assert_eq!((opened.journal.chunks().count(), opened.damage), (0, Some(Damage::Wrong)));
    for foreign in [&b"SQLite format 3\0"[..], b"", b"confkit journal 2\n", &[0; 100]] {
        assert_eq!(Journal::open(foreign).err(), Some(NoJournal));
    }
    // What was never written by us has no place even with the right check.
    let mut impossible = other.to_bytes();
    let good = impossible.len();
    impossible.extend(other.add_chunks(&[(limits::CHUNKS, [1; 16])]));
    let opened = Journal::open(&impossible).unwrap();
    assert_eq!((opened.good, opened.damage), (good, Some(Damage::Wrong)));
}

#[test]
fn a_long_journal_is_written_anew_in_short_and_ten_gibibytes_are_read_at_once() {
    let mut journal = Journal::new(head());
    let mut bytes = journal.to_bytes();
    let lines: Vec<_> = (0..40_960).map(|chunk| (chunk, [chunk as u8; 16])).collect();
    for batch in lines.chunks(8) {
        bytes.extend(journal.add_chunks(batch));
        bytes.extend(journal.add_chain(0, &saved(batch[0].0 as usize)));
    }
    assert!(journal.is_long(2 * bytes.len()));
    let anew = journal.to_bytes();
    assert!(anew.len() < bytes.len() && !journal.is_long(anew.len()));
    assert_eq!(Journal::open(&bytes).unwrap().journal, journal);
    assert_eq!(Journal::open(&anew).unwrap().journal, journal);
}

proptest! {
    #[test]
    fn f18_no_bytes_are_too_strange(mut noise in prop::collection::vec(any::<u8>(), 0..300), magic: bool) {
        if magic {
            noise.splice(0..0, MAGIC.iter().copied());
        }
        let _ = Journal::open(&noise);
        let (journal, mut bytes) = written();
        let good = bytes.len();
        bytes.extend(&noise);
        let opened = Journal::open(&bytes).unwrap();
        prop_assert_eq!((opened.journal, opened.good), (journal, good));
    }
}
