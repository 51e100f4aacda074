//! The input: some lines of text with a cursor between grapheme clusters, what was typed before, and
//! what was cut.

use std::collections::VecDeque;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

use super::wrap::{self, Row};
use crate::text;

/// Bytes that can be typed: as JSON, where a quote takes two, they are a message that is not too large.
pub(super) const BYTES: usize = 30 * 1024;
/// Inputs that are remembered, the newest of them.
const HISTORY: usize = 1_000;
/// Bytes of all of them.
const HISTORY_BYTES: usize = 1024 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Input {
    text: String,
    /// A byte position between two clusters.
    cursor: usize,
    cut: String,
    /// The last key cut something: what is cut next belongs to it.
    cutting: bool,
    history: VecDeque<String>,
    /// Bytes of the history.
    remembered: usize,
    /// Which entry of the history is shown, counted from the newest, and what was being typed before.
    recalled: Option<(usize, String)>,
}

/// Where text is moved to or cut until.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Motion {
    /// One cluster back.
    Left,
    /// One cluster on.
    Right,
    /// To the start of the word.
    WordLeft,
    /// To the blank before the cursor.
    BlankLeft,
    /// To the end of the word.
    WordRight,
    /// To the start of the line.
    LineStart,
    /// To the end of the line.
    LineEnd,
    /// To the start of everything.
    Start,
    /// To the end of everything.
    End,
}

impl Input {
    /// What stands there.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The byte position of the cursor.
    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Puts text at the cursor; whether there was room for it.
    pub(super) fn insert(&mut self, text: &str) -> bool {
        if self.text.len() + text.len() > BYTES {
            return false;
        }
        self.cutting = false;
        self.text.insert_str(self.cursor, text);
        self.cursor = self.boundary_at_or_after(self.cursor + text.len());
        true
    }

    /// Puts `text` in place of what stands between `start` and the cursor.
    pub(super) fn replace(&mut self, start: usize, text: &str) {
        if self.text.is_char_boundary(start) && start <= self.cursor {
            self.cutting = false;
            self.text.replace_range(start..self.cursor, text);
            self.cursor = self.boundary_at_or_after(start + text.len());
        }
    }

    /// Puts the cursor elsewhere.
    pub(super) fn go(&mut self, motion: Motion) {
        self.cutting = false;
        self.cursor = self.target(motion);
    }

    /// Deletes to where the motion leads; `keep` it for [`Self::paste_cut`].
    pub(super) fn delete(&mut self, motion: Motion, keep: bool) {
        let mut target = self.target(motion);
        // At the end of a line, what is deleted is its end.
        if target == self.cursor && motion == Motion::LineEnd && target < self.text.len() {
            target += 1;
        }
        let (start, end) = (target.min(self.cursor), target.max(self.cursor));
        if keep && start < end {
            let cut = &self.text[start..end];
            // Several cuts in a row come back as one.
            match (self.cutting, target < self.cursor) {
                (true, true) => self.cut.insert_str(0, cut),
                (true, false) => self.cut.push_str(cut),
                (false, _) => self.cut = cut.to_owned(),
            }
        }
        self.cutting = keep;
        self.text.replace_range(start..end, "");
        self.cursor = self.boundary_at_or_after(start);
    }

    /// Puts what was cut at the cursor.
    pub(super) fn paste_cut(&mut self) -> bool {
        let cut = self.cut.clone();
        self.insert(&cut)
    }

    /// Exchanges the clusters around the cursor.
    pub(super) fn transpose(&mut self) {
        if self.target(Motion::Right) == self.cursor {
            self.go(Motion::Left);
        }
        let (start, middle, end) = (self.target(Motion::Left), self.cursor, self.target(Motion::Right));
        if start < middle && middle < end {
            let swapped = format!("{}{}", &self.text[middle..end], &self.text[start..middle]);
            self.text.replace_range(start..end, &swapped);
            self.cursor = self.boundary_at_or_after(end);
        }
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.cutting = false;
        self.cursor = 0;
        self.recalled = None;
    }

    /// Puts `text` there instead.
    pub(super) fn set(&mut self, text: String) {
        self.cursor = text.len();
        self.cutting = false;
        self.text = text;
    }

