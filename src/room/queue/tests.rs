//! The queue of one receiver, filled and emptied.

use proptest::prelude::*;

use super::*;

const FLOW: Flow = (TrackId(1), Rendition::High);

fn at(ms: u64) -> Moment {
    Moment::from_micros(ms * 1_000)
}

fn picture(seq: u64, key: bool, tid: u8) -> Media {
    Media { track: FLOW.0, seq, pts: seq * 33_333, key, rendition: FLOW.1, tid }
}

/// Writes everything and gives the number of bytes.
fn drain(queue: &mut Queue, now: Moment) -> usize {
    let mut total = 0;
    while !queue.is_empty() {
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = queue.slices(&mut slices);
        let count = slices[..filled].iter().map(|s| s.len()).sum();
        queue.wrote(count, now);
        total += count;
    }
    total
}

fn queue() -> Queue {
    let mut queue = Queue::new(at(0));
    (0..3).for_each(|track| queue.open(TrackId(track)));
    queue
}

#[test]
fn what_a_replay_has_brought_is_not_sent_again() {
    let mut queue = queue();
    for seq in 5..8 {
        assert!(queue.push_media(&picture(seq, seq == 5, 0), &Bytes::from_static(b"x"), at(0)));
    }
    drain(&mut queue, at(1));
    let mut gop = Gop::default();
    (5..9).for_each(|seq| gop.push(&picture(seq, seq == 5, 0), &Bytes::from_static(b"x"), at(1)));
    assert!(queue.replay(FLOW, &gop, at(1)));
    assert_eq!(drain(&mut queue, at(1)), 4);
    assert!(
        !queue.push_media(&picture(8, false, 0), &Bytes::from_static(b"x"), at(1)),
        "its sender was slower"
    );
    assert!(!queue.replay(FLOW, &gop, at(100)), "not again so soon");
    assert!(queue.push_media(&picture(9, false, 0), &Bytes::from_static(b"x"), at(100)));
}

/// A cache with these pictures; each is one byte that is its number.
fn group(track: u32, pictures: &[(u64, bool, u8)]) -> Gop {
    let mut gop = Gop::default();
    for &(seq, key, tid) in pictures {
        let media = Media { track: TrackId(track), ..picture(seq, key, tid) };
        gop.push(&media, &vec![seq as u8].into(), at(0));
    }
    gop
}

/// Writes everything and gives the bytes.
fn written(queue: &mut Queue, now: Moment) -> Vec<u8> {
    let mut out = Vec::new();
    while !queue.is_empty() {
        let mut slices = [IoSlice::new(&[])];
        queue.slices(&mut slices);
        out.extend_from_slice(&slices[0]);
        let count = slices[0].len();
        queue.wrote(count, now);
    }
    out
}

/// The simulation found it, seed 3668: a keyframe had been begun when all that waited was given up, so
/// it was sent whole; the cache still had its group when the connection had taken it, and sent it again.
#[test]
fn a_flow_that_gave_up_behind_its_keyframe_goes_on_behind_it() {
    let mut queue = queue();
    let other = Media { track: TrackId(2), ..picture(7, true, 0) };
    queue.push_media(&picture(122, true, 0), &vec![122; 2].into(), at(0));
    queue.push_media(&other, &vec![7].into(), at(0));
    queue.wrote(1, at(1));
    assert!(!queue.push_media(&picture(123, false, 2), &vec![123].into(), at(300)), "the line is stuck");
    assert_eq!(written(&mut queue, at(301)), [122]);
    assert_eq!(queue.starved().count(), 2);
    let gop = group(1, &[(122, true, 0), (123, false, 2), (124, false, 0), (125, false, 2)]);
    assert!(queue.replay(FLOW, &gop, at(302)));
    assert_eq!(written(&mut queue, at(303)), [124, 125], "123 may refer to what was given up");
    assert!(queue.push_media(&picture(126, false, 1), &vec![126].into(), at(304)));
    let gop = group(2, &[(7, true, 0), (8, false, 0)]);
    assert!(queue.replay((TrackId(2), FLOW.1), &gop, at(305)));
    assert_eq!(written(&mut queue, at(306)), [126, 7, 8], "of the other nothing had been sent");
}

