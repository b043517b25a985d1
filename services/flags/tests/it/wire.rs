//! A wire to the PostgreSQL server that a test can cut and mend.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct Wire {
    url: String,
    server: String,
    address: SocketAddr,
    carrying: Option<JoinHandle<()>>,
}

impl Wire {
    /// Returns a whole wire to the server of this URL.
    pub async fn to(url: &str) -> Self {
        let (before, rest) = url.split_once("://").expect("a URL");
        let (authority, path) = rest.split_once('/').expect("a URL with a database");
        let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
        let server = if host.contains(':') { host.to_owned() } else { format!("{host}:5432") };
        let at = if user.is_empty() { String::new() } else { format!("{user}@") };
        let mut wire = Self { url: String::new(), server, address: ([127, 0, 0, 1], 0).into(), carrying: None };
        wire.mend().await;
        wire.url = format!("{before}://{at}{}/{path}", wire.address);
        wire
    }

    /// Returns the URL of the database at this end.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Breaks what is open and listens no longer.
    pub async fn cut(&mut self) {
        if let Some(carrying) = self.carrying.take() {
            carrying.abort();
            let _ = carrying.await;
        }
    }

    /// Listens, at the same address as before.
    pub async fn mend(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("binds");
        self.address = listener.local_addr().expect("has one");
        let server = self.server.clone();
        self.carrying = Some(tokio::spawn(async move {
            // Ends with this task: so do the connections that it carries.
            let mut carried = tokio::task::JoinSet::new();
            while let Ok((mut here, _)) = listener.accept().await {
                let server = server.clone();
                carried.spawn(async move {
                    let Ok(mut there) = TcpStream::connect(server).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                });
            }
        }));
    }
}
