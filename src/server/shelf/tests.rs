//! What becomes of offers that nobody can complete.

use super::*;
use crate::chat::Log;
use crate::id::{LogId, OfferId, RoomName, Secret};
use crate::room::{Join, Settings, Terms};
use crate::server::depot::{Holding, Row};

const ANN: PublicKey = PublicKey([1; 32]);
const BOB: PublicKey = PublicKey([2; 32]);

fn at(seconds: u64) -> Moment {
    Moment::from_micros(seconds * 1_000_000)
}

/// A room with Ann and Bob in it, over connections 1 and 2.
fn room() -> Room {
    let name: RoomName = "test".parse().unwrap();
    let mut room = Room::new(name, Terms::default(), Log::new(LogId([1; 8])), Settings::default(), at(0));
    for (connection, key, name) in [(1, ANN, "Ann"), (2, BOB, "Bob")] {
        join(&mut room, connection, key, name, None, at(0));
    }
    room
}

/// Somebody comes in over a connection whose token is its number, or goes on with the session of such a token.
fn join(room: &mut Room, connection: u64, key: PublicKey, name: &str, resume: Option<u8>, now: Moment) {
    let join = Join {
        connection: ConnectionId(connection),
        name: name.parse().unwrap(),
        key: Some(key),
        resume: resume.map(|token| Secret([token; 16])),
        token: Secret([connection as u8; 16]),
        subscribe: vec![],
        messages: None,
        wall: 0,
    };
    let admitted = room.handle_join(join, now).unwrap();
    assert_eq!(admitted.resumed, resume.is_some());
    room.handle_welcomed(ConnectionId(connection), None, now);
}

/// Ann's offers as an earlier life of the server has left them: a file and a pipe, which are not complete, and a
/// pipe that is.
fn shelf(hosts: bool) -> Shelf {
    let kept = |number: u32, size: Option<u64>, sealed: bool| {
        let record = Record {
            number: OfferNumber(number),
            id: OfferId([number as u8; 16]),
            owner: Some(ANN),
            name: "Ann".into(),
            direct: false,
            to: None,
            size,
            chunk_size: limits::CHUNK_MIN,
            chunks: None,
            sealed,
            since: 0,
            touched: 0,
        };
        let holding = Holding { sealed, ..Holding::default() };
        let room = "test".parse().unwrap();
        let stock =
            Stock::new(Row(number.into()), room, record.number, limits::CHUNK_MIN, record.size, holding);
        Kept { record, stock: Arc::new(stock), about: Some(Bytes::from_static(b"about")), received: vec![] }
    };
    let offers = vec![kept(1, Some(7), false), kept(2, None, false), kept(3, None, true)];
    let earlier = Earlier { until: at(990), hosts };
    Shelf::new(Some((Shelved { last: 3, offers }, Duration::from_secs(600))), earlier)
}

fn taken(shelf: &mut Shelf) -> Vec<(u32, Going)> {
    let outputs = std::iter::from_fn(|| shelf.poll_output());
    let taken = outputs.filter_map(|output| match output {
        Output::Withdraw(stock, _, going) => Some((stock.number.0, going)),
        _ => None,
    });
    taken.collect()
}

/// Offers the pipe again; what is answered.
fn again(shelf: &mut Shelf, room: &Room, connection: u64, now: Moment) -> Result<(), Code> {
    let offer = Offer { id: 9, offer: OfferId([2; 16]), chunk_size: limits::CHUNK_MIN, size: None, to: None };
    let request = Request { connection: ConnectionId(connection), id: 9 };
    shelf.handle_offer(request, &offer, || None, room, now);
    let mut answers = std::iter::from_fn(|| shelf.poll_output());
    answers
        .find_map(|output| match output {
            Output::Send(_, Control::Offered(offered)) if offered.id == 9 => Some(Ok(())),
            Output::Send(_, Control::Error(refusal)) if refusal.id == Some(9) => Some(Err(refusal.code)),
            _ => None,
        })
        .expect("an answer")
}

#[test]
fn f21_a_pipe_whose_sender_does_not_come_back_is_given_up_and_a_file_is_not() {
    let (room, mut shelf) = (room(), shelf(true));
    shelf.handle_timeout(&room, at(1_000));
    shelf.handle_timeout(&room, at(1_019));
    assert_eq!(taken(&mut shelf), []);
    assert!(shelf.poll_timeout().is_some_and(|next| next <= at(1_024)));
    shelf.handle_timeout(&room, at(1_025));
    assert_eq!(taken(&mut shelf), [(2, Going::Broken)]);
}

