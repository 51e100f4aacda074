//! Files and pipes as sources: Y4M, and H.264 in Annex B form.
//!
//! Pictures come at the pace of the file, whether they are read from a disk or as fast as somebody writes them.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use y4m::Colorspace;

use super::{Context, Description, Error, Pace, Source, Stop};
use crate::h264::{self, AccessUnit, Splitter, StreamInfo};
use crate::media::{Picture, Range, Size, is_interlaced};
use crate::time::{self, Moment};
use crate::video::decode::{Decoder, InProcess};
use crate::wire::{Stream, sniff};

/// A file as a source of pictures or of access units.
#[derive(Debug)]
pub enum Recorded {
    /// Raw pictures.
    Y4m(Y4m),
    /// Encoded pictures, which need no encoder.
    Units(Units),
}

type Reader = BufReader<Box<dyn Read + Send>>;

/// How to get at the bytes, once or again and again.
#[derive(Debug, Clone)]
struct Input {
    path: PathBuf,
    again: bool,
}

impl Input {
    fn name(&self) -> String {
        if self.is_stdin() { "stdin".into() } else { self.path.display().to_string() }
    }

    fn is_stdin(&self) -> bool {
        self.path == Path::new("-")
    }

    fn open(&self) -> Result<Reader, Error> {
        let inner: Box<dyn Read + Send> = if self.is_stdin() {
            Box::new(io::stdin())
        } else {
            let file = File::open(&self.path).map_err(|error| Error::File(self.name(), error))?;
            if file.metadata().is_ok_and(|about| about.is_dir()) {
                return Err(Error::File(self.name(), io::ErrorKind::IsADirectory.into()));
            }
            Box::new(file)
        };
        Ok(BufReader::with_capacity(256 * 1024, inner))
    }

    fn format(&self, what: impl Into<String>) -> Error {
        Error::Format(self.name(), what.into())
    }

    fn damaged(&self, what: impl Into<String>) -> Error {
        Error::Damaged(self.name(), what.into())
    }
}

/// Opens `path`, `-` for stdin, and tells by its first bytes what it is. With `again` a file begins anew at its end.
pub fn open_file(path: &Path, again: bool, context: &Context) -> Result<Recorded, Error> {
    let input = Input { path: path.into(), again: again && path != Path::new("-") };
    let mut reader = input.open()?;
    let mut head = Vec::new();
    let kind = loop {
        if let Some(other) = h264::foreign(&head) {
            return Err(input.format(format!("this is {other}; {CONVERT}")));
        }
        match sniff(&head) {
            Ok(Some(kind)) => break kind,
            Ok(None) => {}
            Err(_) => return Err(input.damaged(format!("neither Y4M nor H.264 in Annex B form; {CONVERT}"))),
        }
        let mut byte = [0];
        match reader.read(&mut byte) {
            Ok(0) if head.is_empty() => return Err(input.damaged(format!("nothing is in it; {CONVERT}"))),
            Ok(0) => return Err(input.damaged(format!("it ends before its first picture; {CONVERT}"))),
            Ok(_) => head.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::File(input.name(), error)),
        }
    };
    let whole: Reader = BufReader::new(Box::new(io::Cursor::new(head).chain(reader)));
    match kind {
        Stream::Y4m => Y4m::new(input, whole, context).map(Recorded::Y4m),
        Stream::AnnexB => Units::new(input, whole, context).map(Recorded::Units),
        Stream::Frames => {
            Err(input.format("this is what conf-cam writes: conf-send sends it, conf-view - shows it"))
        }
        Stream::Matroska => Err(input.format(format!("this is Matroska; {CONVERT}"))),
        Stream::Mp4 => Err(input.format(format!("this is MP4; {CONVERT}"))),
    }
}

const CONVERT: &str =
    "convert it: ffmpeg -i FILE -f yuv4mpegpipe -pix_fmt yuv420p - | conf-cam --video file:-";

/// Raw pictures of a file.
pub struct Y4m {
    input: Input,
    decoder: y4m::Decoder<Reader>,
    range: Range,
    description: Description,
    pace: Pace,
    stop: Arc<Stop>,
    pictures: u64,
}

