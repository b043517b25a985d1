//! What hyper makes of bytes.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use strict_http::{Config, Guard, Link, Refusal};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};

use crate::reference::Read;

/// A duplex with a guard before it, or none.
struct Socket {
    stream: DuplexStream,
    guard: Option<Guard>,
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.guard {
            Some(guard) => guard.poll_read(Pin::new(&mut this.stream), context, buffer),
            None => Pin::new(&mut this.stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What hyper made of a connection.
pub(crate) struct Served {
    pub(crate) requests: Vec<Read>,
    pub(crate) refusal: Option<Refusal>,
    /// Why a body broke off.
    pub(crate) broken: Option<Refusal>,
    pub(crate) answer: String,
}

/// Serves a connection over which these pieces come, and then nothing more.
pub(crate) async fn serve(pieces: &[&[u8]], guarded: bool) -> Served {
    let (mut client, stream) = tokio::io::duplex(1 << 20);
    let link = Arc::new(Link::default());
    let guard = guarded.then(|| Guard::new(&Arc::new(Config::default()), &link));
    let served = Arc::new(Mutex::new((Vec::new(), None, None)));
    let notes = served.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let notes = notes.clone();
        async move {
            if let Some(refusal) = Refusal::of(request.uri()) {
                notes.lock().expect("not poisoned").1 = Some(refusal);
                let response = Response::builder().status(refusal.status()).body(Full::new(Bytes::from(refusal.code())));
                return Ok::<_, Infallible>(response.expect("a response"));
            }
            let (read, broken) = note(request).await;
            let mut notes = notes.lock().expect("not poisoned");
            notes.0.push(read);
            notes.2 = notes.2.or(broken);
            Ok(Response::new(Full::new(Bytes::from_static(b"fine"))))
        }
    });
    let connection = http1::Builder::new().half_close(true).max_headers(100).max_buf_size(72 * 1024).serve_connection(
        TokioIo::new(Socket { stream, guard }),
        service,
    );
    let feed = async {
        for piece in pieces {
            let _ = client.write_all(piece).await;
            tokio::task::yield_now().await;
        }
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let (_, answer) = tokio::join!(connection.with_upgrades(), feed);
    let notes = std::mem::take(&mut *served.lock().expect("not poisoned"));
    Served { requests: notes.0, refusal: notes.1, broken: notes.2, answer }
}

async fn note(request: Request<Incoming>) -> (Read, Option<Refusal>) {
    let (parts, mut body) = request.into_parts();
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    let mut read = Read {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        old: parts.version == Version::HTTP_10,
        headers: headers.collect(),
        body: Vec::new(),
        trailers: 0,
        whole: true,
    };
    let mut broken = None;
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => read.body.extend_from_slice(&data),
            Ok(Err(frame)) => read.trailers = frame.into_trailers().map_or(0, |trailers| trailers.len()),
            Err(error) => {
                read.whole = false;
                broken = Refusal::behind(&error);
                break;
            }
        }
    }
    (read, broken)
}
