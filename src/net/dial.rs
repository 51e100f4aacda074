//! A connection to a host by name: all its addresses, a little apart, and the first that answers wins
//! (RFC 8305, happy eyeballs).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Between two tries that run side by side.
const APART: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried; a name with more is a mistake or an attack.
const ADDRESSES: usize = 16;

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name cannot be resolved.
    #[error("the name {0} cannot be resolved: {1}")]
    Name(String, io::Error),
    /// Every address refused; the first error, which is that of the preferred address.
    #[error("{0}: {1}")]
    Refused(SocketAddr, io::Error),
    /// Nothing answered in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// Connects to `host` at `port` within `limit`, name resolution included.
pub async fn dial(host: &str, port: u16, limit: Duration) -> Result<TcpStream, DialError> {
    let attempt = async {
        let failed = |error| DialError::Name(host.into(), error);
        let found = lookup_host((host, port)).await.map_err(failed)?;
        let addresses = alternating(found.collect());
        if addresses.is_empty() {
            return Err(failed(io::Error::other("it has no address")));
        }
        race(addresses).await
    };
    timeout(limit, attempt).await.unwrap_or(Err(DialError::Timeout(limit)))
}

/// IPv6 and IPv4 in turn, beginning with the family that the resolver prefers.
fn alternating(found: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let prefers_six = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == prefers_six);
    let mut addresses = VecDeque::new();
    while addresses.len() < ADDRESSES {
        let pair = [first.pop_front(), second.pop_front()];
        if pair == [None, None] {
            break;
        }
        addresses.extend(pair.into_iter().flatten());
    }
    addresses
}

async fn race(mut waiting: VecDeque<SocketAddr>) -> Result<TcpStream, DialError> {
    let mut running = JoinSet::new();
    let mut refused = None;
    loop {
        if let Some(address) = waiting.pop_front() {
            running.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        // A try that fails lets the next one begin at once, one that hangs only after a while.
        tokio::select! {
            Some(done) = running.join_next() => match done {
                Ok((_, Ok(stream))) => return Ok(stream),
                Ok((address, Err(error))) => {
                    refused.get_or_insert(DialError::Refused(address, error));
                }
                Err(_) => {}
            },
            () = sleep(APART), if !waiting.is_empty() => {}
        }
        if waiting.is_empty() && running.is_empty() {
            return Err(refused.unwrap_or(DialError::Timeout(Duration::ZERO)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn x03_families_take_turns_and_fifty_addresses_are_cut() {
        let mixed = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"].map(address).to_vec();
        let order = alternating(mixed);
        assert_eq!(order, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"].map(address));
        let many: Vec<_> = (1..=50).map(|n| address(&format!("10.0.0.{n}:1"))).collect();
        assert_eq!(alternating(many).len(), ADDRESSES);
    }

    #[tokio::test]
    async fn x03_a_dead_first_address_costs_little() {
        let listener = crate::net::tcp::listen(address("127.0.0.1:0")).unwrap();
        let good = listener.local_addr().unwrap();
        // TEST-NET-1 (RFC 5737) leads nowhere: it hangs or is refused, by how the machine is connected.
        let tries = VecDeque::from([address("192.0.2.1:9"), good]);
        let stream = timeout(Duration::from_secs(5), race(tries)).await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
    }

    #[tokio::test]
    async fn x03_names_without_address_and_ports_without_server_say_so() {
        let error = dial("no-such-host.invalid", 1, Duration::from_secs(5)).await.unwrap_err();
        assert!(!matches!(error, DialError::Refused(..)), "{error}");
        let listener = crate::net::tcp::listen(address("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = dial("127.0.0.1", port, Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, DialError::Refused(..)), "{error}");
    }
}