impl Y4m {
    fn new(input: Input, reader: Reader, context: &Context) -> Result<Self, Error> {
        let decoder = header(&input, reader)?;
        let rate = decoder.get_framerate();
        let own = rate.num as f64 / rate.den.max(1) as f64;
        let own = if (0.1..=240.0).contains(&own) { own } else { 25.0 };
        let fps = context.want.fps.unwrap_or(own);
        let range = if decoder.get_raw_params().windows(15).any(|part| part == b"COLORRANGE=FULL") {
            Range::Full
        } else {
            Range::Limited
        };
        let size = Size { width: decoder.get_width() & !1, height: decoder.get_height() & !1 };
        let description = Description { label: "file", name: input.name(), size, fps };
        let stop = Arc::clone(&context.stop);
        Ok(Self { input, decoder, range, description, pace: Pace::new(fps), stop, pictures: 0 })
    }

    fn read(&mut self) -> Result<Picture, Error> {
        loop {
            let (width, height) = (self.decoder.get_width(), self.decoder.get_height());
            match self.decoder.read_frame() {
                Ok(frame) => {
                    self.pictures += 1;
                    return Ok(planes(&frame, width, height, self.range));
                }
                Err(y4m::Error::EOF) if self.input.again && self.pictures > 0 => {
                    self.pictures = 0;
                    self.decoder = header(&self.input, self.input.open()?)?;
                }
                Err(y4m::Error::EOF) => return Err(Error::Ended),
                Err(error) => {
                    return Err(self
                        .input
                        .damaged(format!("damaged after {} pictures ({error})", self.pictures)));
                }
            }
        }
    }
}

impl Source for Y4m {
    fn next(&mut self) -> Result<Picture, Error> {
        // Read before waiting: a slow disk is then no delay.
        let mut picture = self.read()?;
        if !self.stop.wait_until(self.pace.next(time::now())) {
            return Err(Error::Ended);
        }
        picture.captured = time::now();
        Ok(picture)
    }

    fn describe(&self) -> Description {
        self.description.clone()
    }
}

impl std::fmt::Debug for Y4m {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Y4m({:?})", self.description)
    }
}

/// The largest picture that is read, like the largest that is decoded.
const MAX_BYTES: usize = 4096 * 2304 * 3 / 2;

fn header(input: &Input, reader: Reader) -> Result<y4m::Decoder<Reader>, Error> {
    let limits = y4m::Limits { bytes: MAX_BYTES };
    let hint = "ffmpeg: -pix_fmt yuv420p";
    let decoder = y4m::Decoder::new_with_limits(reader, limits).map_err(|error| match error {
        y4m::Error::OutOfMemory => input.format("pictures larger than 4096x2304 (ffmpeg: -vf scale=1280:-2)"),
        y4m::Error::UnknownColorspace => input.format(format!("a pixel format that is not 4:2:0 ({hint})")),
        error => input.damaged(format!("not a Y4M file ({error})")),
    })?;
    let colours = [Colorspace::C420, Colorspace::C420jpeg, Colorspace::C420paldv, Colorspace::C420mpeg2];
    if !colours.iter().any(|known| *known as usize == decoder.get_colorspace() as usize) {
        return Err(input.format(format!(
            "its pixels are {:?}, not 4:2:0 with 8 bits ({hint})",
            decoder.get_colorspace()
        )));
    }
    if is_interlaced(decoder.get_raw_params()) {
        return Err(input.format("it is interlaced (ffmpeg: -vf yadif)"));
    }
    if decoder.get_width() < 16 || decoder.get_height() < 16 {
        return Err(input.format("pictures smaller than 16x16"));
    }
    Ok(decoder)
}

/// Copies the planes, without an odd last row or column.
fn planes(frame: &y4m::Frame<'_>, width: usize, height: usize, range: Range) -> Picture {
    let mut picture = Picture::black(width & !1, height & !1, Moment::default());
    picture.range = range;
    let even = picture.width();
    let (y, u, v) = picture.planes_mut();
    let chroma = width.div_ceil(2);
    for (from, to, from_width, to_width) in [
        (frame.get_y_plane(), y, width, even),
        (frame.get_u_plane(), u, chroma, even / 2),
        (frame.get_v_plane(), v, chroma, even / 2),
    ] {
        for (to, from) in to.chunks_exact_mut(to_width).zip(from.chunks_exact(from_width)) {
            to.copy_from_slice(&from[..to_width]);
        }
    }
    picture
}

