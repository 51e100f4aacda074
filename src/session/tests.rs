//! The client's core against a server of fifty lines, over the simulated link, in virtual time.

mod look;
mod world;

use std::time::Duration;

use world::*;

use super::client::{Client, Correspondence, Counts, Down, End, Event, Profile, Want};
use crate::chat::{Inbox, Outbox};
use crate::id::{MemberId, Secret, SessionId, SourceId, TrackId};
use crate::limits;
use crate::simulation::link::Shape;
use crate::wire::control::{self, Action, Goodbye, Publish, Refusal, State};
use crate::wire::{Code, Control, Frame, Incoming, Parser, Rendition};

#[test]
fn a_session_runs_for_hours() {
    let mut world = World::new(1, Shape { portion: 100_000, ..LAN });
    world.run(Duration::from_secs(2 * 3600));
    assert_eq!(world.ups(), [(SessionId(1), false)]);
    assert_eq!(world.client.counts(), Counts { dropped: 7, ..Counts::default() }, "until the first key");
    world.check();
}

#[test]
fn w10_w35_a_cut_at_any_byte_never_loses_the_session_or_delivers_a_part() {
    for side in [0, 1] {
        for cut in 1..1_400 {
            let mut world = World::new(cut as u64, LAN);
            world.run(Duration::from_secs(2));
            world.next_cut[side] = Some(cut);
            world.link.as_mut().unwrap().1.reset();
            world.run(Duration::from_secs(15));
            assert!(world.client.is_up(), "side {side}, cut after {cut}: {:?}", world.events.last());
            let ups = world.ups();
            assert!(ups.len() >= 2 && ups[1..].iter().all(|up| *up == (SessionId(1), true)), "{ups:?}");
            assert!(!world.server.pictures.last().unwrap().is_empty(), "pictures go out again");
            world.check();
        }
    }
}

#[test]
fn hours_of_faults_on_a_poor_line_always_end_in_the_same_session() {
    for seed in 0..4 {
        let mut world = World::new(seed, POOR);
        world.run(Duration::from_secs(10));
        for _ in 0..40 {
            let span = Duration::from_millis(world.random.between(1, 60_000));
            world.run(span);
            let kind = world.random.between(0, 3);
            let Some((up, down)) = &mut world.link else { continue };
            match kind {
                0 => up.stall(Duration::from_secs(20)),
                1 => down.stall(Duration::from_secs(20)),
                2 => up.reset(),
                _ => down.close(world.now),
            }
        }
        world.run(Duration::from_secs(60));
        assert!(world.client.is_up(), "seed {seed}");
        assert!(world.ups()[1..].iter().all(|up| *up == (SessionId(1), true)), "{:?}", world.ups());
        world.check();
    }
}

#[test]
fn s12_a_server_that_forgot_the_session_gets_everything_anew() {
    let mut world = World::new(3, LAN);
    world.run(Duration::from_secs(3));
    let track = world.track.unwrap();
    world.server.sessions.clear();
    world.link.as_mut().unwrap().1.reset();
    world.events.clear();
    world.run(Duration::from_secs(5));
    assert_eq!(world.ups(), [(SessionId(12), false)]);
    let states = world.events.iter().filter(|e| matches!(e, Event::State(s) if s.tracks.len() == 1));
    assert_eq!(states.count(), 1, "one whole state from two parts");
    assert!(!world.events.iter().any(|e| matches!(e, Event::Published { .. })), "the number stays");
    let wanted = |e: &Event| matches!(e, Event::KeyframeWanted { track: t, .. } if *t == track);
    assert!(world.events.iter().any(wanted));
    let on_the_wire = world.server.pictures.last().unwrap()[0];
    assert_ne!(on_the_wire.0, track);
    assert!(on_the_wire.2, "begins with a keyframe");
}

#[test]
fn s12_a_member_keeps_its_name_over_a_restart_of_the_server() {
    let restart = |world: &mut World, epoch, name| {
        world.server.sessions.clear();
        (world.server.epoch, world.server.name) = (epoch, name);
        world.server.names.clear();
        world.link.as_mut().unwrap().1.reset();
        world.run(Duration::from_secs(5));
    };
    // Another program of the same person came first, and later there was another name.
    let mut world = World::new(3, LAN);
    world.server.name = "Cy";
    world.run(Duration::from_secs(3));
    assert_eq!(world.server.names, ["Ann"]);
    restart(&mut world, "f", "Cy");
    assert_eq!(world.server.names, ["Cy"]);
    world.client.rename(1, "Dee".parse().unwrap());
    world.run(Duration::from_secs(1));
    restart(&mut world, "g", "Dee");
    assert_eq!(world.server.names, ["Dee"]);
    // A program that was not here before has come back first: once is enough.
    world.events.clear();
    restart(&mut world, "h", "root");
    assert_eq!(world.server.names, ["Dee", "rename Dee"]);
    assert!(!world.events.iter().any(|event| matches!(event, Event::Done { .. })), "nobody asked for it");
    // Without a restart the name is what the member has now.
    restart(&mut world, "h", "Ann");
    assert_eq!(world.server.names, ["Dee"]);
    restart(&mut world, "i", "Ann");
    assert_eq!(world.server.names, ["Ann"]);
}

