//! What is older than what a reader has.

use super::*;
use crate::chat::Past;

#[test]
fn a_store_that_cannot_be_read_is_an_error_with_the_number_of_the_request_and_not_the_end() {
    let past = Past { next: 500, limit: 1_000, last_public: 499, oldest: 1, ..Past::default() };
    let log = Log::restore(LogId([1; 8]), past);
    let mut room = Room::new("test".parse().unwrap(), Terms::default(), log, Settings::default(), at(0));
    let messages = Some(Messages { log: None, after: None, history: 0 });
    room.handle_join(Join { messages, ..join(1, "Ann") }, at(0)).unwrap();
    room.handle_welcomed(ConnectionId(1), messages, at(0));
    let mut ask = |id, found: Option<&[Entry]>| {
        outputs(&mut room);
        room.handle_older(ConnectionId(1), id, 400, 100);
        room.handle_drained(ConnectionId(1));
        let wanted = outputs(&mut room).into_iter().find_map(|output| match output {
            Output::Fetch(_, Fetch::Older(older), _) => Some(older),
            _ => None,
        });
        room.handle_found_older(ConnectionId(1), wanted.unwrap(), found);
        let answer = outputs(&mut room);
        // New messages go on behind it.
        room.handle_drained(ConnectionId(1));
        let told = outputs(&mut room);
        let caught_up = Output::Send(ConnectionId(1), Control::CaughtUp { seq: 499 });
        assert!(told.contains(&caught_up), "{told:?}");
        answer
    };
    let failed = ask(7, None);
    let [Output::Send(_, Control::Error(refusal))] = failed.as_slice() else { panic!("{failed:?}") };
    assert_eq!((refusal.code, refusal.id), (Code::Internal, Some(7)));
    assert_eq!(ask(8, Some(&[])), [Output::Send(ConnectionId(1), Control::Done { id: 8 })], "and again");
}