#[test]
fn a_keyframe_that_a_replay_has_overtaken_neither_comes_twice_nor_removes_what_waits() {
    let mut queue = queue();
    queue.push_reliable(vec![0; 2].into(), at(0)).unwrap();
    queue.wrote(1, at(0));
    assert!(queue.replay(FLOW, &group(1, &[(5, true, 0), (6, false, 0)]), at(0)));
    assert!(!queue.push_media(&picture(5, true, 0), &vec![5].into(), at(0)), "its sender was slower");
    assert_eq!(written(&mut queue, at(1)), [0, 5, 6]);
}

#[test]
fn who_asks_although_nothing_was_given_up_gets_the_whole_group_again_but_not_at_once() {
    let mut queue = queue();
    let gop = group(1, &[(5, true, 0), (6, false, 0)]);
    assert!(queue.replay(FLOW, &gop, at(0)));
    assert_eq!(written(&mut queue, at(1)), [5, 6]);
    assert!(!queue.replay(FLOW, &gop, at(100)));
    assert!(queue.replay(FLOW, &gop, at(500)));
    assert_eq!(written(&mut queue, at(501)), [5, 6]);
}

#[test]
fn a_publisher_who_comes_back_may_number_its_pictures_anew() {
    let mut queue = queue();
    let bytes = Bytes::from_static(b"x");
    assert!(queue.push_media(&picture(7, true, 0), &bytes, at(0)));
    assert!(!queue.push_media(&picture(7, true, 0), &bytes, at(1)), "it has that");
    queue.interrupt(FLOW);
    assert!(!queue.push_media(&picture(8, false, 0), &bytes, at(2)));
    assert!(queue.push_media(&picture(7, true, 0), &bytes, at(3)), "another picture with its number");
}

#[test]
fn a_track_that_is_not_wanted_any_more_does_not_come_back() {
    let mut queue = queue();
    queue.push_reliable(vec![1].into(), at(0)).unwrap();
    assert!(queue.push_media(&picture(0, true, 0), &vec![0].into(), at(0)));
    queue.forget(FLOW.0);
    assert_eq!(written(&mut queue, at(0)), [1], "nor does what waited of it");
    assert!(!queue.push_media(&picture(0, true, 0), &Bytes::from_static(b"x"), at(0)));
    assert_eq!(queue.starved().count(), 0);
}

#[test]
fn frames_leave_in_order_across_partial_writes() {
    let mut queue = queue();
    queue.push_reliable(Bytes::from_static(b"control"), at(0)).unwrap();
    assert!(queue.push_media(&picture(0, true, 0), &Bytes::from_static(b"key"), at(0)));
    let mut out = Vec::new();
    while !queue.is_empty() {
        let mut slices = [IoSlice::new(&[]); 2];
        queue.slices(&mut slices);
        out.push(slices[0][0]);
        queue.wrote(1, at(0));
    }
    assert_eq!(out, b"controlkey");
    assert_eq!(queue.bytes(), 0);
}

#[test]
fn v01_nothing_before_the_first_keyframe() {
    let mut queue = queue();
    assert!(!queue.push_media(&picture(0, false, 0), &Bytes::from_static(b"x"), at(0)));
    assert!(queue.wants_key(FLOW));
    assert!(queue.push_media(&picture(1, true, 0), &Bytes::from_static(b"x"), at(0)));
    assert!(!queue.wants_key(FLOW));
}

