//! From commit to client: ten event streams of one organisation while it writes 1,000 events a
//! second, over real sockets. Not for fan-out.

use std::collections::HashSet;
use std::time::Duration;

use kernel::Timestamp;
use tokio::sync::mpsc;

use super::crowd::{Crowd, Piece};
use super::side;
use super::writes::{self, Shelf};
use crate::figures::{Latencies, Spread};
use crate::people::{self, People};
use crate::report::Table;
use crate::server::Server;
use crate::{Outcome, Plan, process, say};

const STREAMS: usize = 10;
const PER_SECOND: f64 = 1_000.0;
const PATIENCE: Duration = Duration::from_secs(20);

/// What one round found.
struct Round {
    /// From the moment that the event carries, before its commit, to the client.
    delivered: Latencies,
    /// From when the request was due to its answer.
    answered: Latencies,
    cores: f64,
}

/// Measures it on each engine, in rounds that take turns.
pub fn measure(plan: &Plan, people: &[(store::Engine, People)]) -> Outcome<Table> {
    let (count, rounds) = if plan.quick { (1_000, 1) } else { (10_000, 5) };
    let head = ["", "p50, ms", "p99, ms", "write answered: p50, ms", "p99, ms", "cores of the server"];
    let mut table = Table::new("From commit to client at 1,000 events a second", &head);
    let mut found: Vec<Vec<Round>> = people.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for ((engine, people), found) in people.iter().zip(&mut found) {
            say(format!("commit to client, round {}: {}", round + 1, people::name(*engine)));
            found.push(one(people, round, count)?);
        }
    }
    for ((engine, _), found) in people.iter().zip(&found) {
        let spread = |pick: &dyn Fn(&Round) -> f64| Spread::of(&found.iter().map(pick).collect::<Vec<_>>()).to_string();
        table.row([
            people::name(*engine).to_owned(),
            spread(&|round| round.delivered.median()),
            spread(&|round| round.delivered.within(0.99)),
            spread(&|round| round.answered.median()),
            spread(&|round| round.answered.within(0.99)),
            spread(&|round| round.cores),
        ]);
    }
    table.note(format!(
        "Goal: p99 under 20 ms. {STREAMS} streams of one organisation, {count} changes of stock over HTTP in each round, \
         with access rules on. Counted from the time that the event carries, which is before its commit, so the \
         synchronous write to disk is in it; to when the bytes are read by the client. Each stream has to hear each event \
         once, or the run fails. “Write answered” is from when a request was due. Load and clients share the machine."
    ));
    Ok(table)
}

fn one(people: &People, round: usize, count: usize) -> Outcome<Round> {
    let server = Server::start(people.url())?;
    let shelf = Shelf::fill(server.address(), &people.tokens[0], people, 1_000 + round)?;
    writes::run(server.address(), |number| shelf.request(number), PER_SECOND / 2.0, 500)?;
    let (sender, mut pieces) = mpsc::unbounded_channel();
    let crowd = Crowd::gather(server.address(), side::STREAM.visitors(people.first_tenant(), STREAMS), Some(sender))?;
    std::thread::sleep(Duration::from_secs(2));
    while pieces.try_recv().is_ok() {}
    let (before, events) = (process::cpu_seconds(server.pid())?, crowd.events());
    let answered = writes::run(server.address(), |number| shelf.request(number), PER_SECOND, count)?;
    let wanted = (STREAMS * count) as u64;
    let heard = crowd.wait_for(events + wanted, PATIENCE) - events;
    let cores = (process::cpu_seconds(server.pid())? - before) / (count as f64 / PER_SECOND);
    if heard != wanted || crowd.closed() > 0 {
        return Err(format!("{heard} deliveries of {wanted}, {} streams ended", crowd.closed()).into());
    }
    drop(crowd);
    let mut streams: Vec<Reading> = (0..STREAMS).map(|_| Reading::default()).collect();
    let mut delivered = Latencies::default();
    while let Ok(piece) = pieces.try_recv() {
        streams[piece.visitor].read(&piece, &mut delivered)?;
    }
    Ok(Round { delivered, answered, cores })
}

/// One stream as it was heard.
#[derive(Default)]
struct Reading {
    rest: String,
    seen: HashSet<String>,
}

impl Reading {
    /// Reads the events that a piece completes.
    fn read(&mut self, piece: &Piece, delivered: &mut Latencies) -> Outcome {
        self.rest.push_str(std::str::from_utf8(&piece.bytes)?);
        while let Some(end) = self.rest.find("\n\n") {
            let frame: String = self.rest.drain(..end + 2).collect();
            let Some(data) = frame.lines().find_map(|line| line.strip_prefix("data:")) else { continue };
            let event: serde_json::Value = serde_json::from_str(data)?;
            let (Some(id), Some(time)) = (event["id"].as_str(), event["time"].as_str()) else { continue };
            if !self.seen.insert(id.to_owned()) {
                return Err(format!("{id} came twice").into());
            }
            let time = Timestamp::parse(time).ok_or("an event without a time")?;
            delivered.add(Duration::from_micros(u64::try_from(piece.at - time.0).unwrap_or_default()));
        }
        Ok(())
    }
}
