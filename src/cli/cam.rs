//! `conf-cam`: pictures from a camera, a file or a test picture into a pipe. No network.

use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use yuv::{YuvPlanarImage, YuvRange, YuvStandardMatrix, yuv420_to_rgb};

use super::common::{duration, only_png};
use super::output::{Content, Output};
use super::{Common, Exit, Failure, Program, output, signal};
use crate::media::{Picture, Quality, Range, Size};
use crate::pipeline::cam::{self, Format, Options, Origin, Pipe, Progress, Way};
use crate::video::capture::{self, CameraId, Pattern, Pixels, Stop, Target, Want};
use crate::video::render::snapshot;

const EXAMPLES: &str = "\
Examples:
  conf-cam | conf-send                          go live with the camera
  conf-cam --video test:clock | conf-view -     look at a test picture
  conf-cam --list                               the cameras of this machine
  conf-cam --quality hd -f h264 | ffplay -fflags nobuffer -probesize 32 -
  conf-cam -t 10s -o take.conf                  record ten seconds
  conf-cam --snapshot me.png                    one picture
";

/// Pictures from a camera into a pipe
#[derive(Debug, Parser)]
#[command(name = "conf-cam", version, before_long_help = EXAMPLES)]
pub struct Args {
    /// Where the pictures come from: camera[:ID], test[:clock|bars|noise], file:PATH (Y4M or H.264; - is stdin)
    #[allow(rustdoc::broken_intra_doc_links, reason = "the text of --help, not a link")]
    #[arg(long, value_name = "SOURCE", default_value = "camera", value_parser = parse_origin)]
    video: Origin,
    /// How large the pictures are [default: as the source has them, cameras at 640x480]
    #[arg(long, value_name = "NAME", value_enum)]
    quality: Option<Quality>,
    /// How large the pictures are, exactly
    #[arg(long, value_name = "WxH", conflicts_with = "quality")]
    size: Option<Size>,
    /// Pictures per second, 1 to 120 [default: 30, files at their own pace]
    #[arg(long, value_name = "N", value_parser = parse_fps)]
    fps: Option<f64>,
    /// Bits per second, such as 800k or 2M [default: by size]
    #[arg(long, value_name = "RATE", value_parser = parse_bitrate)]
    bitrate: Option<u32>,
    /// How the camera delivers its pixels [default: what is best]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pixel_format: Option<Pixels>,
    /// Burn the time of capture into the pictures (test pictures always have it)
    #[arg(long)]
    clock: bool,
    /// Begin a file again at its end
    #[arg(long = "loop")]
    again: bool,
    /// What to write
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "conf")]
    format: Format,
    /// Where to write, - for stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// End after this time, such as 90s or 1h30m
    #[arg(short = 't', value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// End after so many pictures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,
    /// Write one picture to a PNG file and end
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// Say what cameras there are, as text or as json, and end
    #[arg(long, value_name = "FORM", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    list: Option<Listing>,
    /// Write binary data to a terminal
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    common: Common,
}

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Listing {
    /// For people
    Text,
    /// For programs
    Json,
}

impl Program for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}

/// Runs `conf-cam`.
pub fn run(args: Args) -> anyhow::Result<()> {
    if let Some(form) = args.list {
        return list(form);
    }
    let stop = Arc::new(Stop::new());
    let options = args.options();
    args.check()?;
    if let Some(path) = &args.snapshot {
        stop_on_signal(&stop)?;
        return save(&options, path, args.force, &stop);
    }
    let output = Output::open(args.output.as_deref(), Content::Binary { force: args.force })?;
    stop_on_signal(&stop)?;
    let pipe = output.as_file().metadata().is_ok_and(|about| about.file_type().is_fifo());
    let pipe = if pipe { Some(Pipe(output.as_file().try_clone()?)) } else { None };
    let mut line = StatusLine::new(&args.common);
    let way = Way { output: Box::new(output), pipe, progress: &mut |progress| line.show(progress) };
    let ended = cam::run(&options, way, &stop);
    line.finish();
    ended.map_err(failure)?;
    Ok(())
}

