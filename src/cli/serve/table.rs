//! Tables on a terminal, aligned by the cells that text takes there.

use crate::text::width;

/// At which side a column is flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Spaces between two columns.
const GAP: &str = "  ";

/// A table with a head, no wider than its content.
pub(super) fn draw<const N: usize>(
    columns: [(&str, Align); N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let head = columns.map(|(title, _)| title.to_owned());
    let rows: Vec<[String; N]> = std::iter::once(head).chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(cell).max(*widest);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[at] - width(cell));
            line.push_str(if at == 0 { "" } else { GAP });
            match columns[at].1 {
                Align::Left => line.extend([cell.as_str(), &padding]),
                Align::Right => line.extend([padding.as_str(), cell]),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// As people write bytes: `950 B`, `1.5 MiB`.
pub(super) fn bytes(count: u64) -> String {
    crate::cli::units::size(count)
}

/// As people write a bit rate: `1.5 Mbit/s`.
pub(super) fn bits(rate: f64) -> String {
    scaled(rate, "bit/s")
}

fn scaled(value: f64, unit: &str) -> String {
    if value < 0.5 {
        return "0".into();
    }
    let (mut value, mut prefixes) = (value, ["", "k", "M", "G", "T"].iter());
    let mut prefix = prefixes.next().copied().unwrap_or_default();
    // 999.6 would be shown as 1000.
    while value >= 999.5 {
        let Some(next) = prefixes.next() else { break };
        (value, prefix) = (value / 1_000.0, next);
    }
    match prefix.is_empty() || value >= 99.95 {
        true => format!("{value:.0} {prefix}{unit}"),
        false => format!("{value:.1} {prefix}{unit}"),
    }
}

/// A time in its largest unit: `5 s`, `12 min`, `3 h`, `9 d`.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago.
pub(super) fn ago(seconds: u64) -> String {
    match seconds {
        0..10 => "now".into(),
        seconds => format!("{} ago", span(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_cells_and_not_by_letters() {
        let rows = [["王小明".to_owned(), "5".to_owned()], ["Ann".to_owned(), "1000".to_owned()]];
        let table = draw([("NAME", Align::Left), ("N", Align::Right)], rows);
        assert_eq!(table, "NAME       N\n王小明     5\nAnn     1000\n");
    }

    #[test]
    fn numbers_have_the_unit_that_keeps_them_short() {
        let shown = [0.0, 7.0, 999.0, 1_000.0, 1_490.0, 99_940.0, 999_600.0, 123_000_000.0].map(bits);
        let short = ["0", "7 bit/s", "999 bit/s", "1.0 kbit/s", "1.5 kbit/s", "99.9 kbit/s", "1.0 Mbit/s"];
        assert_eq!((&shown[..7], shown[7].as_str()), (&short.map(String::from)[..], "123 Mbit/s"));
        assert_eq!([3, 61, 7_300, 90_000].map(span), ["3 s", "1 min", "2 h", "1 d"]);
    }
}
