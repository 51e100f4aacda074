//! Offers and transfers on the screen.

use super::*;
use crate::id::OfferNumber;

fn offer(number: u32, title: &str) -> Offer {
    Offer {
        number: OfferNumber(number),
        title: title.into(),
        files: 1,
        size: "2.3 MiB".into(),
        from: "Bo".into(),
        own: false,
        to: None,
        state: "0 % so far".into(),
        complete: false,
        received: false,
    }
}

fn complete(offer: Offer) -> Offer {
    Offer { state: "complete".into(), complete: true, ..offer }
}

fn tell(screen: &mut Screen, offer: Offer, news: OfferNews) {
    screen.handle_event(Event::Offer(offer, news), at(0.0));
}

fn moving(id: u32, sends: bool, title: &str) -> Transfer {
    Transfer {
        id,
        offer: Some(OfferNumber(3 + id)),
        title: title.into(),
        sends,
        head: " 42 %".into(),
        done: 42,
        total: Some(100),
        parts: vec!["2.4 MiB/s".into(), "0:21 left".into(), "as fast as the network".into()],
    }
}

fn text(text: &str) -> Word {
    Word::new(text, None, false)
}

#[test]
fn what_is_offered_stands_in_the_conversation_and_how_it_goes_above_the_bar() {
    let mut screen = meeting();
    tell(&mut screen, offer(3, "report.pdf"), OfferNews::New);
    tell(&mut screen, complete(offer(3, "report.pdf")), OfferNews::Complete);
    tell(&mut screen, offer(4, "老照片 2024/"), OfferNews::New);
    say(&mut screen, 2, "Bo", "have a look");
    tell(&mut screen, complete(offer(4, "老照片 2024/")), OfferNews::Complete);
    tell(&mut screen, Offer { to: Some("you".into()), ..offer(5, "x") }, OfferNews::New);
    tell(&mut screen, Offer { own: true, to: Some("Bo".into()), ..offer(6, "y") }, OfferNews::New);
    tell(&mut screen, Offer { own: true, ..complete(offer(6, "y")) }, OfferNews::Received(1));
    let gone = Event::OfferGone { offer: offer(5, "x"), why: "was withdrawn".into(), by: None };
    screen.handle_event(gone, at(0.0));
    screen.handle_event(Event::Moving(moving(0, false, "report.pdf")), at(0.0));
    screen.handle_event(Event::Moving(moving(4, true, "talk.mkv")), at(0.0));
    let expected = " standup                                                               3 here
───────────────────── Sunday, 22 November 2026 ──────────────────────│● Ann
09:00          ──   Bo offers #3 report.pdf, 2.3 MiB, complete; /get │● Bo
                    3 fetches it                                     │● 王小明
09:00          ──   Bo offers #4 \"老照片 2024/\", 2.3 MiB; /get 4     │
                    fetches it                                       │
09:00          Bo │ have a look                                      │
09:00          ──   #4 \"老照片 2024/\" of Bo is complete              │
09:00          ──   Bo offers you alone #5 x, 2.3 MiB; /get 5 fetches│
                    it                                               │
09:00          ──   you offer #6 y, 2.3 MiB, to Bo alone             │
09:00          ──   1 member has all of your #6 y                    │
09:00          ──   #5 x of Bo was withdrawn                         │
 ↓ #3 report.pdf  42 % [============>                 ] 2.4 MiB/s, 0:21 left, as fast as the network
 ↑ #7 talk.mkv  42 % [============>                 ] 2.4 MiB/s, 0:21 left, as fast as the network
 Ann
›";
    let rows = shown(&mut screen, 100, 17).join("\n");
    assert_eq!(rows, expected, "\n{rows}");
    screen.handle_event(Event::Moved { id: 0, text: "fetched #3".into(), failed: false }, at(0.0));
    let rows = shown(&mut screen, 100, 16);
    assert!(
        contains(&rows, "fetched #3") && !contains(&rows, "↓ #3") && contains(&rows, "↑ #7"),
        "{rows:#?}"
    );
}

#[test]
fn many_transfers_leave_room_for_the_conversation() {
    let mut screen = meeting();
    say(&mut screen, 2, "Bo", "the last thing that was said");
    (0..20).for_each(|id| drop(screen.handle_event(Event::Moving(moving(id, true, "汉字 👩‍👩‍👧")), at(0.0))));
    let rows = shown(&mut screen, 80, 12);
    assert!(contains(&rows, "the last thing") && contains(&rows, "and 18 more on their way"), "{rows:#?}");
    for (width, height) in [(20, 5), (5, 3), (1, 1), (60, 8), (300, 50)] {
        shown(&mut screen, width, height);
    }
    type_in(&mut screen, "still typing");
    assert!(contains(&shown(&mut screen, 80, 12), "› still typing"));
}

