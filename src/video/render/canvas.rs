//! The buffer that is painted into: 0RGB pixels, row by row.

use super::layout::Rect;
use super::text::Bitmap;

/// A picture in 0RGB, one `u32` a pixel, top left first. Painting outside of it is clipped.
#[derive(Debug, Clone, Default)]
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u32>,
}

impl Canvas {
    /// Makes it `width` x `height`, all of one colour.
    pub fn reset(&mut self, width: usize, height: usize, colour: u32) {
        self.width = width;
        self.height = height;
        self.pixels.clear();
        self.pixels.resize(width * height, colour);
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All pixels.
    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }

    /// Fills `rect` with one colour.
    pub(super) fn fill(&mut self, rect: Rect, colour: u32) {
        self.rows(rect, |row, _| row.fill(colour));
    }

    /// Mixes `rect` with `colour`; `alpha` 255 leaves nothing of what was there.
    pub(super) fn shade(&mut self, rect: Rect, colour: u32, alpha: u8) {
        self.rows(rect, |row, _| row.iter_mut().for_each(|p| *p = mix(*p, colour, alpha)));
    }

    /// Paints `text` with its top left corner at `x`, `y`, nothing of it outside of `clip`. What has colours of its own
    /// keeps them.
    pub(super) fn write(&mut self, text: &Bitmap, x: usize, y: usize, colour: u32, clip: Rect) {
        let target = Rect::new(x, y, text.width, text.height);
        let right = (clip.x + clip.width).min(x + text.width);
        let bottom = (clip.y + clip.height).min(y + text.height);
        if x < clip.x || y < clip.y || right <= x || bottom <= y {
            return;
        }
        self.rows(Rect { width: right - x, height: bottom - y, ..target }, |row, line| {
            let from = line * text.width;
            for (index, pixel) in row.iter_mut().enumerate() {
                let own = text.colours.get(from + index).copied().flatten();
                *pixel = mix(*pixel, own.unwrap_or(colour), text.alpha[from + index]);
            }
        });
    }

    /// Paints BGRA bytes, `rect.width` pixels a row, over `rect`, which must lie inside.
    pub(super) fn paste(&mut self, rect: Rect, bgra: &[u8]) {
        self.rows(rect, |row, line| {
            let source = &bgra[line * rect.width * 4..][..row.len() * 4];
            for (pixel, bytes) in row.iter_mut().zip(source.as_chunks::<4>().0) {
                *pixel = u32::from_le_bytes(*bytes) & 0x00ff_ffff;
            }
        });
    }

    /// Calls `paint` with each row of `rect` that is inside and its number from the top of `rect`.
    fn rows(&mut self, rect: Rect, mut paint: impl FnMut(&mut [u32], usize)) {
        let right = (rect.x + rect.width).min(self.width);
        let bottom = (rect.y + rect.height).min(self.height);
        if rect.x >= right {
            return;
        }
        for y in rect.y..bottom {
            paint(&mut self.pixels[y * self.width + rect.x..y * self.width + right], y - rect.y);
        }
    }
}

/// `over` laid on `under` with the given opacity.
fn mix(under: u32, over: u32, alpha: u8) -> u32 {
    match alpha {
        0 => under,
        255 => over,
        alpha => {
            let alpha = u32::from(alpha);
            let channel = |shift: u32| {
                let (u, o) = (under >> shift & 0xff, over >> shift & 0xff);
                ((u * (255 - alpha) + o * alpha + 127) / 255) << shift
            };
            channel(16) | channel(8) | channel(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn painting_outside_is_clipped() {
        let mut canvas = Canvas::default();
        canvas.reset(4, 3, 0);
        canvas.fill(Rect::new(3, 2, 100, 100), 0xffffff);
        canvas.fill(Rect::new(50, 50, 1, 1), 0xff0000);
        assert_eq!(canvas.pixels().iter().filter(|p| **p != 0).count(), 1);
        canvas.reset(0, 0, 0);
        canvas.fill(Rect::new(0, 0, 9, 9), 1);
        canvas.shade(Rect::new(0, 0, 9, 9), 1, 9);
    }

    #[test]
    fn mixing_is_exact_at_both_ends() {
        assert_eq!(mix(0x102030, 0xffffff, 0), 0x102030);
        assert_eq!(mix(0x102030, 0xffffff, 255), 0xffffff);
        assert_eq!(mix(0, 0xfe, 128), 0x7f);
    }
}
