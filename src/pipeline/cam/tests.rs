//! Whole runs, into memory.

use std::collections::VecDeque;

use super::*;
use crate::media::Range;
use crate::time::Moment;
use crate::video::capture::{Device, Opener};
use crate::video::encode::{Config, Encoder, OpenH264};
use crate::wire::{Control, Frame, Incoming, Kind, Media, Parser};

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Memory {
    fn frames(&self) -> Vec<Frame> {
        let mut parser = Parser::new();
        parser.push(&lock(&self.0));
        let mut frames = Vec::new();
        while let Some(incoming) = parser.poll().unwrap() {
            let Incoming::Frame(frame) = incoming else { panic!("a damaged frame") };
            frames.push(frame);
        }
        frames
    }

    fn pictures(&self) -> Vec<Media> {
        self.frames().iter().filter_map(|frame| frame.header.media).collect()
    }
}

fn options(origin: Origin, size: (usize, usize), fps: f64) -> Options {
    let size = Target::Exact(Size { width: size.0, height: size.1 });
    Options {
        origin,
        want: Want { size, fps: Some(fps), pixels: None },
        bitrate: None,
        format: Format::Conf,
        clock: false,
        duration: None,
        frames: None,
    }
}

/// A run to its end: what came out, the report, and what was said meanwhile.
fn whole(options: &Options) -> (Memory, Report, Vec<Progress>) {
    let (memory, mut told) = (Memory::default(), Vec::new());
    let mut progress = |progress: &Progress| told.push(*progress);
    let way = Way { output: Box::new(memory.clone()), pipe: None, progress: &mut progress };
    let report = run(options, way, &Arc::default()).unwrap();
    (memory, report, told)
}

#[test]
fn c10_an_encoder_that_is_slower_than_the_camera_leaves_pictures_out_and_says_so() {
    let mut options = options(Origin::Test(Pattern::Noise), (1280, 720), 120.0);
    options.duration = Some(Duration::from_millis(2600));
    let (memory, report, told) = whole(&options);
    let pictures = memory.pictures();
    if report.dropped == 0 || report.pictures < 4 {
        // Only a machine between the two shows it; the rule itself is tested without a clock.
        return eprintln!("skipped: this machine is too fast or too busy: {report:?}");
    }
    assert_eq!(report.pictures, pictures.len() as u64);
    // What was left out was never encoded: the pictures count on without a gap.
    assert!(pictures.iter().enumerate().all(|(at, media)| media.seq == at as u64));
    let spread = (pictures[pictures.len() - 1].pts - pictures[0].pts) as f64 / 1e6;
    let real = (pictures.len() - 1) as f64 / spread;
    assert!((report.fps() / real - 1.0).abs() < 0.3, "{} pictures/s, said {}", real, report.fps());
    // Second by second the machine may be busier or not, but what was left out is never counted as written.
    for progress in told {
        assert!(progress.fps < 130.0, "{real} pictures/s, {progress:?}");
        assert!(progress.pictures <= report.pictures && progress.dropped <= report.dropped);
        assert_eq!(progress.size, Size { width: 1280, height: 720 });
    }
}

#[test]
fn the_last_picture_of_a_number_is_the_end() {
    let mut options = options(Origin::Test(Pattern::Clock), (64, 64), 1.0);
    options.frames = Some(2);
    let (memory, report, _) = whole(&options);
    assert_eq!((memory.pictures().len(), report.pictures), (2, 2));
    assert!(report.time < Duration::from_millis(1900), "{:?}", report.time);
}

/// A camera with several lives of so many pictures each.
#[derive(Clone)]
struct Fake(Arc<Mutex<VecDeque<usize>>>);

struct Life(usize);

impl Device for Life {
    fn read(&mut self) -> Result<Result<Picture, String>, capture::Error> {
        if self.0 == 0 {
            return Err(capture::Error::Device {
                path: "/dev/video9".into(),
                why: "it was unplugged".into(),
            });
        }
        self.0 -= 1;
        let now = time::now();
        Stop::new().wait_until(now + Duration::from_millis(15));
        Ok(Ok(Picture::black(64, 48, now)))
    }
}

