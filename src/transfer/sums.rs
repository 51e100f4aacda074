//! The sums of an offer: MD5 and size of each of its files, known when all of it was read.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Error, Manifest, list};
use crate::id;
use crate::limits;

/// What a file's bytes must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// MD5 of the whole file: a check against damage, not against malice.
    pub md5: [u8; 16],
    /// How many bytes it has.
    pub size: u64,
}

/// The sums of all files, in the order of [`Manifest::files`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums(Vec<Sum>);

impl Sums {
    /// The sums of `files`.
    pub fn new(files: Vec<Sum>) -> Self {
        Self(files)
    }

    /// What `pieces` say, if they can be the sums of `manifest`.
    pub fn judge(pieces: &[impl AsRef<[u8]>], manifest: &Manifest) -> Result<Self, Error> {
        let lines: Vec<Line> = list::read(pieces)?;
        if lines.len() != manifest.files().len() {
            return Err(Error::Sums);
        }
        let mut sums = Vec::with_capacity(lines.len());
        for (line, file) in lines.iter().zip(manifest.files()) {
            let md5 = id::unhex(line.md5.as_bytes()).ok_or(Error::Sums)?;
            if line.size > limits::INTEGER || file.size.is_some_and(|size| size != line.size) {
                return Err(Error::Sums);
            }
            sums.push(Sum { md5, size: line.size });
        }
        Ok(Self(sums))
    }

    /// The sums, by the numbers of the files.
    pub fn files(&self) -> &[Sum] {
        &self.0
    }

    /// The pieces in which they travel.
    pub fn pieces(&self) -> Result<Vec<Bytes>, Error> {
        list::write(self.0.iter().map(|sum| Line { md5: id::hex(&sum.md5), size: sum.size }))
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    md5: String,
    size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::{Item, Rules};

    fn manifest(sizes: &[Option<u64>]) -> Manifest {
        let item = |(n, size): (usize, &Option<u64>)| Item {
            path: vec![format!("file {n}")],
            size: *size,
            ..Item::default()
        };
        Manifest::new(sizes.iter().enumerate().map(item).collect(), Rules::default()).unwrap()
    }

    #[test]
    fn they_travel_in_pieces() {
        let sizes: Vec<u64> = (0..10_000).collect();
        let sums = Sums::new(sizes.iter().map(|&size| Sum { md5: [size as u8; 16], size }).collect());
        let pieces = sums.pieces().unwrap();
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() <= limits::PIECE));
        let list = manifest(&sizes.iter().map(|&size| Some(size)).collect::<Vec<_>>());
        assert_eq!(Sums::judge(&pieces, &list), Ok(sums));
    }

    #[test]
    fn f09_sums_of_other_files_are_refused() {
        let piece = |text: &str| [text.to_owned()];
        let md5 = "00112233445566778899aabbccddeeff";
        let one = piece(&format!(r#"{{"files":[{{"md5":"{md5}","size":7}}]}}"#));
        assert!(Sums::judge(&one, &manifest(&[Some(7)])).is_ok());
        assert!(Sums::judge(&one, &manifest(&[None])).is_ok(), "a pipe's size is known at its end");
        assert_eq!(Sums::judge(&one, &manifest(&[Some(8)])), Err(Error::Sums));
        assert_eq!(Sums::judge(&one, &manifest(&[Some(7), Some(0)])), Err(Error::Sums));
        for bad in [r#"{"files":[{"md5":"00","size":7}]}"#, r#"{"files":[{"size":7}]}"#, "[]", "{}", ""] {
            assert!(Sums::judge(&piece(bad), &manifest(&[Some(7)])).is_err(), "{bad}");
        }
        let huge = piece(&format!(r#"{{"files":[{{"md5":"{md5}","size":18446744073709551615}}]}}"#));
        assert_eq!(Sums::judge(&huge, &manifest(&[None])), Err(Error::Sums));
    }
}
