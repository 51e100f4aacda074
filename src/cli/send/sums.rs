//! Sums as `md5sum` prints them, so that `md5sum -c` reads them.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::files::source;
use crate::id;

/// The line for a file. On a terminal the name is made harmless, as the one in a log would be.
pub(in crate::cli) fn line(md5: &[u8; 16], path: &Path, terminal: bool) -> Vec<u8> {
    let (escaped, plain) = name(path, terminal);
    let mark = if plain { "" } else { "\\" };
    let mut line = format!("{mark}{}  ", id::hex(md5)).into_bytes();
    line.extend_from_slice(&escaped);
    line.push(b'\n');
    line
}

/// A name in one line, and whether nothing in it had to be written otherwise.
pub(in crate::cli) fn name(path: &Path, terminal: bool) -> (Vec<u8>, bool) {
    let shown = source::shown(path);
    let name = if terminal { shown.as_bytes() } else { path.as_os_str().as_bytes() };
    let mut escaped = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'\\' => escaped.extend_from_slice(b"\\\\"),
            b'\n' => escaped.extend_from_slice(b"\\n"),
            b'\r' => escaped.extend_from_slice(b"\\r"),
            byte => escaped.push(*byte),
        }
    }
    let plain = escaped.len() == name.len();
    (escaped, plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_md5sum_does() {
        let text =
            |path: &str, terminal| String::from_utf8(line(&[0xab; 16], Path::new(path), terminal)).unwrap();
        let sum = "ab".repeat(16);
        assert_eq!(text("a b", false), format!("{sum}  a b\n"));
        assert_eq!(text("a\\b\nc\r", false), format!("\\{sum}  a\\\\b\\nc\\r\n"));
        assert_eq!(text("a\u{1b}[2J", true), format!("{sum}  a␛[2J\n"));
    }
}
