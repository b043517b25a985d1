//! What an idle connection costs: memory of the server's process, memory of the kernel, CPU time for
//! heartbeats; Portico beside Node, on the same clients. Not for what is sent over them.

use std::time::Duration;

use super::crowd::Crowd;
use super::kernel_memory;
use super::peer::Peers;
use super::side::{self, Kind};
use super::speech::Speech;
use crate::figures::{Spread, short};
use crate::people::People;
use crate::report::Table;
use crate::{Outcome, Plan, process, say};

/// What is measured, and whether each connection is somebody else's: then the server remembers as many
/// checked tokens as there are connections.
const KINDS: [(Kind, bool); 8] = [
    (side::STREAM, true),
    (side::STREAM, false),
    (side::NODE_STREAM, true),
    (side::SOCKET, true),
    (side::SOCKET, false),
    (side::NODE_SOCKET, true),
    (side::SOCKETIO, true),
    (side::NODE_SOCKETIO, true),
];
/// How many come and go first, so that what every server needs once is not counted.
const WARM: usize = 200;
/// How long the server rests before it is looked at.
const SETTLE: Duration = Duration::from_secs(3);
/// Longer than the pause between two heartbeats of any of them (25 s for Socket.IO).
const WATCH: Duration = Duration::from_secs(27);

/// What one round found, for each connection.
struct Cost {
    resident_kib: f64,
    queued_kib: f64,
    objects_kib: f64,
    cpu_micros: f64,
}

/// Measures all of them in rounds that take turns.
pub fn measure(plan: &Plan, people: &People, peers: Option<&Peers>) -> Outcome<Table> {
    let (count, rounds) = if plan.quick { (1_000, 1) } else { (10_000, 3) };
    let mut table = Table::new(
        format!("{} idle connections", short(count as f64)),
        &[
            "",
            "goal",
            "process, KiB each",
            "kernel: queues, KiB each",
            "kernel: objects, KiB each",
            "CPU, µs a second each",
        ],
    );
    let mut costs: Vec<Vec<Cost>> = KINDS.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for ((kind, others), costs) in KINDS.iter().zip(&mut costs) {
            say(format!("idle connections, round {}: {}", round + 1, kind.name));
            let tokens = if *others { &people.tokens[..] } else { &people.tokens[..1] };
            match one(kind, people, tokens, peers, count) {
                Ok(Some(cost)) => costs.push(cost),
                Ok(None) => {}
                Err(error) => table.note(format!("Round {}, {}: lost, {error}.", round + 1, kind.name)),
            }
        }
    }
    for ((kind, others), costs) in KINDS.iter().zip(&costs) {
        let goal = match (kind.script, kind.speech) {
            (None, Speech::Stream) => "10",
            (None, Speech::WebSocket) => "6",
            _ => "",
        };
        let spread = |pick: fn(&Cost) -> f64| Spread::of(&costs.iter().map(pick).collect::<Vec<_>>()).to_string();
        table.row([
            format!("{}{}", kind.name, if *others { "" } else { ", all of one person" }),
            goal.to_owned(),
            spread(|cost| cost.resident_kib),
            spread(|cost| cost.queued_kib),
            spread(|cost| cost.objects_kib),
            spread(|cost| cost.cpu_micros),
        ]);
    }
    if let Some(peers) = peers {
        table.note(format!("The peers: {}.", peers.names()));
    }
    table.note(format!(
        "Each server is fresh, has had {WARM} connections that left, and then gets {} with access rules on, each with an \
         API token of somebody else where the row does not say otherwise: what its resident memory grows by. The peers \
         check nobody. The kernel's memory is that of both ends, ours and the server's, which share the machine. CPU is \
         that of the server over {} s, heartbeats included.",
        short(count as f64),
        WATCH.as_secs()
    ));
    Ok(table)
}

fn one(kind: &Kind, people: &People, tokens: &[String], peers: Option<&Peers>, count: usize) -> Outcome<Option<Cost>> {
    let Some(side) = kind.start(people, peers)? else { return Ok(None) };
    drop(Crowd::gather(side.address(), kind.visitors(tokens, WARM), None)?);
    std::thread::sleep(SETTLE);
    let (before, kernel_before) = (process::memory(side.pid())?.0, kernel_memory::read()?);
    let crowd = Crowd::gather(side.address(), kind.visitors(tokens, count), None)?;
    std::thread::sleep(SETTLE);
    let cpu_before = process::cpu_seconds(side.pid())?;
    std::thread::sleep(WATCH);
    let cpu = process::cpu_seconds(side.pid())? - cpu_before;
    let (after, kernel) = (process::memory(side.pid())?.0, kernel_memory::read()?);
    if crowd.closed() > 0 {
        return Err(format!("{} connections did not last", crowd.closed()).into());
    }
    let each = |sum: f64| sum / count as f64;
    Ok(Some(Cost {
        resident_kib: each((after - before) * 1024.0),
        queued_kib: each(kernel.queued - kernel_before.queued),
        objects_kib: each(kernel.objects - kernel_before.objects),
        cpu_micros: each(cpu * 1e6 / WATCH.as_secs_f64()),
    }))
}
