//! conf-view as a user types it: pipes, files, snapshots and a real window.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use confkit::id::TrackId;
use confkit::media::Picture;
use confkit::time::{self, Moment};
use confkit::video::decode::{Decoder, InProcess};
use confkit::wire::control::{PipeTrack, Source, TrackKind, Tracks};
use confkit::wire::{Control, Frame, Media, Rendition};
use openh264::encoder::Encoder;
use openh264::formats::YUVSlices;

use crate::decode::{media, units};

fn viewer(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conf-view"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").env_remove("CONF_ROOM");
    command
}

/// Runs conf-view with `input` on its stdin.
fn view(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = viewer(arguments).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A viewer that ends early closes the pipe, which is what some tests are about.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A stream of frames with one plain colour a track.
fn colours(names: &[(&str, (u8, u8, u8))], pictures: u64) -> Vec<u8> {
    let track = |i: usize| TrackId(i as u32 + 1);
    let source = |label: &str| Source {
        kind: TrackKind::Video,
        label: label.into(),
        codec: "h264".into(),
        width: 320,
        height: 240,
        fps: 30.0,
        muted: false,
    };
    let tracks =
        names.iter().enumerate().map(|(i, n)| PipeTrack { track: track(i), source: source(n.0) }).collect();
    let mut bytes =
        Frame::control(&Control::Tracks(Tracks { tracks, feedback: None }), time::wall()).bytes().to_vec();
    let mut encoders: Vec<Encoder> = names.iter().map(|_| Encoder::new().unwrap()).collect();
    for seq in 0..pictures {
        for (i, (_, (y, u, v))) in names.iter().enumerate() {
            let mut picture = Picture::black(320, 240, Moment::default());
            let planes = picture.planes_mut();
            planes.0.fill(*y);
            planes.1.fill(*u);
            planes.2.fill(*v);
            let yuv = YUVSlices::new((picture.y(), picture.u(), picture.v()), (320, 240), (320, 160, 160));
            let unit = encoders[i].encode(&yuv).unwrap().to_vec();
            let media = Media {
                track: track(i),
                seq,
                pts: seq * 33_333,
                key: seq == 0,
                rendition: Rendition::High,
                tid: 0,
            };
            bytes.extend_from_slice(Frame::video(media, &unit, time::wall()).bytes());
        }
    }
    bytes
}

const RED: (u8, u8, u8) = (81, 90, 240);
const GREEN: (u8, u8, u8) = (145, 54, 34);

pub(crate) fn is(pixel: [u8; 3], wanted: [u8; 3]) -> bool {
    pixel.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 12)
}

/// Width and pixels of a PNG.
pub(crate) fn png(path: &Path) -> (usize, Vec<[u8; 3]>) {
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut data = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut data).unwrap();
    let depth = info.color_type.samples();
    (info.width as usize, data[..info.buffer_size()].chunks(depth).map(|p| [p[0], p[1], p[2]]).collect())
}

#[test]
fn a_snapshot_shows_every_track_in_its_colour() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("room.png");
    let input = colours(&[("王小明", RED), ("bob", GREEN)], 3);
    let output = view(&["-", "--snapshot", path.to_str().unwrap(), "--size", "800x300"], &input);
    assert!(output.status.success(), "{}", stderr(&output));
    let (width, pixels) = png(&path);
    assert_eq!((width, pixels.len()), (800, 800 * 300));
    assert!(is(pixels[140 * 800 + 200], [255, 0, 0]) && is(pixels[140 * 800 + 600], [0, 255, 0]));
}

#[test]
fn v14_names_that_would_move_a_cursor_are_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("room.png");
    let zalgo = format!("a{}", "\u{301}".repeat(5_000));
    let input = colours(&[("\u{1b}[2J\u{202e}evil\n", RED), (&zalgo, GREEN)], 3);
    let output = view(&["-", "--stats", "-t", "1.5", "--snapshot", path.to_str().unwrap()], &input);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!output.stdout.contains(&0x1b) && !stderr(&output).contains('\u{1b}'));
}

#[test]
fn v16_what_is_no_stream_ends_with_the_offset() {
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"", b"\0\0", &[0xff; 4096]] {
        let output = view(&["-", "--no-window"], garbage);
        assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
        assert!(stderr(&output).contains("at byte"), "{}", stderr(&output));
    }
    let good = colours(&[("camera", RED)], 5);
    let cut = view(&["-", "--no-window"], &good[..good.len() - 3]);
    assert_eq!(cut.status.code(), Some(10));
    assert!(stderr(&cut).contains("the stream ended inside a frame"), "{}", stderr(&cut));
    assert!(view(&["-", "--no-window"], &good).status.success());
}

