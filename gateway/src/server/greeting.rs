//! How a connection begins: the handshake of TLS where there is TLS, and which version of HTTP the client
//! speaks. Not for requests.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::tls::Tls;
use crate::wire::Wire;

/// The first byte of a record that begins a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
/// How much of a client that does not read a session of TLS may keep.
const SEALED_LIMIT: usize = 32 * 1024;
/// What a client is told that does not speak TLS where TLS is spoken.
const PLAIN_REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n\
    content-length: 135\r\nconnection: close\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"code\":\"request.no_tls\",\
    \"detail\":\"this port speaks TLS: begin with https://\"}\n";

/// A client that has begun.
pub(super) struct Met {
    pub wire: Wire,
    pub http2: bool,
}

/// Waits for a client to begin, as long as the head of a request may take and the server goes on.
pub(super) async fn meet(
    stream: TcpStream,
    tls: Option<&Tls>,
    patience: Duration,
    ended: &mut watch::Receiver<bool>,
) -> Option<Met> {
    let Some(tls) = tls else {
        let http2 = tokio::select! {
            begun = tokio::time::timeout(patience, begins_http2(&stream)) => begun.ok()?.ok()?,
            _ = ended.wait_for(|ended| *ended) => return None,
        };
        return Some(Met { wire: Wire::Plain(stream), http2 });
    };
    // In a box: it takes much, and only once.
    let met = Box::pin(tokio::time::timeout(patience, shake_hands(stream, tls, ended))).await;
    match met.ok()? {
        Ok(met) => met,
        Err(error) => {
            tracing::debug!(error = %error, "a client could not agree on TLS");
            None
        }
    }
}

/// Agrees on TLS; a server that stops ends it only for a client that has sent nothing.
async fn shake_hands(mut stream: TcpStream, tls: &Tls, ended: &mut watch::Receiver<bool>) -> io::Result<Option<Met>> {
    let mut first = [0];
    let read = tokio::select! {
        read = stream.peek(&mut first) => read?,
        _ = ended.wait_for(|ended| *ended) => return Ok(None),
    };
    if read == 0 {
        return Ok(None);
    }
    if first[0] != HANDSHAKE {
        refuse_plain(&mut stream, first[0]).await?;
        return Ok(None);
    }
    let mut stream = tls.acceptor().accept(stream).await?;
    let (_, session) = stream.get_mut();
    session.set_buffer_limit(Some(SEALED_LIMIT));
    let http2 = session.alpn_protocol() == Some(b"h2");
    Ok(Some(Met { wire: Wire::Tls(Box::new(stream)), http2 }))
}

/// Tells a client of HTTP what to do, and others nothing.
async fn refuse_plain(stream: &mut TcpStream, first: u8) -> io::Result<()> {
    if first.is_ascii_uppercase() {
        stream.write_all(PLAIN_REFUSED).await?;
        stream.shutdown().await?;
        // Closed with the request unread, the kernel would take the answer back.
        let mut room = [0; 2048];
        for _ in 0..32 {
            stream.readable().await?;
            match stream.try_read(&mut room) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Says whether a client begins with HTTP/2, and leaves to be read what it sent: hyper makes a buffer of twice
/// the size where the beginning was read before, and keeps it.
async fn begins_http2(stream: &TcpStream) -> io::Result<bool> {
    let (mut start, mut pause) = ([0; 3], Duration::from_millis(1));
    loop {
        let read = stream.peek(&mut start).await?;
        match &start[..read] {
            b"PRI" => return Ok(true),
            // The beginning of `PRI`, `POST` and others: the rest is on its way.
            // Who keeps it back is looked at ever more rarely.
            b"P" | b"PR" => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(200));
            }
            _ => return Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_of_plain_requests_says_its_length() {
        let text = std::str::from_utf8(PLAIN_REFUSED).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