#[test]
fn a_name_that_was_asked_for_without_a_connection_is_asked_for_with_the_next_one() {
    let mut world = World::new(3, LAN);
    world.run(Duration::from_secs(3));
    let now = world.now;
    world.client.handle_lost(Down::Closed, now);
    world.client.rename(4, "Zoë".parse().unwrap());
    world.run(Duration::from_secs(5));
    assert_eq!(world.server.names, ["Ann", "Zoë", "rename Zoë"]);
    assert!(world.events.iter().any(|event| matches!(event, Event::Done { id: 4 })), "{:?}", world.events);
}

#[test]
fn s09_whoever_was_replaced_stays_away() {
    let mut world = World::new(4, LAN);
    world.run(Duration::from_secs(3));
    let goodbye = Goodbye { code: Some(Code::Replaced), ..Goodbye::default() };
    let now = world.now;
    world.link.as_mut().unwrap().1.write(Frame::control(&Control::Goodbye(goodbye), 0).bytes(), now);
    world.run(Duration::from_secs(60));
    assert!(matches!(world.events.last(), Some(Event::Ended(End::Replaced))));
    assert_eq!(world.ups().len(), 1);
}

#[test]
fn w39_versions_names_and_full_rooms_are_final() {
    let mut version = Refusal::new(Code::Version, "");
    version.protocol = Some([2, 3]);
    for (refusal, end) in [
        (version, End::Version(2, 3)),
        (Refusal::new(Code::Name, "no"), End::Refused(Refusal::new(Code::Name, "no"))),
        (Refusal::new(Code::Full, "full"), End::Refused(Refusal::new(Code::Full, "full"))),
    ] {
        let mut world = World::new(5, LAN);
        world.server.refuses = Some(Control::Error(refusal));
        world.run(Duration::from_secs(60));
        assert!(matches!(&world.events[..], [Event::Ended(e)] if *e == end), "{:?}", world.events);
    }
}

#[test]
fn who_says_the_password_after_a_refusal_comes_in_and_nobody_else_does() {
    let refused = Refusal::new(Code::Password, "this room has a password");
    let mut world = World::new(5, LAN);
    world.server.refuses = Some(Control::Error(refused.clone()));
    world.run(Duration::from_secs(1));
    let end = world.events.pop();
    assert!(matches!(&end, Some(Event::Ended(End::Refused(r))) if *r == refused), "{end:?}");
    world.server.refuses = None;
    world.run(Duration::from_secs(1));
    assert!(!world.client.is_up(), "it is over without one");
    world.client.handle_password(Secret([7; 32]));
    world.run(Duration::from_secs(1));
    assert!(world.client.is_up(), "{:?}", world.events);
    // Whoever is in needs no other.
    world.client.handle_password(Secret([8; 32]));
    assert!(world.client.is_up());
}

#[test]
fn a_full_room_is_tried_again_by_who_was_in_it_or_was_told_when() {
    let mut asked = Refusal::new(Code::Full, "full");
    asked.retry_after_ms = Some(2000);
    let mut world = World::new(5, LAN);
    world.server.refuses = Some(Control::Error(asked));
    world.run(Duration::from_secs(1));
    world.server.refuses = None;
    world.run(Duration::from_secs(4));
    assert!(world.client.is_up(), "told when: {:?}", world.events);

    world.server.refuses = Some(Control::Error(Refusal::new(Code::Full, "full")));
    world.link.as_mut().unwrap().1.reset();
    world.run(Duration::from_secs(1));
    world.server.refuses = None;
    world.run(Duration::from_secs(15));
    assert!(world.client.is_up(), "was there before: {:?}", world.events);
}

