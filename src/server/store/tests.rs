//! The store as the server sees it, with a directory of its own.
#![allow(clippy::single_range_in_vec_init)] // Gaps are ranges.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use md5::{Digest, Md5};
use tempfile::tempdir;

use super::queue::WAITING_BYTES;
use super::*;
use crate::chat::Standing;
use crate::id::SourceId;
use crate::wire::Code;

const ANN: PublicKey = PublicKey([1; 32]);
const BEN: PublicKey = PublicKey([2; 32]);
const WALL: u64 = 1_700_000_000_000_000;

fn name(name: &str) -> RoomName {
    name.parse().unwrap()
}

fn open(directory: &Path) -> (Store, Commits) {
    Store::open(directory, Keep::default(), WALL).unwrap()
}

fn record(room: RoomKey, seq: u64, text: &str) -> Record {
    Record {
        room,
        seq,
        prev: seq - 1,
        source: SourceId([7; 16]),
        n: seq,
        checksum: Md5::digest(text).into(),
        from_key: Some(ANN),
        to_key: None,
        direct: false,
        slot: None,
        received: WALL,
        frame: Bytes::copy_from_slice(text.as_bytes()),
        refused: Vec::new(),
    }
}

/// Waits until everything through `seq` is on disk.
async fn stored(commits: &mut Commits, seq: u64) {
    loop {
        match commits.next().await.unwrap() {
            Commit::Stored { through, .. } if through >= seq => return,
            Commit::Failing(why) => panic!("{why}"),
            _ => {}
        }
    }
}

fn seqs(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.seq).collect()
}

