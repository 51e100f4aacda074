//! A short recording: what conf-cam writes, and the encoded pictures in it.

use confkit::video::encode::{self, Encoder, OpenH264};
use confkit::wire::control::{PipeTrack, Source, TrackKind, Tracks};
use confkit::wire::{Control, Frame, Media, Rendition};
use confkit::{id::TrackId, media::Picture, time};

/// `count` encoded pictures, every tenth a key.
pub fn access_units(count: usize) -> Vec<(Vec<u8>, bool)> {
    let mut encoder = OpenH264::new(encode::Config { fps: 30.0, bitrate: 300_000 });
    let units = (0..count).map(|n| {
        let unit = encoder.encode(&Picture::black(64, 48, time::now()), n % 10 == 0).unwrap().unwrap();
        (unit.data.to_vec(), unit.key)
    });
    units.collect()
}

/// The head of a pipe as conf-cam writes it, with one track of number 5.
pub fn description() -> Vec<u8> {
    let source = Source {
        kind: TrackKind::Video,
        label: "camera".into(),
        codec: "h264".into(),
        width: 64,
        height: 48,
        fps: 30.0,
        muted: false,
    };
    let track = PipeTrack { track: TrackId(5), source };
    Frame::control(&Control::Tracks(Tracks { tracks: vec![track], feedback: None }), 0).bytes().to_vec()
}

/// The pictures as frames of that track.
pub fn frames(units: &[(Vec<u8>, bool)]) -> Vec<Frame> {
    let frame = |(n, (unit, key)): (usize, &(Vec<u8>, bool))| {
        let media = Media {
            track: TrackId(5),
            seq: n as u64,
            pts: n as u64 * 33_333,
            key: *key,
            rendition: Rendition::High,
            tid: 0,
        };
        Frame::video(media, unit, 0)
    };
    units.iter().enumerate().map(frame).collect()
}
