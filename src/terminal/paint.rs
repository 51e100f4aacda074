//! From cells to the bytes that a terminal understands.
//!
//! Terminals differ in how wide they draw a cluster. A changed row is therefore written as a whole, and
//! around each cluster of doubtful width the cursor is put where it belongs: whatever the terminal
//! thinks, what stands beside it is right. The terminal does not wrap (see `device`), so that nothing
//! flows into the next row either.

use std::io::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use crate::text;

/// Appends to `out` what turns a terminal that shows `before` (nothing: anything) into one that shows
/// `after`, with the cursor at column and row, or hidden.
pub fn paint(before: Option<&Buffer>, after: &Buffer, cursor: Option<(u16, u16)>, out: &mut Vec<u8>) {
    let before = before.filter(|before| before.area == after.area);
    // The terminal shows all of it at once, where it knows of this (mode 2026).
    out.extend_from_slice(b"\x1b[?2026h\x1b[?25l");
    if before.is_none() {
        out.extend_from_slice(b"\x1b[0m\x1b[2J");
    }
    let width = usize::from(after.area.width).max(1);
    for (y, row) in after.content.chunks(width).enumerate() {
        let same = before.is_some_and(|b| b.content.get(y * width..(y + 1) * width) == Some(row));
        if !same {
            paint_row(y, row, out);
        }
    }
    out.extend_from_slice(b"\x1b[0m");
    if let Some((x, y)) = cursor {
        go(x.into(), y.into(), out);
        out.extend_from_slice(b"\x1b[?25h");
    }
    out.extend_from_slice(b"\x1b[?2026l");
}

fn paint_row(y: usize, row: &[Cell], out: &mut Vec<u8>) {
    go(0, y, out);
    let mut style: Option<(Color, Color, Modifier)> = None;
    let mut x = 0;
    while let Some(cell) = row.get(x) {
        let wanted = (cell.fg, cell.bg, cell.modifier);
        if style != Some(wanted) {
            set_style(wanted, out);
            style = Some(wanted);
        }
        let symbol = cell.symbol();
        let width = text::cluster_width(symbol);
        if width == 0 || x + width > row.len() || symbol.contains(char::is_control) {
            out.push(b' ');
            x += 1;
            continue;
        }
        if text::doubtful(symbol) {
            // Both cells are cleared first: the terminal may fill only one of them.
            out.extend_from_slice(&b"  "[..width]);
            go(x, y, out);
            out.extend_from_slice(symbol.as_bytes());
            if x + width < row.len() {
                go(x + width, y, out);
            }
        } else {
            out.extend_from_slice(symbol.as_bytes());
        }
        x += width;
    }
}

fn go(x: usize, y: usize, out: &mut Vec<u8>) {
    // Writing into memory does not fail.
    let _ = write!(out, "\x1b[{};{}H", y + 1, x + 1);
}

fn set_style((foreground, background, modifier): (Color, Color, Modifier), out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x1b[0");
    let codes = [
        (Modifier::BOLD, ";1"),
        (Modifier::DIM, ";2"),
        (Modifier::ITALIC, ";3"),
        (Modifier::UNDERLINED, ";4"),
        (Modifier::REVERSED, ";7"),
    ];
    for (_, code) in codes.into_iter().filter(|(flag, _)| modifier.contains(*flag)) {
        out.extend_from_slice(code.as_bytes());
    }
    for (color, base) in [(foreground, 30), (background, 40)] {
        let _ = match color {
            Color::Red => write!(out, ";{}", base + 1),
            Color::Green => write!(out, ";{}", base + 2),
            Color::Yellow => write!(out, ";{}", base + 3),
            Color::Magenta => write!(out, ";{}", base + 5),
            Color::Cyan => write!(out, ";{}", base + 6),
            Color::Indexed(index) => write!(out, ";{};5;{index}", base + 8),
            _ => Ok(()),
        };
    }
    out.push(b'm');
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::super::draw::put;
    use super::*;

    fn buffer(rows: &[&str]) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, rows.len() as u16));
        for (y, row) in rows.iter().enumerate() {
            put(&mut buffer, 0, y as u16, 12, row, Style::new());
        }
        buffer
    }

    fn judge(rows: u16) -> vt100::Parser {
        vt100::Parser::new(rows.try_into().unwrap(), 12.try_into().unwrap(), 0)
    }

    #[test]
    fn t05_what_stands_beside_a_doubtful_cluster_is_right_whatever_the_terminal_thinks() {
        // This judge gives a family of emoji six or more cells.
        let mut buffer = buffer(&["👩‍👩‍👧|abc", "❤\u{fe0f}|汉x"]);
        put(&mut buffer, 10, 0, 2, "││", Style::new());
        let mut out = b"\x1b[?7l".to_vec();
        paint(None, &buffer, Some((3, 1)), &mut out);
        let mut parser = judge(2);
        parser.process(&out);
        let cell = |row, column| parser.screen().cell(row, column).unwrap().contents().to_owned();
        assert_eq!([cell(0, 2), cell(0, 3), cell(0, 5), cell(0, 10)], ["|", "a", "c", "│"]);
        assert_eq!([cell(1, 2), cell(1, 3), cell(1, 5)], ["|", "汉", "x"]);
        assert_eq!(parser.screen().cursor_position(), (1, 3));
    }

    #[test]
    fn only_changed_rows_are_written() {
        let (before, after) = (buffer(&["one", "two"]), buffer(&["one", "three"]));
        let mut out = Vec::new();
        paint(Some(&before), &after, None, &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("three") && !out.contains("one"), "{out:?}");
    }
}
