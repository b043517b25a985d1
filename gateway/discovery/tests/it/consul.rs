//! Consul as its documentation says: blocking queries with an index, an index that is reset, an agent
//! that forgets. It is played by a server of the tests; no real one was there.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use discovery::{Config, Consul, Register, RegisterConsul, Registration, Secret};
use fixtures::eventually;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::support::{becomes, short, start};

#[derive(Default)]
struct Agent {
    index: Option<u64>,
    services: BTreeMap<String, Value>,
    /// The queries of those who asked, and their tokens.
    asked: Vec<HashMap<String, String>>,
    tokens: Vec<String>,
    passes: usize,
    broken: Option<(StatusCode, String)>,
}

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    agent: Arc<Mutex<Agent>>,
    news: watch::Sender<u64>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let agent = Agent { index: Some(1), ..Agent::default() };
        let server = Self { address, agent: Arc::new(Mutex::new(agent)), news: watch::Sender::new(0) };
        let router = Router::new()
            .route("/v1/health/service/{name}", get(health))
            .route("/v1/agent/service/register", put(register))
            .route("/v1/agent/check/pass/{check}", put(pass))
            .route("/v1/agent/service/deregister/{id}", put(deregister))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    /// Changes something; those who wait are answered.
    fn change(&self, change: impl FnOnce(&mut Agent)) {
        change(&mut self.agent.lock().expect("not poisoned"));
        self.news.send_modify(|count| *count += 1);
    }

    fn add(&self, id: &str, address: &str, port: u16, weight: u32) {
        let service = json!({ "ID": id, "Name": "items", "Address": address, "Port": port,
                              "Weights": { "Passing": weight, "Warning": 1 } });
        self.change(|agent| {
            agent.services.insert(id.to_owned(), service);
            agent.index = agent.index.map(|index| index + 1);
        });
    }

    fn look<T>(&self, look: impl FnOnce(&Agent) -> T) -> T {
        look(&self.agent.lock().expect("not poisoned"))
    }

    fn config(&self) -> Consul {
        let address = format!("http://{}", self.address);
        Consul { address, service: "items".into(), token: Secret("hush".into()), ..Consul::default() }
    }

    fn register(&self, id: &str) -> RegisterConsul {
        RegisterConsul {
            address: format!("http://{}", self.address),
            service: "items".into(),
            id: id.into(),
            host: "10.0.0.9".into(),
            port: 80,
            weight: 4,
            check_seconds: 3,
            ..RegisterConsul::default()
        }
    }
}

