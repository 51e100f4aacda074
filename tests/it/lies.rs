//! Senders and servers that lie: what is not right is refused, and nothing is ever written outside the directory.
//!
//! `CONF_SEED` repeats a run, `CONF_SOAK` gives the number of hostile lists.

#[path = "../../src/transfer/manifest/hostile.rs"]
mod hostile;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use confkit::files::sink::Directory;
use confkit::pipeline::download::{self, IfExists, Room, Target};
use confkit::transfer::{Manifest, Rules};
use confkit::wire::offer::Fetch;
use confkit::wire::{Frame, Part};
use md5::{Digest, Md5};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::files::{CHUNK, content, piece};
use crate::support::liar::{Liar, Lie};
use crate::support::programs::{PATIENCE, program};
use crate::support::random;
use crate::support::scene::output;
use crate::support::taker::guest;

const SIZE: usize = 3 * CHUNK as usize + 1_000;

/// A directory to receive into, deep within one in which nothing may happen.
struct Fence {
    outer: TempDir,
    inner: PathBuf,
}

impl Fence {
    fn new() -> Self {
        // Where files cost little: this is about names.
        let shm = Path::new("/dev/shm");
        let outer = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
        let inner = outer.path().join("1/2/3/in");
        fs::create_dir_all(&inner).unwrap();
        fs::write(outer.path().join("1/canary"), "untouched").unwrap();
        Self { outer, inner }
    }

    /// Nothing has changed outside, and inside there are only files and directories, none of them hidden where that
    /// is not `hidden`.
    fn check(&self, hidden: bool, what: &dyn std::fmt::Debug) {
        let mut found = BTreeSet::new();
        let mut left = vec![self.outer.path().to_owned()];
        while let Some(at) = left.pop() {
            for entry in fs::read_dir(&at).unwrap().flatten() {
                let kind = entry.file_type().unwrap();
                assert!(kind.is_dir() || kind.is_file(), "{:?} after {what:?}", entry.path());
                if kind.is_dir() {
                    left.push(entry.path());
                }
                let name = entry.file_name();
                assert!(
                    hidden || !name.as_encoded_bytes().starts_with(b"."),
                    "{:?} after {what:?}",
                    entry.path()
                );
                if !entry.path().starts_with(&self.inner) {
                    found.insert(entry.path().strip_prefix(self.outer.path()).unwrap().to_owned());
                }
            }
        }
        let there = ["1", "1/2", "1/2/3", "1/canary"].map(PathBuf::from);
        assert_eq!(found, BTreeSet::from(there), "after {what:?}");
        assert_eq!(fs::read(self.outer.path().join("1/canary")).unwrap(), b"untouched");
    }

    fn clear(&self) {
        fs::remove_dir_all(&self.inner).unwrap();
        fs::create_dir(&self.inner).unwrap();
    }

    /// The names in it.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.inner).unwrap().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The real program: exit code, stdout, stderr.
    fn receive(&self, liar: &Liar, offer: u32) -> (i32, String, String) {
        let mut command = program("conf-recv", self.outer.path().join("1/2").as_path());
        command.env("CONF_ROOM", liar.room()).env("CONF_NAME", "Bob");
        command.env("XDG_STATE_HOME", "/nonexistent").env("HOME", "/nonexistent");
        command.args(["--yes", "-o"]).arg(&self.inner).arg(offer.to_string());
        output(command)
    }
}

/// Sums as an honest sender makes them, of files that consist of `x`.
fn sums(manifest: &Manifest) -> String {
    let files = manifest.files().iter().map(|file| {
        let size = file.size.unwrap_or(0).min(1 << 20);
        let md5 = confkit::id::hex(&Md5::digest(vec![b'x'; size as usize]));
        format!("{{\"md5\":\"{md5}\",\"size\":{size}}}")
    });
    format!("{{\"files\":[{}]}}", files.collect::<Vec<_>>().join(","))
}

