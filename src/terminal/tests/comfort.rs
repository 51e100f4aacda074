//! What makes it usable for hours: the mark of the unread, lists that can be read, views for copying.

use super::*;

/// Says something as message `seq`.
fn say_as(screen: &mut Screen, seq: u64, text: &str, seconds: f64) {
    screen.handle_event(Event::Said(Message { seq, ..said(2, "Bo", text) }), at(seconds));
}

fn mark(rows: &[String]) -> Option<usize> {
    rows.iter().position(|row| row.contains("─ new ─"))
}

#[test]
fn where_the_terminal_tells_nothing_of_its_focus_the_mark_stands_behind_the_last_key() {
    let mut screen = meeting();
    say_as(&mut screen, 0, "seen", 1.0);
    screen.handle_key(KeyEvent::new(KeyCode::Char('x'), KeyModifiers::NONE), at(100.0));
    say_as(&mut screen, 1, "first unseen", 101.0);
    assert_eq!(mark(&shown(&mut screen, 80, 20)), None, "somebody may be looking");
    say_as(&mut screen, 2, "second unseen", 102.0);
    screen.tick(at(111.0));
    let rows = shown(&mut screen, 80, 20);
    let at_row = mark(&rows).unwrap();
    assert!(rows[at_row + 1].contains("first unseen"), "{rows:#?}");
    assert_eq!(screen.read(), 0);
    // Back again: it stays where it is until something new comes while nobody looks.
    screen.handle_key(KeyEvent::new(KeyCode::Left, KeyModifiers::NONE), at(200.0));
    assert!(mark(&shown(&mut screen, 80, 20)).is_some());
    assert_eq!(screen.read(), 2);
    say_as(&mut screen, 3, "third unseen", 300.0);
    let rows = shown(&mut screen, 80, 20);
    assert!(rows[mark(&rows).unwrap() + 1].contains("third unseen"), "{rows:#?}");
}

#[test]
fn what_was_not_read_before_the_last_start_is_marked() {
    let settings =
        Settings { room: "standup".into(), name: "Ann".into(), zone: TimeZone::UTC, theme: Theme::Plain };
    let mut screen = Screen::new(settings);
    screen.handle_event(Event::Up { name: "Ann".into(), read: Some(7) }, at(0.0));
    for seq in 6..10 {
        say_as(&mut screen, seq, &format!("message {seq}"), 0.0);
    }
    screen.handle_event(Event::CaughtUp, at(0.0));
    let rows = shown(&mut screen, 80, 20);
    let row = mark(&rows).unwrap();
    assert!(rows[row - 1].contains("message 7") && rows[row + 1].contains("message 8"), "{rows:#?}");
    assert_eq!(screen.read(), 7);
    press(&mut screen, KeyCode::Left);
    assert_eq!(screen.read(), 9);
}

#[test]
fn what_waited_for_a_connection_accuses_no_clock() {
    let mut screen = meeting();
    let mut late = said(2, "Bo", "kept for ten minutes");
    late.sent -= 600.0;
    screen.handle_event(Event::Said(late), at(0.0));
    let mut old = said(2, "Bo", "kept over night");
    old.sent -= 12.0 * 3600.0;
    screen.handle_event(Event::Said(old), at(0.0));
    let rows = shown(&mut screen, 120, 20);
    assert!(contains(&rows, "kept for ten minutes"), "{rows:#?}");
    assert!(!contains(&rows, "minutes (written") && !contains(&rows, "clock"), "{rows:#?}");
    assert!(contains(&rows, "kept over night (written 21 November 2026 at 21:00)"), "{rows:#?}");
}

