//! What hosts do, with real programs at both ends.

use confkit::id::Secret;
use confkit::session::Key;
use confkit::wire::control::{Action, Control};
use confkit::wire::{Code, Kind};

use crate::support::peer::{Host, Peer, hello};
use crate::support::programs::PATIENCE;
use crate::support::talk::{Lines, Town};
use crate::support::terminal::Terminal;

/// The whole screen in one line, so that it does not matter where it is wrapped.
fn wait_for_words(terminal: &Terminal, text: &str) {
    terminal.wait(text, |screen| {
        let contents = screen.contents();
        let pane = |row: &str| row.rsplit_once('│').map_or(row, |(pane, _)| pane).trim().to_owned();
        contents.lines().map(pane).collect::<Vec<_>>().join(" ").contains(text)
    });
}

#[test]
fn a_host_mutes_locks_names_another_host_and_sends_away() {
    let host = Host::start();
    let mut ann = Terminal::chat(&host, "Ann");
    ann.wait_for("1 here");
    let mut bo = Terminal::chat(&host, "Bo");
    bo.wait_for("2 here");
    let cy = Terminal::chat(&host, "Cy");
    cy.wait_for("3 here");
    bo.enter("/mute Ann");
    wait_for_words(&bo, "only hosts of the room can do that");

    // Who is muted is told, everybody sees it, and what the muted says does not reach anybody.
    ann.enter("/mute bo");
    wait_for_words(&bo, "Ann muted you: what you say is refused");
    wait_for_words(&ann, "you muted Bo");
    wait_for_words(&cy, "Ann muted Bo");
    for other in [&ann, &cy] {
        other.wait("muted, beside the name", |screen| {
            screen
                .contents()
                .lines()
                .any(|row| row.rsplit_once('│').is_some_and(|(_, side)| side.contains("muted")))
        });
    }
    bo.enter("can you hear me");
    wait_for_words(&bo, "(not sent: a host has muted you");
    ann.enter("/unmute Bo");
    wait_for_words(&bo, "Ann let you speak again");
    bo.enter("here again");
    wait_for_words(&ann, "Bo │ here again");
    assert!(!ann.shown().contains("can you hear me"));

    // A locked room takes nobody new.
    ann.enter("/lock");
    for (other, by) in [(&ann, "you"), (&bo, "Ann"), (&cy, "Ann")] {
        wait_for_words(other, &format!("{by} locked the room: nobody else can join"));
        other.wait_for("test (locked)");
    }
    let mut di = Terminal::chat(&host, "Di");
    assert_eq!(di.end(), 5);
    wait_for_words(&di, "the room is locked");
    ann.enter("/unlock");
    wait_for_words(&bo, "Ann opened the room again");

    // Another host may do the same, until that is taken back.
    ann.enter("/host Bo");
    wait_for_words(&cy, "Ann made Bo a host");
    bo.enter("/lock");
    cy.wait_for("test (locked)");
    bo.enter("/unlock");
    ann.enter("/unhost Bo");
    wait_for_words(&bo, "Ann made you a member again: no host any more");
}

#[test]
fn who_is_sent_away_learns_by_whom_and_is_let_in_again() {
    let host = Host::start();
    let mut ann = Terminal::chat(&host, "Ann");
    ann.wait_for("1 here");
    let bo = Terminal::chat(&host, "Bo");
    let mut cy = Terminal::chat(&host, "Cy");
    ann.wait_for("3 here");
    ann.enter("/kick ann");
    wait_for_words(&ann, "that is you: /quit leaves");
    ann.press("\x15");
    ann.enter("/kick Cy");
    assert_eq!(cy.end(), 5);
    wait_for_words(&cy, "Ann has sent you away; come back in 10 min");
    assert!(cy.is_as_before());
    wait_for_words(&ann, "you sent Cy away; /unkick Cy takes it back");
    wait_for_words(&bo, "Ann sent Cy away");
    bo.wait_for("2 here");
    assert!(!bo.shown().contains("Cy left"), "{}", bo.shown());
    let mut again = cy.again(&host);
    assert_eq!(again.end(), 5);
    wait_for_words(&again, "Ann has sent you away; come back in 10 min");

    // Another host can take it back too.
    ann.enter("/host Bo");
    let mut bo = bo;
    wait_for_words(&bo, "Ann made you a host");
    bo.enter("/unkick Di");
    wait_for_words(&bo, "Di is not sent away; these are: Cy");
    bo.press("\x15");
    bo.press("/unkick c");
    bo.press("\t");
    bo.wait_for("› /unkick Cy");
    bo.press("\r");
    wait_for_words(&ann, "Bo let Cy come back");
    let again = cy.again(&host);
    again.wait_for("3 here");
}

