//! Meetings in which people write: the contract of delivery, under the faults of [`World`] and those of a
//! disk.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::ears::Verdict;
use super::host::Host;
use super::program::{Program, RECOVERY};
use super::shelf::Shelf;
use super::world::{Fate, START, World, cuts};
use crate::session::random::Random;

impl World {
    /// Programs that write, with a server that keeps what they write or does not.
    pub(super) fn of_talk(seed: u64) -> Self {
        let now = Rc::new(Cell::new(START));
        let mut random = Random::new(!seed);
        let disk = (random.between(0, 3) > 0).then(|| Rc::new(RefCell::new(Shelf::new(seed))));
        let count = random.between(2, 4) as u8;
        let guest = random.between(0, 3) as u8;
        let program = |index| Program::talking(index, seed, index > 0 && index == guest, 1_000, START);
        let programs: Vec<Program> = (0..count).map(program).collect();
        Self {
            host: Some(Host::new(0, seed, disk.clone(), Rc::clone(&now))),
            now,
            seed,
            random,
            back_at: START,
            lives: 1,
            fates: programs.iter().map(|_| Fate::default()).collect(),
            programs,
            connections: 0,
            cameras: Vec::new(),
            eyes: Vec::new(),
            disk,
        }
    }

    /// A calm beginning, a time of faults, and then everybody has everything or knows what is missing.
    pub(super) fn talk(mut self) {
        self.pass(Duration::from_millis(500));
        for _ in 0..self.random.between(1, 10) {
            match self.random.between(0, 3) {
                0 => self.chat_fault(),
                _ => self.fault(),
            }
            let span = match self.random.between(0, 4) {
                0 | 1 => self.random.between(0, 100),
                2 | 3 => self.random.between(100, 2_000),
                _ => self.random.between(2_000, 40_000),
            };
            self.pass(Duration::from_millis(span));
        }
        self.heal();
        self.programs.iter_mut().filter_map(|p| p.ears.as_mut()).for_each(|ears| ears.fall_silent());
        let limit = self.now.get() + RECOVERY * 3;
        let settled = |world: &Self| world.programs.iter().all(Program::is_settled);
        // A link that has just stalled still looks alive, so what counts is what stays so.
        let mut calm = 0;
        while calm < 20 && self.now.get() < limit {
            self.pass(Duration::from_millis(1_000));
            calm = if settled(&self) { calm + 1 } else { 0 };
        }
        let waiting: Vec<u8> = self.programs.iter().filter(|p| !p.is_settled()).map(|p| p.index).collect();
        assert!(waiting.is_empty(), "{waiting:?} still wait for something");
        self.judge();
    }

    /// The server is gone, or only the connections are, and who comes back comes only so far at first: to the
    /// hello, the welcome, or some of what was missed and is sent again.
    fn stumble(&mut self) {
        match self.random.between(0, 2) {
            0 => {
                self.programs.iter().filter_map(Program::link).for_each(|(_, down)| down.borrow_mut().reset())
            }
            _ => self.restart(),
        }
        for fate in &mut self.fates {
            let count = self.random.between(0, 5);
            fate.cuts = (0..count).map(|_| cuts(&mut self.random)).collect();
        }
    }

    fn judge(&self) {
        let shelf = self.disk.as_ref().map(|disk| disk.borrow());
        let verdict = Verdict {
            ears: self.programs.iter().filter_map(|program| program.ears.as_ref()).collect(),
            kept: shelf.as_ref().map(|shelf| (&shelf.kept[..], &shelf.pruned[..])),
            unanswered: shelf.as_ref().is_some_and(|shelf| shelf.has_failed),
        };
        verdict.check();
    }

    fn chat_fault(&mut self) {
        let (kind, count) = (self.random.between(0, 7), self.random.between(1, 50) as usize);
        let span = Duration::from_millis(self.random.between(10, 5_000));
        let now = self.now.get();
        match (kind, &self.disk) {
            (0 | 1, _) => self.host.iter_mut().for_each(Host::shrink),
            (2, Some(disk)) if self.host.is_some() => disk.borrow_mut().fail(now + span),
            (3, Some(disk)) => disk.borrow_mut().prune(count),
            (4 | 5, _) => self.stumble(),
            _ => {
                let history = self.random.between(0, 60) as u32;
                let index = self.programs.len() as u8;
                self.programs.push(Program::talking(index, self.seed, false, history, now));
                self.fates.push(Fate::default());
            }
        }
    }
}
