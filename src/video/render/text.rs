//! Names and notices as alpha bitmaps.
//!
//! Emoji come from the system's colour font, in its colours, where there is one; otherwise they are drawn as letters
//! are, in a form that can be read ([`emoji`]).
//!
//! Latin letters come from fonts inside the program, so that text is there on a machine without any; every other
//! script comes from the system's fonts, which are looked up the first time they are needed. A text may
//! come from a stranger: it is cut to [`LONGEST`] characters with at most [`MARKS`] marks on each
//! before it is shaped, is drawn on one line and ends in an ellipsis where it does not fit. At most
//! [`CACHED`] bitmaps are kept; the one unused for longest makes room.

mod emoji;

use std::collections::HashMap;
use std::sync::Arc;

use cosmic_text::{
    Align, Attrs, Buffer, Ellipsize, EllipsizeHeightLimit, Family, FontSystem, Metrics, Shaping, SwashCache,
    SwashContent, Weight, Wrap, fontdb,
};
use unicode_segmentation::UnicodeSegmentation;

/// The most characters of a text that are drawn.
pub const LONGEST: usize = 160;
/// The most code points that make up one character.
pub const MARKS: usize = 8;
/// The most bitmaps that are kept.
pub const CACHED: usize = 256;
/// Glyph images are dropped all at once when there are more: a room full of scripts is rare.
const GLYPHS: usize = 4096;

/// A text as opacity, one byte a pixel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bitmap {
    /// Pixels in a row; as wide as the text, not as the room for it.
    pub width: usize,
    /// Rows: the height of a line.
    pub height: usize,
    /// 0 nothing, 255 solid.
    pub alpha: Vec<u8>,
    /// The colours of pixels that have one of their own, 0RGB; empty where none has.
    pub colours: Vec<Option<u32>>,
}

/// Which kind of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Face {
    /// For names and sentences.
    Plain,
    /// All letters of one width, for figures that change.
    Fixed,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    text: String,
    face: Face,
    size: usize,
    room: usize,
}

struct Cached {
    bitmap: Arc<Bitmap>,
    used: u64,
}

/// Draws texts and remembers them.
pub struct Typesetter {
    /// Names of the fonts inside the program.
    plain: String,
    fixed: String,
    /// The font of emoji.
    emoji: emoji::Font,
    fonts: FontSystem,
    glyphs: SwashCache,
    has_system_fonts: bool,
    cache: HashMap<Key, Cached>,
    uses: u64,
}

impl std::fmt::Debug for Typesetter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Typesetter({} cached)", self.cache.len())
    }
}

impl Default for Typesetter {
    fn default() -> Self {
        let mut db = fontdb::Database::new();
        db.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
        db.load_font_data(epaint_default_fonts::HACK_REGULAR.to_vec());
        db.load_font_data(epaint_default_fonts::NOTO_EMOJI_REGULAR.to_vec());
        // By the names that the fonts give themselves. Not by "sans serif" either: looking up the system's fonts
        // changes what that is. Under any other name, letters and spaces come from whichever font is next.
        let mut families = db.faces().map(|face| face.families[0].0.clone());
        let mut next = || families.next().unwrap_or_default();
        let (plain, fixed, emoji) = (next(), next(), emoji::Font::inside(next()));
        drop(families);
        Self {
            plain,
            fixed,
            emoji,
            fonts: FontSystem::new_with_locale_and_db("en".into(), db),
            glyphs: SwashCache::new(),
            has_system_fonts: false,
            cache: HashMap::new(),
            uses: 0,
        }
    }
}

impl Typesetter {
    /// The bitmap of `text` in letters of `size` pixels, at most `room` pixels wide.
    pub fn line(&mut self, text: &str, face: Face, size: usize, room: usize) -> Arc<Bitmap> {
        self.uses += 1;
        let key = Key { text: bounded(text), face, size, room };
        if let Some(cached) = self.cache.get_mut(&key) {
            cached.used = self.uses;
            return Arc::clone(&cached.bitmap);
        }
        let bitmap = Arc::new(self.draw(&key));
        self.make_room();
        self.cache.insert(key, Cached { bitmap: Arc::clone(&bitmap), used: self.uses });
        bitmap
    }

    fn make_room(&mut self) {
        if self.cache.len() < CACHED {
            return;
        }
        // A quarter at once, so that a page of ever changing figures does not search on each of them.
        let mut ages: Vec<u64> = self.cache.values().map(|c| c.used).collect();
        ages.sort_unstable();
        let oldest_kept = ages[CACHED / 4];
        self.cache.retain(|_, cached| cached.used >= oldest_kept);
    }

