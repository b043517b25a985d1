//! Sixty-four clients change the stock of four items at the same time, over real sockets: at the end stock,
//! ledger and what was acknowledged agree, and nothing ever fell below zero. `PORTICO_STOCK_SECONDS`
//! says how long (3 unless said). Not for speed; the rate is printed since it is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, header};
use serde_json::{Value, json};

use crate::client::Client;
use crate::fresh_database::FreshDatabase;
use crate::process::{Installation, Server, environment};

const CLIENTS: u64 = 64;
const ITEMS: usize = 4;
const OPENING: i64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_race_sqlite() {
    race("sqlite", Installation::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_race_postgres() {
    let Some(database) = FreshDatabase::create().await else {
        return;
    };
    race("postgres", Installation::new().set("store.url", &database.url())).await;
}

/// What a client was told.
#[derive(Debug, Default)]
struct Told {
    statuses: BTreeMap<u16, u64>,
    /// What was acknowledged, by item.
    moved: [i64; ITEMS],
    lines: [usize; ITEMS],
}

async fn race(name: &str, installation: Installation) {
    let seconds = environment("PORTICO_STOCK_SECONDS").and_then(|text| text.parse().ok()).unwrap_or(3);
    // How long one waits in line depends on the machine; that nobody is turned away does not.
    let installation = installation.set("store.acquire_timeout_ms", "20000");
    let server = installation.start().await;
    let token = server.sign_in().await;
    let items = make_items(&server, &token).await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut told = Told::default();
    let mut running = Vec::new();
    for seed in 1..=CLIENTS {
        let client = server.connect(Some(&token)).await;
        running.push(tokio::spawn(hurry(client, items.clone(), seed, until)));
    }
    for client in running {
        let one = client.await.expect("a client");
        for (status, times) in one.statuses {
            *told.statuses.entry(status).or_default() += times;
        }
        for place in 0..ITEMS {
            told.moved[place] += one.moved[place];
            told.lines[place] += one.lines[place];
        }
    }
    check(&server, &token, &items, &told).await;
    let answered: u64 = told.statuses.values().sum();
    println!(
        "stock race, {name}: {CLIENTS} clients, {ITEMS} items, {seconds} s: {answered} answers {:?}, {} acknowledged \
         movements, {} a second",
        told.statuses,
        told.lines.iter().sum::<usize>(),
        answered / seconds.max(1)
    );
    server.stop().await;
}

async fn make_items(server: &Server, token: &Arc<str>) -> Arc<[String]> {
    let mut client = server.connect(Some(token)).await;
    let mut items = Vec::new();
    for place in 0..ITEMS {
        let made = client.post("/api/inventory", &json!({ "sku": format!("race-{place}"), "name": "x" })).await;
        let path = made.expect(201).headers[header::LOCATION].to_str().expect("a path").to_owned();
        let opening = json!({ "delta": OPENING, "reason": "opening" });
        client.post(&format!("{path}/adjust"), &opening).await.expect(200);
        items.push(path);
    }
    items.into()
}

/// A generator that repeats itself with its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit) as i64
    }
}

async fn hurry(mut client: Client, items: Arc<[String]>, seed: u64, until: Instant) -> Told {
    let (mut told, mut dice) = (Told::default(), Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    while Instant::now() < until {
        let place = dice.below(ITEMS as u64) as usize;
        let path = &items[place];
        let adjust = client.request(Method::POST, &format!("{path}/adjust"));
        // More is taken than brought, so that stock is often at its end.
        let (request, body) = match dice.below(10) {
            0..=5 => (adjust, json!({ "delta": -1 - dice.below(9), "reason": "sold" })),
            6..=8 => (adjust, json!({ "delta": 1 + dice.below(9), "reason": "received" })),
            _ => {
                let found = client.get(path).await.expect(200);
                let version = found.version().expect("a version");
                let count = (found.data()["quantity"].as_i64().expect("a quantity") + dice.below(7) - 3).max(0);
                (adjust.header(header::IF_MATCH, format!("\"v{version}\"")), json!({ "count": count }))
            }
        };
        let answer = client.send(request, Some(&body)).await.expect("an answer");
        *told.statuses.entry(answer.status).or_default() += 1;
        match answer.status {
            200 => {
                let data = answer.data();
                assert!(data["item"]["quantity"].as_i64().expect("a quantity") >= 0, "{data}");
                if let Some(delta) = data["movement"]["delta"].as_i64() {
                    told.moved[place] += delta;
                    told.lines[place] += 1;
                }
            }
            409 => assert_eq!(answer.code(), "inventory.insufficient_stock"),
            412 => assert_eq!(answer.code(), "request.version_mismatch"),
            status => panic!("{status}: {}", String::from_utf8_lossy(&answer.body)),
        }
    }
    told
}

async fn check(server: &Server, token: &Arc<str>, items: &[String], told: &Told) {
    let mut client = server.connect(Some(token)).await;
    for (place, path) in items.iter().enumerate() {
        let quantity = client.get(path).await.expect(200).data()["quantity"].as_i64().expect("a quantity");
        assert_eq!(quantity, OPENING + told.moved[place], "stock is what was acknowledged, item {place}");
        // Newest first.
        let lines: Vec<Value> = client.pages(&format!("{path}/logs?limit=200")).await;
        assert_eq!(lines.len(), told.lines[place] + 1, "each acknowledged movement has a line, item {place}");
        let mut balance = 0;
        for line in lines.iter().rev() {
            balance += line["delta"].as_i64().expect("a delta");
            assert!(balance >= 0, "stock fell below zero at {line}");
        }
        assert_eq!(balance, quantity, "stock is the sum of the ledger, item {place}");
    }
}
