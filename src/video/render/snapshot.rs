//! A PNG of what is seen: made in memory, then written in one go.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::Canvas;

/// Writes `canvas` as PNG to `path`, as [`save`] does.
///
/// # Errors
/// What the file system says; an empty canvas is `InvalidInput`.
pub fn write(canvas: &Canvas, path: &Path) -> io::Result<()> {
    let rgb: Vec<u8> = canvas
        .pixels()
        .iter()
        .flat_map(|p| {
            let [_, r, g, b] = p.to_be_bytes();
            [r, g, b]
        })
        .collect();
    save(&encode(canvas.width(), canvas.height(), &rgb)?, path)
}

/// A picture of three bytes a pixel as PNG.
///
/// # Errors
/// When there are no pixels, or not as many as the size says.
pub fn encode(width: usize, height: usize, rgb: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().map_err(io::Error::from)?;
    writer.write_image_data(rgb).map_err(io::Error::from)?;
    writer.finish().map_err(io::Error::from)?;
    Ok(bytes)
}

/// Writes `bytes` to `path`, or to stdout for `-`. A file is there whole or not at all: it is written beside and moved.
/// What is no plain file (a device, a FIFO, a link) stays what it is and is written through.
///
/// # Errors
/// What the file system says.
pub fn save(bytes: &[u8], path: &Path) -> io::Result<()> {
    if path == Path::new("-") {
        return File::from(rustix::io::dup(io::stdout())?).write_all(bytes);
    }
    match path.symlink_metadata() {
        Ok(there) if !there.is_file() => {
            OpenOptions::new().write(true).create(true).truncate(true).open(path)?.write_all(bytes)
        }
        Ok(_) => replace(bytes, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => replace(bytes, path),
        Err(error) => Err(error),
    }
}

fn replace(bytes: &[u8], path: &Path) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.part", std::process::id()));
    let beside = path.with_file_name(beside);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&beside)?;
    let written =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // The reason for the failure is what the user needs to know, not that tidying up failed too.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileTypeExt;

    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shot.png");
        let mut canvas = Canvas::default();
        canvas.reset(3, 2, 0x0010_2030);
        for _ in ["absent", "replaced"] {
            write(&canvas, &path).unwrap();
        }
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

    #[test]
    fn a_link_and_a_fifo_stay_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link, fifo) =
            (dir.path().join("target"), dir.path().join("link"), dir.path().join("fifo"));
        std::fs::write(&target, "a longer text than before").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        save(b"picture", &link).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read(&target).unwrap(), b"picture");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || std::fs::read(fifo).unwrap()
        });
        save(b"picture", &fifo).unwrap();
        assert_eq!(reader.join().unwrap(), b"picture");
        assert!(fifo.symlink_metadata().unwrap().file_type().is_fifo());
        assert!(save(b"picture", dir.path()).is_err());
    }
}