#[test]
fn upper_layers_go_first_and_come_back_at_the_next_base_picture() {
    let mut queue = queue();
    queue.push_media(&picture(0, true, 0), &Bytes::from_static(b"k"), at(0));
    assert!(queue.push_media(&picture(1, false, 2), &Bytes::from_static(b"2"), at(33)));
    assert!(!queue.push_media(&picture(2, false, 2), &Bytes::from_static(b"2"), at(70)));
    assert!(!queue.push_media(&picture(3, false, 1), &Bytes::from_static(b"1"), at(130)));
    drain(&mut queue, at(131));
    assert!(
        !queue.push_media(&picture(4, false, 2), &Bytes::from_static(b"2"), at(132)),
        "its reference is missing"
    );
    assert!(queue.push_media(&picture(5, false, 0), &Bytes::from_static(b"0"), at(133)));
    assert!(queue.push_media(&picture(6, false, 2), &Bytes::from_static(b"2"), at(134)));
}

#[test]
fn a_stalled_receiver_keeps_little_and_starts_again_at_a_keyframe() {
    let mut queue = queue();
    queue.push_media(&picture(0, true, 0), &vec![0; 1000].into(), at(0));
    queue.wrote(1, at(1));
    for n in 1..1000 {
        queue.push_media(&picture(n, n % 60 == 0, 0), &vec![0; 1000].into(), at(n * 33));
    }
    assert!(queue.bytes() < 1000, "only the frame that was begun");
    assert_eq!(queue.starved().count(), 0, "no keyframe is asked for while nothing is taken");
    assert_eq!(drain(&mut queue, at(40_000)), 999);
    assert_eq!(queue.starved().collect::<Vec<_>>(), [FLOW]);
    assert!(!queue.push_media(&picture(1000, false, 0), &vec![0; 10].into(), at(40_001)));
    assert!(queue.push_media(&picture(1001, true, 0), &vec![0; 10].into(), at(40_002)));
}

#[test]
fn s04_waiting_bytes_stay_within_the_limit() {
    let mut queue = queue();
    queue.push_reliable(vec![0; 10].into(), at(0)).unwrap();
    queue.wrote(1, at(0));
    for n in 0..50 {
        queue.push_media(&picture(n, n % 5 == 0, 0), &vec![0; limits::VIDEO / 2].into(), at(n));
        assert!(queue.bytes() <= limits::QUEUE);
    }
}

#[test]
fn s05_control_frames_are_never_dropped_but_bounded() {
    let mut queue = queue();
    let mut taken = 0;
    while queue.push_reliable(vec![0; 1000].into(), at(0)).is_ok() {
        taken += 1000;
    }
    assert!(taken <= limits::QUEUE_RELIABLE);
    assert_eq!(drain(&mut queue, at(60_000)), taken);
}

#[test]
fn w37_a_connection_that_takes_nothing_is_stalled_after_10_s() {
    let mut queue = queue();
    assert_eq!(queue.poll_timeout(), None);
    queue.push_reliable(vec![0; 10].into(), at(5_000)).unwrap();
    assert_eq!(queue.poll_timeout(), Some(at(15_000)));
    queue.wrote(1, at(9_000));
    assert_eq!(queue.poll_timeout(), Some(at(19_000)));
}

#[derive(Debug, Clone)]
enum Step {
    Push { flow: u8, key: bool, size: usize },
    Write(usize),
    Wait(u64),
    Control,
    Interrupt(u8),
    Starved,
    Ask(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_u8, prop::bool::weighted(0.05), 10..60_000_usize).prop_map(|(flow, key, size)| Step::Push { flow, key, size }),
        4 => (0..80_000_usize).prop_map(Step::Write),
        3 => (0..90_u64).prop_map(Step::Wait),
        1 => Just(Step::Control),
        1 => (0..3_u8).prop_map(Step::Interrupt),
        3 => Just(Step::Starved),
        1 => (0..3_u8).prop_map(Step::Ask),
    ]
}