#[test]
fn while_there_is_no_connection_nobody_is_said_to_be_here() {
    let mut screen = meeting();
    let retry = at(0.0).moment + Duration::from_secs(2);
    screen.handle_event(Event::Down { why: "connection refused".into(), retry }, at(0.0));
    let rows = shown(&mut screen, 90, 20);
    assert!(
        contains(&rows, "3 when last seen") && contains(&rows, "◌ Bo") && !contains(&rows, "●"),
        "{rows:#?}"
    );
    assert!(contains(&rows, "not connected, next try in 2 s; what you say waits: connection refused"));
    assert_eq!(enter(&mut screen, "/lock"), []);
    assert!(contains(&shown(&mut screen, 90, 20), "not connected: /lock was not done"));
    screen.handle_event(Event::Up { name: "Ann".into(), read: None }, at(0.0));
    assert!(!contains(&shown(&mut screen, 90, 20), "/lock was not done"));
    screen.handle_event(Event::Down { why: "connection refused".into(), retry }, at(0.0));
    screen.input.clear();
    assert_eq!(enter(&mut screen, "/nick Zoë"), [Action::Rename("Zoë".into())]);
    assert!(contains(&shown(&mut screen, 90, 20), "not connected: you are called Zoë when the"));
}

#[test]
fn who_took_another_name_meanwhile_has_not_left() {
    let mut screen = meeting();
    let keyed = |id: u32, name: &str, key: &str| Person { fingerprint: Some(key.into()), ..person(id, name) };
    screen.handle_event(Event::People(vec![person(1, "Ann"), keyed(2, "Bob", "b")]), at(0.0));
    let retry = at(1.0).moment;
    screen.handle_event(Event::Down { why: "gone".into(), retry }, at(0.0));
    screen.handle_event(Event::Up { name: "Ann".into(), read: None }, at(1.0));
    screen.handle_event(Event::People(vec![person(1, "Ann")]), at(1.0));
    screen.handle_event(Event::Person(keyed(9, "Bobby", "b")), at(2.0));
    screen.tick(at(60.0));
    let rows = shown(&mut screen, 90, 20);
    assert!(contains(&rows, "Bob is now called Bobby"), "{rows:#?}");
    assert!(!contains(&rows, "Bobby joined") && !contains(&rows, "Bob left"), "{rows:#?}");
    // Another one who takes a name that was somebody's is somebody else.
    screen.handle_event(Event::People(vec![person(1, "Ann"), keyed(9, "Bobby", "z")]), at(61.0));
    assert!(contains(&shown(&mut screen, 90, 20), "Bobby joined"));
}

#[test]
fn a_name_that_is_taken_and_being_away_are_told() {
    let mut screen = meeting();
    enter(&mut screen, "/nick Bo");
    screen.handle_event(Event::Person(Person { own: true, ..person(1, "Bo#2") }), at(0.0));
    assert!(contains(
        &shown(&mut screen, 120, 20),
        "you are now called Bo#2: somebody else here is called Bo"
    ));
    enter(&mut screen, "/nick Bo");
    screen.handle_event(Event::Renamed, at(0.0));
    assert!(contains(
        &shown(&mut screen, 120, 20),
        "you are still called Bo#2: somebody else here is called Bo"
    ));
    let away = |away: Option<&str>| Person { own: true, away: away.map(Into::into), ..person(1, "Bo#2") };
    screen.handle_event(Event::Person(away(Some("lunch"))), at(0.0));
    screen.handle_event(Event::Person(away(None)), at(0.0));
    let rows = shown(&mut screen, 120, 20);
    assert!(
        contains(&rows, "you are away: lunch; /back ends it") && contains(&rows, "you are back"),
        "{rows:#?}"
    );
}

#[test]
fn sentences_for_the_person_are_shown_to_their_end() {
    let mut screen = meeting();
    enter(&mut screen, "/frobnicate");
    for (width, height) in [(80, 24), (40, 24), (30, 20)] {
        let rows = shown(&mut screen, width, height);
        let all = rows.iter().map(|row| row.trim()).collect::<Vec<_>>().join(" ");
        assert!(all.contains("nothing was sent: there is no /frobnicate."), "{rows:#?}");
        assert!(all.contains("// says a text that begins with /"), "{rows:#?}");
        assert_eq!(rows.last().unwrap(), "› /frobnicate");
    }
}

