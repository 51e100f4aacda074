//! The lines of the pane and which of them are in view.
//!
//! A ring of at most [`LINES`] lines and [`BYTES`] bytes; the oldest go first. Rows are made for what
//! is looked at and kept for one width. Own messages that are not in the room yet stand behind the
//! others, in the order in which they were typed.

use std::collections::VecDeque;

use super::line::{Fate, Line, Traffic};
use super::wrap::{self, Row};
use crate::id::OfferNumber;

/// Lines that are kept.
pub(super) const LINES: usize = 10_000;
/// Bytes of memory that lines may take, roughly.
pub(super) const BYTES: usize = 8 * 1024 * 1024;

/// How rows are made: cells of the first and of every other row of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Cells of a row of what members say.
    pub said: usize,
    /// Cells of a row of what the program says.
    pub notice: usize,
    /// Whether the name stands in the text, because there is no column for it.
    pub compact: bool,
}

/// A line with what was computed for it.
#[derive(Debug)]
struct Entry {
    /// Seconds since 1970.
    time: f64,
    line: Line,
    rows: Option<(Shape, Box<[Row]>)>,
}

/// One row of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The mark above the first unread line.
    Unread,
    /// A row of a line.
    Row {
        /// The number of the line.
        line: u64,
        /// Which of its rows; 0 is the first.
        row: usize,
    },
}

/// The row at the bottom of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    line: u64,
    row: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Scrollback {
    entries: VecDeque<Entry>,
    pending: VecDeque<Entry>,
    /// The number of the first entry; lines are counted from [`START`], older ones downwards.
    base: u64,
    bytes: usize,
    /// `None`: the view follows what comes.
    bottom: Option<Position>,
    /// The first line that was not seen.
    unread: Option<u64>,
    /// Lines that came below the view.
    below: usize,
    height: usize,
    shape: Option<Shape>,
}

/// The number of the first line that comes. More older ones than this are never added.
const START: u64 = 1 << 32;

impl Default for Scrollback {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            pending: VecDeque::new(),
            base: START,
            bytes: 0,
            bottom: None,
            unread: None,
            below: 0,
            height: 0,
            shape: None,
        }
    }
}

impl Scrollback {
    /// Adds a line; `time` in seconds since 1970.
    pub(super) fn push(&mut self, line: Line, time: f64) {
        self.bytes += line.weight();
        let counts = matches!(line, Line::Said { .. });
        self.entries.push_back(Entry { time, line, rows: None });
        if counts && self.bottom.is_some() {
            self.below += 1;
        }
        while self.entries.len() > LINES || self.bytes > BYTES && self.entries.len() > 1 {
            let Some(gone) = self.entries.pop_front() else { break };
            self.bytes -= gone.line.weight();
            self.base += 1;
            self.unread = self.unread.filter(|unread| *unread >= self.base);
        }
        if let Some(bottom) = &mut self.bottom
            && bottom.line < self.base
        {
            *bottom = Position { line: self.base, row: 0 };
        }
    }

    /// Puts older lines before the first, as many of the newest of them as there is room for. Where the first
    /// line is this `day`, it goes: the older lines have it.
    pub(super) fn prepend(&mut self, lines: Vec<(Line, f64)>, day: &str) {
        if let Some(Entry { line: Line::Day(text), .. }) = self.entries.front()
            && text == day
            && let Some(gone) = self.entries.pop_front()
        {
            self.bytes -= gone.line.weight();
            self.base += 1;
        }
        for (line, time) in lines.into_iter().rev() {
            let weight = line.weight();
            if self.entries.len() >= LINES || self.bytes + weight > BYTES {
                return;
            }
            self.bytes += weight;
            self.base -= 1;
            self.entries.push_front(Entry { time, line, rows: None });
        }
    }

    /// Whether older lines have no room.
    pub(super) fn is_full(&self) -> bool {
        // A page of the server has fewer lines, and few bytes.
        self.entries.len() + 300 > LINES || self.bytes > BYTES - BYTES / 16
    }

    /// Whether the first line is in view.
    pub(super) fn is_at_top(&mut self) -> bool {
        let seen = self.rows_above_bottom();
        let first = Seen::Row { line: self.base, row: 0 };
        seen.len() < self.height
            || matches!(seen.first(), Some(seen) if *seen == first || *seen == Seen::Unread && self.unread == Some(self.base))
    }

