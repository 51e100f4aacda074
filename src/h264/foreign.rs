//! Streams of other kinds that are taken for raw H.264, or sent in its place.

use super::nal::start_code;

/// What `head`, the first bytes of a stream, begins where that is video, but not H.264 in Annex B form; a name
/// for people. Five bytes tell.
pub fn foreign(head: &[u8]) -> Option<&'static str> {
    /// Every packet of a transport stream begins with it (ISO/IEC 13818-1 2.4.3.2).
    const SYNC: u8 = 0x47;
    match head {
        // "GET " and "GIF8" begin with it too.
        [SYNC, rest @ ..] if rest.iter().take(3).any(|byte| !byte.is_ascii_graphic() && *byte != b' ') => {
            Some("MPEG-TS")
        }
        _ if is_hevc(head) => Some("HEVC (H.265)"),
        _ => None,
    }
}

/// Whether Annex B begins with a parameter set or delimiter of HEVC (ITU-T H.265 7.3.1.2); no H.264 begins with
/// these bytes.
fn is_hevc(head: &[u8]) -> bool {
    start_code(head, 0)
        .is_some_and(|at| at <= 1 && matches!(head.get(at + 3), Some(0x40 | 0x42 | 0x44 | 0x46)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_named_and_h264_is_not() {
        assert_eq!(foreign(&[0x47, 0x40, 0, 0x10]), Some("MPEG-TS"));
        for vps in [&[0, 0, 0, 1, 0x40, 1][..], &[0, 0, 1, 0x42, 1], &[0, 0, 0, 1, 0x46, 1]] {
            assert_eq!(foreign(vps), Some("HEVC (H.265)"));
        }
        for other in [
            &[0, 0, 0, 1, 0x67, 0x42][..],
            &[0, 0, 1, 0x09, 0x10],
            &[],
            b"YUV4MPEG2",
            b"GET / HTTP",
            b"GIF89a",
            &[0, 0, 0, 0x90],
        ] {
            assert_eq!(foreign(other), None);
        }
    }
}