#[test]
fn help_is_read_from_its_first_line_and_its_columns_stay_columns() {
    for (width, height) in [(80, 24), (120, 24), (50, 16)] {
        let mut screen = meeting();
        shown(&mut screen, width, height);
        enter(&mut screen, "/help");
        let rows = shown(&mut screen, width, height);
        assert!(rows[1].contains("/help") || rows[2].contains("/help"), "{rows:#?}");
        let text = |row: &String| row.split('│').next().unwrap_or_default().trim_end().to_owned();
        let begins = |row: &String| text(row).trim_start().starts_with("09:00") || text(row).contains(" /");
        let behind: Vec<&String> = rows[2..].iter().filter(|row| row.contains("share")).collect();
        assert!(!behind.is_empty() && begins(&rows[1]), "{rows:#?}");
        press(&mut screen, KeyCode::End);
        assert!(contains(&shown(&mut screen, width, height), "leave"));
    }
}

#[test]
fn members_can_be_hidden_and_the_bare_view_holds_nothing_but_what_is_said() {
    let mut screen = meeting();
    say(
        &mut screen,
        2,
        "Bo",
        "a long line that goes on and on until it needs another row of an ordinary terminal, as this one does",
    );
    let alt = |screen: &mut Screen, letter| key(screen, KeyCode::Char(letter), KeyModifiers::ALT);
    assert!(contains(&shown(&mut screen, 80, 20), "│● Ann"));
    alt(&mut screen, 'm');
    let rows = shown(&mut screen, 80, 20);
    assert!(!contains(&rows, "● Ann") && contains(&rows, "3: Ann Bo 王小明"), "{rows:#?}");
    alt(&mut screen, 'm');
    alt(&mut screen, 'l');
    let rows = shown(&mut screen, 80, 20);
    let text = rows[..18].join("\n");
    assert!(
        text.contains("09:00 Bo› a long line") && !text.contains('│') && !text.contains("standup"),
        "{rows:#?}"
    );
    alt(&mut screen, 'l');
    assert!(contains(&shown(&mut screen, 80, 20), "│● Ann"));
}

#[test]
fn signs_stand_apart_from_names_where_these_have_no_column() {
    let mut screen = meeting();
    for kind in [Kind::Topic, Kind::Action, Kind::Text] {
        screen.handle_event(Event::Said(Message { kind, ..said(2, "Bo", "hallo") }), at(0.0));
    }
    let rows = shown(&mut screen, 40, 12);
    for row in ["09:00 Bo = hallo", "09:00 Bo * hallo", "09:00 Bo› hallo"] {
        assert!(contains(&rows, row), "{rows:#?}");
    }
    // No column of members where it would leave less room than there is without.
    assert!(!contains(&shown(&mut screen, 75, 12), "│● Ann"));
}

#[test]
fn clear_and_ignore() {
    let mut screen = meeting();
    say(&mut screen, 2, "Bo", "before");
    enter(&mut screen, "/clear");
    assert!(!contains(&shown(&mut screen, 80, 20), "before"));
    enter(&mut screen, "/ignore bo");
    assert_eq!(say(&mut screen, 2, "Bo", "Ann, Ann, Ann"), [], "who is ignored rings for nobody");
    say(&mut screen, 3, "王小明", "heard");
    let rows = shown(&mut screen, 80, 20);
    assert!(contains(&rows, "heard") && !contains(&rows, "Ann, Ann"), "{rows:#?}");
    enter(&mut screen, "/ignore Bo");
    say(&mut screen, 2, "Bo", "back again");
    assert!(contains(&shown(&mut screen, 80, 20), "back again"));
    assert_eq!(enter(&mut screen, "/ignore Ann"), []);
    assert!(contains(&shown(&mut screen, 80, 20), "that is you"));
}

