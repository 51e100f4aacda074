//! `conf-send`, as a user runs it and as the others in the room see it.

use std::io::Read;
use std::process::{Command, Stdio};

use confkit::net::client::Event;
use rustix::process::Signal;

use crate::support::programs::{PATIENCE, Running, Serve, conf_send, program};
use crate::support::take::{access_units, description, frames};
use crate::support::watcher::Watcher;

#[tokio::test]
async fn w36_a_recording_arrives_whole_and_untouched() {
    let server = Serve::start();
    let mut watcher = Watcher::join(&server.room).await;
    let recording = frames(&access_units(25));
    let mut take = description();
    recording.iter().for_each(|frame| take.extend_from_slice(frame.bytes()));

    let mut send = conf_send(&server.room, &["--as", "talk"]);
    send.feed(&take);
    drop(send.child.stdin.take());
    let label = watcher.find(|e| if let Event::Track(t) = e { Some(t.source.label) } else { None }).await;
    assert_eq!(label, "talk");
    for sent in &recording {
        let got = watcher.picture().await;
        assert_eq!(got.payload(), sent.payload());
        assert_eq!(got.header.checksum, sent.header.checksum);
    }
    watcher.find(|e| matches!(e, Event::TrackGone(_)).then_some(())).await;
    assert_eq!(send.wait(PATIENCE), 0);
}

#[tokio::test]
async fn a_recording_whose_end_has_not_arrived_ends_with_7() {
    let server = Serve::start();
    let mut watcher = Watcher::join(&server.room).await;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("take.conf");
    let mut take = description();
    frames(&access_units(60)).iter().for_each(|frame| take.extend_from_slice(frame.bytes()));
    std::fs::write(&path, take).unwrap();
    let mut command = program("conf-send", home.path());
    command.env("CONF_ROOM", &server.room).env("CONF_NAME", "Ann");
    command.stdin(std::fs::File::open(&path).unwrap()).stderr(Stdio::piped());
    let mut send = Running::start(command);
    watcher.picture().await;
    drop(server);
    assert_eq!(send.wait(PATIENCE), 7);
    assert!(send.stderr().contains("send it again"));
}

#[tokio::test]
async fn raw_h264_is_recognised_and_passed_on() {
    let server = Serve::start();
    let mut watcher = Watcher::join(&server.room).await;
    let units = access_units(12);
    let stream: Vec<u8> = units.iter().flat_map(|(unit, _)| unit.clone()).collect();
    let mut send = conf_send(&server.room, &["--pass", "--fps", "30"]);
    send.feed(&stream);
    drop(send.child.stdin.take());
    for (unit, key) in &units {
        let got = watcher.picture().await;
        assert_eq!(got.payload(), &unit[..]);
        assert_eq!(got.header.media.unwrap().key, *key);
    }
    let mut copy = Vec::new();
    send.child.stdout.take().unwrap().read_to_end(&mut copy).unwrap();
    assert_eq!(copy, stream);
    assert_eq!(send.wait(PATIENCE), 0);
}

#[tokio::test]
async fn f36_the_end_inside_a_frame_keeps_what_was_whole() {
    let server = Serve::start();
    let mut watcher = Watcher::join(&server.room).await;
    let recording = frames(&access_units(5));
    let mut take = description();
    recording.iter().for_each(|frame| take.extend_from_slice(frame.bytes()));
    take.truncate(take.len() - 3);
    let mut send = conf_send(&server.room, &[]);
    send.feed(&take);
    drop(send.child.stdin.take());
    for sent in &recording[..4] {
        assert_eq!(watcher.picture().await.payload(), sent.payload());
    }
    assert_eq!(send.wait(PATIENCE), 10);
    assert!(send.stderr().contains("ended inside a frame"));
}

#[tokio::test]
async fn a_pause_of_the_program_leaves_no_delay_behind() {
    let server = Serve::start();
    let mut watcher = Watcher::join(&server.room).await;
    let mut send = conf_send(&server.room, &[]);
    let mut stdin = send.child.stdin.take().unwrap();
    // Live: each picture is written when it is captured, with a keyframe in every second.
    let feeder = std::thread::spawn(move || {
        use std::io::Write;
        let units = access_units(30);
        let _ = stdin.write_all(&description());
        for (n, (unit, key)) in units.iter().cycle().take(300).enumerate() {
            let pts = confkit::time::now().micros();
            let media = confkit::wire::Media {
                track: confkit::id::TrackId(5),
                seq: n as u64,
                pts,
                key: *key,
                rendition: confkit::wire::Rendition::High,
                tid: 0,
            };
            if stdin.write_all(confkit::wire::Frame::video(media, unit, 0).bytes()).is_err() {
                return;
            }
            let due = confkit::time::Moment::from_micros(pts) + std::time::Duration::from_millis(33);
            std::thread::park_timeout(due.since(confkit::time::now()));
        }
    });
    watcher.picture().await;
    send.signal(Signal::STOP);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    send.signal(Signal::CONT);
    let back = confkit::time::now();
    loop {
        let media = watcher.picture().await.header.media.unwrap();
        let now = confkit::time::now();
        if now.since(back) > std::time::Duration::from_secs(3) {
            let late = now.since(confkit::time::Moment::from_micros(media.pts));
            assert!(late < std::time::Duration::from_millis(250), "{late:?}");
            break;
        }
    }
    drop(send);
    feeder.join().unwrap();
}

