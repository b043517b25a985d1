//! Deliveries per core-second: many event streams of one organisation, events at a fixed rate, and
//! the CPU time of the server; Portico beside plain Node. Not for latency.

use std::time::{Duration, Instant};

use super::crowd::Crowd;
use super::peer::Peers;
use super::side::{self, Kind, Side};
use super::writes::{self, Shelf};
use crate::client::post_as;
use crate::figures::{Spread, short};
use crate::people::People;
use crate::report::Table;
use crate::{Outcome, Plan, process, say};

const KINDS: [Kind; 2] = [side::STREAM, side::NODE_STREAM];
const PER_SECOND: f64 = 40.0;
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a peer's event is: such that as many bytes go over the wire as for one of Portico's.
const PEER_DATA: usize = 649;

/// What one round found.
struct Round {
    /// Deliveries per second of the server's CPU time, all of it.
    whole: f64,
    /// The same without the time that the same writes cost when nobody listens.
    net: f64,
    bytes: f64,
    cores: f64,
}

/// Measures both in rounds that take turns.
pub fn measure(plan: &Plan, people: &People, peers: Option<&Peers>) -> Outcome<Table> {
    let (streams, count, rounds) = if plan.quick { (200, 80, 1) } else { (1_000, 400, 5) };
    let head =
        ["", "deliveries per core-second, net", "with the writes", "bytes on the wire each", "cores of the server"];
    let mut table =
        Table::new(format!("Fan-out to {} event streams of one organisation", short(f64::from(streams))), &head);
    let mut found: [Vec<Round>; 2] = Default::default();
    for round in 0..rounds {
        for (kind, found) in KINDS.iter().zip(&mut found) {
            say(format!("fan-out, round {}: {}", round + 1, kind.name));
            let Some(side) = kind.start(people, peers)? else { continue };
            found.push(one(kind, &side, people, round, streams as usize, count)?);
            for warning in side.warnings() {
                table.note(format!("The server warned: {warning}."));
            }
        }
    }
    for (kind, found) in KINDS.iter().zip(&found) {
        let spread = |pick: fn(&Round) -> f64| Spread::of(&found.iter().map(pick).collect::<Vec<_>>()).to_string();
        table.row([
            kind.name.to_owned(),
            spread(|round| round.net),
            spread(|round| round.whole),
            spread(|round| round.bytes),
            spread(|round| round.cores),
        ]);
    }
    let net = |found: &[Round]| found.iter().map(|round| round.net).collect::<Vec<_>>();
    table.row([
        "ratio, Portico to Node, net".to_owned(),
        Spread::ratio(&net(&found[0]), &net(&found[1])).to_string(),
        String::new(),
        String::new(),
        String::new(),
    ]);
    table.note(format!(
        "Goal: 100,000 deliveries per core-second at 200 B. {PER_SECOND} changes of stock a second over HTTP; each is one \
         event, and each stream has to hear each one, or the run fails. “Net” leaves out the CPU time of the same \
         writes without a stream. Portico checks each event against what its reader may see; the peer checks nothing and \
         sends the body of a request on, made as long as Portico's events are with their envelope."
    ));
    Ok(table)
}

fn one(kind: &Kind, side: &Side, people: &People, round: usize, streams: usize, count: usize) -> Outcome<Round> {
    let shelf = match side {
        Side::Portico(_) => Some(Shelf::fill(side.address(), &people.tokens[0], people, round)?),
        Side::Peer(_) => None,
    };
    let body = serde_json::json!({ "text": "x".repeat(PEER_DATA - 11) }).to_string();
    let request = |number: usize| match &shelf {
        Some(shelf) => shelf.request(number),
        None => post_as("/publish", &body, ""),
    };
    // The same writes while nobody listens; the first time for nothing.
    writes::run(side.address(), request, PER_SECOND, count / 4)?;
    let before = process::cpu_seconds(side.pid())?;
    writes::run(side.address(), request, PER_SECOND, count)?;
    let alone = process::cpu_seconds(side.pid())? - before;

    let crowd = Crowd::gather(side.address(), kind.visitors(people.first_tenant(), streams), None)?;
    std::thread::sleep(Duration::from_secs(1));
    let (events, bytes) = (crowd.events(), crowd.bytes());
    let (began, before) = (Instant::now(), process::cpu_seconds(side.pid())?);
    writes::run(side.address(), request, PER_SECOND, count)?;
    let wanted = (streams * count) as u64;
    let heard = crowd.wait_for(events + wanted, PATIENCE) - events;
    let (took, cpu) = (began.elapsed().as_secs_f64(), process::cpu_seconds(side.pid())? - before);
    if heard != wanted || crowd.closed() > 0 {
        return Err(format!("{}: {heard} deliveries of {wanted}, {} ended", kind.name, crowd.closed()).into());
    }
    let deliveries = wanted as f64;
    Ok(Round {
        whole: deliveries / cpu,
        net: deliveries / (cpu - alone).max(0.01),
        bytes: (crowd.bytes() - bytes) as f64 / deliveries,
        cores: cpu / took,
    })
}
