//! Sentences of the program in which names are told from its words: whoever is called `Ann locked the room` has not
//! locked it.

use std::ops::Range;

/// Stands before and behind a name while a sentence is put together; scrubbed text does not contain it.
const MARK: char = '\u{1}';

/// A sentence, and the bytes of it that are names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// What it says.
    pub(super) text: String,
    /// In order, none within another.
    pub(super) names: Vec<Range<usize>>,
}

impl Told {
    /// Of a sentence whose names are [`marked`].
    pub(super) fn new(sentence: &str) -> Self {
        let mut told = Self::default();
        for (at, part) in sentence.split(MARK).enumerate() {
            let start = told.text.len();
            told.text.push_str(part);
            if at % 2 == 1 {
                told.names.push(start..told.text.len());
            }
        }
        told
    }
}

/// A name for a sentence.
pub(super) fn marked(name: &str) -> String {
    format!("{MARK}{name}{MARK}")
}
