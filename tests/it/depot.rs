//! Files before a room, as peers see them over the wire: offers, chunks, fetching, and what goes wrong.

use std::cell::Cell;
use std::path::Path;

use confkit::id::Secret;
use confkit::id::{OfferId, OfferNumber};
use confkit::server;
use confkit::server::depot::{Depot, Keep};
use confkit::session::Key;
use confkit::wire::control::{Control, Hello};
use confkit::wire::offer::{Fetch, Going, Offer};
use confkit::wire::{Code, Kind, Part};

use crate::support::files::{CHUNK, about, content, offer, piece, seal, wants_offers};
use crate::support::peer::{Host, Peer, hello};

fn host() -> Host {
    host_with(None, Keep::default())
}

fn host_with(directory: Option<&Path>, keep: Keep) -> Host {
    let depot = Depot::open(directory, keep).unwrap();
    Host::with(server::Config { depot: Some(depot), ..server::Config::default() })
}

fn key(seed: u8) -> Key {
    Key::from_seed(&Secret([seed; 32]))
}

fn chunks(offer: OfferNumber, ranges: Vec<(u32, Option<u32>)>) -> Fetch {
    Fetch { id: 5, offer, part: Part::Chunk, ranges }
}

#[test]
fn what_one_uploads_the_others_are_told_of_and_fetch() {
    let host = host();
    let (mut ann, mut bob) = (Peer::connect(host.address), Peer::connect(host.address));
    ann.hello(hello("Ann"));
    bob.hello(wants_offers("Bob"));
    let count = bob.wait(|op| if let Control::Offers { count } = op { Some(count) } else { None });
    assert_eq!(count, 0);

    let bytes = content(1, 3 * CHUNK as usize + 17);
    let number = ann.upload(1, &bytes);
    let told = bob.offer_state(|_| true);
    assert_eq!((told.offer, told.offer_id, told.name.as_str()), (number, OfferId([1; 16]), "Ann"));
    assert_eq!((told.size, told.chunks), (Some(bytes.len() as u64), Some(4)));
    let first = bob.wait_for(&Kind::File);
    assert_eq!(first.payload(), about(number).payload(), "its about follows");
    bob.offer_state(|state| state.sealed && state.kept == 4 && !state.uploading);

    assert_eq!(bob.download(number), bytes);
    let manifest = bob.fetch(Fetch { id: 6, offer: number, part: Part::Manifest, ranges: vec![(0, None)] });
    assert_eq!(manifest.len(), 1);
    let sums = bob.fetch(Fetch { id: 7, offer: number, part: Part::Sums, ranges: vec![(0, None)] });
    assert_eq!(sums.len(), 1);
    let some = bob.fetch(chunks(number, vec![(3, Some(4)), (1, Some(2))]));
    assert_eq!(some.iter().map(|frame| frame.header.piece.unwrap().index).collect::<Vec<_>>(), [3, 1]);

    bob.say(&Control::Received { offer: number });
    bob.offer_state(|state| state.received == 1);
    bob.say(&Control::Received { offer: number });
    ann.say(&Control::Received { offer: number });

    // Who comes later is told as well, also when the sender has gone.
    ann.say(&Control::Goodbye(Default::default()));
    drop(ann);
    let mut eve = Peer::connect(host.address);
    eve.hello(wants_offers("Eve"));
    let told = eve.offer_state(|_| true);
    assert_eq!((told.received, told.sealed), (1, true));
    eve.wait_for(&Kind::File);
    assert_eq!(eve.wait(|op| if let Control::Offers { count } = op { Some(count) } else { None }), 1);
    assert_eq!(eve.download(number), bytes);
}

#[test]
fn f22_empty_and_exact_multiples_of_a_chunk() {
    let host = host();
    let mut ann = Peer::connect(host.address);
    ann.hello(hello("Ann"));
    let chunk = CHUNK as usize;
    for (seed, length) in [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk].into_iter().enumerate() {
        let bytes = content(seed as u8, length);
        let number = ann.upload(seed as u8 + 1, &bytes);
        assert_eq!(ann.download(number), bytes, "{length} bytes");
    }
}

