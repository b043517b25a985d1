//! How many people can sign in per second through the real server, what of it is argon2id, and what
//! it costs. Not for what a flood does to others: see `flood`.

use std::time::{Duration, Instant};

use argon2::Block;
use store::Engine;

use crate::client::Connection;
use crate::figures::{Dice, Latencies, Spread, short};
use crate::paced;
use crate::people::{self, PASSWORD, People, SALT};
use crate::process::{self, Postgres, password_seconds};
use crate::report::Table;
use crate::server::Server;
use crate::{Outcome, Plan, say};

/// Keep-alive connections, each of which signs one person in after the other.
const CONNECTIONS: usize = 4;

/// What the rounds on one engine showed.
struct Case<'a> {
    name: &'static str,
    people: &'a People,
    server: Server,
    postgres: Option<Postgres>,
    per_second: Vec<f64>,
    /// CPU milliseconds per sign-in of the server, and of PostgreSQL.
    cpu: Vec<f64>,
    postgres_cpu: Vec<f64>,
    /// Of the server's CPU time, the share of its password workers.
    hashing: Vec<f64>,
    latencies: Latencies,
}

/// The hash without a server around it: threads, and whether its memory is kept for the next one.
const HASHES: [(&str, usize, bool); 3] = [
    ("the hash alone, one thread", 1, false),
    ("the hash alone, two threads", 2, false),
    ("the hash alone, one thread, its memory kept", 1, true),
];