#[test]
fn what_goes_in_as_h264_comes_out_as_pictures_and_as_itself() {
    let (Some(stream), Some(units)) = (media("BA_MW_D.264"), units("BA_MW_D.264")) else { return };
    let output = view(&["-", "-o", "-", "-f", "y4m"], &stream);
    assert!(output.status.success(), "{}", stderr(&output));
    let mut decoder = InProcess::default();
    let mut expected = b"YUV4MPEG2 W176 H144 F30000:1000 Ip A1:1 C420mpeg2\n".to_vec();
    for unit in &units {
        expected.extend_from_slice(b"FRAME\n");
        expected.extend_from_slice(decoder.decode(&unit.data, false).unwrap().unwrap().data());
    }
    assert!(output.stdout == expected, "{} bytes instead of {}", output.stdout.len(), expected.len());
    let output = view(&["-", "-o", "-", "-f", "h264"], &stream);
    let same: Vec<u8> = units.iter().flat_map(|u| u.data.to_vec()).collect();
    assert!(output.stdout == same);
}

#[test]
fn a_reader_that_goes_away_is_a_normal_end() {
    let Some(stream) = media("BA1_FT_C.264") else { return };
    let mut child = viewer(&["-", "-o", "-", "-f", "y4m"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    drop(child.stdout.take());
    let _ = stdin.write_all(&stream);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}

#[test]
fn without_a_display_the_way_out_is_said() {
    let output = view(&["-"], b"");
    assert_eq!(output.status.code(), Some(8));
    assert!(stderr(&output).contains("--no-window"), "{}", stderr(&output));
}

#[test]
fn v06_a_stream_with_b_frames_is_refused_with_the_option_to_use() {
    let arguments =
        "-v error -f lavfi -i testsrc=s=320x240:r=30 -t 1 -pix_fmt yuv420p -c:v libx264 -bf 2 -f h264 -";
    let Ok(stream) = Command::new("ffmpeg").args(arguments.split(' ')).output() else {
        eprintln!("skipped: no ffmpeg");
        return;
    };
    let output = view(&["-", "-o", "-", "-f", "y4m"], &stream.stdout);
    assert_eq!(output.status.code(), Some(8));
    assert!(stderr(&output).contains("-bf 0"), "{}", stderr(&output));
}

#[test]
fn v06_nothing_that_can_be_shown_ends_with_the_sentence_without_a_recording_too() {
    for (form, words) in [("-pix_fmt yuv420p -bf 2", "B-frames"), ("-pix_fmt yuv444p -bf 0", "4:2:0")] {
        let arguments =
            format!("-v error -f lavfi -i testsrc=s=320x240:r=30 -t 1 {form} -c:v libx264 -f h264 -");
        let Ok(stream) = Command::new("ffmpeg").args(arguments.split(' ')).output() else {
            eprintln!("skipped: no ffmpeg");
            return;
        };
        let output = view(&["-", "--no-window"], &stream.stdout);
        assert_eq!(output.status.code(), Some(8), "{}", stderr(&output));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn what_cannot_be_shown_is_told_at_once_although_the_pipe_stays_open() {
    const TRANSPORT: &[u8] = &[0x47, 0x40, 0, 0x10, 0, 0, 0xb0, 0x0d];
    let matroska = [&[0x1a, 0x45, 0xdf, 0xa3][..], &[0; 40]].concat();
    let y4m = |parameters: &str| format!("YUV4MPEG2 W16 H16 F25:1 {parameters}\n").into_bytes();
    let arguments =
        "-v error -f lavfi -i testsrc=s=320x240:r=30 -t 1 -pix_fmt yuv420p -c:v libx264 -bf 2 -f h264 -";
    let encoded = Command::new("ffmpeg").args(arguments.split(' ')).output().map(|output| output.stdout);
    if encoded.is_err() {
        eprintln!("skipped in part: no ffmpeg");
    }
    for (bytes, words) in [
        (&matroska[..], "Matroska"),
        (TRANSPORT, "MPEG-TS"),
        (&[0, 0, 0, 1, 0x40, 1, 0x0c], "HEVC"),
        (&y4m("C444"), "4:2:0"),
        (&y4m("It"), "interlaced"),
        (encoded.as_deref().unwrap_or(TRANSPORT), if encoded.is_ok() { "B-frames" } else { "MPEG-TS" }),
    ] {
        let mut child = viewer(&["-", "--no-window"]).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(8), "{words}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{words}: {}", stderr(&output));
        drop(stdin);
    }
}

#[test]
fn who_asks_for_somebody_who_is_not_there_is_told_who_is() {
    let dir = tempfile::tempdir().unwrap();
    for (option, name) in [("-o", "a.h264"), ("--snapshot", "a.png")] {
        let path = dir.path().join(name);
        let input = colours(&[("camera", RED), ("slides", GREEN)], 3);
        let output = view(&["-", "--only", "Nobody", "-t", "2", option, path.to_str().unwrap()], &input);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(5), "{said}");
        let sentence = "no track \"Nobody\" in this stream; there: camera, slides";
        assert_eq!(said.matches(sentence).count(), 1, "{said}");
        assert!(said.contains("nothing was written") && !path.exists(), "{said}");
    }
}

#[test]
fn a_recording_that_gets_nothing_leaves_the_one_before_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.h264");
    std::fs::write(&path, "an older recording").unwrap();
    let input = colours(&[("camera", RED)], 3);
    let output = view(&["-", "--only", "nobody", "-t", "1.5", "-o", path.to_str().unwrap()], &input);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert_eq!(std::fs::read(&path).unwrap(), b"an older recording");
    let output = view(&["-", "-o", path.to_str().unwrap()], &input);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        std::fs::read(&path).unwrap().starts_with(&[0, 0, 0, 1]),
        "and one that gets something replaces it"
    );
    for bad in [dir.path().to_owned(), dir.path().join("no/such.h264")] {
        let output = view(&["-", "-f", "h264", "-o", bad.to_str().unwrap()], &input);
        assert_eq!(output.status.code(), Some(9), "at once: {}", stderr(&output));
    }
}

