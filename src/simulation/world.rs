//! Time, links and faults.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::host::{Disk, Host, Pipe};
use super::link::{Direction, Shape};
use super::program::{Films, LIVE, Program, RECOVERY};
use crate::id::ConnectionId;
use crate::session::random::Random;
use crate::time::Moment;

pub(super) const START: Moment = Moment::from_micros(1_000_000_000);
const GOOD: Shape = Shape { latency: Duration::from_millis(2), rate: 10_000_000, portion: 4_096 };

/// What the clock on machine `who`'s wall shows: somebody sets it every other second, by up to an hour either way
/// (S23). Nothing but what is shown to people may depend on it.
pub(super) fn wall(who: u64, now: Moment) -> u64 {
    const HOUR: u64 = 3_600_000_000;
    let set = now.micros() / 2_000_000;
    400_000 * HOUR + now.micros() + Random::new(set << 8 ^ who).between(0, 2 * HOUR)
}

/// What awaits the next connections of one program.
#[derive(Default)]
pub(super) struct Fate {
    /// Bytes after which each breaks: up, down.
    pub(super) cuts: VecDeque<(Option<usize>, Option<usize>)>,
    /// How many are refused before.
    refusals: u32,
    shape: Option<Shape>,
}

pub(super) struct World {
    pub(super) now: Rc<Cell<Moment>>,
    pub(super) seed: u64,
    pub(super) random: Random,
    pub(super) host: Option<Host>,
    /// When a stopped server is there again.
    pub(super) back_at: Moment,
    pub(super) lives: u64,
    pub(super) programs: Vec<Program>,
    pub(super) fates: Vec<Fate>,
    pub(super) connections: u64,
    pub(super) cameras: Vec<u8>,
    pub(super) eyes: Vec<u8>,
    pub(super) disk: Disk,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let now = Rc::new(Cell::new(START));
        let mut random = Random::new(seed);
        let films = Films::default();
        let count = random.between(3, 5) as u8;
        let cameras: Vec<u8> = (0..random.between(1, 2) as u8).collect();
        // The first publisher looks as well, or does not.
        let eyes: Vec<u8> = (random.between(0, 1) as u8..count).collect();
        let program = |index: u8| {
            let (camera, eye) = (cameras.contains(&index), eyes.contains(&index));
            Program::new(index, seed, Rc::clone(&films), camera, eye, START)
        };
        let programs = (0..count).map(program).collect();
        let host = Some(Host::new(0, seed, None, Rc::clone(&now)));
        let fates = (0..count).map(|_| Fate::default()).collect();
        Self {
            now,
            seed,
            random,
            host,
            back_at: START,
            lives: 1,
            programs,
            fates,
            connections: 0,
            cameras,
            eyes,
            disk: None,
        }
    }

    /// A calm beginning, a time of faults, and then everybody sees everybody again.
    pub(super) fn run(mut self) {
        self.pass(Duration::from_millis(1_500));
        assert!(self.programs.iter().all(Program::is_up), "everybody comes in");
        self.check_live();
        self.check_asking();
        for _ in 0..self.random.between(1, 8) {
            self.fault();
            let span = match self.random.between(0, 3) {
                0 => self.random.between(0, 100),
                1 | 2 => self.random.between(100, 2_000),
                _ => self.random.between(2_000, 14_000),
            };
            self.pass(Duration::from_millis(span));
        }
        self.heal();
        // A link that has just stalled still looks alive, so what counts is what stays so.
        let (limit, mut lively) = (self.now.get() + RECOVERY, 0);
        while lively < 8 && self.now.get() < limit {
            self.pass(Duration::from_millis(250));
            lively = if self.is_live() { lively + 1 } else { 0 };
        }
        self.check_live();
    }

    /// Who asks for a picture at which decoding can begin gets one, from the publisher or from what there is.
    fn check_asking(&mut self) {
        for pause in [350, 100] {
            self.programs.iter_mut().for_each(Program::want_key_again);
            self.pass(Duration::from_millis(pause));
            let waiting: Vec<u8> =
                self.programs.iter().filter(|program| program.wants_key()).map(|p| p.index).collect();
            assert!(waiting.is_empty(), "{waiting:?} asked for a keyframe and got none in {pause} ms");
        }
    }

    fn is_live(&self) -> bool {
        let now = self.now.get();
        let sees = |viewer: u8, camera: u8| {
            let newest = self.programs[usize::from(viewer)].newest.get(&camera);
            newest.is_some_and(|made| now.since(*made) < LIVE)
        };
        self.back_at <= now && self.eyes.iter().all(|&v| self.cameras.iter().all(|&c| v == c || sees(v, c)))
    }

    fn check_live(&self) {
        let ages = |p: &Program| {
            let newest = p.newest.iter().map(|(from, made)| (*from, self.now.get().since(*made)));
            (p.index, p.is_up(), newest.collect::<Vec<_>>())
        };
        let all: Vec<_> = self.programs.iter().map(ages).collect();
        assert!(self.is_live(), "who sees pictures of what age: {all:?}");
    }

    pub(super) fn pass(&mut self, span: Duration) {
        let end = self.now.get() + span;
        while self.now.get() < end {
            self.step();
            let times = self.programs.iter().map(Program::next);
            let times = times.chain([self.host.as_ref().and_then(Host::next)]).flatten();
            let tick = Duration::from_micros(50);
            let next = times.min().unwrap_or(end).max(self.now.get() + tick);
            self.now.set(next.min(end));
        }
    }

    fn step(&mut self) {
        let now = self.now.get();
        if self.host.is_none() && self.back_at <= now {
            self.host = Some(Host::new(self.lives, self.seed, self.disk.clone(), Rc::clone(&self.now)));
            self.lives += 1;
        }
        for (program, fate) in self.programs.iter_mut().zip(&mut self.fates) {
            let (host, random, last) = (&mut self.host, &mut self.random, &mut self.connections);
            program.step(now, || {
                let host = host.as_mut()?;
                if fate.refusals > 0 {
                    fate.refusals -= 1;
                    return None;
                }
                *last += 1;
                let (up, down) = link(fate, random);
                host.accept(ConnectionId(*last), Rc::clone(&up), Rc::clone(&down));
                Some((up, down))
            });
        }
        if let Some(host) = &mut self.host {
            host.step();
        }
    }

    pub(super) fn fault(&mut self) {
        let place = self.random.between(0, self.programs.len() as u64 - 1) as usize;
        let now = self.now.get();
        let random = &mut self.random;
        let (kind, bytes) = (random.between(0, 14), random.between(1, 3_000) as usize);
        let span = Duration::from_millis(random.between(100, 20_000));
        let fate = &mut self.fates[place];
        match kind {
            0 => fate.refusals = random.between(1, 3) as u32,
            1 => fate.cuts = (0..random.between(1, 4)).map(|_| cuts(random)).collect(),
            2 => fate.shape = Some(poor(random)),
            3 => return self.restart(),
            4 => return self.programs[place].want_key(),
            13 => return self.programs[place].damage(),
            14 => return self.host.iter().for_each(|host| host.damage(place)),
            _ => {}
        }
        let Some((up, down)) = self.programs[place].link() else { return };
        let (mut up, mut down) = (up.borrow_mut(), down.borrow_mut());
        match kind {
            5 => up.cut_after(bytes),
            6 => down.cut_after(bytes),
            7 => {
                up.stall(span);
                down.stall(span);
            }
            8 => down.stall(span),
            9 => up.close(now),
            10 => down.close(now),
            11 => {
                // Only one end learns of it, and comes back while the other still believes (S09).
                up.stall(span);
                down.reset();
            }
            12 => {
                let shape = poor(random);
                up.set_shape(shape);
                down.set_shape(shape);
            }
            _ => down.reset(),
        }
    }

    pub(super) fn restart(&mut self) {
        let in_order = self.random.between(0, 1) == 0;
        self.back_at = self.now.get() + Duration::from_millis(self.random.between(0, 4_000));
        if let Some(host) = self.host.take() {
            host.stop(in_order);
        }
    }

    /// No more faults; what is on its way in a stalled link stays there.
    pub(super) fn heal(&mut self) {
        for (program, fate) in self.programs.iter().zip(&mut self.fates) {
            *fate = Fate::default();
            if let Some((up, down)) = program.link() {
                up.borrow_mut().heal(GOOD);
                down.borrow_mut().heal(GOOD);
            }
        }
    }
}

fn link(fate: &mut Fate, random: &mut Random) -> (Pipe, Pipe) {
    let shape = fate.shape.unwrap_or(GOOD);
    let mut up = Direction::new(shape, random.bits());
    let mut down = Direction::new(shape, random.bits());
    if let Some((cut_up, cut_down)) = fate.cuts.pop_front() {
        cut_up.into_iter().for_each(|bytes| up.cut_after(bytes));
        cut_down.into_iter().for_each(|bytes| down.cut_after(bytes));
    }
    (Rc::new(RefCell::new(up)), Rc::new(RefCell::new(down)))
}

/// Where the next connection breaks: in the hello, in the welcome, in the first pictures.
pub(super) fn cuts(random: &mut Random) -> (Option<usize>, Option<usize>) {
    let bytes = Some(random.between(1, 2_500) as usize);
    if random.between(0, 1) == 0 { (bytes, None) } else { (None, bytes) }
}

/// A line that carries a part of the pictures at the most.
fn poor(random: &mut Random) -> Shape {
    Shape {
        latency: Duration::from_millis(random.between(1, 200)),
        rate: random.between(1_500, 20_000),
        portion: random.between(5, 600),
    }
}
