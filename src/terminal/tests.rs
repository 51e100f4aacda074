//! Screens as text: what somebody at the terminal sees.

mod comfort;
mod deeds;
mod files;

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::*;
use crate::id::MemberId;
use crate::text;
use crate::time::Moment;

/// 22 November 2026, 09:00:00 UTC.
const NINE: f64 = 1_795_338_000.0;

fn at(seconds: f64) -> Now {
    Now { moment: Moment::from_micros(60_000_000 + (seconds * 1e6) as u64), wall: NINE + seconds }
}

fn person(id: u32, name: &str) -> Person {
    Person { own: name == "Ann", ..Person::new(MemberId(id), name, hue(name.as_bytes())) }
}

fn said(id: u32, name: &str, text: &str) -> Message {
    Message {
        seq: 1,
        from: Sender { member: MemberId(id), name: name.into(), hue: hue(name.as_bytes()) },
        to: None,
        mine: name == "Ann",
        own: None,
        sent: NINE,
        received: NINE,
        kind: Kind::Text,
        text: text::scrub_lines(text, usize::MAX),
    }
}

/// Ann in the room "standup" with Bo and 王小明.
fn meeting() -> Screen {
    let settings =
        Settings { room: "standup".into(), name: "Ann".into(), zone: TimeZone::UTC, theme: Theme::Indexed };
    let mut screen = Screen::new(settings);
    screen.handle_event(Event::Up { name: "Ann".into(), read: None }, at(0.0));
    let people = vec![person(1, "Ann"), person(2, "Bo"), person(3, "王小明")];
    screen.handle_event(Event::People(people), at(0.0));
    screen.handle_event(Event::CaughtUp, at(0.0));
    screen
}

fn say(screen: &mut Screen, id: u32, name: &str, text: &str) -> Vec<Action> {
    screen.handle_event(Event::Said(said(id, name, text)), at(0.0))
}

fn cells(screen: &mut Screen, width: u16, height: u16) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    screen.draw(&mut buffer, at(0.0));
    buffer
}

fn rows(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    let row = |cells: &[ratatui::buffer::Cell]| {
        let mut row = String::new();
        let mut covered = 0;
        for cell in cells {
            if covered == 0 {
                row.push_str(cell.symbol());
                covered = text::cluster_width(cell.symbol()).max(1);
            }
            covered -= 1;
        }
        row.trim_end().to_owned()
    };
    buffer.content.chunks(width.max(1)).map(row).collect()
}

fn shown(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
    rows(&cells(screen, width, height))
}

fn key(screen: &mut Screen, code: KeyCode, modifiers: KeyModifiers) -> Vec<Action> {
    let mut actions = screen.handle_key(KeyEvent::new(code, modifiers), at(1.0));
    // What is remembered for the next start has a test of its own.
    actions.retain(|action| !matches!(action, Action::Remember(_)));
    actions
}

fn press(screen: &mut Screen, code: KeyCode) -> Vec<Action> {
    key(screen, code, KeyModifiers::NONE)
}

fn type_in(screen: &mut Screen, text: &str) {
    for c in text.chars() {
        press(screen, KeyCode::Char(c));
    }
}

/// Types a line and sends it.
fn enter(screen: &mut Screen, text: &str) -> Vec<Action> {
    type_in(screen, text);
    press(screen, KeyCode::Enter)
}

fn contains(rows: &[String], part: &str) -> bool {
    rows.iter().any(|row| row.contains(part))
}

#[test]
fn s07_no_name_looks_like_the_badge_of_a_host() {
    let mut screen = meeting();
    screen.handle_event(Event::Person(Person { host: true, ..person(2, "Bo") }), at(0.0));
    screen.handle_event(Event::Person(person(4, "Cy host")), at(0.0));
    let mut buffer = Buffer::empty(Rect::new(0, 0, 100, 20));
    screen.draw(&mut buffer, at(0.0));
    // How the word behind a name is drawn, in letters that need no colour.
    let drawn = |name: &str| {
        let line = format!("● {name} host");
        let row = |y: u16| (0..100).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        let y = (0..20).find(|y| row(*y).contains(&line)).unwrap();
        let x = (0..100).rev().find(|x| buffer[(*x, y)].symbol() == "h").unwrap();
        [x - 1, x, x + 3].map(|x| buffer[(x, y)].modifier.contains(Modifier::REVERSED))
    };
    assert_eq!(drawn("Bo"), [false, true, true]);
    assert_eq!(drawn("Cy"), [false, false, false]);
}

