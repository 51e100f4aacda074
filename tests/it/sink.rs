//! What is received is written where it should be and nowhere else, whatever is there and whoever plays with
//! the names in the meantime.
#![allow(clippy::disallowed_methods)] // Races are made of threads that do not wait for each other.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use confkit::files::sink::{Directory, Error, Existing, Item, Part, There};
use tempfile::TempDir;

use crate::support::mount::Mount;

/// Long after the times in these tests.
const NOW: i64 = 2_000_000_000;

fn place_of(dir: &TempDir) -> Directory {
    Directory::open(dir.path()).unwrap()
}

/// A part of a single file with these bytes.
fn part(dir: &Directory, name: &str, bytes: &[u8]) -> Part {
    let part = Part::create(dir, name, false).unwrap();
    let mut stage = part.stage();
    stage.write(0, 0, bytes).unwrap();
    stage.take_unsynced().sync().unwrap();
    part
}

/// A part of a tree with one file for each path.
fn tree(dir: &Directory, name: &str, paths: &[&[&str]]) -> (Part, Vec<Vec<String>>) {
    let part = Part::create(dir, name, true).unwrap();
    let mut stage = part.stage();
    for number in 0..paths.len() {
        stage.write(number as u32, 0, format!("file {number}").as_bytes()).unwrap();
    }
    stage.take_unsynced().sync().unwrap();
    part.begin_placing(b"how").unwrap();
    let paths = paths.iter().map(|path| path.iter().map(ToString::to_string).collect()).collect();
    (part, paths)
}

fn items(paths: &[Vec<String>]) -> impl Iterator<Item = Item<'_>> {
    paths.iter().enumerate().map(|(number, path)| Item {
        number: number as u32,
        path,
        directory: false,
        mtime: Some(1_000_000_000),
    })
}

#[test]
fn f04_links_pipes_and_directories_in_the_way_are_never_opened() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = outside.path().join("secret");
    fs::write(&secret, "untouched").unwrap();
    symlink(&secret, dir.path().join("a.part")).unwrap();
    symlink(&secret, dir.path().join("b")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("c.part"), 0o600.into()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("d"), 0o600.into()).unwrap();
    fs::hard_link(&secret, dir.path().join("e.part")).unwrap();
    fs::create_dir(dir.path().join("f")).unwrap();
    let held = place_of(&dir);
    for name in ["a", "c", "e"] {
        assert!(matches!(Part::open(&held, name, false), Err(Error::Foreign { .. })), "{name}");
        assert!(matches!(Part::create(&held, name, false), Err(Error::Exists(_))), "{name}");
    }
    for name in ["b", "d", "f"] {
        let part = part(&held, name, b"new");
        for existing in [Existing::Keep, Existing::Replace] {
            let placed = part.place(name, None, existing, NOW);
            assert!(matches!(placed, Err(Error::Foreign { .. })), "{name}: {placed:?}");
        }
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "untouched");
    assert_eq!(fs::read_link(dir.path().join("b")).unwrap(), secret);
}

