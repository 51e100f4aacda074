//! conf-chat in pipes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::programs::{PATIENCE, Running, program, write_secret};
use crate::support::talk::{Lines, Town, wait_for};

/// What Ann said, without the times.
fn said(lines: &[String]) -> Vec<String> {
    lines.iter().filter_map(|line| line.split_once(" Ann: ").map(|(_, text)| text.to_owned())).collect()
}

/// Listens, and hears what was said before it came in too: who is started first need not join first.
const LATE: &[&str] = &["--listen", "--history", "100"];

#[test]
fn t08_t18_t20_a_thousand_lines_arrive_once_and_in_order_though_the_server_is_killed() {
    let mut town = Town::new();
    let first = town.serve();
    let mut bo = town.talk("Bo", LATE);
    let heard = Lines::of(&mut bo);
    let mut ann = town.talk("Ann", &[]);
    ann.feed(b"0\n");
    let mut lines = vec![heard.next().unwrap()];
    ann.feed((1..1000).map(|n| format!("{n}\n")).collect::<String>().as_bytes());
    while lines.len() < 150 {
        lines.push(heard.next().unwrap());
    }
    drop(first);
    let _second = town.serve();
    while lines.len() < 170 {
        lines.push(heard.next().unwrap());
    }
    assert_eq!(ann.wait(PATIENCE), 0, "{}", ann.stderr());
    while lines.len() < 1000 {
        lines.push(heard.next().unwrap());
    }
    let expected: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    assert_eq!(said(&lines), expected);
    let (code, text, _) = town.ask("Cy", &["--export", "txt", "--history", "1000"]);
    assert_eq!((code, said(&text.lines().map(String::from).collect::<Vec<_>>())), (0, expected));
}

#[test]
fn t25_after_kill_9_the_outbox_is_sent_exactly_once() {
    let mut town = Town::new();
    let first = town.serve();
    let outbox = town.path("outbox");
    let options = ["--outbox", outbox.to_str().unwrap()];
    let mut bo = town.talk("Bo", LATE);
    let heard = Lines::of(&mut bo);
    let mut ann = town.talk("Ann", &options);
    ann.feed(b"0\n");
    heard.next().unwrap();
    let (code, _, why) = town.ask("Ann", &options);
    assert_eq!(code, 9, "{why}");
    drop(first);
    ann.feed((1..100).map(|n| format!("{n}\n")).collect::<String>().as_bytes());
    wait_for(&outbox, "\\\"99\\\"");
    drop(ann);
    let _second = town.serve();
    let (code, _, why) = town.ask("Ann", &options);
    assert_eq!(code, 0, "{why}");
    let (code, _, why) = town.ask("Ann", &options);
    assert_eq!(code, 0, "{why}");
    let (_, text, _) = town.ask("Cy", &["--export", "txt", "--history", "1000"]);
    let expected: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(said(&text.lines().map(String::from).collect::<Vec<_>>()), expected);
}

#[test]
fn what_was_not_acknowledged_is_counted_and_ends_with_7() {
    let mut town = Town::new();
    let serve = town.serve();
    let mut bo = town.talk("Bo", LATE);
    let heard = Lines::of(&mut bo);
    let mut ann = town.talk("Ann", &["--ack-timeout", "1s"]);
    ann.feed(b"0\n");
    heard.next().unwrap();
    drop(serve);
    ann.feed(b"1\n2\n");
    assert_eq!(ann.wait(PATIENCE), 7);
    let why = ann.stderr();
    assert!(why.contains("not acknowledged by the server"), "{why}");
    let (code, _, why) = town.ask("Ann", &["-m", "x"]);
    assert!(code == 3 && why.contains("is conf-serve running there?"), "{why}");
}

