//! Transfers through which programs are killed.

use super::programs::Running;
use super::random::Random;
use super::scene::Scene;

/// Bytes that move between two looks of the checker.
pub const BYTES: usize = 28 * 1024 * 1024;
/// Kills meanwhile.
pub const KILLS: u64 = 20;

/// So many bytes in two files, and what is in them.
pub fn files(scene: &Scene, random: &mut Random, names: [&str; 2]) -> [Vec<u8>; 2] {
    let cut = random.between(1, BYTES as u64 / 2) as usize;
    [scene.file(names[0], cut), scene.file(names[1], BYTES - cut)]
}

/// Whether a program has ended by itself.
pub fn ended(running: &mut Running) -> bool {
    running.child.try_wait().unwrap().is_some()
}