/// How it goes, on stderr: one line that changes where that is a terminal, else, with -v, a line every ten seconds.
struct StatusLine {
    terminal: bool,
    /// Seconds between two lines; `None` says nothing.
    every: Option<u64>,
    seconds: u64,
    shown: bool,
}

impl StatusLine {
    const EVERY: u64 = 10;

    fn new(common: &Common) -> Self {
        // Lines of a log between those of the status would break both, so with -v there are whole lines only.
        let terminal = io::stderr().is_terminal() && common.verbose == 0;
        let every = match (common.quiet, terminal, common.verbose) {
            (true, ..) | (_, false, 0) => None,
            (_, true, _) => Some(1),
            (_, false, _) => Some(Self::EVERY),
        };
        Self { terminal, every, seconds: 0, shown: false }
    }

    fn show(&mut self, progress: &Progress) {
        self.seconds += 1;
        if !self.every.is_some_and(|every| self.seconds.is_multiple_of(every)) {
            return;
        }
        let line = status(progress);
        self.shown = true;
        // What cannot be said is not said.
        let _ = match self.terminal {
            true => write!(io::stderr(), "\r{line}\x1b[K"),
            false => writeln!(io::stderr(), "{line}"),
        };
    }

    fn finish(&self) {
        if self.shown && self.terminal {
            let _ = writeln!(io::stderr());
        }
    }
}

fn status(progress: &Progress) -> String {
    let Progress { size, fps, bps, dropped, .. } = progress;
    format!("{size}: {fps:.0} pictures/s, {:.0} kbit/s, {dropped} dropped", bps / 1000.0)
}

impl Args {
    /// An option that would do nothing is a misunderstanding.
    fn check(&self) -> Result<(), Failure> {
        if self.again && !matches!(&self.video, Origin::File { path, .. } if path != Path::new("-")) {
            return Err(Failure::usage("--loop is for files: conf-cam --video file:PATH --loop"));
        }
        if self.pixel_format.is_some() && !matches!(self.video, Origin::Camera(_)) {
            return Err(Failure::usage("--pixel-format is for cameras; leave it out, or use --video camera"));
        }
        self.snapshot.as_deref().map_or(Ok(()), only_png)
    }

    fn options(&self) -> Options {
        let size = match (self.size, self.quality) {
            (Some(size), _) => Target::Exact(size),
            (None, Some(quality)) => Target::Quality(quality),
            (None, None) => Target::Natural,
        };
        let origin = match self.video.clone() {
            Origin::File { path, .. } => Origin::File { path, again: self.again },
            other => other,
        };
        Options {
            origin,
            want: Want { size, fps: self.fps, pixels: self.pixel_format },
            bitrate: self.bitrate,
            format: self.format,
            clock: self.clock,
            duration: self.duration,
            frames: self.frames,
        }
    }
}

/// The first Ctrl-C or SIGTERM ends every wait.
fn stop_on_signal(stop: &Arc<Stop>) -> anyhow::Result<()> {
    let token = signal::install()?;
    let stop = Arc::clone(stop);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    std::thread::Builder::new().name("stop".into()).spawn(move || {
        runtime.block_on(token.cancelled());
        stop.stop();
    })?;
    Ok(())
}

/// The exit code that belongs to an error. One of the output keeps its chain: the reader may simply have gone.
fn failure(error: cam::Error) -> anyhow::Error {
    use capture::Error as Capture;
    let exit = match &error {
        cam::Error::Output(cause) if output::is_reader_gone(cause) => return error.into(),
        cam::Error::Output(_) | cam::Error::Capture(Capture::File(..)) => Exit::File,
        cam::Error::Capture(Capture::Damaged(..)) => Exit::Protocol,
        cam::Error::Capture(Capture::Ended) => Exit::Other,
        cam::Error::Capture(_) | cam::Error::Encode(_) => Exit::Device,
        cam::Error::Start(_) => Exit::Other,
    };
    Failure::new(exit, error.to_string()).into()
}

