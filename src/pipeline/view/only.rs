//! Whose tracks are wanted, as somebody typed it. Pure.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::about::About;

/// Which tracks are wanted: `NICK` or `NICK/LABEL`.
///
/// A name may have a `/` in it, so every way to read the text is tried. Who is called exactly that is meant before
/// who is called so in other letters (`ANA` for `Ana`), and that one before whose name only begins so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Only(String);

/// How well a name is what was typed, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Beginning,
    Caseless,
    Exact,
}

impl FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("expected NICK or NICK/LABEL".into()) } else { Ok(Self(text.to_owned())) }
    }
}

impl std::fmt::Display for Only {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A track, or with `label` `None` a member of whom no track is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) member: &'a str,
    pub(super) label: Option<&'a str>,
}

impl<'a> From<&'a About> for Candidate<'a> {
    fn from(about: &'a About) -> Self {
        Self { member: &about.member, label: Some(&about.label) }
    }
}

/// What is wanted among those who are there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Choice {
    /// Nobody fits.
    #[default]
    Nobody,
    /// Several names begin so, and none is exactly that.
    Several(BTreeSet<String>),
    /// Whoever fits this well; with a name, only who is called that.
    These(Wanted),
}

/// See [`Choice::These`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    fit: Fit,
    member: Option<String>,
}

impl Only {
    /// What is meant when `there` are there. Who was meant `before` stays so while no better one comes.
    pub(super) fn choose<'a>(
        &self,
        there: impl Iterator<Item = Candidate<'a>> + Clone,
        before: &Choice,
    ) -> Choice {
        let Some(fit) = there.clone().filter_map(|one| self.fit(one)).max() else { return Choice::Nobody };
        if fit > Fit::Beginning {
            return Choice::These(Wanted { fit, member: None });
        }
        let names: BTreeSet<String> =
            there.filter(|one| self.fit(*one).is_some()).map(|one| one.member.to_owned()).collect();
        if let Choice::These(Wanted { fit: Fit::Beginning, member: Some(member) }) = before
            && names.contains(member)
        {
            return before.clone();
        }
        match names.len() {
            1 => Choice::These(Wanted { fit, member: names.into_iter().next() }),
            _ => Choice::Several(names),
        }
    }

    /// Whether `one` is among those that were chosen.
    pub(super) fn wants(&self, choice: &Choice, one: Candidate<'_>) -> bool {
        let Choice::These(wanted) = choice else { return false };
        self.fit(one) == Some(wanted.fit) && wanted.member.as_ref().is_none_or(|name| name == one.member)
    }

    fn fit(&self, one: Candidate<'_>) -> Option<Fit> {
        let text = self.0.as_str();
        // In a pipe there are no members, and the label is enough.
        if one.member.is_empty() {
            let label = one.label?;
            let readings =
                std::iter::once(text).chain(text.match_indices('/').map(|(at, _)| &text[at + 1..]));
            return readings.filter_map(|read| name(read, label)).max();
        }
        let with_label = one.label.into_iter().flat_map(|label| {
            text.match_indices('/').filter_map(move |(at, _)| {
                let (nick, meant) = (&text[..at], &text[at + 1..]);
                let nick = if nick.is_empty() { Some(Fit::Exact) } else { name(nick, one.member) };
                Some(nick?.min(same(meant, label)?))
            })
        });
        with_label.chain(name(text, one.member)).max()
    }
}

fn name(typed: &str, is: &str) -> Option<Fit> {
    let begins = || !typed.is_empty() && is.to_lowercase().starts_with(&typed.to_lowercase());
    same(typed, is).or_else(|| begins().then_some(Fit::Beginning))
}

fn same(typed: &str, is: &str) -> Option<Fit> {
    match typed == is {
        true => Some(Fit::Exact),
        false => (typed.to_lowercase() == is.to_lowercase()).then_some(Fit::Caseless),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(text: &str) -> Candidate<'_> {
        let (member, label) = text.rsplit_once('|').unwrap();
        Candidate { member, label: Some(label) }
    }

    /// Which of `there` are shown to somebody who typed `only`.
    fn shown<'a>(only: &str, there: &[&'a str]) -> Vec<&'a str> {
        let only: Only = only.parse().unwrap();
        let choice = only.choose(there.iter().map(|one| track(one)), &Choice::Nobody);
        there.iter().copied().filter(|one| only.wants(&choice, track(one))).collect()
    }

    #[test]
    fn only_names_a_member_a_label_or_both() {
        let there = ["ana|camera", "ana|slides", "bob|camera"];
        assert_eq!(shown("ana", &there), ["ana|camera", "ana|slides"]);
        assert_eq!(shown("ana/slides", &there), ["ana|slides"]);
        assert_eq!(shown("/camera", &there), ["ana|camera", "bob|camera"]);
        assert_eq!(shown("camera", &["|camera", "|screen"]), ["|camera"], "a pipe has no members");
        assert_eq!(shown("SCR", &["|camera", "|screen"]), ["|screen"]);
        assert!("".parse::<Only>().is_err());
    }

    #[test]
    fn a_name_with_a_stroke_in_it_can_be_chosen() {
        let there = ["a/b c|test", "a/b c|camera", "a|x"];
        assert_eq!(shown("a/b c", &there), ["a/b c|test", "a/b c|camera"]);
        assert_eq!(shown("a/b c/test", &there), ["a/b c|test"]);
        assert_eq!(shown("a/x", &there), ["a|x"]);
    }

    #[test]
    fn the_exact_name_wins_then_other_letters_then_the_beginning() {
        assert_eq!(shown("me", &["Me|camera", "me|camera", "Mea|camera"]), ["me|camera"]);
        assert_eq!(shown("ME", &["Me|camera", "Mea|camera"]), ["Me|camera"]);
        assert_eq!(shown("an", &["Ana|camera", "Bob|camera"]), ["Ana|camera"]);
        assert_eq!(shown("an/CAMERA", &["Ana|camera", "Ana|slides"]), ["Ana|camera"]);
        assert!(shown("an", &["Ana|camera", "Anna|camera"]).is_empty(), "nobody knows which");
    }

    #[test]
    fn who_was_chosen_by_the_beginning_stays_until_the_exact_one_comes() {
        let only: Only = "an".parse().unwrap();
        let mut choice = Choice::Nobody;
        let mut see = |there: &[&str]| {
            choice = only.choose(there.iter().map(|one| track(one)), &choice);
            there
                .iter()
                .filter(|one| only.wants(&choice, track(one)))
                .map(|one| one.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(see(&["Ana|camera"]), ["Ana|camera"]);
        assert_eq!(see(&["Ana|camera", "Anna|camera"]), ["Ana|camera"]);
        assert_eq!(see(&["Ana|camera", "An|camera"]), ["An|camera"]);
    }
}
