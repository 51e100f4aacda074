//! Where the tiles go: pure geometry, no pixels.
//!
//! Any window size is legal, down to 0x0; then rectangles are empty. Rectangles never overlap and
//! never leave the window. At most [`PER_PAGE`] tiles are laid out; the rest is on the next page.

/// The most tiles that are drawn at once; more are paged (FAULTS V18).
pub const PER_PAGE: usize = 49;

/// The gap between tiles and around them, in pixels.
const GAP: usize = 6;

/// Below this height a tile has no label of its own: the name would take more than the picture.
const LABEL_FROM: usize = 60;

/// The part of a focused window that the strip of small tiles takes.
const STRIP_SHARE: usize = 5;

/// A rectangle in pixels. Empty when its width or height is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Rect {
    /// Pixels from the left edge.
    pub x: usize,
    /// Pixels from the top edge.
    pub y: usize,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
}

impl Rect {
    /// A rectangle at `x`, `y`.
    pub const fn new(x: usize, y: usize, width: usize, height: usize) -> Self {
        Self { x, y, width, height }
    }

    /// Whether it holds no pixel.
    pub const fn is_empty(&self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// Whether the pixel at `x`, `y` is inside.
    pub const fn contains(&self, x: usize, y: usize) -> bool {
        x >= self.x && y >= self.y && x < self.x + self.width && y < self.y + self.height
    }

    /// Whether the two share a pixel.
    pub const fn overlaps(&self, other: &Self) -> bool {
        !self.is_empty()
            && !other.is_empty()
            && self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }

    /// The largest rectangle of `aspect` (width over height) in the middle of this one.
    pub fn fit(&self, aspect: f32) -> Self {
        if self.is_empty() {
            return Self { width: 0, height: 0, ..*self };
        }
        let aspect = sane(aspect);
        let by_width = (self.width as f32 / aspect).round() as usize;
        let (width, height) = if by_width <= self.height {
            (self.width, by_width)
        } else {
            (((self.height as f32 * aspect).round() as usize).min(self.width), self.height)
        };
        Self { x: self.x + (self.width - width) / 2, y: self.y + (self.height - height) / 2, width, height }
    }
}

/// What the tiles share the window by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// All of a size.
    #[default]
    Grid,
    /// The tile with this index large, the others in a strip.
    Focus(usize),
}

/// One tile: the picture and the line with the name under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slot {
    /// What the tile may paint; picture and label are inside.
    pub tile: Rect,
    /// Where the picture goes, with its own aspect ratio.
    pub picture: Rect,
    /// Where the name goes; empty when the tile is too small for one.
    pub label: Rect,
}

/// Places one tile for each of `aspects` (width over height of its picture) in a window.
pub fn place(width: usize, height: usize, aspects: &[f32], mode: Mode) -> Vec<Slot> {
    let aspects = &aspects[..aspects.len().min(PER_PAGE)];
    let window = Rect::new(0, 0, width, height);
    match mode {
        Mode::Focus(index) if index < aspects.len() && aspects.len() > 1 => {
            focus(window, aspects, index, width.min(height))
        }
        _ => grid(window, aspects, width.min(height)),
    }
}

/// How tall the line with the name is under a tile of this height, in a window whose shorter side is `window`: on a
/// screen with four times the pixels, letters have to have as many more to be read.
pub fn label_height(tile_height: usize, window: usize) -> usize {
    let by_tile = match tile_height {
        0..LABEL_FROM => return 0,
        60..=119 => 16,
        120..=239 => 20,
        240..=479 => 24,
        _ => (tile_height / 30).max(28),
    };
    by_tile.max((window / 45).min(tile_height / 5))
}

