//! Traces through processes: a collector over OTLP, an upstream that is not ours, and what both see of one
//! request. Not for what a span says in each case; see the crate `telemetry`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post};
use axum::{Json, Router};
use http::{HeaderMap, Method, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use portico::config::{Cluster, Config, Upstream};
use portico::serve::{self, Running};
use prost::Message as _;
use serde_json::json;
use tempfile::TempDir;
use testkit::Database;

use crate::split::call;

const SECRET: &str = "a cluster secret of more than thirty-two bytes";
pub(crate) const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A span as the collector got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub process: String,
    pub kind: i32,
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, String>,
}

/// Takes what is exported, and is an upstream that fails once at `/shaky`.
#[derive(Clone, Default)]
pub(crate) struct World {
    spans: Arc<Mutex<Vec<Seen>>>,
    asked: Arc<Mutex<Vec<HeaderMap>>>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(value: Option<Any>) -> String {
    match value {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

async fn take(State(world): State<World>, body: Bytes) -> StatusCode {
    let request = ExportTraceServiceRequest::decode(body).expect("an export");
    for resource in request.resource_spans {
        let of_process = resource.resource.expect("a resource").attributes;
        let name = of_process.into_iter().find(|pair| pair.key == "service.name").expect("a name");
        let process = text(name.value.and_then(|value| value.value));
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let pairs = span.attributes.into_iter();
            let attributes = pairs.map(|pair| (pair.key, text(pair.value.and_then(|value| value.value)))).collect();
            world.spans.lock().expect("not poisoned").push(Seen {
                process: process.clone(),
                kind: span.kind,
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
                attributes,
            });
        }
    }
    StatusCode::OK
}

async fn answer(State(world): State<World>, request: Request) -> Response {
    let mut asked = world.asked.lock().expect("not poisoned");
    asked.push(request.headers().clone());
    if request.uri().path() == "/shaky" && asked.len() == 1 {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    Json(json!({ "hello": "world" })).into_response()
}

impl World {
    pub async fn open(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/v1/traces", post(take)).fallback(any(answer)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    pub fn spans(&self) -> Vec<Seen> {
        self.spans.lock().expect("not poisoned").clone()
    }

    /// Returns the traceparents that the upstream was sent.
    fn parents(&self) -> Vec<Option<String>> {
        let asked = self.asked.lock().expect("not poisoned");
        let read = |headers: &HeaderMap| Some(headers.get("traceparent")?.to_str().expect("text").to_owned());
        asked.iter().map(read).collect()
    }

    /// Returns the one span that a condition holds for.
    fn one(&self, what: &str, is: impl Fn(&Seen) -> bool) -> Seen {
        let mut found: Vec<Seen> = self.spans().into_iter().filter(is).collect();
        assert_eq!(found.len(), 1, "{what}: {:#?}", self.spans());
        found.remove(0)
    }
}

pub(crate) async fn start(
    database: &Database,
    folder: &TempDir,
    name: &str,
    roles: &[&str],
    change: impl FnOnce(&mut Config),
) -> Running {
    let mut config = Config {
        data_dir: folder.path().to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        store: database.config.clone(),
        cluster: Cluster { secret: SECRET.to_owned() },
        master_key: "5a".repeat(32),
        ..Config::default()
    };
    config.server.listen = "127.0.0.1:0".parse().expect("an address");
    config.server.cores = 1;
    config.telemetry.service_name = name.to_owned();
    change(&mut config);
    serve::start(&config).await.expect("it starts")
}

fn declare(folder: &TempDir, upstream: SocketAddr) -> std::path::PathBuf {
    let file = folder.path().join("gateway.toml");
    let text = format!(
        r#"
        [upstreams.world]
        servers = ["http://{upstream}"]
        [compositions.both]
        timeout_ms = 10000
        [compositions.both.parts.items]
        path = "/api/inventory?limit=1"
        [compositions.both.parts.hello]
        path = "/hello"
        [[routes]]
        path = "/both"
        methods = ["GET"]
        composition = "both"
        access = "signed_in"
        [[routes]]
        path = "/hello"
        methods = ["GET"]
        upstream = "world"
        access = "public"
        [[routes]]
        path = "/shaky"
        methods = ["GET"]
        upstream = "world"
        access = "public"
        retry = true
        "#
    );
    std::fs::write(&file, text).expect("a file");
    file
}

pub(crate) const SERVER: i32 = 2;
pub(crate) const CLIENT: i32 = 3;
pub(crate) const INTERNAL: i32 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn one_request_through_two_processes_and_an_upstream_is_one_trace() {
    if testkit::postgres_url().is_none() {
        return;
    }
    let (database, world) = (Database::new(store::Engine::Postgres).await, World::default());
    let at = world.open().await;
    let folders: Vec<TempDir> = (0..2).map(|_| TempDir::new().expect("a folder")).collect();
    let traced = |config: &mut Config| config.telemetry.endpoint = format!("http://{at}");
    let part = start(&database, &folders[0], "part", &["inventory"], traced).await;
    let others = portico::services::described().into_iter().map(|service| service.name);
    let roles: Vec<&str> = others.filter(|name| *name != "inventory").chain(["gateway"]).collect();
    let front = start(&database, &folders[1], "front", &roles, |config| {
        traced(config);
        config.gateway.file = declare(&folders[1], at);
        let upstream = Upstream { url: format!("http://{}", part.address()), plain: false };
        config.upstreams.insert("inventory".to_owned(), upstream);
    });
    let front = front.await;
    let code = match (&front.first_start, &part.first_start) {
        (Some(first), _) | (None, Some(first)) => first.sign_in.code.clone(),
        (None, None) => panic!("somebody started first"),
    };
    let base = format!("http://{}", front.address());
    let (status, signed_in) = call(&base, Method::POST, "/api/auth/login", &[], Some(json!({ "code": code }))).await;
    assert_eq!(status, 200, "{signed_in}");
    let bearer = format!("Bearer {}", signed_in["accessToken"].as_str().expect("a token"));
    assert!(world.spans().is_empty(), "nobody asked for a trace yet");

    let headers = [("authorization", bearer.as_str()), ("traceparent", PARENT), ("tracestate", "vendor=1,other=2")];
    let (status, body) = call(&base, Method::GET, "/both", &headers, None).await;
    assert_eq!(status, 200, "{body}");
    front.stop().await;
    part.stop().await;

    let spans = world.spans();
    assert!(spans.iter().all(|span| span.trace == PARENT[3..35]), "{spans:#?}");
    let door = world.one("the gateway's span", |span| span.process == "front" && span.kind == SERVER);
    assert_eq!((door.name.as_str(), door.parent.as_str()), ("GET /both", &PARENT[36..52]));
    let of_upstream = |name: &'static str| {
        move |span: &Seen| {
            span.kind == CLIENT && span.attributes.get("portico.upstream").is_some_and(|upstream| upstream == name)
        }
    };
    let to_part = world.one("the call to the service", of_upstream("inventory"));
    let to_world = world.one("the call to the upstream", of_upstream("world"));
    assert_eq!((&to_part.parent, &to_world.parent), (&door.id, &door.id));
    let at_part = world.one("the service process's span", |span| span.process == "part" && span.kind == SERVER);
    assert_eq!((at_part.name.as_str(), &at_part.parent), ("GET /api/inventory", &to_part.id));
    let service = world.one("the service's span", |span| span.kind == INTERNAL);
    assert_eq!((service.process.as_str(), &service.parent), ("part", &at_part.id));
    assert_eq!(spans.len(), 5);
    // Each lies within the one that caused it.
    for (inner, outer) in [(&to_part, &door), (&to_world, &door), (&at_part, &to_part), (&service, &at_part)] {
        assert!(outer.start <= inner.start, "{inner:?} begins before {outer:?}");
    }
    for (inner, outer) in [(&to_part, &door), (&to_world, &door), (&service, &at_part)] {
        assert!(inner.end <= outer.end + 1_000_000, "{inner:?} ends after {outer:?}");
    }
    // What is not ours is told the span that it was called from, and the state as it was.
    assert_eq!(world.parents(), [Some(format!("00-{}-{}-01", to_world.trace, to_world.id))]);
    assert_eq!(world.asked.lock().expect("not poisoned")[0]["tracestate"], "vendor=1,other=2");
    for (span, key, value) in [
        (&door, "http.route", "/both"),
        (&door, "http.response.status_code", "200"),
        (&door, "client.address", "127.0.0.1"),
        (&to_world, "server.address", "127.0.0.1"),
        (&to_world, "server.port", &at.port().to_string()),
        (&to_world, "url.full", &format!("http://{at}/hello")),
        (&at_part, "http.route", "/api/inventory"),
    ] {
        assert_eq!(span.attributes.get(key).map(String::as_str), Some(value), "{key}: {span:?}");
    }
    assert_eq!(door.attributes["tenant.id"], at_part.attributes["tenant.id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_replaced_and_each_attempt_is_a_span() {
    let (database, world) = (Database::new(store::Engine::Sqlite).await, World::default());
    let (at, folder) = (world.open().await, TempDir::new().expect("a folder"));
    let whole = start(&database, &folder, "whole", &["all"], |config| {
        config.telemetry.endpoint = format!("http://{at}");
        config.telemetry.traces_sampled = 1.0;
        config.gateway.file = declare(&folder, at);
    });
    let whole = whole.await;
    let base = format!("http://{}", whole.address());
    let garbage = [("traceparent", "00-GARBAGE-GARBAGE-01"), ("tracestate", "vendor=1")];
    let (status, body) = call(&base, Method::GET, "/shaky", &garbage, None).await;
    assert_eq!((status, &body["hello"]), (200, &json!("world")));
    let unsampled = PARENT.replace("-01", "-00");
    let (status, _) =
        call(&base, Method::GET, "/hello", &[("traceparent", &unsampled), ("tracestate", "a=1")], None).await;
    assert_eq!(status, 200);
    whole.stop().await;

    let door = world.one("the gateway's span", |span| span.kind == SERVER && span.name == "GET /shaky");
    assert_eq!(door.parent, "");
    let mut calls: Vec<Seen> = world.spans().into_iter().filter(|span| span.kind == CLIENT).collect();
    calls.sort_by_key(|span| span.start);
    assert!(
        calls.len() == 2 && calls.iter().all(|span| span.parent == door.id && span.trace == door.trace),
        "{calls:#?}"
    );
    assert_eq!(calls[0].attributes.get("error.type").map(String::as_str), Some("503"));
    assert_eq!(calls[0].attributes.get("http.request.resend_count"), None);
    assert_eq!(calls[1].attributes.get("http.request.resend_count").map(String::as_str), Some("1"));
    let sent = |span: &Seen| Some(format!("00-{}-{}-03", span.trace, span.id));
    assert_eq!(
        world.parents(),
        [sent(&calls[0]), sent(&calls[1]), Some(unsampled)],
        "what is not recorded goes on as it came"
    );
    let asked = world.asked.lock().expect("not poisoned");
    assert_eq!([asked[0].get("tracestate"), asked[1].get("tracestate")], [None, None], "it belonged to the garbage");
    assert_eq!(asked[2]["tracestate"], "a=1");
}
