//! A server that says to everybody what it was told to say. Not for servers that understand what they are asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

pub struct Server {
    pub address: SocketAddr,
    /// The heads of the requests.
    pub heads: Arc<Mutex<Vec<String>>>,
    /// Told each time that a client has closed its connection before we did.
    pub left: Arc<Notify>,
}

/// What it does after it has spoken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Close,
    Wait,
}

impl Server {
    pub async fn start(says: String, then: Then, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (heads, left) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(Notify::new()));
        let (seen, leaving) = (heads.clone(), left.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (says, seen, leaving, tls) = (says.clone(), seen.clone(), leaving.clone(), tls.clone());
                tokio::spawn(async move {
                    let Some(tls) = tls else { return serve(stream, &says, then, &seen, &leaving).await };
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &says, then, &seen, &leaving).await;
                    }
                });
            }
        });
        Self { address, heads, left }
    }

    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("not poisoned").clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    says: &str,
    then: Then,
    seen: &Mutex<Vec<String>>,
    leaving: &Notify,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    seen.lock().expect("not poisoned").push(String::from_utf8_lossy(&head).into_owned());
    let _ = stream.write_all(says.as_bytes()).await;
    let _ = stream.flush().await;
    if then == Then::Wait {
        // What is left of a body may come before the end.
        while stream.read_u8().await.is_ok() {}
        leaving.notify_one();
    }
    let _ = stream.shutdown().await;
}
