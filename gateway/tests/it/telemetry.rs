//! What a door leaves behind of requests: series of metrics, whose number no client can raise, and a line in
//! the access log. Traces through processes are tested where there are processes.

use std::io::Write;

use tracing_subscriber::EnvFilter;

use super::*;

async fn send(door: &Door, method: &str, path: &str) -> u16 {
    let mut request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
    let peer = SocketAddr::from(([203, 0, 113, 9], 4_711));
    request.extensions_mut().insert(PeerAddress(peer));
    door.handle(request).await.status().as_u16()
}

fn stand() -> (Stand, Door) {
    let (metrics, clock) = (Metrics::default(), Clock::system());
    let cache = Arc::new(TokenCache::new(TokenCacheConfig::default(), clock.clone(), &metrics));
    let gate = Gate { cache, authenticate: Arc::new(Tokens::default()) };
    let never = || async { web::Result::<()>::Ok(()) };
    let service = Service::new("probe", "Says what it was told").routes([
        Operation::get("/public", "probe_public", never).access(Access::Public),
        Operation::get("/items/{id}", "probe_item", never).access(Access::Public),
    ]);
    let router = Router::new().fallback(routing::any(|| async { "told" }));
    let mut stand = Stand::new(service, router, Entry::Public(gate), &clock, metrics);
    stand.declared = "[[routes]]\npath = \"/fixed/{*rest}\"\naccess = \"public\"\n\
        [routes.respond]\nstatus = 200\nbody = \"ok\"\n"
        .to_owned();
    let door = stand.door(&Rc::new(Core::new(1))).expect("a door");
    (stand, door)
}

fn series(stand: &Stand) -> Vec<String> {
    let text = stand.metrics.text().expect("metrics");
    let named = text.lines().filter(|line| !line.starts_with('#'));
    named.filter_map(|line| line.rsplit_once(' ').map(|(name, _)| name.to_owned())).collect()
}

#[tokio::test]
async fn no_path_and_no_method_of_a_client_makes_a_series() {
    let (stand, door) = stand();
    for (method, path) in [("GET", "/public"), ("GET", "/items/1"), ("GET", "/fixed/a"), ("GET", "/nowhere")] {
        send(&door, method, path).await;
    }
    let before = series(&stand);
    let mut seed = 4_711_u64;
    for number in 0..20_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = seed >> 16;
        let (method, path) = match number % 5 {
            0 => ("GET".to_owned(), format!("/items/{random:x}")),
            1 => ("GET".to_owned(), format!("/fixed/{random:x}/{number}")),
            2 => ("POST".to_owned(), format!("/{random:x}")),
            3 => (format!("M{random:X}"), "/items/7".to_owned()),
            _ => (format!("M{random:X}"), format!("/fixed/{random:x}?q={number}")),
        };
        send(&door, &method, &path).await;
    }
    assert_eq!(series(&stand), before);
    let unmatched = "portico_http_requests_total{service=\"-\",method=\"any\",route=\"-\",status=\"4xx\"}";
    let text = stand.metrics.text().expect("metrics");
    let line = text.lines().find(|line| line.starts_with(unmatched)).expect("what matches nothing is counted");
    assert_eq!(line.rsplit(' ').next(), Some("8001"), "4,000 unknown paths, 4,000 methods, and one before");
}

#[tokio::test]
async fn what_lasts_in_a_gateway_is_in_the_metrics() {
    let (stand, _door) = stand();
    let text = stand.metrics.text().expect("metrics");
    for name in [
        "portico_sockets_open 0",
        "portico_sockets_ended_total{reason=\"client_closed\"} 0",
        "portico_socket_bytes_total{from=\"origin\"} 0",
        "# TYPE portico_issuer_keys gauge",
        "# TYPE portico_discovery_servers gauge",
        "portico_cache_requests_total{outcome=\"hit\"} 0",
        "portico_token_cache_entries 0",
    ] {
        assert!(text.lines().any(|line| line == name), "{name} is not in {text}");
    }
}

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns the lines that a filter leaves of three requests.
async fn logged(filter: &str) -> Vec<Value> {
    let page = Page::default();
    let lines = page.clone();
    let filter: EnvFilter = filter.parse().expect("a filter");
    let builder = tracing_subscriber::fmt().with_env_filter(filter).json().flatten_event(true);
    let _guard = tracing::subscriber::set_default(builder.with_writer(move || lines.clone()).finish());
    let (_stand, door) = stand();
    for (method, path) in [("GET", "/items/7?secret=hush"), ("BREW", "/nowhere"), ("GET", "/fixed/a")] {
        send(&door, method, path).await;
    }
    let written = String::from_utf8(page.0.lock().expect("not poisoned").clone()).expect("text");
    assert!(!written.contains("hush"), "{written}");
    let all = written.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    all.filter(|line| line["target"] == "access").collect()
}

#[tokio::test]
async fn each_request_has_a_line_in_the_access_log_unless_it_is_off() {
    let lines = logged("info").await;
    assert_eq!(lines.len(), 3, "{lines:?}");
    let (known, unknown, fixed) = (&lines[0], &lines[1], &lines[2]);
    for (field, value) in [
        ("message", json!("request answered")),
        ("http.request.method", json!("GET")),
        ("http.route", json!("/items/{id}")),
        ("http.response.status_code", json!(200)),
        ("http.response.body.size", json!(4)),
        ("client.address", json!("203.0.113.9")),
    ] {
        assert_eq!(known[field], value, "{field}: {known}");
    }
    assert!(known["duration_ms"].is_u64() && known["request.id"].is_string() && known["correlation.id"].is_string());
    for absent in ["upstream.name", "cache.outcome", "http.request.resend_count", "tenant.id", "trace_id"] {
        assert!(known.get(absent).is_none(), "{absent}: {known}");
    }
    assert_eq!((&unknown["http.request.method"], &unknown["http.route"]), (&json!("BREW"), &json!("-")));
    assert_eq!(unknown["http.response.status_code"], 404);
    assert_eq!(fixed["http.route"], "/fixed/{*rest}");
    assert_eq!(logged("info,access=off").await, Vec::<Value>::new());
    assert_eq!(logged("warn").await, Vec::<Value>::new());
}
