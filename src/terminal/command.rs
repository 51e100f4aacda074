//! What a line of input means: something to say, or a command.

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Typed {
    /// Nothing.
    Nothing,
    /// To be said.
    Say(String),
    /// A command with what stands behind it.
    Command(Command, String),
    /// It looks like a command and is none: a sentence for the person, nothing for the room.
    Unknown(String),
}

macro_rules! commands {
    ($($name:ident $word:literal $arguments:literal $help:literal;)*) => {
        /// What can be asked for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Command {
            $(#[doc = $help] $name,)*
        }

        /// Word, arguments and explanation of each command.
        const COMMANDS: &[(Command, &str, &str, &str)] =
            &[$((Command::$name, $word, $arguments, $help),)*];
    };
}

commands! {
    Help "help" "" "this list";
    Who "who" "" "who is here, since when, and what they share";
    Me "me" "TEXT" "say that you do something";
    Message "msg" "NICK TEXT" "say something to one member only";
    Nick "nick" "NAME" "take another name";
    Topic "topic" "[TEXT]" "show or set what the room is about";
    Away "away" "[TEXT]" "say that you are not at the terminal";
    Back "back" "" "say that you are";
    Search "search" "[TEXT]" "go to the newest message with TEXT; again, or Ctrl-R: to the one before";
    Clear "clear" "" "take away what stands here";
    Ignore "ignore" "[NICK]" "do not show what somebody says; again: show it";
    Stats "stats" "" "how the connection is";
    Lock "lock" "" "let nobody in any more (host)";
    Unlock "unlock" "" "let people in again (host)";
    Kick "kick" "NICK" "put a member out of the room (host)";
    Unkick "unkick" "NICK" "let a member come back who was put out (host)";
    Mute "mute" "NICK" "refuse what a member says (host)";
    Unmute "unmute" "NICK" "let a muted member speak again (host)";
    Host "host" "NICK" "make a member a host too (host)";
    Unhost "unhost" "NICK" "make a host a member again (host)";
    Files "files" "" "what the room was offered";
    Get "get" "OFFER... [DIR/]" "fetch files, by number or name, into this directory or another";
    Send "send" "[@NICK] PATH..." "offer files to the room, or to one member";
    Cancel "cancel" "[OFFER]" "break off what is on its way; the same command goes on later";
    Withdraw "withdraw" "OFFER" "take an offer of yours back (host: anybody's)";
    Quit "quit" "" "leave";
}

/// Words that other programs have for some of them.
const ALIASES: &[(&str, Command)] = &[
    ("q", Command::Quit),
    ("exit", Command::Quit),
    ("leave", Command::Quit),
    ("part", Command::Quit),
    ("names", Command::Who),
    ("users", Command::Who),
    ("whois", Command::Who),
    ("query", Command::Message),
    ("m", Command::Message),
    ("h", Command::Help),
];

impl Command {
    /// The word behind the slash.
    pub fn word(self) -> &'static str {
        COMMANDS.iter().find(|(command, ..)| *command == self).map_or("", |(_, word, ..)| word)
    }

    /// Whether it is worth having again at the next start: not what is for one person only, nor how one left.
    pub fn is_kept(self) -> bool {
        !matches!(self, Self::Message | Self::Quit)
    }

    /// Whether a name comes behind it.
    pub fn takes_nick(self) -> bool {
        use Command::{Host, Ignore, Kick, Message, Mute, Unhost, Unkick, Unmute};
        matches!(self, Message | Kick | Unkick | Mute | Unmute | Host | Unhost | Ignore)
    }
}

/// What `text` means. `//text` says `/text`.
pub(super) fn parse(text: &str) -> Typed {
    if text.trim().is_empty() {
        return Typed::Nothing;
    }
    let Some(command) = text.trim_start().strip_prefix('/') else { return Typed::Say(text.to_owned()) };
    if command.starts_with('/') {
        return Typed::Say(command.to_owned());
    }
    let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let word = word.to_lowercase();
    if let Some(command) = by_word(&word) {
        return Typed::Command(command, rest.trim().to_owned());
    }
    let nearest = COMMANDS.iter().map(|(_, known, ..)| *known).find(|known| is_near(known, &word));
    let shown = crate::text::shorten(&word, 30);
    Typed::Unknown(match nearest {
        Some(known) => format!("nothing was sent: there is no /{shown}. Did you mean /{known}?"),
        None => format!(
            "nothing was sent: there is no /{shown}. /help lists the commands; // says a text that begins with /"
        ),
    })
}

/// The command that a line is, with whatever stands behind it.
pub fn command(line: &str) -> Option<Command> {
    match parse(line) {
        Typed::Command(command, _) => Some(command),
        _ => None,
    }
}

/// Whether a line begins with the word of a command, or nearly so: where commands are not carried out it was
/// hardly meant to be said.
pub fn is_command(text: &str) -> bool {
    // Two slashes say one.
    let Some(command) = text.trim_start().strip_prefix('/').filter(|command| !command.starts_with('/'))
    else {
        return false;
    };
    let word = command.split_whitespace().next().unwrap_or_default().to_lowercase();
    !word.is_empty()
        && (by_word(&word).is_some() || COMMANDS.iter().any(|(_, known, ..)| is_near(known, &word)))
}

/// Words that begin with `start`, with the slash.
pub(super) fn beginning_with(start: &str) -> Vec<String> {
    COMMANDS
        .iter()
        .filter(|(_, word, ..)| word.starts_with(start))
        .map(|(_, word, ..)| format!("/{word}"))
        .collect()
}

