//! Text from a peer, made harmless once, where it comes in.

use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

use crate::limits;

/// `text` without what moves a cursor, changes the direction of writing or cannot be seen: control
/// characters become U+FFFD, invisible ones vanish, at most [`limits::MARKS`] combining marks stay on
/// a base character, and at most `limit` characters remain.
///
/// U+200D (zero-width joiner) stays between two pictographs, where it makes one of them.
pub fn scrub(text: &str, limit: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(limit * 4));
    let mut marks = 0;
    let mut previous = '\0';
    let mut chars = text.chars().peekable();
    let mut left = limit;
    while let Some(c) = chars.next() {
        if left == 0 {
            break;
        }
        if is_combining_mark(c) {
            marks += 1;
            if marks > limits::MARKS {
                continue;
            }
        } else if c != '\u{200d}' {
            marks = 0;
        }
        let shown = match c {
            '\u{200d}' if pictograph(previous) && chars.peek().is_some_and(|&next| pictograph(next)) => c,
            _ if invisible(c) => continue,
            _ if c.is_control() => '\u{fffd}',
            _ => c,
        };
        clean.push(shown);
        previous = c;
        left -= 1;
    }
    clean
}

/// `text` for one line of a log: at most `limit` characters, everything outside printable text as
/// `\u{..}`.
pub fn for_log(text: &[u8], limit: usize) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(limit * 4)]);
    text.chars()
        .take(limit)
        .flat_map(|c| {
            if invisible(c) { c.escape_unicode().collect::<Vec<_>>() } else { c.escape_debug().collect() }
        })
        .collect()
}

/// `text` shortened to `limit` grapheme clusters, with an ellipsis where something was cut.
pub fn shorten(text: &str, limit: usize) -> String {
    let mut clusters = text.graphemes(true);
    let mut short: String = clusters.by_ref().take(limit).collect();
    if clusters.next().is_some() {
        short.push('…');
    }
    short
}

/// Characters without a picture of their own: joiners, marks and overrides of direction, tags, soft
/// hyphen, byte order mark, interlinear annotation.
fn invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether `c` can stand beside a joiner: an emoji, a modifier of one, or VS16.
fn pictograph(c: char) -> bool {
    matches!(c, '\u{2190}'..='\u{2bff}' | '\u{fe0f}' | '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_controls_are_seen_and_do_nothing() {
        assert_eq!(scrub("a\u{1b}]0;x\u{7}b", 99), "a\u{fffd}]0;x\u{fffd}b");
        assert_eq!(scrub("\u{9b}2J", 99), "\u{fffd}2J");
        assert_eq!(scrub("x\u{202e}y\u{200b}z\u{e0041}", 99), "xyz");
    }

    #[test]
    fn marks_are_limited_and_joined_pictographs_stay_whole() {
        let zalgo = format!("o{}", "\u{301}".repeat(10_000));
        assert_eq!(scrub(&zalgo, 99).chars().count(), 1 + limits::MARKS);
        assert_eq!(scrub("👩‍👩‍👧", 99), "👩‍👩‍👧");
        assert_eq!(scrub("a\u{200d}b", 99), "ab");
    }

    #[test]
    fn a_log_line_stays_one_line() {
        assert_eq!(for_log(b"GET / HTTP/1.1\r\n\x1b[2J", 64), "GET / HTTP/1.1\\r\\n\\u{1b}[2J");
        assert_eq!(for_log(&[b'x'; 1000], 10), "xxxxxxxxxx");
    }

    #[test]
    fn shortening_cuts_between_clusters() {
        assert_eq!(shorten("ab👩‍👩‍👧cd", 3), "ab👩‍👩‍👧…");
        assert_eq!(shorten("abc", 3), "abc");
    }
}
