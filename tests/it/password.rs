//! The password of a room, asked for at the terminal.

use std::process::Stdio;

use crate::support::programs::{Serve, program, write_secret};
use crate::support::talk::Town;
use crate::support::terminal::Terminal;

/// A server with a room "board" whose password is "correct horse"; the address of that room.
fn board(town: &mut Town) -> (Serve, String) {
    let serve = town.serve();
    let file = town.path("password");
    write_secret(&file, "correct horse\n");
    let made = program("conf-serve", town.home.path())
        .args(["room", "create", "board", "--port", &serve.address.port().to_string(), "--password-file"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let room = format!("conf://{}/board", serve.address);
    (serve, room)
}

const QUESTION: &str = "Password of the room board:";

#[test]
fn conf_chat_asks_before_it_takes_the_terminal_and_shows_nothing_of_the_answer() {
    let mut town = Town::new();
    let (_serve, room) = board(&mut town);
    let mut ann = Terminal::run(&room, "Ann", &[env!("CARGO_BIN_EXE_conf-chat")]);
    ann.wait_for(QUESTION);
    ann.enter("wrong");
    ann.wait_for("That is not it.");
    ann.enter("correct horse");
    ann.wait_for("1 here");
    let raw = String::from_utf8_lossy(&ann.glass.0.lock().unwrap().raw).into_owned();
    assert!(!raw.contains("horse") && !raw.contains("wrong"), "{raw}");
    // A transfer has a session of its own, which does not ask again.
    std::fs::write(ann.path("a.txt"), "a").unwrap();
    ann.enter("/send a.txt");
    ann.wait_for("sent #1 a.txt");
    ann.enter("/quit");
    assert_eq!(ann.end(), 0);
    assert!(ann.is_as_before());
}

#[test]
fn who_gives_up_or_does_not_know_it_ends_with_4_and_has_the_terminal_back() {
    let mut town = Town::new();
    let (_serve, room) = board(&mut town);
    let mut ann = Terminal::run(&room, "Ann", &[env!("CARGO_BIN_EXE_conf-chat")]);
    ann.wait_for(QUESTION);
    ann.press("\x03");
    assert_eq!(ann.end(), 4);
    ann.wait_for("--password-file");
    assert!(ann.is_as_before());
    let mut ann = Terminal::run(&room, "Ann", &[env!("CARGO_BIN_EXE_conf-recv"), "--list"]);
    for answer in ["one", "two", "three"] {
        ann.wait("the question", |screen| {
            let asked = screen.contents();
            let times = asked.matches(QUESTION).count();
            times == ["one", "two", "three"].iter().position(|other| *other == answer).unwrap() + 1
        });
        ann.enter(answer);
    }
    assert_eq!(ann.end(), 4);
    assert!(ann.is_as_before());
}

#[test]
fn a_signal_ends_the_question_and_gives_the_terminal_back() {
    let mut town = Town::new();
    let (_serve, room) = board(&mut town);
    let [recv, chat] = [env!("CARGO_BIN_EXE_conf-recv"), env!("CARGO_BIN_EXE_conf-chat")];
    for command in [&[recv, "--list"][..], &[chat], &[chat, "--export", "txt"], &[chat, "-m", "x"]] {
        let mut ann = Terminal::run(&room, "Ann", command);
        ann.wait_for(QUESTION);
        rustix::process::kill_process(ann.pid(), rustix::process::Signal::TERM).unwrap();
        assert_eq!(ann.end(), 143, "{command:?}");
        assert!(ann.is_as_before(), "{command:?}");
    }
}

#[test]
fn a_signal_after_the_answer_ends_conf_chat_in_order() {
    let mut town = Town::new();
    let (_serve, room) = board(&mut town);
    let mut ann = Terminal::run(&room, "Ann", &[env!("CARGO_BIN_EXE_conf-chat")]);
    ann.wait_for(QUESTION);
    ann.enter("correct horse");
    ann.wait_for("1 here");
    rustix::process::kill_process(ann.pid(), rustix::process::Signal::TERM).unwrap();
    assert_eq!(ann.end(), 143);
    assert!(ann.is_as_before());
}

#[test]
fn the_other_programs_ask_too_whatever_their_stdin_is() {
    let mut town = Town::new();
    let (_serve, room) = board(&mut town);
    let quoted = |program: &str| format!("'{program}'");
    let [send, recv, chat, view] = [
        env!("CARGO_BIN_EXE_conf-send"),
        env!("CARGO_BIN_EXE_conf-recv"),
        env!("CARGO_BIN_EXE_conf-chat"),
        env!("CARGO_BIN_EXE_conf-view"),
    ]
    .map(quoted);
    for (line, shown) in [
        (format!("echo some text | {send} --stdin-name a.txt"), "sent a.txt: 10 B"),
        (format!("{recv} --list"), "a.txt"),
        (format!("{recv} 1 --yes"), "a.txt"),
        (format!("echo hello | {chat} && echo all said"), "all said"),
        (format!("{view} --no-window --stats -t 3s && echo was there"), "was there"),
    ] {
        let mut terminal = Terminal::run(&room, "Ann", &["/bin/sh", "-c", &line]);
        terminal.wait_for(QUESTION);
        terminal.enter("correct horse");
        assert_eq!(terminal.end(), 0, "{line}\n{}", terminal.shown());
        terminal.wait_for(shown);
        assert!(!terminal.shown().contains("horse"), "{}", terminal.shown());
        assert!(terminal.is_as_before());
    }
}

#[test]
fn without_a_terminal_or_with_no_input_it_is_said_what_to_type() {
    let mut town = Town::new();
    let (_serve, room) = board(&mut town);
    for (name, arguments) in [
        ("conf-chat", &["-m", "x"][..]),
        ("conf-recv", &["--list"]),
        ("conf-send", &["--text", "x"]),
        ("conf-view", &["--no-window", "--snapshot", "x.png"]),
    ] {
        let mut command = program(name, town.home.path());
        command.args(arguments).arg("--no-input").args(["-r", &room]).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{name}: {said}");
        assert!(said.contains("--password-file FILE (or CONF_PASSWORD_FILE)"), "{name}: {said}");
    }
    let mut ann = Terminal::run(&room, "Ann", &[env!("CARGO_BIN_EXE_conf-chat"), "--no-input"]);
    assert_eq!(ann.end(), 4);
    ann.wait_for("--password-file");
    assert!(!ann.shown().contains(QUESTION));
}

#[test]
fn a17_a_secret_that_others_can_read_is_refused_and_handed_over_as_the_manual_says() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let mut town = Town::new();
    let (serve, room) = board(&mut town);
    // As a container has it: a link to what everybody there can read.
    let (secret, link) = (town.path("secret"), town.path("link"));
    std::fs::write(&secret, "correct horse\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o444)).unwrap();
    symlink(&secret, &link).unwrap();
    let [list, host] = [env!("CARGO_BIN_EXE_conf-recv"), env!("CARGO_BIN_EXE_conf-serve")];
    let port = serve.address.port();
    let shell = |shell: &str, line: &str| {
        let mut command = program("conf-recv", town.home.path());
        let environment: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        command = std::process::Command::new(shell);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).envs(environment);
        let output =
            command.args(["-c", line]).env("CONF_ROOM", &room).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for refused in [&secret, &link] {
        let (code, said) = shell("sh", &format!("'{list}' --list --password-file {}", refused.display()));
        assert_eq!(code, Some(9), "{said}");
    }
    let link = link.display();
    for (name, line) in [
        ("bash", format!("'{list}' --list --password-file <(cat {link})")),
        ("sh", format!("cat {link} | '{list}' --list --password-file /dev/fd/3 3<&0 </dev/null")),
        ("sh", format!("'{host}' room create other --port {port} --password-file - < {link}")),
    ] {
        let (code, said) = shell(name, &line);
        assert_eq!(code, Some(0), "{line}: {said}");
    }
}