/// A hostile list as an offer whose other pieces fit it as well as they can.
fn hostile_lie(number: u32, pieces: Vec<String>) -> Lie {
    let judged = Manifest::judge(&pieces, Rules { hidden: true }).ok();
    let sums = judged.as_ref().map_or_else(|| "{\"files\":[]}".into(), sums);
    let total = judged.as_ref().and_then(Manifest::total);
    let stream = vec![b'x'; total.unwrap_or(0).min(1 << 20) as usize];
    Lie::new(number, None, move |fetch| Lie::honest(fetch, &pieces, &sums, &stream))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f01_f02_f03_f05_f07_f10_of_2000_hostile_lists_over_the_wire_none_writes_outside() {
    let (mut random, count) = random::run(2_000, "hostile lists");
    let (fence, count) = (Fence::new(), count as u32);
    let evil = format!("\"{}/evil\"", fence.outer.path().display());
    let lists: Vec<Vec<String>> =
        (0..count).map(|_| hostile::list(|low, high| random.between(low, high), Some(&evil))).collect();
    let lies = lists.iter().zip(1..).map(|(pieces, number)| hostile_lie(number, pieces.clone()));
    let liar = Liar::start(lies.collect());
    let mut room = Room::join(guest(&liar.room(), "Bob", Some(0)));
    room.listed().await.unwrap();
    let ids: Vec<_> = room.offers().iter().map(|offer| offer.state.offer_id).collect();
    assert_eq!(ids.len(), lists.len());
    let (mut refused, mut failed, mut taken) = (0, 0, 0);
    for (n, (id, list)) in ids.into_iter().zip(&lists).enumerate() {
        let rules = Rules { hidden: n % 2 == 0 };
        let Ok(listed) = download::list(&mut room, id, "test", rules).await else {
            refused += 1;
            continue;
        };
        let directory = Directory::open(&fence.inner).unwrap();
        let target = Target::look(listed, directory, None).unwrap();
        let received = match target.check() {
            Ok(()) => {
                let (stop, mut ignore) = (CancellationToken::new(), |_: download::Note<'_>| {});
                let receiving =
                    download::run(&mut room, target, IfExists::Rename, Some(1 << 20), &stop, &mut ignore);
                tokio::time::timeout(PATIENCE, receiving).await.expect("it ends").is_ok()
            }
            Err(_) => false,
        };
        if received {
            taken += 1
        } else {
            failed += 1
        }
        fence.check(rules.hidden, list);
        fence.clear();
    }
    eprintln!("{refused} refused, {failed} failed, {taken} received");
    assert!(
        refused > count / 2 && taken > count / 50,
        "{refused} refused, {failed} failed, {taken} received"
    );

    // The program itself, with some of them.
    for n in (0..count).step_by((count as usize / 20).max(1)) {
        let (code, _, said) = fence.receive(&liar, n + 1);
        assert!([0, 5, 6, 7, 9].contains(&code), "{code}: {said} after {:?}", lists[n as usize]);
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said:?}");
        fence.check(false, &lists[n as usize]);
        fence.clear();
    }
}

/// One file `a`, and everything about it as it should be.
struct Honest {
    bytes: Vec<u8>,
    manifest: Vec<String>,
    sums: String,
}

impl Honest {
    fn new() -> Self {
        let bytes = content(1, SIZE);
        let md5 = confkit::id::hex(&Md5::digest(&bytes));
        let manifest = vec![format!("{{\"files\":[{{\"path\":[\"a\"],\"size\":{SIZE}}}]}}")];
        let sums = format!("{{\"files\":[{{\"md5\":\"{md5}\",\"size\":{SIZE}}}]}}");
        Self { bytes, manifest, sums }
    }

    fn answer(&self, fetch: &Fetch) -> Vec<Frame> {
        Lie::honest(fetch, &self.manifest, &self.sums, &self.bytes)
    }

    /// The offer, with `spoil` between it and whoever asks.
    fn spoilt(spoil: impl Fn(u32, &Fetch, &mut Vec<Frame>) + Send + 'static) -> Liar {
        let (honest, mut times) = (Self::new(), 0);
        let answer = move |fetch: &Fetch| {
            let mut frames = honest.answer(fetch);
            times += u32::from(fetch.part == Part::Chunk);
            spoil(times, fetch, &mut frames);
            frames
        };
        Liar::start(vec![Lie::new(1, Some(SIZE as u64), answer)])
    }
}

/// A frame whose payload is not what its checksum says.
fn flipped(frame: &Frame) -> Frame {
    let mut bytes = frame.bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let mut parser = confkit::wire::Parser::new();
    parser.trust_files();
    parser.push(&bytes);
    match parser.poll().unwrap().unwrap() {
        confkit::wire::Incoming::Frame(frame) => frame,
        other => panic!("{other:?}"),
    }
}

fn is_right(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes == content(1, SIZE))
}

