//! Receiver, server, sender and the way between them are killed at random while a file is fetched: what is there in
//! the end is what was sent, no break costs more than a window, and progress never goes back.
//!
//! `CONF_SEED` repeats a run, `CONF_SOAK` gives the number of kills.
#![allow(clippy::disallowed_methods)] // The end of a process is not an event that can be awaited with a limit.

use confkit::limits;
use serde_json::Value;

use crate::support::cable::Cable;
use crate::support::kills::{self, BYTES, KILLS, ended};
use crate::support::programs::{PATIENCE, Running};
use crate::support::random::{self, Random};
use crate::support::scene::Scene;
use crate::support::taker::Taker;

#[tokio::test]
async fn f29_f35_whatever_is_killed_what_is_fetched_is_right_and_no_break_costs_more_than_a_window() {
    let (mut random, kills) = random::run(100, "kills");
    let mut scene = Scene::new();
    for round in 0..kills.div_ceil(KILLS) {
        let name = format!("d{round}");
        let [first, second] =
            kills::files(&scene, &mut random, [&format!("{name}/a"), &format!("{name}/sub/b")]);
        scene.file(&format!("{name}/c"), 0);
        // Every other one is fetched while it is still being sent.
        let live = round % 2 == 1;
        let mut sending = send(&scene, &name);
        let mut watcher = Taker::join(&scene.room(), "Cy").await;
        watcher.state(|state| u64::from(state.offer.0) == round + 1 && (state.sealed || live)).await;
        drop(watcher);
        if !live {
            assert_eq!(sending.wait(PATIENCE), 0, "{}", sending.stderr());
        }
        let sums = Fetching::new(&mut scene, sending, &name, round + 1).run(&mut random, live);
        let place = scene.town.path("got").join(&name);
        assert!(std::fs::read(place.join("a")).unwrap() == first, "a is not what was sent");
        assert!(std::fs::read(place.join("sub/b")).unwrap() == second, "b is not what was sent");
        assert_eq!(std::fs::read(place.join("c")).unwrap(), b"");
        assert!(sums.is_none_or(|sums| sums.lines().count() == 3), "three files have their sums");
        let left: Vec<_> = std::fs::read_dir(scene.town.path("got")).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?} is left");
        for used in [place, scene.path(&name)] {
            std::fs::remove_dir_all(used).unwrap();
        }
        assert_eq!(scene.send(&["--withdraw", &(round + 1).to_string()]).0, 0);
    }
}

/// One offer on its way, through some kills.
struct Fetching<'a> {
    scene: &'a mut Scene,
    cable: Cable,
    name: &'a str,
    offer: String,
    sending: Running,
    receiving: Running,
    /// What the receiver last said to be safe.
    safe: u64,
    /// What had come of different chunks when the receiver was started.
    had: u64,
    /// Bytes that had come twice at the last break.
    again: usize,
    breaks: usize,
    /// It was killed when everything was in its place.
    done: bool,
}

impl<'a> Fetching<'a> {
    fn new(scene: &'a mut Scene, sending: Running, name: &'a str, offer: u64) -> Self {
        let cable = Cable::from(scene.server.as_ref().unwrap().address);
        let offer = offer.to_string();
        let receiving = receive(scene, &cable, &offer);
        Self {
            scene,
            cable,
            name,
            offer,
            sending,
            receiving,
            safe: 0,
            had: 0,
            again: 0,
            breaks: 0,
            done: false,
        }
    }

    /// Until all of it is there; what the program said at the end, where it was not killed then.
    fn run(mut self, random: &mut Random, live: bool) -> Option<String> {
        for _ in 0..KILLS {
            let moment = random.between(1, BYTES as u64 / KILLS);
            match random.between(0, if live { 4 } else { 3 }) {
                0 => self.cable.cut(moment),
                1 => {
                    self.cable.wait_for(moment);
                    self.restart_server();
                }
                2 => {
                    self.cable.wait_for(moment);
                    self.restart_receiver();
                }
                3 => {
                    self.cable.wait_for(moment);
                    self.scene.server = None;
                    self.restart_receiver_with(|this| this.scene.server = Some(this.scene.town.serve()));
                }
                _ => {
                    self.cable.wait_for(moment);
                    self.restart_sender();
                }
            }
            self.look();
            if self.done {
                return None;
            }
            self.tend();
            if ended(&mut self.receiving) {
                break;
            }
        }
        self.wait_for_the_end();
        self.look();
        self.follow(true);
        if live && !ended(&mut self.sending) {
            assert_eq!(self.sending.wait(PATIENCE), 0, "{}", self.sending.stderr());
        }
        let mut sums = String::new();
        let mut stdout = self.receiving.child.stdout.take().unwrap();
        std::io::Read::read_to_string(&mut stdout, &mut sums).unwrap();
        Some(sums)
    }

