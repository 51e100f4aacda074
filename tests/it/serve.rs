//! conf-serve as who hosts a meeting sees it.
#![allow(clippy::disallowed_methods)] // Waiting for a process to end has no event to wait for.

use std::process::Stdio;
use std::time::Duration;

use confkit::wire::Code;
use confkit::wire::control::{Control, Hello};
use rustix::process::Signal;

use crate::support::peer::{Peer, hello};
use crate::support::programs::{Serve, program};

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
