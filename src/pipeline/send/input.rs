//! What comes in through a pipe, as tracks and frames.

use std::collections::HashMap;
use std::io::{self, Cursor, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Error;
use super::pace::Stamps;
use crate::h264::{self, AccessUnit, Refusal, Splitter, StreamInfo};
use crate::id::TrackId;
use crate::media::{self, ParseSizeError, Picture, Range, Size};
use crate::video::capture::Target;
use crate::video::encode::{self, Encoder, OpenH264};
use crate::wire::control::{PipeTrack, Source, TrackKind, Tracks};
use crate::wire::{Control, Frame, Header, Incoming, Kind, Media, Parser, Rendition, Stream, sniff};
use crate::{limits, time};

/// The one track of a stream that describes none.
const TRACK: TrackId = TrackId(1);
/// Bits per pixel with which raw pictures are encoded.
const BITS_PER_PIXEL: f64 = 0.1;
const BITRATES: (f64, f64) = (200_000.0, 8_000_000.0);

/// A part of the stream.
#[derive(Debug)]
pub(super) enum Item {
    /// What follows; stands first, and again where recordings were put one after the other.
    Tracks(Tracks),
    /// The tracks go on, but not as they were described: with another size, say.
    Changed(Tracks),
    /// A media frame of one of these tracks.
    Frame(Frame),
    /// A media frame was damaged and is left out.
    Lost(Media),
}

/// How to read the stream.
pub(super) struct Reading {
    /// What it is; by its first bytes if that is not said.
    pub(super) format: Option<Stream>,
    /// Pictures per second of raw H.264.
    pub(super) fps: Option<f64>,
    /// It comes from a file.
    pub(super) file: bool,
    /// Gets everything as it was read.
    pub(super) pass: Option<Box<dyn Write + Send>>,
    /// The encoder of raw pictures is to make the next one a keyframe.
    pub(super) key: Arc<AtomicBool>,
}

/// Reads `input` to its end. `emit` takes each part and says whether to go on.
pub(super) fn read(
    input: impl Read,
    mut reading: Reading,
    emit: &mut dyn FnMut(Item) -> bool,
) -> Result<(), Error> {
    let mut input = Tee { inner: input, pass: reading.pass.take() };
    let mut head = Vec::new();
    let found = loop {
        if let Some(other) = h264::foreign(&head) {
            return Err(Error::Container(other));
        }
        match sniff(&head) {
            Ok(Some(kind)) => break kind,
            Ok(None) => {}
            // It may have been cut anywhere: what stands before its first start code is passed over.
            Err(_) if reading.format == Some(Stream::AnnexB) => break Stream::AnnexB,
            Err(unknown) => return Err(Error::Unknown(unknown)),
        }
        let mut byte = [0];
        match input.read(&mut byte)? {
            0 if head.is_empty() => return Err(Error::Empty),
            0 => return Err(Error::Unknown(crate::wire::UnknownStream)),
            _ => head.push(byte[0]),
        }
    };
    if reading.format.is_some_and(|wanted| wanted != found) {
        return Err(Error::Format(name(found)));
    }
    let input = Cursor::new(head).chain(input);
    match found {
        Stream::Frames => frames(input, emit),
        Stream::AnnexB => units(input, &reading, emit),
        Stream::Y4m => pictures(input, &reading, emit),
        Stream::Matroska | Stream::Mp4 => Err(Error::Container(name(found))),
    }
}

fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Frames => "conf",
        Stream::AnnexB => "h264",
        Stream::Y4m => "y4m",
        Stream::Matroska => "Matroska",
        Stream::Mp4 => "MP4",
    }
}

