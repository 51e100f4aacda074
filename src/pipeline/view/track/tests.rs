//! A track whose decoder does as the test says.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;
use crate::media::Picture;
use crate::video::decode::{Decoder, Error};
use crate::video::encode::{Config, Encoder, OpenH264};

/// Tells what it is given, and answers when it may.
struct Obedient {
    given: SyncSender<Vec<u8>>,
    may: Receiver<()>,
}

impl Decoder for Obedient {
    fn decode(&mut self, unit: &[u8], _: bool) -> Result<Option<Picture>, Error> {
        self.given.send(unit.to_vec()).unwrap();
        self.may.recv().unwrap();
        Ok(None)
    }
}

/// A keyframe, pictures that need it, and another keyframe, all different.
fn units(count: usize) -> Vec<Bytes> {
    let mut encoder = OpenH264::new(Config { fps: 30.0, bitrate: 300_000 });
    let encode = |number: usize| {
        let mut picture = Picture::black(64, 48, Moment::from_micros(number as u64 * 33_333));
        picture.planes_mut().0.iter_mut().enumerate().for_each(|(i, y)| *y = (i * number) as u8);
        let key = number == 0 || number + 1 == count;
        encoder.encode(&picture, key).unwrap().map(|unit| unit.data)
    };
    (0..count).filter_map(encode).collect()
}

/// Tells what is written.
struct Told(SyncSender<Vec<u8>>);

impl std::io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(bytes.to_vec()).unwrap();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_recording_goes_on_with_the_track_of_a_member_who_came_back_and_with_no_other() {
    use crate::pipeline::view::{Format, Recording, Stage};
    let units = units(2);
    let (tell, told) = sync_channel(8);
    let out = Box::new(Told(tell));
    let stage = Stage::new("none".into(), None, Some(Recording { format: Format::H264, out }));
    let about = |member: &str| About { member: member.into(), label: "camera".into(), ..About::default() };
    let put = |id: u32, unit: &Bytes| {
        let unit = Unit { seq: None, pts: None, rendition: Rendition::High, data: unit.clone() };
        stage.put(time::now(), id, unit);
    };
    let limit = Duration::from_secs(20);
    stage.add(1, about("ann"));
    put(1, &units[0]);
    assert_eq!(told.recv_timeout(limit).unwrap(), units[0]);
    stage.add(1, About { size: Some((64, 48)), ..about("ann") });
    put(1, &units[1]);
    assert_eq!(told.recv_timeout(limit).unwrap(), units[1], "of another size, it is the same track");
    let first = stage.track(1).unwrap();
    stage.add(2, about("bob"));
    put(2, &units[0]);
    first.finish();
    while !first.is_done() {
        std::thread::yield_now();
    }
    stage.clear();
    stage.add(7, about("ann"));
    put(7, &units[1]);
    assert_eq!(told.recv_timeout(limit).unwrap(), units[1], "and nothing of bob's");
}

#[test]
fn after_a_damaged_frame_a_keyframe_is_asked_for_and_nothing_is_decoded_until_it_comes() {
    let units = units(3);
    let (given_out, given) = sync_channel(8);
    let (may, may_in) = sync_channel(8);
    let mut once = Some(Obedient { given: given_out, may: may_in });
    let recovery = Recovery::new(move || Ok(Box::new(once.take().unwrap()) as Box<dyn Decoder>));
    let track = Track::start(About::default(), recovery, Bell::default(), None, Warnings::default()).unwrap();
    let put = |unit: &Bytes| {
        track.put(time::now(), Unit { seq: None, pts: None, rendition: Rendition::High, data: unit.clone() });
    };
    let limit = Duration::from_secs(20);
    put(&units[0]);
    assert_eq!(given.recv_timeout(limit).unwrap(), units[0]);
    assert!(!track.take_wish());
    track.lose();
    assert!(track.take_wish());
    may.send(()).unwrap();
    put(&units[1]);
    put(&units[2]);
    assert_eq!(given.recv_timeout(limit).unwrap(), units[2], "the one before refers to what was damaged");
    may.send(()).unwrap();
}