#[test]
fn a_track_that_ended_while_the_connection_was_down_ends_after_it_is_back() {
    let mut client = Client::new(profile(), 1);
    let token = Secret([1; 16]);
    client.publish(Publish { id: 1, source: source() });
    client.handle_connecting();
    client.handle_connected(START);
    for said in [welcome(SessionId(1), token, false), Control::Published { id: 1, track: TrackId(7) }] {
        client.handle_bytes(Frame::control(&said, 0).bytes(), START);
    }
    client.handle_lost(Down::Closed, START);
    client.unpublish(TrackId(7));
    client.handle_connecting();
    client.handle_connected(START);
    client.handle_bytes(Frame::control(&welcome(SessionId(1), token, true), 0).bytes(), START);
    let mut parser = Parser::new();
    std::iter::from_fn(|| client.poll_transmit()).for_each(|bytes| parser.push(&bytes));
    let mut ended = Vec::new();
    while let Some(Incoming::Frame(frame)) = parser.poll().unwrap() {
        if let Control::Unpublish { track } = frame.operation().unwrap() {
            ended.push(track);
        }
    }
    assert_eq!(ended, [TrackId(7)]);
}

#[test]
fn a_connection_that_came_about_is_no_failed_try() {
    let mut client = Client::new(Profile { tries: Some(2), ..profile() }, 1);
    for _ in 0..5 {
        client.handle_connecting();
        client.handle_connected(START);
        let hello = Frame::control(&welcome(SessionId(1), Secret([1; 16]), true), 0);
        client.handle_bytes(hello.bytes(), START);
        assert!(client.is_up());
        client.handle_lost(Down::Closed, START);
    }
}

#[test]
fn w20_the_time_to_connect_covers_the_welcome() {
    let mut client = Client::new(profile(), 1);
    client.handle_connecting();
    client.set_patience(START + Duration::from_secs(2));
    client.handle_connected(START + Duration::from_secs(1));
    assert_eq!(client.poll_timeout(), Some(START + Duration::from_secs(2)));
}

#[test]
fn w21_a_damaged_picture_is_told_so_that_a_keyframe_is_awaited() {
    let mut world = World::new(8, LAN);
    world.run(Duration::from_secs(3));
    let mut damaged = picture(TrackId(900), 1, true).bytes().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    world.client.handle_bytes(&damaged, world.now);
    let told = Event::Lost { track: TrackId(900), rendition: Rendition::High };
    assert_eq!(format!("{:?}", world.client.poll_event()), format!("{:?}", Some(told)));
}

#[test]
fn s13_a_refused_resume_is_followed_by_a_fresh_hello() {
    let mut world = World::new(6, LAN);
    world.run(Duration::from_secs(3));
    world.server.refuses = Some(Control::Error(Refusal::new(Code::Resume, "who?")));
    world.link.as_mut().unwrap().1.reset();
    world.run(Duration::from_millis(800));
    world.server.refuses = None;
    world.run(Duration::from_secs(5));
    assert_eq!(world.ups().last().map(|up| up.1), Some(false));
    assert!(world.client.is_up());
}

#[test]
fn s17_the_time_that_a_stopping_server_names_is_kept() {
    let mut world = World::new(7, LAN);
    world.run(Duration::from_secs(3));
    let goodbye =
        Goodbye { code: Some(Code::ShuttingDown), message: "back soon".into(), retry_after_ms: Some(5000) };
    let now = world.now;
    world.link.as_mut().unwrap().1.write(Frame::control(&Control::Goodbye(goodbye), 0).bytes(), now);
    world.run(Duration::from_secs(4));
    assert_eq!(world.ups().len(), 1);
    world.run(Duration::from_secs(3));
    assert_eq!(world.ups().len(), 2);
}

