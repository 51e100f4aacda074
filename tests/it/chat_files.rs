//! Files inside conf-chat: offered, seen, fetched and sent, on a terminal and as JSON.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::programs::{PATIENCE, Running, program};
use crate::support::scene::{content, output};
use crate::support::talk::{Lines, Town, wait_for};
use crate::support::terminal::Terminal;
use serde_json::Value;

const MIB: usize = 1024 * 1024;

/// Ann at a terminal in a room.
fn ann(room: &str) -> Terminal {
    let ann = Terminal::run(room, "Ann", &[env!("CARGO_BIN_EXE_conf-chat")]);
    ann.wait_for("1 here");
    ann
}

/// One of the other programs, as Bo, in a directory of his.
fn bo(town: &Town, name: &str, room: &str, arguments: &[&str]) -> Command {
    let home = town.path("bo");
    fs::create_dir_all(&home).unwrap();
    let mut command = program(name, &home);
    command.args(arguments).env("CONF_ROOM", room).env("CONF_NAME", "Bo").current_dir(&home);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn file(town: &Town, name: &str, length: usize) -> Vec<u8> {
    let bytes = content(length as u64, length);
    let path = town.path("bo").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, &bytes).unwrap();
    bytes
}

fn md5(path: &std::path::Path) -> String {
    let mut md5sum = Command::new("md5sum");
    md5sum.arg(path);
    output(md5sum).1.split_once(' ').unwrap().0.to_owned()
}

/// The text of the whole screen in one line, so that it does not matter where it is wrapped.
fn words(screen: &vt100::Screen) -> String {
    let rows = screen.contents();
    // The column of members begins behind the last bar.
    let pane = |row: &str| row.rsplit_once('│').map_or(row, |(pane, _)| pane).trim().to_owned();
    rows.lines().map(pane).collect::<Vec<_>>().join(" ")
}

fn wait_for_words(terminal: &Terminal, text: &str) {
    terminal.wait(text, |screen| words(screen).contains(text));
}

