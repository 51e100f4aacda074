//! Sockets as this project wants them: small frames at once, little in the kernel, dead peers noticed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};

use crate::limits;

/// Bytes that nobody acknowledges break the connection after this time, where the kernel itself would
/// go on for a quarter of an hour.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// A quiet connection is probed by the kernel after this time, for the benefit of boxes on the way that
/// forget connections; the heartbeat is what notices dead peers.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Connections that may wait to be accepted; the kernel cuts it to its own limit.
const BACKLOG: i32 = 4096;

/// Prepares a connection that carries media, on either side.
///
/// `TCP_NOTSENT_LOWAT` keeps the kernel from taking in what it cannot send soon: that could no longer
/// be dropped.
pub fn configure_media(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.set_tcp_notsent_lowat(limits::NOTSENT_LOWAT)
}

/// Prepares a connection that carries media for file frames instead: nothing of them is ever dropped, so the
/// kernel may hold enough to keep the way full while the next ones are read from disk.
pub fn configure_bulk(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_tcp_notsent_lowat(limits::NOTSENT_LOWAT_BULK)
}

/// Prepares a connection whose files step back for media: what the kernel has taken goes as fast as it can.
pub fn configure_yielding(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_tcp_notsent_lowat(limits::NOTSENT_LOWAT_YIELDING)
}

/// Reads what is there into the spare capacity of `buffer`, as [`TcpStream::try_read`] does into its length.
pub fn read_into(stream: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    stream.try_io(Interest::READABLE, || Ok(rustix::io::read(stream, spare_capacity(buffer))?))
}

/// Listens on `address`; on `[::]` for IPv4 as well, and on `0.0.0.0` alone where the machine has no
/// IPv6.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match listen_on(address) {
        Err(error) if address.ip() == IpAddr::from([0_u16; 8]) && is_without_ipv6(&error) => {
            listen_on((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        other => other,
    }
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A server that is restarted must not wait for the connections of its predecessor to fade.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

fn is_without_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn s19_one_listener_takes_both_families_and_a_port_in_use_is_an_error() {
        let listener = listen((std::net::Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let four = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        configure_media(&four).unwrap();
        let error = listen((std::net::Ipv6Addr::UNSPECIFIED, port).into()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
