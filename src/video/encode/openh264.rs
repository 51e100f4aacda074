//! The openh264 backend.

use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, QpRange, RateControlMode,
    UsageType, VuiConfig,
};
use openh264::formats::YUVSource;
use openh264::{Timestamp, encoder};
use openh264_sys2::{
    ENCODER_OPTION_BITRATE, ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, SBitrateInfo, SEncParamExt,
    SPATIAL_LAYER_ALL, UNSPECIFIED_BIT_RATE,
};

use super::{Config, Encoded, Encoder, Error};
use crate::h264::{MAX_ACCESS_UNIT, with_rate};
use crate::media::{Picture, Range};
use crate::time::Moment;

/// Encodes with three temporal layers, in the order 0 2 1 2: each layer can be left out above another.
///
/// Constrained baseline, one slice per picture, an IDR about every two seconds and when asked, at most one picture of
/// delay: none.
pub struct OpenH264 {
    config: Config,
    sequence: Option<Sequence>,
    key_wanted: bool,
}

/// An encoder at work on pictures of one size and range.
struct Sequence {
    codec: encoder::Encoder,
    fps: f64,
    shape: (usize, usize, Range),
    first: Moment,
}

/// Keyframes come this often by themselves, for those who have no way to ask for one.
const KEY_INTERVAL_SECONDS: f64 = 2.0;
/// The temporal pattern repeats after this many pictures; an interval that is no multiple breaks the layers.
const PATTERN: u32 = 4;
const TEMPORAL_LAYERS: i32 = 3;
/// Up to the coarsest there is: a coarse picture is better than none. The encoder leaves its own range, which ends at 42,
/// only where both ends are given (`ParamValidation` in codec/encoder/core/src/encoder_ext.cpp of openh264); below 12
/// nobody sees a difference.
const QUANTISER: QpRange = QpRange::new(12, 51);
/// From this area on time matters more than the last bits.
const LARGE: usize = 1280 * 720;

impl OpenH264 {
    /// An encoder that learns the size of its pictures from the first one.
    pub fn new(config: Config) -> Self {
        Self { config, sequence: None, key_wanted: false }
    }
}

impl Encoder for OpenH264 {
    fn encode(&mut self, picture: &Picture, force_key: bool) -> Result<Option<Encoded>, Error> {
        let shape = (picture.width(), picture.height(), picture.range);
        let sequence = match &mut self.sequence {
            Some(sequence) if sequence.shape == shape => sequence,
            stale => stale.insert(Sequence::start(&self.config, picture)?),
        };
        self.key_wanted |= force_key;
        if self.key_wanted {
            sequence.codec.force_intra_frame();
        }
        let encoded = sequence.encode(picture)?;
        if encoded.as_ref().is_some_and(|encoded| encoded.key) {
            self.key_wanted = false;
        }
        Ok(encoded)
    }

    fn set_bitrate(&mut self, bps: u32) {
        self.config.bitrate = bps;
        if let Some(sequence) = &mut self.sequence {
            sequence.set_bitrate(bps);
        }
    }
}

impl Sequence {
    fn start(config: &Config, picture: &Picture) -> Result<Self, Error> {
        let (width, height) = (picture.width(), picture.height());
        let interval = (config.fps * KEY_INTERVAL_SECONDS).round().max(1.0) as u32;
        let colour = if height < 720 { VuiConfig::bt601() } else { VuiConfig::bt709() };
        let large = width * height >= LARGE;
        let settings = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            .rate_control_mode(RateControlMode::Bitrate)
            .bitrate(BitRate::from_bps(config.bitrate))
            .max_frame_rate(FrameRate::from_hz(config.fps as f32))
            .intra_frame_period(IntraFramePeriod::from_num_frames(interval.next_multiple_of(PATTERN)))
            .complexity(if large { Complexity::Low } else { Complexity::Medium })
            .skip_frames(true)
            .qp(QUANTISER)
            // An IDR at every cut would come when the way out is at its worst.
            .scene_change_detect(false)
            .num_threads(1)
            .debug(false)
            .vui(colour.full_range(picture.range == Range::Full));
        let mut codec =
            encoder::Encoder::with_api_config(OpenH264API::from_source(), settings).map_err(codec_error)?;
        // The layers can be set only on an encoder at work, which makes it start again with an IDR: the picture is
        // encoded twice, and what came first is not used.
        codec.encode(&Source(picture)).map_err(codec_error)?;
        set_layers(&mut codec)?;
        Ok(Self { codec, fps: config.fps, shape: (width, height, picture.range), first: picture.captured })
    }