    fn draw(&mut self, key: &Key) -> Bitmap {
        if key.room == 0 || key.size == 0 || key.text.is_empty() {
            return Bitmap::default();
        }
        if !self.has_system_fonts && key.text.chars().any(|c| c > '\u{24f}' && !is_isolate(c)) {
            self.has_system_fonts = true;
            self.fonts.db_mut().load_system_fonts();
            self.emoji.look_up(self.fonts.db());
        }
        if self.glyphs.image_cache.len() > GLYPHS {
            self.glyphs.image_cache.clear();
        }
        let line_height = (key.size as f32 * 1.25).ceil();
        let mut buffer = Buffer::new(&mut self.fonts, Metrics::new(key.size as f32, line_height));
        buffer.set_wrap(Wrap::None);
        buffer.set_ellipsize(Ellipsize::End(EllipsizeHeightLimit::Lines(1)));
        buffer.set_size(Some(key.room as f32), Some(line_height));
        let attrs = match key.face {
            Face::Plain => Attrs::new().family(Family::Name(&self.plain)).weight(Weight::LIGHT),
            Face::Fixed => Attrs::new().family(Family::Name(&self.fixed)),
        };
        let pieces = self.emoji.pieces(&key.text);
        let spans = pieces.iter().map(|piece| {
            let own = match piece.of {
                emoji::Of::Text => attrs.clone(),
                emoji::Of::Emoji => Attrs::new().family(Family::Name(&self.emoji.family)),
            };
            let size = key.size as f32 * piece.scale;
            (piece.text.as_ref(), own.metrics(Metrics::new(size, line_height)))
        });
        buffer.set_rich_text(spans, &attrs, Shaping::Advanced, Some(Align::Left));
        buffer.shape_until_scroll(&mut self.fonts, false);
        self.paint(&buffer, key.room, line_height as usize)
    }

    /// The first line of a shaped text.
    fn paint(&mut self, buffer: &Buffer, room: usize, height: usize) -> Bitmap {
        let Some(run) = buffer.layout_runs().next() else { return Bitmap::default() };
        let left = run.glyphs.iter().map(|g| g.x).fold(f32::MAX, f32::min).clamp(0.0, room as f32);
        let width = (run.line_w.ceil() as usize + 2).min(room);
        let mut bitmap = Bitmap { width, height, alpha: vec![0; width * height], colours: Vec::new() };
        for glyph in run.glyphs {
            let at = glyph.physical((-left, run.line_y), 1.0);
            let Some(image) = self.glyphs.get_image(&mut self.fonts, at.cache_key) else { continue };
            let depth = match image.content {
                SwashContent::Mask => 1,
                SwashContent::SubpixelMask | SwashContent::Color => 4,
            };
            let coloured = image.content == SwashContent::Color;
            if coloured {
                bitmap.colours.resize(width * height, None);
            }
            let (x, y) = (at.x + image.placement.left, at.y - image.placement.top);
            let across = image.placement.width as usize;
            for (index, pixel) in image.data.chunks_exact(depth).enumerate() {
                let (column, row) = (x + (index % across) as i32, y + (index / across) as i32);
                if (0..width as i32).contains(&column) && (0..height as i32).contains(&row) {
                    let at = row as usize * width + column as usize;
                    bitmap.alpha[at] = bitmap.alpha[at].max(pixel[depth - 1]);
                    if coloured && pixel[depth - 1] > 0 {
                        bitmap.colours[at] = Some(u32::from_be_bytes([0, pixel[0], pixel[1], pixel[2]]));
                    }
                }
            }
        }
        bitmap
    }
}

/// What keeps a part of a text to itself and is not seen.
fn is_isolate(c: char) -> bool {
    matches!(c, '\u{2066}'..='\u{2069}')
}

