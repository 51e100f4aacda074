//! Sizes, rates and spans of time as people write and read them.

use std::time::Duration;

pub use crate::text::size;

const KIB: f64 = 1024.0;

/// `85.3 MiB/s`.
pub fn rate(per_second: f64) -> String {
    format!("{}/s", size(per_second.max(0.0) as u64))
}

/// `0:07`, `12:30`, `3:05:00`, `2 days`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match hours {
        0 => format!("{minutes}:{:02}", seconds % 60),
        1..48 => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
        _ => format!("{} days", hours / 24),
    }
}

/// A number of bytes as coreutils read it: `512`, `64K` and `64KiB` (1024), `64KB` (1000), `1.5G`.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no size; write 500K, 2M or 1.5G");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = text[digits..].trim().to_ascii_lowercase();
    let (letter, rest) = match unit.chars().next() {
        None => return finite(number).ok_or_else(wrong),
        Some(letter) => (letter, &unit[letter.len_utf8()..]),
    };
    let base: f64 = match rest {
        "" | "ib" => KIB,
        "b" => 1000.0,
        _ => return Err(wrong()),
    };
    let power = match letter {
        'b' if rest.is_empty() => 0,
        'k' => 1,
        'm' => 2,
        'g' => 3,
        't' => 4,
        _ => return Err(wrong()),
    };
    finite(number * base.powi(power)).ok_or_else(wrong)
}

/// A rate above zero, in bytes per second: a size, with `/s` behind it or without.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    match parse(text.strip_suffix("/s").unwrap_or(text))? {
        0 => Err("a rate is above 0".into()),
        rate => Ok(rate),
    }
}

fn finite(bytes: f64) -> Option<u64> {
    (bytes < 9e15).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_like_a_clock() {
        let texts = [7, 750, 11_100, 200_000].map(|s| span(Duration::from_secs(s)));
        assert_eq!(texts, ["0:07", "12:30", "3:05:00", "2 days"]);
    }

    #[test]
    fn sizes_are_understood_as_coreutils_does() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("64K", 65_536),
            ("64k", 65_536),
            ("64KiB", 65_536),
            ("64kB", 64_000),
            ("1.5G", 1_610_612_736),
            ("2 MB", 2_000_000),
            ("7b", 7),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "-1", "1.2.3", "5Q", "5Kb/s", "1e9", "9999999T", "5Kilo", "٥"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse_rate("10M/s"), Ok(10 << 20));
        assert!(parse_rate("0").is_err());
    }
}