#[test]
fn a_meeting_looks_like_this() {
    let mut screen = meeting();
    let mut bo = person(2, "Bo");
    (bo.camera, bo.microphone, bo.typing, bo.host) = (true, Some(true), true, true);
    screen.handle_event(Event::Person(bo), at(0.0));
    let mut ming = person(3, "王小明");
    (ming.screen, ming.watching, ming.away) = (true, true, Some("lunch".into()));
    screen.handle_event(Event::Person(ming), at(0.0));
    let mut topic = said(2, "Bo", "release of 0.2");
    topic.kind = Kind::Topic;
    screen.handle_event(Event::Said(topic), at(0.0));
    say(&mut screen, 2, "Bo", "good morning");
    say(&mut screen, 3, "王小明", "早上好 👋🏽 大家好");
    let mut wave = said(2, "Bo", "waves");
    wave.kind = Kind::Action;
    screen.handle_event(Event::Said(wave), at(0.0));
    let mut whisper = said(2, "Bo", "coffee, Ann?\nor tea?");
    whisper.to = Some("Ann".into());
    screen.handle_event(Event::Said(whisper), at(0.0));
    say(
        &mut screen,
        1,
        "Ann",
        "a long answer to all of you, which takes more than the one row that there is for it",
    );
    for (id, name) in [(4, "Cy"), (5, "Di"), (6, "Ed"), (7, "Flo"), (8, "Gus")] {
        screen.handle_event(Event::Person(person(id, name)), at(0.0));
    }
    let actions = enter(&mut screen, "see you at ten");
    let [Action::Post(draft), ..] = actions.as_slice() else { panic!("{actions:?}") };
    screen.handle_event(Event::Posted { draft: draft.clone(), n: 1 }, at(60.0));
    type_in(&mut screen, "what about 汉字");
    let screen = shown(&mut screen, 80, 21);
    let expected = include_str!("../../docs/chat.txt");
    if std::env::var_os("CONF_WRITE_SCREENSHOT").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/chat.txt"), screen.join("\n") + "\n")
            .unwrap();
    } else {
        assert_eq!(screen.join("\n") + "\n", expected, "\n{}", screen.join("\n"));
    }
}

#[test]
fn a_narrow_terminal_has_names_in_the_text_and_members_in_the_bar() {
    let mut screen = meeting();
    say(&mut screen, 2, "Bo", "good morning to all of you out there");
    say(&mut screen, 3, "王小明", "hi\nthere");
    screen.handle_event(Event::Person(person(4, "Cy")), at(0.0));
    let expected = " standup
──── Sunday, 22 November 2026 ─────
09:00 Bo› good morning to all of
│ you out there
09:00 王小明› hi
│ there
09:00 ── Cy joined
 4: Ann Bo Cy 王小明
›";
    assert_eq!(shown(&mut screen, 35, 9).join("\n"), expected);
}

#[test]
fn t03_a_line_feed_cannot_fake_another_sender() {
    let mut screen = meeting();
    say(&mut screen, 2, "Bo", "hi\n09:00        Ann │ I agree\r[Alice] ok");
    for (width, fake) in [(120, "│ 09:00        Ann │ I agree␍[Alice] ok"), (40, "│ 09:00        Ann │ I")]
    {
        let rows = shown(&mut screen, width, 20);
        let row = rows.iter().find(|row| row.contains("Ann │ I")).unwrap();
        assert!(row.trim_start().starts_with(fake), "{row}");
    }
}

#[test]
fn t01_t11_nothing_hidden_and_nothing_executed_reaches_the_terminal() {
    let hostile = "\x1b[2J\x1b]52;c;aGk=\x07\x1b]0;title\x07\x1b]8;;http://evil\x1b\\x\x1bP\x1bc\x1b[6n\u{9b}31m\u{9d}0;t\
        \u{202e}abc\u{200b}\u{feff}\u{ad}\u{e0041}";
    let mut screen = meeting();
    say(&mut screen, 2, "Bo", hostile);
    let buffer = cells(&mut screen, 200, 20);
    let mut out = Vec::new();
    paint(None, &buffer, Some((0, 0)), &mut out);
    let out = String::from_utf8(out).unwrap();
    let rest = strip_our_own(&out);
    assert!(
        !rest.contains(|c: char| c.is_control() || ('\u{200b}'..='\u{200f}').contains(&c) || c == '\u{202e}')
    );
    assert!(contains(&rows(&buffer), "␛[2J␛]52;c;aGk=␇"));
    assert!(contains(&rows(&buffer), "<U+202E>abc"));
}

