//! The body of a request on its way to a server: nothing, a stream that is watched, or a stream that is
//! kept for a retry. Not for answers.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::replay::Replayed;

/// What hyper sends.
pub(crate) enum Outgoing {
    /// Nothing: the usual case, and the cheapest.
    Empty,
    /// A stream that is sent once.
    Once(Body, Arc<Upload>),
    /// A stream that may be sent again.
    Again(Replayed, Arc<Upload>),
}

/// How far an upload is; shared by the sender and the one who waits for the answer.
#[derive(Debug)]
pub(crate) struct Upload {
    stage: AtomicU8,
    /// Milliseconds from `since` to the last thing that happened.
    last: AtomicU64,
    /// Bytes that are still to come, of a body whose length was stated: nobody asks for more then.
    left: AtomicU64,
    since: Instant,
    error: Mutex<Option<axum::Error>>,
}

/// Who has the next move in an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// The server: it must take what there is.
    Server,
    /// The client: it must send more.
    Client,
    /// Nobody: all is sent.
    Done,
    /// Nobody: the client broke off.
    Broken,
}

impl Upload {
    /// Starts to watch a body of the length that the request's head states, if it does.
    pub(crate) fn new(now: Instant, length: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            stage: AtomicU8::new(Stage::Server as u8),
            last: AtomicU64::new(0),
            left: AtomicU64::new(length.unwrap_or(u64::MAX)),
            since: now,
            error: Mutex::new(None),
        })
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Server,
            1 => Stage::Client,
            2 => Stage::Done,
            _ => Stage::Broken,
        }
    }

    /// Returns when something happened last.
    pub(crate) fn last(&self) -> Instant {
        self.since + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// Takes what broke the client's body.
    pub(crate) fn take_error(&self) -> Option<axum::Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn turn(&self, stage: Stage) {
        self.last.store(self.since.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.stage.store(stage as u8, Ordering::Release);
    }

    /// Watches one poll of a body.
    pub(crate) fn watch(
        &self,
        polled: Poll<Option<Result<Frame<Bytes>, axum::Error>>>,
        ended: bool,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match polled {
            Poll::Pending => {
                if self.stage() != Stage::Client {
                    self.turn(Stage::Client);
                }
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                let came = frame.data_ref().map_or(0, |data| data.len() as u64);
                let left = self.left.load(Ordering::Relaxed).saturating_sub(came);
                self.left.store(left, Ordering::Relaxed);
                self.turn(if ended || left == 0 { Stage::Done } else { Stage::Server });
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.turn(Stage::Done);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                self.turn(Stage::Broken);
                Poll::Ready(Some(Err(axum::Error::new(BrokenOff))))
            }
        }
    }
}

/// The client's body broke off; why is kept beside.
#[derive(Debug)]
struct BrokenOff;

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body of the request broke off")
    }
}

impl std::error::Error for BrokenOff {}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Once(body, upload) => {
                let polled = Pin::new(&mut *body).poll_frame(cx);
                let ended = body.is_end_stream();
                upload.watch(polled, ended)
            }
            Self::Again(body, upload) => {
                let polled = body.poll_frame(cx);
                let ended = body.is_end_stream();
                upload.watch(polled, ended)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Once(body, _) => body.is_end_stream(),
            Self::Again(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Once(body, _) => body.size_hint(),
            Self::Again(body, _) => body.size_hint(),
        }
    }
}