#[test]
fn one_message_actions_direct_ones_and_texts_of_several_lines() {
    let mut town = Town::new();
    let _serve = town.serve();
    let log = town.path("chat.log");
    let mut bo = town.talk("Bo", &["--listen", "--history", "100", "--log", log.to_str().unwrap()]);
    let heard = Lines::of(&mut bo);
    // Bo is there when somebody sees it.
    while !town.ask("Cy", &["--who=json"]).1.contains("\"Bo\"") {}
    let (code, out, why) = town.ask("Ann", &["-m", "hello", "-m", "/me waves", "-m", "one\n09:00 Cy: two"]);
    assert_eq!((code, out.as_str()), (0, ""), "{why}");
    assert_eq!(town.ask("Ann", &["--to", "bo", "-m", "psst \x1b[2J"]).0, 0);
    let (code, _, why) = town.ask("Ann", &["--to", "Dan", "-m", "psst"]);
    assert!(code == 5 && why.contains("nobody here is called Dan"), "{why}");
    let lines: Vec<String> = (0..5).map(|_| heard.next().unwrap()).collect();
    let bare: Vec<&str> = lines.iter().map(|line| &line[5..]).collect();
    assert_eq!(bare, [" Ann: hello", " * Ann waves", " Ann: one", " │ 09:00 Cy: two", " Ann→Bo: psst ␛[2J"]);
    wait_for(&log, "Ann→Bo: psst ␛[2J\n");
    // Direct messages stay between the two.
    let (_, text, _) = town.ask("Cy", &["--export", "json"]);
    assert!(text.contains("hello") && !text.contains("psst"), "{text}");
}

#[test]
fn t09_t10_lines_that_are_no_text_or_look_like_commands_are_told() {
    let mut town = Town::new();
    let _serve = town.serve();
    let mut ann = town.talk("Ann", &["--json", "--listen"]);
    let heard = Lines::of(&mut ann);
    heard.object("caught_up");
    let mut bo = town.talk("Bo", &[]);
    bo.feed(b"/msg Ann secret\n/qiut\n\n  \n/usr/bin/env failed\r\na\xff\n");
    assert_eq!(bo.wait(PATIENCE), 2);
    let why = bo.stderr();
    assert!(why.contains("line 6 is no UTF-8") && why.contains("2 lines not sent"), "{why}");
    assert_eq!(heard.object("message")["text"], "/usr/bin/env failed");
    assert_eq!(heard.object("message")["text"], "a\u{fffd}");
    let (code, _, why) = town.ask("Bo", &["-m", "/quit"]);
    assert!(code == 2 && why.contains("nothing was sent"), "{why}");
    assert_eq!(town.ask("Bo", &["-m", ""]).0, 2);
}

#[test]
fn long_lines_come_in_parts_and_none_is_lost() {
    let mut town = Town::new();
    let _serve = town.serve();
    let mut ann = town.talk("Ann", &["--json", "--listen"]);
    let heard = Lines::of(&mut ann);
    heard.object("caught_up");
    let mut bo = town.talk("Bo", &[]);
    let long = "\"汉\" ".repeat(30_000);
    bo.feed(long.as_bytes());
    assert_eq!(bo.wait(PATIENCE), 0);
    assert!(bo.stderr().contains("is sent in parts"));
    let mut got = String::new();
    while got.len() < long.len() {
        got += heard.object("message")["text"].as_str().unwrap();
    }
    assert_eq!(got, long);
}

