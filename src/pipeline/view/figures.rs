//! What is measured about a track, and how it is said.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::json;

use super::about::About;
use crate::media::Picture;
use crate::time::Moment;

/// Rates are those of the last so many seconds.
const WINDOW: Duration = Duration::from_secs(2);
/// Latencies are those of the last second, which is how often they are reported.
const LATEST: Duration = Duration::from_secs(1);

/// Figures of one track.
#[derive(Debug, Default)]
pub struct Figures {
    /// Access units that came and were not decoded, and those that never came.
    pub drops: u64,
    size: (usize, usize),
    arrivals: VecDeque<(Moment, usize)>,
    shown: VecDeque<Moment>,
    decode: Duration,
    latencies: VecDeque<(Moment, u64)>,
}

impl Figures {
    pub(super) fn came(&mut self, now: Moment, bytes: usize) {
        self.arrivals.push_back((now, bytes));
        while self.arrivals.front().is_some_and(|(at, _)| now.since(*at) > WINDOW) {
            self.arrivals.pop_front();
        }
    }

    pub(super) fn decoded(&mut self, _now: Moment, picture: &Picture, took: Duration) {
        self.size = (picture.width(), picture.height());
        // A mean over the last sixteen, in which one slow picture does not stand for all.
        self.decode = if self.decode.is_zero() { took } else { (self.decode * 15 + took) / 16 };
    }

    /// A picture was handed over to be seen at `now`; `latency` in microseconds since it was captured, where its burnt-in
    /// time could be read.
    pub(super) fn shown(&mut self, now: Moment, latency: Option<u64>) {
        self.shown.push_back(now);
        while self.shown.front().is_some_and(|at| now.since(*at) > WINDOW) {
            self.shown.pop_front();
        }
        if let Some(latency) = latency {
            self.latencies.push_back((now, latency));
            while self.latencies.front().is_some_and(|(at, _)| now.since(*at) > LATEST) {
                self.latencies.pop_front();
            }
        }
    }

    /// Pictures a second that were shown.
    pub fn fps(&self, now: Moment) -> f64 {
        let recent: Vec<Moment> = self.shown.iter().copied().filter(|at| now.since(*at) <= WINDOW).collect();
        match (recent.first(), recent.last()) {
            (Some(first), Some(last)) if last > first => {
                (recent.len() - 1) as f64 / last.since(*first).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    /// Bits a second that came.
    pub fn bitrate(&self, now: Moment) -> u64 {
        let recent = self.arrivals.iter().filter(|(at, _)| now.since(*at) <= WINDOW);
        let bytes: usize = recent.clone().map(|(_, bytes)| bytes).sum();
        let first = recent.map(|(at, _)| *at).next();
        let span = first.map_or(WINDOW, |at| now.since(at)).max(Duration::from_millis(100));
        (bytes as f64 * 8.0 / span.as_secs_f64()) as u64
    }

    /// Median and 99th percentile of the time from capture to the window in the last second, in milliseconds; nothing
    /// where nothing was measured in it.
    pub fn latency(&self, now: Moment) -> Option<(f64, f64)> {
        let recent = self.latencies.iter().filter(|(at, _)| now.since(*at) <= LATEST);
        let mut sorted: Vec<u64> = recent.map(|(_, latency)| *latency).collect();
        sorted.sort_unstable();
        let at = |share: usize| sorted.get((sorted.len() * share / 100).min(sorted.len() - 1));
        if sorted.is_empty() {
            return None;
        }
        Some((*at(50)? as f64 / 1000.0, *at(99)? as f64 / 1000.0))
    }

    /// For the corner of the picture.
    pub(super) fn lines(&self, now: Moment) -> Vec<String> {
        let (width, height) = self.size;
        let mut lines = vec![
            format!("{width}x{height} {:.1}/s", self.fps(now)),
            format!("{} kbit/s", self.bitrate(now) / 1000),
            format!("{} dropped", self.drops),
            format!("decode {:.1} ms", self.decode.as_secs_f64() * 1000.0),
        ];
        if let Some((median, slow)) = self.latency(now) {
            lines.push(format!("latency {median:.0} ms, p99 {slow:.0}"));
        }
        lines
    }

    /// One line for programs. What is not `decoded` has no figures about pictures.
    pub(super) fn json(&self, now: Moment, wall: u64, about: &About, decoded: bool) -> String {
        let seen = |value: f64| decoded.then(|| (value * 10.0).round() / 10.0);
        let (width, height) = self.size;
        let round = |value: f64| (value * 10.0).round() / 10.0;
        json!({
            "type": "track",
            "time": wall as f64 / 1e6,
            "member": about.member,
            "label": about.label,
            "own": about.own,
            "decoded": decoded,
            "width": decoded.then_some(width),
            "height": decoded.then_some(height),
            "fps": seen(self.fps(now)),
            "bitrate_bps": self.bitrate(now),
            "drops": self.drops,
            "decode_ms": seen(self.decode.as_secs_f64() * 1000.0),
            "latency_ms": self.latency(now).filter(|_| decoded).map(|(p50, p99)| json!({"p50": round(p50), "p99": round(p99)})),
        })
        .to_string()
    }

    /// One line for a person.
    pub(super) fn text(&self, now: Moment, about: &About, decoded: bool) -> String {
        if !decoded {
            return format!("{}: not decoded, {} kbit/s", about.title(), self.bitrate(now) / 1000);
        }
        format!("{}: {}", about.title(), self.lines(now).join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_micros(millis * 1000)
    }

    #[test]
    fn a_latency_is_that_of_the_last_second_and_none_without_pictures() {
        let mut figures = Figures::default();
        (0..30).for_each(|i| figures.shown(at(i * 33), Some(2_000_000)));
        assert_eq!(figures.latency(at(1000)), Some((2000.0, 2000.0)));
        (0..30).for_each(|i| figures.shown(at(1100 + i * 33), Some(7_000)));
        assert_eq!(figures.latency(at(2100)), Some((7.0, 7.0)), "what was slow before is over");
        assert_eq!(figures.latency(at(4000)), None, "nothing came since");
        figures.shown(at(4100), None);
        assert_eq!(figures.latency(at(4100)), None, "a replayed picture has none");
    }

    #[test]
    fn what_is_not_decoded_has_no_figures_about_pictures() {
        let mut figures = Figures::default();
        figures.came(at(0), 1000);
        let about = About { member: "Ann".into(), label: "camera".into(), ..About::default() };
        let line = figures.json(at(100), 0, &about, false);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(line["fps"].is_null() && line["width"].is_null() && line["latency_ms"].is_null(), "{line}");
        assert!(line["decoded"] == false && line["bitrate_bps"].as_u64().unwrap() > 0, "{line}");
        assert!(figures.text(at(100), &about, false).starts_with("Ann: not decoded, "));
    }
}
