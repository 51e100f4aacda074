//! `conf-send` with files, as a user runs it and as the others in the room see it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::process::Command;

use confkit::limits;
use confkit::net::client::Event;
use confkit::time;
use confkit::transfer::Kind;
use confkit::wire::offer::Going;
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::hands::Taking;
use crate::support::liar::fleeting;
use crate::support::programs::{PATIENCE, Running, program};
use crate::support::scene::{Scene, content, output};
use crate::support::taker::Taker;

const CHUNK: usize = limits::CHUNK_MIN as usize;
const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn f22_files_of_every_size_arrive_as_they_are() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Bob").await;
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let name = format!("d/{size}");
        files.insert(name.clone(), scene.file(&name, size));
    }
    files.insert("top".into(), scene.file("top", 70_000));
    fs::create_dir_all(scene.path("d/none/empty")).unwrap();
    fs::File::create(scene.path("sparse")).unwrap().set_len(20 * MIB as u64 + 1).unwrap();
    files.insert("sparse".into(), vec![0; 20 * MIB + 1]);

    let (code, sums, said) = scene.send(&["d", "top", "sparse"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("8 files"), "{said}");
    let mut md5sum = Command::new("md5sum");
    md5sum.args(sums.lines().map(|line| line.split_once("  ").unwrap().1)).current_dir(scene.path(""));
    assert_eq!(sums, output(md5sum).1);

    let taken = taker.take().await;
    assert_eq!((taken.about.title.as_str(), taken.about.files), ("d and 2 others", 8));
    let there: BTreeMap<_, _> = taken.names().into_iter().zip(taken.files).collect();
    assert!(there == files, "what arrived is not what was sent");
    let empty: Vec<_> = taken.manifest.directories().iter().map(|d| d.path.to_string()).collect();
    assert_eq!(empty, ["d/none/empty"]);
    assert_eq!(scene.unfinished(), 0);
}

#[tokio::test]
async fn a_text_and_empty_directories_are_offers_too() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Bob").await;
    let (code, sums, said) = scene.send(&["--text", "two\nlines ✓", "-q"]);
    assert_eq!((code, sums.as_str(), said.as_str()), (0, "", ""));
    let taken = taker.take().await;
    assert_eq!((taken.about.kind, taken.about.title.as_str()), (Kind::Text, "two"));
    assert_eq!(taken.files, ["two\nlines ✓".as_bytes()]);
    fs::create_dir(scene.path("none")).unwrap();
    assert_eq!(scene.send(&["none"]).0, 0);
    let taken = taker.take().await;
    assert_eq!((taken.files.len(), taken.manifest.directories().len()), (0, 1));
}

#[tokio::test]
async fn f21_a_pipe_is_sent_as_it_comes_and_has_no_size_before_its_end() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Bob").await;
    let whole = content(1, 5 * CHUNK / 2);
    let mut command = scene.command(&scene.room(), &["--stdin-name", "db.sql"]);
    command.stdin(std::process::Stdio::piped());
    let mut send = Running::start(command);
    send.feed(&whole[..2 * CHUNK]);
    let state = taker.state(|state| state.kept == 2).await;
    assert_eq!((state.size, state.sealed), (None, false));
    send.feed(&whole[2 * CHUNK..]);
    drop(send.child.stdin.take());
    let taken = taker.take().await;
    assert_eq!((taken.about.kind, taken.about.size), (Kind::Pipe, None));
    assert_eq!(taken.names(), ["db.sql"]);
    assert!(taken.files[0] == whole);
    let mut sums = String::new();
    send.child.stdout.take().unwrap().read_to_string(&mut sums).unwrap();
    assert!(sums.ends_with("  db.sql\n") && sums.len() == 41, "{sums}");
    assert_eq!(send.wait(PATIENCE), 0);
}

#[tokio::test]
async fn f21_a_pipe_that_the_server_has_lost_says_that_it_begins_at_the_beginning() {
    for ended in [true, false] {
        let mut scene = Scene::new();
        let mut taker = Taker::join(&scene.room(), "Bob").await;
        let mut command = scene.command(&scene.room(), &["--stdin-name", "db.sql"]);
        command.stdin(std::process::Stdio::piped());
        let mut send = Running::start(command);
        send.feed(&content(1, 2 * CHUNK));
        taker.state(|state| state.kept == 2).await;
        scene.server = None;
        if ended {
            drop(send.child.stdin.take());
        }
        fs::remove_dir_all(scene.town.store.join("files")).unwrap();
        scene.server = Some(scene.town.serve());
        let said = send.stderr();
        assert!(said.contains("run the whole command again, with what writes into the pipe"), "{said}");
        // Not 7: the same command would send the middle of it.
        assert_eq!(send.wait(PATIENCE), 6);
    }
}