    fn encode(&mut self, picture: &Picture) -> Result<Option<Encoded>, Error> {
        let since = picture.captured.since(self.first).as_millis() as u64;
        let stream =
            self.codec.encode_at(&Source(picture), Timestamp::from_millis(since)).map_err(codec_error)?;
        if matches!(stream.frame_type(), FrameType::Skip | FrameType::Invalid) || stream.num_layers() == 0 {
            return Ok(None);
        }
        let tid = (0..stream.num_layers())
            .filter_map(|at| stream.layer(at).filter(|layer| layer.is_video()))
            .map(|layer| layer.raw_info().uiTemporalId)
            .max();
        let key = stream.frame_type() == FrameType::IDR;
        let data = stream.to_vec();
        // The encoder has no option for it.
        let data = if key { with_rate(data, self.fps) } else { data };
        if data.len() > MAX_ACCESS_UNIT {
            return Err(Error::TooLarge(data.len()));
        }
        Ok((!data.is_empty()).then(|| Encoded { data: data.into(), key, tid: tid.unwrap_or(0) }))
    }

    #[allow(unsafe_code)]
    fn set_bitrate(&mut self, bps: u32) {
        let mut info =
            SBitrateInfo { iLayer: SPATIAL_LAYER_ALL, iBitrate: i32::try_from(bps).unwrap_or(i32::MAX) };
        // SAFETY: this option takes an SBitrateInfo, which the encoder reads before the call returns; the encoder was
        // initialised by its first picture.
        let code = unsafe {
            self.codec.raw_api().set_option(ENCODER_OPTION_BITRATE, std::ptr::from_mut(&mut info).cast())
        };
        if code != 0 {
            tracing::warn!(bps, code, "the encoder keeps its bitrate");
        }
    }
}

/// Three temporal layers, and no ceiling for the bitrate but the one that is set later.
#[allow(unsafe_code)]
fn set_layers(codec: &mut encoder::Encoder) -> Result<(), Error> {
    let mut params = SEncParamExt::default();
    let pointer: *mut std::ffi::c_void = std::ptr::from_mut(&mut params).cast();
    // SAFETY: this option takes an SEncParamExt both ways, and the encoder was initialised by its first picture.
    let code = unsafe { codec.raw_api().get_option(ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, pointer) };
    check(code, "its parameters cannot be read")?;
    params.iTemporalLayerNum = TEMPORAL_LAYERS;
    params.iMaxBitrate = UNSPECIFIED_BIT_RATE as i32;
    params.sSpatialLayers[0].iMaxSpatialBitrate = UNSPECIFIED_BIT_RATE as i32;
    let pointer: *mut std::ffi::c_void = std::ptr::from_mut(&mut params).cast();
    // SAFETY: as above.
    let code = unsafe { codec.raw_api().set_option(ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, pointer) };
    check(code, "it refuses temporal layers")?;
    codec.force_intra_frame();
    Ok(())
}

fn check(code: i32, what: &str) -> Result<(), Error> {
    if code == 0 { Ok(()) } else { Err(Error::Codec(format!("{what} (code {code})"))) }
}

fn codec_error(error: openh264::Error) -> Error {
    Error::Codec(error.to_string())
}

/// A picture as openh264 wants to see it.
struct Source<'a>(&'a Picture);

impl YUVSource for Source<'_> {
    fn dimensions(&self) -> (usize, usize) {
        (self.0.width(), self.0.height())
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.0.width(), self.0.width() / 2, self.0.width() / 2)
    }

    fn y(&self) -> &[u8] {
        self.0.y()
    }

    fn u(&self) -> &[u8] {
        self.0.u()
    }

    fn v(&self) -> &[u8] {
        self.0.v()
    }
}

