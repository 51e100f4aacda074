//! Who comes, goes, publishes and sees what.

mod hosts;
mod older;

use super::*;
use crate::id::LogId;
use crate::text;
use crate::wire::Code;
use crate::wire::control::Publish;

fn at(ms: u64) -> Moment {
    Moment::from_micros(ms * 1_000)
}

fn room(max_members: usize) -> Room {
    let terms = Terms { max_members, ..Terms::default() };
    Room::new("test".parse().unwrap(), terms, Log::new(LogId([1; 8])), Settings::default(), at(0))
}

fn token(n: u64) -> ResumeToken {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    crate::id::Secret(bytes)
}

fn join(connection: u64, name: &str) -> Join {
    Join {
        connection: ConnectionId(connection),
        name: name.parse().unwrap(),
        key: None,
        resume: None,
        token: token(connection),
        subscribe: vec![TrackKind::Video],
        messages: None,
        wall: 0,
    }
}

fn enter(room: &mut Room, join: Join, now: Moment) -> Admitted {
    let connection = join.connection;
    let admitted = room.handle_join(join, now).unwrap();
    room.handle_welcomed(connection, None, now);
    admitted
}

fn outputs(room: &mut Room) -> Vec<Output> {
    std::iter::from_fn(|| room.poll_output()).collect()
}

fn publish(room: &mut Room, connection: u64, id: u64) -> Vec<Output> {
    let source = Source {
        kind: TrackKind::Video,
        label: "camera".into(),
        codec: "h264".into(),
        width: 0,
        height: 0,
        fps: 0.0,
        muted: false,
    };
    outputs(room);
    room.handle_publish(ConnectionId(connection), Publish { id, source });
    outputs(room)
}

#[test]
fn a_broken_connection_is_not_a_leave_until_the_grace_time_is_over() {
    let mut room = room(9);
    enter(&mut room, join(1, "Ann"), at(0));
    enter(&mut room, join(2, "Bob"), at(0));
    publish(&mut room, 1, 1);
    room.handle_broken(ConnectionId(1), at(1_000));
    let told = outputs(&mut room);
    assert!(told.iter().any(
        |o| matches!(o, Output::Broadcast(Control::Member(m)) if m.state == control::Presence::Reconnecting)
    ));
    assert!(!told.iter().any(|o| matches!(o, Output::Shut(_))), "the track waits with its publisher");
    assert_eq!(room.poll_timeout(), Some(at(31_000)));
    room.handle_timeout(at(30_999));
    assert!(outputs(&mut room).is_empty());
    room.handle_timeout(at(31_000));
    let told = outputs(&mut room);
    assert!(told.contains(&Output::Broadcast(Control::MemberLeft { member: MemberId(1) })), "{told:?}");
    assert!(told.contains(&Output::Shut(TrackId(1))), "{told:?}");
}

#[test]
fn who_comes_back_keeps_member_tracks_and_subscriptions() {
    let mut room = room(9);
    let first = enter(&mut room, join(1, "Ann"), at(0));
    enter(&mut room, join(2, "Bob"), at(0));
    publish(&mut room, 1, 1);
    publish(&mut room, 2, 1);
    room.handle_broken(ConnectionId(1), at(1_000));
    outputs(&mut room);
    let back = enter(&mut room, Join { resume: Some(token(1)), ..join(3, "Ann") }, at(2_000));
    assert_eq!((back.member, back.resumed, back.token), (first.member, true, first.token));
    let told = outputs(&mut room);
    assert!(told.contains(&Output::Interrupt(TrackId(1), Some(ConnectionId(3)))), "{told:?}");
    assert!(told.contains(&Output::Attach(TrackId(2), ConnectionId(3))), "{told:?}");
    assert!(room.publishes(ConnectionId(3), TrackId(1)));
}

#[test]
fn s07_equal_names_get_numbers() {
    let mut room = room(9);
    let names: Vec<_> = (1..4).map(|n| enter(&mut room, join(n, "Ann"), at(0)).name.to_string()).collect();
    assert_eq!(names, ["Ann", "Ann#2", "Ann#3"]);
}

/// Joins without the welcome, which tells everybody of everybody.
fn crowd(room: &mut Room, members: u64, name: &str) -> Vec<String> {
    let come = |n| {
        let name = room.handle_join(join(n, name), at(0)).unwrap().name.to_string();
        outputs(room);
        name
    };
    (1..=members).map(come).collect()
}