#[tokio::test]
async fn f21_pipes_of_no_and_of_whole_chunks_end_where_they_end() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Bob").await;
    for length in [0, CHUNK] {
        let whole = content(2, length);
        let mut command = scene.command(&scene.room(), &["--stdin-name", "x"]);
        command.stdin(std::process::Stdio::piped());
        let mut send = Running::start(command);
        send.feed(&whole);
        assert_eq!(send.wait(PATIENCE), 0, "{}", send.stderr());
        assert!(taker.take().await.files == [whole]);
    }
}

#[tokio::test]
async fn f20_a_source_that_changed_since_the_break_is_never_mixed() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Bob").await;
    scene.file("a", 4 * MIB);
    let cable = scene.cable();
    let send = scene.start(&cable.room(), &["--limit-rate", "1M", "a"]);
    let first = taker.state(|state| state.kept > 1).await.offer;
    drop(send);
    let other = content(7, 4 * MIB);
    fs::write(scene.path("a"), &other).unwrap();
    let again = |arguments: &[&str]| output(scene.command(&cable.room(), arguments));
    let (code, _, said) = again(&["--resume", "a"]);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("has changed since it was broken off") && said.contains("taken back"), "{said}");
    let gone = |event| match event {
        Event::OfferGone { offer, reason, .. } => Some((offer, reason)),
        _ => None,
    };
    assert_eq!(taker.find(gone).await, (first, Going::Changed));
    // What is sent anew breaks off, too, and this time the user does not want to know.
    let send = scene.start(&cable.room(), &["--limit-rate", "1M", "a"]);
    let second = taker.state(|state| state.kept > 1).await.offer;
    drop(send);
    let other = content(8, 4 * MIB);
    fs::write(scene.path("a"), &other).unwrap();
    let (code, _, said) = again(&["--restart", "a"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(taker.find(gone).await, (second, Going::Withdrawn));
    let mut late = Taker::join(&scene.room(), "Cy").await;
    assert!(late.take().await.files == [other]);
}

#[tokio::test]
async fn f20_a_server_that_goes_while_a_changed_source_is_taken_back_keeps_nobody() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Bob").await;
    scene.file("a", 2 * MIB);
    let cable = scene.cable();
    let send = scene.start(&cable.room(), &["--limit-rate", "1M", "a"]);
    let first = taker.state(|state| state.kept > 1).await.offer;
    drop(send);
    fs::write(scene.path("a"), content(7, 2 * MIB)).unwrap();
    let again = || {
        let (address, gone) = fleeting();
        cable.lead_to(address);
        let send = scene.start(&cable.room(), &["a"]);
        gone.join().unwrap();
        send
    };
    let (mut send, since) = (again(), time::now());
    send.signal(Signal::INT);
    assert_eq!(send.wait(PATIENCE), 130);
    assert!(time::now().since(since) < limits::ANSWER, "the first one is enough");
    let said = send.stderr();
    assert!(said.contains("not taken back yet"), "{said}");
    let mut send = again();
    assert_eq!(send.wait(PATIENCE), 6);
    let said = send.stderr();
    assert!(said.contains("--restart sends it anew"), "{said}");

    // When it is there again nothing has been forgotten.
    cable.lead_to(scene.server.as_ref().unwrap().address);
    let (code, _, said) = output(scene.command(&cable.room(), &["a"]));
    assert!(code == 6 && said.contains("is taken back"), "{code}: {said}");
    let gone = |event| match event {
        Event::OfferGone { offer, reason, .. } => Some((offer, reason)),
        _ => None,
    };
    assert_eq!(taker.find(gone).await, (first, Going::Changed));
}

