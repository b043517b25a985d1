//! Spans on their way to a collector over a real socket.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use fixtures::eventually;
use http::{Request, StatusCode};
use kernel::{Clock, Timestamp};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use prost::Message as _;
use telemetry::{Config, Exporter, TrustParent};
use tokio::runtime::Handle;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A collector that refuses so many exports before it takes one.
#[derive(Clone, Default)]
struct Collector {
    refuse: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    taken: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

async fn take(State(collector): State<Collector>, body: Bytes) -> Response {
    collector.asked.fetch_add(1, Ordering::SeqCst);
    let refused = collector.refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if refused.is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let request = ExportTraceServiceRequest::decode(body).expect("an export");
    collector.taken.lock().expect("not poisoned").push(request);
    StatusCode::OK.into_response()
}

impl Collector {
    async fn open(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/v1/traces", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    fn spans(&self) -> Vec<Span> {
        let taken = self.taken.lock().expect("not poisoned");
        let resources = taken.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }
}

fn start(config: &Config, registry: &mut Registry) -> Exporter {
    let clock = Clock::manual(Timestamp(1_700_000_000_000_000));
    Exporter::start(config, "process-1", clock, &Handle::current(), registry).expect("it starts")
}

fn counted(registry: &Registry, outcome: &str) -> u64 {
    let mut text = String::new();
    encode(&mut text, registry).expect("metrics");
    let start = format!("telemetry_spans_total{{outcome=\"{outcome}\"}} ");
    let line =
        text.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_else(|| panic!("no {outcome}: {text}"));
    line.parse().expect("a number")
}

fn request() -> Request<()> {
    Request::builder().header("traceparent", PARENT).header("tracestate", "vendor=1").body(()).expect("a request")
}

#[tokio::test]
async fn what_was_recorded_arrives_as_it_was() {
    let (collector, mut registry) = (Collector::default(), Registry::default());
    let trust_parent = TrustParent::Always;
    let config = Config { endpoint: collector.open().await, trust_parent, ..Config::default() };
    let exporter = start(&config, &mut registry);
    let mut entered = exporter.tracer().enter(&mut request());
    let mut server = entered.span.take().expect("recorded");
    server.name("GET /items/{id}");
    server.set("http.response.status_code", 503_i64);
    let client = entered.trace.client("GET").expect("recorded");
    let mut sent = http::HeaderMap::new();
    client.write(&mut sent);
    client.end(None);
    drop(entered.trace.internal("work"));
    server.end(Some("503".into()));
    exporter.stop().await;

    let spans = collector.spans();
    let named =
        |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name}: {spans:?}"));
    let (server, client, work) = (named("GET /items/{id}"), named("GET"), named("work"));
    assert_eq!(spans.len(), 3);
    for span in &spans {
        assert_eq!(span.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
        assert_eq!(span.trace_state, "vendor=1");
        // The clock's time, less what passed since the request came in.
        let since = 1_700_000_000_000_000_000_u64.checked_sub(span.start_time_unix_nano);
        assert!(since.is_some_and(|nanoseconds| nanoseconds < 60_000_000_000), "{since:?}");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
    // SERVER is 2, CLIENT 3, INTERNAL 1; an error's code 2.
    assert_eq!([server.kind, client.kind, work.kind], [2, 3, 1]);
    assert_eq!(server.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!([&client.parent_span_id, &work.parent_span_id], [&server.span_id, &server.span_id]);
    let code = |span: &Span| span.status.as_ref().map_or(0, |status| status.code);
    assert_eq!([code(server), code(client), code(work)], [2, 0, 2]);
    let error = |span: &Span| span.attributes.iter().any(|pair| pair.key == "error.type");
    assert_eq!([error(server), error(client), error(work)], [true, false, true]);
    let id: String = client.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(sent["traceparent"], PARENT.replace("00f067aa0ba902b7", &id));
    assert_eq!(sent["tracestate"], "vendor=1");
    let taken = collector.taken.lock().expect("not poisoned");
    let resource = format!("{:?}", taken[0].resource_spans[0].resource);
    assert!(resource.contains("service.name") && resource.contains("process-1"), "{resource}");
    assert_eq!(
        [counted(&registry, "exported"), counted(&registry, "failed"), counted(&registry, "dropped")],
        [3, 0, 0]
    );
}

#[tokio::test]
async fn an_export_that_is_refused_is_tried_again() {
    let (collector, mut registry) = (Collector::default(), Registry::default());
    collector.refuse.store(1, Ordering::SeqCst);
    let config = Config { endpoint: collector.open().await, traces_sampled: 1.0, ..Config::default() };
    let exporter = start(&config, &mut registry);
    drop(exporter.tracer().enter(&mut Request::new(())));
    eventually("it arrives", async || !collector.spans().is_empty()).await;
    assert_eq!(collector.asked.load(Ordering::SeqCst), 2);
    exporter.stop().await;
    assert_eq!(counted(&registry, "exported"), 1);
}

#[tokio::test]
async fn a_collector_that_is_away_or_silent_costs_spans_and_nothing_else() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let away = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address")
    };
    for address in [silent.local_addr().expect("an address"), away] {
        let mut registry = Registry::default();
        let endpoint = format!("http://{address}");
        let config = Config { endpoint, timeout_ms: 100, traces_sampled: 1.0, queue: 4, ..Config::default() };
        let exporter = start(&config, &mut registry);
        let tracer = exporter.tracer();
        for _ in 0..10 {
            drop(tracer.enter(&mut Request::new(())));
        }
        exporter.stop().await;
        assert_eq!([counted(&registry, "exported"), counted(&registry, "failed")], [0, 4]);
        assert_eq!(counted(&registry, "dropped"), 6);
    }
}

#[tokio::test]
async fn without_an_endpoint_there_is_nothing() {
    let mut registry = Registry::default();
    let exporter = start(&Config { traces_sampled: 1.0, ..Config::default() }, &mut registry);
    assert!(exporter.tracer().enter(&mut request()).span.is_none());
    let mut text = String::new();
    encode(&mut text, &registry).expect("metrics");
    assert!(!text.contains("telemetry"), "{text}");
    exporter.stop().await;
}
