//! Cameras: nokhwa over V4L2.
//!
//! nokhwa opens and reads; before it does, the device is asked directly (`v4l`, which nokhwa is built on) what it can
//! do and set to the chosen mode, because nokhwa gives up on a camera whose present format it does not know.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nokhwa::Camera as Nokhwa;
use nokhwa::utils::{
    ApiBackend, CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType, Resolution,
};
use v4l::FourCC;
use v4l::capability::Flags;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;
use v4l::video::capture::Parameters;

use super::convert::{Layout, to_picture};
use super::{Description, Device, Error, Mode, Opener, Pixels, Want, rank, start_first};
use crate::media::{Picture, Size};
use crate::time;

/// Which camera.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CameraId {
    /// The first there is.
    #[default]
    First,
    /// `/dev/videoN`.
    Number(usize),
    /// The first whose name contains this, whatever the case.
    Name(String),
}

impl FromStr for CameraId {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix("/dev/video").unwrap_or(text).parse();
        Ok(number.map_or_else(|_| Self::Name(text.to_lowercase()), Self::Number))
    }
}

/// A camera of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What `--video camera:ID` takes.
    pub number: usize,
    /// The device.
    pub path: PathBuf,
    /// What it calls itself.
    pub name: String,
    /// How it can work, or why it cannot be asked.
    pub modes: Result<Vec<Mode>, String>,
}

/// The cameras of this machine, by number. A device that only carries metadata is left out; one that cannot be opened is
/// there, with the reason.
pub fn list() -> Vec<Listed> {
    let mut numbers: Vec<usize> = fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("video")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers.into_iter().filter_map(listed).collect()
}

fn listed(number: usize) -> Option<Listed> {
    let path = path_of(number);
    let named = fs::read_to_string(format!("/sys/class/video4linux/video{number}/name"));
    let name = named.map_or_else(|_| path.display().to_string(), |name| crate::text::scrub(name.trim(), 64));
    let modes = match v4l::Device::with_path(&path) {
        Err(error) => Err(open_error(&path, &error).to_string()),
        Ok(device) => {
            let caps = device.query_caps().ok()?;
            if !caps.capabilities.contains(Flags::VIDEO_CAPTURE | Flags::STREAMING) {
                return None;
            }
            Ok(modes(&device).0)
        }
    };
    Some(Listed { number, path, name, modes })
}

fn path_of(number: usize) -> PathBuf {
    PathBuf::from(format!("/dev/video{number}"))
}

/// Opens one camera in the best mode that works.
#[derive(Debug, Clone)]
pub struct Camera {
    id: CameraId,
    want: Want,
    description: Description,
}

impl Camera {
    /// The camera `id`, with what is wanted of it.
    pub fn new(id: CameraId, want: Want) -> Self {
        let size = Size { width: 640, height: 480 };
        let description =
            Description { label: "camera", name: String::new(), size, fps: want.fps.unwrap_or(30.0) };
        Self { id, want, description }
    }

    fn find(&self) -> Result<Listed, Error> {
        let mut all = list().into_iter();
        let found = match &self.id {
            CameraId::First => all.next(),
            CameraId::Number(number) => all.find(|camera| camera.number == *number),
            CameraId::Name(part) => all.find(|camera| camera.name.to_lowercase().contains(part)),
        };
        found.ok_or_else(|| {
            Error::NoCamera(match &self.id {
                CameraId::First => "there is no camera (no /dev/video*)".into(),
                CameraId::Number(number) => format!("there is no camera {} (/dev/video{number})", number),
                CameraId::Name(part) => format!("there is no camera with \"{part}\" in its name"),
            })
        })
    }
}

impl Opener for Camera {
    type Device = OpenCamera;

