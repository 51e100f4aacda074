//! What lies where a part would: found by its name, so that it can be removed also where nothing is known of it.

use std::path::Path;

use super::Error;
use super::record::Record;
use crate::files::sink::{self, Directory, Part};

/// Something called `NAME.part`, or its journal. Nothing else is ever removed, and links are not followed.
#[derive(Debug)]
pub struct Leftover {
    directory: Directory,
    name: String,
    part: Found,
    journal: bool,
}

#[derive(Debug)]
enum Found {
    /// Only the journal.
    Nothing,
    Part(Part),
    /// Something that this program would not have made.
    Foreign(&'static str),
}

impl Leftover {
    /// Looks for what is in the place of the part of `name` in a directory.
    pub fn find(directory: &Path, name: &str) -> Result<Option<Self>, Error> {
        if name.contains('/') {
            return Ok(None);
        }
        let directory = Directory::open(directory)?;
        let journal = Record::is_there(&directory, name)?;
        let part = match open(&directory, name) {
            Ok(None) if !journal => return Ok(None),
            Ok(None) => Found::Nothing,
            Ok(Some(part)) => Found::Part(part),
            Err(sink::Error::Foreign { what, .. }) => Found::Foreign(what),
            Err(error) => return Err(error.into()),
        };
        if let Found::Part(part) = &part
            && !part.is_its_own()?
        {
            return Err(sink::Error::Mixed(part.path()).into());
        }
        Ok(Some(Self { directory, name: name.to_owned(), part, journal }))
    }

    /// What it is, where that is not certain enough to remove it without asking.
    pub fn doubt(&self) -> Option<String> {
        let name = Part::called(&self.name);
        match &self.part {
            Found::Foreign(what) => Some(format!("{name} is {what}, which conf-recv has not made")),
            Found::Part(_) if !self.journal => {
                Some(format!("{name} has no journal, so nothing is known of what is in it"))
            }
            Found::Part(_) | Found::Nothing => None,
        }
    }

    /// Whether something of an offer was received into it, for all that is known.
    pub fn is_received(&self) -> bool {
        self.journal && !matches!(self.part, Found::Foreign(_))
    }

    /// Removes it.
    pub fn remove(self) -> Result<(), Error> {
        match self.part {
            Found::Nothing => {}
            Found::Part(part) => part.discard()?,
            // The name itself; what a link leads to stays.
            Found::Foreign(_) => self.directory.remove(&Part::called(&self.name))?,
        }
        Ok(self.directory.remove(&Part::journal_of(&self.name))?)
    }
}

/// A part of either kind.
fn open(directory: &Directory, name: &str) -> Result<Option<Part>, sink::Error> {
    match Part::open(directory, name, false) {
        Err(sink::Error::Foreign { what: "a directory", .. }) => Part::open(directory, name, true),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn discard(directory: &Path, name: &str) -> Result<Option<String>, Error> {
        let Some(left) = Leftover::find(directory, name)? else { return Ok(None) };
        let doubt = left.doubt().unwrap_or_else(|| "sure".into());
        left.remove()?;
        Ok(Some(doubt))
    }

    #[test]
    fn f04_f19_only_what_is_called_part_is_removed_and_no_link_is_followed() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("in")).unwrap();
        fs::create_dir(at("mine")).unwrap();
        for name in ["a", "mine/0", "in/plain", "in/plain.part", "in/known.part", "in/known.part.journal"] {
            fs::write(at(name), "x").unwrap();
        }
        for (link, to) in [("in/link.part", "a"), ("in/tree.part", "mine"), ("in/out", "mine")] {
            symlink(at(to), at(link)).unwrap();
        }
        let inside = at("in");
        let doubt = |name: &str| discard(&inside, name).unwrap();
        assert_eq!(doubt("known").as_deref(), Some("sure"));
        assert_eq!(
            doubt("plain").as_deref(),
            Some("plain.part has no journal, so nothing is known of what is in it")
        );
        for name in ["link", "tree"] {
            let what = format!("{name}.part is a symbolic link, which conf-recv has not made");
            assert_eq!(doubt(name), Some(what));
        }
        for name in ["out", "plain", "nothing", "../a", "out/0", ""] {
            assert!(!matches!(discard(&inside, name), Ok(Some(_))), "{name}");
        }
        let mut left: Vec<_> =
            fs::read_dir(&inside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["out", "plain"]);
        assert!(at("a").exists() && at("mine/0").exists());
    }

    #[test]
    fn f04_a_directory_with_other_things_in_it_stays() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for name in ["ours.part/0", "ours.part/placing", "theirs.part/0", "theirs.part/letter.txt"] {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), "x").unwrap();
        }
        fs::create_dir_all(at("deep.part/0")).unwrap();
        assert!(discard(place.path(), "ours").unwrap().is_some());
        assert!(!at("ours.part").exists());
        for name in ["theirs", "deep"] {
            let error = discard(place.path(), name).unwrap_err().to_string();
            assert!(error.contains("has other things in it") && error.contains("move it away"), "{error}");
        }
        assert!(at("theirs.part/0").exists() && at("theirs.part/letter.txt").exists());
    }
}
