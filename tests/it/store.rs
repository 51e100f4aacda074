//! What the history keeps when its server is killed, and how fast it is.
#![allow(clippy::disallowed_methods)] // The measurement paces itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use confkit::id::SourceId;
use confkit::server::store::{Archive, Commit, Founding, Keep, Record, Store};
use confkit::time;

use crate::support::programs::Running;

/// Messages that the child has appended and not seen stored.
const AHEAD: u64 = 300;
/// Where the child keeps its history.
const DIRECTORY: &str = "CONF_TEST_STORE";

fn text(seq: u64) -> Bytes {
    Bytes::from(format!("message {seq} {}", "x".repeat((seq % 700) as usize)))
}

fn record(archive: &Archive, seq: u64) -> Record {
    Record {
        room: archive.key,
        seq,
        prev: seq - 1,
        source: SourceId([1; 16]),
        n: seq,
        checksum: [0; 16],
        from_key: None,
        to_key: None,
        direct: false,
        slot: None,
        received: time::wall(),
        frame: text(seq),
        refused: Vec::new(),
    }
}

fn keep() -> Keep {
    Keep { messages: u64::MAX, ..Keep::default() }
}

async fn load(store: &Store) -> Archive {
    let room = "room".parse().unwrap();
    match store.load(&room).await.unwrap() {
        Some(archive) => archive,
        None => store.found(&room, Founding::default()).await.unwrap(),
    }
}

/// The program that is killed: says which numbers it gave and what was reported as stored.
#[test]
fn a_program_that_stores() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let say = |what: &str, seq: u64| writeln!(std::io::stderr(), "{what} {seq}").unwrap();
    run(async {
        let (store, mut commits) = Store::open(Path::new(&directory), keep(), time::wall()).unwrap();
        let archive = load(&store).await;
        let (mut next, mut stored, mut through) = (archive.next, archive.next - 1, archive.through);
        loop {
            let burst = (through.min(stored + AHEAD) + 1).saturating_sub(next).min(1 + next % 40);
            if burst > 0 {
                say("given", next + burst - 1);
            }
            for _ in 0..burst {
                assert!(store.append(record(&archive, next)));
                next += 1;
            }
            match commits.next().await.unwrap() {
                Commit::Stored { through, .. } => {
                    stored = through;
                    say("stored", through);
                }
                Commit::Reserved { through: more, .. } => through = more,
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn s16_kill_9_loses_nothing_that_was_reported_as_stored_and_no_number_is_used_twice() {
    let rounds = std::env::var("CONF_SOAK").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let home = tempfile::tempdir().unwrap();
    let mut reported: Vec<(u64, u64)> = Vec::new();
    let (mut given, mut gaps) = (0, Vec::new());
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "store::a_program_that_stores", "--nocapture"]).env(DIRECTORY, home.path());
        child.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = Running::start(child);
        let lines = 1 + getrandom::u32().unwrap() as usize % 120;
        let said = BufReader::new(child.child.stderr.take().unwrap());
        let (mut first, mut last) = (None, 0);
        let mut lines_left = lines;
        for line in said.lines() {
            let line = line.unwrap();
            let Some((what, seq)) = line.split_once(' ') else { panic!("{line}") };
            let seq: u64 = seq.parse().unwrap_or_else(|_| panic!("{line}"));
            match what {
                "given" => {
                    assert!(seq > given, "number {seq} was given in an earlier life too");
                    given = seq;
                    first = first.or(Some(seq));
                }
                "stored" => last = seq,
                _ => panic!("{line}"),
            }
            lines_left -= 1;
            if lines_left == 0 {
                child.signal(rustix::process::Signal::KILL);
            }
            lines_left = lines_left.max(1);
        }
        assert_eq!(child.wait(Duration::from_secs(10)), 128 + 9);
        reported.extend(first.filter(|first| *first <= last).map(|first| (first, last)));
        gaps = check(home.path(), &reported, given);
        // What the check reserved itself is no gap, and what it found no number of the next life.
        assert!(gaps.len() <= round + 1, "{gaps:?}");
    }
    eprintln!("{rounds} kills, {given} numbers given, {} gaps", gaps.len());
}

/// Everything reported is there as it was sent, and everything that was given is there or in a gap.
fn check(directory: &Path, reported: &[(u64, u64)], given: u64) -> Vec<std::ops::Range<u64>> {
    run(async {
        let (store, _commits) = Store::open(directory, keep(), time::wall()).unwrap();
        let archive = load(&store).await;
        assert!(archive.next > given, "{} was given already", archive.next);
        let mut kept = BTreeMap::new();
        loop {
            let after = kept.last_key_value().map_or(0, |(seq, _)| *seq);
            let (page, _) = store.page(archive.key, after, u64::MAX, 1_000, 1 << 20, None).await.unwrap();
            if page.is_empty() {
                break;
            }
            kept.extend(page.into_iter().map(|record| (record.seq, record.frame)));
        }
        assert!(kept.iter().all(|(seq, frame)| *frame == text(*seq)));
        for &(first, last) in reported {
            let lost: BTreeSet<u64> = (first..=last).filter(|seq| !kept.contains_key(seq)).collect();
            assert!(lost.is_empty(), "reported as stored and lost: {lost:?}");
        }
        let unknown: Vec<u64> = (1..archive.next)
            .filter(|seq| !kept.contains_key(seq) && !archive.gaps.iter().any(|gap| gap.contains(seq)))
            .collect();
        assert!(unknown.is_empty(), "neither there nor missing: {unknown:?}");
        store.close().await;
        archive.gaps
    })
}

#[test]
#[ignore = "measures this disk; run it alone, with --no-capture"]
fn figures_of_the_store() {
    for (rate, count) in [(100, 500), (1_000, 5_000), (20_000, 60_000), (0, 100_000)] {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (took, mut delays) = run(measure(home.path(), rate, count));
        delays.sort_unstable();
        let at = |share: f64| delays[(share * (delays.len() - 1) as f64) as usize] as f64 / 1e3;
        eprintln!(
            "{} wanted/s: {:.0} stored/s, append to stored p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms",
            if rate == 0 { "all".into() } else { rate.to_string() },
            count as f64 / took.as_secs_f64(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
}

/// Appends at a rate per second, or as fast as is taken; how long that took, and the delay of each in µs.
async fn measure(directory: &Path, rate: u64, count: u64) -> (Duration, Vec<u64>) {
    let (store, mut commits) = Store::open(directory, keep(), time::wall()).unwrap();
    let archive = load(&store).await;
    let (mut appended, mut delays) = (Vec::new(), Vec::new());
    let mut through = archive.through;
    let begun = time::now();
    while (delays.len() as u64) < count {
        let due = match rate {
            0 => delays.len() as u64 + 2_000,
            rate => time::now().since(begun).as_micros() as u64 * rate / 1_000_000,
        };
        while (appended.len() as u64) < due.min(count).min(through) {
            appended.push(time::now());
            let seq = appended.len() as u64;
            let frame = Bytes::from(vec![b'x'; 400]);
            assert!(store.append(Record { frame, ..record(&archive, seq) }));
        }
        match tokio::time::timeout(Duration::from_millis(1), commits.next()).await {
            Ok(Some(Commit::Stored { through, .. })) => {
                let now = time::now();
                let new = delays.len()..through as usize;
                delays.extend(appended[new].iter().map(|at| now.since(*at).as_micros() as u64));
            }
            Ok(Some(Commit::Reserved { through: more, .. })) => through = more,
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    }
    (time::now().since(begun), delays)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
