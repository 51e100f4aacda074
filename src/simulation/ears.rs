//! What one program says, hears and is told about it, and whether that is what the contract promises.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::world::wall;
use crate::chat::{Content, Entry, Progress, Received};
use crate::id::{LogId, MemberId, PublicKey, SourceId};
use crate::session::client::{Client, Event};
use crate::session::random::Random;
use crate::time::Moment;
use crate::wire::control::{Action, Gap, GapReason, Member, Messages};
use crate::wire::{Code, Slot};

/// Something said.
struct Said {
    text: String,
    to: Option<PublicKey>,
}

/// Something heard, in this log.
struct Heard {
    log: LogId,
    message: Received,
    /// A kept message that stands before the history.
    early: bool,
}

/// See the module.
pub(super) struct Ears {
    pub(super) index: u8,
    pub(super) source: SourceId,
    key: Option<PublicKey>,
    random: Random,
    next: Moment,
    silent: bool,
    said: BTreeMap<u64, Said>,
    progress: Progress,
    /// Messages are stored now; while they were not, being relayed was enough for those through `waived`.
    storing: bool,
    waived: u64,
    refused: BTreeMap<u64, Code>,
    heard: Vec<Heard>,
    gaps: Vec<(LogId, Gap)>,
    log: LogId,
    /// The first message of a log that it was to be given.
    begins: BTreeMap<LogId, u64>,
    /// The last message that there was when it came in.
    last: Option<u64>,
    caught_up: bool,
    members: BTreeMap<MemberId, Member>,
}

impl Ears {
    pub(super) fn new(index: u8, seed: u64, key: Option<PublicKey>, now: Moment) -> Self {
        Self {
            index,
            source: SourceId([index; 16]),
            key,
            random: Random::new(seed ^ (u64::from(index) << 40)),
            next: now,
            silent: false,
            said: BTreeMap::new(),
            progress: Progress::default(),
            storing: true,
            waived: 0,
            refused: BTreeMap::new(),
            heard: Vec::new(),
            gaps: Vec::new(),
            log: LogId([0; 8]),
            begins: BTreeMap::new(),
            last: None,
            caught_up: false,
            members: BTreeMap::new(),
        }
    }

    /// It has nothing more to say.
    pub(super) fn fall_silent(&mut self) {
        self.silent = true;
    }

    pub(super) fn next(&self) -> Option<Moment> {
        (!self.silent).then_some(self.next)
    }

    /// Says what is due: as a rule one message now and then, sometimes many at once.
    pub(super) fn speak(&mut self, client: &mut Client, now: Moment) {
        if self.silent || now < self.next {
            return;
        }
        let (wait, count) = match self.random.between(0, 60) {
            0 => (2_000, self.random.between(50, 300)),
            1..4 => (1_000, self.random.between(2, 20)),
            4 => (20_000, 1),
            _ => (self.random.between(10, 1_500), 1),
        };
        self.next = now + Duration::from_millis(wait);
        client.set_wall(wall(1 + u64::from(self.index), now));
        for _ in 0..count {
            let (slot, direct) = (self.random.between(0, 30) == 0, self.random.between(0, 5) == 0);
            let to = if direct && !slot { self.somebody() } else { None };
            let text = format!("p{}:{}", self.index, self.said.len());
            let payload = Content::Text(text.clone()).to_payload();
            let slot = slot.then(Slot::topic);
            let n = client.post(Bytes::from(payload), to.map(|to| to.0), slot).unwrap();
            assert!(self.said.insert(n, Said { text, to: to.map(|to| to.1) }).is_none());
        }
        if self.index == 0 && self.random.between(0, 6) == 0 {
            let action = if self.random.between(0, 1) == 0 { Action::Mute } else { Action::Unmute };
            let member = self.somebody().map(|to| to.0);
            client.moderate(1, action, member);
        }
    }

    fn somebody(&mut self) -> Option<(MemberId, PublicKey)> {
        let known: Vec<_> = self.members.iter().filter_map(|(id, m)| Some((*id, m.key?))).collect();
        let place = self.random.between(0, known.len().saturating_sub(1) as u64) as usize;
        known.get(place).copied().filter(|to| Some(to.1) != self.key)
    }