/// What is left without the positions, styles and modes that the program itself writes.
fn strip_our_own(out: &str) -> String {
    let mut rest = String::new();
    let mut pieces = out.split("\x1b[");
    rest.push_str(pieces.next().unwrap());
    for piece in pieces {
        let end = piece.find(|c: char| !(c.is_ascii_digit() || c == ';' || c == '?')).unwrap();
        assert!(matches!(&piece[end..=end], "H" | "m" | "h" | "l" | "J"), "{piece}");
        rest.push_str(&piece[end + 1..]);
    }
    rest
}

#[test]
fn t05_no_width_and_no_size_breaks_the_layout() {
    let mut screen = meeting();
    let doubtful = "👩‍👩‍👧‍👦 ❤\u{fe0f} 🏳\u{fe0f}‍🌈 e\u{301} शक्ति مريم שלום 汉字 ｶﾞ 1\u{fe0f}\u{20e3}";
    for name in ["Bo", "👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧", "مريم"]
    {
        say(&mut screen, 2, name, &doubtful.repeat(5));
    }
    enter(&mut screen, "/who");
    enter(&mut screen, "/help");
    screen.handle_event(Event::Gap("7 older messages are not kept any more".into()), at(0.0));
    type_in(&mut screen, doubtful);
    for (width, height) in
        [(20, 5), (21, 6), (33, 8), (59, 24), (60, 24), (80, 24), (400, 100), (1, 1), (5, 2), (4, 3), (0, 0)]
    {
        for _ in 0..3 {
            let buffer = cells(&mut screen, width, height);
            let mut out = Vec::new();
            paint(None, &buffer, None, &mut out);
            for row in rows(&buffer) {
                assert!(text::width(&row) <= usize::from(width), "{width}: {row}");
            }
            screen.handle_wheel(-7);
        }
        screen.handle_wheel(1_000);
    }
    let rows = shown(&mut screen, 80, 24);
    assert!(
        rows[1..22].iter().all(|row| text::width(row.split_at(row.rfind('│').unwrap()).0) == 55),
        "{rows:#?}"
    );
}

#[test]
fn t07_pasted_text_never_sends_itself() {
    let mut screen = meeting();
    assert_eq!(screen.handle_paste("one\r\ntwo\r", at(1.0)), [Action::Typing(true)]);
    let later = at(2.0);
    let sent = screen.handle_key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE), later);
    let [Action::Post(draft), ..] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(draft.text, "one\ntwo");
    // A paste that ends itself: the rest comes as keys, at once.
    screen.handle_paste("harmless", at(3.0));
    for code in "/quit".chars().map(KeyCode::Char).chain([KeyCode::Enter]) {
        assert_eq!(screen.handle_key(KeyEvent::new(code, KeyModifiers::NONE), at(3.01)), []);
    }
    assert_eq!(screen.input.text(), "harmless/quit\n");
    screen.input.clear();
    screen.handle_paste("a\x1b[201~/quit\r", at(4.0));
    assert_eq!(screen.input.text(), "a/quit");
}

#[test]
fn t07_much_pasted_text_is_asked_about_and_too_much_refused() {
    let mut screen = meeting();
    screen.handle_paste("1\n2\n3\n4\n5\n6", at(1.0));
    assert!(contains(&shown(&mut screen, 80, 20), "paste 6 lines, 11 characters? y: yes, n: no"));
    screen.handle_key(KeyEvent::new(KeyCode::Char('n'), KeyModifiers::NONE), at(2.0));
    assert_eq!(screen.input.text(), "");
    screen.handle_paste("1\n2\n3\n4\n5\n6", at(3.0));
    screen.handle_key(KeyEvent::new(KeyCode::Char('y'), KeyModifiers::NONE), at(4.0));
    assert_eq!(screen.input.text(), "1\n2\n3\n4\n5\n6");
    screen.handle_paste(&"x".repeat(5_000_000), at(5.0));
    let rows = shown(&mut screen, 80, 20);
    let told =
        "4883 KiB are more than fits into a message (30 KiB): as a file it fits, /send PATH or conf-send";
    assert!(rows.join("").contains(told), "{rows:#?}");
    assert_eq!(screen.input.text(), "1\n2\n3\n4\n5\n6");
}

