//! A client that stops reading an export: the server holds no snapshot for it, so SQLite's write-ahead
//! log stays small while others write, and the export goes on when the client does. Not for figures;
//! `cargo xtask bench export` has those.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::fresh_database::{FreshDatabase, execute};
use crate::process::{Installation, Server};

/// How many lines: far more bytes than all buffers on the way hold.
const LINES: u64 = 20_000;
const WRITES: u64 = 400;
/// How long the client reads nothing at most.
const STALLED: Duration = Duration::from_secs(15);
/// SQLite starts the log anew after about 4 MiB, unless somebody still reads what is in it.
const LOG_LIMIT: u64 = 9 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn export_stalls_sqlite() {
    let installation = Installation::new();
    let (server, token, path) = stock(&installation, &installation.sqlite_url()).await;
    let log = installation.data().join("portico.db-wal");
    stall(&server, &token, &path, || {
        let bytes = std::fs::metadata(&log).map_or(0, |file| file.len());
        assert!(bytes < LOG_LIMIT, "the write-ahead log has {bytes} bytes");
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn export_stalls_postgres() {
    let Some(database) = FreshDatabase::create().await else {
        return;
    };
    let installation = Installation::new().set("store.url", &database.url());
    let (server, token, path) = stock(&installation, &database.url()).await;
    stall(&server, &token, &path, || {}).await;
    server.stop().await;
}

/// Starts a server with an item that has a long ledger.
async fn stock(installation: &Installation, url: &str) -> (Server, Arc<str>, String) {
    let server = installation.start().await;
    let token = server.sign_in().await;
    let mut client = server.connect(Some(&token)).await;
    let made = client.post("/api/inventory", &json!({ "sku": "long", "name": "x" })).await.expect(201);
    let path = made.headers[header::LOCATION].to_str().expect("a path").to_owned();
    // Written past the store: the ids are of long ago, and what they add up to does not matter here.
    let (id, numbers) = match url.starts_with("sqlite:") {
        true => (
            "CAST(char(1) || printf('%015d', n) AS BLOB)",
            format!(
                "(WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < {LINES}) SELECT n FROM many)"
            ),
        ),
        false => (
            "('01300000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid",
            format!("generate_series(1, {LINES}) AS many (n)"),
        ),
    };
    let columns = "tenant_id, id, item_id, delta, reason, note, created_at, created_by";
    let note = "n".repeat(1_000);
    let insert = format!(
        "INSERT INTO inventory_movement ({columns}) SELECT i.tenant_id, {id}, i.id, 1, 'received', '{note}', 0, 'test' \
         FROM inventory_item i CROSS JOIN {numbers};"
    );
    execute(url, &insert).await;
    if url.starts_with("sqlite:") {
        // What was just written is in the log too, which is to begin anew.
        execute(url, "PRAGMA wal_checkpoint(TRUNCATE);").await;
    }
    (server, token, path)
}

async fn stall(server: &Server, token: &Arc<str>, path: &str, check: impl Fn()) {
    let mut reader = server.connect(Some(token)).await;
    let request = reader.request(Method::GET, "/api/inventory/export/logs?format=csv");
    let mut export = reader.begin(request, None).await.expect("an answer");
    assert_eq!(export.status(), 200);
    let first = export.body_mut().frame().await.expect("a frame").expect("no error");
    let mut text = first.into_data().expect("data").to_vec();
    let mut writer = server.connect(Some(token)).await;
    let mut written = 0;
    let began = Instant::now();
    // The kernel gives up a client that takes nothing for half a minute.
    while written < WRITES && began.elapsed() < STALLED {
        let body = json!({ "delta": 1, "reason": "received", "note": "m".repeat(400) });
        writer.post(&format!("{path}/adjust"), &body).await.expect(200);
        written += 1;
        check();
    }
    text.extend_from_slice(&export.into_body().collect().await.expect("the rest").to_bytes());
    let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert_eq!(lines, LINES + 1, "all lines of before, and none that came later");
    // A client that leaves ends the work, and the server is as it was.
    let mut leaver = server.connect(Some(token)).await;
    let request = leaver.request(Method::GET, "/api/inventory/export/logs");
    drop(leaver.begin(request, None).await.expect("an answer"));
    drop(leaver);
    // The first connection may have been closed meanwhile, since it was idle.
    let mut writer = server.connect(Some(token)).await;
    let alive: Value = writer.get(path).await.expect(200).data();
    assert_eq!(alive["quantity"], written);
}