    /// Whether a message with this number is there.
    pub(super) fn has(&self, seq: u64) -> bool {
        self.entries
            .iter()
            .any(|entry| matches!(&entry.line, Line::Said { message, .. } if message.seq == seq))
    }

    /// The last line, if members coming and going is what it is about; changed by `change`.
    pub(super) fn change_traffic(&mut self, change: impl FnOnce(&mut Traffic)) -> bool {
        let Some(entry) = self.entries.back_mut() else { return false };
        let before = entry.line.weight();
        let Line::Traffic(traffic) = &mut entry.line else { return false };
        if !traffic.has_room() {
            return false;
        }
        change(traffic);
        let empty = traffic.told().text.is_empty();
        entry.rows = None;
        self.bytes = self.bytes + entry.line.weight() - before;
        if empty && let Some(gone) = self.entries.pop_back() {
            self.bytes -= gone.line.weight();
            self.clamp();
        }
        true
    }

    /// Gives the last line another text, if this offer is what it is about.
    pub(super) fn change_offer(&mut self, offer: OfferNumber, text: String) -> bool {
        let Some(Entry { line, rows, .. }) = self.entries.back_mut() else { return false };
        match line {
            Line::Offer { number, .. } if *number == offer => {
                self.bytes -= line.weight();
                *line = Line::Offer { number: offer, text };
                self.bytes += line.weight();
                *rows = None;
                true
            }
            _ => false,
        }
    }

    /// Adds an own message that is not in the room yet.
    pub(super) fn push_pending(&mut self, line: Line, time: f64) {
        self.pending.push_back(Entry { time, line, rows: None });
    }

    /// The own message `n` is in the room: it is not pending any more.
    pub(super) fn remove_pending(&mut self, n: u64) {
        self.pending.retain(|entry| !matches!(entry.line, Line::Pending { n: m, .. } if m == n));
        self.clamp();
    }

    /// Own messages through `n` were passed on.
    pub(super) fn mark_relayed(&mut self, through: u64) {
        for entry in &mut self.pending {
            if let Line::Pending { n, fate, .. } = &mut entry.line
                && *n <= through
                && *fate == Fate::Waiting
            {
                *fate = Fate::Relayed;
            }
        }
    }

    /// The own message `n` was refused: it stays where it stood, with the reason.
    pub(super) fn mark_refused(&mut self, n: u64, why: String) -> bool {
        let found = self.pending.iter().position(|e| matches!(e.line, Line::Pending { n: m, .. } if m == n));
        let Some(mut entry) = found.and_then(|at| self.pending.remove(at)) else { return false };
        if let Line::Pending { fate, .. } = &mut entry.line {
            *fate = Fate::Refused(why);
        }
        self.push(entry.line, entry.time);
        true
    }

    /// Own messages that are not in the room yet.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Texts of own messages that the server has not answered.
    pub(super) fn unsent(&self) -> Vec<String> {
        let waiting = |entry: &Entry| match &entry.line {
            Line::Pending { draft, fate: Fate::Waiting, .. } => Some(draft.text.clone()),
            _ => None,
        };
        self.pending.iter().filter_map(waiting).collect()
    }

    /// Own messages through `n` that were passed on are in the room, whether or not they come back: who
    /// began anew is not given what is older.
    pub(super) fn settle(&mut self) {
        let is_relayed = |entry: &Entry| matches!(entry.line, Line::Pending { fate: Fate::Relayed, .. });
        while self.pending.front().is_some_and(is_relayed)
            && let Some(entry) = self.pending.pop_front()
        {
            self.push(entry.line, entry.time);
        }
    }

    /// The time of the last line that is in the room.
    pub(super) fn last_time(&self) -> Option<f64> {
        self.entries.back().map(|entry| entry.time)
    }

    /// The line with this number and its time.
    pub(super) fn line(&self, number: u64) -> Option<(&Line, f64)> {
        let at = usize::try_from(number.checked_sub(self.base)?).ok()?;
        let entry = match at.checked_sub(self.entries.len()) {
            None => self.entries.get(at),
            Some(at) => self.pending.get(at),
        };
        entry.map(|entry| (&entry.line, entry.time))
    }

    /// Text and rows of a line, as they were made for the view.
    pub(super) fn row(&self, number: u64, row: usize) -> Option<Row> {
        self.entry(number)?.rows.as_ref()?.1.get(row).copied()
    }

