//! A wire to the PostgreSQL server that a test can cut, refuse, silence, or lose one answer on, and that
//! counts the ways there and back. Not for what travels over it, except that it knows a COMMIT when it
//! sees one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use store::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the wire does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Everything passes.
    Whole,
    /// Open connections break; new ones break at once.
    Broken,
    /// Open connections break; nobody listens.
    Gone,
    /// Nothing that is asked reaches the server, and nothing breaks.
    Silent,
    /// A COMMIT never reaches the server, and the connection breaks.
    LosesCommit,
    /// A COMMIT reaches the server, its answer never comes back, and the connection breaks.
    LosesAnswer,
}

pub struct Proxy {
    server: String,
    address: SocketAddr,
    state: Arc<watch::Sender<Wire>>,
    traffic: Arc<Traffic>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Traffic {
    open: AtomicUsize,
    round_trips: AtomicUsize,
}

/// Returns where host and port stand in the URL, and what they are.
fn authority(url: &str) -> (usize, String) {
    let start = url.find("://").map_or(0, |place| place + 3);
    let rest = &url[start..];
    let rest = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let user = rest.rfind('@').map_or(0, |place| place + 1);
    (start + user, rest[user..].to_owned())
}

impl Proxy {
    /// Starts a whole wire to the server of this configuration.
    pub async fn start(config: &Config) -> Self {
        let (_, mut server) = authority(&config.url);
        if !server.contains(':') {
            server.push_str(":5432");
        }
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let state = Arc::new(watch::Sender::new(Wire::Whole));
        let mut proxy = Self { server, address, state, traffic: Arc::default(), listening: None };
        proxy.listen().await;
        proxy
    }

    async fn listen(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("binds");
        self.address = listener.local_addr().expect("has one");
        let (server, state, traffic) = (self.server.clone(), self.state.clone(), self.traffic.clone());
        self.listening = Some(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *state.borrow() != Wire::Broken {
                    let (server, wire, traffic) = (server.clone(), state.subscribe(), traffic.clone());
                    tokio::spawn(async move {
                        traffic.open.fetch_add(1, Ordering::SeqCst);
                        carry(client, server, wire, &traffic).await;
                        traffic.open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        }));
    }

    /// Returns the configuration that goes over the wire.
    pub fn over(&self, config: &Config) -> Config {
        let (place, server) = authority(&config.url);
        let mut url = config.url.clone();
        url.replace_range(place..place + server.len(), &self.address.to_string());
        Config { url, ..config.clone() }
    }

    /// Returns how many connections it carries now.
    pub fn open(&self) -> usize {
        self.traffic.open.load(Ordering::SeqCst)
    }

    /// Returns how often something was asked of the server after it had answered what was asked before.
    pub fn round_trips(&self) -> usize {
        self.traffic.round_trips.load(Ordering::SeqCst)
    }

    /// Changes what the wire does.
    pub async fn set(&mut self, wire: Wire) {
        self.state.send_replace(wire);
        match (&self.listening, wire) {
            (Some(listening), Wire::Gone) => {
                listening.abort();
                // Its listener is closed once the task is gone.
                let _ = self.listening.take().expect("matched").await;
            }
            (None, Wire::Whole) => self.listen().await,
            _ => {}
        }
    }
}

/// Carries one connection until either side ends it or the wire is cut.
async fn carry(mut client: TcpStream, server: String, mut wire: watch::Receiver<Wire>, traffic: &Traffic) {
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut asked, mut answered) = (vec![0; 16_384], vec![0; 16_384]);
    let (mut commit_asked, mut asking) = (false, false);
    loop {
        let state = *wire.borrow_and_update();
        if matches!(state, Wire::Broken | Wire::Gone) {
            return;
        }
        tokio::select! {
            changed = wire.changed() => if changed.is_err() { return },
            length = client.read(&mut asked) => {
                let Ok(length @ 1..) = length else { return };
                if state == Wire::Silent {
                    continue;
                }
                if !std::mem::replace(&mut asking, true) {
                    traffic.round_trips.fetch_add(1, Ordering::SeqCst);
                }
                // The whole statement, not READ COMMITTED.
                let commit = asked[..length].windows(7).any(|word| word == b"COMMIT\0");
                if commit && state == Wire::LosesCommit {
                    return;
                }
                commit_asked |= commit;
                if server.write_all(&asked[..length]).await.is_err() { return }
            }
            length = server.read(&mut answered) => {
                let Ok(length @ 1..) = length else { return };
                if commit_asked && state == Wire::LosesAnswer {
                    return;
                }
                (commit_asked, asking) = (false, false);
                if client.write_all(&answered[..length]).await.is_err() { return }
            }
        }
    }
}