#[test]
fn t10_an_unknown_command_stays_where_it_is() {
    let mut screen = meeting();
    assert_eq!(enter(&mut screen, "/qiut bye"), []);
    assert!(contains(
        &shown(&mut screen, 80, 20),
        "nothing was sent: there is no /qiut. Did you mean /quit?"
    ));
    assert_eq!(screen.input.text(), "/qiut bye");
    screen.input.clear();
    assert_eq!(enter(&mut screen, "/quit"), [Action::Quit]);
}

#[test]
fn commands_become_actions() {
    let mut screen = meeting();
    let text = |text: &str| text.to_owned();
    assert_eq!(enter(&mut screen, "/nick Zoë"), [Action::Rename(text("Zoë"))]);
    assert_eq!(enter(&mut screen, "/away lunch"), [Action::Away(Some(text("lunch")))]);
    assert_eq!(enter(&mut screen, "/back"), [Action::Away(None)]);
    assert_eq!(enter(&mut screen, "/lock"), [Action::Moderate(Command::Lock, None)]);
    assert_eq!(enter(&mut screen, "/kick b"), [Action::Moderate(Command::Kick, Some(MemberId(2)))]);
    assert_eq!(enter(&mut screen, "/stats"), [Action::Statistics]);
    let draft = |kind, to: Option<(u32, &str)>, said: &str| {
        let to = to.map(|(id, name)| (MemberId(id), name.to_owned()));
        Action::Post(Draft { kind, to, text: said.to_owned() })
    };
    assert_eq!(enter(&mut screen, "/msg bo hi there"), [draft(Kind::Text, Some((2, "Bo")), "hi there")]);
    assert_eq!(enter(&mut screen, "/me waves"), [draft(Kind::Action, None, "waves")]);
    assert_eq!(enter(&mut screen, "/topic tea"), [draft(Kind::Topic, None, "tea")]);
    assert_eq!(enter(&mut screen, "//quit")[0], draft(Kind::Text, None, "/quit"));
    for (wrong, why) in [
        ("/msg Zed hi", "nobody here is called Zed. /msg NICK TEXT; Tab completes"),
        ("/msg", "whom do you mean? /msg NICK TEXT"),
        ("/kick", "whom do you mean? /kick NICK"),
        ("/get 9", "nothing called 9 is offered; /files lists what is"),
        ("/get", "which one? /get OFFER..."),
        ("/send", "what? /send [@NICK] PATH..."),
        ("/send \"a", "a quote is not closed"),
        ("/send @Zed a", "nobody here is called Zed"),
        ("/cancel", "nothing is on its way"),
        ("/withdraw", "which offer do you mean?; /withdraw OFFER"),
    ] {
        assert_eq!(enter(&mut screen, wrong), []);
        assert!(contains(&shown(&mut screen, 80, 20), why), "{wrong}");
        screen.input.clear();
    }
}

#[test]
fn t13_nobody_can_look_like_the_program() {
    let mut screen = meeting();
    say(&mut screen, 2, "──", "Bo joined");
    screen.handle_event(Event::Notice("this is the program".into()), at(0.0));
    let rows = shown(&mut screen, 80, 20);
    assert!(contains(&rows, "\"──\" │ Bo joined"), "{rows:#?}");
    assert!(contains(&rows, " ──   this is the program"), "{rows:#?}");
}

#[test]
fn t15_being_named_rings_at_most_once_in_two_seconds() {
    let mut screen = meeting();
    let mut mentioned = |text: &str, seconds: f64| {
        !screen.handle_event(Event::Said(said(2, "Bo", text)), at(seconds)).is_empty()
    };
    assert!(mentioned("hello ann!", 0.0));
    assert!(!mentioned("ann ann ann", 1.9));
    assert!(mentioned("@Ann", 2.1));
    assert!(!mentioned("Annette and Hannah", 9.0));
    let rings = (0..10_000).filter(|n| mentioned("Ann", 20.0 + f64::from(*n) / 1_000.0)).count();
    assert_eq!(rings, 5);
}

