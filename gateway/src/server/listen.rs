//! The sockets that a server listens on: one per core, at one address. Not for accepting.

use std::net::{SocketAddr, TcpListener};

use kernel::{Error, Result};
use socket2::{Domain, Protocol, Socket, Type};

fn socket(address: SocketAddr, shared: bool) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Fails where another program listens. Does not listen: a client that this socket let in would be reset.
pub(super) fn probe(address: SocketAddr) -> Result<()> {
    if address.port() != 0 {
        socket(address, false).map_err(|error| cannot_listen(address, error))?;
    }
    Ok(())
}

/// Listens with so many sockets, among which the kernel shares new connections.
pub(super) fn bind(address: SocketAddr, sockets: usize) -> Result<(SocketAddr, Vec<TcpListener>)> {
    let first = bind_one(address)?;
    let address = first.local_addr().map_err(|error| Error::internal("no local address").source_error(error))?;
    let mut listeners = vec![first];
    for _ in 1..sockets.max(1) {
        listeners.push(bind_one(address)?);
    }
    Ok((address, listeners))
}

fn bind_one(address: SocketAddr) -> Result<TcpListener> {
    let listen = socket(address, true).and_then(|socket| socket.listen(1024).map(|()| socket.into()));
    listen.map_err(|error| cannot_listen(address, error))
}

/// Has the kernel pass over a listener: what asks for a connection is not answered, and asks again a second later,
/// when another server has the address for itself. What the listener had answered before still comes in; with the
/// listener it would be reset.
#[cfg(target_os = "linux")]
pub(super) fn pass_over(listener: &impl std::os::fd::AsFd) {
    use socket2::SockFilter;
    // The flags of the segment; of SYN and ACK, SYN alone is dropped.
    const FILTER: [SockFilter; 5] = [
        SockFilter::new(0x30, 0, 0, 13),
        SockFilter::new(0x54, 0, 0, 0x12),
        SockFilter::new(0x15, 0, 1, 0x02),
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    if let Err(error) = socket2::SockRef::from(listener).attach_filter(&FILTER) {
        tracing::debug!(error = %error, "the kernel goes on choosing a listener that stops");
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn pass_over(_listener: &TcpListener) {}

fn cannot_listen(address: SocketAddr, error: std::io::Error) -> Error {
    Error::unavailable("server.cannot_listen", format!("cannot listen on {address}: is another program there?"))
        .source_error(error)
}
