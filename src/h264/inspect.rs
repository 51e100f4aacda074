//! What an access unit claims to be, and whether a decoder may see it.

use h264_reader::nal::sps::{ChromaFormat, FrameMbsFlags, SeqParameterSet, SpsError};
use h264_reader::rbsp::{BitReader, ByteReader};

use super::nal::{Kind, Unit, units};
use super::{MAX_ACCESS_UNIT, MAX_UNITS};

/// What one access unit contains.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// From its sequence parameter set, where it has one.
    pub info: Option<StreamInfo>,
    /// It has an IDR picture, a sequence and a picture parameter set: a decoder can start here.
    pub key: bool,
    /// Slices, which together are one picture; 0 when there is none.
    pub slices: usize,
}

/// What a sequence parameter set says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreamInfo {
    /// Width in pixels of what is shown, after cropping.
    pub width: usize,
    /// Height in pixels of what is shown, after cropping.
    pub height: usize,
    /// `profile_idc`: 66 baseline, 77 main, 100 high.
    pub profile_idc: u8,
    /// `level_idc`: ten times the level.
    pub level_idc: u8,
    /// Pictures per second, where the stream says so.
    pub fps: Option<f64>,
    /// Luma from 0 to 255 instead of 16 to 235.
    pub full_range: bool,
}

/// Why an access unit must not reach a decoder, in words for whoever encodes the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Bytes above the limit.
    #[error("the picture has {0} bytes, more than {MAX_ACCESS_UNIT}; lower the bitrate (ffmpeg: -b:v 2M)")]
    TooLarge(usize),
    /// NAL units above the limit.
    #[error("the picture is cut into more than {MAX_UNITS} parts (ffmpeg: -slices 4)")]
    TooManyUnits,
    /// No start code anywhere.
    #[error("this is not H.264 in Annex B form (ffmpeg: -f h264, from MP4 also -bsf:v h264_mp4toannexb)")]
    NotAnnexB,
    /// Pictures above 4096x2304.
    #[error("the picture is larger than {MAX_SIDE}x2304 pixels (ffmpeg: -vf scale=1280:-2)")]
    Size,
    /// Cropping leaves no picture.
    #[error("the stream is damaged: its cropping is larger than its picture")]
    Cropping,
    /// Pictures that need later ones.
    #[error("the stream has B-frames, which cannot be shown live (ffmpeg: -bf 0 or -tune zerolatency)")]
    BSlices,
    /// Fields instead of frames.
    #[error("the stream is interlaced (ffmpeg: -vf yadif -flags -ildct-ilme)")]
    Interlaced,
    /// Not 4:2:0 with 8 bits.
    #[error("the stream is not 4:2:0 with 8 bits (ffmpeg: -pix_fmt yuv420p)")]
    PixelFormat,
    /// A profile other than baseline, main and high.
    #[error("profile {0} of H.264 cannot be shown (ffmpeg: -profile:v baseline)")]
    Profile(u8),
    /// Slices of kinds that only Extended, scalable and multiview streams have.
    #[error("the stream uses parts of H.264 that cannot be shown (ffmpeg: -profile:v baseline)")]
    Extension,
    /// A picture that is larger than its level allows.
    #[error("the stream is larger than its level says (ffmpeg: leave out -level)")]
    Level,
    /// More reference pictures than the level allows.
    #[error("the stream asks for {frames} reference pictures, its level allows {most} (ffmpeg: -refs 1)")]
    References {
        /// Asked for.
        frames: u32,
        /// Allowed.
        most: u32,
    },
    /// A parameter set or slice header that cannot be read.
    #[error("the stream is damaged: its {0} cannot be read")]
    Damaged(&'static str),
}

impl Refusal {
    /// Whether it is about the kind of stream, so that what follows cannot be shown either; else one picture is damaged
    /// or too large.
    pub fn is_final(&self) -> bool {
        !matches!(
            self,
            Self::TooLarge(_) | Self::TooManyUnits | Self::NotAnnexB | Self::Cropping | Self::Damaged(_)
        )
    }
}

/// The longest side of a picture.
const MAX_SIDE: u32 = 4096;
/// Macroblocks of a picture of 4096x2304, the `MaxFS` of level 5.1.
const MAX_MACROBLOCKS: u32 = 36_864;

