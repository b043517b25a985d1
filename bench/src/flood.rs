//! What a flood of sign-ins does to everybody who is signed in already. A steady stream of requests
//! is measured from the moment at which each was due, so a stall counts against every request that
//! it held up; it runs alone and beside floods, in turns. Not for how many may sign in: see `login`.

mod steady;
mod strangers;

use std::time::{Duration, Instant};

use store::Engine;

use crate::client::Connection;
use crate::figures::{Latencies, Spread, short};
use crate::people::{self, People, who_am_i};
use crate::process::{self, Postgres, password_seconds};
use crate::report::Table;
use crate::server::Server;
use crate::{Outcome, Plan, say};
use strangers::{Flood, Statuses};

/// How many of the signed-in people take turns.
const SIGNED_IN: usize = 20;

/// What runs beside the steady stream, the first being nothing.
const PHASES: [(&str, Option<Flood>); 4] = [
    ("alone", None),
    ("64 connections, each attempt from a new address", Some(Flood { connections: 64, addresses: true })),
    ("256 connections, each attempt from a new address", Some(Flood { connections: 256, addresses: true })),
    ("64 connections, all from one address", Some(Flood { connections: 64, addresses: false })),
];

/// What the rounds of a phase showed.
#[derive(Default)]
struct Phase {
    p50: Vec<f64>,
    p99: Vec<f64>,
    flood: [Vec<f64>; 5],
    /// Cores in use: by the password workers, by the rest of the server, by PostgreSQL, by us.
    cores: [Vec<f64>; 4],
    /// Somebody with the right password, meanwhile.
    owner: Latencies,
    owner_refused: usize,
}

/// Measures on databases of one size; gives two tables for each engine.
pub fn measure(plan: &Plan, people: &[(Engine, People)]) -> Outcome<Vec<Table>> {
    let mut all = Vec::new();
    for (engine, people) in people {
        let name = people::name(*engine);
        say(format!("flood of sign-ins, {name}"));
        let server = Server::start(people.url())?;
        let postgres = Postgres::find(people.url()).filter(|_| *engine == Engine::Postgres);
        let mut phases: [Phase; 4] = Default::default();
        let (rounds, length) = if plan.quick { (2, 3) } else { (5, 8) };
        for round in 0..rounds {
            // Signed in anew, so that no token leaves the gateway's cache in the middle of a round.
            let mut connection = Connection::open(server.address())?;
            let requests = (0..SIGNED_IN)
                .map(|person| Ok(who_am_i(&people.access_token(&mut connection, person)?)))
                .collect::<Outcome<Vec<_>>>()?;
            for (number, (phase, (_, flood))) in phases.iter_mut().zip(PHASES).enumerate() {
                // A new connection: the server closes one that was idle for ten seconds.
                let mut connection = Connection::open(server.address())?;
                for request in &requests {
                    connection.timed(request)?;
                }
                let seed = (round * PHASES.len() + number) as u64;
                let length = Duration::from_secs(length);
                phase.round(&server, postgres, people, &requests, flood, length, seed)?;
            }
        }
        all.extend(tables(name, &phases, &server)?);
    }
    Ok(all)
}

