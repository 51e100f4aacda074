//! A pipe or a file as the source: frames, H.264 in Annex B form, or Y4M, told by the first bytes.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;

use super::{About, Error, Stage, Unit};
use crate::h264::{self, Splitter};
use crate::id::TrackId;
use crate::limits;
use crate::media::{Picture, Range, is_interlaced};
use crate::pipeline::feedback::Feedback;
use crate::time::{self, Moment};
use crate::wire::control::{Source, TrackKind};
use crate::wire::{self, Control, Incoming, Parser, Rendition, Stream, sniff};

/// Bytes of one read.
const READ: usize = 64 * 1024;
/// The number of the one track of a stream that has no numbers.
const SINGLE: u32 = 1;
/// Files without time stamps are played at this speed.
const FPS: f64 = 30.0;
/// A file is never waited on for longer than this between two pictures.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How fast what comes in is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As it comes, smoothed by its time stamps: somebody else keeps the time.
    Live,
    /// By its time stamps: a recording.
    Recorded,
    /// As fast as it can be decoded.
    Fast,
}

/// Reads `input` to its end and puts what it holds on `stage`; runs on the thread that it is called on.
///
/// # Errors
/// With the offset at which the input stops making sense.
pub fn read(input: File, stage: &Stage, pace: Pace) -> Result<(), Error> {
    let mut reader = Reader { input, offset: 0, pace, began: None };
    let mut head = Vec::new();
    let kind = loop {
        if let Some(other) = h264::foreign(&head) {
            return Err(unsupported(other));
        }
        match sniff(&head) {
            Ok(Some(kind)) => break kind,
            Err(error) => return Err(input_error(error, 0)),
            Ok(None) => {}
        }
        if !reader.more(&mut head)? {
            let what = if head.is_empty() { "the input is empty" } else { "the input ends before it begins" };
            return Err(input_error(what, head.len() as u64));
        }
    };
    match kind {
        Stream::Frames => reader.frames(head, stage),
        Stream::AnnexB => reader.annex_b(head, stage),
        Stream::Y4m => reader.y4m(head, stage),
        Stream::Matroska => Err(unsupported("Matroska")),
        Stream::Mp4 => Err(unsupported("MP4")),
    }
}

fn unsupported(kind: &str) -> Error {
    Error::Unsupported(format!(
        "this is {kind}, which conf-view does not read; type: \
         ffmpeg -i FILE -an -c:v libx264 -tune zerolatency -f h264 - | conf-view -"
    ))
}

/// What a publisher says about a track, for the tile.
pub(super) fn about(source: &Source) -> About {
    let size =
        (source.width > 0 && source.height > 0).then_some((source.width as usize, source.height as usize));
    About {
        label: source.label.clone(),
        size,
        fps: (source.fps > 0.0).then_some(source.fps),
        ..About::default()
    }
}

struct Reader {
    input: File,
    offset: u64,
    pace: Pace,
    /// When the first picture was shown, and its time stamp.
    began: Option<(Moment, u64)>,
}

