//! conf-cam as its users see it: the real program in real pipes.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use confkit::media::clock;
use confkit::time;
use confkit::video::capture::Stop;
use confkit::video::decode::{Decoder, InProcess};
use confkit::wire::{Control, Frame, Incoming, Kind, Parser};

const MEDIA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/media/");

fn cam(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conf-cam"));
    command.args(arguments.split(' ')).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(arguments: &str) -> Child {
    cam(arguments).spawn().unwrap()
}

fn ended(output: &Output, code: i32) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
}

/// The frames that come out of `child`, until `enough` says so or there are no more.
fn frames(child: &mut Child, mut enough: impl FnMut(&[Frame]) -> bool) -> Vec<Frame> {
    let (mut parser, mut found, mut bytes) = (Parser::new(), Vec::new(), [0; 4096]);
    let stdout = child.stdout.as_mut().unwrap();
    while !enough(&found) {
        let count = stdout.read(&mut bytes).unwrap();
        if count == 0 {
            break;
        }
        parser.push(&bytes[..count]);
        while let Some(incoming) = parser.poll().unwrap() {
            let Incoming::Frame(frame) = incoming else { panic!("a damaged frame") };
            found.push(frame);
        }
    }
    found
}

fn pictures(frames: &[Frame]) -> impl Iterator<Item = &Frame> {
    frames.iter().filter(|frame| frame.header.kind == Kind::Video)
}

fn stop(mut child: Child) -> Output {
    drop(child.stdout.take());
    child.wait_with_output().unwrap()
}

