//! Names that look like others, and names with letters of several scripts (Unicode Technical Standard 39).

use std::collections::HashMap;

use md5::{Digest, Md5};
use unicode_security::confusable_detection::skeleton;
use unicode_security::mixed_script::AugmentedScriptSet;

/// What a name looks like. `А` of Cyrillic looks like `A`, `rn` like `m`, `1` like `l`.
///
/// Of the skeletons there are only digests: a skeleton may be thirty times as long as its name. Whoever makes two
/// names of one digest gets a number behind one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// As it is written.
    plain: [u8; 16],
    /// Whatever the case of its letters: `I` looks like `l`, and `i` does not.
    folded: [u8; 16],
}

impl Look {
    /// Of a name.
    pub fn of(name: &str) -> Self {
        Stem::of(name).with("")
    }

    /// Whether a person may take one for the other: both look the same as written, or in small letters.
    pub fn is_like(&self, other: &Self) -> bool {
        self.plain == other.plain || self.folded == other.folded
    }
}

/// What the beginning of names looks like that are told apart by numbers.
#[derive(Debug, Clone)]
pub struct Stem {
    plain: Md5,
    folded: Md5,
}

impl Stem {
    /// Of a beginning.
    pub fn of(beginning: &str) -> Self {
        let digest = |text: &str| Md5::new_with_prefix(bones(text));
        Self { plain: digest(beginning), folded: digest(&beginning.to_lowercase()) }
    }

    /// With `end` behind it, which is empty or `#` and digits. The skeletons of these follow each other in that of
    /// the whole: `#` is no mark that could change places with one before it, and digits have no case.
    pub fn with(&self, end: &str) -> Look {
        let end = bones(end);
        let look = |stem: &Md5| stem.clone().chain_update(&end).finalize().into();
        Look { plain: look(&self.plain), folded: look(&self.folded) }
    }
}

fn bones(text: &str) -> String {
    #[cfg(test)]
    effort::note(text.chars().count(), 0);
    skeleton(text).collect()
}

/// What many names look like.
#[derive(Debug, Default)]
pub struct Looks {
    /// How many of them have it.
    plain: HashMap<[u8; 16], u32>,
    folded: HashMap<[u8; 16], u32>,
}

impl Looks {
    /// One more.
    pub fn add(&mut self, look: &Look) {
        *self.plain.entry(look.plain).or_default() += 1;
        *self.folded.entry(look.folded).or_default() += 1;
    }

    /// One less, of those that were added.
    pub fn remove(&mut self, look: &Look) {
        for (counts, key) in [(&mut self.plain, look.plain), (&mut self.folded, look.folded)] {
            let Some(count) = counts.get_mut(&key) else { continue };
            *count -= 1;
            if *count == 0 {
                counts.remove(&key);
            }
        }
    }

    /// Whether a person may take one of them for `look`.
    pub fn have(&self, look: &Look) -> bool {
        #[cfg(test)]
        effort::note(0, 1);
        self.plain.contains_key(&look.plain) || self.folded.contains_key(&look.folded)
    }
}

/// What a test has had done.
#[cfg(test)]
pub(crate) mod effort {
    use std::cell::Cell;

    thread_local! {
        static DONE: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    }

    pub(super) fn note(characters: usize, questions: usize) {
        DONE.set((DONE.get().0 + characters, DONE.get().1 + questions));
    }

    /// Since the last call: characters of which skeletons were made, and questions to [`super::Looks`].
    pub(crate) fn take() -> (usize, usize) {
        DONE.take()
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
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn s07_what_a_numbered_name_looks_like_follows_from_its_beginning(
            beginning in "[aIl1O0#ΣσςÅİ\u{307}\u{328}\u{345}\u{fdfa}가\u{1100}\u{1161}👩\u{200d}\u{410}rn .]{0,12}|\\PC{0,12}",
            n in 2..20_000,
        ) {
            let end = format!("#{n}");
            prop_assert_eq!(Stem::of(&beginning).with(&end), Look::of(&(beginning + &end)));
        }
    }

    #[test]
    fn s07_every_ascii_number_looks_different() {
        let looks: std::collections::HashSet<_> =
            (0..3_000).map(|n| Look::of(&format!("#{n}")).plain).collect();
        assert_eq!(looks.len(), 3_000);
    }

    #[test]
    fn whoever_goes_takes_one_look_along() {
        let mut looks = Looks::default();
        looks.add(&Look::of("Ann"));
        looks.add(&Look::of("ANN"));
        assert!(looks.have(&Look::of("ann")));
        looks.remove(&Look::of("Ann"));
        assert!(looks.have(&Look::of("ann")) && looks.have(&Look::of("ANN")));
        looks.remove(&Look::of("ANN"));
        assert!(!looks.have(&Look::of("ann")) && looks.plain.is_empty() && looks.folded.is_empty());
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
