//! S10: one upload of a gigabyte through a proxy to an origin that swallows it: by how much the proxy's memory
//! grows at most, what it costs. Not for requests.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use measure::Outcome;
use measure::figures::{Quartiles, short};
use measure::report::Table;

use crate::ground::Ground;
use crate::peers::{Offer, Peer, Shape};
use crate::rungs::Rung;
use crate::{Extent, origins, say};

const SIZE: usize = 1_000_000_000;
const PIECE: usize = 256 * 1024;
const ROUNDS: usize = 3;
/// How much memory the subject may add, in MiB.
const GOAL: f64 = 32.0;

/// Measures them all.
pub fn measure(rung: Rung, peers: &[Peer], ground: &Ground, extent: Extent) -> Outcome<Vec<Table>> {
    let origin = origins::sink()?;
    let able: Vec<Peer> = peers.iter().copied().filter(|peer| peer.offer(Shape::Stream) == Offer::Yes).collect();
    let rounds = extent.rounds.min(ROUNDS);
    let mut table =
        Table::new(rung.title, &["", "memory before, MiB", "added at most, MiB", "CPU ms for 100 MB", "whole, s"]);
    let (mut verdict, mut missing) = (None, BTreeSet::new());
    let mut found: Vec<[Vec<f64>; 4]> = able.iter().map(|_| Default::default()).collect();
    for round in 0..rounds {
        say(format!("  round {} of {rounds}", round + 1));
        let mut order: Vec<usize> = (0..able.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            let peer = able[place];
            match once(peer, ground, origin) {
                Ok(row) => found[place].iter_mut().zip(row).for_each(|(rounds, figure)| rounds.push(figure)),
                Err(error) => {
                    say(format!("  {}: {error}", peer.name()));
                    let reason = error.to_string();
                    missing.insert(format!("{}: {}", peer.name(), reason.lines().next().unwrap_or_default()));
                }
            }
        }
    }
    for (peer, rounds) in able.iter().zip(&found) {
        let cells = rounds.iter().map(|rounds| Quartiles::of(rounds).to_string());
        table.row(std::iter::once(peer.name().to_owned()).chain(cells));
        if *peer == Peer::Portico && !rounds[1].is_empty() {
            let added = rounds[1].iter().copied().fold(0.0, f64::max);
            let judged = if added < GOAL { "met" } else { "**missed**" };
            verdict = Some(format!("Goal: Portico adds less than {} MiB: {judged} ({}).", short(GOAL), short(added)));
        }
    }
    table.note(format!(
        "One client writes as fast as it can, with a Content-Length; each proxy is told not to buffer requests. \
         {rounds} rounds, a fresh process in each."
    ));
    if let Some(verdict) = verdict {
        table.note(verdict);
    }
    if !missing.is_empty() {
        table.note(format!("**Left out**: {}.", missing.into_iter().collect::<Vec<_>>().join("; ")));
    }
    Ok(vec![table])
}

fn once(peer: Peer, ground: &Ground, origin: SocketAddr) -> Outcome<[f64; 4]> {
    let running = peer.start(Shape::Stream, ground, origin)?;
    std::thread::sleep(Duration::from_millis(300));
    let process = &running.process;
    upload(running.address, PIECE)?;
    process.forget_most();
    let (before, cpu) = (process.memory().0, process.cpu_seconds());
    let took = upload(running.address, SIZE)?;
    let cost = (process.cpu_seconds() - cpu) * 1e3 / (SIZE as f64 / 1e8);
    Ok([before, process.memory().1 - before, cost, took.as_secs_f64()])
}

fn upload(address: SocketAddr, size: usize) -> Outcome<Duration> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let began = Instant::now();
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: bench.test\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {size}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let piece = vec![b'x'; PIECE];
    let mut left = size;
    while left > 0 {
        let now = left.min(PIECE);
        stream.write_all(&piece[..now])?;
        left -= now;
    }
    let mut answer = String::new();
    let ended = stream.read_to_string(&mut answer);
    let right = answer.starts_with("HTTP/1.1 200") && answer.contains(&size.to_string());
    if right { Ok(began.elapsed()) } else { Err(format!("{ended:?}: {answer}").into()) }
}
