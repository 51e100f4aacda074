//! The time, burnt into a picture where a person and a program can read it.
//!
//! Across the top of the picture lies a code of two rows of 32 cells, white for 1 and black for 0, most significant bit
//! first: 48 bits of wall-clock time in units of 100 microseconds since 1970, then their CRC-16. A cell is a 32nd of the
//! width and a 30th of the height (at least 4 rows), so the code can be read from a scaled picture too. Under it stands
//! the same time in UTC for people, where the picture is large enough.

use super::Picture;

const COLUMNS: usize = 32;
/// A 30th of the height: at 480 rows a cell is as high as a macroblock, which keeps coding noise inside.
const ROWS_PER_HEIGHT: usize = 30;
const MIN_CELL_ROWS: usize = 4;
const WHITE: u8 = 235;
const BLACK: u8 = 16;
/// A cell between these is neither black nor white: then there is no code here.
const DARK: u32 = 100;
const LIGHT: u32 = 150;
/// Microseconds in a unit of the code.
const UNIT: u64 = 100;

/// Writes `wall_us`, microseconds since 1970, into `picture`.
///
/// Needs a picture of at least 128x96; a smaller one is left alone.
pub fn burn(picture: &mut Picture, wall_us: u64) {
    let (width, height) = (picture.width(), picture.height());
    if width < 128 || height < 96 {
        return;
    }
    let rows = cell_rows(height);
    let code = encode(wall_us / UNIT);
    let (y, u, v) = picture.planes_mut();
    for half in 0..2 {
        let (first, others) = y[half * rows * width..(half + 1) * rows * width].split_at_mut(width);
        for cell in 0..COLUMNS {
            let bit = code >> (63 - half * COLUMNS - cell) & 1;
            first[edge(cell, width)..edge(cell + 1, width)].fill(if bit == 1 { WHITE } else { BLACK });
        }
        for row in others.chunks_exact_mut(width) {
            row.copy_from_slice(first);
        }
    }
    // Grey where the code is: colour bleeds into luma when a picture is scaled or converted.
    let chroma = rows * width / 2;
    u[..chroma].fill(128);
    v[..chroma].fill(128);
    write_text(picture, wall_us, 2 * rows);
}

/// The time that [`burn`] wrote into a luma plane, in microseconds since 1970, to 100 microseconds; `None` when there is
/// none that can be trusted.
pub fn read(y: &[u8], width: usize, height: usize, stride: usize) -> Option<u64> {
    let needed = stride.checked_mul(height.checked_sub(1)?)?.checked_add(width)?;
    if width < 64 || height < 48 || stride < width || y.len() < needed {
        return None;
    }
    let rows = cell_rows(height);
    let mut code = 0u64;
    for half in 0..2 {
        for cell in 0..COLUMNS {
            // The middle half of a cell: its edges are blurred by coding and scaling.
            let (left, right) = (edge(cell, width), edge(cell + 1, width));
            let margin = (right - left) / 4;
            let top = half * rows + rows / 4;
            let mut sum = 0;
            let mut count = 0;
            for row in top..top + rows.div_ceil(2) {
                let pixels = &y[row * stride + left + margin..row * stride + right - margin];
                sum += pixels.iter().map(|pixel| u32::from(*pixel)).sum::<u32>();
                count += pixels.len() as u32;
            }
            let mean = sum / count.max(1);
            if (DARK..=LIGHT).contains(&mean) {
                return None;
            }
            code = code << 1 | u64::from(mean > LIGHT);
        }
    }
    decode(code).map(|units| units * UNIT)
}

fn cell_rows(height: usize) -> usize {
    ((height / ROWS_PER_HEIGHT) & !1).max(MIN_CELL_ROWS)
}

fn edge(cell: usize, width: usize) -> usize {
    cell * width / COLUMNS
}

fn encode(units: u64) -> u64 {
    let time = units & 0xffff_ffff_ffff;
    time << 16 | u64::from(crc(time))
}

fn decode(code: u64) -> Option<u64> {
    let time = code >> 16;
    (crc(time) == code as u16).then_some(time)
}

