//! How far many lines are, said from time to time on stderr: the server takes only so many in a second.

use std::time::Duration;

use crate::time::Moment;

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(10);
/// Fewer messages that wait are there in a moment, and nothing is said of them.
const FEW: u64 = 100;

/// See the module.
#[derive(Debug)]
pub(super) struct Progress {
    quiet: bool,
    posted: u64,
    /// When the last line came, and how many messages had arrived then.
    told: Option<(Moment, u64)>,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, posted: 0, told: None }
    }

    /// A message is on its way.
    pub(super) fn add(&mut self) {
        self.posted += 1;
    }

    /// How long nothing can be due.
    pub(super) fn pause(&self, now: Moment) -> Duration {
        match self.told {
            Some((told, _)) if !self.quiet => (told + PAUSE).since(now).max(Duration::from_millis(1)),
            _ => PAUSE,
        }
    }

    /// The next line, if one is due; `waiting` messages have not arrived, and none follow where it is `over`.
    pub(super) fn poll(&mut self, waiting: u64, over: bool, now: Moment) -> Option<String> {
        if self.quiet || waiting < FEW {
            self.told = None;
            return None;
        }
        let arrived = self.posted.saturating_sub(waiting);
        let Some((told, before)) = self.told else {
            self.told = Some((now, arrived));
            return None;
        };
        let since = now.since(told);
        if since < PAUSE {
            return None;
        }
        self.told = Some((now, arrived));
        let rate = arrived.saturating_sub(before) as f64 / since.as_secs_f64();
        let all =
            if over { format!(" of {}", grouped(self.posted.max(arrived + waiting))) } else { String::new() };
        let left = match (over, rate >= 1.0) {
            (true, true) => format!(", {:.0} s left", (waiting as f64 / rate).ceil()),
            _ => String::new(),
        };
        Some(match rate >= 1.0 {
            true => format!(
                "{}{all} messages accepted; the server takes {rate:.0} a second{left}",
                grouped(arrived)
            ),
            false => format!(
                "{}{all} messages accepted, {} wait for the server",
                grouped(arrived),
                grouped(waiting)
            ),
        })
    }
}

/// `12,345`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_micros(1 + seconds * 1_000_000)
    }

    #[test]
    fn what_takes_long_is_told_every_ten_seconds_and_the_rest_is_not() {
        let mut progress = Progress::new(false);
        (0..100_000).for_each(|_| progress.add());
        assert_eq!(progress.poll(99_800, false, at(0)), None);
        assert_eq!(progress.poll(99_500, false, at(9)), None);
        assert_eq!(
            progress.poll(99_300, false, at(10)).unwrap(),
            "700 messages accepted; the server takes 50 a second"
        );
        assert_eq!(progress.pause(at(14)), Duration::from_secs(6));
        assert_eq!(
            progress.poll(98_800, true, at(20)).unwrap(),
            "1,200 of 100,000 messages accepted; the server takes 50 a second, 1976 s left"
        );
        assert_eq!(
            progress.poll(98_800, true, at(30)).unwrap(),
            "1,200 of 100,000 messages accepted, 98,800 wait for the server"
        );
        assert_eq!(progress.poll(99, true, at(40)), None, "these are there in a moment");
        assert_eq!(Progress::new(true).poll(99_800, false, at(60)), None);
    }
}
