//! A store without a disk, as `server::store` behaves: it commits late and in groups, forgets in a crash what
//! is not committed, reserves numbers before they are given, answers late, and fails.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::chat::{Entry, Found, Log, Missing, Past, Standing};
use crate::id::{ConnectionId, LogId, PublicKey, SourceId};
use crate::room::{Fetch, Older, Settings};
use crate::session::random::Random;
use crate::time::Moment;
use crate::wire::Slot;

/// What it tells the server.
pub(super) enum News {
    Stored(u64),
    Reserved(u64),
    Storage(bool),
    Start(ConnectionId, u64),
    Page(ConnectionId, Missing, Option<Found>),
    /// Older messages that a reader asked for.
    Older(ConnectionId, Older, Option<Vec<Entry>>),
}

type Question = (Moment, ConnectionId, Fetch, Option<PublicKey>);

/// See the module.
pub(super) struct Shelf {
    random: Random,
    /// Numbers reserved at once, messages that may wait, messages of a page, messages of a restored log.
    block: u64,
    most_waiting: usize,
    page: usize,
    newest: usize,
    /// On disk.
    pub(super) kept: Vec<Entry>,
    pub(super) pruned: Vec<Entry>,
    last: u64,
    last_public: u64,
    reserved: u64,
    gaps: Vec<(u64, u64)>,
    sources: BTreeMap<SourceId, Standing>,
    slots: BTreeMap<Slot, Entry>,
    settings: Settings,
    /// In memory.
    waiting: VecDeque<Entry>,
    holes: Vec<u64>,
    through: u64,
    given: u64,
    /// So many of what waits are being written until then.
    writing: Option<(Moment, usize)>,
    failing: Option<Moment>,
    questions: VecDeque<Question>,
    news: VecDeque<News>,
    /// Whether a question was ever answered with a failure.
    pub(super) has_failed: bool,
}

