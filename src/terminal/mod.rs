//! conf-chat on a terminal: what is on its screen, without a terminal.

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