/// Reads what stands before the pictures in `data`, one access unit in Annex B form.
///
/// Pictures are judged by their slice headers; the slices themselves are left to the decoder.
pub fn inspect(data: &[u8]) -> Result<Summary, Refusal> {
    if data.len() > MAX_ACCESS_UNIT {
        return Err(Refusal::TooLarge(data.len()));
    }
    let mut summary = Summary { info: None, key: false, slices: 0 };
    let (mut any, mut idr, mut pps) = (false, false, false);
    for (count, unit) in units(data).enumerate() {
        if count == MAX_UNITS {
            return Err(Refusal::TooManyUnits);
        }
        any = true;
        match unit.kind() {
            Kind::Sps => summary.info = Some(sequence(unit)?),
            Kind::Pps => pps = true,
            Kind::Slice | Kind::IdrSlice => {
                slice(unit)?;
                idr |= unit.kind() == Kind::IdrSlice;
                summary.slices += 1;
            }
            Kind::Partition | Kind::Extension => return Err(Refusal::Extension),
            Kind::Sei | Kind::Delimiter | Kind::Prefix | Kind::Other => {}
        }
    }
    if !any {
        return Err(Refusal::NotAnnexB);
    }
    summary.key = idr && pps && summary.info.is_some();
    Ok(summary)
}

fn slice(unit: Unit<'_>) -> Result<(), Refusal> {
    let start = unit.slice_start().ok_or(Refusal::Damaged("slice header"))?;
    if start.first_macroblock >= MAX_MACROBLOCKS {
        return Err(Refusal::Damaged("slice header"));
    }
    match start.slice_type {
        0 | 2 => Ok(()),
        1 => Err(Refusal::BSlices),
        _ => Err(Refusal::Extension),
    }
}

fn sequence(unit: Unit<'_>) -> Result<StreamInfo, Refusal> {
    let bits = BitReader::new(ByteReader::skipping_h264_header(unit.bytes()));
    let sps = SeqParameterSet::from_bits(bits).map_err(|error| match error {
        SpsError::FieldValueTooLarge { name: "pic_size_in_map_units", value } if value <= MAX_MACROBLOCKS => {
            Refusal::Level
        }
        SpsError::FieldValueTooLarge { name: "pic_size_in_map_units", .. } => Refusal::Size,
        SpsError::CroppingError(_) => Refusal::Cropping,
        _ => Refusal::Damaged("sequence parameter set"),
    })?;
    let macroblocks = size(&sps)?;
    let chroma = &sps.chroma_info;
    let eight_bits = chroma.bit_depth_luma_minus8 == 0 && chroma.bit_depth_chroma_minus8 == 0;
    if chroma.chroma_format != ChromaFormat::YUV420 || !eight_bits {
        return Err(Refusal::PixelFormat);
    }
    let profile_idc = u8::from(sps.profile_idc);
    if !matches!(profile_idc, 66 | 77 | 100) {
        return Err(Refusal::Profile(profile_idc));
    }
    if sps.frame_mbs_flags != FrameMbsFlags::Frames {
        return Err(Refusal::Interlaced);
    }
    // ITU-T H.264 A.3.1 h: MaxDpbFrames, never more than 16.
    let most = sps.level().limits().map_or(16, |level| (level.max_dpb_mbs / macroblocks).clamp(1, 16));
    if sps.max_num_ref_frames > most {
        return Err(Refusal::References { frames: sps.max_num_ref_frames, most });
    }
    let (width, height) = sps.pixel_dimensions().map_err(|_| Refusal::Cropping)?;
    if width < 2 || height < 2 {
        return Err(Refusal::Cropping);
    }
    let full_range = sps
        .vui_parameters
        .as_ref()
        .and_then(|vui| vui.video_signal_type.as_ref())
        .is_some_and(|signal| signal.video_full_range_flag);
    Ok(StreamInfo {
        width: width as usize,
        height: height as usize,
        profile_idc,
        level_idc: sps.level_idc,
        fps: sps.fps().filter(|fps| fps.is_finite() && *fps > 0.0),
        full_range,
    })
}

/// Macroblocks of a picture, when it is not too large.
fn size(sps: &SeqParameterSet) -> Result<u32, Refusal> {
    let columns = sps.pic_width_in_mbs_minus1.saturating_add(1);
    let rows = sps.pic_height_in_map_units_minus1.saturating_add(1);
    let fields = if sps.frame_mbs_flags == FrameMbsFlags::Frames { 1 } else { 2 };
    let macroblocks = columns.saturating_mul(rows).saturating_mul(fields);
    let longest = columns.max(rows.saturating_mul(fields));
    if macroblocks > MAX_MACROBLOCKS || longest > MAX_SIDE / 16 {
        return Err(Refusal::Size);
    }
    Ok(macroblocks)
}
