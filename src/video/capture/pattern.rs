//! Pictures that need no device: for trying things out and for measuring.

use std::str::FromStr;
use std::sync::Arc;

use super::{Context, Description, Error, Pace, Source, Stop, Target};
use crate::media::{Picture, Quality, Size, clock};
use crate::time::{self, Moment};

/// What a test picture shows. All of them move and carry the time of [`clock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pattern {
    /// A ball over a quiet background.
    #[default]
    Clock,
    /// The eight colour bars, and a line that wanders over them.
    Bars,
    /// Noise: the worst that an encoder can meet.
    Noise,
}

impl FromStr for Pattern {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "clock" => Ok(Self::Clock),
            "bars" => Ok(Self::Bars),
            "noise" => Ok(Self::Noise),
            _ => Err(()),
        }
    }
}

/// Test pictures at a steady pace.
#[derive(Debug)]
pub struct Test {
    pattern: Pattern,
    size: Size,
    fps: f64,
    pace: Pace,
    stop: Arc<Stop>,
    ground: Picture,
    number: u64,
}

const FPS: f64 = 30.0;

impl Test {
    /// Pictures of `pattern`, 640x480 at 30 per second unless something else is wanted.
    pub fn new(pattern: Pattern, context: &Context) -> Self {
        let size = match context.want.size {
            Target::Natural => Size { width: 640, height: 480 },
            Target::Quality(Quality::Hd) => Size { width: 1280, height: 720 },
            Target::Quality(Quality::FullHd) => Size { width: 1920, height: 1080 },
            Target::Quality(quality) => quality.size(Size { width: 640, height: 480 }),
            Target::Exact(size) => size,
        };
        let fps = context.want.fps.unwrap_or(FPS);
        let stop = Arc::clone(&context.stop);
        Self { pattern, size, fps, pace: Pace::new(fps), stop, ground: ground(pattern, size), number: 0 }
    }

    fn draw(&self, captured: Moment, wall_us: u64) -> Picture {
        let mut picture = self.ground.clone();
        picture.captured = captured;
        match self.pattern {
            Pattern::Clock => ball(&mut picture, self.number, self.fps),
            Pattern::Bars => line(&mut picture, self.number),
            Pattern::Noise => noise(&mut picture, self.number),
        }
        clock::burn(&mut picture, wall_us);
        picture
    }
}

impl Source for Test {
    fn next(&mut self) -> Result<Picture, Error> {
        let due = self.pace.next(time::now());
        if !self.stop.wait_until(due) {
            return Err(Error::Ended);
        }
        // The time of the picture is when it is taken: drawing counts as part of the way, as a camera's read-out does.
        let (captured, wall_us) = (time::now(), time::wall());
        let picture = self.draw(captured, wall_us);
        self.number += 1;
        Ok(picture)
    }

    fn describe(&self) -> Description {
        let name = format!("{:?}", self.pattern).to_lowercase();
        Description { label: "test", name, size: self.size, fps: self.fps }
    }
}

/// 75 % bars in BT.601, limited range: white, yellow, cyan, green, magenta, red, blue, black.
const BARS: [(u8, u8, u8); 8] = [
    (180, 128, 128),
    (162, 44, 142),
    (131, 156, 44),
    (112, 72, 58),
    (84, 184, 198),
    (65, 100, 212),
    (35, 212, 114),
    (16, 128, 128),
];

fn ground(pattern: Pattern, size: Size) -> Picture {
    let mut picture = Picture::black(size.width, size.height, Moment::default());
    let (width, height) = (picture.width(), picture.height());
    let (y, u, v) = picture.planes_mut();
    match pattern {
        Pattern::Clock => {
            for (row, line) in y.chunks_exact_mut(width).enumerate() {
                for (column, pixel) in line.iter_mut().enumerate() {
                    *pixel = (40 + 60 * row / height + 30 * column / width) as u8;
                }
            }
            u.fill(144);
            v.fill(112);
        }
        Pattern::Bars => {
            for line in y.chunks_exact_mut(width) {
                line.iter_mut().enumerate().for_each(|(column, pixel)| *pixel = BARS[column * 8 / width].0);
            }
            for (plane, pick) in [(u, 1), (v, 2)] {
                for line in plane.chunks_exact_mut(width / 2) {
                    line.iter_mut().enumerate().for_each(|(column, pixel)| {
                        let bar = BARS[column * 2 * 8 / width];
                        *pixel = if pick == 1 { bar.1 } else { bar.2 };
                    });
                }
            }
        }
        Pattern::Noise => {}
    }
    picture
}