fn frames(mut input: impl Read, emit: &mut dyn FnMut(Item) -> bool) -> Result<(), Error> {
    let mut parser = Parser::new();
    let mut buffer = vec![0; limits::READ];
    let mut described = false;
    // A later description goes on with the stream or begins another one: the number of the next picture tells which.
    let (mut later, mut last): (Option<Tracks>, HashMap<(TrackId, Rendition), u64>) = Default::default();
    loop {
        let count = input.read(&mut buffer)?;
        if count == 0 {
            return Ok(parser.finish()?);
        }
        parser.push(&buffer[..count]);
        while let Some(incoming) = parser.poll()? {
            let item = match incoming {
                Incoming::Damaged(header) => {
                    tracing::warn!(
                        kind = header.kind.as_str(),
                        "a frame of the stream is damaged and left out"
                    );
                    match header.media {
                        Some(media) => Item::Lost(media),
                        None => continue,
                    }
                }
                Incoming::Frame(frame) if frame.header.kind == Kind::Control => match frame.operation()? {
                    Control::Tracks(tracks) if tracks.tracks.len() > limits::TRACKS => {
                        return Err(Error::TooManyTracks(tracks.tracks.len()));
                    }
                    Control::Tracks(tracks) if described => {
                        later = Some(tracks);
                        continue;
                    }
                    Control::Tracks(tracks) => Item::Tracks(tracks),
                    _ => continue,
                },
                Incoming::Frame(frame) if frame.header.media.is_some() => Item::Frame(frame),
                Incoming::Frame(_) => continue,
            };
            described |= matches!(item, Item::Tracks(_));
            if !described {
                return Err(Error::NoTracks);
            }
            if let Item::Frame(Frame { header: Header { media: Some(media), .. }, .. }) = &item {
                let before = last.insert((media.track, media.rendition), media.seq);
                let goes_on = before.is_some_and(|before| media.seq == before.wrapping_add(1));
                let tracks = later.take();
                let changed = tracks.map(if goes_on { Item::Changed } else { Item::Tracks });
                if changed.is_some_and(|changed| !emit(changed)) {
                    return Ok(());
                }
            }
            if !emit(item) {
                return Ok(());
            }
        }
    }
}

fn units(mut input: impl Read, reading: &Reading, emit: &mut dyn FnMut(Item) -> bool) -> Result<(), Error> {
    let mut splitter = Splitter::new();
    let mut writer = Writer::default();
    let mut stamps = None;
    let mut buffer = vec![0; limits::READ];
    loop {
        let count = input.read(&mut buffer)?;
        match count {
            0 => splitter.finish(),
            _ => splitter.push(&buffer[..count]),
        }
        loop {
            let unit = match splitter.poll() {
                Ok(Some(unit)) => unit,
                Ok(None) => break,
                Err(error @ h264::Error::NoStartCode(_)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!("{error}; going on at the next keyframe");
                    continue;
                }
            };
            let Some(info) = judged(&unit)? else {
                writer.waits = true;
                continue;
            };
            let stamps = match (&mut stamps, info) {
                (Some(stamps), _) => stamps,
                (None, None) => continue,
                (None, Some(info)) => {
                    let fps = reading.fps.or(info.fps);
                    if !emit(described(info.width, info.height, fps)) {
                        return Ok(());
                    }
                    stamps.insert(Stamps::new(fps, reading.file))
                }
            };
            let stamp = stamps.stamp(time::now());
            if !writer.write(&unit.data, (unit.key, unit.tid), stamp, emit) {
                return Ok(());
            }
        }
        if count == 0 {
            return if stamps.is_some() { Ok(()) } else { Err(Error::NoPicture) };
        }
    }
}

/// What the unit says about the stream; nothing where it is damaged.
#[expect(clippy::option_option, reason = "a unit may be whole and say nothing")]
fn judged(unit: &AccessUnit) -> Result<Option<Option<StreamInfo>>, Error> {
    match h264::inspect(&unit.data) {
        Ok(summary) => Ok(Some(summary.info)),
        Err(refusal @ Refusal::Damaged(_)) => {
            tracing::warn!("{refusal}; going on at the next keyframe");
            Ok(None)
        }
        Err(refusal) => Err(refusal.into()),
    }
}

