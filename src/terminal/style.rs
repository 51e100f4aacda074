//! Colours of the screen.

use ratatui::style::{Color, Modifier, Style};

/// How many colours there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// None (`NO_COLOR`): bold, dim, italic and reversed only.
    Plain,
    /// The eight that every terminal has.
    Basic,
    /// 256.
    Indexed,
}

/// Of the cube of 256 colours those that can be read on black and on white.
const HUES: [u8; 18] = [32, 34, 36, 62, 64, 68, 97, 99, 130, 133, 136, 138, 161, 166, 168, 172, 31, 71];
/// Neither black nor white, and blue is too dark on black.
const BASIC: [Color; 5] = [Color::Red, Color::Green, Color::Yellow, Color::Magenta, Color::Cyan];

impl Theme {
    /// By `NO_COLOR`, `TERM` and `COLORTERM`.
    pub fn new(no_color: bool, term: &str, color_term: &str) -> Self {
        match term.contains("256") || !color_term.is_empty() || term.contains("kitty") {
            _ if no_color => Self::Plain,
            true => Self::Indexed,
            false => Self::Basic,
        }
    }

    /// A name.
    pub fn name(self, hue: u64) -> Style {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        match self {
            Self::Plain => bold,
            Self::Basic => bold.fg(BASIC[(hue % BASIC.len() as u64) as usize]),
            Self::Indexed => bold.fg(Color::Indexed(HUES[(hue % HUES.len() as u64) as usize])),
        }
    }

    /// What is wrong.
    pub fn warning(self) -> Style {
        self.colored(Color::Red)
    }

    /// What names or addresses the person.
    pub fn mention(self) -> Style {
        self.colored(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    /// The line between read and unread.
    pub fn unread(self) -> Style {
        self.colored(Color::Magenta)
    }

    fn colored(self, color: Color) -> Style {
        match self {
            Self::Plain => Style::new().add_modifier(Modifier::BOLD),
            _ => Style::new().fg(color),
        }
    }
}

/// What the program says, times, what waits.
pub(super) fn quiet() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

/// A name in what the program says.
pub(super) fn name_in_words() -> Style {
    Style::new().add_modifier(Modifier::BOLD).remove_modifier(Modifier::DIM)
}

/// The bars above and below the messages.
pub(super) fn bar() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

/// What no name can look like, with colours and without.
pub(super) fn badge() -> Style {
    bar()
}

/// What contains what is looked for.
pub(super) fn found() -> Style {
    Style::new().add_modifier(Modifier::UNDERLINED)
}

/// What a colour is made of: FNV-1a of a key, or of a name where there is none.
pub fn hue(of: &[u8]) -> u64 {
    of.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
