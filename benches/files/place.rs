//! Where the files of the benchmark are: on a real disk, below one directory that goes at the end.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

/// See the module.
pub(crate) struct Place(TempDir);

impl Place {
    /// Below `CONF_BENCH_DIR`, else in the directory of the build.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let above = std::env::var_os("CONF_BENCH_DIR")
            .map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
        fs::create_dir_all(&above)?;
        let made = tempfile::Builder::new().prefix("bench-files-").tempdir_in(&above);
        Ok(Self(made.with_context(|| format!("cannot write below {}", above.display()))?))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// An empty directory; what was there before is gone, and nothing of it is still on its way to the disk.
    pub(crate) fn fresh(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        rustix::fs::sync();
        Ok(path)
    }

    /// The file system, as the kernel calls it.
    pub(crate) fn file_system(&self) -> String {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let here = self.0.path();
        let parts = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?, words.next()?))
        });
        let found = parts.filter(|(_, at, _)| here.starts_with(at)).max_by_key(|(_, at, _)| at.len());
        found.map_or_else(|| "unknown".into(), |(device, _, kind)| format!("{kind} on {device}"))
    }

    /// A file of bytes that nothing compresses.
    pub(crate) fn file(&self, name: &str, size: u64) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        let mut file = File::create(&path)?;
        let mut noise = Noise(size | 1);
        let mut left = size;
        let mut block = vec![0; 1 << 20];
        while left > 0 {
            noise.fill(&mut block);
            let count = left.min(block.len() as u64);
            file.write_all(&block[..count as usize])?;
            left -= count;
        }
        file.sync_all()?;
        Ok(path)
    }

    /// A file of zeros that takes no room.
    pub(crate) fn sparse(&self, name: &str, size: u64) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        File::create(&path)?.set_len(size)?;
        Ok(path)
    }

    /// A directory of `count` files of `size` bytes.
    pub(crate) fn many(&self, name: &str, count: usize, size: usize) -> anyhow::Result<PathBuf> {
        let directory = self.fresh(name)?;
        let mut noise = Noise(count as u64 | 1);
        let mut bytes = vec![0; size];
        for number in 0..count {
            noise.fill(&mut bytes);
            fs::write(directory.join(format!("{number:05}")), &bytes)?;
        }
        rustix::fs::sync();
        Ok(directory)
    }
}

/// How many of the files in `one` are the same in `other`.
pub(crate) fn same(one: &Path, other: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(one)? {
        let entry = entry?;
        let copy = fs::read(other.join(entry.file_name())).unwrap_or_default();
        count += usize::from(fs::read(entry.path())? == copy);
    }
    Ok(count)
}

/// xorshift64.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, bytes: &mut [u8]) {
        for eight in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            eight.copy_from_slice(&self.0.to_le_bytes()[..eight.len()]);
        }
    }
}
