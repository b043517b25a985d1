//! Declared sagas through the whole process: all steps happen, or what did is taken back, each call under one
//! key however often it is made. The engine's own crashes are tested where it is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router, routing};
use http::{Method, StatusCode};
use portico::config::Config;
use portico::serve::{self, Running};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::split::call;

/// An upstream that keeps Idempotency-Keys, and what it was asked.
#[derive(Clone, Default)]
struct Shop {
    asked: Arc<Mutex<Vec<(String, String)>>>,
    /// How many more calls are answered 503 after they were done.
    lost: Arc<Mutex<usize>>,
}

impl Shop {
    fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().expect("not poisoned").clone()
    }

    /// Returns what was done, each thing once.
    fn done(&self) -> Vec<String> {
        let mut done = Vec::new();
        for (what, _) in self.asked() {
            if !done.contains(&what) {
                done.push(what);
            }
        }
        done
    }
}

async fn shop(State(shop): State<Shop>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 16).await.expect("a body");
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let key = parts.headers["idempotency-key"].to_str().expect("a key").to_owned();
    assert!(parts.headers["x-tenant-id"].to_str().is_ok_and(|tenant| tenant.starts_with("ten_")));
    let what = format!("{} {} {body}", parts.method, parts.uri.path());
    shop.asked.lock().expect("not poisoned").push((what, key));
    let mut lost = shop.lost.lock().expect("not poisoned");
    if *lost > 0 {
        *lost -= 1;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match parts.uri.path() {
        "/payments" if body["card"] == "refused" => {
            (StatusCode::PAYMENT_REQUIRED, Json(json!({ "detail": "the card was refused" }))).into_response()
        }
        "/reservations" => Json(json!({ "id": "r 1" })).into_response(),
        _ => Json(json!({ "id": 7 })).into_response(),
    }
}

const FILE: &str = r#"
[upstreams.shop]
servers = ["http://SHOP"]
[sagas.order]
path = "/shop/orders"
[[sagas.order.steps]]
name = "reserve"
upstream = "shop"
do = { method = "POST", path = "/reservations", body = { item = "{input/item}" } }
undo = { method = "DELETE", path = "/reservations/{reserve/id}" }
[[sagas.order.steps]]
name = "pay"
upstream = "shop"
do = { method = "POST", path = "/payments", body = { reservation = "{reserve/id}", card = "{input/card}" } }
"#;

struct House {
    running: Running,
    shop: Shop,
    bearer: String,
    _folder: TempDir,
}

impl House {
    async fn open() -> Self {
        let shop_state = Shop::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(routing::any(shop)).with_state(shop_state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, FILE.replace("SHOP", &address.to_string())).expect("written");
        let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
        config.store.url = format!("sqlite:{}", config.data_dir.join("portico.db").display());
        config.server.listen = "127.0.0.1:0".parse().expect("an address");
        config.server.cores = 1;
        config.gateway.file = file;
        let running = serve::start(&config).await.expect("it starts");
        let code = running.first_start.as_ref().expect("a first start").sign_in.code.clone();
        let base = format!("http://{}", running.address());
        let (_, signed_in) = call(&base, Method::POST, "/api/auth/login", &[], Some(json!({ "code": code }))).await;
        let bearer = format!("Bearer {}", signed_in["accessToken"].as_str().expect("a token"));
        Self { running, shop: shop_state, bearer, _folder: folder }
    }

    async fn call(&self, method: Method, path: &str, key: &str, body: Option<Value>) -> (u16, Value) {
        let base = format!("http://{}", self.running.address());
        let headers = [("authorization", self.bearer.as_str()), ("idempotency-key", key)];
        let headers = if key.is_empty() { &headers[..1] } else { &headers[..] };
        call(&base, method, path, headers, body).await
    }

    /// Starts an order, and waits for its end.
    async fn order(&self, key: &str, card: &str) -> Value {
        let body = json!({ "item": "a", "card": card });
        let (status, started) = self.call(Method::POST, "/shop/orders", key, Some(body)).await;
        assert_eq!(status, 202, "{started}");
        let path = format!("/api/tasks/{}", started["taskId"].as_str().expect("a task"));
        for _ in 0..600 {
            let (_, task) = self.call(Method::GET, &path, "", None).await;
            if ["done", "failed"].contains(&task["state"].as_str().or(task["status"].as_str()).unwrap_or_default()) {
                return task;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the order did not end: {:?}", self.call(Method::GET, &path, "", None).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_steps_happen_once_or_are_taken_back() {
    let house = House::open().await;
    let (status, _) =
        call(&format!("http://{}", house.running.address()), Method::POST, "/shop/orders", &[], Some(json!({}))).await;
    assert_eq!(status, 401);
    // The first two answers are lost: the calls are made again, under the same keys.
    *house.shop.lost.lock().expect("not poisoned") = 1;
    house.order("key-1", "good").await;
    let done = house.shop.done();
    let reserve = "POST /reservations {\"item\":\"a\"}";
    assert_eq!(done, [reserve, "POST /payments {\"card\":\"good\",\"reservation\":\"r 1\"}"]);
    let asked = house.shop.asked();
    let keys: Vec<&String> = asked.iter().filter(|(what, _)| what == reserve).map(|(_, key)| key).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1], "{asked:?}");
    // The same request again starts nothing.
    let before = house.shop.asked().len();
    house.order("key-1", "good").await;
    assert_eq!(house.shop.asked().len(), before);
    // A step that is refused: what was done is taken back.
    let failed = house.order("key-2", "refused").await;
    assert!(failed.to_string().contains("the card was refused"), "{failed}");
    let last = house.shop.asked().last().map(|(what, _)| what.clone());
    assert_eq!(last.as_deref(), Some("DELETE /reservations/r%201 null"));
    house.running.stop().await;
}
