//! How far something is, in one line: a bar, and what there is to say beside it.

use crate::text;

/// The widest bar; a longer one says nothing more.
const BAR: usize = 30;
/// The narrowest.
const BAR_LEAST: usize = 8;
/// Cells from which on a line keeps room for a bar.
const WIDE: usize = 60;

/// `head`, a bar where `part` of a whole is known, and as many of `parts` as there is room for in `width` cells;
/// what matters less stands last and goes first. May be wider than `width` only where `head` is.
pub fn gauge(head: &str, part: Option<(u64, u64)>, parts: &[String], width: usize) -> String {
    let mut tail = String::new();
    // Where a bar is worth it, it matters more than the last words.
    let bar = if part.is_some() && width >= WIDE { BAR_LEAST + 4 } else { 0 };
    for part in parts {
        if text::width(head) + text::width(&tail) + text::width(part) + 2 + bar > width {
            break;
        }
        tail.push_str(if tail.is_empty() { " " } else { ", " });
        tail.push_str(part);
    }
    let mut line = head.to_owned();
    let free = width.saturating_sub(text::width(head) + text::width(&tail));
    if let Some((done, total)) = part
        && free > BAR_LEAST + 3
    {
        line.push(' ');
        line.push_str(&drawn(done, total, (free - 3).min(BAR)));
    }
    line + &tail
}

/// 100 only when all is done.
pub fn percent(done: u64, total: u64) -> u64 {
    (u128::from(done.min(total)) * 100).checked_div(total.into()).map_or(100, |percent| percent as u64)
}

fn drawn(done: u64, total: u64, cells: usize) -> String {
    let full =
        (done.min(total) as u128 * cells as u128).checked_div(total.into()).map_or(cells, |n| n as usize);
    let mut bar = "=".repeat(full);
    if full < cells {
        bar.push('>');
        bar.push_str(&" ".repeat(cells - full - 1));
    }
    format!("[{bar}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_less_goes_first() {
        let parts = ["2.4 MiB/s", "0:21 left", "as fast as the network"].map(String::from);
        let line = |width| gauge(" 42 %", Some((42, 100)), &parts, width);
        assert_eq!(line(70), " 42 % [=======>         ] 2.4 MiB/s, 0:21 left, as fast as the network");
        assert_eq!(line(40), " 42 % [====>      ] 2.4 MiB/s, 0:21 left");
        assert_eq!(line(9), " 42 %");
        assert!((5..200).all(|width| text::width(&line(width)) <= width));
    }

    #[test]
    fn percent_is_100_only_at_the_end() {
        assert_eq!(
            [percent(0, 0), percent(999, 1000), percent(1000, 1000), percent(7, 3)],
            [100, 99, 100, 100]
        );
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
    }
}
