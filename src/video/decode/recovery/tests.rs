//! Real streams, whole and broken. Streams of `../shared/media` are skipped where they are missing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::h264::{AccessUnit, Splitter};
use crate::media::Range;
use crate::video::decode::InProcess;

fn at(millis: u64) -> Moment {
    Moment::from_micros(1_000_000 + millis * 1000)
}

/// The access units of one of the shared streams.
fn units(name: &str) -> Option<Vec<AccessUnit>> {
    let path = format!("{}/../shared/media/{name}", env!("CARGO_MANIFEST_DIR"));
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("skipped: {path} is missing");
        return None;
    };
    let mut splitter = Splitter::new();
    splitter.push(&bytes);
    splitter.finish();
    Some(std::iter::from_fn(|| splitter.poll().unwrap()).collect())
}

fn in_process() -> Recovery {
    Recovery::new(|| Ok(Box::new(InProcess::default())))
}

fn pictures(recovery: &mut Recovery, units: &[AccessUnit]) -> Vec<Option<Picture>> {
    let decode = |(i, unit): (usize, &AccessUnit)| match recovery.take(at(i as u64 * 33), &unit.data) {
        Outcome::Picture(picture) => Some(picture),
        _ => None,
    };
    units.iter().enumerate().map(decode).collect()
}

#[test]
fn every_picture_of_a_good_stream_comes_out() {
    for (name, count, size) in [
        ("BA_MW_D.264", 100, (176, 144)),
        ("BA1_FT_C.264", 299, (352, 288)),
        ("Zhling_1280x720.264", 19, (1280, 720)),
    ] {
        let Some(units) = units(name) else { return };
        let out = pictures(&mut in_process(), &units);
        assert_eq!(out.iter().flatten().count(), count, "{name}");
        assert!(out.iter().flatten().all(|p| (p.width(), p.height()) == size && p.range == Range::Limited));
    }
}

#[test]
fn v01_nothing_is_shown_before_a_keyframe() {
    let Some(units) = units("MIDR_MW_D.264") else { return };
    let second = units.iter().skip(1).position(|u| u.key).expect("several IDR") + 1;
    let mut recovery = in_process();
    for (i, unit) in units[1..second].iter().enumerate() {
        assert!(matches!(recovery.take(at(i as u64 * 33), &unit.data), Outcome::AwaitKey));
    }
    assert!(matches!(recovery.take(at(9000), &units[second].data), Outcome::Picture(_)));
}

#[test]
fn a_lost_picture_hides_all_until_the_next_keyframe() {
    let Some(units) = units("MIDR_MW_D.264") else { return };
    let second = units.iter().skip(1).position(|u| u.key).expect("several IDR") + 1;
    let good = pictures(&mut in_process(), &units);
    let mut with_gap = units.clone();
    with_gap.remove(3);
    let out = pictures(&mut in_process(), &with_gap);
    for (i, picture) in out.iter().enumerate().take(second - 1).skip(3) {
        assert!(picture.is_none(), "picture {i} was shown although one before it is missing");
    }
    assert!(out[second - 1].as_ref().map(Picture::data) == good[second].as_ref().map(Picture::data));
}

#[test]
fn v07_a_stream_without_its_keyframe_shows_no_garbage() {
    let (Some(lost), Some(whole)) = (units("BA_MW_D_IDR_LOST.264"), units("BA_MW_D.264")) else { return };
    let good: Vec<Vec<u8>> =
        pictures(&mut in_process(), &whole).into_iter().flatten().map(|p| p.data().to_vec()).collect();
    for picture in pictures(&mut in_process(), &lost).iter().flatten() {
        assert!(good.iter().any(|g| g == picture.data()), "a picture that was never in the stream");
    }
}

