//! Decoders in processes of their own.

use std::path::Path;
use std::time::Duration;

use confkit::h264::{AccessUnit, Splitter};
use confkit::time;
use confkit::video::decode::{Decoder, Error, InProcess, Isolated, Outcome, Recovery};

const VIEWER: &str = env!("CARGO_BIN_EXE_conf-view");

pub fn media(name: &str) -> Option<Vec<u8>> {
    let path = format!("{}/../shared/media/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).inspect_err(|_| eprintln!("skipped: {path} is missing")).ok()
}

pub fn units(name: &str) -> Option<Vec<AccessUnit>> {
    let mut splitter = Splitter::new();
    splitter.push(&media(name)?);
    splitter.finish();
    Some(std::iter::from_fn(|| splitter.poll().unwrap()).collect())
}

#[test]
fn a_process_of_its_own_decodes_the_same_pictures() {
    let Some(units) = units("BA_MW_D.264") else { return };
    let (mut here, mut there) = (InProcess::default(), Isolated::start(Path::new(VIEWER)).unwrap());
    for unit in &units {
        let (here, there) =
            (here.decode(&unit.data, false).unwrap(), there.decode(&unit.data, false).unwrap());
        assert!(here.as_ref().map(|p| p.data()) == there.as_ref().map(|p| p.data()));
    }
}

#[test]
fn v04_a_decoder_that_dies_or_hangs_is_noticed() {
    let Some(units) = units("BA_MW_D.264") else { return };
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, body: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    };
    let mut dies = Isolated::start(&script("dies", "exit 1")).unwrap();
    assert!(matches!(dies.decode(&units[0].data, false), Err(Error::Died(_))));
    let mut lies = Isolated::start(&script("lies", "printf 'nonsense....' >&0; exec /bin/sleep 5")).unwrap();
    assert!(matches!(lies.decode(&units[0].data, false), Err(Error::Died(_))));
    let began = time::now();
    let mut hangs = Isolated::start(&script("hangs", "exec /bin/sleep 60")).unwrap();
    assert!(matches!(hangs.decode(&units[0].data, false), Err(Error::Hung)));
    drop(hangs);
    assert!(time::now().since(began) < Duration::from_secs(5), "and is not waited for");
    assert!(matches!(Isolated::start(&dir.path().join("missing")), Err(Error::Unavailable(_))));
}

#[test]
fn v07_mutated_streams_leave_the_viewer_alive_and_the_next_keyframe_is_shown() {
    let Some(units) = units("BA_MW_D.264") else { return };
    let mut recovery =
        Recovery::new(|| Isolated::start(Path::new(VIEWER)).map(|d| Box::new(d) as Box<dyn Decoder>));
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut now = time::now();
    for _ in 0..40 {
        for unit in &units[..25] {
            let mut bad = unit.data.to_vec();
            for _ in 0..random(6) {
                let at = random(bad.len());
                bad[at] ^= 1 << random(8);
            }
            now += Duration::from_millis(33);
            recovery.take(now, &bad);
        }
    }
    now += Duration::from_secs(10);
    assert!(matches!(recovery.take(now, &units[0].data), Outcome::Picture(_)));
    assert!(matches!(recovery.take(now, &units[1].data), Outcome::Picture(_)));
}