/// Access units of a file, as they are.
pub struct Units {
    input: Input,
    reader: Reader,
    splitter: Splitter,
    /// Read ahead, to know what the stream is.
    first: Option<AccessUnit>,
    info: StreamInfo,
    description: Description,
    pace: Pace,
    stop: Arc<Stop>,
    finished: bool,
    units: u64,
}

/// One access unit at its time.
#[derive(Debug, Clone)]
pub struct Passage {
    /// The unit.
    pub unit: AccessUnit,
    /// When it was due.
    pub captured: Moment,
}

impl Units {
    fn new(input: Input, reader: Reader, context: &Context) -> Result<Self, Error> {
        let info =
            StreamInfo { width: 0, height: 0, profile_idc: 0, level_idc: 0, fps: None, full_range: false };
        let description =
            Description { label: "file", name: input.name(), size: Size { width: 0, height: 0 }, fps: 0.0 };
        let stop = Arc::clone(&context.stop);
        let splitter = Splitter::new();
        let pace = Pace::new(25.0);
        let mut units = Self {
            input,
            reader,
            splitter,
            first: None,
            info,
            description,
            pace,
            stop,
            finished: false,
            units: 0,
        };
        let first = loop {
            match units.read() {
                Ok(unit) if unit.key => break unit,
                Ok(_) => {}
                Err(Error::Ended) => return Err(units.input.damaged("no keyframe with SPS and PPS in it")),
                Err(error) => return Err(error),
            }
        };
        units.first = Some(first);
        // Without timing in the stream 25 is what ffmpeg assumes too.
        let own = units.info.fps.filter(|fps| (0.1..=240.0).contains(fps)).unwrap_or(25.0);
        let fps = context.want.fps.unwrap_or(own);
        units.pace = Pace::new(fps);
        units.description.fps = fps;
        Ok(units)
    }

    /// Waits for the next access unit.
    pub fn next_unit(&mut self) -> Result<Passage, Error> {
        let unit = match self.first.take() {
            Some(unit) => unit,
            None => self.read()?,
        };
        if !self.stop.wait_until(self.pace.next(time::now())) {
            return Err(Error::Ended);
        }
        Ok(Passage { unit, captured: time::now() })
    }

    /// What the stream is, with the size of the last unit.
    pub fn description(&self) -> Description {
        self.description.clone()
    }

    /// The same as pictures, for those who need them.
    pub fn decoded(self) -> impl Source {
        Decoded { units: self, decoder: InProcess::default(), waiting_for_key: true }
    }

    /// The next access unit that may be shown.
    fn read(&mut self) -> Result<AccessUnit, Error> {
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.splitter.poll() {
                Ok(Some(unit)) => {
                    let summary =
                        h264::inspect(&unit.data).map_err(|why| self.input.format(why.to_string()))?;
                    if let Some(info) = summary.info {
                        self.description.size = Size { width: info.width, height: info.height };
                        self.info = info;
                    }
                    self.units += 1;
                    return Ok(unit);
                }
                Ok(None) if self.finished && self.input.again && self.units > 0 => {
                    self.reader = self.input.open()?;
                    self.splitter = Splitter::new();
                    (self.finished, self.units) = (false, 0);
                }
                Ok(None) if self.finished => return Err(Error::Ended),
                Ok(None) => match self.reader.read(&mut bytes) {
                    Ok(0) => {
                        self.splitter.finish();
                        self.finished = true;
                    }
                    Ok(count) => self.splitter.push(&bytes[..count]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Error::File(self.input.name(), error)),
                },
                Err(error) => return Err(self.input.damaged(error.to_string())),
            }
        }
    }
}

impl std::fmt::Debug for Units {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Units({:?})", self.description)
    }
}

struct Decoded {
    units: Units,
    decoder: InProcess,
    waiting_for_key: bool,
}

