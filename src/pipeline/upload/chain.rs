//! The thread that follows the MD5 of each file: a chain that no second core can help with.
//!
//! Chunks come in order in a queue of [`QUEUE`] bytes; a full one makes the reader wait. What the thread knows
//! goes out every [`EVERY`] bytes, so that a later run goes on from there instead of reading all again.

use std::sync::mpsc;

use bytes::Bytes;
use tokio::sync::mpsc as asynchronous;

use crate::transfer::{Chain, Layout, Saved, Sum, Sums};

/// Bytes that may wait for this thread.
pub(super) const QUEUE: usize = 4 * 1024 * 1024;
/// Bytes between two reports.
const EVERY: u64 = 8 * 1024 * 1024;

/// What comes in.
#[derive(Debug)]
pub(super) enum Link {
    /// The next chunk, and its own sum.
    Chunk { chunk: u32, bytes: Bytes, sum: [u8; 16] },
    /// The pipe has ended after so many bytes.
    End(u64),
}

/// What goes out.
#[derive(Debug)]
pub(super) enum Report {
    /// How far it is.
    At(Point),
    /// Everything was read.
    Done(Sums),
}

/// How far it is.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// The next chunk.
    pub(super) next: u32,
    /// The file that is followed, and its state, if it is not at its beginning.
    pub(super) open: Option<(usize, Saved)>,
    /// Files that ended since the last report.
    pub(super) ended: Vec<(usize, [u8; 16])>,
    /// The sums of the chunks since the last report.
    pub(super) chunks: Vec<(u32, [u8; 16])>,
}

/// The sums of the files as far as they are known.
#[derive(Debug)]
pub(super) struct Follower {
    layout: Layout,
    sizes: Vec<Option<u64>>,
    sums: Vec<Option<[u8; 16]>>,
    open: Option<(usize, Chain)>,
    next: u32,
}

impl Follower {
    /// Begins at the beginning.
    pub(super) fn new(layout: Layout, sizes: Vec<Option<u64>>) -> Self {
        // What is empty has no bytes in any chunk.
        let sums = sizes.iter().map(|size| (*size == Some(0)).then(|| Chain::new().finish())).collect();
        Self { layout, sizes, sums, open: None, next: 0 }
    }

    /// Goes on from where an earlier run was.
    pub(super) fn resume(&mut self, next: u32, open: Option<(usize, &Saved)>, ended: &[(usize, [u8; 16])]) {
        self.next = next;
        self.open = open.map(|(file, saved)| (file, Chain::restore(saved)));
        for (file, sum) in ended {
            if let Some(known) = self.sums.get_mut(*file) {
                *known = Some(*sum);
            }
        }
    }

    /// The next chunk that it wants.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Takes in the next chunk; files that ended in it.
    fn take(&mut self, bytes: &[u8]) -> Vec<(usize, [u8; 16])> {
        let mut ended = Vec::new();
        for part in self.layout.parts(self.next) {
            let (file, mut chain) = match self.open.take() {
                Some((file, chain)) if file == part.file => (file, chain),
                _ => (part.file, Chain::new()),
            };
            // The last chunk of a pipe is shorter than the layout knows.
            let to = bytes.len().min(part.at + part.length);
            chain.update(&bytes[part.at..to]);
            if self.sizes[file] == Some(chain.length()) {
                let sum = chain.finish();
                self.sums[file] = Some(sum);
                ended.push((file, sum));
            } else {
                self.open = Some((file, chain));
            }
        }
        self.next += 1;
        ended
    }

    /// A pipe has ended.
    fn end(&mut self, total: u64) {
        let chain = self.open.take().map_or_else(Chain::new, |(_, chain)| chain);
        self.sizes[0] = Some(total);
        self.sums[0] = Some(chain.finish());
    }

    /// The sums, when all are known.
    fn sums(&self) -> Option<Sums> {
        let sum = |(md5, size): (&Option<[u8; 16]>, &Option<u64>)| Some(Sum { md5: (*md5)?, size: (*size)? });
        self.sums.iter().zip(&self.sizes).map(sum).collect::<Option<_>>().map(Sums::new)
    }
}

/// Follows until everything is known or nobody reads any more.
pub(super) fn run(
    mut follower: Follower,
    links: &mpsc::Receiver<Link>,
    reports: &asynchronous::Sender<Report>,
) {
    let (mut ended, mut chunks, mut since) = (Vec::new(), Vec::new(), 0);
    loop {
        if let Some(sums) = follower.sums() {
            // Nobody waits for it any more when the transfer has been broken off.
            let _ = reports.blocking_send(Report::Done(sums));
            return;
        }
        match links.recv() {
            Ok(Link::Chunk { chunk, bytes, sum }) => {
                ended.extend(follower.take(&bytes));
                chunks.push((chunk, sum));
                since += bytes.len() as u64;
            }
            Ok(Link::End(total)) => follower.end(total),
            Err(mpsc::RecvError) => return,
        }
        if since >= EVERY {
            since = 0;
            let point = Point {
                next: follower.next,
                open: follower.open.as_ref().map(|(file, chain)| (*file, chain.save())),
                ended: std::mem::take(&mut ended),
                chunks: std::mem::take(&mut chunks),
            };
            if reports.blocking_send(Report::At(point)).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use md5::{Digest, Md5};

    use super::*;
    use crate::limits;

    const SIZE: u64 = limits::CHUNK_MIN as u64;

    fn bytes(length: u64, seed: u64) -> Vec<u8> {
        (0..length).map(|at| (at * 31 + seed) as u8).collect()
    }

    #[test]
    fn f22_sums_are_those_of_the_files_wherever_they_begin_and_from_wherever_it_goes_on() {
        let sizes = [0, SIZE - 1, 0, 2, 3 * SIZE, 0, SIZE];
        let files: Vec<Vec<u8>> = sizes.iter().zip(0..).map(|(size, seed)| bytes(*size, seed)).collect();
        let whole = files.concat();
        let sizes: Vec<_> = sizes.iter().map(|size| Some(*size)).collect();
        let layout = Layout::of(&sizes, SIZE).unwrap();
        let chunks: Vec<&[u8]> = whole.chunks(SIZE as usize).collect();
        for cut in 0..=chunks.len() {
            let mut first = Follower::new(layout.clone(), sizes.clone());
            let ended: Vec<_> = chunks[..cut].iter().flat_map(|chunk| first.take(chunk)).collect();
            let saved = first.open.as_ref().map(|(file, chain)| (*file, chain.save()));
            let mut second = Follower::new(layout.clone(), sizes.clone());
            second.resume(first.next(), saved.as_ref().map(|(file, saved)| (*file, saved)), &ended);
            chunks[cut..].iter().for_each(|chunk| drop(second.take(chunk)));
            let sums = second.sums().unwrap();
            for (sum, file) in sums.files().iter().zip(&files) {
                assert_eq!((sum.md5, sum.size), (Md5::digest(file).into(), file.len() as u64));
            }
        }
    }

    #[test]
    fn f21_a_pipe_has_a_sum_at_its_end() {
        for length in [0, 1, SIZE, SIZE + 1] {
            let whole = bytes(length, 7);
            let mut follower = Follower::new(Layout::of(&[None], SIZE).unwrap(), vec![None]);
            whole.chunks(SIZE as usize).for_each(|chunk| drop(follower.take(chunk)));
            assert_eq!(follower.sums(), None);
            follower.end(length);
            let sum = follower.sums().unwrap().files()[0];
            assert_eq!((sum.md5, sum.size), (Md5::digest(&whole).into(), length));
        }
    }
}
