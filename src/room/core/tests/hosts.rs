//! What hosts do, who is told, and who may come back.

use super::*;
use crate::wire::control::{Action, Moderated, SentAway, Status};

fn key(n: u8) -> PublicKey {
    PublicKey([n; 32])
}

fn person(connection: u64, name: &str) -> Join {
    Join { key: Some(key(connection as u8)), ..join(connection, name) }
}

/// Ann, who made the room, with Bo and Cy, the guest Di, and nothing to be told.
fn meeting() -> Room {
    let mut room = room(9);
    for (connection, name) in [(1, "Ann"), (2, "Bo"), (3, "Cy")] {
        enter(&mut room, person(connection, name), at(0));
    }
    enter(&mut room, join(4, "Di"), at(0));
    room.handle_timeout(at(2_000));
    outputs(&mut room);
    room
}

fn moderate(room: &mut Room, by: u64, action: Action, whom: Option<u32>, now: Moment) -> Vec<Output> {
    room.handle_moderate(ConnectionId(by), 7, action, whom.map(MemberId), now);
    outputs(room)
}

fn refusal(told: &[Output]) -> Option<(Code, &str)> {
    told.iter().find_map(|output| match output {
        Output::Send(_, Control::Error(refusal)) => {
            assert_eq!(refusal.id, Some(7));
            Some((refusal.code, refusal.message.as_str()))
        }
        _ => None,
    })
}

fn deed(action: Action, whom: Option<(u32, &str)>, by: (u32, &str)) -> Output {
    let (member, name) = whom.unzip();
    Output::Broadcast(Control::Moderated(Moderated {
        action,
        member: member.map(MemberId),
        name: name.unwrap_or_default().into(),
        by: MemberId(by.0),
        by_name: by.1.into(),
    }))
}

fn about(locked: bool, away: &[(u32, &str, &str)]) -> Output {
    let away = away.iter().map(|(id, name, by)| SentAway {
        member: MemberId(*id),
        name: (*name).into(),
        by: (*by).into(),
    });
    Output::Broadcast(Control::Room(control::Room { locked, sent_away: away.collect() }))
}

fn comes_before(told: &[Output], first: &Output, second: impl Fn(&Output) -> bool) -> bool {
    let first = told.iter().position(|output| output == first);
    let second = told.iter().position(second);
    first.is_some() && second.is_some() && first < second
}

#[test]
fn everybody_is_told_what_a_host_does_before_what_comes_of_it() {
    let mut room = meeting();
    let ann = (1, "Ann");
    let told = moderate(&mut room, 1, Action::Mute, Some(2), at(5_000));
    let muted = |o: &Output| matches!(o, Output::Broadcast(Control::Member(m)) if m.muted);
    assert!(comes_before(&told, &deed(Action::Mute, Some((2, "Bo")), ann), muted), "{told:?}");
    let told = moderate(&mut room, 1, Action::Host, Some(3), at(10_000));
    let host = |o: &Output| matches!(o, Output::Broadcast(Control::Member(m)) if m.host);
    assert!(comes_before(&told, &deed(Action::Host, Some((3, "Cy")), ann), host), "{told:?}");
    let told = moderate(&mut room, 3, Action::Lock, None, at(15_000));
    let locked = about(true, &[]);
    assert!(comes_before(&told, &deed(Action::Lock, None, (3, "Cy")), |o| *o == locked), "{told:?}");
    // What changes nothing is done, and no news.
    for (action, whom) in [(Action::Mute, Some(2)), (Action::Host, Some(3)), (Action::Lock, None)] {
        let told = moderate(&mut room, 1, action, whom, at(20_000));
        assert_eq!(told, [Output::Send(ConnectionId(1), Control::Done { id: 7 })], "{action:?}");
    }
}

#[test]
fn who_is_sent_away_learns_by_whom_and_comes_back_when_a_host_says_so() {
    let mut room = meeting();
    moderate(&mut room, 1, Action::Host, Some(3), at(5_000));
    let told = moderate(&mut room, 1, Action::Kick, Some(2), at(10_000));
    let left = |o: &Output| *o == Output::Broadcast(Control::MemberLeft { member: MemberId(2) });
    assert!(comes_before(&told, &deed(Action::Kick, Some((2, "Bo")), (1, "Ann")), left), "{told:?}");
    assert!(told.contains(&about(false, &[(2, "Bo", "Ann")])), "{told:?}");
    let closed = |o: &Output| matches!(o, Output::Close(ConnectionId(2), r) if r.message.starts_with("Ann has sent you away"));
    assert!(told.iter().any(closed), "{told:?}");
    let again = room.handle_join(Join { key: Some(key(2)), ..join(12, "Bo") }, at(11_000)).unwrap_err();
    assert_eq!(
        (again.code, again.message.as_str()),
        (Code::Kicked, "Ann has sent you away; come back in 10 min")
    );
    // Who comes in sees who may not, and another host can take it back.
    enter(&mut room, join(13, "Ed"), at(12_000));
    let told = outputs(&mut room);
    let away = told.iter().find_map(|output| match output {
        Output::Send(_, Control::State(state)) => state.room.clone(),
        _ => None,
    });
    assert_eq!(Output::Broadcast(Control::Room(away.unwrap())), about(false, &[(2, "Bo", "Ann")]));
    let told = moderate(&mut room, 4, Action::Unkick, Some(2), at(13_000));
    assert_eq!(refusal(&told).unwrap().0, Code::Denied, "a guest is no host");
    let told = moderate(&mut room, 3, Action::Unkick, Some(4), at(13_000));
    assert_eq!(refusal(&told).unwrap().0, Code::Member);
    let told = moderate(&mut room, 3, Action::Unkick, Some(2), at(13_000));
    assert!(told.contains(&deed(Action::Unkick, Some((2, "Bo")), (3, "Cy"))), "{told:?}");
    assert!(told.contains(&about(false, &[])), "{told:?}");
    enter(&mut room, Join { key: Some(key(2)), ..join(14, "Bo") }, at(14_000));
}

