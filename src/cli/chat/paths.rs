//! Paths as they are typed behind `/send` and `/get`: home directory, wildcards, and what goes on with them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;

use crate::terminal::Word;

/// Entries of a directory that are looked at.
const LOOKED_AT: usize = 10_000;
/// Paths that are offered for what was typed.
const FOUND: usize = 200;
/// Paths that one word with wildcards may stand for.
const EXPANDED: usize = 1_000;

/// The path that a word without wildcards means.
pub(super) fn path(word: &Word, home: Option<&Path>) -> Result<PathBuf, String> {
    at_home(&word.text, word.home, home)
}

/// The paths that words mean; the error is a sentence.
pub(super) fn expand(words: &[Word], home: Option<&Path>) -> Result<Vec<PathBuf>, String> {
    let mut paths = Vec::new();
    for word in words {
        // A file that is called like a pattern is meant itself.
        let plain = path(word, home)?;
        let found = match &word.pattern {
            Some(pattern) if fs::symlink_metadata(&plain).is_err() => matching(pattern, word.home, home)?,
            _ => vec![plain],
        };
        paths.extend(found);
    }
    Ok(paths)
}

/// All that goes on with `typed`, as it would be typed; directories end with a slash. Names that cannot be typed
/// are left out.
pub(super) fn completions(typed: &str, home: Option<&Path>) -> Vec<String> {
    let (above, start) =
        typed.rsplit_once('/').map_or(("", typed), |(above, start)| (&typed[..=above.len()], start));
    if typed == "~" {
        return vec!["~/".into()];
    }
    let directory = match at_home(above, above.starts_with("~/"), home) {
        Ok(path) if path.as_os_str().is_empty() => PathBuf::from("."),
        Ok(path) => path,
        Err(_) => return Vec::new(),
    };
    let Ok(entries) = fs::read_dir(&directory) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.take(LOOKED_AT).flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let hidden = name.starts_with('.') && !start.starts_with('.');
        if hidden || !name.starts_with(start) || crate::text::scrub(&name, usize::MAX) != name {
            continue;
        }
        // Links count as what they lead to.
        let slash = if fs::metadata(entry.path()).is_ok_and(|about| about.is_dir()) { "/" } else { "" };
        found.push(format!("{above}{name}{slash}"));
    }
    found.sort();
    found.truncate(FOUND);
    found
}

fn at_home(text: &str, is_home: bool, home: Option<&Path>) -> Result<PathBuf, String> {
    match (is_home, home) {
        (false, _) => Ok(text.into()),
        (true, Some(home)) => Ok(home.join(text[1..].trim_start_matches('/'))),
        (true, None) => Err("~ means nothing here: HOME is not set".into()),
    }
}

/// What matches a pattern, name by name from its first wildcard on.
fn matching(pattern: &str, is_home: bool, home: Option<&Path>) -> Result<Vec<PathBuf>, String> {
    let typed = pattern;
    let shown = || crate::text::shorten(&crate::text::scrub(typed, 256), 60);
    // What the home directory is called is no pattern.
    let (base, pattern) = match is_home {
        true => (at_home("~", true, home)?, pattern[1..].trim_start_matches('/')),
        false => (PathBuf::new(), pattern),
    };
    let mut found: Vec<PathBuf> = vec![base];
    for part in Path::new(pattern).components() {
        let name = part.as_os_str().to_str().unwrap_or_default();
        if !name.contains(['*', '?', '[', '\\']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let wrong = |error: globset::Error| format!("{} is no pattern: {}", shown(), error.kind());
        let glob = GlobBuilder::new(name).literal_separator(true).backslash_escape(true).build();
        let glob = glob.map_err(wrong)?.compile_matcher();
        let hidden = name.starts_with('.');
        let mut next = Vec::new();
        for above in found {
            let directory = if above.as_os_str().is_empty() { Path::new(".") } else { above.as_path() };
            let Ok(entries) = fs::read_dir(directory) else { continue };
            let names = entries.take(LOOKED_AT).flatten().map(|entry| entry.file_name());
            let fits = |name: &OsString| {
                glob.is_match(name) && (hidden || !name.as_encoded_bytes().starts_with(b"."))
            };
            next.extend(names.filter(fits).map(|name| above.join(name)));
        }
        found = next;
    }
    found.retain(|path| fs::symlink_metadata(path).is_ok());
    found.sort();
    match found.len() {
        0 => Err(format!("nothing matches {}", shown())),
        1..=EXPANDED => Ok(found),
        _ => Err(format!("more than {EXPANDED} match {}; send the directory", shown())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, pattern: Option<&str>, home: bool) -> Word {
        Word::new(text, pattern, home)
    }

    fn place() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for name in ["a.txt", "b.txt", "my file.txt", ".hidden.txt", "[x].txt", "esc\u{1b}.txt"] {
            fs::write(home.path().join(name), "x").unwrap();
        }
        fs::create_dir_all(home.path().join("photos/2024")).unwrap();
        fs::write(home.path().join("photos/2024/p.txt"), "x").unwrap();
        home
    }

    #[test]
    fn wildcards_are_those_of_a_shell() {
        let home = place();
        let names = |text: &str, pattern: &str| {
            let found = expand(&[word(text, Some(pattern), true)], Some(home.path()));
            found.map(|found| {
                let below = |path: &PathBuf| path.strip_prefix(home.path()).unwrap().display().to_string();
                found.iter().map(below).collect::<Vec<_>>()
            })
        };
        assert_eq!(names("~/?.txt", "~/?.txt").unwrap(), ["a.txt", "b.txt"]);
        assert_eq!(names("~/*/*/*.txt", "~/*/*/*.txt").unwrap(), ["photos/2024/p.txt"]);
        assert_eq!(names("~/[x]*", r"~/\[x]*").unwrap(), ["[x].txt"]);
        assert_eq!(names("~/[x].txt", "~/[x].txt").unwrap(), ["[x].txt"], "a file that is called so");
        assert_eq!(names("~/.h*", "~/.h*").unwrap(), [".hidden.txt"]);
        assert_eq!(names("~/*.pdf", "~/*.pdf").unwrap_err(), "nothing matches ~/*.pdf");
        assert!(names("~/[", "~/[").unwrap_err().contains("is no pattern"));
        assert_eq!(
            expand(&[word("~/none", None, true)], Some(home.path())).unwrap(),
            [home.path().join("none")]
        );
        assert!(expand(&[word("~/a", None, true)], None).is_err());
    }

    #[test]
    fn what_is_typed_goes_on_with_what_is_there() {
        let home = place();
        let found = |typed: &str| completions(typed, Some(home.path()));
        assert_eq!(found("~/"), ["~/[x].txt", "~/a.txt", "~/b.txt", "~/my file.txt", "~/photos/"]);
        assert_eq!(found("~/my f"), ["~/my file.txt"]);
        assert_eq!(found("~/."), ["~/.hidden.txt"]);
        assert_eq!(found("~"), ["~/"]);
        assert!(found("~/nothing").is_empty() && found("~/none/").is_empty());
        let absolute = format!("{}/photos/", home.path().display());
        assert_eq!(found(&absolute), [format!("{absolute}2024/")]);
    }
}
