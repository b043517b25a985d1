//! Requests that change something, at a fixed rate, each sent when it is due. Not for what becomes
//! of the events.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::client::{Connection, post_as};
use crate::figures::Latencies;
use crate::paced::{self, Pace};
use crate::people::People;

/// How many keep-alive connections they are spread over.
const CONNECTIONS: usize = 16;
/// How many items are written to in turn, so that no row is a queue of its own.
const ITEMS: usize = 64;

/// Items of one organisation, and requests that change them.
pub struct Shelf {
    token: String,
    items: Vec<String>,
}

impl Shelf {
    /// Makes items in the organisation of a token.
    pub fn fill(address: SocketAddr, token: &str, people: &People, seed: usize) -> Outcome<Self> {
        let mut connection = Connection::open(address)?;
        let mut items = Vec::new();
        for number in 0..ITEMS {
            // As long as a SKU may be: it is in each event.
            let sku = format!("{seed:08}-{number:03}-{:x<51}", people.tenants);
            let body = serde_json::json!({ "sku": sku, "name": "A thing on a shelf" }).to_string();
            let answer = connection.send(&post_as("/api/inventory", &body, token))?;
            let text: serde_json::Value = serde_json::from_slice(&answer.body)?;
            let id = text["data"]["id"].as_str().ok_or_else(|| format!("no item was made: {text}"))?;
            items.push(id.to_owned());
        }
        Ok(Self { token: token.to_owned(), items })
    }

    /// Returns the request that writes the event of this number.
    pub fn request(&self, number: usize) -> Vec<u8> {
        let item = &self.items[number % self.items.len()];
        post_as(&format!("/api/inventory/{item}/adjust"), r#"{"delta":1,"reason":"received"}"#, &self.token)
    }
}

/// Sends the requests at this rate and returns how long after it was due each was answered.
pub fn run(
    address: SocketAddr,
    request: impl Fn(usize) -> Vec<u8> + Sync,
    per_second: f64,
    count: usize,
) -> Outcome<Latencies> {
    let began = Instant::now() + Duration::from_millis(20);
    paced::run(address, Pace { began, per_second, count, connections: CONNECTIONS }, request)
}