impl Shelf {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let block = [16, 64, 4_096][random.between(0, 2) as usize];
        Self {
            block,
            most_waiting: random.between(20, 400) as usize,
            page: random.between(2, 128) as usize,
            newest: random.between(0, 100) as usize,
            random,
            kept: Vec::new(),
            pruned: Vec::new(),
            last: 0,
            last_public: 0,
            reserved: 1,
            gaps: Vec::new(),
            sources: BTreeMap::new(),
            slots: BTreeMap::new(),
            settings: Settings::default(),
            waiting: VecDeque::new(),
            holes: Vec::new(),
            through: 0,
            given: 0,
            writing: None,
            failing: None,
            questions: VecDeque::new(),
            news: VecDeque::new(),
            has_failed: false,
        }
    }

    /// The room begins another life.
    pub(super) fn load(&mut self) -> (Log, Settings) {
        if self.last + 1 < self.reserved {
            self.gaps.push((self.last + 1, self.reserved - 1));
        }
        let next = self.reserved;
        self.given = next - 1;
        self.through = next - 1 + self.block;
        self.reserved = self.through + 1;
        let newest = self.kept.len().saturating_sub(self.newest);
        let past = Past {
            next,
            limit: self.through,
            last_public: self.last_public,
            oldest: self.kept.first().map_or(next, |entry| entry.seq),
            gaps: self.gaps.clone(),
            newest: self.kept[newest..].iter().cloned().map(persisted).collect(),
            slots: self.slots.values().cloned().map(persisted).collect(),
            sources: self.sources.values().cloned().collect(),
        };
        (Log::restore(LogId([9; 8]), past), self.settings.clone())
    }

    pub(super) fn keep(&mut self, settings: Settings) {
        self.settings = settings;
    }

    pub(super) fn append(&mut self, entry: Entry, now: Moment) -> bool {
        assert!(entry.seq > self.given && entry.seq <= self.through, "{} is not reserved", entry.seq);
        self.given = entry.seq;
        if self.waiting.len() >= self.most_waiting {
            self.holes.push(entry.seq);
            return false;
        }
        self.waiting.push_back(entry);
        self.write(now);
        true
    }

    pub(super) fn ask(&mut self, to: ConnectionId, fetch: Fetch, reader: Option<PublicKey>, now: Moment) {
        let wait = Duration::from_micros(self.random.between(100, 50_000));
        self.questions.push_back((now + wait, to, fetch, reader));
    }

    pub(super) fn fail(&mut self, until: Moment) {
        if self.failing.is_none() {
            self.news.push_back(News::Storage(false));
        }
        self.failing = Some(until);
        self.writing = None;
    }

    /// The oldest messages are given up.
    pub(super) fn prune(&mut self, count: usize) {
        let count = count.min(self.kept.len().saturating_sub(1));
        self.pruned.extend(self.kept.drain(..count));
        if let Some(last) = self.pruned.last().map(|entry| entry.seq) {
            self.gaps.retain(|gap| gap.1 > last);
        }
    }

    /// The server ends: in order, or without being asked.
    pub(super) fn end(&mut self, in_order: bool) {
        if in_order {
            if self.failing.is_none() {
                self.commit(self.waiting.len());
            }
            self.reserved = self.given + 1;
        } else if let Some((_, count)) = self.writing
            && self.random.between(0, 1) == 0
        {
            // The disk had it, but the server did not live to hear so.
            self.commit(count);
        }
        self.waiting.clear();
        self.holes.clear();
        self.questions.clear();
        self.news.clear();
        (self.writing, self.failing) = (None, None);
    }

    pub(super) fn next(&self) -> Option<Moment> {
        let news = (!self.news.is_empty()).then(Moment::default);
        let written = self.writing.map(|(at, _)| at);
        let answer = self.questions.front().map(|question| question.0);
        [news, written, answer, self.failing].into_iter().flatten().min()
    }

    /// What has happened by now.
    pub(super) fn poll(&mut self, now: Moment) -> Option<News> {
        if let Some(news) = self.news.pop_front() {
            return Some(news);
        }
        if self.failing.is_some_and(|until| until <= now) {
            self.failing = None;
            self.commit(self.waiting.len());
            self.news.push_front(News::Storage(true));
        } else if self.writing.is_some_and(|(at, _)| at <= now) {
            let (_, count) = self.writing.take()?;
            self.commit(count);
            self.write(now);
        } else if self.questions.front().is_some_and(|question| question.0 <= now) {
            let question = self.questions.pop_front()?;
            let answer = self.answer(question);
            self.news.push_back(answer);
        }
        self.news.pop_front()
    }

    fn write(&mut self, now: Moment) {
        if self.writing.is_none() && self.failing.is_none() && !self.waiting.is_empty() {
            let took = Duration::from_micros(self.random.between(1_000, 30_000));
            self.writing = Some((now + took, self.waiting.len()));
        }
    }

    fn commit(&mut self, count: usize) {
        let holes = std::mem::take(&mut self.holes);
        let lost = holes.last().copied().unwrap_or_default();
        self.gaps.extend(holes.into_iter().map(|seq| (seq, seq)));
        for entry in self.waiting.drain(..count) {
            self.last = entry.seq;
            if entry.to.is_none() {
                self.last_public = entry.seq;
            }
            let standing = Standing {
                source: entry.source,
                n: entry.n,
                owner: entry.from.key,
                checksum: entry.checksum,
                refused: entry.refused.clone(),
            };
            self.sources.insert(entry.source, standing);
            if let Some(slot) = &entry.slot {
                self.slots.insert(slot.clone(), entry.clone());
            }
            self.kept.push(entry);
        }
        // What was refused has used its number up as well.
        if self.through.saturating_sub(self.last.max(lost)) < self.block / 2 {
            self.through = self.last.max(self.given) + self.block;
            self.reserved = self.through + 1;
            self.news.push_back(News::Reserved(self.through));
        }
        self.news.push_back(News::Stored(self.last));
    }

    fn answer(&mut self, (_, to, fetch, reader): Question) -> News {
        let failed = self.random.between(0, 199) == 0;
        self.has_failed |= failed;
        let mine = |entry: &&Entry| {
            entry.to.is_none_or(|to| reader.is_some_and(|key| [to.key, entry.from.key].contains(&Some(key))))
        };
        let all = self.kept.iter().chain(&self.waiting).filter(mine);
        match fetch {
            Fetch::Start(_, through) if failed => News::Start(to, through),
            Fetch::Start(count, through) => {
                let found: Vec<u64> = all.map(|entry| entry.seq).filter(|seq| *seq <= through).collect();
                let first = found.iter().rev().take(count as usize).next_back();
                News::Start(to, first.map_or(through, |first| first - 1))
            }
            Fetch::Older(older) if failed => News::Older(to, older, None),
            Fetch::Older(older) => {
                let found: Vec<Entry> =
                    all.filter(|entry| entry.seq < older.before).cloned().map(persisted).collect();
                let first = found.len().saturating_sub(older.count as usize);
                News::Older(to, older, Some(found[first..].to_vec()))
            }
            Fetch::Page(missing) if failed => News::Page(to, missing, None),
            Fetch::Page(missing) => {
                let wanted = all.filter(|entry| entry.seq > missing.after && entry.seq <= missing.through);
                let entries: Vec<Entry> = wanted.take(self.page).cloned().map(persisted).collect();
                let full = entries.len() == self.page;
                let oldest = self.kept.iter().chain(&self.waiting).map(|entry| entry.seq).next();
                let oldest = oldest.unwrap_or(missing.through + 1);
                News::Page(to, missing, Some(Found { entries, full, oldest }))
            }
        }
    }
}

/// Members have numbers for the life of a server only.
fn persisted(mut entry: Entry) -> Entry {
    entry.from.member = None;
    if let Some(to) = &mut entry.to {
        to.member = None;
    }
    entry
}
