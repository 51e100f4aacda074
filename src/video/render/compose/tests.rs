//! What a person would see.

use super::*;
use crate::time::Moment;

#[test]
fn who_reconnects_has_done_so_for_some_time() {
    assert_eq!(Notice::Reconnecting(61).sentence().as_deref(), Some("reconnecting for 61 s"));
    assert_eq!(Notice::Gone(14).sentence().as_deref(), Some("no picture for 14 s, reconnecting"));
}

fn colour(y: u8, u: u8, v: u8) -> Arc<Picture> {
    let mut picture = Picture::black(640, 480, Moment::default());
    let planes = picture.planes_mut();
    planes.0.fill(y);
    planes.1.fill(u);
    planes.2.fill(v);
    Arc::new(picture)
}

fn red() -> Arc<Picture> {
    colour(81, 90, 240)
}

fn tile(id: u64, picture: Option<Arc<Picture>>) -> Tile {
    Tile { id, name: format!("member {id}"), picture, ..Tile::default() }
}

fn middle(composer: &Composer, id: u64) -> u32 {
    let slots = &composer.chrome.as_ref().unwrap().slots;
    let rect = slots.iter().find(|(i, _)| *i == id).unwrap().1.picture;
    let canvas = composer.canvas();
    canvas.pixels()[(rect.y + rect.height / 4) * canvas.width() + rect.x + rect.width / 2]
}

fn is(pixel: u32, wanted: u32) -> bool {
    (0..3).all(|i| (pixel >> (8 * i) & 0xff).abs_diff(wanted >> (8 * i) & 0xff) <= 4)
}

#[test]
fn each_tile_shows_its_own_picture() {
    let mut composer = Composer::default();
    let scene =
        Scene { tiles: vec![tile(1, Some(red())), tile(2, Some(colour(145, 54, 34)))], ..Scene::default() };
    assert!(composer.paint(&scene, 1280, 720));
    assert!(is(middle(&composer, 1), 0xff0000) && is(middle(&composer, 2), 0x00ff00));
    let at = composer.tile_at(300, 360);
    assert_eq!(at, Some(1), "a click on the left tile finds it");
}

#[test]
fn nothing_is_painted_twice() {
    let mut composer = Composer::default();
    let mut scene = Scene { tiles: vec![tile(1, Some(red())), tile(2, None)], ..Scene::default() };
    scene.tiles[1].notice = Notice::Waiting;
    assert!(composer.paint(&scene, 640, 480));
    assert!(!composer.paint(&scene, 640, 480));
    scene.tiles[0].picture = Some(colour(145, 54, 34));
    assert!(composer.paint(&scene, 640, 480));
    assert!(is(middle(&composer, 1), 0x00ff00));
    assert!(composer.paint(&scene, 641, 480), "another size is painted anew");
}

#[test]
fn a_stalled_picture_stays_and_is_darker() {
    let mut composer = Composer::default();
    let mut scene = Scene { tiles: vec![tile(1, Some(red()))], ..Scene::default() };
    composer.paint(&scene, 640, 480);
    let bright = middle(&composer, 1);
    scene.tiles[0].notice = Notice::Stalled(7);
    composer.paint(&scene, 640, 480);
    let dark = middle(&composer, 1);
    assert!(dark >> 16 > 0x30 && dark >> 16 < bright >> 16, "{dark:06x} {bright:06x}");
    scene.tiles[0].notice = Notice::Live;
    composer.paint(&scene, 640, 480);
    assert_eq!(middle(&composer, 1), bright);
}

#[test]
fn v12_any_size_and_every_overlay() {
    let mut composer = Composer::default();
    for count in [0, 1, 2, 7, 49, 50] {
        let mut scene = Scene {
            tiles: (0..count).map(|i| tile(i, (i % 2 == 0).then(red))).collect(),
            banner: Some("connection lost, trying again in 2 s".into()),
            empty: "Nobody sends video yet".into(),
            statistics: true,
            help: true,
            ..Scene::default()
        };
        for tile in &mut scene.tiles {
            tile.statistics = vec!["640x480 30.0/s".into(), "512 kbit/s".into()];
            tile.notice = Notice::Because("a sentence that has to be broken somewhere".into());
        }
        for (width, height) in [(0, 0), (1, 1), (1, 100), (7, 7), (30, 30), (320, 240), (1000, 1000)] {
            composer.paint(&scene, width, height);
            assert_eq!(composer.canvas().pixels().len(), width * height);
        }
    }
}

#[test]
fn v18_the_second_page_shows_the_rest() {
    let mut composer = Composer::default();
    let tiles = (0..60).map(|i| tile(i, None)).collect();
    let mut scene = Scene { tiles, ..Scene::default() };
    composer.paint(&scene, 1280, 720);
    assert_eq!(composer.sizes().len(), PER_PAGE);
    scene.page = 1;
    composer.paint(&scene, 1280, 720);
    assert_eq!(composer.sizes().iter().map(|s| s.0).collect::<Vec<_>>(), (49..60).collect::<Vec<_>>());
    scene.page = 99;
    composer.paint(&scene, 1280, 720);
    assert_eq!(composer.sizes().len(), 11);
}