#[test]
fn a_recording_with_several_tracks_to_choose_from_says_which_one_it_is() {
    let input = colours(&[("camera", RED), ("slides", GREEN)], 3);
    let output = view(&["-", "-f", "h264", "-o", "-"], &input);
    let said = stderr(&output);
    assert!(output.status.success() && said.contains("only camera is written, not slides"), "{said}");
    assert!(said.contains("--only"), "{said}");
    let output = view(&["-", "--only", "SLID", "-f", "h264", "-o", "-"], &input);
    assert!(output.status.success() && stderr(&output).is_empty(), "{}", stderr(&output));
    assert!(!output.stdout.is_empty());
}

#[test]
fn a_form_without_a_recording_is_told_what_it_is_for() {
    let output = view(&["-", "-f", "h264"], b"");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("-o FILE") && !said.contains("--room"), "{said}");
}

#[test]
fn a_stream_faster_than_life_is_reported_at_its_end() {
    let mut input = b"YUV4MPEG2 W320 H240 F10:1 C420\n".to_vec();
    for _ in 0..20 {
        input.extend_from_slice(b"FRAME\n");
        input.extend_from_slice(Picture::black(320, 240, Moment::default()).data());
    }
    let output = view(&["-", "--no-window", "--stats=json"], &input);
    let lines = String::from_utf8(output.stdout).unwrap();
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().expect("a line")).unwrap();
    assert!(last["label"] == "y4m" && last["width"] == 320, "{last}");
}

#[test]
fn w21_a_damaged_frame_in_a_pipe_is_left_out() {
    let mut damaged = colours(&[("camera", RED)], 5);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let output = view(&["-", "-o", "-", "-f", "y4m"], &damaged);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("checksum"), "{}", stderr(&output));
    assert_eq!(output.stdout.windows(6).filter(|bytes| bytes == b"FRAME\n").count(), 4);
}

#[test]
fn v05_a_picture_above_the_limit_in_a_pipe_is_left_out() {
    let (Some(stream), Some(units)) = (media("BA_MW_D.264"), units("BA_MW_D.264")) else { return };
    let mut input = stream.clone();
    input.extend_from_slice(&[0, 0, 0, 1, 0x65]);
    input.resize(input.len() + confkit::h264::MAX_ACCESS_UNIT + 1, 0x55);
    input.extend_from_slice(&stream);
    let output = view(&["-", "-o", "-", "-f", "y4m"], &input);
    assert!(output.status.success(), "{}", stderr(&output));
    let pictures = output.stdout.windows(6).filter(|bytes| bytes == b"FRAME\n").count();
    assert!(pictures >= 2 * units.len() - 1, "{pictures} of {}", 2 * units.len());
}

