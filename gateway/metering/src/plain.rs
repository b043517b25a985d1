//! A whole JSON answer on its way: passed as it is, its usage read in passing. Not for event streams.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::open::Open;
use crate::scan::Scan;
use crate::usage::Outcome;

/// A body that settles its call when it ends, or is dropped.
pub(crate) struct Plain {
    inner: Body,
    scan: Scan,
    call: Box<Open>,
    ended: bool,
}

impl Plain {
    pub(crate) fn new(inner: Body, call: Box<Open>) -> Self {
        let mut plain = Self { inner, scan: Scan::default(), call, ended: false };
        // An empty body may never be asked for.
        if plain.inner.is_end_stream() {
            plain.settle(Outcome::Completed);
        }
        plain
    }

    fn settle(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.ended, true) {
            let (said, text) = self.scan.end();
            self.call.meter.body(said, text);
            self.call.settle(outcome);
        }
    }
}

impl HttpBody for Plain {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.scan.feed(data);
                }
                // Whoever knows the length does not ask for the end.
                if self.inner.is_end_stream() {
                    self.settle(Outcome::Completed);
                }
            }
            Some(Err(_)) => self.settle(Outcome::Failed),
            None => self.settle(Outcome::Completed),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.settle(Outcome::Aborted);
    }
}