fn pictures(input: impl Read, reading: &Reading, emit: &mut dyn FnMut(Item) -> bool) -> Result<(), Error> {
    let bad = |error: y4m::Error| Error::Damaged(format!("{error}"));
    let limit = y4m::Limits { bytes: limits::PICTURE_WIDTH * limits::PICTURE_HEIGHT * 3 / 2 };
    let mut decoder = y4m::Decoder::new_with_limits(input, limit).map_err(bad)?;
    let (width, height) = (decoder.get_width(), decoder.get_height());
    let space = decoder.get_colorspace();
    let planar = matches!(
        space,
        y4m::Colorspace::C420
            | y4m::Colorspace::C420jpeg
            | y4m::Colorspace::C420mpeg2
            | y4m::Colorspace::C420paldv
    );
    if !planar {
        return Err(Error::Y4m("it is not 4:2:0 with 8 bits (ffmpeg: -pix_fmt yuv420p)".into()));
    }
    if media::is_interlaced(decoder.get_raw_params()) {
        return Err(Error::Y4m("it is interlaced (ffmpeg: -vf yadif)".into()));
    }
    match Size::new(width, height) {
        Ok(_) => {}
        Err(ParseSizeError::Odd(even)) => {
            return Err(Error::Y4m(format!(
                "width and height must be even (ffmpeg: -vf scale={})",
                ffmpeg(even)
            )));
        }
        Err(error) => {
            let fitting = Target::Natural.of(Size { width, height });
            return Err(Error::Y4m(format!(
                "pictures of {width}x{height}: {error} (ffmpeg: -vf scale={})",
                ffmpeg(fitting)
            )));
        }
    }
    let rate = decoder.get_framerate();
    let fps = reading.fps.unwrap_or(rate.num as f64 / (rate.den as f64).max(1.0)).clamp(1.0, 120.0);
    if !emit(described(width, height, Some(fps))) {
        return Ok(());
    }
    let bitrate = (width as f64 * height as f64 * fps * BITS_PER_PIXEL).clamp(BITRATES.0, BITRATES.1) as u32;
    let mut encoder = OpenH264::new(encode::Config { fps, bitrate });
    let mut stamps = Stamps::new(Some(fps), reading.file);
    let mut writer = Writer::default();
    loop {
        let frame = match decoder.read_frame() {
            Ok(frame) => frame,
            // The end inside a picture as well: raw streams have no other.
            Err(y4m::Error::EOF) => return Ok(()),
            Err(error) => return Err(bad(error)),
        };
        let mut data = frame.get_y_plane().to_vec();
        data.extend_from_slice(frame.get_u_plane());
        data.extend_from_slice(frame.get_v_plane());
        let now = time::now();
        let picture = Picture::from_i420(width, height, data, Range::Limited, now)
            .ok_or_else(|| Error::Y4m("a picture has another size than the first".into()))?;
        let stamp = stamps.stamp(now);
        let key = reading.key.swap(false, Ordering::Relaxed);
        let Some(unit) = encoder.encode(&picture, key)? else { continue };
        if !writer.write(&unit.data, (unit.key, unit.tid), stamp, emit) {
            return Ok(());
        }
    }
}

/// A size as ffmpeg's scale filter takes it.
fn ffmpeg(size: Size) -> String {
    format!("{}:{}", size.width, size.height)
}

fn described(width: usize, height: usize, fps: Option<f64>) -> Item {
    let source = Source {
        kind: TrackKind::Video,
        label: "stream".into(),
        codec: "h264".into(),
        width: width as u32,
        height: height as u32,
        fps: fps.unwrap_or(0.0),
        muted: false,
    };
    Item::Tracks(Tracks { tracks: vec![PipeTrack { track: TRACK, source }], feedback: None })
}

/// Puts access units into frames, beginning with a keyframe.
struct Writer {
    seq: u64,
    waits: bool,
}

