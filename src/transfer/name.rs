//! Names of files that a peer sends: what of them is taken, under what name, and what is refused.
//!
//! The policy, the same on every system:
//!
//! - Refused, because no honest list has them: an empty name, `.`, `..`, a name with `/` or NUL in it, more than
//!   [`limits::COMPONENT`] bytes, more than [`limits::COMPONENTS`] names on the way to a file.
//! - Refused unless asked for ([`Rules::hidden`]): a name that begins with a dot, anywhere on the way.
//! - Replaced by `_`: `\` and `:` (separators and streams elsewhere), what a terminal obeys, what turns or hides
//!   text, and a dot or space at the end. A name that is a device elsewhere (`CON`, `aux.txt`, `COM¹`) gets a
//!   `_` in front.
//!
//! What comes out is one plain name of a file, in any file system, and harmless where it is shown.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::Error;
use crate::{limits, text};

/// What a receiver takes besides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Names that begin with a dot.
    pub hidden: bool,
}

/// The way to a file below the receiver's directory: 1 to [`limits::COMPONENTS`] plain names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Vec<String>);

impl Path {
    /// The path that `sent` comes to, by the policy of this module.
    pub fn judge(sent: &[String], rules: Rules) -> Result<Self, Error> {
        if sent.is_empty() {
            return Err(Error::Name(shown(""), "it is empty"));
        }
        if sent.len() > limits::COMPONENTS {
            return Err(Error::Deep);
        }
        sent.iter().map(|name| safe(name, rules)).collect::<Result<_, _>>().map(Self)
    }

    /// The names, from the directory down.
    pub fn components(&self) -> &[String] {
        &self.0
    }

