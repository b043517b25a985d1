//! Decides which requests are recorded: those whose sender records them and is believed, and a share of the others.
//! Not for what is recorded of them.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Request};
use kernel::Clock;
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::SpanData;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use web::{TRACEPARENT, TRACESTATE, TraceContext};

use crate::config::TrustParent;
use crate::random;
use crate::span::{Recorded, Span, Trace};

/// The bits of a trace's id that are random at least (level 2, section 2.2.2.2).
const RANDOM_BITS: u32 = 56;

/// Decides at the door; cheap to clone. The default records nothing.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Shared>>);

pub(crate) struct Shared {
    pub clock: Clock,
    pub scope: InstrumentationScope,
    /// Traces whose random bits are below it are not recorded.
    threshold: u64,
    trust: TrustParent,
    queue: mpsc::Sender<SpanData>,
    dropped: Counter,
}

/// A request that has come in.
#[derive(Default)]
pub struct Entered {
    /// What goes along with it.
    pub trace: Trace,
    /// The span of the request itself, where it is recorded.
    pub span: Option<Span>,
    /// What the sender asked for that is not known to count.
    pub asked: Option<Asked>,
}

/// A sender's wish to have its request recorded.
#[derive(Clone, Copy, Debug)]
pub struct Asked(TraceContext);

impl Tracer {
    pub(crate) fn new(
        clock: Clock,
        (share, trust): (f64, TrustParent),
        queue: mpsc::Sender<SpanData>,
        dropped: Counter,
    ) -> Self {
        let all = (1_u64 << RANDOM_BITS) as f64;
        let threshold = ((1.0 - share) * all).round() as u64;
        Self(Some(Arc::new(Shared {
            clock,
            scope: InstrumentationScope::builder("portico").build(),
            threshold,
            trust,
            queue,
            dropped,
        })))
    }

    /// Reads where a request belongs to. Afterwards its headers name the span of this request, or the sender's
    /// where nothing is recorded, or nothing; garbage is gone. A sender whose word does not count by itself has
    /// asked; who that was is found out later.
    pub fn enter<B>(&self, request: &mut Request<B>) -> Entered {
        let parent = TraceContext::take_in(request.headers_mut());
        let (shared, parent) = match (&self.0, parent) {
            (Some(shared), Some(parent)) if parent.is_sampled() => (shared, parent),
            (Some(shared), None) if shared.threshold < 1 << RANDOM_BITS => {
                let Some(trace) = shared.sample() else { return Entered::default() };
                let context = TraceContext::begin(trace, random::span_id());
                return shared.record(context, None, Instant::now(), request);
            }
            (_, None) => return Entered::default(),
            (_, Some(_)) => return Entered { trace: Trace::passed(request.headers()), ..Entered::default() },
        };
        // Of a stranger's requests as many as of those without a trace; drawn here, so that no id is luckier.
        if shared.trust == TrustParent::Always || shared.sample().is_some() {
            return shared.record(parent.child(random::span_id()), Some(parent), Instant::now(), request);
        }
        request.headers_mut().insert(TRACEPARENT, parent.not_sampled(random::span_id()).value());
        Entered { trace: Trace::passed(request.headers()), span: None, asked: Some(Asked(parent)) }
    }

    /// Records a request after all, which came in at `began`: its sender is known to another gateway of the
    /// installation, or has signed in. Returns nothing where that does not count.
    pub fn believe<B>(&self, asked: Asked, gateway: bool, began: Instant, request: &mut Request<B>) -> Option<Entered> {
        let shared = self.0.as_ref().filter(|shared| gateway || shared.trust != TrustParent::Never)?;
        Some(shared.record(asked.0.child(random::span_id()), Some(asked.0), began, request))
    }
}

impl Shared {
    /// Begins the span of a request, which goes on under it.
    fn record<B>(
        self: &Arc<Self>,
        context: TraceContext,
        parent: Option<TraceContext>,
        began: Instant,
        request: &mut Request<B>,
    ) -> Entered {
        let state = request.headers().get(TRACESTATE).cloned();
        let recorded = Arc::new(Recorded { shared: self.clone(), context, state });
        let sender = parent.map(|parent| parent.span_id);
        let span = Span::new(recorded.clone(), context, sender, SpanKind::Server, String::new(), began);
        request.headers_mut().insert(TRACEPARENT, context.value());
        Entered { trace: Trace::recorded(recorded), span: Some(span), asked: None }
    }

    /// Returns the id of a new trace if it is to be recorded.
    fn sample(&self) -> Option<u128> {
        let trace = random::trace_id();
        let drawn = trace as u64 & ((1 << RANDOM_BITS) - 1);
        (drawn >= self.threshold).then_some(trace)
    }

    pub(crate) fn send(&self, span: SpanData) {
        if self.queue.try_send(span).is_err() {
            self.dropped.inc();
        }
    }
}

