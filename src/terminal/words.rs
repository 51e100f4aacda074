//! Words as a shell takes them: quotes, backslashes, `~` at the start, `*`, `?` and `[` as wildcards.

/// A word, and what of it was meant as more than text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What it says, without quotes.
    pub text: String,
    /// The same for a search for files, with what stood in quotes protected; nothing where no wildcard is in it.
    pub pattern: Option<String>,
    /// It begins with a `~` that means the home directory.
    pub home: bool,
    /// Where it begins in what was typed.
    pub(super) start: usize,
}

impl Word {
    /// A word that was not typed.
    #[cfg(test)]
    pub(crate) fn new(text: &str, pattern: Option<&str>, home: bool) -> Self {
        Self { text: text.into(), pattern: pattern.map(Into::into), home, start: 0 }
    }
}

/// The words of `text`; the error is a sentence. `unfinished`: what is still being typed may have an open quote,
/// and where nothing or a space stands at its end, an empty word begins there.
pub(super) fn split(text: &str, unfinished: bool) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut word: Option<Building> = None;
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take().map(Building::finish)),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_with(|| Building::new(at));
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => {
                let word = word.get_or_insert_with(|| Building::new(at));
                match chars.next() {
                    Some((_, c)) => word.literal(c),
                    None if unfinished => {}
                    None => word.literal('\\'),
                }
            }
            (None, c) => word.get_or_insert_with(|| Building::new(at)).plain(c),
            (Some(_), c) => word.get_or_insert_with(|| Building::new(at)).literal(c),
        }
    }
    if quote.is_some() && !unfinished {
        return Err("a quote is not closed".into());
    }
    match word {
        Some(word) => words.push(word.finish()),
        None if unfinished => words.push(Building::new(text.len()).finish()),
        None => {}
    }
    Ok(words)
}

/// `text` as it has to be typed to be one word that means itself; a `~` at its start is left where it is `home`.
pub(super) fn escaped(text: &str, home: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let special =
            c.is_whitespace() || "\"'\\*?[".contains(c) || at == 0 && (c == '@' || c == '~' && !home);
        if special {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A word that is being read.
struct Building {
    text: String,
    pattern: String,
    wild: bool,
    home: bool,
    start: usize,
}

impl Building {
    fn new(start: usize) -> Self {
        Self { text: String::new(), pattern: String::new(), wild: false, home: false, start }
    }

    fn plain(&mut self, c: char) {
        self.home |= self.text.is_empty() && c == '~';
        self.wild |= matches!(c, '*' | '?' | '[');
        // What is special for a search and not for whoever types is text.
        if matches!(c, '{' | '}') {
            self.pattern.push('\\');
        }
        self.text.push(c);
        self.pattern.push(c);
    }

    fn literal(&mut self, c: char) {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
            self.pattern.push('\\');
        }
        self.text.push(c);
        self.pattern.push(c);
    }

    fn finish(self) -> Word {
        let Self { text, pattern, wild, home, start } = self;
        let home = home && matches!(text.as_bytes(), [b'~'] | [b'~', b'/', ..]);
        Word { text, pattern: wild.then_some(pattern), home, start }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(line: &str) -> Vec<String> {
        split(line, false).unwrap().into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn spaces_and_quotes_are_those_of_a_shell() {
        assert_eq!(texts("a.txt  b.txt"), ["a.txt", "b.txt"]);
        assert_eq!(
            texts(r#""my file.txt" it\'s 'a "b"' x" y"z"#),
            ["my file.txt", "it's", "a \"b\"", "x yz"]
        );
        assert_eq!(texts(""), [""; 0]);
        assert_eq!(texts("''"), [""]);
        assert!(split("\"open", false).is_err());
    }

    #[test]
    fn only_what_is_not_quoted_is_a_wildcard_or_a_home() {
        let word = |line: &str| split(line, false).unwrap().remove(0);
        assert_eq!(word("*.txt").pattern.as_deref(), Some("*.txt"));
        assert_eq!(word(r"\[a]*").pattern.as_deref(), Some(r"\[a]*"));
        assert_eq!(word("'*'.txt").pattern, None);
        assert!(word("~/a").home && word("~").home);
        assert!(!word("'~/a'").home && !word("~ann/a").home && !word(r"\~/a").home && !word("a~").home);
    }

    #[test]
    fn what_is_being_typed_has_a_last_word() {
        let last = |line: &str| split(line, true).unwrap().pop().map(|word| (word.text, word.start)).unwrap();
        assert_eq!(last("a.txt my\\ fi"), ("my fi".into(), 6));
        assert_eq!(last("a.txt \"my fi"), ("my fi".into(), 6));
        assert_eq!(last("a.txt "), (String::new(), 6));
        assert_eq!(last(""), (String::new(), 0));
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_one_word_that_means_itself(text in "[a ~@'\"*?\\\\\\[\\]{}é汉]{1,12}") {
            let words = split(&escaped(&text, false), false).unwrap();
            prop_assert_eq!(words.len(), 1);
            prop_assert_eq!(&words[0].text, &text);
            prop_assert!(words[0].pattern.is_none() && !words[0].home);
        }
    }
}
