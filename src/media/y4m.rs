//! What the header of a Y4M stream says beside size and rate.

/// Whether the parameters of a header say that pictures are fields (`It`, `Ib`, `Im`); `Ip` and `I?` are whole.
pub fn is_interlaced(parameters: &[u8]) -> bool {
    parameters
        .split(|byte| *byte == b' ')
        .any(|one| matches!(one.trim_ascii_end(), [b'I', b't' | b'b' | b'm']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_from_whole_pictures() {
        for fields in ["YUV4MPEG2 W16 H16 F25:1 It", "YUV4MPEG2 W16 H16 Ib A1:1", "W16 H16 Im C420"] {
            assert!(is_interlaced(fields.as_bytes()), "{fields}");
        }
        for whole in ["YUV4MPEG2 W16 H16 F25:1 Ip A1:1", "YUV4MPEG2 W16 H16 I?", "W16 H16 XIt", ""] {
            assert!(!is_interlaced(whole.as_bytes()), "{whole}");
        }
    }
}