impl Trace {
    fn passed(headers: &HeaderMap) -> Self {
        match headers.get(TRACEPARENT) {
            Some(parent) => Self::of_sender(parent.clone(), headers.get(TRACESTATE).cloned()),
            None => Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use kernel::Timestamp;

    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn tracer(share: f64, room: usize) -> (Tracer, mpsc::Receiver<SpanData>, Counter) {
        trusting(TrustParent::Always, share, room)
    }

    fn trusting(trust: TrustParent, share: f64, room: usize) -> (Tracer, mpsc::Receiver<SpanData>, Counter) {
        let ((sender, receiver), dropped) = (mpsc::channel(room), Counter::default());
        let clock = Clock::manual(Timestamp(1_000_000));
        (Tracer::new(clock, (share, trust), sender, dropped.clone()), receiver, dropped)
    }

    fn enter(tracer: &Tracer, parent: Option<&str>) -> (Entered, Option<String>) {
        let mut request = Request::new(());
        if let Some(parent) = parent {
            request.headers_mut().insert(TRACEPARENT, parent.parse().expect("a value"));
            request.headers_mut().insert(TRACESTATE, "a=1".parse().expect("a value"));
        }
        let entered = tracer.enter(&mut request);
        (entered, request.headers().get(TRACEPARENT).map(|value| value.to_str().expect("text").to_owned()))
    }

    #[test]
    fn the_senders_word_counts_and_a_share_of_the_others_is_drawn() {
        for (share, alone) in [(0.0, false), (1.0, true)] {
            let (tracer, _queue, _) = tracer(share, 100);
            assert!(enter(&tracer, Some(SAMPLED)).0.span.is_some());
            let (entered, header) = enter(&tracer, Some(UNSAMPLED));
            assert!(entered.span.is_none() && header.as_deref() == Some(UNSAMPLED));
            assert_eq!(enter(&tracer, None).0.span.is_some(), alone);
            assert_eq!(enter(&tracer, Some("garbage")).0.span.is_some(), alone);
        }
        let (tracer, _queue, _) = tracer(0.25, 20_000);
        let drawn = (0..10_000).filter(|_| enter(&tracer, None).0.span.is_some()).count();
        assert!((2_200..2_800).contains(&drawn), "a quarter of them, not {drawn}");
    }

    #[test]
    fn a_strangers_word_raises_nothing_until_somebody_knows_him() {
        let theirs = TraceContext::parse(SAMPLED.as_bytes()).expect("valid");
        for (trust, signed_in) in [(TrustParent::SignedIn, true), (TrustParent::Never, false)] {
            let (tracer, _queue, _) = trusting(trust, 0.0, 100);
            for (gateway, believed) in [(false, signed_in), (true, true)] {
                let mut request = Request::new(());
                request.headers_mut().insert(TRACEPARENT, SAMPLED.parse().expect("a value"));
                let entered = tracer.enter(&mut request);
                let told = TraceContext::parse(request.headers()[TRACEPARENT].as_bytes()).expect("valid");
                assert!(entered.span.is_none() && !told.is_sampled(), "nobody behind the door records it either");
                assert!(told.trace_id == theirs.trace_id && told.span_id != theirs.span_id);
                let asked = entered.asked.expect("asked for");
                let after = tracer.believe(asked, gateway, Instant::now(), &mut request);
                assert_eq!(after.is_some_and(|entered| entered.span.is_some()), believed, "{trust:?} {gateway}");
                let told = TraceContext::parse(request.headers()[TRACEPARENT].as_bytes()).expect("valid");
                assert!(told.is_sampled() == believed && told.trace_id == theirs.trace_id);
            }
            let (entered, header) = enter(&tracer, Some(UNSAMPLED));
            assert!(entered.asked.is_none() && header.as_deref() == Some(UNSAMPLED));
        }
        // The share is drawn of strangers' requests too, and by us: one id sent again and again is not luckier.
        let (tracer, _queue, _) = trusting(TrustParent::SignedIn, 0.25, 20_000);
        let drawn = (0..10_000).filter(|_| enter(&tracer, Some(SAMPLED)).0.span.is_some()).count();
        assert!((2_200..2_800).contains(&drawn), "a quarter of them, not {drawn}");
    }

    #[test]
    fn a_recorded_request_goes_on_under_a_span_of_ours() {
        let (tracer, _queue, _) = tracer(0.0, 100);
        let (_, header) = enter(&tracer, Some(SAMPLED));
        let ours = TraceContext::parse(header.expect("a header").as_bytes()).expect("valid");
        let theirs = TraceContext::parse(SAMPLED.as_bytes()).expect("valid");
        assert_eq!((ours.trace_id, ours.flags()), (theirs.trace_id, theirs.flags()));
        assert_ne!(ours.span_id, theirs.span_id);
    }

    #[test]
    fn without_a_collector_nothing_is_recorded_and_garbage_goes() {
        let off = Tracer::default();
        let (entered, header) = enter(&off, Some(SAMPLED));
        assert!(entered.span.is_none() && header.as_deref() == Some(SAMPLED));
        assert_eq!(enter(&off, Some("garbage")).1, None);
        assert_eq!(enter(&off, None).1, None);
    }

    #[test]
    fn a_full_queue_drops_spans_and_counts_them() {
        let (tracer, mut queue, dropped) = tracer(1.0, 3);
        for _ in 0..5 {
            enter(&tracer, None).0.span.expect("recorded").end(None);
        }
        assert_eq!(dropped.get(), 2);
        assert_eq!(std::iter::from_fn(|| queue.try_recv().ok()).count(), 3);
    }
}
