//! The inventory in one process, its analytics in another, the gateway in a third: that the overview
//! answers, shows its last good figures while analytics is away, and new ones when it is back. All run
//! here, on real ports, over one PostgreSQL.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use portico::config::{Cluster, Config, Upstream};
use portico::serve::{self, Running};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::Database;

use crate::process::until;
use crate::split::call;

const SECRET: &str = "a cluster secret of more than thirty-two bytes";
const OVERVIEW: &str = "/api/inventory/overview";
/// How long another process may take to hear of something.
const LIMIT: Duration = Duration::from_secs(30);

struct Cell<'a> {
    database: &'a Database,
    folders: Vec<TempDir>,
}

impl Cell<'_> {
    async fn start(&mut self, roles: &[&str], listen: SocketAddr, upstreams: &[(&str, SocketAddr)]) -> Running {
        let folder = TempDir::new().expect("a folder");
        let mut config = Config {
            data_dir: folder.path().to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            store: self.database.config.clone(),
            cluster: Cluster { secret: SECRET.to_owned() },
            master_key: "5a".repeat(32),
            ..Config::default()
        };
        config.server.listen = listen;
        config.server.cores = 1;
        for (name, address) in upstreams {
            config.upstreams.insert((*name).to_owned(), Upstream { url: format!("http://{address}"), plain: false });
        }
        self.folders.push(folder);
        serve::start(&config).await.expect("it starts")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_outlives_analytics_and_takes_it_back() {
    if testkit::postgres_url().is_none() {
        return;
    }
    let database = Database::new(store::Engine::Postgres).await;
    let mut cell = Cell { database: &database, folders: Vec::new() };
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let analytics = cell.start(&["analytics"], any, &[]).await;
    let place = analytics.address();
    let inventory = cell.start(&["inventory"], any, &[("analytics", place)]).await;
    let others = portico::services::described().into_iter().map(|service| service.name);
    let roles = others.filter(|name| !matches!(*name, "inventory" | "analytics")).chain(["gateway"]);
    let upstreams = [("inventory", inventory.address()), ("analytics", place)];
    let front = cell.start(&roles.collect::<Vec<_>>(), any, &upstreams).await;
    // Which of them started first made the first user.
    let code = [&analytics, &inventory, &front].into_iter().find_map(|running| running.first_start.as_ref());
    let code = code.expect("a first start").sign_in.code.clone();
    let base = format!("http://{}", front.address());
    let (status, signed_in) = call(&base, Method::POST, "/api/auth/login", &[], Some(json!({ "code": code }))).await;
    assert_eq!(status, 200, "{signed_in}");
    let bearer = format!("Bearer {}", signed_in["accessToken"].as_str().expect("a token"));
    let headers = [("authorization", bearer.as_str()), ("x-request-id", "one-request")];
    let ask = async |path: &str| {
        let (status, answer) = call(&base, Method::GET, path, &headers, None).await;
        (status == 200).then(|| answer["data"].clone())
    };
    // Waits until the overview's figures are as wanted.
    let overview = async |what: &str, wanted: &dyn Fn(&Value) -> bool| {
        until(LIMIT, what, async || ask(OVERVIEW).await.filter(|shown| wanted(&shown["analytics"]))).await
    };
    let create = async |sku: &str| {
        let body = json!({ "sku": sku, "name": "Feed" });
        let (status, made) = call(&base, Method::POST, "/api/inventory", &headers, Some(body)).await;
        assert_eq!(status, 201, "{made}");
    };
    let fresh = |items: i64| move |shown: &Value| shown["stale"] == false && shown["data"]["liveItems"] == items;

    create("A").await;
    let shown = overview("figures of one item", &fresh(1)).await;
    assert_eq!(shown["items"], 1);
    // What the gateway is told and what the inventory is told is the same.
    let told = ask("/api/analytics/inventory/summary").await.expect("figures");
    assert_eq!(shown["analytics"]["data"], told);
    let (status, _) =
        call(&format!("http://{place}"), Method::GET, "/api/analytics/inventory/summary", &headers, None).await;
    assert_eq!(status, 401, "nobody else may ask it");

    analytics.stop().await;
    create("B").await;
    let stale = ask(OVERVIEW).await.expect("an answer without analytics");
    assert_eq!((&stale["analytics"]["stale"], &stale["analytics"]["data"]), (&json!(true), &told));
    assert_eq!(stale["items"], 2, "what the inventory knows itself is of now");
    let (status, _) = call(&base, Method::GET, "/api/analytics/inventory/summary", &headers, None).await;
    assert_eq!(status, 502);

    let analytics = cell.start(&["analytics"], place, &[("inventory", inventory.address())]).await;
    overview("figures of two items", &fresh(2)).await;
    front.stop().await;
    inventory.stop().await;
    analytics.stop().await;
}