/// The offers that a newcomer is told of.
fn listed(shelf: &mut Shelf, room: &Room, now: Moment) -> Vec<u32> {
    shelf.handle_watcher(ConnectionId(2), room, now);
    let outputs = std::iter::from_fn(|| shelf.poll_output());
    let states = outputs.filter_map(|output| match output {
        Output::Send(_, Control::OfferState(state)) => Some(state.offer.0),
        _ => None,
    });
    states.collect()
}

#[test]
fn f21_a_pipe_whose_session_is_over_is_given_up_soon_and_told_to_nobody_any_more() {
    let (mut room, mut shelf) = (room(), shelf(true));
    assert_eq!(again(&mut shelf, &room, 1, at(1_000)), Ok(()));
    shelf.handle_timeout(&room, at(2_000));
    assert_eq!(taken(&mut shelf), [], "its sender is there");
    room.handle_broken(ConnectionId(1), at(2_000));
    shelf.handle_gone(ConnectionId(1), &room, at(2_000));
    room.handle_timeout(at(2_029));
    assert_eq!(listed(&mut shelf, &room, at(2_029)), [1, 2, 3]);
    room.handle_timeout(at(2_030));
    shelf.handle_timeout(&room, at(2_030));
    assert_eq!(taken(&mut shelf), [(2, Going::Broken)]);
    // The depot has yet to say that it is gone.
    assert_eq!(listed(&mut shelf, &room, at(2_030)), [1, 3]);
    // So nobody may go on with it, to be told in the next moment that it is gone.
    join(&mut room, 3, ANN, "Ann", None, at(2_031));
    assert_eq!(again(&mut shelf, &room, 3, at(2_031)), Err(Code::Offer));
    assert!(shelf.upload(ConnectionId(3), OfferNumber(2)).is_none());
    shelf.handle_timeout(&room, at(2_040));
    assert_eq!(taken(&mut shelf), [(2, Going::Broken)], "it is over, whoever has come");
}

#[test]
fn f21_a_pipe_whose_sender_says_goodbye_is_given_up_at_once() {
    let (mut room, mut shelf) = (room(), shelf(true));
    // Within the time for which it would have been waited for after the restart.
    assert_eq!(again(&mut shelf, &room, 1, at(1_000)), Ok(()));
    room.handle_goodbye(ConnectionId(1), at(1_001));
    shelf.handle_gone(ConnectionId(1), &room, at(1_001));
    assert_eq!(taken(&mut shelf), [(2, Going::Broken)]);
}

#[test]
fn f21_a_pipe_whose_sender_seals_it_and_leaves_at_once_is_not_given_up_before_the_depot_has_looked() {
    let (mut room, mut shelf) = (room(), shelf(true));
    assert_eq!(again(&mut shelf, &room, 1, at(1_000)), Ok(()));
    let seal = Seal { id: 8, offer: OfferNumber(2), chunks: 1, manifest: 1, sums: 1 };
    assert!(shelf.handle_seal(ConnectionId(1), seal, &room, at(1_100)).is_some());
    room.handle_goodbye(ConnectionId(1), at(1_100));
    shelf.handle_gone(ConnectionId(1), &room, at(1_100));
    assert_eq!(taken(&mut shelf), []);
    // It was not complete.
    shelf.handle_timeout(&room, at(1_131));
    assert_eq!(taken(&mut shelf), [(2, Going::Broken)]);
}

#[test]
fn f21_after_a_restart_a_pipe_is_told_only_while_its_sender_may_come_back() {
    let room = room();
    let (mut early, mut late) = (shelf(true), shelf(true));
    assert_eq!(listed(&mut early, &room, at(1_000)), [1, 2, 3]);
    late.handle_watcher(ConnectionId(2), &room, at(5_000));
    assert_eq!(taken(&mut late), [(2, Going::Broken)], "at once, and not after another grace");
    assert_eq!(listed(&mut late, &room, at(5_000)), [1, 3]);
}

#[test]
fn f20_what_a_guest_of_an_earlier_life_has_begun_can_never_be_completed() {
    let (room, mut shelf) = (room(), shelf(true));
    let entry = shelf.offers.get_mut(&OfferNumber(1)).unwrap();
    (entry.owner, entry.record.owner) = (Who::Nobody, None);
    assert!(shelf.poll_timeout().is_some());
    shelf.handle_timeout(&room, at(1_000));
    assert_eq!(taken(&mut shelf), [(1, Going::Broken)]);
}