#[tokio::test]
async fn f20_a_source_that_changes_while_it_is_sent_is_never_sealed() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Bob").await;
    let change: [fn(&std::path::Path); 3] = [
        |path| fs::File::options().write(true).open(path).unwrap().write_all(b"x").unwrap(),
        |path| fs::File::options().write(true).open(path).unwrap().set_len(9).unwrap(),
        |path| fs::rename(path.with_extension("new"), path).unwrap(),
    ];
    for (n, change) in change.into_iter().enumerate() {
        let name = format!("f{n}");
        scene.file(&name, 16 * MIB);
        scene.file(&format!("{name}.new"), 16 * MIB);
        let mut send = scene.start(&scene.room(), &["--limit-rate", "1M", &name]);
        let offer = taker.state(|state| state.kept > 0 && !state.sealed).await.offer;
        change(&scene.path(&name));
        assert_eq!(send.wait(PATIENCE), 6);
        let said = send.stderr();
        assert!(said.contains("has changed while it was sent"), "{said}");
        let gone = taker.find(|event| match event {
            Event::OfferState(state) => {
                assert!(!state.sealed);
                None
            }
            Event::OfferGone { offer, reason, .. } => Some((offer, reason)),
            _ => None,
        });
        assert_eq!(gone.await, (offer, Going::Changed));
    }
}

#[tokio::test]
async fn f32_ctrl_c_says_how_to_go_on_and_the_same_command_does() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Bob").await;
    let whole = scene.file("a", 3 * MIB);
    let cable = scene.cable();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut send = scene.start(&cable.room(), &["--limit-rate", "600K", "a"]);
        taker.state(|state| state.kept > 0 && state.uploading).await;
        send.signal(signal);
        assert_eq!(send.wait(PATIENCE), code);
        let said = send.stderr();
        assert!(said.contains("stopped at ") && said.contains("the same command goes on"), "{said}");
        taker.state(|state| !state.uploading).await;
    }
    let (code, _, said) = output(scene.command(&cable.room(), &["a"]));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("going on from where it broke off"), "{said}");
    assert_eq!(cable.chunks(), 12);
    assert!(cable.again() <= 2 * CHUNK, "{} bytes went twice", cable.again());
    assert!(taker.take().await.files == [whole]);
    assert_eq!(scene.unfinished(), 0);
}

#[tokio::test]
async fn f32_a_second_ctrl_c_does_not_wait_for_anything() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Bob").await;
    scene.file("a", 8 * MIB);
    let mut send = scene.start(&scene.room(), &["--limit-rate", "600K", "a"]);
    taker.state(|state| state.kept > 0).await;
    let server = scene.server.as_ref().unwrap();
    server.running.signal(Signal::STOP);
    send.signal(Signal::INT);
    send.signal(Signal::INT);
    assert_eq!(send.wait(PATIENCE), 130);
    server.running.signal(Signal::CONT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn f33_with_wait_it_ends_when_somebody_has_all_of_it() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Bob").await;
    scene.file("a", CHUNK);
    let mut send = scene.start(&scene.room(), &["--wait", "a"]);
    let taken = taker.take().await;
    assert!(send.child.try_wait().unwrap().is_none(), "nobody has said yet that it is there");
    taker.confirm(taken.offer).await;
    assert_eq!(send.wait(PATIENCE), 0, "{}", send.stderr());
}

#[test]
fn f33_with_wait_what_somebody_has_already_is_not_waited_for() {
    let scene = Scene::new();
    scene.file("a", CHUNK);
    scene.file("d/b", 10);
    for (number, path) in [("1", "a"), ("2", "d")] {
        assert_eq!(scene.sent(&[path]).code, 0);
        let ended = scene.recv(&[number]);
        assert_eq!(ended.code, 0, "{}", ended.said);
        // Also when it is asked for once more.
        for _ in 0..2 {
            let again = scene.sent(&["--wait", path]);
            assert_eq!(again.code, 0, "{}", again.said);
            assert!(again.said.contains(&format!("as offer {number}")), "{}", again.said);
        }
    }
}

#[tokio::test]
async fn f33_with_wait_what_was_received_during_a_break_is_not_waited_for() {
    let scene = Scene::new();
    scene.file("a", CHUNK);
    let mut taker = Taker::join(&scene.room(), "Bob").await;
    let waiting = Taking::start(scene.command(&scene.room(), &["--wait", "a"]));
    taker.state(|state| state.sealed).await;
    waiting.running.signal(Signal::INT);
    let ended = waiting.end();
    assert_eq!(ended.code, 130, "{}", ended.said);
    assert!(ended.said.contains("nobody has received all of it yet"), "{}", ended.said);
    assert_eq!(scene.recv(&["1"]).code, 0);
    assert_eq!(scene.sent(&["--wait", "a"]).code, 0);
}