async fn health(
    State(server): State<Server>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let mut news = server.news.subscribe();
    let waits = {
        let mut agent = server.agent.lock().expect("not poisoned");
        agent.asked.push(query.clone());
        agent.tokens.extend(headers.get("x-consul-token").map(|token| token.to_str().expect("text").to_owned()));
        query
            .get("index")
            .map(|index| index.parse::<u64>().expect("an index"))
            .filter(|index| agent.index == Some(*index))
    };
    if let Some(index) = waits {
        let wait: u64 = query["wait"].trim_end_matches("ms").parse().expect("milliseconds");
        let changed = async {
            while server.look(|agent| agent.index == Some(index) && agent.broken.is_none()) {
                news.changed().await.expect("the server lives");
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(wait), changed).await;
    }
    let agent = server.agent.lock().expect("not poisoned");
    if let Some((status, body)) = &agent.broken {
        return (*status, body.clone()).into_response();
    }
    let mut entries = Vec::new();
    for service in agent.services.values().filter(|service| service["Name"] == name) {
        entries.push(json!({ "Node": { "Address": "10.9.9.9" }, "Service": service, "Checks": [] }));
    }
    let mut response = axum::Json(entries).into_response();
    if let Some(index) = agent.index {
        response.headers_mut().insert("x-consul-index", index.into());
    }
    response
}

async fn register(State(server): State<Server>, axum::Json(service): axum::Json<Value>) -> Response {
    if let Some((status, body)) = server.look(|agent| agent.broken.clone()) {
        return (status, body).into_response();
    }
    assert_eq!(service["Check"]["TTL"], "3s");
    assert_eq!(service["Check"]["DeregisterCriticalServiceAfter"], "90s");
    let id = service["ID"].as_str().expect("an id").to_owned();
    server.change(|agent| {
        agent.services.insert(id, service);
        agent.index = agent.index.map(|index| index + 1);
    });
    StatusCode::OK.into_response()
}

async fn pass(State(server): State<Server>, Path(check): Path<String>) -> Response {
    let id = check.strip_prefix("service:").expect("a service's check");
    let mut agent = server.agent.lock().expect("not poisoned");
    agent.passes += 1;
    if agent.services.contains_key(id) {
        return StatusCode::OK.into_response();
    }
    (StatusCode::NOT_FOUND, format!("Unknown check ID \"{check}\"")).into_response()
}

async fn deregister(State(server): State<Server>, Path(id): Path<String>) -> Response {
    let known = server.look(|agent| agent.services.contains_key(&id));
    server.change(|agent| {
        agent.services.remove(&id);
        agent.index = agent.index.map(|index| index + 1);
    });
    if known { StatusCode::OK.into_response() } else { StatusCode::NOT_FOUND.into_response() }
}

#[tokio::test]
async fn news_come_as_they_happen() {
    let server = Server::start().await;
    server.add("a", "10.0.0.1", 80, 3);
    let guard = start(&Config::Consul(Consul { tag: "v 1".into(), datacenter: "dc1".into(), ..server.config() }));
    becomes(&guard, "10.0.0.1:80*3").await;
    server.add("b", "", 81, 0);
    becomes(&guard, "10.0.0.1:80*3 10.9.9.9:81*1").await;
    server.change(|agent| {
        agent.services.clear();
        agent.index = agent.index.map(|index| index + 1);
    });
    becomes(&guard, "").await;
    let asked = server.look(|agent| agent.asked.clone());
    assert!(asked.iter().all(|query| query["passing"] == "true" && query["tag"] == "v 1" && query["dc"] == "dc1"));
    assert_eq!(asked[0].get("index"), None, "the first does not wait");
    assert_eq!(asked[1]["index"], "2");
    assert_eq!(asked[1]["wait"], "60000ms");
    assert!(server.look(|agent| agent.tokens.iter().all(|token| token == "hush") && !agent.tokens.is_empty()));
    assert!(asked.len() <= 4, "who waits does not ask: {}", asked.len());
    assert_eq!(guard.state().failures, 0);
}

#[tokio::test]
async fn an_index_that_goes_backwards_begins_anew() {
    let server = Server::start().await;
    server.change(|agent| agent.index = Some(1_000));
    server.add("a", "10.0.0.1", 80, 1);
    let guard = start(&Config::Consul(server.config()));
    becomes(&guard, "10.0.0.1:80*1").await;
    // The agent was restored from an old snapshot.
    server.change(|agent| agent.index = Some(4));
    let queries =
        || server.look(|agent| agent.asked.iter().map(|query| query.get("index").cloned()).collect::<Vec<_>>());
    let expected = [None, Some("1001".to_owned()), None, Some("4".to_owned())];
    eventually("a question from the beginning", async || queries() == expected).await;
    server.add("b", "10.0.0.2", 80, 1);
    becomes(&guard, "10.0.0.1:80*1 10.0.0.2:80*1").await;
}

#[tokio::test]
async fn a_wait_that_ends_without_news_is_no_failure() {
    let server = Server::start().await;
    server.add("a", "10.0.0.1", 80, 1);
    let guard = start(&Config::Consul(Consul { wait_ms: 20, ..server.config() }));
    eventually("five questions", async || server.look(|agent| agent.asked.len()) >= 5).await;
    assert_eq!((guard.state().failures, guard.state().changes), (0, 1));
}

#[tokio::test]
async fn what_is_no_answer_keeps_the_list() {
    let server = Server::start().await;
    server.add("a", "10.0.0.1", 80, 1);
    let guard = start(&Config::Consul(server.config()));
    becomes(&guard, "10.0.0.1:80*1").await;
    for (status, body) in [
        (StatusCode::INTERNAL_SERVER_ERROR, "rpc error: No cluster leader"),
        (StatusCode::FORBIDDEN, "Permission denied"),
        (StatusCode::OK, "<html>"),
        (StatusCode::OK, "{}"),
        (StatusCode::NO_CONTENT, ""),
    ] {
        let failures = guard.state().failures;
        server.change(|agent| agent.broken = Some((status, body.to_owned())));
        eventually("a failure", async || guard.state().failures > failures).await;
        assert_eq!(short(&guard.endpoints()), "10.0.0.1:80*1");
    }
    server.change(|agent| agent.broken = None);
    eventually("it is well again", async || guard.state().failing.is_none()).await;
    let keeping = start(&Config::Consul(Consul { keep_last_when_empty: true, ..server.config() }));
    becomes(&keeping, "10.0.0.1:80*1").await;
    server.change(|agent| {
        agent.services.clear();
        agent.index = agent.index.map(|index| index + 1);
    });
    becomes(&guard, "").await;
    eventually("it is kept", async || keeping.state().kept_though_empty).await;
    assert_eq!(short(&keeping.endpoints()), "10.0.0.1:80*1");
}

#[tokio::test]
async fn without_an_index_nobody_is_asked_all_the_time() {
    let server = Server::start().await;
    server.change(|agent| agent.index = None);
    server.change(|agent| {
        agent.services.insert("a".into(), json!({ "Name": "items", "Address": "10.0.0.1", "Port": 80 }));
    });
    let (first, second) = (start(&Config::Consul(server.config())), Server::start().await);
    becomes(&first, "10.0.0.1:80*1").await;
    let witness = start(&Config::Consul(Consul { wait_ms: 1, ..second.config() }));
    eventually("time has passed", async || second.look(|agent| agent.asked.len()) >= 10).await;
    assert_eq!(server.look(|agent| agent.asked.len()), 1);
    drop(witness);
}

#[tokio::test]
async fn who_registers_is_found_until_it_stops_and_is_not_forgotten() {
    let server = Server::start().await;
    let guard = start(&Config::Consul(server.config()));
    server.change(|agent| agent.broken = Some((StatusCode::INTERNAL_SERVER_ERROR, "no leader".into())));
    let config = Register::Consul(server.register("one/1"));
    let one = Registration::start(&config, &Handle::current()).expect("started");
    eventually("a failure", async || guard.state().failing.is_some()).await;
    server.change(|agent| agent.broken = None);
    becomes(&guard, "10.0.0.9:80*4").await;
    eventually("it says so again", async || server.look(|agent| agent.passes) >= 2).await;
    // The agent was restarted and has lost everything.
    server.change(|agent| {
        agent.services.clear();
        agent.index = agent.index.map(|index| index + 1);
    });
    becomes(&guard, "").await;
    becomes(&guard, "10.0.0.9:80*4").await;
    one.stop().await;
    assert!(server.look(|agent| agent.services.is_empty()), "gone before `stop` returns");
    becomes(&guard, "").await;
    let two = Registration::start(&config, &Handle::current()).expect("started");
    becomes(&guard, "10.0.0.9:80*4").await;
    drop(two);
    becomes(&guard, "").await;
}