#[tokio::test]
async fn a_name_that_is_taken_is_told() {
    let server = Serve::start();
    let mut watcher = Watcher::join(&server.room).await;
    let mut send = conf_send(&server.room, &["--name", "Watcher"]);
    send.feed(&description());
    watcher.find(|e| matches!(e, Event::Track(_)).then_some(())).await;
    send.signal(Signal::INT);
    send.child.wait().unwrap();
    let said = send.stderr();
    assert!(said.contains("you are ") && said.contains("not Watcher: "), "{said}");
    assert!(said.contains("CONF_IDENTITY_FILE"), "{said}");
}

#[tokio::test]
async fn a_signal_ends_the_stream_for_the_others_at_once() {
    let server = Serve::start();
    let mut watcher = Watcher::join(&server.room).await;
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut send = conf_send(&server.room, &[]);
        send.feed(&description());
        frames(&access_units(3)).iter().for_each(|frame| send.feed(frame.bytes()));
        watcher.picture().await;
        send.signal(signal);
        watcher.find(|e| matches!(e, Event::TrackGone(_)).then_some(())).await;
        assert_eq!(send.wait(PATIENCE), code);
    }
}

#[tokio::test]
async fn s16_a_restarted_server_gets_the_stream_again_from_a_keyframe() {
    let first = Serve::start();
    let (room, address) = (first.room.clone(), first.address);
    let mut watcher = Watcher::join(&room).await;
    let mut send = conf_send(&room, &[]);
    let mut stdin = send.child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        use std::io::Write;
        let recording = frames(&access_units(900));
        let head = description();
        let parts = std::iter::once(&head[..]).chain(recording.iter().map(|f| &f.bytes()[..]));
        // Until the program goes; it is as slow as the pictures' own times.
        for part in parts {
            if stdin.write_all(part).is_err() {
                return;
            }
        }
    });
    watcher.picture().await;
    drop(first);
    watcher.find(|e| matches!(e, Event::Down { .. }).then_some(())).await;
    let _second = Serve::at(&address.to_string());
    watcher.find(|e| matches!(e, Event::Up { resumed: false, .. }).then_some(())).await;
    assert!(watcher.picture().await.header.media.unwrap().key);
    drop(send);
    feeder.join().unwrap();
}

#[test]
fn what_is_wrong_is_said_with_its_exit_code() {
    let nowhere = "conf://127.0.0.1:1/x";
    let take = description();
    let matroska = [&[0x1a, 0x45, 0xdf, 0xa3][..], &[0; 40]].concat();
    let cases = [
        (nowhere, &[][..], &take[..], 3, "is conf-serve running there?"),
        ("", &[], &take, 2, "export CONF_ROOM=conf://HOST/ROOM"),
        ("conf://host", &[], &take, 2, "names no room"),
        (nowhere, &["--name", "a\u{7}b"], &take, 2, "--name"),
        (nowhere, &[], &matroska, 8, "-c:v libx264"),
        (nowhere, &["-f", "y4m"], &take, 10, "--format"),
        (nowhere, &[], &[], 10, "nothing came in"),
    ];
    for (room, arguments, input, code, words) in cases {
        let mut send = conf_send(room, arguments);
        send.feed(input);
        let status = send.wait(PATIENCE);
        let said = send.stderr();
        assert_eq!(status, code, "{said}");
        assert!(said.starts_with("conf-send: ") && said.contains(words), "{said}");
    }
}

#[test]
fn x01_closed_descriptors_are_no_reason_to_panic() {
    let program = env!("CARGO_BIN_EXE_conf-send");
    for (shell, code) in [
        (format!("{program} --help | head -c 1 >/dev/null; exit 0"), 0),
        (format!("{program} --help >&-"), 0),
        (format!("{program} --room x 2>&- </dev/null"), 2),
        (format!("{program} --room conf://127.0.0.1:1/x <&- 2>/dev/null"), 10),
        (format!("{program} --completions bash | head -c 1 >/dev/null"), 0),
    ] {
        let mut command = Command::new("sh");
        command.args(["-c", &shell]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{shell}: {said}");
        assert!(!said.contains("internal error"), "{shell}: {said}");
    }
}