#[tokio::test]
async fn what_is_for_one_member_is_told_to_nobody_else() {
    let scene = Scene::new();
    let mut bob = Taker::join(&scene.room(), "Bob").await;
    let mut cy = Taker::join(&scene.room(), "Cy").await;
    scene.file("a", 10);
    let (code, _, said) = scene.send(&["--to", "Dora", "a"]);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("nobody called Dora") && said.contains("Bob") && said.contains("Cy"), "{said}");
    assert_eq!(scene.send(&["--to", "bob", "a"]).0, 0);
    assert_eq!(scene.send(&["--text", "for all"]).0, 0);
    assert_eq!(bob.take().await.names(), ["a"]);
    assert_eq!(cy.take().await.about.kind, Kind::Text);
}

#[tokio::test]
async fn an_offer_can_be_taken_back_by_its_number() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Bob").await;
    assert_eq!(scene.send(&["--text", "oh"]).0, 0);
    let offer = taker.state(|state| state.sealed).await.offer;
    let (code, _, said) = scene.send(&["--withdraw", "77"]);
    assert_eq!(code, 5, "{said}");
    let taken_back = (0, String::new(), format!("offer {offer} is taken back\n"));
    assert_eq!(scene.send(&["--withdraw", &offer.to_string()]), taken_back);
    let gone =
        taker.find(|event| if let Event::OfferGone { offer, .. } = event { Some(offer) } else { None });
    assert_eq!(gone.await, offer);
}

#[tokio::test]
async fn what_is_limited_takes_its_time() {
    let scene = Scene::new();
    scene.file("a", 2 * MIB);
    let began = confkit::time::now();
    assert_eq!(scene.send(&["--limit-rate", "1M", "a"]).0, 0);
    // The first chunk goes at once.
    assert!(confkit::time::now().since(began).as_secs_f64() > 1.7);
}

#[tokio::test]
async fn without_a_connection_it_is_broken_off_and_gone_on_with() {
    let mut scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Bob").await;
    let whole = scene.file("a", 3 * MIB);
    let room = scene.room();
    let mut send = scene.start(&room, &["--reconnect", "0", "--limit-rate", "600K", "a"]);
    taker.state(|state| state.kept > 0).await;
    scene.server = None;
    assert_eq!(send.wait(PATIENCE), 7);
    let said = send.stderr();
    assert!(said.contains("broken off") && said.contains("the same command goes on"), "{said}");
    let (code, _, said) = output(scene.command(&room, &["a"]));
    assert_eq!(code, 3, "{said}");
    scene.server = Some(scene.town.serve());
    let (code, _, said) = output(scene.command(&room, &["--resume", "a"]));
    assert_eq!(code, 0, "{said}");
    let mut late = Taker::join(&room, "Cy").await;
    assert!(late.take().await.files == [whole]);
}

#[tokio::test]
async fn f31_two_programs_do_not_send_the_same_at_once() {
    let scene = Scene::new();
    let mut taker = Taker::join(&scene.room(), "Bob").await;
    scene.file("a", 8 * MIB);
    let send = scene.start(&scene.room(), &["--limit-rate", "600K", "a"]);
    taker.state(|state| state.kept > 0).await;
    let (code, _, said) = scene.send(&["a"]);
    assert_eq!(code, 9, "{said}");
    assert!(said.contains("another program is sending"), "{said}");
    drop(send);
}

#[test]
fn progress_as_json_is_lines_of_objects() {
    let scene = Scene::new();
    let sent = scene.file("d/a", 5);
    scene.file("d/b", CHUNK);
    let (code, _, said) = scene.send(&["--progress", "json", "d"]);
    assert_eq!(code, 0, "{said}");
    let told: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| told.iter().filter(|object| object["type"] == kind).collect::<Vec<_>>();
    let begin = of("begin")[0];
    assert_eq!((&begin["title"], &begin["files"]), (&"d/".into(), &2.into()));
    assert_eq!(begin["size"], CHUNK + 5);
    let file = of("file")[0];
    assert_eq!((&file["path"], &file["size"]), (&"d/a".into(), &sent.len().into()));
    let end = told.last().unwrap();
    assert_eq!((&end["result"], &end["exit"], &end["again"]), (&"done".into(), &0.into(), &0.into()));
    assert_eq!(end["bytes"], CHUNK + 5);
    assert!(of("progress").iter().all(|object| object.as_object().unwrap().len() == 11));
    assert!(file["offer"] == 1 && end["offer"] == 1);

    let (code, _, said) = scene.send(&["--progress", "json", "--to", "Nobody", "d"]);
    let told: Value =
        serde_json::from_str(said.lines().rfind(|line| line.starts_with('{')).unwrap()).unwrap();
    assert_eq!((code, &told["result"], &told["exit"]), (5, &"refused".into(), &5.into()));
}

