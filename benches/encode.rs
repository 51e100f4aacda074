//! Pictures per second that one core encodes, and what burning in the time costs: `cargo bench --bench encode`.
#![allow(missing_docs, clippy::print_stdout)]

use std::hint::black_box;

use confkit::media::{Picture, Quality, Size, clock};
use confkit::time::{self, Moment};
use confkit::video::encode::{Config, Encoder, OpenH264};

const PICTURES: u64 = 300;

/// Pictures per second and core that a release build is to encode, where there is a target.
const TARGETS: [(usize, usize, Option<f64>); 4] =
    [(320, 240, None), (640, 480, Some(250.0)), (1280, 720, None), (1920, 1080, None)];
/// What burning in the time may cost at 640x480, in microseconds.
const BURN_TARGET: f64 = 100.0;

fn main() {
    println!("| what             |   measured | target |  ratio | bitrate, kbit/s of asked | skipped |");
    println!("|------------------|-----------:|-------:|-------:|-------------------------:|--------:|");
    for (width, height, target) in TARGETS {
        encode(Size { width, height }, target);
    }
    burn();
}

fn encode(size: Size, target: Option<f64>) {
    let bitrate = Quality::bitrate(size, 30.0);
    let pictures: Vec<Picture> = (0..30).map(|number| scene(size, number)).collect();
    let mut encoder = OpenH264::new(Config { fps: 30.0, bitrate });
    encoder.encode(&pictures[0], false).expect("the encoder starts");
    let start = time::now();
    let (mut bytes, mut skipped) = (0, 0);
    for number in 0..PICTURES {
        let mut picture = pictures[number as usize % pictures.len()].clone();
        picture.captured = Moment::from_micros(number * 33_333);
        match encoder.encode(&picture, false).expect("encodes") {
            Some(unit) => bytes += unit.data.len(),
            None => skipped += 1,
        }
    }
    let seconds = time::now().since(start).as_secs_f64();
    let speed = PICTURES as f64 / seconds;
    let rates = format!(
        "{:.0} of {:.0}",
        bytes as f64 * 8.0 * 30.0 / PICTURES as f64 / 1000.0,
        f64::from(bitrate) / 1000.0
    );
    row(&format!("encode {size}"), speed, "/s", target, &rates, &skipped.to_string());
}

fn row(what: &str, measured: f64, unit: &str, target: Option<f64>, rates: &str, skipped: &str) {
    let measured_text = format!("{measured:.1} {unit}");
    let (goal, ratio) = target.map_or_else(Default::default, |target| {
        (format!("{target:.0}"), format!("{:.2}", measured / target))
    });
    println!("| {what:<16} | {measured_text:>10} | {goal:>6} | {ratio:>6} | {rates:>24} | {skipped:>7} |");
}

/// Something like a person before a wall: a smooth background, sensor noise, a textured shape that moves a little.
fn scene(size: Size, number: usize) -> Picture {
    let mut picture = Picture::black(size.width, size.height, Moment::default());
    let (centre, radius) = (size.width / 2 + (number % 15) * size.width / 300, size.height / 3);
    let mut noise = number as u64 + 1;
    let (y, u, _) = picture.planes_mut();
    for (at, pixel) in y.iter_mut().enumerate() {
        let (x, row) = (at % size.width, at / size.width);
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let inside = x.abs_diff(centre).pow(2) + row.abs_diff(size.height / 2).pow(2) < radius * radius;
        let value =
            if inside { 120 + (x + radius + row - centre) % 64 } else { 60 + (x + row) * 40 / size.width };
        *pixel = (value as u64 + (noise >> 62)) as u8;
    }
    u.fill(110);
    picture
}

fn burn() {
    let mut picture = Picture::black(640, 480, Moment::default());
    let start = time::now();
    for number in 0..10_000 {
        clock::burn(black_box(&mut picture), number * 33_333);
    }
    row("burn 640x480", time::now().since(start).as_secs_f64() * 100.0, "us", Some(BURN_TARGET), "", "");
    let start = time::now();
    for _ in 0..10_000 {
        black_box(clock::read(black_box(picture.y()), 640, 480, 640));
    }
    row("read 640x480", time::now().since(start).as_secs_f64() * 100.0, "us", None, "", "");
}