/// Milliseconds of a hash, and of CPU, in each round.
struct Hash {
    threads: usize,
    keep: bool,
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

/// Measures on databases of one size.
pub fn measure(plan: &Plan, people: &[(Engine, People)]) -> Outcome<Table> {
    say("sign-ins");
    let mut cases = Vec::new();
    for (engine, people) in people {
        cases.push(Case {
            name: people::name(*engine),
            people,
            server: Server::start(people.url())?,
            postgres: Postgres::find(people.url()).filter(|_| *engine == Engine::Postgres),
            per_second: vec![],
            cpu: vec![],
            postgres_cpu: vec![],
            hashing: vec![],
            latencies: Latencies::default(),
        });
    }
    let (rounds, length) = if plan.quick { (2, 2) } else { (7, 6) };
    let mut hashes = HASHES.map(|(_, threads, keep)| Hash { threads, keep, wall: vec![], cpu: vec![] });
    for round in 0..rounds {
        for hash in &mut hashes {
            hash.round(Duration::from_millis(length * 200))?;
        }
        for case in &mut cases {
            case.round(round, Duration::from_secs(length))?;
        }
    }
    let head = [
        "",
        "per second",
        "per core-second",
        "CPU, ms",
        "of it the hash",
        "CPU of PostgreSQL, ms",
        "p50, ms",
        "p99, ms",
        "memory, MiB",
    ];
    let mut table = Table::new("Sign-ins with a password", &head);
    for case in &cases {
        let per_core: Vec<f64> = case.cpu.iter().map(|cpu| 1e3 / cpu).collect();
        let memory = process::memory(case.server.pid())?.1;
        table.row([
            format!("through the server, {}", case.name),
            Spread::of(&case.per_second).to_string(),
            Spread::of(&per_core).to_string(),
            Spread::of(&case.cpu).to_string(),
            format!("{:.0} %", Spread::of(&case.hashing).median * 100.0),
            short(Spread::of(&case.postgres_cpu).median),
            short(case.latencies.median()),
            short(case.latencies.within(0.99)),
            short(memory),
        ]);
    }
    for (hash, (what, ..)) in hashes.iter().zip(HASHES) {
        let per_second: Vec<f64> = hash.wall.iter().map(|each| hash.threads as f64 * 1e3 / each).collect();
        let per_core: Vec<f64> = hash.cpu.iter().map(|each| 1e3 / each).collect();
        let none = || short(f64::NAN);
        table.row([
            what.to_owned(),
            Spread::of(&per_second).to_string(),
            Spread::of(&per_core).to_string(),
            Spread::of(&hash.cpu).to_string(),
            none(),
            none(),
            short(Spread::of(&hash.wall).median),
            none(),
            none(),
        ]);
    }
    let (anew, kept) = (&hashes[0].cpu, &hashes[2].cpu);
    table.note(format!("A hash in memory that is kept costs {} times one in new memory.", Spread::ratio(kept, anew)));
    table.note(format!(
        "{CONNECTIONS} keep-alive connections, default settings: argon2id with 19 MiB and 2 passes, half of the cores as \
         workers. PostgreSQL's CPU time is not in that of the server. p50 and p99 hold the wait for a worker: \
         {CONNECTIONS} hashes queue for it. “Of it the hash” is the share of the password workers. Memory is the server's at its most."
    ));
    let warned: Vec<String> = cases.iter().flat_map(|case| case.server.warnings()).collect();
    if !warned.is_empty() {
        table.note(format!("The servers warned: {}.", warned.join("; ")));
    }
    Ok(table)
}

impl Hash {
    fn round(&mut self, length: Duration) -> Outcome {
        let (argon2, stored) = (people::argon2()?, people::stored_password()?);
        let (keep, began, cpu) = (self.keep, Instant::now(), process::cpu_seconds(std::process::id())?);
        let one = || {
            let mut blocks = if keep { vec![Block::new(); argon2.params().block_count()] } else { vec![] };
            let (mut out, mut hashes) = ([0; 32], 0u32);
            while began.elapsed() < length {
                if keep {
                    let hashed =
                        argon2.hash_password_into_with_memory(PASSWORD.as_bytes(), SALT, &mut out, &mut blocks);
                    hashed.map_err(|error| error.to_string())?;
                } else {
                    assert!(people::check_password(&argon2, &stored), "it is everybody's password");
                }
                hashes += 1;
            }
            Outcome::Ok(hashes)
        };
        let hashes: u32 = std::thread::scope(|scope| {
            let running: Vec<_> = (0..self.threads).map(|_| scope.spawn(one)).collect();
            running.into_iter().map(|thread| thread.join().expect("nothing here panics")).sum::<Outcome<u32>>()
        })?;
        let each = |seconds: f64| seconds * 1e3 / f64::from(hashes);
        self.wall.push(each(began.elapsed().as_secs_f64() * self.threads as f64));
        self.cpu.push(each(process::cpu_seconds(std::process::id())? - cpu));
        Ok(())
    }
}

impl Case<'_> {
    fn round(&mut self, round: usize, length: Duration) -> Outcome {
        let address = self.server.address();
        let postgres = || self.postgres.map_or(f64::NAN, Postgres::cpu_seconds);
        let used = || Outcome::Ok((process::cpu_seconds(self.server.pid())?, password_seconds(self.server.pid())?));
        let ((cpu, hashing), postgres_cpu) = (used()?, postgres());
        let (began, people) = (Instant::now(), self.people);
        let clients = paced::side_by_side(CONNECTIONS, |number| {
            let mut dice = Dice::seeded((round * CONNECTIONS + number) as u64);
            let mut latencies = Latencies::default();
            let mut connection = Connection::open(address)?;
            while began.elapsed() < length {
                latencies.add(connection.timed(&people.login(dice.below(people.count())))?.1);
            }
            Ok(latencies)
        })?;
        let took = began.elapsed().as_secs_f64();
        let sign_ins = clients.iter().map(Latencies::count).sum::<usize>() as f64;
        clients.iter().for_each(|latencies| self.latencies.extend(latencies));
        self.per_second.push(sign_ins / took);
        let (cpu, hashing) = used().map(|(now, hashed)| (now - cpu, hashed - hashing))?;
        self.cpu.push(cpu * 1e3 / sign_ins);
        self.hashing.push(hashing / cpu);
        self.postgres_cpu.push((postgres() - postgres_cpu) * 1e3 / sign_ins);
        Ok(())
    }
}
