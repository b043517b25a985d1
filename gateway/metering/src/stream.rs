//! An event stream on its way: passed at once and as it is, counted in passing, kept alive while it is silent, ended
//! where the budget ends. Dropping it drops the origin's body. Not for the words of each format.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame};
use kernel::Error;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::Pace;
use crate::format::Kind;
use crate::open::{Extension, Open};
use crate::sse::Sse;
use crate::usage::Outcome;

/// The longest event that waits for its end, where one is looked for that is to be taken out.
const LONGEST_HELD: usize = 1024 * 1024;
const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// An event stream.
pub(crate) struct Stream {
    /// The origin's body; nothing once it is over.
    origin: Option<Body>,
    sse: Sse,
    call: Option<Box<Open>>,
    /// The beginning of an event that may have to be taken out.
    held: BytesMut,
    /// Bytes that came behind the event at which the reservation ended.
    rest: Bytes,
    /// The ledger's answer to the question for more.
    asking: Option<Extension>,
    pace: Pace,
    /// When something came from the origin, and when something went to the client.
    came: Instant,
    went: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub(crate) fn new(origin: Body, pace: Pace, call: Option<Box<Open>>) -> Self {
        let now = Instant::now();
        Self {
            origin: Some(origin),
            sse: Sse::default(),
            call,
            held: BytesMut::new(),
            rest: Bytes::new(),
            asking: None,
            pace,
            came: now,
            went: now,
            alarm: None,
        }
    }

    /// Reads what came, and returns what passes. What stands behind the event that used up the reservation waits.
    fn take(&mut self, chunk: Bytes) -> Bytes {
        let Some(call) = &mut self.call else {
            self.sse.feed(&chunk, |_| ControlFlow::Continue(()));
            return chunk;
        };
        let takes_out = call.added_usage;
        let (mut out, mut from, mut stopped) = (BytesMut::new(), 0, None);
        let held = &mut self.held;
        let mut whole = takes_out && held.is_empty();
        self.sse.feed(&chunk, |event| {
            let kind = call.meter.event(event.data);
            if takes_out {
                if kind == Kind::UsageOnly {
                    whole = false;
                } else {
                    out.extend_from_slice(held);
                    out.extend_from_slice(&chunk[from..event.end]);
                }
                held.clear();
                from = event.end;
            }
            if call.beyond().is_some() {
                stopped = Some(event.end);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        if let Some(end) = stopped {
            self.rest = chunk.slice(end..);
        }
        if !takes_out || (whole && stopped.is_none() && from == chunk.len()) {
            return stopped.map_or(chunk.clone(), |end| chunk.slice(..end));
        }
        if stopped.is_none() {
            held.extend_from_slice(&chunk[from..]);
            if held.len() > LONGEST_HELD || self.sse.between() {
                out.extend_from_slice(held);
                held.clear();
            }
        }
        out.freeze()
    }

    /// Ends the stream here: the origin is let go at once.
    fn end(&mut self, outcome: Outcome, error: Option<&Error>) -> Option<Bytes> {
        (self.origin, self.asking, self.rest) = (None, None, Bytes::new());
        let mut last = std::mem::take(&mut self.held);
        if let Some(mut call) = self.call.take() {
            call.settle(outcome);
            if let Some(error) = error {
                // An event that is half there and has not been passed on never will be.
                last.clear();
                last.extend_from_slice(call.format.last_event(error).as_bytes());
            }
        }
        (!last.is_empty()).then(|| last.freeze())
    }

    /// Waits for the ledger's answer, where it was asked.
    fn poll_asking(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(asking) = &mut self.asking else { return Poll::Ready(None) };
        let answer = ready!(asking.as_mut().poll(context));
        self.asking = None;
        match answer {
            Ok(Some(granted)) => {
                if let Some(call) = &mut self.call {
                    call.extended(granted);
                }
                Poll::Ready(None)
            }
            refused => {
                // A ledger that cannot be asked has not said yes.
                if let Err(error) = refused {
                    tracing::warn!(error = %error, "the ledger did not say whether a stream may go on");
                }
                let message = "the budget for language models is used up; the answer ends here";
                let error = Error::limited("gateway.budget_exhausted", message).status_code(402);
                Poll::Ready(self.end(Outcome::CutOff, Some(&error)))
            }
        }
    }

    /// Asks for more where the reservation is used up.
    fn ask(&mut self) {
        if let Some(call) = &self.call
            && let Some((used, _)) = call.beyond()
        {
            self.asking = Some(call.extension(used));
        }
    }

    /// Sees to silence: a comment for the client, or the end where the origin is silent for too long.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, axum::Error>>> {
        loop {
            let heartbeat = self.pace.heartbeat.filter(|_| self.sse.between() && self.held.is_empty());
            let due = [heartbeat.map(|pause| self.went + pause), self.pace.stall.map(|stall| self.came + stall)];
            let Some(next) = due.into_iter().flatten().min() else { return Poll::Pending };
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(next)));
            if alarm.deadline() != next {
                alarm.as_mut().reset(next);
            }
            ready!(alarm.as_mut().poll(context));
            let now = Instant::now();
            if self.pace.stall.is_some_and(|stall| now >= self.came + stall) {
                let error = Error::unavailable("gateway.stream_stalled", "the origin fell silent").status_code(504);
                // In the middle of an event nothing can be said: the client sees that the rest is missing.
                let inside = !self.sse.between() && self.held.is_empty();
                let said = self.end(Outcome::Failed, Some(&error)).filter(|_| !inside);
                return Poll::Ready(Some(said.ok_or_else(|| axum::Error::new(error))));
            }
            if heartbeat.is_some_and(|pause| now >= self.went + pause) {
                return Poll::Ready(Some(Ok(HEARTBEAT)));
            }
        }
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            if self.asking.is_some()
                && let Some(last) = ready!(self.poll_asking(context))
            {
                return Poll::Ready(Some(Ok(Frame::data(last))));
            }
            if !self.rest.is_empty() {
                let rest = std::mem::take(&mut self.rest);
                let passes = self.take(rest);
                self.ask();
                if !passes.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(passes))));
                }
                continue;
            }
            let Some(origin) = &mut self.origin else { return Poll::Ready(None) };
            match Pin::new(origin).poll_frame(context) {
                Poll::Pending => {
                    return self.poll_silence(context).map(|said| said.map(|said| said.map(Frame::data)));
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(chunk) => {
                        self.came = Instant::now();
                        let passes = self.take(chunk);
                        self.ask();
                        if !passes.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(passes))));
                        }
                    }
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(Some(Err(error))) => {
                    // The client sees that something is missing: what comes after this is no end.
                    let _ = self.end(Outcome::Failed, None);
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    let last = self.end(Outcome::Completed, None);
                    return Poll::Ready(last.map(|bytes| Ok(Frame::data(bytes))));
                }
            }
        }
    }
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(self.poll_bytes(context));
        if frame.is_some() {
            self.went = Instant::now();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.origin.is_none()
    }
}
