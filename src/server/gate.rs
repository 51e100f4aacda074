//! Who may connect at all, look and guess: counts per address, and of all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::limits;
use crate::time::Moment;
use crate::wire::Code;
use crate::wire::control::Refusal;

/// Counts connections. Bounded by the connections that exist: an address without one is forgotten. And the tries of
/// strangers, at most of [`TRIERS`] addresses.
#[derive(Debug)]
pub(super) struct Gate {
    counts: Mutex<Counts>,
    tries: Mutex<Tries>,
    most: usize,
}

/// Addresses whose tries are counted. Beyond them tries are not counted: whoever has so many networks is not held up
/// by a count for each of them, and must not keep everybody else out.
const TRIERS: usize = 65_536;
/// How often it is looked for addresses that can be forgotten, where there are so many.
const FORGET: Duration = Duration::from_secs(1);

/// When all tries so far of an address would have come at [`limits::TRIES`]; where that is over it is forgotten.
#[derive(Debug, Default)]
struct Tries {
    spent: HashMap<IpAddr, Moment>,
    forgotten: Moment,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_source: HashMap<IpAddr, Count>,
}

#[derive(Debug, Default)]
struct Count {
    connections: usize,
    /// Of these, how many have not said hello.
    strangers: usize,
    /// Of these, how many look at a room.
    lookers: usize,
}

/// The place of one connection; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Gate>,
    source: IpAddr,
    stranger: bool,
    looker: bool,
}

impl Gate {
    pub(super) fn new(most: usize) -> Self {
        Self { counts: Mutex::default(), tries: Mutex::default(), most }
    }

    /// Connections that are open.
    pub(super) fn connections(&self) -> usize {
        lock(&self.counts).all
    }

    /// A place for a connection from `address`, or the reason why there is none.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Ticket, Refusal> {
        let source = source(address);
        let mut counts = lock(&self.counts);
        let refuse = |message| {
            let mut refusal = Refusal::new(Code::Full, message);
            refusal.retry_after_ms = Some(1_000);
            Err(refusal)
        };
        if counts.all >= self.most {
            return refuse("the server has as many connections as it can hold");
        }
        let count = counts.by_source.entry(source).or_default();
        if count.connections >= limits::CONNECTIONS_PER_ADDRESS
            || count.strangers >= limits::PENDING_PER_ADDRESS
        {
            return refuse("too many connections from this address");
        }
        count.connections += 1;
        count.strangers += 1;
        counts.all += 1;
        drop(counts);
        Ok(Ticket { gate: Arc::clone(self), source, stranger: true, looker: false })
    }

    /// One more try from `source`, a password or a look at a room that is not open; or the reason why it has to wait.
    pub(super) fn charge(&self, source: IpAddr, now: Moment) -> Result<(), Refusal> {
        let (rate, burst) = limits::TRIES;
        let one = Duration::from_secs(1) / rate;
        let mut tries = lock(&self.tries);
        let Tries { spent, forgotten } = &mut *tries;
        if spent.len() >= TRIERS && now.since(*forgotten) >= FORGET {
            *forgotten = now;
            spent.retain(|_, until| *until > now);
        }
        if spent.len() >= TRIERS && !spent.contains_key(&source) {
            return Ok(());
        }
        let until = spent.entry(source).or_default();
        let after = (*until).max(now) + one;
        let wait = after.since(now + one * burst);
        if wait.is_zero() {
            *until = after;
            return Ok(());
        }
        Err(later("too many tries from this address", wait))
    }

    /// The try was none: the password was right.
    pub(super) fn give_back(&self, source: IpAddr) {
        if let Some(until) = lock(&self.tries).spent.get_mut(&source) {
            *until = *until - Duration::from_secs(1) / limits::TRIES.0;
        }
    }
}

impl Ticket {
    /// The source that it counts for.
    pub(super) fn source(&self) -> IpAddr {
        self.source
    }

    /// The connection wants to look at a room; or the reason why it has to wait.
    pub(super) fn handle_look(&mut self) -> Result<(), Refusal> {
        let mut counts = lock(&self.gate.counts);
        let Some(count) = counts.by_source.get_mut(&self.source).filter(|_| !self.looker) else {
            return Ok(());
        };
        if count.lookers >= limits::LOOKERS_PER_ADDRESS {
            return Err(later("too many looks at once from this address", Duration::from_secs(1)));
        }
        count.lookers += 1;
        self.looker = true;
        Ok(())
    }