/// A ball that goes back and forth, once in four seconds.
fn ball(picture: &mut Picture, number: u64, fps: f64) {
    let (width, height) = (picture.width(), picture.height());
    let radius = (height / 7).max(4) as f64;
    let angle = number as f64 / fps * std::f64::consts::TAU / 4.0;
    let (x, y) = (
        width as f64 / 2.0 + angle.sin() * (width as f64 / 2.0 - radius - 2.0),
        height as f64 * 0.62 + (angle * 2.0).cos() * height as f64 * 0.18,
    );
    let (luma, u, v) = picture.planes_mut();
    disc(luma, width, height, (x, y, radius), 205);
    disc(u, width / 2, height / 2, (x / 2.0, y / 2.0, radius / 2.0), 60);
    disc(v, width / 2, height / 2, (x / 2.0, y / 2.0, radius / 2.0), 168);
}

fn disc(plane: &mut [u8], width: usize, height: usize, (x, y, radius): (f64, f64, f64), value: u8) {
    let first = (y - radius).max(0.0) as usize;
    for row in first..((y + radius) as usize + 1).min(height) {
        let half = (radius * radius - (row as f64 - y).powi(2)).max(0.0).sqrt();
        let (left, right) = ((x - half).max(0.0) as usize, ((x + half).max(0.0) as usize).min(width));
        plane[row * width..][left.min(right)..right].fill(value);
    }
}

fn line(picture: &mut Picture, number: u64) {
    let width = picture.width();
    let column = (number as usize * 2) % (width - 1);
    for row in picture.planes_mut().0.chunks_exact_mut(width) {
        row[column..column + 2].fill(235);
    }
}

fn noise(picture: &mut Picture, number: u64) {
    // SplitMix64: eight pixels a step, different in every picture.
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (y, u, v) = picture.planes_mut();
    for plane in [y, u, v] {
        for pixels in plane.chunks_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            for (pixel, byte) in pixels.iter_mut().zip(mixed.to_le_bytes()) {
                *pixel = 16 + (u16::from(byte) * 219 / 255) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::capture::Want;

    fn context(size: Target) -> Context {
        Context { stop: Arc::default(), want: Want { size, fps: Some(500.0), pixels: None } }
    }

    #[test]
    fn every_pattern_moves_and_shows_its_time() {
        for pattern in ["clock", "bars", "noise"] {
            let mut source = Test::new(pattern.parse().unwrap(), &context(Target::Quality(Quality::Low)));
            let (first, second) = (source.next().unwrap(), source.next().unwrap());
            assert_eq!((first.width(), first.height()), (452, 340));
            let time = |picture: &Picture| clock::read(picture.y(), 452, 340, 452).unwrap();
            assert!(time(&second) > time(&first), "{pattern}");
            assert!(second.captured > first.captured);
            let below = |picture: &Picture| picture.y()[452 * 100..].to_vec();
            assert!(below(&first) != below(&second), "{pattern} stands still");
        }
    }

    #[test]
    fn any_size_can_be_drawn() {
        for (width, height) in [(16, 16), (16, 2160), (3840, 16), (100, 50), (1920, 1080)] {
            for pattern in [Pattern::Clock, Pattern::Bars, Pattern::Noise] {
                let mut source = Test::new(pattern, &context(Target::Exact(Size { width, height })));
                source.number = 12_345;
                source.next().unwrap();
            }
        }
    }

    #[test]
    fn a_stopped_source_has_ended() {
        let context = context(Target::Natural);
        context.stop.stop();
        assert!(matches!(Test::new(Pattern::Clock, &context).next(), Err(Error::Ended)));
    }
}