#[test]
fn what_an_earlier_program_said_and_the_server_had_already_waits_no_more() {
    let mut screen = meeting();
    let draft = Draft { kind: Kind::Text, to: None, text: "from before".into() };
    screen.handle_event(Event::Posted { draft, n: 4 }, at(0.0));
    assert_eq!(screen.unsent(), ["from before"]);
    screen.handle_event(Event::Relayed(4), at(1.0));
    assert!(screen.unsent().is_empty());
    screen.tick(at(5.0));
    say(&mut screen, 2, "Bo", "later");
    let rows = shown(&mut screen, 80, 20);
    let place = |text: &str| rows.iter().position(|row| row.contains(text)).unwrap();
    assert!(place("from before") < place("later"), "{rows:#?}");
}

#[test]
fn what_is_older_is_asked_for_at_the_top_and_stands_above() {
    let mut screen = meeting();
    for seq in 100..105 {
        say_as(&mut screen, seq, &format!("message {seq}"), 0.0);
    }
    shown(&mut screen, 80, 20);
    assert_eq!(press(&mut screen, KeyCode::PageUp), [Action::Older(100)]);
    assert_eq!(press(&mut screen, KeyCode::PageUp), [], "they are on their way");
    let yesterday = |seq: u64| Message {
        seq,
        received: NINE - 86_400.0,
        sent: NINE - 86_400.0,
        ..said(2, "Bo", &format!("older {seq}"))
    };
    let today = Message { seq: 99, ..said(2, "Bo", "older 99") };
    screen.handle_event(Event::Older(vec![yesterday(97), yesterday(98), today]), at(0.0));
    let rows = shown(&mut screen, 80, 20);
    let place = |text: &str| rows.iter().position(|row| row.contains(text)).unwrap();
    let order =
        ["Saturday, 21 November", "older 97", "older 98", "Sunday, 22 November", "older 99", "message 100"];
    assert!(order.map(place).is_sorted(), "{rows:#?}");
    assert_eq!(rows.iter().filter(|row| row.contains("Sunday")).count(), 1, "{rows:#?}");
    assert_eq!(screen.handle_wheel(-3), [Action::Older(97)]);
    screen.handle_event(Event::Older(Vec::new()), at(0.0));
    assert_eq!(press(&mut screen, KeyCode::PageUp), []);
    assert!(contains(&shown(&mut screen, 80, 20), "these are the oldest messages that the server keeps"));
}

#[test]
fn what_was_sent_or_carried_out_is_remembered_for_the_next_start() {
    let mut screen = meeting();
    let remembered = |screen: &mut Screen, text: &str| {
        screen.handle_paste(text, at(0.0));
        let actions = screen.handle_key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE), at(1.0));
        let mut typed = actions.into_iter().filter_map(|action| match action {
            Action::Remember(typed) => Some(typed),
            _ => None,
        });
        typed.next()
    };
    for text in ["hello", "two\nlines", "/away tea", "//not a command"] {
        assert_eq!(remembered(&mut screen, text).as_deref(), Some(text));
    }
    // What is for one person only, what was not carried out, and what was taken back.
    for text in ["/msg Bo it is hunter2", "/query Bo it is hunter2", "/password hunter2", "/kick Zed"] {
        assert_eq!(remembered(&mut screen, text), None, "{text}");
        let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        let actions = screen.handle_key(control, at(2.0));
        assert!(!actions.iter().any(|action| matches!(action, Action::Remember(_))), "{text}");
    }
}

#[test]
fn what_was_typed_in_an_earlier_run_comes_back() {
    let mut screen = meeting();
    screen.restore(vec!["make test".into(), "one\ntwo".into(), "x".repeat(40_000)]);
    enter(&mut screen, "now");
    let mut up = || {
        press(&mut screen, KeyCode::Up);
        shown(&mut screen, 80, 20)
    };
    assert!(contains(&up(), "› now"));
    let rows = up();
    assert!(contains(&rows, "› one") && contains(&rows, "  two"), "{rows:#?}");
    up();
    assert!(contains(&up(), "› make test"));
}