#[test]
fn what_is_offered_is_seen_listed_and_fetched_without_touching_what_is_there() {
    let mut town = Town::new();
    let serve = town.serve();
    let mut ann = ann(&serve.room);
    let bytes = file(&town, "my report.bin", 3 * MIB / 2);
    let (code, _, said) = output(bo(&town, "conf-send", &serve.room, &["my report.bin"]));
    assert_eq!(code, 0, "{said}");
    wait_for_words(&ann, "Bo offers #1 \"my report.bin\", 1.5 MiB");
    wait_for_words(&ann, "/get 1 fetches it");
    ann.enter("/files");
    wait_for_words(&ann, "complete");
    ann.wait("the list", |screen| {
        screen
            .contents()
            .lines()
            .any(|row| row.contains("my report.bin") && row.contains("1.5 MiB") && row.contains("Bo"))
            || words(screen).contains("#1 my report.bin 1.5 MiB, Bo, complete")
    });
    fs::write(ann.path("my report.bin"), "mine").unwrap();
    ann.enter("/get my\\ rep");
    ann.press("\x15/get my\t");
    ann.wait_for("› /get my\\ report.bin");
    ann.press("\r");
    wait_for_words(&ann, "fetched #1 my report.bin: 1.5 MiB in my report (1).bin, MD5");
    assert_eq!(fs::read(ann.path("my report.bin")).unwrap(), b"mine");
    assert!(fs::read(ann.path("my report (1).bin")).unwrap() == bytes);
    wait_for_words(&ann, &md5(&ann.path("my report (1).bin")));
    // Into another directory, by number, and nothing else is left behind.
    ann.enter("/get 1 new\\ place/");
    wait_for_words(&ann, "in new place/my report.bin, MD5");
    assert!(fs::read(ann.path("new place/my report.bin")).unwrap() == bytes);
    assert_eq!(fs::read_dir(ann.path("")).unwrap().count(), 3);
    // What is there is not fetched once more.
    ann.enter("/get 1 new\\ place/");
    wait_for_words(&ann, "#1 my report.bin: everything is there already");
    ann.enter("/get 1");
    ann.wait("it said twice", |screen| words(screen).matches("everything is there already").count() == 2);
    assert_eq!(fs::read_dir(ann.path("new place")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(ann.path("")).unwrap().count(), 3);
    // What was received is not new for conf-recv either; the offer goes when its owner says so.
    let (code, _, said) = output(bo(&town, "conf-send", &serve.room, &["--withdraw", "1"]));
    assert_eq!(code, 0, "{said}");
    wait_for_words(&ann, "#1 \"my report.bin\" of Bo was withdrawn");
    ann.enter("/quit");
    assert_eq!(ann.end(), 0);
    assert!(ann.is_as_before());
}

#[test]
fn progress_is_shown_and_what_is_broken_off_goes_on() {
    let mut town = Town::new();
    let serve = town.serve();
    let mut ann = ann(&serve.room);
    let bytes = file(&town, "big.bin", 4 * MIB);
    let mut send = Running::start(bo(&town, "conf-send", &serve.room, &["--limit-rate", "1M", "big.bin"]));
    wait_for_words(&ann, "Bo offers #1 big.bin, 4.0 MiB");
    ann.enter("/get 1");
    ann.wait("progress", |screen| {
        screen
            .contents()
            .lines()
            .any(|row| row.contains("↓ #1 big.bin") && row.contains('%') && row.contains("/s"))
    });
    ann.enter("/cancel 1");
    wait_for_words(&ann, "#1 big.bin: broken off; /get 1 or conf-recv 1 goes on from there");
    ann.enter("/get 1");
    ann.wait("progress", |screen| screen.contents().contains("↓ #1 big.bin"));
    ann.enter("/quit");
    wait_for_words(&ann, "1 transfer is not done; once more leaves all the same");
    ann.enter("/quit");
    assert_eq!(ann.end(), 0);
    wait_for_words(&ann, "#1 big.bin: broken off");
    assert!(ann.is_as_before());
    assert!(ann.path("big.bin.part").exists() && !ann.path("big.bin").exists());
    assert_eq!(send.wait(PATIENCE), 0);
    // Another program goes on with it.
    let mut recv = bo(&town, "conf-recv", &serve.room, &["1", "--yes"]);
    recv.current_dir(ann.path(""));
    let (code, _, said) = output(recv);
    assert_eq!(code, 0, "{said}");
    assert!(fs::read(ann.path("big.bin")).unwrap() == bytes);
    assert_eq!(fs::read_dir(ann.path("")).unwrap().count(), 1);
}

#[test]
fn files_are_sent_from_the_conversation() {
    let mut town = Town::new();
    let serve = town.serve();
    let mut ann = ann(&serve.room);
    let bytes = content(7, MIB / 2);
    fs::write(ann.path("my notes.txt"), &bytes).unwrap();
    fs::create_dir(ann.path("photos")).unwrap();
    fs::write(ann.path("photos/a.jpg"), "a").unwrap();
    fs::write(ann.path("photos/b.jpg"), "b").unwrap();
    ann.press("/send my\t");
    ann.wait_for("› /send my\\ notes.txt");
    ann.press("\r");
    wait_for_words(&ann, "you offer #1 \"my notes.txt\", 512 KiB");
    wait_for_words(&ann, "sent #1 my notes.txt: 512 KiB, MD5");
    wait_for_words(&ann, &md5(&ann.path("my notes.txt")));
    let (code, _, said) = output(bo(&town, "conf-recv", &serve.room, &["1", "--yes", "-o", "got/"]));
    assert_eq!(code, 0, "{said}");
    assert!(fs::read(town.path("bo/got/my notes.txt")).unwrap() == bytes);
    wait_for_words(&ann, "1 member has all of your #1");
    ann.enter("/send photos/*.jpg");
    wait_for_words(&ann, "sent #2 a.jpg and b.jpg: 2 files, 2 B");
    ann.enter("/send nothing.here");
    wait_for_words(&ann, "nothing.here was not sent: cannot read nothing.here");
    ann.enter("/send @Bo photos");
    wait_for_words(&ann, "nobody here is called Bo");
    ann.press("\x15");
    ann.enter("/withdraw 1");
    wait_for_words(&ann, "your #1 \"my notes.txt\" was withdrawn");
    ann.enter("/quit");
    assert_eq!(ann.end(), 0);
}

#[test]
fn a_text_is_read_where_it_is_fetched_and_does_nothing_to_the_terminal() {
    let mut town = Town::new();
    let serve = town.serve();
    let mut ann = ann(&serve.room);
    let text = "line one\nline \x1b]0;title\x07two";
    let (code, _, said) = output(bo(&town, "conf-send", &serve.room, &["--text", text]));
    assert_eq!(code, 0, "{said}");
    wait_for_words(&ann, "Bo offers #1 \"line one\"");
    ann.enter("/get");
    wait_for_words(&ann, "#1 line one says: line one line ␛]0;title␇two");
    assert!(ann.glass.0.lock().unwrap().parser.callbacks().strange.is_empty());
    assert_eq!(fs::read_dir(ann.path("")).unwrap().count(), 0);
    let (code, out, said) = output(bo(&town, "conf-recv", &serve.room, &["1", "-o", "-"]));
    assert_eq!((code, out.as_str()), (0, text), "{said}");
}

#[test]
fn offers_and_transfers_are_objects_with_json() {
    let mut town = Town::new();
    let serve = town.serve();
    let room = format!("{}/main", serve.room.rsplit_once('/').unwrap().0);
    let mut chat = town.talk("Cy", &["--json"]);
    let heard = Lines::of(&mut chat);
    let listed = heard.object("offers");
    assert_eq!((&listed["offers"], &listed["id"]), (&Value::Array(Vec::new()), &Value::Null));
    let bytes = file(&town, "a.bin", 300_000);
    let (code, _, said) = output(bo(&town, "conf-send", &room, &["a.bin"]));
    assert_eq!(code, 0, "{said}");
    let offer = heard.object("offer");
    assert_eq!((&offer["event"], &offer["reason"]), (&"new".into(), &Value::Null));
    let about = &offer["offer"];
    assert_eq!(
        (&about["offer"], &about["title"], &about["from"]),
        (&1.into(), &"a.bin".into(), &"Bo".into())
    );
    assert_eq!((&about["own"], &about["size"]), (&false.into(), &300_000.into()));
    let next = |event: &str| loop {
        let object = heard.object("offer");
        if object["event"] == event {
            break object;
        }
    };
    if about["complete"] == false {
        assert_eq!(next("complete")["offer"]["complete"], true);
    }
    let down = town.path("down");
    fs::create_dir(&down).unwrap();
    let ask = serde_json::json!({"type": "get", "offer": "a.bin", "directory": down, "id": "g"});
    chat.feed(
        format!("{{\"type\":\"offers\",\"id\":1}}\n{ask}\n{{\"type\":\"get\",\"offer\":77,\"id\":2}}\n")
            .as_bytes(),
    );
    let listed = heard.object("offers");
    assert_eq!((&listed["offers"][0]["title"], &listed["id"]), (&"a.bin".into(), &1.into()));
    assert_eq!(heard.object("error")["id"], 2);
    let ended = |id: &str| loop {
        let moved = heard.object("transfer");
        assert_eq!(moved["id"], id);
        if moved["event"] == "end" {
            break moved;
        }
    };
    let end = ended("g");
    assert_eq!(
        (&end["exit"], &end["direction"], &end["offer"]),
        (&0.into(), &"receive".into(), &1.into()),
        "{end}"
    );
    assert_eq!(end["files"][0]["md5"], md5(&town.path("bo/a.bin")));
    assert!(fs::read(down.join("a.bin")).unwrap() == bytes);
    let ask = serde_json::json!({"type": "send", "paths": [down], "id": "s"});
    chat.feed(format!("{ask}\n").as_bytes());
    let end = ended("s");
    assert_eq!(
        (&end["exit"], &end["direction"], &end["title"]),
        (&0.into(), &"send".into(), &"down/".into()),
        "{end}"
    );
    chat.feed(b"{\"type\":\"withdraw\",\"offer\":2,\"id\":3}\n");
    let gone = next("gone");
    assert_eq!((&gone["reason"], &gone["offer"]["offer"]), (&"withdrawn".into(), &2.into()));
    assert_eq!(chat.wait(PATIENCE), 5, "nothing is offered as 77");
    assert!(chat.stderr().contains("1 line not carried out"), "{}", chat.stderr());
}

#[test]
fn what_is_asked_of_offers_at_once_waits_until_all_are_known() {
    const OFFERS: usize = 20;
    let mut town = Town::new();
    let serve = town.serve();
    let room = format!("{}/main", serve.room.rsplit_once('/').unwrap().0);
    for n in 1..=OFFERS {
        file(&town, &format!("{n}.sql"), 10);
        let (code, _, said) = output(bo(&town, "conf-send", &room, &[&format!("{n}.sql")]));
        assert_eq!(code, 0, "{said}");
    }
    // Whatever is asked first has its answer from the whole list.
    for (turn, what) in ["20.sql", "20", "19.sql", "18", "20.sql", "1"].into_iter().enumerate() {
        let down = town.path(&format!("down {turn}"));
        let mut chat = town.talk("Cy", &["--json"]);
        let get = serde_json::json!({"type": "get", "offer": what, "directory": down});
        chat.feed(format!("{get}\n{{\"type\":\"offers\",\"id\":1}}\n").as_bytes());
        assert_eq!(chat.wait(PATIENCE), 0, "{}", chat.stderr());
        let listed = Lines::of(&mut chat);
        while listed.object("offers")["id"] != 1 {}
        assert_eq!(fs::read_dir(&down).unwrap().count(), 1, "{what}");
        let mut chat = town.talk("Cy", &["--json"]);
        let listed = Lines::of(&mut chat);
        chat.feed(b"{\"type\":\"offers\",\"id\":1}\n");
        let answer = std::iter::repeat_with(|| listed.object("offers")).find(|told| told["id"] == 1).unwrap();
        assert_eq!(answer["offers"].as_array().unwrap().len(), OFFERS);
        assert_eq!(chat.wait(PATIENCE), 0);
    }
    for what in ["20.sql", "19"] {
        let mut chat = town.talk("bo", &["--json"]);
        chat.feed(format!("{{\"type\":\"withdraw\",\"offer\":\"{what}\",\"id\":1}}\n").as_bytes());
        assert_eq!(chat.wait(PATIENCE), 0, "{}", chat.stderr());
    }
    let (_, listed, _) = output(bo(&town, "conf-recv", &room, &["--list=json"]));
    assert!(listed.contains("\"18.sql\"") && !listed.contains("\"19.sql\""), "{listed}");
    assert!(!listed.contains("\"20.sql\""), "{listed}");
}

#[test]
fn who_has_taken_an_offer_back_is_told() {
    let mut town = Town::new();
    let serve = town.serve();
    let room = format!("{}/main", serve.room.rsplit_once('/').unwrap().0);
    let mut ann = town.talk("Ann", &["--json"]);
    let ann_hears = Lines::of(&mut ann);
    ann_hears.object("offers");
    let terminal = Terminal::run(&room, "Di", &[env!("CARGO_BIN_EXE_conf-chat")]);
    terminal.wait_for("2 here");
    for name in ["a.bin", "b.bin"] {
        file(&town, name, 10);
        assert_eq!(output(bo(&town, "conf-send", &room, &[name])).0, 0);
    }
    wait_for_words(&terminal, "Bo offers #2 b.bin");
    let gone = || loop {
        let offer = ann_hears.object("offer");
        if offer["event"] == "gone" {
            break offer;
        }
    };
    ann.feed(b"{\"type\":\"withdraw\",\"offer\":1,\"id\":1}\n");
    wait_for_words(&terminal, "Ann took back #1 a.bin of Bo");
    let told = gone();
    assert_eq!((&told["by"], &told["by_name"]), (&1.into(), &"Ann".into()), "{told}");
    assert_eq!(output(bo(&town, "conf-send", &room, &["--withdraw", "2"])).0, 0);
    wait_for_words(&terminal, "#2 b.bin of Bo was withdrawn");
    assert_eq!(gone()["by"], Value::Null);
}

#[test]
fn lines_tell_of_offers_on_stderr_and_what_was_not_fetched_is_how_it_ends() {
    let mut town = Town::new();
    let serve = town.serve();
    let room = format!("{}/main", serve.room.rsplit_once('/').unwrap().0);
    let log = town.path("chat.log");
    let mut cy = town.talk("Cy", &["--listen", "--log", log.to_str().unwrap()]);
    while !town.ask("Di", &["--who=json"]).1.contains("\"Cy\"") {}
    file(&town, "a.bin", 10);
    assert_eq!(output(bo(&town, "conf-send", &room, &["a.bin"])).0, 0);
    wait_for(&log, "Bo offers #1 a.bin");
    cy.signal(rustix::process::Signal::TERM);
    assert_eq!(cy.wait(PATIENCE), 143);
    let said = cy.stderr();
    assert!(said.contains(" Bo offers #1 a.bin, 10 B") && said.contains("conf-recv 1 fetches it"), "{said}");
    let mut chat = town.talk("Cy", &["--json"]);
    let heard = Lines::of(&mut chat);
    heard.object("offers");
    chat.feed(b"{\"type\":\"get\",\"offer\":1,\"directory\":\"/proc/nowhere\"}\n");
    loop {
        let moved = heard.object("transfer");
        if moved["event"] == "end" {
            assert_eq!(moved["exit"], 9, "{moved}");
            break;
        }
    }
    assert_eq!(chat.wait(PATIENCE), 9);
}
