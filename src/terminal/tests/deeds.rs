//! What hosts do, and who may not come back yet.

use super::*;

fn deed(what: Command, whom: Option<(u32, &str)>, by: (u32, &str)) -> Event {
    let named = |(id, name): (u32, &str)| (MemberId(id), name.to_owned());
    Event::Deed(Deed { what, whom: whom.map(named), by: named(by) })
}

fn sent_away(names: &[(u32, &str)]) -> Event {
    let away = |(id, name): &(u32, &str)| SentAway { member: MemberId(*id), name: (*name).to_owned() };
    Event::About { locked: false, sent_away: names.iter().map(away).collect() }
}

#[test]
fn what_a_host_does_is_told_once_and_with_the_host() {
    let mut screen = meeting();
    screen.handle_event(deed(Command::Mute, Some((3, "王小明")), (2, "Bo")), at(0.0));
    let muted = Person { muted: true, ..person(3, "王小明") };
    screen.handle_event(Event::Person(muted), at(0.1));
    screen.handle_event(deed(Command::Host, Some((1, "Ann")), (2, "Bo")), at(0.2));
    screen.handle_event(Event::Person(Person { host: true, ..person(1, "Ann") }), at(0.3));
    screen.handle_event(deed(Command::Lock, None, (1, "Ann")), at(0.4));
    screen.handle_event(Event::About { locked: true, sent_away: Vec::new() }, at(0.5));
    screen.handle_event(deed(Command::Kick, Some((3, "王小明")), (2, "Bo")), at(0.6));
    screen.handle_event(Event::Left(MemberId(3)), at(0.7));
    let rows = shown(&mut screen, 100, 20);
    for told in ["Bo muted 王小明", "Bo made you a host", "you locked the room", "Bo sent 王小明 away"]
    {
        assert!(contains(&rows, told), "{told}: {rows:#?}");
    }
    for twice in ["was muted by a host", "are a host now", "is locked: nobody", "王小明 left", "● 王小明"]
    {
        assert!(!contains(&rows, twice), "{twice}: {rows:#?}");
    }
    assert!(contains(&rows, "standup (locked)"));
}

#[test]
fn what_is_told_of_somebody_who_is_being_sent_away_is_no_arrival() {
    let mut screen = meeting();
    screen.handle_event(deed(Command::Kick, Some((2, "Bo")), (1, "Ann")), at(0.0));
    // A track ends, one of two programs ends: Bo has changed, and then has left.
    for camera in [false, true] {
        screen.handle_event(Event::Person(Person { camera, ..person(2, "Bo") }), at(0.1));
    }
    screen.handle_event(Event::Left(MemberId(2)), at(0.2));
    let rows = shown(&mut screen, 100, 20);
    assert!(
        !contains(&rows, "Bo joined") && !contains(&rows, "Bo left") && !contains(&rows, "● Bo"),
        "{rows:#?}"
    );
    // Whoever comes as that number later is somebody who comes.
    screen.handle_event(Event::Person(person(2, "Bo")), at(1.0));
    let rows = shown(&mut screen, 100, 20);
    assert!(contains(&rows, "Bo joined") && contains(&rows, "● Bo"), "{rows:#?}");
    // A list of everybody says who is there, and so does a host who takes it back.
    screen.handle_event(deed(Command::Kick, Some((2, "Bo")), (1, "Ann")), at(2.0));
    screen.handle_event(deed(Command::Unkick, Some((2, "Bo")), (1, "Ann")), at(2.1));
    screen.handle_event(Event::Person(person(2, "Bo")), at(2.2));
    assert!(contains(&shown(&mut screen, 100, 20), "● Bo"));
    screen.handle_event(deed(Command::Kick, Some((2, "Bo")), (1, "Ann")), at(3.0));
    screen.handle_event(Event::People(vec![Person { own: true, ..person(1, "Ann") }]), at(3.1));
    screen.handle_event(Event::Person(person(2, "Bo")), at(3.2));
    assert!(contains(&shown(&mut screen, 100, 20), "● Bo"));
}

#[test]
fn whoever_sends_somebody_away_is_told_how_to_take_it_back() {
    let mut screen = meeting();
    let key = Some("3f2a-99c1-07be-44d0".to_owned());
    screen.handle_event(Event::Person(Person { fingerprint: key, ..person(2, "Bo") }), at(0.0));
    screen.handle_event(deed(Command::Kick, Some((2, "Bo")), (1, "Ann")), at(0.1));
    screen.handle_event(deed(Command::Kick, Some((3, "王小明")), (1, "Ann")), at(0.2));
    let rows = shown(&mut screen, 130, 20);
    assert!(contains(&rows, "you sent Bo away; /unkick Bo takes it back"), "{rows:#?}");
    assert!(
        contains(&rows, "you sent 王小明 away; a guest can come in again, unless you /lock"),
        "{rows:#?}"
    );
}

#[test]
fn what_changes_without_a_word_of_who_did_it_is_told_as_before() {
    let mut screen = meeting();
    screen.handle_event(Event::Person(Person { muted: true, ..person(2, "Bo") }), at(0.0));
    screen.handle_event(Event::About { locked: true, sent_away: Vec::new() }, at(0.0));
    let rows = shown(&mut screen, 100, 20);
    assert!(contains(&rows, "Bo was muted by a host") && contains(&rows, "the room is locked"), "{rows:#?}");
}