/// CRC-16/CCITT-FALSE over the six bytes of the time; starts from ones, so that a black picture is not a time.
fn crc(time: u64) -> u16 {
    time.to_be_bytes()[2..].iter().fold(0xffff, |crc, byte| {
        (0..8)
            .fold(crc ^ u16::from(*byte) << 8, |crc, _| crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 })
    })
}

/// `HH:MM:SS.mmm` in UTC, white on black, at the left of row `top`.
fn write_text(picture: &mut Picture, wall_us: u64, top: usize) {
    let (width, height) = (picture.width(), picture.height());
    let ms = wall_us / 1000;
    let (s, ms) = (ms / 1000, ms % 1000);
    let text = [s / 3600 % 24 / 10, s / 3600 % 24 % 10, COLON, s / 600 % 6, s / 60 % 10, COLON]
        .into_iter()
        .chain([s / 10 % 6, s % 10, POINT, ms / 100, ms / 10 % 10, ms % 10]);
    let scale = (width / 160).max(1);
    let (box_width, box_height) = ((12 * 6 + 2) * scale, 11 * scale);
    if top + box_height > height {
        return;
    }
    let (y, u, v) = picture.planes_mut();
    for row in top..top + box_height {
        y[row * width..][..box_width].fill(BLACK);
    }
    for row in top / 2..(top + box_height) / 2 {
        u[row * width / 2..][..box_width / 2].fill(128);
        v[row * width / 2..][..box_width / 2].fill(128);
    }
    for (place, glyph) in text.enumerate() {
        let left = (place * 6 + 2) * scale;
        for (row, bits) in GLYPHS[glyph as usize].iter().enumerate() {
            for column in (0..5).filter(|column| bits >> (4 - column) & 1 == 1) {
                for line in 0..scale {
                    let at = (top + (row + 2) * scale + line) * width + left + column * scale;
                    y[at..at + scale].fill(WHITE);
                }
            }
        }
    }
}

const COLON: u64 = 10;
const POINT: u64 = 11;

/// Digits, colon and point, five pixels wide and seven high, a row a number.
const GLYPHS: [[u8; 7]; 12] = [
    [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
    [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
    [0b01110, 0b10001, 0b00001, 0b00010, 0b00100, 0b01000, 0b11111],
    [0b11111, 0b00010, 0b00100, 0b00010, 0b00001, 0b10001, 0b01110],
    [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
    [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
    [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
    [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
    [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
    [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
    [0b00000, 0b00100, 0b00000, 0b00000, 0b00000, 0b00100, 0b00000],
    [0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100],
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Moment;
    use proptest::prelude::*;

    #[test]
    fn pictures_without_a_time_have_none() {
        for luma in [0, 16, 128, 235, 255] {
            let y = vec![luma; 640 * 480];
            assert_eq!(read(&y, 640, 480, 640), None, "{luma}");
        }
        assert_eq!(read(&[], 640, 480, 640), None);
        assert_eq!(read(&[0; 10], 0, 0, 0), None);
        assert_eq!(read(&[0; 10], 64, 48, usize::MAX), None);
    }

    #[test]
    fn one_wrong_bit_is_noticed() {
        for bit in 0..64 {
            assert_eq!(decode(encode(17_634_567_890_123) ^ 1 << bit), None);
        }
    }

    #[test]
    fn small_pictures_are_left_alone() {
        let mut picture = Picture::black(64, 48, Moment::default());
        let before = picture.clone();
        burn(&mut picture, 1);
        assert_eq!(picture, before);
    }

    proptest! {
        #[test]
        fn what_is_burnt_is_read(
            wall in 0u64..4_000_000_000_000_000,
            width in 64usize..1000,
            height in 48usize..600,
        ) {
            let mut picture = Picture::black(width * 2, height * 2, Moment::default());
            burn(&mut picture, wall);
            let found = read(picture.y(), picture.width(), picture.height(), picture.width());
            prop_assert_eq!(found, Some(wall / 100 * 100));
        }

        #[test]
        fn any_bytes_can_be_read(y in proptest::collection::vec(any::<u8>(), 64 * 48..64 * 60)) {
            read(&y, 64, 48, 64);
        }
    }
}
