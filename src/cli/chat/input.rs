//! Stdin as lines, read by a thread of its own, because a read cannot be broken off.
//!
//! Bounds: a line has at most as many bytes as is asked for, what is longer comes in parts; [`WAITING`] lines
//! wait for the program, then the writer of the pipe does.

use std::io::{self, Read};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::mpsc;

/// Lines that wait.
const WAITING: usize = 64;
/// What one read takes.
const READ: usize = 16 * 1024;

/// A line, or a part of one that is too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Without its end.
    pub(super) text: String,
    /// It held bytes that are no UTF-8; they are replaced.
    pub(super) replaced: bool,
    /// The next one goes on with it.
    pub(super) goes_on: bool,
}

/// Begins to read stdin. The queue ends with it, an error comes before that end.
pub(super) fn lines(longest: usize) -> io::Result<mpsc::Receiver<io::Result<Line>>> {
    let (out, lines) = mpsc::channel(WAITING);
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let mut splitter = Splitter::new(longest);
        let mut buffer = vec![0; READ];
        loop {
            while let Some(line) = splitter.poll() {
                if out.blocking_send(Ok(line)).is_err() {
                    return;
                }
            }
            match read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => splitter.push(&buffer[..count]),
                Err(error) => {
                    let _ = out.blocking_send(Err(error));
                    break;
                }
            }
        }
        while let Some(line) = splitter.finish() {
            if out.blocking_send(Ok(line)).is_err() {
                return;
            }
        }
    })?;
    Ok(lines)
}

/// Reads, also where whoever shares the pipe has told it not to wait.
fn read(buffer: &mut [u8]) -> io::Result<usize> {
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&stdin.as_fd(), PollFlags::IN)], None)?;
            }
            other => return other,
        }
    }
}

/// Cuts bytes into lines.
#[derive(Debug)]
struct Splitter {
    longest: usize,
    bytes: Vec<u8>,
    /// Bytes at the front that hold no end of a line.
    searched: usize,
}

impl Splitter {
    fn new(longest: usize) -> Self {
        Self { longest, bytes: Vec::new(), searched: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next line that is complete, or a part of one that is too long.
    fn poll(&mut self) -> Option<Line> {
        let end = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n');
        let end = end.map(|end| end + self.searched);
        self.searched = self.bytes.len();
        match end {
            Some(end) if end <= self.longest => Some(self.take(end, 1, false)),
            Some(_) => Some(self.cut()),
            None if self.bytes.len() > self.longest => Some(self.cut()),
            None => None,
        }
    }

    /// What is left when nothing follows.
    fn finish(&mut self) -> Option<Line> {
        match self.bytes.len() {
            0 => None,
            length if length > self.longest => Some(self.cut()),
            length => Some(self.take(length, 0, false)),
        }
    }

    /// As much as a line may have, without cutting a character in two.
    fn cut(&mut self) -> Line {
        let is_inside = |at: usize| self.bytes[at] & 0xc0 == 0x80;
        let end = (self.longest.saturating_sub(3)..=self.longest).rev().find(|at| !is_inside(*at));
        self.take(end.unwrap_or(self.longest).max(1), 0, true)
    }

    fn take(&mut self, length: usize, end: usize, goes_on: bool) -> Line {
        let bytes = &self.bytes[..length];
        let bytes = if goes_on { bytes } else { bytes.strip_suffix(b"\r").unwrap_or(bytes) };
        let text = String::from_utf8_lossy(bytes);
        let replaced = matches!(text, std::borrow::Cow::Owned(_));
        let line = Line { text: text.into_owned(), replaced, goes_on };
        self.bytes.drain(..length + end);
        self.searched = 0;
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(splitter: &mut Splitter) -> Vec<(String, bool)> {
        std::iter::from_fn(|| splitter.poll()).map(|line| (line.text, line.goes_on)).collect()
    }

    #[test]
    fn t08_lines_come_one_by_one_however_they_arrive() {
        let mut splitter = Splitter::new(100);
        let mut got = Vec::new();
        for byte in "one\r\n\ntwo\nrest".bytes() {
            splitter.push(&[byte]);
            got.extend(all(&mut splitter).into_iter().map(|(text, _)| text));
        }
        got.extend(std::iter::from_fn(|| splitter.finish()).map(|line| line.text));
        assert_eq!(got, ["one", "", "two", "rest"]);
    }

    #[test]
    fn a_line_that_is_too_long_comes_in_parts_between_characters() {
        let mut splitter = Splitter::new(10);
        splitter.push("äöüäöüäöü\nx\n".as_bytes());
        let parts = all(&mut splitter);
        assert_eq!(parts[0], ("äöüäö".into(), true));
        assert_eq!(parts[1], ("üäöü".into(), false));
        assert_eq!(parts[2], ("x".into(), false));
        splitter.push(&[0x80; 25]);
        assert_eq!(all(&mut splitter).len(), 2);
        assert!(splitter.finish().unwrap().replaced);
        assert!(splitter.finish().is_none());
    }

    #[test]
    fn t09_bytes_that_are_no_text_are_replaced_and_that_is_known() {
        let mut splitter = Splitter::new(100);
        splitter.push(b"a\xff\xfeb\nplain\n");
        let line = splitter.poll().unwrap();
        assert_eq!((line.text.as_str(), line.replaced), ("a\u{fffd}\u{fffd}b", true));
        assert!(!splitter.poll().unwrap().replaced);
    }
}
