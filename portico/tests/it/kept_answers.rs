//! Kept answers through the whole process: what shows an item is given again until something happens to that item,
//! wherever it happens. The cache's own rules are tested where they are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing};
use http::Method;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use portico::config::Config;
use portico::serve::{self, Running};
use serde_json::{Value, json};
use store::Engine;
use tempfile::TempDir;
use testkit::Database;

use crate::process::until;
use crate::split::call;

const LIMIT: Duration = Duration::from_secs(20);

const FILE: &str = r#"
[upstreams.pages]
servers = ["http://PAGES"]
[caches.items]
default_ttl_ms = 600000
credentials = "class"
tags = ["inventory.item:{id}"]
[caches.lists]
default_ttl_ms = 600000
credentials = "class"
tags = ["inventory.item"]
[[routes]]
path = "/pages/items/{id}"
methods = ["GET"]
upstream = "pages"
upstream_path = "/api/inventory/{id}"
forward_authorization = true
cache = "items"
[[routes]]
path = "/pages/items"
methods = ["GET"]
upstream = "pages"
upstream_path = "/api/inventory"
forward_authorization = true
cache = "lists"
"#;

/// Somebody's pages over the installation's own API, good for ten minutes as far as they know.
#[derive(Clone, Default)]
struct Pages {
    api: Arc<OnceLock<String>>,
    asked: Arc<AtomicUsize>,
}

async fn page(State(pages): State<Pages>, request: Request) -> Response {
    pages.asked.fetch_add(1, Ordering::SeqCst);
    let base = pages.api.get().expect("the installation runs");
    let bearer = request.headers()[AUTHORIZATION].to_str().expect("text").to_owned();
    let (status, body) = call(base, Method::GET, request.uri().path(), &[("authorization", &bearer)], None).await;
    assert_eq!(status, 200, "{body}");
    ([(CACHE_CONTROL, "max-age=600")], axum::Json(body)).into_response()
}

struct House {
    running: Running,
    _folder: TempDir,
}

impl House {
    async fn open(database: &Database, pages: std::net::SocketAddr) -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, FILE.replace("PAGES", &pages.to_string())).expect("written");
        let mut config = Config {
            data_dir: folder.path().join("data"),
            store: database.config.clone(),
            master_key: "5a".repeat(32),
            ..Config::default()
        };
        config.server.listen = "127.0.0.1:0".parse().expect("an address");
        config.server.cores = 1;
        config.gateway.file = file;
        Self { running: serve::start(&config).await.expect("it starts"), _folder: folder }
    }

    fn base(&self) -> String {
        format!("http://{}", self.running.address())
    }

    /// Returns what is answered, and what the cache says of it.
    async fn get(&self, path: &str, bearer: &str) -> (Value, String) {
        let request = Request::builder().uri(format!("{}{path}", self.base())).header(AUTHORIZATION, bearer);
        let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request.body(Body::empty()).expect("a request")).await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        let told = response.headers().get("cache-status").map_or("", |told| told.to_str().expect("text")).to_owned();
        let bytes = axum::body::to_bytes(Body::new(response.into_body()), 1 << 20).await.expect("a body");
        (serde_json::from_slice(&bytes).expect("JSON"), told)
    }

    async fn create(&self, sku: &str, bearer: &str) -> String {
        let item = json!({ "sku": sku, "name": sku });
        let headers = [("authorization", bearer)];
        let (status, created) = call(&self.base(), Method::POST, "/api/inventory", &headers, Some(item)).await;
        assert_eq!(status, 201, "{created}");
        created["data"]["id"].as_str().expect("an id").to_owned()
    }

    async fn adjust(&self, item: &str, delta: i64, bearer: &str) {
        let path = format!("/api/inventory/{item}/adjust");
        let body = json!({ "delta": delta, "reason": "opening" });
        let headers = [("authorization", bearer)];
        let (status, answer) = call(&self.base(), Method::POST, &path, &headers, Some(body)).await;
        assert!(status < 300, "{status} {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_an_item_takes_the_kept_answers_about_it_along() {
    for engine in testkit::engines() {
        let (database, pages) = (Database::new(engine).await, Pages::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let router = Router::new().fallback(routing::any(page)).with_state(pages.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let house = House::open(&database, at).await;
        pages.api.set(house.base()).expect("once");
        let code = house.running.first_start.as_ref().expect("a first start").sign_in.code.clone();
        let (base, code) = (house.base(), json!({ "code": code }));
        let (_, signed_in) = call(&base, Method::POST, "/api/auth/login", &[], Some(code)).await;
        let bearer = format!("Bearer {}", signed_in["accessToken"].as_str().expect("a token"));
        let (one, other) = (house.create("one", &bearer).await, house.create("other", &bearer).await);
        let (path, beside, list) = (format!("/pages/items/{one}"), format!("/pages/items/{other}"), "/pages/items");

        let asked = || pages.asked.load(Ordering::SeqCst);
        for path in [&path, &beside, list] {
            let (first, told) = house.get(path, &bearer).await;
            assert!(!told.contains("; hit"), "{path}: {told}");
            let (second, told) = house.get(path, &bearer).await;
            assert!(told.contains("; hit") && first == second, "{path}: {told}");
        }
        assert_eq!(asked(), 3, "{engine:?}");
        house.adjust(&one, 5, &bearer).await;
        // At once, and only what shows it.
        let (item, told) = house.get(&path, &bearer).await;
        assert!(item["data"]["quantity"] == 5 && !told.contains("; hit"), "{engine:?} {told}: {item}");
        assert!(house.get(list, &bearer).await.0.to_string().contains("\"quantity\":5"));
        assert!(house.get(&beside, &bearer).await.1.contains("; hit"), "nothing has happened to the other");
        assert_eq!(asked(), 5, "{engine:?}");

        if engine == Engine::Postgres {
            // And what another process changes, as soon as it is in the log.
            let elsewhere = House::open(&database, at).await;
            elsewhere.adjust(&one, 2, &bearer).await;
            let shown = async || (house.get(&path, &bearer).await.0["data"]["quantity"] == 7).then_some(());
            until(LIMIT, "the other process's change to be shown", shown).await;
            elsewhere.running.stop().await;
        }
        house.running.stop().await;
    }
}
