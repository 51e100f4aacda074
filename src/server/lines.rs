//! What connections have in common that probably share a line: those of one address, and those of one person.
//!
//! Media that waits marks its lines; files on the same lines go more slowly then ([`Pace`]). Memory: one line for
//! each address and person that has connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::id::PublicKey;
use crate::limits;
use crate::room::Pace;
use crate::time::Moment;

/// How long a mark holds: a few pictures, or until the way has been looked at again.
const HOLDS: Duration = Duration::from_millis(250);
/// How often the way to who receives media is looked at while files move on the same line.
pub(super) const PROBE: Duration = Duration::from_millis(100);
/// Files count as moving for so long after the last of them.
const FILES: Duration = Duration::from_secs(2);
/// A line counts as one with media for so long after the last sign of it; receivers are looked at when they say
/// that they are alive.
const MEDIA: Duration = Duration::from_secs(10);
/// How long an answer about all lines holds.
const CROWDED: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    Address(IpAddr),
    Person(PublicKey),
}

/// All lines of a server.
#[derive(Debug, Default)]
pub(super) struct Lines {
    all: Mutex<HashMap<Whose, Weak<Line>>>,
    /// Whether media waits on so many lines that it must be the server's own, and when that was looked at.
    crowded: Mutex<(Moment, bool)>,
}

/// The lines of one connection.
#[derive(Debug, Clone)]
pub(super) struct Place {
    address: Arc<Line>,
    person: Option<Arc<Line>>,
}

#[derive(Debug, Default)]
struct Line {
    /// Until when media counts as waiting and as being there, and files as moving, in microseconds.
    late: AtomicU64,
    media: AtomicU64,
    files: AtomicU64,
    /// Files begin to move beside media.
    begun: Notify,
    pace: Mutex<Pace>,
}

impl Lines {
    /// The lines of a connection from `address` of the person with `key`.
    pub(super) fn place(&self, address: IpAddr, key: Option<PublicKey>) -> Place {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = |whose| {
            let known = all.get(&whose).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                // Those that nobody has any more go when another one comes.
                all.retain(|_, line| line.strong_count() > 0);
                let line = Arc::new(Line::default());
                all.insert(whose, Arc::downgrade(&line));
                line
            })
        };
        let address = line(Whose::Address(address));
        Place { address, person: key.map(|key| line(Whose::Person(key))) }
    }

    /// Whether media waits for at least two addresses, and half of all that there are.
    fn is_crowded(&self, now: Moment) -> bool {
        let mut crowded = self.crowded.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(crowded.0) >= CROWDED {
            let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            let lines = all.iter().filter(|(whose, _)| matches!(whose, Whose::Address(_)));
            let lines: Vec<Arc<Line>> = lines.filter_map(|(_, line)| line.upgrade()).collect();
            let late = lines.iter().filter(|line| line.is_late(now)).count();
            *crowded = (now, late >= 2 && late * 2 >= lines.len());
        }
        crowded.1
    }

    /// Files of a connection have moved so many bytes; how many more may go now, where that is limited.
    pub(super) fn pass(&self, place: &Place, moved: u64, now: Moment) -> Option<usize> {
        if moved > 0 {
            let until = (now + FILES).micros();
            place.lines().for_each(|line| line.files.store(until, Ordering::Relaxed));
        }
        let late = place.lines().any(|line| line.is_late(now)) || self.is_crowded(now);
        let mut pace = place.address.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.handle_moved(moved, now);
        pace.handle_look(late, now);
        pace.allowed(now)
    }
}

impl Place {
    fn lines(&self) -> impl Iterator<Item = &Arc<Line>> {
        std::iter::once(&self.address).chain(&self.person)
    }

    /// Media waits.
    pub(super) fn mark_late(&self, now: Moment) {
        let until = (now + HOLDS).micros();
        for line in self.lines() {
            line.late.fetch_max(until, Ordering::Relaxed);
        }
    }

    /// There is media here.
    pub(super) fn mark_media(&self, now: Moment) {
        let until = (now + MEDIA).micros();
        self.lines().for_each(|line| line.media.store(until, Ordering::Relaxed));
    }

