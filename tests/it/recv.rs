//! `conf-recv` as a user types it: what it writes, what it says, and with which code it ends.

use std::fs;
use std::process::Stdio;

use confkit::limits;
use rustix::process::Signal;

use crate::support::hands::Taking;
use crate::support::scene::{Scene, content};
use crate::support::taker::Taker;
use crate::support::talk::wait_for;
use crate::support::terminal::Terminal;

const CHUNK: usize = limits::CHUNK_MIN as usize;
const MIB: usize = 1024 * 1024;

#[test]
fn a_file_and_a_text_to_stdout_end_when_all_is_written() {
    let scene = Scene::new();
    let whole = scene.file("one", 5 * CHUNK / 2);
    assert_eq!(scene.sent(&["one"]).code, 0);
    let ended = scene.recv(&["one", "-o", "-"]);
    assert_eq!((ended.code, ended.out == whole), (0, true), "{}", ended.said);
    assert_eq!(scene.sent(&["--text", "hey Bob"]).code, 0);
    let ended = scene.recv(&["2"]);
    assert_eq!((ended.code, ended.out.as_slice()), (0, &b"hey Bob"[..]), "{}", ended.said);
    assert_eq!(
        fs::read_dir(scene.bobs("")).unwrap().filter(|e| e.as_ref().unwrap().path().is_file()).count(),
        0
    );
}

#[tokio::test]
async fn f21_a_growing_pipe_to_stdout_ends_with_the_pipe() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Cy").await;
    let whole = content(1, 5 * CHUNK / 2);
    let mut command = scene.command(&scene.room(), &["--stdin-name", "db.sql"]);
    command.stdin(Stdio::piped());
    let mut send = Taking::start(command);
    send.running.feed(&whole[..2 * CHUNK]);
    taker.state(|state| state.kept == 2).await;
    let recv = Taking::start(scene.recv_command(&["db.sql", "-o", "-"]));
    send.running.feed(&whole[2 * CHUNK..]);
    assert_eq!(send.end().code, 0);
    let ended = recv.end();
    assert_eq!((ended.code, ended.out == whole), (0, true), "{}", ended.said);
}

#[tokio::test]
async fn f32_a_signal_ends_a_file_to_stdout_also_where_nobody_reads() {
    let scene = Scene::new();
    scene.file("one", 8 * MIB);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        assert_eq!(scene.sent(&["--restart", "one"]).code, 0);
        // Nobody takes what is written: the pipe is full.
        let mut command = scene.recv_command(&["one", "-o", "-", "--progress", "json"]);
        let told = scene.bobs("told");
        command.stdout(Stdio::piped()).stderr(fs::File::create(&told).unwrap());
        let mut recv = crate::support::programs::Running::start(command);
        wait_for(&told, "\"begin\"");
        recv.signal(signal);
        assert_eq!(recv.wait(crate::support::programs::PATIENCE), code);
        let said = fs::read_to_string(&told).unwrap();
        assert!(said.contains("\"interrupted\""), "{said}");
    }
    // And where its sender has more to come.
    let slow = scene.start(&scene.room(), &["--limit-rate", "1M", "--restart", "one"]);
    let mut taker = Taker::join(&scene.room(), "Cy").await;
    let number = taker.state(|state| state.kept > 0 && !state.sealed).await.offer.to_string();
    let recv = Taking::start(scene.recv_command(&[&number, "-o", "-", "-v"]));
    taker.state(|state| state.kept > 2 && !state.sealed).await;
    recv.running.signal(Signal::INT);
    let ended = recv.end();
    assert_eq!(ended.code, 130, "{}", ended.said);
    drop(slow);
}

#[tokio::test]
async fn f20_whoever_fetches_a_file_that_changes_meanwhile_is_told_and_ends() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Cy").await;
    scene.file("ch", 24 * MIB);
    let send = Taking::start(scene.command(&scene.room(), &["--limit-rate", "1M", "ch"]));
    taker.state(|state| state.kept > 1).await;
    let recv = Taking::start(scene.recv_command(&["ch", "-o", "ch2"]));
    let stream = Taking::start(scene.recv_command(&["ch", "-o", "-"]));
    wait_for_file(&scene.bobs("ch2.part"));
    fs::write(scene.path("ch"), "another").unwrap();
    let sent = send.end();
    assert_eq!(sent.code, 6, "{}", sent.said);
    for ended in [recv.end(), stream.end()] {
        assert_eq!(ended.code, 6, "{}", ended.said);
        assert!(ended.said.contains("changed at its sender"), "{}", ended.said);
    }
    let listed = String::from_utf8(scene.recv(&["--list"]).out).unwrap();
    assert_eq!(listed, "nothing is offered in this room\n");
    // The same command sends what is there now.
    let again = scene.sent(&["ch"]);
    assert_eq!(again.code, 0, "{}", again.said);
    assert!(scene.recv(&["ch", "-o", "-"]).out == b"another");
}

