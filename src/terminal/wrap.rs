//! Text cut into rows: between words where that is possible, never within a grapheme cluster.

use unicode_segmentation::UnicodeSegmentation;

use crate::text;

/// The bytes of a text that one row shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// The first.
    pub start: u32,
    /// Behind the last.
    pub end: u32,
}

impl Row {
    /// Its part of the `text` it was made of.
    pub(super) fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// `text` in rows of at most `first`, then `rest` cells; below two cells a row holds one cluster all the
/// same. A space at which a row ends is in no row. There is at least one row.
pub(super) fn words(text: &str, first: usize, rest: usize) -> Vec<Row> {
    let mut rows = Vec::with_capacity(text.len() / rest.max(1) + 1);
    let mut offset = 0;
    for line in text.split('\n') {
        let limit = if rows.is_empty() { first } else { rest };
        if line.len() <= limit && line.is_ascii() {
            rows.push(row(offset, offset + line.len()));
        } else {
            wrap_line(line, offset, limit, rest, &mut rows);
        }
        offset += line.len() + 1;
    }
    rows
}

fn wrap_line(line: &str, offset: usize, first: usize, rest: usize, rows: &mut Vec<Row>) {
    let (mut start, mut cells, mut limit) = (0, 0, first);
    // Where the row could end, and where the next would begin then.
    let mut pause: Option<(usize, usize)> = None;
    let mut since_pause = 0;
    // Links stay whole where a row has room for them: terminals open them, people copy them.
    let mut whole = is_link(line);
    for (at, cluster) in line.grapheme_indices(true) {
        let width = text::cluster_width(cluster);
        if width == 2 && !whole {
            pause = Some((at, at));
            since_pause = 0;
        }
        if cells + width > limit && at > start {
            limit = rest;
            if cluster == " " {
                whole = is_link(&line[at + 1..]);
                rows.push(row(offset + start, offset + at));
                (start, cells, since_pause, pause) = (at + 1, 0, 0, None);
                continue;
            }
            let (end, next) = pause.take().unwrap_or((at, at));
            rows.push(row(offset + start, offset + end));
            cells = if next == at { 0 } else { since_pause };
            start = next;
        }
        cells += width;
        since_pause += width;
        let behind = at + cluster.len();
        if cluster == " " {
            pause = Some((at, behind));
            since_pause = 0;
            whole = is_link(&line[behind..]);
        } else if !whole && (width == 2 || cluster == "-" || cluster == "/") {
            pause = Some((behind, behind));
            since_pause = 0;
        }
    }
    if start < line.len() || rows.is_empty() || line.is_empty() {
        rows.push(row(offset + start, offset + line.len()));
    }
}

/// Whether the word at the start is an address or a path, which a break would spoil.
fn is_link(rest: &str) -> bool {
    let word = rest.split(' ').next().unwrap_or_default();
    word.contains("://") || word.starts_with(['/', '~'])
}

/// `text` in rows of at most `width` cells that hold every byte of it but the line feeds, for what is
/// being edited.
pub(super) fn cells(text: &str, width: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut offset = 0;
    for line in text.split('\n') {
        let (mut start, mut cells) = (0, 0);
        for (at, cluster) in line.grapheme_indices(true) {
            let taken = text::cluster_width(cluster);
            if cells + taken > width && at > start {
                rows.push(row(offset + start, offset + at));
                (start, cells) = (at, 0);
            }
            cells += taken;
        }
        rows.push(row(offset + start, offset + line.len()));
        offset += line.len() + 1;
    }
    rows
}

/// Texts are far below 4 GiB: a message has at most 64 KiB, what is edited less.
fn row(start: usize, end: usize) -> Row {
    Row { start: start as u32, end: end as u32 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrapped(text: &str, width: usize) -> Vec<&str> {
        words(text, width, width).into_iter().map(|row| row.of(text)).collect()
    }

    #[test]
    fn rows_end_between_words() {
        assert_eq!(wrapped("the quick brown fox", 10), ["the quick", "brown fox"]);
        assert_eq!(wrapped("a\n\nb", 10), ["a", "", "b"]);
        assert_eq!(wrapped("", 10), [""]);
        assert_eq!(wrapped("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrapped("one abcdefghij", 6), ["one", "abcdef", "ghij"]);
        assert_eq!(wrapped("type: /get 3", 9), ["type:", "/get 3"]);
        assert_eq!(wrapped("a usr/bin", 7), ["a usr/", "bin"]);
    }

    #[test]
    fn links_and_paths_stay_whole_where_there_is_room() {
        assert_eq!(wrapped("look at https://example.org/", 22), ["look at", "https://example.org/"]);
        assert_eq!(wrapped("汉 http://аpple.com/汉/x ok", 22), ["汉", "http://аpple.com/汉/x", "ok"]);
        assert_eq!(wrapped("set it with /topic", 15), ["set it with", "/topic"]);
        assert_eq!(wrapped("see https://a.b/cd-ef/gh", 12), ["see", "https://a.b/", "cd-ef/gh"]);
        assert_eq!(wrapped("either/or-not", 10), ["either/or-", "not"]);
    }

    #[test]
    fn wide_characters_and_clusters_stay_whole() {
        assert_eq!(wrapped("汉字汉字", 5), ["汉字", "汉字"]);
        assert_eq!(wrapped("ab👩‍👩‍👧cd", 3), ["ab", "👩‍👩‍👧", "cd"]);
        assert_eq!(wrapped("汉", 1), ["汉"]);
    }

    #[test]
    fn edited_text_loses_nothing() {
        let text = "one two  three";
        let rows: Vec<_> = cells(text, 4).into_iter().map(|row| row.of(text)).collect();
        assert_eq!(rows, ["one ", "two ", " thr", "ee"]);
    }

    proptest! {
        #[test]
        fn no_row_is_too_wide_and_nothing_but_spaces_is_lost(text in "[a-c é汉👩\u{200d}👧\u{301}\n-]{0,60}", width in 2usize..12) {
            let rows = words(&text, width, width);
            let mut shown = String::new();
            let mut end = 0;
            for row in &rows {
                prop_assert!(crate::text::width(row.of(&text)) <= width, "{:?}", row.of(&text));
                prop_assert!(row.start >= end);
                end = row.end;
                shown.push_str(row.of(&text));
            }
            let letters = |text: &str| text.chars().filter(|c| *c != ' ' && *c != '\n').collect::<String>();
            prop_assert_eq!(letters(&shown), letters(&text));
        }
    }
}