#[test]
fn who_is_sent_away_with_two_programs_and_a_track_hears_only_the_refusal_and_goes_once_for_the_others() {
    let host = Host::start();
    let (mut ann, _) = Peer::join(host.address, "Ann");
    let cy = Terminal::chat(&host, "Cy");
    cy.wait_for("2 here");
    let key = Key::from_seed(&Secret([2; 32]));
    let mut programs = [Peer::connect(host.address), Peer::connect(host.address)];
    let member = programs.each_mut().map(|peer| peer.hello_as(&key, hello("Bo")).member)[0];
    programs[0].publish("camera");
    cy.wait_for("3 here");
    cy.wait_for("camera");
    ann.settle();
    ann.say(&Control::Moderate { id: 7, action: Action::Kick, member: Some(member) });
    // The host, and everybody else, is told in this order.
    let mut order = Vec::new();
    while order.last() != Some(&"done") {
        order.push(ann.wait(|op| match op {
            Control::Moderated(deed) if deed.action == Action::Kick => Some("deed"),
            Control::TrackGone { .. } => Some("track"),
            Control::MemberLeft { member: left } if left == member => Some("left"),
            Control::Room(room) => Some(if room.sent_away.is_empty() { "a room" } else { "room" }),
            Control::Member(changed) if changed.member == member => Some("changed"),
            Control::Done { id: 7 } => Some("done"),
            _ => None,
        }));
    }
    assert_eq!(order, ["deed", "track", "left", "room", "done"]);
    for mut peer in programs {
        let told = std::iter::from_fn(|| peer.next());
        let told: Vec<Control> =
            told.filter(|frame| frame.header.kind == Kind::Control).map(|f| f.operation().unwrap()).collect();
        let refused = |op: &Control| matches!(op, Control::Error(r) if r.code == Code::Kicked && r.message.starts_with("Ann has sent you away"));
        assert!(told.iter().any(refused), "{told:?}");
        let of_it =
            |op: &Control| matches!(op, Control::Moderated(_) | Control::Room(_) | Control::TrackGone { .. });
        assert!(!told.iter().any(of_it), "{told:?}");
    }
    wait_for_words(&cy, "Ann sent Bo away");
    cy.wait_for("2 here");
    // What came of it came before this.
    ann.say(&Control::Moderate { id: 8, action: Action::Lock, member: None });
    wait_for_words(&cy, "Ann locked the room");
    assert!(!cy.shown().contains("Bo joined and left") && !cy.shown().contains("Bo left"), "{}", cy.shown());
}

