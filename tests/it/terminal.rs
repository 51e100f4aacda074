//! `conf-chat` on a pseudo-terminal, with a terminal emulator as judge of what a person would see.
#![allow(clippy::disallowed_methods)] // The state of a process is not an event that can be awaited.

use std::path::Path;
use std::time::Duration;

use confkit::chat::Content;
use confkit::id::SourceId;
use confkit::wire::{Frame, Letter, Slot};
use rustix::process::{Signal, kill_process};

use crate::support::peer::{Host, Peer};
use crate::support::programs::PATIENCE;
use crate::support::talk::Town;
use crate::support::terminal::{ENTER, Glass, Terminal};

const CONTROL_Z: &str = "\x1a";

/// Says something with whatever bytes.
fn say(peer: &mut Peer, n: u64, content: &Content, slot: Option<Slot>) {
    let letter = Letter { source: SourceId([7; 16]), n, to: None, slot, receipt: None };
    let wall = confkit::time::wall();
    peer.send(Frame::message(letter, &content.to_payload(), wall).bytes());
}

#[test]
fn people_talk_and_see_each_other() {
    let host = Host::start();
    let mut ann = Terminal::chat(&host, "Ann");
    ann.wait_for("1 here");
    let mut bo = Terminal::chat(&host, "Bo");
    ann.wait_for("Bo joined");
    bo.press("hello 汉字 👩‍👩‍👧 e\u{301}!");
    bo.wait("the cursor behind it", |screen| screen.cursor_position() == (23, 18));
    ann.wait_for("Bo is typing…");
    bo.press(ENTER);
    ann.wait_for("Bo │ hello 汉字");
    bo.wait_for("Bo │ hello 汉字");
    ann.press("/quit");
    ann.press(ENTER);
    assert_eq!(ann.end(), 0);
    assert!(ann.is_as_before());
    bo.wait_for("Ann left");
}

#[test]
fn being_named_rings() {
    let host = Host::start();
    let ann = Terminal::chat(&host, "Ann");
    ann.wait_for("1 here");
    let (mut peer, _) = Peer::join(host.address, "Bo");
    say(&mut peer, 1, &Content::Text("no ring".into()), None);
    ann.wait_for("no ring");
    assert_eq!(ann.glass.0.lock().unwrap().parser.callbacks().bells, 0);
    say(&mut peer, 2, &Content::Text("Ann: Ann, ann".into()), None);
    let glass = ann.glass.0.lock().unwrap();
    let rang = |glass: &mut Glass| glass.parser.callbacks().bells == 0;
    let (glass, _) = ann.glass.1.wait_timeout_while(glass, PATIENCE, rang).unwrap();
    assert_eq!(glass.parser.callbacks().bells, 1);
}

#[test]
fn any_size_is_drawn() {
    let host = Host::start();
    let mut ann = Terminal::chat(&host, "Ann");
    ann.wait_for("1 here");
    ann.press("/help");
    ann.press(ENTER);
    ann.wait_for("this list");
    for (columns, rows) in [(40, 12), (20, 5), (1, 1), (400, 100), (61, 9)] {
        ann.resize(columns, rows);
        if columns >= 20 {
            ann.wait("the input in the last row", |screen| {
                screen.rows(0, columns).nth(usize::from(rows) - 1).is_some_and(|row| row.starts_with('›'))
            });
        }
    }
    assert!(ann.child.try_wait().unwrap().is_none());
}

#[test]
fn t01_a_hostile_message_does_nothing_to_the_terminal() {
    let host = Host::start();
    let ann = Terminal::chat(&host, "Ann");
    ann.wait_for("1 here");
    let (mut peer, _) = Peer::join(host.address, "Bo");
    let hostile = "\x1b[2J\x1b]52;c;aGk=\x07\x1b]0;title\x07\x1b]8;;http://evil\x1b\\x\x1b]8;;\x1b\\\x1bP1$q\x1b\\\x1b_a\x1b\\\x1bc\
        \x1b[6n\x1b[?1049l\u{9b}31m\u{9d}0;t\u{9c}\r\u{8}\u{202e}abc\u{200b}\x1b]0;unterminated";
    for (n, content) in (1..).zip([
        Content::Topic(hostile.into()),
        Content::Action(hostile.into()),
        Content::Text(format!("{hostile}\n{hostile}")),
    ]) {
        let slot = matches!(content, Content::Topic(_)).then(Slot::topic);
        say(&mut peer, n, &content, slot);
    }
    say(&mut peer, 4, &Content::Text("the end of it".into()), None);
    ann.wait_for("Bo │ the end of it");
    ann.wait("the cursor in the input", |screen| screen.cursor_position() == (23, 2));
    let glass = ann.glass.0.lock().unwrap();
    assert_eq!(glass.parser.callbacks().strange, Vec::<String>::new());
    let raw = &glass.raw;
    for introducer in
        [&b"\x1b]"[..], b"\x1bP", b"\x1b_", b"\x1bc", b"\x1b[6n", b"\x07", b"\xc2\x9b", b"\xe2\x80\xae"]
    {
        assert!(!raw.windows(introducer.len()).any(|part| part == introducer), "{introducer:?}");
    }
    assert!(glass.parser.screen().contents().contains("␛[2J␛]52;c;aGk=␇"));
    assert!(glass.parser.screen().alternate_screen());
}

