//! conf-serve as who hosts a meeting sees it.
#![allow(clippy::disallowed_methods)] // Waiting for a process to end has no event to wait for.

use std::process::Stdio;
use std::time::Duration;

use confkit::wire::Code;
use confkit::wire::control::{Control, Hello};
use rustix::process::Signal;

use crate::support::peer::{Peer, hello};
use crate::support::programs::{PATIENCE, Running, Serve, program};
use crate::support::talk::Town;

#[test]
fn s17_sigterm_says_goodbye_with_a_time_to_come_back_and_ends_in_order() {
    let mut serve = Serve::start();
    let mut members: Vec<_> = (0..300).map(|n| Peer::join(serve.address, &format!("m{n}")).0).collect();
    serve.running.signal(Signal::TERM);
    let mut returns = Vec::new();
    for member in &mut members {
        let goodbye = member.wait(|op| if let Control::Goodbye(goodbye) = op { Some(goodbye) } else { None });
        assert_eq!(goodbye.code, Some(Code::ShuttingDown));
        returns.push(goodbye.retry_after_ms.unwrap());
    }
    drop(members);
    assert_eq!(serve.running.wait(Duration::from_secs(5)), 0);
    returns.sort_unstable();
    assert!(returns[299] - returns[0] > 500, "they do not all come back at once");
    assert!(std::net::TcpStream::connect(serve.address).is_err());
}

/// What a server says when it cannot start.
fn refused(store: &std::path::Path) -> (i32, String) {
    let mut serve = program("conf-serve", store.parent().unwrap());
    serve.args(["127.0.0.1:0", "--store"]).arg(store).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut serve = Running::start(serve);
    let code = serve.wait(PATIENCE);
    (code, serve.stderr())
}

/// A history in which something was said.
fn history(town: &mut Town) -> std::path::PathBuf {
    let mut serve = town.serve();
    let (code, _, why) = town.ask("Ann", &["-m", "something"]);
    assert_eq!(code, 0, "{why}");
    serve.running.signal(Signal::TERM);
    assert_eq!(serve.running.wait(PATIENCE), 0);
    town.path("store/history.db")
}

