//! Where the bytes of the files stand: an offer is one stream, file behind file, cut into chunks.

use std::ops::Range;

use super::{Error, Manifest};
use crate::limits;

/// The chunk size for an offer of `total` bytes, or of a length that is not known.
pub fn chunk_size(total: Option<u64>) -> u32 {
    match total {
        Some(total) if total > limits::CHUNK_STEP => limits::CHUNK_MAX,
        _ => limits::CHUNK_MIN,
    }
}

/// A part of a chunk that belongs to one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The file, as a place in [`Manifest::files`].
    pub file: usize,
    /// Where in the file.
    pub offset: u64,
    /// Where in the chunk.
    pub at: usize,
    /// How many bytes.
    pub length: usize,
}

/// Which chunk holds what of which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    chunk_size: u32,
    /// Where each file begins, and where the last one ends: `u64::MAX` where that is not known.
    starts: Vec<u64>,
    /// Whether the end is known.
    ends: bool,
}

impl Layout {
    /// The layout of what `manifest` lists in chunks of `chunk_size`.
    pub fn new(manifest: &Manifest, chunk_size: u64) -> Result<Self, Error> {
        let sizes: Vec<_> = manifest.files().iter().map(|file| file.size).collect();
        Self::of(&sizes, chunk_size)
    }

    /// The layout of files of these sizes; a size may be missing where there is one file only.
    pub fn of(sizes: &[Option<u64>], chunk_size: u64) -> Result<Self, Error> {
        let bounds = u64::from(limits::CHUNK_MIN)..=u64::from(limits::CHUNK_MAX);
        if !chunk_size.is_power_of_two() || !bounds.contains(&chunk_size) {
            return Err(Error::ChunkSize { size: chunk_size });
        }
        let mut starts = vec![0];
        let mut end = 0_u64;
        for size in sizes {
            end = size.unwrap_or(0).checked_add(end).ok_or(Error::Large)?;
            starts.push(end);
        }
        if end.div_ceil(chunk_size) > u64::from(limits::CHUNKS) {
            return Err(Error::Chunks);
        }
        let ends = sizes.iter().all(Option::is_some);
        if !ends {
            *starts.last_mut().ok_or(Error::Empty)? = u64::MAX;
        }
        Ok(Self { chunk_size: chunk_size as u32, starts, ends })
    }

    /// Bytes of every chunk but the last.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// The end of a stream of unknown length has come: it has `total` bytes.
    pub fn close(&mut self, total: u64) -> Result<(), Error> {
        if !self.ends {
            *self = Self::of(&[Some(total)], u64::from(self.chunk_size))?;
        }
        Ok(())
    }

    /// Bytes of the whole stream, where that is known.
    pub fn total(&self) -> Option<u64> {
        self.ends.then(|| self.end())
    }

    /// How many chunks, where that is known.
    pub fn chunks(&self) -> Option<u32> {
        // Bounded by limits::CHUNKS.
        self.total().map(|total| total.div_ceil(u64::from(self.chunk_size)) as u32)
    }

    /// Bytes of chunk `chunk`: 0 behind the end; none where the end is not known, which any chunk may be.
    pub fn length(&self, chunk: u32) -> Option<usize> {
        let left = self.total()?.saturating_sub(self.start(chunk));
        Some(left.min(u64::from(self.chunk_size)) as usize)
    }

    /// Bytes of all chunks of `range`, as far as the end is known; whole chunks else.
    pub fn bytes(&self, range: Range<u32>) -> u64 {
        let end = self.total().unwrap_or(u64::MAX);
        self.start(range.end).min(end).saturating_sub(self.start(range.start).min(end))
    }

    /// The same of those files only that are `wanted`.
    pub fn bytes_of(&self, range: Range<u32>, wanted: &[bool]) -> u64 {
        if !wanted.contains(&false) {
            return self.bytes(range);
        }
        let (from, to) = (self.start(range.start), self.start(range.end).min(self.end()));
        let first = self.starts.partition_point(|&at| at <= from).saturating_sub(1);
        let files = (first..wanted.len()).take_while(|&file| self.starts[file] < to);
        let bytes = |file: usize| self.starts[file + 1].min(to).saturating_sub(self.starts[file].max(from));
        files.filter(|&file| wanted[file]).map(bytes).sum()
    }