/// The number of columns and rows that leaves the pictures most room is chosen.
fn grid(area: Rect, aspects: &[f32], window: usize) -> Vec<Slot> {
    let count = aspects.len();
    let best = (1..=count).max_by_key(|&columns| {
        let rows = count.div_ceil(columns);
        let tile = Rect::new(0, 0, share(area.width, columns), share(area.height, rows));
        let shown: u64 = aspects.iter().map(|&aspect| pixels(slot(tile, aspect, window).picture)).sum();
        // Of those that show the same, the one with the fewest places left empty.
        (shown, std::cmp::Reverse(columns * rows - count))
    });
    let Some(columns) = best else { return Vec::new() };
    let rows = count.div_ceil(columns);
    let (width, height) = (share(area.width, columns), share(area.height, rows));
    let mut slots = Vec::with_capacity(count);
    for (index, &aspect) in aspects.iter().enumerate() {
        let (row, column) = (index / columns, index % columns);
        let in_row = columns.min(count - row * columns);
        // A last row that is not full stands in the middle.
        let indent = (columns - in_row) * (width + GAP) / 2;
        let x = area.x + GAP + indent + column * (width + GAP);
        let y = area.y + GAP + row * (height + GAP);
        slots.push(slot(clip(Rect::new(x, y, width, height), area), aspect, window));
    }
    slots
}

/// One large tile and the others in a strip: below it, or beside it where the window is wide.
fn focus(area: Rect, aspects: &[f32], index: usize, window: usize) -> Vec<Slot> {
    let wide = area.width as f32 > area.height as f32 * sane(aspects[index]) * 1.15;
    let (main, strip) = if wide {
        let strip = area.width / STRIP_SHARE;
        (
            Rect { width: area.width - strip, ..area },
            Rect { x: area.x + area.width - strip, width: strip, ..area },
        )
    } else {
        let strip = area.height / STRIP_SHARE;
        (
            Rect { height: area.height - strip, ..area },
            Rect { y: area.y + area.height - strip, height: strip, ..area },
        )
    };
    let others: Vec<f32> = aspects.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, a)| *a).collect();
    let mut slots = grid(strip, &others, window);
    let large = grid(main, &aspects[index..=index], window);
    slots.splice(index..index, large);
    slots
}

/// A tile divided into picture and name.
fn slot(tile: Rect, aspect: f32, window: usize) -> Slot {
    let label = label_height(tile.height, window);
    let picture = Rect { height: tile.height - label, ..tile }.fit(aspect);
    let under = Rect { x: picture.x, y: picture.y + picture.height, width: picture.width, height: label };
    Slot { tile, picture, label: under }
}

/// The length of one of `count` equal parts of `length` with gaps around them.
fn share(length: usize, count: usize) -> usize {
    length.saturating_sub(GAP * (count + 1)) / count
}

fn clip(rect: Rect, area: Rect) -> Rect {
    let (right, bottom) = (area.x + area.width, area.y + area.height);
    let (x, y) = (rect.x.min(right), rect.y.min(bottom));
    Rect { x, y, width: rect.width.min(right - x), height: rect.height.min(bottom - y) }
}

fn pixels(rect: Rect) -> u64 {
    rect.width as u64 * rect.height as u64
}

