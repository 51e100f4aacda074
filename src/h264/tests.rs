use h264_reader::nal::WritableNal;
use h264_reader::nal::sps::{FrameCropping, FrameMbsFlags, SeqParameterSet};
use h264_reader::rbsp::{BitReader, ByteReader};
use proptest::prelude::*;

use super::*;

const MEDIA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/media/");

/// A stream of the shared test media, or `None` with a word where it is missing.
fn media(name: &str) -> Option<Vec<u8>> {
    let read = std::fs::read(format!("{MEDIA}{name}"));
    if read.is_err() {
        eprintln!("skipped: {MEDIA}{name} is not there");
    }
    read.ok()
}

fn split(data: &[u8], piece: usize) -> (Vec<AccessUnit>, Vec<Error>) {
    let mut splitter = Splitter::new();
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    let mut drain = |splitter: &mut Splitter| {
        loop {
            match splitter.poll() {
                Ok(Some(unit)) => found.push(unit),
                Ok(None) => break,
                Err(error) => errors.push(error),
            }
        }
    };
    for bytes in data.chunks(piece) {
        splitter.push(bytes);
        drain(&mut splitter);
    }
    splitter.finish();
    drain(&mut splitter);
    (found, errors)
}

fn annex_b(units: &[&[u8]]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect()
}

/// Baseline, level 3.0, 640x480, as an encoder writes it.
fn sps() -> SeqParameterSet {
    let bytes = [0x67, 0x42, 0xc0, 0x1e, 0x8c, 0x8d, 0x40, 0x50, 0x1e, 0xd0, 0x0f, 0x08, 0x84, 0x6a];
    SeqParameterSet::from_bits(BitReader::new(ByteReader::skipping_h264_header(&bytes[..]))).unwrap()
}

fn with_sps(change: impl FnOnce(&mut SeqParameterSet)) -> Vec<u8> {
    let mut set = sps();
    change(&mut set);
    let mut bytes = Vec::new();
    let header = h264_reader::nal::NalHeader::new(0x67).unwrap();
    set.write_with_header(header, &mut bytes).unwrap();
    annex_b(&[&bytes, PPS, IDR])
}

const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
/// first_mb_in_slice 0, slice_type 7 (I).
const IDR: &[u8] = &[0x65, 0x88, 0x84, 0x01];
/// first_mb_in_slice 0, slice_type 5 (P), nal_ref_idc 2.
const P: &[u8] = &[0x41, 0x9a, 0x10, 0x01];
/// The same, nal_ref_idc 0.
const P_UNUSED: &[u8] = &[0x01, 0x9a, 0x10, 0x01];
/// first_mb_in_slice 0, slice_type 6 (B).
const B: &[u8] = &[0x01, 0x9e, 0x10, 0x01];

#[test]
fn real_streams_are_cut_into_their_pictures() {
    for (name, pictures, width, height) in [
        ("BA1_FT_C.264", 299, 352, 288),
        ("BA_MW_D.264", 100, 176, 144),
        ("MIDR_MW_D.264", 100, 176, 144),
        ("Zhling_1280x720.264", 19, 1280, 720),
    ] {
        let Some(data) = media(name) else { return };
        let (found, errors) = split(&data, 4096);
        assert_eq!((found.len(), errors.len()), (pictures, 0), "{name}");
        assert!(found[0].key, "{name}");
        let info = inspect(&found[0].data).unwrap().info.unwrap();
        assert_eq!((info.width, info.height), (width, height), "{name}");
        for unit in &found {
            let summary = inspect(&unit.data).unwrap();
            assert_eq!(summary.key, unit.key);
            assert!(summary.slices > 0);
        }
    }
}

#[test]
fn it_does_not_matter_where_a_stream_is_cut() {
    let Some(data) = media("MIDR_MW_D.264") else { return };
    let whole = split(&data, usize::MAX);
    for piece in [1, 2, 3, 5, 997] {
        assert!(split(&data, piece) == whole, "pieces of {piece}");
    }
}

#[test]
fn every_keyframe_gets_parameter_sets_that_were_sent_once() {
    let first = with_sps(|_| {});
    let data = [&first[..], &annex_b(&[P, IDR, P_UNUSED])].concat();
    let (found, _) = split(&data, 7);
    let seen: Vec<_> = found.iter().map(|unit| (unit.key, unit.tid)).collect();
    assert_eq!(seen, [(true, 0), (false, 0), (true, 0), (false, 2)]);
    assert_eq!(found[2].data, found[0].data);
}

#[test]
fn a_delimiter_stays_in_front_of_what_is_added() {
    let first = with_sps(|_| {});
    let (found, _) = split(&[&first[..], &annex_b(&[&[0x09, 0x10], IDR])].concat(), 64);
    let kinds: Vec<_> = units(&found[1].data).map(Unit::kind).collect();
    assert_eq!(kinds, [Kind::Delimiter, Kind::Sps, Kind::Pps, Kind::IdrSlice]);
}

#[test]
fn v02_sps_larger_than_any_screen_is_refused() {
    let large = |columns: u32, rows: u32, level: u8| {
        inspect(&with_sps(|sps| {
            sps.pic_width_in_mbs_minus1 = columns - 1;
            sps.pic_height_in_map_units_minus1 = rows - 1;
            sps.level_idc = level;
            sps.frame_cropping = None;
        }))
    };
    assert_eq!(large(1024, 1024, 62), Err(Refusal::Size));
    assert_eq!(large(257, 1, 62), Err(Refusal::Size));
    assert_eq!(large(256, 145, 62), Err(Refusal::Size));
    assert_eq!(large(u32::MAX / 2, u32::MAX / 2, 62), Err(Refusal::Size));
    assert!(large(256, 144, 51).is_ok());
}

