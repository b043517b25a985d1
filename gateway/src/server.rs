//! The sockets: one current-thread runtime and one SO_REUSEPORT listener per core (decision 0001),
//! HTTP/1.1 and HTTP/2, with or without TLS, and a drain that loses no request. Not for what happens to a
//! request.

mod connection;
mod core;
mod drain;
mod greeting;
mod listen;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use kernel::{Error, Result};
use tokio::sync::{mpsc, watch};

use crate::door::Door;
use crate::server::core::{Ask, Told};
use crate::server::drain::Stage;
use crate::tls::Tls;

pub use crate::server::core::Core;
pub use crate::server::drain::Drain;

/// How the server listens.
#[derive(Clone)]
pub struct ServerConfig {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many cores proxy; each has a runtime of its own.
    pub cores: usize,
    /// How long a client may take to send the head of a request; over what the limits say.
    pub header_timeout: Duration,
    /// How strictly connections are read, and for how long they are waited for.
    pub limits: strict_http::Config,
    /// TLS towards clients; without it connections are plain.
    pub tls: Option<Tls>,
}

/// A listening server.
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<Stage>,
    renew: Arc<watch::Sender<Ask>>,
    threads: Vec<JoinHandle<()>>,
}

/// Has the doors of a server made anew while it runs.
#[derive(Clone)]
pub struct Renewal {
    ask: Arc<watch::Sender<Ask>>,
    cores: usize,
}

impl Renewal {
    /// Has each core make its door anew; requests that are under way end at the old one. Returns when all
    /// have, or why one has not: that core goes on with its old door.
    pub async fn renew(&self) -> Result<()> {
        const LIMIT: Duration = Duration::from_secs(10);
        let (told, mut answers) = mpsc::channel(self.cores.max(1));
        self.ask.send_replace(Some(told));
        for _ in 0..self.cores {
            let stopped = || Error::unavailable("server.stopping", "the server is stopping");
            let answer = tokio::time::timeout(LIMIT, answers.recv()).await.map_err(|_| stopped())?;
            answer.ok_or_else(stopped)??;
        }
        Ok(())
    }
}

impl Server {
    /// Refuses an address that another program listens on; with SO_REUSEPORT a second server there
    /// would go unnoticed.
    pub fn check_free(address: SocketAddr) -> Result<()> {
        listen::probe(address)
    }

    /// Starts listening. `door` is called once per core, on that core's thread; all stand when this returns.
    pub fn start(
        config: &ServerConfig,
        door: impl Fn(&Rc<Core>) -> Result<Door> + Send + Clone + 'static,
    ) -> Result<Self> {
        Self::check_free(config.listen)?;
        Self::listen(config, door, false)
    }

    /// Starts listening on an address where an older server listens still: the kernel gives new connections to
    /// both until that one drains, so that a restart turns nobody away.
    pub fn start_beside(
        config: &ServerConfig,
        door: impl Fn(&Rc<Core>) -> Result<Door> + Send + Clone + 'static,
    ) -> Result<Self> {
        Self::listen(config, door, true)
    }

    fn listen(
        config: &ServerConfig,
        door: impl Fn(&Rc<Core>) -> Result<Door> + Send + Clone + 'static,
        shared: bool,
    ) -> Result<Self> {
        let header_timeout_ms = config.header_timeout.as_millis() as u64;
        let limits = Arc::new(strict_http::Config { header_timeout_ms, ..config.limits.clone() });
        limits.check()?;
        let (address, listeners) = listen::bind(config.listen, config.cores)?;
        let (stop, stage) = watch::channel(Stage::Serving);
        let (renew, renewed) = watch::channel(None);
        let told = Told { stage, renewed, limits, tls: config.tls.clone(), cores: config.cores, shared };
        let (mut threads, (stands, standing)) = (Vec::new(), std::sync::mpsc::channel());
        for (number, listener) in listeners.into_iter().enumerate() {
            let (door, told, stands) = (door.clone(), told.clone(), stands.clone());
            let thread = std::thread::Builder::new().name(format!("gateway-{number}")).spawn(move || {
                if let Err(error) = core::run(listener, door, told, stands) {
                    tracing::error!(error = %error, "a gateway core stopped");
                }
            });
            threads.push(thread.map_err(|error| Error::internal("no thread for a gateway core").source_error(error))?);
        }
        drop(stands);
        // Until then a file that is read again could become the first one.
        let standing = threads.iter().try_for_each(|_| {
            standing.recv().unwrap_or_else(|error| Err(Error::internal("a gateway core stopped").source_error(error)))
        });
        if let Err(error) = standing {
            stop.send_replace(Stage::Draining(Duration::ZERO));
            return Err(error);
        }
        Ok(Self { address, stop, renew: Arc::new(renew), threads })
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what has the doors of this server made anew.
    pub fn renewal(&self) -> Renewal {
        Renewal { ask: self.renew.clone(), cores: self.threads.len() }
    }

    /// Stops accepting, lets open requests end, and returns when the cores have stopped.
    pub async fn drain(self, drain: Drain) {
        tokio::time::sleep(drain.notice).await;
        self.stop.send_replace(Stage::Draining(drain.limit));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                let _ = thread.join();
            }
        });
        let _ = joined.await;
    }
}
