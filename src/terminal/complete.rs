//! TAB: names, commands, offers and paths that begin like what stands before the cursor.

use super::command::{self, Command};
use super::files::Files;
use super::words::{self, Word};

/// What TAB goes through.
#[derive(Debug)]
pub(super) struct Completion {
    /// Where the word begins.
    pub start: usize,
    found: Vec<String>,
    at: usize,
}

impl Completion {
    /// For the text up to the cursor; `None` where nothing fits.
    pub(super) fn new(before: &str, names: &[&str], files: &Files) -> Option<Self> {
        let found = |start: usize, found: Vec<String>| {
            (!found.is_empty()).then_some(Self { start, found, at: usize::MAX })
        };
        if let Some(word) = before.strip_prefix('/')
            && !word.contains(char::is_whitespace)
        {
            let words = command::beginning_with(&word.to_lowercase());
            return found(0, words.into_iter().map(|word| word + " ").collect());
        }
        if let Some((Command::Get | Command::Cancel | Command::Withdraw, arguments)) = command_before(before)
        {
            return offers(before, arguments, files).and_then(|(start, offers)| found(start, offers));
        }
        if let Some((command, start)) = command_with_nick(before) {
            let typed = before[start..].trim_start_matches('"').to_lowercase();
            let quoted = |name: &&str| match name.contains(char::is_whitespace) {
                true => format!("\"{name}\" "),
                false => format!("{name} "),
            };
            let names = names.iter().filter(|name| name.to_lowercase().starts_with(&typed));
            return command.takes_nick().then(|| found(start, names.map(quoted).collect()))?;
        }
        names_in_text(before, names).and_then(|(start, names)| found(start, names))
    }

    /// For paths that go on with the last word, each of them whole.
    pub(super) fn of_paths(before: &str, found: Vec<String>) -> Option<Self> {
        let word = last_path(before)?;
        let typed = |path: String| {
            let end = if path.ends_with('/') { "" } else { " " };
            words::escaped(&path, word.home) + end
        };
        let found: Vec<String> = found.into_iter().map(typed).collect();
        (!found.is_empty()).then_some(Self { start: word.start, found, at: usize::MAX })
    }

    /// The next, or the one before.
    pub(super) fn next(&mut self, back: bool) -> &str {
        let count = self.found.len();
        self.at = match (self.at, back) {
            (usize::MAX, false) => 0,
            (usize::MAX, true) => count - 1,
            (at, false) => (at + 1) % count,
            (at, true) => (at + count - 1) % count,
        };
        &self.found[self.at]
    }

    /// All that fit.
    pub(super) fn found(&self) -> &[String] {
        &self.found
    }
}

/// Whether a name behind the command before the cursor is one of those who were sent away.
pub(super) fn is_of_sent_away(before: &str) -> bool {
    command_before(before).is_some_and(|(command, _)| command == Command::Unkick)
}

/// The path that is being typed behind `/send` (its directory, or another, for `/get`), as it was typed.
pub(super) fn path(before: &str) -> Option<String> {
    last_path(before).map(|word| word.text)
}

fn last_path(before: &str) -> Option<Word> {
    let (command, arguments) = command_before(before)?;
    let mut word = words::split(&before[arguments..], true).ok()?.pop()?;
    word.start += arguments;
    match command {
        // A member is completed like elsewhere.
        Command::Send if !before[word.start..].starts_with('@') => Some(word),
        Command::Get if word.home || word.text.contains('/') => Some(word),
        _ => None,
    }
}

/// Numbers and names of offers that begin like the last word.
fn offers(before: &str, arguments: usize, files: &Files) -> Option<(usize, Vec<String>)> {
    let word = words::split(&before[arguments..], true).ok()?.pop()?;
    let typed = word.text.to_lowercase();
    let mut found = Vec::new();
    for offer in files.offers().rev() {
        let number = offer.number.to_string();
        if number.starts_with(typed.trim_start_matches('#')) {
            found.push(number + " ");
        } else if offer.title.to_lowercase().starts_with(&typed) {
            found.push(words::escaped(&offer.title, false) + " ");
        }
    }
    Some((arguments + word.start, found))
}

/// The command before the cursor and where its arguments begin.
fn command_before(before: &str) -> Option<(Command, usize)> {
    let (word, rest) = before.strip_prefix('/')?.split_once(' ')?;
    Some((command::by_word(&word.to_lowercase())?, before.len() - rest.len()))
}

/// The command before the cursor and where its argument begins, while that is being typed.
fn command_with_nick(before: &str) -> Option<(Command, usize)> {
    let (command, start) = command_before(before)?;
    let rest = &before[start..];
    let open = rest.starts_with('"') || !rest.contains(' ');
    (open && command.takes_nick()).then_some((command, start))
}

/// The longest end of the text that begins a name: names may have spaces.
fn names_in_text(before: &str, names: &[&str]) -> Option<(usize, Vec<String>)> {
    const LONGEST: usize = 64 * 4;
    let from = before.len().saturating_sub(LONGEST);
    let starts = before
        .char_indices()
        .map(|(at, _)| at)
        .filter(|at| *at >= from && before[..*at].chars().next_back().is_none_or(char::is_whitespace));
    for start in starts {
        let word = &before[start..];
        let (sign, typed) = word.strip_prefix('@').map_or(("", word), |typed| ("@", typed));
        if typed.is_empty() {
            continue;
        }
        let typed = typed.to_lowercase();
        let end = if start == 0 && sign.is_empty() { ": " } else { " " };
        let fit: Vec<String> = names
            .iter()
            .filter(|name| name.to_lowercase().starts_with(&typed))
            .map(|name| format!("{sign}{name}{end}"))
            .collect();
        if !fit.is_empty() {
            return Some((start, fit));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["Ann", "Ann Lee", "Bo", "王小明"];

    fn all(before: &str) -> Vec<String> {
        Completion::new(before, &NAMES, &Files::default()).map_or_else(Vec::new, |c| c.found().to_vec())
    }

    #[test]
    fn names_and_commands_are_completed() {
        assert_eq!(all("an"), ["Ann: ", "Ann Lee: "]);
        assert_eq!(all("hello b"), ["Bo "]);
        assert_eq!(all("hello @王"), ["@王小明 "]);
        assert_eq!(all("Ann L"), ["Ann Lee: "]);
        assert_eq!(all("/qu"), ["/quit "]);
        assert_eq!(all("/msg a"), ["Ann ", "\"Ann Lee\" "]);
        assert_eq!(all("/msg \"ann l"), ["\"Ann Lee\" "]);
        assert_eq!(all("/msg "), ["Ann ", "\"Ann Lee\" ", "Bo ", "王小明 "]);
        assert!(all("hello ").is_empty() && all("").is_empty() && all("/nothing").is_empty());
    }

    #[test]
    fn tab_goes_round() {
        let mut completion = Completion::new("an", &NAMES, &Files::default()).unwrap();
        assert_eq!(completion.next(false), "Ann: ");
        assert_eq!(completion.next(false), "Ann Lee: ");
        assert_eq!(completion.next(false), "Ann: ");
        assert_eq!(completion.next(true), "Ann Lee: ");
    }
}
