use std::path::Path;

use super::*;
use crate::pipeline::upload::What;
use crate::transfer::Chain;

const ROOM: &str = "conf://h/r";
const SIZE: u64 = limits::CHUNK_MIN as u64;

/// Three files: two chunks and a half, nothing, half a chunk.
fn job() -> Job {
    let source = |name: &str, size: u64| {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(name);
        std::fs::File::create(&path).unwrap().set_len(size).unwrap();
        let mut found = crate::files::source::find(&[path], &globset::GlobSet::empty()).unwrap();
        found.files[0].mtime = 7;
        found.files.remove(0)
    };
    let files = vec![source("a", SIZE * 5 / 2), source("b", 0), source("c", SIZE / 2)];
    Job::new(&What::Files(crate::files::source::Found { files, ..Default::default() })).unwrap()
}

fn open(path: &Path, identity: u8, restart: bool) -> Result<(Memory, Former), Error> {
    Memory::open(Some(Ledger::open(path).unwrap()), &job(), [identity; 16], ROOM, restart)
}

/// The sums have come through chunk `chunk`, of the first file.
fn point(chunk: u32) -> Point {
    let mut chain = Chain::new();
    chain.update(&vec![0; (u64::from(chunk + 1) * SIZE) as usize]);
    Point {
        next: chunk + 1,
        open: Some((0, chain.save())),
        ended: vec![],
        chunks: vec![(chunk, [chunk as u8; 16])],
    }
}

#[test]
fn the_next_run_goes_on_from_where_the_last_one_was() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("j");
    let (mut first, former) = open(&path, 1, false).unwrap();
    assert!(!first.is_resumed() && former == Former::Nothing);
    first.note(&point(0));
    first.note(&point(1));
    let offer = first.offer();
    drop(first);
    let (second, _) = open(&path, 1, false).unwrap();
    assert!(second.is_resumed());
    assert_eq!((second.offer(), second.known(1), second.known(2)), (offer, Some([1; 16]), None));
    let mut follower = job().follower();
    second.restore(&mut follower);
    assert_eq!(follower.next(), 2);
    drop(second);
    let (mut third, _) = open(&path, 1, false).unwrap();
    assert_eq!(third.offer(), offer);
    third.forget();
    assert!(!path.exists());
}

#[test]
fn f20_files_that_are_others_now_are_never_mixed() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("j");
    let offer = open(&path, 1, false).unwrap().0.offer();
    for _ in 0..2 {
        let (memory, former) = open(&path, 2, false).unwrap();
        assert!(former == Former::Changed(offer) && memory.offer() != offer && !memory.is_resumed());
    }
    let (anew, former) = open(&path, 2, true).unwrap();
    assert!(former == Former::Replaced(offer) && anew.offer() != offer && !anew.is_resumed());
    drop(anew);
    assert!(open(&path, 2, false).unwrap().0.is_resumed());
}

#[test]
fn f18_a_file_that_was_cut_or_damaged_anywhere_costs_reading_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("j");
    let (mut memory, _) = open(&path, 1, false).unwrap();
    let head = std::fs::metadata(&path).unwrap().len() as usize;
    (0..2).for_each(|chunk| memory.note(&point(chunk)));
    let offer = memory.offer();
    drop(memory);
    let whole = std::fs::read(&path).unwrap();
    let next = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let memory = open(&path, 1, false).unwrap().0;
        (memory.offer() == offer).then(|| {
            let mut follower = job().follower();
            memory.restore(&mut follower);
            follower.next()
        })
    };
    for length in (0..whole.len()).step_by(7) {
        let lines = whole[..length].iter().filter(|byte| **byte == b'\n').count();
        match next(&whole[..length]) {
            None => assert!(length < head),
            Some(at) => assert!(at as usize == lines.max(1) - 1 || at as usize == lines, "{length}"),
        }
    }
    for place in (head..whole.len()).step_by(11) {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        let before = whole[head..place].iter().filter(|byte| **byte == b'\n').count();
        assert!(next(&damaged).unwrap() as usize <= before + 1);
        assert_eq!(next(&damaged), next(&damaged));
    }
}

#[test]
fn the_file_stays_small_however_long_it_takes() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("j");
    let (mut memory, _) = open(&path, 1, false).unwrap();
    let sums = |from: u32| (from..from + 32).map(|chunk| (chunk, [7; 16])).collect();
    for step in 0..4_000 {
        let Point { open, ended, .. } = point(0);
        memory.note(&Point { next: step * 32 + 32, open, ended, chunks: sums(step * 32) });
    }
    assert!(std::fs::metadata(&path).unwrap().len() < 2 * LARGE as u64);
    assert_eq!(memory.known(4_000 * 32 - 1), Some([7; 16]));
    assert_eq!(memory.known(0), None);
    drop(memory);
    assert_eq!(open(&path, 1, false).unwrap().0.next, 4_000 * 32);
}