    pub(super) fn handle_event(&mut self, event: &Event) {
        match event {
            Event::Up { welcome, .. } => {
                let log = welcome.log.unwrap();
                (self.log, self.last) = (log.id, Some(log.last));
                self.storing = log.stored;
                self.caught_up = false;
            }
            Event::State(state) => {
                self.members = state.members.iter().map(|m| (m.member, m.clone())).collect();
            }
            Event::Member(member) => drop(self.members.insert(member.member, member.clone())),
            Event::MemberLeft(member) => drop(self.members.remove(member)),
            Event::Message(message) => {
                let early = message.slot.is_some() && !self.begins.contains_key(&self.log);
                if !early {
                    self.begins.entry(self.log).or_insert(message.seq);
                }
                self.heard.push(Heard { log: self.log, message: message.clone(), early });
            }
            Event::Gap(gap) => {
                self.gaps.push((self.log, *gap));
                if gap.to > 0 {
                    self.begins.entry(self.log).or_insert(gap.from);
                }
            }
            Event::CaughtUp => {
                self.caught_up = true;
                self.begins.entry(self.log).or_insert(self.last.unwrap() + 1);
            }
            Event::Acknowledged(progress) => self.progress = *progress,
            Event::Storage { stored, .. } => self.storing = *stored,
            Event::Unsent { n, refusal } => drop(self.refused.insert(*n, refusal.code)),
            Event::Conflict => panic!("p{} is told that it used a number twice", self.index),
            _ => {}
        }
        if !self.storing {
            self.waived = self.progress.relayed;
        }
    }

    /// With what it comes back is what it has: not less, so that nothing comes twice.
    pub(super) fn check_position(&self, position: Option<Messages>) {
        let Some(Messages { log: Some(log), after: Some(after), .. }) = position else { return };
        let heard = self.heard.iter().filter(|heard| heard.log == log && !heard.early);
        let last = heard.map(|heard| heard.message.seq).max().unwrap_or(0);
        assert!(after >= last, "p{} says that it has {after}, and has {last}", self.index);
    }

    pub(super) fn was_never_up(&self) -> bool {
        self.last.is_none()
    }

    pub(super) fn is_caught_up(&self) -> bool {
        self.caught_up
    }

    /// What it heard by itself: in order, once, as it was said.
    fn check_list(&self, all: &BTreeMap<SourceId, &Ears>) {
        let mut known = BTreeSet::new();
        let mut last: BTreeMap<LogId, u64> = BTreeMap::new();
        for Heard { log, message, early } in &self.heard {
            let name = format!("p{} heard {} of {}", self.index, message.n, all[&message.source].index);
            assert!(known.insert((message.source, message.n)), "{name} twice");
            let said = &all[&message.source].said[&message.n];
            assert_eq!(message.content, Content::Text(said.text.clone()), "{name}");
            assert!(self.may_hear(said.to, message.source), "{name}, which was for somebody else");
            if !early {
                let before = last.insert(*log, message.seq);
                assert!(before.is_none_or(|before| before < message.seq), "{name} out of order");
            }
        }
    }

    /// A server without a disk knows of everything that is missing why it is.
    fn check_gaps(&self) {
        for (log, gap) in &self.gaps {
            let known = gap.to == 0 || gap.reason == GapReason::Expired;
            assert!(known, "p{} is told of {gap:?} in {log:?}", self.index);
        }
    }

    fn may_hear(&self, to: Option<PublicKey>, source: SourceId) -> bool {
        to.is_none_or(|to| Some(to) == self.key || source == self.source)
    }

    /// A guest who comes back is known to nobody, so that nothing is for it alone.
    fn must_hear(&self, to: Option<PublicKey>, source: SourceId) -> bool {
        self.may_hear(to, source) && (to.is_none() || self.key.is_some())
    }

    fn has_heard(&self, source: SourceId, n: u64) -> bool {
        self.heard.iter().any(|heard| (heard.message.source, heard.message.n) == (source, n))
    }

