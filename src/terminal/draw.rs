//! The screen as cells.

use ratatui::buffer::Buffer;
use ratatui::style::{Modifier, Style};
use unicode_segmentation::UnicodeSegmentation;

use super::line::{Fate, Kind, Line, Message};
use super::members::Person;
use super::screen::{Connection, Now, Screen};
use super::scrollback::{Seen, Shape};
use super::style::{badge, bar, found, name_in_words, quiet};
use super::wrap;
use crate::text;

/// Narrower screens have no column of members.
const WITH_MEMBERS: u16 = 76;
/// Narrower panes have no column of names.
const WITH_NAMES: usize = 48;
/// Narrower panes have no times.
const WITH_TIMES: usize = 30;
/// Rows that a sentence for the person may take.
const HINT: usize = 4;
/// Cells of a time.
const TIME: usize = 5;
/// Stands behind the names of hosts.
const HOST: &str = "host";

/// Columns of the pane of messages.
#[derive(Debug, Clone, Copy)]
struct Columns {
    width: usize,
    /// Cells of the column of names; 0: none.
    name: usize,
    time: bool,
}

impl Columns {
    fn new(width: usize, bare: bool) -> Self {
        let name = if width >= WITH_NAMES && !bare { (width / 6).clamp(10, 18) } else { 0 };
        Self { width, name, time: width >= WITH_TIMES }
    }

    /// Where texts begin, behind time, name and bar.
    fn text(self) -> usize {
        if self.name == 0 { 2 } else { TIME + 1 + self.name + 3 }
    }

    fn shape(self) -> Shape {
        let cells = self.width.saturating_sub(self.text()).max(2);
        Shape { said: cells, notice: cells, compact: self.name == 0 }
    }
}

/// Cells that time and name take from the first row of a line, where they have no column.
pub(super) fn lead(line: &Line, shape: Shape) -> usize {
    if !shape.compact || matches!(line, Line::Day(_)) {
        return 0;
    }
    let width = shape.said + 2;
    let time = if width >= WITH_TIMES { TIME + 1 } else { 0 };
    let name = match line {
        Line::Said { message, .. } => {
            text::width(&fit(&heading(message), width / 3)) + text::width(compact(sign(message))) + 1
        }
        Line::Pending { .. } => 4 + 1,
        _ => 3,
    };
    (time + name).saturating_sub(2)
}

/// Puts `text` at a cell, at most `width` cells of it; where it ends. Nothing that could move a cursor
/// gets into a cell.
pub(super) fn put(buffer: &mut Buffer, x: u16, y: u16, width: usize, text: &str, style: Style) -> u16 {
    let right = buffer.area.right().min(x.saturating_add(u16::try_from(width).unwrap_or(u16::MAX)));
    if y >= buffer.area.bottom() {
        return x;
    }
    let mut x = x;
    for cluster in text.graphemes(true) {
        let cells = text::cluster_width(cluster) as u16;
        if cells == 0 || cluster.contains(char::is_control) {
            continue;
        }
        if x + cells > right {
            break;
        }
        buffer[(x, y)].set_symbol(cluster).set_style(style);
        for covered in 1..cells {
            buffer[(x + covered, y)].set_symbol(" ").set_style(style);
        }
        x += cells;
    }
    x
}

/// `name` in at most `width` cells, but at least one.
pub(super) fn fit(name: &str, width: usize) -> String {
    if text::width(name) <= width {
        return name.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let kept = name.graphemes(true).take_while(|cluster| {
        let cells = text::cluster_width(cluster);
        let fits = cells <= left;
        left = left.saturating_sub(cells);
        fits
    });
    kept.collect::<String>() + "…"
}

/// A name as it stands before what is said: one without a letter or digit stands in quotes, because the
/// program's own signs have neither.
fn quoted(name: &str) -> String {
    if name.contains(char::is_alphanumeric) { name.to_owned() } else { format!("\"{name}\"") }
}

fn heading(message: &Message) -> String {
    let from = quoted(&message.from.name);
    match &message.to {
        Some(to) if message.mine => format!("you→{}", quoted(to)),
        Some(_) => format!("{from}→you"),
        None => from,
    }
}

/// The sign between a name and what is said.
fn sign(message: &Message) -> &'static str {
    match (message.to.is_some(), message.kind) {
        (true, _) => "»",
        (_, Kind::Text) => "│",
        (_, Kind::Action) => "*",
        (_, Kind::Topic) => "=",
    }
}

