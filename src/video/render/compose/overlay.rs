//! What is painted over or beside the tiles: the banner, statistics, the explanation of the keys.

use super::{ACCENT, BACKGROUND, FAINT, Face, Rect, TEXT, Typesetter, WARNING};
use crate::video::render::Canvas;

/// The height of the line across the top of a window of this height.
pub(super) fn banner_height(window: usize) -> usize {
    window.div_ceil(28).clamp(22, 80).min(window)
}

/// The keys, as in docs and `--help`.
const KEYS: [(&str, &str); 9] = [
    ("q", "quit"),
    ("Tab  1-8", "focus the next, or one"),
    ("g", "grid"),
    ("PgUp PgDn", "the page before, the next"),
    ("f", "full screen"),
    ("SPACE  p", "freeze"),
    ("s", "save a snapshot"),
    ("i", "statistics"),
    ("?", "these keys"),
];

pub(super) fn banner(canvas: &mut Canvas, text: &mut Typesetter, words: &str) {
    let bar = Rect::new(0, 0, canvas.width(), banner_height(canvas.height()));
    canvas.fill(bar, WARNING);
    let line = text.line(words, Face::Plain, bar.height * 3 / 5, bar.width.saturating_sub(16));
    let x = bar.width.saturating_sub(line.width) / 2;
    canvas.write(&line, x, bar.height.saturating_sub(line.height) / 2, BACKGROUND, bar);
}

/// Words in the middle of `area`, in as many lines as it takes.
pub(super) fn centred(canvas: &mut Canvas, text: &mut Typesetter, area: Rect, words: &str, colour: u32) {
    let size = (area.height / 12).clamp(10, 20).max(area.height / 40);
    let room = area.width.saturating_sub(8);
    let lines: Vec<_> = wrap(words, room / (size / 2).max(1))
        .iter()
        .map(|words| text.line(words, Face::Plain, size, room))
        .collect();
    let step = size * 5 / 4;
    let mut y = area.y + area.height.saturating_sub(lines.len() * step) / 2;
    for line in lines {
        canvas.write(&line, area.x + area.width.saturating_sub(line.width) / 2, y, colour, area);
        y += step;
    }
}

/// Figures in the corner of a picture that has just been painted.
pub(super) fn statistics(canvas: &mut Canvas, text: &mut Typesetter, area: Rect, lines: &[String]) {
    let room = area.width.saturating_sub(12);
    let (size, lines) = fitted(lines, room, area.height);
    let step = size + size / 3;
    let drawn: Vec<_> = lines.iter().map(|line| text.line(line, Face::Fixed, size, room)).collect();
    let width = drawn.iter().map(|l| l.width).max().unwrap_or(0);
    let panel = Rect {
        x: area.x,
        y: area.y,
        width: (width + 12).min(area.width),
        height: (drawn.len() * step + 8).min(area.height),
    };
    canvas.shade(panel, BACKGROUND, 190);
    for (index, line) in drawn.iter().enumerate() {
        canvas.write(line, area.x + 6, area.y + 4 + index * step, TEXT, panel);
    }
}

/// The size of letters for `lines` in `room` pixels: as large as the picture asks for, smaller where they do not fit, and
/// where that would be too small to read, broken at commas.
pub(super) fn fitted(lines: &[String], room: usize, height: usize) -> (usize, Vec<String>) {
    /// Width over height of a letter of the fixed face, with a little to spare.
    const LETTER: (usize, usize) = (5, 8);
    const LEAST: usize = 9;
    let wanted = if height < 160 { LEAST } else { (height / 36).clamp(12, 72) };
    let fits = |lines: &[String]| {
        let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        room * LETTER.1 / (longest * LETTER.0).max(1)
    };
    if fits(lines) >= wanted.min(12) {
        return (wanted.min(fits(lines)), lines.to_vec());
    }
    let broken: Vec<String> = lines.iter().flat_map(|line| line.split(", ")).map(str::to_owned).collect();
    (wanted.min(fits(&broken)).max(6), broken)
}

/// The keys, in the middle of the window.
pub(super) fn help(canvas: &mut Canvas, text: &mut Typesetter) {
    let window = Rect::new(0, 0, canvas.width(), canvas.height());
    let size = (window.height.min(window.width) / 40).clamp(12, 48);
    let size = if window.height < 400 || window.width < 400 { 12 } else { size.max(16) };
    let step = size * 8 / 5;
    let (width, height) = ((size * 26).min(window.width), (KEYS.len() * step + 2 * size).min(window.height));
    let panel = Rect::new((window.width - width) / 2, (window.height - height) / 2, width, height);
    canvas.fill(panel, FAINT);
    let inside = Rect::new(panel.x + 1, panel.y + 1, width.saturating_sub(2), height.saturating_sub(2));
    canvas.fill(inside, BACKGROUND);
    for (index, (key, what)) in KEYS.iter().enumerate() {
        let y = inside.y + size + index * step;
        let key = text.line(key, Face::Fixed, size, size * 7);
        canvas.write(&key, inside.x + size, y, ACCENT, inside);
        let what = text.line(what, Face::Plain, size, width.saturating_sub(size * 8));
        canvas.write(&what, inside.x + size * 8, y, TEXT, inside);
    }
}

/// Breaks a sentence where it has spaces, at about `columns` letters.
fn wrap(words: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= columns || lines.len() >= 6 {
            let line = lines.last_mut().expect("there is a first line");
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.into());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_large_as_the_picture_asks_for_and_are_never_cut() {
        let lines = ["640x480 30.0/s", "latency 1111 ms, p99 2222"].map(str::to_owned);
        let mut text = Typesetter::default();
        for (width, height) in [(3800, 2100), (1200, 2100), (640, 480), (150, 400), (100, 70)] {
            let room = width - 12;
            let (size, lines) = fitted(&lines, room, height);
            for line in &lines {
                let (there, whole) = (
                    text.line(line, Face::Fixed, size, room).width,
                    text.line(line, Face::Fixed, size, 5000).width,
                );
                assert_eq!(there, whole, "{line} in {width}x{height} at {size}");
            }
        }
        assert!(fitted(&lines, 3800, 2100).0 >= 50);
        assert_eq!(fitted(&lines, 150, 400).1.len(), 3, "broken at the comma");
    }
}