/// What the terminal was told beside text.
#[derive(Default)]
struct Strange(Vec<String>);

impl vt100::Callbacks for Strange {
    fn set_window_title(&mut self, _: &mut vt100::Screen, title: &[u8]) {
        self.0.push(title.escape_ascii().to_string());
    }
    fn audible_bell(&mut self, _: &mut vt100::Screen) {
        self.0.push("bell".into());
    }
    fn copy_to_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8], data: &[u8]) {
        self.0.push(data.escape_ascii().to_string());
    }
}

#[test]
fn f37_hostile_names_do_nothing_to_a_terminal_of_10_columns() {
    let scene = Scene::new();
    let name = "\u{1b}[2J\u{1b}]0;title\u{7}\r\nover the next line 漢字漢字漢字.txt";
    scene.file(&format!("d/{name}"), 2 * MIB);
    scene.file("d/z", 10);
    std::os::unix::fs::symlink("z", scene.path("d/\u{1b}]0;link\u{7}")).unwrap();
    let size = PtySize { rows: 6, cols: 10, ..PtySize::default() };
    let pty = native_pty_system().openpty(size).unwrap();
    let command = program("conf-send", &scene.town.path("ann"));
    let mut builder = CommandBuilder::new(command.get_program());
    builder.env_clear();
    for (key, value) in command.get_envs().filter_map(|(key, value)| Some((key, value?))) {
        builder.env(key, value);
    }
    builder.env("CONF_ROOM", scene.room());
    builder.env("TERM", "xterm-256color");
    builder.cwd(scene.path(""));
    builder.args(["--limit-rate", "2M", "d"]);
    let mut child = pty.slave.spawn_command(builder).unwrap();
    drop(pty.slave);
    let mut written = Vec::new();
    // A terminal whose last program has gone fails to be read.
    let _ = pty.master.try_clone_reader().unwrap().read_to_end(&mut written);
    assert_eq!(child.wait().unwrap().exit_code(), 0);
    let cells = |n: u16| n.try_into().unwrap();
    let mut screen = vt100::Parser::new_with_callbacks(cells(200), cells(10), 0, Strange::default());
    screen.process(&written);
    assert!(screen.callbacks().0.is_empty(), "{:?}", screen.callbacks().0);
    let text = String::from_utf8_lossy(&written);
    assert!(text.contains('%'), "there was progress: {text:?}");
    // A line that was too long would have left rows behind, with the percents of some moment before.
    let left = screen.screen().contents();
    assert!(!left.contains('%'), "{left}");
}

#[test]
fn what_would_be_sent_is_shown_without_sending_it() {
    let scene = Scene::new();
    scene.file("d/a", 2000);
    scene.file("d/x.o", 2000);
    std::os::unix::fs::symlink("a", scene.path("d/l")).unwrap();
    let mut command = scene.command("", &["--dry-run", "--exclude", "*.o", "d"]);
    command.env_remove("CONF_ROOM");
    let (code, shown, said) = output(command);
    assert_eq!((code, said.as_str()), (0, ""));
    let expected =
        "   2.0 KiB  d/a\n  not sent  d/l (a link)\n  not sent  d/x.o (excluded)\n   2.0 KiB  in 1 file\n";
    assert_eq!(shown, expected);
}

#[test]
fn what_is_wrong_is_said_with_its_exit_code() {
    let scene = Scene::new();
    scene.file("a", 1);
    scene.file("b/a", 1);
    let cases = [
        (&["-"][..], 2, "--stdin-name NAME"),
        (&["a", "b/a"], 2, "same name"),
        (&["--exclude", "[", "a"], 2, "--exclude"),
        (&["--exclude", "a", "a"], 2, "nothing to send"),
        (&["--to", "Bob"], 2, "PATH"),
        (&["--as", "x", "a"], 2, "--as"),
        (&["--limit-rate", "fast", "a"], 2, "500K"),
        (&["--resume", "--restart", "a"], 2, "--restart"),
        (&["--stdin-name", "../x"], 2, "--stdin-name"),
        (&["missing"], 9, "No such file"),
        (&["/dev/null"], 9, "is a device"),
        (&["--room", "conf://127.0.0.1:1/x", "a"], 3, "is conf-serve running there?"),
    ];
    for (arguments, code, words) in cases {
        let (status, stdout, said) = scene.send(arguments);
        assert_eq!(status, code, "{arguments:?}: {said}");
        assert!(said.contains(words) && stdout.is_empty(), "{arguments:?}: {said}");
    }
}