/// Has ffmpeg decode `bytes`: the number of pictures and what it complained about.
fn ffmpeg(form: &str, bytes: &[u8]) -> Option<(usize, String)> {
    let mut arguments = vec!["-v", "error", "-f", form, "-i", "-", "-fps_mode", "passthrough"];
    arguments.extend(["-f", "rawvideo", "-pix_fmt", "gray", "-vf", "scale=16:16", "-"]);
    let spawned = Command::new("ffmpeg")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        eprintln!("skipped: there is no ffmpeg");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes).unwrap());
        child.wait_with_output().unwrap()
    });
    Some((output.stdout.len() / 256, String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn ffmpeg_plays_what_is_written() {
    for (form, arguments) in [
        ("h264", "--video test:clock -f h264 --frames 30 --fps 60"),
        ("yuv4mpegpipe", "--video test:bars --quality low -f y4m --frames 30 --fps 60"),
    ] {
        let output = cam(arguments).output().unwrap();
        ended(&output, 0);
        let Some((pictures, said)) = ffmpeg(form, &output.stdout) else { return };
        assert_eq!((pictures, said.as_str()), (30, ""), "{form}");
    }
}

#[test]
fn every_selection_of_temporal_layers_plays() {
    let mut child = start("--video test:clock --size 320x240 --fps 60 --frames 64");
    let all = frames(&mut child, |_| false);
    ended(&stop(child), 0);
    let tids: Vec<u8> = pictures(&all).take(5).map(|frame| frame.header.media.unwrap().tid).collect();
    assert_eq!(tids, [0, 2, 1, 2, 0]);
    for highest in 0..=2 {
        let kept: Vec<&Frame> =
            pictures(&all).filter(|frame| frame.header.media.unwrap().tid <= highest).collect();
        let stream: Vec<u8> = kept.iter().flat_map(|frame| frame.payload().to_vec()).collect();
        let mut decoder = InProcess::default();
        for frame in &kept {
            let picture = decoder.decode(frame.payload(), false).expect("decodes").expect("a picture");
            assert!(clock::read(picture.y(), 320, 240, 320).is_some());
        }
        let Some((shown, said)) = ffmpeg("h264", &stream) else { return };
        assert_eq!((shown, said.as_str()), (kept.len(), ""), "up to T{highest}");
    }
}

#[test]
fn the_stream_describes_itself_and_its_pictures_count_up() {
    let mut child = start("--video test:clock --size 320x240 --fps 60 --frames 10");
    let all = frames(&mut child, |_| false);
    ended(&stop(child), 0);
    let Ok(Control::Tracks(tracks)) = all[0].operation() else { panic!("{:?}", all[0].header) };
    let source = &tracks.tracks[0].source;
    assert_eq!((source.width, source.height, source.fps, source.codec.as_str()), (320, 240, 60.0, "h264"));
    let media: Vec<_> = pictures(&all).map(|frame| frame.header.media.unwrap()).collect();
    assert!(media[0].key && media[0].pts == 0);
    assert!(media.iter().enumerate().all(|(at, media)| media.seq == at as u64));
    assert!(media.windows(2).all(|pair| pair[0].pts < pair[1].pts));
}

#[test]
fn c07_a_reader_that_goes_away_is_a_normal_end() {
    for format in ["conf", "h264", "y4m"] {
        let mut child = start(&format!("--video test:noise -f {format}"));
        let mut head = vec![0; 20_000];
        child.stdout.as_mut().unwrap().read_exact(&mut head).unwrap();
        let output = stop(child);
        ended(&output, 0);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{format}");
    }
}

#[test]
fn c09_a_reader_that_stops_gets_the_present_when_it_goes_on() {
    let mut child = start("--video test:noise --size 320x240 --bitrate 4M");
    let before = frames(&mut child, |frames| frames.len() > 20).len();
    // The reader does nothing for two seconds.
    Stop::new().wait_until(time::now() + Duration::from_secs(2));
    let after = frames(&mut child, |frames| frames.len() > 60);
    stop(child);
    let media: Vec<_> = pictures(&after).map(|frame| frame.header.media.unwrap()).collect();
    let gap = media.windows(2).position(|pair| pair[1].pts - pair[0].pts > 1_400_000);
    let gap = gap.unwrap_or_else(|| panic!("no pause in the pictures after {before}"));
    // Two in the program, and a pipe of some pictures' length.
    assert!(gap <= 12, "{gap} old pictures were kept");
    assert!(media.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1), "what was encoded was dropped");
}

#[test]
fn a_keyframe_comes_when_the_reader_asks_for_one() {
    let mut child = start("--video test:clock --size 320x240 --fps 30");
    let first = frames(&mut child, |frames| frames.len() > 3);
    let Ok(Control::Tracks(tracks)) = first[0].operation() else { panic!("no tracks") };
    let path = tracks.feedback.expect("a feedback socket");
    let directory = Path::new(&path).parent().unwrap().to_owned();
    assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let socket = UnixDatagram::unbound().unwrap();
    socket.send_to(b"nonsense", &path).unwrap();
    // Keyframes are at least half a second apart.
    frames(&mut child, |frames| frames.len() > 18);
    socket.send_to(br#"{"op":"keyframe","track":1}"#, &path).unwrap();
    let after = frames(&mut child, |frames| pictures(frames).any(|frame| frame.header.media.unwrap().key));
    // By itself one comes after 60.
    assert!(after.len() < 20, "{} pictures later", after.len());
    ended(&stop(child), 0);
    assert!(!directory.exists(), "the socket is left behind");
}

#[test]
fn what_a_killed_one_has_left_the_next_one_removes() {
    let home = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = cam("--video test:clock --size 320x240 --fps 30");
        let mut child = command.env("TMPDIR", home.path()).env_remove("XDG_RUNTIME_DIR").spawn().unwrap();
        frames(&mut child, |frames| frames.len() > 1);
        child
    };
    let left = || std::fs::read_dir(home.path()).unwrap().count();
    let (mut killed, living) = (start(), start());
    assert_eq!(left(), 2);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(left(), 2);
    let last = start();
    assert_eq!(left(), 2, "its own, and that of the one that lives");
    ended(&stop(living), 0);
    ended(&stop(last), 0);
    assert_eq!(left(), 0);
}

#[test]
fn signals_end_it_with_their_code() {
    use rustix::process::{Pid, Signal, kill_process};
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut child = start("--video test:clock");
        frames(&mut child, |frames| frames.len() > 2);
        kill_process(Pid::from_child(&child), signal).unwrap();
        frames(&mut child, |_| false);
        ended(&stop(child), code);
    }
}

#[test]
fn c08_a_terminal_is_not_given_binary_data_unless_one_insists() {
    let on_a_terminal = |arguments: &str| {
        let line = format!("{} --video test:clock --frames 2 {arguments}", env!("CARGO_BIN_EXE_conf-cam"));
        // -e: the exit code is the program's; its stdout is a terminal that script makes.
        Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output()
    };
    let Ok(refused) = on_a_terminal("") else {
        eprintln!("skipped: script is not there");
        return;
    };
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(said.contains("--force") && !said.contains("\"op\""), "{said}");
    let forced = on_a_terminal("--force").unwrap();
    assert_eq!(forced.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&forced.stdout).contains("\"op\":\"tracks\""));
}