#[test]
fn who_is_sent_away_hears_nothing_but_the_refusal_and_leaves_once_for_the_others() {
    let mut room = meeting();
    // A second program, one whose connection is broken, and a track.
    enter(&mut room, Join { key: Some(key(2)), ..join(12, "Bo") }, at(3_000));
    enter(&mut room, Join { key: Some(key(2)), ..join(22, "Bo") }, at(3_000));
    room.handle_broken(ConnectionId(22), at(3_000));
    publish(&mut room, 12, 1);
    let told = moderate(&mut room, 1, Action::Kick, Some(2), at(10_000));
    let place = |wanted: &dyn Fn(&Output) -> bool| {
        let places: Vec<usize> = (0..told.len()).filter(|at| wanted(&told[*at])).collect();
        assert_eq!(places.len(), 1, "{told:?}");
        places[0]
    };
    let closed =
        |id| place(&|o| matches!(o, Output::Close(c, r) if *c == ConnectionId(id) && r.code == Code::Kicked));
    let first_broadcast = told.iter().position(|o| matches!(o, Output::Broadcast(_))).unwrap();
    assert!(closed(2).max(closed(12)) < first_broadcast, "{told:?}");
    let deed = deed(Action::Kick, Some((2, "Bo")), (1, "Ann"));
    assert_eq!(place(&|o| *o == deed), first_broadcast);
    let about_bo = place(&|o| match o {
        Output::Broadcast(Control::Member(member)) => member.member == MemberId(2),
        Output::Broadcast(Control::MemberLeft { member }) => *member == MemberId(2),
        _ => false,
    });
    assert_eq!(told[about_bo], Output::Broadcast(Control::MemberLeft { member: MemberId(2) }));
    place(&|o| matches!(o, Output::Broadcast(Control::TrackGone { .. })));
    room.handle_timeout(at(60_000));
    assert!(outputs(&mut room).is_empty(), "nothing comes later");
}

#[test]
fn who_is_let_in_again_at_once_has_left_before_however_much_is_told_of_others() {
    let mut room = room(100);
    enter(&mut room, person(1, "Ann"), at(0));
    enter(&mut room, person(2, "Bo"), at(0));
    // So many changes that what follows is gathered.
    for n in 0..40 {
        enter(&mut room, join(100 + n, "Flood"), at(10_000));
    }
    outputs(&mut room);
    let told = moderate(&mut room, 1, Action::Kick, Some(2), at(10_000));
    assert!(told.contains(&Output::Broadcast(Control::MemberLeft { member: MemberId(2) })), "{told:?}");
    moderate(&mut room, 1, Action::Unkick, Some(2), at(10_000));
    let back = enter(&mut room, Join { key: Some(key(2)), ..join(12, "Bo") }, at(10_000));
    assert_eq!(back.name.as_str(), "Bo");
    room.handle_timeout(at(12_000));
    let news = |o: &Output| matches!(o, Output::Broadcast(Control::Member(m)) if m.member == back.member);
    assert!(outputs(&mut room).iter().any(news), "the others see that Bo is back");
}

#[test]
fn whose_time_is_over_is_not_sent_away_any_more() {
    let mut room = meeting();
    moderate(&mut room, 1, Action::Kick, Some(2), at(10_000));
    room.handle_timeout(at(20_000));
    outputs(&mut room);
    assert_eq!(room.poll_timeout(), Some(at(610_000)));
    room.handle_timeout(at(610_000));
    assert_eq!(outputs(&mut room), [about(false, &[])]);
    enter(&mut room, Join { key: Some(key(2)), ..join(14, "Bo") }, at(610_000));
}

