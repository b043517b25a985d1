//! Stopping: a request that reached the server is answered, load balancers are told first, a slow
//! download gets its time and no more, and a restart costs waiting clients no request. Not for
//! kill -9, which `crash` is for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::client::{Answer, Client, Unanswered};
use crate::process::{Installation, Server, until};

/// How long a state may take to be reached.
const LIMIT: Duration = Duration::from_secs(20);

/// What became of the requests of all clients.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicU64,
    /// Never written, because the client saw in time that the server had closed the connection.
    not_sent: AtomicU64,
    /// Written and not answered, or answered with a fault.
    failed: AtomicU64,
}

impl Tally {
    /// Counts an ending; says whether the client may go on with its connection.
    fn count(&self, ended: &Result<Answer, Unanswered>) -> bool {
        let count = match ended {
            Ok(answer) if answer.is_success() => &self.answered,
            Err(Unanswered::NotSent) => &self.not_sent,
            Ok(answer) => {
                println!("answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
                &self.failed
            }
            Err(why) => {
                println!("ended with {why:?}");
                &self.failed
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        ended.is_ok()
    }

    fn read(&self) -> (u64, u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.answered), read(&self.not_sent), read(&self.failed))
    }
}

/// Sends the n-th request of a client: changes and reads in turn.
async fn nth(connection: &mut Client, client: usize, number: usize) -> Result<Answer, Unanswered> {
    if number % 3 == 2 {
        let request = connection.request(Method::GET, "/api/inventory?limit=5");
        return connection.send(request, None).await;
    }
    let key = format!("s{client}-{number}");
    let request = connection.request(Method::POST, "/api/inventory").header("idempotency-key", &key);
    connection.send(request, Some(&json!({ "sku": key, "name": key }))).await
}

/// Works over one connection until the server closes it.
async fn keep_alive(address: SocketAddr, token: Arc<str>, client: usize, tally: Arc<Tally>) {
    let Ok(mut connection) = Client::connect(address, Some(token)).await else {
        return;
    };
    for number in 0.. {
        let ended = nth(&mut connection, client, number).await;
        if !tally.count(&ended) {
            return;
        }
    }
}

/// Works with a new connection for every request, as long as it is told that the server is ready.
async fn new_connections(address: SocketAddr, token: Arc<str>, client: usize, tally: Arc<Tally>) {
    for number in 0.. {
        let Ok(mut probe) = Client::connect(address, None).await else {
            return;
        };
        let request = probe.request(Method::GET, "/health/ready");
        let ready = probe.send(request, None).await;
        if !ready.is_ok_and(|answer| answer.status == 200) {
            return;
        }
        let Ok(mut connection) = Client::connect(address, Some(token.clone())).await else {
            return;
        };
        let ended = nth(&mut connection, client, number).await;
        tally.count(&ended);
    }
}

async fn is_refused(address: SocketAddr) -> bool {
    tokio::net::TcpStream::connect(address).await.is_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_that_arrived_before_the_end_is_answered() {
    for round in 0..10 {
        let installation = Installation::new().set("server.drain_notice_ms", "100");
        let mut server = installation.start().await;
        let (token, tally) = (server.sign_in().await, Arc::new(Tally::default()));
        let mut clients = JoinSet::new();
        for client in 0..6 {
            clients.spawn(keep_alive(server.address, token.clone(), client, tally.clone()));
        }
        for client in 6..8 {
            clients.spawn(new_connections(server.address, token.clone(), client, tally.clone()));
        }
        let enough = 40 + round * 7;
        until(LIMIT, "the load", async || (tally.read().0 >= enough).then_some(())).await;
        server.terminate();
        let stopping = Instant::now();
        clients.join_all().await;
        let status = server.ended().await;
        assert!(status.success(), "{status}: {}", server.said());
        let (answered, not_sent, failed) = tally.read();
        println!(
            "drain: {answered} answered, {not_sent} not sent, {failed} failed, stopped in {} ms",
            stopping.elapsed().as_millis()
        );
        assert_eq!(failed, 0, "round {round}");
    }
}

#[tokio::test]
async fn load_balancers_are_told_before_the_door_closes() {
    let installation = Installation::new().set("server.drain_notice_ms", "700");
    let mut server = installation.start().await;
    let token = server.sign_in().await;
    let mut idle = server.connect(Some(&token)).await;
    idle.get("/health/ready").await.expect(200);
    server.terminate();
    let told = Instant::now();
    let mut probe = server.connect(None).await;
    until(LIMIT, "readiness to say no", async || {
        let answer = probe.get("/health/ready").await;
        (answer.status == 503).then(|| assert_eq!(answer.json(), json!({ "status": "not_ready" })))
    })
    .await;
    // It is alive, takes new connections and works.
    let mut late = server.connect(Some(&token)).await;
    late.get("/health/live").await.expect(200);
    late.post("/api/inventory", &json!({ "sku": "late", "name": "Late" })).await.expect(201);
    assert_eq!(server.try_wait(), None);
    let status = server.ended().await;
    assert!(status.success(), "{status}: {}", server.said());
    assert!(told.elapsed() >= Duration::from_millis(700), "{:?}", told.elapsed());
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
}

/// Fills the inventory with more than the buffers of a connection hold.
async fn fill(server: &Server, token: &Arc<str>) -> usize {
    let (clients, each) = (8, 150);
    let description = "€".repeat(2000);
    let mut filling = JoinSet::new();
    for client in 0..clients {
        let (mut connection, description) = (server.connect(Some(token)).await, description.clone());
        filling.spawn(async move {
            for number in 0..each {
                let name = format!("f{client}-{number}");
                let item = json!({ "sku": name, "name": name, "description": description });
                connection.post("/api/inventory", &item).await.expect(201);
            }
        });
    }
    filling.join_all().await;
    clients * each
}

/// Starts a download over a connection that takes little at a time.
async fn begin_export(server: &Server, token: &Arc<str>) -> http::Response<hyper::body::Incoming> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let stream = socket.connect(server.address).await.expect("the server accepts");
    let client = Client::over(stream, server.address, Some(token.clone())).await;
    let mut client = client.expect("a connection");
    let request = client.request(Method::GET, "/api/inventory/export/inventory");
    let response = client.begin(request, None).await.expect("an answer");
    assert_eq!(response.status(), 200);
    response
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_download_may_end_during_the_drain() {
    let installation = Installation::new();
    let mut server = installation.start().await;
    let token = server.sign_in().await;
    let items = fill(&server, &token).await;
    let mut export = begin_export(&server, &token).await;
    let first = export.body_mut().frame().await.expect("more").expect("data");
    server.terminate();
    until(LIMIT, "the door to close", async || is_refused(server.address).await.then_some(())).await;
    assert_eq!(server.try_wait(), None, "it waits for the download");
    let mut whole = first.into_data().expect("data").to_vec();
    whole.extend(export.collect().await.expect("the whole export").to_bytes());
    let whole: Value = serde_json::from_slice(&whole).expect("JSON to its end");
    assert_eq!(whole["data"].as_array().map(Vec::len), Some(items));
    let status = server.ended().await;
    assert!(status.success(), "{status}: {}", server.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_stands_still_is_cut_at_the_limit_and_not_before() {
    let limit = Duration::from_millis(1_200);
    let installation = Installation::new().set("server.drain_limit_ms", "1200");
    let mut server = installation.start().await;
    let token = server.sign_in().await;
    fill(&server, &token).await;
    let export = begin_export(&server, &token).await;
    server.terminate();
    let began = Instant::now();
    let status = server.ended().await;
    let took = began.elapsed();
    assert!(status.success(), "{status}: {}", server.said());
    assert!(took >= limit, "cut after {took:?}");
    assert!(took < limit + Duration::from_secs(5), "stopped after {took:?}");
    assert!(server.said().contains("still open"), "{}", server.said());
    // The client can tell a cut download from a whole one.
    assert!(export.collect().await.is_err());
}

/// Works through restarts: connects again where it must, and sends again what was not taken.
async fn persist(
    address: SocketAddr,
    token: Arc<str>,
    client: usize,
    tally: Arc<Tally>,
    over: Arc<AtomicBool>,
) -> usize {
    let (mut number, mut connection) = (0, None);
    while !over.load(Ordering::Relaxed) {
        let open = match connection.as_mut() {
            Some(open) => open,
            None => match Client::connect(address, Some(token.clone())).await {
                Ok(open) => connection.insert(open),
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{error}");
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    continue;
                }
            },
        };
        let ended = nth(open, client, number).await;
        if tally.count(&ended) {
            number += 1;
        } else {
            connection = None;
        }
    }
    number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_costs_no_request() {
    let installation = Installation::new();
    let mut server = installation.start().await;
    let (address, token) = (server.address, server.sign_in().await);
    let (tally, over) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for client in 0..6 {
        clients.spawn(persist(address, token.clone(), client, tally.clone(), over.clone()));
    }
    for _ in 0..5 {
        let enough = tally.read().0 + 60;
        until(LIMIT, "the load", async || (tally.read().0 >= enough).then_some(())).await;
        server.stop().await;
        server = installation.start_at(&address.to_string()).await;
    }
    let enough = tally.read().0 + 60;
    until(LIMIT, "the load", async || (tally.read().0 >= enough).then_some(())).await;
    over.store(true, Ordering::Relaxed);
    let sent = clients.join_all().await;
    let (answered, not_sent, failed) = tally.read();
    println!("5 restarts: {answered} answered, {not_sent} moved to a new connection, {failed} failed");
    assert_eq!(failed, 0);

    // Each create is there once: clients may send again what they have no answer to.
    let wanted: usize = sent.iter().map(|count| count - count / 3).sum();
    let mut connection = server.connect(Some(&token)).await;
    let request = connection.request(Method::GET, "/api/inventory/export/inventory?format=csv");
    let csv = connection.send(request, None).await.expect("an answer").expect(200);
    let lines = csv.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    assert_eq!(lines - 1, wanted);
    server.stop().await;
}