#[test]
fn v03_a_size_that_changes_all_the_time_is_refused() {
    let (Some(small), Some(large)) = (units("BA_MW_D.264"), units("Zhling_1280x720.264")) else { return };
    let mut recovery = in_process();
    let mut decoded = 0;
    for i in 0..40 {
        let unit = if i % 2 == 0 { &small[0] } else { &large[0] };
        match recovery.take(at(i * 25), &unit.data) {
            Outcome::Picture(_) => decoded += 1,
            Outcome::Refused(Refused::Restless) => {}
            other => panic!("{other:?}"),
        }
    }
    // The one size that was let through last is no change and may go on.
    assert!(decoded <= 22, "{decoded}");
    assert!(matches!(recovery.take(at(3000), &small[0].data), Outcome::Picture(_)));
}

#[test]
fn v05_without_a_start_code_or_a_slice_nothing_reaches_the_decoder() {
    let mut recovery = Recovery::new(|| panic!("no decoder is needed"));
    assert!(matches!(recovery.take(at(0), &[7; 5000]), Outcome::Refused(_)));
    assert!(matches!(recovery.take(at(1), &[0, 0, 0, 1, 9, 0xf0]), Outcome::Nothing));
    assert!(matches!(recovery.take(at(2), &[0, 0, 0, 1, 6, 5, 1, 0, 0x80]), Outcome::Nothing));
    assert!(matches!(recovery.take(at(3), &[]), Outcome::Refused(_)));
    let million = [0, 0, 1, 9].repeat(1_000_000);
    assert!(matches!(recovery.take(at(4), &million), Outcome::Refused(_)));
}

/// Answers as it is told.
struct Scripted(Arc<Mutex<VecDeque<Result<(), Error>>>>);

impl Decoder for Scripted {
    fn decode(&mut self, _: &[u8], _: bool) -> Result<Option<Picture>, Error> {
        self.0.lock().unwrap().pop_front().unwrap_or(Ok(()))?;
        Ok(Some(Picture::black(2, 2, Moment::default())))
    }
}

#[test]
fn v04_a_decoder_that_dies_is_started_again_later_and_later() {
    let Some(units) = units("BA_MW_D.264") else { return };
    let (key, delta) = (&units[0].data, &units[1].data);
    let deaths = (0..40).map(|_| Err(Error::Hung)).collect();
    let script = Arc::new(Mutex::new(deaths));
    let shared = Arc::clone(&script);
    let mut recovery = Recovery::new(move || Ok(Box::new(Scripted(Arc::clone(&shared)))));
    // Thirty keyframes a second for a minute, each of them deadly: a handful of processes, not 1800.
    for i in 0..1800 {
        recovery.take(at(i * 33), key);
    }
    assert!((8..=20).contains(&recovery.restarts()), "{}", recovery.restarts());
    script.lock().unwrap().clear();
    assert!(matches!(recovery.take(at(80_000), delta), Outcome::AwaitKey));
    assert!(matches!(recovery.take(at(80_001), key), Outcome::Picture(_)));
    assert!(matches!(recovery.take(at(80_002), delta), Outcome::Picture(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn v07_mutated_streams_never_stop_the_next_keyframe(
        flips in prop::collection::vec((0usize..30, any::<prop::sample::Index>(), any::<u8>()), 1..200),
    ) {
        let Some(good) = units("BA_MW_D.264") else { return Ok(()) };
        let mut bad: Vec<Vec<u8>> = good[..30].iter().map(|u| u.data.to_vec()).collect();
        for (unit, byte, value) in flips {
            let at = byte.index(bad[unit].len());
            bad[unit][at] = value;
        }
        let script = bad.clone();
        // A decoder in this process would take the test down with it; what is tested here is the gate.
        let mut recovery = Recovery::new(|| Ok(Box::new(Scripted(Arc::default()))));
        for (i, unit) in script.iter().enumerate() {
            recovery.take(at(i as u64 * 33), unit);
        }
        prop_assert!(matches!(recovery.take(at(5000), &good[0].data), Outcome::Picture(_)));
    }
}
