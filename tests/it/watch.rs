//! `conf-recv --watch`: what comes while it runs.

use std::fs;
use std::process::Stdio;

use confkit::limits;
use rustix::process::Signal;

use crate::support::hands::Taking;
use crate::support::programs::{PATIENCE, Running};
use crate::support::scene::{Scene, content};
use crate::support::talk::wait_for;
use crate::support::terminal::Terminal;

const CHUNK: usize = limits::CHUNK_MIN as usize;

#[test]
fn what_comes_has_its_name_and_texts_are_shown_once_with_who_says_them() {
    let scene = Scene::new();
    scene.file("log", 10);
    let (out, said) = (scene.town.path("out"), scene.town.path("said"));
    let watch = |arguments: &[&str]| {
        let mut command = scene.recv_command(arguments);
        command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&said).unwrap());
        command.stdin(Stdio::null());
        Running::start(command)
    };
    let mut watching = watch(&["--watch", "--yes"]);
    wait_for(&said, "waiting for what comes");
    fs::write(scene.bobs("text.txt"), "mine").unwrap();
    assert_eq!(scene.sent(&["--text", "see you\nat nine\n"]).code, 0);
    wait_for(&out, "Ann (offer 1): see you\n  at nine\n");
    assert_eq!(scene.sent(&["--text", "\u{1b}[2Jagain"]).code, 0);
    wait_for(&out, "Ann (offer 2): ");
    assert_eq!(scene.sent(&["log"]).code, 0);
    wait_for(&said, "fetched log: 10 B");
    watching.signal(Signal::INT);
    assert_eq!(watching.wait(PATIENCE), 130);
    let shown = fs::read_to_string(&out).unwrap();
    assert_eq!(shown.matches("see you").count(), 1, "{shown}");
    assert!(!shown.contains('\u{1b}') && shown.contains("again\n"), "{shown:?}");
    let told = fs::read_to_string(&said).unwrap();
    assert!(!told.contains('?'), "{told}");
    let mut names: Vec<_> = fs::read_dir(scene.bobs(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "state")
        .collect();
    names.sort();
    assert_eq!(names, ["log", "text.txt"]);
    assert_eq!(fs::read_to_string(scene.bobs("text.txt")).unwrap(), "mine");
    // Each once, also for the next one.
    assert_eq!(scene.recv(&["--all"]).said, "there is nothing new\n");
    // With a place for it a text is a file, by its number.
    let mut watching = watch(&["--watch", "--yes", "-o", "."]);
    wait_for(&said, "waiting for what comes");
    assert_eq!(scene.sent(&["--text", "for the shelf"]).code, 0);
    wait_for(&out, "text-4.txt");
    assert_eq!(fs::read_to_string(scene.bobs("text-4.txt")).unwrap(), "for the shelf");
    watching.signal(Signal::INT);
    assert_eq!(watching.wait(PATIENCE), 130);
}

/// A pipe of Ann's of which so many bytes have come, and which does not end yet.
fn slow(scene: &Scene, name: &str, bytes: usize) -> Taking {
    let mut command = scene.command(&scene.room(), &["--stdin-name", name]);
    command.stdin(Stdio::piped());
    let mut send = Taking::start(command);
    // Stdin stays open.
    send.running.feed(&content(1, bytes));
    send
}