impl Opener for Fake {
    type Device = Life;

    fn open(&mut self) -> Result<Life, capture::Error> {
        lock(&self.0).pop_front().map(Life).ok_or_else(|| capture::Error::NoCamera("it is gone".into()))
    }

    fn describe(&self) -> Description {
        let size = Size { width: 64, height: 48 };
        Description { label: "camera", name: "fake".into(), size, fps: 60.0 }
    }
}

#[test]
fn c02_the_first_picture_of_a_camera_that_came_back_is_a_keyframe() {
    let camera = Fake(Arc::new(Mutex::new([15, 90].into())));
    let mut options = options(Origin::Camera(CameraId::First), (64, 48), 60.0);
    options.frames = Some(40);
    let (memory, stop) = (Memory::default(), Arc::default());
    let way = Way { output: Box::new(memory.clone()), pipe: None, progress: &mut |_| {} };
    let mut work = Work::start(&options, way, &stop).unwrap();
    let there = Arc::clone(&work.ending.0);
    work.live(move || Recovering::open(camera, there)).unwrap();
    assert_eq!(work.finish().unwrap().pictures, 40);
    let pictures = memory.pictures();
    let keys: Vec<_> = (0..40).filter(|at| pictures[*at].key).collect();
    let pause = (1..40).find(|at| pictures[*at].pts - pictures[at - 1].pts > 900_000);
    assert_eq!(keys, [0, pause.expect("a pause of at least a second")]);
}

#[test]
fn a_file_that_is_interrupted_reports_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("take.h264");
    let mut encoder = OpenH264::new(Config { fps: 25.0, bitrate: 100_000 });
    let units = (0..25).map(|n| {
        let picture = Picture::black(64, 64, Moment::from_micros(n * 40_000));
        encoder.encode(&picture, false).unwrap().expect("a black picture is small").data
    });
    std::fs::write(&path, units.collect::<Vec<_>>().concat()).unwrap();
    let mut options = options(Origin::File { path, again: true }, (64, 64), 50.0);
    options.want.size = Target::Natural;
    let (memory, stop) = (Memory::default(), Arc::new(Stop::new()));
    let way = Way { output: Box::new(memory.clone()), pipe: None, progress: &mut |_| stop.stop() };
    let report = run(&options, way, &stop).unwrap();
    assert!((40..60).contains(&report.pictures), "{report:?}");
    assert_eq!(memory.pictures().len() as u64, report.pictures);
    assert_eq!(lock(&memory.0).len() as u64, report.bytes);
}

#[test]
fn c04_another_size_is_described_before_its_keyframe() {
    let description = Fake(Arc::default()).describe();
    let mut shape = Shape::new(Format::Conf, None);
    let mut bytes = Memory::default();
    for (number, width, key) in [(0, 64, true), (1, 64, false), (2, 64, true), (3, 96, true), (4, 96, false)]
    {
        let unit = Encoded { data: Bytes::from_static(&[0, 0, 0, 1, 9]), key, tid: 0 };
        let size = Size { width, height: 48 };
        for part in shape.unit(&description, size, &unit, Moment::from_micros(number)) {
            bytes.write_all(&part).unwrap();
        }
    }
    let told = bytes.frames().into_iter().map(|frame| match (&frame.header.kind, frame.header.media) {
        (Kind::Video, Some(media)) => format!("picture {}", media.seq),
        _ => match frame.operation().unwrap() {
            Control::Tracks(tracks) => format!("width {}", tracks.tracks[0].source.width),
            other => panic!("{other:?}"),
        },
    });
    let expected = ["width 64", "picture 0", "picture 1", "picture 2", "width 96", "picture 3", "picture 4"];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn y4m_has_one_size_and_other_pictures_do_not_count() {
    let description = Fake(Arc::default()).describe();
    let mut shape = Shape::new(Format::Y4m, None);
    let mut picture = Picture::black(64, 48, Moment::default());
    picture.range = Range::Full;
    assert!(shape.picture(&description, &picture).is_some());
    assert!(shape.picture(&description, &Picture::black(96, 48, Moment::default())).is_none());
    assert!(shape.picture(&description, &picture).is_some());
}