#[test]
fn a_fetch_waits_for_what_is_still_being_uploaded() {
    let host = host();
    let (mut ann, mut bob) = (Peer::connect(host.address), Peer::connect(host.address));
    ann.hello(hello("Ann"));
    bob.hello(wants_offers("Bob"));
    let bytes = content(1, 2 * CHUNK as usize + 5);
    let pieces: Vec<&[u8]> = bytes.chunks(CHUNK as usize).collect();
    let number = ann.offer(&offer(1, None)).offer;
    ann.send(about(number).bytes());
    bob.offer_state(|state| state.offer == number && state.size.is_none());
    bob.say(&Control::Fetch(chunks(number, vec![(0, None)])));
    bob.wait_for(&Kind::File);
    for (index, payload) in pieces.iter().enumerate() {
        // The last one first: bob gets them in order all the same.
        if index != 1 {
            ann.send(piece(number, Part::Chunk, index as u32, payload).bytes());
        }
    }
    assert_eq!(bob.wait_for(&Kind::File).header.piece.unwrap().index, 0);
    ann.kept(2);
    ann.send(piece(number, Part::Chunk, 1, pieces[1]).bytes());
    assert_eq!(bob.wait_for(&Kind::File).payload(), pieces[1]);
    assert_eq!(bob.wait_for(&Kind::File).payload(), pieces[2]);
    ann.send(piece(number, Part::Manifest, 0, b"{}").bytes());
    ann.send(piece(number, Part::Sums, 0, b"{}").bytes());
    ann.say(&Control::Seal(seal(number, 3)));
    bob.done(5);
}

#[test]
fn f12_f24_chunks_that_do_not_fit_are_refused_and_the_rest_goes_on() {
    let host = host();
    let mut ann = Peer::connect(host.address);
    ann.hello(hello("Ann"));
    let bytes = content(1, 2 * CHUNK as usize + 5);
    let pieces: Vec<&[u8]> = bytes.chunks(CHUNK as usize).collect();
    let number = ann.offer(&offer(1, Some(bytes.len() as u64))).offer;
    let refused = |ann: &mut Peer, frame: &[u8]| {
        ann.send(frame);
        ann.refused_piece().code
    };
    let chunk = |index, payload: &[u8]| piece(number, Part::Chunk, index, payload).bytes().to_vec();
    let mut damaged = chunk(0, pieces[0]);
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&mut ann, &damaged), Code::Checksum);
    assert_eq!(refused(&mut ann, &chunk(0, b"short")), Code::Conflict);
    assert_eq!(refused(&mut ann, &chunk(2, b"longer than it")), Code::Conflict);
    assert_eq!(refused(&mut ann, &chunk(3, pieces[0])), Code::Conflict);
    assert_eq!(refused(&mut ann, &chunk(u32::MAX, pieces[0])), Code::Conflict);
    let other = piece(OfferNumber(99), Part::Chunk, 0, pieces[0]);
    assert_eq!(refused(&mut ann, other.bytes()), Code::Offer);
    assert_eq!(refused(&mut ann, piece(number, Part::Manifest, 1, b"{}").bytes()), Code::Conflict);
    assert_eq!(refused(&mut ann, piece(number, Part::About, 0, &[b' '; 5_000]).bytes()), Code::Conflict);

    ann.send(about(number).bytes());
    ann.send(piece(number, Part::Manifest, 0, b"{}").bytes());
    for index in [2, 0] {
        ann.send(&chunk(index, pieces[index as usize]));
    }
    ann.kept(2);
    // The same again with other bytes: the first counts.
    ann.send(&chunk(2, b"other"));
    ann.kept(1);
    ann.send(piece(number, Part::Sums, 0, b"{}").bytes());
    ann.say(&Control::Seal(seal(number, 3)));
    assert_eq!(ann.refusal(u64::from(number.0) + 1_000).code, Code::Incomplete);
    let again = ann.offer(&offer(1, Some(bytes.len() as u64)));
    assert_eq!((again.stored, again.manifest, again.sums), (vec![[0, 1], [2, 3]], 1, 1));
    ann.send(&chunk(1, pieces[1]));
    ann.say(&Control::Seal(confkit::wire::offer::Seal { id: 9, ..seal(number, 4) }));
    assert_eq!(ann.refusal(9).code, Code::Conflict);
    ann.say(&Control::Seal(confkit::wire::offer::Seal { id: 10, ..seal(number, 3) }));
    ann.done(10);
    assert_eq!(ann.download(number), bytes);
    assert!(ann.offer(&offer(1, Some(bytes.len() as u64))).sealed);
}