#[tokio::test]
async fn f21_a_pipe_whose_sender_is_stopped_is_taken_back() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Cy").await;
    let mut command = scene.command(&scene.room(), &["--stdin-name", "pk"]);
    command.stdin(Stdio::piped());
    let mut send = Taking::start(command);
    send.running.feed(&content(1, 3 * CHUNK));
    taker.state(|state| state.kept == 3).await;
    let recv = Taking::start(scene.recv_command(&["pk"]));
    wait_for_file(&scene.bobs("pk.part"));
    send.running.signal(Signal::INT);
    let sent = send.end();
    assert_eq!(sent.code, 130);
    assert!(sent.said.contains("taken back"), "{}", sent.said);
    let ended = recv.end();
    assert_eq!(ended.code, 6, "{}", ended.said);
    assert!(ended.said.contains("cannot go on with it"), "{}", ended.said);
    assert!(!ended.said.contains("goes on from there"), "{}", ended.said);
    assert_eq!(scene.recv(&["--list"]).out, b"nothing is offered in this room\n");
}

#[tokio::test]
async fn f21_a_pipe_whose_sender_is_killed_is_given_up_when_its_session_is_over() {
    let mut scene = Scene::new();
    let home = scene.town.path("hasty");
    fs::create_dir(&home).unwrap();
    let mut command = crate::support::programs::program("conf-serve", &home);
    command.args(["127.0.0.1:0", "--grace", "1s", "--store"]).arg(home.join("store"));
    command.arg("--log-file").arg(home.join("log")).stdout(Stdio::piped());
    scene.server = Some(crate::support::programs::Serve::from_command(command));
    let mut taker = Taker::join(&scene.room(), "Cy").await;
    let mut command = scene.command(&scene.room(), &["--stdin-name", "pk"]);
    command.stdin(Stdio::piped());
    let mut send = Taking::start(command);
    send.running.feed(&content(1, 3 * CHUNK));
    taker.state(|state| state.kept == 3).await;
    let recv = Taking::start(scene.recv_command(&["pk"]));
    let stream = Taking::start(scene.recv_command(&["pk", "-o", "-"]));
    wait_for_file(&scene.bobs("pk.part"));
    send.running.signal(Signal::KILL);
    for ended in [recv.end(), stream.end()] {
        assert_eq!(ended.code, 6, "{}", ended.said);
        assert!(ended.said.contains("cannot go on with it"), "{}", ended.said);
    }
    assert_eq!(scene.recv(&["--list"]).out, b"nothing is offered in this room\n");
}

#[test]
fn with_ephemeral_who_opens_a_room_again_cannot_take_back_what_others_left_there() {
    let mut scene = Scene::new();
    let home = scene.town.path("fleeting");
    fs::create_dir(&home).unwrap();
    let mut command = crate::support::programs::program("conf-serve", &home);
    command.args(["127.0.0.1:0", "--ephemeral", "--room-grace", "1s", "--log-file"]).arg(home.join("log"));
    command.stdout(Stdio::piped());
    scene.server = Some(crate::support::programs::Serve::from_command(command));
    let whole = scene.file("one", 10);
    assert_eq!(scene.sent(&["one"]).code, 0);
    wait_for(&home.join("log"), "room closed");
    // Bob opens it and is its host.
    let mut command = scene.command(&scene.room(), &["--withdraw", "1"]);
    command.env("CONF_NAME", "Bob").env("XDG_STATE_HOME", scene.town.path("bob/state"));
    let ended = Taking::start(command).end();
    assert_eq!(ended.code, 5, "{}", ended.said);
    assert!(ended.said.contains("only its sender can take it back"), "{}", ended.said);
    assert!(scene.recv(&["1", "-o", "-"]).out == whole, "files live as long as the server");
    assert_eq!(scene.sent(&["--withdraw", "1"]).code, 0);
}