#[test]
fn f04_a_file_with_a_second_name_is_replaced_under_this_name_only() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("other"), "old").unwrap();
    fs::hard_link(dir.path().join("other"), dir.path().join("name")).unwrap();
    let held = place_of(&dir);
    part(&held, "name", b"new").place("name", None, Existing::Replace, NOW).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("other")).unwrap(), "old");
    assert_eq!(fs::read_to_string(dir.path().join("name")).unwrap(), "new");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn f04_a_tree_does_not_go_through_links() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(outside.path(), dir.path().join("src")).unwrap();
    let held = place_of(&dir);
    assert!(matches!(held.look_along(&["src".into(), "x".into()]), Err(Error::Foreign { .. })));
    let (part, paths) = tree(&held, "src", &[&["src", "x"]]);
    let placed = part.place_tree(&held, items(&paths), |_| Existing::Replace, NOW);
    assert!(matches!(placed, Err(Error::Foreign { .. })), "{placed:?}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

/// Where files cost little: this is about names.
fn memory() -> TempDir {
    let shm = Path::new("/dev/shm");
    let there = shm.is_dir().then(|| tempfile::tempdir_in(shm)).and_then(Result::ok);
    there.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

#[test]
fn f05_a_directory_that_becomes_a_link_in_the_meantime_leads_nowhere() {
    let rounds = if std::env::var_os("CONF_SOAK").is_some() { 100_000 } else { 2_000 };
    let (dir, outside) = (memory(), memory());
    let (at, link) = (dir.path().join("at"), dir.path().join("link"));
    fs::create_dir_all(at.join("sub")).unwrap();
    symlink(outside.path(), &link).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let racer = std::thread::spawn({
        let (sub, stop) = (at.join("sub"), Arc::clone(&stop));
        move || {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &sub, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        }
    });
    let held = Directory::open(&at).unwrap();
    let (mut round, mut placed, mut refused) = (0, 0, 0);
    while round < rounds || placed == 0 || refused == 0 {
        round += 1;
        let (part, paths) = tree(&held, "t", &[&["sub", "deep", "x"], &["sub", "y"]]);
        match part.place_tree(&held, items(&paths), |_| Existing::Replace, NOW) {
            Ok(()) => placed += 1,
            Err(_) => refused += 1,
        }
        if round % 100 == 0 {
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        }
        let _ = fs::remove_dir_all(at.join("t.part"));
    }
    stop.store(true, Ordering::Relaxed);
    racer.join().unwrap();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "something was written outside");
    eprintln!("{placed} placed, {refused} refused");
}

#[test]
fn f07_a_received_file_is_for_its_user_and_cannot_be_run() {
    let dir = tempfile::tempdir().unwrap();
    let held = place_of(&dir);
    part(&held, "tool", b"#!/bin/sh\n").place("tool", None, Existing::Keep, NOW).unwrap();
    let mode = fs::metadata(dir.path().join("tool")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777 & !0o600, 0, "{mode:o}");
    let (part, paths) = tree(&held, "t", &[&["sub", "run.sh"]]);
    part.place_tree(&held, items(&paths), |_| Existing::Keep, NOW).unwrap();
    let mode = fs::metadata(dir.path().join("sub/run.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777 & !0o600, 0, "{mode:o}");
    let mode = fs::metadata(dir.path().join("sub")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777 & !0o700, 0, "{mode:o}");
}

#[test]
fn f08_a_file_that_is_there_stays_unless_it_is_to_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let held = place_of(&dir);
    let old = dir.path().join("a");
    fs::write(&old, "old").unwrap();
    let part = part(&held, "a", b"new");
    assert!(matches!(part.place("a", None, Existing::Keep, NOW), Err(Error::Exists(_))));
    assert_eq!(fs::read_to_string(&old).unwrap(), "old");
    assert_eq!(part.place("a (1)", None, Existing::Keep, NOW).unwrap(), dir.path().join("a (1)"));
    let (part, paths) = tree(&held, "t", &[&["b"], &["a"]]);
    let kept = part.place_tree(&held, items(&paths), |_| Existing::Keep, NOW);
    assert!(matches!(kept, Err(Error::Exists(_))), "{kept:?}");
    // The rest can be done with another decision, by another program even.
    let part = Part::open(&held, "t", true).unwrap().unwrap();
    assert_eq!(part.placing().unwrap().as_deref(), Some(&b"how"[..]));
    assert!(!part.holds(0).unwrap() && part.holds(1).unwrap());
    part.place_tree(&held, items(&paths), |_| Existing::Replace, NOW).unwrap();
    assert_eq!(fs::read_to_string(&old).unwrap(), "file 1");
    assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "file 0");
    assert!(!dir.path().join("t.part").exists());
}

#[test]
fn f12_a_full_disk_is_told_and_the_part_stays() {
    let Some(small) = Mount::small() else { return };
    let held = Directory::open(small.at.path()).unwrap();
    assert!(held.free().unwrap() <= 16 << 20);
    let part = Part::create(&held, "big", false).unwrap();
    let mut stage = part.stage();
    let chunk = vec![7; 1 << 20];
    let full = (0..20).find_map(|n| stage.write(0, n << 20, &chunk).err());
    let full = full.expect("more than fits was written");
    assert!(full.is_full() && full.to_string().contains("no space is left"), "{full}");
    drop((part, stage));
    let part = Part::open(&held, "big", false).unwrap().expect("the part stays");
    let mut first = [0; 4096];
    assert_eq!(part.stage().read(0, 0, &mut first).unwrap(), 4096);
    assert_eq!(first, [7; 4096]);
}

#[test]
fn f13_what_the_system_says_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let held = place_of(&dir);
    let long = "x".repeat(256);
    let why = held.check_writable(&long).unwrap_err().to_string();
    assert!(why.ends_with("the name is too long for this file system"), "{why}");
    // The longest name that there is has a part all the same.
    let longest = "x".repeat(255);
    part(&held, &longest, b"x").place(&longest, None, Existing::Keep, NOW).unwrap();
    assert!(dir.path().join(&longest).is_file());
    let Some(mount) = Mount::tmpfs("size=1m") else { return };
    let held = Directory::open(mount.at.path()).unwrap();
    held.check_writable("a").unwrap();
    mount.read_only();
    let why = held.check_writable("a").unwrap_err().to_string();
    assert!(why.ends_with("the file system is read-only"), "{why}");
    assert!(Part::create(&held, "a", false).unwrap_err().to_string().contains("read-only"));
}