#[test]
fn f27_offers_that_make_no_sense_are_refused() {
    let host = host();
    let mut ann = Peer::connect(host.address);
    ann.hello(hello("Ann"));
    for chunk_size in [0, 1, 3, CHUNK + 1, CHUNK / 2, 2 * 1024 * 1024, u32::MAX] {
        ann.say(&Control::Offer(Offer { chunk_size, ..offer(1, Some(1)) }));
        assert_eq!(ann.refusal(1).code, Code::Conflict, "{chunk_size}");
    }
    ann.say(&Control::Offer(offer(1, Some(1 << 53))));
    assert_eq!(ann.refusal(1).code, Code::Conflict);
    ann.say(&Control::Offer(offer(1, Some(1 << 39))));
    assert_eq!(ann.refusal(1).code, Code::Quota);
    ann.say(&Control::Offer(Offer { to: Some(confkit::id::MemberId(99)), ..offer(1, Some(1)) }));
    assert_eq!(ann.refusal(1).code, Code::Member);
    for (part, ranges) in [
        (Part::Chunk, vec![]),
        (Part::Chunk, vec![(1, Some(1))]),
        (Part::Chunk, vec![(1, None), (2, Some(3))]),
        (Part::About, vec![(0, None)]),
    ] {
        let number = ann.offer(&offer(2, Some(1))).offer;
        ann.send(about(number).bytes());
        ann.settle();
        ann.say(&Control::Fetch(Fetch { id: 8, offer: number, part, ranges }));
        let refused = ann.refusal(8).code;
        assert!(matches!(refused, Code::Conflict | Code::Offer), "{refused:?}");
    }
    ann.say(&Control::Fetch(chunks(OfferNumber(1_000), vec![(0, None)])));
    assert_eq!(ann.refusal(5).code, Code::Offer);
}

#[test]
fn only_its_sender_goes_on_with_an_offer_and_only_the_same() {
    let host = host();
    let (mut ann, mut eve) = (Peer::connect(host.address), Peer::connect(host.address));
    ann.hello_as(&key(1), hello("Ann"));
    eve.hello_as(&key(2), hello("Eve"));
    let bytes = content(1, CHUNK as usize);
    let number = ann.offer(&offer(1, Some(bytes.len() as u64))).offer;
    eve.say(&Control::Offer(offer(1, Some(bytes.len() as u64))));
    assert_eq!(eve.refusal(1).code, Code::Denied);
    eve.send(piece(number, Part::Chunk, 0, &bytes).bytes());
    assert_eq!(eve.refused_piece().code, Code::Offer);
    eve.say(&Control::Seal(seal(number, 1)));
    assert_eq!(eve.refusal(u64::from(number.0) + 1_000).code, Code::Offer);
    eve.say(&Control::Withdraw { id: 3, offer: number, reason: Going::Withdrawn });
    assert_eq!(eve.refusal(3).code, Code::Offer, "its about is not there, so she does not know of it");
    ann.send(about(number).bytes());
    ann.send(piece(number, Part::Chunk, 0, &bytes).bytes());
    ann.kept(1);
    eve.say(&Control::Withdraw { id: 4, offer: number, reason: Going::Withdrawn });
    assert_eq!(eve.refusal(4).code, Code::Denied);
    for other in [
        offer(1, Some(1)),
        offer(1, None),
        Offer { chunk_size: 2 * CHUNK, ..offer(1, Some(bytes.len() as u64)) },
    ] {
        ann.say(&Control::Offer(other));
        assert_eq!(ann.refusal(1).code, Code::Conflict);
    }
    // Another program of hers may.
    let mut also = Peer::connect(host.address);
    also.hello_as(&key(1), hello("Ann"));
    assert_eq!(also.offer(&offer(1, Some(bytes.len() as u64))).stored, [[0, 1]]);
    also.say(&Control::Withdraw { id: 5, offer: number, reason: Going::Withdrawn });
    also.done(5);
    ann.wait(|op| matches!(op, Control::OfferGone { reason: Going::Withdrawn, .. }).then_some(()));
}