    fn open(&mut self) -> Result<OpenCamera, Error> {
        let camera = self.find()?;
        let device =
            v4l::Device::with_path(&camera.path).map_err(|error| open_error(&camera.path, &error))?;
        let (modes, others) = modes(&device);
        let none = Error::NoMode { path: camera.path.clone(), offers: others };
        let ranked = rank(modes, &self.want);
        let (open, mode) = start_first(ranked, none, |mode| start(&device, &camera, mode))?;
        let size = Size { width: open.layout.width, height: open.layout.height };
        self.description = Description { label: "camera", name: camera.name, size, fps: f64::from(mode.fps) };
        tracing::info!(camera = self.description.name, %mode, "capturing");
        Ok(open)
    }

    fn describe(&self) -> Description {
        self.description.clone()
    }
}

fn start(device: &v4l::Device, camera: &Listed, mode: Mode) -> Result<OpenCamera, Error> {
    let path = &camera.path;
    let io_error = |error: io::Error| open_error(path, &error);
    let wanted = v4l::Format::new(mode.width as u32, mode.height as u32, four_cc(mode.pixels));
    let format = device.set_format(&wanted).map_err(io_error)?;
    device.set_params(&Parameters::with_fps(mode.fps)).map_err(io_error)?;
    let frame_format = match mode.pixels {
        Pixels::Yuyv => FrameFormat::YUYV,
        Pixels::Nv12 => FrameFormat::NV12,
        Pixels::Mjpeg => FrameFormat::MJPEG,
    };
    let resolution = Resolution::new(format.width, format.height);
    let exact = CameraFormat::new(resolution, frame_format, mode.fps);
    let formats = [frame_format];
    let request = RequestedFormat::with_formats(RequestedFormatType::Exact(exact), &formats);
    let index = CameraIndex::Index(camera.number as u32);
    let nokhwa_error = |error: nokhwa::NokhwaError| nokhwa_error(path, &error.to_string());
    let mut nokhwa = Nokhwa::with_backend(index, request, ApiBackend::Video4Linux).map_err(nokhwa_error)?;
    nokhwa.open_stream().map_err(nokhwa_error)?;
    let layout = Layout {
        pixels: mode.pixels,
        width: format.width as usize,
        height: format.height as usize,
        stride: if mode.pixels == Pixels::Mjpeg { 0 } else { format.stride as usize },
    };
    let mut open = OpenCamera { nokhwa: Some(nokhwa), layout, path: path.clone(), first: None };
    // The stream begins with the first read, and only then is it known whether the bus has room for it.
    open.first = Some(open.capture()?);
    Ok(open)
}

/// A camera at work.
pub struct OpenCamera {
    nokhwa: Option<Nokhwa>,
    layout: Layout,
    path: PathBuf,
    /// Was read to see whether the camera works.
    first: Option<Result<Picture, String>>,
}

impl Device for OpenCamera {
    fn read(&mut self) -> Result<Result<Picture, String>, Error> {
        self.first.take().map_or_else(|| self.capture(), Ok)
    }
}

impl OpenCamera {
    fn capture(&mut self) -> Result<Result<Picture, String>, Error> {
        let Some(nokhwa) = &mut self.nokhwa else {
            return Err(Error::Device { path: self.path.clone(), why: "it is closed".into() });
        };
        let bytes = nokhwa.frame_raw().map_err(|error| nokhwa_error(&self.path, &error.to_string()))?;
        // The driver's own time is that of the end of the exposure on another clock; the moment of delivery is at most
        // one transfer later and never goes back.
        Ok(to_picture(self.layout, &bytes, time::now()))
    }
}

impl Drop for OpenCamera {
    fn drop(&mut self) {
        let nokhwa = self.nokhwa.take();
        // Below nokhwa a stream that cannot be ended panics; for a camera that was pulled out that is not our end.
        let closed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || drop(nokhwa)));
        if closed.is_err() {
            tracing::debug!("the camera could not be closed in order");
        }
    }
}

impl std::fmt::Debug for OpenCamera {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenCamera({}, {:?})", self.path.display(), self.layout)
    }
}

