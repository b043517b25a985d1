//! Names and connections, as the machine gives them; tests put something else here. Not for judging
//! addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};

use futures_util::future::BoxFuture;
use tokio::net::TcpStream;

/// Resolves names and opens connections.
pub trait Network: Send + Sync + 'static {
    /// Returns all addresses of a name. It is asked once an attempt.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;

    /// Connects to an address that was found to be allowed.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>>;
}

/// The internet: the system's resolver, and no proxy whatever the environment says.
#[derive(Clone, Copy, Debug)]
pub struct Internet;

impl Network for Internet {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.map(|found| found.ip()).collect()) })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(address))
    }
}