/// The command whose word this is.
pub(super) fn by_word(word: &str) -> Option<Command> {
    let known = COMMANDS.iter().find(|(_, known, ..)| *known == word).map(|(command, ..)| *command);
    known.or_else(|| ALIASES.iter().find(|(alias, _)| *alias == word).map(|(_, command)| *command))
}

/// What keys do, for `/help`.
const KEYS: &[(&str, &str)] = &[
    ("Enter", "send"),
    ("Alt-Enter, Ctrl-J", "begin a new line"),
    ("Tab", "complete a name, a command or a path"),
    ("Up, Down, Ctrl-R", "what was typed before, also in earlier runs; Ctrl-R: what contains the text"),
    ("PageUp, PageDown", "scroll, as the wheel does; End returns"),
    ("Alt-M", "members beside the messages, or in the bar"),
    ("Alt-L", "nothing but messages, for marking them with the mouse"),
    ("Ctrl-L, Ctrl-Z", "draw anew; suspend"),
    ("Ctrl-D", "leave"),
];

/// The list of `/help`, in rows of `cells`: explanations stand in a column of their own.
pub(super) fn help(cells: usize) -> String {
    let commands = COMMANDS
        .iter()
        .map(|(_, word, arguments, help)| (format!("/{word} {arguments}").trim_end().to_owned(), *help));
    let all = commands.chain(KEYS.iter().map(|(keys, help)| ((*keys).to_owned(), *help)));
    // Where there is no room for two columns, explanations stand below.
    let (column, beside) = if cells >= 56 { (24, true) } else { (4, false) };
    let mut lines = Vec::new();
    for (what, help) in all {
        let rows = super::wrap::words(
            help,
            cells.saturating_sub(column).max(8),
            cells.saturating_sub(column).max(8),
        );
        let mut rows = rows.into_iter().map(|row| row.of(help));
        if beside {
            lines.push(format!("{what:<column$}{}", rows.next().unwrap_or_default()));
        } else {
            lines.push(what);
        }
        lines.extend(rows.map(|row| format!("{:column$}{row}", "")));
    }
    lines.join("\n")
}

/// The name at the start of `rest` and what follows: in quotes, else the longest of `names` that
/// stands there, else the first word.
pub(super) fn split_nick<'a>(rest: &'a str, names: &[&str]) -> (&'a str, &'a str) {
    if let Some((name, text)) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        return (name, text.trim_start());
    }
    let rest = rest.strip_prefix('@').unwrap_or(rest);
    let stands = |name: &&&str| {
        let start = rest.get(..name.len());
        let behind = rest.get(name.len()..).and_then(|behind| behind.chars().next());
        start.is_some_and(|start| start.to_lowercase() == name.to_lowercase())
            && behind.is_none_or(char::is_whitespace)
    };
    match names.iter().filter(stands).max_by_key(|name| name.len()) {
        Some(name) => (&rest[..name.len()], rest[name.len()..].trim_start()),
        None => {
            rest.split_once(char::is_whitespace).map_or((rest, ""), |(name, text)| (name, text.trim_start()))
        }
    }
}

/// Whether one letter is missing, too many or another, or two are exchanged.
fn is_near(known: &str, typed: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (known.chars().collect(), typed.chars().take(20).collect());
    let same_start = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let same_end =
        a[same_start..].iter().rev().zip(b[same_start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same_start..a.len() - same_end], &b[same_start..b.len() - same_end]);
    match (a, b) {
        ([a1, a2], [b1, b2]) => a1 == b2 && a2 == b1,
        _ => a.len() <= 1 && b.len() <= 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t10_what_looks_like_a_command_and_is_none_is_not_said() {
        for typed in ["/qiut", "/frobnicate now", " /nothing", "/usr/bin/env is missing", "/"] {
            assert!(matches!(parse(typed), Typed::Unknown(_)), "{typed}");
        }
        let Typed::Unknown(text) = parse("/qiut bye") else { panic!() };
        assert!(text.contains("Did you mean /quit?"), "{text}");
    }

    #[test]
    fn slashes_can_be_said() {
        assert_eq!(parse("//bin/sh"), Typed::Say("/bin/sh".into()));
        assert_eq!(parse("a/b"), Typed::Say("a/b".into()));
        assert_eq!(parse("/Quit"), Typed::Command(Command::Quit, String::new()));
        assert_eq!(parse("/me  waves "), Typed::Command(Command::Me, "waves".into()));
        assert_eq!(parse(" \n"), Typed::Nothing);
        assert_eq!(parse("/q"), Typed::Command(Command::Quit, String::new()));
        assert_eq!(parse("/query Bo hi"), Typed::Command(Command::Message, "Bo hi".into()));
    }

    #[test]
    fn t10_paths_are_no_commands() {
        assert!(is_command("/msg Bo secret") && is_command("/qiut") && is_command(" /Quit"));
        assert!(
            !is_command("/usr/bin/x failed")
                && !is_command("quit")
                && !is_command("/")
                && !is_command("//quit")
        );
    }

    #[test]
    fn names_may_have_spaces() {
        let names = ["Ann", "Ann Lee", "Bo"];
        assert_eq!(split_nick("ann lee hi there", &names), ("ann lee", "hi there"));
        assert_eq!(split_nick("Ann leek", &names), ("Ann", "leek"));
        assert_eq!(split_nick("\"Zoe X\" hi", &names), ("Zoe X", "hi"));
        assert_eq!(split_nick("@Bo hi", &names), ("Bo", "hi"));
        assert_eq!(split_nick("nobody hi", &names), ("nobody", "hi"));
    }
}