#[test]
fn t17_what_is_not_sent_does_not_look_sent() {
    let mut screen = meeting();
    let Action::Post(draft) = enter(&mut screen, "first")[0].clone() else { panic!() };
    screen.handle_event(Event::Posted { draft, n: 1 }, at(0.0));
    let buffer = cells(&mut screen, 80, 20);
    let row = rows(&buffer).iter().position(|row| row.contains("you … first")).unwrap() as u16;
    let x = rows(&buffer)[row as usize].find("first").unwrap() as u16 - 4;
    assert!(buffer[(x, row)].modifier.contains(Modifier::DIM));
    let mut own = said(1, "Ann", "first");
    own.own = Some(1);
    screen.handle_event(Event::Said(own), at(0.0));
    let after = shown(&mut screen, 80, 20);
    assert!(contains(&after, "Ann │ first") && !contains(&after, "…"), "{after:#?}");
    let Action::Post(draft) = enter(&mut screen, "second")[0].clone() else { panic!() };
    screen.handle_event(Event::Posted { draft, n: 2 }, at(0.0));
    screen.handle_event(Event::Unsent { n: 2, why: "you are muted".into() }, at(0.0));
    let after = shown(&mut screen, 80, 20);
    assert!(contains(&after, "you ✗ second") && contains(&after, "(not sent: you are muted)"), "{after:#?}");
    let Action::Post(draft) = enter(&mut screen, "third")[0].clone() else { panic!() };
    let why = "10,000 messages wait for the network".into();
    screen.handle_event(Event::NotPosted { draft, why }, at(0.0));
    assert_eq!(screen.input.text(), "third");
    assert!(contains(&shown(&mut screen, 120, 20), "not sent: 10,000 messages wait for the network"));
}

#[test]
fn t24_a_wrong_clock_is_noted() {
    let mut screen = meeting();
    let mut late = said(2, "Bo", "hi");
    late.sent += 3.0 * 3600.0;
    screen.handle_event(Event::Said(late), at(0.0));
    assert!(contains(&shown(&mut screen, 120, 20), "Bo │ hi (written at 12:00 by the sender's clock)"));
    for sent in [f64::NAN, f64::INFINITY, -1e300, 1e300] {
        let mut strange = said(2, "Bo", "hi");
        (strange.sent, strange.received) = (sent, sent);
        screen.handle_event(Event::Said(strange), at(0.0));
    }
    shown(&mut screen, 80, 20);
}

#[test]
fn days_are_those_of_the_place() {
    let settings = Settings {
        room: "r".into(),
        name: "Ann".into(),
        zone: TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(),
        theme: Theme::Plain,
    };
    let mut screen = Screen::new(settings);
    for hours in [13.9, 14.1] {
        let mut message = said(2, "Bo", &format!("after {hours} hours"));
        message.received = NINE + hours * 3600.0;
        message.sent = message.received;
        screen.handle_event(Event::Said(message), at(0.0));
    }
    let rows = shown(&mut screen, 50, 10);
    let day = rows.iter().position(|row| row.contains("Monday, 23 November 2026")).unwrap();
    assert!(rows[day - 1].starts_with("23:54") && rows[day + 1].starts_with("00:06"), "{rows:#?}");
}

#[test]
fn what_came_while_nobody_looked_is_marked() {
    let mut screen = meeting();
    say(&mut screen, 2, "Bo", "read");
    screen.handle_focus(false);
    say(&mut screen, 2, "Bo", "unread");
    screen.handle_focus(true);
    let rows = shown(&mut screen, 80, 20);
    let mark = rows.iter().position(|row| row.contains("─ new ─")).unwrap();
    assert!(rows[mark - 1].contains("│ read") && rows[mark + 1].contains("│ unread"), "{rows:#?}");
    enter(&mut screen, "seen");
    assert!(!contains(&shown(&mut screen, 80, 20), "─ new ─"));
}

