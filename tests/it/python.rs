//! docs/example.py, which is written from docs/protocol.md alone, against a running server.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use confkit::h264::{AccessUnit, Splitter};

use crate::support::liar::{Liar, Lie};
use crate::support::programs::{PATIENCE, Running, Serve};
use crate::support::scene::Scene;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example.py");
const PICTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/media/MIDR_MW_D.264");

fn missing() -> bool {
    let python = Command::new("python3").arg("--version").output().is_ok_and(|out| out.status.success());
    let missing = !python || !Path::new(PICTURES).exists();
    if missing {
        eprintln!("skipped: needs python3 and ../shared/media");
    }
    missing
}

fn example(args: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.arg(EXAMPLE).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn pictures(path: &Path) -> Vec<AccessUnit> {
    let mut splitter = Splitter::new();
    splitter.push(&std::fs::read(path).unwrap());
    splitter.finish();
    std::iter::from_fn(|| splitter.poll().unwrap()).collect()
}

#[test]
fn the_python_example_publishes_lists_and_receives() {
    if missing() {
        return;
    }
    let server = Serve::start();
    let room = server.room.clone();
    let mut publisher =
        example(&["--name", "王小明", "publish", &room, PICTURES, "--fps", "50", "--loop", "100"]);
    publisher.env("PYTHONIOENCODING", "utf-8");
    let mut publisher = Running::start(publisher);
    let mut said = String::new();
    BufReader::new(publisher.child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    if !said.contains("publishing 100 pictures as track 1") {
        panic!("{said}{}", publisher.stderr());
    }

    let listed =
        example(&["--name", "list", "list", &room]).env("PYTHONIOENCODING", "utf-8").output().unwrap();
    assert!(listed.status.success(), "{}", text(&listed));
    assert!(text(&listed).contains("member 1: 王小明 (here)"), "{}", text(&listed));
    assert!(text(&listed).contains("track 1: 王小明/file h264"), "{}", text(&listed));

    let dir = tempfile::tempdir().unwrap();
    let file: PathBuf = dir.path().join("received.h264");
    let received =
        example(&["receive", &room, "1", file.to_str().unwrap(), "--pictures", "120"]).output().unwrap();
    assert!(received.status.success(), "{}", text(&received));
    let (sent, got) = (pictures(Path::new(PICTURES)), pictures(&file));
    assert_eq!(got.len(), 120);
    assert!(got[0].key, "decoding can begin with the first picture");
    let follows = |at: &usize| got.iter().zip(sent.iter().cycle().skip(*at)).all(|(a, b)| a.data == b.data);
    assert!((0..sent.len()).any(|at| follows(&at)), "the pictures are those that were sent, in order");
}

#[test]
fn the_python_example_is_told_why_it_is_refused() {
    if missing() {
        return;
    }
    let server = Serve::start();
    let room = server.room.clone();
    let refused = example(&["receive", &room, "7", "/dev/null"]).output().unwrap();
    assert!(!refused.status.success());
    assert!(text(&refused).contains("refused: track"), "{}", text(&refused));
    let refused = example(&["--name", "a\u{202e}b", "list", &room]).output().unwrap();
    assert!(text(&refused).contains("refused: name"), "{}", text(&refused));
    // To list is to look, which makes no room.
    let nowhere = format!("conf://{}/nowhere", server.address);
    let refused = example(&["list", &nowhere]).output().unwrap();
    assert!(text(&refused).contains("refused: room"), "{}", text(&refused));
}

#[test]
fn the_python_example_says_something_and_reads_what_was_said() {
    if missing() {
        return;
    }
    let server = Serve::start();
    for said in ["hello", "你好"] {
        let said = example(&["--name", "Ann", "say", &server.room, said]).output().unwrap();
        assert!(said.status.success(), "{}", text(&said));
    }
    let read =
        example(&["--name", "Bob", "read", &server.room]).env("PYTHONIOENCODING", "utf-8").output().unwrap();
    assert_eq!(text(&read), "1 Ann: 'hello'\n2 Ann: '你好'\n");
}

#[test]
fn the_python_example_sends_and_fetches_files() {
    if missing() {
        return;
    }
    let scene = Scene::new();
    let room = scene.room();
    // Of itself, of several chunks, and of none.
    for (number, size) in [(1, 700_000), (2, 10 * 1024 * 1024), (3, 0)] {
        let name = format!("f {number}.bin");
        let bytes = scene.file(&name, size);
        let sent = example(&["--name", "Ann", "send", &room, scene.path(&name).to_str().unwrap()]);
        let sent = { sent }.output().unwrap();
        assert!(sent.status.success(), "{}", text(&sent));
        assert!(String::from_utf8_lossy(&sent.stdout).ends_with(&format!("  {name}\n")), "{}", text(&sent));
        // By conf-recv, and by the example.
        let (code, sums, said) = scene.receive("got", &["--yes", &number.to_string()]);
        assert_eq!(code, 0, "{said}");
        assert_eq!(sums.as_bytes(), sent.stdout);
        assert!(std::fs::read(scene.town.path("got").join(&name)).unwrap() == bytes);
        let place = tempfile::tempdir().unwrap();
        let fetched =
            example(&["fetch", &room, &number.to_string(), place.path().to_str().unwrap()]).output().unwrap();
        assert!(fetched.status.success(), "{}", text(&fetched));
        assert!(std::fs::read(place.path().join(&name)).unwrap() == bytes);
    }

    // What conf-send puts before the room, with directories; and what comes through a pipe.
    let (first, second) = (scene.file("d/a", 300_000), scene.file("d/sub/b", 5));
    assert_eq!(scene.send(&["d"]).0, 0);
    let place = tempfile::tempdir().unwrap();
    let fetched = example(&["fetch", &room, "4", place.path().to_str().unwrap()]).output().unwrap();
    assert!(fetched.status.success(), "{}", text(&fetched));
    assert!(std::fs::read(place.path().join("d/a")).unwrap() == first);
    assert_eq!(std::fs::read(place.path().join("d/sub/b")).unwrap(), second);
    let mut command = scene.command(&room, &["--stdin-name", "p"]);
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    running.feed(&first);
    assert_eq!(running.wait(PATIENCE), 0, "{}", running.stderr());
    let fetched = example(&["fetch", &room, "5", place.path().to_str().unwrap()]).output().unwrap();
    assert!(fetched.status.success(), "{}", text(&fetched));
    assert!(std::fs::read(place.path().join("p")).unwrap() == first);

    let refused = example(&["fetch", &room, "77", place.path().to_str().unwrap()]).output().unwrap();
    assert!(text(&refused).contains("refused: offer"), "{}", text(&refused));
}

#[test]
fn f01_the_python_example_writes_nothing_outside_its_directory() {
    if missing() {
        return;
    }
    for path in [r#"["..","x"]"#, r#"["/tmp/x"]"#, r#"["a\\b"]"#, r#"[""]"#, r#"["."]"#, "[]"] {
        let manifest = vec![format!("{{\"files\":[{{\"path\":{path},\"size\":0}}]}}")];
        let liar = Liar::start(vec![Lie::new(1, Some(0), move |fetch| {
            Lie::honest(fetch, &manifest, "{\"files\":[]}", b"")
        })]);
        let place = tempfile::tempdir().unwrap();
        let inner = place.path().join("in");
        std::fs::create_dir(&inner).unwrap();
        let refused = example(&["fetch", &liar.room(), "1", inner.to_str().unwrap()]).output().unwrap();
        assert!(text(&refused).contains("not acceptable"), "{path}: {}", text(&refused));
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(&inner).unwrap().count(), 0);
    }
}
