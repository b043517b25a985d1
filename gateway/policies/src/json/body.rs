//! A body that passes through the filter, frame by frame. Not for the filter's rules.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::OnInvalid;
use super::filter::Filter;
use super::plan::JsonPlan;
use crate::fault::{BodyFault, FaultWatch};

/// How much is held back where what is not JSON passes unchanged.
const HOLD_LIMIT: usize = 64 * 1024;

/// A filter that is ready for one body.
pub(crate) struct JsonFilter {
    filter: Filter,
    on_invalid: OnInvalid,
}

impl JsonFilter {
    pub(crate) fn new(plan: JsonPlan, rendered: Vec<Option<Vec<u8>>>) -> Self {
        Self { on_invalid: plan.on_invalid(), filter: Filter::new(plan, rendered) }
    }

    /// Returns the body as it comes out of the filter.
    pub(crate) fn over(self, inner: Body, fault: BodyFault, watch: FaultWatch) -> Body {
        let held = (self.on_invalid == OnInvalid::Pass).then(Held::default);
        Body::new(Filtered {
            inner: Some(inner),
            filter: self.filter,
            phase: Phase::Before,
            held,
            last: None,
            fault,
            watch,
        })
    }
}

/// What is held back until the document is known to be JSON: as it came, and as it goes.
#[derive(Default)]
struct Held {
    raw: Vec<u8>,
    out: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing came yet: a body of no bytes stays one.
    Before,
    Inside,
    /// Not JSON: the rest passes as it is.
    Unchanged,
    After,
}

struct Filtered {
    inner: Option<Body>,
    filter: Filter,
    phase: Phase,
    held: Option<Held>,
    /// Trailers, which come after what the filter adds at the end.
    last: Option<Frame<Bytes>>,
    fault: BodyFault,
    watch: FaultWatch,
}

impl Filtered {
    /// Takes a chunk; returns what goes on.
    fn chunk(&mut self, chunk: Bytes) -> Result<Bytes, axum::Error> {
        if self.phase == Phase::Unchanged || chunk.is_empty() {
            return Ok(chunk);
        }
        self.phase = Phase::Inside;
        let mut out = Vec::with_capacity(chunk.len());
        let read = self.filter.push(&chunk, &mut out);
        match (read, self.held.take()) {
            (Ok(()), None) => {}
            (Ok(()), Some(mut held)) => {
                held.out.append(&mut out);
                held.raw.extend_from_slice(&chunk);
                if held.raw.len() <= HOLD_LIMIT {
                    self.held = Some(held);
                } else {
                    out = held.out;
                }
            }
            (Err(_), Some(held)) => {
                self.phase = Phase::Unchanged;
                out = held.raw;
                out.extend_from_slice(&chunk);
            }
            (Err(at), None) => {
                if self.filter.on_invalid() == OnInvalid::Fail {
                    return Err(self.fail());
                }
                self.phase = Phase::Unchanged;
                out.extend_from_slice(&chunk[at..]);
            }
        }
        Ok(out.into())
    }

    /// Ends the document; returns what goes on.
    fn end(&mut self) -> Result<Bytes, axum::Error> {
        if std::mem::replace(&mut self.phase, Phase::After) != Phase::Inside {
            return Ok(Bytes::new());
        }
        let mut out = Vec::new();
        let ended = self.filter.finish(&mut out);
        match (ended, self.held.take()) {
            (Ok(()), None) => Ok(out.into()),
            (Ok(()), Some(held)) => Ok([held.out, out].concat().into()),
            (Err(_), Some(held)) => Ok(held.raw.into()),
            (Err(_), None) if self.filter.on_invalid() == OnInvalid::Pass => Ok(Bytes::new()),
            (Err(_), None) => Err(self.fail()),
        }
    }

    fn fail(&mut self) -> axum::Error {
        self.inner = None;
        self.last = None;
        self.watch.tell(self.fault);
        axum::Error::new(self.fault)
    }
}

impl http_body::Body for Filtered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        loop {
            if this.phase == Phase::After {
                return Poll::Ready(this.last.take().map(Ok));
            }
            let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
            let worked = match ready!(Pin::new(inner).poll_frame(context)) {
                Some(Err(error)) => {
                    this.inner = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => this.chunk(chunk),
                    Err(trailers) => {
                        this.last = Some(trailers);
                        this.end()
                    }
                },
                None => this.end(),
            };
            match worked {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.phase {
            Phase::Before => self.inner.as_ref().is_some_and(http_body::Body::is_end_stream),
            Phase::After => self.last.is_none(),
            _ => self.inner.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}