#[test]
fn json_goes_both_ways() {
    let mut town = Town::new();
    let _serve = town.serve();
    let mut bo = town.talk("Bo", &["--json"]);
    let bo_hears = Lines::of(&mut bo);
    bo_hears.object("caught_up");
    let mut ann = town.talk("Ann", &["--json"]);
    let ann_hears = Lines::of(&mut ann);
    assert_eq!(ann_hears.object("connection")["state"], "up");
    assert_eq!(ann_hears.object("state")["members"].as_array().unwrap().len(), 2);
    let came = bo_hears.object("presence");
    assert_eq!((&came["event"], &came["member"]["name"]), (&"join".into(), &"Ann".into()));
    ann.feed(b"{\"type\":\"message\",\"text\":\"hi\",\"id\":\"a\"}\nnonsense\n{\"type\":\"fly\",\"id\":9}\n");
    ann.feed(b"{\"type\":\"message\",\"to\":\"Bo\",\"kind\":\"action\",\"text\":\"waves\"}\n{\"type\":\"topic\",\"text\":\"tea\"}\n");
    let posted = ann_hears.object("posted");
    assert_eq!((&posted["id"], &posted["n"]), (&"a".into(), &1.into()));
    let message = bo_hears.object("message");
    assert_eq!((&message["text"], &message["kind"]), (&"hi".into(), &"text".into()));
    assert_eq!(
        (&message["own"], &message["name"], &message["to"]),
        (&false.into(), &"Ann".into(), &().into())
    );
    assert_eq!(message["identity"].as_str().unwrap().len(), 64);
    let direct = bo_hears.object("message");
    assert_eq!((&direct["kind"], direct["to"].is_number()), (&"action".into(), true));
    assert_eq!(bo_hears.object("message")["kind"], "topic");
    ann.feed(b"{\"type\":\"typing\"}\n{\"type\":\"away\",\"text\":\"lunch\"}\n{\"type\":\"rename\",\"name\":\"Anna\",\"id\":1}\n");
    assert_eq!(ann_hears.object("done")["id"], 1);
    loop {
        let member = &bo_hears.object("presence")["member"];
        if member["name"] == "Anna" {
            assert_eq!(member["away"], "lunch");
            break;
        }
    }
    assert_eq!(ann.wait(PATIENCE), 2, "two lines made no sense");
    loop {
        let gone = bo_hears.object("presence");
        if gone["event"] == "leave" {
            break;
        }
    }
    drop(bo.child.stdin.take());
    assert_eq!(bo.wait(PATIENCE), 0);
}

#[test]
fn s12_names_stay_when_the_server_is_killed() {
    let mut town = Town::new();
    let mut serve = town.serve();
    let up = |heard: &Lines| loop {
        let connection = heard.object("connection");
        if connection["state"] == "up" {
            break connection["name"].as_str().unwrap().to_owned();
        }
    };
    let mut cy = town.talk("Cy", &["--json"]);
    let cy_hears = Lines::of(&mut cy);
    assert_eq!(up(&cy_hears), "Cy");
    cy_hears.object("caught_up");
    // Another program of the same person, under another name.
    let mut other = town.chat("Cy", &["--json"]);
    other.env("CONF_NAME", "root").stdin(Stdio::piped());
    let mut other = Running::start(other);
    let other_hears = Lines::of(&mut other);
    assert_eq!(up(&other_hears), "Cy");
    for name in ["Cy", "Dee"] {
        cy.feed(format!("{{\"type\":\"rename\",\"name\":\"{name}\",\"id\":1}}\n").as_bytes());
        cy_hears.object("done");
        while name != "Cy" && other_hears.object("presence")["member"]["name"] != name {}
        drop(serve);
        serve = town.serve();
        assert_eq!([up(&cy_hears), up(&other_hears)], [name, name]);
    }
    drop(serve);
}