fn save(options: &Options, path: &Path, force: bool, stop: &Arc<Stop>) -> anyhow::Result<()> {
    let stdout = path == Path::new("-");
    let mut out = if stdout { Some(Output::open(None, Content::Binary { force })?) } else { None };
    let picture = match cam::snapshot(options, stop) {
        Err(cam::Error::Capture(capture::Error::Ended)) if stop.is_stopped() => return Ok(()),
        other => other.map_err(failure)?,
    };
    let bytes = png(&picture)?;
    match &mut out {
        Some(out) => out.write_all(&bytes)?,
        None => snapshot::save(&bytes, path)
            .map_err(|error| Failure::new(Exit::File, format!("cannot write {}: {error}", path.display())))?,
    }
    Ok(())
}

fn png(picture: &Picture) -> anyhow::Result<Vec<u8>> {
    let (width, height) = (picture.width() as u32, picture.height() as u32);
    let planes = YuvPlanarImage {
        y_plane: picture.y(),
        y_stride: width,
        u_plane: picture.u(),
        u_stride: width / 2,
        v_plane: picture.v(),
        v_stride: width / 2,
        width,
        height,
    };
    let range = if picture.range == Range::Full { YuvRange::Full } else { YuvRange::Limited };
    let matrix = if height < 720 { YuvStandardMatrix::Bt601 } else { YuvStandardMatrix::Bt709 };
    let mut rgb = vec![0; width as usize * height as usize * 3];
    yuv420_to_rgb(&planes, &mut rgb, width * 3, range, matrix)?;
    Ok(snapshot::encode(picture.width(), picture.height(), &rgb)?)
}

fn list(form: Listing) -> anyhow::Result<()> {
    let cameras = capture::list();
    let text = match form {
        Listing::Text => list_text(&cameras),
        Listing::Json => list_json(&cameras),
    };
    output::stdout()?.write_all(text.as_bytes())?;
    Ok(())
}

const TESTS: [(&str, &str); 3] = [
    ("test:clock", "a ball, and the time to 0.1 ms"),
    ("test:bars", "colour bars"),
    ("test:noise", "noise, the worst case for an encoder"),
];

fn list_text(cameras: &[capture::Listed]) -> String {
    let mut lines = Vec::new();
    for (at, camera) in cameras.iter().enumerate() {
        let mark = if at == 0 { "  (default)" } else { "" };
        lines.push(format!("camera:{:<6} {}{mark}", camera.number, camera.name));
        match &camera.modes {
            Ok(modes) if modes.is_empty() => {
                lines.push("              no format that can be used".to_owned())
            }
            Ok(modes) => lines.extend(mode_lines(modes)),
            Err(why) => lines.push(format!("              {why}")),
        }
    }
    if cameras.is_empty() {
        lines.push("no camera".to_owned());
    }
    lines.extend(TESTS.map(|(id, what)| format!("{id:<13} {what}")));
    lines.push(String::new());
    lines.join("\n")
}

/// A line for every size and format, with all its rates.
fn mode_lines(modes: &[capture::Mode]) -> Vec<String> {
    let same =
        |a: &capture::Mode, b: &capture::Mode| (a.pixels, a.width, a.height) == (b.pixels, b.width, b.height);
    let line = |group: &[capture::Mode]| {
        let rates: Vec<String> = group.iter().map(|mode| mode.fps.to_string()).collect();
        let pixels = format!("{:?}", group[0].pixels).to_uppercase();
        format!(
            "              {}x{} {pixels} at {} pictures/s",
            group[0].width,
            group[0].height,
            rates.join(", ")
        )
    };
    modes.chunk_by(same).map(line).collect()
}

fn list_json(cameras: &[capture::Listed]) -> String {
    let cameras = cameras.iter().enumerate().map(|(at, camera)| {
        let modes = camera.modes.as_ref().map_or_else(
            |_| Vec::new(),
            |modes| {
                let mode = |mode: &capture::Mode| {
                    serde_json::json!({
                        "pixels": format!("{:?}", mode.pixels).to_lowercase(),
                        "width": mode.width, "height": mode.height, "fps": mode.fps,
                    })
                };
                modes.iter().map(mode).collect()
            },
        );
        serde_json::json!({
            "id": format!("camera:{}", camera.number), "name": camera.name, "device": camera.path,
            "default": at == 0, "modes": modes, "error": camera.modes.as_ref().err(),
        })
    });
    let tests = TESTS.map(|(id, what)| serde_json::json!({ "id": id, "name": what }));
    format!("{}\n", serde_json::json!({ "cameras": cameras.collect::<Vec<_>>(), "tests": tests }))
}