    /// Where in the stream a chunk begins.
    pub fn start(&self, chunk: u32) -> u64 {
        u64::from(chunk) * u64::from(self.chunk_size)
    }

    /// Where in the stream a file begins.
    pub fn place(&self, file: usize) -> u64 {
        self.starts[file]
    }

    /// What chunk `chunk` holds: files in order, empty ones left out. Where the end is not known, a whole chunk.
    pub fn parts(&self, chunk: u32) -> impl Iterator<Item = Part> + '_ {
        let start = self.start(chunk);
        let end = self.total().unwrap_or(u64::MAX).min(start + u64::from(self.chunk_size));
        // The last file that begins at or before the chunk.
        let first = self.starts.partition_point(|&at| at <= start).saturating_sub(1);
        let files = self.starts.len() - 1;
        (first..files).take_while(move |&file| self.starts[file] < end).filter_map(move |file| {
            let from = self.starts[file].max(start);
            let length =
                self.starts[file + 1].min(end).checked_sub(from).filter(|length| *length > 0)? as usize;
            Some(Part { file, offset: from - self.starts[file], at: (from - start) as usize, length })
        })
    }

    /// The chunks that hold something of `file`; where its end is not known, all that can be.
    pub fn chunks_of(&self, file: usize) -> Range<u32> {
        let size = u64::from(self.chunk_size);
        if !self.ends {
            return 0..limits::CHUNKS;
        }
        let (from, to) = (self.starts[file], self.starts[file + 1]);
        let first = (from / size) as u32;
        if from == to { first..first } else { first..to.div_ceil(size) as u32 }
    }

    /// The chunks that hold something of `file` within these of its bytes.
    pub fn chunks_within(&self, file: usize, bytes: Range<u64>) -> Range<u32> {
        let size = u64::from(self.chunk_size);
        let all = self.chunks_of(file);
        let from = self.starts[file].saturating_add(bytes.start) / size;
        let to = self.starts[file].saturating_add(bytes.end).div_ceil(size);
        let clamped = |at: u64| at.min(u64::from(all.end)) as u32;
        clamped(from).max(all.start)..clamped(to)
    }

    /// How many files, from the first on, lie wholly within the first `chunks` chunks.
    pub fn finished(&self, chunks: u32) -> usize {
        let there = self.start(chunks);
        self.starts[1..].partition_point(|&end| end <= there)
    }

    fn end(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: u64 = limits::CHUNK_MIN as u64;

    fn layout(sizes: &[u64]) -> Layout {
        Layout::of(&sizes.iter().map(|&size| Some(size)).collect::<Vec<_>>(), SIZE).unwrap()
    }

    #[test]
    fn f22_empty_files_and_files_as_long_as_chunks_have_their_places() {
        for (sizes, chunks) in [(vec![], 0), (vec![0], 0), (vec![1], 1), (vec![SIZE], 1), (vec![SIZE + 1], 2)]
        {
            assert_eq!(layout(&sizes).chunks(), Some(chunks), "{sizes:?}");
        }
        let layout = layout(&[0, SIZE - 1, 0, 2, SIZE, 0]);
        assert_eq!(layout.chunks(), Some(3));
        assert_eq!(
            (layout.length(0), layout.length(2), layout.length(3)),
            (Some(SIZE as usize), Some(1), Some(0))
        );
        let part = |file, offset, at, length| Part { file, offset, at, length };
        let whole = SIZE as usize;
        let parts = |chunk| layout.parts(chunk).collect::<Vec<_>>();
        assert_eq!(parts(0), [part(1, 0, 0, whole - 1), part(3, 0, whole - 1, 1)]);
        assert_eq!(parts(1), [part(3, 1, 0, 1), part(4, 0, 1, whole - 1)]);
        assert_eq!(parts(2), [part(4, SIZE - 1, 0, 1)]);
        assert_eq!(parts(3), []);
        assert_eq!(
            (0..6).map(|file| layout.chunks_of(file)).collect::<Vec<_>>(),
            [0..0, 0..1, 0..0, 0..2, 1..3, 2..2]
        );
        assert_eq!([0, 1, 2, 3].map(|chunks| layout.finished(chunks)), [1, 3, 4, 6]);
        assert_eq!(layout.chunks_within(4, 0..1), 1..2);
        assert_eq!(layout.chunks_within(4, SIZE - 1..SIZE), 2..3);
        assert_eq!(layout.bytes(0..9), 2 * SIZE + 1);
        let wanted = [false, false, true, true, true, true];
        assert_eq!(
            [0..9, 0..1, 0..2, 2..9].map(|range| layout.bytes_of(range, &wanted)),
            [SIZE + 2, 1, SIZE + 1, 1]
        );
        assert_eq!(layout.bytes_of(0..9, &[true; 6]), 2 * SIZE + 1);
    }

    #[test]
    fn f22_a_sparse_tebibyte_is_a_million_chunks() {
        let size = chunk_size(Some(1 << 40));
        let layout = Layout::of(&[Some(1 << 40)], size.into()).unwrap();
        assert_eq!(layout.chunks(), Some(1 << 20));
        assert_eq!(layout.parts((1 << 20) - 1).next().unwrap().offset, (1 << 40) - (1 << 20));
        assert_eq!(chunk_size(None), limits::CHUNK_MIN);
        assert_eq!(Layout::of(&[Some((1 << 42) + 1)], 1 << 20), Err(Error::Chunks));
        assert!(Layout::of(&[Some(1 << 42)], 1 << 20).is_ok());
    }

    #[test]
    fn f27_chunk_sizes_are_powers_of_two_within_bounds() {
        for bad in [0, 1, 3, 512, SIZE - 1, SIZE + 1, 3 * SIZE, 2 << 20, 1 << 32, u64::MAX] {
            assert_eq!(Layout::of(&[Some(1)], bad), Err(Error::ChunkSize { size: bad }));
        }
        for good in [SIZE, 2 * SIZE, 4 * SIZE] {
            assert!(Layout::of(&[Some(1)], good).is_ok());
        }
    }

    #[test]
    fn f21_a_pipe_has_whole_chunks_until_its_end_is_known() {
        let mut pipe = Layout::of(&[None], SIZE).unwrap();
        assert_eq!((pipe.chunks(), pipe.total(), pipe.length(7), pipe.finished(9)), (None, None, None, 0));
        let part = |offset, length| Part { file: 0, offset, at: 0, length };
        assert_eq!(pipe.parts(7).collect::<Vec<_>>(), [part(7 * SIZE, SIZE as usize)]);
        pipe.close(7 * SIZE + 5).unwrap();
        assert_eq!((pipe.chunks(), pipe.length(7), pipe.finished(8)), (Some(8), Some(5), 1));
        assert_eq!(pipe.parts(7).collect::<Vec<_>>(), [part(7 * SIZE, 5)]);
    }

    proptest! {
        #[test]
        fn every_byte_is_in_one_chunk(sizes in prop::collection::vec(0_u64..3 * SIZE, 0..12)) {
            let layout = layout(&sizes);
            let mut there = vec![0; sizes.len()];
            for chunk in 0..layout.chunks().unwrap() {
                let mut at = 0;
                for part in layout.parts(chunk) {
                    prop_assert!(layout.chunks_of(part.file).contains(&chunk));
                    prop_assert_eq!((part.offset, part.at), (there[part.file], at));
                    there[part.file] += part.length as u64;
                    at += part.length;
                }
                prop_assert_eq!(Some(at), layout.length(chunk));
                let done = sizes.iter().zip(&there).take_while(|(size, there)| size == there).count();
                prop_assert_eq!(layout.finished(chunk + 1), done);
            }
            prop_assert_eq!(there, sizes);
        }
    }
}
