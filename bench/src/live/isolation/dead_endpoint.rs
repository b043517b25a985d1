//! A webhook endpoint that takes connections and never answers, beside one that does. Not for retries
//! and switching off: the webhooks service tests those.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Delays, PER_SECOND};
use crate::client::{Connection, post_as};
use crate::figures::Latencies;
use crate::live::writes::Shelf;
use crate::people::People;
use crate::server::Server;
use crate::{Outcome, Plan};

const PATIENCE: Duration = Duration::from_secs(60);

/// When the change of each request came to the receiver, by the item's version.
type Received = Arc<Mutex<HashMap<(String, i64), Instant>>>;

pub fn measure(plan: &Plan, people: &People, count: usize, rounds: usize) -> Outcome<Vec<Delays>> {
    let settings = ["webhooks.allow_http=true", "webhooks.allow_networks=[\"127.0.0.0/8\"]"];
    let server = Server::start_with(people.url(), &settings)?;
    let address = server.address();
    let tenants = people.tokens.chunks(people.first_tenant().len());
    let owners: Vec<&str> = tenants.take(2).map(|tokens| tokens[0].as_str()).collect();
    let [a, b] = owners[..] else { return Err("there are no two organisations".into()) };
    let received = Received::default();
    let (dead, alive) = plan.runtime.block_on(async {
        let dead = TcpListener::bind("127.0.0.1:0").await?;
        let alive = TcpListener::bind("127.0.0.1:0").await?;
        let addresses = (dead.local_addr()?, alive.local_addr()?);
        tokio::spawn(swallow(dead));
        tokio::spawn(receive(alive, received.clone()));
        Outcome::Ok(addresses)
    })?;
    create(address, b, alive)?;
    let (shelf_a, shelf_b) = (Shelf::fill(address, a, people, 7_000)?, Shelf::fill(address, b, people, 8_000)?);
    // B alone first, all rounds: once A has an endpoint, its trouble does not end with a round.
    let alone = (0..rounds).map(|_| deliver(address, &shelf_b, None, &received, count)).collect::<Outcome<Vec<_>>>()?;
    create(address, a, dead)?;
    let beside = (0..rounds)
        .map(|_| deliver(address, &shelf_b, Some(&shelf_a), &received, count))
        .collect::<Outcome<Vec<_>>>()?;
    Ok(alone.into_iter().zip(beside).map(|(alone, beside)| [alone, beside]).collect())
}

fn create(server: SocketAddr, token: &str, to: SocketAddr) -> Outcome {
    let body = serde_json::json!({ "url": format!("http://{to}/"), "events": ["inventory.item.adjusted"] });
    let answer = Connection::open(server)?.send(&post_as("/api/webhooks/endpoints", &body.to_string(), token))?;
    match answer.status {
        201 => Ok(()),
        status => Err(format!("an endpoint: {status}: {}", String::from_utf8_lossy(&answer.body)).into()),
    }
}

/// Changes B's stock, and A's beside it, and returns how long after its answer each change was received.
fn deliver(server: SocketAddr, b: &Shelf, a: Option<&Shelf>, received: &Received, count: usize) -> Outcome<Latencies> {
    let (mut ours, mut theirs) = (Connection::open(server)?, Connection::open(server)?);
    let (began, mut changed) = (Instant::now(), Vec::new());
    for place in 0..count {
        let due = began + Duration::from_secs_f64(place as f64 / PER_SECOND);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if let Some(a) = a {
            theirs.timed(&a.request(place))?;
        }
        let (answer, _) = ours.timed(&b.request(place))?;
        let at = Instant::now();
        let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let item = &body["data"]["item"];
        let (Some(id), Some(version)) = (item["id"].as_str(), item["version"].as_i64()) else {
            return Err(format!("a change was answered {body}").into());
        };
        changed.push(((id.to_owned(), version), at));
    }
    let (last, mut latencies) = (Instant::now(), Latencies::default());
    for (change, at) in changed {
        let came = loop {
            if let Some(came) = received.lock().unwrap_or_else(PoisonError::into_inner).get(&change).copied() {
                break came;
            }
            if last.elapsed() > PATIENCE {
                return Err(format!("a change of B's {} was never received", change.0).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        latencies.add(came.saturating_duration_since(at));
    }
    Ok(latencies)
}

/// Takes connections and says nothing.
async fn swallow(listener: TcpListener) {
    let mut taken = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        taken.push(stream);
    }
}

/// Answers each request with 204 and notes what it tells of.
async fn receive(listener: TcpListener, received: Received) {
    while let Ok((stream, _)) = listener.accept().await {
        let received = received.clone();
        tokio::spawn(async move { converse(stream, received).await });
    }
}

async fn converse(mut stream: TcpStream, received: Received) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok())?;
        while bytes.len() < end + length {
            (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
        }
        let event: serde_json::Value = serde_json::from_slice(&bytes[end..end + length]).ok()?;
        if let (Some(subject), Some(version)) = (event["subject"].as_str(), event["subjectversion"].as_i64()) {
            let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
            received.entry((subject.to_owned(), version)).or_insert_with(Instant::now);
        }
        bytes.drain(..end + length);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok()?;
    }
}