fn parse_origin(text: &str) -> Result<Origin, String> {
    let (kind, rest) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
    match (kind, rest) {
        ("camera", None) => Ok(Origin::Camera(CameraId::First)),
        ("camera", Some(id)) if !id.is_empty() => {
            Ok(Origin::Camera(id.parse().unwrap_or_else(|never: std::convert::Infallible| match never {})))
        }
        ("test", None) => Ok(Origin::Test(Pattern::default())),
        ("test", Some(name)) => {
            name.parse().map(Origin::Test).map_err(|()| "test pictures are clock, bars and noise".into())
        }
        ("file", Some(path)) if !path.is_empty() => Ok(Origin::File { path: path.into(), again: false }),
        _ => Err("use camera, camera:ID, test:clock, test:bars, test:noise or file:PATH".into()),
    }
}

fn parse_fps(text: &str) -> Result<f64, String> {
    let number = |text: &str| {
        text.parse::<f64>().map_err(|_| "not a number, nor a fraction like 30000/1001".to_owned())
    };
    let fps = match text.split_once('/') {
        Some((above, below)) => number(above)? / number(below)?,
        None => number(text)?,
    };
    if (1.0..=120.0).contains(&fps) { Ok(fps) } else { Err("pictures per second are 1 to 120".into()) }
}

fn parse_bitrate(text: &str) -> Result<u32, String> {
    let form = || "a bitrate is written as 800k or 2M".to_owned();
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1e3),
        Some((at, 'm' | 'M')) => (&text[..at], 1e6),
        _ => (text, 1.0),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = if plain { digits.parse().map_err(|_| form())? } else { return Err(form()) };
    let bps = number * unit;
    if (10_000.0..=100_000_000.0).contains(&bps) {
        Ok(bps as u32)
    } else {
        Err("a bitrate is 10k to 100M".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn c12_what_makes_no_sense_is_refused_before_anything_starts() {
        for bad in [
            "--size 0x0",
            "--size 100000x100000",
            "--size wide",
            "--fps 0",
            "--fps 1000",
            "--fps NaN",
            "--fps inf",
            "--fps 30/0",
            "--fps 0/0",
            "--bitrate NaN",
            "--bitrate 0",
            "--bitrate -5",
            "--bitrate 1e99",
            "--bitrate M",
            "--frames 0",
            "-t -1",
            "-t 0",
            "-t soon",
            "--video",
            "--video screen",
            "--video test:snow",
            "--video file:",
            "--quality best",
            "--quality hd --size 640x480",
        ] {
            let error = Args::try_parse_from(["conf-cam"].into_iter().chain(bad.split(' '))).expect_err(bad);
            assert_eq!(error.exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn numbers_are_written_as_people_do() {
        assert_eq!(parse_bitrate("1.5M"), Ok(1_500_000));
        assert_eq!(parse_bitrate("800k"), Ok(800_000));
        assert_eq!(parse_fps("30000/1001"), Ok(30000.0 / 1001.0));
        assert_eq!(parse_origin("camera:Logi"), Ok(Origin::Camera(CameraId::Name("logi".into()))));
    }

    #[test]
    fn the_status_is_one_short_line() {
        let size = Size { width: 640, height: 480 };
        let progress = Progress { size, fps: 29.97, bps: 812_345.0, pictures: 90, dropped: 3 };
        assert_eq!(status(&progress), "640x480: 30 pictures/s, 812 kbit/s, 3 dropped");
    }

    #[test]
    fn a_list_without_cameras_still_says_what_there_is() {
        assert!(list_text(&[]).starts_with("no camera\ntest:clock"));
        let broken = capture::Listed {
            number: 3,
            path: "/dev/video3".into(),
            name: "Cam".into(),
            modes: Err("it is in use".into()),
        };
        assert!(list_text(std::slice::from_ref(&broken)).contains("it is in use\ntest:clock"));
        let json: serde_json::Value = serde_json::from_str(&list_json(&[broken])).unwrap();
        assert_eq!(json["cameras"][0]["id"], "camera:3");
        assert_eq!(json["cameras"][0]["default"], true);
    }
}
