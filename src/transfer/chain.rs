//! MD5: of a whole file, as a running state that can be put down and taken up again, and of many chunks at once.
//!
//! One chain is followed by one core at its own pace; sums of chunks are independent, so several are taken at
//! once, in the lanes of a vector. Both are a check against damage, not against malice.

use md5_simd::hazmat::compress_blocks;

use crate::id;

const BLOCK: usize = 64;

/// The MD5 of a file as far as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Chain {
    state: [u32; 4],
    length: u64,
    /// The bytes behind the last whole block.
    pending: [u8; BLOCK],
}

/// A [`Chain`] put down: 16 bytes of state, the length, and what is behind the last whole block.
#[derive(Clone, PartialEq, Eq)]
pub struct Saved(Vec<u8>);

/// Bytes of a [`Saved`] without what is behind the last block.
const SAVED: usize = 16 + 8;

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// The beginning of a file.
    pub fn new() -> Self {
        Self { state: md5_simd::STATE_INIT, length: 0, pending: [0; BLOCK] }
    }

    /// How many bytes went in.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next bytes of the file.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let kept = self.kept();
        self.length += bytes.len() as u64;
        if kept > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK - kept));
            self.pending[kept..kept + head.len()].copy_from_slice(head);
            if kept + head.len() < BLOCK {
                return;
            }
            compress_blocks(&mut self.state, &self.pending);
            bytes = rest;
        }
        let (blocks, tail) = bytes.split_at(bytes.len() - bytes.len() % BLOCK);
        compress_blocks(&mut self.state, blocks);
        self.pending[..tail.len()].copy_from_slice(tail);
    }

    /// The MD5 of all that went in.
    pub fn finish(mut self) -> [u8; 16] {
        let bits = self.length.wrapping_mul(8);
        let zeros = (2 * BLOCK - 1 - 8 - self.kept()) % BLOCK;
        let mut padding = [0; BLOCK + 8];
        padding[0] = 0x80;
        let end = 1 + zeros + 8;
        padding[1 + zeros..end].copy_from_slice(&bits.to_le_bytes());
        self.update(&padding[..end]);
        words(&self.state)
    }

    /// The state, to go on from later.
    pub fn save(&self) -> Saved {
        let mut saved = Vec::with_capacity(SAVED + self.kept());
        saved.extend_from_slice(&words(&self.state));
        saved.extend_from_slice(&self.length.to_be_bytes());
        saved.extend_from_slice(&self.pending[..self.kept()]);
        Saved(saved)
    }

    /// Goes on from where a state was put down.
    pub fn restore(saved: &Saved) -> Self {
        let Saved(bytes) = saved;
        let mut chain = Self::new();
        for (word, four) in chain.state.iter_mut().zip(bytes[..16].chunks_exact(4)) {
            *word = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        }
        chain.length = saved.length();
        chain.pending[..bytes.len() - SAVED].copy_from_slice(&bytes[SAVED..]);
        chain
    }

    fn kept(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chain({} bytes)", self.length)
    }
}

impl Saved {
    /// As it is written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What was written; none where it is no state.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let length = u64::from_be_bytes(bytes.get(16..SAVED)?.try_into().ok()?);
        (bytes.len() - SAVED == (length % BLOCK as u64) as usize).then(|| Self(bytes.to_vec()))
    }

    /// How many bytes went into the chain.
    pub fn length(&self) -> u64 {
        let eight = self.0[16..SAVED].try_into().expect("a saved state has at least 24 bytes");
        u64::from_be_bytes(eight)
    }
}

impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Saved({} bytes, {})", self.length(), id::hex(&self.0[..16]))
    }
}

/// Chunks of one length that [`chunk_sums`] takes at once on this machine: 4 to 16.
pub fn lanes() -> usize {
    md5_simd::runtime_lanes().clamp(4, 16)
}

/// The MD5 of each of `chunks`, in order. Four and more of one length, side by side, are taken at once, which is
/// 2 to 6 times as fast as one after the other.
pub fn chunk_sums(chunks: &[&[u8]]) -> Vec<[u8; 16]> {
    let mut sums = vec![[0; 16]; chunks.len()];
    md5_simd::md5_many(chunks, &mut sums);
    sums
}

fn words(state: &[u32; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (four, word) in bytes.chunks_exact_mut(4).zip(state) {
        four.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use md5::{Digest, Md5};
    use proptest::prelude::*;

    use super::*;

    fn md5(bytes: &[u8]) -> [u8; 16] {
        Md5::digest(bytes).into()
    }

    #[test]
    fn it_is_md5() {
        let bytes: Vec<u8> = (0..1_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        for length in (0..200).chain([511, 512, 513, 1_000]) {
            let mut chain = Chain::new();
            chain.update(&bytes[..length]);
            assert_eq!(chain.finish(), md5(&bytes[..length]), "{length}");
        }
        assert_eq!(id::hex(&Chain::new().finish()), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn sums_of_chunks_are_md5_of_any_number_and_length() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|n| (n * n % 253) as u8).collect();
        for lengths in
            [vec![], vec![0], vec![4_096; 9], vec![4_096, 4_096, 4_096, 4_096, 17], vec![1, 2, 3, 4, 5]]
        {
            let mut left = bytes.as_slice();
            let chunks: Vec<&[u8]> =
                lengths.iter().map(|&length| left.split_off(..length).unwrap()).collect();
            assert_eq!(chunk_sums(&chunks), chunks.iter().map(|chunk| md5(chunk)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn f18_a_torn_state_is_none() {
        let mut chain = Chain::new();
        chain.update(&[7; 100]);
        let saved = chain.save();
        assert_eq!(Saved::from_bytes(saved.as_bytes()), Some(saved.clone()));
        for length in 0..saved.as_bytes().len() {
            assert_eq!(Saved::from_bytes(&saved.as_bytes()[..length]), None);
        }
    }

    proptest! {
        #[test]
        fn it_goes_on_from_anywhere(bytes in prop::collection::vec(any::<u8>(), 0..400), cuts in prop::collection::vec(0_usize..400, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let (mut chain, mut from) = (Chain::new(), 0);
            for cut in cuts {
                chain.update(&bytes[from..cut]);
                from = cut;
                let saved = Saved::from_bytes(chain.save().as_bytes()).unwrap();
                prop_assert_eq!(saved.length(), from as u64);
                chain = Chain::restore(&saved);
            }
            prop_assert_eq!(chain.finish(), md5(&bytes));
        }
    }
}
