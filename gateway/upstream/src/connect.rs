//! Opens a connection to a server: address, TCP, TLS. Not for keeping it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::failure::{Failure, FailureKind};
use crate::gather::poll_write_parts;
use crate::member::Member;
use crate::sent::Sent;

/// Bytes to and from a server.
pub(crate) struct Wire {
    stream: Stream,
    /// What is written, for who asks to keep it.
    pub sent: Arc<Sent>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl From<Stream> for Wire {
    fn from(stream: Stream) -> Self {
        Self { stream, sent: Arc::default() }
    }
}

/// Opens a connection; the second value says whether ALPN chose HTTP/2.
pub(crate) async fn open(
    member: &Member,
    tls: Option<&TlsConnector>,
    within: Duration,
) -> Result<(Wire, bool), Failure> {
    let opening = async {
        let stream = reach(member, within).await?;
        let (Some(tls), Some(name)) = (tls, &member.name) else { return Ok((Stream::Plain(stream).into(), false)) };
        let stream =
            tls.connect(name.clone(), stream).await.map_err(|error| Failure::caused(FailureKind::Tls, error))?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Stream::Tls(Box::new(stream)).into(), http2))
    };
    match tokio::time::timeout(within, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(Failure::new(FailureKind::ConnectTimeout)),
    }
}

async fn reach(member: &Member, within: Duration) -> Result<TcpStream, Failure> {
    let stream = match member.address {
        Some(address) => {
            TcpStream::connect(address).await.map_err(|error| Failure::caused(FailureKind::Connect, error))
        }
        None => {
            let found = tokio::net::lookup_host(&member.server.address).await;
            let addresses: Vec<SocketAddr> =
                found.map_err(|error| Failure::caused(FailureKind::Resolve, error))?.collect();
            reach_one(&addresses, within).await
        }
    }?;
    stream.set_nodelay(true).map_err(|error| Failure::caused(FailureKind::Connect, error))?;
    Ok(stream)
}

/// Tries one address after the other, so that one that swallows packets leaves time for the next.
async fn reach_one(addresses: &[SocketAddr], within: Duration) -> Result<TcpStream, Failure> {
    let mut last = Failure::new(FailureKind::Resolve);
    let each = within / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    for address in addresses {
        match tokio::time::timeout(each, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Failure::caused(FailureKind::Connect, error),
            Err(_) => last = Failure::new(FailureKind::ConnectTimeout),
        }
    }
    Err(last)
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        self.sent.note(&[io::IoSlice::new(bytes)], written(&polled));
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.stream {
            Stream::Plain(stream) => poll_write_parts(Pin::new(stream), cx, parts),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        };
        self.sent.note(parts, written(&polled));
        polled
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Bytes that may be half-written count as not written: they are offered again, or never.
fn written(polled: &Poll<io::Result<usize>>) -> usize {
    match polled {
        Poll::Ready(Ok(written)) => *written,
        _ => 0,
    }
}