/// Layers as the encoder gives them: 0 2 1 2.
const LAYERS: [u8; 4] = [0, 2, 1, 2];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn no_picture_is_sent_without_its_reference(steps in prop::collection::vec(step(), 1..400)) {
        let mut queue = queue();
        let mut now = 0;
        // Per flow: pictures made, as (key, tid, needs); and those that were written whole.
        let mut made: [Vec<(bool, u8)>; 3] = Default::default();
        let mut phase = [0_usize; 3];
        let mut sent: [Vec<u64>; 3] = Default::default();
        let mut wire: VecDeque<(usize, Option<(u8, u64)>)> = VecDeque::new();
        let mut gops: [Gop; 3] = Default::default();
        // What was sent before a receiver asked for the same pictures again.
        let mut earlier: Vec<(usize, Vec<u64>)> = Vec::new();
        for step in steps {
            match step {
                Step::Push { flow, key, size } => {
                    let f = flow as usize;
                    if key { phase[f] = 0; }
                    let tid = LAYERS[phase[f] % 4];
                    phase[f] += 1;
                    let seq = made[f].len() as u64;
                    made[f].push((key, tid));
                    let media = Media { track: TrackId(flow.into()), seq, pts: 0, key, rendition: Rendition::High, tid };
                    let mut bytes = vec![0; size];
                    bytes[0] = flow;
                    bytes[1..9].copy_from_slice(&seq.to_be_bytes());
                    let bytes = Bytes::from(bytes);
                    gops[f].push(&media, &bytes, at(now));
                    queue.push_media(&media, &bytes, at(now));
                }
                Step::Starved => {
                    for (track, rendition) in queue.starved().collect::<Vec<_>>() {
                        queue.replay((track, rendition), &gops[track.0 as usize], at(now));
                    }
                }
                Step::Ask(flow) if queue.is_empty() => {
                    let f = flow as usize;
                    let name = (TrackId(flow.into()), Rendition::High);
                    if !queue.wants_key(name) && queue.replay(name, &gops[f], at(now)) {
                        earlier.push((f, std::mem::take(&mut sent[f])));
                    }
                }
                Step::Ask(_) => {}
                Step::Control => { let _ = queue.push_reliable(vec![9; 20].into(), at(now)); }
                Step::Wait(ms) => now += ms,
                Step::Interrupt(flow) => {
                    gops[flow as usize].clear();
                    queue.interrupt((TrackId(flow.into()), Rendition::High));
                }
                Step::Write(mut budget) => {
                    while budget > 0 && !queue.is_empty() {
                        let mut slices = [IoSlice::new(&[]); 1];
                        queue.slices(&mut slices);
                        if wire.is_empty() {
                            let first = &slices[0];
                            let name = (first[0] != 9).then(|| (first[0], u64::from_be_bytes(first[1..9].try_into().unwrap())));
                            wire.push_back((first.len(), name));
                        }
                        let count = slices[0].len().min(budget);
                        budget -= count;
                        queue.wrote(count, at(now));
                        let begun = wire.front_mut().unwrap();
                        begun.0 -= count;
                        if begun.0 == 0 {
                            if let Some((flow, seq)) = begun.1 { sent[flow as usize].push(seq); }
                            wire.clear();
                        }
                    }
                }
            }
            prop_assert!(queue.bytes() <= limits::QUEUE + limits::QUEUE_RELIABLE);
        }
        earlier.extend(sent.into_iter().enumerate());
        for (flow, sent) in &earlier {
            let made = &made[*flow];
            let has = |seq: usize| sent.binary_search(&(seq as u64)).is_ok();
            prop_assert!(sent.is_sorted_by(|a, b| a < b), "none comes twice: {sent:?}");
            for &seq in sent {
                let (key, tid) = made[seq as usize];
                if key { continue; }
                // Every earlier picture of a lower layer back to the last of layer 0, and for layer 0 that one.
                for back in (0..seq as usize).rev() {
                    let (_, lower) = made[back];
                    if lower < tid || lower == 0 {
                        prop_assert!(has(back), "{seq} was sent without {back}");
                    }
                    if lower == 0 { break; }
                }
            }
        }
    }
}
