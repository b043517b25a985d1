//! A gateway whose process is replaced by another at the same port while clients work without a pause: a new one
//! starts beside the old one, which then stops (docs/operations.md). Not for the drain of a single one: see `drain`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::Method;
use tokio::task::JoinSet;

use crate::client::{Client, Unanswered};
use crate::process::{Installation, until};

const LIMIT: Duration = Duration::from_secs(30);

/// What became of the requests of all clients.
#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    failed: Mutex<Vec<String>>,
}

impl Tally {
    fn fail(&self, what: String) {
        self.failed.lock().expect("not poisoned").push(what);
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// Asks again and again, over so many requests on each connection.
async fn ask(address: SocketAddr, each: usize, tally: Arc<Tally>) {
    loop {
        let mut connection = match Client::connect(address, None).await {
            Ok(connection) => connection,
            Err(error) => {
                tally.fail(format!("no connection: {error}"));
                continue;
            }
        };
        for _ in 0..each {
            let request = connection.request(Method::GET, "/probe");
            match connection.send(request, None).await {
                Ok(answer) if answer.status == 200 => drop(tally.answered.fetch_add(1, Ordering::Relaxed)),
                // The answer before said that it was the last.
                Err(Unanswered::NotSent) => break,
                Ok(answer) => tally.fail(format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body))),
                Err(why) => {
                    tally.fail(format!("{why:?}"));
                    break;
                }
            }
        }
    }
}

async fn origin() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().route("/probe", get(|| async { "well" }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Returns a gateway before this origin, with a data folder of its own.
fn gateway(origin: SocketAddr) -> Installation {
    let installation = Installation::new();
    let declared = format!(
        "[upstreams.origin]\nservers = [\"http://{origin}\"]\n[[routes]]\npath = \"/probe\"\nupstream = \"origin\"\n\
         access = \"public\"\n"
    );
    let file = installation.file("gateway.toml");
    std::fs::write(&file, declared).expect("a file");
    let file = file.display().to_string();
    installation.set("roles", "[\"proxy\"]").set("gateway.file", &file).set("server.share_port", "true")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_replaced_at_its_port_turns_nobody_away() {
    let origin = origin().await;
    let mut installation = gateway(origin);
    let mut current = installation.start().await;
    let (address, tally, mut load) = (current.address, Arc::new(Tally::default()), JoinSet::new());
    for number in 0..8 {
        load.spawn(ask(address, [1, 50, 5_000][number % 3], tally.clone()));
    }
    for _ in 0..4 {
        let enough = tally.answered() + 300;
        until(LIMIT, "the load", async || (tally.answered() >= enough).then_some(())).await;
        let beside = gateway(origin);
        let next = beside.start_at(&address.to_string()).await;
        current.stop().await;
        (installation, current) = (beside, next);
    }
    let enough = tally.answered() + 300;
    until(LIMIT, "the load", async || (tally.answered() >= enough).then_some(())).await;
    load.shutdown().await;
    let failed = std::mem::take(&mut *tally.failed.lock().expect("not poisoned"));
    assert!(
        failed.is_empty(),
        "{} beside {} answered: {:?}",
        failed.len(),
        tally.answered(),
        &failed[..failed.len().min(5)]
    );
    current.stop().await;
    drop(installation);
}

#[tokio::test]
async fn without_the_setting_an_address_in_use_is_refused() {
    let origin = origin().await;
    let installation = gateway(origin);
    let first = installation.start().await;
    let other = Installation::new().set("roles", "[\"proxy\"]");
    let said = other.run(&["serve", "--listen", &first.address.to_string()]).refused();
    assert!(said.contains("cannot listen"), "{said}");
    // And a data folder has one process, whatever the port.
    let said = installation.run(&["serve", "--listen", &first.address.to_string()]).refused();
    assert!(said.contains("another server"), "{said}");
    first.stop().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_named_before_anything_is_made() {
    let installation = Installation::new().set("server.tls.certificate", "away.pem").set("server.tls.key", "away.key");
    let said = installation.run(&["serve", "--listen", "127.0.0.1:0"]).refused();
    assert!(said.contains("server.tls.certificate") && said.contains("away.pem"), "{said}");
    assert!(installation.sqlite_url().strip_prefix("sqlite:").is_some_and(|path| !std::path::Path::new(path).exists()));
}