/// As after a kill: a copy of the files as they are, under a server that never closed them.
fn crashed(directory: &Path) -> tempfile::TempDir {
    let copy = tempdir().unwrap();
    for file in std::fs::read_dir(directory).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

#[tokio::test]
async fn what_was_stored_is_there_again_with_all_that_was_known_of_it() {
    let home = tempdir().unwrap();
    let about = Founding {
        owner: Some(ANN),
        hosts: vec![BEN],
        password: Some([9; 32]),
        max_members: Some(5),
        history: Some(100),
        permanent: true,
    };
    let (store, mut commits) = open(home.path());
    assert_eq!(store.load(&name("a")).await.unwrap(), None);
    let made = store.found(&name("a"), about.clone()).await.unwrap();
    assert_eq!((made.next, made.through), (1, BLOCK));
    assert!(matches!(store.found(&name("a"), about).await, Err(StoreError::Exists)));
    let slot = Record { slot: Some("topic".into()), ..record(made.key, 1, "lunch") };
    let direct = Record { direct: true, to_key: Some(BEN), prev: 1, ..record(made.key, 3, "psst") };
    let refused = vec![(2, Code::Muted)];
    for record in
        [&slot, &record(made.key, 2, "hello"), &Record { refused: refused.clone(), ..direct.clone() }]
    {
        assert!(store.append(record.clone()));
    }
    assert!(store.set_locked(made.key, true));
    stored(&mut commits, 3).await;
    store.close().await;
    assert_eq!(commits.next().await, None);

    let (store, _commits) = open(home.path());
    let again = store.load(&name("a")).await.unwrap().unwrap();
    assert_eq!((again.log, again.owner, &again.hosts[..]), (made.log, Some(ANN), &[BEN][..]));
    assert_eq!((again.password, again.max_members, again.history), (Some([9; 32]), Some(5), Some(100)));
    assert!(again.locked);
    assert_eq!((again.next, again.last_public, again.oldest), (4, 2, Some(1)));
    assert_eq!(again.gaps, []);
    assert_eq!(again.slots, std::slice::from_ref(&slot));
    assert_eq!(again.newest, [slot, record(made.key, 2, "hello"), direct]);
    let checksum = Md5::digest("psst").into();
    assert_eq!(
        again.sources,
        [Standing { source: SourceId([7; 16]), n: 3, owner: Some(ANN), checksum, refused }]
    );
    let listed = store.rooms().await.unwrap();
    assert_eq!((listed[0].messages, listed[0].bytes, listed[0].password), (3, 14, true));
    assert_eq!(listed[0].last_message, Some(WALL));
    assert!(store.remove(&name("a")).await.unwrap() && !store.remove(&name("a")).await.unwrap());
    assert!(!store.append(record(made.key, 4, "too late")));
    assert_eq!(store.load(&name("a")).await.unwrap(), None);
}

#[tokio::test]
async fn pages_are_cut_by_numbers_messages_bytes_and_reader() {
    let home = tempdir().unwrap();
    let (store, mut commits) = open(home.path());
    let room = store.found(&name("a"), Founding::default()).await.unwrap().key;
    for seq in 1..=20 {
        let direct = seq % 5 == 0;
        let to_key = direct.then_some(BEN);
        assert!(store.append(Record { direct, to_key, ..record(room, seq, "0123456789") }));
    }
    stored(&mut commits, 20).await;
    let page = async |after, before, messages, bytes, reader| {
        seqs(&store.page(room, after, before, messages, bytes, reader).await.unwrap().0)
    };
    assert_eq!(page(2, 8, 100, 1000, None).await, [3, 4, 6, 7]);
    assert_eq!(page(2, 8, 100, 1000, Some(BEN)).await, [3, 4, 5, 6, 7]);
    assert_eq!(page(2, 8, 100, 1000, Some(PublicKey([3; 32]))).await, [3, 4, 6, 7]);
    assert_eq!(page(0, u64::MAX, 2, 1000, None).await, [1, 2]);
    assert_eq!(page(0, u64::MAX, 100, 25, None).await, [1, 2]);
    assert_eq!(page(0, u64::MAX, 100, 0, None).await, [1], "one at least");
    assert_eq!(seqs(&store.last(room, u64::MAX, 3, 1000, None).await.unwrap()), [17, 18, 19]);
    assert_eq!(seqs(&store.last(room, 19, 3, 25, Some(ANN)).await.unwrap()), [17, 18]);
}

#[tokio::test]
async fn s16_numbers_are_never_given_twice_and_what_a_crash_leaves_open_is_a_gap() {
    let home = tempdir().unwrap();
    let (store, mut commits) = open(home.path());
    let room = store.found(&name("a"), Founding::default()).await.unwrap();
    assert!(store.append(record(room.key, 1, "x")));
    stored(&mut commits, 1).await;
    let crashed = crashed(home.path());
    let (after, _commits) = open(crashed.path());
    let again = after.load(&name("a")).await.unwrap().unwrap();
    assert_eq!((again.next, again.gaps, again.last_public), (BLOCK + 1, vec![2..BLOCK + 1], 1));
    // A second load, as when the room opens again, gives nothing twice and finds no further gap.
    assert!(after.append(record(room.key, BLOCK + 1, "y")));
    let third = after.load(&name("a")).await.unwrap().unwrap();
    assert_eq!((third.next, third.gaps.len()), (BLOCK + 2, 1));
    after.release(room.key, false);
    let fourth = after.load(&name("a")).await.unwrap().unwrap();
    assert_eq!((fourth.next, fourth.gaps.len()), (BLOCK + 2, 1));
    assert_eq!(seqs(&fourth.newest), [1, BLOCK + 1]);
}

#[tokio::test]
async fn s06_a_room_in_which_nothing_was_said_is_forgotten_unless_it_was_made_to_stay() {
    let home = tempdir().unwrap();
    let (store, _commits) = open(home.path());
    let stays = Founding { permanent: true, ..Founding::default() };
    let joined = Founding::default;
    for (room, about) in
        [("joined", joined()), ("spoken", joined()), ("made", stays), ("with files", joined())]
    {
        let room = store.found(&name(room), about).await.unwrap().key;
        if room.0 == 2 {
            assert!(store.append(record(room, 1, "x")));
        }
        store.release(room, room.0 == 4);
    }
    let names: Vec<_> = store.rooms().await.unwrap().into_iter().map(|room| room.name.to_string()).collect();
    assert_eq!(names, ["made", "spoken", "with files"], "whose files are there must be known");
    assert_eq!(store.load(&name("spoken")).await.unwrap().unwrap().next, 2);
}

#[tokio::test]
async fn numbers_beyond_the_reserved_are_refused_until_more_are() {
    let home = tempdir().unwrap();
    let (store, mut commits) = open(home.path());
    let room = store.found(&name("a"), Founding::default()).await.unwrap().key;
    assert!(!store.append(record(room, BLOCK + 1, "x")));
    assert!(store.append(record(room, BLOCK / 2 + 1, "x")));
    assert!(!store.append(record(room, BLOCK / 2 + 1, "again")), "a number is used once");
    let through = loop {
        if let Some(Commit::Reserved { through, .. }) = commits.next().await {
            break through;
        }
    };
    assert_eq!(through, BLOCK / 2 + 1 + BLOCK);
    assert!(store.append(record(room, through, "x")));
}

#[tokio::test]
async fn messages_expire_by_number_and_age_and_slots_stay() {
    let home = tempdir().unwrap();
    let (store, mut commits) = open(home.path());
    let room =
        store.found(&name("few"), Founding { history: Some(10), ..Founding::default() }).await.unwrap().key;
    let old = store.found(&name("old"), Founding::default()).await.unwrap().key;
    for seq in 1..=1_000 {
        let slot = (seq == 1).then(|| "topic".to_owned());
        assert!(store.append(Record { slot, ..record(room, seq, "x") }));
        assert!(store.append(record(old, seq, "x")));
    }
    stored(&mut commits, 1_000).await;
    store.close().await;
    let month = 30 * 24 * 3600 * 1_000_000;
    let keep = Keep { age: Duration::from_secs(7 * 24 * 3600), ..Keep::default() };
    let (store, _commits) = Store::open(home.path(), keep, WALL).unwrap();
    expect_messages(&store, &[10, 1_000]).await;
    let archive = store.load(&name("few")).await.unwrap().unwrap();
    assert_eq!((archive.oldest, archive.slots.len(), archive.next), (Some(991), 1, 1_001));
    assert_eq!(archive.sources.len(), 1);
    store.close().await;
    let (store, _commits) = Store::open(home.path(), keep, WALL + month).unwrap();
    // Nobody made these rooms on purpose: without messages they are forgotten.
    expect_messages(&store, &[]).await;
}

async fn expect_messages(store: &Store, expected: &[u64]) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let kept: Vec<u64> = store.rooms().await.unwrap().iter().map(|room| room.messages).collect();
        if kept == expected {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{kept:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn s20_on_a_full_disk_nothing_is_called_stored_and_all_is_when_there_is_space_again() {
    let home = tempdir().unwrap();
    let (store, mut commits) = open(home.path());
    let room = store.found(&name("a"), Founding::default()).await.unwrap().key;
    store.limit(1).await.unwrap();
    let big = "x".repeat(60_000);
    let mut seq = 0;
    while store.append(record(room, seq + 1, &big)) {
        seq += 1;
    }
    assert!(seq as usize >= WAITING_BYTES / (big.len() + 256), "what waits is bounded, but not at {seq}");
    assert!(matches!(commits.next().await, Some(Commit::Failing(why)) if why.contains("full")));
    assert!(store.health().failing.is_some());
    // What waits can be read all the same.
    assert_eq!(seqs(&store.last(room, 4, 2, usize::MAX, None).await.unwrap()), [2, 3]);
    store.limit(0).await.unwrap();
    let mut reports = Vec::new();
    let awaited = [Commit::Working, Commit::Stored { room, through: seq }];
    while !awaited.iter().all(|commit| reports.contains(commit)) {
        reports.push(commits.next().await.unwrap());
    }
    // The number that was refused is not there, and known to be missing.
    assert!(store.append(record(room, seq + 2, "after")));
    stored(&mut commits, seq + 2).await;
    store.close().await;
    let (store, _commits) = open(home.path());
    let again = store.load(&name("a")).await.unwrap().unwrap();
    assert_eq!((again.next, again.gaps), (seq + 3, vec![seq + 1..seq + 2]));
    assert_eq!(store.page(room, 0, u64::MAX, 1_000, usize::MAX, None).await.unwrap().0.len() as u64, seq + 1);
}

#[tokio::test]
async fn s20_a_full_disk_that_used_up_all_numbers_gives_new_ones_when_there_is_space_again() {
    let home = tempdir().unwrap();
    let (store, mut commits) = open(home.path());
    let archive = store.found(&name("a"), Founding::default()).await.unwrap();
    let (room, through) = (archive.key, archive.through);
    store.limit(1).await.unwrap();
    let big = "x".repeat(60_000);
    let kept = (1..=through).filter(|seq| store.append(record(room, *seq, &big))).count() as u64;
    assert!(kept < through, "the last of the block was refused");
    store.limit(0).await.unwrap();
    loop {
        match commits.next().await.unwrap() {
            Commit::Reserved { through: more, .. } if more > through => break,
            _ => {}
        }
    }
    assert!(store.append(record(room, through + 1, "after")));
    stored(&mut commits, through + 1).await;
}

#[tokio::test]
async fn t14_the_directory_and_its_files_are_for_their_owner_only() {
    let home = tempdir().unwrap();
    let directory = home.path().join("a/b");
    let (store, _commits) = open(&directory);
    store.found(&name("a"), Founding::default()).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let mut files = 0;
    for file in std::fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert_eq!(files, 4, "history.db, its -wal and -shm, lock");
}

#[tokio::test]
async fn a_second_server_is_told_who_has_the_directory() {
    let home = tempdir().unwrap();
    let (store, _commits) = open(home.path());
    let error = Store::open(home.path(), Keep::default(), WALL).unwrap_err();
    assert!(matches!(&error, OpenError::Locked { process: Some(id), .. } if *id == std::process::id()));
    store.close().await;
    open(home.path());
}

#[tokio::test]
async fn s22_a_history_of_a_later_version_and_other_files_are_left_untouched() {
    let home = tempdir().unwrap();
    let (store, _commits) = open(home.path());
    store.close().await;
    let file = home.path().join("history.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[63] = 3;
    std::fs::write(&file, &bytes).unwrap();
    let error = Store::open(home.path(), Keep::default(), WALL).unwrap_err();
    assert!(matches!(error, OpenError::Newer { version: 3, known: 2, .. }), "{error}");
    assert!(std::fs::read(&file).unwrap() == bytes, "the file was written to");

    let home = tempdir().unwrap();
    let file = home.path().join("history.db");
    std::fs::write(&file, "my diary").unwrap();
    assert!(matches!(Store::open(home.path(), Keep::default(), WALL).unwrap_err(), OpenError::NotOurs(_)));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "my diary");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    assert!(Store::open(home.path(), Keep::default(), WALL).is_err());
}

#[tokio::test]
async fn a_history_of_an_earlier_version_goes_on() {
    let home = tempdir().unwrap();
    let (store, mut commits) = open(home.path());
    let room = store.found(&name("a"), Founding::default()).await.unwrap().key;
    assert!(store.append(record(room, 1, "hello")));
    stored(&mut commits, 1).await;
    store.close().await;
    let database = rusqlite::Connection::open(home.path().join("history.db")).unwrap();
    database.execute_batch("ALTER TABLE source DROP COLUMN refused; PRAGMA user_version = 1").unwrap();
    drop(database);

    for _ in 0..2 {
        let (store, _commits) = open(home.path());
        let again = store.load(&name("a")).await.unwrap().unwrap();
        assert_eq!((again.sources.len(), seqs(&again.newest)), (1, vec![1]));
        store.close().await;
    }
}

/// A crashed directory with `count` messages of 1 kB in it; some in the database, the rest in the log.
async fn crashed_with(count: u64) -> tempfile::TempDir {
    let home = tempdir().unwrap();
    for part in 0..2 {
        let (store, mut commits) = open(home.path());
        let room = match store.load(&name("a")).await.unwrap() {
            Some(room) => room,
            None => store.found(&name("a"), Founding::default()).await.unwrap(),
        };
        for seq in room.next..room.next + count / 2 {
            assert!(store.append(record(room.key, seq, &format!("{seq:01000}"))));
        }
        stored(&mut commits, room.next + count / 2 - 1).await;
        match part {
            0 => store.close().await,
            _ => return crashed(home.path()),
        }
    }
    unreachable!()
}

#[tokio::test]
async fn s21_the_torn_end_of_the_log_is_dropped_and_what_stands_before_it_kept() {
    let home = crashed_with(200).await;
    let log = std::fs::OpenOptions::new().append(true).open(home.path().join("history.db-wal")).unwrap();
    let length = log.metadata().unwrap().len();
    for torn in [
        std::io::Write::write_all(&mut &log, &[0xa5; 3_000]).map(|()| length + 3_000).unwrap(),
        length + 10,
        length,
    ] {
        log.set_len(torn).unwrap();
        let copy = crashed(home.path());
        let (store, _commits) = open(copy.path());
        let room = store.load(&name("a")).await.unwrap().unwrap();
        let (all, _) = store.page(room.key, 0, u64::MAX, 1_000, usize::MAX, None).await.unwrap();
        assert_eq!(all.len(), 200);
    }
}

#[tokio::test]
async fn s21_damage_that_is_no_trace_of_a_crash_is_refused_and_nothing_deleted() {
    let home = crashed_with(200).await;
    let file = home.path().join("history.db");
    let whole = std::fs::read(&file).unwrap();
    let mut scribbled = whole.clone();
    scribbled[4096..16_384].fill(0x5a);
    for damaged in [&whole[..0], &whole[..50], &whole[..whole.len() / 2], &scribbled, &[0x5a; 4096]] {
        std::fs::write(&file, damaged).unwrap();
        let error = Store::open(home.path(), Keep::default(), WALL).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{} bytes: {error}", damaged.len());
        assert!(std::fs::read(&file).unwrap() == damaged, "the file was written to");
    }
    std::fs::write(&file, &whole).unwrap();
    open(home.path());
}

#[tokio::test]
async fn s21_a_message_that_the_disk_changed_is_left_out() {
    let home = tempdir().unwrap();
    let (store, mut commits) = open(home.path());
    let room = store.found(&name("a"), Founding::default()).await.unwrap().key;
    for (seq, text) in [(1, "first"), (2, "flip-me-here"), (3, "third")] {
        assert!(store.append(record(room, seq, text)));
    }
    stored(&mut commits, 3).await;
    store.close().await;
    let file = home.path().join("history.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(12).position(|window| window == b"flip-me-here").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (store, _commits) = open(home.path());
    let room = store.load(&name("a")).await.unwrap().unwrap();
    assert_eq!(seqs(&room.newest), [1, 3]);
}
