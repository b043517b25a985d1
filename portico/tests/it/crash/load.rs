//! The clients of one round: they change items at random until the server is gone, and write down
//! what they were told. Not for judging it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::header;
use tokio::sync::watch;

use super::book::{Book, Deed, Entry, Operation};
use super::verify::{Event, Log};
use crate::client::{Answer, Client, Unanswered};

/// Random numbers that a seed repeats (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from `low` up to, but not including, `high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % high.abs_diff(low)) as i64
    }

    pub fn pick<'s, T>(&mut self, some: &'s [T]) -> Option<&'s T> {
        some.get((self.next() % some.len().max(1) as u64) as usize)
    }
}

/// What the clients of a round share.
pub struct Round {
    pub number: u64,
    pub address: SocketAddr,
    pub token: Arc<str>,
    state: Mutex<State>,
    acknowledged: watch::Sender<u64>,
}

struct State {
    book: Book,
    /// The items that are worked on: a few, so that clients meet at them.
    hot: Vec<String>,
    touched: BTreeSet<String>,
}

impl Round {
    pub fn new(number: u64, address: SocketAddr, token: Arc<str>, book: Book, dice: &mut Dice) -> Self {
        let known: Vec<&String> = book.entries.keys().collect();
        let hot = (0..10).filter_map(|_| dice.pick(&known)).map(|sku| (*sku).clone()).collect();
        let state = State { book, hot, touched: BTreeSet::new() };
        Self { number, address, token, state: Mutex::new(state), acknowledged: watch::Sender::new(0) }
    }

    /// Waits until this many operations were acknowledged.
    pub async fn acknowledged(&self, wanted: u64) {
        let mut count = self.acknowledged.subscribe();
        count.wait_for(|count| *count >= wanted).await.expect("the round holds the sender");
    }

    /// Returns the book, and the items that this round touched.
    pub fn close(self) -> (Book, BTreeSet<String>) {
        let state = self.state.into_inner().expect("no client panicked");
        (state.book, state.touched)
    }

    /// Works as one client until the connection ends.
    pub async fn work(&self, client: u64, mut dice: Dice) {
        let connected = Client::connect(self.address, Some(self.token.clone())).await;
        let Ok(mut connection) = connected else {
            return;
        };
        for number in 0.. {
            let key = format!("r{}-c{client}-{number}", self.number);
            let (sku, place, operation, id) = self.begin(key, &mut dice);
            let Ok(answer) = send(&mut connection, &operation, id.as_deref(), &operation.key).await else {
                return;
            };
            self.end(&sku, place, &answer, &operation);
        }
    }

    fn begin(&self, key: String, dice: &mut Dice) -> (String, usize, Operation, Option<String>) {
        let mut state = self.state.lock().expect("no client panicked");
        let state = &mut *state;
        let known = dice.pick(&state.hot).cloned();
        let known = known.and_then(|sku| Some((state.book.entries.get(&sku)?, sku)));
        let (sku, deed) = match known {
            Some((entry, sku)) => (sku, deed(dice, entry)),
            None => (key.clone(), Deed::Create),
        };
        let sku = if deed == Deed::Create { key.clone() } else { sku };
        let operation = Operation::new(key, deed);
        let place = state.book.begin(&sku, operation.clone());
        state.touched.insert(sku.clone());
        let id = state.book.entries[&sku].id.clone();
        (sku, place, operation, id)
    }

    fn end(&self, sku: &str, place: usize, answer: &Answer, operation: &Operation) {
        let mut state = self.state.lock().expect("no client panicked");
        if !state.book.end(sku, place, answer) {
            return;
        }
        if operation.deed == Deed::Create {
            state.hot.push(sku.to_owned());
        }
        drop(state);
        self.acknowledged.send_modify(|count| *count += 1);
    }

    /// Reads the log behind the clients until the connection ends; what was seen once must stay.
    pub async fn follow(&self, after: i64) -> Log {
        let mut log = Log::default();
        let mut last = after;
        let connected = Client::connect(self.address, Some(self.token.clone())).await;
        let Ok(mut connection) = connected else {
            return log;
        };
        loop {
            let path = format!("/api/events?limit=200&after={last}");
            let request = connection.request(http::Method::GET, &path);
            let Ok(answer) = connection.send(request, None).await else {
                return log;
            };
            if answer.status != 200 {
                continue;
            }
            for event in answer.json()["items"].as_array().into_iter().flatten() {
                log.add(Event::read(event));
                last = log.last_position();
            }
        }
    }
}

fn deed(dice: &mut Dice, entry: &Entry) -> Deed {
    match dice.between(0, 100) {
        0..15 => Deed::Create,
        15..30 => Deed::Update { expected: entry.version },
        30..36 if !entry.deleted => Deed::Delete,
        30..60 if entry.deleted => Deed::Restore,
        _ => loop {
            let delta = dice.between(-40, 61);
            if delta != 0 {
                break Deed::Adjust { delta };
            }
        },
    }
}

/// Sends an operation under its key.
pub async fn send(
    connection: &mut Client,
    operation: &Operation,
    id: Option<&str>,
    request_id: &str,
) -> Result<Answer, Unanswered> {
    let wire = operation.wire(id);
    let mut request = connection
        .request(wire.method, &wire.path)
        .header("idempotency-key", &operation.key)
        .header("x-request-id", request_id);
    if let Some(version) = wire.expected {
        request = request.header(header::IF_MATCH, format!("\"v{version}\""));
    }
    connection.send(request, wire.body.as_ref()).await
}
