//! Text: made harmless once, where it comes in from a peer, and measured in one way, in cells of a
//! terminal.

mod likeness;

#[cfg(test)]
pub(crate) use likeness::effort;
pub use likeness::{Look, Looks, Stem, mixes_scripts};

use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::limits;

/// `text` as one line without what moves a cursor, changes the direction of writing or cannot be seen:
/// control characters are shown as pictures (ESC as `␛`, C1 as `<U+009B>`), overrides of direction as
/// `<U+202E>`, invisible characters vanish, at most [`limits::MARKS`] combining marks stay on a base
/// character, and at most `limit` characters remain.
///
/// U+200D (zero-width joiner) stays between two pictographs, where it makes one of them.
pub fn scrub(text: &str, limit: usize) -> String {
    scrubbed(text, limit, false)
}

/// The same for a text of several lines: LF, CR LF and the separators of Unicode become `\n`, tabs stay,
/// a CR alone is shown as `␍`.
pub fn scrub_lines(text: &str, limit: usize) -> String {
    scrubbed(text, limit, true)
}

fn scrubbed(text: &str, limit: usize, lines: bool) -> String {
    let mut clean = String::with_capacity(text.len().min(limit.saturating_mul(4)));
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
            '\n' | '\t' if lines => c,
            '\u{2028}' | '\u{2029}' | '\u{85}' if lines => '\n',
            '\r' if lines && chars.peek() == Some(&'\n') => continue,
            '\u{200d}' if pictograph(previous) && chars.peek().is_some_and(|&next| pictograph(next)) => c,
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{80}'..='\u{9f}' => {
                let code = format!("<U+{:04X}>", c as u32);
                let fits = code.len().min(left);
                clean.push_str(&code[..fits]);
                left -= fits;
                previous = c;
                continue;
            }
            '\0'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
            '\u{7f}' => '\u{2421}',
            _ if invisible(c) => continue,
            _ => c,
        };
        clean.push(shown);
        previous = c;
        left -= 1;
    }
    clean
}

/// Cells of a terminal that a grapheme cluster takes: 0 to 2, by the rules of Unicode as unicode-width
/// has them, with the sound marks of half-width katakana counted, which terminals draw apart. A terminal
/// may see it differently: see [`doubtful`].
pub fn cluster_width(cluster: &str) -> usize {
    if cluster.len() == 1 {
        return usize::from(!cluster.as_bytes()[0].is_ascii_control());
    }
    let sound_marks = cluster.chars().filter(|c| matches!(c, '\u{ff9e}' | '\u{ff9f}')).count();
    (cluster.width() + sound_marks).min(2)
}

/// Cells of a terminal that one line of text takes.
pub fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.bytes().filter(|byte| !byte.is_ascii_control()).count();
    }
    text.graphemes(true).map(cluster_width).sum()
}

/// Whether terminals differ in how many cells they give to a cluster: sequences (joiners, variation
/// selectors, marks) and characters of ambiguous width. After one of these the position of the cursor is
/// not known.
pub fn doubtful(cluster: &str) -> bool {
    let mut chars = cluster.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => {
            !c.is_ascii()
                && (pictograph(c)
                    || cluster.width() != cluster.width_cjk()
                    || !(1..=2).contains(&cluster.width()))
        }
        _ => true,
    }
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

/// Characters without a picture of their own: joiners, marks and overrides of direction, fillers, tags,
/// selectors of variants that no text needs, soft hyphen, byte order mark, interlinear annotation,
/// musical formatting.
fn invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Whether `c` can stand beside a joiner: an emoji, a modifier of one, or VS16.
fn pictograph(c: char) -> bool {
    matches!(c, '\u{2190}'..='\u{2bff}' | '\u{fe0f}' | '\u{1f000}'..='\u{1faff}')
}

/// A name or path as a shell reads it.
pub fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-/+@%:,=".contains(c);
    match !name.is_empty() && !name.starts_with('-') && name.chars().all(plain) {
        true => name.to_owned(),
        false => format!("'{}'", name.replace('\'', "'\\''")),
    }
}

/// `512 B`, `1.5 KiB`, `380 MiB`.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        // 1023.5 would be shown as 1024.
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if value < 99.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t01_escapes_and_controls_are_seen_and_do_nothing() {
        assert_eq!(scrub("a\u{1b}]0;x\u{7}b", 99), "a␛]0;x␇b");
        assert_eq!(scrub("\u{9b}2J\u{7f}", 99), "<U+009B>2J␡");
        let hostile = "\x1b[2J\x1b]52;c;aGk=\x07\x1b]8;;http://a\x1b\\\x1bP\x1b_\x1bc\x1b[6n\u{9d}0;t\x1b]0;";
        assert!(!scrub_lines(hostile, 9999).contains(char::is_control));
    }

    #[test]
    fn t02_what_turns_or_hides_text_is_shown_or_gone() {
        assert_eq!(scrub("x\u{202e}y\u{200b}z\u{e0041}\u{ad}\u{feff}", 99), "x<U+202E>yz");
        assert_eq!(scrub("\u{2066}a\u{2069}", 99), "<U+2066>a<U+2069>");
        assert_eq!(scrub("a\u{202e}b", 4), "a<U+");
    }

    #[test]
    fn t03_lines_are_kept_and_carriage_returns_shown() {
        assert_eq!(scrub_lines("a\r\nb\rc\u{2028}d\te", 99), "a\nb␍c\nd\te");
        assert_eq!(scrub("a\r\nb\tc", 99), "a␍␊b␉c");
    }

    #[test]
    fn widths_are_those_of_cells() {
        for (text, cells) in
            [("abc", 3), ("汉字", 4), ("👩‍👩‍👧", 2), ("❤\u{fe0f}", 2), ("e\u{301}", 1), ("ｶﾞ", 2), ("", 0)]
        {
            assert_eq!(width(text), cells, "{text}");
        }
        assert!(!doubtful("a") && !doubtful("汉") && !doubtful("é") && !doubtful("ש"));
        assert!(
            doubtful("👩‍👩‍👧")
                && doubtful("❤\u{fe0f}")
                && doubtful("e\u{301}")
                && doubtful("│")
                && doubtful("👍")
        );
    }

    #[test]
    fn t04_marks_are_limited_and_joined_pictographs_stay_whole() {
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

    #[test]
    fn sizes_are_short_and_right() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (380 << 20, "380 MiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (10 << 30, "10.0 GiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn names_are_quoted_as_a_shell_needs_it() {
        for (name, text) in [
            ("a-b/c.tar.gz", "a-b/c.tar.gz"),
            ("报告.pdf", "报告.pdf"),
            ("my file", "'my file'"),
            ("it's", "'it'\\''s'"),
            ("-rf", "'-rf'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(name), text);
        }
    }
}
