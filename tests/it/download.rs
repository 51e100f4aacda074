//! `conf-recv` as a user meets it: places, pipes, disks that fill, parts that somebody has played with.
#![allow(clippy::disallowed_methods)] // A race is made of threads that do not wait for each other.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use confkit::limits;
use rustix::process::Signal;

use crate::support::cable::Cable;
use crate::support::mount::Mount;
use crate::support::programs::{PATIENCE, Running};
use crate::support::random::Random;
use crate::support::scene::{Scene, output};
use crate::support::taker::Taker;

const MIB: usize = 1024 * 1024;

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A receiver that is killed when so many bytes have come, of an offer whose sender has ended.
fn broken_off(scene: &Scene, bytes: u64) {
    let cable = Cable::from(scene.server.as_ref().unwrap().address);
    let mut receiving = Running::start(scene.receiver(&cable.room(), "got", &["--yes", "1"]));
    cable.wait_for(bytes);
    receiving.child.kill().unwrap();
    receiving.child.wait().unwrap();
    assert!(names(&scene.town.path("got")).contains(&"a.part".into()), "it was too fast to be killed");
}

#[test]
fn f06_an_output_that_is_a_directory_gets_the_file_under_its_own_name() {
    let scene = Scene::new();
    let bytes = scene.file("a", 1_000);
    assert_eq!(scene.send(&["a"]).0, 0);
    let place = scene.town.path("got/place");
    fs::create_dir_all(&place).unwrap();
    let (code, _, said) = scene.receive("got", &["--yes", "-o", "place", "1"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(names(&place), ["a"]);
    // The same through a link that the user has named; and one that is no directory stays what it is.
    fs::write(place.join("a"), "mine").unwrap();
    symlink(&place, scene.town.path("got/link")).unwrap();
    let (code, _, said) = scene.receive("got", &["--yes", "--if-exists", "rename", "-o", "link", "1"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(names(&place), ["a", "a (1)"]);
    symlink("nowhere", scene.town.path("got/b")).unwrap();
    let (code, _, said) = scene.receive("got", &["--yes", "--if-exists", "overwrite", "-o", "b", "1"]);
    assert_eq!(code, 9, "{said}");
    assert_eq!(fs::read_link(scene.town.path("got/b")).unwrap(), Path::new("nowhere"));
    assert_eq!(fs::read(place.join("a (1)")).unwrap(), bytes);
}

#[test]
fn f11_archives_stay_what_they_are() {
    let scene = Scene::new();
    let inside = scene.path("in");
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(inside.join("tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    let made = Command::new("tar")
        .args(["-C", "in", "-czf", "it.tar.gz", "tool"])
        .current_dir(scene.path(""))
        .status();
    assert!(made.unwrap().success());
    assert_eq!(scene.send(&["it.tar.gz"]).0, 0);
    assert_eq!(scene.receive("got", &["--yes", "1"]).0, 0);
    assert_eq!(names(&scene.town.path("got")), ["it.tar.gz"]);
    let sent = fs::read(scene.path("it.tar.gz")).unwrap();
    assert!(fs::read(scene.town.path("got/it.tar.gz")).unwrap() == sent);
}

/// What interrupts calls that wait.
fn stop_and_go(running: &Running) {
    running.signal(Signal::STOP);
    running.signal(Signal::CONT);
}

#[test]
fn f14_pipes_that_take_and_give_little_and_signals_in_between_change_nothing() {
    let scene = Scene::new();
    let bytes = crate::support::scene::content(9, 3 * MIB + 17);
    let mut random = Random(14);
    let mut command = scene.command(&scene.room(), &["--stdin-name", "a"]);
    command.stdin(Stdio::piped());
    let mut sending = Running::start(command);
    let mut command = scene.receiver(&scene.room(), "got", &["--yes", "-o", "-", "a"]);
    let mut stdin = sending.child.stdin.take().unwrap();
    let mut left = &bytes[..];
    let mut feed = |stdin: &mut std::process::ChildStdin, until: usize, sending: &Running| {
        while left.len() > until {
            let (part, rest) = left.split_at((random.between(1, 70_000) as usize).min(left.len() - until));
            stdin.write_all(part).unwrap();
            if random.between(0, 9) == 0 {
                stop_and_go(sending);
            }
            left = rest;
        }
    };
    feed(&mut stdin, MIB, &sending);
    watch_for(&scene, 1);
    command.stdout(Stdio::piped());
    let mut receiving = Running::start(command);
    let mut stdout = receiving.child.stdout.take().unwrap();
    feed(&mut stdin, 0, &sending);
    drop(stdin);
    let (mut got, mut some, mut random) = (Vec::new(), vec![0; 9_000], Random(15));
    loop {
        let most = random.between(1, 9_000) as usize;
        let count = stdout.read(&mut some[..most]).unwrap();
        if count == 0 {
            break;
        }
        got.extend_from_slice(&some[..count]);
        if random.between(0, 50) == 0 {
            stop_and_go(&receiving);
        }
    }
    assert_eq!(receiving.wait(PATIENCE), 0, "{}", receiving.stderr());
    assert_eq!(sending.wait(PATIENCE), 0, "{}", sending.stderr());
    assert!(got == bytes, "{} of {} bytes, or others", got.len(), bytes.len());
}

#[test]
fn f19_a_part_that_somebody_has_played_with_costs_what_was_changed_and_no_more() {
    let scene = Scene::new();
    let bytes = scene.file("a", 16 * MIB);
    assert_eq!(scene.send(&["a"]).0, 0);
    let part = scene.town.path("got/a.part");
    let cases: [fn(&Path); 4] = [
        |part| {
            let file = fs::File::options().write(true).open(part).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"something else", 300_000).unwrap();
        },
        |part| fs::File::options().append(true).open(part).unwrap().write_all(&[7; 3_000_000]).unwrap(),
        |part| fs::File::options().write(true).open(part).unwrap().set_len(1_000).unwrap(),
        |part| fs::write(part, vec![0; 20 * MIB]).unwrap(),
    ];
    for (n, spoil) in cases.into_iter().enumerate() {
        broken_off(&scene, 9 * MIB as u64);
        spoil(&part);
        let (code, _, said) = scene.receive("got", &["--yes", "1"]);
        assert_eq!(code, 0, "case {n}: {said}");
        assert!(fs::read(scene.town.path("got/a")).unwrap() == bytes, "case {n}");
        assert_eq!(names(&scene.town.path("got")), ["a"], "case {n}");
        fs::remove_file(scene.town.path("got/a")).unwrap();
    }
    // One that has become a link, or a pipe, is nobody's part: it is neither followed nor opened.
    broken_off(&scene, 4 * MIB as u64);
    let secret = scene.town.path("secret");
    fs::write(&secret, "untouched").unwrap();
    fs::remove_file(&part).unwrap();
    symlink(&secret, &part).unwrap();
    let (code, _, said) = scene.receive("got", &["--yes", "1"]);
    assert_eq!(fs::read_to_string(&secret).unwrap(), "untouched", "{code}: {said}");
    assert_eq!(fs::read_link(&part).unwrap(), secret);
    // Its part has another name then, which is said; the file has its own.
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("a.part is not of this offer") && said.contains("left alone"), "{said}");
    assert!(fs::read(scene.town.path("got/a")).unwrap() == bytes);
}

#[test]
fn f12_f13_a_disk_that_fills_keeps_what_came_and_goes_on_when_there_is_room() {
    let Some(small) = Mount::small() else { return };
    let mut scene = Scene::new();
    let bytes = scene.file("a", 10 * MIB);
    let place = small.at.path().join("in");
    fs::create_dir(&place).unwrap();
    let to = place.to_str().unwrap().to_owned();

    // More than fits is refused before it begins.
    scene.file("large", 20 * MIB);
    assert_eq!(scene.send(&["large"]).0, 0);
    let (code, _, said) = scene.receive("got", &["--yes", "-o", &to, "1"]);
    assert_eq!(code, 9, "{said}");
    assert!(said.contains("are free"), "{said}");
    assert!(names(&place).is_empty(), "{:?}", names(&place));

    // The space goes while it is received.
    let mut sending = scene.start(&scene.room(), &["--limit-rate", "4M", "a"]);
    watch_for(&scene, 2);
    let cable = scene.cable_from();
    let mut receiving = Running::start(scene.receiver(&cable.room(), "got", &["--yes", "-o", &to, "2"]));
    cable.wait_for(3 * MIB as u64);
    small.fill(Path::new("filler"));
    assert_eq!(receiving.wait(PATIENCE), 9);
    let said = receiving.stderr();
    assert!(said.contains("no space is left") && said.contains("goes on from there"), "{said}");
    assert!(names(&place).contains(&"a.part".into()) && names(&place).len() == 2, "{:?}", names(&place));
    assert_eq!(sending.wait(PATIENCE), 0, "{}", sending.stderr());

    // While there is still none it says so again, and loses nothing.
    let (code, _, said) = scene.receive("got", &["--yes", "-o", &to, "2"]);
    assert_eq!(code, 9, "{said}");
    fs::remove_file(small.at.path().join("filler")).unwrap();
    let (code, sums, said) = output(scene.receiver(&cable.room(), "got", &["--yes", "-o", &to, "2"]));
    assert_eq!(code, 0, "{said}");
    assert!(sums.ends_with("/a\n"), "{sums}");
    assert!(fs::read(place.join("a")).unwrap() == bytes);
    assert!(cable.again() <= limits::UPLOAD_WINDOW, "{} bytes came twice", cable.again());
    assert_eq!(names(&place), ["a"]);
    scene.server = None;
}

/// Waits until somebody is told of this offer.
fn watch_for(scene: &Scene, offer: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut taker = Taker::join(&scene.room(), "Cy").await;
        taker.state(|state| state.offer.0 == offer && state.kept > 0).await;
    });
}

#[test]
fn f12_f13_a_servers_disk_that_fills_keeps_what_it_has_and_goes_on_when_there_is_room() {
    let Some(small) = Mount::small() else { return };
    let mut scene = Scene::new();
    scene.server = None;
    scene.town.store = small.at.path().join("store");
    scene.server = Some(scene.town.serve());
    let bytes = scene.file("a", 8 * MIB);
    let cable = scene.cable();
    let mut sending = Running::start(scene.command(&cable.room(), &["--limit-rate", "3M", "a"]));
    cable.wait_for(2 * MIB as u64);
    small.fill(Path::new("filler"));
    assert_eq!(sending.wait(PATIENCE), 5);
    let said = sending.stderr();
    assert!(said.contains("disk is full") && said.contains("then the same command goes on"), "{said}");
    // It still talks.
    let (code, _, said) = scene.receive("got", &["--list"]);
    assert_eq!(code, 0, "{said}");
    // Also in another life.
    scene.server = None;
    fs::remove_file(small.at.path().join("filler")).unwrap();
    scene.server = Some(scene.town.serve());
    let (code, _, said) = output(scene.command(&cable.room(), &["a"]));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("going on from where it broke off"), "{said}");
    assert!(cable.again() <= 2 * limits::UPLOAD_WINDOW, "{} bytes went twice", cable.again());
    let (code, _, said) = scene.receive("got", &["--yes", "1"]);
    assert_eq!(code, 0, "{said}");
    assert!(fs::read(scene.town.path("got/a")).unwrap() == bytes);
    scene.server = None;
}

#[test]
fn f28_a_receiver_that_was_away_goes_on_after_the_sender_has_gone_and_the_server_was_restarted() {
    let mut scene = Scene::new();
    let bytes = scene.file("a", 32 * MIB);
    assert_eq!(scene.send(&["a"]).0, 0);
    // What has come and is not safe is a window at the most.
    broken_off(&scene, 20 * MIB as u64);
    scene.server = None;
    scene.server = Some(scene.town.serve());
    let cable = Cable::from(scene.server.as_ref().unwrap().address);
    let (code, _, said) = output(scene.receiver(&cable.room(), "got", &["--yes", "1"]));
    assert_eq!(code, 0, "{said}");
    assert!(fs::read(scene.town.path("got/a")).unwrap() == bytes);
    assert!(cable.chunks() <= 80, "{} of 128 chunks came again", cable.chunks());
}

#[test]
fn f05_a_directory_that_becomes_a_link_while_it_is_received_into_leads_nowhere() {
    let rounds = std::env::var("CONF_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(30).min(300);
    let scene = Scene::new();
    for name in ["d/sub/deep/x", "d/sub/y"] {
        scene.file(name, 1_000);
    }
    assert_eq!(scene.send(&["d"]).0, 0);
    let (outside, got) = (scene.town.path("outside"), scene.town.path("got"));
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(got.join("d/sub")).unwrap();
    symlink(&outside, scene.town.path("link")).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let racer = std::thread::spawn({
        let (sub, link, stop) = (got.join("d/sub"), scene.town.path("link"), std::sync::Arc::clone(&stop));
        move || {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = renameat_with(CWD, &sub, CWD, &link, RenameFlags::EXCHANGE);
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    });
    let mut placed = 0;
    for _ in 0..rounds {
        let (code, _, said) = scene.receive("got", &["--yes", "--if-exists", "overwrite", "1"]);
        assert!(code == 0 || code == 9, "{code}: {said}");
        placed += u32::from(code == 0);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was written outside");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    racer.join().unwrap();
    eprintln!("{placed} of {rounds} placed");
}

#[test]
fn f32_ctrl_c_ends_a_stream_into_a_pipe_and_a_download() {
    let scene = Scene::new();
    let mut command = scene.command(&scene.room(), &["--stdin-name", "log"]);
    command.stdin(Stdio::piped());
    let mut sending = Running::start(command);
    sending.feed(&crate::support::scene::content(1, MIB));
    watch_for(&scene, 1);
    let mut streaming = Running::start(scene.receiver(&scene.room(), "got", &["--yes", "-o", "-", "1"]));
    let mut some = [0; 1_000];
    streaming.child.stdout.as_mut().unwrap().read_exact(&mut some).unwrap();
    let cable = scene.cable_from();
    let mut receiving = Running::start(scene.receiver(&cable.room(), "got", &["--yes", "1"]));
    cable.wait_for(MIB as u64 / 2);
    for (running, signal, code) in [(&mut streaming, Signal::INT, 130), (&mut receiving, Signal::TERM, 143)] {
        running.signal(signal);
        assert_eq!(running.wait(PATIENCE), code);
        let said = running.stderr();
        assert!(said.contains("interrupted"), "{said}");
    }
    assert!(names(&scene.town.path("got")).contains(&"log.part".into()));
    drop(sending.child.stdin.take());
    assert_eq!(sending.wait(PATIENCE), 0, "{}", sending.stderr());
    assert_eq!(scene.receive("got", &["--yes", "1"]).0, 0);
}