#[test]
fn who_opens_a_room_again_is_not_host_of_what_others_have_left_there() {
    // Connection 1 is Ann, who is the first and so the host; Bob's offer is of an earlier life.
    let room = room();
    for known in [true, false] {
        let mut shelf = shelf(known);
        let entry = shelf.offers.get_mut(&OfferNumber(3)).unwrap();
        (entry.owner, entry.record.owner) = (Who::Key(BOB), Some(BOB));
        let request = |connection| Request { connection: ConnectionId(connection), id: 1 };
        shelf.handle_withdraw(request(1), OfferNumber(3), Going::Withdrawn, &room);
        match known {
            true => assert_eq!(taken(&mut shelf), [(3, Going::Withdrawn)]),
            false => match shelf.poll_output() {
                Some(Output::Send(ConnectionId(1), Control::Error(refusal))) => {
                    assert_eq!(refusal.code, Code::Denied);
                    assert!(refusal.message.contains("only its sender"), "{}", refusal.message);
                }
                other => panic!("{other:?}"),
            },
        }
        shelf.handle_withdraw(request(2), OfferNumber(3), Going::Withdrawn, &room);
        assert_eq!(taken(&mut shelf), [(3, Going::Withdrawn)], "its sender always may");
    }
}

#[test]
fn f21_a_pipe_whose_sender_comes_back_in_time_goes_on() {
    let (mut room, mut shelf) = (room(), shelf(true));
    shelf.handle_timeout(&room, at(1_000));
    assert_eq!(again(&mut shelf, &room, 1, at(1_015)), Ok(()));
    shelf.handle_timeout(&room, at(2_000));
    assert_eq!(taken(&mut shelf), []);
    room.handle_broken(ConnectionId(1), at(2_001));
    shelf.handle_gone(ConnectionId(1), &room, at(2_001));
    // At the last moment, and the offer a moment after it.
    room.handle_timeout(at(2_030));
    join(&mut room, 3, ANN, "Ann", Some(1), at(2_030));
    room.handle_timeout(at(2_033));
    shelf.handle_timeout(&room, at(2_033));
    assert_eq!(taken(&mut shelf), [], "its session lives");
    assert_eq!(again(&mut shelf, &room, 3, at(2_034)), Ok(()));
    room.handle_timeout(at(2_200));
    shelf.handle_timeout(&room, at(2_200));
    assert_eq!(taken(&mut shelf), []);
}

#[test]
fn f20_only_its_sender_says_that_an_offer_is_hopeless_and_only_before_it_is_complete() {
    let (room, mut shelf) = (room(), shelf(true));
    let mut withdraw = |connection: u64, number: u32, reason: Going| {
        let request = Request { connection: ConnectionId(connection), id: 1 };
        shelf.handle_withdraw(request, OfferNumber(number), reason, &room);
        taken(&mut shelf)
    };
    assert_eq!(withdraw(1, 1, Going::Changed), [(1, Going::Changed)]);
    assert_eq!(withdraw(1, 2, Going::Broken), [(2, Going::Broken)]);
    assert_eq!(withdraw(1, 3, Going::Broken), [(3, Going::Withdrawn)]);
    assert_eq!(withdraw(1, 1, Going::Expired), [(1, Going::Withdrawn)]);
    // Ann was first and is the host; Bob is nothing.
    assert_eq!(withdraw(2, 1, Going::Changed), []);
}

#[test]
fn who_only_looks_is_told_of_what_is_for_everybody_and_what_is_its_own() {
    let (room, mut shelf) = (room(), shelf(true));
    // The second is for Bob, the third for a guest of an earlier life.
    for (number, to) in [(2, Who::Key(BOB)), (3, Who::Nobody)] {
        shelf.offers.get_mut(&OfferNumber(number)).unwrap().to = Some(to);
    }
    shelf.offers.get_mut(&OfferNumber(3)).unwrap().owner = Who::Nobody;
    let seen = |key| {
        let told = shelf.look(ConnectionId(9), key, &room, at(0));
        let (mut numbers, mut abouts, mut counted) = (Vec::new(), 0, None);
        for output in told {
            match output {
                Output::Send(_, Control::OfferState(state)) => numbers.push(state.offer.0),
                Output::Send(_, Control::Offers { count }) => counted = Some(count),
                Output::Pass(..) => abouts += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((abouts, counted), (numbers.len(), Some(numbers.len() as u32)));
        numbers
    };
    assert_eq!(seen(None), [1]);
    assert_eq!(seen(Some(PublicKey([3; 32]))), [1]);
    assert_eq!(seen(Some(BOB)), [1, 2]);
    assert_eq!(seen(Some(ANN)), [1, 2]);
    assert!(shelf.watchers.is_empty() && shelf.poll_output().is_none());
}