/// The modes that can be used, and the names of all formats for an error.
fn modes(device: &v4l::Device) -> (Vec<Mode>, String) {
    let (mut modes, mut names) = (Vec::new(), Vec::new());
    for described in device.enum_formats().unwrap_or_default() {
        names.push(described.fourcc.to_string());
        let Some(pixels) = pixels(described.fourcc) else { continue };
        for size in device.enum_framesizes(described.fourcc).unwrap_or_default() {
            let FrameSizeEnum::Discrete(size) = size.size else { continue };
            let intervals = device.enum_frameintervals(described.fourcc, size.width, size.height);
            for interval in intervals.unwrap_or_default() {
                let FrameIntervalEnum::Discrete(interval) = interval.interval else { continue };
                if interval.numerator == 1 {
                    let (width, height) = (size.width as usize, size.height as usize);
                    modes.push(Mode { pixels, width, height, fps: interval.denominator });
                }
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    let none = names.is_empty().then(|| "none".to_owned());
    (modes, none.unwrap_or_else(|| names.join(", ")))
}

fn pixels(four_cc: FourCC) -> Option<Pixels> {
    match &four_cc.repr {
        b"YUYV" => Some(Pixels::Yuyv),
        b"NV12" => Some(Pixels::Nv12),
        b"MJPG" => Some(Pixels::Mjpeg),
        _ => None,
    }
}

fn four_cc(pixels: Pixels) -> FourCC {
    FourCC::new(match pixels {
        Pixels::Yuyv => b"YUYV",
        Pixels::Nv12 => b"NV12",
        Pixels::Mjpeg => b"MJPG",
    })
}

fn open_error(path: &Path, error: &io::Error) -> Error {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => Error::Forbidden(path.into()),
        Some(rustix::io::Errno::BUSY) => Error::Busy(path.into()),
        Some(rustix::io::Errno::NOSPC) => Error::Bandwidth(path.into()),
        _ => Error::Device { path: path.into(), why: error.to_string() },
    }
}

/// nokhwa gives the system's error as text only.
fn nokhwa_error(path: &Path, text: &str) -> Error {
    if text.contains("os error 16") {
        Error::Busy(path.into())
    } else if text.contains("os error 13") {
        Error::Forbidden(path.into())
    } else if text.contains("os error 19") {
        Error::Device { path: path.into(), why: "it was unplugged".into() }
    } else if text.contains("os error 28") {
        Error::Bandwidth(path.into())
    } else {
        Error::Device { path: path.into(), why: text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_are_named_by_number_device_or_part_of_their_name() {
        let id = |text: &str| text.parse::<CameraId>().unwrap();
        assert_eq!(id("0"), CameraId::Number(0));
        assert_eq!(id("/dev/video12"), CameraId::Number(12));
        assert_eq!(id("Logi"), CameraId::Name("logi".into()));
    }

    #[test]
    fn c01_c13_c14_errors_name_the_device_and_what_to_do() {
        let path = Path::new("/dev/video3");
        let said = |number| open_error(path, &io::Error::from_raw_os_error(number)).to_string();
        assert!(said(13).contains("/dev/video3") && said(13).contains("group `video`"));
        assert!(said(16).contains("/dev/video3") && said(16).contains("in use"));
        assert!(nokhwa_error(path, "Device or resource busy (os error 16)").to_string().contains("in use"));
        assert!(matches!(nokhwa_error(path, "No space left on device (os error 28)"), Error::Bandwidth(_)));
        assert!(said(28).contains("/dev/video3") && said(28).contains("--fps"));
        assert!(nokhwa_error(path, "No such device (os error 19)").to_string().contains("unplugged"));
    }

    #[test]
    fn c01_a_camera_that_is_not_there_is_named() {
        let want = Want { size: crate::video::capture::Target::Natural, fps: None, pixels: None };
        let error = Camera::new(CameraId::Number(4999), want).open().expect_err("not there");
        assert!(error.to_string().contains("/dev/video4999") && error.to_string().contains("--list"));
    }
}
