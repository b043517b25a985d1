//! The body of a request on its way to a server: nothing, a stream that is watched, or a stream that is
//! kept for a retry. Not for answers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::replay::Replayed;
use crate::upload::Upload;

/// What hyper sends.
pub(crate) enum Outgoing {
    /// Nothing: the usual case, and the cheapest.
    Empty,
    /// A stream that is sent once.
    Once(Body, Arc<Upload>),
    /// A stream that may be sent again.
    Again(Replayed, Arc<Upload>),
}

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