#[test]
fn an_offer_to_one_member_is_not_told_to_others() {
    let host = host();
    let (mut ann, mut bob, mut eve) =
        (Peer::connect(host.address), Peer::connect(host.address), Peer::connect(host.address));
    ann.hello_as(&key(1), wants_offers("Ann"));
    let bobs = bob.hello_as(&key(2), wants_offers("Bob"));
    eve.hello_as(&key(3), wants_offers("Eve"));
    let direct = Offer { to: Some(bobs.member), ..offer(1, Some(CHUNK.into())) };
    let number = ann.offer(&direct).offer;
    let bytes = content(1, CHUNK as usize);
    ann.send(about(number).bytes());
    ann.send(piece(number, Part::Chunk, 0, &bytes).bytes());
    let told = bob.offer_state(|_| true);
    assert_eq!((told.direct, told.to), (true, Some(bobs.member)));
    assert_eq!(bob.fetch(chunks(number, vec![(0, Some(1))])).len(), 1);
    eve.say(&Control::Fetch(chunks(number, vec![(0, None)])));
    assert_eq!(eve.refusal(5).code, Code::Offer);
    eve.say(&Control::Received { offer: number });
    let seen = eve.settle();
    let offers = seen.iter().filter(|frame| matches!(frame.operation(), Ok(Control::OfferState(_)))).count();
    assert_eq!(offers, 0);
}

#[test]
fn f29_what_was_kept_is_there_after_a_restart_and_uploads_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = content(1, 5 * CHUNK as usize + 1);
    let pieces: Vec<&[u8]> = bytes.chunks(CHUNK as usize).collect();
    let size = Some(bytes.len() as u64);
    let whole = content(9, 3 * CHUNK as usize);
    let (first, second) = {
        let host = host_with(Some(directory.path()), Keep::default());
        let mut ann = Peer::connect(host.address);
        ann.hello_as(&key(1), hello("Ann"));
        let first = ann.offer(&offer(1, size)).offer;
        ann.send(about(first).bytes());
        ann.send(piece(first, Part::Manifest, 0, b"{}").bytes());
        for index in [0, 1, 4] {
            ann.send(piece(first, Part::Chunk, index, pieces[index as usize]).bytes());
        }
        ann.kept(3);
        let second = ann.upload(2, &whole);
        // Eve is a guest: nobody can go on with what she has begun.
        let mut eve = Peer::connect(host.address);
        eve.hello(hello("Eve"));
        let third = eve.offer(&offer(3, None)).offer;
        eve.send(about(third).bytes());
        eve.settle();
        (first, second)
    };
    let host = host_with(Some(directory.path()), Keep::default());
    let (mut ann, mut bob) = (Peer::connect(host.address), Peer::connect(host.address));
    ann.hello_as(&key(1), hello("Ann"));
    bob.hello(wants_offers("Bob"));
    assert_eq!(bob.wait(|op| if let Control::Offers { count } = op { Some(count) } else { None }), 2);
    assert_eq!(bob.download(second), whole);
    let again = ann.offer(&offer(1, size));
    assert_eq!(
        (again.offer, again.stored, again.manifest, again.about),
        (first, vec![[0, 2], [4, 5]], 1, true)
    );
    for index in [2, 3, 5] {
        ann.send(piece(first, Part::Chunk, index, pieces[index as usize]).bytes());
    }
    ann.send(piece(first, Part::Sums, 0, b"{}").bytes());
    ann.say(&Control::Seal(seal(first, 6)));
    ann.done(u64::from(first.0) + 1_000);
    assert_eq!(bob.download(first), bytes);
    assert_eq!(ann.offer(&offer(4, None)).offer.0, 4, "numbers are never given twice");
}