#[test]
fn one_s_own_name_says_so() {
    let mut composer = Composer::default();
    let mut scene = Scene { tiles: vec![tile(1, None)], ..Scene::default() };
    composer.paint(&scene, 640, 480);
    let bluish = |p: &&u32| (**p & 0xff) > (**p >> 16) + 0x30;
    let count = |c: &Composer| c.canvas().pixels().iter().filter(bluish).count();
    assert_eq!(count(&composer), 0);
    scene.tiles[0].own = true;
    composer.paint(&scene, 640, 480);
    assert!(count(&composer) > 5);
}

#[test]
fn statistics_and_help_go_as_they_came() {
    let mut composer = Composer::default();
    let mut scene = Scene { tiles: vec![tile(1, Some(red()))], ..Scene::default() };
    scene.tiles[0].statistics = vec!["640x480".into()];
    composer.paint(&scene, 640, 480);
    let before = composer.canvas().pixels().to_vec();
    scene.statistics = true;
    scene.help = true;
    composer.paint(&scene, 640, 480);
    assert_ne!(before, composer.canvas().pixels());
    scene.statistics = false;
    scene.help = false;
    composer.paint(&scene, 640, 480);
    assert_eq!(before, composer.canvas().pixels());
}

/// How many pixels of the label are in the colour of what is said beside the name, or nearly.
fn said(composer: &Composer, id: u64) -> usize {
    let slots = &composer.chrome.as_ref().unwrap().slots;
    let rect = slots.iter().find(|(i, _)| *i == id).unwrap().1.label;
    let canvas = composer.canvas();
    let row = |y: usize| &canvas.pixels()[y * canvas.width() + rect.x..][..rect.width];
    (rect.y..rect.y + rect.height).flat_map(row).filter(|pixel| is(**pixel, FAINT)).count()
}

#[test]
fn how_a_member_is_stands_behind_the_name_and_comes_and_goes() {
    let mut composer = Composer::default();
    let mut scene = Scene { tiles: vec![tile(1, Some(red())), tile(2, None)], ..Scene::default() };
    composer.paint(&scene, 640, 480);
    let before = said(&composer, 1);
    scene.tiles[0].states = vec!["typing…".into()];
    assert!(composer.paint(&scene, 640, 480), "typing is to be seen at once");
    let typing = said(&composer, 1);
    assert!(typing > before);
    scene.tiles[0].states.push("away: tea".into());
    assert!(composer.paint(&scene, 640, 480));
    assert!(said(&composer, 1) > typing);
    scene.tiles[0].states.clear();
    assert!(composer.paint(&scene, 640, 480));
    assert_eq!(said(&composer, 1), before);
}

#[test]
fn what_does_not_fit_behind_a_name_is_left_out_whole() {
    let mut composer = Composer::default();
    let mut long = tile(1, Some(red()));
    long.name = "a name that leaves nothing of the line to anything else, whatever it may be".into();
    let scene = Scene { tiles: vec![long.clone()], ..Scene::default() };
    composer.paint(&scene, 320, 240);
    let alone = composer.canvas().pixels().to_vec();
    long.states = vec!["away: tea".into()];
    composer.paint(&Scene { tiles: vec![long], ..Scene::default() }, 320, 240);
    assert_eq!(composer.canvas().pixels(), alone, "the name has the line");
}

#[test]
fn the_banner_says_which_key_leads_to_the_other_pages() {
    let tiles = (0..120).map(|i| tile(i, None)).collect();
    let scene = Scene { tiles, ..Scene::default() };
    assert_eq!(banner(&scene, 0).as_deref(), Some("page 1 of 3: 120 are here, Page Down for more"));
    assert!(banner(&scene, 1).is_some_and(|words| words.ends_with("Page Up and Page Down for the others")));
    assert!(banner(&scene, 2).is_some_and(|words| words.ends_with("120 are here, Page Up for the others")));
}

#[test]
fn a_banner_moves_no_picture() {
    let mut composer = Composer::default();
    let mut scene = Scene { tiles: vec![tile(1, Some(red()))], ..Scene::default() };
    composer.paint(&scene, 640, 480);
    let (before, size) = (composer.canvas().pixels().to_vec(), composer.sizes());
    scene.banner = Some("frozen: press SPACE to go on".into());
    assert!(composer.paint(&scene, 640, 480));
    assert_eq!(composer.sizes(), size);
    assert_eq!(composer.canvas().pixels()[640 * 30..], before[640 * 30..], "all below is as it was");
    assert_eq!(composer.canvas().pixels()[0], WARNING);
    scene.tiles[0].picture = Some(colour(145, 54, 34));
    composer.paint(&scene, 640, 480);
    assert_eq!(composer.canvas().pixels()[0], WARNING, "a new picture does not cover it");
    scene.banner = None;
    scene.tiles[0].picture = Some(red());
    composer.paint(&scene, 640, 480);
    assert!(composer.canvas().pixels() == before, "and it goes as it came");
}

#[test]
fn where_there_is_little_room_the_label_is_left_out_and_the_name_is_whole() {
    let painted = |name: &str, label: &str, width: usize, height: usize| {
        let mut composer = Composer::default();
        let tile =
            Tile { id: 1, name: name.into(), label: label.into(), picture: Some(red()), ..Tile::default() };
        composer.paint(&Scene { tiles: vec![tile], ..Scene::default() }, width, height);
        composer.canvas().pixels().to_vec()
    };
    for name in ["عبد الرحمن الطويل", "Maximilian Longname"] {
        assert!(painted(name, "/ test", 150, 150) == painted(name, "", 150, 150), "{name} has the line");
        assert!(painted(name, "/ test", 800, 600) != painted(name, "", 800, 600), "{name}: there is room");
    }
}