#[test]
fn what_does_not_end_holds_up_neither_texts_nor_other_files() {
    let scene = Scene::new();
    scene.file("log", 10);
    let (out, said) = (scene.town.path("out"), scene.town.path("said"));
    let mut command = scene.recv_command(&["--watch", "--yes"]);
    command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&said).unwrap());
    command.stdin(Stdio::null());
    let mut watching = Running::start(command);
    wait_for(&said, "waiting for what comes");
    let mut first = slow(&scene, "first", CHUNK);
    wait_until(|| scene.bobs("first.part").exists());
    let mut second = slow(&scene, "second", CHUNK);
    wait_until(|| scene.bobs("second.part").exists());
    assert_eq!(scene.sent(&["--text", "at once"]).code, 0);
    wait_for(&out, "Ann (offer 3): at once\n");
    assert_eq!(scene.sent(&["log"]).code, 0);
    wait_for(&said, "fetched log: 10 B");
    // All lanes are taken: a file waits, and a text does not.
    let mut third = slow(&scene, "third", CHUNK);
    wait_until(|| fs::metadata(scene.bobs("third.part")).is_ok_and(|part| part.len() > 0));
    scene.file("late", 20);
    assert_eq!(scene.sent(&["late"]).code, 0);
    assert_eq!(scene.sent(&["--text", "still"]).code, 0);
    wait_for(&out, "Ann (offer 7): still\n");
    assert!(!scene.bobs("late").exists() && !scene.bobs("late.part").exists());
    drop(first.running.child.stdin.take());
    wait_for(&said, "fetched first: 256 KiB");
    wait_for(&said, "fetched late: 20 B");
    drop(second.running.child.stdin.take());
    wait_for(&said, "fetched second: 256 KiB");
    watching.signal(Signal::INT);
    assert_eq!(watching.wait(PATIENCE), 130);
    let told = fs::read_to_string(&said).unwrap();
    assert!(told.contains("interrupted; what came is kept, and conf-recv 5 goes on from there"), "{told}");
    assert!(fs::read(scene.bobs("first")).unwrap() == content(1, CHUNK));
    drop(third.running.child.stdin.take());
    for send in [first, second, third] {
        assert_eq!(send.end().code, 0);
    }
    let ended = scene.recv(&["5"]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(fs::read(scene.bobs("third")).unwrap() == content(1, CHUNK));
}

#[test]
fn at_a_terminal_bars_stand_below_each_other_and_go_when_they_are_done() {
    let scene = Scene::new();
    let bob =
        &mut Terminal::run(&scene.room(), "Bob", &[env!("CARGO_BIN_EXE_conf-recv"), "--watch", "--yes"]);
    bob.wait_for("waiting for what comes");
    let mut first = slow(&scene, "first", 2 * CHUNK);
    let mut second = slow(&scene, "second", CHUNK);
    bob.wait("two of them", |screen| {
        let shown: Vec<String> = screen.rows(0, screen.size().1.get()).collect();
        let row = |text: &str| shown.iter().position(|line| line.starts_with(text));
        row("first").is_some_and(|at| row("second").is_some_and(|other| at.abs_diff(other) == 2))
    });
    assert_eq!(scene.sent(&["--text", "at once"]).code, 0);
    bob.wait_for("Ann (offer 3): at once");
    drop(first.running.child.stdin.take());
    drop(second.running.child.stdin.take());
    bob.wait_for("fetched first: 512 KiB");
    bob.wait_for("fetched second: 256 KiB");
    assert_eq!((first.end().code, second.end().code), (0, 0));
    bob.press("\x03");
    assert_eq!(bob.end(), 130);
    let shown = bob.shown();
    assert!(!shown.contains("waiting for more") && !shown.contains("as fast as"), "{shown}");
}

#[test]
fn every_object_of_progress_names_its_offer() {
    let scene = Scene::new();
    scene.file("d/a", 10);
    scene.file("d/.b", 10);
    assert_eq!(scene.sent(&["d"]).code, 0);
    let ended = scene.recv(&["--all", "--yes", "--progress", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    let kinds: Vec<String> = ended
        .said
        .lines()
        .map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(object["offer"], 1, "{line}");
            object["type"].as_str().unwrap().to_owned()
        })
        .collect();
    for kind in ["note", "begin", "file", "end"] {
        assert!(kinds.iter().any(|told| told == kind), "{kind}: {kinds:?}");
    }
}

/// Waits until something is so.
fn wait_until(is_so: impl Fn() -> bool) {
    let began = confkit::time::now();
    while !is_so() {
        assert!(confkit::time::now().since(began) < PATIENCE);
        std::thread::yield_now();
    }
}