#[test]
fn what_makes_no_sense_is_answered_and_the_next_line_taken() {
    let mut town = Town::new();
    let _serve = town.serve();
    let mut ann = town.talk("Ann", &["--json"]);
    let heard = Lines::of(&mut ann);
    ann.feed(
        b"nonsense\n{\"type\":\"fly\",\"id\":9}\n{\"type\":\"message\",\"text\":\"x\",\"to\":\"Dan\"}\n",
    );
    ann.feed(&[&[b'x'; 600_000][..], b"\n{\"type\":\"message\",\"text\":\"still here\"}\n"].concat());
    let errors: Vec<_> = (0..4).map(|_| heard.object("error")).collect();
    let lines: Vec<_> = errors.iter().map(|error| error["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [1, 2, 3, 4], "{errors:?}");
    assert_eq!(errors[1]["id"], 9);
    assert_eq!(heard.object("message")["text"], "still here");
    assert_eq!(ann.wait(PATIENCE), 2);
    assert!(ann.stderr().contains("4 lines not carried out"), "{}", ann.stderr());
    let mut ann = town.talk("Ann", &["--json"]);
    ann.feed(b"{\"type\":\"message\",\"text\":\"x\",\"to\":\"Nobody\"}\n");
    assert_eq!(ann.wait(PATIENCE), 5, "0 is for what was acknowledged");
}

#[test]
fn who_is_here_as_a_table_and_as_an_object() {
    let mut town = Town::new();
    let _serve = town.serve();
    let mut bo = town.talk("Bo", &["--json"]);
    let heard = Lines::of(&mut bo);
    heard.object("caught_up");
    let (code, table, _) = town.ask("Ann", &["--who"]);
    let rows: Vec<&str> = table.lines().collect();
    assert!(code == 0 && rows.len() == 2 && rows[0].starts_with("NAME"), "{table}");
    assert!(rows[1].starts_with("Bo") && rows[1].contains("host") && !rows[1].contains("you"), "{table}");
    let (code, object, _) = town.ask("Ann", &["--who=json"]);
    let object: serde_json::Value = serde_json::from_str(&object).unwrap();
    assert_eq!((code, &object["members"][0]["name"]), (0, &"Bo".into()));
}

#[test]
fn a_reader_that_goes_away_is_a_normal_end() {
    let mut town = Town::new();
    let _serve = town.serve();
    let mut bo = town.chat("Bo", &["--listen"]).spawn().unwrap();
    let mut stdout = BufReader::new(bo.stdout.take().unwrap());
    while !town.ask("Cy", &["--who=json"]).1.contains("\"Bo\"") {}
    assert_eq!(town.ask("Ann", &["-m", "first"]).0, 0);
    let mut shown = String::new();
    stdout.read_line(&mut shown).unwrap();
    drop(stdout);
    assert!(shown.ends_with(" Ann: first\n"), "{shown}");
    assert_eq!(town.ask("Ann", &["-m", "second"]).0, 0);
    let ended = bo.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0));
}

#[test]
fn a_reader_that_goes_away_is_noticed_though_nothing_is_said() {
    let mut town = Town::new();
    let _serve = town.serve();
    let mut bo = town.chat("Bo", &["--json", "--listen"]).spawn().unwrap();
    let mut stdout = BufReader::new(bo.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("caught_up") {
        line.clear();
        stdout.read_line(&mut line).unwrap();
    }
    drop(stdout);
    let ended = bo.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0));
}

#[test]
fn an_export_has_as_many_messages_as_were_asked_for_and_the_topic_above_them() {
    let mut town = Town::new();
    let _serve = town.serve();
    let mut ann = town.talk("Ann", &["--json"]);
    ann.feed(b"{\"type\":\"topic\",\"text\":\"tea\"}\n");
    (0..5).for_each(|n| ann.feed(format!("{{\"type\":\"message\",\"text\":\"{n}\"}}\n").as_bytes()));
    assert_eq!(ann.wait(PATIENCE), 0);
    let (code, text, why) = town.ask("Bo", &["--export", "txt", "--history", "3"]);
    assert_eq!((code, text.lines().count()), (0, 4), "{text} {why}");
    assert!(text.starts_with("-- topic: tea\n") && text.ends_with(" Ann: 4\n"), "{text}");
    assert_eq!(town.ask("Bo", &["--export", "txt", "--history", "0"]).1, "-- topic: tea\n");
    let (_, text, _) = town.ask("Bo", &["--export", "json", "--history", "3"]);
    assert_eq!(text.lines().filter(|line| line.contains("\"type\":\"message\"")).count(), 3, "{text}");
}

