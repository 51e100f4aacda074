//! A PNG of what has been painted.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::Canvas;

/// Writes `canvas` to `path`. The file is there whole or not at all: it is written beside and moved.
///
/// # Errors
/// What the file system says; an empty canvas is `InvalidInput`.
pub fn write(canvas: &Canvas, path: &Path) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.part", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = File::create(&beside).and_then(|file| {
        let mut out = BufWriter::new(file);
        encode(canvas, &mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&beside, path)
    });
    if written.is_err() {
        // The reason for the failure is what the user needs to know, not that tidying up failed too.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// Writes `canvas` as PNG to `out`.
///
/// # Errors
/// What `out` says.
pub fn encode(canvas: &Canvas, out: impl Write) -> io::Result<()> {
    let mut encoder = png::Encoder::new(out, canvas.width() as u32, canvas.height() as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let rgb: Vec<u8> = canvas
        .pixels()
        .iter()
        .flat_map(|p| {
            let [_, r, g, b] = p.to_be_bytes();
            [r, g, b]
        })
        .collect();
    let mut writer = encoder.write_header().map_err(io::Error::from)?;
    writer.write_image_data(&rgb).map_err(io::Error::from)?;
    writer.finish().map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shot.png");
        let mut canvas = Canvas::default();
        canvas.reset(3, 2, 0x0010_2030);
        write(&canvas, &path).unwrap();
        let decoder = png::Decoder::new(std::io::BufReader::new(File::open(&path).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut data = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut data).unwrap();
        assert_eq!(data, [0x10, 0x20, 0x30].repeat(6));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut canvas = Canvas::default();
        assert!(write(&canvas, &dir.path().join("empty.png")).is_err());
        canvas.reset(1, 1, 0);
        assert!(write(&canvas, &dir.path().join("no/such.png")).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