#[test]
fn t07_a_paste_does_not_send_itself() {
    let host = Host::start();
    let (mut peer, _) = Peer::join(host.address, "Bo");
    let mut ann = Terminal::chat(&host, "Ann");
    ann.wait_for("2 here");
    ann.press("\x1b[200~one\rtwo\r\x1b[201~/quit\r");
    ann.wait_for("two/quit");
    peer.settle();
    assert!(ann.child.try_wait().unwrap().is_none());
    assert!(!ann.shown().contains("Ann │ one"));
    // The guard against what comes with a paste needs a moment without keys.
    std::thread::sleep(Duration::from_millis(80));
    ann.press("\x15");
    ann.press("\x1b[200~1\r2\r3\r4\r5\r6\r7\x1b[201~");
    ann.wait_for("paste 7 lines");
    std::thread::sleep(Duration::from_millis(80));
    ann.press("n");
    ann.wait("no question", |screen| !screen.contents().contains("paste 7 lines"));
}

#[test]
fn suspended_the_shell_has_the_terminal_and_resumed_everything_is_there_again() {
    if !Path::new("/bin/bash").exists() {
        eprintln!("skipped: no /bin/bash");
        return;
    }
    let host = Host::start();
    let mut ann = Terminal::start(&host, "Ann", &["/bin/bash", "--norc", "--noprofile", "-i"]);
    ann.wait_for("shell> ");
    ann.press(&format!("{}\r", env!("CARGO_BIN_EXE_conf-chat")));
    ann.wait_for("1 here");
    ann.press("half a thought");
    ann.wait_for("› half a thought");
    ann.press(CONTROL_Z);
    ann.wait("the shell", |screen| screen.contents().contains("Stopped"));
    assert!(!ann.glass.0.lock().unwrap().parser.screen().alternate_screen());
    ann.resize(70, 20);
    ann.press("fg\r");
    ann.wait("the screen again, in the new size", |screen| {
        screen.alternate_screen()
            && screen.contents().contains("› half a thought")
            && screen.cursor_position().0 == 19
    });
    ann.press("\x15/quit\r");
    ann.wait("the shell", |screen| !screen.alternate_screen());
    ann.press("exit $?\r");
    assert_eq!(ann.end(), 0);
}

#[test]
fn without_a_shell_ctrl_z_does_nothing() {
    let host = Host::start();
    let mut ann = Terminal::chat(&host, "Ann");
    ann.wait_for("1 here");
    ann.press(CONTROL_Z);
    ann.press("still here");
    ann.wait_for("› still here");
}

#[test]
fn the_wheel_scrolls_and_end_returns() {
    let host = Host::start();
    let (mut peer, _) = Peer::join(host.address, "Bo");
    let mut ann = Terminal::chat(&host, "Ann");
    ann.wait_for("2 here");
    (1..=60).for_each(|n| say(&mut peer, n, &Content::Text(format!("message {n}")), None));
    ann.wait_for("message 60");
    // Button 64 is the wheel up (xterm's SGR encoding).
    ann.press("\x1b[<64;10;10M\x1b[<64;10;10M");
    ann.wait("older messages", |screen| !screen.contents().contains("message 60"));
    say(&mut peer, 61, &Content::Text("newest".into()), None);
    ann.wait_for("1 new message below");
    ann.press("\x1b[F");
    ann.wait_for("newest");
}