/// The same where the name has no column.
fn compact(sign: &'static str) -> &'static str {
    match sign {
        "│" => "›",
        "*" => " *",
        "=" => " =",
        other => other,
    }
}

impl Screen {
    fn is_up(&self) -> bool {
        !matches!(self.connection, Connection::Down { .. })
    }

    /// Draws everything; where the cursor stands.
    pub fn draw(&mut self, buffer: &mut Buffer, now: Now) -> Option<(u16, u16)> {
        buffer.reset();
        let (width, height) = (buffer.area.width, buffer.area.height);
        if width < 4 || height == 0 {
            return None;
        }
        let has_header = height >= 8 && !self.bare;
        let hint = self.hint_rows(width.into(), usize::from(height / 3).clamp(1, HINT));
        let status_height = if height >= 3 { hint.len().max(1) as u16 } else { 0 };
        let (input, at) = self.input.layout(usize::from(width) - 3);
        self.input_width = usize::from(width) - 3;
        let input_height = (input.len() as u16).clamp(1, (height / 3).clamp(1, 10));
        let above = height - input_height;
        let top = u16::from(has_header);
        // What is on its way stands above the bar, where that leaves something of the conversation.
        let moving =
            if has_header { self.files.rows(usize::from(height / 4), width.into()) } else { Vec::new() };
        let bottom = above.saturating_sub(status_height + moving.len() as u16).max(top);
        let beside = width >= WITH_MEMBERS && bottom > top && !self.bare && !self.without_members;
        let side = if beside { (width * 3 / 10).clamp(18, 32) } else { 0 };
        let pane = if side > 0 { width - side - 1 } else { width };
        self.draw_messages(buffer, pane, top, bottom);
        if side > 0 {
            for y in top..bottom {
                put(buffer, pane, y, 1, "│", quiet());
            }
            self.draw_members(buffer, pane + 1, top, bottom);
        }
        if has_header {
            self.draw_header(buffer, pane, side > 0);
        }
        for (row, y) in moving.iter().zip(bottom..) {
            put(buffer, 0, y, width.into(), row, quiet());
        }
        if status_height > 0 {
            self.draw_status(buffer, above - status_height, side == 0, now, &hint);
        }
        // The row of the cursor is in view.
        let first = (at.0 + 1).saturating_sub(input_height.into());
        for (row, y) in input.iter().skip(first).zip(above..height) {
            put(buffer, 2, y, usize::from(width) - 2, row.of(self.input.text()), Style::new());
        }
        if first == 0 {
            put(buffer, 0, above, 1, "›", quiet());
        }
        Some((2 + at.1 as u16, above + (at.0 - first) as u16))
    }

    fn draw_messages(&mut self, buffer: &mut Buffer, width: u16, top: u16, bottom: u16) {
        let columns = Columns::new(width.into(), self.bare);
        let height = usize::from(bottom - top);
        self.page = height;
        self.cells = columns.shape().notice;
        let view = self.lines.view(height, columns.shape());
        let first = bottom - view.len() as u16;
        for (seen, y) in view.into_iter().zip(first..bottom) {
            match seen {
                Seen::Unread => {
                    rule(buffer, y, columns.width, "new", self.settings.theme.unread());
                }
                Seen::Row { line, row } => self.draw_row(buffer, y, columns, line, row),
            }
        }
    }

    fn draw_row(&self, buffer: &mut Buffer, y: u16, columns: Columns, number: u64, row: usize) {
        let (Some((line, time)), Some(part)) = (self.lines.line(number), self.lines.row(number, row)) else {
            return;
        };
        let whole = line.text();
        let shown = part.of(&whole);
        let theme = self.settings.theme;
        let style = match line {
            Line::Day(_) => return rule(buffer, y, columns.width, shown, quiet()),
            Line::Said { mention: true, .. } => theme.mention(),
            Line::Said { message, .. } if message.kind != Kind::Text => {
                Style::new().add_modifier(Modifier::ITALIC)
            }
            Line::Said { .. } => Style::new(),
            Line::Pending { fate: Fate::Refused(_), .. } | Line::Warning(_) => theme.warning(),
            Line::Pending { .. } | Line::Notice(_) | Line::Told(_) | Line::Traffic(_) => quiet(),
            Line::Offer { .. } => Style::new(),
        };
        let x = self.draw_margin(buffer, y, columns, line, time, row == 0);
        put(buffer, x, y, columns.width.saturating_sub(x.into()), shown, style);
        for name in line.names() {
            let (start, end) = (name.start.max(part.start as usize), name.end.min(part.end as usize));
            let (Some(before), Some(name)) = (whole.get(part.start as usize..start), whole.get(start..end))
            else {
                continue;
            };
            let x = x + text::width(before) as u16;
            put(buffer, x, y, columns.width.saturating_sub(x.into()), name, name_in_words());
        }
        if let Some(search) = &self.search {
            // The one that was found last is told from the others.
            let style = if search.at == Some(number) {
                bar().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
            } else {
                found()
            };
            highlight(buffer, x, y, shown, &search.wanted, style);
        }
    }

    /// Time and name, or what stands in their place before a row that continues; where the text begins.
    fn draw_margin(
        &self,
        buffer: &mut Buffer,
        y: u16,
        columns: Columns,
        line: &Line,
        time: f64,
        first: bool,
    ) -> u16 {
        let said = matches!(line, Line::Said { .. } | Line::Pending { .. });
        if columns.name == 0 && !first {
            return put(buffer, 0, y, 2, if said && !self.bare { "│ " } else { "  " }, quiet());
        }
        let mut x = 0;
        if columns.time && first {
            x = put(buffer, 0, y, TIME, &self.clock(time), quiet()) + 1;
        } else if columns.time {
            x = TIME as u16 + 1;
        }
        let (name, name_style, sign) = match line {
            Line::Said { message, .. } => {
                let name_style = self.settings.theme.name(message.from.hue);
                (heading(message), name_style, sign(message))
            }
            Line::Pending { draft, fate, .. } => {
                let name = draft.to.as_ref().map_or("you".to_owned(), |(_, to)| format!("you→{to}"));
                (
                    name,
                    quiet(),
                    match fate {
                        Fate::Waiting => "…",
                        Fate::Relayed => "│",
                        Fate::Refused(_) => "✗",
                    },
                )
            }
            _ => ("──".to_owned(), quiet(), " "),
        };
        if columns.name == 0 {
            let width = if said && !matches!(line, Line::Pending { .. }) { columns.width / 3 } else { 4 };
            let end =
                put(buffer, x, y, width, &fit(&name, width.min(if said { width } else { 2 })), name_style);
            let sign = format!("{} ", compact(sign));
            return if said { put(buffer, end, y, text::width(&sign), &sign, quiet()) } else { end + 1 };
        }
        if first {
            let name = fit(&name, columns.name);
            let indent = columns.name - text::width(&name);
            put(buffer, x + indent as u16, y, columns.name, &name, name_style);
        }
        let bar = if first || !said { sign } else { "│" };
        put(buffer, x + columns.name as u16 + 1, y, 1, bar, quiet());
        columns.text() as u16
    }

    fn draw_header(&self, buffer: &mut Buffer, pane: u16, with_members: bool) {
        let width = buffer.area.width;
        fill(buffer, 0, bar());
        let mut title = format!(" {}", self.settings.room);
        if self.locked {
            title.push_str(" (locked)");
        }
        if !self.topic.is_empty() {
            title.push_str(" · ");
            title.push_str(&self.topic);
        }
        let room = usize::from(if with_members { pane } else { width });
        put(buffer, 0, 0, room, &fit(&title, room.saturating_sub(1)), bar());
        if with_members {
            let count = match (self.members.len(), self.is_up()) {
                (0, _) => String::new(),
                (count, true) => format!(" {count} here"),
                // Who is there is not known now.
                (count, false) => format!(" {count} when last seen"),
            };
            put(buffer, pane + 1, 0, usize::from(width - pane - 1), &count, bar());
        }
    }

    fn draw_members(&self, buffer: &mut Buffer, x: u16, top: u16, bottom: u16) {
        let height = usize::from(bottom - top);
        let width = usize::from(buffer.area.width - x);
        let rows: usize = self.members.iter().map(|p| 1 + usize::from(!p.states().is_empty())).sum();
        let roomy = rows <= height;
        let mut y = top;
        for (shown, person) in self.members.iter().enumerate() {
            if y + 1 == bottom && shown + 1 < self.members.len() && !roomy {
                let more = format!("  and {} more", self.members.len() - shown);
                put(buffer, x, y, width, &more, quiet());
                return;
            }
            self.draw_person(buffer, x, y, width, person, roomy);
            let states = person.states().join(", ");
            y += 1;
            if roomy && !states.is_empty() {
                put(buffer, x + 2, y, width - 2, &fit(&states, width - 3), quiet());
                y += 1;
            }
            if y >= bottom {
                return;
            }
        }
    }

    fn draw_person(&self, buffer: &mut Buffer, x: u16, y: u16, width: usize, person: &Person, roomy: bool) {
        let mark_style =
            if person.reconnecting || person.poor { self.settings.theme.warning() } else { quiet() };
        let mark = if self.is_up() { person.mark() } else { "◌" };
        put(buffer, x, y, 1, mark, mark_style);
        let mut about = String::new();
        if person.is_doubtful() {
            // The first half tells two who are here apart; /who says all of it.
            let key = person.fingerprint.as_deref().and_then(|key| key.get(..9)).unwrap_or("guest");
            about.push_str(&format!(" [{key}]"));
        }
        if person.typing && !person.own {
            about.push_str(" …");
        }
        if !roomy {
            let letters = person.letters();
            if !letters.is_empty() {
                about = format!("{about} {letters}");
            }
        }
        let host = if person.host { HOST.len() + 1 } else { 0 };
        let name_width = width.saturating_sub(3 + host + text::width(&about));
        let mut name_style = self.settings.theme.name(person.hue);
        if person.away.is_some() || person.reconnecting || !self.is_up() {
            name_style = name_style.add_modifier(Modifier::DIM).remove_modifier(Modifier::BOLD);
        }
        let mut end = put(buffer, x + 2, y, name_width, &fit(&person.name, name_width), name_style);
        if person.host {
            // A name may end with the same word.
            end = put(buffer, end + 1, y, HOST.len(), HOST, badge());
        }
        put(buffer, end, y, width, &about, quiet());
    }

    /// The sentence for the person, in as many rows as it takes.
    fn hint_rows(&self, width: usize, most: usize) -> Vec<String> {
        let Some(hint) = self.hint.as_ref().filter(|_| self.paste.is_none()) else { return Vec::new() };
        let text = hint.replace('\n', " ");
        let cells = width.saturating_sub(2).max(2);
        let mut rows: Vec<String> =
            wrap::words(&text, cells, cells).into_iter().map(|row| row.of(&text).to_owned()).collect();
        if rows.len() > most {
            let rest = rows.split_off(most - 1).join(" ");
            rows.push(fit(&rest, cells));
        }
        rows
    }

    fn draw_status(&self, buffer: &mut Buffer, y: u16, with_members: bool, now: Now, hint: &[String]) {
        let width = usize::from(buffer.area.width);
        fill(buffer, y, bar());
        if !hint.is_empty() {
            for (row, y) in hint.iter().zip(y..) {
                fill(buffer, y, bar());
                put(buffer, 1, y, width, row, bar().add_modifier(Modifier::BOLD));
            }
            return;
        }
        let waiting = self.lines.pending();
        let mut right = match (self.lines.below(), self.lines.follows()) {
            (_, true) if waiting > 1 => format!("{waiting} waiting "),
            (_, true) => String::new(),
            (0, false) => "End returns ".to_owned(),
            (1, false) => "1 new message below, End returns ".to_owned(),
            (more, false) => format!("{more} new messages below, End returns "),
        };
        if text::width(&right) > width * 2 / 3 {
            right =
                if self.lines.below() > 0 { format!("{} new ", self.lines.below()) } else { String::new() };
        }
        let (left, alarming) = self.status(with_members, now);
        let left_width = width.saturating_sub(text::width(&right) + 1);
        let style = if alarming { bar().add_modifier(Modifier::BOLD) } else { bar() };
        put(buffer, 0, y, left_width, &fit(&format!(" {left}"), left_width), style);
        let x = width.saturating_sub(text::width(&right)) as u16;
        put(buffer, x, y, width, &right, bar().add_modifier(Modifier::BOLD));
    }

    /// What the bar above the input says, and whether it matters much.
    fn status(&self, with_members: bool, now: Now) -> (String, bool) {
        if let Some(paste) = &self.paste {
            let lines = paste.matches('\n').count() + 1;
            let characters = paste.chars().count();
            return (format!("paste {lines} lines, {characters} characters? y: yes, n: no"), true);
        }
        match &self.connection {
            Connection::Connecting => return ("connecting…".into(), true),
            Connection::Down { why, retry } => {
                let seconds = retry.since(now.moment).as_secs_f64().ceil();
                return (
                    format!("not connected, next try in {seconds:.0} s; what you say waits: {why}"),
                    true,
                );
            }
            Connection::Up => {}
        }
        let typing = self.members.typing();
        match (with_members, typing) {
            (_, Some(typing)) => (typing, false),
            (true, None) => {
                let names = self.members.iter().map(|person| match person.letters() {
                    letters if letters.is_empty() => person.told(),
                    letters => format!("{}({letters})", person.told()),
                });
                let names = names.take(50).collect::<Vec<_>>().join(" ");
                match self.is_up() {
                    true => (format!("{}: {names}", self.members.len()), false),
                    false => (format!("{} when last seen: {names}", self.members.len()), false),
                }
            }
            (false, None) => (self.settings.name.clone(), false),
        }
    }
}

fn fill(buffer: &mut Buffer, y: u16, style: Style) {
    for x in 0..buffer.area.width {
        buffer[(x, y)].set_symbol(" ").set_style(style);
    }
}

/// A line across the pane with a text in its middle.
fn rule(buffer: &mut Buffer, y: u16, width: usize, text: &str, style: Style) {
    let text = fit(&format!(" {text} "), width);
    let side = width.saturating_sub(text::width(&text)) / 2;
    let x = put(buffer, 0, y, side, &"─".repeat(side), style);
    let x = put(buffer, x, y, width, &text, style);
    let rest = width.saturating_sub(x.into());
    put(buffer, x, y, rest, &"─".repeat(rest), style);
}

/// Shows where `wanted`, in lower case, stands in a row.
fn highlight(buffer: &mut Buffer, x: u16, y: u16, row: &str, wanted: &str, style: Style) {
    let lower = row.to_lowercase();
    // Where lower case has another length, places would not agree.
    if lower.len() != row.len() || wanted.is_empty() {
        return;
    }
    for (at, found) in lower.match_indices(wanted) {
        let (Some(before), Some(text)) = (row.get(..at), row.get(at..at + found.len())) else { continue };
        let start = x + text::width(before) as u16;
        for x in start..start.saturating_add(text::width(text) as u16).min(buffer.area.width) {
            buffer[(x, y)].set_style(style);
        }
    }
}
