//! Texts as they are shown.

use std::io::Write;

use crate::cli::output::Output;
use crate::{limits, text};

/// One that came by itself, with who says it. What follows on further lines is indented, so that it does not look
/// like somebody else's.
pub(super) fn by(who: &str, offer: &str, said: &str) -> String {
    let said = said.trim_end_matches('\n').replace('\n', "\n  ");
    format!("{who} (offer {offer}): {said}\n")
}

/// A text on its way to a terminal: nothing in it does anything there.
pub(super) struct Harmless {
    out: Output,
    text: Vec<u8>,
}

impl Harmless {
    pub(super) fn new(out: Output) -> Self {
        Self { out, text: Vec::new() }
    }
}

impl Write for Harmless {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        // A line that is longer than a message is not waited for.
        let end = match self.text.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if self.text.len() > limits::MESSAGE => self.text.len(),
            None => return Ok(bytes.len()),
        };
        let lines: Vec<u8> = self.text.drain(..end).collect();
        self.out.write_all(text::scrub_lines(&String::from_utf8_lossy(&lines), usize::MAX).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let rest = std::mem::take(&mut self.text);
        if rest.is_empty() {
            return Ok(());
        }
        let rest = text::scrub_lines(&String::from_utf8_lossy(&rest), usize::MAX);
        self.out.write_all(rest.as_bytes())?;
        self.out.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t03_no_line_of_a_text_looks_like_one_of_somebody_else() {
        assert_eq!(by("Ann", "3", "see you\n"), "Ann (offer 3): see you\n");
        assert_eq!(by("Ann", "3", "a\nBob (offer 4): b"), "Ann (offer 3): a\n  Bob (offer 4): b\n");
    }
}
