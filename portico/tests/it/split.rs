//! The split form: a gateway process and a service process over one PostgreSQL, with the caller
//! signed between them; and that a client cannot tell. Both run here, on real ports.

use std::time::Duration;

use http::{Method, Request, header};
use portico::config::{Cluster, Config, Upstream};
use portico::serve::{self, Running};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::Database;

const SECRET: &str = "a cluster secret of more than thirty-two bytes";

async fn start(database: &Database, folder: &TempDir, roles: &[&str], inventory: Option<String>) -> Running {
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
    config.upstreams.extend(inventory.map(|url| ("inventory".to_owned(), Upstream { url, plain: false })));
    serve::start(&config).await.expect("it starts")
}

/// Sends a request, and gives the status and the JSON that came back.
pub(crate) async fn call(
    base: &str,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> (u16, Value) {
    use hyper_util::client::legacy::Client;
    let client: Client<_, axum::body::Body> =
        Client::builder(hyper_util::rt::TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(1)).build_http();
    let mut request = Request::builder().method(method).uri(format!("{base}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = match body {
        Some(body) => {
            request = request.header(header::CONTENT_TYPE, "application/json");
            body.to_string()
        }
        None => String::new(),
    };
    let response = client.request(request.body(body.into()).expect("a request")).await.expect("an answer");
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(axum::body::Body::new(response.into_body()), 1 << 20).await.expect("a body");
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_installation_answers_like_one_process() {
    if testkit::postgres_url().is_none() {
        return;
    }
    let database = Database::new(store::Engine::Postgres).await;
    let folders: Vec<TempDir> = (0..3).map(|_| TempDir::new().expect("a folder")).collect();
    let whole = start(&database, &folders[0], &["all"], None).await;
    let code = whole.first_start.as_ref().expect("a first start").sign_in.code.clone();
    let part = start(&database, &folders[1], &["inventory"], None).await;
    let upstream = format!("http://{}", part.address());
    let others = portico::services::described().into_iter().map(|service| service.name);
    let roles: Vec<&str> = others.filter(|name| *name != "inventory").chain(["gateway"]).collect();
    let front = start(&database, &folders[2], &roles, Some(upstream.clone())).await;
    let (whole_base, front_base) = (format!("http://{}", whole.address()), format!("http://{}", front.address()));

    let (status, signed_in) =
        call(&front_base, Method::POST, "/api/auth/login", &[], Some(json!({ "code": code }))).await;
    assert_eq!(status, 200, "{signed_in}");
    let bearer = format!("Bearer {}", signed_in["accessToken"].as_str().expect("a token"));
    let ids = [("authorization", bearer.as_str()), ("x-request-id", "one-request"), ("x-correlation-id", "one-chain")];

    let body = json!({ "sku": "S-1", "name": "Feed" });
    let (status, made) = call(&front_base, Method::POST, "/api/inventory", &ids, Some(body)).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!((&made["requestId"], &made["correlationId"]), (&json!("one-request"), &json!("one-chain")));
    let item = format!("/api/inventory/{}", made["data"]["id"].as_str().expect("an id"));

    // The same questions through both: only what is measured differs.
    let strip = |mut answer: Value| {
        if let Some(object) = answer.as_object_mut() {
            object.remove("meta");
        }
        answer
    };
    let adjust = format!("{item}/adjust");
    let missing = "/api/inventory/itm_00000000000000000000000000";
    for (method, path, body) in [
        (Method::GET, item.as_str(), None),
        (Method::GET, "/api/inventory?sort=-name", None),
        (Method::GET, "/api/inventory?sort=nothing", None),
        (Method::GET, missing, None),
        (Method::POST, adjust.as_str(), Some(json!({ "delta": -3, "reason": "sold" }))),
        (Method::POST, adjust.as_str(), Some(json!({ "delta": "many" }))),
    ] {
        let local = call(&whole_base, method.clone(), path, &ids, body.clone()).await;
        let remote = call(&front_base, method.clone(), path, &ids, body).await;
        assert_eq!((local.0, strip(local.1)), (remote.0, strip(remote.1)), "{method} {path}");
    }

    // Behind the gateway, nobody is believed without a signature; before it, nobody can bring one.
    let (status, _) = call(&upstream, Method::GET, &item, &ids, None).await;
    assert_eq!(status, 401);
    let forged = [("x-portico-context", "forged.signature")];
    let (status, _) = call(&upstream, Method::GET, &item, &forged, None).await;
    assert_eq!(status, 401);
    let (status, _) = call(&front_base, Method::GET, &item, &forged, None).await;
    assert_eq!(status, 401);

    // A service that is away is said to be away, and the rest goes on.
    part.stop().await;
    let (status, problem) = call(&front_base, Method::GET, &item, &ids, None).await;
    assert_eq!((status, &problem["error"]["code"]), (502, &json!("gateway.upstream_unreachable")));
    let (status, _) = call(&front_base, Method::GET, "/api/auth/me", &ids, None).await;
    assert_eq!(status, 200);
    front.stop().await;
    whole.stop().await;
}