#[test]
fn v02_level_lie_is_refused() {
    let lie = with_sps(|sps| sps.level_idc = 10);
    assert_eq!(inspect(&lie), Err(Refusal::Level));
    let references = with_sps(|sps| {
        sps.max_num_ref_frames = 16;
        sps.vui_parameters = None;
    });
    assert_eq!(inspect(&references), Err(Refusal::References { frames: 16, most: 6 }));
}

#[test]
fn v02_cropping_larger_than_the_picture_is_refused() {
    for (left, right) in [(160, 160), (u32::MAX / 4, 0), (400, 0), (0, u32::MAX - 1)] {
        let crop = FrameCropping { left_offset: left, right_offset: right, top_offset: 0, bottom_offset: 0 };
        let refused = inspect(&with_sps(|sps| sps.frame_cropping = Some(crop)));
        assert_eq!(refused, Err(Refusal::Cropping), "{left} {right}");
    }
}

#[test]
fn v05_nal_of_100_mb_is_dropped_in_bounded_memory() {
    let mut splitter = Splitter::new();
    splitter.push(&with_sps(|_| {}));
    splitter.push(&annex_b(&[&[0x41, 0x9a]]));
    let piece = vec![0x55; 1 << 20];
    let mut errors = 0;
    for _ in 0..100 {
        splitter.push(&piece);
        while let Some(result) = splitter.poll().transpose() {
            errors += usize::from(result == Err(Error::TooLarge));
        }
    }
    assert_eq!(errors, 1);
    assert!(splitter.held() < 10 << 20, "{}", splitter.held());
    splitter.push(&annex_b(&[P, IDR, P]));
    splitter.finish();
    assert!(splitter.poll().unwrap().unwrap().key, "it goes on with the next keyframe");
    assert!(!splitter.poll().unwrap().unwrap().key);
    assert_eq!(splitter.poll(), Ok(None));
}

#[test]
fn v05_million_nals_of_one_byte() {
    for header in [0x65, 0x41, 0x06, 0x09, 0x0c, 0x00, 0x67, 0x68] {
        let flood = [0, 0, 1, header].repeat(1_000_000);
        let (found, errors) = split(&flood, 65_536);
        assert!(found.is_empty());
        assert!(errors.iter().all(|error| *error == Error::TooManyUnits));
        assert!(inspect(&flood[..1 << 20]).map_or(true, |summary| summary.info.is_none()));
    }
}

#[test]
fn v05_no_start_code_is_said_once() {
    let (found, errors) = split(&vec![0x11; 1 << 20], 4096);
    assert!(found.is_empty());
    assert!(matches!(errors[..], [Error::NoStartCode(_)]), "{errors:?}");
    assert_eq!(inspect(b"no such thing"), Err(Refusal::NotAnnexB));
    assert!(matches!(split(b"short", 9).1[..], [Error::NoStartCode(5)]));
    assert_eq!(split(b"", 9).1, []);
}

#[test]
fn v05_only_sei_and_delimiters_are_no_picture() {
    let data = annex_b(&[&[0x09, 0x10], &[0x06, 5, 1, 0x80], &[0x09, 0x10], &[0x06, 5, 1, 0x80]]);
    assert_eq!(split(&data, 9), (vec![], vec![]));
    assert_eq!(inspect(&data), Ok(Summary { info: None, key: false, slices: 0 }));
}

#[test]
fn v06_what_cannot_be_shown_is_refused_with_the_option_to_use() {
    let hint = |data: &[u8]| inspect(data).unwrap_err().to_string();
    assert!(hint(&annex_b(&[B])).contains("-bf 0"));
    let interlaced = FrameMbsFlags::Fields { mb_adaptive_frame_field_flag: false };
    let fields = with_sps(|sps| {
        sps.frame_mbs_flags = interlaced;
        sps.pic_height_in_map_units_minus1 = 14;
    });
    assert!(hint(&fields).contains("yadif"));
    assert!(hint(&with_sps(|sps| sps.profile_idc = 88.into())).contains("-profile:v baseline"));
    let deep = with_sps(|sps| {
        sps.profile_idc = 110.into();
        sps.chroma_info.bit_depth_luma_minus8 = 2;
    });
    assert!(hint(&deep).contains("-pix_fmt yuv420p"));
    assert!(hint(&annex_b(&[&[0x67, 0x42, 0xc0]])).contains("damaged"));
    assert!(hint(&annex_b(&[&[0x42, 0x9a, 0x10]])).contains("-profile:v baseline"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(data in proptest::collection::vec(any::<u8>(), 0..600), piece in 1usize..64) {
        let _ = inspect(&data);
        let _ = inspect(&annex_b(&[&[&[0x67], &data[..]].concat()]));
        split(&data, piece);
    }

    #[test]
    fn no_damage_to_a_parameter_set_makes_it_panic(bits in proptest::collection::vec(0usize..240, 1..8)) {
        let mut data = with_sps(|sps| sps.frame_cropping = None);
        for bit in bits {
            let at = 5 + bit / 8;
            if at < data.len() {
                data[at] ^= 1 << (bit % 8);
            }
        }
        let _ = inspect(&data);
    }

    #[test]
    fn no_damage_to_a_real_stream_makes_it_panic(
        damage in proptest::collection::vec((0usize..52_000, any::<u8>()), 1..200),
        piece in 100usize..9000,
    ) {
        let Some(mut data) = media("MIDR_MW_D.264") else { return Ok(()) };
        for (at, byte) in damage {
            data[at] = byte;
        }
        let (found, _) = split(&data, piece);
        for unit in found {
            prop_assert!(unit.data.len() <= MAX_ACCESS_UNIT);
            let _ = inspect(&unit.data);
        }
    }
}
