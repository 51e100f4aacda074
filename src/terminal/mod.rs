//! conf-chat on a terminal.
//!
//! [`Screen`] is what stands on the screen and what is typed, without a terminal, a connection or a
//! clock: keys, pasted text and [`Event`]s go in, [`Action`]s and cells come out. [`paint`](paint())
//! makes bytes of cells, [`device`] is the terminal itself.
//!
//! Nothing that a peer sent gets to the terminal but through [`put`](draw::put), which lets no control
//! character into a cell; peers' texts are scrubbed before, where they come in.

mod command;
mod complete;
mod deeds;
pub mod device;
mod draw;
mod files;
mod gauge;
mod input;
mod keyboard;
mod keys;
mod line;
mod links;
mod members;
mod obey;
mod paint;
mod past;
mod presence;
mod reading;
mod screen;
mod scrollback;
mod style;
#[cfg(test)]
mod tests;
mod told;
mod words;
mod wrap;

pub use command::{Command, command, is_command};
pub use deeds::{Deed, SentAway};
pub use files::{Offer, OfferNews, Transfer, gone, named, offered};
pub use gauge::{gauge, percent};
pub use line::{Draft, Kind, Message, Sender};
pub use members::Person;
pub use paint::paint;
pub use screen::{Action, Event, Now, Screen, Settings};
pub use style::{Theme, hue};
pub use words::Word;

/// How a terminal tells that its person was named or addressed. What is rung with is a fixed text,
/// never one from the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Notify {
    /// BEL
    Bell,
    /// A desktop notification (iTerm2, kitty, `WezTerm`, Windows Terminal)
    Osc9,
    /// A desktop notification (urxvt, VTE, foot)
    Osc777,
    /// Not at all
    None,
}

impl Notify {
    /// What is written to the terminal.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Bell => b"\x07",
            Self::Osc9 => b"\x1b]9;conf-chat: somebody means you\x1b\\",
            Self::Osc777 => b"\x1b]777;notify;conf-chat;somebody means you\x1b\\",
            Self::None => b"",
        }
    }
}
