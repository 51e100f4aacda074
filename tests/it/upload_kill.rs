//! Sender, server and the way between them are killed at random: what arrives is what was sent, and no more than a
//! window of it goes twice.
//!
//! `CONF_SEED` repeats a run, `CONF_SOAK` gives the number of kills.

use confkit::limits;

use crate::support::cable::Cable;
use crate::support::kills::{self, BYTES, KILLS, ended};
use crate::support::programs::PATIENCE;
use crate::support::random::{self, Random};
use crate::support::scene::Scene;
use crate::support::taker::Taker;

#[tokio::test]
async fn f35_whatever_is_killed_all_of_it_arrives_and_no_more_than_a_window_goes_twice() {
    let (mut random, kills) = random::run(100, "kills");
    let mut scene = Scene::new();
    for round in 0..kills.div_ceil(KILLS) {
        let name = format!("d{round}");
        let [first, second] = kills::files(&scene, &mut random, [&format!("{name}/a"), &format!("{name}/b")]);
        scene.file(&format!("{name}/c"), 0);
        let cable = scene.cable();
        let ended = round_of_kills(&mut scene, &cable, &name, &mut random);
        let again = cable.again();
        assert!(again <= KILLS as usize * limits::UPLOAD_WINDOW, "{again} bytes went twice");
        assert_eq!(scene.unfinished(), 0);
        assert!(ended.contains("/a\n") && ended.contains("/b\n") && ended.contains("/c\n"), "{ended}");
        let mut taker = Taker::join(&scene.room(), "Bob").await;
        let offer = taker.state(|state| state.sealed && u64::from(state.offer.0) == round + 1).await.offer;
        let taken = taker.take_offer(offer).await;
        assert!(taken.files == [first, second, Vec::new()], "what arrived is not what was sent");
        std::fs::remove_dir_all(scene.path(&name)).unwrap();
    }
}

/// Sends `name` through some kills; what the program said at the end.
fn round_of_kills(scene: &mut Scene, cable: &Cable, name: &str, random: &mut Random) -> String {
    let room = cable.room();
    let start = |scene: &Scene| scene.start(&room, &["--limit-rate", "100M", name]);
    let mut send = start(scene);
    let mut again = 0;
    for _ in 0..KILLS {
        let moment = random.between(1, BYTES as u64 / KILLS);
        match random.between(0, 3) {
            0 => cable.cut_after(moment),
            1 => {
                cable.wait_for(moment);
                scene.server = None;
                scene.server = Some(scene.town.serve());
            }
            2 => {
                cable.wait_for(moment);
                if ended(&mut send) {
                    break;
                }
                drop(send);
                send = start(scene);
            }
            _ => {
                cable.wait_for(moment);
                scene.server = None;
                if ended(&mut send) {
                    scene.server = Some(scene.town.serve());
                    break;
                }
                drop(send);
                scene.server = Some(scene.town.serve());
                send = start(scene);
            }
        }
        // What one break costs may go only behind the next.
        let cost = cable.again() - std::mem::replace(&mut again, cable.again());
        assert!(cost <= 2 * limits::UPLOAD_WINDOW, "{cost} bytes went again after one break");
        if ended(&mut send) {
            break;
        }
    }
    assert_eq!(send.wait(PATIENCE), 0, "{}", send.stderr());
    let mut sums = String::new();
    std::io::Read::read_to_string(&mut send.child.stdout.take().unwrap(), &mut sums).unwrap();
    sums
}
