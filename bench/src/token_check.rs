//! What it costs to learn who sends a token: cold, when the database is asked, and warm, when the
//! gateway still knows. Not for what comes before and after it in a request.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gateway::{Metrics, TokenCache, TokenCacheConfig, Verified};
use identity::Authenticator;
use kernel::Clock;
use store::{Engine, Store};

use crate::client::Connection;
use crate::figures::{Dice, Spread, per_call, short};
use crate::people::{self, People};
use crate::process::{self, Postgres};
use crate::report::Table;
use crate::server::Server;
use crate::{Outcome, Plan, say};

/// How many people sign in for it.
const SESSIONS: usize = 100;

/// One way of checking on one engine, and what each round took.
struct Case {
    name: String,
    authenticator: Authenticator,
    postgres: Option<Postgres>,
    tokens: Arc<Vec<String>>,
    /// Whether the tokens are good.
    good: bool,
    /// Microseconds as one caller sees it, alone and with a second one at the same time.
    alone: Vec<f64>,
    together: Vec<f64>,
    /// CPU microseconds of this process, and of PostgreSQL.
    cpu: Vec<f64>,
    postgres_cpu: Vec<f64>,
}

/// What one engine gives to the measurement.
struct Side {
    store: Store,
    access: Arc<Vec<String>>,
    authenticator: Authenticator,
    api: Arc<Vec<String>>,
}

/// Measures on databases of one size.
pub fn measure(plan: &Plan, people: &[(Engine, People)]) -> Outcome<Table> {
    say("token checks");
    let (mut cases, mut sides) = (Vec::new(), Vec::new());
    for (engine, people) in people {
        let side = side(plan, people)?;
        let engine_name = people::name(*engine);
        let postgres = Postgres::find(people.url()).filter(|_| *engine == Engine::Postgres);
        let mut case = |what: &str, tokens: &Arc<Vec<String>>, good| {
            cases.push(Case {
                name: format!("{what}, {engine_name}"),
                authenticator: side.authenticator.clone(),
                postgres,
                tokens: tokens.clone(),
                good,
                alone: vec![],
                together: vec![],
                cpu: vec![],
                postgres_cpu: vec![],
            });
        };
        case("cold, access token: signature and one query", &side.access, true);
        case("cold, API token: one query", &side.api, true);
        if sides.is_empty() {
            let forged = Arc::new(side.access.iter().map(|token| forged(token)).collect());
            case("forged access token: signature, no query", &forged, false);
        }
        sides.push(side);
    }
    let (rounds, length) = if plan.quick { (3, 200) } else { (9, 500) };
    let length = Duration::from_millis(length);
    let mut warm = [vec![], vec![], vec![], vec![]];
    let caches = warm_cache(plan, &sides[0])?;
    for round in 0..rounds {
        for case in &mut cases {
            case.round(plan, round, length)?;
        }
        for (place, (tokens, threads)) in
            [(&sides[0].access, 1), (&sides[0].access, 2), (&sides[0].api, 1), (&sides[0].api, 2)]
                .into_iter()
                .enumerate()
        {
            let look_up = |thread: usize, call: usize| {
                black_box(caches.get(&tokens[(thread * 7 + call * 31) % tokens.len()]));
            };
            warm[place].push(per_call(threads, length / 2, look_up) / 1e3);
        }
    }
    for side in sides {
        plan.runtime.block_on(side.store.close());
    }
    Ok(table(&cases, &warm))
}

fn side(plan: &Plan, people: &People) -> Outcome<Side> {
    let server = Server::start(people.url())?;
    let mut connection = Connection::open(server.address())?;
    let access: Vec<String> = (0..SESSIONS.min(people.count()))
        .map(|person| people.access_token(&mut connection, person))
        .collect::<Outcome<_>>()?;
    drop(server);
    let store = people.store(plan)?;
    let authenticator = people::authenticator(plan, &store)?;
    Ok(Side { store, access: Arc::new(access), authenticator, api: Arc::new(people.tokens.clone()) })
}

