//! Event streams that are dropped and resumed again and again while others write: every reader ends with
//! each event once, in order. Not for what a stream says, which is tested in memory.
//!
//! `PORTICO_RESUME_DROPS` says how many drops (400 unless said).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use crate::client::Client;
use crate::crash::load::Dice;
use crate::fresh_database::FreshDatabase;
use crate::process::{Installation, Server, environment};
use crate::stream::Stream;

const STREAM: &str = "/api/events/stream?types=inventory.item.created";
const DROPS: u64 = 400;
const READERS: u64 = 20;
const WRITERS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resume_sqlite() {
    run("sqlite", Installation::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resume_postgres() {
    let Some(database) = FreshDatabase::create().await else { return };
    run("postgres", Installation::new().set("store.url", &database.url())).await;
}

/// What all readers and writers of a run share.
struct Run {
    server: Server,
    token: Arc<str>,
    wanted: u64,
    drops: AtomicU64,
    /// The last event that was acknowledged is behind this; readers read up to it.
    ended: AtomicBool,
}

async fn run(name: &str, installation: Installation) {
    let wanted = environment("PORTICO_RESUME_DROPS").map_or(DROPS, |text| text.parse().expect("a number"));
    let server = installation.start().await;
    let token = server.sign_in().await;
    let run = Run { server, token, wanted, drops: AtomicU64::new(0), ended: AtomicBool::new(false) };
    let run = Arc::new(run);
    let mut readers = tokio::task::JoinSet::new();
    for reader in 0..READERS {
        let run = run.clone();
        readers.spawn(async move { run.read(Dice::new(reader)).await });
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let run = run.clone();
        writers.spawn(async move { run.write(writer).await });
    }
    let written: u64 = writers.join_all().await.into_iter().sum();
    run.ended.store(true, Ordering::SeqCst);
    let mut seen = Vec::new();
    // A last event tells every reader that it has come to the end.
    let mut client = run.server.connect(Some(&run.token)).await;
    while !readers.is_empty() {
        create(&mut client, &format!("end-{}", seen.len())).await;
        seen.push(readers.join_next().await.expect("there is one").expect("no reader panics"));
    }
    let all = log(&mut client).await;
    assert!(all.len() as u64 > written, "every write has its event");
    for (number, (from, positions)) in seen.iter().enumerate() {
        let to = positions.last().copied().unwrap_or(*from);
        let there: Vec<i64> = all.iter().copied().filter(|position| (from + 1..=to).contains(position)).collect();
        assert_eq!(positions, &there, "{name}: reader {number} has gaps, repetitions or another order");
    }
    let (drops, events) = (run.drops.load(Ordering::SeqCst), seen.iter().map(|(_, seen)| seen.len()).sum::<usize>());
    println!("resume {name}: {drops} drops, {written} writes, {events} events read, 0 gaps, 0 duplicates");
    Arc::into_inner(run).expect("all have ended").server.stop().await;
}

impl Run {
    fn is_enough(&self) -> bool {
        self.drops.load(Ordering::SeqCst) >= self.wanted
    }

    /// Writes as fast as it is answered until there were enough drops.
    async fn write(&self, writer: u64) -> u64 {
        let mut client = self.server.connect(Some(&self.token)).await;
        let mut written = 0;
        while !self.is_enough() {
            create(&mut client, &format!("{writer}-{written}")).await;
            written += 1;
        }
        written
    }

    /// Follows, drops the line after a few events, and resumes; gives where it began and what it saw.
    async fn read(&self, mut dice: Dice) -> (i64, Vec<i64>) {
        let mut stream = Stream::open(&self.server, Some(&self.token), STREAM, None).await;
        let (mut last, _) = stream.event().await.expect("a beginning");
        let (from, mut seen) = (position(&last), Vec::new());
        loop {
            // Each now and then one is cut before it has said anything.
            for _ in 0..dice.between(0, 9) {
                let (id, event) = stream.event().await.expect("an event");
                if event.get("specversion").is_some() {
                    seen.push(position(&id));
                }
                last = id;
                if self.ended.load(Ordering::SeqCst)
                    && event["data"]["sku"].as_str().is_some_and(|sku| sku.starts_with("end-"))
                {
                    return (from, seen);
                }
            }
            drop(stream);
            self.drops.fetch_add(1, Ordering::SeqCst);
            stream = Stream::open(&self.server, Some(&self.token), STREAM, Some(&last)).await;
        }
    }
}

fn position(id: &str) -> i64 {
    id.rsplit('.').next().and_then(|text| text.parse().ok()).expect("a position")
}

async fn create(client: &mut Client, sku: &str) {
    client.post("/api/inventory", &json!({ "sku": sku, "name": sku })).await.expect(201);
}

/// Returns the positions of all items' beginnings, from the log.
async fn log(client: &mut Client) -> Vec<i64> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("/api/events?type=inventory.item.created&limit=200&after={after}");
        let page = client.get(&path).await.expect(200).json();
        let positions = page["items"].as_array().expect("items").iter().map(|event| event["position"].as_i64());
        let positions: Vec<i64> = positions.map(|position| position.expect("a position")).collect();
        let Some(last) = positions.last() else { return all };
        after = *last;
        all.extend(positions);
    }
}
