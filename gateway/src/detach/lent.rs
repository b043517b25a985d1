//! A client's socket in hyper's hands: read through a guard, and given back open when hyper drops it. Not for
//! what is done with it then.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use strict_http::Guard;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::Wire;

/// What is known of a socket that hyper has. hyper wants it to be `Send`.
#[derive(Default)]
pub(super) struct Loan {
    /// Whether hyper holds bytes that the socket would not take.
    pub(super) blocked: AtomicBool,
    returned: Mutex<Option<Wire>>,
}

impl Loan {
    /// Returns the socket, after hyper has dropped it.
    pub(super) fn take_back(&self) -> Option<Wire> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A socket that comes back when it is dropped.
pub(crate) struct Borrowed {
    wire: Option<Wire>,
    loan: Arc<Loan>,
}

impl Borrowed {
    pub(super) fn new(wire: Wire, loan: &Arc<Loan>) -> Self {
        Self { wire: Some(wire), loan: loan.clone() }
    }

    fn wire(&mut self) -> Pin<&mut Wire> {
        Pin::new(self.wire.as_mut().expect("the socket is there until this is dropped"))
    }

    fn keeps_back(&self) -> bool {
        self.wire.as_ref().is_some_and(Wire::keeps_back)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // Where nobody wants it back, as after an upgrade, it is closed with the loan.
        *self.loan.returned.lock().unwrap_or_else(PoisonError::into_inner) = self.wire.take();
    }
}

impl AsyncRead for Borrowed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.wire().poll_read(context, buffer)
    }
}

impl AsyncWrite for Borrowed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wire().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire().poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().poll_shutdown(context)
    }
}

/// A socket as hyper gets it for HTTP/1.1.
pub(crate) struct Lent {
    socket: Borrowed,
    guard: Guard,
}

impl Lent {
    pub(super) fn new(socket: Borrowed, guard: Guard) -> Self {
        Self { socket, guard }
    }

    fn note(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.socket.loan.blocked.store(written.is_pending(), Ordering::Relaxed);
        self.guard.wrote(written)
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, guard } = &mut *self;
        guard.poll_read(socket.wire(), context, buffer)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.socket.wire().poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.socket.wire().poll_write_vectored(context, parts);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.socket.wire().poll_flush(context);
        if !self.socket.keeps_back() {
            return flushed;
        }
        // What a session has sealed waits for the client like anything else.
        match flushed {
            Poll::Ready(Ok(())) => self.guard.wrote(Poll::Ready(Ok(0))).map_ok(|_| ()),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.guard.wrote(Poll::Pending).map_ok(|_| ()),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.wire().poll_shutdown(context)
    }
}