/// Changes the signature; it is checked to the end before that shows.
fn forged(token: &str) -> String {
    let place = token.len() - 20;
    let other = if &token[place..=place] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &token[..place], &token[place + 1..])
}

fn warm_cache(plan: &Plan, side: &Side) -> Outcome<TokenCache> {
    let cache = TokenCache::new(TokenCacheConfig::default(), Clock::system(), &Metrics::default());
    for token in side.access.iter().chain(side.api.iter()) {
        let found = plan.runtime.block_on(side.authenticator.bearer(token))?;
        let verified = Arc::new(Verified { principal: Arc::new(found.principal), until: found.until });
        cache.admit(cache.begin(), token, &verified);
    }
    Ok(cache)
}

impl Case {
    fn round(&mut self, plan: &Plan, round: usize, length: Duration) -> Outcome {
        let (alone, ..) = self.run(plan, 1, round, length)?;
        let (together, cpu, postgres_cpu) = self.run(plan, 2, round, length)?;
        self.alone.push(alone);
        self.together.push(together);
        self.cpu.push(cpu);
        self.postgres_cpu.push(postgres_cpu);
        Ok(())
    }

    /// Returns microseconds per check as a caller sees it, and of CPU here and in PostgreSQL.
    fn run(&self, plan: &Plan, callers: usize, round: usize, length: Duration) -> Outcome<(f64, f64, f64)> {
        let postgres = || self.postgres.map_or(f64::NAN, Postgres::cpu_seconds);
        let (cpu, postgres_cpu) = (process::cpu_seconds(std::process::id())?, postgres());
        let (began, checks) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
        let caller = |number: usize| {
            let (authenticator, tokens) = (self.authenticator.clone(), self.tokens.clone());
            let (checks, good) = (checks.clone(), self.good);
            let mut dice = Dice::seeded((round * 2 + number) as u64);
            plan.runtime.spawn(async move {
                while began.elapsed() < length {
                    let checked = authenticator.bearer(&tokens[dice.below(tokens.len())]).await;
                    if checked.is_ok() != good {
                        return Err(format!("a token was judged wrongly: {:?}", checked.err()));
                    }
                    checks.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        };
        for caller in (0..callers).map(caller).collect::<Vec<_>>() {
            plan.runtime.block_on(caller)??;
        }
        let (took, checks) = (began.elapsed().as_secs_f64(), checks.load(Ordering::Relaxed) as f64);
        let each = |seconds: f64| seconds * 1e6 / checks;
        let cpu = process::cpu_seconds(std::process::id())? - cpu;
        Ok((each(took * callers as f64), each(cpu), each(postgres() - postgres_cpu)))
    }
}

fn table(cases: &[Case], warm: &[Vec<f64>; 4]) -> Table {
    let head = ["", "one caller, µs", "two at once, µs each", "CPU, µs", "CPU of PostgreSQL, µs"];
    let mut table = Table::new("Token check", &head);
    for case in cases {
        let [alone, together, cpu] = [&case.alone, &case.together, &case.cpu].map(|rounds| Spread::of(rounds));
        let postgres = Spread::of(&case.postgres_cpu).median;
        table.row([case.name.clone(), alone.to_string(), together.to_string(), short(cpu.median), short(postgres)]);
    }
    let [access, access_twice, api, api_twice] = warm.each_ref().map(|rounds| Spread::of(rounds));
    for (what, alone, together) in [
        ("warm, access token: the gateway knows it", access, access_twice),
        ("warm, API token: the gateway knows it", api, api_twice),
    ] {
        table.row([what.to_owned(), alone.to_string(), together.to_string(), short(alone.median), short(f64::NAN)]);
    }
    for (what, cold, warm) in [("access token", &cases[0], access), ("API token", &cases[1], api)] {
        let times = Spread::of(&cold.alone).median / warm.median;
        table.note(format!("A warm check of an {what} is {} times as fast as a cold one on SQLite.", short(times)));
    }
    table
}
