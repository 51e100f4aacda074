//! Random numbers that a seed repeats.

/// SplitMix64.
pub struct Random(pub u64);

/// The random numbers of a run that has `usual` of `what`: `CONF_SEED` repeats one, `CONF_SOAK` says how many.
pub fn run(usual: u64, what: &str) -> (Random, u64) {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = variable("CONF_SEED").unwrap_or_else(confkit::time::wall);
    let count = variable("CONF_SOAK").unwrap_or(usual);
    eprintln!("CONF_SEED={seed} repeats this run of {count} {what}");
    (Random(seed), count)
}

impl Random {
    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (z ^ (z >> 31)) % (high - low + 1)
    }
}
