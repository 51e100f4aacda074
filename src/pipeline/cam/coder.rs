//! The encoder, with the bitrate and the keyframes that it is to give.

use std::time::Duration;

use super::Options;
use super::outbox::Outbox;
use super::skips::Skips;
use crate::media::{Picture, Quality, Size};
use crate::time::{self, Moment};
use crate::video::capture::Description;
use crate::video::encode::rate::Rate;
use crate::video::encode::{Config, Encoded, Encoder, Error, OpenH264};

/// Who asks for keyframes gets one at most this often.
const KEY_INTERVAL: Duration = Duration::from_millis(500);

/// The encoder and the bitrate that it is given.
pub(super) struct Coder {
    encoder: OpenH264,
    rate: Rate,
    last_key: Option<Moment>,
    interruptions: u64,
    key_owed: bool,
    skips: Skips,
}

impl Coder {
    pub(super) fn new(options: &Options, description: &Description, size: Size, outbox: &Outbox) -> Self {
        let fps = description.fps.clamp(1.0, 120.0);
        let bitrate = options.bitrate.unwrap_or_else(|| Quality::bitrate(size, fps));
        // Room for one large picture: what is in the pipe is late already.
        outbox.shorten((f64::from(bitrate) / 8.0 / fps * 3.0) as usize);
        let encoder = OpenH264::new(Config { fps, bitrate });
        let rate = Rate::new(bitrate, time::now());
        Self { encoder, rate, last_key: None, interruptions: 0, key_owed: false, skips: Skips::default() }
    }

    /// After a pause the picture before it may have been forgotten.
    pub(super) fn handle_interruptions(&mut self, count: u64) {
        self.key_owed |= count != self.interruptions;
        self.interruptions = count;
    }

    pub(super) fn handle_losses(&mut self, blocked: bool, lost: u64) {
        let now = time::now();
        if blocked && lost > 0 {
            self.rate.handle_drop(now);
        }
        if let Some(bps) = self.rate.poll(now) {
            tracing::debug!(bps, "bitrate");
            self.encoder.set_bitrate(bps);
        }
    }

    pub(super) fn encode(&mut self, picture: &Picture, key_wanted: bool) -> Result<Option<Encoded>, Error> {
        let now = time::now();
        let due = self.last_key.is_none_or(|last| now.since(last) >= KEY_INTERVAL);
        let owed = std::mem::take(&mut self.key_owed);
        let unit = self.encoder.encode(picture, owed || key_wanted && due)?;
        if unit.as_ref().is_some_and(|unit| unit.key) {
            self.last_key = Some(now);
        }
        if let Some(counts) = self.skips.handle(unit.is_none(), now) {
            self.tell_skips(counts);
        }
        Ok(unit)
    }

    /// No more pictures come: a short run may not have been told yet what was left out of it.
    pub(super) fn tell_last_skips(&self) {
        if let Some(counts) = self.skips.rest() {
            self.tell_skips(counts);
        }
    }

    fn tell_skips(&self, (skipped, of): (u32, u32)) {
        tracing::warn!(
            "{skipped} of the last {of} pictures are left out, because they need more than {} kbit/s: \
             a smaller --size or --fps, or a larger --bitrate, keeps them",
            self.rate.current() / 1000
        );
    }
}