impl Reader {
    /// Reads some more behind `buffer`; `false` at the end.
    fn more(&mut self, buffer: &mut Vec<u8>) -> Result<bool, Error> {
        let start = buffer.len();
        buffer.resize(start + READ, 0);
        let count = loop {
            match self.input.read(&mut buffer[start..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result.map_err(Error::Read)?,
            }
        };
        buffer.truncate(start + count);
        self.offset += count as u64;
        Ok(count > 0)
    }

    fn frames(&mut self, mut bytes: Vec<u8>, stage: &Stage) -> Result<(), Error> {
        let mut parser = Parser::new();
        let mut feedback = None;
        loop {
            parser.push(&bytes);
            loop {
                let offset = parser.offset();
                match parser.poll().map_err(|error| input_error(error, offset))? {
                    Some(Incoming::Frame(frame)) => self.frame(&frame, stage, &mut feedback, offset)?,
                    Some(Incoming::Damaged(header)) => {
                        tracing::warn!(offset, "a frame does not match its checksum and is left out");
                        if let Some(media) = header.media {
                            self.put(media, Bytes::new(), stage);
                        }
                    }
                    None => break,
                }
            }
            if let Some(feedback) = &feedback {
                wish(stage, feedback);
            }
            bytes.clear();
            if !self.more(&mut bytes)? {
                return parser.finish().map_err(|error| input_error(error, parser.offset()));
            }
        }
    }

    fn frame(
        &mut self,
        frame: &wire::Frame,
        stage: &Stage,
        feedback: &mut Option<Feedback>,
        offset: u64,
    ) -> Result<(), Error> {
        match (&frame.header.kind, frame.header.media) {
            (wire::Kind::Control, _) => {
                let operation = frame.operation().map_err(|error| input_error(error, offset))?;
                if let Control::Tracks(tracks) = operation {
                    for track in tracks.tracks.iter().filter(|t| t.source.kind == TrackKind::Video) {
                        stage.add(track.track.0, about(&track.source));
                    }
                    *feedback = tracks.feedback.as_deref().and_then(Feedback::open);
                }
            }
            (wire::Kind::Video, Some(media)) => {
                self.wait(media.pts);
                self.put(media, frame.payload_bytes(), stage);
            }
            _ => {}
        }
        Ok(())
    }

    fn put(&self, media: wire::Media, data: Bytes, stage: &Stage) {
        let unit = Unit { seq: Some(media.seq), pts: Some(media.pts), rendition: media.rendition, data };
        if let Some(track) = stage.track(media.track.0) {
            track.put_waiting(unit, self.pace != Pace::Fast);
        }
    }

    fn annex_b(&mut self, mut bytes: Vec<u8>, stage: &Stage) -> Result<(), Error> {
        stage.add(SINGLE, About { label: "h264".into(), ..About::default() });
        let mut splitter = Splitter::new();
        let mut fps = FPS;
        let mut count = 0u64;
        loop {
            let at_end = bytes.is_empty();
            if at_end {
                splitter.finish();
            } else {
                splitter.push(&bytes);
            }
            loop {
                let unit = match splitter.poll() {
                    Ok(Some(unit)) => unit,
                    Ok(None) => break,
                    Err(error @ h264::Error::NoStartCode(_)) => return Err(input_error(error, self.offset)),
                    Err(error) => {
                        tracing::warn!(offset = self.offset, "left out: {error}");
                        continue;
                    }
                };
                if let Ok(h264::Summary { info: Some(info), .. }) = h264::inspect(&unit.data) {
                    fps = info.fps.filter(|fps| (1.0..=240.0).contains(fps)).unwrap_or(fps);
                }
                let pts = (count as f64 / fps * 1e6) as u64;
                count += 1;
                self.wait(pts);
                let pts = (self.pace == Pace::Recorded).then_some(pts);
                if let Some(track) = stage.track(SINGLE) {
                    let unit = Unit { seq: None, pts, rendition: Rendition::High, data: unit.data };
                    track.put_waiting(unit, self.pace != Pace::Fast);
                }
            }
            if at_end {
                return Ok(());
            }
            bytes.clear();
            self.more(&mut bytes)?;
        }
    }

    fn y4m(&mut self, head: Vec<u8>, stage: &Stage) -> Result<(), Error> {
        let pace = self.pace;
        let mut wait =
            Reader { input: self.input.try_clone().map_err(Error::Read)?, offset: 0, pace, began: None };
        let limit = y4m::Limits { bytes: limits::PICTURE_WIDTH * limits::PICTURE_HEIGHT * 3 / 2 };
        let input = io::Cursor::new(head).chain(&mut self.input);
        let mut decoder = y4m::Decoder::new_with_limits(io::BufReader::with_capacity(READ, input), limit)
            .map_err(|error| input_error(format!("Y4M header: {error:?}"), 0))?;
        let (width, height) = (decoder.get_width(), decoder.get_height());
        let planar = matches!(
            decoder.get_colorspace(),
            y4m::Colorspace::C420
                | y4m::Colorspace::C420jpeg
                | y4m::Colorspace::C420mpeg2
                | y4m::Colorspace::C420paldv
        );
        let fits =
            width <= crate::video::decode::MAX_WIDTH && width * height <= crate::video::decode::MAX_PIXELS;
        if !planar || !fits || width % 2 + height % 2 > 0 {
            let what =
                "only 4:2:0 with 8 bits, even sizes, up to 4096x2304 can be shown (ffmpeg: -pix_fmt yuv420p)";
            return Err(Error::Unsupported(what.into()));
        }
        if is_interlaced(decoder.get_raw_params()) {
            return Err(Error::Unsupported("this Y4M stream is interlaced (ffmpeg: -vf yadif)".into()));
        }
        let rate = decoder.get_framerate();
        let fps = (rate.num as f64 / rate.den.max(1) as f64).clamp(0.1, 1000.0);
        stage.add(
            SINGLE,
            About { label: "y4m".into(), size: Some((width, height)), fps: Some(fps), ..About::default() },
        );
        for count in 0u64.. {
            match decoder.read_frame() {
                Ok(frame) => {
                    wait.wait((count as f64 / fps * 1e6) as u64);
                    let planes = [frame.get_y_plane(), frame.get_u_plane(), frame.get_v_plane()].concat();
                    let picture = Picture::from_i420(width, height, planes, Range::Limited, time::now());
                    if let (Some(track), Some(picture)) = (stage.track(SINGLE), picture) {
                        track.show(picture, stage.bell());
                    }
                }
                Err(y4m::Error::EOF) => return Ok(()),
                Err(error) => {
                    return Err(input_error(format!("Y4M picture {count}: {error:?}"), wait.offset));
                }
            }
        }
        Ok(())
    }

    /// Holds a recording back until the picture with this time stamp is due.
    fn wait(&mut self, pts: u64) {
        if self.pace != Pace::Recorded {
            return;
        }
        let now = time::now();
        let (began, first) = *self.began.get_or_insert((now, pts));
        let due = began + Duration::from_micros(pts.saturating_sub(first));
        if due.since(now) > LONGEST_WAIT {
            self.began = Some((now, pts));
            return;
        }
        let mut left = due.since(now);
        while !left.is_zero() {
            std::thread::park_timeout(left);
            left = due.since(time::now());
        }
    }
}

fn input_error(what: impl ToString, offset: u64) -> Error {
    Error::Input { what: what.to_string(), offset }
}

fn wish(stage: &Stage, feedback: &Feedback) {
    for (id, track) in stage.tracks() {
        if track.take_wish() {
            // A writer that has gone or does not listen sends its next keyframe in its own time.
            feedback.send(&Control::Keyframe { track: TrackId(id), rendition: Rendition::High });
        }
    }
}