#[test]
fn s07_a_thousand_of_one_long_name_cost_little_and_have_different_names() {
    let mut room = room(1_000);
    // Each letter looks like eighteen.
    let long = "\u{fdfa}".repeat(limits::NAME);
    text::effort::take();
    let names = crowd(&mut room, 1_000, &long);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 1_000);
    assert!(names[1].ends_with("#2") && names[999].ends_with("#1000"), "{} {}", names[1], names[999]);
    let bounded = |what: &str| {
        let (characters, questions) = text::effort::take();
        // Of the wish and of its beginnings before one, two, three and four digits, as written and in small letters;
        // and of the numbers.
        let most = 2 * 5 * limits::NAME + 22 * 6;
        assert!(characters <= 1_000 * most, "{what}: skeletons of {characters} characters");
        assert!(questions <= 1_000 * 22, "{what}: {questions} questions");
    };
    bounded("joins");
    let other = format!("\u{fdfb}{}", "\u{fdfa}".repeat(limits::NAME - 1));
    for n in 1..=1_000 {
        room.handle_rename(ConnectionId(n), 1, &other, at(0));
        outputs(&mut room);
    }
    bounded("renames");
    let names: BTreeSet<_> = room.members.values().map(|member| member.name.to_string()).collect();
    assert!(names.len() == 1_000 && names.iter().all(|name| name.starts_with('\u{fdfb}')), "{names:?}");
}

#[test]
fn s07_a_number_that_became_free_is_given_again_and_those_that_are_asked_for_may_be_taken() {
    let mut room = room(1_000);
    crowd(&mut room, 8, "Ann");
    room.handle_goodbye(ConnectionId(3), at(0));
    room.handle_goodbye(ConnectionId(8), at(0));
    let name =
        |room: &mut Room, n, name: &str| room.handle_join(join(n, name), at(0)).unwrap().name.to_string();
    let given = [name(&mut room, 20, "Ann"), name(&mut room, 21, "ANN")];
    assert_eq!(given, ["Ann#8", "ANN#9"]);
    room.handle_rename(ConnectionId(21), 1, "Ann#9", at(0));
    assert_eq!(room.members[&MemberId(10)].name.as_str(), "Ann#9", "nobody is in their own way");
    // Just those that the search asks for, and the next ones.
    let mut n = 30;
    for number in (1..=10).map(|power| 1 << power).chain(1_025..1_080) {
        n += 1;
        name(&mut room, n, &format!("Bo#{number}"));
    }
    name(&mut room, 22, "Bo");
    text::effort::take();
    let given: BTreeSet<String> = (0..100).map(|more| name(&mut room, 200 + more, "Bo")).collect();
    assert_eq!(given.len(), 100);
    let members = room.members.len();
    assert!(text::effort::take().1 <= 100 * members, "one question for each member at the most");
}

#[test]
fn s28_a_flood_of_joins_and_leaves_is_told_once_a_second() {
    let mut room = room(100);
    enter(&mut room, join(1, "Ann"), at(0));
    outputs(&mut room);
    let mut told = 0;
    for n in 0..1_000 {
        let now = at(n * 10);
        enter(&mut room, join(n + 2, "Flood"), now);
        room.handle_goodbye(ConnectionId(n + 2), now);
        room.handle_timeout(now);
        let presence =
            |o: &Output| matches!(o, Output::Broadcast(Control::Member(_) | Control::MemberLeft { .. }));
        told += outputs(&mut room).iter().filter(|o| presence(o)).count();
    }
    assert!(told <= 100, "{told} messages for 2,000 changes in 10 s");
    room.handle_timeout(at(12_000));
    outputs(&mut room);
    assert_eq!(room.members.len(), 1, "nobody is left behind");
}

#[test]
fn who_was_seen_in_the_state_of_the_room_does_not_leave_without_a_word() {
    let mut room = room(100);
    // So many changes that the next ones are gathered.
    for n in 0..40 {
        enter(&mut room, join(100 + n, "Flood"), at(0));
    }
    let bo = enter(&mut room, join(1, "Bo"), at(0));
    enter(&mut room, join(2, "Cy"), at(0));
    let told = outputs(&mut room);
    let sees_bo = |o: &Output| matches!(o, Output::Send(ConnectionId(2), Control::State(s)) if s.members.iter().any(|m| m.member == bo.member));
    assert!(told.iter().any(sees_bo), "{told:?}");
    room.handle_goodbye(ConnectionId(1), at(0));
    room.handle_timeout(at(2_000));
    let told = outputs(&mut room);
    assert!(told.contains(&Output::Broadcast(Control::MemberLeft { member: bo.member })), "{told:?}");
}

#[test]
fn a_full_room_and_too_many_tracks_are_refused() {
    let mut room = room(1);
    enter(&mut room, join(1, "Ann"), at(0));
    assert_eq!(room.handle_join(join(2, "Bob"), at(0)).unwrap_err().code, Code::Full);
    for id in 0..limits::TRACKS as u64 {
        assert!(publish(&mut room, 1, id).iter().any(|o| matches!(o, Output::Open(..))));
    }
    let told = publish(&mut room, 1, 99);
    assert!(matches!(&told[..], [Output::Send(_, Control::Error(r))] if r.id == Some(99)), "{told:?}");
}

