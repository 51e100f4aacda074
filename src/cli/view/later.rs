//! A file that is made, or replaced, when there is something to write to it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::cli::{Exit, Failure, output};

/// See the module: while nothing has come, what was there before stays as it was.
#[derive(Debug)]
pub(super) struct Later {
    path: PathBuf,
    file: Option<File>,
}

impl Later {
    /// # Errors
    /// Where it can be seen beforehand that writing will not do.
    pub(super) fn new(path: &Path) -> Result<Self, Failure> {
        let there = match path.metadata() {
            Ok(about) if about.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => access(path, Access::WRITE_OK).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                access(parent.unwrap_or(Path::new(".")), Access::WRITE_OK | Access::EXEC_OK)
                    .map_err(io::Error::from)
            }
            Err(error) => Err(error),
        };
        there.map_err(|error| {
            Failure::new(Exit::File, format!("cannot write to {}: {error}", path.display()))
        })?;
        Ok(Self { path: path.to_owned(), file: None })
    }
}

impl Write for Later {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::create(&self.path)?),
        };
        file.write(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => output::reader_gone(),
            _ => error,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