#[test]
fn s22_a_history_of_a_later_version_ends_with_10_and_is_left_as_it_is() {
    let mut town = Town::new();
    let file = history(&mut town);
    // The version of the format, which SQLite keeps for its users (file format, 1.3.14).
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[60..64].copy_from_slice(&u32::MAX.wrapping_shr(1).to_be_bytes());
    std::fs::write(&file, &bytes).unwrap();
    let (code, said) = refused(file.parent().unwrap());
    assert_eq!(code, 10, "{said}");
    assert!(said.contains("history.db") && said.contains("--store"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "untouched");
}

#[test]
fn s21_a_damaged_history_ends_with_6_says_what_to_do_and_is_left_as_it_is() {
    let mut town = Town::new();
    let file = history(&mut town);
    let good = std::fs::read(&file).unwrap();
    let mut bytes = good.clone();
    bytes[100..4096].fill(0xa5);
    std::fs::write(&file, &bytes).unwrap();
    let (code, said) = refused(file.parent().unwrap());
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("nothing was changed") && said.contains("--ephemeral"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "untouched");
    std::fs::write(&file, &good).unwrap();
    let _serve = town.serve();
    let (_, said, _) = town.ask("Ann", &["--export", "txt"]);
    assert!(said.contains("something"), "{said}");
}

#[test]
fn s18_a_reload_with_a_mistake_keeps_the_settings_and_one_without_takes_them() {
    let home = tempfile::tempdir().unwrap();
    let (file, log) = (home.path().join("conf"), home.path().join("log"));
    std::fs::write(&file, "max-members = 1\n").unwrap();
    let mut command = program("conf-serve", home.path());
    command.args(["127.0.0.1:0", "--ephemeral", "--config"]).arg(&file);
    command.arg("--log-file").arg(&log).stdout(Stdio::piped());
    let serve = Serve::from_command(command);
    // Whether a room takes a second member.
    let takes_two = |room: &str| {
        let mut ann = Peer::connect(serve.address);
        ann.hello(Hello { room: room.into(), ..hello("Ann") });
        let mut bo = Peer::connect(serve.address);
        bo.say(&Control::Hello(Hello { room: room.into(), ..hello("Bo") }));
        bo.wait(|op| match op {
            Control::Welcome(_) => Some(true),
            Control::Error(refusal) if refusal.code == Code::Full => Some(false),
            _ => None,
        })
    };
    let reload = |text: &str, until: &str| {
        std::fs::write(&file, text).unwrap();
        serve.running.signal(Signal::HUP);
        let started = confkit::time::now();
        while !std::fs::read_to_string(&log).unwrap().contains(until) {
            assert!(confkit::time::now().since(started) < PATIENCE, "never said: {until}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    assert!(!takes_two("at first"));
    reload("max-members = 2\nhistory = many\n", "line 2: expected a number of messages");
    assert!(!takes_two("after a mistake"), "nothing of a file with a mistake counts");
    reload("max-members = 2\n", "other settings are in force");
    assert!(takes_two("after a reload"));
}

#[test]
fn s18_a_server_does_not_start_with_a_mistake_in_its_settings() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("conf");
    std::fs::write(&file, "room-grace 5\n").unwrap();
    for (path, code) in [(file, 2), (home.path().join("nowhere"), 9)] {
        let mut serve = program("conf-serve", home.path());
        let ended = serve.args(["127.0.0.1:0", "--config"]).arg(&path).output().unwrap();
        assert_eq!(ended.status.code(), Some(code));
        assert!(String::from_utf8(ended.stderr).unwrap().contains(path.to_str().unwrap()));
    }
}

#[test]
fn s19_a_port_in_use_is_named_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let serve = Serve::start();
    let second = program("conf-serve", home.path()).arg(serve.address.to_string()).output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains(&serve.address.to_string()) && said.contains("choose another"), "{said}");
}

#[test]
fn s02_at_the_limit_of_descriptors_newcomers_are_told_and_members_stay() {
    let home = tempfile::tempdir().unwrap();
    let mut limited = std::process::Command::new("sh");
    limited.args([
        "-c",
        "ulimit -n 64; exec \"$0\" 127.0.0.1:0 --ephemeral",
        env!("CARGO_BIN_EXE_conf-serve"),
    ]);
    limited
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .stdin(Stdio::null());
    let serve = Serve::from_command(limited);
    let mut members: Vec<Peer> = Vec::new();
    let refusal = loop {
        let mut peer = Peer::connect(serve.address);
        peer.say(&Control::Hello(hello("Ann")));
        let answer = peer.wait(|op| match op {
            Control::Welcome(_) => Some(None),
            Control::Error(refusal) => Some(Some(refusal)),
            _ => None,
        });
        match answer {
            None => members.push(peer),
            Some(refusal) => break refusal,
        }
        assert!(members.len() < 64, "more members than descriptors");
    };
    assert_eq!(refusal.code, Code::Full);
    assert!(refusal.retry_after_ms.is_some());
    assert!(members.len() > 20);
    members.iter_mut().for_each(|m| drop(m.settle()));
    members.truncate(10);
    let (mut late, _) = Peer::join_patiently(serve.address, "Late");
    late.settle();
}

#[test]
fn s26_hostile_text_stays_within_its_line_of_the_log() {
    let serve = Serve::start();
    let evil = "x\u{1b}[2J\n2026-01-01T00:00:00Z  INFO fake line\u{202e}\u{9b}31m";
    let mut ann = Peer::connect(serve.address);
    ann.hello(Hello { client: evil.into(), ..hello("Ann") });
    ann.settle();
    for bad in [Hello { room: evil.into(), ..hello("Ann") }, hello(evil)] {
        let mut peer = Peer::connect(serve.address);
        peer.say(&Control::Hello(bad));
        assert_eq!(peer.refused().0.code, Code::Name);
    }
    let mut stranger = Peer::connect(serve.address);
    stranger.send(b"\x1b]0;title\x07\r\n\x1b[2J....");
    stranger.refused();
    let log = std::fs::read_to_string(&serve.log).unwrap();
    assert!(log.contains("joined"), "{log}");
    assert!(!log.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'), "{log:?}");
    assert!(!log.lines().any(|line| line.contains("fake line") && line.starts_with("2026-01-01")), "{log}");
}

#[test]
fn x01_a_server_without_stdout_or_stderr_serves() {
    let serve = Serve::start();
    let address = serve.address;
    assert!(serve.room.ends_with("/main"), "{}", serve.room);
    let Serve { running, stdout, .. } = serve;
    drop(stdout);
    Peer::join(address, "Ann").0.settle();
    drop(running);
    let help = std::process::Command::new("sh")
        .args(["-c", "exec \"$0\" --help >&- 2>&-", env!("CARGO_BIN_EXE_conf-serve")])
        .status()
        .unwrap();
    assert!(help.code().is_some_and(|code| code <= 2), "{help}");
}
