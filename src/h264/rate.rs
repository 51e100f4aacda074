//! The rate of a stream, written where raw H.264 has a place for it: in its sequence parameter sets.

use h264_reader::nal::sps::{SeqParameterSet, TimingInfo, VuiParameters};
use h264_reader::nal::{NalHeader, WritableNal};
use h264_reader::rbsp::{BitReader, ByteReader};

use super::nal::{Kind, Unit, units};

/// The access unit `data` with `fps` pictures per second as the nominal rate in each of its sequence parameter
/// sets (ITU-T H.264 E.1.1, `timing_info`); as it was where it has none, or one that cannot be written anew.
///
/// The rate is not promised to be fixed: live pictures may be left out.
pub fn with_rate(data: Vec<u8>, fps: f64) -> Vec<u8> {
    let Some(timing) = timing(fps) else { return data };
    if !units(&data).any(|unit| unit.kind() == Kind::Sps) {
        return data;
    }
    let mut out = Vec::with_capacity(data.len() + GROWTH);
    for unit in units(&data) {
        out.extend_from_slice(&[0, 0, 0, 1]);
        let timed = if unit.kind() == Kind::Sps { timed(unit, &timing) } else { None };
        out.extend_from_slice(timed.as_deref().unwrap_or(unit.bytes()));
    }
    out
}

/// What the rate takes, in one parameter set.
const GROWTH: usize = 16;

/// Two ticks are one picture (ITU-T H.264 E.2.1). Whole rates and those of television are exact.
fn timing(fps: f64) -> Option<TimingInfo> {
    /// Keeps `time_scale` within 32 bits and the rate above nothing.
    const RATES: std::ops::RangeInclusive<f64> = 0.01..=100_000.0;
    let (whole, television) = (fps.round(), (fps * 1.001).round());
    let close = |rate: f64| (fps - rate).abs() < 0.005;
    let (ticks, scale) = match fps {
        _ if !RATES.contains(&fps) => return None,
        _ if whole >= 1.0 && (fps - whole).abs() < 1e-6 => (1, whole),
        _ if television >= 1.0 && close(television / 1.001) => (1_001, television * 1_000.0),
        _ => (1_000, (fps * 1_000.0).round()),
    };
    Some(TimingInfo {
        num_units_in_tick: ticks,
        time_scale: (scale * 2.0) as u32,
        fixed_frame_rate_flag: false,
    })
}

fn timed(unit: Unit<'_>, timing: &TimingInfo) -> Option<Vec<u8>> {
    let header = NalHeader::new(unit.bytes()[0]).ok()?;
    let mut set = read(unit)?;
    set.vui_parameters.get_or_insert_with(VuiParameters::default).timing_info = Some(timing.clone());
    let mut bytes = Vec::with_capacity(unit.bytes().len() + GROWTH);
    set.write_with_header(header, &mut bytes).ok()?;
    // What does not read as it was meant would stop every decoder.
    (read(Unit::new(&bytes)?)? == set).then_some(bytes)
}

fn read(unit: Unit<'_>) -> Option<SeqParameterSet> {
    SeqParameterSet::from_bits(BitReader::new(ByteReader::skipping_h264_header(unit.bytes()))).ok()
}

#[cfg(test)]
mod tests {
    use super::super::inspect;
    use super::*;

    /// Of openh264, 640x480, constrained baseline: with a VUI of limits only, and with the colours in it.
    const PLAIN: &[u8] =
        &[0x67, 0x42, 0xc0, 0x1e, 0x8c, 0x8d, 0x40, 0x50, 0x1e, 0xd0, 0x0f, 0x08, 0x84, 0x6a];
    const COLOURED: &[u8] = &[
        0x67, 0x42, 0xc0, 0x1e, 0x8c, 0x6e, 0x0a, 0x03, 0xda, 0x6a, 0x0c, 0x0c, 0x0c, 0x0f, 0x08, 0x84, 0x6e,
    ];
    const REST: &[u8] = &[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 0, 1, 0x65, 0x88, 0x84, 0x00, 0x10];

    fn without_vui() -> Vec<u8> {
        let mut set = read(Unit::new(PLAIN).unwrap()).unwrap();
        assert!(set.vui_parameters.take().is_some());
        set.to_vec_with_header(NalHeader::new(0x67).unwrap())
    }

    fn unit(sps: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 1], sps, REST].concat()
    }

    #[test]
    fn the_rate_stands_in_the_parameter_set_and_nothing_else_changes() {
        for sps in [PLAIN, COLOURED, &without_vui()] {
            for fps in [30.0, 15.0, 29.97, 23.976, 12.5, 0.5, 1000.0] {
                let data = with_rate(unit(sps), fps);
                let (before, after) = (inspect(&unit(sps)).unwrap(), inspect(&data).unwrap());
                let (before, after) = (before.info.unwrap(), after.info.unwrap());
                assert_eq!(before.fps, None);
                assert!((after.fps.unwrap() - fps).abs() < 0.001, "{:?} for {fps}", after.fps);
                assert_eq!(super::super::StreamInfo { fps: None, ..after }, before);
                assert!(data.ends_with(REST));
            }
        }
    }

    #[test]
    fn a_rate_that_is_there_is_replaced() {
        let data = with_rate(with_rate(unit(COLOURED), 30.0), 15.0);
        assert_eq!(data, with_rate(unit(COLOURED), 15.0));
    }

    #[test]
    fn what_has_no_parameter_set_or_a_damaged_one_and_senseless_rates_change_nothing() {
        let damaged = unit(&[0x67, 0x42, 0xff]);
        for data in [REST.to_vec(), damaged, Vec::new(), vec![7; 40]] {
            assert_eq!(with_rate(data.clone(), 30.0), data);
        }
        for fps in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert_eq!(with_rate(unit(PLAIN), fps), unit(PLAIN));
        }
    }
}
