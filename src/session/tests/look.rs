//! A program that only wants to know how the room is.

use super::*;
use crate::id::{OfferId, OfferNumber};
use crate::wire::control::{Member, Room};
use crate::wire::offer::OfferState;
use crate::wire::{Part, Piece};

/// What a server says of a room in which Bob is, in two parts.
fn state() -> [Control; 2] {
    let room = Some(Room { locked: true, ..Room::default() });
    let members = vec![Member::new(MemberId(1), "Bob")];
    let first = State { members, room, more: true, ..State::default() };
    [Control::State(first), Control::State(State::default())]
}

fn offered() -> Control {
    Control::OfferState(OfferState {
        offer: OfferNumber(3),
        offer_id: OfferId([1; 16]),
        member: None,
        name: "Bob".into(),
        key: None,
        to: None,
        direct: false,
        size: Some(5),
        chunk_size: limits::CHUNK_MIN,
        kept: 1,
        chunks: Some(1),
        sealed: true,
        uploading: false,
        received: 0,
        since: 0.0,
        expires: 1.0,
    })
}

/// A client that has said hello, and that hello.
fn looking(offers: bool) -> (Client, control::Hello) {
    let mut client = Client::new(Profile { look: true, offers, subscribe: Vec::new(), ..profile() }, 1);
    client.handle_connecting();
    client.handle_connected(START);
    hear(&mut client, [CHALLENGE]);
    match said(&mut client).as_slice() {
        [Control::Hello(hello)] => (client, hello.clone()),
        other => panic!("{other:?}"),
    }
}

fn hear(client: &mut Client, operations: impl IntoIterator<Item = Control>) {
    for operation in operations {
        client.handle_bytes(Frame::control(&operation, 0).bytes(), START);
    }
}

fn said(client: &mut Client) -> Vec<Control> {
    let mut parser = Parser::new();
    std::iter::from_fn(|| client.poll_transmit()).for_each(|bytes| parser.push(&bytes));
    let frames = std::iter::from_fn(|| parser.poll().unwrap());
    let operation = |incoming| match incoming {
        Incoming::Frame(frame) => frame.operation().unwrap(),
        Incoming::Damaged(_) => panic!("nothing is damaged here"),
    };
    frames.map(operation).collect()
}

fn events(client: &mut Client) -> Vec<Event> {
    std::iter::from_fn(|| client.poll_event()).collect()
}

#[test]
fn who_looks_is_told_the_room_and_its_offers_and_that_is_the_end() {
    let (mut client, hello) = looking(true);
    assert!(hello.look && hello.offers);
    hear(&mut client, state());
    hear(&mut client, [offered()]);
    let piece = Piece { offer: OfferNumber(3), part: Part::About, index: 0 };
    client.handle_bytes(Frame::file(piece, b"{}", 0).bytes(), START);
    // What only a member is told means nothing.
    hear(&mut client, [Control::Published { id: 1, track: TrackId(7) }, Control::CaughtUp { seq: 1 }]);
    hear(&mut client, [Control::Offers { count: 1 }, Control::Goodbye(Goodbye::default())]);
    let events = events(&mut client);
    let [Event::Looking, Event::State(state), Event::OfferState(_), Event::File(_), rest @ ..] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(
        (state.members.len(), state.room.clone()),
        (1, Some(Room { locked: true, ..Room::default() }))
    );
    assert!(matches!(rest, [Event::OffersListed, Event::Ended(End::Left)]), "{rest:?}");
    assert!(said(&mut client).is_empty(), "whoever looks says nothing");
    assert_eq!(client.want(START), Want::Nothing);
}

#[test]
fn whoever_has_seen_enough_goes_without_a_word() {
    let (mut client, hello) = looking(false);
    assert!(!hello.offers);
    hear(&mut client, state());
    client.leave(START);
    assert!(matches!(events(&mut client).last(), Some(Event::Ended(End::Left))));
    assert!(said(&mut client).is_empty());
}

#[test]
fn a_server_that_does_not_know_how_to_look_lets_the_program_in() {
    let (mut client, _) = looking(true);
    hear(&mut client, [welcome(SessionId(1), Secret([1; 16]), false)]);
    hear(&mut client, state());
    hear(&mut client, [offered(), Control::Offers { count: 1 }]);
    let events = events(&mut client);
    assert!(
        matches!(&events[..], [Event::Up { .. }, Event::State(_), Event::OfferState(_), Event::OffersListed]),
        "{events:?}"
    );
    client.leave(START);
    assert_eq!(said(&mut client), [Control::Goodbye(Goodbye::default())]);
    assert!(client.is_leaving());
}

