//! `conf-recv --watch`: what comes while it runs.

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;

use crate::support::programs::{PATIENCE, Running};
use crate::support::scene::Scene;
use crate::support::talk::wait_for;

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