    /// The connection has said hello.
    pub(super) fn handle_admitted(&mut self) {
        if std::mem::take(&mut self.stranger) {
            let mut counts = lock(&self.gate.counts);
            if let Some(count) = counts.by_source.get_mut(&self.source) {
                count.strangers -= 1;
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = lock(&self.gate.counts);
        counts.all -= 1;
        let Some(count) = counts.by_source.get_mut(&self.source) else { return };
        count.connections -= 1;
        count.strangers -= usize::from(self.stranger);
        count.lookers -= usize::from(self.looker);
        if count.connections == 0 {
            counts.by_source.remove(&self.source);
        }
    }
}

/// A refusal that is over after `wait`.
fn later(message: &str, wait: Duration) -> Refusal {
    let mut refusal = Refusal::new(Code::RateLimited, message);
    refusal.retry_after_ms = Some((wait.as_micros().div_ceil(1_000)) as u64);
    refusal
}

/// A panic in one connection's task must not take the counts from the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What counts as one source: an IPv4 address, or the /64 that one host of IPv6 has to itself.
pub(super) fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => (v6.to_bits() & !u128::from(u64::MAX)).to_be_bytes().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s01_one_address_cannot_take_the_places_of_all() {
        let gate = Arc::new(Gate::new(100_000));
        let hostile: IpAddr = "192.0.2.1".parse().unwrap();
        let held: Vec<Ticket> = (0..10_000).filter_map(|_| gate.admit(hostile).ok()).collect();
        assert_eq!(held.len(), limits::PENDING_PER_ADDRESS);
        assert!(gate.admit("192.0.2.2".parse().unwrap()).is_ok());
        drop(held);
        assert!(gate.admit(hostile).is_ok());
    }

    #[test]
    fn s02_the_last_descriptors_are_not_for_connections() {
        let gate = Arc::new(Gate::new(2));
        let held = (gate.admit("192.0.2.1".parse().unwrap()), gate.admit("192.0.2.2".parse().unwrap()));
        assert_eq!(gate.admit("192.0.2.3".parse().unwrap()).unwrap_err().code, Code::Full);
        drop(held);
    }

    #[test]
    fn whoever_tries_again_and_again_has_to_wait_and_nobody_else() {
        let gate = Gate::new(2);
        let at = |ms: u64| Moment::from_micros(1_000_000_000 + ms * 1_000);
        let [hostile, other] = [1, 2].map(|n| IpAddr::from([192, 0, 2, n]));
        let granted = (0..100).filter(|_| gate.charge(hostile, at(0)).is_ok()).count();
        assert_eq!(granted, limits::TRIES.1 as usize);
        let refusal = gate.charge(hostile, at(100)).unwrap_err();
        assert_eq!((refusal.code, refusal.retry_after_ms), (Code::RateLimited, Some(400)));
        assert!(gate.charge(other, at(100)).is_ok());
        // What is refused costs nothing, and what was right neither.
        assert!(gate.charge(hostile, at(500)).is_ok() && gate.charge(hostile, at(500)).is_err());
        gate.give_back(hostile);
        assert!(gate.charge(hostile, at(500)).is_ok() && gate.charge(hostile, at(999)).is_err());
        let granted = (0..100_000).filter(|ms| gate.charge(hostile, at(1_000 + ms)).is_ok()).count();
        assert_eq!(granted, 200);
    }

    #[test]
    fn however_many_addresses_try_the_memory_is_bounded_and_others_are_let_in() {
        let gate = Gate::new(2);
        let at = |seconds: u64| Moment::from_micros((1_000 + seconds) * 1_000_000);
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..TRIERS as u32 + 1_000 {
            assert!(gate.charge(address(n), at(0)).is_ok());
        }
        assert_eq!(lock(&gate.tries).spent.len(), TRIERS);
        assert!(gate.charge(address(u32::MAX), at(2)).is_ok());
        assert_eq!(lock(&gate.tries).spent.len(), 1, "whose tries are long over are forgotten");
    }

    #[test]
    fn a_host_of_ipv6_is_its_prefix() {
        assert_eq!(source("2001:db8::1".parse().unwrap()), source("2001:db8::ffff:1".parse().unwrap()));
        assert_ne!(source("2001:db8::1".parse().unwrap()), source("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(source("::ffff:192.0.2.1".parse().unwrap()), IpAddr::from([192, 0, 2, 1]));
    }
}
