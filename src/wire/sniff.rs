//! What a pipe carries, told by its first bytes.

/// A kind of stream that programs of this project read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Frames, as `conf-cam` writes them.
    Frames,
    /// H.264 with start codes (ITU-T H.264 Annex B).
    AnnexB,
    /// Uncompressed pictures (YUV4MPEG2).
    Y4m,
    /// Matroska or WebM.
    Matroska,
    /// MPEG-4 (`ftyp`).
    Mp4,
}

/// Bytes that begin no kind of stream that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither frames, H.264 (Annex B) nor Y4M")]
pub struct UnknownStream;

/// The kind of stream that begins with `head`: `Ok(None)` while more bytes are needed (at most 9),
/// `Err` when it is none of them.
///
/// `00 00 01 xx` begins both a NAL unit and a frame with a long header; the byte behind it decides: a
/// header begins with `{`, and no NAL unit of a stream's start has 0x7B there (it would be the
/// `profile_idc` of an SPS, and 123 is none).
pub fn sniff(head: &[u8]) -> Result<Option<Stream>, UnknownStream> {
    const Y4M: &[u8] = b"YUV4MPEG2";
    const EBML: &[u8] = &[0x1a, 0x45, 0xdf, 0xa3];
    let begins = |magic: &[u8]| head.iter().zip(magic).all(|(a, b)| a == b);
    if head.len() >= 5 && head[0] == 0 && head[4] == b'{' {
        return Ok(Some(Stream::Frames));
    }
    match head {
        [0, 0, 1, _, _, ..] | [0, 0, 0, 1, _, ..] => return Ok(Some(Stream::AnnexB)),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => return Ok(Some(Stream::Mp4)),
        _ => {}
    }
    if head.len() >= Y4M.len() && begins(Y4M) {
        return Ok(Some(Stream::Y4m));
    }
    if head.len() >= EBML.len() && begins(EBML) {
        return Ok(Some(Stream::Matroska));
    }
    let undecided = head.len() < 5 || (head.len() < 9 && (begins(Y4M) || head[0] == 0));
    if undecided { Ok(None) } else { Err(UnknownStream) }
}
