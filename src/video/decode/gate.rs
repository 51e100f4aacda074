//! Which access units a decoder may see. Pure: time is an argument.

use std::time::Duration;

use crate::h264::{self, Refusal, StreamInfo};
use crate::time::Moment;

/// Changes of size or profile in [`WINDOW`]; each makes a decoder allocate anew (FAULTS V03).
const CHANGES: usize = 2;
const WINDOW: Duration = Duration::from_secs(1);

/// What is to be done with an access unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Decode it.
    Decode {
        /// It is a keyframe.
        key: bool,
        /// Its colours use all 8 bits.
        full_range: bool,
    },
    /// Leave it out: a keyframe has to come first.
    AwaitKey,
    /// Leave it out: it holds no picture.
    Empty,
    /// Leave it out: the stream changes its size too often.
    Restless,
    /// Leave it out, and say why to a person.
    Refuse(Refusal),
}

/// Judges the access units of one track in order.
#[derive(Debug, Default)]
pub struct Gate {
    info: Option<StreamInfo>,
    /// A keyframe has been let through and nothing has gone wrong since.
    open: bool,
    changes: Vec<Moment>,
}

impl Gate {
    /// What is to be done with `unit`, which came at `now`.
    pub fn judge(&mut self, now: Moment, unit: &[u8]) -> Verdict {
        let summary = match h264::inspect(unit) {
            Ok(summary) => summary,
            Err(refusal) => {
                self.open = false;
                return Verdict::Refuse(refusal);
            }
        };
        if summary.slices == 0 {
            // Parameter sets that come alone are put in front of the keyframe by who splits the stream.
            return Verdict::Empty;
        }
        if let Some(info) = summary.info
            && self.info != Some(info)
        {
            // A decoder that is given a new sequence in the middle of an old one has been the cause
            // of more than one advisory.
            if !summary.key {
                self.open = false;
                return Verdict::AwaitKey;
            }
            self.changes.retain(|at| now.since(*at) < WINDOW);
            if self.changes.len() >= CHANGES {
                self.open = false;
                return Verdict::Restless;
            }
            self.changes.push(now);
            self.info = Some(info);
        }
        if !self.open && !summary.key {
            return Verdict::AwaitKey;
        }
        self.open = true;
        Verdict::Decode { key: summary.key, full_range: self.info.is_some_and(|i| i.full_range) }
    }

    /// Something was lost or went wrong: nothing passes until the next keyframe.
    pub fn close(&mut self) {
        self.open = false;
    }

    /// What the stream says about itself.
    pub fn info(&self) -> Option<StreamInfo> {
        self.info
    }
}