impl Default for Writer {
    fn default() -> Self {
        Self { seq: 0, waits: true }
    }
}

impl Writer {
    fn write(
        &mut self,
        unit: &[u8],
        (key, tid): (bool, u8),
        pts: u64,
        emit: &mut dyn FnMut(Item) -> bool,
    ) -> bool {
        self.waits &= !key;
        if self.waits {
            return true;
        }
        let media = Media { track: TRACK, seq: self.seq, pts, key, rendition: Rendition::High, tid };
        self.seq += 1;
        emit(Item::Frame(Frame::video(media, unit, time::wall())))
    }
}

/// A reader that hands on what it reads.
struct Tee<R> {
    inner: R,
    pass: Option<Box<dyn Write + Send>>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if let Some(pass) = &mut self.pass {
            pass.write_all(&buffer[..count])?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        Reading { format: None, fps: None, file: true, pass: None, key: Arc::default() }
    }

    fn read_all(bytes: &[u8]) -> (Vec<Item>, Result<(), Error>) {
        let mut items = Vec::new();
        let result = read(bytes, reading(), &mut |item| {
            items.push(item);
            true
        });
        (items, result)
    }

    fn take() -> Vec<u8> {
        let Item::Tracks(tracks) = described(640, 480, Some(30.0)) else { panic!() };
        let mut bytes = Frame::control(&Control::Tracks(tracks), 0).bytes().to_vec();
        let mut writer = Writer::default();
        for n in 0..5 {
            writer.write(&[7; 300], (n == 0, 0), n * 33_333, &mut |item| {
                let Item::Frame(frame) = item else { panic!() };
                bytes.extend_from_slice(frame.bytes());
                true
            });
        }
        bytes
    }

    fn y4m(pictures: usize) -> Vec<u8> {
        let mut bytes = b"YUV4MPEG2 W32 H32 F25:1 Ip A1:1 C420\n".to_vec();
        for n in 0..pictures {
            bytes.extend_from_slice(b"FRAME\n");
            bytes.extend(std::iter::repeat_n((n * 20) as u8, 32 * 32 * 3 / 2));
        }
        bytes
    }

    #[test]
    fn f36_a_framed_stream_that_ends_inside_a_frame_gives_all_before_it_and_an_error() {
        let whole = take();
        let (items, result) = read_all(&whole);
        assert_eq!(items.len(), 6);
        result.unwrap();
        for cut in [1, 50, 299] {
            let (items, result) = read_all(&whole[..whole.len() - cut]);
            assert_eq!(items.len(), 5);
            assert!(matches!(result, Err(Error::Frames(crate::wire::Error::Truncated(_)))));
        }
    }

    #[test]
    fn pictures_that_no_encoder_takes_are_refused_with_what_ffmpeg_needs() {
        for (size, needed) in
            [("W4096 H2304", "scale=3840:2160"), ("W5000 H100", "scale=3840:"), ("W63 H32", "scale=62:32")]
        {
            let (_, result) = read_all(format!("YUV4MPEG2 {size} F25:1 Ip A1:1 C420\n").as_bytes());
            let said = result.unwrap_err().to_string();
            assert!(said.contains(needed), "{said}");
        }
    }

    #[test]
    fn a_damaged_picture_is_told() {
        let mut damaged = take();
        *damaged.last_mut().unwrap() ^= 1;
        let (items, result) = read_all(&damaged);
        result.unwrap();
        assert!(matches!(items.last(), Some(Item::Lost(media)) if media.seq == 4));
    }

    #[test]
    fn f36_a_raw_stream_that_ends_inside_a_picture_is_no_error() {
        let whole = y4m(5);
        let (items, result) = read_all(&whole[..whole.len() - 7]);
        result.unwrap();
        assert!(matches!(&items[0], Item::Tracks(t) if t.tracks[0].source.width == 32));
        assert!(matches!(&items[1], Item::Frame(f) if f.header.media.unwrap().key));
        assert!(items.len() <= 5);
    }