    /// Takes out what stands there and remembers it.
    pub(super) fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        self.clear();
        self.remember(text.clone());
        text
    }

    /// Remembers what was typed in an earlier run.
    pub(super) fn restore(&mut self, typed: Vec<String>) {
        typed.into_iter().filter(|text| text.len() <= BYTES).for_each(|text| self.remember(text));
    }

    fn remember(&mut self, text: String) {
        if text.trim().is_empty() || self.history.back() == Some(&text) {
            return;
        }
        self.remembered += text.len();
        self.history.push_back(text);
        while self.history.len() > HISTORY || self.remembered > HISTORY_BYTES {
            self.remembered -= self.history.pop_front().map_or(0, |oldest| oldest.len());
        }
    }

    /// Shows what was typed before; whether there is anything.
    pub(super) fn older(&mut self) -> bool {
        let next = self.recalled.as_ref().map_or(0, |(at, _)| at + 1);
        let Some(found) = self.history.len().checked_sub(next + 1).and_then(|at| self.history.get(at)) else {
            return false;
        };
        let found = found.clone();
        let typed = self.recalled.take().map_or_else(|| std::mem::take(&mut self.text), |(_, typed)| typed);
        self.recalled = Some((next, typed));
        self.set(found);
        true
    }

    /// Shows the newest input before the one that is shown that contains what is being typed; whether there
    /// is one.
    pub(super) fn older_like(&mut self) -> bool {
        let wanted = self.recalled.as_ref().map_or(&self.text, |(_, typed)| typed).to_lowercase();
        let next = self.recalled.as_ref().map_or(0, |(at, _)| at + 1);
        let mut older = self.history.iter().rev().enumerate().skip(next);
        let Some((at, found)) = older.find(|(_, text)| text.to_lowercase().contains(&wanted)) else {
            return false;
        };
        let found = found.clone();
        let typed = self.recalled.take().map_or_else(|| std::mem::take(&mut self.text), |(_, typed)| typed);
        self.recalled = Some((at, typed));
        self.set(found);
        true
    }

    /// Back towards what is being typed; whether it was left.
    pub(super) fn newer(&mut self) -> bool {
        match self.recalled.take() {
            None => return false,
            Some((0, typed)) => self.set(typed),
            Some((at, typed)) => {
                let found = self.history.get(self.history.len() - at).cloned().unwrap_or_default();
                self.recalled = Some((at - 1, typed));
                self.set(found);
            }
        }
        true
    }

    /// The text in rows of `width` cells, and row and cell of the cursor.
    pub(super) fn layout(&self, width: usize) -> (Vec<Row>, (usize, usize)) {
        let rows = wrap::cells(&self.text, width);
        let at = self.cursor as u32;
        let row = rows.iter().rposition(|row| row.start <= at).unwrap_or(0);
        let start = rows[row].start as usize;
        let cell = text::width(&self.text[start..self.cursor]);
        (rows, (row, cell.min(width)))
    }

    /// One row up or down; `false` where there is none.
    pub(super) fn go_vertically(&mut self, down: bool, width: usize) -> bool {
        let (rows, (row, cell)) = self.layout(width);
        let next = if down { row + 1 } else { row.wrapping_sub(1) };
        let Some(target) = rows.get(next) else { return false };
        let mut at = target.start as usize;
        let mut cells = 0;
        for cluster in target.of(&self.text).graphemes(true) {
            cells += text::cluster_width(cluster);
            if cells > cell {
                break;
            }
            at += cluster.len();
        }
        // The end of a row that goes on below is the start of that one.
        if at == target.end as usize && rows.get(next + 1).is_some_and(|below| below.start == target.end) {
            at = at.saturating_sub(target.of(&self.text).graphemes(true).next_back().map_or(0, str::len));
        }
        self.cursor = at;
        true
    }

    fn target(&self, motion: Motion) -> usize {
        let (before, after) = self.text.split_at(self.cursor);
        let right = |text: &str| self.boundary_at_or_after(self.cursor + text.len());
        match motion {
            Motion::Left => self.cursor - before.graphemes(true).next_back().map_or(0, str::len),
            Motion::Right => right(after.graphemes(true).next().unwrap_or_default()),
            Motion::WordLeft => {
                let trimmed = before.trim_end_matches(|c: char| !is_word(c));
                trimmed.trim_end_matches(is_word).len()
            }
            Motion::BlankLeft => before
                .trim_end_matches(char::is_whitespace)
                .trim_end_matches(|c: char| !c.is_whitespace())
                .len(),
            Motion::WordRight => {
                let word = after.trim_start_matches(|c: char| !is_word(c)).trim_start_matches(is_word);
                self.boundary_at_or_after(self.text.len() - word.len())
            }
            Motion::LineStart => before.rfind('\n').map_or(0, |at| at + 1),
            Motion::LineEnd => after.find('\n').map_or(self.text.len(), |at| self.cursor + at),
            Motion::Start => 0,
            Motion::End => self.text.len(),
        }
    }

    /// Marks join what stands before them, whoever typed first.
    fn boundary_at_or_after(&self, at: usize) -> usize {
        let mut cursor = GraphemeCursor::new(at, self.text.len(), true);
        match cursor.is_boundary(&self.text, 0) {
            Ok(true) | Err(_) => at,
            Ok(false) => cursor.next_boundary(&self.text, 0).ok().flatten().unwrap_or(self.text.len()),
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || unicode_normalization::char::is_combining_mark(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn input(text: &str) -> Input {
        let mut input = Input::default();
        assert!(input.insert(text));
        input
    }

    #[test]
    fn the_cursor_moves_by_clusters() {
        let mut input = input("a👩‍👩‍👧e\u{301}汉");
        let steps = std::iter::from_fn(|| {
            let before = input.cursor();
            input.go(Motion::Left);
            (input.cursor() != before).then_some(input.cursor())
        });
        assert_eq!(steps.collect::<Vec<_>>(), [22, 19, 1, 0]);
        let mut input = super::tests::input("e");
        input.insert("\u{301}");
        input.delete(Motion::Left, false);
        assert_eq!(input.text(), "");
    }

    #[test]
    fn words_and_lines_are_cut_and_put_back() {
        let mut input = input("one two-three\nfour");
        input.delete(Motion::WordLeft, true);
        assert_eq!(input.text(), "one two-three\n");
        input.go(Motion::Left);
        input.delete(Motion::WordLeft, true);
        assert_eq!(input.text(), "one two-\n");
        input.paste_cut();
        input.delete(Motion::LineStart, true);
        assert_eq!((input.text(), input.cursor()), ("\n", 0));
        input.delete(Motion::LineEnd, true);
        assert_eq!(input.text(), "");
    }

    #[test]
    fn ctrl_w_cuts_to_the_blank_and_several_cuts_come_back_as_one() {
        let mut input = input("alpha beta foo-bar/baz ");
        input.delete(Motion::BlankLeft, true);
        assert_eq!(input.text(), "alpha beta ");
        input.delete(Motion::BlankLeft, true);
        assert_eq!(input.text(), "alpha ");
        input.paste_cut();
        assert_eq!(input.text(), "alpha beta foo-bar/baz ");
        input.go(Motion::LineStart);
        input.delete(Motion::WordRight, true);
        input.go(Motion::LineEnd);
        input.delete(Motion::BlankLeft, true);
        input.paste_cut();
        assert_eq!(input.text(), " beta foo-bar/baz ", "what was cut before something else is gone");
    }

    #[test]
    fn what_is_typed_finds_what_was_typed_before() {
        let mut input = Input::default();
        for text in ["make test", "hello", "make it so", "bye"] {
            input.insert(text);
            input.take();
        }
        input.insert("MAKE");
        assert!(input.older_like());
        assert_eq!(input.text(), "make it so");
        assert!(input.older_like());
        assert_eq!(input.text(), "make test");
        assert!(!input.older_like());
        while input.newer() {}
        assert_eq!(input.text(), "MAKE");
    }

    #[test]
    fn what_was_typed_comes_back_and_what_is_being_typed_is_not_lost() {
        let mut input = Input::default();
        for text in ["one", "two", "two"] {
            input.insert(text);
            input.take();
        }
        input.insert("thr");
        assert!(input.older());
        assert_eq!(input.text(), "two");
        assert!(input.older() && !input.older());
        assert_eq!(input.text(), "one");
        assert!(input.newer());
        assert_eq!(input.text(), "two");
        assert!(input.newer() && !input.newer());
        assert_eq!(input.text(), "thr");
    }

    #[test]
    fn the_cursor_finds_its_cell() {
        let mut input = input("汉字ab\nc");
        assert_eq!(input.layout(4).1, (2, 1));
        assert!(input.go_vertically(false, 4));
        assert_eq!(input.layout(4).1, (1, 1));
        assert!(input.go_vertically(false, 4));
        assert_eq!(input.layout(4).1, (0, 0));
        assert!(!input.go_vertically(false, 4));
    }

    #[test]
    fn too_much_is_not_taken() {
        let mut input = Input::default();
        assert!(!input.insert(&"x".repeat(5_000_000)));
        assert!(input.insert(&"x".repeat(BYTES)));
        assert!(!input.insert("x"));
    }

    proptest! {
        #[test]
        fn no_sequence_of_keys_puts_the_cursor_into_a_character(keys in prop::collection::vec((0usize..12, "[a 汉é\u{301}👩\u{200d}👧\n]{0,3}"), 0..40)) {
            let mut input = Input::default();
            let motions = [Motion::Left, Motion::Right, Motion::WordLeft, Motion::WordRight, Motion::LineStart, Motion::LineEnd];
            for (key, text) in keys {
                match key {
                    0..=5 => input.go(motions[key]),
                    6 => input.delete(Motion::Left, true),
                    7 => input.delete(Motion::WordRight, true),
                    8 => input.transpose(),
                    9 => { input.go_vertically(text.len() > 1, 5); }
                    10 => { input.paste_cut(); }
                    _ => { input.insert(&text); }
                }
                prop_assert!(input.text().is_char_boundary(input.cursor()));
                let (rows, (row, _)) = input.layout(5);
                prop_assert!(row < rows.len());
            }
        }
    }
}
