//! What is on the disk, compared with what should be there.

use super::record::Found;
use crate::files::sink::{Error, Stage};
use crate::transfer::{Chain, Layout, Ranges, Sums, chunk_sums, lanes};

/// Chunks at the end of a run of them that are read again before one goes on: what was written last is what a
/// crash may have lost.
const LAST: u32 = 2;
/// Runs of which the end is looked at; more are left to the sums of the files.
const RUNS: usize = 64;
/// What is read at once.
const READ: usize = 1024 * 1024;

/// Looks at the chunks that were written last before an earlier run ended. If one of them is not what the journal
/// says, all are looked at, and only those count that are; the others.
pub(super) fn look_at_the_end(
    mut stage: Stage,
    layout: &Layout,
    wanted: &[bool],
    found: &mut Found,
) -> Result<Ranges, Error> {
    // Where files are left out, chunks are not whole on the disk.
    if wanted.contains(&false) {
        return Ok(Ranges::new());
    }
    let kept = found.kept();
    let last =
        kept.iter().rev().take(RUNS).flat_map(|run| run.end.saturating_sub(LAST).max(run.start)..run.end);
    let last: Vec<u32> = last.collect();
    if !found.doubtful && wrong(&mut stage, layout, found, &last)?.is_empty() {
        return Ok(Ranges::new());
    }
    let all: Vec<u32> = kept.numbers().collect();
    let lost = wrong(&mut stage, layout, found, &all)?;
    let lost: Ranges = lost.into_iter().map(|chunk| chunk..chunk + 1).collect();
    for chunk in lost.numbers() {
        found.md5s.remove(&chunk);
    }
    found.saved = None;
    let (count, all) = (lost.count(), all.len());
    if count == 0 {
        return Ok(lost);
    }
    found.notice =
        Some(format!("{count} of {all} chunks on this disk are not what they were; fetched again"));
    Ok(lost)
}

/// Those of some chunks that are not what the journal says.
fn wrong(stage: &mut Stage, layout: &Layout, found: &Found, chunks: &[u32]) -> Result<Vec<u32>, Error> {
    let mut wrong = Vec::new();
    for some in chunks.chunks(lanes()) {
        let sums = sums_of(stage, layout, some)?;
        let these = some.iter().zip(sums).filter(|(chunk, sum)| found.md5s.get(chunk) != Some(sum));
        wrong.extend(these.map(|(chunk, _)| *chunk));
    }
    Ok(wrong)
}

/// The chunks of a file that are not what they should be; all of it where each of them is.
pub(super) fn wrong_chunks(
    mut stage: Stage,
    layout: &Layout,
    wanted: &[bool],
    file: usize,
    found: &Found,
) -> Result<Ranges, Error> {
    let all: Vec<u32> = layout.chunks_of(file).collect();
    let mut bad = Ranges::new();
    if !wanted.contains(&false) {
        bad = wrong(&mut stage, layout, found, &all)?.into_iter().map(|chunk| chunk..chunk + 1).collect();
    }
    if bad.is_empty() {
        bad.insert(layout.chunks_of(file));
    }
    Ok(bad)
}

/// The MD5 of chunks as they are on the disk.
fn sums_of(stage: &mut Stage, layout: &Layout, chunks: &[u32]) -> Result<Vec<[u8; 16]>, Error> {
    let mut buffers = Vec::with_capacity(chunks.len());
    for &chunk in chunks {
        let mut buffer = vec![0; layout.chunk_size() as usize];
        let mut length = 0;
        for part in layout.parts(chunk) {
            let there =
                stage.read(part.file as u32, part.offset, &mut buffer[part.at..part.at + part.length])?;
            length = part.at + there;
        }
        buffer.truncate(length);
        buffers.push(buffer);
    }
    let slices: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
    Ok(chunk_sums(&slices))
}

/// The MD5 of a file as it is on the disk.
pub(super) fn file_md5(mut stage: Stage, file: usize, size: u64) -> Result<[u8; 16], Error> {
    let mut chain = Chain::new();
    let mut buffer = vec![0; READ];
    while chain.length() < size {
        // Not more than the buffer.
        let want = (size - chain.length()).min(READ as u64) as usize;
        let count = stage.read(file as u32, chain.length(), &mut buffer[..want])?;
        if count == 0 {
            break;
        }
        chain.update(&buffer[..count]);
    }
    Ok(chain.finish())
}

/// Gives every file its size, empty ones as well, and makes that safe.
pub(super) fn settle(mut stage: Stage, wanted: &[bool], sums: &Sums) -> Result<(), Error> {
    for (file, sum) in sums.files().iter().enumerate() {
        if wanted[file] {
            stage.end(file as u32, sum.size)?;
        }
        if stage.unsynced().is_much() {
            stage.take_unsynced().sync()?;
        }
    }
    stage.take_unsynced().sync()
}
