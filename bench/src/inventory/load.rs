//! Load on one system while it is looked at: as fast as its connections go, or at a rate. Not for
//! choosing either.

use std::time::{Duration, Instant};

use super::requests::Operation;
use super::system::System;
use crate::Outcome;
use crate::client::Connection;
use crate::figures::Latencies;
use crate::paced::side_by_side;
use crate::process::Postgres;

/// How many keep-alive connections ask at once: as many as each system has to its database.
pub const CONNECTIONS: usize = 8;
/// How long a system may go on after the last answer, so that what it left for later counts.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// What one system did in one round of one operation.
#[derive(Clone, Debug)]
pub struct Sample {
    pub per_second: f64,
    /// CPU microseconds of the application for each request, and of PostgreSQL.
    pub application: f64,
    pub postgres: f64,
    /// Its memory afterwards, in MiB.
    pub memory: f64,
    pub latencies: Latencies,
}

/// Sends one request after the other on each connection.
pub fn saturated(
    system: &System,
    operation: Operation,
    round: usize,
    length: Duration,
    postgres: Postgres,
) -> Outcome<Sample> {
    sample(system, postgres, || {
        let began = Instant::now();
        side_by_side(CONNECTIONS, |connection| {
            let mut client = Client::open(system, operation)?;
            let mut number = connection;
            while began.elapsed() < length {
                let sent = Instant::now();
                client.ask(system, round, number)?;
                client.latencies.add(sent.elapsed());
                number += CONNECTIONS;
            }
            Ok(client.latencies)
        })
    })
}

/// Sends requests when they are due, and counts from then.
pub fn paced(
    system: &System,
    operation: Operation,
    round: usize,
    length: Duration,
    postgres: Postgres,
) -> Outcome<Sample> {
    let per_second = operation.per_second();
    let count = (per_second * length.as_secs_f64()) as usize;
    sample(system, postgres, || {
        let began = Instant::now() + Duration::from_millis(20);
        side_by_side(CONNECTIONS, |connection| {
            let mut client = Client::open(system, operation)?;
            for number in (connection..count).step_by(CONNECTIONS) {
                let due = began + Duration::from_secs_f64(number as f64 / per_second);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                client.ask(system, round, number)?;
                client.latencies.add(due.elapsed());
            }
            Ok(client.latencies)
        })
    })
}

fn sample(system: &System, postgres: Postgres, load: impl FnOnce() -> Outcome<Vec<Latencies>>) -> Outcome<Sample> {
    let (cpu, postgres_cpu, began) = (system.cpu_seconds()?, postgres.running_seconds(), Instant::now());
    let each = load()?;
    let took = began.elapsed().as_secs_f64();
    std::thread::sleep(AFTERWARDS);
    let (cpu, postgres_cpu) = (system.cpu_seconds()? - cpu, postgres.running_seconds() - postgres_cpu);
    let mut latencies = Latencies::default();
    each.iter().for_each(|each| latencies.extend(each));
    let count = latencies.count() as f64;
    Ok(Sample {
        per_second: count / took,
        application: cpu * 1e6 / count,
        postgres: if system.uses_postgres() { postgres_cpu * 1e6 / count } else { f64::NAN },
        memory: system.memory()?,
        latencies,
    })
}

/// One connection, and how long its answers took.
struct Client {
    connection: Connection,
    operation: Operation,
    latencies: Latencies,
}

impl Client {
    fn open(system: &System, operation: Operation) -> Outcome<Self> {
        Ok(Self { connection: Connection::open(system.address())?, operation, latencies: Latencies::default() })
    }

    fn ask(&mut self, system: &System, round: usize, number: usize) -> Outcome {
        let answer = self.connection.send(&system.requests().make(self.operation, round, number))?;
        if answer.status == self.operation.done() {
            return Ok(());
        }
        let (name, body) = (system.kind().name(), String::from_utf8_lossy(&answer.body).into_owned());
        Err(format!("{name} answered {} to {}: {body}", answer.status, self.operation.name()).into())
    }
}