#[test]
fn programs_are_told_what_hosts_do_and_do_it_by_name() {
    let mut town = Town::new();
    let _serve = town.serve();
    let mut ann = town.talk("Ann", &["--json"]);
    let ann_hears = Lines::of(&mut ann);
    ann_hears.object("caught_up");
    let mut bo = town.talk("Bo", &["--json"]);
    let bo_hears = Lines::of(&mut bo);
    bo_hears.object("caught_up");
    let mut cy = town.talk("Cy", &["--json"]);
    let cy_hears = Lines::of(&mut cy);
    cy_hears.object("caught_up");
    ann_hears.object("presence");
    ann_hears.object("presence");
    ann.feed(b"{\"type\":\"moderate\",\"action\":\"mute\",\"member\":\"Bo\",\"id\":1}\n");
    let deed = cy_hears.object("moderated");
    let of = |key: &str| deed[key].as_str().unwrap_or_default().to_owned();
    assert_eq!([of("action"), of("name"), of("by_name")], ["mute", "Bo", "Ann"]);
    assert_eq!((deed["member"].as_u64(), deed["by"].as_u64()), (Some(2), Some(1)));
    assert_eq!(cy_hears.object("presence")["member"]["muted"], true, "what comes of it follows");
    ann.feed(b"{\"type\":\"moderate\",\"action\":\"lock\",\"id\":2}\n");
    let deed = cy_hears.object("moderated");
    assert_eq!((&deed["action"], &deed["member"], &deed["name"]), (&"lock".into(), &().into(), &().into()));
    ann.feed(b"{\"type\":\"moderate\",\"action\":\"kick\",\"member\":\"Ann\",\"id\":3}\n");
    let refused = ann_hears.object("error");
    assert_eq!((&refused["id"], &refused["code"]), (&3.into(), &"denied".into()));
    ann.feed(b"{\"type\":\"moderate\",\"action\":\"kick\",\"member\":\"Bo\",\"id\":4}\n");
    while bo_hears.object("connection")["state"] != "ended" {}
    assert_eq!(bo.wait(PATIENCE), 5);
    assert!(bo.stderr().contains("Ann has sent you away"), "{}", bo.stderr());
    assert_eq!(cy_hears.object("moderated")["action"], "kick");
    let away = cy_hears.object("room")["sent_away"].clone();
    assert_eq!(away, serde_json::json!([{"member": 2, "name": "Bo", "by": "Ann"}]));
    for (line, why) in [
        (
            &b"{\"type\":\"moderate\",\"action\":\"unkick\",\"member\":\"Cy\"}\n"[..],
            "Cy is not sent away; these are: Bo",
        ),
        (b"{\"type\":\"moderate\",\"action\":\"fly\"}\n", "there is no such action"),
    ] {
        ann.feed(line);
        assert_eq!(ann_hears.object("error")["message"], why);
    }
    ann.feed(b"{\"type\":\"moderate\",\"action\":\"unlock\"}\n{\"type\":\"moderate\",\"action\":\"unkick\",\"member\":\"bo\"}\n");
    while cy_hears.object("moderated")["action"] != "unkick" {}
    let mut bo = town.talk("Bo", &["--json"]);
    let bo_hears = Lines::of(&mut bo);
    assert_eq!(bo_hears.object("state")["sent_away"], serde_json::json!([]));
}

#[test]
fn what_is_denied_ends_with_5_and_what_makes_no_sense_with_2() {
    let mut town = Town::new();
    let _serve = town.serve();
    let mut ann = town.talk("Ann", &["--json"]);
    let ann_hears = Lines::of(&mut ann);
    ann_hears.object("caught_up");
    for (line, code, exit) in [
        (&b"{\"type\":\"moderate\",\"action\":\"lock\",\"id\":1}\n"[..], "denied".into(), 5),
        (b"{\"type\":\"withdraw\",\"offer\":7,\"id\":1}\n", serde_json::Value::Null, 5),
        (b"{\"type\":\"moderate\",\"action\":\"kick\",\"member\":\"Zed\",\"id\":1}\n", ().into(), 5),
        (b"{\"type\":\"moderate\",\"action\":\"fly\",\"id\":1}\n", ().into(), 2),
        (b"{\"type\":\"rename\",\"name\":\"\",\"id\":1}\n", ().into(), 2),
        (b"{\"type\":\"message\",\"text\":\"\",\"id\":1}\n", ().into(), 2),
    ] {
        let mut bo = town.talk("Bo", &["--json"]);
        let bo_hears = Lines::of(&mut bo);
        bo.feed(line);
        let error = bo_hears.object("error");
        assert_eq!((&error["id"], &error["code"]), (&1.into(), &code), "{error}");
        assert_eq!(bo.wait(PATIENCE), exit, "{error}");
        assert!(bo.stderr().contains("1 line not carried out"), "{}", bo.stderr());
    }
}

#[test]
fn s07_a_name_that_looks_like_anothers_gets_a_number_and_is_shown_with_its_key() {
    let host = Host::start();
    let anna = Terminal::chat(&host, "Anna");
    anna.wait_for("1 here");
    let other = Terminal::chat(&host, "\u{410}nna");
    other.wait_for("2 here");
    wait_for_words(&other, "somebody else is called Anna, which looks like \u{410}nna");
    anna.wait("the key beside the name", |screen| {
        screen.contents().lines().any(|row| {
            row.rsplit_once('│')
                .is_some_and(|(_, side)| side.contains("\u{410}nna#2 [") && side.contains('-'))
        })
    });
}
