//! Holds a body of HTTP/2 to a pace, as the guard does for HTTP/1.1. Not for its framing, which is h2's work.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::config::Config;
use crate::pace::Pace;
use crate::refusal::Refusal;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body that must not come too slowly while somebody wants it.
#[derive(Debug)]
pub struct Paced<B> {
    body: B,
    pace: Pace,
    sleep: Option<Pin<Box<Sleep>>>,
    late: bool,
}

impl<B> Paced<B> {
    /// Holds this body to the pace of these limits.
    pub fn new(body: B, config: &Config) -> Self {
        let pace = Pace::new(config.body_idle_ms, config.body_bytes_per_second, config.body_total_ms);
        Self { body, pace, sleep: None, late: false }
    }
}

impl<B> Body for Paced<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.late {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            let bytes = match &frame {
                Some(Ok(frame)) => frame.data_ref().map_or(1, Bytes::len),
                _ => 0,
            };
            this.pace.came(bytes, Instant::now);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let until = this.pace.wait(Instant::now());
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        ready!(sleep.as_mut().poll(context));
        this.late = true;
        Poll::Ready(Some(Err(Box::new(Refusal::BodyTooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