#[test]
fn scrolled_back_the_view_stays_and_counts_what_comes() {
    let mut screen = meeting();
    (0..50).for_each(|n| drop(say(&mut screen, 2, "Bo", &format!("message {n}"))));
    shown(&mut screen, 80, 20);
    press(&mut screen, KeyCode::PageUp);
    let before = shown(&mut screen, 80, 20);
    assert!(!contains(&before, "message 49") && contains(&before, "message 33"), "{before:#?}");
    say(&mut screen, 2, "Bo", "newest");
    let after = shown(&mut screen, 80, 20);
    assert_eq!(before[1..18], after[1..18]);
    assert!(contains(&after, "1 new message below, End returns"));
    press(&mut screen, KeyCode::End);
    assert!(contains(&shown(&mut screen, 80, 20), "newest"));
}

#[test]
fn members_come_and_go_in_one_line_and_reconnecting_is_neither() {
    let mut screen = meeting();
    for (id, name) in [(4, "Cy"), (5, "Di"), (6, "Ed"), (7, "Flo")] {
        screen.handle_event(Event::Person(person(id, name)), at(0.0));
    }
    screen.handle_event(Event::Left(MemberId(2)), at(0.0));
    let rows = shown(&mut screen, 100, 20);
    assert!(contains(&rows, "Cy, Di and 2 others joined; Bo left"), "{rows:#?}");
    let mut broken = person(3, "王小明");
    broken.reconnecting = true;
    screen.handle_event(Event::Person(broken), at(0.0));
    let rows = shown(&mut screen, 100, 20);
    assert!(
        contains(&rows, "◌ 王小明") && contains(&rows, "reconnecting") && !contains(&rows, "王小明 left")
    );
    // The server forgot the room: everybody has a new number.
    say(&mut screen, 3, "王小明", "where is everybody?");
    let people = vec![person(11, "Ann"), person(12, "王小明"), person(13, "Zed")];
    screen.handle_event(Event::People(people), at(0.0));
    let rows = shown(&mut screen, 100, 20);
    assert!(contains(&rows, "Zed joined") && !contains(&rows, "王小明 joined"), "{rows:#?}");
    // Cy comes back a little later, the others do not.
    screen.handle_event(Event::Person(person(14, "Cy")), at(2.0));
    screen.tick(at(14.0));
    let rows = shown(&mut screen, 100, 20);
    assert!(contains(&rows, "Zed joined") && !contains(&rows, "Zed and Cy") && !contains(&rows, "Flo left"));
    screen.tick(at(16.0));
    let rows = shown(&mut screen, 100, 20);
    assert!(contains(&rows, "Di, Ed and Flo left") && !contains(&rows, "Cy left"), "{rows:#?}");
}

#[test]
fn changes_of_members_are_told() {
    let mut screen = meeting();
    let mut bo = person(2, "Bea");
    (bo.host, bo.muted) = (true, true);
    screen.handle_event(Event::Person(bo), at(0.0));
    let rows = shown(&mut screen, 80, 20);
    for part in ["Bo is now called Bea", "Bea is a host now", "Bea was muted by a host"] {
        assert!(contains(&rows, part), "{rows:#?}");
    }
    screen.handle_event(Event::About { locked: true, sent_away: Vec::new() }, at(0.0));
    assert!(contains(&shown(&mut screen, 80, 20), "standup (locked)"));
}

#[test]
fn who_shows_fingerprints() {
    let mut screen = meeting();
    let mut bo = person(2, "Bo");
    bo.fingerprint = Some("3f2a-99c1-07be-44d0".into());
    (bo.since, bo.camera) = (NINE, true);
    screen.handle_event(Event::Person(bo), at(0.0));
    enter(&mut screen, "/who");
    let rows = shown(&mut screen, 100, 20);
    assert!(contains(&rows, "● Bo [3f2a-99c1-07be-44d0] since 09:00, camera"), "{rows:#?}");
    assert!(contains(&rows, "● Ann [guest without a key] you"));
}