impl Source for Decoded {
    fn next(&mut self) -> Result<Picture, Error> {
        loop {
            let Passage { unit, captured } = self.units.next_unit()?;
            if self.waiting_for_key && !unit.key {
                continue;
            }
            match self.decoder.decode(&unit.data, self.units.info.full_range) {
                Ok(Some(mut picture)) => {
                    self.waiting_for_key = false;
                    picture.captured = captured;
                    return Ok(picture);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "waiting for the next keyframe");
                    self.waiting_for_key = true;
                }
            }
        }
    }

    fn describe(&self) -> Description {
        self.units.description()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::capture::{Target, Want};
    use std::io::Write;

    fn context(fps: Option<f64>) -> Context {
        Context { stop: Arc::default(), want: Want { size: Target::Natural, fps, pixels: None } }
    }

    fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn refused(bytes: &[u8]) -> String {
        let file = written(bytes);
        open_file(file.path(), false, &context(None)).expect_err("refused").to_string()
    }

    fn y4m(header: &str, frame: usize, frames: usize) -> Vec<u8> {
        let mut bytes = format!("YUV4MPEG2 {header}\n").into_bytes();
        for number in 0..frames {
            bytes.extend_from_slice(b"FRAME\n");
            bytes.extend(std::iter::repeat_n(number as u8, frame));
        }
        bytes
    }

    #[test]
    fn odd_sizes_lose_their_last_row_and_column() {
        let file = written(&y4m("W17 H19 F500:1 C420jpeg XCOLORRANGE=FULL", 17 * 19 + 2 * 9 * 10, 2));
        let Ok(Recorded::Y4m(mut source)) = open_file(file.path(), false, &context(None)) else { panic!() };
        let picture = source.next().unwrap();
        assert_eq!((picture.width(), picture.height(), picture.range), (16, 18, Range::Full));
        assert_eq!(source.next().unwrap().y()[0], 1);
        assert!(matches!(source.next(), Err(Error::Ended)));
    }

    #[test]
    fn a_file_can_begin_again_at_its_end() {
        let file = written(&y4m("W16 H16 F500:1", 16 * 24, 2));
        let Ok(Recorded::Y4m(mut source)) = open_file(file.path(), true, &context(None)) else { panic!() };
        let seen: Vec<u8> = (0..5).map(|_| source.next().unwrap().y()[0]).collect();
        assert_eq!(seen, [0, 1, 0, 1, 0]);
        let empty = written(&y4m("W16 H16 F500:1", 0, 0));
        let Ok(Recorded::Y4m(mut source)) = open_file(empty.path(), true, &context(None)) else { panic!() };
        assert!(matches!(source.next(), Err(Error::Ended)));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_a_way_out() {
        assert!(refused(b"").contains("ffmpeg"));
        assert!(refused(b"GIF89a and more").contains("ffmpeg"));
        assert!(refused(&y4m("W16 H16 F25:1 C444", 0, 0)).contains("yuv420p"));
        assert!(refused(&y4m("W16 H16 F25:1 C420p10", 0, 0)).contains("yuv420p"));
        assert!(refused(&y4m("W16384 H16384 F25:1", 0, 0)).contains("4096x2304"));
        assert!(refused(&y4m("W0 H16 F25:1", 0, 0)).contains("Y4M"));
        assert!(refused(&y4m("W16 H16 F25:1 It", 0, 0)).contains("yadif"));
        assert!(refused(&[0x47, 0x40, 0, 0x10].repeat(50)).contains("MPEG-TS"));
        assert!(refused(&[0, 0, 0, 1, 0x40, 1, 12]).contains("HEVC"));
        assert!(refused(&[0, 0, 0, 1, 0x41, 0x9a, 1]).contains("keyframe"));
        let missing = open_file(Path::new("/nowhere/at.all"), false, &context(None)).expect_err("missing");
        assert!(missing.to_string().contains("/nowhere/at.all"));
    }

    #[test]
    fn encoded_files_give_their_units_and_their_pictures() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/media/MIDR_MW_D.264"));
        if !path.exists() {
            eprintln!("skipped: {} is not there", path.display());
            return;
        }
        let open = || match open_file(path, false, &context(Some(1000.0))) {
            Ok(Recorded::Units(units)) => units,
            other => panic!("{other:?}"),
        };
        let mut units = open();
        assert_eq!(units.description().size, Size { width: 176, height: 144 });
        let count = std::iter::from_fn(|| units.next_unit().ok()).count();
        let mut pictures = open().decoded();
        let shown = std::iter::from_fn(|| pictures.next().ok()).count();
        assert_eq!((count, shown), (100, 100));
    }
}