#[test]
fn a_room_that_is_not_there_is_final() {
    let (mut client, _) = looking(false);
    let refusal = Refusal::new(Code::Room, "there is no such room");
    hear(&mut client, [Control::Error(refusal.clone())]);
    let events = events(&mut client);
    assert!(matches!(&events[..], [Event::Ended(End::Refused(r))] if *r == refusal), "{events:?}");
}

#[test]
fn w09_what_breaks_off_is_not_taken_for_all_of_it() {
    // The connection ends, or the server says goodbye, before everything has been told.
    for goodbye in [false, true] {
        for told in 1..3 {
            let (mut client, _) = looking(true);
            hear(&mut client, state().into_iter().take(told));
            match goodbye {
                true => hear(&mut client, [Control::Goodbye(Goodbye::default())]),
                false => client.handle_lost(Down::Closed, START),
            }
            let events = events(&mut client);
            let broken = |end: &End| !matches!(end, End::Left);
            assert!(matches!(events.last(), Some(Event::Ended(end)) if broken(end)), "{events:?}");
        }
    }
    // Once it has, there is nothing to complain of.
    let (mut client, _) = looking(false);
    hear(&mut client, state());
    client.handle_lost(Down::Broken("reset".into()), START);
    assert!(matches!(events(&mut client).last(), Some(Event::Ended(End::Left))));
}

#[test]
fn w20_a_server_that_falls_silent_while_it_tells_is_given_up() {
    let (mut client, _) = looking(true);
    hear(&mut client, state());
    events(&mut client);
    // A long answer over a thin line is not silence.
    let later = START + Duration::from_secs(10);
    client.handle_bytes(Frame::control(&offered(), 0).bytes(), later);
    assert!(matches!(events(&mut client)[..], [Event::OfferState(_)]));
    let until = client.poll_timeout().unwrap();
    assert_eq!(until, later + limits::SILENCE);
    client.handle_timeout(until);
    let events = events(&mut client);
    assert!(matches!(&events[..], [Event::Ended(End::Unreachable(Down::Silent))]), "{events:?}");
}

#[test]
fn a_stopping_server_is_looked_at_again_when_it_said_so() {
    let (mut client, _) = looking(false);
    let [first, _] = state();
    let goodbye =
        Goodbye { code: Some(Code::ShuttingDown), message: String::new(), retry_after_ms: Some(500) };
    hear(&mut client, [first, Control::Goodbye(goodbye)]);
    assert!(matches!(events(&mut client)[..], [Event::Looking, Event::Down { .. }]));
    client.handle_connecting();
    client.handle_connected(START);
    hear(&mut client, [CHALLENGE]);
    hear(&mut client, state());
    let events = events(&mut client);
    let [Event::Looking, Event::State(state)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(state.members.len(), 1, "nothing is left of the first time");
}

/// One that has been shown the first part.
fn shown() -> Client {
    let (mut client, _) = looking(true);
    hear(&mut client, state());
    events(&mut client);
    client
}

#[test]
fn whoever_does_not_read_or_was_stopped_does_not_blame_the_server() {
    for pause in [limits::SILENCE, limits::LOOK, Duration::from_secs(36_000)] {
        let mut client = shown();
        let woken = client.poll_timeout().unwrap() + pause;
        client.handle_timeout(woken);
        assert!(events(&mut client).is_empty(), "what has come is not read yet");
        client.handle_bytes(Frame::control(&offered(), 0).bytes(), woken);
        assert!(matches!(events(&mut client)[..], [Event::OfferState(_)]));
        // The bytes may be found before the timer.
        let until = client.poll_timeout().unwrap();
        client.handle_bytes(Frame::control(&offered(), 0).bytes(), until + pause);
        assert!(matches!(events(&mut client)[..], [Event::OfferState(_)]));
        // Silence after that is silence.
        client.handle_timeout(client.poll_timeout().unwrap());
        assert!(matches!(events(&mut client)[..], [Event::Ended(End::Unreachable(Down::Silent))]));

        let mut client = shown();
        let mut now = START;
        while now < START + limits::LOOK + pause {
            now = client.poll_timeout().unwrap();
            client.handle_not_reading(now);
            client.handle_timeout(now);
            assert!(events(&mut client).is_empty());
        }
    }
}

#[test]
fn w20_a_server_that_trickles_does_not_keep_who_looks_for_ever() {
    let mut client = shown();
    let answer = Frame::control(&offered(), 0).bytes().repeat(2);
    let mut seconds = 0;
    let why = loop {
        let now = START + Duration::from_secs(seconds as u64);
        client.handle_timeout(now);
        match client.poll_event() {
            Some(Event::Ended(End::Unreachable(why))) => break why,
            Some(Event::OfferState(_)) | None => {}
            other => panic!("{other:?}"),
        }
        client.handle_bytes(&answer[seconds..=seconds], now);
        seconds += 1;
    };
    assert_eq!((seconds, why.to_string()), (300, "the server takes too long to show the room".into()));
}
