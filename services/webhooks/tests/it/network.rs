//! A network whose names lead where a test wants, and that counts who was called. Not a test by itself.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use futures_util::future::BoxFuture;
use tokio::net::TcpStream;
use webhooks::Network;

/// Where a name leads to when it is asked for the n-th time.
type Names = Box<dyn Fn(&str, usize) -> Vec<IpAddr> + Send + Sync>;

/// How a connection to an address is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// As the machine makes it.
    Real,
    /// It is refused.
    Refused,
    /// Nobody ever answers at this address; elsewhere as the machine makes it.
    SilentAt(IpAddr),
}

/// A network of a test.
pub struct Scripted {
    names: Names,
    line: Line,
    asked: Mutex<Vec<String>>,
    called: Mutex<Vec<SocketAddr>>,
}

impl Scripted {
    pub fn new(line: Line, names: impl Fn(&str, usize) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self { names: Box::new(names), line, asked: Mutex::default(), called: Mutex::default() }
    }

    /// Returns the addresses that were called, in order.
    pub fn called(&self) -> Vec<SocketAddr> {
        self.called.lock().expect("not poisoned").clone()
    }

    /// Returns the names that were resolved, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

impl Network for Scripted {
    fn resolve<'a>(&'a self, host: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let mut asked = self.asked.lock().expect("not poisoned");
        let before = asked.iter().filter(|name| *name == host).count();
        asked.push(host.to_owned());
        let found = (self.names)(host, before);
        Box::pin(async move { Ok(found) })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        self.called.lock().expect("not poisoned").push(address);
        match self.line {
            Line::Refused => Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) }),
            Line::SilentAt(silent) if address.ip() == silent => Box::pin(std::future::pending()),
            Line::Real | Line::SilentAt(_) => Box::pin(TcpStream::connect(address)),
        }
    }
}