#[test]
fn what_is_searched_is_found_from_the_newest_on() {
    let mut screen = meeting();
    for n in 0..100 {
        say(&mut screen, 2, "Bo", &format!("{} {n}", if n % 40 == 7 { "Needle" } else { "hay" }));
    }
    shown(&mut screen, 80, 20);
    enter(&mut screen, "/search needle");
    let rows = shown(&mut screen, 80, 20);
    assert!(contains(&rows, "Needle 87") && contains(&rows, "1 of 3 with \"needle\""), "{rows:#?}");
    enter(&mut screen, "/search");
    assert!(contains(&shown(&mut screen, 80, 20), "Needle 47"));
    enter(&mut screen, "/search");
    enter(&mut screen, "/search");
    assert!(contains(&shown(&mut screen, 80, 20), "no older message"));
    key(&mut screen, KeyCode::Char('s'), KeyModifiers::CONTROL);
    let buffer = cells(&mut screen, 80, 20);
    assert!(contains(&self::rows(&buffer), "Needle 47") && contains(&self::rows(&buffer), "2 of 3 with"));
    // The one that was found is told from the others.
    let style = |text: &str| {
        let y = self::rows(&buffer).iter().position(|row| row.contains(text)).unwrap() as u16;
        let x = self::rows(&buffer)[usize::from(y)].split(text).next().unwrap().chars().count() as u16;
        buffer[(x, y)].modifier
    };
    assert!(style("Needle 47").contains(Modifier::REVERSED));
    key(&mut screen, KeyCode::Char('r'), KeyModifiers::CONTROL);
    assert!(contains(&shown(&mut screen, 80, 20), "Needle 7"));
    press(&mut screen, KeyCode::Esc);
    assert!(contains(&shown(&mut screen, 80, 20), "hay 99"));
}

#[test]
fn typing_is_told_once_and_ends_by_itself() {
    let mut screen = meeting();
    assert_eq!(press(&mut screen, KeyCode::Char('h')), [Action::Typing(true)]);
    assert_eq!(press(&mut screen, KeyCode::Char('i')), []);
    assert_eq!(screen.tick(at(3.0)), []);
    assert_eq!(screen.tick(at(7.0)), [Action::Typing(false)]);
    assert_eq!(press(&mut screen, KeyCode::Char('!')), [Action::Typing(true)]);
    assert!(press(&mut screen, KeyCode::Enter).contains(&Action::Typing(false)));
    type_in(&mut screen, "/quit");
    assert_eq!(screen.tick(at(99.0)), []);
}

#[test]
fn the_cursor_stands_behind_what_was_typed() {
    let mut screen = meeting();
    type_in(&mut screen, "a汉👩‍👩‍👧e\u{301}");
    let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
    assert_eq!(screen.draw(&mut buffer, at(0.0)), Some((8, 23)));
    key(&mut screen, KeyCode::Char('j'), KeyModifiers::CONTROL);
    key(&mut screen, KeyCode::Enter, KeyModifiers::ALT);
    type_in(&mut screen, "x");
    assert_eq!(screen.draw(&mut buffer, at(0.0)), Some((3, 23)));
    assert!(rows(&buffer)[21].contains("› a汉👩‍👩‍👧e\u{301}"));
    type_in(&mut screen, &"long ".repeat(1_000));
    let cursor = screen.draw(&mut buffer, at(0.0)).unwrap();
    assert_eq!(cursor.1, 23);
}

#[test]
fn without_a_connection_it_says_so_and_when_it_tries_again() {
    let mut screen = meeting();
    let retry = at(0.0).moment + Duration::from_millis(2_500);
    screen.handle_event(Event::Down { why: "the server closed the connection".into(), retry }, at(0.0));
    assert!(contains(
        &shown(&mut screen, 90, 20),
        "not connected, next try in 3 s; what you say waits: the server closed the connection"
    ));
}

#[test]
fn without_colours_there_are_none() {
    let settings = Settings {
        room: "r".into(),
        name: "Ann".into(),
        zone: TimeZone::UTC,
        theme: Theme::new(true, "xterm-256color", "truecolor"),
    };
    let mut screen = Screen::new(settings);
    screen.handle_event(Event::People(vec![person(1, "Ann"), person(2, "Bo")]), at(0.0));
    say(&mut screen, 2, "Bo", "hello Ann");
    screen.handle_event(Event::Warning("wrong".into()), at(0.0));
    let buffer = cells(&mut screen, 80, 20);
    assert!(buffer.content.iter().all(|cell| cell.fg == ratatui::style::Color::Reset));
    assert_eq!(Theme::new(false, "linux", ""), Theme::Basic);
}