#[test]
fn f30_a_receiver_that_does_not_read_holds_up_nobody() {
    let host = host();
    let mut ann = Peer::connect(host.address);
    ann.hello(hello("Ann"));
    let bytes = content(1, 40 * CHUNK as usize);
    let number = ann.upload(1, &bytes);
    let mut stuck = Peer::connect(host.address);
    stuck.hello(hello("Stuck"));
    stuck.say(&Control::Fetch(chunks(number, vec![(0, None)])));
    let mut bob = Peer::connect(host.address);
    bob.hello(hello("Bob"));
    assert_eq!(bob.download(number), bytes);
    assert_eq!(ann.upload(2, &bytes), OfferNumber(2));
}

#[test]
fn a_withdrawn_offer_ends_what_is_fetched_of_it() {
    let host = host();
    let (mut ann, mut bob) = (Peer::connect(host.address), Peer::connect(host.address));
    ann.hello(hello("Ann"));
    bob.hello(wants_offers("Bob"));
    let number = ann.offer(&offer(1, None)).offer;
    ann.send(about(number).bytes());
    bob.offer_state(|_| true);
    bob.say(&Control::Fetch(chunks(number, vec![(0, None)])));
    bob.say(&Control::Fetch(Fetch { id: 6, ..chunks(number, vec![(3, None)]) }));
    bob.say(&Control::Unfetch { id: 6 });
    bob.done(6);
    ann.say(&Control::Withdraw { id: 3, offer: number, reason: Going::Withdrawn });
    ann.done(3);
    assert_eq!(bob.refusal(5).code, Code::Offer);
    // A guest's unfinished offer goes with the guest.
    let number = ann.offer(&offer(2, None)).offer;
    ann.send(about(number).bytes());
    ann.settle();
    ann.say(&Control::Goodbye(Default::default()));
    let gone = |op| matches!(op, Control::OfferGone { offer, .. } if offer == number).then_some(());
    bob.wait(gone);
}

#[test]
fn f12_a_quota_that_is_used_up_is_said_and_what_was_kept_stays() {
    let keep = Keep { bytes: 4 * u64::from(CHUNK), ..Keep::default() };
    let host = host_with(None, keep);
    let mut ann = Peer::connect(host.address);
    ann.hello(Hello { offers: true, ..hello("Ann") });
    let bytes = content(1, CHUNK as usize);
    ann.say(&Control::Offer(offer(9, Some(5 * u64::from(CHUNK)))));
    assert_eq!(ann.refusal(9).code, Code::Quota);
    let number = ann.offer(&offer(1, None)).offer;
    ann.send(about(number).bytes());
    for index in 0..4 {
        ann.send(piece(number, Part::Chunk, index, &bytes).bytes());
    }
    let (kept, refused) = (Cell::new(0), Cell::new(None));
    ann.wait(|op| {
        match op {
            Control::Kept { chunks, .. } => {
                kept.set(kept.get() + chunks.iter().map(|[from, to]| to - from).sum::<u32>())
            }
            Control::Error(refusal) => refused.set(Some((refusal.code, refusal.piece.unwrap().index))),
            _ => {}
        }
        (kept.get() == 3 && refused.get().is_some()).then_some(())
    });
    assert_eq!(refused.get(), Some((Code::Quota, 3)));
    assert_eq!(ann.offer(&offer(1, None)).stored, [[0, 3]]);
    let full = ann.offer(&offer(2, None)).offer;
    ann.send(about(full).bytes());
    ann.send(piece(full, Part::Chunk, 0, &bytes).bytes());
    assert_eq!(ann.refused_piece().code, Code::Quota);
    // When there is room again it goes on.
    ann.say(&Control::Withdraw { id: 3, offer: number, reason: Going::Withdrawn });
    ann.done(3);
    ann.send(piece(full, Part::Chunk, 0, &bytes).bytes());
    ann.kept(1);
}