#[test]
fn asking_again_gives_the_same_track_and_updates_it() {
    let mut room = room(9);
    enter(&mut room, join(1, "Ann"), at(0));
    publish(&mut room, 1, 7);
    let granted = Output::Send(ConnectionId(1), Control::Published { id: 7, track: TrackId(1) });
    assert_eq!(
        publish(&mut room, 1, 7),
        std::slice::from_ref(&granted),
        "nothing changed, so nobody is told"
    );
    let mut source = room.tracks[&TrackId(1)].source.clone();
    (source.width, source.height) = (1280, 720);
    room.handle_publish(ConnectionId(1), Publish { id: 7, source: source.clone() });
    let track = control::Track { track: TrackId(1), member: MemberId(1), source: source.clone() };
    assert_eq!(outputs(&mut room), [granted, Output::Broadcast(Control::Track(track.clone()))]);
    enter(&mut room, join(2, "Bob"), at(0));
    let state = outputs(&mut room).into_iter().find_map(|output| match output {
        Output::Send(_, Control::State(state)) => Some(state.tracks),
        _ => None,
    });
    assert_eq!(state, Some(vec![track]), "who comes later is told the new size");
    source.kind = TrackKind::Audio;
    room.handle_publish(ConnectionId(1), Publish { id: 7, source });
    let told = outputs(&mut room);
    assert!(matches!(&told[..], [Output::Send(_, Control::Error(r))] if r.id == Some(7)), "{told:?}");
}

#[test]
fn an_empty_room_is_over_after_its_grace_time() {
    let mut room = room(9);
    enter(&mut room, join(1, "Ann"), at(0));
    assert!(!room.is_over(at(1_000_000)));
    room.handle_goodbye(ConnectionId(1), at(1_000_000));
    assert!(!room.is_over(at(1_059_999)));
    assert_eq!(room.poll_timeout(), Some(at(1_060_000)));
    assert!(room.is_over(at(1_060_000)));
}

#[test]
fn who_only_looks_is_told_everything_and_leaves_no_trace() {
    let (ann, bob) = (PublicKey([1; 32]), PublicKey([2; 32]));
    let mut room = room(1);
    let seen = room.look(Some(bob), at(0)).unwrap();
    assert!(seen.len() == 1 && seen[0].members.is_empty() && !seen[0].more, "{seen:?}");
    // Whoever looked first has not made the room.
    enter(&mut room, Join { key: Some(ann), ..join(1, "Ann") }, at(0));
    assert_eq!(room.owner(), Some(ann));
    outputs(&mut room);
    // It is full now.
    assert_eq!(room.handle_join(join(2, "Bob"), at(0)).unwrap_err().code, Code::Full);
    for key in [None, Some(bob), Some(ann)] {
        let seen = room.look(key, at(0)).unwrap();
        let names: Vec<_> = seen[0].members.iter().map(|m| (m.name.as_str(), m.key, m.host)).collect();
        assert_eq!(names, [("Ann", Some(ann), true)]);
    }
    assert!(outputs(&mut room).is_empty() && room.members.len() == 1 && room.sessions.len() == 1);
}

#[test]
fn a_stranger_to_a_locked_room_and_who_was_sent_away_may_not_look() {
    let [ann, bob, cy] = [1, 2, 3].map(|n| PublicKey([n; 32]));
    let mut room = room(9);
    enter(&mut room, Join { key: Some(ann), ..join(1, "Ann") }, at(0));
    enter(&mut room, Join { key: Some(bob), ..join(2, "Bob") }, at(0));
    let refused = |room: &Room, key, now| room.look(key, at(now)).map_err(|refusal| refusal.code).err();
    room.handle_moderate(ConnectionId(1), 1, control::Action::Lock, None, at(0));
    for (key, code) in
        [(None, Some(Code::Locked)), (Some(cy), Some(Code::Locked)), (Some(ann), None), (Some(bob), None)]
    {
        assert_eq!(refused(&room, key, 0), code);
    }
    room.handle_moderate(ConnectionId(1), 2, control::Action::Unlock, None, at(0));
    room.handle_moderate(ConnectionId(1), 3, control::Action::Kick, Some(MemberId(2)), at(0));
    room.handle_timeout(at(2_000));
    assert_eq!(refused(&room, Some(bob), 2_000), Some(Code::Kicked));
    assert_eq!((refused(&room, Some(cy), 2_000), refused(&room, Some(bob), 600_000)), (None, None));
}

#[test]
fn a_large_room_is_told_in_parts_that_fit_a_control_frame() {
    let mut room = room(1_000);
    for n in 0..450 {
        enter(&mut room, join(n, &format!("{n}{}", "名".repeat(60))), at(n * 1_000));
        outputs(&mut room);
    }
    enter(&mut room, join(999, "Late"), at(500_000));
    let parts: Vec<control::State> = outputs(&mut room)
        .into_iter()
        .filter_map(|o| if let Output::Send(_, Control::State(state)) = o { Some(state) } else { None })
        .collect();
    assert_eq!(parts.iter().map(|p| p.members.len()).sum::<usize>(), 451);
    assert_eq!(
        parts.iter().map(|p| p.more).collect::<Vec<_>>(),
        [true, true, true, true, true, true, true, true, true, false]
    );
    for part in parts {
        assert!(serde_json::to_vec(&Control::State(part)).unwrap().len() <= limits::CONTROL);
    }
}