#[test]
fn an_export_goes_back_to_the_first_message() {
    let mut town = Town::new();
    let _serve = town.serve();
    let mut ann = town.talk("Ann", &["--ack-timeout", "60s"]);
    // As many as the server takes at once are there at once; the rest is said slowly enough.
    let texts: Vec<String> = (0..40).map(|n| format!("{n} {}", "x".repeat(50))).collect();
    ann.feed((texts.join("\n") + "\n").as_bytes());
    assert_eq!(ann.wait(PATIENCE), 0, "{}", ann.stderr());
    let all = |history: &str| {
        let (code, text, why) = town.ask("Bo", &["--export", "txt", "--history", history]);
        assert_eq!(code, 0, "{why}");
        said(&text.lines().map(String::from).collect::<Vec<_>>())
    };
    assert_eq!(all("all"), texts);
    assert_eq!(all("1001"), texts);
    let (code, _, why) = town.ask("Bo", &["--history", "1001"]);
    assert!(code == 2 && why.contains("--export writes more"), "{why}");
}

#[test]
fn what_the_command_line_gets_wrong_is_told_by_the_program_in_its_name() {
    let mut town = Town::new();
    let _serve = town.serve();
    let (code, _, why) = town.ask("Ann", &["--histroy", "5"]);
    assert!(code == 2 && why.starts_with("conf-chat: unexpected argument"), "{why}");
    assert!(why.contains("Usage: conf-chat [OPTIONS]"), "{why}");
}

#[test]
fn a_room_with_a_password_is_entered_by_it_alone() {
    let mut town = Town::new();
    let serve = town.serve();
    let [right, wrong] = ["right", "wrong"].map(|name| town.path(name));
    write_secret(&right, "correct horse\n");
    write_secret(&wrong, "battery staple\n");
    let made = program("conf-serve", town.home.path())
        .args(["room", "create", "board", "--port", &serve.address.port().to_string(), "--password-file"])
        .arg(&right)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let room = format!("conf://{}/board", serve.address);
    let say =
        |file: &[&str]| town.ask("Ann", &[&["-m", "x", "--no-input", "--room", &room][..], file].concat());
    let (code, _, why) = say(&[]);
    assert!(code == 4 && why.contains("--password-file FILE"), "{code} {why}");
    assert_eq!(say(&["--password-file", wrong.to_str().unwrap()]).0, 4);
    assert_eq!(say(&["--password-file", "-"]).0, 2);
    assert_eq!(say(&["--password-file", "/nowhere"]).0, 9);
    let (code, _, why) = say(&["--password-file", right.to_str().unwrap()]);
    assert_eq!(code, 0, "{why}");
}

#[test]
fn a_signal_ends_it_in_order_and_its_code_says_so() {
    let mut town = Town::new();
    let _serve = town.serve();
    let mut ann = town.talk("Ann", &["--json"]);
    let heard = Lines::of(&mut ann);
    heard.object("caught_up");
    ann.feed(b"{\"type\":\"message\",\"text\":\"x\"}\n");
    heard.object("message");
    // Its stdin stays open, so that it is the signal that ends it.
    let stdin = ann.child.stdin.take();
    ann.signal(rustix::process::Signal::TERM);
    assert_eq!(ann.wait(Duration::from_secs(10)), 143);
    drop(stdin);
    assert!(heard.rest().iter().all(|line| !line.contains("error")));
}

#[test]
fn x01_closed_descriptors_are_no_reason_for_conf_chat_to_panic() {
    let program = env!("CARGO_BIN_EXE_conf-chat");
    for (shell, code) in [
        (format!("{program} --help | head -c 1 >/dev/null; exit 0"), 0),
        (format!("{program} --help >&-"), 0),
        (format!("{program} --room x 2>&- </dev/null"), 2),
        (format!("{program} --room conf://127.0.0.1:1/x <&- 2>/dev/null"), 3),
        (format!("{program} --room conf://127.0.0.1:1/x --who >&- 2>/dev/null"), 3),
    ] {
        let mut command = Command::new("sh");
        command.args(["-c", &shell]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{shell}: {said}");
        assert!(!said.contains("internal error"), "{shell}: {said}");
    }
}