/// As much of a text as is drawn: one line, few characters, few marks on each.
fn bounded(text: &str) -> String {
    let mut out = String::new();
    // A character of which there is only one can be as long as the text; hence the cut before.
    let end = text.char_indices().nth(LONGEST * MARKS).map_or(text.len(), |(at, _)| at);
    for character in text[..end].graphemes(true).take(LONGEST) {
        out.extend(character.chars().filter(|c| !c.is_control()).take(MARKS));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ink(bitmap: &Bitmap) -> usize {
        bitmap.alpha.iter().filter(|a| **a > 100).count()
    }

    #[test]
    fn latin_names_need_no_system_fonts() {
        let mut text = Typesetter::default();
        let bitmap = text.line("Ana Álvarez", Face::Plain, 16, 300);
        assert!(!text.has_system_fonts);
        assert!(bitmap.width > 50 && bitmap.width < 120, "{}", bitmap.width);
        assert!(ink(&bitmap) > 100);
    }

    #[test]
    fn spaces_and_latin_are_those_of_the_font_inside_whatever_stands_beside_them() {
        let mut alone = Typesetter::default();
        let mut width = |words: &str| alone.line(words, Face::Plain, 40, 900).width;
        let space = width("Ana Mo") - width("AnaMo");
        assert!((5..16).contains(&space), "{space}");
        let (name, rest) = (width("Two people "), width(" / file"));
        for script in ["王小明", "مريم", "Ελένη", "👍"] {
            // One that has looked up the system's fonts before it meets a Latin letter.
            let mut text = Typesetter::default();
            text.line(script, Face::Plain, 40, 900);
            let mut width = |words: &str| text.line(words, Face::Plain, 40, 900).width;
            assert!(
                width("Two people ").abs_diff(name) <= 1 && width(" / file").abs_diff(rest) <= 1,
                "{script}"
            );
            let (apart, together) =
                (width(&format!("Two people {script} / file")), width(&format!("Twopeople{script}/file")));
            assert!((apart - together).abs_diff(4 * space) <= 4, "{script}: {apart} {together}");
            let fixed = text.line("12 34", Face::Fixed, 40, 900);
            assert_eq!(fixed, alone_fixed(), "{script}");
        }
    }

    fn alone_fixed() -> Arc<Bitmap> {
        Typesetter::default().line("12 34", Face::Fixed, 40, 900)
    }

    #[test]
    fn a_name_from_right_to_left_stays_before_what_stands_behind_it() {
        let mut text = Typesetter::default();
        let mut line = |words: &str| text.line(words, Face::Plain, 24, 600);
        let (name, both) = (line("مريم"), line("\u{2068}مريم\u{2069} / file"));
        let turned = line("مريم / file");
        assert_ne!(*both, *turned, "alone it would turn the whole line round");
        let left = |bitmap: &Bitmap, width: usize| -> Vec<Vec<u8>> {
            bitmap.alpha.chunks(bitmap.width).map(|row| row[..width].to_vec()).collect()
        };
        let width = name.width - 4;
        assert_eq!(left(&both, width), left(&name, width), "the name comes first");
        assert_eq!(*line("\u{2068}Ana\u{2069}"), *line("Ana"), "isolates are not seen");
    }

    #[test]
    fn what_does_not_fit_ends_in_an_ellipsis() {
        let mut text = Typesetter::default();
        let long = text.line("A very long name that goes on and on", Face::Plain, 16, 100);
        assert!(long.width <= 100 && long.width > 60, "{}", long.width);
        assert_ne!(*long, *text.line("A very long", Face::Plain, 16, 100));
    }

    #[test]
    fn chinese_names_are_not_boxes() {
        let mut text = Typesetter::default();
        let name = text.line("王小明", Face::Plain, 24, 300);
        let cjk = text.fonts.db().faces().any(|f| {
            let name = &f.families[0].0;
            name.contains("CJK") || name.contains("WenQuanYi") || name.contains("Droid Sans Fallback")
        });
        if !cjk {
            eprintln!("skipped: no Chinese font is installed");
            return;
        }
        let boxes = text.line("\u{e123}\u{e124}\u{e125}", Face::Plain, 24, 300);
        assert_ne!(*name, *boxes);
        let third = name.width / 3;
        let column = |from: usize| -> Vec<u8> {
            (0..name.height).flat_map(|y| name.alpha[y * name.width + from..][..third - 2].to_vec()).collect()
        };
        assert_ne!(column(0), column(third), "different characters look different");
        assert!(ink(&name) > 200);
    }

    #[test]
    fn v14_hostile_names_stay_small() {
        let mut text = Typesetter::default();
        let zalgo: String = std::iter::once('a').chain(std::iter::repeat_n('\u{301}', 10_000)).collect();
        let long = "W".repeat(1 << 20);
        for hostile in [
            zalgo.as_str(),
            &long,
            "\u{202e}evil\u{202c}",
            "مرحبا بالعالم",
            "👩‍👩‍👧‍👦🏳️‍🌈",
            "a\nb\u{1b}[2J",
            "",
            "\u{0}",
        ] {
            let bitmap = text.line(hostile, Face::Plain, 16, 200);
            assert!(bitmap.width <= 200 && bitmap.height <= 20, "{hostile:.20}");
            assert_eq!(bitmap.alpha.len(), bitmap.width * bitmap.height);
        }
        assert!(bounded(&long).len() <= LONGEST && bounded(&zalgo).chars().count() <= MARKS);
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut text = Typesetter::default();
        for i in 0..CACHED * 2 {
            text.line(&i.to_string(), Face::Fixed, 12, 100);
            assert!(text.cache.len() <= CACHED);
        }
    }
}