    /// Files begin to move.
    pub(super) fn begin_files(&self, now: Moment) {
        if self.lines().any(|line| line.media.load(Ordering::Relaxed) > now.micros()) {
            self.address.pace.lock().unwrap_or_else(PoisonError::into_inner).begin_slowly(now);
        }
        let until = (now + FILES).micros();
        for line in self.lines() {
            line.files.store(until, Ordering::Relaxed);
            line.begun.notify_waiters();
        }
    }

    /// Files move that have moved before on the same connection: after a pause they begin anew.
    pub(super) fn go_on_with_files(&self, now: Moment) {
        if !self.has_files(now) {
            self.begin_files(now);
        }
    }

    /// Whether files move here.
    pub(super) fn has_files(&self, now: Moment) -> bool {
        self.lines().any(|line| line.files.load(Ordering::Relaxed) > now.micros())
    }

    /// Waits until files begin to move at this address.
    pub(super) async fn files_begin(&self) {
        self.address.begun.notified().await;
    }
}

impl Line {
    fn is_late(&self, now: Moment) -> bool {
        self.late.load(Ordering::Relaxed) > now.micros()
    }
}

/// Whether media has waited so long that files must step back.
pub(super) fn is_late(age: Duration) -> bool {
    age > limits::YIELD_AGE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Secret;
    use crate::session::Key;

    const NOW: Moment = Moment::from_micros(1_000_000_000);

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn files_step_back_where_media_of_the_same_address_or_person_waits() {
        let lines = Lines::default();
        let key = Key::from_seed(&Secret([1; 32])).public();
        let (watching, taking) = (lines.place(address(1), Some(key)), lines.place(address(1), None));
        let (phone, other) = (lines.place(address(2), Some(key)), lines.place(address(3), None));
        for place in [&taking, &phone, &other] {
            assert_eq!(lines.pass(place, 1_000_000, NOW), None);
        }
        watching.mark_late(NOW);
        assert!(lines.pass(&taking, 0, NOW).is_some() && lines.pass(&phone, 0, NOW).is_some());
        assert_eq!(lines.pass(&other, 0, NOW), None, "one slow receiver changes nothing for the others");
    }

    #[test]
    fn files_of_all_step_back_where_the_servers_own_line_is_full() {
        let lines = Lines::default();
        let places: Vec<Place> = (1..=4).map(|n| lines.place(address(n), None)).collect();
        places[0].mark_late(NOW);
        assert_eq!(lines.pass(&places[3], 0, NOW), None);
        places[1].mark_late(NOW);
        assert!(lines.pass(&places[3], 0, NOW + CROWDED).is_some());
    }

    #[test]
    fn lines_that_nobody_has_any_more_are_forgotten() {
        let lines = Lines::default();
        for n in 0..=255 {
            lines.place(address(n), None);
        }
        assert!(lines.all.lock().unwrap().len() <= 2);
    }

    #[test]
    fn files_begin_slowly_beside_media_and_at_once_without() {
        let lines = Lines::default();
        let (watching, taking) = (lines.place(address(1), None), lines.place(address(1), None));
        taking.begin_files(NOW);
        assert_eq!(lines.pass(&taking, 0, NOW), None);
        watching.mark_media(NOW);
        taking.begin_files(NOW);
        assert!(lines.pass(&taking, 0, NOW).is_some());
    }

    #[test]
    fn files_that_pause_until_there_is_a_meeting_begin_slowly_again() {
        let lines = Lines::default();
        let (watching, taking) = (lines.place(address(1), None), lines.place(address(1), None));
        let at = |seconds| NOW + Duration::from_secs(seconds);
        taking.begin_files(at(0));
        watching.mark_media(at(1));
        assert_eq!(lines.pass(&taking, 1_000_000, at(1)), None);
        taking.go_on_with_files(at(2));
        assert_eq!(lines.pass(&taking, 1_000_000, at(2)), None, "without a pause the line is known");
        watching.mark_media(at(9));
        taking.go_on_with_files(at(9));
        assert!(lines.pass(&taking, 0, at(9)).is_some());
    }
}
