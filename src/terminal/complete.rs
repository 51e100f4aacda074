//! TAB: names and commands that begin like what stands before the cursor.

use super::command::{self, Command};

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
    pub(super) fn new(before: &str, names: &[&str]) -> Option<Self> {
        let found = |start: usize, found: Vec<String>| {
            (!found.is_empty()).then_some(Self { start, found, at: usize::MAX })
        };
        if let Some(word) = before.strip_prefix('/')
            && !word.contains(char::is_whitespace)
        {
            let words = command::beginning_with(&word.to_lowercase());
            return found(0, words.into_iter().map(|word| word + " ").collect());
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

/// The command before the cursor and where its argument begins, while that is being typed.
fn command_with_nick(before: &str) -> Option<(Command, usize)> {
    let (word, rest) = before.strip_prefix('/')?.split_once(' ')?;
    let command = command::by_word(&word.to_lowercase())?;
    let open = rest.starts_with('"') || !rest.contains(' ');
    (open && command.takes_nick()).then_some((command, before.len() - rest.len()))
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
        Completion::new(before, &NAMES).map_or_else(Vec::new, |c| c.found().to_vec())
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
        let mut completion = Completion::new("an", &NAMES).unwrap();
        assert_eq!(completion.next(false), "Ann: ");
        assert_eq!(completion.next(false), "Ann Lee: ");
        assert_eq!(completion.next(false), "Ann: ");
        assert_eq!(completion.next(true), "Ann Lee: ");
    }
}
