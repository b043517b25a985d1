//! One piece of work in a trace, and what goes along with a request so that more can be added. Not for the
//! decision whether anything is recorded.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use web::{TRACEPARENT, TRACESTATE, TraceContext};

use crate::random;
use crate::tracer::Shared;

/// A trace that is recorded, and the span of the request in it.
pub(crate) struct Recorded {
    pub shared: Arc<Shared>,
    pub context: TraceContext,
    pub state: Option<HeaderValue>,
}

/// What goes along with a request. Cheap to clone; the default is no trace at all.
#[derive(Clone, Default)]
pub struct Trace(Along);

#[derive(Clone, Default)]
enum Along {
    #[default]
    Nothing,
    /// The sender's context, which is passed on as it is.
    Passed(HeaderValue, Option<HeaderValue>),
    Recorded(Arc<Recorded>),
}

/// A span that has begun. One that is dropped counts as cancelled.
pub struct Span {
    trace: Arc<Recorded>,
    context: TraceContext,
    parent: Option<u64>,
    kind: SpanKind,
    name: Cow<'static, str>,
    attributes: Vec<KeyValue>,
    status: Status,
    start: SystemTime,
    began: Instant,
    ended: bool,
}

impl Trace {
    pub(crate) fn recorded(recorded: Arc<Recorded>) -> Self {
        Self(Along::Recorded(recorded))
    }

    pub(crate) fn of_sender(parent: HeaderValue, state: Option<HeaderValue>) -> Self {
        Self(Along::Passed(parent, state))
    }

    /// Says whether the request is recorded.
    pub fn is_recorded(&self) -> bool {
        matches!(self.0, Along::Recorded(_))
    }

    /// Returns the trace's id in hexadecimal digits, for logs; of a recorded one.
    pub fn id(&self) -> Option<String> {
        match &self.0 {
            Along::Recorded(recorded) => Some(format!("{:032x}", recorded.context.trace_id)),
            _ => None,
        }
    }

    /// Writes the context into the headers of a new request that is made for this one.
    pub fn write(&self, headers: &mut HeaderMap) {
        let (parent, state) = match &self.0 {
            Along::Nothing => return,
            Along::Passed(parent, state) => (parent.clone(), state),
            Along::Recorded(recorded) => (recorded.context.value(), &recorded.state),
        };
        headers.insert(TRACEPARENT, parent);
        state.as_ref().map(|state| headers.insert(TRACESTATE, state.clone()));
    }

    /// Begins a span of a request that is sent to somebody else.
    pub fn client(&self, name: impl Into<Cow<'static, str>>) -> Option<Span> {
        self.begin(SpanKind::Client, name)
    }

    /// Begins a span of work in this process.
    pub fn internal(&self, name: impl Into<Cow<'static, str>>) -> Option<Span> {
        self.begin(SpanKind::Internal, name)
    }

    fn begin(&self, kind: SpanKind, name: impl Into<Cow<'static, str>>) -> Option<Span> {
        let Along::Recorded(trace) = &self.0 else { return None };
        let context = trace.context.child(random::span_id());
        Some(Span::new(trace.clone(), context, Some(trace.context.span_id), kind, name, Instant::now()))
    }
}

impl Span {
    pub(crate) fn new(
        trace: Arc<Recorded>,
        context: TraceContext,
        parent: Option<u64>,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        began: Instant,
    ) -> Self {
        let micros = u64::try_from(trace.shared.clock.now().0).unwrap_or_default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
        let start = now.checked_sub(began.elapsed()).unwrap_or(now);
        let (name, attributes, status) = (name.into(), Vec::with_capacity(12), Status::Unset);
        Self { trace, context, parent, kind, name, attributes, status, start, began, ended: false }
    }

    /// Names it; of a low number of different names.
    pub fn name(&mut self, name: impl Into<Cow<'static, str>>) {
        self.name = name.into();
    }

    /// Adds what is known of it, under a name of the semantic conventions.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.attributes.push(KeyValue::new(key, value));
    }

    /// Adds what may be known of it.
    pub fn set_some(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// Puts it into the headers of the request that it stands for.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, self.context.value());
        self.trace.state.as_ref().map(|state| headers.insert(TRACESTATE, state.clone()));
    }

    /// Ends it, with what kind of error it met if it met one: of a low number of different words.
    pub fn end(mut self, error: Option<Cow<'static, str>>) {
        self.finish(error);
    }

    fn finish(&mut self, error: Option<Cow<'static, str>>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Some(error) = error {
            self.set("error.type", error);
            self.status = Status::error("");
        }
        let state = self.trace.state.as_ref().and_then(|state| state.to_str().ok());
        let state: TraceState = state.and_then(|state| state.parse().ok()).unwrap_or_default();
        let TraceContext { trace_id, span_id, .. } = self.context;
        let (trace_id, span_id) =
            (TraceId::from_bytes(trace_id.to_be_bytes()), SpanId::from_bytes(span_id.to_be_bytes()));
        let flags = TraceFlags::new(self.context.flags());
        let shared = &self.trace.shared;
        shared.send(SpanData {
            span_context: SpanContext::new(trace_id, span_id, flags, false, state),
            parent_span_id: self.parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.to_be_bytes())),
            parent_span_is_remote: self.kind == SpanKind::Server && self.parent.is_some(),
            span_kind: self.kind.clone(),
            name: std::mem::take(&mut self.name),
            start_time: self.start,
            end_time: self.start + self.began.elapsed(),
            attributes: std::mem::take(&mut self.attributes),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: std::mem::take(&mut self.status),
            instrumentation_scope: shared.scope.clone(),
        });
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if !self.ended {
            self.finish(Some(Cow::Borrowed("cancelled")));
        }
    }
}