/// Gives a picture for everything.
struct Willing;

impl Decoder for Willing {
    fn decode(&mut self, _: &[u8], _: bool) -> Result<Option<Picture>, Error> {
        Ok(Some(Picture::black(64, 48, Moment::default())))
    }
}

#[test]
fn the_last_of_what_is_played_again_is_shown_when_nothing_follows() {
    let units = units(5);
    let recovery = Recovery::new(|| Ok(Box::new(Willing) as Box<dyn Decoder>));
    let bell = Bell::default();
    let track = Track::start(About::default(), recovery, bell.clone(), None, Warnings::default()).unwrap();
    let now = time::now();
    for (seq, unit) in (0..).zip(&units) {
        let unit =
            Unit { seq: Some(seq), pts: Some(seq * 33_333), rendition: Rendition::High, data: unit.clone() };
        track.put(now, unit);
    }
    let next = || loop {
        assert!(bell.wait(Duration::from_secs(20)), "no picture");
        if let Some(fresh) = track.take_picture() {
            return fresh.live;
        }
    };
    assert!(!next(), "the first, at once");
    assert!(!next(), "and the last, because the publisher sends no more");
}

#[test]
fn v18_what_leaves_the_screen_gives_its_decoder_back_at_once() {
    struct Kept(SyncSender<()>);
    impl Decoder for Kept {
        fn decode(&mut self, _: &[u8], _: bool) -> Result<Option<Picture>, Error> {
            Ok(Some(Picture::black(64, 48, Moment::default())))
        }
    }
    impl Drop for Kept {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (gone, is_gone) = sync_channel(8);
    let recovery = Recovery::new(move || Ok(Box::new(Kept(gone.clone())) as Box<dyn Decoder>));
    let bell = Bell::default();
    let track = Track::start(About::default(), recovery, bell.clone(), None, Warnings::default()).unwrap();
    let data = units(2)[0].clone();
    track.put(time::now(), Unit { seq: None, pts: None, rendition: Rendition::High, data });
    while track.take_picture().is_none() {
        assert!(bell.wait(Duration::from_secs(20)), "no picture");
    }
    track.set_visible(false);
    is_gone.recv_timeout(Duration::from_secs(20)).expect("without waiting for another access unit");
}

#[test]
fn after_a_full_queue_nothing_is_decoded_until_the_next_keyframe() {
    let units = units(120);
    let (given_out, given) = sync_channel(8);
    let (may, may_in) = sync_channel(8);
    let mut once = Some(Obedient { given: given_out, may: may_in });
    let recovery = Recovery::new(move || Ok(Box::new(once.take().unwrap()) as Box<dyn Decoder>));
    let about = About { label: "camera".into(), ..About::default() };
    let track = Track::start(about, recovery, Bell::default(), None, Warnings::default()).unwrap();
    let put = |unit: &Bytes| {
        let data = unit.clone();
        track.put(time::now(), Unit { seq: None, pts: None, rendition: Rendition::High, data });
    };
    put(&units[0]);
    let limit = Duration::from_secs(20);
    assert_eq!(given.recv_timeout(limit).unwrap(), units[0], "and the decoder hangs in it");
    assert!(!track.take_wish());
    let (last, rest) = units[1..].split_last().unwrap();
    let full = rest.iter().position(|unit| {
        put(unit);
        track.take_wish()
    });
    let full = full.expect("the queue is bounded, and a keyframe is asked for when it is full");
    assert_eq!(lock(&track.shared.figures).drops, full as u64 + 1);
    rest[full + 1..].iter().for_each(put);
    put(last);
    may.send(()).unwrap();
    assert_eq!(given.recv_timeout(limit).unwrap(), *last, "nothing that needs what was thrown away");
    assert!(track.take_wish(), "and what was left out asks again");
    may.send(()).unwrap();
}
