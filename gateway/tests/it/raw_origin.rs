//! An origin that sends whatever bytes a test wants, in which pieces, and ends its connections as it likes. For
//! `hostile_origin`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What an origin does next.
#[derive(Clone, Debug)]
pub enum Say {
    /// Sends these bytes.
    Text(&'static str),
    /// Sends these bytes so many times.
    Times(usize, &'static str),
    /// Sends these bytes again and again, until nobody takes them.
    Endless(&'static str),
    /// Sends nothing for a moment, so that what came before leaves.
    Pause,
    /// Reads so many bytes of the request's body.
    Read(usize),
    /// Says nothing more, and keeps the connection.
    Silence,
    /// Closes with a reset.
    Reset,
}

/// The origin; cloning it shares it.
#[derive(Clone, Default)]
pub struct RawOrigin {
    scripts: Arc<Mutex<BTreeMap<String, Vec<Say>>>>,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl RawOrigin {
    /// Listens; another call gives it a second address.
    pub async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let origin = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let origin = origin.clone();
                tokio::spawn(async move { origin.serve(stream).await });
            }
        });
        address
    }

    /// Has requests to this path answered so; the connection ends with it.
    pub fn script(&self, path: &str, script: &[Say]) {
        self.scripts.lock().expect("not poisoned").insert(path.to_owned(), script.to_vec());
    }

    /// Returns how often this path was asked.
    pub fn asked(&self, path: &str) -> usize {
        self.asked.lock().expect("not poisoned").get(path).copied().unwrap_or_default()
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte).await? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head);
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        *self.asked.lock().expect("not poisoned").entry(path.clone()).or_default() += 1;
        let script = self.scripts.lock().expect("not poisoned").get(&path).cloned().unwrap_or_default();
        for say in script {
            match say {
                Say::Text(text) => stream.write_all(text.as_bytes()).await?,
                Say::Times(times, text) => stream.write_all(text.repeat(times).as_bytes()).await?,
                Say::Endless(text) => {
                    let text = text.repeat(1_000);
                    loop {
                        stream.write_all(text.as_bytes()).await?;
                    }
                }
                Say::Pause => tokio::time::sleep(Duration::from_millis(20)).await,
                Say::Read(bytes) => {
                    let mut room = vec![0; bytes];
                    stream.read_exact(&mut room).await?;
                }
                Say::Silence => while stream.read(&mut byte).await? > 0 {},
                Say::Reset => {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