#[test]
fn c01_c12_what_cannot_work_says_why() {
    for (arguments, code, says) in [
        ("--video camera:4999", 8, "/dev/video4999"),
        ("--video file:/nowhere/a.y4m", 9, "/nowhere/a.y4m"),
        ("--video file:/dev/null", 10, "nothing is in it"),
        ("--video file:/tmp", 9, "directory"),
        ("--video test:clock --loop", 2, "--loop is for files"),
        ("--video test:clock --pixel-format yuyv", 2, "--pixel-format is for cameras"),
        ("--video test:clock --snapshot me.jpg", 2, "name it me.png"),
        ("--size 0x0", 2, "--size"),
        ("--video test:clock -o /nowhere/take.conf", 9, "/nowhere/take.conf"),
        ("--video test:clock --snapshot /nowhere/a.png", 9, "/nowhere/a.png"),
    ] {
        let output = cam(arguments).output().unwrap();
        ended(&output, code);
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{arguments}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn v06_what_cannot_be_used_ends_with_8_and_what_is_no_stream_with_10() {
    let y4m = |tags: &str| format!("YUV4MPEG2 W64 H48 F25:1 {tags}\nFRAME\n").into_bytes();
    for (bytes, code, says) in [
        (&b"\x1a\x45\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1f"[..], 8, "this is Matroska"),
        (b"\x00\x00\x00\x18ftypmp42", 8, "this is MP4"),
        (&y4m("C444"), 8, "not 4:2:0"),
        (&y4m("It"), 8, "interlaced"),
        (b"GIF89a and so on", 10, "neither Y4M nor H.264"),
        (b"\x00\x00\x00\x01\x41\x9a\x00", 10, "no keyframe"),
    ] {
        let mut child = cam("--video file:-").stdin(Stdio::piped()).spawn().unwrap();
        // A program that has seen enough may be gone already.
        let _ = child.stdin.take().unwrap().write_all(bytes);
        let output = child.wait_with_output().unwrap();
        ended(&output, code);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(says) && output.stdout.is_empty(), "{said}");
    }
}

#[test]
fn an_encoded_file_passes_through_untouched_and_a_limit_of_time_holds() {
    let path = format!("{MEDIA}Zhling_1280x720.264");
    let Ok(stream) = std::fs::read(&path) else {
        eprintln!("skipped: {path} is not there");
        return;
    };
    let output = cam(&format!("--video file:{path} -f h264 --fps 120")).output().unwrap();
    ended(&output, 0);
    let units =
        |bytes: &[u8]| confkit::h264::units(bytes).map(|unit| unit.bytes().to_vec()).collect::<Vec<_>>();
    assert_eq!(units(&output.stdout), units(&stream));
    let output = cam(&format!("--video file:{path} --loop -t 500ms -f h264 --fps 60")).output().unwrap();
    ended(&output, 0);
    assert_eq!(ffmpeg("h264", &output.stdout).map_or(30, |(pictures, _)| pictures), 30);
}

#[test]
fn pictures_of_a_pipe_are_encoded_and_keep_their_content() {
    let path = format!("{MEDIA}two_people_320x192_12fps.y4m");
    let Ok(stream) = std::fs::read(&path) else {
        eprintln!("skipped: {path} is not there");
        return;
    };
    let mut command = cam("--video file:- --bitrate 4M");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn({
        let stream = stream.clone();
        move || stdin.write_all(&stream)
    });
    let all = frames(&mut child, |_| false);
    writer.join().unwrap().unwrap();
    ended(&stop(child), 0);
    let first = pictures(&all).next().unwrap();
    let shown = InProcess::default().decode(first.payload(), false).unwrap().unwrap();
    let at = stream.windows(6).position(|part| part == b"FRAME\n").unwrap() + 6;
    let sent = &stream[at..at + 320 * 192];
    let difference: u64 = shown.y().iter().zip(sent).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert!(difference / (320 * 192) < 5, "mean difference {}", difference / (320 * 192));
}

#[test]
fn a_list_is_for_people_and_for_programs() {
    let output = cam("--list").output().unwrap();
    ended(&output, 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("test:clock"));
    let output = cam("--list=json").output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["cameras"].is_array());
}
