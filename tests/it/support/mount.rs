//! File systems that go with the test; they need the right to mount.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// See the module.
pub struct Mount {
    pub at: TempDir,
    /// The file that it is in, where there is one.
    _image: Option<TempDir>,
}

impl Mount {
    /// In memory; nothing where that is not allowed.
    pub fn tmpfs(options: &str) -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let done = succeeds(
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "confkit-test"]).arg(at.path()),
        );
        if !done {
            eprintln!("skipped: mounting is not allowed here");
        }
        done.then_some(Self { at, _image: None })
    }

    /// 16 MiB on a loop device, or in memory where there is none.
    pub fn small() -> Option<Self> {
        let (at, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = image.path().join("image");
        std::fs::File::create(&file).unwrap().set_len(16 << 20).unwrap();
        let done = succeeds(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&file))
            && succeeds(Command::new("mount").args(["-o", "loop"]).arg(&file).arg(at.path()));
        if !done {
            return Self::tmpfs("size=16m");
        }
        Some(Self { at, _image: Some(image) })
    }

    /// From now on nothing can be written.
    pub fn read_only(&self) {
        assert!(succeeds(Command::new("mount").args(["-o", "remount,ro"]).arg(self.at.path())));
    }

    /// Writes until nothing more fits.
    pub fn fill(&self, name: &Path) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.at.path().join(name)).unwrap();
        for block in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![1; block]).and_then(|()| file.sync_all()).is_ok() {}
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.at.path()).status();
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