    fn was_told_of_gap(&self, log: LogId, seq: u64) -> bool {
        // Whose log has another identity now knows that nothing of the earlier one can be had.
        let other = self.log != log && self.gaps.iter().any(|(_, gap)| gap.to == 0);
        other || self.gaps.iter().any(|(of, gap)| *of == log && (gap.from..=gap.to).contains(&seq))
    }
}

/// What is known at the end.
pub(super) struct Verdict<'a> {
    pub(super) ears: Vec<&'a Ears>,
    /// What the disk has, and what it had.
    pub(super) kept: Option<(&'a [Entry], &'a [Entry])>,
    /// The store could not always answer.
    pub(super) unanswered: bool,
}

impl Verdict<'_> {
    pub(super) fn check(&self) {
        let all: BTreeMap<SourceId, &Ears> = self.ears.iter().map(|ears| (ears.source, *ears)).collect();
        self.ears.iter().for_each(|ears| ears.check_list(&all));
        if self.kept.is_none() {
            self.ears.iter().for_each(|ears| ears.check_gaps());
        }
        let numbered = self.numbered();
        for (&(log, seq), &(source, n)) in &numbered {
            let to = all[&source].said[&n].to;
            for ears in self.ears.iter().filter(|ears| ears.must_hear(to, source)) {
                // Who came later begins there; who heard it in another life of the server has it.
                let before = ears.begins.get(&log).is_none_or(|begin| seq < *begin);
                assert!(
                    before || ears.has_heard(source, n) || ears.was_told_of_gap(log, seq),
                    "p{} lacks {seq} ({n} of p{}) and was not told",
                    ears.index,
                    all[&source].index
                );
            }
        }
        self.check_outcomes();
        if let Some((kept, _)) = self.kept {
            kept.iter().for_each(|entry| self.check_kept(entry, &all));
        }
    }

    /// Every number of the room means one message, for everybody.
    fn numbered(&self) -> BTreeMap<(LogId, u64), (SourceId, u64)> {
        let mut numbered = BTreeMap::new();
        let heard = self.ears.iter().flat_map(|ears| &ears.heard);
        for Heard { log, message, .. } in heard {
            let known = numbered.entry((*log, message.seq)).or_insert((message.source, message.n));
            assert_eq!(*known, (message.source, message.n), "number {} was given twice", message.seq);
        }
        for entry in self.kept.iter().flat_map(|(kept, _)| *kept) {
            let key = (LogId([9; 8]), entry.seq);
            let known = numbered.entry(key).or_insert((entry.source, entry.n));
            assert_eq!(*known, (entry.source, entry.n), "number {} was given twice", entry.seq);
        }
        numbered
    }

    /// What the disk has is what everybody has.
    fn check_kept(&self, entry: &Entry, all: &BTreeMap<SourceId, &Ears>) {
        let to = all[&entry.source].said[&entry.n].to;
        for ears in self.ears.iter().filter(|ears| ears.must_hear(to, entry.source)) {
            let before = ears.begins.get(&LogId([9; 8])).is_none_or(|begin| entry.seq < *begin);
            assert!(
                before || self.unanswered || ears.has_heard(entry.source, entry.n),
                "p{} lacks {}, which is kept",
                ears.index,
                entry.seq
            );
        }
    }

    /// Of everything that was said its sender knows what became of it.
    fn check_outcomes(&self) {
        let kept: BTreeSet<(SourceId, u64)> = self
            .kept
            .iter()
            .flat_map(|(kept, pruned)| kept.iter().chain(*pruned))
            .map(|entry| (entry.source, entry.n))
            .collect();
        for ears in &self.ears {
            for &n in ears.said.keys() {
                let (id, name) = ((ears.source, n), format!("{n} of p{}", ears.index));
                match ears.refused.get(&n) {
                    Some(code) => {
                        assert!(!kept.contains(&id), "{name} was refused with {code:?} and kept");
                    }
                    None => {
                        assert!(ears.progress.relayed >= n, "{name} is not answered");
                        if self.kept.is_some() && ears.progress.stored >= n && n > ears.waived {
                            assert!(kept.contains(&id), "{name} is acknowledged as stored and is not");
                        }
                    }
                }
            }
        }
    }
}
