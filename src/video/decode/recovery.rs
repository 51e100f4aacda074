//! One track's decoding, with everything that can go wrong with it.

use std::time::Duration;

use super::{Decoder, Error, Gate, Verdict};
use crate::h264::{self, StreamInfo};
use crate::media::Picture;
use crate::time::Moment;

/// The wait before a decoder that was lost is started again, doubled each time it is lost anew.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A decoder that has lived this long was not lost because of what it was fed first.
const SETTLED: Duration = Duration::from_secs(10);

/// Why a person sees no picture.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The stream is of a kind that cannot be shown.
    #[error("{0}")]
    Stream(#[from] h264::Refusal),
    /// The size changes several times a second.
    #[error("the stream changes its size too often")]
    Restless,
    /// No decoder could be started.
    #[error("{0}")]
    NoDecoder(String),
}

impl Refused {
    /// Whether nothing that follows can be shown either.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Stream(refusal) if refusal.is_final())
    }
}

/// What became of an access unit.
#[derive(Debug)]
pub enum Outcome {
    /// A picture.
    Picture(Picture),
    /// Nothing to show and nothing wrong.
    Nothing,
    /// Left out, because a keyframe has to come first; one should be asked for.
    AwaitKey,
    /// It was damaged. Nothing is shown until the next keyframe, which should be asked for.
    Damaged,
    /// The decoder was lost with it and will be started again.
    Restarted,
    /// It is of a kind that cannot be shown.
    Refused(Refused),
}

type Start = Box<dyn FnMut() -> Result<Box<dyn Decoder>, Error> + Send>;

/// Decodes a track and gets over every failure. A picture that it gives out comes from an unbroken
/// series of access units since a keyframe.
pub struct Recovery {
    gate: Gate,
    start: Start,
    decoder: Option<Box<dyn Decoder>>,
    started: Moment,
    not_before: Moment,
    wait: Duration,
    restarts: u64,
}

impl std::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recovery({:?}, {} restarts)", self.gate, self.restarts)
    }
}

impl Recovery {
    /// Decodes with what `start` gives, which is called for the first keyframe and after each loss.
    pub fn new(start: impl FnMut() -> Result<Box<dyn Decoder>, Error> + Send + 'static) -> Self {
        Self {
            gate: Gate::default(),
            start: Box::new(start),
            decoder: None,
            started: Moment::default(),
            not_before: Moment::default(),
            wait: FIRST_WAIT,
            restarts: 0,
        }
    }

    /// Decodes `unit` at `now`.
    pub fn take(&mut self, now: Moment, unit: &[u8]) -> Outcome {
        let full_range = match self.gate.judge(now, unit) {
            Verdict::Decode { full_range, .. } => full_range,
            Verdict::Empty => return Outcome::Nothing,
            Verdict::AwaitKey => return Outcome::AwaitKey,
            Verdict::Restless => return Outcome::Refused(Refused::Restless),
            Verdict::Refuse(refusal) => return Outcome::Refused(refusal.into()),
        };
        if self.decoder.is_none() {
            if now < self.not_before {
                self.gate.close();
                return Outcome::AwaitKey;
            }
            match (self.start)() {
                Ok(decoder) => self.decoder = Some(decoder),
                Err(Error::Busy) => {
                    self.gate.close();
                    return Outcome::AwaitKey;
                }
                Err(error) => {
                    self.lose(now);
                    return Outcome::Refused(Refused::NoDecoder(error.to_string()));
                }
            }
            self.started = now;
        }
        let decoder = self.decoder.as_mut().expect("there was one or it was just started");
        match decoder.decode(unit, full_range) {
            Ok(Some(picture)) => Outcome::Picture(picture),
            Ok(None) => Outcome::Nothing,
            Err(Error::Stream(_)) => {
                self.gate.close();
                Outcome::Damaged
            }
            Err(error) => {
                tracing::debug!(%error, "decoder lost");
                self.lose(now);
                Outcome::Restarted
            }
        }
    }

    /// An access unit was lost on the way: nothing is shown until the next keyframe.
    pub fn lost(&mut self) {
        self.gate.close();
    }

    /// The track is not on the screen: its decoder ends, and begins again with a keyframe.
    pub fn rest(&mut self) {
        self.gate.close();
        self.decoder = None;
    }

    /// What the stream says about itself.
    pub fn info(&self) -> Option<StreamInfo> {
        self.gate.info()
    }

    /// How often the decoder was lost.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    fn lose(&mut self, now: Moment) {
        if self.decoder.take().is_some() && now.since(self.started) >= SETTLED {
            self.wait = FIRST_WAIT;
        }
        self.gate.close();
        self.restarts += 1;
        self.not_before = now + self.wait;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }
}

#[cfg(test)]
mod tests;