#[test]
fn every_key_is_shown_at_once_however_many_come_and_whatever_the_size() {
    let host = Host::start();
    let mut ann = Terminal::chat(&host, "Ann");
    ann.wait_for("1 here");
    for n in 0..20u16 {
        ann.resize(70 + n, 24);
        ann.press("1");
        let typed = format!("› {}", "1".repeat(usize::from(n) + 1));
        ann.wait(&typed, |screen| screen.rows(0, 120).any(|row| row.trim_end() == typed));
    }
    // More than any buffer between the terminal and the program holds, in one write.
    ann.press("\x15");
    ann.press(&format!("{}end", "x".repeat(3_000)));
    ann.wait_for("xend");
    // The thread that reads keys waits for the next one and does not spin.
    let before = processor_time(ann.pid());
    std::thread::sleep(Duration::from_millis(300));
    let used = processor_time(ann.pid()) - before;
    assert!(used < Duration::from_millis(150), "{used:?} of 300 ms without a key");
}

/// A server that can be killed, and where it is.
fn room_of(town: &Town, serve: &crate::support::programs::Serve) -> (String, String) {
    (format!("conf://{}/main", serve.address), town.path("state").display().to_string())
}

/// conf-chat of Ann with a state directory that stays, and whatever else is in her environment.
fn ann_at_home(room: &str, state: &str, more: &str) -> Terminal {
    let command = format!(
        "XDG_STATE_HOME={state} CONF_IDENTITY_FILE={state}/key {more} {}",
        env!("CARGO_BIN_EXE_conf-chat")
    );
    Terminal::run(room, "Ann", &["/bin/sh", "-c", &format!("mkdir -p {state}; {command}")])
}

#[test]
fn t25_what_was_typed_without_a_server_is_kept_and_sent_exactly_once() {
    let mut town = Town::new();
    let serve = town.serve();
    let (room, state) = room_of(&town, &serve);
    let mut ann = ann_at_home(&room, &state, "");
    ann.wait_for("1 here");
    drop(serve);
    ann.wait_for("not connected");
    ann.enter("important");
    ann.wait_for("you … important");
    // The person leaves, and then insists.
    ann.press("\x04");
    ann.wait_for("1 not sent yet");
    ann.press("\x04");
    assert_eq!(ann.end(), 7);
    ann.wait_for("1 message is not sent: conf-chat sends it when it is started in this room");
    // The next one is killed.
    let serve = town.serve();
    let mut ann = ann_at_home(&room, &state, "exec");
    ann.wait_for("a message from before is not sent yet");
    ann.wait_for("Ann │ important");
    drop(serve);
    ann.wait_for("not connected");
    ann.enter("urgent");
    ann.wait_for("you … urgent");
    kill_process(ann.pid(), Signal::KILL).unwrap();
    ann.end();
    let _serve = town.serve();
    let mut ann = ann_at_home(&room, &state, "");
    ann.wait_for("Ann │ urgent");
    ann.enter("/quit");
    assert_eq!(ann.end(), 0);
    let mut ann = ann_at_home(&room, &state, "");
    ann.wait_for("Ann │ urgent");
    ann.enter("/quit");
    assert_eq!(ann.end(), 0);
    assert!(!ann.glass.0.lock().unwrap().raw.windows(11).any(|part| part == b"from before"));
    let (_, text, _) = town.ask("Cy", &["--export", "txt"]);
    let count = |what: &str| text.matches(what).count();
    assert_eq!((count("Ann: important"), count("Ann: urgent")), (1, 1), "{text}");
}

#[test]
fn whoever_scrolls_to_the_top_gets_what_is_older() {
    let host = Host::start();
    let (mut peer, _) = Peer::join(host.address, "Bo");
    (1..=190).for_each(|n| say(&mut peer, n, &Content::Text(format!("message {n}.")), None));
    let mut ann = Terminal::start(&host, "Ann", &[env!("CARGO_BIN_EXE_conf-chat"), "--history", "20"]);
    ann.wait_for("message 190.");
    // Control-Home.
    ann.press("\x1b[1;5H");
    ann.wait_for("message 170.");
    // A page above the 128 that came stands what came next.
    ann.press("\x1b[1;5H");
    ann.wait_for("message 42.");
    ann.press("\x1b[1;5H");
    ann.wait_for("message 1.");
    ann.wait_for("these are the oldest messages");
    ann.press("\x1b[1;5F");
    ann.wait_for("message 190.");
    say(&mut peer, 191, &Content::Text("and on it goes".into()), None);
    ann.wait_for("and on it goes");
}