impl std::fmt::Debug for OpenH264 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenH264({:?})", self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h264;
    use crate::media::clock;
    use openh264::decoder::Decoder;
    use std::time::Duration;

    const START: u64 = 1_763_822_000_123_400;

    fn clock_picture(width: usize, height: usize, number: u64) -> Picture {
        let mut picture = Picture::black(width, height, Moment::from_micros(number * 33_333));
        let (y, u, _) = picture.planes_mut();
        for (at, pixel) in y.iter_mut().enumerate() {
            *pixel = (16 + (at % width + at / width + number as usize * 3) % 200) as u8;
        }
        u.fill(90 + (number % 40) as u8);
        clock::burn(&mut picture, START + number * 33_300);
        picture
    }

    fn encoder(bitrate: u32) -> OpenH264 {
        OpenH264::new(Config { fps: 30.0, bitrate })
    }

    fn run(
        encoder: &mut OpenH264,
        width: usize,
        height: usize,
        numbers: std::ops::Range<u64>,
    ) -> Vec<Encoded> {
        numbers.filter_map(|n| encoder.encode(&clock_picture(width, height, n), false).unwrap()).collect()
    }

    /// The burnt-in times of what a decoder shows; fails on any decoding error.
    fn decoded_times(units: impl Iterator<Item = Encoded>) -> Vec<u64> {
        let mut decoder = Decoder::new().unwrap();
        units
            .filter_map(|unit| {
                let picture = decoder.decode(&unit.data).expect("decodes")?;
                let ((width, height), stride) = (picture.dimensions(), picture.strides().0);
                Some(clock::read(picture.y(), width, height, stride).expect("readable"))
            })
            .collect()
    }

    #[test]
    fn the_first_picture_is_a_keyframe_that_a_decoder_shows() {
        let first = run(&mut encoder(800_000), 320, 240, 0..1).remove(0);
        assert!(first.key && first.tid == 0);
        let summary = h264::inspect(&first.data).unwrap();
        assert!(summary.key);
        let info = summary.info.unwrap();
        assert_eq!((info.width, info.height, info.full_range, info.fps), (320, 240, false, Some(30.0)));
        assert_eq!(decoded_times([first].into_iter()), [START]);
    }

    #[test]
    fn every_selection_of_layers_decodes_without_an_error() {
        let units = run(&mut encoder(2_000_000), 320, 240, 0..80);
        let tids: Vec<u8> = units.iter().take(9).map(|unit| unit.tid).collect();
        assert_eq!(tids, [0, 2, 1, 2, 0, 2, 1, 2, 0]);
        for highest in 0..=2 {
            let kept: Vec<_> = units.iter().filter(|unit| unit.tid <= highest).cloned().collect();
            assert_eq!(decoded_times(kept.iter().cloned()).len(), kept.len(), "up to T{highest}");
        }
        let keys: Vec<_> = (0..80).filter(|n| units[*n].key).collect();
        assert_eq!(keys, [0, 60]);
    }

    #[test]
    fn the_clock_is_readable_at_100_kbit_per_second() {
        for (width, height) in [(640, 480), (320, 240), (256, 144)] {
            let units = run(&mut encoder(100_000), width, height, 0..60);
            let times = decoded_times(units.into_iter());
            assert!(times.len() >= 5, "{width}x{height}: {} pictures", times.len());
            assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn a_keyframe_comes_when_asked_and_the_bitrate_changes_without_one() {
        let mut encoder = encoder(3_000_000);
        let noisy = |encoder: &mut OpenH264, numbers: std::ops::Range<u64>| {
            let units: Vec<_> = numbers
                .filter_map(|number| {
                    let mut picture = clock_picture(320, 240, number);
                    let mut noise = number + 1;
                    for pixel in picture.planes_mut().0.iter_mut().skip(320 * 40) {
                        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        *pixel = 100 + (noise >> 60) as u8 * 4;
                    }
                    encoder.encode(&picture, false).unwrap()
                })
                .collect();
            units
        };
        noisy(&mut encoder, 0..20);
        let fast = noisy(&mut encoder, 20..40);
        encoder.set_bitrate(300_000);
        let slow = noisy(&mut encoder, 40..60);
        assert!(fast.iter().chain(&slow).all(|unit| !unit.key));
        let bytes = |units: &[Encoded]| units.iter().map(|unit| unit.data.len()).sum::<usize>();
        assert!(bytes(&slow) * 2 < bytes(&fast), "{} and {} bytes", bytes(&slow), bytes(&fast));
        encoder.set_bitrate(3_000_000);
        let asked = (60..90).find_map(|n| encoder.encode(&clock_picture(320, 240, n), n == 60).unwrap());
        let asked = asked.expect("a picture within a second");
        assert!(asked.key && h264::inspect(&asked.data).unwrap().key);
    }

    #[test]
    fn c04_another_size_begins_with_parameter_sets_and_a_keyframe() {
        let mut encoder = encoder(800_000);
        let mut units = run(&mut encoder, 320, 240, 0..10);
        let from = units.len();
        units.extend(run(&mut encoder, 640, 360, 10..20));
        let info = h264::inspect(&units[from].data).unwrap().info.unwrap();
        assert_eq!((info.width, info.height, units[from].key), (640, 360, true));
        let all = units.len();
        assert_eq!(decoded_times(units.into_iter()).len(), all);
    }

    #[test]
    fn c04_a_full_range_source_says_so() {
        let mut picture = clock_picture(320, 240, 0);
        picture.range = Range::Full;
        let unit = encoder(800_000).encode(&picture, false).unwrap().unwrap();
        assert!(h264::inspect(&unit.data).unwrap().info.unwrap().full_range);
    }

    #[test]
    fn time_that_stands_still_is_no_error() {
        let mut encoder = encoder(800_000);
        let mut picture = clock_picture(320, 240, 0);
        for _ in 0..5 {
            encoder.encode(&picture, false).unwrap();
        }
        picture.captured = Moment::default() + Duration::from_secs(3600);
        encoder.encode(&picture, false).unwrap();
    }
}