#[test]
fn a_guest_who_is_sent_away_is_not_kept_out() {
    let mut room = meeting();
    let told = moderate(&mut room, 1, Action::Kick, Some(4), at(10_000));
    assert!(told.contains(&deed(Action::Kick, Some((4, "Di")), (1, "Ann"))), "{told:?}");
    let about_room = |o: &Output| matches!(o, Output::Broadcast(Control::Room(_)));
    assert!(!told.iter().any(about_room), "the room is as it was: {told:?}");
    enter(&mut room, join(14, "Di"), at(11_000));
}

#[test]
fn the_list_of_who_is_sent_away_is_bounded_and_fits_a_frame() {
    let mut room = room(1_000);
    enter(&mut room, person(1, "Ann"), at(0));
    for n in 0..limits::SENT_AWAY as u64 + 1 {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        let name = format!("{n:03}{}", "\"".repeat(61));
        enter(&mut room, Join { key: Some(PublicKey(bytes)), ..join(100 + n, &name) }, at(n));
        moderate(&mut room, 1, Action::Kick, Some(n as u32 + 2), at(n));
    }
    enter(&mut room, join(90, &"\"".repeat(64)), at(1_000));
    let told = outputs(&mut room);
    let mut away = Vec::new();
    for output in told {
        let Output::Send(_, operation) = output else { continue };
        assert!(serde_json::to_vec(&operation).unwrap().len() <= limits::CONTROL);
        if let Control::State(state) = operation {
            away.extend(state.room.unwrap_or_default().sent_away);
        }
    }
    assert_eq!(away.len(), limits::SENT_AWAY);
    assert!(away[0].name.starts_with("001"), "the first to go came back first");
    assert!(away.last().unwrap().name.starts_with("100"));
}

#[test]
fn nobody_sends_away_or_mutes_themselves_and_what_is_not_known_is_refused() {
    let mut room = meeting();
    for (action, part) in [
        (Action::Kick, "leaves"),
        (Action::Mute, "nobody mutes themselves"),
        (Action::Unknown, "knows no such action"),
    ] {
        let told = moderate(&mut room, 1, action, Some(1), at(5_000));
        let (code, message) = refusal(&told).unwrap();
        assert!(code == Code::Denied && message.contains(part), "{message}");
        assert_eq!(told.len(), 1, "and nothing happens");
    }
}

#[test]
fn a_host_too_many_is_refused_and_not_told() {
    let mut room = room(1_000);
    enter(&mut room, person(1, "Ann"), at(0));
    for n in 0..=limits::HOSTS as u8 {
        enter(
            &mut room,
            Join { key: Some(key(100 + n)), ..join(u64::from(n) + 100, &format!("p{n}")) },
            at(0),
        );
        outputs(&mut room);
        let told = moderate(&mut room, 1, Action::Host, Some(u32::from(n) + 2), at(0));
        let full = refusal(&told).map(|(code, _)| code);
        assert_eq!(full, (usize::from(n) == limits::HOSTS).then_some(Code::Full), "{n}");
    }
}

#[test]
fn s07_names_that_look_alike_get_numbers() {
    let mut room = meeting();
    let name = |room: &mut Room, connection, name: &str| {
        enter(room, join(connection, name), at(3_000)).name.to_string()
    };
    assert_eq!(name(&mut room, 20, "\u{410}nn"), "\u{410}nn#2");
    assert_eq!(name(&mut room, 21, "ANN"), "ANN#3", "the number tells them apart too");
    assert_eq!(name(&mut room, 22, "B\u{43e}"), "B\u{43e}#2");
    assert_eq!(name(&mut room, 23, "\u{10e}i"), "\u{10e}i", "an accent is seen");
    room.handle_rename(ConnectionId(23), 1, "\u{421}y", at(4_000));
    let told = outputs(&mut room);
    let renamed = |o: &Output| matches!(o, Output::Broadcast(Control::Member(m)) if m.name == "\u{421}y#2");
    room.handle_timeout(at(9_000));
    assert!(told.iter().chain(&outputs(&mut room)).any(renamed), "{told:?}");
}

#[test]
fn who_is_muted_says_nothing_by_a_name_or_a_reason() {
    let mut room = meeting();
    moderate(&mut room, 1, Action::Mute, Some(2), at(5_000));
    room.handle_rename(ConnectionId(2), 7, "I say hello", at(10_000));
    let told = outputs(&mut room);
    assert_eq!(refusal(&told).map(|(code, _)| code), Some(Code::Muted), "{told:?}");
    let away = |why: &str| Status { typing: None, away: Some(Some(why.into())) };
    room.handle_status(ConnectionId(2), away("hello"), at(15_000));
    let member = |room: &Room| room.describe_member(MemberId(2)).unwrap();
    assert_eq!((member(&room).name.as_str(), member(&room).away.as_deref()), ("Bo", Some("")));
    moderate(&mut room, 1, Action::Unmute, Some(2), at(20_000));
    room.handle_rename(ConnectionId(2), 7, "Bob", at(25_000));
    room.handle_status(ConnectionId(2), away("tea"), at(30_000));
    assert_eq!((member(&room).name.as_str(), member(&room).away.as_deref()), ("Bob", Some("tea")));
}
