//! One line of progress, as wide as it may be and no wider, whatever files are called.

use std::time::Duration;

use unicode_segmentation::UnicodeSegmentation;

use super::Direction;
use crate::cli::units;
use crate::limits;
use crate::pipeline::figures::{Bound, Doing, Figures, Moving};
use crate::terminal::{gauge, percent};
use crate::text;

/// What there is to tell.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Shown<'a> {
    pub(in crate::cli) figures: &'a Figures,
    pub(in crate::cli) rate: Option<f64>,
    pub(in crate::cli) left: Option<Duration>,
    pub(in crate::cli) direction: Direction,
}

impl Shown<'_> {
    /// The whole transfer in at most `width` cells. What matters less goes first.
    pub(super) fn bar(&self, width: usize) -> String {
        let figures = self.figures;
        let head = self.head();
        let part = figures.total.map(|total| (figures.done, total));
        fit(&gauge(&head, part, &self.parts(), width), width)
    }

    /// How far it is.
    pub(in crate::cli) fn head(&self) -> String {
        match self.figures.total {
            Some(total) => format!("{:3} %", percent(self.figures.done, total)),
            None => units::size(self.figures.done),
        }
    }

    /// The same for a log: everything, without a bar.
    pub(super) fn plain(&self) -> String {
        let figures = self.figures;
        let verb = match self.direction {
            Direction::Send => "sending",
            Direction::Receive => "fetching",
        };
        let mut line = match figures.total {
            Some(total) => format!("{verb}: {} %", percent(figures.done, total)),
            None => verb.to_owned() + ":",
        };
        let mut separator = if figures.total.is_some() { ", " } else { " " };
        if figures.total.is_none() {
            line.push_str(separator);
            line.push_str(&units::size(figures.done));
            separator = ", ";
        }
        for part in self.parts() {
            line.push_str(separator);
            line.push_str(&part);
        }
        if figures.files > 1 {
            line.push_str(&format!(", {} of {} files", figures.files_done, figures.files));
        }
        line
    }

    /// In the order of what matters.
    pub(in crate::cli) fn parts(&self) -> Vec<String> {
        let figures = self.figures;
        let mut parts = Vec::new();
        match (figures.doing, self.direction) {
            (Doing::Connecting, _) => parts.push("connecting".to_owned()),
            (Doing::Reconnecting, _) => parts.push("connection lost, trying again".to_owned()),
            (Doing::Checking, _) => parts.push("looking at what is there already".to_owned()),
            (Doing::Offering, _) => parts.push("waiting until somebody has all of it".to_owned()),
            (Doing::Waiting, Direction::Receive) => parts.push("waiting for the sender".to_owned()),
            (Doing::Waiting, Direction::Send) => parts.push("waiting for more from the pipe".to_owned()),
            (Doing::Moving, _) => {}
        }
        if figures.doing == Doing::Moving {
            parts.extend(self.rate.map(units::rate));
            parts.extend(self.left.map(|left| format!("{} left", units::span(left))));
        }
        if let Some(total) = figures.total {
            parts.push(format!("{} of {}", units::size(figures.done), units::size(total)));
        }
        if figures.doing == Doing::Moving {
            parts.extend(figures.bound.map(|bound| format!("as fast as {}", limit(bound, self.direction))));
        }
        parts
    }
}

/// One file of several, in at most `width` cells.
pub(super) fn file(moving: &Moving, width: usize) -> String {
    let end = match moving.size {
        Some(size) => format!(" {} %", percent(moving.done, size)),
        None => format!(" {}", units::size(moving.done)),
    };
    let room = width.saturating_sub(end.len());
    match room {
        0..4 => fit(&name(&moving.name), width),
        _ => fit(&name(&moving.name), room) + &end,
    }
}

/// A name that somebody else chose, on one line.
pub(super) fn name(raw: &str) -> String {
    text::scrub(raw, limits::SENTENCE)
}

/// `text` in at most `width` cells, whatever the terminal makes of joiners and of characters of
/// ambiguous width: each counts for as much as it could take.
pub(super) fn fit(text: &str, width: usize) -> String {
    if text.graphemes(true).map(widest).sum::<usize>() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut left = width.saturating_sub(DOTS.len());
    for cluster in text.graphemes(true) {
        let cells = widest(cluster);
        if cells > left {
            break;
        }
        left -= cells;
        short.push_str(cluster);
    }
    short.push_str(&DOTS[..DOTS.len().min(width)]);
    short
}

/// In place of an ellipsis, whose width is ambiguous.
const DOTS: &str = "..";

fn widest(cluster: &str) -> usize {
    match text::doubtful(cluster) {
        false => text::cluster_width(cluster),
        true => cluster.chars().count().max(1) * 2,
    }
}

fn limit(bound: Bound, direction: Direction) -> &'static str {
    match (bound, direction) {
        (Bound::Disk, _) => "this machine",
        (Bound::Network, _) => "the network",
        (Bound::Peer, Direction::Send) => "the server",
        (Bound::Peer, Direction::Receive) => "the sender or the server",
        (Bound::Limit, _) => "--limit-rate",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        Figures {
            doing: Doing::Moving,
            done: 42 << 20,
            total: Some(100 << 20),
            files: 1,
            bound: Some(Bound::Network),
            ..Figures::default()
        }
    }

    fn shown(figures: &Figures) -> Shown<'_> {
        let left = Some(Duration::from_secs(21));
        Shown { figures, rate: Some(2.5e6), left, direction: Direction::Send }
    }

    #[test]
    fn f37_a_line_is_never_wider_than_the_terminal() {
        let figures = figures();
        assert_eq!(
            shown(&figures).bar(110),
            " 42 % [============>                 ] 2.4 MiB/s, 0:21 left, 42.0 MiB of 100 MiB, as fast as the network"
        );
        assert_eq!(shown(&figures).bar(40), " 42 % [====>      ] 2.4 MiB/s, 0:21 left");
        for width in 0..200 {
            let line = shown(&figures).bar(width);
            assert!(text::width(&line) <= width, "{width}: {line}");
        }
        assert_eq!(shown(&figures).bar(9), " 42 %");
        let nothing = Figures::default();
        assert!((0..99).all(|width| text::width(&shown(&nothing).bar(width)) <= width));
    }

    #[test]
    fn f37_names_of_files_cannot_move_the_cursor_or_break_the_line() {
        let hostile = "\u{1b}[2J\r\n\u{9b}1A\u{202e}gnp.exe👩‍👩‍👧‍👦e\u{301}\u{301}漢字漢字漢字漢字漢字漢字漢字";
        for width in 0..80 {
            let line = file(&Moving { name: hostile.into(), done: 1, size: Some(3) }, width);
            assert!(!line.contains(char::is_control), "{line:?}");
            assert!(text::width(&line) <= width, "{width}: {line}");
        }
        assert_eq!(file(&Moving { name: "a/b.txt".into(), done: 1, size: Some(3) }, 40), "a/b.txt 33 %");
    }

    #[test]
    fn a_line_for_a_log_has_it_all() {
        let mut figures = figures();
        (figures.files, figures.files_done) = (10, 4);
        assert_eq!(
            shown(&figures).plain(),
            "sending: 42 %, 2.4 MiB/s, 0:21 left, 42.0 MiB of 100 MiB, as fast as the network, 4 of 10 files"
        );
        figures = Figures { done: 5, doing: Doing::Reconnecting, ..Figures::default() };
        assert_eq!(shown(&figures).plain(), "sending: 5 B, connection lost, trying again");
    }
}