#[test]
fn who_was_sent_away_is_let_in_again_by_name() {
    let mut screen = meeting();
    let unkick = |id| [Action::Moderate(Command::Unkick, Some(MemberId(id)))];
    type_in(&mut screen, "/unkick Bo");
    assert!(press(&mut screen, KeyCode::Enter).is_empty());
    assert!(contains(&shown(&mut screen, 100, 20), "nobody is sent away"));
    key(&mut screen, KeyCode::Char('u'), KeyModifiers::CONTROL);
    screen.handle_event(sent_away(&[(4, "Q"), (5, "Zoe Lee"), (7, "Q")]), at(0.0));
    type_in(&mut screen, "/unkick Bo");
    assert!(press(&mut screen, KeyCode::Enter).is_empty());
    let rows = shown(&mut screen, 100, 20);
    assert!(contains(&rows, "Bo is not sent away; these are: Q, Zoe Lee, Q"), "{rows:#?}");
    key(&mut screen, KeyCode::Char('u'), KeyModifiers::CONTROL);
    type_in(&mut screen, "/unkick z");
    press(&mut screen, KeyCode::Tab);
    assert!(contains(&shown(&mut screen, 100, 20), "› /unkick \"Zoe Lee\""));
    assert_eq!(press(&mut screen, KeyCode::Enter), unkick(5));
    assert_eq!(enter(&mut screen, "/unkick q"), unkick(7), "whoever went last");
}

#[test]
fn nobody_sends_away_or_mutes_themselves_by_mistake() {
    let mut screen = meeting();
    assert!(enter(&mut screen, "/kick Ann").is_empty());
    assert!(contains(&shown(&mut screen, 100, 20), "that is you: /quit leaves"));
    key(&mut screen, KeyCode::Char('u'), KeyModifiers::CONTROL);
    assert!(enter(&mut screen, "/mute ann").is_empty());
    assert!(contains(&shown(&mut screen, 100, 20), "that is you"));
}

#[test]
fn s07_a_name_that_is_a_sentence_does_not_look_like_the_words_of_the_program() {
    let mut screen = meeting();
    screen.handle_event(Event::Person(person(4, "Bo locked the room")), at(0.0));
    screen.handle_event(Event::Left(MemberId(3)), at(0.0));
    screen.handle_event(deed(Command::Lock, None, (2, "Bo")), at(0.1));
    screen.handle_event(Event::Person(person(2, "Bo is a host now")), at(0.2));
    // Also where the name goes on in another row.
    for width in [100, 40] {
        let buffer = cells(&mut screen, width, 20);
        let pane =
            |y: u16| (0..buffer.area.width).map(move |x| (x, y)).take_while(|at| buffer[*at].symbol() != "│");
        let styled = |modifier: Modifier| -> String {
            let cells = (1..buffer.area.height - 2).flat_map(pane);
            let cells =
                cells.filter(|at| buffer[*at].modifier.contains(modifier) && buffer[*at].symbol() != " ");
            cells.map(|at| buffer[at].symbol()).collect()
        };
        let names = styled(Modifier::BOLD);
        assert!(names.contains("Bolockedtheroom王小明BoBoBoisahostnow"), "{width}: {names}");
        let words = styled(Modifier::DIM);
        assert!(words.contains("lockedtheroom:nobody") && !words.contains("Bo"), "{width}: {words}");
    }
}

#[test]
fn s07_a_name_of_several_scripts_is_shown_with_its_key() {
    let mut screen = meeting();
    let key = Some("3f2a-99c1-07be-44d0".to_owned());
    let anna = Person { fingerprint: key.clone(), ..person(4, "\u{410}nna") };
    let li = Person { fingerprint: key, ..person(5, "李 Li") };
    screen.handle_event(Event::Person(anna), at(0.0));
    screen.handle_event(Event::Person(li), at(0.0));
    screen.handle_event(Event::Person(person(6, "B\u{43e}")), at(0.0));
    let rows = shown(&mut screen, 150, 30);
    let joined = "\u{410}nna [3f2a-99c1-07be-44d0], 李 Li and B\u{43e} [guest] joined";
    assert!(contains(&rows, joined), "{rows:#?}");
    assert!(
        contains(&rows, "● \u{410}nna [3f2a-99c1]") && contains(&rows, "● B\u{43e} [guest]"),
        "{rows:#?}"
    );
    assert!(rows.iter().any(|row| row.ends_with("● 李 Li")), "{rows:#?}");
    enter(&mut screen, "/who");
    let rows = shown(&mut screen, 150, 30);
    assert!(
        contains(&rows, "\u{410}nna [3f2a-99c1-07be-44d0] letters of several scripts in the name"),
        "{rows:#?}"
    );
    assert!(contains(&rows, "李 Li [3f2a-99c1-07be-44d0]"), "{rows:#?}");
    screen.handle_event(Event::Left(MemberId(4)), at(1.0));
    assert!(contains(&shown(&mut screen, 150, 30), "\u{410}nna [3f2a-99c1-07be-44d0] left"));
}

#[test]
fn older_messages_that_did_not_come_can_be_asked_for_again() {
    let mut screen = meeting();
    say(&mut screen, 2, "Bo", "hello");
    shown(&mut screen, 100, 20);
    assert_eq!(press(&mut screen, KeyCode::PageUp), [Action::Older(1)]);
    assert!(press(&mut screen, KeyCode::PageUp).is_empty(), "one question at a time");
    screen.handle_event(Event::NoOlder(Some("the server cannot read its history now".into())), at(2.0));
    let rows = shown(&mut screen, 100, 20);
    assert!(
        contains(&rows, "older messages did not come: the server cannot read its history now"),
        "{rows:#?}"
    );
    assert_eq!(press(&mut screen, KeyCode::PageUp), [Action::Older(1)]);
}