/// What it is called, and what it does to the answer of one request, which is the first, second and so on.
type Spoiler = (&'static str, fn(u32, &mut Vec<Frame>));

#[test]
fn f24_what_is_flipped_doubled_turned_round_or_left_out_once_is_mended() {
    let spoilers: [Spoiler; 5] = [
        ("flipped", |times, frames| {
            if times == 1 {
                frames[1] = flipped(&frames[1]);
            }
        }),
        ("doubled", |_, frames| {
            let twice = frames.iter().flat_map(|frame| [frame.clone(), frame.clone()]).collect();
            *frames = twice;
        }),
        ("turned round", |_, frames| frames.reverse()),
        ("the last left out", |times, frames| {
            if times == 1 {
                frames.pop();
            }
        }),
        ("one in the middle left out", |times, frames| {
            if times == 1 {
                frames.remove(1);
            }
        }),
    ];
    for (name, spoil) in spoilers {
        let liar = Honest::spoilt(move |times, fetch, frames| {
            if fetch.part == Part::Chunk {
                spoil(times, frames);
            }
        });
        let fence = Fence::new();
        let (code, sums, said) = fence.receive(&liar, 1);
        assert_eq!(code, 0, "{name}: {said}");
        assert!(is_right(&fence.inner.join("a")) && sums.ends_with("/a\n"), "{name}: {sums}");
        assert_eq!(fence.names(), ["a"], "{name}");
        fence.check(false, &name);
    }
}

#[test]
fn f24_f26_what_stays_damaged_stays_a_part_and_ends_with_6() {
    let spoilers: [Spoiler; 4] = [
        ("flipped", |_, frames| {
            let last = frames.last_mut().unwrap();
            *last = flipped(last);
        }),
        ("cut short", |_, frames| {
            let last = frames.last_mut().unwrap();
            let at = last.header.piece.unwrap();
            *last = piece(at.offer, at.part, at.index, &last.payload()[..10]);
        }),
        ("too long", |_, frames| {
            let last = frames.last_mut().unwrap();
            let at = last.header.piece.unwrap();
            *last = piece(at.offer, at.part, at.index, &[7; CHUNK as usize + 1]);
        }),
        ("left out", |_, frames| drop(frames.pop())),
    ];
    for (name, spoil) in spoilers {
        let liar = Honest::spoilt(move |times, fetch, frames| {
            if fetch.part == Part::Chunk {
                spoil(times, frames);
            }
        });
        let fence = Fence::new();
        let (code, sums, said) = fence.receive(&liar, 1);
        assert_eq!((code, sums.as_str()), (6, ""), "{name}: {said}");
        assert!(said.contains("chunk 3") && said.contains("stays as a part"), "{name}: {said}");
        assert!(!fence.inner.join("a").exists() && fence.names().contains(&"a.part".into()), "{name}");
        fence.check(false, &name);
    }
}

#[test]
fn f23_f26_a_file_that_is_another_in_the_end_is_named_with_its_chunks_and_fetched_again_once() {
    // Every chunk fits its own checksum, and the whole does not fit the sums.
    let wrong = |fetch: &Fetch, frames: &mut Vec<Frame>| {
        for frame in frames.iter_mut() {
            let at = frame.header.piece.unwrap();
            if (at.part, at.index) == (Part::Chunk, 2) {
                *frame = piece(fetch.offer, Part::Chunk, 2, &[7; CHUNK as usize]);
            }
        }
    };
    let liar = Honest::spoilt(move |_, fetch, frames| wrong(fetch, frames));
    let fence = Fence::new();
    let (code, _, said) = fence.receive(&liar, 1);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("a: chunks 0-3 wrong on this disk; fetched again"), "{said}");
    assert!(said.contains("its MD5 is not that of its sender"), "{said}");
    assert!(!fence.inner.join("a").exists());
    assert!(fence.names().contains(&"a.part".into()));

    // Where the second time is right, so is the file.
    let liar = Honest::spoilt(move |times, fetch, frames| {
        if times == 1 {
            wrong(fetch, frames);
        }
    });
    let fence = Fence::new();
    let (code, _, said) = fence.receive(&liar, 1);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("fetched again") && is_right(&fence.inner.join("a")), "{said}");
    assert_eq!(fence.names(), ["a"]);
}

