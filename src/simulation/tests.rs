//! Many seeds. One that fails is printed; `CONF_SIM_SEED=N` runs that one again.

use std::sync::atomic::{AtomicU64, Ordering};

use super::files;
use super::world::World;

/// How many seeds a run of the tests takes; `CONF_SIM_SEEDS=N` takes more.
const SEEDS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// ... and of meetings in writing.
const TALKS: u64 = 600;

/// ... and of files on their way.
const TRANSFERS: u64 = 300;

#[test]
fn s09_s23_w10_w35_through_any_faults_everybody_comes_back_as_who_they_were_and_sees_all() {
    run(SEEDS, |seed| World::new(seed).run());
}

#[test]
fn t16_t18_t20_s05_s23_through_any_faults_nothing_is_lost_and_nothing_comes_twice() {
    run(TALKS, |seed| World::of_talk(seed).talk());
}

#[test]
fn f15_f17_f18_f23_f24_f29_f35_through_any_faults_what_arrives_is_what_was_sent_and_little_goes_twice() {
    run(TRANSFERS, |seed| files::World::new(seed).run());
}

fn run(seeds: u64, meeting: impl Fn(u64) + Sync + std::panic::RefUnwindSafe) {
    if let Some(seed) = number("CONF_SIM_SEED") {
        return meeting(seed);
    }
    let (next, seeds) = (AtomicU64::new(0), number("CONF_SIM_SEEDS").unwrap_or(seeds));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return None;
            }
            if std::panic::catch_unwind(|| meeting(seed)).is_err() {
                next.store(seeds, Ordering::Relaxed);
                return Some(seed);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "CONF_SIM_SEED={} shows the fault above again", failed[0]);
}