    /// The number of the next line to come.
    pub(super) fn next(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// This line is the first unread one, unless there is one already.
    pub(super) fn mark_unread(&mut self, line: u64) {
        self.unread.get_or_insert(line.max(self.base));
    }

    /// All is read: the mark goes.
    pub(super) fn mark_read(&mut self) {
        self.unread = None;
    }

    /// Lines that came below the view.
    pub(super) fn below(&self) -> usize {
        self.below
    }

    /// Whether the view follows what comes.
    pub(super) fn follows(&self) -> bool {
        self.bottom.is_none()
    }

    /// What `height` rows show, from top to bottom; less where there is less. Rows are made in `shape`.
    pub(super) fn view(&mut self, height: usize, shape: Shape) -> Vec<Seen> {
        self.height = height;
        self.shape = Some(shape);
        let mut seen = self.rows_above_bottom();
        // What stood above may have gone, or takes fewer rows now.
        if seen.len() < height
            && let Some(bottom) = self.bottom
        {
            self.set_bottom(bottom);
            seen = self.rows_above_bottom();
        }
        seen
    }

    fn rows_above_bottom(&mut self) -> Vec<Seen> {
        let mut seen = Vec::with_capacity(self.height);
        let mut at = self.bottom_position();
        while let Some(position) = at {
            if seen.len() == self.height {
                break;
            }
            seen.push(self.seen(position));
            at = self.above(position);
        }
        seen.reverse();
        seen
    }

    /// Moves the view by rows; negative is up.
    pub(super) fn scroll(&mut self, rows: isize) {
        let Some(mut bottom) = self.bottom_position() else { return };
        for _ in 0..rows.unsigned_abs() {
            if rows > 0 {
                let Some(next) = self.under(bottom) else { break };
                bottom = next;
            } else {
                let Some(next) = self.above(bottom) else { break };
                bottom = next;
            }
        }
        self.set_bottom(bottom);
    }

    /// To the first line.
    pub(super) fn go_to_top(&mut self) {
        if !self.is_empty() {
            self.set_bottom(Position { line: self.base, row: 0 });
        }
    }

    /// To the last line, which the view follows from now on.
    pub(super) fn go_to_bottom(&mut self) {
        self.bottom = None;
        self.below = 0;
    }

    /// Brings a line into the middle of the view.
    pub(super) fn show(&mut self, number: u64) {
        if self.entry(number).is_some() {
            self.set_bottom(Position { line: number, row: 0 });
            self.scroll((self.height / 2) as isize);
        }
    }

    /// The newest line before `before` (else of all) whose text or sender contains `wanted`, which is in
    /// lower case.
    pub(super) fn find(&self, wanted: &str, before: Option<u64>) -> Option<u64> {
        let end = before.map_or(self.entries.len(), |b| {
            usize::try_from(b.saturating_sub(self.base)).unwrap_or(0).min(self.entries.len())
        });
        let contains = |text: &str| text.to_lowercase().contains(wanted);
        (0..end).rev().map(|at| (at, &self.entries[at].line)).find_map(|(at, line)| {
            let Line::Said { message, .. } = line else { return None };
            (contains(&message.text) || contains(&message.from.name)).then_some(self.base + at as u64)
        })
    }

    /// The oldest line behind `after` whose text or sender contains `wanted`.
    pub(super) fn find_after(&self, wanted: &str, after: Option<u64>) -> Option<u64> {
        let mut found = None;
        let mut at = None;
        while let Some(next) = self.find(wanted, at).filter(|next| after.is_some_and(|after| *next > after)) {
            (found, at) = (Some(next), Some(next));
        }
        found
    }

    /// How many lines behind `after` contain it.
    pub(super) fn count_after(&self, wanted: &str, after: u64) -> usize {
        let lines = std::iter::successors(self.find(wanted, None), |at| self.find(wanted, Some(*at)));
        lines.take_while(|line| *line > after).count()
    }

    /// How many lines contain `wanted`, which is in lower case.
    pub(super) fn count(&self, wanted: &str) -> usize {
        let mut count = 0;
        let mut at = None;
        while let Some(found) = self.find(wanted, at) {
            count += 1;
            at = Some(found);
        }
        count
    }

    /// Brings the first row of the last line of the room to the top, where not all of it fits.
    pub(super) fn show_last_from_its_top(&mut self) {
        if let Some(line) = self.next().checked_sub(1).filter(|line| *line >= self.base)
            && self.rows_of(line) > self.height
        {
            self.set_bottom(Position { line, row: self.height.saturating_sub(1) });
        }
    }

    /// Takes away all that is in the room; what is not sent yet stays.
    pub(super) fn clear(&mut self) {
        self.base = self.next();
        self.entries.clear();
        (self.bytes, self.unread) = (0, None);
        self.go_to_bottom();
    }

    /// Stops `at` where a whole view (or all that there is) stands above it, and follows where nothing is
    /// below it.
    fn set_bottom(&mut self, mut at: Position) {
        let mut above = at;
        let mut rows = 1;
        while rows < self.height {
            match self.above(above) {
                Some(next) => above = next,
                None => match self.under(at) {
                    Some(next) => at = next,
                    None => break,
                },
            }
            rows += 1;
        }
        self.bottom = self.under(at).is_some().then_some(at);
        if self.bottom.is_none() {
            self.below = 0;
        }
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.pending.is_empty()
    }

    fn end(&self) -> u64 {
        self.base + (self.entries.len() + self.pending.len()) as u64
    }

    fn clamp(&mut self) {
        let end = self.end();
        if self.bottom.is_some_and(|bottom| bottom.line >= end) {
            self.go_to_bottom();
        }
    }

    fn bottom_position(&mut self) -> Option<Position> {
        if self.is_empty() {
            return None;
        }
        match self.bottom {
            // The width may have changed since: there may be fewer rows.
            Some(at) => Some(Position { row: at.row.min(self.rows_of(at.line) - 1), ..at }),
            None => {
                let line = self.end() - 1;
                Some(Position { line, row: self.rows_of(line) - 1 })
            }
        }
    }

    fn above(&mut self, at: Position) -> Option<Position> {
        if at.row > 0 {
            return Some(Position { row: at.row - 1, ..at });
        }
        let line = at.line.checked_sub(1).filter(|line| *line >= self.base)?;
        Some(Position { line, row: self.rows_of(line) - 1 })
    }

    fn under(&mut self, at: Position) -> Option<Position> {
        if at.row + 1 < self.rows_of(at.line) {
            return Some(Position { row: at.row + 1, ..at });
        }
        (at.line + 1 < self.end()).then_some(Position { line: at.line + 1, row: 0 })
    }

    fn seen(&self, at: Position) -> Seen {
        match self.unread == Some(at.line) {
            true if at.row == 0 => Seen::Unread,
            true => Seen::Row { line: at.line, row: at.row - 1 },
            false => Seen::Row { line: at.line, row: at.row },
        }
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        let at = usize::try_from(number.checked_sub(self.base)?).ok()?;
        match at.checked_sub(self.entries.len()) {
            None => self.entries.get(at),
            Some(at) => self.pending.get(at),
        }
    }

    /// Rows of a line, at least one, with the mark above it.
    fn rows_of(&mut self, number: u64) -> usize {
        let mark = usize::from(self.unread == Some(number));
        let Some(shape) = self.shape else { return 1 };
        let at = usize::try_from(number.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let entry = match at.checked_sub(self.entries.len()) {
            None => self.entries.get_mut(at),
            Some(at) => self.pending.get_mut(at),
        };
        let Some(entry) = entry else { return 1 };
        match &entry.rows {
            Some((made, rows)) if *made == shape => rows.len() + mark,
            _ => {
                let rows = entry.wrap(shape);
                let count = rows.len();
                entry.rows = Some((shape, rows.into_boxed_slice()));
                count + mark
            }
        }
    }
}

impl Entry {
    fn wrap(&self, shape: Shape) -> Vec<Row> {
        let text = self.line.text();
        let rest = match self.line {
            Line::Said { .. } | Line::Pending { .. } => shape.said,
            _ => shape.notice,
        };
        wrap::words(&text, rest.saturating_sub(super::draw::lead(&self.line, shape)).max(2), rest.max(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { said: 20, notice: 20, compact: false };

    fn filled(lines: usize) -> Scrollback {
        let mut scrollback = Scrollback::default();
        (0..lines).for_each(|n| scrollback.push(Line::Notice(format!("line {n}")), 0.0));
        scrollback
    }

    fn shown(scrollback: &mut Scrollback, height: usize) -> Vec<String> {
        let seen = scrollback.view(height, SHAPE);
        seen.into_iter()
            .map(|seen| match seen {
                Seen::Unread => "unread".to_owned(),
                Seen::Row { line, row } => {
                    let text = scrollback.line(line).unwrap().0.text().into_owned();
                    scrollback.row(line, row).unwrap().of(&text).to_owned()
                }
            })
            .collect()
    }

    #[test]
    fn the_view_follows_until_it_is_moved_and_stays_where_it_is_then() {
        let mut scrollback = filled(10);
        assert_eq!(shown(&mut scrollback, 3), ["line 7", "line 8", "line 9"]);
        scrollback.scroll(-4);
        assert_eq!(shown(&mut scrollback, 3), ["line 3", "line 4", "line 5"]);
        scrollback.push(Line::Notice("new".into()), 0.0);
        assert_eq!(shown(&mut scrollback, 3), ["line 3", "line 4", "line 5"]);
        scrollback.scroll(-99);
        assert_eq!(shown(&mut scrollback, 3), ["line 0", "line 1", "line 2"]);
        scrollback.scroll(99);
        assert!(scrollback.follows());
        assert_eq!(shown(&mut scrollback, 3), ["line 8", "line 9", "new"]);
    }

    #[test]
    fn a_new_width_keeps_the_line_at_the_bottom() {
        let mut scrollback = filled(3);
        scrollback.push(Line::Notice("a long line that takes several rows of it".into()), 0.0);
        (0..5).for_each(|n| scrollback.push(Line::Notice(format!("after {n}")), 0.0));
        shown(&mut scrollback, 4);
        scrollback.scroll(-5);
        let before = shown(&mut scrollback, 4);
        assert_eq!(before.last().unwrap(), "of it");
        let seen = scrollback.view(4, Shape { said: 80, notice: 80, compact: false });
        assert_eq!(seen.last(), Some(&Seen::Row { line: START + 3, row: 0 }));
    }

    #[test]
    fn the_mark_stands_above_the_first_unread_line() {
        let mut scrollback = filled(2);
        scrollback.mark_unread(scrollback.next());
        scrollback.push(Line::Notice("new".into()), 0.0);
        scrollback.mark_unread(scrollback.next());
        scrollback.push(Line::Notice("newer".into()), 0.0);
        assert_eq!(shown(&mut scrollback, 9), ["line 0", "line 1", "unread", "new", "newer"]);
        scrollback.mark_read();
        assert_eq!(shown(&mut scrollback, 9).len(), 4);
    }

    #[test]
    fn older_lines_stand_above_and_the_view_stays_where_it_is() {
        let mut scrollback = Scrollback::default();
        scrollback.push(Line::Day("Monday".into()), 0.0);
        (0..5).for_each(|n| scrollback.push(Line::Notice(format!("line {n}")), 0.0));
        shown(&mut scrollback, 3);
        assert!(!scrollback.is_at_top());
        scrollback.scroll(-9);
        assert!(scrollback.is_at_top());
        assert_eq!(shown(&mut scrollback, 3), ["Monday", "line 0", "line 1"]);
        let older = vec![(Line::Day("Monday".into()), 0.0), (Line::Notice("older".into()), 0.0)];
        scrollback.prepend(older, "Monday");
        assert_eq!(shown(&mut scrollback, 3), ["older", "line 0", "line 1"]);
        scrollback.scroll(-9);
        assert_eq!(shown(&mut scrollback, 3), ["Monday", "older", "line 0"]);
        let many = (0..LINES).map(|n| (Line::Notice(format!("old {n}")), 0.0)).collect();
        scrollback.prepend(many, "Sunday");
        assert!(scrollback.is_full() && scrollback.entries.len() == LINES);
        assert_eq!(shown(&mut scrollback, 3), ["Monday", "older", "line 0"]);
    }

    #[test]
    fn t06_a_flood_is_bounded_in_lines_and_bytes() {
        let mut scrollback = filled(100_000);
        assert_eq!(scrollback.entries.len(), LINES);
        assert_eq!(shown(&mut scrollback, 1), ["line 99999"]);
        scrollback.go_to_top();
        (0..1_000).for_each(|_| scrollback.push(Line::Notice("x".repeat(64 * 1024)), 0.0));
        assert!(scrollback.bytes <= BYTES);
        assert_eq!(shown(&mut scrollback, 5).len(), 5);
        let weight: usize = scrollback.entries.iter().map(|entry| entry.line.weight()).sum();
        assert_eq!(weight, scrollback.bytes);
    }
}