#[test]
fn w05_w06_x06_an_answer_in_another_protocol_is_named() {
    for (bytes, word) in [(&b"HTTP/1.1 302 Found\r\n"[..], "HTTP"), (&[0x15, 3, 3, 0, 2, 2, 40], "TLS")] {
        let mut client = Client::new(profile(), 1);
        client.handle_connecting();
        client.handle_connected(START);
        client.handle_bytes(bytes, START);
        match client.poll_event() {
            Some(Event::Ended(End::Unreachable(Down::Garbled(error)))) => {
                assert!(error.to_string().contains(word), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn w20_a_server_that_never_welcomes_is_given_up() {
    let mut client = Client::new(profile(), 1);
    client.handle_connecting();
    client.handle_connected(START);
    // What says nothing may wait for us to speak.
    let nudge = START + Duration::from_secs(2);
    assert_eq!(client.poll_timeout(), Some(nudge));
    client.handle_timeout(nudge);
    assert!(client.poll_transmit().is_some());
    assert_eq!(client.poll_timeout(), Some(START + limits::HELLO));
    client.handle_timeout(START + limits::HELLO);
    assert!(matches!(client.poll_event(), Some(Event::Ended(End::Unreachable(Down::NoWelcome)))));
    assert_eq!(client.want(START), Want::Nothing);
}

#[test]
fn w21_damaged_pictures_are_dropped_and_too_many_break_the_connection() {
    let mut world = World::new(8, LAN);
    world.run(Duration::from_secs(3));
    let mut damaged = picture(TrackId(900), 1, true).bytes().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let now = world.now;
    for n in 1..=limits::DAMAGED {
        assert!(world.client.is_up(), "{n}");
        world.client.handle_bytes(&damaged, now);
        assert_eq!(world.client.counts().damaged, n as u64);
    }
    assert!(!world.client.is_up());
    world.run(Duration::from_secs(5));
    assert_eq!(world.ups().last(), Some(&(SessionId(1), true)));
}

#[test]
fn tries_are_limited_where_the_user_limits_them() {
    let mut client = Client::new(Profile { tries: Some(2), ..profile() }, 1);
    client.handle_connecting();
    client.handle_connected(START);
    let hello = Frame::control(&welcome(SessionId(1), Secret([1; 16]), false), 0);
    client.handle_bytes(hello.bytes(), START);
    for _ in 0..3 {
        client.handle_connecting();
        client.handle_lost(Down::Closed, START);
    }
    let events: Vec<_> = std::iter::from_fn(|| client.poll_event()).collect();
    assert!(matches!(events.last(), Some(Event::Ended(End::GaveUp { tries: 2, .. }))), "{events:?}");
}

#[test]
fn w36_the_goodbye_that_answers_ours_is_no_refusal() {
    let mut world = World::new(9, LAN);
    world.run(Duration::from_secs(3));
    world.client.leave(world.now);
    let goodbye = Frame::control(&Control::Goodbye(Goodbye::default()), 0);
    world.client.handle_bytes(goodbye.bytes(), world.now);
    world.run(Duration::from_secs(1));
    assert!(matches!(world.events.last(), Some(Event::Ended(End::Left))));
}

#[test]
fn w36_leaving_waits_for_the_end_of_the_server_but_not_for_ever() {
    let mut world = World::new(9, LAN);
    world.run(Duration::from_secs(3));
    world.client.leave(world.now);
    assert!(world.client.is_leaving());
    world.run(Duration::from_secs(1));
    assert!(world.client.is_leaving());
    assert!(world.server.sessions.is_empty(), "the goodbye has arrived");
    world.run(Duration::from_secs(6));
    assert!(matches!(world.events.last(), Some(Event::Ended(End::Left))));
}

/// Whom the messages are for that the client writes.
fn addressees(client: &mut Client) -> Vec<Option<MemberId>> {
    let mut parser = Parser::new();
    std::iter::from_fn(|| client.poll_transmit()).for_each(|bytes| parser.push(&bytes));
    let mut all = Vec::new();
    while let Some(Incoming::Frame(frame)) = parser.poll().unwrap() {
        all.extend(frame.header.letter.map(|letter| letter.to));
    }
    all
}

#[test]
fn nothing_goes_to_a_member_by_a_number_of_another_life_of_the_room() {
    let (inbox, outbox) = (Inbox::default(), Outbox::new(SourceId([1; 16])));
    let messages = Some(Correspondence { history: 0, inbox, outbox });
    let mut client = Client::new(Profile { messages, ..profile() }, 1);
    let tell = |client: &mut Client, operation: Control| {
        client.handle_bytes(Frame::control(&operation, 0).bytes(), START);
    };
    let come_in = |client: &mut Client, resumed| {
        client.handle_connecting();
        client.handle_connected(START);
        tell(client, CHALLENGE);
        tell(client, welcome(SessionId(1), Secret([1; 16]), resumed));
    };
    let psst = |client: &mut Client| client.post("psst".into(), Some(MemberId(2)), None).unwrap();
    let nobody = Some(MemberId(0));
    come_in(&mut client, false);
    tell(&mut client, Control::State(State::default()));
    psst(&mut client);
    assert_eq!(addressees(&mut client), [Some(MemberId(2))]);
    // Another life of the server; the connection breaks before it has said who is here.
    client.handle_lost(Down::Closed, START);
    come_in(&mut client, false);
    psst(&mut client);
    assert_eq!(addressees(&mut client), [nobody, nobody]);
    client.moderate(5, Action::Kick, Some(MemberId(2)));
    let refused = |e| matches!(e, Event::Refused(refusal) if refusal.id == Some(5));
    assert!(std::iter::from_fn(|| client.poll_event()).any(refused), "2 may be somebody else");
    client.handle_lost(Down::Closed, START);
    psst(&mut client);
    come_in(&mut client, true);
    assert_eq!(addressees(&mut client), [nobody, nobody, nobody]);
    tell(&mut client, Control::State(State::default()));
    psst(&mut client);
    assert_eq!(addressees(&mut client), [Some(MemberId(2))]);
}
