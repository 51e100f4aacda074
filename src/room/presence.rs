//! How often the others hear about members: at once as long as little happens, once a second when
//! somebody comes and goes a hundred times a second.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::id::MemberId;
use crate::time::Moment;

/// Changes that go out at once before they are gathered.
const BURST: u32 = 30;
/// Every so often one more may go out at once, and what was gathered goes out together.
const PACE: Duration = Duration::from_secs(1);

/// Changes of members that have not been announced.
#[derive(Debug)]
pub(super) struct Presence {
    changed: BTreeSet<MemberId>,
    left: u32,
    refilled: Moment,
    /// When the first of those that are gathered now changed.
    since: Moment,
}

impl Presence {
    pub(super) fn new(now: Moment) -> Self {
        Self { changed: BTreeSet::new(), left: BURST, refilled: now, since: now }
    }

    /// Notes a change. Whether it may be announced at once.
    pub(super) fn change(&mut self, member: MemberId, now: Moment) -> bool {
        let paces = (now.since(self.refilled).as_micros() / PACE.as_micros()) as u32;
        if paces > 0 {
            self.left = self.left.saturating_add(paces).min(BURST);
            self.refilled = now;
        }
        if self.left == 0 {
            if self.changed.is_empty() {
                self.since = now;
            }
            self.changed.insert(member);
            return false;
        }
        self.left -= 1;
        self.changed.remove(&member);
        true
    }

    /// Nothing is to be told of `member` any more.
    pub(super) fn forget(&mut self, member: MemberId) {
        self.changed.remove(&member);
    }

    /// When what was gathered is due.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        (!self.changed.is_empty()).then(|| self.since + PACE)
    }

    /// What was gathered, when it is due.
    pub(super) fn take_due(&mut self, now: Moment) -> BTreeSet<MemberId> {
        match self.poll_timeout() {
            Some(due) if now >= due => std::mem::take(&mut self.changed),
            _ => BTreeSet::new(),
        }
    }
}
