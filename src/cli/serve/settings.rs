//! `--config`: settings in a file, which is read again at SIGHUP. A file with a mistake changes nothing.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{Exit, Failure, Serve, members};
use crate::room::Terms;
use crate::server::Settings;
use crate::server::store::Keep;

/// Bytes of such a file.
const LONGEST: u64 = 64 * 1024;
/// What can stand in it.
const NAMES: &str = "max-members, grace, room-grace, history, history-age";

/// What the options say, with what the file says in its place.
pub(super) fn read(args: &Serve) -> Result<Settings, Failure> {
    let settings = Settings {
        terms: Terms { max_members: args.max_members, grace: args.grace, room_grace: args.room_grace },
        keep: Keep { messages: args.history, age: args.history_age },
    };
    args.config.as_deref().map_or(Ok(settings), |path| apply(&text(path)?, &path.display(), settings))
}

fn text(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text));
    let shown = path.display();
    match read {
        Ok(length) if length as u64 <= LONGEST => Ok(text),
        Ok(_) => Err(Failure::new(Exit::File, format!("{shown} is longer than {LONGEST} bytes"))),
        Err(error) => Err(Failure::new(Exit::File, format!("cannot read {shown}: {error}"))),
    }
}

/// `name = value` in each line; empty lines, and what is behind `#`, mean nothing.
fn apply(text: &str, file: &impl Display, mut settings: Settings) -> Result<Settings, Failure> {
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let wrong = |why: &dyn Display| Failure::usage(format!("{file}, line {}: {why}", index + 1));
        let (name, value) = line.split_once('=').ok_or_else(|| wrong(&"expected NAME = VALUE"))?;
        let value = value.trim();
        let time = || humantime::parse_duration(value).map_err(|error| wrong(&error));
        match name.trim() {
            "max-members" => settings.terms.max_members = members(value).map_err(|why| wrong(&why))?,
            "grace" => settings.terms.grace = time()?,
            "room-grace" => settings.terms.room_grace = time()?,
            "history" => {
                settings.keep.messages =
                    value.parse().map_err(|_| wrong(&"expected a number of messages"))?;
            }
            "history-age" => settings.keep.age = time()?,
            other => {
                return Err(wrong(&format!("there is no setting {:?}; there are {NAMES}", other)));
            }
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn applied(text: &str) -> Result<Settings, String> {
        apply(text, &"conf", Settings::default()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_is_not_in_the_file_stays() {
        let text = "# small rooms\nmax-members = 12\n\n  history=500   # each\nhistory-age = 7d\n";
        let settings = applied(text).unwrap();
        assert_eq!(settings.terms.max_members, 12);
        assert_eq!(settings.terms.grace, Terms::default().grace);
        assert_eq!(settings.keep, Keep { messages: 500, age: Duration::from_secs(7 * 24 * 3600) });
    }

    #[test]
    fn s18_a_mistake_is_named_with_its_line() {
        for (text, said) in [
            ("history = 5\nmax-members = 0", "conf, line 2: expected a number from 1"),
            ("max-members", "line 1: expected NAME = VALUE"),
            ("members = 5", "line 1: there is no setting \"members\"; there are max-members"),
            ("history = -1", "line 1: expected a number of messages"),
            ("grace = soon", "line 1:"),
        ] {
            let failure = applied(text).unwrap_err();
            assert!(failure.contains(said), "{failure}");
        }
    }
}