#[test]
fn what_was_not_read_is_marked_at_the_next_start() {
    let mut town = Town::new();
    let serve = town.serve();
    let (room, state) = room_of(&town, &serve);
    assert_eq!(town.ask("Bo", &["-m", "seen"]).0, 0);
    let mut ann = ann_at_home(&room, &state, "");
    ann.wait_for("Bo │ seen");
    ann.enter("/quit");
    assert_eq!(ann.end(), 0);
    assert_eq!(town.ask("Bo", &["-m", "missed"]).0, 0);
    let ann = ann_at_home(&room, &state, "");
    ann.wait_for("Bo │ missed");
    let shown = ann.shown();
    let rows: Vec<&str> = shown.lines().collect();
    let mark = rows.iter().position(|row| row.contains("─ new ─")).expect(&shown);
    assert!(
        rows[mark + 1].contains("Bo │ missed") && rows[..mark].iter().any(|row| row.contains("Bo │ seen"))
    );
}

#[test]
fn a_terminal_without_panes_says_where_one_is_and_how_to_leave() {
    let mut town = Town::new();
    let serve = town.serve();
    let (room, state) = room_of(&town, &serve);
    assert_eq!(town.ask("Bo", &["-m", "from before"]).0, 0);
    let mut ann = ann_at_home(&room, &state, "TERM=dumb");
    ann.wait_for("You are Ann in main, nobody else is here");
    ann.wait_for("Bo: from before");
    ann.enter("/frobnicate");
    ann.enter("/who");
    ann.wait_for("only /me and /quit are known here");
    ann.enter("/quit");
    assert_eq!(ann.end(), 0);
}

/// How long a process has computed.
fn processor_time(process: rustix::process::Pid) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[test]
fn t07_a_paste_that_lost_its_end_takes_no_keys_with_it() {
    let host = Host::start();
    let mut ann = Terminal::chat(&host, "Ann");
    ann.wait_for("1 here");
    ann.press("\x1b[200~evil");
    ann.wait_for("› evil");
    // The guard against what comes with a paste needs a moment without keys.
    std::thread::sleep(Duration::from_millis(80));
    ann.press("\x03");
    ann.wait_for("Ctrl-C again leaves");
    ann.press("\x03");
    assert_eq!(ann.end(), 130);
}

#[test]
fn signals_give_the_terminal_back() {
    let host = Host::start();
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let mut ann = Terminal::chat(&host, "Ann");
        ann.wait_for("1 here");
        kill_process(ann.pid(), signal).unwrap();
        assert_eq!(ann.end(), code);
        assert!(ann.is_as_before(), "{signal:?}");
    }
}

#[test]
fn ctrl_c_first_clears_then_leaves() {
    let host = Host::start();
    let mut ann = Terminal::chat(&host, "Ann");
    ann.wait_for("1 here");
    ann.press("text");
    ann.wait_for("› text");
    ann.press("\x03");
    ann.wait_for("Ctrl-C again leaves");
    ann.press("\x03");
    assert_eq!(ann.end(), 130);
    assert!(ann.is_as_before());
}

#[test]
fn who_cannot_connect_is_told_why_on_the_terminal_as_it_was() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let host = Host::start();
    let home = tempfile::tempdir().unwrap();
    let room = format!("conf://{closed}/room");
    let identity = home.path().join("identity").display().to_string();
    let command = [
        "/usr/bin/env",
        &format!("CONF_IDENTITY_FILE={identity}"),
        env!("CARGO_BIN_EXE_conf-chat"),
        "-r",
        &room,
    ];
    let mut ann = Terminal::start(&host, "Ann", &command);
    assert_eq!(ann.end(), 3);
    ann.wait("why", |screen| {
        screen.contents().contains("is conf-serve running there?") && !screen.alternate_screen()
    });
    assert!(ann.is_as_before());
}

#[test]
fn what_was_typed_comes_back_in_the_next_terminal() {
    let host = Host::start();
    let mut ann = Terminal::chat(&host, "Ann");
    ann.wait_for("1 here");
    ann.enter("first words");
    ann.wait_for("Ann │ first words");
    // Alt-Enter begins another line.
    ann.press("two\x1b\rlines");
    ann.wait_for("  lines");
    ann.press("\r");
    ann.wait_for("│ lines");
    ann.enter("/quit");
    assert_eq!(ann.end(), 0);
    let mut again = ann.again(&host);
    again.wait_for("│ lines");
    again.press("\x1b[A");
    again.wait("both lines in the input", |screen| {
        let rows: Vec<String> = screen.contents().lines().map(str::to_owned).collect();
        rows.windows(2).any(|rows| rows[0].starts_with("› two") && rows[1].starts_with("  lines"))
    });
    again.press("\x1b[A\x1b[A");
    again.wait_for("› first words");
}