/// An aspect ratio that can be calculated with: a hostile stream may be 4096x2.
fn sane(aspect: f32) -> f32 {
    if aspect.is_finite() { aspect.clamp(0.1, 10.0) } else { 16.0 / 9.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(width: usize, height: usize, slots: &[Slot]) {
        for (i, slot) in slots.iter().enumerate() {
            assert!(slot.tile.x + slot.tile.width <= width, "{slot:?} leaves {width}x{height}");
            assert!(slot.tile.y + slot.tile.height <= height, "{slot:?} leaves {width}x{height}");
            for inner in [slot.picture, slot.label] {
                assert!(inner.x >= slot.tile.x && inner.x + inner.width <= slot.tile.x + slot.tile.width);
                assert!(inner.y >= slot.tile.y && inner.y + inner.height <= slot.tile.y + slot.tile.height);
            }
            assert!(!slot.picture.overlaps(&slot.label));
            for other in &slots[i + 1..] {
                assert!(!slot.tile.overlaps(&other.tile), "{slot:?} overlaps {other:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn tiles_stay_inside_and_apart(
            width in 0usize..3841,
            height in 0usize..2161,
            aspects in prop::collection::vec(prop_oneof![Just(4.0 / 3.0), Just(16.0 / 9.0), 0.0f32..20.0], 0..60),
            focus in prop::option::of(0usize..60),
        ) {
            let mode = focus.map_or(Mode::Grid, Mode::Focus);
            let slots = place(width, height, &aspects, mode);
            prop_assert_eq!(slots.len(), aspects.len().min(PER_PAGE));
            check(width, height, &slots);
        }

        #[test]
        fn pictures_keep_their_aspect_ratio(
            width in 320usize..3841, height in 240usize..2161, count in 1usize..=9, wide in any::<bool>(),
        ) {
            let aspect = if wide { 16.0 / 9.0 } else { 4.0 / 3.0 };
            for slot in place(width, height, &vec![aspect; count], Mode::Grid) {
                let Rect { width: w, height: h, .. } = slot.picture;
                prop_assert!(w > 0 && h > 0);
                prop_assert!((w as f32 - h as f32 * aspect).abs() <= aspect + 0.5, "{}x{} for {}", w, h, aspect);
            }
        }
    }

    #[test]
    fn v12_windows_without_room_are_not_an_error() {
        for (width, height) in [(0, 0), (1, 1), (0, 500), (500, 0), (5, 5), (13, 13)] {
            for count in 0..=PER_PAGE {
                check(width, height, &place(width, height, &vec![4.0 / 3.0; count], Mode::Grid));
                check(width, height, &place(width, height, &vec![4.0 / 3.0; count], Mode::Focus(count / 2)));
            }
        }
    }

    #[test]
    fn nine_of_a_kind_stand_three_by_three() {
        let slots = place(1280, 720, &[4.0 / 3.0; 9], Mode::Grid);
        let columns: std::collections::BTreeSet<_> = slots.iter().map(|s| s.tile.x).collect();
        let rows: std::collections::BTreeSet<_> = slots.iter().map(|s| s.tile.y).collect();
        assert_eq!((columns.len(), rows.len()), (3, 3));
    }

    #[test]
    fn two_stand_side_by_side_in_a_wide_window_and_above_each_other_in_a_tall_one() {
        let wide = place(1280, 480, &[4.0 / 3.0; 2], Mode::Grid);
        assert_eq!(wide[0].tile.y, wide[1].tile.y);
        let tall = place(480, 1280, &[4.0 / 3.0; 2], Mode::Grid);
        assert_eq!(tall[0].tile.x, tall[1].tile.x);
    }

    #[test]
    fn v18_more_than_a_page_is_paged() {
        assert_eq!(place(1280, 720, &[1.5; 50], Mode::Grid).len(), PER_PAGE);
    }

    #[test]
    fn names_grow_with_the_window() {
        let label = |width, height, count: usize| {
            place(width, height, &vec![16.0 / 9.0; count], Mode::Grid)[0].label.height
        };
        assert!(label(3840, 2160, 1) >= 60, "{}", label(3840, 2160, 1));
        assert!(label(3840, 2160, 9) >= 40, "{}", label(3840, 2160, 9));
        assert!(label(3840, 2160, 49) >= 40, "{}", label(3840, 2160, 49));
        assert_eq!((label(960, 600, 1), label(320, 240, 1)), (28, 20));
    }

    #[test]
    fn the_focused_tile_is_the_largest() {
        for (width, height) in [(1280, 720), (720, 1280), (320, 240), (3840, 2160)] {
            let slots = place(width, height, &[4.0 / 3.0; 5], Mode::Focus(2));
            let area = |s: &Slot| pixels(s.picture);
            assert!((0..5).filter(|i| *i != 2).all(|i| area(&slots[i]) * 4 < area(&slots[2])));
        }
    }
}
