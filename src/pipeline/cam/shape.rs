//! How pictures look in the output.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Format;
use crate::id::TrackId;
use crate::media::{Picture, Range, Size};
use crate::time::{self, Moment};
use crate::video::capture::Description;
use crate::video::encode::Encoded;
use crate::wire::control::{PipeTrack, Source, TrackKind, Tracks};
use crate::wire::{Control, Frame, Media, Rendition};

/// Makes the bytes of the output: one item for each picture, and one before it where the stream has to be described,
/// which is at its beginning and where the size changes.
pub(super) struct Shape {
    format: Format,
    feedback: Option<PathBuf>,
    first: Option<Moment>,
    seq: u64,
    /// Size that was told last.
    told: Option<Size>,
}

/// The number of the one track.
const TRACK: TrackId = TrackId(1);

impl Shape {
    pub(super) fn new(format: Format, feedback: Option<&Path>) -> Self {
        Self { format, feedback: feedback.map(Path::to_owned), first: None, seq: 0, told: None }
    }

    /// An access unit that was captured then.
    pub(super) fn unit(
        &mut self,
        description: &Description,
        size: Size,
        unit: &Encoded,
        captured: Moment,
    ) -> Vec<Bytes> {
        if self.format == Format::H264 {
            return vec![unit.data.clone()];
        }
        let mut parts = Vec::new();
        let wall = time::wall();
        // A size changes with a keyframe, but for files that break the rules.
        if self.told.is_none_or(|told| told != size && unit.key) {
            self.told = Some(size);
            parts.push(Frame::control(&self.tracks(description, size), wall).bytes().clone());
        }
        let first = *self.first.get_or_insert(captured);
        let media = Media {
            track: TRACK,
            seq: self.seq,
            pts: captured.since(first).as_micros() as u64,
            key: unit.key,
            rendition: Rendition::High,
            tid: unit.tid,
        };
        self.seq += 1;
        parts.push(Frame::video(media, &unit.data, wall).bytes().clone());
        parts
    }

    /// A raw picture. Y4M has one size: pictures of another are left out.
    pub(super) fn picture(&mut self, description: &Description, picture: &Picture) -> Option<Vec<Bytes>> {
        let size = Size { width: picture.width(), height: picture.height() };
        let mut bytes = Vec::with_capacity(picture.data().len() + 128);
        match self.told {
            None => {
                // Rates such as 29.97 are written in thousandths.
                let rate = (description.fps * 1000.0).round() as u64;
                let range = if picture.range == Range::Full { "FULL" } else { "LIMITED" };
                let header = format!(
                    "YUV4MPEG2 W{} H{} F{rate}:1000 Ip A1:1 C420jpeg XCOLORRANGE={range}\n",
                    size.width, size.height
                );
                bytes.extend_from_slice(header.as_bytes());
                self.told = Some(size);
            }
            Some(told) if told != size => return None,
            Some(_) => {}
        }
        bytes.extend_from_slice(b"FRAME\n");
        bytes.extend_from_slice(picture.data());
        Some(vec![bytes.into()])
    }

    fn tracks(&self, description: &Description, size: Size) -> Control {
        let source = Source {
            kind: TrackKind::Video,
            label: description.label.to_owned(),
            codec: "h264".to_owned(),
            width: size.width as u32,
            height: size.height as u32,
            fps: description.fps,
            muted: false,
        };
        let feedback = self.feedback.as_ref().and_then(|path| path.to_str()).map(str::to_owned);
        Control::Tracks(Tracks { tracks: vec![PipeTrack { track: TRACK, source }], feedback })
    }
}