#[test]
fn f09_what_was_not_accepted_is_not_written() {
    // More than was asked for, of other offers, of other parts, and beyond the end: all of it passed over.
    let liar = Honest::spoilt(|_, fetch, frames| {
        if fetch.part == Part::Chunk {
            let other = confkit::id::OfferNumber(9);
            frames.insert(0, piece(other, Part::Chunk, 0, &[1; CHUNK as usize]));
            frames.insert(0, piece(fetch.offer, Part::Chunk, 4, b"more"));
            frames.insert(0, piece(fetch.offer, Part::Chunk, 4_000_000, b"more"));
            frames
                .insert(0, piece(fetch.offer, Part::Manifest, 0, br#"{"files":[{"path":["b"],"size":9}]}"#));
        }
    });
    let fence = Fence::new();
    let (code, _, said) = fence.receive(&liar, 1);
    assert_eq!(code, 0, "{said}");
    assert!(is_right(&fence.inner.join("a")) && fence.names() == ["a"]);
    fence.check(false, &"more than was asked for");

    let md5 = "00000000000000000000000000000000";
    let others = [
        // Sums of other files than those of the list.
        (Part::Sums, format!("{{\"files\":[{{\"md5\":\"{md5}\",\"size\":5}}]}}"), 5),
        (Part::Sums, "{\"files\":[]}".into(), 5),
        (Part::Sums, format!("{{\"files\":[{{\"md5\":\"{md5}\",\"size\":{SIZE}}}]}}"), 6),
        // A list of other bytes than the server was told.
        (Part::Manifest, "{\"files\":[{\"path\":[\"a\"],\"size\":5}]}".into(), 5),
        (Part::Manifest, "{\"files\":[{\"path\":[\"a\"]},{\"path\":[\"b\"],\"size\":1}]}".into(), 5),
    ];
    for (part, text, expected) in others {
        let shown = text.clone();
        let liar = Honest::spoilt(move |_, fetch, frames| {
            if fetch.part == part {
                *frames = vec![piece(fetch.offer, part, 0, text.as_bytes())];
            }
        });
        let fence = Fence::new();
        let (code, sums, said) = fence.receive(&liar, 1);
        assert_eq!((code, sums.as_str()), (expected, ""), "{shown}: {said}");
        assert!(!fence.inner.join("a").exists() && !fence.inner.join("b").exists(), "{shown}");
        fence.check(false, &shown);
    }
}

#[test]
fn f27_chunks_of_a_size_that_makes_no_sense_are_refused() {
    for size in [0, 1, 3, 255 * 1024, CHUNK + 1, 2 * 1024 * 1024, u32::MAX] {
        let honest = Honest::new();
        let mut lie = Lie::new(1, Some(SIZE as u64), move |fetch| honest.answer(fetch));
        lie.state.chunk_size = size;
        let liar = Liar::start(vec![lie]);
        let fence = Fence::new();
        let (code, _, said) = fence.receive(&liar, 1);
        assert!(code == 5 || code == 10, "{size}: {code}: {said}");
        assert!(fence.names().is_empty(), "{size}: {:?}", fence.names());
    }
    // Chunks although there are no bytes.
    let empty = vec!["{\"files\":[{\"path\":[\"a\"],\"size\":0}]}".to_owned()];
    let sums = "{\"files\":[{\"md5\":\"d41d8cd98f00b204e9800998ecf8427e\",\"size\":0}]}";
    let mut lie = Lie::new(1, Some(0), move |fetch| Lie::honest(fetch, &empty, sums, b"xxxx"));
    (lie.state.kept, lie.state.chunks) = (77, Some(77));
    let liar = Liar::start(vec![lie]);
    let fence = Fence::new();
    assert_eq!(fence.receive(&liar, 1).0, 0);
    assert_eq!(fs::read(fence.inner.join("a")).unwrap(), b"");
}

#[test]
fn w39_a_server_that_knows_no_files_is_told_from_one_that_is_slow() {
    let liar = Liar::start(vec![]);
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("a"), "hello").unwrap();
    let run = |name: &str, arguments: &[&str]| {
        let mut command = program(name, home.path());
        command.env("CONF_ROOM", liar.room()).env("CONF_NAME", "Bob").args(arguments);
        command.current_dir(home.path());
        command
    };
    let mut running: Vec<_> = [
        run("conf-send", &["a"]),
        run("conf-send", &["--withdraw", "3"]),
        run("conf-recv", &["3"]),
        run("conf-recv", &["--list"]),
    ]
    .map(|mut command| {
        command.stderr(std::process::Stdio::piped());
        crate::support::programs::Running::start(command)
    })
    .into();
    for program in &mut running {
        assert_eq!(program.wait(PATIENCE), 10);
        let said = program.stderr();
        assert!(said.contains("older conf-serve"), "{said}");
    }
}