    #[test]
    fn raw_h264_becomes_frames_with_nominal_times() {
        let mut encoder = OpenH264::new(encode::Config { fps: 25.0, bitrate: 300_000 });
        let mut stream = Vec::new();
        for n in 0..6 {
            let picture = Picture::black(64, 64, time::now());
            stream.extend_from_slice(&encoder.encode(&picture, n == 3).unwrap().unwrap().data);
        }
        let (items, result) = read_all(&stream);
        result.unwrap();
        let media: Vec<Media> =
            items.iter().filter_map(|i| if let Item::Frame(f) = i { f.header.media } else { None }).collect();
        assert_eq!(media.len(), 6);
        assert_eq!(media.iter().map(|m| m.key).collect::<Vec<_>>(), [true, false, false, true, false, false]);
        assert!(media.windows(2).all(|m| m[1].seq == m[0].seq + 1 && m[1].pts > m[0].pts));
    }

    #[test]
    fn c04_a_description_in_the_middle_changes_the_tracks_and_one_at_a_new_beginning_replaces_them() {
        let whole = take();
        let (first, _) = read_all(&whole);
        let Item::Tracks(tracks) = &first[0] else { panic!() };
        let again = Frame::control(&Control::Tracks(tracks.clone()), 0);
        let picture = |n: usize| {
            let Item::Frame(frame) = &first[n] else { panic!() };
            frame.bytes().clone()
        };
        let joined =
            [again.bytes(), &picture(1), &picture(2), again.bytes(), &picture(3), again.bytes(), &picture(1)];
        let (items, result) = read_all(&joined.map(|part| part.to_vec()).concat());
        result.unwrap();
        let kinds = items.iter().map(|item| match item {
            Item::Tracks(_) => 't',
            Item::Changed(_) => 'c',
            Item::Lost(_) => panic!("nothing is damaged"),
            Item::Frame(_) => 'f',
        });
        assert_eq!(kinds.collect::<String>(), "tffcftf");
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        assert!(matches!(read_all(b"").1, Err(Error::Empty)));
        assert!(matches!(read_all(b"hello world").1, Err(Error::Unknown(_))));
        assert!(matches!(
            read_all(&[0x1a, 0x45, 0xdf, 0xa3, 0, 0, 0, 0, 0]).1,
            Err(Error::Container("Matroska"))
        ));
        assert!(matches!(read_all(&[0x47, 0x40, 0, 0x10, 0, 0]).1, Err(Error::Container("MPEG-TS"))));
        assert!(matches!(read_all(&[0, 0, 0, 1, 0x40, 1, 12]).1, Err(Error::Container("HEVC (H.265)"))));
        assert!(matches!(read_all(b"\0\0\0\x18ftypisom").1, Err(Error::Container("MP4"))));
        let stranger = Frame::control(&Control::Ping { id: 1 }, 0);
        let (items, result) = read_all(stranger.bytes());
        assert!(items.is_empty() && result.is_ok());
    }

    #[test]
    fn frames_without_a_description_are_refused() {
        let whole = take();
        let header = u32::from_be_bytes(whole[..4].try_into().unwrap()) as usize;
        let text = std::str::from_utf8(&whole[4..4 + header]).unwrap();
        let size: usize = text.split("\"size\":").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
        let (items, result) = read_all(&whole[4 + header + size..]);
        assert!(items.is_empty());
        assert!(matches!(result, Err(Error::NoTracks)));
    }

    #[test]
    fn what_is_passed_on_is_what_was_read() {
        #[derive(Clone, Default)]
        struct Shared(Arc<std::sync::Mutex<Vec<u8>>>);
        impl Write for Shared {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let copy = Shared::default();
        let reading = Reading { pass: Some(Box::new(copy.clone())), ..reading() };
        let take = take();
        read(&take[..], reading, &mut |_| true).unwrap();
        assert_eq!(*copy.0.lock().unwrap(), take);
    }
}