    /// The last of the names.
    pub fn name(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// The names before the last.
    pub fn parents(&self) -> &[String] {
        &self.0[..self.0.len() - 1]
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

/// The name under which a file that was sent as `sent` is kept.
pub fn safe(sent: &str, rules: Rules) -> Result<String, Error> {
    let refused = |why| Err(Error::Name(shown(sent), why));
    match sent {
        "" => return refused("it is empty"),
        "." | ".." => return refused("it means a directory, not a file"),
        _ if sent.len() > limits::COMPONENT => return refused("it has more than 255 bytes"),
        _ if sent.contains('/') => return refused("there is a '/' in it"),
        _ if sent.contains('\0') => return refused("there is a NUL in it"),
        _ => {}
    }
    if sent.starts_with('.') && !rules.hidden {
        return Err(Error::Hidden(shown(sent)));
    }
    let mut name = plain(sent);
    let kept = name.trim_end_matches(['.', ' ']).len();
    let end = "_".repeat(name.len() - kept);
    name.replace_range(kept.., &end);
    if is_device(&name) {
        name.insert(0, '_');
    }
    // A name that was cut at the front, or had something hidden there, must not become a hidden one.
    match name.starts_with('.') && !rules.hidden {
        true => Err(Error::Hidden(shown(sent))),
        false if name.len() > limits::COMPONENT => refused("it has more than 255 bytes"),
        false if !name.is_ascii() && text::scrub(&name, usize::MAX) != name => refused("it cannot be shown"),
        false => Ok(name),
    }
}

/// What two names have in common where a file system takes them for one: upper and lower case, ways of writing
/// the same letters, characters without a picture. More is taken for the same than any one file system does.
pub fn key(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let letters = name.nfc().filter(|c| !matches!(c, '\u{200d}' | '\u{fe0e}' | '\u{fe0f}'));
    letters.flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
}

/// `name` for a message: one line, not too long.
pub(super) fn shown(name: &str) -> String {
    text::shorten(&text::scrub(name, limits::COMPONENT), 64)
}

/// `sent` with a `_` in the place of every character that is none of a plain name.
fn plain(sent: &str) -> String {
    let name = sent.replace(['\\', ':'], "_");
    if name.is_ascii() && !name.contains(|c: char| c.is_ascii_control()) {
        return name;
    }
    if text::scrub(&name, usize::MAX) == name {
        return name;
    }
    let mut clean = String::with_capacity(name.len());
    let (mut marks, mut before) = (0, '_');
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{200d}' => {}
            _ if is_combining_mark(c) => marks += 1,
            _ => marks = 0,
        }
        // Joiners stay between pictographs, so what is around them is looked at as well.
        let around = match (c, chars.peek()) {
            ('\u{200d}', Some(next)) => String::from_iter([before, c, *next]),
            _ => String::from(c),
        };
        let stays = marks <= limits::MARKS && text::scrub(&around, usize::MAX) == around;
        before = if stays { c } else { '_' };
        clean.push(before);
    }
    clean
}

/// Whether DOS and Windows take `name` for a device, whatever stands behind the dot.
fn is_device(name: &str) -> bool {
    let base = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    let numbered = |base: &str| {
        let mut digits = base.chars();
        matches!(digits.next(), Some('0'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
    };
    match base.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$" => true,
        base => base.strip_prefix("COM").or(base.strip_prefix("LPT")).is_some_and(numbered),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Rules = Rules { hidden: true };

    fn renamed(sent: &str) -> Option<String> {
        safe(sent, Rules::default()).ok()
    }

    #[test]
    fn f01_what_means_a_place_is_refused_or_becomes_one_plain_name() {
        for bad in ["/etc/passwd", "..", ".", "a/../../b", "~/.ssh/authorized_keys", "a/b", "", "a\0b"] {
            assert!(safe(bad, ALL).is_err(), "{bad:?}");
        }
        for (sent, kept) in [
            ("C:\\x", "C__x"),
            ("\\\\srv\\x", "__srv_x"),
            ("file:ads", "file_ads"),
            ("CON", "_CON"),
            ("con.txt.gz", "_con.txt.gz"),
            ("aux.txt", "_aux.txt"),
            ("COM¹", "_COM¹"),
            ("lpt9 .x", "_lpt9 .x"),
            ("nul", "_nul"),
            ("end.", "end_"),
            ("end .. ", "end____"),
            ("~", "~"),
            ("-rf", "-rf"),
            ("what?.txt", "what?.txt"),
            ("COM10", "COM10"),
            ("console", "console"),
            (" a", " a"),
        ] {
            assert_eq!(renamed(sent).as_deref(), Some(kept), "{sent:?}");
        }
    }

    #[test]
    fn f02_what_fools_a_terminal_or_a_reader_is_replaced() {
        for (sent, kept) in [
            ("a\u{1b}[2Jb", "a_[2Jb"),
            ("a\nb\tc\r", "a_b_c_"),
            ("invoice\u{202e}fdp.exe", "invoice_fdp.exe"),
            ("\u{feff}\u{200b}x", "__x"),
            ("\u{9b}31m", "_31m"),
            ("👩\u{200d}👩\u{200d}👧.png", "👩\u{200d}👩\u{200d}👧.png"),
            ("a\u{200d}b", "a_b"),
            ("Zoe\u{308} 王小明", "Zoe\u{308} 王小明"),
        ] {
            assert_eq!(renamed(sent).as_deref(), Some(kept), "{sent:?}");
        }
        assert!(safe(&"x".repeat(255), ALL).is_ok());
        assert!(safe(&"x".repeat(256), ALL).is_err());
        assert!(safe(&format!("aux.{}", "x".repeat(251)), ALL).is_err(), "longer with what is put in front");
        let zalgo = renamed(&format!("o{}", "\u{301}".repeat(100))).unwrap();
        assert_eq!(zalgo, format!("o{}{}", "\u{301}".repeat(limits::MARKS), "_".repeat(100 - limits::MARKS)));
    }

    #[test]
    fn f07_hidden_names_are_taken_only_when_asked_for() {
        for hidden in [".bashrc", ".ssh", ".", ".."] {
            assert!(safe(hidden, Rules::default()).is_err(), "{hidden}");
        }
        assert_eq!(safe(".bashrc", ALL).unwrap(), ".bashrc");
        let refused = Path::judge(&["a".into(), ".git".into(), "config".into()], Rules::default());
        assert!(matches!(refused, Err(Error::Hidden(name)) if name == ".git"));
        assert_eq!(renamed("\u{200b}.bashrc").as_deref(), Some("_.bashrc"));
    }

    #[test]
    fn f10_paths_have_a_bounded_depth() {
        let path = |names| Path::judge(&vec!["a".to_owned(); names], ALL);
        assert_eq!(path(32).unwrap().components().len(), 32);
        assert!(matches!(path(33), Err(Error::Deep)));
        assert!(matches!(path(10_000), Err(Error::Deep)));
        assert!(matches!(path(0), Err(Error::Name(..))));
        let path = Path::judge(&["src".into(), "main.rs".into()], ALL).unwrap();
        assert_eq!(
            (path.to_string().as_str(), path.name(), path.parents().len()),
            ("src/main.rs", "main.rs", 1)
        );
    }

    #[test]
    fn f03_names_that_a_file_system_takes_for_one_have_one_key() {
        for (a, b) in [
            ("README", "ReadMe"),
            ("Zo\u{eb}", "Zoe\u{308}"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{212a}", "k"),
            ("❤\u{fe0f}", "❤"),
            ("\u{3a3}", "\u{3c2}"),
        ] {
            assert_eq!(key(a), key(b), "{a} {b}");
        }
        assert_ne!(key("a"), key("b"));
    }

    proptest! {
        #[test]
        fn f01_f02_whatever_is_sent_a_plain_and_harmless_name_comes_out(
            sent in prop_oneof![
                any::<String>(),
                prop::collection::vec(prop::sample::select(SPARKS), 0..12).prop_map(|sparks| sparks.concat()),
            ],
            hidden: bool,
        ) {
            let Ok(name) = safe(&sent, Rules { hidden }) else { return Ok(()) };
            prop_assert!(!name.is_empty() && name.len() <= limits::COMPONENT);
            prop_assert!(!name.contains(['/', '\\', ':', '\0']) && name != "." && name != "..");
            prop_assert!(!name.ends_with(['.', ' ']) && !is_device(&name));
            prop_assert!(hidden || !name.starts_with('.'));
            prop_assert_eq!(text::scrub(&name, usize::MAX), name.clone());
            prop_assert_eq!(safe(&name, Rules { hidden }).ok(), Some(name), "twice is once");
        }
    }

    const SPARKS: &[&str] = &[
        ".",
        "..",
        "/",
        "\\",
        ":",
        "a",
        "CON",
        "aux",
        "com1",
        " ",
        "\n",
        "\u{1b}[2J",
        "\u{202e}",
        "\u{200d}",
        "👩",
        "\u{fe0f}",
        "\u{301}",
        "\u{301}\u{301}\u{301}\u{301}\u{301}",
        "\u{feff}",
        "~",
        "\u{2028}",
        "王",
    ];
}