#[test]
fn files_are_listed_and_meant_by_number_or_name() {
    let mut screen = meeting();
    let offers = vec![complete(offer(3, "report.pdf")), offer(4, "my photos/")];
    screen.handle_event(Event::Offers(offers.clone()), at(0.0));
    shown(&mut screen, 100, 20);
    enter(&mut screen, "/files");
    let rows = shown(&mut screen, 100, 20);
    assert!(contains(&rows, "#  WHAT           SIZE  FROM  STATE"), "{rows:#?}");
    assert!(contains(&rows, "4  my photos/  2.3 MiB  Bo    0 % so far"), "{rows:#?}");
    let get = |offers: &[Offer], directory: Option<&str>| {
        [Action::Get { offers: offers.to_vec(), directory: directory.map(text) }]
    };
    assert_eq!(enter(&mut screen, "/get 3"), get(&offers[..1], None));
    assert_eq!(
        enter(&mut screen, "/get \"my photos/\" 3 3 down/"),
        [Action::Get {
            offers: vec![offers[1].clone(), offers[0].clone()],
            directory: Some(Word { start: 17, ..text("down/") })
        }]
    );
    assert_eq!(enter(&mut screen, "/withdraw #4"), [Action::Withdraw(OfferNumber(4))]);
    // The only one that is new is meant without being named.
    screen.handle_event(
        Event::Offers(vec![Offer { received: true, ..offers[0].clone() }, offers[1].clone()]),
        at(0.0),
    );
    assert_eq!(enter(&mut screen, "/get"), get(&offers[1..], None));
    // A directory alone could as well be an offer that is misspelt: nothing is fetched into it.
    assert_eq!(enter(&mut screen, "/get photo/"), []);
    let rows = shown(&mut screen, 100, 20);
    let why = "nothing called photo/ is offered (#4 \"my photos/\", #3 report.pdf)";
    assert!(contains(&rows, why) && contains(&rows, "/get OFFER photo/"), "{rows:#?}");
    screen.input.clear();
    assert_eq!(enter(&mut screen, "/get 4 photo/").len(), 1);
    assert_eq!(enter(&mut screen, "/get \"my photos\""), get(&offers[1..], None));
    screen.handle_event(Event::Moving(moving(0, false, "report.pdf")), at(0.0));
    assert_eq!(enter(&mut screen, "/cancel"), [Action::Cancel(vec![0])]);
    screen.handle_event(Event::Moving(moving(1, true, "my photos/")), at(0.0));
    assert_eq!(enter(&mut screen, "/cancel"), []);
    assert!(contains(&shown(&mut screen, 100, 20), "which one? /cancel OFFER"));
    screen.input.clear();
    assert_eq!(enter(&mut screen, "/cancel 4"), [Action::Cancel(vec![1])]);
    assert_eq!(enter(&mut screen, "/cancel report.pdf"), [Action::Cancel(vec![0])]);
    let to_bo = Action::Send { to: Some("Bo".into()), paths: vec![Word { start: 0, ..text("my file") }] };
    assert_eq!(enter(&mut screen, "/send @bo my\\ file"), [to_bo]);
}

#[test]
fn tab_completes_offers_and_paths() {
    let mut screen = meeting();
    screen.handle_event(Event::Offers(vec![offer(3, "report.pdf"), offer(31, "my photos/")]), at(0.0));
    let tab = |screen: &mut Screen, typed: &str| {
        screen.input.clear();
        type_in(screen, typed);
        let actions = press(screen, KeyCode::Tab);
        (screen.input.text().to_owned(), actions)
    };
    assert_eq!(tab(&mut screen, "/get re").0, "/get report.pdf ");
    assert_eq!(tab(&mut screen, "/get my").0, "/get my\\ photos/ ");
    assert_eq!(tab(&mut screen, "/get 3").0, "/get 31 ");
    press(&mut screen, KeyCode::Tab);
    assert_eq!(screen.input.text(), "/get 3 ");
    assert_eq!(tab(&mut screen, "/withdraw ").0, "/withdraw 31 ");
    assert_eq!(tab(&mut screen, "/send @B").0, "/send @Bo ");
    assert_eq!(
        tab(&mut screen, "/get 3 down/s"),
        ("/get 3 down/s".into(), vec![Action::Paths("down/s".into())])
    );
    let (_, actions) = tab(&mut screen, "/send a.txt \"my fi");
    assert_eq!(actions, [Action::Paths("my fi".into())]);
    let found = |typed: &str, found: &[&str]| Event::Paths {
        typed: typed.into(),
        found: found.iter().map(|path| (*path).to_owned()).collect(),
    };
    // What comes too late is for something else.
    screen.handle_event(found("other", &["other.txt"]), at(1.0));
    assert_eq!(screen.input.text(), "/send a.txt \"my fi");
    screen.handle_event(found("my fi", &["my file.txt", "my files/"]), at(1.0));
    assert_eq!(screen.input.text(), "/send a.txt my\\ file.txt ");
    press(&mut screen, KeyCode::Tab);
    assert_eq!(screen.input.text(), "/send a.txt my\\ files/");
    // A directory that is the only one is gone on with.
    tab(&mut screen, "/send ~/ph");
    screen.handle_event(found("~/ph", &["~/photos/"]), at(1.0));
    assert_eq!(screen.input.text(), "/send ~/photos/");
    assert_eq!(press(&mut screen, KeyCode::Tab), [Action::Paths("~/photos/".into())]);
    screen.handle_event(found("~/photos/", &[]), at(1.0));
    assert!(contains(&shown(&mut screen, 100, 20), "no file or directory begins so"));
}

#[test]
fn t13_an_offer_cannot_look_like_the_program_or_move_the_cursor() {
    let mut screen = meeting();
    let title = crate::text::scrub("a; Bo joined\n\u{1b}[2J\u{202e}fdp.exe", 100);
    tell(&mut screen, offer(3, &title), OfferNews::New);
    enter(&mut screen, "/files");
    let buffer = cells(&mut screen, 120, 20);
    let mut out = Vec::new();
    paint(None, &buffer, None, &mut out);
    strip_our_own(&String::from_utf8(out).unwrap());
    let rows = rows(&buffer);
    assert!(contains(&rows, "#3 \"a; Bo joined␊␛[2J<U+202E>fdp.exe\""), "{rows:#?}");
}
