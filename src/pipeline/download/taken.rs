//! A name for a new part, and what is said where the first one is taken.

use super::Error;
use super::record::Record;
use super::target::{NUMBERS, numbered};
use crate::files::sink::{self, Directory, Part, There};
use crate::text::{self, quoted};

/// Why a part does not have the name of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Another program receives something of that name.
    Busy,
    /// A part of something else is there, or what is left of one.
    Left,
    /// A file or directory is there that has no journal.
    Unknown,
    /// Something is there that this program has not made.
    Foreign(&'static str),
}

impl Taken {
    fn of(directory: &Directory, name: &str, tree: bool) -> Result<Self, Error> {
        Ok(match () {
            () if is_busy(directory, name, tree) => Self::Busy,
            () if Record::is_there(directory, name)? => Self::Left,
            () => match directory.look(&Part::called(name))? {
                There::Other(what) => Self::Foreign(what),
                There::Directory if !tree => Self::Foreign("a directory"),
                _ => Self::Unknown,
            },
        })
    }

    /// For people: what is in the way of the part of `base`, and how it goes away.
    pub(super) fn notice(self, directory: &Directory, base: &str, part: &str) -> String {
        let why = match self {
            Self::Busy => {
                return format!("another program is receiving {base} here, so this one will be {part}");
            }
            Self::Left => "not of this offer, or its journal cannot be read".to_owned(),
            Self::Unknown => "there without a journal, so nothing is known of it".to_owned(),
            Self::Foreign(what) => what.to_owned(),
        };
        let at = match directory.location() {
            here if here == std::path::Path::new(".") => String::new(),
            there => format!(" -o {}", quoted(&text::scrub(&there.display().to_string(), 4096))),
        };
        format!(
            "{} is {why}: it is left alone; conf-recv --discard {}{at} removes it",
            Part::called(base),
            quoted(base)
        )
    }
}

/// Whether another program has the part of `name`.
pub(super) fn is_busy(directory: &Directory, name: &str, tree: bool) -> bool {
    matches!(Part::open(directory, name, tree), Err(sink::Error::Busy(_)))
}

/// A new part under the first name that is free, and why that is not the first of all.
pub(super) fn create(
    directory: &Directory,
    base: &str,
    tree: bool,
    from: u32,
) -> Result<(Part, Option<Taken>), Error> {
    let mut taken = None;
    for number in from..NUMBERS {
        let name = numbered(base, number);
        // Under a number, a single file will have this very name.
        if number > 0 && !tree && directory.look(&name)? != There::Nothing {
            continue;
        }
        match Part::create(directory, &name, tree) {
            Err(sink::Error::Exists(_) | sink::Error::Busy(_)) if taken.is_none() => {
                taken = Some(Taken::of(directory, &name, tree)?);
            }
            Err(sink::Error::Exists(_) | sink::Error::Busy(_)) => {}
            other => return Ok((other?, taken)),
        }
    }
    Err(Error::Exists(format!("{base}{}", sink::PART), 1))
}
