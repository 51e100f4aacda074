//! Names that look like others, and names with letters of several scripts (Unicode Technical Standard 39).

use std::collections::HashSet;

use unicode_security::confusable_detection::skeleton;
use unicode_security::mixed_script::AugmentedScriptSet;

/// What a name looks like. `А` of Cyrillic looks like `A`, `rn` like `m`, `1` like `l`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// As it is written.
    plain: String,
    /// Whatever the case of its letters: `I` looks like `l`, and `i` does not.
    folded: String,
}

impl Look {
    /// Of a name.
    pub fn of(name: &str) -> Self {
        Self { plain: skeleton(name).collect(), folded: skeleton(&name.to_lowercase()).collect() }
    }

    /// Whether a person may take one for the other.
    pub fn is_like(&self, other: &Self) -> bool {
        Looks::from_iter([self]).have(other)
    }
}

/// What many names look like.
#[derive(Debug, Default)]
pub struct Looks<'a> {
    plain: HashSet<&'a str>,
    folded: HashSet<&'a str>,
}

impl Looks<'_> {
    /// Whether a person may take one of them for `look`: both look the same as written, or in small letters.
    pub fn have(&self, look: &Look) -> bool {
        self.plain.contains(look.plain.as_str()) || self.folded.contains(look.folded.as_str())
    }
}

impl<'a> FromIterator<&'a Look> for Looks<'a> {
    fn from_iter<I: IntoIterator<Item = &'a Look>>(looks: I) -> Self {
        let mut all = Self::default();
        for look in looks {
            all.plain.insert(&look.plain);
            all.folded.insert(&look.folded);
        }
        all
    }
}

/// Whether letters of `name` come from scripts that nobody writes together. Latin beside Chinese, Japanese or
/// Korean is written, and these have several scripts of their own: what UTS 39 calls highly restrictive.
pub fn mixes_scripts(name: &str) -> bool {
    let (mut all, mut without_latin) = (AugmentedScriptSet::default(), AugmentedScriptSet::default());
    let latin = AugmentedScriptSet::from('a');
    for letter in name.chars().map(AugmentedScriptSet::from) {
        all.intersect_with(letter);
        let mut as_latin = letter;
        as_latin.intersect_with(latin);
        if as_latin.is_empty() {
            without_latin.intersect_with(letter);
        }
    }
    let east = without_latin.hanb || without_latin.jpan || without_latin.kore;
    all.is_empty() && !east
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s07_what_looks_alike_is_alike() {
        let like = |one: &str, other: &str| Look::of(one).is_like(&Look::of(other));
        for (one, other) in [
            ("Anna", "\u{410}nna"),
            ("Anna", "ANNA"),
            ("anna", "\u{410}NN\u{410}"),
            ("Coco", "\u{421}\u{43e}\u{441}\u{43e}"),
            ("Bill", "BiII"),
            ("Tim", "Tirn"),
            ("paul", "р\u{430}ul"),
            ("Ann", "\u{ff21}nn"),
        ] {
            assert!(like(one, other), "{one} {other}");
        }
        for (one, other) in
            [("Anna", "Anne"), ("Zoe", "Zoë"), ("李", "王"), ("Ann", "Ann#2"), ("Анна", "Anna")]
        {
            assert!(!like(one, other), "{one} {other}");
        }
    }

    #[test]
    fn s07_what_nobody_writes_together_is_mixed() {
        for mixed in ["\u{410}nna", "Ann\u{430}", "Αnna", "p\u{430}ul", "Ann Анна"] {
            assert!(mixes_scripts(mixed), "{mixed}");
        }
        for name in [
            "Anna",
            "Анна",
            "Zoë",
            "李 Li",
            "山田タロウ",
            "たろう Taro",
            "김철수 Kim",
            "王小明",
            "مريم",
            "Bo 👩‍👩‍👧 #2",
            "O'Neil-3",
            "Ελένη",
            "ㄅㄆ 李",
            "",
        ] {
            assert!(!mixes_scripts(name), "{name}");
        }
    }
}