#[test]
fn a_snapshot_goes_to_stdout_or_says_that_the_device_is_full() {
    let input = colours(&[("camera", RED)], 3);
    let output = view(&["-", "--snapshot", "-", "--stats"], &input);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(output.stdout.starts_with(b"\x89PNG") && output.stdout.ends_with(b"IEND\xaeB\x60\x82"));
    let dir = tempfile::tempdir().unwrap();
    // By a link: should it ever be replaced again, that is lost and not the device.
    let full = dir.path().join("full");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let output = view(&["-", "--snapshot", full.to_str().unwrap()], &input);
    assert_eq!(output.status.code(), Some(9), "{}", stderr(&output));
    assert!(full.symlink_metadata().unwrap().is_symlink());
}

#[test]
fn a_recording_in_a_form_that_is_not_known_is_refused_and_the_file_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.mkv");
    let output = view(&["-", "-o", path.to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(!path.exists() && stderr(&output).contains("-f"), "{}", stderr(&output));
}

#[test]
fn a_recording_has_no_latency() {
    let dir = tempfile::tempdir().unwrap();
    let mut picture = Picture::black(320, 240, Moment::default());
    confkit::media::clock::burn(&mut picture, time::wall() - 60_000_000);
    let mut input = b"YUV4MPEG2 W320 H240 F10:1 C420\n".to_vec();
    for _ in 0..20 {
        input.extend_from_slice(b"FRAME\n");
        input.extend_from_slice(picture.data());
    }
    let path = dir.path().join("take.y4m");
    std::fs::write(&path, input).unwrap();
    let mut command = viewer(&["-", "--no-window", "--stats=json"]);
    let output = command.stdin(std::fs::File::open(&path).unwrap()).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert!(last["latency_ms"].is_null() && last["width"] == 320, "{last}");
}

/// A virtual display of its own; ends with the test.
pub(crate) struct Display {
    server: Child,
    pub(crate) name: String,
}

impl Display {
    pub(crate) fn start() -> Option<Self> {
        for tool in ["xdotool", "import"] {
            if Command::new(tool).arg("-version").output().is_err() {
                eprintln!("skipped: no {tool}");
                return None;
            }
        }
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1300x900x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .inspect_err(|_| eprintln!("skipped: no Xvfb"))
            .ok()?;
        let mut line = String::new();
        let mut out = std::io::BufReader::new(server.stdout.take()?);
        std::io::BufRead::read_line(&mut out, &mut line).ok()?;
        Some(Self { server, name: format!(":{}", line.trim()) })
    }

    pub(crate) fn run(&self, command: &str) -> String {
        let mut words = command.split(' ');
        let output =
            Command::new(words.next().unwrap()).args(words).env("DISPLAY", &self.name).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits for the window of conf-view.
    pub(crate) fn window(&self) -> String {
        let began = time::now();
        loop {
            let found = self.run("xdotool search --name conf-view");
            if let Some(id) = found.lines().next() {
                return id.to_owned();
            }
            assert!(time::now().since(began) < Duration::from_secs(20), "no window");
        }
    }

    /// Waits until the window looks as `expected` says.
    pub(crate) fn until(&self, window: &str, what: &str, expected: impl Fn(usize, &[[u8; 3]]) -> bool) {
        let dir = tempfile::tempdir().unwrap();
        let shot = dir.path().join("shot.png");
        let began = time::now();
        while time::now().since(began) < Duration::from_secs(20) {
            self.run(&format!("import -window {window} -depth 8 -type TrueColor png24:{}", shot.display()));
            if shot.exists() && {
                let (width, pixels) = png(&shot);
                expected(width, &pixels)
            } {
                return;
            }
        }
        panic!("the window never showed {what}");
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn a_real_window_shows_what_was_sent_follows_its_size_and_obeys() {
    let Some(display) = Display::start() else { return };
    let mut child = viewer(&["-", "--size", "800x300"]).env("DISPLAY", &display.name).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&colours(&[("left", RED), ("right", GREEN)], 3)).unwrap();
    let window = display.window();
    let at = |pixels: &[[u8; 3]], width: usize, x: usize, y: usize| pixels[y * width + x];
    display.until(&window, "both colours side by side", |width, pixels| {
        width == 800 && is(at(pixels, 800, 200, 60), [255, 0, 0]) && is(at(pixels, 800, 600, 60), [0, 255, 0])
    });
    display.run(&format!("xdotool windowsize {window} 400 640"));
    display.until(&window, "one above the other", |width, pixels| {
        width == 400
            && is(at(pixels, 400, 200, 60), [255, 0, 0])
            && is(at(pixels, 400, 200, 380), [0, 255, 0])
    });
    display.run(&format!("xdotool windowfocus {window} mousemove --window {window} 200 60 key q"));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A window with two colours, its number, and whoever feeds it.
fn red_and_green(display: &Display) -> (Child, std::process::ChildStdin, String) {
    let mut command = viewer(&["-", "--size", "800x300", "--stats=json"]);
    let mut child = command.env("DISPLAY", &display.name).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&colours(&[("left", RED), ("right", GREEN)], 3)).unwrap();
    let window = display.window();
    display.until(&window, "both colours", |width, pixels| alike(width, pixels, 800));
    display.run(&format!("xdotool windowfocus --sync {window}"));
    (child, stdin, window)
}

/// Whether a pixel is red (0) or green (1), or was before its picture became too old and was darkened.
fn hue(pixel: [u8; 3], which: usize) -> bool {
    pixel[which] > 90 && (0..3).all(|other| other == which || pixel[other] < 40)
}

/// Both colours side by side, of one size.
fn alike(width: usize, pixels: &[[u8; 3]], wanted: usize) -> bool {
    // Not in the middle, where it says that nothing has come for some time.
    let at = |x: usize| pixels[pixels.len() / width * 3 / 10 * width + x];
    width == wanted && hue(at(width / 4), 0) && hue(at(width * 3 / 4), 1)
}

/// One colour is by far the most of what is seen.
fn mostly(pixels: &[[u8; 3]], colour: usize, other: usize) -> bool {
    let count = |wanted| pixels.iter().filter(|pixel| hue(**pixel, wanted)).count();
    count(colour) > 4 * count(other) && count(other) > 0
}

#[test]
fn the_shortest_keys_and_clicks_are_noticed() {
    let Some(display) = Display::start() else { return };
    let (mut child, stdin, window) = red_and_green(&display);
    let (red, green) = (0, 1);
    // xdotool lets go at once what it presses.
    display.run("xdotool key Tab");
    display.until(&window, "the first large", |_, pixels| mostly(pixels, red, green));
    display.run("xdotool key Right");
    display.until(&window, "the second large", |_, pixels| mostly(pixels, green, red));
    display.run("xdotool key Escape");
    display.until(&window, "the grid", |width, pixels| alike(width, pixels, 800));
    for (x, large, small) in [(600, green, red), (300, red, green)] {
        display.run(&format!("xdotool mousemove --window {window} {x} 120 click 1"));
        display.until(&window, "what was clicked large", |_, pixels| mostly(pixels, large, small));
        display.run("xdotool key g");
        display.until(&window, "the grid", |width, pixels| alike(width, pixels, 800));
    }
    display.run("xdotool key q");
    assert!(child.wait().unwrap().success());
    drop(stdin);
}

#[test]
fn f_fills_the_screen_and_a_double_click_or_escape_leaves_it() {
    let Some(display) = Display::start() else { return };
    let (mut child, stdin, window) = red_and_green(&display);
    assert_eq!(display.run("xdotool search --class conf-view"), window, "it has a class");
    for (there, back) in [
        ("xdotool key f".to_owned(), "xdotool key Escape".to_owned()),
        (
            format!("xdotool mousemove --window {window} 200 100 click --repeat 2 --delay 20 1"),
            "xdotool key F11".to_owned(),
        ),
    ] {
        display.run(&there);
        display.until(&window, "the whole screen", |width, pixels| alike(width, pixels, 1300));
        display.run(&back);
        display.until(&window, "its own size again", |width, pixels| alike(width, pixels, 800));
    }
    display.run("xdotool key q");
    assert!(child.wait().unwrap().success());
    drop(stdin);
}

#[test]
fn a_window_that_nobody_sees_is_not_drawn_and_is_itself_again_when_it_comes_back() {
    let Some(display) = Display::start() else { return };
    let (mut child, stdin, window) = red_and_green(&display);
    let lines = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut reports = std::io::BufRead::lines(lines)
        .map_while(Result::ok)
        .map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap());
    assert!(reports.next().unwrap()["decoded"] == true);
    display.run(&format!("xdotool windowunmap {window}"));
    assert!(
        reports.by_ref().take(20).any(|report| report["decoded"] == false),
        "nothing is shown in the dark"
    );
    display.run(&format!("xdotool windowmap {window}"));
    display.until(&window, "both colours again", |width, pixels| alike(width, pixels, 800));
    assert!(reports.by_ref().take(20).any(|report| report["decoded"] == true), "and is reported again");
    display.run(&format!("xdotool windowfocus {window}"));
    display.run("xdotool key q");
    assert!(child.wait().unwrap().success());
    drop(stdin);
}
