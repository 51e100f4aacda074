//! Who may connect at all: counts per address, and of all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits;
use crate::wire::Code;
use crate::wire::control::Refusal;

/// Counts connections. Bounded by the connections that exist: an address without one is forgotten.
#[derive(Debug)]
pub(super) struct Gate {
    counts: Mutex<Counts>,
    most: usize,
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
}

/// The place of one connection; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Gate>,
    source: IpAddr,
    stranger: bool,
}

impl Gate {
    pub(super) fn new(most: usize) -> Self {
        Self { counts: Mutex::default(), most }
    }

    /// Connections that are open.
    pub(super) fn connections(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    /// A place for a connection from `address`, or the reason why there is none.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Ticket, Refusal> {
        let source = source(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
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
        Ok(Ticket { gate: Arc::clone(self), source, stranger: true })
    }
}

impl Ticket {
    /// The source that it counts for.
    pub(super) fn source(&self) -> IpAddr {
        self.source
    }

    /// The connection has said hello.
    pub(super) fn handle_admitted(&mut self) {
        if std::mem::take(&mut self.stranger) {
            let mut counts = self.gate.counts.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = counts.by_source.get_mut(&self.source) {
                count.strangers -= 1;
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.gate.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        let Some(count) = counts.by_source.get_mut(&self.source) else { return };
        count.connections -= 1;
        count.strangers -= usize::from(self.stranger);
        if count.connections == 0 {
            counts.by_source.remove(&self.source);
        }
    }
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
    fn a_host_of_ipv6_is_its_prefix() {
        assert_eq!(source("2001:db8::1".parse().unwrap()), source("2001:db8::ffff:1".parse().unwrap()));
        assert_ne!(source("2001:db8::1".parse().unwrap()), source("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(source("::ffff:192.0.2.1".parse().unwrap()), IpAddr::from([192, 0, 2, 1]));
    }
}
