//! Emoji in a text: which font they come from, and what is drawn where that font is a plain one.
//!
//! A colour font has a picture for nearly every sequence. The plain font inside the program has none for sequences, and
//! would show a flag as any flag and one person at work as two things in a row. So without a colour font a flag is its
//! two letters, what is joined to an emoji stands beside it in a smaller size, so that both are seen as one, and shades
//! of skin are left out.

use std::borrow::Cow;

use cosmic_text::fontdb;
use unicode_segmentation::UnicodeSegmentation;

/// The size of letters that stand for a flag, and of what is joined to an emoji.
const SMALLER: f32 = 0.62;
const JOINER: char = '\u{200d}';
/// Asks for the picture rather than the letter.
const AS_PICTURE: char = '\u{fe0f}';

/// Which kind of font a piece comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Text,
    Emoji,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) of: Of,
    /// Of the size of the text.
    pub(super) scale: f32,
}

/// The font of emoji.
#[derive(Debug)]
pub(super) struct Font {
    pub(super) family: String,
    colour: bool,
}

impl Font {
    /// The plain one inside the program, until another one is found.
    pub(super) fn inside(family: String) -> Self {
        Self { family, colour: false }
    }

    /// Takes a colour font if there is one in `db`.
    pub(super) fn look_up(&mut self, db: &fontdb::Database) {
        let known = |name: &&String| {
            ["Color Emoji", "Twemoji", "Twitter Color", "JoyPixels", "EmojiOne"]
                .iter()
                .any(|k| name.contains(k))
        };
        let mut names = db.faces().filter_map(|face| face.families.first()).map(|(name, _)| name);
        if let Some(name) = names.find(known) {
            *self = Self { family: name.clone(), colour: true };
        }
    }

    /// `text` in pieces, each of one font and one size.
    pub(super) fn pieces<'a>(&self, text: &'a str) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let mut plain = 0;
        for (at, one) in text.grapheme_indices(true) {
            if is_emoji(one) {
                pieces.extend(piece(&text[plain..at], Of::Text, 1.0));
                if self.colour {
                    pieces.extend(piece(one, Of::Emoji, 1.0));
                } else {
                    in_one_colour(one, &mut pieces);
                }
                plain = at + one.len();
            }
        }
        pieces.extend(piece(&text[plain..], Of::Text, 1.0));
        pieces
    }
}

fn piece(text: &str, of: Of, scale: f32) -> Option<Piece<'_>> {
    (!text.is_empty()).then_some(Piece { text: Cow::Borrowed(text), of, scale })
}

/// One emoji for a font that has only single ones.
fn in_one_colour<'a>(one: &'a str, pieces: &mut Vec<Piece<'a>>) {
    let letters: String = one.chars().filter_map(flag_letter).collect();
    if !letters.is_empty() {
        pieces.push(Piece { text: Cow::Owned(letters), of: Of::Text, scale: SMALLER });
        return;
    }
    for (index, part) in one.split(JOINER).enumerate() {
        let text: String = part.chars().filter(|c| *c != AS_PICTURE && !is_skin(*c)).collect();
        let scale = if index == 0 { 1.0 } else { SMALLER };
        if !text.is_empty() {
            pieces.push(Piece { text: Cow::Owned(text), of: Of::Emoji, scale });
        }
    }
}

/// `D` for the first half of a German flag.
fn flag_letter(c: char) -> Option<char> {
    let index = u32::from(c).checked_sub(0x1f1e6).filter(|index| *index < 26)?;
    char::from_u32(u32::from('A') + index)
}

fn is_skin(c: char) -> bool {
    matches!(c, '\u{1f3fb}'..='\u{1f3ff}')
}

/// Whether a character, as people see it, is to be a picture.
fn is_emoji(one: &str) -> bool {
    let Some(first) = one.chars().next() else { return false };
    let pictorial = matches!(first, '\u{1f000}'..='\u{1faff}' | '\u{231a}'..='\u{231b}' | '\u{23e9}'..='\u{23f3}'
        | '\u{25fd}'..='\u{25fe}' | '\u{2614}'..='\u{2615}' | '\u{26a1}' | '\u{26bd}'..='\u{26be}'
        | '\u{26c4}'..='\u{26c5}' | '\u{2705}' | '\u{270a}'..='\u{270b}' | '\u{2728}' | '\u{274c}' | '\u{2753}'..='\u{2755}'
        | '\u{2795}'..='\u{2797}' | '\u{2b50}' | '\u{2b55}');
    pictorial || (first > '\u{2000}' && (one.contains(AS_PICTURE) || one.contains(JOINER)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str, colour: bool) -> Vec<(String, Of, bool)> {
        let font = Font { family: "Emoji".into(), colour };
        font.pieces(text).into_iter().map(|p| (p.text.into_owned(), p.of, p.scale < 1.0)).collect()
    }

    #[test]
    fn without_a_colour_font_sequences_can_still_be_read() {
        let (text, emoji) = (Of::Text, Of::Emoji);
        assert_eq!(drawn("Ana 🇩🇪", false), [("Ana ".into(), text, false), ("DE".into(), text, true)]);
        assert_eq!(drawn("👩\u{200d}💻", false), [("👩".into(), emoji, false), ("💻".into(), emoji, true)]);
        assert_eq!(drawn("👍🏽!", false), [("👍".into(), emoji, false), ("!".into(), text, false)]);
    }

    #[test]
    fn a_colour_font_gets_each_sequence_whole() {
        for one in ["👩\u{200d}💻", "🇩🇪", "👍🏽", "❤\u{fe0f}"] {
            assert_eq!(drawn(one, true), [(one.to_owned(), Of::Emoji, false)]);
        }
    }

    #[test]
    fn letters_of_every_script_are_no_emoji() {
        for name in ["王小明", "مريم", "Ana 1#*", "नमस्ते", "한국어", "©"] {
            assert_eq!(drawn(name, true), [(name.to_owned(), Of::Text, false)]);
        }
    }
}