    /// Who hangs is asked for its last words.
    fn wait_for_the_end(&mut self) {
        let start = confkit::time::now();
        while !ended(&mut self.receiving) && confkit::time::now().since(start) < PATIENCE {
            std::thread::sleep(std::time::Duration::from_millis(5));
            self.tend();
        }
        let over = ended(&mut self.receiving);
        let sent = ended(&mut self.sending);
        let _ = (self.receiving.child.kill(), over || self.sending.child.kill().is_ok());
        let code = self.receiving.wait(PATIENCE);
        if !over || code != 0 {
            let sending = self.sending.stderr();
            panic!("{code}, over: {over}: {}\nsender, over: {sent}: {sending}", self.receiving.stderr());
        }
    }

    /// Who finds no server when it starts does not try again; its user does.
    fn tend(&mut self) {
        const CONNECT: Option<i32> = Some(3);
        let code = |running: &mut Running| running.child.try_wait().unwrap().and_then(|status| status.code());
        if code(&mut self.sending) == CONNECT {
            self.sending = send(self.scene, self.name);
        }
        if code(&mut self.receiving) == CONNECT {
            self.receiving = receive(self.scene, &self.cable, &self.offer);
        }
    }

    fn restart_server(&mut self) {
        self.scene.server = None;
        self.scene.server = Some(self.scene.town.serve());
    }

    fn restart_receiver(&mut self) {
        self.restart_receiver_with(|_| {});
    }

    /// Kills it, does something else, and starts it again.
    fn restart_receiver_with(&mut self, meanwhile: impl FnOnce(&mut Self)) {
        let over = ended(&mut self.receiving);
        if !over {
            self.receiving.child.kill().unwrap();
            self.receiving.child.wait().unwrap();
            // It may have been done just before.
            self.follow(false);
            self.had = self.cable.once() as u64;
        }
        meanwhile(self);
        let whole = self.scene.town.path("got").join(self.name).join("c").exists();
        let parts = std::fs::read_dir(self.scene.town.path("got")).unwrap().count();
        match over {
            true => {}
            // It was killed behind its work; what counts is on the disk.
            false if whole && parts == 1 => self.done = true,
            false => self.receiving = receive(self.scene, &self.cable, &self.offer),
        }
    }

    fn restart_sender(&mut self) {
        if !ended(&mut self.sending) {
            self.sending.child.kill().unwrap();
            self.sending.child.wait().unwrap();
            self.sending = send(self.scene, self.name);
        }
    }

    /// What this break has cost.
    fn look(&mut self) {
        self.breaks += 1;
        let again = self.cable.again();
        let cost = again - self.again;
        // What one break costs may come only behind the next.
        let most = 2 * limits::UPLOAD_WINDOW;
        assert!(cost <= most, "{cost} bytes came again after one break");
        assert!(again <= self.breaks * limits::UPLOAD_WINDOW, "{again} bytes came again");
        self.again = again;
    }

    /// What the receiver has said of its progress: it only ever grows, over all its lives.
    fn follow(&mut self, whole: bool) {
        let said = self.receiving.stderr();
        for line in said.lines().filter(|line| line.starts_with('{')) {
            // The last line of one that was killed may be torn.
            let Ok(told) = serde_json::from_str::<Value>(line) else { continue };
            let bytes = match told["type"].as_str() {
                Some("begin") => told["before"].as_u64(),
                Some("progress" | "end") => told["bytes"].as_u64(),
                _ => None,
            };
            let Some(bytes) = bytes else { continue };
            let window = limits::UPLOAD_WINDOW as u64;
            assert!(bytes + window >= self.had, "{bytes} are there of {} that had come: {said}", self.had);
            assert!(bytes >= self.safe, "{bytes} after {}: {said}", self.safe);
            self.safe = bytes;
        }
        assert!(!whole || self.safe == BYTES as u64, "{said}");
    }
}

fn send(scene: &Scene, name: &str) -> Running {
    scene.start(&scene.room(), &["--limit-rate", "40M", name])
}

fn receive(scene: &Scene, cable: &Cable, offer: &str) -> Running {
    Running::start(scene.receiver(&cable.room(), "got", &["--yes", "--progress", "json", offer]))
}