#[test]
fn f31_a_part_belongs_to_one_program_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let held = place_of(&dir);
    for tree in [false, true] {
        let name = if tree { "t" } else { "f" };
        let first = Part::create(&held, name, tree).unwrap();
        assert!(matches!(Part::open(&held, name, tree), Err(Error::Busy(_))));
        assert!(matches!(Part::create(&held, name, tree), Err(Error::Exists(_))));
        drop(first);
        assert!(Part::open(&held, name, tree).unwrap().is_some());
        // The wrong kind is somebody else's.
        assert!(matches!(Part::open(&held, name, !tree), Err(Error::Foreign { .. })));
    }
    assert!(Part::open(&held, "g", false).unwrap().is_none());
}

#[test]
fn f34_times_are_kept_and_none_is_from_the_future_or_before_1970() {
    let dir = tempfile::tempdir().unwrap();
    let held = place_of(&dir);
    for (name, mtime, kept) in
        [("a", 1_000_000_000, 1_000_000_000), ("b", i64::MAX, NOW), ("c", -5, 0), ("d", i64::MIN, 0)]
    {
        part(&held, name, b"x").place(name, Some(mtime), Existing::Keep, NOW).unwrap();
        assert_eq!(fs::metadata(dir.path().join(name)).unwrap().mtime(), kept, "{name}");
    }
}

#[test]
fn names_that_are_no_names_are_refused_here_too() {
    let dir = tempfile::tempdir().unwrap();
    let held = place_of(&dir);
    for bad in ["", ".", "..", "a/b", "/etc", "a\0b"] {
        assert!(Part::create(&held, bad, false).is_err(), "{bad:?}");
        assert!(held.look(bad).is_err(), "{bad:?}");
        assert!(held.enter_or_make(bad).is_err(), "{bad:?}");
        let part = part(&held, "fine", b"x");
        assert!(part.place(bad, None, Existing::Replace, NOW).is_err(), "{bad:?}");
        part.discard().unwrap();
        let (part, _) = tree(&held, "t", &[&["x"]]);
        let path = vec!["sub".to_owned(), bad.to_owned()];
        let paths = [path];
        assert!(part.place_tree(&held, items(&paths), |_| Existing::Replace, NOW).is_err(), "{bad:?}");
        Part::open(&held, "t", true).unwrap().unwrap().discard().unwrap();
    }
    assert_eq!(held.look("t.part").unwrap(), There::Nothing);
}

#[test]
fn what_is_discarded_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let held = place_of(&dir);
    part(&held, "a", b"x").discard().unwrap();
    tree(&held, "t", &[&["b"], &["c"]]).0.discard().unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn f38_a_directory_that_cannot_be_written_to_is_told_before_anything_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let closed: PathBuf = dir.path().join("closed");
    fs::DirBuilder::new().mode(0o500).create(&closed).unwrap();
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere; the programs are tested as somebody else.
        return;
    }
    let why = Directory::open(&closed).unwrap().check_writable("a").unwrap_err().to_string();
    assert!(why.ends_with("permission denied"), "{why}");
}