impl Phase {
    #[expect(clippy::too_many_arguments, reason = "the parts of one round, used once")]
    fn round(
        &mut self,
        server: &Server,
        postgres: Option<Postgres>,
        people: &People,
        requests: &[Vec<u8>],
        flood: Option<Flood>,
        length: Duration,
        seed: u64,
    ) -> Outcome {
        let running = flood.map(|flood| strangers::start(server.address(), flood, seed)).transpose()?;
        // The flood needs a moment to fill what can be filled.
        std::thread::sleep(Duration::from_millis(700));
        let cores = || Outcome::Ok([password_seconds(server.pid())?, process::cpu_seconds(server.pid())?, ours()?]);
        let postgres_cores = || postgres.map_or(f64::NAN, Postgres::cpu_seconds);
        let (before, postgres_before) = (cores()?, postgres_cores());
        let counted = running.as_ref().map_or_else(Statuses::default, |running| running.statuses());
        let began = Instant::now();
        let (steady, (owner, refused)) = std::thread::scope(|scope| {
            let owner = scope.spawn(|| steady::sign_in_now_and_then(server.address(), people, began + length));
            let steady = steady::run(server.address(), requests, began, length);
            (steady, owner.join().expect("nothing here panics"))
        });
        let took = began.elapsed().as_secs_f64();
        let statuses = running.as_ref().map_or_else(Statuses::default, |running| running.statuses());
        let (after, postgres_after) = (cores()?, postgres_cores());
        running.map_or(Ok(()), strangers::Running::stop)?;

        let steady = steady?;
        self.p50.push(steady.median());
        self.p99.push(steady.within(0.99));
        for (place, (now, then)) in statuses.0.iter().zip(counted.0).enumerate() {
            self.flood[place].push((now - then) as f64 / took);
        }
        let [password, all, own] = [0, 1, 2].map(|place| (after[place] - before[place]) / took);
        let used = [password, all - password, (postgres_after - postgres_before) / took, own];
        used.into_iter().enumerate().for_each(|(place, cores)| self.cores[place].push(cores));
        self.owner.extend(&owner);
        self.owner_refused += refused;
        Ok(())
    }
}

fn ours() -> Outcome<f64> {
    process::cpu_seconds(std::process::id())
}

/// Returns what those who are signed in felt, and what the flood got and cost.
fn tables(engine: &str, phases: &[Phase; 4], server: &Server) -> Outcome<[Table; 2]> {
    let title = format!("Signed-in traffic beside a flood of sign-ins, {engine}");
    let head = [
        "beside it",
        "p50, ms",
        "p99, ms",
        "p99, ratio to alone",
        "right password: p50, ms",
        "right password: refused",
    ];
    let mut felt = Table::new(title, &head);
    let title = format!("What the flood got and cost, {engine}");
    let head =
        ["", "401 per s", "503 per s", "429 per s", "other", "passwords", "rest of the server", "PostgreSQL", "load"];
    let mut cost = Table::new(title, &head);
    let median = |rounds: &[f64]| short(Spread::of(rounds).median);
    for (phase, (name, _)) in phases.iter().zip(PHASES) {
        let tried = phase.owner.count() + phase.owner_refused;
        felt.row([
            name.to_owned(),
            Spread::of(&phase.p50).to_string(),
            Spread::of(&phase.p99).to_string(),
            Spread::ratio(&phase.p99, &phases[0].p99).to_string(),
            short(phase.owner.median()),
            format!("{} of {tried}", phase.owner_refused),
        ]);
        let [unauthorized, busy, slowed, passed, other] = phase.flood.each_ref().map(|rounds| median(rounds));
        // Nobody of the flood knows a password.
        let other = if passed == "0" { other } else { format!("{other}, and {passed} got in") };
        let [passwords, rest, postgres, load] = phase.cores.each_ref().map(|rounds| median(rounds));
        cost.row([name.to_owned(), unauthorized, busy, slowed, other, passwords, rest, postgres, load]);
    }
    felt.note(format!(
        "`GET /api/auth/me` {} times a second on {} connections, each latency counted from when the request was due. \
         “Right password”: somebody who signs in every half second meanwhile.",
        steady::PER_SECOND,
        steady::CONNECTIONS,
    ));
    let (now, most) = process::memory(server.pid())?;
    cost.note(format!(
        "The last four columns are cores in use; the load, ours, runs on the same cores as the server. Afterwards the \
         server holds {} MiB of memory, at its most {}.",
        short(now),
        short(most)
    ));
    let warned = server.warnings();
    if !warned.is_empty() {
        cost.note(format!("The server warned: {}.", warned.join("; ")));
    }
    Ok([felt, cost])
}