/// Waits until something is there.
fn wait_for_file(path: &std::path::Path) {
    let began = confkit::time::now();
    while !path.exists() {
        assert!(
            confkit::time::now().since(began) < crate::support::programs::PATIENCE,
            "no {}",
            path.display()
        );
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn f18_a_part_whose_journal_is_damaged_is_gone_on_with_or_left_alone_and_said_so() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Cy").await;
    let whole = scene.file("big2", 24 * MIB);
    let (part, journal) = (scene.bobs("big2.part"), scene.bobs("big2.part.journal"));
    let send = scene.start(&scene.room(), &["--limit-rate", "4M", "big2"]);
    taker.state(|state| state.kept > 1).await;
    let recv = Taking::start(scene.recv_command(&["big2"]));
    wait_until(&journal, |path| fs::metadata(path).is_ok_and(|about| about.len() > 400));
    drop((recv, send));
    assert_eq!(scene.sent(&["big2"]).code, 0);
    let kept = [&part, &journal].map(|path| fs::read(path).unwrap());
    // What is left of a run that was killed.
    let broken_off = || {
        let _ = fs::remove_file(scene.bobs("big2"));
        fs::write(&part, &kept[0]).unwrap();
        fs::write(&journal, &kept[1]).unwrap();
    };
    broken_off();
    let mut bytes = fs::read(&journal).unwrap();
    bytes[100] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let ended = scene.recv(&["big2", "--progress", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(ended.said.contains("the beginning of the journal of big2 is damaged"), "{}", ended.said);
    let begin = ended.said.lines().find(|line| line.contains("\"begin\"")).unwrap();
    assert!(!begin.contains("\"before\":0"), "{begin}");
    assert!(fs::read(scene.bobs("big2")).unwrap() == whole && !part.exists() && !journal.exists());

    // A journal that is something else, and none at all: the file still has its name.
    for journal_is in [Some(&b"nothing of ours"[..]), None] {
        broken_off();
        match journal_is {
            Some(bytes) => fs::write(&journal, bytes).unwrap(),
            None => fs::remove_file(&journal).unwrap(),
        }
        let ended = scene.recv(&["big2"]);
        assert_eq!(ended.code, 0, "{}", ended.said);
        assert!(ended.said.contains("big2.part is"), "{}", ended.said);
        assert!(fs::read(scene.bobs("big2")).unwrap() == whole && part.exists());
        if journal_is.is_some() {
            assert!(ended.said.contains("conf-recv --discard big2 removes it"), "{}", ended.said);
            assert_eq!(scene.recv(&["--discard", "big2"]).code, 0);
            assert!(!part.exists() && !journal.exists());
        }
        let _ = fs::remove_file(&part);
    }
}

#[test]
fn an_offer_is_found_by_the_name_that_one_sees() {
    let scene = Scene::new();
    fs::create_dir(scene.path("odd")).unwrap();
    scene.file("odd/a", 10);
    scene.file("empty", 0);
    scene.file("one", 10);
    assert_eq!(scene.sent(&["odd"]).code, 0);
    assert_eq!(scene.sent(&["one", "empty"]).code, 0);
    for name in ["odd", "odd/", "1"] {
        let ended = scene.recv(&[name]);
        assert_eq!(ended.code, 0, "{name}: {}", ended.said);
    }
    let ended = scene.recv(&["empty"]);
    assert_eq!(ended.code, 1, "{}", ended.said);
    assert!(ended.said.contains("empty is in offer 2, one and empty") && ended.said.contains("conf-recv 2"));
    let ended = scene.recv(&["nosuch"]);
    assert_eq!((ended.code, ended.said.contains("nothing called nosuch is offered")), (1, true));
}

#[test]
fn f08_what_is_there_already_and_the_same_is_not_received_again() {
    let scene = Scene::new();
    let whole = scene.file("c3m", 3 * MIB);
    scene.file("d/a", 10);
    scene.file("d/b", 20);
    assert_eq!(scene.sent(&["c3m"]).code, 0);
    assert_eq!(scene.sent(&["d"]).code, 0);
    fs::create_dir_all(scene.bobs("d")).unwrap();
    fs::write(scene.bobs("c3m"), &whole).unwrap();
    fs::copy(scene.path("d/a"), scene.bobs("d/a")).unwrap();
    let ended = scene.recv(&["c3m"]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(ended.said.contains("is there already, and is the same"), "{}", ended.said);
    assert!(!ended.said.contains("fetched"), "{}", ended.said);
    let ended = scene.recv(&["d"]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(fs::read(scene.bobs("d/b")).unwrap() == fs::read(scene.path("d/b")).unwrap());
    assert!(String::from_utf8_lossy(&scene.recv(&["--list"]).out).matches("received").count() == 2);
    // Of the same size, and another.
    let mut other = whole.clone();
    other[MIB] ^= 1;
    fs::write(scene.bobs("c3m"), &other).unwrap();
    let ended = scene.recv(&["c3m"]);
    assert_eq!(ended.code, 9, "{}", ended.said);
    assert!(ended.said.contains("offer 1, c3m: c3m exists already"), "{}", ended.said);
    let ended = scene.recv(&["c3m", "--if-exists", "skip"]);
    assert_eq!(ended.code, 0);
    assert!(ended.said.contains("stays, and is another file") && !ended.said.contains("fetched"));
    assert!(fs::read(scene.bobs("c3m")).unwrap() == other);
    // A directory of that name is never replaced, and need not be.
    fs::remove_file(scene.bobs("c3m")).unwrap();
    fs::create_dir(scene.bobs("c3m")).unwrap();
    assert_eq!(scene.recv(&["c3m", "--if-exists", "overwrite"]).code, 9);
    let ended = scene.recv(&["c3m", "--if-exists", "rename"]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(fs::read(scene.bobs("c3m (1)")).unwrap() == whole);
}

#[test]
fn f08_what_is_the_same_is_not_received_under_another_name() {
    let scene = Scene::new();
    let whole = scene.file("r.bin", 3 * CHUNK);
    scene.file("d/a", 10);
    scene.file("d/b", 20);
    assert_eq!(scene.sent(&["r.bin"]).code, 0);
    assert_eq!(scene.sent(&["d"]).code, 0);
    let names = || {
        let mut names: Vec<_> = fs::read_dir(scene.bobs("in"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let rename = |number: &str| {
        let ended = scene.recv(&[number, "-o", "in/", "--if-exists", "rename"]);
        assert_eq!(ended.code, 0, "{}", ended.said);
        ended.said
    };
    for number in ["1", "2"] {
        assert!(rename(number).contains("fetched"));
        let said = rename(number);
        assert!(said.contains("all of it is there already, and is the same"), "{said}");
        assert!(!said.contains("fetched") && !said.contains("taken"), "{said}");
    }
    assert_eq!(names(), ["d", "r.bin"]);
    // What is missing of a directory comes to what is there.
    fs::remove_file(scene.bobs("in/d/b")).unwrap();
    let said = rename("2");
    assert!(said.contains("1 file is there already, and the same") && !said.contains("taken"), "{said}");
    assert!(said.contains("fetched d/: 20 B"), "{said}");
    assert_eq!(names(), ["d", "r.bin"]);
    // What is another gets another name, and a directory has all of it there.
    fs::write(scene.bobs("in/r.bin"), "mine").unwrap();
    fs::write(scene.bobs("in/d/b"), "mine").unwrap();
    assert!(rename("1").contains("in/r.bin was taken, so it is in/r (1).bin"));
    assert!(rename("2").contains("in/d was taken, so it is in/d (1)"));
    assert_eq!(names(), ["d", "d (1)", "r (1).bin", "r.bin"]);
    assert!(fs::read(scene.bobs("in/r (1).bin")).unwrap() == whole);
    for file in ["a", "b"] {
        let copy = fs::read(scene.bobs("in/d (1)").join(file)).unwrap();
        assert!(copy == fs::read(scene.path("d").join(file)).unwrap(), "{file}");
    }
    assert_eq!(fs::read_to_string(scene.bobs("in/d/b")).unwrap(), "mine");
    // It has that name already.
    assert!(rename("1").contains("all of it is there already as in/r (1).bin, and is the same"));
    assert!(rename("2").contains("all of it is there already as in/d (1), and is the same"));
    assert_eq!(names(), ["d", "d (1)", "r (1).bin", "r.bin"]);
}

#[test]
fn a_directory_of_one_file_has_its_own_name_and_that_is_no_news() {
    let scene = Scene::new();
    scene.file("sub/s", 10);
    assert_eq!(scene.sent(&["sub"]).code, 0);
    let ended = scene.recv(&["sub/", "-o", "s1", "-y"]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(scene.bobs("s1/sub/s").exists() && !ended.said.contains("taken"), "{}", ended.said);
}

#[test]
fn f12_a_stdout_that_takes_nothing_is_how_it_ends() {
    let scene = Scene::new();
    scene.file("p.sql", CHUNK);
    assert_eq!(scene.sent(&["--text", "hey"]).code, 0);
    assert_eq!(scene.sent(&["p.sql"]).code, 0);
    for arguments in [&["1"][..], &["p.sql", "-o", "-"], &["--list"], &["p.sql", "-o", "in/"]] {
        let mut command = scene.recv_command(arguments);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        let ended = command.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(9), "{arguments:?}: {said}");
        assert!(said.contains("cannot write to stdout: No space left"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_text_in_a_directory_is_called_by_its_number() {
    let scene = Scene::new();
    assert_eq!(scene.sent(&["--text", "hey Bob"]).code, 0);
    fs::create_dir_all(scene.bobs("there")).unwrap();
    for directory in ["there", "new/"] {
        let ended = scene.recv(&["1", "-o", directory, "-y"]);
        assert_eq!(ended.code, 0, "{}", ended.said);
        let path = scene.bobs(directory).join("text-1.txt");
        assert_eq!(fs::read_to_string(path).unwrap(), "hey Bob", "{directory}");
    }
    // A name that the user has chosen counts.
    assert_eq!(scene.recv(&["1", "-o", "mine.txt", "-y"]).code, 0);
    assert_eq!(fs::read_to_string(scene.bobs("mine.txt")).unwrap(), "hey Bob");
}

#[test]
fn f12_a_complete_pipe_has_a_size() {
    let scene = Scene::new();
    let mut command = scene.command(&scene.room(), &["--stdin-name", "p"]);
    command.stdin(Stdio::piped());
    let mut send = Taking::start(command);
    send.running.feed(&content(1, 3 * CHUNK / 2));
    assert_eq!(send.end().code, 0);
    let list = scene.recv(&["--list=json"]);
    let list: serde_json::Value = serde_json::from_slice(&list.out).unwrap();
    assert_eq!(list["offers"][0]["size"], 3 * CHUNK / 2);
    let ended = scene.recv(&["p", "--max-size", "1K"]);
    assert_eq!(ended.code, 5);
    assert!(ended.said.contains("offer 1, p: it has 384 KiB, which is more than 1.0 KiB"), "{}", ended.said);
    assert_eq!(scene.recv(&["p"]).code, 0);
    assert_eq!(fs::metadata(scene.bobs("p")).unwrap().len() as usize, 3 * CHUNK / 2);
}

#[test]
fn of_all_that_is_new_each_failure_is_named() {
    let scene = Scene::new();
    for (name, size) in [("a", 10), ("b", 2 * MIB), ("c", 3 * MIB), ("e", 20)] {
        scene.file(name, size);
        assert_eq!(scene.sent(&[name]).code, 0);
    }
    for text in ["hey Bob", "still there?"] {
        assert_eq!(scene.sent(&["--text", text]).code, 0);
    }
    let ended = scene.recv(&["--all", "--max-size", "1M"]);
    assert_eq!(ended.code, 5, "{}", ended.said);
    for told in ["offer 2, b: ", "offer 3, c: ", "2 of 6 offers were not received"] {
        assert!(ended.said.contains(told), "{}", ended.said);
    }
    assert_eq!(fs::read(scene.bobs("text-5.txt")).unwrap(), b"hey Bob");
    assert_eq!(fs::read(scene.bobs("text-6.txt")).unwrap(), b"still there?");
    assert!(ended.said.contains("fetched a: 10 B"), "{}", ended.said);
}

#[test]
fn every_end_is_told_as_json_too() {
    let scene = Scene::new();
    let last = |said: &str| -> serde_json::Value {
        let line = said.lines().rfind(|line| line.starts_with('{')).expect(said);
        serde_json::from_str(line).unwrap()
    };
    let ended = scene.recv(&["--progress", "json", "nosuch"]);
    assert_eq!(ended.code, 1);
    assert_eq!(
        (last(&ended.said)["type"].as_str(), last(&ended.said)["exit"].as_i64()),
        (Some("end"), Some(1))
    );
    let ended = scene.sent(&["--progress", "json", "/nosuch"]);
    assert_eq!(ended.code, 9);
    assert_eq!(
        (last(&ended.said)["type"].as_str(), last(&ended.said)["exit"].as_i64()),
        (Some("end"), Some(9))
    );
}

#[tokio::test]
async fn what_is_to_be_typed_next_leads_to_the_same_place() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Cy").await;
    scene.file("one", 24 * MIB);
    let send = scene.start(&scene.room(), &["--limit-rate", "2M", "one"]);
    taker.state(|state| state.kept > 1).await;
    fs::create_dir_all(scene.bobs("my files")).unwrap();
    let recv = Taking::start(scene.recv_command(&["one", "-o", "my files"]));
    wait_until(&scene.bobs("my files/one.part"), |path| {
        fs::metadata(path).is_ok_and(|about| about.len() > 0)
    });
    recv.running.signal(Signal::INT);
    let ended = recv.end();
    assert_eq!(ended.code, 130);
    assert!(ended.said.contains("conf-recv 1 -o 'my files' goes on from there"), "{}", ended.said);
    // Taken back by its sender: it will never be whole.
    let recv = Taking::start(scene.recv_command(&["1", "-o", "my files"]));
    taker.state(|state| state.kept > 8).await;
    drop(send);
    assert_eq!(scene.sent(&["--withdraw", "1"]).said, "offer 1 is taken back\n");
    let ended = recv.end();
    assert_eq!(ended.code, 5, "{}", ended.said);
    assert!(ended.said.contains("conf-recv --discard one -o 'my files' removes it"), "{}", ended.said);
    assert_eq!(scene.recv(&["--discard", "one", "-o", "my files"]).code, 0);
    assert_eq!(fs::read_dir(scene.bobs("my files")).unwrap().count(), 0);
}

#[test]
fn what_was_sent_is_not_sent_again_and_anew_takes_its_place() {
    let scene = Scene::new();
    scene.file("big", 2 * MIB);
    let first = scene.sent(&["--resume", "big"]);
    assert_eq!(first.code, 0);
    assert!(first.said.contains("begins at the beginning"), "{}", first.said);
    assert!(first.said.contains("offer 1; the others type: conf-recv 1"), "{}", first.said);
    let again = scene.sent(&["--resume", "big"]);
    assert_eq!((again.code, &again.out), (0, &first.out), "{}", again.said);
    assert!(again.said.contains("all of it was sent before, as offer 1"), "{}", again.said);
    let anew = scene.sent(&["--restart", "big"]);
    assert_eq!((anew.code, &anew.out), (0, &first.out), "{}", anew.said);
    let list = scene.recv(&["--list=json"]);
    let list: serde_json::Value = serde_json::from_slice(&list.out).unwrap();
    let numbers: Vec<_> = list["offers"].as_array().unwrap().iter().map(|o| o["offer"].as_i64()).collect();
    assert_eq!(numbers, [Some(2)]);
    // Another version is another offer, and the old one stays until it is taken back.
    scene.file("big", MIB);
    assert_eq!(scene.sent(&["big"]).code, 0);
    let list = String::from_utf8(scene.recv(&["--list"]).out).unwrap();
    assert_eq!(list.matches("complete").count(), 2, "{list}");
}

#[test]
fn texts_names_and_files_of_the_system_are_judged_before_anything_is_sent() {
    let scene = Scene::new();
    let mut command = scene.command(&scene.room(), &["--text", "-"]);
    command.stdin(Stdio::piped());
    let mut send = Taking::start(command);
    send.running.feed("from the pipe".as_bytes());
    assert_eq!(send.end().code, 0);
    assert_eq!(scene.recv(&["1"]).out, b"from the pipe");
    for (arguments, code) in
        [(&["--text", ""][..], 2), (&["--stdin-name", "a/b"], 2), (&["/proc/version"], 9)]
    {
        let ended = scene.sent(arguments);
        assert_eq!(ended.code, code, "{arguments:?} {}", ended.said);
    }
    assert!(
        scene.sent(&["/proc/version"]).said.contains("type: conf-send --stdin-name version < /proc/version")
    );
    assert_eq!(scene.sent(&["--text", "hi", "-n"]).out, b"       2 B  in a text\n");
    scene.file("cs/A", 1);
    scene.file("cs/a", 1);
    let ended = scene.sent(&["cs"]);
    assert_eq!(ended.code, 2, "{}", ended.said);
    scene.file("new\nline", 1);
    let ended = scene.sent(&["-n", "new\nline"]);
    assert_eq!(String::from_utf8_lossy(&ended.out).lines().count(), 2);
}

/// Waits until a file is as it should be.
fn wait_until(path: &std::path::Path, ready: impl Fn(&std::path::Path) -> bool) {
    let began = confkit::time::now();
    while !ready(path) {
        assert!(confkit::time::now().since(began) < crate::support::programs::PATIENCE, "{}", path.display());
        std::thread::yield_now();
    }
}

#[test]
fn at_a_terminal_saying_no_is_not_called_fetched_and_nothing_stays_of_the_bars() {
    let scene = Scene::new();
    let whole = scene.file("c3m", 3 * MIB);
    assert_eq!(scene.sent(&["c3m"]).code, 0);
    let command = [env!("CARGO_BIN_EXE_conf-recv"), "1", "-o", "new"];
    let ask = || {
        let bob = Terminal::run(&scene.room(), "Bob", &command);
        bob.wait_for("Receive into new? [y/N]");
        bob
    };
    let mut bob = ask();
    bob.enter("n");
    assert_eq!(bob.end(), 5);
    bob.wait_for("nothing was received of offer 1, c3m");
    assert!(!bob.shown().contains("fetched"), "{}", bob.shown());
    let mut bob = ask();
    bob.press("\x03");
    assert_eq!(bob.end(), 130);
    bob.wait_for("interrupted; nothing was received");
    let mut bob = ask();
    bob.enter("y");
    assert_eq!(bob.end(), 0);
    bob.wait_for("fetched c3m: 3.0 MiB in");
    let shown = bob.shown();
    assert!(!shown.contains("waiting") && !shown.contains(" %"), "{shown}");
    assert!(fs::read(bob.path("new")).unwrap() == whole);
}

#[test]
fn f08_what_comes_while_nobody_looks_gets_another_name() {
    let scene = Scene::new();
    scene.file("log", 10);
    let watching = Taking::start(scene.recv_command(&["--watch", "--yes", "-o", "W"]));
    for length in [10, 20] {
        scene.file("log", length);
        assert_eq!(scene.sent(&["log"]).code, 0);
        let name = if length == 10 { "W/log" } else { "W/log (1)" };
        wait_until(&scene.bobs(name), |path| {
            fs::metadata(path).is_ok_and(|about| about.len() == length as u64)
        });
    }
    watching.running.signal(Signal::INT);
    let ended = watching.end();
    assert_eq!(ended.code, 130, "{}", ended.said);
    assert!(ended.said.contains("was taken, so it is W/log (1)"), "{}", ended.said);
}

#[test]
fn a_pipe_for_which_there_is_no_room_is_refused_once_and_does_not_stay() {
    let mut scene = Scene::new();
    let home = scene.town.path("small");
    fs::create_dir(&home).unwrap();
    let mut command = crate::support::programs::program("conf-serve", &home);
    command.args(["127.0.0.1:0", "--store-quota", "3M", "--store"]).arg(home.join("store"));
    command.arg("--log-file").arg(home.join("log")).stdout(Stdio::piped());
    scene.server = Some(crate::support::programs::Serve::from_command(command));
    let mut command = scene.command(&scene.room(), &["--stdin-name", "endless"]);
    command.stdin(Stdio::piped());
    let mut send = Taking::start(command);
    send.running.feed(&content(1, 6 * MIB));
    let ended = send.end();
    assert_eq!(ended.code, 5, "{}", ended.said);
    assert!(!ended.said.contains("WARN") && !ended.said.contains("goes on"), "{}", ended.said);
    assert!(ended.said.contains("--store-quota"), "{}", ended.said);
    assert_eq!(scene.recv(&["--list"]).out, b"nothing is offered in this room\n");
    // What it had taken is free again, and how much that is is said.
    scene.file("large", 5 * MIB);
    let ended = scene.sent(&["large"]);
    assert_eq!(ended.code, 5);
    assert!(
        ended.said.contains("this takes 5.0 MiB, and 3.0 MiB of the 3.0 MiB that the server keeps are free"),
        "{}",
        ended.said
    );
}
